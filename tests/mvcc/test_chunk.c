/* SPDX-License-Identifier: BSD-3-Clause */
#include "mvcc/chunk.h"

#include <stdio.h>

#include "engine/base/rng.h"
#include "mvcc/forget.h"
#include "tests/mvcc/fixture.h"
#include "tests/support/runner.h"

static struct fixture f;

static void setup(void)
{
	fixture_init(&f);
	/* Five chunks in memory are too many. */
	f.m->stage_bytes = 0;
	f.m->empties_some = 8;
}

static void teardown(void)
{
	fixture_fini(&f);
}

/* n bytes that tell their place; malloc'ed. */
static uint8_t *pattern(size_t n, unsigned seed)
{
	uint8_t *p = malloc(n + 1);

	ck_assert_ptr_nonnull(p);
	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)(1 + (i * 7 + i / CHUNK + seed) % 255);
	p[n] = 0;
	return p;
}

static struct mvcc_object *object_new(void)
{
	struct mvcc_object *o;

	ck_ok(mvcc_object_new(f.m, &o));
	return o;
}

static int try_object_of(const char *key, struct mvcc_object **o)
{
	struct mvcc_pinned_row r = { 0 };
	int err;

	ck_ok(mvcc_get(f.m, S(key), 0, &r));
	err = mvcc_object_open(f.m, &r.row, o);
	mvcc_row_release(&r);
	return err;
}

static struct mvcc_object *object_of(const char *key)
{
	struct mvcc_object *o;

	ck_ok(try_object_of(key, &o));
	return o;
}

static int64_t commit(const char *key, struct mvcc_object *o)
{
	struct mvcc_txn *t;
	int64_t rev;

	ck_ok(mvcc_txn_new(f.m, &t));
	ck_ok(mvcc_txn_put_object(t, S(key), o, NULL));
	ck_ok(mvcc_txn_commit(t, false, &rev));
	mvcc_txn_free(t);
	ck_assert(!mvcc_object_changed(o));
	return rev;
}

static void write_at(struct mvcc_object *o, uint64_t off, const void *data,
		     size_t len)
{
	ck_ok(mvcc_object_write(o, off, data, len));
}

static void ck_object(struct mvcc_object *o, const uint8_t *want, size_t len)
{
	uint8_t *got = malloc(len + 10);
	size_t n;

	ck_assert_uint_eq(mvcc_object_size(o), len);
	ck_ok(mvcc_object_read(o, 0, got, len + 10, &n));
	ck_assert_uint_eq(n, len);
	ck_assert(len == 0 || memcmp(got, want, len) == 0);
	free(got);
}

static void ck_bytes(const char *key, int64_t rev, const uint8_t *want,
		     size_t len)
{
	struct mvcc_pinned_row r = { 0 };
	char *got;

	ck_ok(mvcc_get(f.m, S(key), rev, &r));
	ck_assert_uint_eq(r.row.size, len);
	got = read_row(f.m, &r.row);
	ck_assert_msg(len == 0 || memcmp(got, want, len) == 0,
		      "%s at %lld differs", key, (long long)rev);
	free(got);
	mvcc_row_release(&r);
}

START_TEST(values_of_every_size_come_back)
{
	static const size_t sizes[] = {
		0,         1,         CHUNK - 1,      CHUNK,
		CHUNK + 1, 2 * CHUNK, 10 * CHUNK + 7, 5000
	};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		uint8_t *v = pattern(sizes[i], 0);

		ck_ok(mvcc_put(f.m, S("k"), slice_of(v, sizes[i]), NULL, NULL));
		ck_bytes("k", 0, v, sizes[i]);
		flush(f.m);
		ck_bytes("k", 0, v, sizes[i]);
		free(v);
	}
	fixture_reopen(&f);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		uint8_t *v = pattern(sizes[i], 0);

		ck_bytes("k", (int64_t)i + 2, v, sizes[i]);
		free(v);
	}
}
END_TEST

