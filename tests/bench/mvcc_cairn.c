/* SPDX-License-Identifier: BSD-3-Clause */
/* cairn for bench-mvcc: in process, with the options that it has by default. */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

#include "mvcc/request.h"
#include "mvcc/watch.h"
#include "tests/bench/mvcc_peer.h"

struct store {
	struct mvcc *m;
	const struct bench_values *values;
	char dir[4096];
};

static int check(int err)
{
	if (err)
		fprintf(stderr, "cairn: %s: %s\n", cairn_strerror(err),
			cairn_errmsg());
	return err;
}

static int open_store(struct store *s, bool new_one)
{
	struct cairn_options *o = cairn_options_new();
	const struct mvcc_options opts = { .engine = o };
	int err = o ? CAIRN_OK : CAIRN_ENOMEM;

	if (!err && new_one)
		err = cairn_options_set(o, "create_if_missing", "true");
	/* In one of an earlier run the values are others. */
	if (!err && new_one)
		err = cairn_options_set(o, "error_if_exists", "true");
	if (!err)
		err = mvcc_open(s->dir, &opts, &s->m);
	cairn_options_free(o);
	return check(err);
}

static int start(const char *scratch, const struct bench_values *values,
		 void **store)
{
	struct store *s = calloc(1, sizeof(*s));
	int err;

	if (!s)
		return check(CAIRN_ENOMEM);
	s->values = values;
	snprintf(s->dir, sizeof(s->dir), "%s/cairn", scratch);
	err = open_store(s, true);
	if (err)
		free(s);
	else
		*store = s;
	return err;
}

static void stop(void *store)
{
	struct store *s = store;

	if (s->m)
		check(mvcc_close(s->m));
	free(s);
}

static int client_new(void *store, void **client)
{
	*client = store;
	return 0;
}

static void client_free(void *client)
{
	(void)client;
}

static int get(void *client, struct cairn_slice key, int64_t rev)
{
	struct store *s = client;
	struct mvcc_pinned_row r = { 0 };
	int err = check(mvcc_get(s->m, key, rev, &r));

	if (!err)
		err = mvcc_bench_check(s->values, "cairn", key, r.row.value);
	mvcc_row_release(&r);
	return err;
}

static int restart(void *store, struct cairn_slice key, double *seconds)
{
	struct store *s = store;
	struct mvcc *m = s->m;
	double at;
	int err;

	s->m = NULL;
	err = check(mvcc_close(m));
	if (err)
		return err;
	/* What loading took is not what the store takes. */
	malloc_trim(0);
	mvcc_bench_reset_peak(0);
	at = mvcc_bench_now();
	err = open_store(s, false);
	if (!err)
		err = get(s, key, 0);
	*seconds = mvcc_bench_now() - at;
	return err;
}

static int put_many(void *client, uint64_t first, unsigned n, uint64_t version)
{
	struct store *s = client;
	char key[BENCH_KEY_LEN + 1], *value = malloc(s->values->len);
	struct mvcc_txn *t = NULL;
	int err = value ? mvcc_txn_new(s->m, &t) : CAIRN_ENOMEM;

	for (unsigned i = 0; i < n && !err; i++) {
		mvcc_bench_key(KEY_MANY, first + i, key);
		bench_value_make(s->values, key, version, value);
		err = mvcc_txn_put(t, slice_of(key, BENCH_KEY_LEN),
				   slice_of(value, s->values->len), NULL);
	}
	if (!err)
		err = mvcc_txn_commit(t, false, NULL);
	mvcc_txn_free(t);
	free(value);
	return check(err);
}

static int put(void *client, struct cairn_slice key, struct cairn_slice value,
	       bool sync)
{
	struct store *s = client;
	const struct mvcc_request r = { .kind = MVCC_REQUEST_PUT,
					.put = { .key = key, .value = value } };
	const struct mvcc_request_options opts = { .sync = sync };
	struct mvcc_answer a = { 0 };
	int err = check(mvcc_request(s->m, &r, &opts, &a));

	mvcc_answer_free(&a);
	return err;
}

static int take_row(void *ctx, const struct mvcc_row *row)
{
	const struct store *s = ctx;

	return mvcc_bench_check(s->values, "cairn", row->key, row->value);
}

static int range(void *client, struct cairn_slice from, struct cairn_slice to,
		 unsigned n)
{
	struct store *s = client;
	const struct mvcc_range_request r = { .key = from, .end = to };
	struct mvcc_answer a = { 0 };
	int err = check(mvcc_range(s->m, &r, NULL, take_row, s, &a));

	if (!err && a.count != (int64_t)n) {
		fprintf(stderr, "cairn: %lld keys of %u\n", (long long)a.count,
			n);
		err = 1;
	}
	mvcc_answer_free(&a);
	return err;
}

