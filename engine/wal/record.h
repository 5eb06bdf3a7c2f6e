/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Framing of logs: the WAL and the MANIFEST (RocksDB's db/log_format.h).
 *
 * A log is a sequence of 32 KiB blocks. A logical record is cut into fragments
 * that do not cross blocks. Legacy header: masked crc32c of type and payload,
 * fixed32 | payload length, fixed16 | type. Recyclable header: the low 32 bits
 * of the log's number follow, and are covered by the crc. When fewer bytes than
 * a header are left in a block they are zeros.
 */
#ifndef CAIRN_WAL_RECORD_H
#define CAIRN_WAL_RECORD_H

#define RECORD_BLOCK_LEN      32768
#define RECORD_HEADER_LEN     7
#define RECORD_HEADER_LEN_MAX 11

enum record_type {
	RECORD_ZERO = 0,
	RECORD_FULL = 1,
	RECORD_FIRST = 2,
	RECORD_MIDDLE = 3,
	RECORD_LAST = 4,
	RECORD_RECYCLABLE_FULL = 5,
	RECORD_RECYCLABLE_FIRST = 6,
	RECORD_RECYCLABLE_MIDDLE = 7,
	RECORD_RECYCLABLE_LAST = 8,
	RECORD_SET_COMPRESSION = 9,
};

#endif
