/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * cairn's revisions beside a real etcd, in one run: each measurement is made
 * with both, one after the other, the order changing from round to round, so
 * that what the machine does meanwhile hits both alike.
 */
#include <errno.h>
#include <ftw.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/hist.h"
#include "tests/bench/mvcc_peer.h"
#include "tests/compat/etcd_server.h"

#define PEERS_MAX   2
#define CLIENTS_MAX 4
#define ROUNDS_MAX  1000
#define KEYS_MAX    UINT64_C(1000000000)

/* etcd takes requests of up to 1.5 MiB, and loading makes large ones. */
#define VALUE_MAX 8192

#define RANGE_LEN         1000
#define HISTORY_KEYS      16
#define HISTORY_VERSIONS  100
#define WATCHERS          1000
#define FORGET_LINGER_SEC 0.2

/* What one measurement tells. */
enum figure { RATE, P50_US, P99_US, MAX_US, N_FIGURES };

struct result {
	double figure[N_FIGURES];
};

struct bench;

struct work {
	const char *name;
	const char *what;
	/* One operation by a thread; NULL: fan-out. */
	int (*op)(struct bench *b, void *client, struct bench_rng *rng,
		  char *value);
};

struct settings {
	const char *scratch;
	uint64_t keys;
	size_t value;
	double seconds;
	unsigned rounds;
	unsigned watchers;
	unsigned clients[CLIENTS_MAX];
	size_t n_clients;
	bool alone; /* no etcd */
};

/* One peer with its store. */
struct bench {
	const struct settings *s;
	const struct mvcc_peer *peer;
	const struct bench_values *values;
	void *store;
	uint64_t version;     /* of the values loaded last */
	int64_t history_from; /* no key of KEY_HISTORY has a version before */
	int64_t history_to;   /* and each has one by then */
};

/* Results by round, then work, number of clients, and peer. */
struct results {
	const struct settings *s;
	struct bench *peers;
	size_t n_peers;
	struct result *r;
};

/* ------------------------------------------------------------------ helpers */

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "bench-mvcc: %s\n", what);
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

double mvcc_bench_now(void)
{
	return (double)now_ns() / 1e9;
}

void mvcc_bench_key(enum mvcc_key_kind kind, uint64_t i,
		    char key[BENCH_KEY_LEN + 1])
{
	static const char *const folders[] = {
		[KEY_MANY] = "registry/pods/",
		[KEY_PUT] = "registry/puts/",
		[KEY_HISTORY] = "registry/past/",
		[KEY_WATCHED] = "registry/seen/",
	};

	snprintf(key, BENCH_KEY_LEN + 1, "%s%010" PRIu64, folders[kind],
		 i % UINT64_C(10000000000));
}

int mvcc_bench_check(const struct bench_values *v, const char *peer,
		     struct cairn_slice key, struct cairn_slice value)
{
	const struct bench_slice got = { (const char *)value.data, value.len };

	if (key.len == BENCH_KEY_LEN && value.data &&
	    bench_value_check(v, (const char *)key.data, got))
		return 0;
	fprintf(stderr, "%s: wrong value of %.*s\n", peer, (int)key.len,
		(const char *)key.data);
	return 1;
}

static void proc_file(int pid, const char *name, char path[64])
{
	if (pid)
		snprintf(path, 64, "/proc/%d/%s", pid, name);
	else
		snprintf(path, 64, "/proc/self/%s", name);
}

void mvcc_bench_memory(int pid, struct mvcc_memory *out)
{
	char path[64], line[256];
	FILE *f;

	*out = (struct mvcc_memory){ 0 };
	proc_file(pid, "status", path);
	f = fopen(path, "r");
	if (!f)
		return;
	while (fgets(line, sizeof(line), f)) {
		if (strncmp(line, "VmRSS:", 6) == 0)
			out->now = strtoull(line + 6, NULL, 10) << 10;
		if (strncmp(line, "VmHWM:", 6) == 0)
			out->peak = strtoull(line + 6, NULL, 10) << 10;
	}
	fclose(f);
}

void mvcc_bench_reset_peak(int pid)
{
	char path[64];
	FILE *f;

	proc_file(pid, "clear_refs", path);
	f = fopen(path, "w");
	if (!f)
		return;
	fputs("5", f);
	fclose(f);
}

