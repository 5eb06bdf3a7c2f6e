/* SPDX-License-Identifier: BSD-3-Clause */
#include "mvcc/lease.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "mvcc/encode.h"
#include "tests/mvcc/fixture.h"
#include "tests/support/runner.h"

/* A store whose time moves when it is told to, and whose leases end when they
 * are told to, unless a test wants the thread. */
struct lf {
	struct cairn_env *env;
	struct mvcc *m;
	_Atomic int64_t now_ms;
	_Atomic int64_t step_ms; /* by itself, with each look */
	bool thread;
	size_t batch_bytes;
	bool full; /* has a quota, for fill_store() */
};

static int64_t fake_now(void *ctx)
{
	struct lf *f = ctx;

	return atomic_fetch_add(&f->now_ms, atomic_load(&f->step_ms));
}

static int lf_open_at(struct lf *f, struct cairn_env *env, bool read_only,
		      struct mvcc **out)
{
	struct cairn_options *o = small_options(env);
	struct mvcc_options mo = { .engine = o, .chunk_size = CHUNK };
	int err;

	mo.lease = (struct mvcc_lease_options){ .now_ms = fake_now,
						.ctx = f,
						.manual = !f->thread,
						.batch_bytes = f->batch_bytes };
	if (f->full) {
		mo.chunk_size = 0;
		ck_ok(cairn_options_set(o, "quota", FULL_QUOTA));
	}
	if (read_only) {
		ck_ok(cairn_options_set(o, "create_if_missing", "false"));
		ck_ok(cairn_options_set(o, "read_only", "true"));
	}
	err = mvcc_open("/db", &mo, out);
	cairn_options_free(o);
	return err;
}

static void lf_init(struct lf *f)
{
	f->env = env_mem_new(ENV_MEM_STRICT);
	ck_assert_ptr_nonnull(f->env);
	ck_ok(lf_open_at(f, f->env, false, &f->m));
}

static void lf_reopen(struct lf *f)
{
	ck_ok(mvcc_close(f->m));
	ck_ok(lf_open_at(f, f->env, false, &f->m));
}

static void lf_fini(struct lf *f)
{
	ck_ok(mvcc_close(f->m));
	env_mem_free(f->env);
}

static void pass(struct lf *f, int64_t ms)
{
	atomic_fetch_add(&f->now_ms, ms);
	ck_ok(mvcc_lease_expire_due(f->m));
}

static int64_t grant(struct mvcc *m, int64_t id, int64_t ttl)
{
	int64_t granted;

	ck_ok(mvcc_lease_grant(m, ttl, &id, &granted));
	return id;
}

static int put_on(struct mvcc *m, const char *key, const char *value,
		  int64_t lease)
{
	struct mvcc_txn *t;
	int err;

	ck_ok(mvcc_txn_new(m, &t));
	ck_ok(mvcc_txn_put(t, S(key), S(value), NULL));
	ck_ok(mvcc_txn_set_lease(t, lease));
	err = mvcc_txn_commit(t, false, NULL);
	mvcc_txn_free(t);
	return err;
}

static int append_key(void *ctx, struct cairn_slice key)
{
	struct buf *b = ctx;

	return buf_printf(b, "%s%.*s", b->len ? " " : "", (int)key.len,
			  (const char *)key.data);
}

static void ck_keys(struct mvcc *m, int64_t id, const char *want)
{
	struct buf b = { 0 };

	ck_ok(mvcc_lease_keys(m, id, append_key, &b));
	ck_ok(buf_append(&b, "", 1));
	ck_assert_str_eq((char *)b.data, want);
	buf_fini(&b);
}

static int64_t lease_of(struct mvcc *m, const char *key)
{
	struct mvcc_pinned_row r = { 0 };
	int64_t lease;

	ck_ok(mvcc_get(m, S(key), 0, &r));
	lease = r.row.lease;
	mvcc_row_release(&r);
	return lease;
}

static int64_t remaining(struct mvcc *m, int64_t id)
{
	struct mvcc_lease_info info;

	ck_ok(mvcc_lease_get(m, id, &info));
	ck_assert_int_eq(info.id, id);
	return info.remaining;
}

static bool exists(struct mvcc *m, int64_t id)
{
	struct mvcc_lease_info info;

	return mvcc_lease_get(m, id, &info) == CAIRN_OK;
}

/*
 * Whether tables 'l' and 'a' fit the rows: who is on a lease has an entry, and
 * an entry has such a row. Everything is read anew.
 */
static void ck_consistent(struct mvcc *m)
{
	struct mvcc_lease_info *all;
	struct mvcc_scan *s;
	struct mvcc_row row;
	size_t n, on_leases = 0;
	int err;

	ck_ok(mvcc_lease_list(m, &all, &n));
	ck_assert_uint_eq(count_entries(m, "l"), n);
	for (size_t i = 1; i < n; i++)
		ck_assert_int_lt(all[i - 1].id, all[i].id);
	free(all);
	ck_ok(mvcc_scan_new(m, 0, none(), none(), false, &s));
	while (!(err = mvcc_scan_next(s, &row))) {
		struct cairn_pinned pin = { 0 };
		struct buf k = { 0 };

		if (!row.lease)
			continue;
		on_leases++;
		ck_assert(exists(m, row.lease));
		ck_ok(enc_attached_key(&k, row.lease, row.key));
		ck_ok(cairn_get(mvcc_db(m), NULL, buf_slice(&k), &pin));
		cairn_pinned_release(&pin);
		buf_fini(&k);
	}
	ck_code(err, CAIRN_NOT_FOUND);
	mvcc_scan_free(s);
	ck_assert_uint_eq(count_entries(m, "a"), on_leases);
}

