/* SPDX-License-Identifier: BSD-3-Clause */
/* Iterators, through the public interface. */
#include <stdio.h>

#include "engine/base/rng.h"
#include "engine/base/slice.h"
#include "engine/env/env_fault.h"
#include "engine/env/env_mem.h"
#include "engine/kv/batch.h"
#include "tests/support/runner.h"

#define N(array) (sizeof(array) / sizeof((array)[0]))
#define DIR      "/db"

/* A database on a file system in memory that fails on request. */
struct store {
	struct cairn_env *mem;
	struct cairn_env *env;
	struct cairn_options *opts;
	struct cairn_db *db;
};

static size_t dash_prefix(void *ctx, struct cairn_slice key)
{
	const uint8_t *dash = key.len ? memchr(key.data, '-', key.len) : NULL;

	(void)ctx;
	return dash ? (size_t)(dash - key.data) + 1 : SIZE_MAX;
}

/* "a-b" has the prefix "a-"; "ab" has none. */
static const struct cairn_prefix_extractor dash_extractor = {
	.name = "test.dash",
	.prefix_len = dash_prefix,
};

static void store_open(struct store *s)
{
	static const char *const settings[][2] = {
		{ "create_if_missing", "true" },
		{ "auto_compactions", "false" },
		{ "write_buffer_size", "256K" },
		{ "block_size", "64" },
		{ "block_restart_interval", "3" },
		{ "target_file_size", "512" },
		{ "l0_slowdown", "1000" },
		{ "l0_stop", "1000" },
	};

	s->mem = env_mem_new(ENV_MEM_STRICT);
	ck_assert(s->mem);
	s->env = env_fault_new(s->mem);
	ck_assert(s->env);
	s->opts = cairn_options_new();
	ck_assert(s->opts);
	for (size_t i = 0; i < N(settings); i++)
		ck_assert_int_eq(cairn_options_set(s->opts, settings[i][0],
						   settings[i][1]),
				 CAIRN_OK);
	cairn_options_set_env(s->opts, s->env);
	cairn_options_set_prefix_extractor(s->opts, &dash_extractor);
	ck_assert_msg(cairn_open(DIR, s->opts, &s->db) == CAIRN_OK, "%s",
		      cairn_errmsg());
}

static void store_close(struct store *s)
{
	ck_assert_msg(cairn_close(s->db) == CAIRN_OK, "%s", cairn_errmsg());
	cairn_options_free(s->opts);
	env_fault_free(s->env);
	env_mem_free(s->mem);
}

static void put(struct store *s, const char *key, const char *value)
{
	ck_assert_int_eq(
		cairn_put(s->db, NULL, slice_str(key), slice_str(value)),
		CAIRN_OK);
}

static void del(struct store *s, const char *key)
{
	ck_assert_int_eq(cairn_delete(s->db, NULL, slice_str(key)), CAIRN_OK);
}

static void flush(struct store *s)
{
	ck_assert_msg(cairn_flush(s->db, true) == CAIRN_OK, "%s",
		      cairn_errmsg());
}

static void compact(struct store *s)
{
	struct cairn_slice all = { 0 };

	ck_assert_msg(cairn_compact_range(s->db, all, all, NULL) == CAIRN_OK,
		      "%s", cairn_errmsg());
}

/* Move everything written so far to where case i wants it. */
enum place { IN_MEMTABLE, IN_LEVEL0, IN_BOTTOM, N_PLACES };

static void move_to(struct store *s, int place)
{
	if (place != IN_MEMTABLE)
		flush(s);
	if (place == IN_BOTTOM)
		compact(s);
}

static struct cairn_iter *iter_of(struct store *s,
				  const struct cairn_read_options *o)
{
	struct cairn_iter *it;

	ck_assert_msg(cairn_iter_new(s->db, o, &it) == CAIRN_OK, "%s",
		      cairn_errmsg());
	return it;
}