bool watch_sink_tell(struct watch_sink *s, uint64_t created, uint64_t events)
{
	pthread_mutex_lock(&s->mu);
	s->created += created;
	s->events += events;
	if (s->created + s->events >= s->awaited)
		pthread_cond_signal(&s->cond);
	pthread_mutex_unlock(&s->mu);
	return !atomic_load(&s->stop);
}

/* nftw() gives its function no context. */
static _Thread_local uint64_t bytes_found;

static int add_file(const char *path, const struct stat *st, int type,
		    struct FTW *ftw)
{
	(void)path;
	(void)ftw;
	if (type == FTW_F)
		bytes_found += (uint64_t)st->st_blocks * 512;
	return 0;
}

static double disk_mb(const struct bench *b)
{
	char path[4096];

	b->peer->data_dir(b->store, path, sizeof(path));
	bytes_found = 0;
	/* A file that goes away meanwhile is no matter. */
	nftw(path, add_file, 16, FTW_PHYS);
	return (double)bytes_found / 1e6;
}

static double mb(uint64_t bytes)
{
	return (double)bytes / 1e6;
}

static void *new_client(const struct bench *b)
{
	void *client;

	if (b->peer->client_new(b->store, &client))
		exit(1);
	return client;
}

/* --------------------------------------------------------------- operations */

static int put_random(struct bench *b, void *client, struct bench_rng *rng,
		      char *value, enum mvcc_key_kind kind, bool sync)
{
	char key[BENCH_KEY_LEN + 1];

	mvcc_bench_key(kind, bench_rng_next(rng) % b->s->keys, key);
	bench_value_make(b->values, key, bench_rng_next(rng), value);
	return b->peer->put(client, slice_of(key, BENCH_KEY_LEN),
			    slice_of(value, b->values->len), sync);
}

static int do_put(struct bench *b, void *client, struct bench_rng *rng,
		  char *value)
{
	return put_random(b, client, rng, value, KEY_PUT, false);
}

static int do_put_sync(struct bench *b, void *client, struct bench_rng *rng,
		       char *value)
{
	return put_random(b, client, rng, value, KEY_PUT, true);
}

static int do_get(struct bench *b, void *client, struct bench_rng *rng,
		  char *value)
{
	char key[BENCH_KEY_LEN + 1];

	(void)value;
	mvcc_bench_key(KEY_MANY, bench_rng_next(rng) % b->s->keys, key);
	return b->peer->get(client, slice_of(key, BENCH_KEY_LEN), 0);
}

static int do_get_old(struct bench *b, void *client, struct bench_rng *rng,
		      char *value)
{
	char key[BENCH_KEY_LEN + 1];
	uint64_t span = (uint64_t)(b->history_to - b->history_from) + 1;
	int64_t rev = b->history_from + (int64_t)(bench_rng_next(rng) % span);

	(void)value;
	mvcc_bench_key(KEY_HISTORY, bench_rng_next(rng) % HISTORY_KEYS, key);
	/* The first ones do not exist that early. */
	if (rev < b->history_from + HISTORY_KEYS)
		rev = b->history_from + HISTORY_KEYS;
	return b->peer->get(client, slice_of(key, BENCH_KEY_LEN), rev);
}

static int do_range(struct bench *b, void *client, struct bench_rng *rng,
		    char *value)
{
	char from[BENCH_KEY_LEN + 1], to[BENCH_KEY_LEN + 1];
	uint64_t i = bench_rng_next(rng) % (b->s->keys - RANGE_LEN + 1);

	(void)value;
	mvcc_bench_key(KEY_MANY, i, from);
	mvcc_bench_key(KEY_MANY, i + RANGE_LEN, to);
	return b->peer->range(client, slice_of(from, BENCH_KEY_LEN),
			      slice_of(to, BENCH_KEY_LEN), RANGE_LEN);
}

static int do_history(struct bench *b, void *client, struct bench_rng *rng,
		      char *value)
{
	char key[BENCH_KEY_LEN + 1];

	(void)value;
	mvcc_bench_key(KEY_HISTORY, bench_rng_next(rng) % HISTORY_KEYS, key);
	return b->peer->history(client, slice_of(key, BENCH_KEY_LEN),
				b->history_from, HISTORY_VERSIONS);
}