/* ------------------------------------------------------------------ grant */

START_TEST(grant_answers_as_etcd_does)
{
	static const struct {
		int64_t id, ttl, granted;
		int code;
		const char *text;
	} cases[] = {
		{ 7, 60, 60, CAIRN_OK, NULL },
		{ 7, 60, 0, CAIRN_EEXIST, "etcdserver: lease already exists" },
		{ 8, 0, 2, CAIRN_OK, NULL },
		{ 9, -5, 2, CAIRN_OK, NULL },
		{ 10, 1, 2, CAIRN_OK, NULL },
		{ 11, 2, 2, CAIRN_OK, NULL },
		{ 12, 3, 3, CAIRN_OK, NULL },
		{ INT64_MAX, 9000000000, 9000000000, CAIRN_OK, NULL },
		{ 14, 9000000001, 0, CAIRN_EINVAL,
		  "etcdserver: too large lease TTL" },
		/* The ttl is looked at first. */
		{ 7, INT64_MAX, 0, CAIRN_EINVAL,
		  "etcdserver: too large lease TTL" },
		{ -1, 60, 0, CAIRN_EINVAL, "lease id -1 is below 0" },
	};
	struct lf f = { 0 };

	lf_init(&f);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int64_t id = cases[i].id, granted = 0;
		struct mvcc_lease_info info;
		int err = mvcc_lease_grant(f.m, cases[i].ttl, &id, &granted);

		ck_assert_int_eq(err, cases[i].code);
		ck_assert_int_eq(granted, cases[i].granted);
		if (err) {
			ck_assert_str_eq(cairn_errmsg(), cases[i].text);
			continue;
		}
		ck_ok(mvcc_lease_get(f.m, id, &info));
		ck_assert_int_eq(info.granted, granted);
		ck_assert_int_eq(info.remaining, granted);
	}
	/* None of this is a revision. */
	ck_assert_int_eq(mvcc_current(f.m), 1);
	ck_consistent(f.m);
	lf_fini(&f);
}
END_TEST

START_TEST(an_id_is_chosen_when_none_is_given)
{
	struct lf f = { 0 };
	int64_t ids[200];

	lf_init(&f);
	for (int i = 0; i < 200; i++) {
		ids[i] = grant(f.m, 0, 10);
		ck_assert_int_gt(ids[i], 0);
		for (int j = 0; j < i; j++)
			ck_assert_int_ne(ids[i], ids[j]);
	}
	ck_consistent(f.m);
	for (int i = 0; i < 200; i += 2)
		ck_ok(mvcc_lease_revoke(f.m, ids[i], NULL));
	for (int i = 0; i < 200; i++)
		ck_assert(exists(f.m, ids[i]) == (i % 2 == 1));
	ck_consistent(f.m);
	lf_fini(&f);
}
END_TEST

/* ----------------------------------------------------------------- expiry */

START_TEST(a_lease_ends_at_its_deadline_and_not_before)
{
	struct lf f = { .now_ms = 1000 };

	lf_init(&f);
	grant(f.m, 5, 10);
	ck_ok(put_on(f.m, "k", "v", 5));
	pass(&f, 9999);
	ck_value(f.m, "k", 0, "v");
	ck_assert_int_eq(remaining(f.m, 5), 0);
	pass(&f, 1);
	ck_value(f.m, "k", 0, NULL);
	ck_assert(!exists(f.m, 5));
	ck_assert_int_eq(mvcc_current(f.m), 3);
	ck_assert_uint_eq(count_entries(f.m, "a"), 0);
	ck_assert_uint_eq(count_entries(f.m, "l"), 0);
	lf_fini(&f);
}
END_TEST

START_TEST(keeping_a_lease_alive_puts_its_deadline_off)
{
	struct lf f = { 0 };
	int64_t ttl = -1;

	lf_init(&f);
	grant(f.m, 5, 10);
	ck_ok(put_on(f.m, "k", "v", 5));
	for (int i = 0; i < 20; i++) {
		pass(&f, 9000);
		ck_assert_int_eq(remaining(f.m, 5), 1);
		ck_ok(mvcc_lease_keepalive(f.m, 5, &ttl));
		ck_assert_int_eq(ttl, 10);
	}
	ck_value(f.m, "k", 0, "v");
	/* Too late, although it is still there. */
	atomic_fetch_add(&f.now_ms, 10000);
	ck_ok(mvcc_lease_keepalive(f.m, 5, &ttl));
	ck_assert_int_eq(ttl, 0);
	pass(&f, 0);
	ck_value(f.m, "k", 0, NULL);
	ck_ok(mvcc_lease_keepalive(f.m, 5, &ttl));
	ck_assert_int_eq(ttl, 0);
	lf_fini(&f);
}
END_TEST

START_TEST(leases_end_in_the_order_of_their_deadlines)
{
	struct lf f = { 0 };
	int64_t seed = 1, ends[300], ttl;

	lf_init(&f);
	for (int i = 0; i < 300; i++) {
		ends[i] = 2 + (seed = seed * 75 % 65537) % 98;
		grant(f.m, i + 1, ends[i]);
	}
	/* Some start anew after a second, in any order. */
	pass(&f, 1000);
	for (int i = 0; i < 300; i += 3) {
		ck_ok(mvcc_lease_keepalive(f.m, i + 1, &ttl));
		ends[i]++;
	}
	for (int second = 1; second < 102; second++) {
		for (int i = 0; i < 300; i++)
			ck_assert_msg(exists(f.m, i + 1) == (ends[i] > second),
				      "lease %d ends at %lld, now %d", i,
				      (long long)ends[i], second);
		pass(&f, 1000);
	}
	lf_fini(&f);
}
END_TEST

