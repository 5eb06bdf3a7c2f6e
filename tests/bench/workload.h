/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the benchmark does: the workloads by name, and the keys, values and
 * operations they are made of.
 *
 * Everything follows from numbers, so that each engine gets the same and every
 * value read can be checked. Record number i has the key key_of(i): in the
 * stores "ycsb" and "sync" the numbers are scattered over the key space by a
 * hash, in the stores "seq" and "random" they are in order.
 */
#ifndef CAIRN_TESTS_BENCH_WORKLOAD_H
#define CAIRN_TESTS_BENCH_WORKLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/bench/peer.h"

#define BENCH_KEY_LEN   24
#define BENCH_VALUE_MIN 16
#define BENCH_SCAN_MAX  100

/* xorshift64*, never zero. */
struct bench_rng {
	uint64_t state;
};
void bench_rng_init(struct bench_rng *r, uint64_t seed);
uint64_t bench_rng_next(struct bench_rng *r);

enum bench_op_kind {
	OP_READ,
	OP_READ_MISSING,
	OP_WRITE,  /* of a new record or over an old one */
	OP_MODIFY, /* read, then write */
	OP_SCAN,   /* a new iterator, up to count entries */
	OP_SEEK,   /* with the client's iterator */
};

struct bench_op {
	uint32_t record;
	uint8_t kind;
	uint8_t count;
};

enum bench_order {
	ORDER_SEQUENTIAL,  /* each record once, in order */
	ORDER_PERMUTATION, /* each record once, out of order */
	ORDER_UNIFORM,
	ORDER_ZIPFIAN, /* scrambled, constant 0.99 */
	ORDER_LATEST,  /* mostly what the client inserted last */
};

enum bench_walk { WALK_NONE, WALK_FORWARD, WALK_BACKWARD };

struct bench_workload {
	const char *name;
	const char *what; /* for the help */
	const char *store;
	const char *maker; /* makes the store; NULL: this one does, afresh */
	bool scattered;    /* the store's record numbers */
	bool sync;
	enum bench_walk walk; /* over the whole store instead of operations */
	enum bench_order order;
	/* Operations in percent; the rest are of kind rest. */
	unsigned reads, inserts;
	enum bench_op_kind rest;
	/* As many operations as records, divided by this. */
	unsigned divisor;
};

extern const struct bench_workload bench_workloads[];
extern const size_t bench_n_workloads;
const struct bench_workload *bench_workload_find(const char *name);

/* Operations of all clients; WALK_NONE only. */
uint64_t bench_workload_ops(const struct bench_workload *w, uint64_t records);

/* One client's part of the workload, into ops, which has room for n. */
struct bench_part {
	uint64_t records; /* in the store before, or to be made */
	unsigned client;
	unsigned clients;
	uint64_t seed;
};
void bench_make_ops(const struct bench_workload *w, const struct bench_part *p,
		    struct bench_op *ops, size_t n);

/* The key of a record, or one beside it that is in no store. */
void bench_key(const struct bench_workload *w, uint64_t record, bool missing,
	       char key[BENCH_KEY_LEN]);

/*
 * Values are about half compressible. A value names its key and a version, and
 * the rest of it follows from these two.
 */
struct bench_values {
	char *pool;
	size_t len; /* of every value */
};
int bench_values_init(struct bench_values *v, size_t len);
void bench_values_fini(struct bench_values *v);
void bench_value_make(const struct bench_values *v,
		      const char key[BENCH_KEY_LEN], uint64_t version,
		      char *value);
/* Whether value is one that was made for key. */
bool bench_value_check(const struct bench_values *v,
		       const char key[BENCH_KEY_LEN], struct bench_slice value);
/* The same, but only whose it is. */
bool bench_value_belongs(const struct bench_values *v, struct bench_slice key,
			 struct bench_slice value);

#endif
