/* SPDX-License-Identifier: BSD-3-Clause */
/* What only readers of table files need of properties. */
#ifndef CAIRN_TABLE_PROPS_BLOCK_H
#define CAIRN_TABLE_PROPS_BLOCK_H

#include "engine/kv/ikey.h"
#include "engine/table/props.h"

#define PROPS_GLOBAL_SEQNO "rocksdb.external_sst_file.global_seqno"

/* As those of a table without a properties block. CAIRN_ENOMEM. */
MUST_CHECK int table_props_init(struct table_props *p);

/*
 * Where in block the 8 bytes of the global sequence number are. RocksDB may
 * overwrite them without renewing the block's checksum, so this is asked about
 * blocks whose checksum is wrong. CAIRN_NOT_FOUND, CAIRN_ECORRUPT.
 */
MUST_CHECK int props_find_global_seqno(struct cairn_slice block, size_t *at);

#endif