/* What goes on while history is forgotten. */
static int do_mix(struct bench *b, void *client, struct bench_rng *rng,
		  char *value)
{
	uint64_t dice = bench_rng_next(rng) % 100;

	if (dice == 0)
		return do_range(b, client, rng, value);
	if (dice < 50)
		return put_random(b, client, rng, value, KEY_MANY, false);
	return do_get(b, client, rng, value);
}

static const struct work works[] = {
	{ "put", "one key, not synced by either", do_put },
	{ "put-sync", "one key, on the disk before the answer", do_put_sync },
	{ "get", "one random key, now", do_get },
	{ "get-old", "one key of 100 versions, at a random revision of them",
	  do_get_old },
	{ "range", "1,000 keys with their values", do_range },
	{ "history", "all 100 versions of a key; of etcd, by a watch",
	  do_history },
	{ "watch",
	  "events to all watchers of a key, put by put; us: from the "
	  "put's begin to the last watcher",
	  NULL },
};
#define N_WORKS (sizeof(works) / sizeof(works[0]))

/* ------------------------------------------------------------------ threads */

/* Clients that do the same until they are told to stop. */
struct crowd {
	struct bench *b;
	const struct work *work;
	unsigned n;
	struct client *clients;
	pthread_barrier_t start;
	_Atomic bool stop;
	_Atomic uint64_t done;
	struct hist latency;
	uint64_t start_ns;
};

struct client {
	struct crowd *crowd;
	pthread_t thread;
	struct bench_rng rng;
	void *peer;
	char *value;
};

static void *client_main(void *arg)
{
	struct client *c = arg;
	struct crowd *w = c->crowd;
	uint64_t done = 0, at, then;

	pthread_barrier_wait(&w->start);
	at = now_ns();
	while (!atomic_load_explicit(&w->stop, memory_order_relaxed)) {
		/* A wrong answer is no measurement. */
		if (w->work->op(w->b, c->peer, &c->rng, c->value))
			exit(1);
		then = now_ns();
		hist_add(&w->latency, then - at);
		at = then;
		done++;
	}
	atomic_fetch_add(&w->done, done);
	return NULL;
}

static struct crowd *crowd_start(struct bench *b, const struct work *work,
				 unsigned n)
{
	struct crowd *w = calloc(1, sizeof(*w));

	if (w)
		w->clients = calloc(n, sizeof(*w->clients));
	if (!w || !w->clients)
		die("no memory");
	w->b = b;
	w->work = work;
	w->n = n;
	pthread_barrier_init(&w->start, NULL, n + 1);
	for (unsigned i = 0; i < n; i++) {
		struct client *c = &w->clients[i];

		c->crowd = w;
		c->peer = new_client(b);
		c->value = malloc(b->values->len);
		if (!c->value)
			die("no memory");
		bench_rng_init(&c->rng, now_ns() + i);
		if (pthread_create(&c->thread, NULL, client_main, c))
			die("no thread");
	}
	pthread_barrier_wait(&w->start);
	w->start_ns = now_ns();
	return w;
}

static void take_latency(const struct hist *h, struct result *out)
{
	struct cairn_latency l;

	hist_summary(h, 1000, &l);
	out->figure[P50_US] = l.p50_us;
	out->figure[P99_US] = l.p99_us;
	out->figure[MAX_US] = (double)l.max_us;
}

static void crowd_stop(struct crowd *w, struct result *out)
{
	double seconds;

	atomic_store(&w->stop, true);
	for (unsigned i = 0; i < w->n; i++)
		pthread_join(w->clients[i].thread, NULL);
	seconds = (double)(now_ns() - w->start_ns) / 1e9;
	out->figure[RATE] = (double)atomic_load(&w->done) / seconds;
	take_latency(&w->latency, out);
	for (unsigned i = 0; i < w->n; i++) {
		w->b->peer->client_free(w->clients[i].peer);
		free(w->clients[i].value);
	}
	pthread_barrier_destroy(&w->start);
	free(w->clients);
	free(w);
}

static void wait_seconds(double s)
{
	const struct timespec ts = {
		.tv_sec = (time_t)s,
		.tv_nsec = (long)((s - (double)(time_t)s) * 1e9),
	};

	nanosleep(&ts, NULL);
}

/* ----------------------------------------------------------------- watchers */

struct watchers {
	struct bench *b;
	struct watch_sink *sink;
	unsigned n;
	pthread_t thread;
};