START_TEST(the_thread_ends_what_is_due)
{
	/* Each look at the clock is one millisecond short of the ttl later. */
	struct lf f = { .thread = true, .step_ms = 1999 };
	char *value = NULL;

	lf_init(&f);
	grant(f.m, 5, 2);
	/* The lease may be gone by now; then so is the key. */
	(void)put_on(f.m, "k", "v", 5);
	for (int i = 0; i < 10000 && (value = get_at(f.m, "k", 0)); i++) {
		free(value);
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	}
	ck_assert_ptr_null(value);
	ck_assert(!exists(f.m, 5));
	lf_fini(&f);
}
END_TEST

START_TEST(a_thread_that_waits_does_not_hold_up_closing)
{
	struct lf f = { .thread = true };

	lf_init(&f);
	grant(f.m, 5, 1000);
	lf_reopen(&f);
	ck_assert(exists(f.m, 5));
	lf_fini(&f);
}
END_TEST

START_TEST(an_end_that_fails_is_tried_again)
{
	struct lf f = { 0 };
	int64_t ttl = -1;

	lf_init(&f);
	grant(f.m, 5, 2);
	grant(f.m, 6, 8);
	ck_ok(put_on(f.m, "k", "v", 5));
	env_mem_set_capacity(f.env, 1);
	atomic_fetch_add(&f.now_ms, 2000);
	ck_code(mvcc_lease_expire_due(f.m), CAIRN_ENOSPC);
	ck_value(f.m, "k", 0, "v");
	ck_ok(mvcc_lease_keepalive(f.m, 5, &ttl));
	ck_assert_int_eq(ttl, 0);
	env_mem_set_capacity(f.env, 0);
	ck_ok(cairn_resume(mvcc_db(f.m)));
	/* Nobody gets onto it any more. */
	ck_code(put_on(f.m, "x", "v", 5), CAIRN_NOT_FOUND);
	pass(&f, 9999);
	ck_value(f.m, "k", 0, "v");
	pass(&f, 1);
	ck_value(f.m, "k", 0, NULL);
	ck_assert(!exists(f.m, 5) && !exists(f.m, 6));
	ck_consistent(f.m);
	lf_fini(&f);
}
END_TEST

/* ----------------------------------------------------------------- revoke */

/* What the listener hears. */
struct heard {
	struct buf text;
	int commits;
};

static void hear(void *ctx, int64_t rev, const void *origin,
		 const struct mvcc_change *changes, size_t n)
{
	struct heard *h = ctx;

	ck_assert_ptr_null(origin);
	h->commits++;
	for (size_t i = 0; i < n; i++)
		ck_ok(buf_printf(&h->text, "%lld.%d%c%.*s ", (long long)rev,
				 changes[i].sub, changes[i].deleted ? '-' : '+',
				 (int)changes[i].key.len,
				 (const char *)changes[i].key.data));
}

START_TEST(revoking_deletes_the_keys_in_order_in_one_revision)
{
	struct lf f = { 0 };
	struct heard h = { 0 };
	struct mvcc_listener l = { .ctx = &h, .committed = hear };
	struct mvcc_change c;
	struct mvcc_changes *log;
	int64_t rev = 0;

	lf_init(&f);
	grant(f.m, 5, 10);
	ck_ok(put_on(f.m, "b", "2", 5));
	ck_ok(put_on(f.m, "c", "3", 0));
	ck_ok(put_on(f.m, "a", "1", 5));
	ck_ok(put_on(f.m, "a/x", "4", 5));
	ck_keys(f.m, 5, "a a/x b");
	mvcc_set_listener(f.m, &l);
	ck_ok(mvcc_lease_revoke(f.m, 5, &rev));
	ck_assert_int_eq(rev, 6);
	ck_assert_int_eq(mvcc_current(f.m), 6);
	ck_ok(buf_append(&h.text, "", 1));
	ck_assert_str_eq((char *)h.text.data, "6.0-a 6.1-a/x 6.2-b ");
	ck_assert_int_eq(h.commits, 1);
	mvcc_set_listener(f.m, NULL);
	ck_ok(mvcc_changes_new(f.m, 6, 7, &log));
	for (int i = 0; i < 3; i++) {
		ck_ok(mvcc_changes_next(log, &c));
		ck_assert(c.deleted && c.main == 6 && c.sub == i);
	}
	ck_code(mvcc_changes_next(log, &c), CAIRN_NOT_FOUND);
	mvcc_changes_free(log);
	ck_value(f.m, "a", 0, NULL);
	ck_value(f.m, "c", 0, "3");
	/* The past names the lease still. */
	ck_value(f.m, "a", 5, "1");
	ck_consistent(f.m);
	ck_code(mvcc_lease_revoke(f.m, 5, &rev), CAIRN_NOT_FOUND);
	ck_assert_str_eq(cairn_errmsg(),
			 "etcdserver: requested lease not found");
	ck_code(mvcc_lease_revoke(f.m, 0, &rev), CAIRN_NOT_FOUND);
	ck_code(mvcc_lease_revoke(f.m, -1, &rev), CAIRN_NOT_FOUND);
	buf_fini(&h.text);
	lf_fini(&f);
}
END_TEST

START_TEST(revoking_a_lease_without_keys_is_no_revision)
{
	struct lf f = { 0 };
	int64_t rev = 0;

	lf_init(&f);
	grant(f.m, 5, 10);
	ck_ok(mvcc_lease_revoke(f.m, 5, &rev));
	ck_assert_int_eq(rev, 1);
	ck_assert_uint_eq(count_entries(f.m, "l"), 0);
	/* The id can be had again. */
	grant(f.m, 5, 20);
	ck_keys(f.m, 5, "");
	lf_fini(&f);
}
END_TEST

