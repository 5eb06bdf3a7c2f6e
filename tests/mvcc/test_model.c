/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Random operations on a store and on a plain list of all changes ever made,
 * which must agree: on every key at every revision that can be read, on scans,
 * listings, histories and changes; before and after flushes, compactions,
 * forgetting, restarts and power cuts.
 *
 * CAIRN_MODEL_OPS is the number of operations (100000), the first argument or
 * CAIRN_MODEL_SEED the seed. Round i of a run uses seed + i, so a failure in
 * round i of seed s is repeated by one round with seed s + i.
 */
#include <stdio.h>

#include "engine/base/rng.h"
#include "mvcc/forget.h"
#include "tests/mvcc/fixture.h"
#include "tests/support/runner.h"

#define ROUND_OPS 5000
#define N_HANDLES 3
#define N_PINS    3
#define VALUE_MAX (24 * CHUNK)

/* Sorted. Names that are files and directories, empty names, odd bytes. */
static const struct {
	const char *bytes;
	size_t len;
} universe[] = {
	{ "/", 1 },     { "//", 2 },      { "/r", 2 },    { "a", 1 },
	{ "a!", 2 },    { "a!/x", 4 },    { "a/", 2 },    { "a/!", 3 },
	{ "a//", 3 },   { "a/x", 3 },     { "a/x/", 4 },  { "a/x/y", 5 },
	{ "a/x0", 4 },  { "b", 1 },       { "b.", 2 },    { "b/c", 3 },
	{ "b/c/d", 5 }, { "b/c/d/e", 7 }, { "c", 1 },     { "d/", 2 },
	{ "d/e", 3 },   { "k", 1 },       { "k\0", 2 },   { "k\0\0", 3 },
	{ "k\0\1", 3 }, { "k\1", 2 },     { "k\xff", 2 }, { "z", 1 },
};
#define N_KEYS (sizeof(universe) / sizeof(universe[0]))

static const char *const dirs[] = { "",    "/",  "//",   "a/",
				    "a!/", "b/", "b/c/", "d/" };
#define N_DIRS (sizeof(dirs) / sizeof(dirs[0]))

/* ---------------------------------------------------------------- the model */

struct version {
	int64_t rev;
	int32_t sub;
	bool deleted;
	bool is_dir;
	uint32_t mode; /* 0: no attribute */
	int64_t create;
	int64_t version;
	size_t len;
	uint8_t *value;
};

struct logged {
	int64_t rev;
	int32_t sub;
	bool deleted;
	size_t key;
};

struct handle {
	struct mvcc_object *o;
	size_t key;
	size_t len;
	uint8_t bytes[VALUE_MAX];
};

struct model {
	struct rng r;
	struct cairn_env *env;
	struct mvcc *m;
	struct {
		struct version *v;
		size_t n, cap;
	} keys[N_KEYS];
	struct logged *log;
	size_t n_log, cap_log;
	int64_t current;
	int64_t oldest; /* 0: nothing was forgotten */
	int64_t synced;
	struct handle handles[N_HANDLES];
	int64_t pins[N_PINS]; /* 0: free */
};

static struct cairn_slice key_of(size_t k)
{
	return slice_of(universe[k].bytes, universe[k].len);
}

static size_t below(struct model *M, size_t n)
{
	return (size_t)rng_below(&M->r, n);
}

static size_t random_key(struct model *M)
{
	/* Some more often than others. */
	return rng_one_in(&M->r, 2) ? below(M, N_KEYS) : below(M, 6) + 6;
}

/* What a reader of key k at rev sees; NULL: nothing. */
static const struct version *visible(const struct model *M, size_t k,
				     int64_t rev)
{
	size_t n = M->keys[k].n;

	while (n && M->keys[k].v[n - 1].rev > rev)
		n--;
	if (!n || M->keys[k].v[n - 1].deleted)
		return NULL;
	return &M->keys[k].v[n - 1];
}

