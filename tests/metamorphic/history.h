/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Histories: operations on a store, one per line of text.
 *
 *     history tail
 *     put aa/03 v17*300
 *     iter 0 - aa -
 *     iter_seek_ge 0 aa/03
 *     cut 50 7
 *
 * The first line names the merge operator; lines that begin with # are for
 * people, but "# sets: NAME,..." says under which options to run it when nobody
 * says others. A word is the bytes it shows, other
 * than printable ones as %xx; "%" alone is none, "-" is no key at all, and
 * TEXT*LEN is TEXT with bytes behind it that follow from it, LEN in all.
 *
 * Every operation means something in every state, if only "there is no such
 * iterator": so any part of a history is a history, and one that fails can be
 * reduced by leaving operations out.
 */
#ifndef CAIRN_TESTS_METAMORPHIC_HISTORY_H
#define CAIRN_TESTS_METAMORPHIC_HISTORY_H

#include <stdio.h>

#include "engine/base/buf.h"

#define N_BATCHES   3u
#define N_ITERS     4u
#define N_SNAPSHOTS 3u
#define N_PINS      3u

/*
 * Each kind with its arguments: k a key, K one or none, v a value, b i s p the
 * number of a batch, an iterator, a snapshot, a pin, S a snapshot or "-", n a
 * number, and last + any number of the one before, or * of anything.
 */
#define OP_KINDS(X)                                                            \
	X(put, "kv")                                                           \
	X(put_sync, "kv")                                                      \
	X(put_unlogged, "kv")                                                  \
	X(put_no_wait, "kv")                                                   \
	X(put_parallel, "nnn")                                                 \
	X(delete, "k")                                                         \
	X(delete_range, "kk")                                                  \
	X(single_delete, "k")                                                  \
	X(merge, "kv")                                                         \
	X(merge_sync, "kv")                                                    \
	X(batch, "b")                                                          \
	X(batch_indexed, "b")                                                  \
	X(batch_free, "b")                                                     \
	X(batch_clear, "b")                                                    \
	X(batch_put, "bkv")                                                    \
	X(batch_delete, "bk")                                                  \
	X(batch_delete_range, "bkk")                                           \
	X(batch_single_delete, "bk")                                           \
	X(batch_merge, "bkv")                                                  \
	X(batch_log_data, "bv")                                                \
	X(batch_savepoint, "b")                                                \
	X(batch_rollback, "b")                                                 \
	X(batch_pop, "b")                                                      \
	X(batch_count, "b")                                                    \
	X(batch_get, "bSk")                                                    \
	X(batch_iter, "ibSKK")                                                 \
	X(batch_refresh, "ib")                                                 \
	X(write, "b")                                                          \
	X(write_sync, "b")                                                     \
	X(write_unlogged, "b")                                                 \
	X(get, "Sk")                                                           \
	X(multi_get, "Sk+")                                                    \
	X(pin, "pk")                                                           \
	X(pin_iter, "pi")                                                      \
	X(unpin, "p")                                                          \
	X(snapshot, "s")                                                       \
	X(release, "s")                                                        \
	X(iter, "iSKK")                                                        \
	X(iter_clone, "ii")                                                    \
	X(iter_clone_bounds, "iiKK")                                           \
	X(iter_free, "i")                                                      \
	X(iter_bounds, "iKK")                                                  \
	X(iter_first, "i")                                                     \
	X(iter_last, "i")                                                      \
	X(iter_seek_ge, "ik")                                                  \
	X(iter_seek_lt, "ik")                                                  \
	X(iter_seek_prefix, "ik")                                              \
	X(iter_next, "i")                                                      \
	X(iter_prev, "i")                                                      \
	X(iter_next_n, "in")                                                   \
	X(iter_prev_n, "in")                                                   \
	X(scan, "SKK")                                                         \
	X(scan_back, "SKK")                                                    \
	X(scan_prefix, "Sk")                                                   \
	X(wal_sync, "")                                                        \
	X(flush, "")                                                           \
	X(flush_async, "")                                                     \
	X(compact_range, "KK")                                                 \
	X(compact, "KK")                                                       \
	X(compact_cancel, "KKn")                                               \
	X(cancel_job, "n")                                                     \
	X(wait_idle, "")                                                       \
	X(resume, "")                                                          \
	X(sizes, "KK")                                                         \
	X(facts, "")                                                           \
	X(checksums, "")                                                       \
	X(verify_open, "")                                                     \
	X(verify_closed, "")                                                   \
	X(repair, "")                                                          \
	X(ingest, "n*")                                                        \
	X(checkpoint, "")                                                      \
	X(checkpoint_switch, "")                                               \
	X(close_busy, "")                                                      \
	X(open_twice, "")                                                      \
	X(reopen, "")                                                          \
	X(reopen_read_only, "")                                                \
	X(reopen_other, "n")                                                   \
	X(fault, "nnn")                                                        \
	X(kill, "")                                                            \
	X(cut, "nn")                                                           \
	X(cut_twice, "nnn")