/* "a=1 b=2", forward or backward; then the iterator is freed. */
static void assert_walk(struct store *s, const struct cairn_read_options *o,
			bool backward, const char *want)
{
	struct cairn_iter *it = iter_of(s, o);
	struct buf got = { 0 };

	for (backward ? cairn_iter_last(it) : cairn_iter_first(it);
	     cairn_iter_valid(it);
	     backward ? cairn_iter_prev(it) : cairn_iter_next(it)) {
		struct cairn_slice k = cairn_iter_key(it);
		struct cairn_slice v = cairn_iter_value(it);

		ck_assert_int_eq(buf_printf(&got, "%s%.*s=%.*s",
					    got.len ? " " : "", (int)k.len,
					    (const char *)k.data, (int)v.len,
					    (const char *)v.data),
				 CAIRN_OK);
	}
	ck_assert_int_eq(cairn_iter_status(it), CAIRN_OK);
	ck_assert_msg(slice_eq(buf_slice(&got), slice_str(want)),
		      "got \"%.*s\", want \"%s\"", (int)got.len,
		      (const char *)got.data, want);
	buf_fini(&got);
	cairn_iter_free(it);
}

static void assert_at(const struct cairn_iter *it, const char *key,
		      const char *value)
{
	struct cairn_slice k = cairn_iter_key(it);
	struct cairn_slice v = cairn_iter_value(it);

	ck_assert(cairn_iter_valid(it));
	ck_assert_msg(slice_eq(k, slice_str(key)), "at \"%.*s\", want \"%s\"",
		      (int)k.len, (const char *)k.data, key);
	ck_assert_msg(slice_eq(v, slice_str(value)),
		      "value of \"%s\": \"%.*s\", want \"%s\"", key, (int)v.len,
		      (const char *)v.data, value);
}

/* ---------------------------------------------------------------- walks */

START_TEST(a_walk_shows_the_newest_of_each_key_and_no_deleted_ones)
{
	struct store s = { 0 };

	store_open(&s);
	put(&s, "b", "1");
	put(&s, "a", "1");
	put(&s, "d", "1");
	put(&s, "", "empty");
	move_to(&s, _i % N_PLACES);
	put(&s, "a", "2");
	del(&s, "b");
	put(&s, "c", "1");
	del(&s, "x");
	move_to(&s, _i / N_PLACES);
	put(&s, "d", "2");
	put(&s, "e", "");
	assert_walk(&s, NULL, false, "=empty a=2 c=1 d=2 e=");
	assert_walk(&s, NULL, true, "e= d=2 c=1 a=2 =empty");
	store_close(&s);
}
END_TEST

START_TEST(an_empty_database_has_nothing_to_walk)
{
	struct store s = { 0 };
	struct cairn_iter *it;

	store_open(&s);
	assert_walk(&s, NULL, false, "");
	assert_walk(&s, NULL, true, "");
	it = iter_of(&s, NULL);
	ck_assert(!cairn_iter_valid(it));
	ck_assert(!cairn_iter_seek_ge(it, slice_str("a")));
	ck_assert(!cairn_iter_seek_lt(it, slice_str("a")));
	ck_assert(!cairn_iter_next(it));
	ck_assert(!cairn_iter_prev(it));
	ck_assert_int_eq(cairn_iter_status(it), CAIRN_OK);
	cairn_iter_free(it);
	store_close(&s);
}
END_TEST

START_TEST(an_iterator_does_not_see_later_writes)
{
	struct store s = { 0 };
	struct cairn_iter *it;

	store_open(&s);
	put(&s, "a", "1");
	put(&s, "c", "1");
	move_to(&s, _i);
	it = iter_of(&s, NULL);
	put(&s, "a", "2");
	put(&s, "b", "2");
	del(&s, "c");
	flush(&s);
	compact(&s);
	ck_assert(cairn_iter_first(it));
	assert_at(it, "a", "1");
	ck_assert(cairn_iter_next(it));
	assert_at(it, "c", "1");
	ck_assert(!cairn_iter_next(it));
	ck_assert(cairn_iter_last(it));
	assert_at(it, "c", "1");
	cairn_iter_free(it);
	assert_walk(&s, NULL, false, "a=2 b=2");
	store_close(&s);
}
END_TEST