static void record(struct model *M, size_t k, const struct version *v)
{
	if (M->keys[k].n == M->keys[k].cap) {
		M->keys[k].cap = M->keys[k].cap ? 2 * M->keys[k].cap : 16;
		M->keys[k].v =
			realloc(M->keys[k].v, M->keys[k].cap * sizeof(*v));
		ck_assert_ptr_nonnull(M->keys[k].v);
	}
	M->keys[k].v[M->keys[k].n++] = *v;
	if (M->n_log == M->cap_log) {
		M->cap_log = M->cap_log ? 2 * M->cap_log : 64;
		M->log = realloc(M->log, M->cap_log * sizeof(M->log[0]));
		ck_assert_ptr_nonnull(M->log);
	}
	M->log[M->n_log++] = (struct logged){ v->rev, v->sub, v->deleted, k };
}

/* The last commits are lost. */
static void forget_above(struct model *M, int64_t rev)
{
	for (size_t k = 0; k < N_KEYS; k++) {
		while (M->keys[k].n && M->keys[k].v[M->keys[k].n - 1].rev > rev)
			free(M->keys[k].v[--M->keys[k].n].value);
	}
	while (M->n_log && M->log[M->n_log - 1].rev > rev)
		M->n_log--;
	M->current = rev;
}

/* Changes of one transaction, applied when it has its revision. */
struct pending {
	struct model *M;
	struct mvcc_txn *t;
	struct {
		size_t key;
		struct version v;
	} changes[16];
	size_t n;
	bool used[N_KEYS];
};

static void pend(struct pending *p, size_t k, bool deleted, const void *value,
		 size_t len, bool is_dir, uint32_t mode)
{
	struct version *v = &p->changes[p->n].v;

	p->changes[p->n++].key = k;
	*v = (struct version){
		.deleted = deleted, .is_dir = is_dir, .mode = mode, .len = len
	};
	if (len) {
		v->value = malloc(len);
		ck_assert_ptr_nonnull(v->value);
		memcpy(v->value, value, len);
	}
}

static void pend_copy(struct pending *p, size_t k, const struct version *from)
{
	pend(p, k, false, from->value, from->len, from->is_dir, from->mode);
}

static void apply(struct pending *p, int64_t rev)
{
	struct model *M = p->M;

	for (size_t i = 0; i < p->n; i++) {
		size_t k = p->changes[i].key;
		const struct version *old = visible(M, k, rev - 1);
		struct version v = p->changes[i].v;

		v.rev = rev;
		v.sub = (int32_t)i;
		v.create = old ? old->create : rev;
		v.version = old ? old->version + !v.deleted : 1;
		record(M, k, &v);
	}
	if (p->n)
		M->current = rev;
}

/* -------------------------------------------------------------------- checks
 */

/* A revision that can be read. */
static int64_t readable(struct model *M)
{
	int64_t lo = M->oldest ? M->oldest : 1;

	if (rng_one_in(&M->r, 4)) {
		int64_t pin = M->pins[below(M, N_PINS)];

		if (pin)
			return pin;
	}
	if (rng_one_in(&M->r, 3))
		return M->current;
	return lo + (int64_t)rng_below(&M->r, (uint64_t)(M->current - lo + 1));
}

static void ck_row(struct model *M, const struct mvcc_row *row, size_t k,
		   const struct version *want)
{
	char *got;

	ck_assert_msg(row->main == want->rev && row->sub == want->sub,
		      "key %zu: row of %lld.%d, not %lld.%d", k,
		      (long long)row->main, (int)row->sub, (long long)want->rev,
		      (int)want->sub);
	ck_assert(slice_eq(row->key, key_of(k)));
	ck_assert(row->deleted == want->deleted);
	ck_assert_int_eq(row->version, want->version);
	if (row->deleted)
		return;
	ck_assert_int_eq(row->create_rev, want->create);
	ck_assert_uint_eq(row->size, want->len);
	ck_assert(row->attrs.type == (want->is_dir ? MVCC_DIR : MVCC_FILE));
	ck_assert_uint_eq(row->attrs.has_mode ? row->attrs.mode : 0,
			  want->mode);
	got = read_row(M->m, row);
	ck_assert_msg(!want->len || !memcmp(got, want->value, want->len),
		      "key %zu at %lld: wrong value", k, (long long)row->main);
	free(got);
}

