/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * etcd for bench-mvcc: two servers on the loopback, one with all the data that
 * syncs nothing, and one for puts that are to be synced. Clients talk gRPC.
 */
#include <stdio.h>
#include <stdlib.h>

#include "tests/bench/grpc.h"
#include "tests/bench/mvcc_peer.h"
#include "tests/compat/etcd_server.h"

struct store {
	struct etcd_server unsynced, synced;
	const struct bench_values *values;
};

struct client {
	const struct store *st;
	struct grpc unsynced, synced;
	struct buf request, op, inner; /* being made */
	/* Of the history or the watchers that are being read. */
	struct watch_sink *sink;
	struct cairn_slice key;
	unsigned n, got;
	int err;
};

static int no_memory(void)
{
	fprintf(stderr, "etcd: no memory\n");
	return 1;
}

static int start(const char *scratch, const struct bench_values *values,
		 void **store)
{
	/* Room for 10 million keys with a history. */
	static const char *const unsynced[][2] = {
		{ "ETCD_UNSAFE_NO_FSYNC", "true" },
		{ "ETCD_QUOTA_BACKEND_BYTES", "34359738368" },
		{ NULL, NULL },
	};
	struct store *st = calloc(1, sizeof(*st));

	(void)scratch; /* is TMPDIR */
	if (!st)
		return no_memory();
	st->values = values;
	st->unsynced.settings = unsynced;
	etcd_server_start(&st->unsynced);
	etcd_server_start(&st->synced);
	*store = st;
	return 0;
}

static void stop(void *store)
{
	struct store *st = store;

	etcd_server_stop(&st->unsynced);
	etcd_server_stop(&st->synced);
	free(st);
}

static void client_free(void *client)
{
	struct client *c = client;

	grpc_close(&c->unsynced);
	grpc_close(&c->synced);
	buf_fini(&c->request);
	buf_fini(&c->op);
	buf_fini(&c->inner);
	free(c);
}

static int client_new(void *store, void **client)
{
	struct store *st = store;
	struct client *c = calloc(1, sizeof(*c));

	if (!c)
		return no_memory();
	c->st = st;
	if (grpc_open(&c->unsynced, st->unsynced.port) ||
	    grpc_open(&c->synced, st->synced.port)) {
		client_free(c);
		return 1;
	}
	*client = c;
	return 0;
}

/* Send c->request. */
static int call(struct client *c, struct grpc *g, const char *method,
		struct cairn_slice *answer)
{
	grpc_clear(g);
	grpc_add(g, &c->request);
	return grpc_call(g, method, answer);
}

/* ------------------------------------------------------------------- writes */

static int put(void *client, struct cairn_slice key, struct cairn_slice value,
	       bool sync)
{
	struct client *c = client;
	struct cairn_slice answer;

	buf_clear(&c->request);
	pb_bytes(&c->request, 1, key);
	pb_bytes(&c->request, 2, value);
	return call(c, sync ? &c->synced : &c->unsynced, "KV/Put", &answer);
}

/* TxnRequest: 2 success, of RequestOp: 2 request_put. */
static int put_many(void *client, uint64_t first, unsigned n, uint64_t version)
{
	struct client *c = client;
	const struct bench_values *values = c->st->values;
	char key[BENCH_KEY_LEN + 1], *value = malloc(values->len);
	struct cairn_slice answer;

	if (!value)
		return no_memory();
	buf_clear(&c->request);
	for (unsigned i = 0; i < n; i++) {
		mvcc_bench_key(KEY_MANY, first + i, key);
		bench_value_make(values, key, version, value);
		buf_clear(&c->inner);
		pb_bytes(&c->inner, 1, slice_of(key, BENCH_KEY_LEN));
		pb_bytes(&c->inner, 2, slice_of(value, values->len));
		buf_clear(&c->op);
		pb_message(&c->op, 2, &c->inner);
		pb_message(&c->request, 2, &c->op);
	}
	free(value);
	return call(c, &c->unsynced, "KV/Txn", &answer);
}

/* -------------------------------------------------------------------- reads */

/* KeyValue: 1 key, 5 value. */
static int take_kv(const struct client *c, struct cairn_slice kv)
{
	struct cairn_slice key = { 0 }, value = { 0 };
	struct pb_field f;
	bool bad = false;

	while (pb_next(&kv, &f, &bad)) {
		if (f.field == 1)
			key = f.bytes;
		if (f.field == 5)
			value = f.bytes;
	}
	if (bad) {
		fprintf(stderr, "etcd: an answer that cannot be read\n");
		return 1;
	}
	return mvcc_bench_check(c->st->values, "etcd", key, value);
}

/* RangeRequest: 1 key, 2 range_end, 4 revision. RangeResponse: 2 kvs. */
static int get_range(struct client *c, struct cairn_slice from,
		     struct cairn_slice to, int64_t rev, unsigned n)
{
	struct cairn_slice answer;
	struct pb_field f;
	unsigned got = 0;
	bool bad = false;