START_TEST(revoking_ends_values_in_chunks_too)
{
	struct lf f = { 0 };
	char large[5 * CHUNK + 1];

	memset(large, 'x', sizeof(large) - 1);
	large[sizeof(large) - 1] = '\0';
	lf_init(&f);
	grant(f.m, 5, 10);
	ck_ok(put_on(f.m, "k", large, 5));
	ck_value(f.m, "k", 0, large);
	ck_ok(mvcc_lease_revoke(f.m, 5, NULL));
	ck_value(f.m, "k", 0, NULL);
	ck_value(f.m, "k", 2, large);
	ck_assert_uint_eq(count_entries(f.m, "e"), 1);
	lf_fini(&f);
}
END_TEST

/* ------------------------------------------------------------ attachments */

enum step_kind { PUT, PUT_KEEP, ATTRS, ATTRS_ON, DEL, MOVE, EXCHANGE };

static int do_step(struct mvcc *m, enum step_kind kind, const char *a,
		   const char *b, int64_t lease)
{
	struct mvcc_attrs attrs = { .has_mode = true, .mode = 0600 };
	struct mvcc_txn *t;
	int err;

	ck_ok(mvcc_txn_new(m, &t));
	switch (kind) {
	case PUT:
		ck_ok(mvcc_txn_put(t, S(a), S("v"), NULL));
		if (lease)
			ck_ok(mvcc_txn_set_lease(t, lease));
		break;
	case PUT_KEEP:
		ck_ok(mvcc_txn_put(t, S(a), S("w"), NULL));
		ck_ok(mvcc_txn_set_lease(t, MVCC_LEASE_KEEP));
		break;
	case ATTRS:
		ck_ok(mvcc_txn_set_attrs(t, S(a), &attrs));
		break;
	case ATTRS_ON:
		ck_ok(mvcc_txn_set_attrs(t, S(a), &attrs));
		ck_ok(mvcc_txn_set_lease(t, lease));
		break;
	case DEL:
		ck_ok(mvcc_txn_delete(t, S(a)));
		break;
	case MOVE:
		ck_ok(mvcc_txn_move(t, S(a), S(b)));
		break;
	case EXCHANGE:
		ck_ok(mvcc_txn_exchange(t, S(a), S(b)));
		break;
	}
	err = mvcc_txn_commit(t, false, NULL);
	mvcc_txn_free(t);
	return err;
}

START_TEST(every_change_moves_the_key_between_leases)
{
	static const struct {
		enum step_kind kind;
		const char *a, *b;
		int64_t lease;
		int code;
		const char *on5, *on6; /* afterwards */
	} steps[] = {
		{ PUT, "a", NULL, 5, CAIRN_OK, "a", "" },
		{ PUT, "a", NULL, 6, CAIRN_OK, "", "a" },
		{ PUT, "a", NULL, 6, CAIRN_OK, "", "a" },
		{ PUT, "a", NULL, 7, CAIRN_NOT_FOUND, "", "a" },
		{ PUT_KEEP, "a", NULL, 0, CAIRN_OK, "", "a" },
		{ ATTRS, "a", NULL, 0, CAIRN_OK, "", "a" },
		{ ATTRS_ON, "a", NULL, 5, CAIRN_OK, "a", "" },
		{ ATTRS_ON, "a", NULL, 7, CAIRN_NOT_FOUND, "a", "" },
		{ PUT, "b", NULL, 6, CAIRN_OK, "a", "b" },
		{ MOVE, "a", "b", 0, CAIRN_OK, "b", "" },
		{ PUT, "a", NULL, 6, CAIRN_OK, "b", "a" },
		{ EXCHANGE, "a", "b", 0, CAIRN_OK, "a", "b" },
		{ PUT, "c", NULL, 0, CAIRN_OK, "a", "b" },
		{ EXCHANGE, "a", "c", 0, CAIRN_OK, "c", "b" },
		{ MOVE, "a", "b", 0, CAIRN_OK, "c", "" },
		{ PUT_KEEP, "d", NULL, 0, CAIRN_OK, "c", "" },
		{ PUT, "d", NULL, 5, CAIRN_OK, "c d", "" },
		{ DEL, "d", NULL, 0, CAIRN_OK, "c", "" },
		{ PUT_KEEP, "d", NULL, 0, CAIRN_OK, "c", "" },
		{ ATTRS_ON, "d", NULL, 6, CAIRN_OK, "c", "d" },
		{ ATTRS_ON, "d", NULL, 0, CAIRN_OK, "c", "" },
		{ PUT, "c", NULL, 0, CAIRN_OK, "", "" },
	};
	struct lf f = { 0 };

	lf_init(&f);
	grant(f.m, 5, 10);
	grant(f.m, 6, 10);
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		int64_t rev = mvcc_current(f.m);

		ck_code(do_step(f.m, steps[i].kind, steps[i].a, steps[i].b,
				steps[i].lease),
			steps[i].code);
		ck_assert_int_eq(mvcc_current(f.m),
				 rev + (steps[i].code == CAIRN_OK));
		ck_keys(f.m, 5, steps[i].on5);
		ck_keys(f.m, 6, steps[i].on6);
		ck_consistent(f.m);
	}
	pass(&f, 10000);
	ck_value(f.m, "c", 0, "v");
	lf_fini(&f);
}
END_TEST