enum op_kind {
#define X(name, args) OP_##name,
	OP_KINDS(X)
#undef X
		N_OP_KINDS
};

struct op_info {
	const char *name;
	const char *args;
};
extern const struct op_info op_infos[N_OP_KINDS];

/* Bytes that never change, shared. */
struct word {
	unsigned refs;
	bool none; /* "-" */
	size_t len;
	uint8_t data[];
};

struct word *word_new(struct cairn_slice s);
struct word *word_ref(struct word *w);
void word_unref(struct word *w); /* NULL is allowed */

static inline struct cairn_slice word_slice(const struct word *w)
{
	return w->none ? slice_of(NULL, 0) : slice_of(w->data, w->len);
}

struct op {
	enum op_kind kind;
	unsigned n_args;
	struct word **args;
	char *line; /* without newline */
	/* Set by the model: here it would be against the rules, or nothing to
	 * be done. */
	bool skip;
};

struct history {
	const char *merge; /* name of the operator; static */
	char *sets;        /* of a line "# sets: NAME,..."; NULL: none said */
	struct op **ops;
	size_t n;
	size_t cap;
};

/* The argument as a number; for "-", UINT64_MAX. */
uint64_t op_number(const struct op *op, unsigned i);
/* The argument as bytes; data NULL for "-". */
static inline struct cairn_slice op_slice(const struct op *op, unsigned i)
{
	return word_slice(op->args[i]);
}

/*
 * The words of an ingestion behind its mode (0 copy, 1 link, 2 move): "p KEY
 * VALUE" a put, "d KEY" a deletion, "m KEY OPERAND" a merge, "r START END" a
 * range, and "/" where the next table begins.
 */
#define INGEST_TABLES  4u
#define INGEST_CHANGES 64u
struct ingest_change {
	char what;
	unsigned table; /* 0, 1 ... */
	struct word *key;
	struct word *value; /* NULL: none */
};
struct ingest {
	struct ingest_change v[INGEST_CHANGES];
	unsigned n;
	unsigned n_tables;
};
/* False when that is not what the words are, or nothing is in a table. */
bool ingest_parse(const struct op *op, struct ingest *out);

/* A word of a line, escaped, for bytes; and for TEXT*LEN. */
void text_add_bytes(struct buf *line, struct cairn_slice s);
void text_add_filled(struct buf *line, const char *text, size_t len);

/* Parse a line: NULL, and why, when it is none. */
struct op *op_parse(const char *line, char *why, size_t why_len);
void op_free(struct op *op);

void history_add(struct history *h, struct op *op);
void history_fini(struct history *h); /* with its operations */
void history_print(const struct history *h, FILE *f);
/* Ends the program with a message when the file cannot be read or is none. */
void history_read(struct history *h, const char *path);

/* The operators that a history may have, by name; NULL: no such. */
const char *history_operator(const char *name);

#endif