static void watched_key(char key[BENCH_KEY_LEN + 1])
{
	mvcc_bench_key(KEY_WATCHED, 0, key);
}

static void *watchers_main(void *arg)
{
	struct watchers *w = arg;
	char key[BENCH_KEY_LEN + 1];
	void *client = new_client(w->b);

	watched_key(key);
	if (w->b->peer->watch(client, slice_of(key, BENCH_KEY_LEN), w->n,
			      w->sink))
		exit(1);
	w->b->peer->client_free(client);
	return NULL;
}

/* Until so many things were told since the beginning. */
static void sink_await(struct watch_sink *s, uint64_t n)
{
	pthread_mutex_lock(&s->mu);
	s->awaited = n;
	while (s->created + s->events < n)
		pthread_cond_wait(&s->cond, &s->mu);
	pthread_mutex_unlock(&s->mu);
}

static void put_watched(struct bench *b, void *client, uint64_t version,
			char *value)
{
	char key[BENCH_KEY_LEN + 1];

	watched_key(key);
	bench_value_make(b->values, key, version, value);
	if (b->peer->put(client, slice_of(key, BENCH_KEY_LEN),
			 slice_of(value, b->values->len), false))
		exit(1);
}

/* Put, and wait until all watchers know, again and again. */
static uint64_t put_and_await(struct bench *b, struct watch_sink *sink,
			      struct hist *latency)
{
	uint64_t end = now_ns() + (uint64_t)(b->s->seconds * 1e9), n = 0;
	void *client = new_client(b);
	char *value = malloc(b->values->len);
	uint64_t at;

	if (!value)
		die("no memory");
	while ((at = now_ns()) < end) {
		put_watched(b, client, n++, value);
		sink_await(sink, b->s->watchers * (n + 1));
		hist_add(latency, now_ns() - at);
	}
	atomic_store(&sink->stop, true);
	put_watched(b, client, n, value);
	free(value);
	b->peer->client_free(client);
	return n;
}

static void measure_watch(struct bench *b, unsigned n_clients,
			  struct result *out)
{
	struct watch_sink sink = { .mu = PTHREAD_MUTEX_INITIALIZER,
				   .cond = PTHREAD_COND_INITIALIZER };
	struct watchers *list = calloc(n_clients, sizeof(*list));
	struct hist *latency = calloc(1, sizeof(*latency));
	uint64_t at, puts;

	if (!list || !latency)
		die("no memory");
	for (unsigned i = 0; i < n_clients; i++) {
		list[i].b = b;
		list[i].sink = &sink;
		list[i].n = b->s->watchers * (i + 1) / n_clients -
			    b->s->watchers * i / n_clients;
		if (pthread_create(&list[i].thread, NULL, watchers_main,
				   &list[i]))
			die("no thread");
	}
	sink_await(&sink, b->s->watchers);
	at = now_ns();
	puts = put_and_await(b, &sink, latency);
	out->figure[RATE] = (double)(puts * b->s->watchers) /
			    ((double)(now_ns() - at) / 1e9);
	take_latency(latency, out);
	for (unsigned i = 0; i < n_clients; i++)
		pthread_join(list[i].thread, NULL);
	free(latency);
	free(list);
}

static void measure(struct bench *b, const struct work *work,
		    unsigned n_clients, struct result *out)
{
	struct crowd *w;

	if (!work->op) {
		measure_watch(b, n_clients, out);
		return;
	}
	w = crowd_start(b, work, n_clients);
	wait_seconds(b->s->seconds);
	crowd_stop(w, out);
}

/* ------------------------------------------------------------------ loading */

/* A new version of each of the many keys. Returns the seconds it took. */
static double load(struct bench *b)
{
	void *client = new_client(b);
	double at = mvcc_bench_now();

	b->version++;
	for (uint64_t i = 0; i < b->s->keys; i += MVCC_BENCH_TXN) {
		uint64_t n = b->s->keys - i;

		if (n > MVCC_BENCH_TXN)
			n = MVCC_BENCH_TXN;
		if (b->peer->put_many(client, i, (unsigned)n, b->version))
			exit(1);
	}
	b->peer->client_free(client);
	return mvcc_bench_now() - at;
}