START_TEST(a_lease_is_set_for_puts_and_attributes_only)
{
	struct lf f = { 0 };
	struct mvcc_txn *t;

	lf_init(&f);
	ck_ok(mvcc_txn_new(f.m, &t));
	ck_code(mvcc_txn_set_lease(t, 5), CAIRN_EINVAL);
	ck_ok(mvcc_txn_delete(t, S("k")));
	ck_code(mvcc_txn_set_lease(t, 5), CAIRN_EINVAL);
	ck_ok(mvcc_txn_put(t, S("a"), S("v"), NULL));
	ck_code(mvcc_txn_set_lease(t, -2), CAIRN_EINVAL);
	mvcc_txn_free(t);
	lf_fini(&f);
}
END_TEST

START_TEST(keys_of_any_bytes_are_attached)
{
	static const struct {
		const char *data;
		size_t len;
	} keys[] = {
		{ "\0", 1 },     { "\0\0", 2 },    { "\0\1", 2 },
		{ "\0\xff", 2 }, { "a", 1 },       { "a\0", 2 },
		{ "a\0b", 3 },   { "a\0\xff", 3 }, { "\xff", 1 },
	};
	const size_t n = sizeof(keys) / sizeof(keys[0]);
	struct lf f = { 0 };
	struct mvcc_txn *t;

	lf_init(&f);
	grant(f.m, 5, 10);
	grant(f.m, INT64_MAX, 10);
	for (int round = 0; round < 2; round++) {
		int64_t lease = round ? INT64_MAX : 5;

		ck_ok(mvcc_txn_new(f.m, &t));
		for (size_t i = 0; i < n; i++) {
			ck_ok(mvcc_txn_put(t,
					   slice_of(keys[i].data, keys[i].len),
					   S("v"), NULL));
			ck_ok(mvcc_txn_set_lease(t, lease));
		}
		ck_ok(mvcc_txn_commit(t, false, NULL));
		mvcc_txn_free(t);
		ck_consistent(f.m);
		ck_assert_uint_eq(count_entries(f.m, "a"), n);
	}
	ck_ok(mvcc_lease_revoke(f.m, 5, NULL));
	ck_assert_int_eq(mvcc_current(f.m), 3);
	ck_ok(mvcc_lease_revoke(f.m, INT64_MAX, NULL));
	ck_assert_int_eq(mvcc_current(f.m), 4);
	ck_assert_uint_eq(count_entries(f.m, "a"), 0);
	for (size_t i = 0; i < n; i++) {
		struct mvcc_pinned_row r = { 0 };

		ck_code(mvcc_get(f.m, slice_of(keys[i].data, keys[i].len), 0,
				 &r),
			CAIRN_NOT_FOUND);
	}
	lf_fini(&f);
}
END_TEST

START_TEST(an_entry_without_its_row_means_nothing)
{
	struct lf f = { 0 };
	struct buf k = { 0 };

	lf_init(&f);
	grant(f.m, 5, 10);
	put(f.m, "plain", "v");
	/* As a program leaves them that writes rows and knows no leases. */
	ck_ok(enc_attached_key(&k, 5, S("plain")));
	ck_ok(cairn_put(mvcc_db(f.m), NULL, buf_slice(&k), none()));
	ck_ok(enc_attached_key(&k, 5, S("never")));
	ck_ok(cairn_put(mvcc_db(f.m), NULL, buf_slice(&k), none()));
	buf_fini(&k);
	ck_keys(f.m, 5, "");
	pass(&f, 10000);
	ck_value(f.m, "plain", 0, "v");
	ck_assert_int_eq(mvcc_current(f.m), 2);
	ck_assert_uint_eq(count_entries(f.m, "a"), 0);
	lf_fini(&f);
}
END_TEST

/* ---------------------------------------------------------------- restart */

START_TEST(a_restart_begins_the_whole_time_anew)
{
	struct lf f = { 0 };

	lf_init(&f);
	grant(f.m, 5, 10);
	grant(f.m, 6, 100);
	ck_ok(put_on(f.m, "a", "v", 5));
	ck_ok(put_on(f.m, "b", "v", 6));
	pass(&f, 9000);
	lf_reopen(&f);
	ck_assert_int_eq(remaining(f.m, 5), 10);
	ck_assert_int_eq(remaining(f.m, 6), 100);
	ck_keys(f.m, 5, "a");
	ck_assert_int_eq(lease_of(f.m, "a"), 5);
	ck_consistent(f.m);
	pass(&f, 9999);
	ck_value(f.m, "a", 0, "v");
	pass(&f, 1);
	ck_value(f.m, "a", 0, NULL);
	ck_value(f.m, "b", 0, "v");
	lf_reopen(&f);
	ck_assert(!exists(f.m, 5));
	ck_keys(f.m, 6, "b");
	lf_fini(&f);
}
END_TEST

START_TEST(what_is_left_of_long_leases_is_written_down)
{
	struct lf f = { 0 };
	int64_t ttl;

	lf_init(&f);
	grant(f.m, 5, 3600);
	grant(f.m, 6, 200);
	pass(&f, 100000);
	lf_reopen(&f);
	ck_assert_int_eq(remaining(f.m, 5), 3600);
	for (int i = 0; i < 6; i++)
		pass(&f, 100000);
	ck_assert(!exists(f.m, 6));
	lf_reopen(&f);
	ck_assert_int_ge(remaining(f.m, 5), 3000);
	ck_assert_int_le(remaining(f.m, 5), 3300);
	/* What is promised is kept. */
	ck_ok(mvcc_lease_keepalive(f.m, 5, &ttl));
	ck_assert_int_eq(ttl, 3600);
	lf_reopen(&f);
	ck_assert_int_eq(remaining(f.m, 5), 3600);
	pass(&f, 3599999);
	ck_assert(exists(f.m, 5));
	pass(&f, 1);
	ck_assert(!exists(f.m, 5));
	lf_fini(&f);
}
END_TEST

