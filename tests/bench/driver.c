/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One workload on one engine, in a process of its own. Started by bench-engine
 * with name=value arguments; prints what it measured as "name value" lines.
 *
 * The operations are made before the clock starts. It stops when the last
 * client is done, and once more when the engine is at rest.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "engine/base/hist.h"
#include "tests/bench/peer.h"
#include "tests/bench/workload.h"

/* Of the entries of a scan one in so many is checked to the last byte. */
#define SCAN_CHECK_PERIOD 16
/* Steps of a walk that are timed together: one takes about as long as reading
 * the clock. */
#define WALK_TIMED 64

struct bench {
	const struct bench_workload *w;
	struct bench_budget budget;
	struct bench_values values;
	const char *dir;
	uint64_t records;
	uint64_t n_ops; /* of each client */
	uint64_t n_warm;
	unsigned clients;
	uint64_t seed;
	void *db;
	struct hist latency;
	pthread_barrier_t start;
};

struct client {
	struct bench *b;
	unsigned id;
	pthread_t thread;
	struct bench_op *ops;
	void *peer;
	void *iter;
	char *value;
	uint64_t done; /* operations, or entries walked over */
	uint64_t bytes_put;
	int err;
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static int wrong(const char *what, struct bench_slice key)
{
	fprintf(stderr, "%s: %s: %.*s\n", bench_peer.name, what, (int)key.len,
		key.data);
	return 1;
}

/* -------------------------------------------------------------- operations */

static int do_read(struct client *c, const char *key, bool missing)
{
	const struct bench_slice k = { key, BENCH_KEY_LEN };
	struct bench_slice v = { c->value, 0 };
	bool found = false;

	if (bench_peer.get(c->b->db, c->peer, k, c->value, c->b->values.len,
			   &v.len, &found))
		return 1;
	if (found == missing)
		return wrong(missing ? "found" : "not found", k);
	if (found && !bench_value_check(&c->b->values, key, v))
		return wrong("wrong value", k);
	return 0;
}

static int do_write(struct client *c, const char *key, uint64_t version)
{
	const struct bench_slice k = { key, BENCH_KEY_LEN };
	const struct bench_slice v = { c->value, c->b->values.len };

	bench_value_make(&c->b->values, key, version, c->value);
	c->bytes_put += k.len + v.len;
	return bench_peer.put(c->b->db, k, v);
}

/* Copy and check the entry that an iterator stands on. */
static int take_entry(struct client *c, void *iter, uint64_t i)
{
	struct bench_slice k = bench_peer.key(iter);
	struct bench_slice v = bench_peer.value(iter);

	if (!bench_value_belongs(&c->b->values, k, v))
		return wrong("wrong value in a scan", k);
	memcpy(c->value, v.data, v.len);
	v.data = c->value;
	if (i % SCAN_CHECK_PERIOD == 0 &&
	    !bench_value_check(&c->b->values, k.data, v))
		return wrong("wrong value in a scan", k);
	return 0;
}

static int do_scan(struct client *c, const char *key, unsigned count)
{
	const struct bench_slice k = { key, BENCH_KEY_LEN };
	void *iter;
	bool valid;
	int err = bench_peer.iter_new(c->b->db, c->peer, &iter);

	if (err)
		return err;
	valid = bench_peer.seek(iter, k);
	for (unsigned i = 0; valid && i < count && !err; i++) {
		err = take_entry(c, iter, i);
		valid = bench_peer.next(iter);
	}
	return bench_peer.iter_free(iter) || err;
}

static int do_seek(struct client *c, const char *key)
{
	const struct bench_slice k = { key, BENCH_KEY_LEN };

	if (!c->iter && bench_peer.iter_new(c->b->db, c->peer, &c->iter))
		return 1;
	if (!bench_peer.seek(c->iter, k) ||
	    memcmp(bench_peer.key(c->iter).data, key, BENCH_KEY_LEN) != 0)
		return wrong("not found by an iterator", k);
	return take_entry(c, c->iter, 0);
}

static int do_op(struct client *c, const struct bench_op *op, uint64_t version)
{
	char key[BENCH_KEY_LEN];
	int err;

	bench_key(c->b->w, op->record, op->kind == OP_READ_MISSING, key);
	switch ((enum bench_op_kind)op->kind) {
	case OP_READ:
		return do_read(c, key, false);
	case OP_READ_MISSING:
		return do_read(c, key, true);
	case OP_WRITE:
		return do_write(c, key, version);
	case OP_MODIFY:
		err = do_read(c, key, false);
		return err ? err : do_write(c, key, version);
	case OP_SCAN:
		return do_scan(c, key, op->count);
	case OP_SEEK:
		return do_seek(c, key);
	}
	return 1;
}

static int run_ops(struct client *c, uint64_t from, uint64_t to,
		   struct hist *latency)
{
	uint64_t before = now_ns();

