/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * HashKV against the definition, worked out over a list of all changes. That
 * the definition is etcd's, the recordings tell (etcd_replay.c).
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "engine/base/crc32c.h"
#include "mvcc/hash.h"
#include "mvcc/lease.h"
#include "tests/mvcc/fixture.h"
#include "tests/support/runner.h"

static struct fixture f;

static void setup(void)
{
	fixture_init(&f);
}

static void teardown(void)
{
	fixture_fini(&f);
}

static struct mvcc_hash hash_at(int64_t rev)
{
	struct mvcc_hash h;
	enum mvcc_refusal why;

	ck_ok(mvcc_hash(f.m, rev, &h, &why));
	ck_assert_int_eq(why, MVCC_REFUSAL_NONE);
	return h;
}

/* --------------------------------------------------------- the definition */

struct record {
	char key[8];
	int64_t main;
	int32_t sub;
	bool deleted;
	int64_t create_rev;
	int64_t version;
	int64_t lease;
	size_t value_len;
	uint8_t value[3 * CHUNK];
};

static struct record *records;
static size_t n_records;
static int64_t compacted;

static const struct record *newest(const char *key, int64_t rev)
{
	for (size_t i = n_records; i-- > 0;) {
		if (records[i].main <= rev && !strcmp(records[i].key, key))
			return &records[i];
	}
	return NULL;
}

/* Whether a compaction at rev would keep r, of which r->main <= rev. */
static bool keeps(const struct record *r, int64_t rev)
{
	return newest(r->key, rev) == r && !r->deleted;
}

static void add_varint(struct buf *b, uint8_t tag, uint64_t v)
{
	uint8_t byte;

	if (!v)
		return;
	ck_ok(buf_append(b, &tag, 1));
	for (; v >= 0x80; v >>= 7) {
		byte = (uint8_t)(v | 0x80);
		ck_ok(buf_append(b, &byte, 1));
	}
	byte = (uint8_t)v;
	ck_ok(buf_append(b, &byte, 1));
}

static void add_bytes(struct buf *b, uint8_t tag, const void *data, size_t len)
{
	add_varint(b, tag, len);
	ck_ok(buf_append(b, data, len));
}

static void add_be64(struct buf *b, uint64_t v)
{
	for (int shift = 56; shift >= 0; shift -= 8) {
		uint8_t byte = (uint8_t)(v >> shift);

		ck_ok(buf_append(b, &byte, 1));
	}
}

static void add_record(struct buf *b, const struct record *r)
{
	add_be64(b, (uint64_t)r->main);
	ck_ok(buf_append(b, "_", 1));
	add_be64(b, (uint64_t)r->sub);
	if (r->deleted)
		ck_ok(buf_append(b, "t", 1));
	add_bytes(b, 0x0a, r->key, strlen(r->key));
	if (r->deleted)
		return;
	add_varint(b, 0x10, (uint64_t)r->create_rev);
	add_varint(b, 0x18, (uint64_t)r->main);
	add_varint(b, 0x20, (uint64_t)r->version);
	add_bytes(b, 0x2a, r->value, r->value_len);
	add_varint(b, 0x30, (uint64_t)r->lease);
}

static uint32_t defined_hash(int64_t rev)
{
	struct buf b = { 0 };
	bool keeps_any = false;
	uint32_t crc;

	for (size_t i = 0; i < n_records; i++)
		keeps_any |= records[i].main <= rev && keeps(&records[i], rev);
	ck_ok(buf_append(&b, "key", 3));
	for (size_t i = 0; i < n_records && records[i].main <= rev; i++) {
		const struct record *r = &records[i];

		/* What is compacted is gone. */
		if (r->main <= compacted && !keeps(r, compacted))
			continue;
		if (r->main <= compacted && keeps_any && !keeps(r, rev))
			continue;
		add_record(&b, r);
	}
	crc = crc32c(b.data, b.len);
	buf_fini(&b);
	return crc;
}

/* ------------------------------------------------------------------- random */

static uint64_t state;

static unsigned rnd(unsigned n)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (unsigned)(state % n);
}