static void make_history(struct bench *b)
{
	void *client = new_client(b);
	char key[BENCH_KEY_LEN + 1], *value = malloc(b->values->len);

	if (!value)
		die("no memory");
	if (b->peer->current(client, &b->history_from))
		exit(1);
	for (unsigned i = 0; i < HISTORY_KEYS * HISTORY_VERSIONS; i++) {
		mvcc_bench_key(KEY_HISTORY, i % HISTORY_KEYS, key);
		bench_value_make(b->values, key, i, value);
		if (b->peer->put(client, slice_of(key, BENCH_KEY_LEN),
				 slice_of(value, b->values->len), false))
			exit(1);
	}
	if (b->peer->current(client, &b->history_to))
		exit(1);
	free(value);
	b->peer->client_free(client);
}

/* -------------------------------------------------------------------- parts */

static void measure_open(struct bench *b)
{
	char key[BENCH_KEY_LEN + 1];
	struct mvcc_memory opened, used;
	struct bench_rng rng;
	void *client;
	double seconds;

	mvcc_bench_key(KEY_MANY, b->s->keys / 2, key);
	if (b->peer->restart(b->store, slice_of(key, BENCH_KEY_LEN), &seconds))
		exit(1);
	b->peer->memory(b->store, &opened);
	client = new_client(b);
	bench_rng_init(&rng, 1);
	for (uint64_t i = 0; i < b->s->keys && i < 20000; i++)
		if (do_get(b, client, &rng, NULL))
			exit(1);
	b->peer->client_free(client);
	b->peer->memory(b->store, &used);
	printf("%-8s %10.1f %10.1f %10.1f %10.1f\n", b->peer->name,
	       seconds * 1e3, mb(opened.now), mb(used.now), disk_mb(b));
}

static void measure_forget(struct bench *b, unsigned n_clients)
{
	static const struct work mix = { "mix", "", do_mix };
	struct result quiet, r;
	struct crowd *w;
	void *client = new_client(b);
	struct mvcc_memory memory;
	double before, seconds;
	int64_t rev;

	/* Now there are two versions of each key, or more. */
	load(b);
	/* How long requests take here when nothing is forgotten. */
	measure(b, &mix, n_clients, &quiet);
	before = disk_mb(b);
	if (b->peer->current(client, &rev))
		exit(1);
	w = crowd_start(b, &mix, n_clients);
	wait_seconds(FORGET_LINGER_SEC);
	seconds = mvcc_bench_now();
	if (b->peer->forget(client, rev))
		exit(1);
	seconds = mvcc_bench_now() - seconds;
	wait_seconds(FORGET_LINGER_SEC);
	crowd_stop(w, &r);
	b->peer->client_free(client);
	b->peer->memory(b->store, &memory);
	printf("%-8s %2u %11.3f %10.1f %10.1f %10.1f %10.1f %10.1f %10.2f "
	       "%10.2f %10.1f\n",
	       b->peer->name, n_clients, seconds, before, disk_mb(b),
	       r.figure[RATE] / 1e3, r.figure[P50_US], r.figure[P99_US],
	       r.figure[MAX_US] / 1e3, quiet.figure[MAX_US] / 1e3,
	       mb(memory.peak));
}

static struct result *result_at(const struct results *r, unsigned round,
				size_t work, size_t clients, size_t peer)
{
	size_t i = round * N_WORKS + work;

	return &r->r[(i * r->s->n_clients + clients) * PEERS_MAX + peer];
}

static void run_round(const struct results *r, unsigned round)
{
	for (size_t w = 0; w < N_WORKS; w++) {
		for (size_t c = 0; c < r->s->n_clients; c++) {
			if (isatty(STDERR_FILENO))
				fprintf(stderr, "\rround %u of %u: %-10s %2u",
					round + 1, r->s->rounds, works[w].name,
					r->s->clients[c]);
			for (size_t i = 0; i < r->n_peers; i++) {
				size_t p = (i + round + w + c) % r->n_peers;

				measure(&r->peers[p], &works[w],
					r->s->clients[c],
					result_at(r, round, w, c, p));
			}
		}
	}
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r%40s\r", "");
}

/* ------------------------------------------------------------------- report */