START_TEST(many_long_leases_are_all_written_down)
{
	enum { N = 2500 };
	struct lf f = { 0 };

	lf_init(&f);
	for (int i = 0; i < N; i++)
		grant(f.m, i + 1, 1000);
	pass(&f, 400000);
	lf_reopen(&f);
	for (int i = 0; i < N; i++)
		ck_assert_int_eq(remaining(f.m, i + 1), 600);
	pass(&f, 600000);
	ck_assert_uint_eq(count_entries(f.m, "l"), 0);
	lf_fini(&f);
}
END_TEST

START_TEST(a_read_only_store_shows_leases_and_ends_none)
{
	struct lf f = { 0 };
	struct mvcc_lease_info *all;
	int64_t id = 9, granted, ttl;
	size_t n;

	lf_init(&f);
	grant(f.m, 5, 10);
	ck_ok(put_on(f.m, "a", "v", 5));
	ck_ok(mvcc_close(f.m));
	ck_ok(lf_open_at(&f, f.env, true, &f.m));
	ck_ok(mvcc_lease_list(f.m, &all, &n));
	ck_assert_uint_eq(n, 1);
	free(all);
	ck_keys(f.m, 5, "a");
	pass(&f, 20000);
	ck_value(f.m, "a", 0, "v");
	ck_code(mvcc_lease_grant(f.m, 10, &id, &granted), CAIRN_EROFS);
	ck_code(mvcc_lease_revoke(f.m, 5, NULL), CAIRN_EROFS);
	ck_code(mvcc_lease_keepalive(f.m, 5, &ttl), CAIRN_EROFS);
	lf_fini(&f);
}
END_TEST

START_TEST(a_plain_store_has_no_leases)
{
	struct cairn_env *env = env_mem_new(ENV_MEM_STRICT);
	struct cairn_options *o = small_options(env);
	struct mvcc_options mo = { .engine = o, .plain = true };
	struct mvcc_lease_info info, *all;
	int64_t id = 0, granted, ttl;
	struct cairn_db *db;
	struct mvcc_txn *t;
	struct mvcc *m;
	size_t n;

	ck_ok(cairn_open("/db", o, &db));
	ck_ok(cairn_put(db, NULL, S("k"), S("v")));
	ck_ok(cairn_close(db));
	ck_ok(mvcc_open("/db", &mo, &m));
	ck_code(mvcc_lease_grant(m, 10, &id, &granted), CAIRN_EKIND);
	ck_code(mvcc_lease_revoke(m, 5, NULL), CAIRN_EKIND);
	ck_code(mvcc_lease_keepalive(m, 5, &ttl), CAIRN_EKIND);
	ck_code(mvcc_lease_get(m, 5, &info), CAIRN_EKIND);
	ck_code(mvcc_lease_list(m, &all, &n), CAIRN_EKIND);
	ck_code(mvcc_lease_keys(m, 5, append_key, NULL), CAIRN_EKIND);
	ck_code(mvcc_lease_expire_due(m), CAIRN_EKIND);
	ck_ok(mvcc_txn_new(m, &t));
	ck_ok(mvcc_txn_put(t, S("a"), S("v"), NULL));
	ck_code(mvcc_txn_set_lease(t, 5), CAIRN_EKIND);
	mvcc_txn_free(t);
	ck_ok(mvcc_close(m));
	cairn_options_free(o);
	env_mem_free(env);
}
END_TEST

START_TEST(a_malformed_lease_is_refused_at_open)
{
	struct lf f = { 0 };
	struct mvcc *m;
	struct buf k = { 0 }, v = { 0 };
	struct enc_lease l = { .id = 5, .ttl = 10 };

	lf_init(&f);
	ck_ok(enc_lease(&k, &v, &l));
	v.data[0] = 2;
	ck_ok(cairn_put(mvcc_db(f.m), NULL, buf_slice(&k), buf_slice(&v)));
	buf_fini(&v);
	buf_fini(&k);
	ck_ok(mvcc_close(f.m));
	ck_code(lf_open_at(&f, f.env, false, &m), CAIRN_ECORRUPT);
	env_mem_free(f.env);
}
END_TEST

/* ------------------------------------------------------------- many keys */

/* Take a picture of the disk after the nth commit. */
struct camera {
	struct cairn_env *env;
	int after;
	int commits;
	struct cairn_env *picture;
};

static void take_picture(void *ctx, int64_t rev, const void *origin,
			 const struct mvcc_change *changes, size_t n)
{
	struct camera *c = ctx;

	(void)rev;
	(void)origin;
	(void)changes;
	(void)n;
	if (++c->commits == c->after)
		c->picture = env_mem_crash_clone(c->env, 1, 100);
}

/* Keys that are left, which must be the last ones. */
static int ck_tail(struct mvcc *m, int n)
{
	int left = 0;

	for (int i = 0; i < n; i++) {
		char key[16], *value;

		snprintf(key, sizeof(key), "key%04d", i);
		value = get_at(m, key, 0);
		ck_assert(value || !left);
		left += value ? 1 : 0;
		free(value);
	}
	return left;
}

