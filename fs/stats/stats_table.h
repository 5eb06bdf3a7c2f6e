/* SPDX-License-Identifier: BSD-3-Clause */
/* The names of all numbers, shared by the ways to show them. Private to
 * stats.c and stats_text.c. */
#ifndef CAIRN_FS_STATS_TABLE_H
#define CAIRN_FS_STATS_TABLE_H

#include "fs/stats/stats.h"

enum stats_kind {
	STATS_U64,
	STATS_I64,
	STATS_SECONDS,  /* uint64_t microseconds, shown as seconds */
	STATS_TEXT,     /* not a number; by print */
	STATS_GAUGE_FN, /* a number; by print */
};

struct stats_value {
	const char *name;
	enum stats_kind kind;
	size_t offset; /* into struct stats */
	int (*print)(const struct stats *s, struct buf *out);
	const char *help;
};

/* NULL past the end. */
const struct stats_value *stats_value_at(size_t i);
int stats_value_print(const struct stats *s, const struct stats_value *v,
		      struct buf *out);

enum stats_level_kind {
	STATS_LEVEL_U64,
	STATS_LEVEL_SCORE,
	STATS_LEVEL_WRITE_AMP,
	STATS_LEVEL_WRITTEN,
	STATS_LEVEL_TEXT,
};

struct stats_level_field {
	const char *name;
	enum stats_level_kind kind;
	size_t offset; /* into struct cairn_level_metrics */
	const char *help;
};

/* NULL past the end. */
const struct stats_level_field *stats_level_field_at(size_t i);
int stats_level_print(const struct stats *s, int level,
		      const struct stats_level_field *f, struct buf *out);

/* Sorted runs; bytes written per byte that came in, 0 when none did. */
uint64_t stats_level_read_amp(const struct stats *s, int level);
double stats_level_write_amp(const struct stats *s, int level);
uint64_t stats_read_amp(const struct stats *s);
double stats_write_amp(const struct stats *s);

#endif