static struct record *new_record(const char *key, int64_t main, int32_t sub)
{
	struct record *r;

	records = realloc(records, (n_records + 1) * sizeof(*r));
	ck_assert_ptr_nonnull(records);
	r = &records[n_records++];
	memset(r, 0, sizeof(*r));
	strcpy(r->key, key);
	r->main = main;
	r->sub = sub;
	return r;
}

/* A put or a delete of key, as an op, recorded. */
static bool random_change(const char *key, int64_t main, int32_t sub,
			  struct mvcc_request *op)
{
	const struct record *old = newest(key, main);
	bool live = old && !old->deleted;
	int64_t create = live ? old->create_rev : main;
	int64_t version = live ? old->version + 1 : 1;
	struct record *r;

	*op = (struct mvcc_request){ .kind = MVCC_REQUEST_DELETE };
	if (rnd(3) == 0) {
		op->del.key = S(key);
		if (live)
			new_record(key, main, sub)->deleted = true;
		return live;
	}
	r = new_record(key, main, sub);
	r->create_rev = create;
	r->version = version;
	r->lease = rnd(3) ? 0 : 7;
	r->value_len = rnd(4) ? rnd(20) : rnd(sizeof(r->value));
	for (size_t i = 0; i < r->value_len; i++)
		r->value[i] = (uint8_t)rnd(256);
	op->kind = MVCC_REQUEST_PUT;
	op->put = (struct mvcc_put_request){ .key = S(key), .lease = r->lease };
	return true;
}

/* One transaction with one or a few changes. */
static void random_txn(void)
{
	static const char *const keys[] = { "a", "b", "bb", "c", "d", "e" };
	struct mvcc_request ops[6], t = { .kind = MVCC_REQUEST_TXN };
	int64_t main = mvcc_current(f.m) + 1;
	size_t first = n_records, next = n_records;
	struct mvcc_answer a;
	int32_t sub = 0;

	for (size_t i = 0; i < 6; i++) {
		if (rnd(4) == 0 &&
		    random_change(keys[i], main, sub, &ops[t.txn.n_success++]))
			sub++;
	}
	/* The records have their places only now. */
	for (size_t i = 0; i < t.txn.n_success; i++) {
		if (ops[i].kind == MVCC_REQUEST_PUT) {
			while (records[next].deleted)
				next++;
			ops[i].put.value = slice_of(records[next].value,
						    records[next].value_len);
			next++;
		}
	}
	t.txn.success = ops;
	ck_ok(mvcc_request(f.m, &t, NULL, &a));
	ck_assert_int_eq(a.rev, n_records > first ? main : main - 1);
	mvcc_answer_free(&a);
}

static void check_all(void)
{
	int64_t current = mvcc_current(f.m);

	for (int64_t rev = compacted < 1 ? 1 : compacted + 1; rev <= current;
	     rev++) {
		struct mvcc_hash h = hash_at(rev);

		ck_assert_msg(h.hash == defined_hash(rev),
			      "at %lld, compacted at %lld", (long long)rev,
			      (long long)compacted);
		ck_assert_int_eq(h.rev, rev);
		ck_assert_int_eq(h.compact_rev, compacted);
	}
	ck_assert_uint_eq(hash_at(0).hash, defined_hash(current));
}

START_TEST(the_hash_is_as_defined_however_much_is_removed)
{
	int64_t lease = 7, granted;

	records = NULL;
	n_records = 0;
	compacted = -1;
	state = 88172645463325252u + (uint64_t)_i;
	ck_ok(mvcc_lease_grant(f.m, 1000, &lease, &granted));
	for (int round = 0; round < 30; round++) {
		int64_t current;

		for (unsigned n = rnd(6); n > 0; n--)
			random_txn();
		current = mvcc_current(f.m);
		if (rnd(3) == 0 && current > compacted) {
			compacted = current - (int64_t)rnd(3);
			if (mvcc_compact(f.m, compacted, false, NULL))
				compacted = hash_at(0).compact_rev;
		}
		check_all();
		switch (rnd(4)) {
		case 0:
			flush(f.m);
			break;
		case 1:
			compact(f.m);
			break;
		case 2:
			fixture_reopen(&f);
			break;
		default:
			continue;
		}
		check_all();
	}
	free(records);
}
END_TEST