START_TEST(a_lease_of_many_keys_ends_piece_by_piece)
{
	enum { N = 1000 };
	struct lf f = { .batch_bytes = 10000 };
	struct camera c = { .after = 3 };
	struct mvcc_listener l = { .ctx = &c, .committed = take_picture };
	struct mvcc_lease_info info;
	int64_t rev, ttl = -1;
	struct mvcc *m;
	int left;

	lf_init(&f);
	c.env = f.env;
	grant(f.m, 5, 10000);
	for (int i = 0; i < N; i++) {
		char key[16];

		snprintf(key, sizeof(key), "key%04d", i);
		ck_ok(put_on(f.m, key, "v", 5));
	}
	mvcc_set_listener(f.m, &l);
	ck_ok(mvcc_lease_revoke(f.m, 5, &rev));
	ck_assert_int_eq(rev, mvcc_current(f.m));
	ck_assert_int_gt(c.commits, 3);
	ck_assert_int_lt(c.commits, 30);
	ck_assert_int_eq(rev, N + 1 + c.commits);
	ck_assert_int_eq(ck_tail(f.m, N), 0);
	ck_consistent(f.m);

	/* In the middle: what is left is the end of the keys, and it is clear
	 * that the lease is ending. */
	ck_assert_ptr_nonnull(c.picture);
	ck_ok(lf_open_at(&f, c.picture, false, &m));
	left = ck_tail(m, N);
	ck_assert(left > 0 && left < N);
	ck_consistent(m);
	ck_ok(mvcc_lease_get(m, 5, &info));
	ck_assert_int_eq(info.remaining, 0);
	ck_ok(mvcc_lease_keepalive(m, 5, &ttl));
	ck_assert_int_eq(ttl, 0);
	ck_code(put_on(m, "x", "v", 5), CAIRN_NOT_FOUND);
	ck_ok(mvcc_lease_expire_due(m));
	ck_assert_int_eq(ck_tail(m, N), 0);
	ck_consistent(m);
	ck_assert(!exists(m, 5));
	ck_ok(mvcc_close(m));
	env_mem_free(c.picture);
	lf_fini(&f);
}
END_TEST

/* ------------------------------------------------------------------- quota */

START_TEST(on_a_full_store_no_lease_is_granted_and_those_there_are_go_on)
{
	enum { N = 100 };
	struct lf f = { .full = true, .batch_bytes = 4000 };
	int64_t id = 9, granted = -1, ttl;
	int64_t rev;

	lf_init(&f);
	grant(f.m, 5, 3600);
	grant(f.m, 6, 1000);
	grant(f.m, 7, 1000);
	grant(f.m, 8, 4000);
	for (int i = 0; i < N; i++) {
		char key[16];

		snprintf(key, sizeof(key), "key%04d", i);
		ck_ok(put_on(f.m, key, "v", i ? 6 : 8));
	}
	(void)fill_store(f.m);

	ck_code(mvcc_lease_grant(f.m, 10, &id, &granted), CAIRN_EDQUOT);
	ck_assert_str_eq(cairn_errmsg(),
			 "etcdserver: mvcc: database space exceeded");
	ck_assert(granted == -1 && !exists(f.m, 9));
	/* They are written down as ever. */
	pass(&f, 400000);
	ck_assert_int_eq(remaining(f.m, 5), 3200);
	/* Kept alive, which is written, too. */
	ck_ok(mvcc_lease_keepalive(f.m, 5, &ttl));
	ck_assert_int_eq(ttl, 3600);
	/* They end with their keys, in pieces, or without keys. */
	pass(&f, 600000);
	ck_assert(!exists(f.m, 6) && !exists(f.m, 7));
	ck_value(f.m, "key0001", 0, NULL);
	ck_value(f.m, "key0099", 0, NULL);
	ck_value(f.m, "key0000", 0, "v");
	ck_ok(mvcc_lease_revoke(f.m, 8, &rev));
	ck_value(f.m, "key0000", 0, NULL);
	ck_consistent(f.m);
	ck_code(cairn_check_space(mvcc_db(f.m)), CAIRN_EDQUOT);
	lf_reopen(&f);
	ck_assert_int_eq(remaining(f.m, 5), 3000);
	lf_fini(&f);
}
END_TEST

/* -------------------------------------------------------------- power cuts */

/*
 * A workload, with the power cut after each of its steps. Keys "L.n" are only
 * ever put on lease L, in one revision, and go only with it.
 */
#define N_LEASES 6

static void put_all(struct mvcc *m, int lease)
{
	struct mvcc_txn *t;

	ck_ok(mvcc_txn_new(m, &t));
	for (int i = 0; i < 4; i++) {
		char key[16];

		snprintf(key, sizeof(key), "%d.%d", lease, i);
		ck_ok(mvcc_txn_put(t, S(key), S("v"), NULL));
		ck_ok(mvcc_txn_set_lease(t, lease));
	}
	ck_ok(mvcc_txn_commit(t, lease % 2, NULL));
	mvcc_txn_free(t);
}

static void ck_all_or_none(struct mvcc *m)
{
	for (int lease = 1; lease <= N_LEASES; lease++) {
		int n = 0;

		for (int i = 0; i < 4; i++) {
			char key[16], *value;

			snprintf(key, sizeof(key), "%d.%d", lease, i);
			value = get_at(m, key, 0);
			n += value ? 1 : 0;
			free(value);
		}
		ck_assert(n == 0 || n == 4);
		ck_assert(n == 0 || exists(m, lease));
	}
	ck_consistent(m);
}

static void cut(struct lf *f, uint64_t seed)
{
	for (unsigned keep = 0; keep <= 100; keep += 50) {
		struct cairn_env *e = env_mem_crash_clone(f->env, seed, keep);
		struct mvcc *m;

		ck_assert_ptr_nonnull(e);
		ck_ok(lf_open_at(f, e, false, &m));
		ck_all_or_none(m);
		/* It goes on from there. */
		atomic_fetch_add(&f->now_ms, 20000);
		ck_ok(mvcc_lease_expire_due(m));
		atomic_fetch_sub(&f->now_ms, 20000);
		ck_assert_uint_eq(count_entries(m, "a"), 0);
		ck_assert_uint_eq(count_entries(m, "l"), 0);
		ck_ok(mvcc_close(m));
		env_mem_free(e);
	}
}