static void ck_get(struct model *M, size_t k, int64_t rev)
{
	const struct version *want = visible(M, k, rev);
	struct mvcc_pinned_row r = { 0 };
	int err = mvcc_get(M->m, key_of(k), rev, &r);

	ck_assert_msg(err == (want ? CAIRN_OK : CAIRN_NOT_FOUND),
		      "key %zu at %lld: %d (%s), wanted %s", k, (long long)rev,
		      err, cairn_errmsg(), want ? "a row" : "none");
	if (want)
		ck_row(M, &r.row, k, want);
	mvcc_row_release(&r);
}

static void ck_scan(struct model *M, int64_t rev, size_t from, size_t to,
		    bool reverse)
{
	struct mvcc_scan *s;
	struct mvcc_row row;

	ck_ok(mvcc_scan_new(M->m, rev, key_of(from),
			    to < N_KEYS ? key_of(to) : none(), reverse, &s));
	for (size_t i = from; i < to; i++) {
		size_t k = reverse ? to - 1 - (i - from) : i;
		const struct version *want = visible(M, k, rev);

		if (!want)
			continue;
		ck_ok(mvcc_scan_next(s, &row));
		ck_row(M, &row, k, want);
	}
	ck_code(mvcc_scan_next(s, &row), CAIRN_NOT_FOUND);
	mvcc_scan_free(s);
}

static void ck_history(struct model *M, size_t k)
{
	int64_t bound = M->oldest;
	struct mvcc_history *h;
	struct mvcc_row row;
	size_t i = 0;

	/* Of those not above the bound, the newest, if it is no deletion. */
	while (i < M->keys[k].n && M->keys[k].v[i].rev <= bound)
		i++;
	if (i && !M->keys[k].v[i - 1].deleted)
		i--;
	ck_ok(mvcc_history_new(M->m, key_of(k), &h));
	for (; i < M->keys[k].n; i++) {
		ck_ok(mvcc_history_next(h, &row));
		ck_row(M, &row, k, &M->keys[k].v[i]);
	}
	ck_code(mvcc_history_next(h, &row), CAIRN_NOT_FOUND);
	mvcc_history_free(h);
}

static void ck_changes(struct model *M, int64_t from, int64_t to)
{
	struct mvcc_changes *c;
	struct mvcc_change ch;

	ck_ok(mvcc_changes_new(M->m, from, to, &c));
	for (size_t i = 0; i < M->n_log; i++) {
		const struct logged *l = &M->log[i];

		if (l->rev < from || l->rev >= to)
			continue;
		ck_ok(mvcc_changes_next(c, &ch));
		ck_assert(ch.main == l->rev && ch.sub == l->sub &&
			  ch.deleted == l->deleted &&
			  slice_eq(ch.key, key_of(l->key)));
	}
	ck_code(mvcc_changes_next(c, &ch), CAIRN_NOT_FOUND);
	mvcc_changes_free(c);
}

struct name {
	struct cairn_slice name;
	const struct version *file, *dir_row;
	size_t file_key, dir_key;
	bool is_dir;
};

/* The entries of dir, in order of names. */
static size_t names_of(struct model *M, int64_t rev, struct cairn_slice dir,
		       struct name out[N_KEYS])
{
	size_t n = 0;

	for (size_t k = 0; k < N_KEYS; k++) {
		const struct version *v = visible(M, k, rev);
		struct cairn_slice rest = key_of(k);
		const uint8_t *slash;
		struct name *e;
		size_t i = 0;

		if (!v || !slice_starts_with(rest, dir))
			continue;
		slice_advance(&rest, dir.len);
		if (!rest.len && v->is_dir)
			continue;
		slash = rest.len ? memchr(rest.data, '/', rest.len) : NULL;
		if (slash)
			rest.len = (size_t)(slash - rest.data);
		while (i < n && slice_cmp(out[i].name, rest) < 0)
			i++;
		e = &out[i];
		if (i == n || !slice_eq(e->name, rest)) {
			memmove(e + 1, e, (n++ - i) * sizeof(*e));
			*e = (struct name){ .name = rest };
		}
		if (!slash) {
			e->file = v;
			e->file_key = k;
			continue;
		}
		e->is_dir = true;
		if (v->is_dir && dir.len + rest.len + 1 == universe[k].len) {
			e->dir_row = v;
			e->dir_key = k;
		}
	}
	return n;
}

