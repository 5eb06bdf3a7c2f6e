/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Directories that RocksDB and LevelDB wrote, in tests/data/golden (see the
 * README there), and what they are known to hold. CAIRN_GOLDEN in the
 * environment names another folder of such directories.
 *
 * Failures of these functions end the program, which may be none of tests.
 */
#ifndef CAIRN_TESTS_SUPPORT_GOLDEN_H
#define CAIRN_TESTS_SUPPORT_GOLDEN_H

#include "engine/base/buf.h"
#include "engine/env/env.h"

/* The folder of the directories. Valid until the next call. */
const char *golden_root(void);

/* The names of the directories, sorted. Free with env_names_free(). */
void golden_names(struct env_names *out);

/* One file of a golden's db/, by its name there; contents owned. */
struct golden_file {
	char *name;
	struct buf bytes;
};

/* All files of a directory, sorted by name. */
struct golden {
	char *name;
	struct golden_file *files;
	size_t n;
};

void golden_load(const char *name, struct golden *out);
void golden_fini(struct golden *g);

/* Make dir in env, with the files; nothing is synced. */
void golden_write(const struct golden *g, struct cairn_env *env,
		  const char *dir);

/*
 * The value of key in a golden's meta as a string to be freed; NULL when it
 * says nothing of it.
 */
char *golden_meta(const char *name, const char *key);

/* Live keys with their values, in the order of the producer's iterator. */
struct golden_row {
	struct cairn_slice key;
	struct cairn_slice value;
};

struct golden_rows {
	struct golden_row *row;
	size_t n;
	struct buf bytes; /* what the slices borrow from */
};

/* Read NAME/FILE ("expected.tsv"). false: there is no such file. */
bool golden_rows(const char *name, const char *file, struct golden_rows *out);
void golden_rows_fini(struct golden_rows *r);

/* The row of key, NULL when there is none; for ascending rows. */
const struct golden_row *golden_find(const struct golden_rows *r,
				     struct cairn_slice key);

/* A text file of a golden, with a NUL behind it. false: there is none. */
bool golden_text(const char *name, const char *file, struct buf *out);

/*
 * The numbers N of the files expected.seq-N.tsv, malloc'ed; returns how many.
 */
size_t golden_seqnos(const char *name, uint64_t **out);

#endif