START_TEST(many_versions_of_a_key_are_passed_in_both_directions)
{
	struct store s = { 0 };
	struct cairn_snapshot *snap[3];
	char value[16];

	store_open(&s);
	put(&s, "a", "a");
	put(&s, "z", "z");
	/* Snapshots keep versions alive through flushes and compactions. */
	snap[0] = cairn_snapshot_new(s.db);
	for (int v = 0; v < 60; v++) {
		snprintf(value, sizeof(value), "%d", v);
		if (v % 7 == 3)
			del(&s, "k");
		else
			put(&s, "k", value);
		if (v == 29)
			snap[1] = cairn_snapshot_new(s.db);
		if (v == 31)
			snap[2] = cairn_snapshot_new(s.db);
		if (v == 40)
			move_to(&s, _i);
	}
	assert_walk(&s, NULL, false, "a=a z=z");
	assert_walk(&s, NULL, true, "z=z a=a");
	put(&s, "k", "last");
	assert_walk(&s, NULL, false, "a=a k=last z=z");
	assert_walk(&s, NULL, true, "z=z k=last a=a");
	for (int i = 0; i < 3; i++) {
		static const char *const up[] = { "a=a z=z", "a=a k=29 z=z",
						  "a=a z=z" };
		static const char *const down[] = { "z=z a=a", "z=z k=29 a=a",
						    "z=z a=a" };
		struct cairn_read_options o = { .snapshot = snap[i] };

		assert_walk(&s, &o, false, up[i]);
		assert_walk(&s, &o, true, down[i]);
		cairn_snapshot_release(snap[i]);
	}
	store_close(&s);
}
END_TEST

START_TEST(a_step_turns_round_at_any_entry)
{
	struct store s = { 0 };
	struct cairn_iter *it;

	store_open(&s);
	put(&s, "a", "1");
	put(&s, "c", "1");
	move_to(&s, _i);
	put(&s, "b", "1");
	put(&s, "c", "2");
	it = iter_of(&s, NULL);
	ck_assert(cairn_iter_first(it));
	ck_assert(cairn_iter_next(it));
	assert_at(it, "b", "1");
	ck_assert(cairn_iter_prev(it));
	assert_at(it, "a", "1");
	ck_assert(cairn_iter_next(it));
	assert_at(it, "b", "1");
	ck_assert(cairn_iter_next(it));
	assert_at(it, "c", "2");
	ck_assert(cairn_iter_prev(it));
	ck_assert(cairn_iter_prev(it));
	ck_assert(cairn_iter_next(it));
	assert_at(it, "b", "1");
	ck_assert(cairn_iter_last(it));
	ck_assert(!cairn_iter_next(it));
	ck_assert(!cairn_iter_prev(it));
	ck_assert_int_eq(cairn_iter_status(it), CAIRN_OK);
	cairn_iter_free(it);
	store_close(&s);
}
END_TEST

/* ---------------------------------------------------------------- bounds */

static const struct {
	const char *lower;
	const char *upper;
	const char *want;
	const char *want_backward;
} bounds[] = {
	{ "b", NULL, "b=2 c=3 d=4", "d=4 c=3 b=2" },
	{ "b", "d", "b=2 c=3", "c=3 b=2" },
	{ "bb", "cc", "c=3", "c=3" },
	{ NULL, "b", "a=1", "a=1" },
	{ NULL, "a", "", "" },
	{ "d", NULL, "d=4", "d=4" },
	{ "e", NULL, "", "" },
	{ "c", "c", "", "" },
	{ "d", "b", "", "" },
	{ "", NULL, "a=1 b=2 c=3 d=4", "d=4 c=3 b=2 a=1" },
	{ NULL, "", "", "" },
};

START_TEST(bounds_hold_below_inclusive_and_above_exclusive)
{
	for (int place = 0; place < N_PLACES; place++) {
		struct cairn_read_options o = { 0 };
		struct store s = { 0 };
		struct cairn_iter *it;

		store_open(&s);
		put(&s, "a", "1");
		put(&s, "b", "2");
		put(&s, "c", "3");
		put(&s, "d", "4");
		move_to(&s, place);
		if (bounds[_i].lower)
			o.lower = slice_str(bounds[_i].lower);
		if (bounds[_i].upper)
			o.upper = slice_str(bounds[_i].upper);
		assert_walk(&s, &o, false, bounds[_i].want);
		assert_walk(&s, &o, true, bounds[_i].want_backward);

		/* Seeks from outside come to the same ends. */
		it = iter_of(&s, &o);
		ck_assert(cairn_iter_seek_ge(it, slice_str("")) ==
			  (bounds[_i].want[0] != '\0'));
		ck_assert(cairn_iter_seek_lt(it, slice_str("zz")) ==
			  (bounds[_i].want[0] != '\0'));
		ck_assert(!cairn_iter_seek_ge(it, slice_str("zz")));
		ck_assert(!cairn_iter_seek_lt(it, slice_str("")));
		ck_assert_int_eq(cairn_iter_status(it), CAIRN_OK);
		cairn_iter_free(it);
		store_close(&s);
	}
}
END_TEST