static void ck_entry(struct model *M, const struct mvcc_entry *e,
		     const struct name *want)
{
	ck_assert(slice_eq(e->name, want->name));
	ck_assert(e->is_file == (want->file != NULL));
	ck_assert(e->is_dir == want->is_dir);
	ck_assert(e->has_dir_row == (want->dir_row != NULL));
	if (e->is_file)
		ck_row(M, &e->file, want->file_key, want->file);
	if (e->has_dir_row)
		ck_row(M, &e->dir_row, want->dir_key, want->dir_row);
}

static void ck_list(struct model *M, int64_t rev, const char *dir)
{
	struct name want[N_KEYS + 1];
	size_t n = names_of(M, rev, S(dir), want);
	size_t first = n ? below(M, n) : 0;
	struct mvcc_list *l;
	struct mvcc_entry e;

	if (rng_one_in(&M->r, 2))
		first = 0;
	ck_ok(mvcc_list_new(M->m, rev, S(dir),
			    first ? want[first].name : none(), &l));
	for (size_t i = first; i < n; i++) {
		ck_ok(mvcc_list_next(l, &e));
		ck_entry(M, &e, &want[i]);
	}
	ck_code(mvcc_list_next(l, &e), CAIRN_NOT_FOUND);
	mvcc_list_free(l);
	if (n) {
		struct mvcc_pinned_row a = { 0 }, b = { 0 };
		size_t i = below(M, n);

		ck_ok(mvcc_lookup(M->m, rev, S(dir), want[i].name, &e, &a, &b));
		ck_entry(M, &e, &want[i]);
		mvcc_row_release(&a);
		mvcc_row_release(&b);
	}
	ck_code(mvcc_any(M->m, rev, S(dir), none()),
		n || (dir[0] && names_of(M, rev, none(), want) &&
		      mvcc_any(M->m, rev, S(dir), none()) == CAIRN_OK)
			? CAIRN_OK
			: CAIRN_NOT_FOUND);
}

/* Every key at every revision at which it changed, and just before. */
static void ck_everything(struct model *M)
{
	int64_t lo = M->oldest ? M->oldest : 1;

	ck_assert_int_eq(mvcc_current(M->m), M->current);
	ck_assert_int_eq(mvcc_oldest(M->m), lo);
	for (size_t k = 0; k < N_KEYS; k++) {
		for (size_t i = 0; i < M->keys[k].n; i++) {
			int64_t rev = M->keys[k].v[i].rev;

			if (rev >= lo)
				ck_get(M, k, rev);
			if (rev - 1 >= lo)
				ck_get(M, k, rev - 1);
		}
		ck_get(M, k, lo);
		ck_get(M, k, M->current);
		ck_history(M, k);
		for (int i = 0; i < N_PINS; i++) {
			if (M->pins[i])
				ck_get(M, k, M->pins[i]);
		}
	}
	ck_changes(M, lo, M->current + 1);
	for (int64_t rev = lo; rev <= M->current;
	     rev += 1 + (M->current - lo) / 50) {
		ck_scan(M, rev, 0, N_KEYS, false);
		ck_scan(M, rev, 0, N_KEYS, true);
		for (size_t d = 0; d < N_DIRS; d++)
			ck_list(M, rev, dirs[d]);
	}
}

/* ---------------------------------------------------------------- operations
 */

static size_t random_value(struct model *M, uint8_t value[VALUE_MAX])
{
	size_t len;

	if (rng_one_in(&M->r, 4))
		len = below(M, VALUE_MAX);
	else
		len = below(M, CHUNK + 3);
	memset(value, (int)(1 + below(M, 255)), len);
	for (size_t i = 0; i < len; i += 16)
		value[i] = (uint8_t)i;
	return len;
}