START_TEST(any_part_of_a_value_can_be_read)
{
	const size_t len = 5 * CHUNK + 9;
	uint8_t *v = pattern(len, 0), got[3 * CHUNK];
	struct mvcc_pinned_row r = { 0 };
	size_t n;

	ck_ok(mvcc_put(f.m, S("k"), slice_of(v, len), NULL, NULL));
	ck_ok(mvcc_get(f.m, S("k"), 0, &r));
	ck_assert(r.row.object && !r.row.value.data);
	for (size_t off = 0; off < len + 3; off += 5) {
		for (size_t want = 0; want < sizeof(got); want += 13) {
			size_t have = off >= len         ? 0
				      : want > len - off ? len - off
							 : want;

			ck_ok(mvcc_read(f.m, &r.row, off, got, want, &n));
			ck_assert_uint_eq(n, have);
			ck_assert(!have || !memcmp(got, v + off, have));
		}
	}
	mvcc_row_release(&r);
	free(v);
}
END_TEST

START_TEST(changing_a_chunk_writes_that_chunk_only)
{
	const size_t len = 20 * CHUNK;
	uint8_t *v1 = pattern(len, 0), *v2 = pattern(len, 0);
	struct mvcc_object *o = object_new();
	int64_t rev;

	write_at(o, 0, v1, len);
	rev = commit("k", o);
	ck_assert_uint_eq(count_entries(f.m, "c"), 20);
	memset(v2 + 5 * CHUNK + 3, 'x', 10);
	write_at(o, 5 * CHUNK + 3, v2 + 5 * CHUNK + 3, 10);
	ck_assert_uint_eq(mvcc_object_dirty(o), CHUNK);
	ck_object(o, v2, len);
	ck_bytes("k", 0, v1, len); /* not yet */
	commit("k", o);
	ck_assert_uint_eq(mvcc_object_dirty(o), 0);
	ck_assert_uint_eq(count_entries(f.m, "c"), 21);
	ck_bytes("k", 0, v2, len);
	ck_bytes("k", rev, v1, len);
	mvcc_object_free(o);
	free(v1);
	free(v2);
}
END_TEST

START_TEST(a_new_value_of_any_size_takes_little_memory)
{
	const size_t len = 100 * CHUNK;
	uint8_t *v = pattern(len, 0);
	struct mvcc_object *o = object_new();

	for (size_t off = 0; off < len; off += 16) {
		write_at(o, off, v + off, 16);
		ck_assert_uint_le(mvcc_object_dirty(o), 6 * CHUNK);
	}
	ck_assert_uint_gt(count_entries(f.m, "c"), 90);
	ck_assert_uint_eq(count_entries(f.m, "o"), 1);
	ck_value(f.m, "k", 0, NULL);
	ck_object(o, v, len);
	commit("k", o);
	ck_assert_uint_eq(count_entries(f.m, "o"), 0);
	ck_bytes("k", 0, v, len);

	/* What it grows by goes early, too. */
	for (size_t off = 0; off < len; off += CHUNK) {
		write_at(o, len + off, v + off, CHUNK);
		ck_assert_uint_le(mvcc_object_dirty(o), 6 * CHUNK);
	}
	ck_assert_uint_eq(count_entries(f.m, "o"), 1);
	ck_bytes("k", 0, v, len);
	commit("k", o);
	ck_assert_uint_eq(count_entries(f.m, "o"), 0);
	ck_bytes("k", 2, v, len);
	ck_assert_uint_eq(mvcc_object_size(o), 2 * len);
	mvcc_object_free(o);
	free(v);
}
END_TEST

START_TEST(an_uncommitted_value_leaves_no_trace)
{
	const size_t len = 50 * CHUNK;
	uint8_t *v = pattern(len, 0), *more = pattern(len, 9);
	struct mvcc_object *o = object_new();

	write_at(o, 0, v, len);
	write_at(o, len, v, 1);
	ck_assert_uint_gt(count_entries(f.m, "c"), 0);
	mvcc_object_free(o);
	forget_wait_idle(f.m);
	ck_assert_uint_eq(count_entries(f.m, "c"), 0);
	ck_assert_uint_eq(count_entries(f.m, "o"), 0);

	/* Nor does one that continued a committed value. */
	ck_ok(mvcc_put(f.m, S("k"), slice_of(v, len), NULL, NULL));
	o = object_of("k");
	write_at(o, 10, more, len);
	write_at(o, len + 10, more, len);
	write_at(o, 0, more, 1);
	ck_assert_uint_gt(count_entries(f.m, "c"), 50);
	mvcc_object_free(o);

	/* Opening it again waits for that. */
	o = object_of("k");
	ck_object(o, v, len);
	ck_assert_uint_eq(count_entries(f.m, "c"), 50);
	ck_ok(mvcc_object_truncate(o, 3 * len));
	memset(more, 0, len);
	commit("k", o);
	ck_assert_uint_eq(mvcc_object_size(o), 3 * len);
	mvcc_object_free(o);
	ck_ok(mvcc_put(f.m, S("l"), S("x"), NULL, NULL));
	free(v);
	free(more);
}
END_TEST