START_TEST(turning_round_at_a_bound_stays_inside)
{
	struct store s = { 0 };
	struct cairn_read_options o = { .lower = slice_str("b"),
					.upper = slice_str("d") };
	struct cairn_iter *it;

	store_open(&s);
	put(&s, "a", "1");
	put(&s, "b", "2");
	move_to(&s, _i);
	put(&s, "c", "3");
	put(&s, "d", "4");
	it = iter_of(&s, &o);
	ck_assert(cairn_iter_seek_lt(it, slice_str("d")));
	assert_at(it, "c", "3");
	ck_assert(!cairn_iter_next(it));
	ck_assert(cairn_iter_seek_ge(it, slice_str("b")));
	ck_assert(!cairn_iter_prev(it));
	ck_assert(cairn_iter_seek_ge(it, slice_str("c")));
	ck_assert(cairn_iter_prev(it));
	assert_at(it, "b", "2");
	ck_assert(cairn_iter_next(it));
	assert_at(it, "c", "3");
	ck_assert_int_eq(cairn_iter_status(it), CAIRN_OK);
	cairn_iter_free(it);
	store_close(&s);
}
END_TEST

/* -------------------------------------------------------------- prefixes */

START_TEST(a_prefix_walk_stays_in_the_prefix)
{
	struct store s = { 0 };
	struct cairn_read_options o = { .lower = slice_str("b-2") };
	struct cairn_iter *it;

	store_open(&s);
	put(&s, "a-1", "1");
	put(&s, "b-1", "2");
	put(&s, "c-1", "3");
	move_to(&s, _i);
	put(&s, "b-3", "4");
	put(&s, "b-2", "5");
	del(&s, "b-4");
	it = iter_of(&s, NULL);
	ck_assert(cairn_iter_seek_prefix_ge(it, slice_str("b-")));
	assert_at(it, "b-1", "2");
	ck_assert(cairn_iter_next(it));
	assert_at(it, "b-2", "5");
	ck_assert(cairn_iter_next(it));
	assert_at(it, "b-3", "4");
	ck_assert(!cairn_iter_next(it));
	ck_assert_int_eq(cairn_iter_status(it), CAIRN_OK);
	ck_assert(!cairn_iter_seek_prefix_ge(it, slice_str("aa-")));
	ck_assert_int_eq(cairn_iter_status(it), CAIRN_OK);
	/* An ordinary seek leaves the mode. */
	ck_assert(cairn_iter_seek_ge(it, slice_str("b-3")));
	ck_assert(cairn_iter_next(it));
	assert_at(it, "c-1", "3");
	ck_assert(cairn_iter_prev(it));
	cairn_iter_free(it);

	it = iter_of(&s, &o);
	ck_assert(cairn_iter_seek_prefix_ge(it, slice_str("b-")));
	assert_at(it, "b-2", "5");
	ck_assert(!cairn_iter_seek_prefix_ge(it, slice_str("a-")));
	ck_assert_int_eq(cairn_iter_status(it), CAIRN_OK);
	cairn_iter_free(it);
	store_close(&s);
}
END_TEST

START_TEST(prev_and_last_are_refused_after_a_prefix_seek)
{
	struct store s = { 0 };
	struct cairn_iter *it;

	store_open(&s);
	put(&s, "b-1", "1");
	put(&s, "b-2", "2");
	it = iter_of(&s, NULL);
	ck_assert(cairn_iter_seek_prefix_ge(it, slice_str("b-2")));
	ck_assert(!cairn_iter_prev(it));
	ck_assert_int_eq(cairn_iter_status(it), CAIRN_EINVAL);
	ck_assert(!cairn_iter_next(it));
	ck_assert_int_eq(cairn_iter_status(it), CAIRN_EINVAL);
	ck_assert(cairn_iter_seek_prefix_ge(it, slice_str("b-2")));
	ck_assert(!cairn_iter_last(it));
	ck_assert_int_eq(cairn_iter_status(it), CAIRN_EINVAL);
	ck_assert(!cairn_iter_seek_prefix_ge(it, slice_str("nodash")));
	ck_assert_int_eq(cairn_iter_status(it), CAIRN_EINVAL);
	ck_assert(cairn_iter_first(it));
	ck_assert(cairn_iter_last(it));
	ck_assert_int_eq(cairn_iter_status(it), CAIRN_OK);
	cairn_iter_free(it);
	store_close(&s);
}
END_TEST