static uint32_t random_attrs(struct model *M, struct mvcc_attrs *a)
{
	*a = (struct mvcc_attrs){ .type = MVCC_FILE };
	if (rng_one_in(&M->r, 2)) {
		a->has_mode = true;
		a->mode = 1 + (uint32_t)below(M, 07776);
	}
	return a->mode;
}

/* Whether both keys of an op are new to the transaction; then they are not. */
static bool take_keys(struct pending *p, size_t a, size_t b)
{
	if (p->used[a] || p->used[b])
		return false;
	p->used[a] = true;
	p->used[b] = true;
	return true;
}

static void op_put(struct pending *p, size_t k)
{
	struct model *M = p->M;
	uint8_t value[VALUE_MAX];
	struct mvcc_attrs attrs;
	uint32_t mode = random_attrs(M, &attrs);
	size_t len = random_value(M, value);
	bool dir = key_of(k).data[universe[k].len - 1] == '/' &&
		   !rng_one_in(&M->r, 3);

	if (dir) {
		attrs.type = MVCC_DIR;
		len = 0;
	}
	ck_ok(mvcc_txn_put(p->t, key_of(k), slice_of(value, len), &attrs));
	pend(p, k, false, value, len, dir, mode);
}

static void op_delete(struct pending *p, size_t k)
{
	ck_ok(mvcc_txn_delete(p->t, key_of(k)));
	if (visible(p->M, k, p->M->current))
		pend(p, k, true, NULL, 0, false, 0);
}

static void op_set_attrs(struct pending *p, size_t k)
{
	const struct version *v = visible(p->M, k, p->M->current);
	struct mvcc_attrs attrs;
	uint32_t mode = random_attrs(p->M, &attrs);

	if (!v)
		return;
	if (v->is_dir)
		attrs.type = MVCC_DIR;
	ck_ok(mvcc_txn_set_attrs(p->t, key_of(k), &attrs));
	pend(p, k, false, v->value, v->len, v->is_dir, mode);
}

static void op_move(struct pending *p, size_t k, size_t to, bool exchange)
{
	const struct version *a = visible(p->M, k, p->M->current);
	const struct version *b = visible(p->M, to, p->M->current);

	if (k == to || !a || a->is_dir || (exchange && (!b || b->is_dir)))
		return;
	if (exchange) {
		ck_ok(mvcc_txn_exchange(p->t, key_of(k), key_of(to)));
		pend_copy(p, k, b);
		pend_copy(p, to, a);
		return;
	}
	ck_ok(mvcc_txn_move(p->t, key_of(k), key_of(to)));
	pend(p, k, true, NULL, 0, false, 0);
	pend_copy(p, to, a);
}

static void commit(struct pending *p, bool sync)
{
	struct model *M = p->M;
	int64_t rev = -1;

	ck_ok(mvcc_txn_commit(p->t, sync, &rev));
	mvcc_txn_free(p->t);
	ck_assert_int_eq(rev, M->current + (p->n > 0));
	apply(p, rev);
	if (sync)
		M->synced = M->current;
	ck_assert_int_eq(mvcc_current(M->m), M->current);
}

static void do_txn(struct model *M, size_t ops)
{
	struct pending p = { .M = M };

	ck_ok(mvcc_txn_new(M->m, &p.t));
	while (ops--) {
		size_t k = random_key(M), to = random_key(M);
		size_t kind = below(M, 10);

		if (!take_keys(&p, k, kind >= 8 ? to : k))
			continue;
		if (kind < 4)
			op_put(&p, k);
		else if (kind < 6)
			op_delete(&p, k);
		else if (kind < 8)
			op_set_attrs(&p, k);
		else
			op_move(&p, k, to, kind == 9);
	}
	if (rng_one_in(&M->r, 5)) {
		size_t k = random_key(M);
		const struct version *v = visible(M, k, M->current);

		ck_ok(mvcc_txn_expect(p.t, key_of(k), v ? v->rev : 0));
	}
	commit(&p, rng_one_in(&M->r, 10));
}

