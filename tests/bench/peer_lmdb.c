/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * LMDB has no cache to be given a size, no filters and no compression; it lives
 * in the page cache. Every put is a transaction, as in the other engines, and
 * is synced only where those sync, too. A client keeps its reader slot.
 */
#include "tests/bench/peer.h"

#include <errno.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Address space only; a file of this length is never written. */
#define MAP_BYTES ((size_t)1 << 38)

struct store {
	MDB_env *env;
	MDB_dbi dbi;
};

struct cursor {
	MDB_txn *txn;
	MDB_cursor *cur;
	MDB_val key;
	MDB_val value;
	int err;
};

static int check(int err)
{
	if (err)
		fprintf(stderr, "lmdb: %s\n", mdb_strerror(err));
	return err;
}

static MDB_val val(struct bench_slice s)
{
	/* LMDB does not write through it. */
	return (MDB_val){ s.len, (void *)(uintptr_t)s.data };
}

static int open_dbi(struct store *s)
{
	MDB_txn *txn;
	int err = mdb_txn_begin(s->env, NULL, 0, &txn);

	if (err)
		return err;
	err = mdb_dbi_open(txn, NULL, 0, &s->dbi);
	if (err) {
		mdb_txn_abort(txn);
		return err;
	}
	return mdb_txn_commit(txn);
}

static int peer_open(const char *dir, const struct bench_budget *b, void **db)
{
	unsigned flags = MDB_NOTLS | (b->sync ? 0 : MDB_NOSYNC);
	struct store *s = calloc(1, sizeof(*s));
	int err = s ? mdb_env_create(&s->env) : ENOMEM;

	if (err) {
		free(s);
		return check(err);
	}
	mkdir(dir, 0777); /* opening it will fail if this did */
	err = mdb_env_set_mapsize(s->env, MAP_BYTES);
	if (!err)
		err = mdb_env_open(s->env, dir, flags, 0666);
	if (!err)
		err = open_dbi(s);
	if (err) {
		mdb_env_close(s->env);
		free(s);
		return check(err);
	}
	*db = s;
	return 0;
}

static int peer_close(void *db)
{
	struct store *s = db;

	mdb_env_close(s->env);
	free(s);
	return 0;
}

static int client_new(void *db, void **client)
{
	struct store *s = db;
	MDB_txn *txn;
	int err = mdb_txn_begin(s->env, NULL, MDB_RDONLY, &txn);

	if (err)
		return check(err);
	mdb_txn_reset(txn);
	*client = txn;
	return 0;
}

static void client_free(void *db, void *client)
{
	(void)db;
	mdb_txn_abort(client);
}

static int put(void *db, struct bench_slice key, struct bench_slice value)
{
	struct store *s = db;
	MDB_val k = val(key), v = val(value);
	MDB_txn *txn;
	int err = mdb_txn_begin(s->env, NULL, 0, &txn);

	if (err)
		return check(err);
	err = mdb_put(txn, s->dbi, &k, &v, 0);
	if (err) {
		mdb_txn_abort(txn);
		return check(err);
	}
	return check(mdb_txn_commit(txn));
}

static int get(void *db, void *client, struct bench_slice key, char *value,
	       size_t cap, size_t *len, bool *found)
{
	struct store *s = db;
	MDB_val k = val(key), v;
	int err = mdb_txn_renew(client);

	if (err)
		return check(err);
	err = mdb_get(client, s->dbi, &k, &v);
	*found = err == 0;
	if (*found) {
		*len = v.mv_size < cap ? v.mv_size : cap;
		memcpy(value, v.mv_data, *len);
	}
	mdb_txn_reset(client);
	return check(err == MDB_NOTFOUND ? 0 : err);
}

static int iter_new(void *db, void *client, void **iter)
{
	struct store *s = db;
	struct cursor *c = calloc(1, sizeof(*c));
	int err = c ? mdb_txn_renew(client) : ENOMEM;

	if (!err)
		err = mdb_cursor_open(client, s->dbi, &c->cur);
	if (err) {
		free(c);
		return check(err);
	}
	c->txn = client;
	*iter = c;
	return 0;
}

static int iter_free(void *iter)
{
	struct cursor *c = iter;
	int err = c->err;

	mdb_cursor_close(c->cur);
	mdb_txn_reset(c->txn);
	free(c);
	return check(err);
}

static bool go(struct cursor *c, MDB_cursor_op op)
{
	int err = mdb_cursor_get(c->cur, &c->key, &c->value, op);

	if (err && err != MDB_NOTFOUND)
		c->err = err;
	return !err;
}

static bool first(void *iter)
{
	return go(iter, MDB_FIRST);
}

static bool last(void *iter)
{
	return go(iter, MDB_LAST);
}

static bool seek(void *iter, struct bench_slice key)
{
	struct cursor *c = iter;

	c->key = val(key);
	return go(c, MDB_SET_RANGE);
}

static bool next(void *iter)
{
	return go(iter, MDB_NEXT);
}

static bool prev(void *iter)
{
	return go(iter, MDB_PREV);
}

static struct bench_slice unval(const MDB_val *v)
{
	return (struct bench_slice){ v->mv_data, v->mv_size };
}

static struct bench_slice iter_key(void *iter)
{
	return unval(&((struct cursor *)iter)->key);
}

static struct bench_slice iter_value(void *iter)
{
	return unval(&((struct cursor *)iter)->value);
}

static int settle(void *db)
{
	return check(mdb_env_sync(((struct store *)db)->env, 1));
}

const struct bench_peer bench_peer = {
	.name = "lmdb",
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
