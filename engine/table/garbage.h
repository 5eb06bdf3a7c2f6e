/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What of a table becomes garbage, and when. The application counts with
 * positions that only grow: once it has passed a position, its compaction
 * filter drops what the step of that position says. The steps come from a
 * property that a collector gave the table (struct cairn_table_collector).
 */
#ifndef CAIRN_TABLE_GARBAGE_H
#define CAIRN_TABLE_GARBAGE_H

#include "engine/table/props.h"

/* More are not believed: whoever writes them rounds. */
#define GARBAGE_STEPS_MAX 64

struct garbage_step {
	uint64_t position;
	uint64_t bytes; /* of the file, all that is garbage from there on */
};

/* Owned as one piece of memory, free(). */
struct garbage {
	size_t n;
	struct garbage_step step[]; /* ascending in both */
};

/*
 * Steps from the value of a property. raw_bytes is what the keys and values of
 * the table are together, file_bytes what the file is: what counts is the
 * share. The result is NULL when the value makes no sense, for it is only a
 * hint. CAIRN_ENOMEM.
 */
MUST_CHECK int garbage_new(struct cairn_slice value, uint64_t raw_bytes,
			   uint64_t file_bytes, struct garbage **out);

/* The same from the properties of a table that c, which may be NULL, has seen
 * being written. */
MUST_CHECK int garbage_of_table(const struct table_props *props,
				const struct cairn_table_collector *c,
				uint64_t file_bytes, struct garbage **out);

/* Bytes of the file that are garbage at position. g may be NULL. */
uint64_t garbage_at(const struct garbage *g, uint64_t position);

#endif