static int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median_of(double *v, size_t n)
{
	qsort(v, n, sizeof(*v), compare_doubles);
	return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

/* Of one figure over the rounds; of the longest, the longest. */
static double over_rounds(const struct results *r, size_t w, size_t c, size_t p,
			  enum figure f)
{
	double v[ROUNDS_MAX], median;

	for (unsigned i = 0; i < r->s->rounds; i++)
		v[i] = result_at(r, i, w, c, p)->figure[f];
	median = median_of(v, r->s->rounds);
	return f == MAX_US ? v[r->s->rounds - 1] : median;
}

/* The first peer's rate divided by that of the second, round by round. */
static void print_ratio(const struct results *r, size_t w, size_t c)
{
	double v[ROUNDS_MAX], median;

	for (unsigned i = 0; i < r->s->rounds; i++)
		v[i] = result_at(r, i, w, c, 0)->figure[RATE] /
		       result_at(r, i, w, c, 1)->figure[RATE];
	median = median_of(v, r->s->rounds);
	printf(" %7.1f [%7.1f %7.1f]", median, v[0], v[r->s->rounds - 1]);
}

static void print_rounds(const struct results *r)
{
	printf("\n%-9s %2s %-6s %10s %10s %10s %10s %7s %17s\n", "", "cl", "",
	       "k/s", "p50 us", "p99 us", "max us", "ratio",
	       "[    min     max]");
	for (size_t w = 0; w < N_WORKS; w++) {
		printf("%s: %s\n", works[w].name, works[w].what);
		for (size_t c = 0; c < r->s->n_clients; c++) {
			for (size_t p = 0; p < r->n_peers; p++) {
				printf("%-9s %2u %-6s %10.3f %10.1f %10.1f "
				       "%10.0f",
				       "", r->s->clients[c],
				       r->peers[p].peer->name,
				       over_rounds(r, w, c, p, RATE) / 1e3,
				       over_rounds(r, w, c, p, P50_US),
				       over_rounds(r, w, c, p, P99_US),
				       over_rounds(r, w, c, p, MAX_US));
				if (p)
					print_ratio(r, w, c);
				printf("\n");
			}
		}
	}
}

/* ---------------------------------------------------------------------- run */

static void run_peers(struct results *r)
{
	const struct settings *s = r->s;

	printf("\nload: %d keys a transaction, one client\n", MVCC_BENCH_TXN);
	for (size_t p = 0; p < r->n_peers; p++)
		printf("%-8s %10.1f thousand keys a second\n",
		       r->peers[p].peer->name,
		       (double)s->keys / 1e3 / load(&r->peers[p]));
	printf("\nopen: after a clean end, until the first get is answered\n"
	       "%-8s %10s %10s %10s %10s\n",
	       "", "ms", "MB opened", "MB in use", "MB disk");
	for (size_t p = 0; p < r->n_peers; p++)
		measure_open(&r->peers[p]);
	fflush(stdout);
	for (size_t p = 0; p < r->n_peers; p++)
		make_history(&r->peers[p]);
	for (unsigned i = 0; i < s->rounds; i++)
		run_round(r, i);
	print_rounds(r);
	printf("\nforget: half of all versions or more, and reclaim (etcd: "
	       "compact and defragment), while clients put (49 %%), get "
	       "(50 %%) and read ranges (1 %%); before: the longest in %g s "
	       "of the same without forgetting\n"
	       "%-8s %2s %11s %10s %10s %10s %10s %10s %10s %10s %10s\n",
	       s->seconds, "", "cl", "seconds", "MB before", "MB after",
	       "kops/s", "p50 us", "p99 us", "longest ms", "before ms",
	       "peak MB");
	fflush(stdout);
	for (size_t c = 0; c < s->n_clients; c++)
		for (size_t p = 0; p < r->n_peers; p++)
			measure_forget(&r->peers[p], s->clients[c]);
}

static void run(const struct settings *s)
{
	static struct bench peers[PEERS_MAX];
	struct bench_values values;
	struct results r = { .s = s, .peers = peers };

	if (bench_values_init(&values, s->value))
		die("no memory");
	peers[r.n_peers++].peer = &mvcc_peer_cairn;
	if (!s->alone && etcd_server_there())
		peers[r.n_peers++].peer = &mvcc_peer_etcd;
	else if (!s->alone)
		fprintf(stderr, "bench-mvcc: no etcd on this machine (Debian: "
				"etcd-server): cairn is alone\n");
	r.r = calloc((size_t)s->rounds * N_WORKS * s->n_clients * PEERS_MAX,
		     sizeof(*r.r));
	if (!r.r)
		die("no memory");
	for (size_t p = 0; p < r.n_peers; p++) {
		peers[p].s = s;
		peers[p].values = &values;
		if (peers[p].peer->start(s->scratch, &values, &peers[p].store))
			exit(1);
	}
	printf("%" PRIu64 " keys of %d bytes, values of %zu bytes; cairn in "
	       "process, with its default options; etcd by gRPC on the "
	       "loopback; %u rounds of %g s; %u watchers; cl: clients\n",
	       s->keys, BENCH_KEY_LEN, s->value, s->rounds, s->seconds,
	       s->watchers);
	run_peers(&r);
	for (size_t p = 0; p < r.n_peers; p++)
		peers[p].peer->stop(peers[p].store);
	free(r.r);
	bench_values_fini(&values);
}

/* ---------------------------------------------------------------- arguments */

static void usage(FILE *f)
{
	fprintf(f, "usage: bench-mvcc --scratch DIR [option ...]\n"
		   "  --keys N        keys in the stores (100000)\n"
		   "  --value BYTES   of a value (128)\n"
		   "  --rounds N      how often to measure (5)\n"
		   "  --seconds S     for each measurement (2)\n"
		   "  --clients N,... at once (1,16)\n"
		   "  --watchers N    of one key (1000)\n"
		   "  --alone         without etcd\n"
		   "  --quick         2 rounds of 0.5 s\n");
}

static uint64_t number(const char *text, uint64_t min, uint64_t max)
{
	char *end;
	uint64_t v;

	errno = 0;
	v = strtoull(text, &end, 10);
	if (!errno && *text >= '0' && *text <= '9' && !*end && v >= min &&
	    v <= max)
		return v;
	fprintf(stderr,
		"bench-mvcc: %s: not a number from %" PRIu64 " to %" PRIu64
		"\n",
		text, min, max);
	exit(2);
}

static double seconds_of(const char *text)
{
	char *end;
	double v = strtod(text, &end);

	if (end != text && !*end && v > 0 && v <= 3600)
		return v;
	fprintf(stderr, "bench-mvcc: %s: not from 0 to 3600 seconds\n", text);
	exit(2);
}

static void set_clients(struct settings *s, char *list)
{
	char *save = NULL;

	s->n_clients = 0;
	for (char *t = strtok_r(list, ",", &save); t;
	     t = strtok_r(NULL, ",", &save)) {
		if (s->n_clients == CLIENTS_MAX)
			die("too many numbers of clients");
		s->clients[s->n_clients++] = (unsigned)number(t, 1, 256);
	}
	if (!s->n_clients)
		die("no clients");
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "scratch", required_argument, NULL, 'd' },
		{ "keys", required_argument, NULL, 'k' },
		{ "value", required_argument, NULL, 'v' },
		{ "rounds", required_argument, NULL, 'r' },
		{ "seconds", required_argument, NULL, 's' },
		{ "clients", required_argument, NULL, 'c' },
		{ "watchers", required_argument, NULL, 'w' },
		{ "alone", no_argument, NULL, 'a' },
		{ "quick", no_argument, NULL, 'q' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	struct settings s = {
		.keys = 100000,
		.value = 128,
		.rounds = 5,
		.seconds = 2,
		.watchers = WATCHERS,
		.clients = { 1, 16 },
		.n_clients = 2,
	};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'd':
			s.scratch = optarg;
			break;
		case 'k':
			s.keys = number(optarg, RANGE_LEN, KEYS_MAX);
			break;
		case 'v':
			s.value = number(optarg, BENCH_VALUE_MIN, VALUE_MAX);
			break;
		case 'r':
			s.rounds = (unsigned)number(optarg, 1, ROUNDS_MAX);
			break;
		case 's':
			s.seconds = seconds_of(optarg);
			break;
		case 'c':
			set_clients(&s, optarg);
			break;
		case 'w':
			s.watchers = (unsigned)number(optarg, 1, 1000000);
			break;
		case 'a':
			s.alone = true;
			break;
		case 'q':
			s.rounds = 2;
			s.seconds = 0.5;
			break;
		case 'h':
			usage(stdout);
			return 0;
		default:
			usage(stderr);
			return 2;
		}
	}
	for (size_t i = 0; i < s.n_clients; i++)
		if (s.clients[i] > s.watchers)
			die("more clients than watchers");
	if (!s.scratch || optind < argc) {
		usage(stderr);
		return 2;
	}
	run(&s);
	return 0;
}
