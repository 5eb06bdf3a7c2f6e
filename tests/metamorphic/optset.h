/* SPDX-License-Identifier: BSD-3-Clause */
/* Named sets of options, under which a history must say the same. */
#ifndef CAIRN_TESTS_METAMORPHIC_OPTSET_H
#define CAIRN_TESTS_METAMORPHIC_OPTSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum optset_flag {
	SET_POSIX = 1 << 0,      /* real files; cuts and kills only reopen */
	SET_JOURNAL = 1 << 1,    /* the other rule for names after a cut */
	SET_NO_WAL = 1 << 2,     /* cuts and kills come behind a flush */
	SET_NO_PARTIAL = 1 << 3, /* operators that put no operands together */
	SET_COLLECTOR = 1 << 4,
	SET_TABLE_FILTER = 1 << 5, /* that is asked, and leaves out nothing */
	SET_NO_FILL = 1 << 6,
	SET_DRIFT = 1 << 7,  /* each time it is opened others of the settings */
	SET_MEDDLE = 1 << 8, /* upkeep, reopening, kills between operations */
	SET_FAULTS = 1 << 9, /* operations on files fail, again and again */
	SET_SINGLE_AS_DELETE = 1 << 10,
	SET_INGEST_AS_BATCH = 1 << 11,
	SET_GETS_ONE_BY_ONE = 1 << 12,
	SET_BATCH_AS_TABLE = 1 << 13, /* where a batch can be ingested */
	SET_SYNC_ALL = 1 << 14,
	SET_NO_PREFIX = 1 << 15, /* ranges of keys in place of prefix seeks */
	SET_RANGE_AS_DELETES = 1 << 16,
};

struct optset {
	char name[32];
	unsigned flags;
	bool say; /* on stdout what the set does by itself, and what fails */
	char settings[1024]; /* "name=value;..." */
};

size_t optset_count(void); /* of those with a name of their own */
void optset_at(size_t i, struct optset *out);

/* Any of them, or "random-N", which follows from N. False: no such set. */
bool optset_find(const char *name, struct optset *out);
void optset_random(uint64_t n, struct optset *out);

#endif
