/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What etcd says it holds (tests/data/etcd/README.md), and whether a store
 * holds the same: the rows of each revision, the log, the leases, HashKV.
 */
#ifndef CAIRN_TESTS_MVCC_ETCD_EXPECT_H
#define CAIRN_TESTS_MVCC_ETCD_EXPECT_H

#include <stdio.h>
#include <stdlib.h>

#include "engine/base/buf.h"
#include "engine/base/crc32c.h"
#include "mvcc/encode.h"
#include "mvcc/hash.h"
#include "mvcc/kv_proto.h"
#include "mvcc/mvcc.h"
#include "tests/support/check.h"

#define expect_ok(expr)                                                        \
	do {                                                                   \
		int err_ = (expr);                                             \
		ck_assert_msg(err_ == CAIRN_OK, "%s: %d: %s", #expr, err_,     \
			      cairn_errmsg());                                 \
	} while (0)

/* A row, or as an event a tombstone. */
struct expect_row {
	struct cairn_slice key;
	struct cairn_slice value;
	int64_t main;
	int32_t sub;
	int64_t create_rev;
	int64_t version;
	int64_t lease;
	bool deleted;
};

struct expect_lease {
	int64_t id;
	int64_t ttl;
};

struct expect_attached {
	int64_t lease;
	struct cairn_slice key;
};

struct expect_hash {
	int64_t rev;
	uint32_t hash;
};

/* Arrays that grow with what is read. */
struct etcd_expect {
	int64_t current;
	int64_t compact;          /* 0: never */
	struct expect_row *state; /* ascending, at compact and then moved on */
	size_t n_state;
	struct expect_row *events; /* by (main, sub) */
	size_t n_events;
	struct expect_lease *leases; /* ascending */
	size_t n_leases;
	struct expect_attached *attached; /* ascending */
	size_t n_attached;
	struct expect_hash *hashes;
	size_t n_hashes;
	char *text; /* the file; slices point into it */
};

/* ----------------------------------------------------------------- reading */

static inline void *expect_grow(void *array, size_t n, size_t size)
{
	if (n & (n - 1))
		return array;
	array = realloc(array, (n ? 2 * n : 1) * size);
	ck_assert_ptr_nonnull(array);
	return array;
}

/* An assertion costs a system call: not one for each digit, nor for each field
 * of a row. */
static inline unsigned expect_digit(char c, bool *bad)
{
	if (c >= '0' && c <= '9')
		return (unsigned)(c - '0');
	*bad |= c < 'a' || c > 'f';
	return (unsigned)(c - 'a' + 10) & 15;
}

/* Digits into bytes, in their own place. */
static inline struct cairn_slice expect_unhex(char *text)
{
	size_t n = strlen(text) / 2;
	bool bad = false;

	for (size_t i = 0; i < n; i++)
		((uint8_t *)text)[i] =
			(uint8_t)(expect_digit(text[2 * i], &bad) << 4 |
				  expect_digit(text[2 * i + 1], &bad));
	ck_assert(!bad);
	return slice_of(text, n);
}

static inline int64_t expect_number(const char *text)
{
	return strtoll(text, NULL, 10);
}

static inline void expect_line(struct etcd_expect *x, char **f, int n)
{
	struct expect_row row = { 0 };

	if (!strcmp(f[0], "current") && n == 2) {
		x->current = expect_number(f[1]);
	} else if (!strcmp(f[0], "compact") && n == 2) {
		x->compact = expect_number(f[1]);
	} else if (!strcmp(f[0], "lease") && n == 3) {
		x->leases =
			expect_grow(x->leases, x->n_leases, sizeof(*x->leases));
		x->leases[x->n_leases++] =
			(struct expect_lease){ expect_number(f[1]),
					       expect_number(f[2]) };
	} else if (!strcmp(f[0], "attached") && n == 3) {
		x->attached = expect_grow(x->attached, x->n_attached,
					  sizeof(*x->attached));
		x->attached[x->n_attached++] =
			(struct expect_attached){ expect_number(f[1]),
						  expect_unhex(f[2]) };
	} else if (!strcmp(f[0], "hash") && n == 3) {
		x->hashes =
			expect_grow(x->hashes, x->n_hashes, sizeof(*x->hashes));
		x->hashes[x->n_hashes++] =
			(struct expect_hash){ expect_number(f[1]),
					      (uint32_t)expect_number(f[2]) };
	} else if (!strcmp(f[0], "base") && n == 7) {
		row.key = expect_unhex(f[1]);
		row.create_rev = expect_number(f[2]);
		row.main = expect_number(f[3]);
		row.version = expect_number(f[4]);
		row.lease = expect_number(f[5]);
		row.value = expect_unhex(f[6]);
		x->state = expect_grow(x->state, x->n_state, sizeof(*x->state));
		x->state[x->n_state++] = row;
	} else {
		row.deleted = !strcmp(f[0], "del");
		ck_assert_msg((row.deleted && n == 4) ||
				      (!strcmp(f[0], "put") && n == 8),
			      "line of %d fields: %s", n, f[0]);
		row.main = expect_number(f[1]);
		row.sub = (int32_t)expect_number(f[2]);
		row.key = expect_unhex(f[3]);
		if (!row.deleted) {
			row.create_rev = expect_number(f[4]);
			row.version = expect_number(f[5]);
			row.lease = expect_number(f[6]);
			row.value = expect_unhex(f[7]);
		}
		x->events =
			expect_grow(x->events, x->n_events, sizeof(*x->events));
		x->events[x->n_events++] = row;
	}
}

