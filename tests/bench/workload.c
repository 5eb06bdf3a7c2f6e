/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/bench/workload.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Values are cut out of this much: it should stay in the second-level cache. */
#define POOL_LEN ((size_t)256 << 10)
/* The pool is made of pieces of this length, the second half repeating the
 * first. */
#define PIECE_LEN 100

#define ZIPF_THETA 0.99

/* Inserts get numbers from here on, in multiples of the records there are. */
#define INSERTS_BEGIN 2

#define YCSB(n, w, o, r, i, k, d)                                              \
	{                                                                      \
		.name = n, .what = w, .store = "ycsb", .maker = "load",        \
		.scattered = true, .order = o, .reads = r, .inserts = i,       \
		.rest = k, .divisor = d                                        \
	}

const struct bench_workload bench_workloads[] = {
	{ .name = "load",
	  .what = "YCSB: put each record once, in scattered order",
	  .store = "ycsb",
	  .scattered = true,
	  .order = ORDER_SEQUENTIAL,
	  .rest = OP_WRITE,
	  .divisor = 1 },
	YCSB("A", "YCSB: 50 % get, 50 % put, zipfian", ORDER_ZIPFIAN, 50, 0,
	     OP_WRITE, 1),
	YCSB("B", "YCSB: 95 % get, 5 % put, zipfian", ORDER_ZIPFIAN, 95, 0,
	     OP_WRITE, 1),
	YCSB("C", "YCSB: get, zipfian", ORDER_ZIPFIAN, 100, 0, OP_READ, 1),
	YCSB("F", "YCSB: 50 % get, 50 % get and put, zipfian", ORDER_ZIPFIAN,
	     50, 0, OP_MODIFY, 1),
	YCSB("D", "YCSB: 95 % get of the latest, 5 % insert", ORDER_LATEST, 95,
	     5, OP_READ, 1),
	YCSB("E", "YCSB: 95 % scan of up to 100, 5 % insert", ORDER_ZIPFIAN, 0,
	     5, OP_SCAN, 10),
	{ .name = "fillseq",
	  .what = "put in ascending order",
	  .store = "seq",
	  .order = ORDER_SEQUENTIAL,
	  .rest = OP_WRITE,
	  .divisor = 1 },
	{ .name = "fillrandom",
	  .what = "put in random order",
	  .store = "random",
	  .order = ORDER_PERMUTATION,
	  .rest = OP_WRITE,
	  .divisor = 1 },
	{ .name = "overwrite",
	  .what = "put over existing records, uniform",
	  .store = "random",
	  .maker = "fillrandom",
	  .order = ORDER_UNIFORM,
	  .rest = OP_WRITE,
	  .divisor = 1 },
	{ .name = "readrandom",
	  .what = "get, uniform",
	  .store = "random",
	  .maker = "fillrandom",
	  .order = ORDER_UNIFORM,
	  .rest = OP_READ,
	  .divisor = 1 },
	{ .name = "readmissing",
	  .what = "get of keys that are not there",
	  .store = "random",
	  .maker = "fillrandom",
	  .order = ORDER_UNIFORM,
	  .rest = OP_READ_MISSING,
	  .divisor = 1 },
	{ .name = "readseq",
	  .what = "iterate forward over everything",
	  .store = "random",
	  .maker = "fillrandom",
	  .walk = WALK_FORWARD,
	  .divisor = 1 },
	{ .name = "readreverse",
	  .what = "iterate backward over everything",
	  .store = "random",
	  .maker = "fillrandom",
	  .walk = WALK_BACKWARD,
	  .divisor = 1 },
	{ .name = "seekrandom",
	  .what = "seek, uniform, with one iterator",
	  .store = "random",
	  .maker = "fillrandom",
	  .order = ORDER_UNIFORM,
	  .rest = OP_SEEK,
	  .divisor = 1 },
	{ .name = "fillsync",
	  .what = "put, each synced to the disk",
	  .store = "sync",
	  .scattered = true,
	  .sync = true,
	  .order = ORDER_SEQUENTIAL,
	  .rest = OP_WRITE,
	  .divisor = 200 },
};

const size_t bench_n_workloads =
	sizeof(bench_workloads) / sizeof(bench_workloads[0]);