static int history(void *client, struct cairn_slice key, int64_t from,
		   unsigned n)
{
	struct store *s = client;
	struct mvcc_history *h = NULL;
	struct mvcc_row row;
	unsigned got = 0;
	int err = mvcc_history_new(s->m, key, &h);

	(void)from;
	while (!err && !(err = mvcc_history_next(h, &row))) {
		err = mvcc_bench_check(s->values, "cairn", key, row.value);
		got++;
	}
	mvcc_history_free(h);
	if (err == CAIRN_NOT_FOUND && got == n)
		return 0;
	fprintf(stderr, "cairn: %u versions of %u\n", got, n);
	return err ? err : 1;
}

/* ------------------------------------------------------------------ watchers
 */

/* Watchers of one thread, and those of them that have something to tell. */
struct ready {
	pthread_mutex_t mu;
	pthread_cond_t cond;
	struct watcher **queue; /* a ring with room for all */
	unsigned n, head, used;
};

struct watcher {
	struct ready *ready;
	struct mvcc_watch *w;
	bool queued;
};

static void on_ready(void *ctx)
{
	struct watcher *w = ctx;
	struct ready *r = w->ready;

	pthread_mutex_lock(&r->mu);
	if (!w->queued) {
		w->queued = true;
		r->queue[(r->head + r->used++) % r->n] = w;
		pthread_cond_signal(&r->cond);
	}
	pthread_mutex_unlock(&r->mu);
}

static struct watcher *take_ready(struct ready *r)
{
	struct watcher *w;

	pthread_mutex_lock(&r->mu);
	while (!r->used)
		pthread_cond_wait(&r->cond, &r->mu);
	w = r->queue[r->head];
	r->head = (r->head + 1) % r->n;
	r->used--;
	w->queued = false;
	pthread_mutex_unlock(&r->mu);
	return w;
}

/* Until it has nothing more to tell. */
static int drain(struct watcher *w, struct watch_sink *sink, bool *more)
{
	struct mvcc_watch_message msg = { 0 };
	int err;

	while (!(err = mvcc_watch_next(w->w, 0, &msg))) {
		*more = watch_sink_tell(sink, 0, msg.n);
		mvcc_watch_message_fini(&msg);
	}
	return err == CAIRN_NOT_FOUND ? 0 : check(err);
}

static int be_watchers(struct store *s, struct cairn_slice key, unsigned n,
		       struct watcher *list, struct ready *r,
		       struct watch_sink *sink)
{
	const struct mvcc_watch_request request = { .key = key };
	bool more = true;
	int err = 0;

	for (unsigned i = 0; i < n && !err; i++) {
		list[i].ready = r;
		err = check(mvcc_watch_new(s->m, &request, &list[i].w));
		if (!err) {
			mvcc_watch_on_ready(list[i].w, on_ready, &list[i]);
			err = drain(&list[i], sink, &more);
		}
	}
	if (!err)
		watch_sink_tell(sink, n, 0);
	while (!err && more)
		err = drain(take_ready(r), sink, &more);
	for (unsigned i = 0; i < n; i++)
		mvcc_watch_free(list[i].w);
	return err;
}

static int watch(void *client, struct cairn_slice key, unsigned n,
		 struct watch_sink *sink)
{
	struct ready r = { .mu = PTHREAD_MUTEX_INITIALIZER,
			   .cond = PTHREAD_COND_INITIALIZER,
			   .n = n };
	struct watcher *list = calloc(n, sizeof(*list));
	int err = CAIRN_ENOMEM;

	r.queue = calloc(n, sizeof(*r.queue));
	if (list && r.queue)
		err = be_watchers(client, key, n, list, &r, sink);
	else
		check(err);
	free(r.queue);
	free(list);
	return err;
}

/* -------------------------------------------------------------------- rest */

static int current(void *client, int64_t *rev)
{
	*rev = mvcc_current(((struct store *)client)->m);
	return 0;
}

static int forget(void *client, int64_t rev)
{
	struct store *s = client;

	return check(mvcc_compact(s->m, rev, true, NULL));
}

static void memory(void *store, struct mvcc_memory *out)
{
	(void)store;
	mvcc_bench_memory(0, out);
}

static void data_dir(void *store, char *path, size_t cap)
{
	snprintf(path, cap, "%s", ((struct store *)store)->dir);
}

const struct mvcc_peer mvcc_peer_cairn = {
	.name = "cairn",
	.start = start,
	.stop = stop,
	.restart = restart,
	.client_new = client_new,
	.client_free = client_free,
	.put_many = put_many,
	.put = put,
	.get = get,
	.range = range,
	.history = history,
	.watch = watch,
	.current = current,
	.forget = forget,
	.memory = memory,
	.data_dir = data_dir,
};