	buf_clear(&c->request);
	pb_bytes(&c->request, 1, from);
	pb_bytes(&c->request, 2, to);
	pb_number(&c->request, 4, (uint64_t)rev);
	if (call(c, &c->unsynced, "KV/Range", &answer))
		return 1;
	while (pb_next(&answer, &f, &bad)) {
		if (f.field != 2)
			continue;
		if (take_kv(c, f.bytes))
			return 1;
		got++;
	}
	if (got == n && !bad)
		return 0;
	fprintf(stderr, "etcd: %u keys of %u\n", got, n);
	return 1;
}

static int get(void *client, struct cairn_slice key, int64_t rev)
{
	return get_range(client, key, (struct cairn_slice){ 0 }, rev, 1);
}

static int range(void *client, struct cairn_slice from, struct cairn_slice to,
		 unsigned n)
{
	return get_range(client, from, to, 0, n);
}

static int restart(void *store, struct cairn_slice key, double *seconds)
{
	struct store *st = store;
	void *client;
	double at;
	int err;

	etcd_server_end(&st->unsynced);
	at = mvcc_bench_now();
	etcd_server_resume(&st->unsynced);
	err = client_new(st, &client);
	if (err)
		return err;
	err = get(client, key, 0);
	*seconds = mvcc_bench_now() - at;
	client_free(client);
	return err;
}

/* ------------------------------------------------------------------ watches */

/*
 * WatchRequest: 1 create_request, with 1 key and 3 start_revision. All requests
 * go out at once; etcd does not mind that nothing follows.
 */
static int watch_stream(struct client *c, struct cairn_slice key, int64_t from,
			unsigned n,
			bool (*fn)(void *ctx, struct cairn_slice message))
{
	buf_clear(&c->inner);
	pb_bytes(&c->inner, 1, key);
	pb_number(&c->inner, 3, (uint64_t)from);
	buf_clear(&c->request);
	pb_message(&c->request, 1, &c->inner);
	grpc_clear(&c->unsynced);
	for (unsigned i = 0; i < n; i++)
		grpc_add(&c->unsynced, &c->request);
	c->key = key;
	c->err = 0;
	c->got = 0;
	return grpc_stream(&c->unsynced, "Watch/Watch", fn, c) || c->err;
}

/* WatchResponse: 3 created, 4 canceled, 11 events. */
static bool watch_message(struct client *c, struct cairn_slice m,
			  unsigned *created, unsigned *events)
{
	struct pb_field f;
	bool bad = false, canceled = false;

	*created = *events = 0;
	while (pb_next(&m, &f, &bad)) {
		*created += f.field == 3;
		*events += f.field == 11;
		canceled |= f.field == 4;
	}
	if (!bad && !canceled)
		return true;
	fprintf(stderr, "etcd: a watch was canceled\n");
	c->err = 1;
	return false;
}

static bool on_past(void *ctx, struct cairn_slice m)
{
	struct client *c = ctx;
	unsigned created, events;

	if (!watch_message(c, m, &created, &events))
		return false;
	c->got += events;
	return c->got < c->n;
}

/* etcd has no such call, but a watch from then on tells it. */
static int history(void *client, struct cairn_slice key, int64_t from,
		   unsigned n)
{
	struct client *c = client;

	c->n = n;
	return watch_stream(c, key, from, 1, on_past);
}

static bool on_event(void *ctx, struct cairn_slice m)
{
	struct client *c = ctx;
	unsigned created, events;

	return watch_message(c, m, &created, &events) &&
	       watch_sink_tell(c->sink, created, events);
}

static int watch(void *client, struct cairn_slice key, unsigned n,
		 struct watch_sink *sink)
{
	struct client *c = client;

	c->sink = sink;
	return watch_stream(c, key, 0, n, on_event);
}

/* -------------------------------------------------------------------- rest */

/* Of the header, field 1, field 3 is the revision. */
static int current(void *client, int64_t *rev)
{
	struct client *c = client;
	struct cairn_slice answer, header;
	struct pb_field f, h;
	bool bad = false;

	*rev = 0;
	buf_clear(&c->request);
	pb_bytes(&c->request, 1, slice_str("none"));
	if (call(c, &c->unsynced, "KV/Range", &answer))
		return 1;
	while (pb_next(&answer, &f, &bad)) {
		if (f.field != 1)
			continue;
		header = f.bytes;
		while (pb_next(&header, &h, &bad))
			if (h.field == 3)
				*rev = (int64_t)h.number;
	}
	return bad || !*rev;
}

/* CompactionRequest: 1 revision, 2 physical. */
static int forget(void *client, int64_t rev)
{
	struct client *c = client;
	struct cairn_slice answer;
	int err;

	buf_clear(&c->request);
	pb_number(&c->request, 1, (uint64_t)rev);
	pb_number(&c->request, 2, 1);
	err = call(c, &c->unsynced, "KV/Compact", &answer);
	buf_clear(&c->request);
	return err || call(c, &c->unsynced, "Maintenance/Defragment", &answer);
}

static void memory(void *store, struct mvcc_memory *out)
{
	mvcc_bench_memory(((struct store *)store)->unsynced.pid, out);
}

static void data_dir(void *store, char *path, size_t cap)
{
	snprintf(path, cap, "%s/data/member/snap",
		 ((struct store *)store)->unsynced.dir);
}

const struct mvcc_peer mvcc_peer_etcd = {
	.name = "etcd",
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