START_TEST(a_crash_leaves_no_trace_of_an_uncommitted_value)
{
	const size_t len = 50 * CHUNK;
	uint8_t *v = pattern(len, 0);
	struct mvcc_object *o, *p = object_new();
	struct cairn_options *opts;
	struct mvcc_options mo = { .chunk_size = CHUNK };
	struct cairn_env *env;
	struct mvcc *m;

	ck_ok(mvcc_put(f.m, S("k"), slice_of(v, len), NULL, NULL));
	write_at(p, 0, v, len);
	write_at(p, len, v, 1);
	o = object_of("k");
	write_at(o, len, v, len);
	write_at(o, 0, v, 1);
	ck_ok(mvcc_sync(f.m));
	env = env_mem_crash_clone(f.env, 1, 0);
	ck_assert_ptr_nonnull(env);
	mvcc_object_free(o);
	mvcc_object_free(p);

	/* A read-only open leaves it, and shows nothing of it. */
	opts = small_options(env);
	mo.engine = opts;
	ck_ok(cairn_options_set(opts, "read_only", "true"));
	ck_ok(mvcc_open("/db", &mo, &m));
	ck_assert_uint_eq(count_entries(m, "o"), 2);
	ck_assert_uint_gt(count_entries(m, "c"), 140);
	ck_assert_int_eq(mvcc_current(m), 2);
	ck_ok(mvcc_close(m));
	cairn_options_free(opts);

	ck_ok(store_open_at(env, &m));
	forget_wait_idle(m);
	ck_assert_uint_eq(count_entries(m, "c"), 50);
	ck_assert_uint_eq(count_entries(m, "o"), 0);
	ck_assert_int_eq(mvcc_current(m), 2);
	ck_ok(mvcc_close(m));
	env_mem_free(env);
	free(v);
}
END_TEST

START_TEST(what_was_cut_off_never_comes_back)
{
	const size_t len = 12 * CHUNK;
	uint8_t *v = pattern(len, 0), *want = calloc(1, 4 * len);
	/* Cut to, then grow to; the commit between them or not. */
	static const struct {
		size_t cut;
		size_t grow;
		bool commit;
	} cases[] = {
		{ 6 * CHUNK, 12 * CHUNK, true },
		{ 6 * CHUNK, 12 * CHUNK, false },
		{ 6 * CHUNK + 5, 12 * CHUNK, true },
		{ 6 * CHUNK + 5, 12 * CHUNK, false },
		{ 6 * CHUNK + 5, 7 * CHUNK + 3, true },
		{ CHUNK + 1, 12 * CHUNK, true }, /* too many empties */
		{ CHUNK + 1, 12 * CHUNK, false },
		{ CHUNK, 12 * CHUNK, true }, /* fits in the row */
		{ CHUNK, 12 * CHUNK, false },
		{ 3, 12 * CHUNK, true },
		{ 0, 12 * CHUNK, false },
		{ 11 * CHUNK, 40 * CHUNK, true },
	};
	struct mvcc_object *o;

	ck_ok(mvcc_put(f.m, S("k"), slice_of(v, len), NULL, NULL)); /* 2 */
	o = object_of("k");
	ck_ok(mvcc_object_truncate(o, cases[_i].cut));
	ck_object(o, v, cases[_i].cut);
	if (cases[_i].commit)
		commit("k", o);
	ck_ok(mvcc_object_truncate(o, cases[_i].grow));
	memcpy(want, v, cases[_i].cut);
	ck_object(o, want, cases[_i].grow);
	commit("k", o);
	ck_object(o, want, cases[_i].grow);
	ck_bytes("k", 0, want, cases[_i].grow);
	ck_bytes("k", 2, v, len);

	/* Grow by a write, after another cut. */
	ck_ok(mvcc_object_truncate(o, cases[_i].cut));
	write_at(o, cases[_i].grow - 1, "x", 1);
	want[cases[_i].grow - 1] = 'x';
	ck_object(o, want, cases[_i].grow);
	commit("k", o);
	ck_bytes("k", 0, want, cases[_i].grow);
	mvcc_object_free(o);
	ck_ok(mvcc_forget(f.m, mvcc_current(f.m)));
	forget_wait_idle(f.m);
	compact(f.m);
	ck_bytes("k", 0, want, cases[_i].grow);
	fixture_reopen(&f);
	ck_bytes("k", 0, want, cases[_i].grow);
	free(v);
	free(want);
}
END_TEST