START_TEST(after_a_power_cut_leases_and_keys_fit_together)
{
	struct lf f = { 0 };
	uint64_t seed = 1;

	lf_init(&f);
	for (int lease = 1; lease <= N_LEASES; lease++) {
		grant(f.m, lease, 10);
		cut(&f, seed++);
		put_all(f.m, lease);
		cut(&f, seed++);
		if (lease == 3)
			flush(f.m);
		if (lease > 2)
			ck_ok(mvcc_lease_revoke(f.m, lease - 2, NULL));
		cut(&f, seed++);
	}
	/* What was synced is there for certain. */
	ck_ok(mvcc_sync(f.m));
	cut(&f, seed);
	lf_fini(&f);
}
END_TEST

/* ----------------------------------------------------------------- threads */

#define N_WRITERS 3
#define N_ROUNDS  400

struct writer {
	struct lf *f;
	int id;
	bool stays[8]; /* the key was last put on no lease */
	pthread_t thread;
};

static void *write_keys(void *arg)
{
	struct writer *w = arg;

	for (int i = 0; i < N_ROUNDS; i++) {
		char key[16];
		int64_t lease = 0, granted, ttl;

		snprintf(key, sizeof(key), "%d.%d", w->id, i % 8);
		if (i % 3) {
			ck_ok(mvcc_lease_grant(w->f->m, 2 + i % 5, &lease,
					       &granted));
			if (i % 4 == 0)
				ck_ok(mvcc_lease_keepalive(w->f->m, lease,
							   &ttl));
		}
		/* The lease may have ended already. */
		if (put_on(w->f->m, key, "v", lease)) {
			lease = 0;
			ck_ok(put_on(w->f->m, key, "v", 0));
		}
		if (i % 50 == 49)
			(void)mvcc_lease_revoke(w->f->m, lease, NULL);
		w->stays[i % 8] = !lease;
	}
	return NULL;
}

START_TEST(puts_and_expiry_run_side_by_side)
{
	/* The thread looks every other moment: leases live for some tens of
	 * looks at the clock. */
	struct lf f = { .thread = true, .step_ms = 50 };
	struct writer w[N_WRITERS];

	lf_init(&f);
	for (int i = 0; i < N_WRITERS; i++) {
		w[i] = (struct writer){ .f = &f, .id = i };
		ck_assert(
			!pthread_create(&w[i].thread, NULL, write_keys, &w[i]));
	}
	for (int i = 0; i < 200; i++) {
		struct mvcc_lease_info *all;
		size_t n;

		ck_ok(mvcc_lease_list(f.m, &all, &n));
		if (n) {
			struct buf b = { 0 };

			ck_ok(mvcc_lease_keys(f.m, all[n / 2].id, append_key,
					      &b));
			buf_fini(&b);
		}
		free(all);
		ck_ok(mvcc_lease_expire_due(f.m));
	}
	for (int i = 0; i < N_WRITERS; i++)
		pthread_join(w[i].thread, NULL);
	pass(&f, 100000);
	for (int i = 0; i < N_WRITERS; i++)
		for (int k = 0; k < 8; k++) {
			char key[16];

			snprintf(key, sizeof(key), "%d.%d", i, k);
			ck_value(f.m, key, 0, w[i].stays[k] ? "v" : NULL);
		}
	ck_assert_uint_eq(count_entries(f.m, "a"), 0);
	ck_assert_uint_eq(count_entries(f.m, "l"), 0);
	lf_fini(&f);
}
END_TEST

static Suite *lease_suite(void)
{
	Suite *s = suite_create("lease");
	TCase *tc = tcase_create("lease");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, grant_answers_as_etcd_does);
	tcase_add_test(tc, an_id_is_chosen_when_none_is_given);
	tcase_add_test(tc, a_lease_ends_at_its_deadline_and_not_before);
	tcase_add_test(tc, keeping_a_lease_alive_puts_its_deadline_off);
	tcase_add_test(tc, leases_end_in_the_order_of_their_deadlines);
	tcase_add_test(tc, the_thread_ends_what_is_due);
	tcase_add_test(tc, a_thread_that_waits_does_not_hold_up_closing);
	tcase_add_test(tc, an_end_that_fails_is_tried_again);
	tcase_add_test(tc, revoking_deletes_the_keys_in_order_in_one_revision);
	tcase_add_test(tc, revoking_a_lease_without_keys_is_no_revision);
	tcase_add_test(tc, revoking_ends_values_in_chunks_too);
	tcase_add_test(tc, every_change_moves_the_key_between_leases);
	tcase_add_test(tc, a_lease_is_set_for_puts_and_attributes_only);
	tcase_add_test(tc, keys_of_any_bytes_are_attached);
	tcase_add_test(tc, an_entry_without_its_row_means_nothing);
	tcase_add_test(tc, a_restart_begins_the_whole_time_anew);
	tcase_add_test(tc, what_is_left_of_long_leases_is_written_down);
	tcase_add_test(tc, many_long_leases_are_all_written_down);
	tcase_add_test(tc, a_read_only_store_shows_leases_and_ends_none);
	tcase_add_test(tc, a_plain_store_has_no_leases);
	tcase_add_test(tc, a_malformed_lease_is_refused_at_open);
	tcase_add_test(tc, a_lease_of_many_keys_ends_piece_by_piece);
	tcase_add_test(
		tc,
		on_a_full_store_no_lease_is_granted_and_those_there_are_go_on);
	tcase_add_test(tc, after_a_power_cut_leases_and_keys_fit_together);
	tcase_add_test(tc, puts_and_expiry_run_side_by_side);
	suite_add_tcase(s, tc);
	return s;
}

int main(void)
{
	return run_suite(lease_suite());
}