/* ---------------------------------------------------------------- by itself */

START_TEST(the_hash_of_an_empty_store_is_that_of_its_name)
{
	ck_assert_uint_eq(hash_at(0).hash, crc32c("key", 3));
	ck_assert_uint_eq(hash_at(1).hash, crc32c("key", 3));
	ck_assert_uint_eq(hash_at(-5).hash, crc32c("key", 3));
	ck_assert_int_eq(hash_at(0).compact_rev, -1);
	ck_ok(mvcc_compact(f.m, 0, false, NULL));
	ck_assert_int_eq(hash_at(0).compact_rev, 0);
	ck_ok(mvcc_compact(f.m, 1, false, NULL));
	ck_assert_uint_eq(hash_at(0).hash, crc32c("key", 3));
}
END_TEST

START_TEST(revisions_out_of_reach_have_no_hash)
{
	struct mvcc_hash h;
	enum mvcc_refusal why;

	put(f.m, "a", "1");
	put(f.m, "a", "2"); /* 3 */
	ck_code(mvcc_hash(f.m, 4, &h, &why), CAIRN_EFUTURE);
	ck_assert_int_eq(why, MVCC_REFUSAL_FUTURE);
	ck_assert_str_eq(cairn_errmsg(), mvcc_refusal_text(why));
	ck_ok(mvcc_compact(f.m, 2, false, NULL));
	ck_code(mvcc_hash(f.m, 2, &h, &why), CAIRN_EFORGOTTEN);
	ck_assert_int_eq(why, MVCC_REFUSAL_COMPACTED);
	ck_assert_str_eq(cairn_errmsg(), mvcc_refusal_text(why));
	ck_code(mvcc_hash(f.m, 1, &h, NULL), CAIRN_EFORGOTTEN);
	ck_ok(mvcc_hash(f.m, 3, &h, NULL));
	ck_ok(mvcc_compact(f.m, 3, false, NULL));
	/* Now is always within reach. */
	ck_ok(mvcc_hash(f.m, 0, &h, NULL));
	ck_assert_int_eq(h.rev, 3);
}
END_TEST

static _Atomic bool stop;

static void *forget_on(void *arg)
{
	(void)arg;
	while (!atomic_load(&stop)) {
		put(f.m, "moving", "x");
		ck_ok(mvcc_forget(f.m, put(f.m, "moving", "y") - 1));
		ck_ok(cairn_compact_range(mvcc_db(f.m), none(), none(), NULL));
	}
	return NULL;
}

/* It is as it was before, though everything moves meanwhile. */
START_TEST(compactions_that_go_on_meanwhile_do_not_matter)
{
	pthread_t thread;
	char key[16];

	for (int i = 0; i < 500; i++) {
		snprintf(key, sizeof(key), "k%03d", i);
		put(f.m, key, "value");
	}
	ck_ok(mvcc_forget(f.m, mvcc_current(f.m)));
	atomic_store(&stop, false);
	ck_assert_int_eq(pthread_create(&thread, NULL, forget_on, NULL), 0);
	for (int i = 0; i < 30; i++) {
		struct mvcc_hash h = hash_at(0);

		ck_assert_int_ge(h.rev, h.compact_rev);
	}
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
	ck_ok(mvcc_forget(f.m, mvcc_current(f.m)));
	{
		struct mvcc_hash before = hash_at(0);

		fixture_reopen(&f);
		compact(f.m);
		ck_assert_uint_eq(hash_at(0).hash, before.hash);
	}
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("hash");
	TCase *tc = tcase_create("hash");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, the_hash_is_as_defined_however_much_is_removed,
			    0, 8);
	tcase_add_test(tc, the_hash_of_an_empty_store_is_that_of_its_name);
	tcase_add_test(tc, revisions_out_of_reach_have_no_hash);
	tcase_add_test(tc, compactions_that_go_on_meanwhile_do_not_matter);
	suite_add_tcase(s, tc);
	return s;
}

int main(void)
{
	return run_suite(suite());
}