/* A commit that must not happen. */
static void do_failing_txn(struct model *M)
{
	size_t k = random_key(M);
	const struct version *v = visible(M, k, M->current);
	struct pending p = { .M = M };

	ck_ok(mvcc_txn_new(M->m, &p.t));
	op_put(&p, k);
	ck_ok(mvcc_txn_expect(p.t, key_of(k), v ? v->rev - 1 : 2));
	ck_code(mvcc_txn_commit(p.t, false, NULL), CAIRN_EABORTED);
	mvcc_txn_free(p.t);
	for (size_t i = 0; i < p.n; i++)
		free(p.changes[i].v.value);
}

static void handle_open(struct model *M, struct handle *h)
{
	size_t k = random_key(M);
	const struct version *v = visible(M, k, M->current);
	struct mvcc_pinned_row r = { 0 };
	int err;

	memset(h, 0, sizeof(*h));
	h->key = k;
	if (!v || v->is_dir || rng_one_in(&M->r, 4)) {
		ck_ok(mvcc_object_new(M->m, &h->o));
		return;
	}
	ck_ok(mvcc_get(M->m, key_of(k), 0, &r));
	err = mvcc_object_open(M->m, &r.row, &h->o);
	mvcc_row_release(&r);
	if (err == CAIRN_EBUSY) { /* another handle has it, perhaps moved */
		h->o = NULL;
		return;
	}
	ck_ok(err);
	h->len = v->len;
	if (v->len)
		memcpy(h->bytes, v->value, v->len);
}

static void handle_write(struct model *M, struct handle *h)
{
	size_t off = below(M, VALUE_MAX);
	size_t len = below(M, rng_one_in(&M->r, 3) ? VALUE_MAX - off : 40);
	uint8_t data[VALUE_MAX];

	if (len > VALUE_MAX - off)
		len = VALUE_MAX - off;
	memset(data, (int)(1 + below(M, 255)), len);
	ck_ok(mvcc_object_write(h->o, off, data, len));
	memcpy(h->bytes + off, data, len);
	if (len && h->len < off + len)
		h->len = off + len;
}

static void handle_truncate(struct model *M, struct handle *h)
{
	size_t len = below(M, rng_one_in(&M->r, 4) ? 3 : VALUE_MAX);

	ck_ok(mvcc_object_truncate(h->o, len));
	if (len < h->len)
		memset(h->bytes + len, 0, h->len - len);
	h->len = len;
}

static void handle_read(struct model *M, struct handle *h)
{
	size_t off = below(M, VALUE_MAX), len = below(M, VALUE_MAX);
	size_t want = off < h->len ? h->len - off : 0;
	uint8_t got[VALUE_MAX];
	size_t n;

	if (want > len)
		want = len;
	ck_assert_uint_eq(mvcc_object_size(h->o), h->len);
	ck_ok(mvcc_object_read(h->o, off, got, len, &n));
	ck_assert_uint_eq(n, want);
	ck_assert(!n || !memcmp(got, h->bytes + off, n));
}

static void handle_commit(struct model *M, struct handle *h)
{
	struct pending p = { .M = M };
	struct mvcc_attrs attrs;
	uint32_t mode = random_attrs(M, &attrs);

	ck_ok(mvcc_txn_new(M->m, &p.t));
	ck_ok(mvcc_txn_put_object(p.t, key_of(h->key), h->o, &attrs));
	pend(&p, h->key, false, h->bytes, h->len, false, mode);
	commit(&p, rng_one_in(&M->r, 10));
}

static void do_handle(struct model *M)
{
	struct handle *h = &M->handles[below(M, N_HANDLES)];

	if (!h->o) {
		handle_open(M, h);
		return;
	}
	switch (below(M, 12)) {
	case 0:
	case 1:
	case 2:
	case 3:
		handle_write(M, h);
		break;
	case 4:
	case 5:
		handle_truncate(M, h);
		break;
	case 6:
	case 7:
		handle_read(M, h);
		break;
	case 8:
	case 9:
	case 10:
		handle_commit(M, h);
		break;
	default:
		mvcc_object_free(h->o);
		h->o = NULL;
		break;
	}
}

static void do_pin(struct model *M)
{
	size_t i = below(M, N_PINS);

	if (M->pins[i]) {
		mvcc_unpin(M->m, M->pins[i]);
		M->pins[i] = 0;
		return;
	}
	M->pins[i] = readable(M);
	ck_ok(mvcc_pin(M->m, M->pins[i]));
}