	for (uint64_t i = from; i < to; i++) {
		uint64_t after;

		if (do_op(c, &c->ops[i], i))
			return 1;
		c->done++;
		if (!latency)
			continue;
		after = now_ns();
		hist_add(latency, after - before);
		before = after;
	}
	return 0;
}

/* Over the whole store; *entries: how many there were. */
static int walk(struct client *c, bool forward, struct hist *latency,
		uint64_t *entries)
{
	uint64_t before = now_ns();
	uint64_t i = 0;
	void *iter;
	int err = bench_peer.iter_new(c->b->db, c->peer, &iter);

	if (err)
		return err;
	for (bool valid = forward ? bench_peer.first(iter)
				  : bench_peer.last(iter);
	     valid && !err;
	     valid = forward ? bench_peer.next(iter) : bench_peer.prev(iter)) {
		err = take_entry(c, iter, i);
		if (++i % WALK_TIMED == 0 && latency) {
			uint64_t after = now_ns();

			hist_add(latency, (after - before) / WALK_TIMED);
			before = after;
		}
	}
	*entries = i;
	return bench_peer.iter_free(iter) || err;
}

/* ------------------------------------------------------------------ clients */

static bool only_reads(const struct bench_workload *w)
{
	return w->walk || (!w->inserts && w->reads == 100) ||
	       w->rest == OP_READ_MISSING || w->rest == OP_SEEK ||
	       (w->rest == OP_READ && !w->inserts);
}

static int client_run(struct client *c)
{
	const struct bench_workload *w = c->b->w;

	if (!w->walk)
		return run_ops(c, c->b->n_warm, c->b->n_warm + c->b->n_ops,
			       &c->b->latency);
	return walk(c, w->walk == WALK_FORWARD, &c->b->latency, &c->done);
}

/*
 * Bring the cache into the state of an engine that has been at it for a while:
 * read everything once, then do some of the operations.
 */
static int client_warm(struct client *c)
{
	uint64_t n;
	int err = 0;

	if (!c->b->w->maker)
		return 0;
	if (c->id == 0)
		err = walk(c, true, NULL, &n);
	if (!err && c->b->n_warm)
		err = run_ops(c, 0, c->b->n_warm, NULL);
	c->done = 0;
	c->bytes_put = 0;
	return err;
}

static void *client_main(void *arg)
{
	struct client *c = arg;

	c->err = client_warm(c);
	/* Once when all are warm, once more when the clock runs. */
	pthread_barrier_wait(&c->b->start);
	pthread_barrier_wait(&c->b->start);
	if (!c->err)
		c->err = client_run(c);
	return NULL;
}

static int client_init(struct client *c, struct bench *b, unsigned id)
{
	const struct bench_part part = { b->records, id, b->clients, b->seed };
	uint64_t n = b->n_warm + b->n_ops;

	*c = (struct client){ .b = b, .id = id };
	c->value = malloc(b->values.len);
	if (!b->w->walk)
		c->ops = malloc(n * sizeof(*c->ops));
	if (!c->value || (!b->w->walk && !c->ops)) {
		fprintf(stderr, "no memory\n");
		return 1;
	}
	if (!b->w->walk)
		bench_make_ops(b->w, &part, c->ops, n);
	return bench_peer.client_new(b->db, &c->peer);
}

static int client_fini(struct client *c)
{
	int err = c->iter ? bench_peer.iter_free(c->iter) : 0;

	bench_peer.client_free(c->b->db, c->peer);
	free(c->ops);
	free(c->value);
	return err;
}

/* ---------------------------------------------------------------- measuring */

struct usage {
	uint64_t wall_ns;
	uint64_t cpu_us;
	uint64_t written; /* bytes handed to the system */
};

static uint64_t proc_number(const char *file, const char *name)
{
	FILE *f = fopen(file, "r");
	size_t len = strlen(name);
	char line[256];
	uint64_t v = 0;

	while (f && fgets(line, sizeof(line), f))
		if (strncmp(line, name, len) == 0 && line[len] == ':')
			v = strtoull(line + len + 1, NULL, 10);
	if (f)
		fclose(f);
	return v;
}

static uint64_t micros(struct timeval t)
{
	return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_usec;
}

static void usage_now(struct usage *u)
{
	struct rusage r;

	u->wall_ns = now_ns();
	getrusage(RUSAGE_SELF, &r);
	u->cpu_us = micros(r.ru_utime) + micros(r.ru_stime);
	u->written = proc_number("/proc/self/io", "wchar");
}

static void report(const struct bench *b, const struct client *clients,
		   const struct usage *at /* start, end, idle */)
{
	struct cairn_latency l;
	uint64_t done = 0, put = 0;

	for (unsigned i = 0; i < b->clients; i++) {
		done += clients[i].done;
		put += clients[i].bytes_put;
	}
	hist_summary(&b->latency, 1000, &l);
	printf("ops %" PRIu64 "\n", done);
	printf("seconds %.6f\n", (double)(at[1].wall_ns - at[0].wall_ns) / 1e9);
	printf("idle_seconds %.6f\n",
	       (double)(at[2].wall_ns - at[0].wall_ns) / 1e9);
	printf("cpu_seconds %.6f\n",
	       (double)(at[2].cpu_us - at[0].cpu_us) / 1e6);
	printf("p50_us %.3f\np99_us %.3f\np999_us %.3f\nmax_us %" PRIu64 "\n",
	       l.p50_us, l.p99_us, l.p999_us, l.max_us);
	printf("put_bytes %" PRIu64 "\n", put);
	printf("written_bytes %" PRIu64 "\n", at[2].written - at[0].written);
	/* Of inserts into a store that was there: few, and left out. */
	printf("live_bytes %" PRIu64 "\n",
	       (b->w->maker ? b->records : done) *
		       (BENCH_KEY_LEN + b->values.len));
	printf("peak_kib %" PRIu64 "\n",
	       proc_number("/proc/self/status", "VmHWM"));
}

static int run_clients(struct bench *b, struct client *clients,
		       struct usage *at)
{
	int err = 0;