START_TEST(staged_chunks_that_were_cut_off_never_come_back)
{
	const size_t len = 40 * CHUNK;
	uint8_t *v = pattern(len, 0), *want = calloc(1, len);
	struct mvcc_object *o = object_new();

	write_at(o, 0, v, len);
	ck_ok(mvcc_object_truncate(o, 5 * CHUNK + 1));
	memcpy(want, v, 5 * CHUNK + 1);
	ck_ok(mvcc_object_truncate(o, len));
	ck_object(o, want, len);
	write_at(o, 30 * CHUNK, v, CHUNK);
	memcpy(want + 30 * CHUNK, v, CHUNK);
	ck_object(o, want, len);
	ck_ok(mvcc_object_truncate(o, 31 * CHUNK));
	commit("k", o);
	ck_bytes("k", 0, want, 31 * CHUNK);
	ck_ok(mvcc_object_truncate(o, len));
	commit("k", o);
	ck_bytes("k", 0, want, len);
	mvcc_object_free(o);
	free(v);
	free(want);
}
END_TEST

START_TEST(cut_chunks_are_removed_once_forgotten)
{
	const size_t len = 30 * CHUNK;
	uint8_t *v = pattern(len, 0);
	struct mvcc_object *o;

	ck_ok(mvcc_put(f.m, S("k"), slice_of(v, len), NULL, NULL)); /* 2 */
	o = object_of("k");
	ck_ok(mvcc_object_truncate(o, 4 * CHUNK));
	commit("k", o); /* 3 */
	write_at(o, 4 * CHUNK, v, CHUNK);
	commit("k", o); /* 4 */
	ck_assert_uint_eq(count_entries(f.m, "e"), 1);
	ck_assert_uint_eq(count_entries(f.m, "c"), 31);
	ck_ok(mvcc_forget(f.m, 2));
	forget_wait_idle(f.m);
	ck_bytes("k", 2, v, len);
	ck_ok(mvcc_forget(f.m, 3));
	forget_wait_idle(f.m);
	ck_assert_uint_eq(count_entries(f.m, "e"), 0);
	ck_assert_uint_eq(count_entries(f.m, "c"), 5);
	ck_bytes("k", 3, v, 4 * CHUNK);
	memcpy(v + 4 * CHUNK, v, CHUNK);
	ck_bytes("k", 4, v, 5 * CHUNK);
	mvcc_object_free(o);
	free(v);
}
END_TEST

START_TEST(holes_read_as_zeros_and_take_no_space)
{
	struct mvcc_object *o = object_new();
	struct mvcc_pinned_row r = { 0 };
	uint8_t got[200], zeros[200] = { 0 };
	size_t n;

	write_at(o, MVCC_VALUE_MAX - 3, "end", 3);
	ck_code(mvcc_object_write(o, MVCC_VALUE_MAX - 2, "end", 3),
		CAIRN_EINVAL);
	ck_code(mvcc_object_truncate(o, MVCC_VALUE_MAX + 1), CAIRN_EINVAL);
	ck_code(mvcc_object_write(o, UINT64_MAX, "x", 1), CAIRN_EINVAL);
	commit("k", o);
	ck_assert_uint_eq(count_entries(f.m, "c"), 1);
	ck_ok(mvcc_get(f.m, S("k"), 0, &r));
	ck_assert_uint_eq(r.row.size, MVCC_VALUE_MAX);
	ck_ok(mvcc_read(f.m, &r.row, 1 << 30, got, sizeof(got), &n));
	ck_assert(n == sizeof(got) && !memcmp(got, zeros, sizeof(got)));
	ck_ok(mvcc_read(f.m, &r.row, MVCC_VALUE_MAX - 5, got, 9, &n));
	ck_assert(n == 5 && !memcmp(got, "\0\0end", 5));
	mvcc_row_release(&r);
	/* A write into the hole is not seen before. */
	write_at(o, 1 << 30, "hole", 4);
	commit("k", o);
	ck_ok(mvcc_get(f.m, S("k"), 2, &r));
	ck_ok(mvcc_read(f.m, &r.row, 1 << 30, got, 4, &n));
	ck_assert(!memcmp(got, zeros, 4));
	mvcc_row_release(&r);
	mvcc_object_free(o);
}
END_TEST