static inline void etcd_expect_load(const char *path, struct etcd_expect *x)
{
	FILE *f = fopen(path, "rb");
	long len;
	char *line, *end;

	memset(x, 0, sizeof(*x));
	ck_assert_msg(f && !fseek(f, 0, SEEK_END), "%s", path);
	len = ftell(f);
	rewind(f);
	x->text = malloc((size_t)len + 1);
	ck_assert_ptr_nonnull(x->text);
	ck_assert_uint_eq(fread(x->text, 1, (size_t)len, f), (size_t)len);
	fclose(f);
	x->text[len] = '\0';
	for (line = x->text; (end = strchr(line, '\n')); line = end + 1) {
		char *fields[8] = { line }, *next = line;
		int n = 0;

		*end = '\0';
		while (next && n < 8)
			fields[n++] = strsep(&next, "\t");
		expect_line(x, fields, n);
	}
	ck_assert_int_gt(x->current, 0);
}

static inline void etcd_expect_fini(struct etcd_expect *x)
{
	free(x->state);
	free(x->events);
	free(x->leases);
	free(x->attached);
	free(x->hashes);
	free(x->text);
}

/* ---------------------------------------------------------------- the rows */

/* Apply an event to the state. */
static inline void expect_apply(struct etcd_expect *x,
				const struct expect_row *e)
{
	size_t lo = 0, hi = x->n_state;
	bool there;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (slice_cmp(x->state[mid].key, e->key) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	there = lo < x->n_state && slice_eq(x->state[lo].key, e->key);
	if (there && !e->deleted) {
		x->state[lo] = *e;
	} else if (there) {
		x->n_state--;
		memmove(&x->state[lo], &x->state[lo + 1],
			(x->n_state - lo) * sizeof(*e));
	} else if (!e->deleted) {
		x->state = expect_grow(x->state, x->n_state, sizeof(*e));
		memmove(&x->state[lo + 1], &x->state[lo],
			(x->n_state - lo) * sizeof(*e));
		x->state[lo] = *e;
		x->n_state++;
	}
}

static inline int expect_value(struct mvcc *m, const struct mvcc_row *row,
			       struct buf *out)
{
	size_t got = 0;
	int err;

	buf_clear(out);
	err = buf_reserve(out, (size_t)row->size + 1);
	if (!err)
		err = mvcc_read(m, row, 0, out->data, (size_t)row->size, &got);
	out->len = got;
	return err || got == row->size ? err : CAIRN_ECORRUPT;
}

static inline void expect_same(struct mvcc *m, const struct mvcc_row *got,
			       const struct expect_row *want, struct buf *value)
{
	int err = expect_value(m, got, value);

	ck_assert_msg(!err && slice_eq(got->key, want->key) &&
			      got->main == want->main &&
			      got->create_rev == want->create_rev &&
			      got->version == want->version &&
			      got->lease == want->lease &&
			      slice_eq(buf_slice(value), want->value),
		      "%d: revision %lld, created at %lld, version %lld, "
		      "lease %lld, where etcd has %lld, %lld, %lld, %lld; or "
		      "another value",
		      err, (long long)got->main, (long long)got->create_rev,
		      (long long)got->version, (long long)got->lease,
		      (long long)want->main, (long long)want->create_rev,
		      (long long)want->version, (long long)want->lease);
}

static inline void expect_scan(struct mvcc *m, const struct etcd_expect *x,
			       int64_t rev)
{
	struct buf value = { 0 };
	struct mvcc_scan *s;
	struct mvcc_row row;
	size_t i = 0;
	int err;

	expect_ok(mvcc_scan_new(m, rev, slice_of(NULL, 0), slice_of(NULL, 0),
				false, &s));
	while ((err = mvcc_scan_next(s, &row)) == CAIRN_OK) {
		if (i == x->n_state)
			break;
		expect_same(m, &row, &x->state[i++], &value);
	}
	ck_assert_int_eq(err, CAIRN_NOT_FOUND);
	ck_assert_uint_eq(i, x->n_state);
	mvcc_scan_free(s);
	buf_fini(&value);
}

/* x ends at the current revision. Leaves out revisions but each step-th. */
static inline void expect_revisions(struct mvcc *m, struct etcd_expect *x,
				    int64_t step)
{
	int64_t first = x->compact ? x->compact : 1;
	size_t i = 0;

	for (int64_t rev = first; rev <= x->current; rev++) {
		for (; i < x->n_events && x->events[i].main <= rev; i++)
			expect_apply(x, &x->events[i]);
		if (rev % step == 0 || rev == first || rev == x->current)
			expect_scan(m, x, rev);
	}
	ck_assert_uint_eq(i, x->n_events);
}

/* What a reader at its revision sees of an event's key, if no later event of
 * that revision is of the same key. */
static inline void expect_event(struct mvcc *m, const struct expect_row *want,
				struct buf *value)
{
	struct mvcc_pinned_row r = { 0 };
	int err = mvcc_get(m, want->key, want->main, &r);

	if (want->deleted) {
		ck_assert_int_eq(err, CAIRN_NOT_FOUND);
	} else if (err != CAIRN_NOT_FOUND) {
		expect_ok(err);
		expect_same(m, &r.row, want, value);
	}
	mvcc_row_release(&r);
}

/* Every change, and the row that it made. */
static inline void expect_log(struct mvcc *m, const struct etcd_expect *x)
{
	struct buf value = { 0 };
	struct mvcc_changes *c;
	struct mvcc_change got;
	size_t i = 0;
	int err;

	expect_ok(mvcc_changes_new(m, x->compact ? x->compact : 1,
				   x->current + 1, &c));
	while ((err = mvcc_changes_next(c, &got)) == CAIRN_OK) {
		const struct expect_row *want = &x->events[i];

		ck_assert_uint_lt(i++, x->n_events);
		ck_assert_int_eq(got.main, want->main);
		if (want->sub >= 0)
			ck_assert_int_eq(got.sub, want->sub);
		ck_assert_int_eq(got.deleted, want->deleted);
		ck_assert(slice_eq(got.key, want->key));
		expect_event(m, want, &value);
	}
	ck_assert_int_eq(err, CAIRN_NOT_FOUND);
	ck_assert_uint_eq(i, x->n_events);
	mvcc_changes_free(c);
	buf_fini(&value);
}

/* ------------------------------------------------------------------ leases */

static inline struct cairn_iter *expect_table(struct mvcc *m, const char *from,
					      const char *to)
{
	const struct cairn_read_options o = { .lower = slice_str(from),
					      .upper = slice_str(to) };
	struct cairn_iter *it;

	expect_ok(cairn_iter_new(mvcc_db(m), &o, &it));
	return it;
}

static inline void expect_leases(struct mvcc *m, const struct etcd_expect *x)
{
	struct cairn_iter *it = expect_table(m, "l", "m");
	struct buf key = { 0 };
	size_t i = 0;

	for (bool on = cairn_iter_first(it); on; on = cairn_iter_next(it)) {
		struct enc_lease got;

		ck_assert_uint_lt(i, x->n_leases);
		expect_ok(enc_lease_parse(cairn_iter_key(it),
					  cairn_iter_value(it), &got));
		ck_assert_int_eq(got.id, x->leases[i].id);
		ck_assert_int_eq(got.ttl, x->leases[i++].ttl);
	}
	ck_assert_uint_eq(i, x->n_leases);
	cairn_iter_free(it);
	it = expect_table(m, "a", "b");
	i = 0;
	for (bool on = cairn_iter_first(it); on; on = cairn_iter_next(it)) {
		int64_t lease;

		ck_assert_uint_lt(i, x->n_attached);
		expect_ok(enc_attached_parse(cairn_iter_key(it), &lease, &key));
		ck_assert_int_eq(lease, x->attached[i].lease);
		ck_assert(slice_eq(buf_slice(&key), x->attached[i++].key));
	}
	ck_assert_uint_eq(i, x->n_attached);
	cairn_iter_free(it);
	buf_fini(&key);
}

/* ------------------------------------------------------------------ HashKV */

/* A row as the hash has it. */
struct expect_record {
	int64_t main;
	int32_t sub;
	bool deleted;
	bool kept; /* by a compaction at the revision of the hash */
	struct buf proto;
};

static inline int expect_by_revision(const void *a, const void *b)
{
	const struct expect_record *x = a, *y = b;

	if (x->main != y->main)
		return x->main < y->main ? -1 : 1;
	return (x->sub > y->sub) - (x->sub < y->sub);
}

static inline void expect_take(struct mvcc *m, struct cairn_iter *it,
			       const struct enc_row *at, struct buf *plain,
			       struct expect_record *out)
{
	struct mvcc_row row = { .main = at->main, .sub = at->sub };
	struct kv_proto kv = { 0 };
	struct buf value = { 0 };

	expect_ok(enc_plain(at->prefix, plain));
	row.key = buf_slice(plain);
	expect_ok(enc_row_value_parse(cairn_iter_value(it),
				      cairn_iter_value(it).len, &row, NULL,
				      NULL));
	kv.key = row.key;
	if (!row.deleted) {
		expect_ok(expect_value(m, &row, &value));
		kv.create_rev = row.create_rev;
		kv.mod_rev = row.main;
		kv.version = row.version;
		kv.lease = row.lease;
		kv.value = buf_slice(&value);
	}
	*out = (struct expect_record){ .main = row.main,
				       .sub = row.sub,
				       .deleted = row.deleted };
	expect_ok(kv_proto_encode(&out->proto, &kv));
	buf_fini(&value);
}

static inline uint32_t expect_sum(struct expect_record *r, size_t n,
				  int64_t compact, bool any_kept)
{
	uint32_t crc = crc32c("key", 3);

	if (n)
		qsort(r, n, sizeof(*r), expect_by_revision);
	for (size_t i = 0; i < n; i++) {
		uint8_t head[18];

		if (r[i].main <= compact &&
		    ((any_kept && !r[i].kept) ||
		     (r[i].deleted && r[i].main == compact)))
			continue;
		put_be64(head, (uint64_t)r[i].main);
		head[8] = '_';
		put_be64(head + 9, (uint64_t)r[i].sub);
		head[17] = 't';
		crc = crc32c_extend(crc, head, r[i].deleted ? 18 : 17);
		crc = crc32c_extend(crc, r[i].proto.data, r[i].proto.len);
	}
	return crc;
}

/* etcd's HashKV, the plain way: all rows in memory. */
static inline uint32_t expect_hashkv(struct mvcc *m, int64_t rev,
				     int64_t compact)
{
	struct cairn_iter *it = expect_table(m, "k", "l");
	struct expect_record *r = NULL;
	struct buf prefix = { 0 }, plain = { 0 };
	bool any = false;
	size_t n = 0;
	uint32_t crc;

	for (bool on = cairn_iter_first(it); on; on = cairn_iter_next(it)) {
		struct enc_row at;

		expect_ok(enc_row_parse(cairn_iter_key(it), &at));
		if (at.main > rev)
			continue;
		r = expect_grow(r, n, sizeof(*r));
		expect_take(m, it, &at, &plain, &r[n]);
		/* The newest comes first. */
		r[n].kept = !slice_eq(at.prefix, buf_slice(&prefix)) &&
			    !r[n].deleted;
		any |= r[n].kept;
		expect_ok(buf_set(&prefix, at.prefix));
		n++;
	}
	expect_ok(cairn_iter_status(it));
	crc = expect_sum(r, n, compact, any);
	for (size_t i = 0; i < n; i++)
		buf_fini(&r[i].proto);
	free(r);
	buf_fini(&prefix);
	buf_fini(&plain);
	cairn_iter_free(it);
	return crc;
}

static inline void expect_hashes(struct mvcc *m, const struct etcd_expect *x)
{
	for (size_t i = 0; i < x->n_hashes; i++) {
		int64_t rev = x->hashes[i].rev;
		uint32_t plain = expect_hashkv(m, rev, x->compact);
		struct mvcc_hash got;

		expect_ok(mvcc_hash(m, rev, &got, NULL));
		ck_assert_msg(got.hash == x->hashes[i].hash &&
				      plain == x->hashes[i].hash,
			      "hash at %lld: %08x, by its definition %08x, "
			      "etcd's is %08x",
			      (long long)rev, got.hash, plain,
			      x->hashes[i].hash);
	}
	ck_assert_uint_gt(x->n_hashes, 0);
}

/* --------------------------------------------------------------- the whole */

/* Every step-th revision is scanned; everything else is compared wholly. */
static inline void etcd_expect_check(struct mvcc *m, const char *path,
				     int64_t step)
{
	struct etcd_expect x;

	etcd_expect_load(path, &x);
	ck_assert_int_eq(mvcc_current(m), x.current);
	ck_assert_int_eq(mvcc_oldest(m), x.compact ? x.compact : 1);
	expect_log(m, &x);
	expect_leases(m, &x);
	expect_hashes(m, &x);
	expect_revisions(m, &x, step);
	etcd_expect_fini(&x);
}

#endif