/* -------------------------------------------------------------- failures */

START_TEST(close_is_refused_while_an_iterator_is_open)
{
	struct store s = { 0 };
	struct cairn_iter *it;

	store_open(&s);
	put(&s, "a", "1");
	it = iter_of(&s, NULL);
	ck_assert_int_eq(cairn_close(s.db), CAIRN_EBUSY);
	ck_assert(cairn_iter_first(it));
	assert_at(it, "a", "1");
	cairn_iter_free(it);
	cairn_iter_free(NULL);
	store_close(&s);
}
END_TEST

START_TEST(a_read_error_is_never_the_end_and_stays)
{
	struct env_fault_rule rule = {
		.ops = ENV_FAULT_READ | ENV_FAULT_OPEN_READ,
		.path = ".sst",
		.nth = (uint64_t)_i + 1,
		.sticky = true,
		.code = CAIRN_EIO,
	};
	struct cairn_read_options o = { .no_fill_cache = true };
	struct store s = { 0 };
	struct cairn_iter *it;
	char key[16];
	int n;

	store_open(&s);
	for (int i = 0; i < 100; i++) {
		snprintf(key, sizeof(key), "key%03d", i);
		put(&s, key, "a value that fills the block soon enough");
	}
	flush(&s);
	if (_i % 2)
		compact(&s);
	it = iter_of(&s, &o);
	env_fault_set(s.env, &rule);
	n = 0;
	for (_i % 4 < 2 ? cairn_iter_first(it) : cairn_iter_last(it);
	     cairn_iter_valid(it);
	     _i % 4 < 2 ? cairn_iter_next(it) : cairn_iter_prev(it))
		n++;
	if (env_fault_hits(s.env)) {
		ck_assert_int_eq(cairn_iter_status(it), CAIRN_EIO);
		ck_assert_int_lt(n, 100);
		ck_assert(!cairn_iter_next(it));
		ck_assert(!cairn_iter_prev(it));
		ck_assert_int_eq(cairn_iter_status(it), CAIRN_EIO);
	} else {
		ck_assert_int_eq(cairn_iter_status(it), CAIRN_OK);
		ck_assert_int_eq(n, 100);
	}
	env_fault_set(s.env, NULL);
	n = 0;
	for (cairn_iter_first(it); cairn_iter_valid(it); cairn_iter_next(it))
		n++;
	ck_assert_int_eq(cairn_iter_status(it), CAIRN_OK);
	ck_assert_int_eq(n, 100);
	cairn_iter_free(it);
	store_close(&s);
}
END_TEST

/* A batch with an operation that the public interface cannot build. */
static void write_op(struct store *s, uint8_t kind, const char *key,
		     const char *value)
{
	struct cairn_batch *b = cairn_batch_new();

	ck_assert(b);
	ck_assert_int_eq(
		value ? cairn_batch_put(b, slice_str(key), slice_str(value))
		      : cairn_batch_delete(b, slice_str(key)),
		CAIRN_OK);
	b->bytes.data[BATCH_HEADER_LEN] = kind;
	ck_assert_msg(cairn_write(s->db, NULL, b) == CAIRN_OK, "%s",
		      cairn_errmsg());
	cairn_batch_free(b);
}

START_TEST(a_single_deletion_reads_as_a_deletion)
{
	struct store s = { 0 };

	store_open(&s);
	put(&s, "a", "1");
	put(&s, "b", "1");
	move_to(&s, _i);
	write_op(&s, KIND_SINGLE_DELETE, "a", NULL);
	move_to(&s, _i);
	assert_walk(&s, NULL, false, "b=1");
	assert_walk(&s, NULL, true, "b=1");
	store_close(&s);
}
END_TEST

START_TEST(a_merge_operand_is_refused_by_name)
{
	struct store s = { 0 };
	struct cairn_iter *it;

	store_open(&s);
	put(&s, "a", "1");
	put(&s, "c", "1");
	put(&s, "b", "1");
	write_op(&s, KIND_MERGE, "b", "2");
	move_to(&s, _i);
	it = iter_of(&s, NULL);
	ck_assert(cairn_iter_first(it));
	ck_assert(!cairn_iter_next(it));
	ck_assert_int_eq(cairn_iter_status(it), CAIRN_ENOTSUP);
	ck_assert_msg(strstr(cairn_errmsg(), "merge"), "%s", cairn_errmsg());
	ck_assert(cairn_iter_last(it));
	ck_assert_int_eq(cairn_iter_status(it), CAIRN_OK);
	ck_assert(!cairn_iter_prev(it));
	ck_assert_int_eq(cairn_iter_status(it), CAIRN_ENOTSUP);
	cairn_iter_free(it);
	/* Under a newer put it does not matter. */
	put(&s, "b", "3");
	assert_walk(&s, NULL, false, "a=1 b=3 c=1");
	assert_walk(&s, NULL, true, "c=1 b=3 a=1");
	store_close(&s);
}
END_TEST