START_TEST(a_move_keeps_the_chunks_and_the_writer)
{
	const size_t len = 10 * CHUNK;
	uint8_t *v = pattern(len, 0);
	struct mvcc_object *o;
	struct mvcc_txn *t;

	ck_ok(mvcc_put(f.m, S("a"), slice_of(v, len), NULL, NULL)); /* 2 */
	ck_ok(mvcc_put(f.m, S("b"), slice_of(v, len), NULL, NULL)); /* 3 */
	o = object_of("a");
	ck_ok(mvcc_txn_new(f.m, &t));
	ck_ok(mvcc_txn_move(t, S("a"), S("b")));
	ck_ok(mvcc_txn_commit(t, false, NULL)); /* 4 */
	mvcc_txn_free(t);
	ck_assert_uint_eq(count_entries(f.m, "c"), 20);
	ck_assert_uint_eq(count_entries(f.m, "e"), 1);
	ck_bytes("b", 0, v, len);
	write_at(o, 0, "changed", 7);
	commit("b", o); /* 5 */
	ck_assert_uint_eq(count_entries(f.m, "c"), 21);
	mvcc_object_free(o);
	ck_ok(mvcc_forget(f.m, 5));
	forget_wait_idle(f.m);
	compact(f.m);
	ck_assert_uint_eq(count_entries(f.m, "c"), 10);
	memcpy(v, "changed", 7);
	ck_bytes("b", 0, v, len);
	free(v);
}
END_TEST

START_TEST(a_value_whose_key_was_deleted_is_copied_when_it_is_committed)
{
	const size_t len = 10 * CHUNK;
	uint8_t *v = pattern(len, 0);
	struct mvcc_object *o;

	ck_ok(mvcc_put(f.m, S("k"), slice_of(v, len), NULL, NULL));
	o = object_of("k");
	write_at(o, 12 * CHUNK, "grown", 5);
	write_at(o, 0, "changed", 7);
	del(f.m, "k");
	/* The chunks stay while the writer has them open. */
	ck_ok(mvcc_forget(f.m, 3));
	forget_wait_idle(f.m);
	compact(f.m);
	commit("k", o);
	v = realloc(v, 12 * CHUNK + 5);
	memset(v + len, 0, 2 * CHUNK);
	memcpy(v + 12 * CHUNK, "grown", 5);
	memcpy(v, "changed", 7);
	ck_bytes("k", 0, v, 12 * CHUNK + 5);
	ck_object(o, v, 12 * CHUNK + 5);
	/* Now the old ones go. */
	forget_wait_idle(f.m);
	ck_assert_uint_eq(count_entries(f.m, "e"), 0);
	ck_bytes("k", 0, v, 12 * CHUNK + 5);
	ck_assert_uint_eq(count_entries(f.m, "o"), 0);
	mvcc_object_free(o);
	forget_wait_idle(f.m);
	ck_assert_uint_eq(count_entries(f.m, "c"), 11);
	free(v);
}
END_TEST

START_TEST(a_value_has_one_writer_who_starts_from_the_newest_row)
{
	const size_t len = 10 * CHUNK;
	uint8_t *v = pattern(len, 0);
	struct mvcc_pinned_row r = { 0 };
	struct mvcc_object *o, *p;

	ck_ok(mvcc_put(f.m, S("k"), slice_of(v, len), NULL, NULL));
	o = object_of("k");
	ck_code(try_object_of("k", &p), CAIRN_EBUSY);
	mvcc_object_free(o);
	ck_ok(mvcc_get(f.m, S("k"), 0, &r));
	del(f.m, "k");
	ck_code(mvcc_object_open(f.m, &r.row, &p), CAIRN_EABORTED);
	ck_ok(mvcc_put(f.m, S("k"), S("small"), NULL, NULL));
	ck_code(mvcc_object_open(f.m, &r.row, &p), CAIRN_EABORTED);
	mvcc_row_release(&r);
	/* A small one continues wherever it is put. */
	o = object_of("k");
	write_at(o, 5, "er", 2);
	commit("l", o);
	ck_value(f.m, "l", 0, "smaller");
	mvcc_object_free(o);
	free(v);
}
END_TEST