const struct bench_workload *bench_workload_find(const char *name)
{
	for (size_t i = 0; i < bench_n_workloads; i++)
		if (strcmp(bench_workloads[i].name, name) == 0)
			return &bench_workloads[i];
	return NULL;
}

uint64_t bench_workload_ops(const struct bench_workload *w, uint64_t records)
{
	uint64_t n = records / w->divisor;

	return n ? n : 1;
}

/* --------------------------------------------------------------- randomness */

/* Every 64-bit number to another one (the finalizer of splitmix64). */
static uint64_t scatter(uint64_t x)
{
	x += UINT64_C(0x9e3779b97f4a7c15);
	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

void bench_rng_init(struct bench_rng *r, uint64_t seed)
{
	r->state = scatter(seed) | 1;
}

uint64_t bench_rng_next(struct bench_rng *r)
{
	r->state ^= r->state >> 12;
	r->state ^= r->state << 25;
	r->state ^= r->state >> 27;
	return r->state * UINT64_C(0x2545f4914f6cdd1d);
}

static double unit(struct bench_rng *r)
{
	return (double)(bench_rng_next(r) >> 11) / 9007199254740992.0;
}

/* Gray et al., "Quickly generating billion-record synthetic databases", as
 * YCSB does it. */
struct zipf {
	uint64_t n;
	double zeta;
	double eta;
	double alpha;
	double half;
};

static void zipf_init(struct zipf *z, uint64_t n)
{
	double zeta2 = 1 + pow(0.5, ZIPF_THETA);

	z->n = n;
	z->zeta = 0;
	for (uint64_t i = 1; i <= n; i++)
		z->zeta += pow((double)i, -ZIPF_THETA);
	z->alpha = 1 / (1 - ZIPF_THETA);
	z->eta = (1 - pow(2.0 / (double)n, 1 - ZIPF_THETA)) /
		 (1 - zeta2 / z->zeta);
	z->half = zeta2;
}

static uint64_t zipf_draw(const struct zipf *z, struct bench_rng *r)
{
	double u = unit(r);
	double uz = u * z->zeta;
	uint64_t v;

	if (uz < 1)
		return 0;
	if (uz < z->half)
		return z->n > 1;
	v = (uint64_t)((double)z->n * pow(z->eta * u - z->eta + 1, z->alpha));
	return v < z->n ? v : z->n - 1;
}

/* --------------------------------------------------------------- operations */

/* Draws record numbers in a workload's order. */
struct source {
	enum bench_order order;
	uint64_t records;
	struct bench_part part;
	struct bench_rng rng;
	struct zipf zipf;
	uint64_t mask; /* over records: a power of two, less 1 */
	uint64_t at;
	uint64_t inserts_begin;
	uint64_t inserted;
};

static void source_init(struct source *s, const struct bench_workload *w,
			const struct bench_part *p)
{
	size_t which = (size_t)(w - bench_workloads);

	*s = (struct source){ .order = w->order,
			      .records = p->records,
			      .part = *p,
			      .at = p->client };
	bench_rng_init(&s->rng, p->seed + p->client);
	if (w->order == ORDER_ZIPFIAN || w->order == ORDER_LATEST)
		zipf_init(&s->zipf, p->records);
	for (s->mask = 1; s->mask < p->records;)
		s->mask = 2 * s->mask + 1;
	s->inserts_begin = (INSERTS_BEGIN + which) * p->records;
}

static uint64_t inserted_record(const struct source *s, uint64_t i)
{
	return s->inserts_begin + i * s->part.clients + s->part.client;
}

/*
 * Another order without a pattern of the numbers below records. Each step
 * permutes the numbers up to mask; who lands outside goes on until it is back
 * inside, which it must be, as it began there.
 */
static uint64_t permuted(const struct source *s, uint64_t v)
{
	do {
		v = (v + 1) * UINT64_C(0x5851f42d4c957f2d) & s->mask;
		v ^= v >> 7;
		v = v * UINT64_C(0xd1342543de82ef95) & s->mask;
	} while (v >= s->records);
	return v;
}

static uint64_t draw(struct source *s)
{
	uint64_t v;

	switch (s->order) {
	case ORDER_SEQUENTIAL:
		v = s->at;
		s->at += s->part.clients;
		return v;
	case ORDER_PERMUTATION:
		v = permuted(s, s->at);
		s->at += s->part.clients;
		return v;
	case ORDER_UNIFORM:
		return bench_rng_next(&s->rng) % s->records;
	case ORDER_ZIPFIAN:
		v = zipf_draw(&s->zipf, &s->rng);
		return scatter(v) % s->records;
	case ORDER_LATEST:
		v = zipf_draw(&s->zipf, &s->rng);
		if (v < s->inserted)
			return inserted_record(s, s->inserted - 1 - v);
		v -= s->inserted;
		return v < s->records ? s->records - 1 - v : 0;
	}
	return 0;
}

void bench_make_ops(const struct bench_workload *w, const struct bench_part *p,
		    struct bench_op *ops, size_t n)
{
	struct source s;

	source_init(&s, w, p);
	for (size_t i = 0; i < n; i++) {
		unsigned dice = (unsigned)(bench_rng_next(&s.rng) % 100);
		struct bench_op *op = &ops[i];

		op->count =
			(uint8_t)(1 + bench_rng_next(&s.rng) % BENCH_SCAN_MAX);
		if (dice < w->inserts) {
			op->kind = OP_WRITE;
			op->record = (uint32_t)inserted_record(&s, s.inserted);
			s.inserted++;
			continue;
		}
		op->kind = (uint8_t)(dice < w->inserts + w->reads ? OP_READ
								  : w->rest);
		op->record = (uint32_t)draw(&s);
	}
}

/* ----------------------------------------------------------- keys and values
 */

static void put_digits(char *out, uint64_t v)
{
	static const char pair[] = "0001020304050607080910111213141516171819"
				   "2021222324252627282930313233343536373839"
				   "4041424344454647484950515253545556575859"
				   "6061626364656667686970717273747576777879"
				   "8081828384858687888990919293949596979899";

	for (int i = 18; i >= 0; i -= 2) {
		memcpy(out + i, pair + 2 * (v % 100), 2);
		v /= 100;
	}
}

void bench_key(const struct bench_workload *w, uint64_t record, bool missing,
	       char key[BENCH_KEY_LEN])
{
	/* Missing ones lie between those that there are. */
	uint64_t v = 2 * record + missing;

	memcpy(key, "user", 4);
	put_digits(key + 4, w->scattered ? scatter(v) : v);
}

int bench_values_init(struct bench_values *v, size_t len)
{
	size_t size = POOL_LEN + len + PIECE_LEN;
	struct bench_rng r;

	v->len = len;
	v->pool = malloc(size);
	if (!v->pool)
		return 1;
	bench_rng_init(&r, 1);
	for (size_t i = 0; i < size; i++) {
		if (i % PIECE_LEN >= PIECE_LEN / 2)
			v->pool[i] = v->pool[i - PIECE_LEN / 2];
		else
			v->pool[i] = (char)(' ' + bench_rng_next(&r) % 95);
	}
	return 0;
}

void bench_values_fini(struct bench_values *v)
{
	free(v->pool);
}

/* Where the rest of a value comes from. */
static const char *rest_of(const struct bench_values *v, const char *head)
{
	uint64_t owner, version;

	memcpy(&owner, head, 8);
	memcpy(&version, head + 8, 8);
	return v->pool + scatter(owner ^ version) % POOL_LEN;
}

/* The end of the key: the same for no two keys close to each other. */
static const char *name_of(const char *key)
{
	return key + BENCH_KEY_LEN - 8;
}

void bench_value_make(const struct bench_values *v,
		      const char key[BENCH_KEY_LEN], uint64_t version,
		      char *value)
{
	memcpy(value, name_of(key), 8);
	memcpy(value + 8, &version, 8);
	memcpy(value + BENCH_VALUE_MIN, rest_of(v, value),
	       v->len - BENCH_VALUE_MIN);
}

bool bench_value_belongs(const struct bench_values *v, struct bench_slice key,
			 struct bench_slice value)
{
	return key.len == BENCH_KEY_LEN && value.len == v->len &&
	       memcmp(value.data, name_of(key.data), 8) == 0;
}

bool bench_value_check(const struct bench_values *v,
		       const char key[BENCH_KEY_LEN], struct bench_slice value)
{
	return bench_value_belongs(
		       v, (struct bench_slice){ key, BENCH_KEY_LEN }, value) &&
	       memcmp(value.data + BENCH_VALUE_MIN, rest_of(v, value.data),
		      v->len - BENCH_VALUE_MIN) == 0;
}