/* ----------------------------------------------------------- by a model */

#define KEYS      24
#define VERSIONS  400
#define SNAPSHOTS 6

/* Every write that was made: the state at time t is that of the first t. */
struct history {
	struct {
		uint8_t key;
		bool deleted;
	} write[VERSIONS];
	size_t n;
};

/* What a reader at time t sees, in order of keys. */
struct view {
	uint8_t key[KEYS];
	size_t time[KEYS]; /* of the write, which is the value */
	size_t n;
};

static void key_name(uint8_t key, char *out, size_t size)
{
	/* Keys of three lengths, sorted as their numbers. */
	snprintf(out, size, "%c%s", 'a' + key / 3,
		 key % 3 == 0 ? "" : (key % 3 == 1 ? "-some-long-key" : "x"));
}

static void view_at(const struct history *h, size_t t, const char *lower,
		    const char *upper, struct view *v)
{
	v->n = 0;
	for (uint8_t key = 0; key < KEYS; key++) {
		size_t newest = t;
		char name[32];

		key_name(key, name, sizeof(name));
		if ((lower && strcmp(name, lower) < 0) ||
		    (upper && strcmp(name, upper) >= 0))
			continue;
		while (newest && h->write[newest - 1].key != key)
			newest--;
		if (!newest || h->write[newest - 1].deleted)
			continue;
		v->key[v->n] = key;
		v->time[v->n++] = newest;
	}
}

/* Index of the first key of the view that is not below name. */
static size_t view_find(const struct view *v, const char *name)
{
	size_t i = 0;

	for (; i < v->n; i++) {
		char key[32];

		key_name(v->key[i], key, sizeof(key));
		if (strcmp(key, name) >= 0)
			break;
	}
	return i;
}

static void random_write(struct store *s, struct history *h, struct rng *r)
{
	uint8_t key = (uint8_t)rng_below(r, KEYS);
	char name[32], value[32];

	if (h->n == VERSIONS)
		return;
	/* Some keys get many versions. */
	if (rng_one_in(r, 3))
		key = (uint8_t)(key % 2);
	key_name(key, name, sizeof(name));
	h->write[h->n].key = key;
	h->write[h->n++].deleted = rng_one_in(r, 3);
	snprintf(value, sizeof(value), "%zu", h->n);
	if (h->write[h->n - 1].deleted)
		del(s, name);
	else
		put(s, name, value);
}

static void assert_on_view(const struct cairn_iter *it, const struct view *v,
			   size_t pos)
{
	char name[32], value[32];

	ck_assert_int_eq(cairn_iter_status(it), CAIRN_OK);
	ck_assert_int_eq(cairn_iter_valid(it), pos < v->n);
	if (pos >= v->n)
		return;
	key_name(v->key[pos], name, sizeof(name));
	snprintf(value, sizeof(value), "%zu", v->time[pos]);
	assert_at(it, name, value);
}

/* Walk at random, the model's position beside the iterator's. */
static void random_walk(struct cairn_iter *it, const struct view *v,
			struct rng *r, int steps)
{
	size_t pos = v->n; /* on no entry */

	while (steps--) {
		char name[32];

		key_name((uint8_t)rng_below(r, KEYS), name, sizeof(name));
		if (rng_one_in(r, 4))
			name[1] = '\0';
		switch (rng_below(r, 10)) {
		case 0:
			cairn_iter_first(it);
			pos = 0;
			break;
		case 1:
			cairn_iter_last(it);
			pos = v->n ? v->n - 1 : 0;
			break;
		case 2:
			cairn_iter_seek_ge(it, slice_str(name));
			pos = view_find(v, name);
			break;
		case 3:
			cairn_iter_seek_lt(it, slice_str(name));
			pos = view_find(v, name);
			pos = pos ? pos - 1 : v->n;
			break;
		case 4:
		case 5:
		case 6:
			cairn_iter_next(it);
			pos = pos < v->n ? pos + 1 : v->n;
			break;
		default:
			cairn_iter_prev(it);
			pos = pos && pos < v->n ? pos - 1 : v->n;
		}
		assert_on_view(it, v, pos);
	}
}

