/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/bench/peer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/cairn.h"

struct store {
	struct cairn_db *db;
	struct cairn_write_options write_options;
};

static struct cairn_db *db_of(void *db)
{
	return ((struct store *)db)->db;
}

static int check(int err)
{
	if (err)
		fprintf(stderr, "cairn: %s: %s\n", cairn_strerror(err),
			cairn_errmsg());
	return err;
}

static struct cairn_slice slice(struct bench_slice s)
{
	return (struct cairn_slice){ (const uint8_t *)s.data, s.len };
}

static struct bench_slice unslice(struct cairn_slice s)
{
	return (struct bench_slice){ (const char *)s.data, s.len };
}

static int set_number(struct cairn_options *o, const char *name, size_t v)
{
	char text[32];

	snprintf(text, sizeof(text), "%zu", v);
	return cairn_options_set(o, name, text);
}

static int set_options(struct cairn_options *o, const struct bench_budget *b)
{
	int err = cairn_options_set(o, "create_if_missing", "true");

	if (!err)
		err = set_number(o, "write_buffer_size", b->write_buffer);
	if (!err)
		err = set_number(o, "max_write_buffers",
				 (size_t)b->write_buffers);
	if (!err)
		err = set_number(o, "block_cache_size", b->cache);
	if (!err)
		err = set_number(o, "bloom_bits_per_key",
				 (size_t)b->bloom_bits);
	if (!err)
		err = set_number(o, "max_background_jobs",
				 (size_t)b->compactions);
	if (!err)
		err = cairn_options_set(o, "compression",
					b->compress ? "snappy" : "none");
	return err;
}

static int peer_open(const char *dir, const struct bench_budget *b, void **db)
{
	struct cairn_options *o = cairn_options_new();
	struct store *st = calloc(1, sizeof(*st));
	int err = o && st ? set_options(o, b) : CAIRN_ENOMEM;

	if (!err)
		err = cairn_open(dir, o, &st->db);
	cairn_options_free(o);
	if (err) {
		free(st);
		return check(err);
	}
	st->write_options.sync = b->sync;
	*db = st;
	return 0;
}

static int peer_close(void *db)
{
	int err = check(cairn_close(db_of(db)));

	free(db);
	return err;
}

static int client_new(void *db, void **client)
{
	(void)db;
	*client = NULL;
	return 0;
}

static void client_free(void *db, void *client)
{
	(void)db;
	(void)client;
}

static int put(void *db, struct bench_slice key, struct bench_slice value)
{
	const struct store *st = db;

	return check(cairn_put(st->db, &st->write_options, slice(key),
			       slice(value)));
}

static int get(void *db, void *client, struct bench_slice key, char *value,
	       size_t cap, size_t *len, bool *found)
{
	struct cairn_pinned p;
	int err = cairn_get(db_of(db), NULL, slice(key), &p);

	(void)client;
	*found = err == CAIRN_OK;
	if (err == CAIRN_NOT_FOUND)
		return 0;
	if (err)
		return check(err);
	*len = p.value.len < cap ? p.value.len : cap;
	memcpy(value, p.value.data, *len);
	cairn_pinned_release(&p);
	return 0;
}

static int iter_new(void *db, void *client, void **iter)
{
	struct cairn_iter *it;
	int err = cairn_iter_new(db_of(db), NULL, &it);

	(void)client;
	if (!err)
		*iter = it;
	return check(err);
}

static int iter_free(void *iter)
{
	int err = check(cairn_iter_status(iter));

	cairn_iter_free(iter);
	return err;
}

static bool first(void *iter)
{
	return cairn_iter_first(iter);
}

static bool last(void *iter)
{
	return cairn_iter_last(iter);
}

static bool seek(void *iter, struct bench_slice key)
{
	return cairn_iter_seek_ge(iter, slice(key));
}

static bool next(void *iter)
{
	return cairn_iter_next(iter);
}

static bool prev(void *iter)
{
	return cairn_iter_prev(iter);
}

static struct bench_slice iter_key(void *iter)
{
	return unslice(cairn_iter_key(iter));
}

static struct bench_slice iter_value(void *iter)
{
	return unslice(cairn_iter_value(iter));
}

static int settle(void *db)
{
	int err = cairn_flush(db_of(db), true);

	return check(err ? err : cairn_wait_idle(db_of(db)));
}

const struct bench_peer bench_peer = {
	.name = "cairn",
	.open = peer_open,
	.close = peer_close,
	.client_new = client_new,
	.client_free = client_free,
	.put = put,
	.get = get,
	.iter_new = iter_new,
	.iter_free = iter_free,
	.first = first,
	.last = last,
	.seek = seek,
	.next = next,
	.prev = prev,
	.key = iter_key,
	.value = iter_value,
	.settle = settle,
};