static void do_forget(struct model *M)
{
	int64_t lo = M->oldest ? M->oldest : 1;
	int64_t rev =
		lo + (int64_t)rng_below(&M->r, (uint64_t)(M->current - lo + 1));

	if (rev <= M->oldest) {
		ck_code(mvcc_forget(M->m, rev), CAIRN_EFORGOTTEN);
		return;
	}
	ck_ok(mvcc_forget(M->m, rev));
	M->oldest = rev;
	M->synced = M->current;
}

static void drop_handles_and_pins(struct model *M)
{
	for (int i = 0; i < N_HANDLES; i++) {
		mvcc_object_free(M->handles[i].o);
		M->handles[i].o = NULL;
	}
	for (int i = 0; i < N_PINS; i++) {
		if (M->pins[i])
			mvcc_unpin(M->m, M->pins[i]);
		M->pins[i] = 0;
	}
}

static void open_store(struct model *M)
{
	struct cairn_options *o = small_options(M->env);
	struct mvcc_options mo = { .engine = o,
				   .chunk_size = CHUNK,
				   .row_cache_bytes = 40 << 10 };

	ck_ok(cairn_options_set(o, "write_buffer_size", "64K"));
	ck_ok(cairn_options_set(o, "base_level_size", "16K"));
	ck_ok(cairn_options_set(o, "level_multiplier", "4"));
	ck_ok(cairn_options_set(o, "target_file_size", "8K"));
	ck_ok(mvcc_open("/db", &mo, &M->m));
	cairn_options_free(o);
	/* Much to stage, and empties are too many at once. */
	M->m->stage_bytes = 0;
	M->m->empties_some = 4;
}

static void do_reopen(struct model *M)
{
	drop_handles_and_pins(M);
	ck_ok(mvcc_close(M->m));
	open_store(M);
	ck_assert_int_eq(mvcc_current(M->m), M->current);
	/* Closing syncs. */
	M->synced = M->current;
}

static void do_power_cut(struct model *M)
{
	static const unsigned keep[] = { 0, 30, 70, 100 };
	struct cairn_env *env =
		env_mem_crash_clone(M->env, rng_next(&M->r), keep[below(M, 4)]);
	int64_t current;

	ck_assert_ptr_nonnull(env);
	drop_handles_and_pins(M);
	ck_ok(mvcc_close(M->m));
	env_mem_free(M->env);
	M->env = env;
	open_store(M);
	current = mvcc_current(M->m);
	ck_assert_msg(current >= M->synced && current <= M->current,
		      "revision %lld after a power cut; %lld were synced, "
		      "%lld written",
		      (long long)current, (long long)M->synced,
		      (long long)M->current);
	forget_above(M, current);
	M->synced = current;
	ck_assert_int_eq(mvcc_oldest(M->m), M->oldest ? M->oldest : 1);
	for (size_t k = 0; k < N_KEYS; k++)
		ck_get(M, k, current);
}

static void do_check(struct model *M)
{
	int64_t rev = readable(M);
	size_t from = below(M, N_KEYS);
	size_t to = from + below(M, N_KEYS + 1 - from);
	int64_t lo = M->oldest ? M->oldest : 1;

	switch (below(M, 16)) {
	case 0:
		ck_scan(M, rev, from, to, false);
		break;
	case 1:
		ck_scan(M, rev, from, to, true);
		break;
	case 2:
		ck_list(M, rev, dirs[below(M, N_DIRS)]);
		break;
	case 3:
		ck_history(M, random_key(M));
		break;
	case 4:
		lo += (int64_t)rng_below(&M->r,
					 (uint64_t)(M->current - lo + 1));
		ck_changes(M, lo, lo + (int64_t)below(M, 20));
		break;
	default:
		ck_get(M, random_key(M), rev);
		break;
	}
}