static void check_at(struct store *s, const struct history *h,
		     const struct cairn_snapshot *snapshot, size_t t,
		     struct rng *r)
{
	struct cairn_read_options o = { .snapshot = snapshot };
	char lower[32], upper[32];
	struct cairn_iter *it;
	struct view v;

	key_name((uint8_t)rng_below(r, KEYS), lower, sizeof(lower));
	key_name((uint8_t)rng_below(r, KEYS), upper, sizeof(upper));
	if (rng_one_in(r, 3))
		o.lower = slice_str(lower);
	if (rng_one_in(r, 3))
		o.upper = slice_str(upper);
	view_at(h, t, o.lower.data ? lower : NULL, o.upper.data ? upper : NULL,
		&v);
	it = iter_of(s, &o);
	random_walk(it, &v, r, 60);
	cairn_iter_free(it);
}

START_TEST(any_walk_is_that_over_the_model)
{
	struct cairn_snapshot *snapshot[SNAPSHOTS] = { 0 };
	size_t time[SNAPSHOTS] = { 0 };
	struct history h = { 0 };
	struct store s = { 0 };
	struct rng r;

	rng_init(&r, 4242 + (uint64_t)_i);
	store_open(&s);
	for (int round = 0; round < 40; round++) {
		size_t i = rng_below(&r, SNAPSHOTS);

		for (uint64_t n = rng_below(&r, 20); n; n--)
			random_write(&s, &h, &r);
		if (rng_one_in(&r, 4))
			flush(&s);
		if (rng_one_in(&r, 8))
			compact(&s);
		if (rng_one_in(&r, 2)) {
			cairn_snapshot_release(snapshot[i]);
			snapshot[i] = cairn_snapshot_new(s.db);
			ck_assert(snapshot[i]);
			time[i] = h.n;
		}
		check_at(&s, &h, NULL, h.n, &r);
		for (i = 0; i < SNAPSHOTS; i++)
			if (snapshot[i])
				check_at(&s, &h, snapshot[i], time[i], &r);
	}
	for (size_t i = 0; i < SNAPSHOTS; i++)
		cairn_snapshot_release(snapshot[i]);
	store_close(&s);
}
END_TEST

static Suite *iter_suite(void)
{
	Suite *s = suite_create("iter");
	TCase *tc = tcase_create("walks");

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(
		tc, a_walk_shows_the_newest_of_each_key_and_no_deleted_ones, 0,
		N_PLACES * N_PLACES);
	tcase_add_test(tc, an_empty_database_has_nothing_to_walk);
	tcase_add_loop_test(tc, an_iterator_does_not_see_later_writes, 0,
			    N_PLACES);
	tcase_add_loop_test(
		tc, many_versions_of_a_key_are_passed_in_both_directions, 0,
		N_PLACES);
	tcase_add_loop_test(tc, a_step_turns_round_at_any_entry, 0, N_PLACES);
	tcase_add_loop_test(tc, any_walk_is_that_over_the_model, 0, 12);
	suite_add_tcase(s, tc);

	tc = tcase_create("bounds and prefixes");
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, bounds_hold_below_inclusive_and_above_exclusive,
			    0, (int)N(bounds));
	tcase_add_loop_test(tc, turning_round_at_a_bound_stays_inside, 0,
			    N_PLACES);
	tcase_add_loop_test(tc, a_prefix_walk_stays_in_the_prefix, 0, N_PLACES);
	tcase_add_test(tc, prev_and_last_are_refused_after_a_prefix_seek);
	suite_add_tcase(s, tc);

	tc = tcase_create("failures");
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, close_is_refused_while_an_iterator_is_open);
	tcase_add_loop_test(tc, a_read_error_is_never_the_end_and_stays, 0, 40);
	tcase_add_loop_test(tc, a_single_deletion_reads_as_a_deletion, 0,
			    N_PLACES);
	tcase_add_loop_test(tc, a_merge_operand_is_refused_by_name, 0,
			    N_PLACES);
	suite_add_tcase(s, tc);
	return s;
}

int main(void)
{
	return run_suite(iter_suite());
}