START_TEST(one_value_cannot_be_put_twice_in_a_transaction)
{
	struct mvcc_object *o = object_new();
	struct mvcc_txn *t;

	write_at(o, 0, "x", 1);
	ck_ok(mvcc_txn_new(f.m, &t));
	ck_ok(mvcc_txn_put_object(t, S("a"), o, NULL));
	ck_ok(mvcc_txn_put_object(t, S("b"), o, NULL));
	ck_code(mvcc_txn_commit(t, false, NULL), CAIRN_EINVAL);
	mvcc_txn_free(t);
	mvcc_object_free(o);
}
END_TEST

START_TEST(object_numbers_are_never_used_again)
{
	uint8_t *v = pattern(3 * CHUNK, 0);
	uint64_t last = 0;

	for (int i = 0; i < 20; i++) {
		struct mvcc_pinned_row r = { 0 };

		ck_ok(mvcc_put(f.m, S("k"), slice_of(v, 3 * CHUNK), NULL,
			       NULL));
		ck_ok(mvcc_get(f.m, S("k"), 0, &r));
		ck_assert_uint_gt(r.row.object, last);
		last = r.row.object;
		mvcc_row_release(&r);
		if (i % 5 == 0)
			fixture_reopen(&f);
	}
	free(v);
}
END_TEST

START_TEST(chunks_that_are_too_long_are_reported)
{
	uint8_t *v = pattern(3 * CHUNK, 0);
	struct mvcc_pinned_row r = { 0 };
	uint8_t key[ENC_CHUNK_KEY];
	struct enc_chunk c;
	size_t n;

	ck_ok(mvcc_put(f.m, S("k"), slice_of(v, 3 * CHUNK), NULL, NULL));
	ck_ok(mvcc_get(f.m, S("k"), 0, &r));
	c = (struct enc_chunk){ r.row.object, 1, 2 };
	enc_chunk_key(key, &c);
	ck_ok(cairn_put(f.m->db, NULL, slice_of(key, sizeof(key)),
			slice_of(v, CHUNK + 1)));
	ck_code(mvcc_read(f.m, &r.row, 0, v, 3 * CHUNK, &n), CAIRN_ECORRUPT);
	ck_ok(mvcc_read(f.m, &r.row, 0, v, CHUNK, &n));
	mvcc_row_release(&r);
	free(v);
}
END_TEST

START_TEST(a_row_that_was_not_read_whole_has_no_value_to_read)
{
	struct mvcc_row row = { .size = 5 };
	struct mvcc_object *o;
	uint8_t got[8];
	size_t n;

	ck_code(mvcc_read(f.m, &row, 0, got, 5, &n), CAIRN_EINVAL);
	ck_assert_str_eq(cairn_errmsg(), "row without a value");
	ck_code(mvcc_object_open(f.m, &row, &o), CAIRN_EINVAL);
	row.value = S("four");
	ck_code(mvcc_read(f.m, &row, 0, got, 5, &n), CAIRN_EINVAL);
	ck_code(mvcc_object_open(f.m, &row, &o), CAIRN_EINVAL);
	row.deleted = true;
	row.size = 4;
	ck_code(mvcc_object_open(f.m, &row, &o), CAIRN_EINVAL);
	row = (struct mvcc_row){ .size = 5, .object = 1, .chunk_size = 15 };
	ck_code(mvcc_read(f.m, &row, 0, got, 5, &n), CAIRN_EINVAL);
	ck_assert_str_eq(cairn_errmsg(), "row without a chunk size");
	/* Of nothing there is nothing to be read. */
	ck_ok(mvcc_read(f.m, &row, 5, got, 5, &n));
	ck_assert_uint_eq(n, 0);
}
END_TEST

/* ------------------------------------------------- against an array of bytes
 */

#define MODEL_MAX (40 * CHUNK)

struct version {
	int64_t rev;
	size_t len;
	uint8_t bytes[MODEL_MAX];
};

static void ck_version(const struct version *v)
{
	ck_bytes("k", v->rev, v->bytes, v->len);
}

