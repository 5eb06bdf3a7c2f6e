/* SPDX-License-Identifier: BSD-3-Clause */
/* How much memory the daemon may use, and what for. */
#ifndef CAIRN_FS_MEMORY_H
#define CAIRN_FS_MEMORY_H

#include <stdint.h>

/* The least that memory= may be. */
#define MEMORY_MIN (8u << 20)

/*
 * One figure shared out. The parts but the last add up to what is left of it
 * when the heap, requests and compactions have had theirs: a quarter, but no
 * more than 16 MiB or a sixteenth.
 */
struct memory_split {
	uint64_t block_cache;
	uint64_t write_buffer; /* of each memtable */
	uint64_t write_buffers;
	uint64_t row_cache;
	/* What open files may hold before they are committed. A commit makes
	 * several copies of it (batch, log, memtable), so it is small. */
	uint64_t dirty;
	/* Instead of the two above in a plain store, whose values are not cut
	 * into chunks: what open files may hold, and the largest value by
	 * default. A commit takes as much again. */
	uint64_t whole;
};
struct memory_split memory_split(uint64_t total);

#endif