	pthread_barrier_init(&b->start, NULL, b->clients + 1);
	for (unsigned i = 0; i < b->clients; i++) {
		if (pthread_create(&clients[i].thread, NULL, client_main,
				   &clients[i])) {
			fprintf(stderr, "no thread\n");
			exit(1);
		}
	}
	pthread_barrier_wait(&b->start);
	usage_now(&at[0]);
	pthread_barrier_wait(&b->start);
	for (unsigned i = 0; i < b->clients; i++) {
		pthread_join(clients[i].thread, NULL);
		err |= clients[i].err;
	}
	usage_now(&at[1]);
	pthread_barrier_destroy(&b->start);
	if (!err && !only_reads(b->w))
		err = bench_peer.settle(b->db);
	usage_now(&at[2]);
	return err;
}

static int run(struct bench *b)
{
	struct client *clients = calloc(b->clients, sizeof(*clients));
	struct usage at[3];
	int err = clients ? 0 : 1;

	if (!err)
		err = bench_peer.open(b->dir, &b->budget, &b->db);
	if (err)
		return err;
	/* What the last one left to do is not this one's. */
	if (b->w->maker)
		err = bench_peer.settle(b->db);
	for (unsigned i = 0; i < b->clients && !err; i++)
		err = client_init(&clients[i], b, i);
	if (!err)
		err = run_clients(b, clients, at);
	if (err)
		return err; /* the process ends: nothing to tidy up */
	report(b, clients, at);
	for (unsigned i = 0; i < b->clients; i++)
		err |= client_fini(&clients[i]);
	free(clients);
	return bench_peer.close(b->db) || err;
}

/* ---------------------------------------------------------------- arguments */

static const char *argument(int argc, char **argv, const char *name)
{
	size_t len = strlen(name);

	for (int i = 1; i < argc; i++)
		if (strncmp(argv[i], name, len) == 0 && argv[i][len] == '=')
			return argv[i] + len + 1;
	fprintf(stderr, "%s: no %s=\n", argv[0], name);
	exit(2);
}

static uint64_t number(int argc, char **argv, const char *name)
{
	return strtoull(argument(argc, argv, name), NULL, 10);
}

int main(int argc, char **argv)
{
	static struct bench b;
	uint64_t ops;
	int err;

	b.w = bench_workload_find(argument(argc, argv, "workload"));
	b.dir = argument(argc, argv, "dir");
	b.records = number(argc, argv, "records");
	b.clients = (unsigned)number(argc, argv, "threads");
	b.seed = number(argc, argv, "seed");
	b.budget = (struct bench_budget){
		.write_buffer = number(argc, argv, "write_buffer"),
		.write_buffers = (int)number(argc, argv, "write_buffers"),
		.cache = number(argc, argv, "cache"),
		.bloom_bits = (int)number(argc, argv, "bloom_bits"),
		.compactions = (int)number(argc, argv, "compactions"),
		.compress = number(argc, argv, "compress") != 0,
	};
	if (!b.w || !b.clients || !b.records) {
		fprintf(stderr, "%s: started by bench-engine only\n", argv[0]);
		return 2;
	}
	b.budget.sync = b.w->sync;
	if (!b.w->walk) {
		ops = bench_workload_ops(b.w, b.records);
		b.n_ops = ops / b.clients ? ops / b.clients : 1;
		if (b.w->maker)
			b.n_warm = b.n_ops / 20;
	}
	if (bench_values_init(&b.values, number(argc, argv, "value"))) {
		fprintf(stderr, "no memory\n");
		return 1;
	}
	err = run(&b);
	bench_values_fini(&b.values);
	return err ? 1 : 0;
}