START_TEST(random_writes_and_cuts_act_like_on_an_array)
{
	enum { VERSIONS = 30 };
	struct version *v = calloc(VERSIONS + 1, sizeof(*v));
	struct version *now = &v[0];
	struct mvcc_object *o = object_new();
	size_t n = 0;
	struct rng r;

	ck_assert_ptr_nonnull(v);
	rng_init(&r, (uint64_t)_i + 1);
	while (n < VERSIONS) {
		size_t off = (size_t)rng_below(&r, MODEL_MAX);
		size_t len = (size_t)rng_below(&r, MODEL_MAX - off);
		uint8_t byte = (uint8_t)(1 + rng_below(&r, 255));
		uint8_t data[MODEL_MAX];

		if (rng_one_in(&r, 2))
			len = (size_t)rng_below(&r, 2 * CHUNK) %
			      (MODEL_MAX - off);
		switch (rng_below(&r, 10)) {
		case 0:
		case 1:
		case 2:
		case 3:
			memset(data, byte, len);
			write_at(o, off, data, len);
			memcpy(now->bytes + off, data, len);
			if (len && now->len < off + len)
				now->len = off + len;
			break;
		case 4:
		case 5:
			ck_ok(mvcc_object_truncate(o, off));
			if (off < now->len)
				memset(now->bytes + off, 0, now->len - off);
			now->len = off;
			break;
		case 6:
			ck_object(o, now->bytes, now->len);
			break;
		case 7: /* lose it */
			if (n == 0 || !rng_one_in(&r, 4))
				break;
			mvcc_object_free(o);
			o = object_of("k");
			memcpy(now, &v[n], sizeof(*now));
			break;
		case 8:
			if (rng_one_in(&r, 5))
				flush(f.m);
			break;
		default:
			n++;
			memcpy(&v[n], now, sizeof(*now));
			v[n].rev = commit("k", o);
			ck_version(&v[n]);
			break;
		}
	}
	mvcc_object_free(o);
	for (size_t i = 1; i <= n; i++)
		ck_version(&v[i]);
	ck_ok(mvcc_forget(f.m, v[n / 2].rev));
	forget_wait_idle(f.m);
	compact(f.m);
	for (size_t i = n / 2; i <= n; i++)
		ck_version(&v[i]);
	ck_ok(mvcc_forget(f.m, v[n].rev));
	forget_wait_idle(f.m);
	compact(f.m);
	ck_version(&v[n]);
	/* Nothing is kept but what is shown. */
	ck_assert_uint_le(count_entries(f.m, "c"), MODEL_MAX / CHUNK);
	ck_assert_uint_eq(count_entries(f.m, "e"), 0);
	ck_assert_uint_eq(count_entries(f.m, "o"), 0);
	del(f.m, "k");
	ck_ok(mvcc_forget(f.m, v[n].rev + 1));
	forget_wait_idle(f.m);
	ck_assert_uint_eq(count_entries(f.m, "c"), 0);
	free(v);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("chunk");
	TCase *tc = tcase_create("chunk");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, values_of_every_size_come_back);
	tcase_add_test(tc, any_part_of_a_value_can_be_read);
	tcase_add_test(tc, changing_a_chunk_writes_that_chunk_only);
	tcase_add_test(tc, a_new_value_of_any_size_takes_little_memory);
	tcase_add_test(tc, an_uncommitted_value_leaves_no_trace);
	tcase_add_test(tc, a_crash_leaves_no_trace_of_an_uncommitted_value);
	tcase_add_loop_test(tc, what_was_cut_off_never_comes_back, 0, 12);
	tcase_add_test(tc, staged_chunks_that_were_cut_off_never_come_back);
	tcase_add_test(tc, cut_chunks_are_removed_once_forgotten);
	tcase_add_test(tc, holes_read_as_zeros_and_take_no_space);
	tcase_add_test(tc, a_move_keeps_the_chunks_and_the_writer);
	tcase_add_test(
		tc,
		a_value_whose_key_was_deleted_is_copied_when_it_is_committed);
	tcase_add_test(tc,
		       a_value_has_one_writer_who_starts_from_the_newest_row);
	tcase_add_test(tc, one_value_cannot_be_put_twice_in_a_transaction);
	tcase_add_test(tc, object_numbers_are_never_used_again);
	tcase_add_test(tc, chunks_that_are_too_long_are_reported);
	tcase_add_test(tc, a_row_that_was_not_read_whole_has_no_value_to_read);
	tcase_add_loop_test(tc, random_writes_and_cuts_act_like_on_an_array, 0,
			    20);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