static void do_one(struct model *M)
{
	size_t kind = below(M, 1000);

	if (kind < 2)
		do_power_cut(M);
	else if (kind < 4)
		do_reopen(M);
	else if (kind < 6)
		compact(M->m);
	else if (kind < 12)
		flush(M->m);
	else if (kind < 20)
		do_forget(M);
	else if (kind < 40)
		do_pin(M);
	else if (kind < 50)
		do_failing_txn(M);
	else if (kind < 100)
		do_txn(M, 2 + below(M, 6));
	else if (kind < 350)
		do_txn(M, 1);
	else if (kind < 650)
		do_handle(M);
	else if (kind < 655) {
		ck_ok(mvcc_sync(M->m));
		M->synced = M->current;
	} else
		do_check(M);
}

static void model_fini(struct model *M)
{
	for (size_t k = 0; k < N_KEYS; k++) {
		for (size_t i = 0; i < M->keys[k].n; i++)
			free(M->keys[k].v[i].value);
		free(M->keys[k].v);
	}
	free(M->log);
	env_mem_free(M->env);
	free(M);
}

/* Nothing may be left but what the newest revision shows. */
static void ck_no_garbage(struct model *M)
{
	size_t live = 0;

	for (size_t k = 0; k < N_KEYS; k++)
		live += visible(M, k, M->current) != NULL;
	if (M->oldest < M->current)
		ck_ok(mvcc_forget(M->m, M->current));
	M->oldest = M->current;
	forget_wait_idle(M->m);
	compact(M->m);
	ck_everything(M);
	ck_assert_uint_eq(count_entries(M->m, "k"), live);
	ck_assert_uint_eq(count_entries(M->m, "o"), 0);
	ck_assert_uint_eq(count_entries(M->m, "e"), 0);
	for (size_t k = 0; k < N_KEYS; k++)
		ck_ok(mvcc_delete(M->m, key_of(k), &M->current));
	if (M->oldest < M->current)
		ck_ok(mvcc_forget(M->m, M->current));
	forget_wait_idle(M->m);
	compact(M->m);
	ck_assert_uint_eq(count_entries(M->m, "k"), 0);
	ck_assert_uint_eq(count_entries(M->m, "c"), 0);
}

static uint64_t first_seed = 20240229;
static uint64_t total_ops = 100000;

START_TEST(store_and_model_agree)
{
	struct model *M = calloc(1, sizeof(*M));
	uint64_t ops = total_ops - (uint64_t)_i * ROUND_OPS;

	ck_assert_ptr_nonnull(M);
	rng_init(&M->r, first_seed + (uint64_t)_i);
	M->env = env_mem_new(rng_one_in(&M->r, 2) ? ENV_MEM_STRICT
						  : ENV_MEM_JOURNAL);
	ck_assert_ptr_nonnull(M->env);
	M->current = 1;
	M->synced = 1;
	open_store(M);
	for (uint64_t i = 0; i < ops && i < ROUND_OPS; i++)
		do_one(M);
	ck_everything(M);
	do_reopen(M);
	ck_everything(M);
	ck_no_garbage(M);
	ck_ok(mvcc_close(M->m));
	model_fini(M);
}
END_TEST

static uint64_t number(const char *text, uint64_t otherwise)
{
	return text && *text ? strtoull(text, NULL, 10) : otherwise;
}

int main(int argc, char **argv)
{
	Suite *s = suite_create("model");
	TCase *tc = tcase_create("model");
	int status;

	first_seed = number(getenv("CAIRN_MODEL_SEED"), first_seed);
	first_seed = number(argc > 1 ? argv[1] : NULL, first_seed);
	total_ops = number(getenv("CAIRN_MODEL_OPS"), total_ops);
	tcase_set_timeout(tc, 300);
	tcase_add_loop_test(tc, store_and_model_agree, 0,
			    (int)((total_ops + ROUND_OPS - 1) / ROUND_OPS));
	suite_add_tcase(s, tc);
	status = run_suite(s);
	printf("count operations %llu\n", (unsigned long long)total_ops);
	if (status)
		printf("seed %llu; a round is repeated by: "
		       "CAIRN_MODEL_OPS=%d %s <seed + round>\n",
		       (unsigned long long)first_seed, ROUND_OPS, argv[0]);
	return status;
}
