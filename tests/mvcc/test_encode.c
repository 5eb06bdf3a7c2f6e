/* SPDX-License-Identifier: BSD-3-Clause */
#include "mvcc/encode.h"

#include <stdlib.h>

#include "engine/base/rng.h"
#include "mvcc/attr.h"
#include "tests/support/runner.h"

#define ck_ok(expr) ck_assert_int_eq((expr), CAIRN_OK)

static int sign(int v)
{
	return (v > 0) - (v < 0);
}

static struct cairn_slice S(const char *s) {
	return slice_str(s);
}

/* Bytes that try the escaping: mostly 00, 01, ff. */
static struct cairn_slice
random_key(struct rng *r, uint8_t *bytes, size_t max)
{
	static const uint8_t odd[] = { 0, 0, 1, 2, 0xfe, 0xff, '/', 'a' };
	size_t len = 1 + (size_t)rng_below(r, max);

	for (size_t i = 0; i < len; i++)
		bytes[i] = odd[rng_below(r, sizeof(odd))];
	return slice_of(bytes, len);
}

START_TEST(encoded_keys_sort_like_plain_keys)
{
	struct buf x = { 0 }, y = { 0 }, plain = { 0 };
	uint8_t a[8], b[8];
	struct rng r;

	rng_init(&r, 1);
	for (int i = 0; i < 200000; i++) {
		struct cairn_slice ka = random_key(&r, a, sizeof(a));
		struct cairn_slice kb = random_key(&r, b, sizeof(b));

		ck_ok(enc_prefix(&x, ka));
		ck_ok(enc_prefix(&y, kb));
		ck_assert_int_eq(sign(slice_cmp(buf_slice(&x), buf_slice(&y))),
				 sign(slice_cmp(ka, kb)));
		ck_ok(enc_plain(buf_slice(&x), &plain));
		ck_assert(slice_eq(buf_slice(&plain), ka));

		/* What starts with ka is what begins with its start. */
		ck_ok(enc_start(&x, ka));
		ck_assert_int_eq(
			slice_starts_with(buf_slice(&y), buf_slice(&x)),
			slice_starts_with(kb, ka));
	}
	buf_fini(&x);
	buf_fini(&y);
	buf_fini(&plain);
}
END_TEST

START_TEST(the_encoding_is_the_documented_one)
{
	static const struct {
		const char *key;
		size_t len;
		const char *want;
		size_t want_len;
	} cases[] = {
		{ "a", 1, "ka\0\1", 4 },
		{ "a\0", 2, "ka\0\xff\0\1", 6 },
		{ "a\0\0", 3, "ka\0\xff\0\xff\0\1", 8 },
		{ "a\0b", 3,
		  "ka\0\xff"
		  "b\0\1",
		  7 },
		{ "a\1", 2, "ka\1\0\1", 5 },
		{ "ab", 2, "kab\0\1", 5 },
	};
	struct buf got = { 0 }, last = { 0 };

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		ck_ok(enc_prefix(&got, slice_of(cases[i].key, cases[i].len)));
		ck_assert(slice_eq(buf_slice(&got),
				   slice_of(cases[i].want, cases[i].want_len)));
		ck_assert_int_lt(slice_cmp(buf_slice(&last), buf_slice(&got)),
				 0);
		ck_ok(buf_set(&last, buf_slice(&got)));
	}
	ck_ok(enc_row_key(&got, S("a"), 2, 1));
	ck_assert(slice_eq(buf_slice(&got),
			   slice_of("ka\0\1\xff\xff\xff\xff\xff\xff\xff\xfd"
				    "\xff\xff\xff\xfe",
				    16)));
	buf_fini(&got);
	buf_fini(&last);
}
END_TEST

START_TEST(newer_rows_of_a_key_sort_first_and_seeks_find_them)
{
	struct buf newer = { 0 }, older = { 0 }, seek = { 0 }, prefix = { 0 };
	static const int64_t revs[] = { 2, 3, 255, 256, 1LL << 40, INT64_MAX };
	struct enc_row row;

	ck_ok(enc_prefix(&prefix, S("k")));
	for (size_t i = 1; i < sizeof(revs) / sizeof(revs[0]); i++) {
		ck_ok(enc_row_key(&older, S("k"), revs[i - 1], INT32_MAX));
		ck_ok(enc_row_key(&newer, S("k"), revs[i], 0));
		ck_assert_int_lt(
			slice_cmp(buf_slice(&newer), buf_slice(&older)), 0);
		ck_ok(enc_seek(&seek, buf_slice(&prefix), revs[i - 1]));
		ck_assert_int_gt(slice_cmp(buf_slice(&seek), buf_slice(&newer)),
				 0);
		ck_assert_int_lt(slice_cmp(buf_slice(&seek), buf_slice(&older)),
				 0);
		ck_ok(enc_row_parse(buf_slice(&newer), &row));
		ck_assert(row.main == revs[i] && row.sub == 0);
		ck_assert(slice_eq(row.prefix, buf_slice(&prefix)));
		ck_ok(enc_prefix_next(&seek, row.prefix));
		ck_assert_int_gt(slice_cmp(buf_slice(&seek), buf_slice(&older)),
				 0);
	}
	ck_ok(enc_row_key(&older, S("k"), 7, 1));
	ck_ok(enc_row_key(&newer, S("k"), 7, 2));
	ck_assert_int_lt(slice_cmp(buf_slice(&newer), buf_slice(&older)), 0);
	buf_fini(&newer);
	buf_fini(&older);
	buf_fini(&seek);
	buf_fini(&prefix);
}
END_TEST

START_TEST(the_prefix_of_a_prefix_is_itself)
{
	struct buf k = { 0 }, p = { 0 };
	uint8_t bytes[40];
	struct rng r;

	rng_init(&r, 2);
	for (int i = 0; i < 100000; i++) {
		struct cairn_slice key = random_key(&r, bytes, 12);
		/* ~main of ...FFFE holds the terminator's bytes. */
		int64_t main = rng_one_in(&r, 2) ? 0xfffe : 0xfffe00fffeLL;
		size_t n;

		ck_ok(enc_row_key(&k, key, main, 0));
		ck_ok(enc_prefix(&p, key));
		n = enc_prefix_len(NULL, buf_slice(&k));
		ck_assert(slice_eq(slice_of(k.data, n), buf_slice(&p)));
		ck_assert_uint_eq(enc_prefix_len(NULL, buf_slice(&p)), n);
	}
	/* Any bytes at all. */
	for (int i = 0; i < 100000; i++) {
		struct cairn_slice x = random_key(&r, bytes, sizeof(bytes));
		size_t n;

		bytes[0] = rng_one_in(&r, 2) ? 'k' : 'c';
		n = enc_prefix_len(NULL, x);
		if (n == SIZE_MAX)
			continue;
		ck_assert_uint_le(n, x.len);
		ck_assert_uint_eq(enc_prefix_len(NULL, slice_of(x.data, n)), n);
	}
	ck_assert_uint_eq(enc_prefix_len(NULL, slice_of(NULL, 0)), SIZE_MAX);
	ck_assert_uint_eq(enc_prefix_len(NULL, S("r1")), SIZE_MAX);
	ck_assert_uint_eq(enc_prefix_len(NULL, S("kabc")), SIZE_MAX);
	ck_assert_uint_eq(enc_prefix_len(NULL, S("c2345678")), SIZE_MAX);
	buf_fini(&k);
	buf_fini(&p);
}
END_TEST

START_TEST(malformed_row_keys_are_refused)
{
	static const struct {
		const char *bytes;
		size_t len;
	} cases[] = {
		{ "", 0 },
		{ "k\0\1"
		  "000000000000",
		  15 }, /* an empty key */
		{ "xa\0\1"
		  "000000000000",
		  16 }, /* another table */
		{ "ka\0\2"
		  "000000000000",
		  16 },                                   /* no terminator */
		{ "ka\0\1\0\0\0\0\0\0\0\0\0\0\0\0", 16 }, /* negative */
		{ "ka\0\1\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
		  16 }, /* revision 0 */
	};
	static const struct {
		const char *bytes;
		size_t len;
	} prefixes[] = {
		{ "", 0 },
		{ "k", 1 },
		{ "k\0\1", 3 },
		{ "ka", 2 },
		{ "ka\0", 3 },
		{ "ka\0\2", 4 },
		{ "ka\0\1b\0\1", 7 },
		{ "ra\0\1", 4 },
		{ "ka\0\xff\0\3", 6 },
	};
	struct buf plain = { 0 };
	struct enc_row row;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		ck_assert_int_eq(
			enc_row_parse(slice_of(cases[i].bytes, cases[i].len),
				      &row),
			CAIRN_ECORRUPT);
	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++)
		ck_assert_int_eq(
			enc_plain(slice_of(prefixes[i].bytes, prefixes[i].len),
				  &plain),
			CAIRN_ECORRUPT);
	buf_fini(&plain);
}
END_TEST

START_TEST(log_entries_come_back_and_sort_by_revision)
{
	struct buf k = { 0 }, v = { 0 }, last = { 0 };
	struct mvcc_change c;

	for (int64_t main = 250; main < 260; main++) {
		for (int32_t sub = 0; sub < 3; sub++) {
			ck_ok(enc_log_key(&k, main, sub));
			ck_ok(enc_log_value(&v, sub == 1, S("the key")));
			ck_assert_int_lt(
				slice_cmp(buf_slice(&last), buf_slice(&k)), 0);
			ck_ok(enc_log_parse(buf_slice(&k), buf_slice(&v), &c));
			ck_assert(c.main == main && c.sub == sub);
			ck_assert(c.deleted == (sub == 1));
			ck_assert(slice_eq(c.key, S("the key")));
			ck_ok(buf_set(&last, buf_slice(&k)));
		}
	}
	for (size_t n = 0; n < k.len; n++)
		ck_assert_int_eq(
			enc_log_parse(slice_of(k.data, n), buf_slice(&v), &c),
			CAIRN_ECORRUPT);
	ck_assert_int_eq(enc_log_parse(buf_slice(&k), S(""), &c),
			 CAIRN_ECORRUPT);
	ck_assert_int_eq(enc_log_parse(buf_slice(&k), S("P"), &c),
			 CAIRN_ECORRUPT);
	ck_assert_int_eq(enc_log_parse(buf_slice(&k), S("Xa"), &c),
			 CAIRN_ECORRUPT);
	buf_fini(&k);
	buf_fini(&v);
	buf_fini(&last);
}
END_TEST

START_TEST(chunks_sort_by_index_then_newest_first)
{
	static const struct enc_chunk order[] = {
		{ 1, 0, 5 }, { 1, 0, 4 },          { 1, 0, 0 },
		{ 1, 1, 9 }, { 1, UINT64_MAX, 0 }, { 2, 0, INT64_MAX },
		{ 2, 0, 0 },
	};
	uint8_t k[ENC_CHUNK_KEY], last[ENC_CHUNK_KEY] = { 0 };
	struct enc_chunk c;

	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
		enc_chunk_key(k, &order[i]);
		ck_assert_int_lt(memcmp(last, k, sizeof(k)), 0);
		memcpy(last, k, sizeof(k));
		ck_ok(enc_chunk_parse(slice_of(k, sizeof(k)), &c));
		ck_assert(c.object == order[i].object &&
			  c.index == order[i].index &&
			  c.version == order[i].version);
		ck_assert_uint_eq(enc_prefix_len(NULL, slice_of(k, sizeof(k))),
				  ENC_CHUNK_PREFIX);
	}
	for (size_t n = 0; n < sizeof(k); n++)
		ck_assert_int_eq(enc_chunk_parse(slice_of(k, n), &c),
				 CAIRN_ECORRUPT);
	k[17] = 0; /* a negative version */
	ck_assert_int_eq(enc_chunk_parse(slice_of(k, sizeof(k)), &c),
			 CAIRN_ECORRUPT);
}
END_TEST

START_TEST(marks_staged_and_ended_entries_come_back)
{
	const struct enc_ended want = { 7, 3, 42, 10, UINT64_MAX };
	struct buf k = { 0 }, v = { 0 };
	struct enc_ended e;
	uint64_t object, from;

	ck_ok(enc_mark(&k, "compact"));
	ck_assert(slice_eq(buf_slice(&k), S("m/compact")));

	ck_ok(enc_staged_key(&k, 42));
	ck_ok(enc_number(&v, 17));
	ck_ok(enc_staged_parse(buf_slice(&k), buf_slice(&v), &object, &from));
	ck_assert(object == 42 && from == 17);
	for (size_t n = 0; n < k.len; n++)
		ck_assert_int_eq(enc_staged_parse(slice_of(k.data, n),
						  buf_slice(&v), &object,
						  &from),
				 CAIRN_ECORRUPT);
	for (size_t n = 0; n < v.len; n++) {
		ck_assert_int_eq(enc_staged_parse(buf_slice(&k),
						  slice_of(v.data, n), &object,
						  &from),
				 CAIRN_ECORRUPT);
		ck_assert_int_eq(enc_number_parse(slice_of(v.data, n), &from),
				 CAIRN_ECORRUPT);
	}

	ck_ok(enc_ended(&k, &v, &want));
	ck_ok(enc_ended_parse(buf_slice(&k), buf_slice(&v), &e));
	ck_assert(e.main == 7 && e.sub == 3 && e.object == 42 && e.from == 10 &&
		  e.to == UINT64_MAX);
	for (size_t n = 0; n < k.len; n++)
		ck_assert_int_eq(
			enc_ended_parse(slice_of(k.data, n), buf_slice(&v), &e),
			CAIRN_ECORRUPT);
	for (size_t n = 0; n < v.len; n++)
		ck_assert_int_eq(
			enc_ended_parse(buf_slice(&k), slice_of(v.data, n), &e),
			CAIRN_ECORRUPT);
	buf_fini(&k);
	buf_fini(&v);
}
END_TEST

static const struct {
	const char *name;
	struct mvcc_row row;
	bool attrs;
} rows[] = {
	{ "fresh and empty",
	  { .main = 2, .create_rev = 2, .version = 1 },
	  false },
	{ "fresh",
	  { .main = 9, .create_rev = 9, .version = 1, .size = 5 },
	  false },
	{ "changed",
	  { .main = 900,
	    .create_rev = 9,
	    .version = 300,
	    .size = 5,
	    .time_ns = 1700000000123456789 },
	  false },
	{ "created again in the same revision", /* version 1, older create */
	  { .main = 9, .create_rev = 8, .version = 1, .size = 5 },
	  false },
	{ "leased",
	  { .main = 9, .create_rev = 9, .version = 1, .lease = 77, .size = 5 },
	  false },
	{ "with attributes",
	  { .main = 9, .create_rev = 3, .version = 4, .size = 5 },
	  true },
	{ "in chunks",
	  { .main = 9,
	    .create_rev = 3,
	    .version = 4,
	    .size = 1000,
	    .object = 12,
	    .chunk_size = 64,
	    .chunks_high = 20 },
	  true },
	{ "sparse and large",
	  { .main = INT64_MAX,
	    .create_rev = 1,
	    .version = INT64_MAX,
	    .lease = INT64_MAX,
	    .size = MVCC_VALUE_MAX,
	    .object = UINT64_MAX,
	    .chunk_size = 64 << 10,
	    .chunks_high = UINT64_MAX,
	    .time_ns = INT64_MIN },
	  true },
	{ "tombstone", { .main = 9, .deleted = true, .version = 4 }, false },
};

/* Encode rows[i]. */
static void encode_row(size_t i, struct buf *v, struct mvcc_row *row)
{
	const struct mvcc_attrs attrs = { .has_mode = true, .mode = 0600 };
	struct buf block = { 0 };

	*row = rows[i].row;
	if (!row->object && !row->deleted)
		row->value = slice_of("value", row->size);
	if (rows[i].attrs)
		ck_ok(attr_encode(&block, &attrs));
	ck_ok(enc_row_value(v, row, buf_slice(&block)));
	buf_fini(&block);
}

START_TEST(a_row_comes_back_as_it_went)
{
	struct buf v = { 0 };
	struct mvcc_row want, got = { .key = S("key") };
	struct cairn_slice attrs;
	size_t head;

	encode_row((size_t)_i, &v, &want);
	got.main = want.main;
	ck_ok(enc_row_value_parse(buf_slice(&v), v.len, &got, &attrs, &head));
	ck_assert_msg(
		got.deleted == want.deleted && got.version == want.version &&
			got.lease == want.lease &&
			got.time_ns == want.time_ns && got.size == want.size &&
			got.object == want.object &&
			got.chunk_size == want.chunk_size &&
			got.chunks_high == want.chunks_high,
		"%s", rows[_i].name);
	ck_assert(got.deleted || got.create_rev == want.create_rev);
	ck_assert(slice_eq(got.value, want.value));
	ck_assert_int_eq(got.attrs.has_mode, rows[_i].attrs);
	ck_assert_int_eq(attrs.len != 0, rows[_i].attrs);
	ck_assert_uint_eq(head, v.len - want.value.len);
	ck_assert(enc_is_tombstone(buf_slice(&v)) == want.deleted);

	/* Without its value. */
	if (want.value.len) {
		ck_ok(enc_row_value_parse(slice_of(v.data, head), v.len, &got,
					  NULL, NULL));
		ck_assert(got.size == want.size && !got.value.data);
	}
	buf_fini(&v);
}
END_TEST

START_TEST(a_row_cut_short_or_bent_is_refused_or_a_row)
{
	struct buf v = { 0 };
	struct mvcc_row want, got;
	size_t head = 0;
	int err;

	encode_row((size_t)_i, &v, &want);
	got = (struct mvcc_row){ .key = S("key"), .main = want.main };
	ck_ok(enc_row_value_parse(buf_slice(&v), v.len, &got, NULL, &head));
	for (size_t n = 0; n < head; n++) {
		uint8_t *copy = malloc(n + 1);

		/* On the heap, so that reading on is noticed. */
		ck_assert_ptr_nonnull(copy);
		copy = realloc(copy, n ? n : 1);
		memcpy(copy, v.data, n);
		err = enc_row_value_parse(slice_of(copy, n), n, &got, NULL,
					  NULL);
		ck_assert_int_eq(err, CAIRN_ECORRUPT);
		free(copy);
	}
	for (size_t bit = 0; bit < 8 * v.len; bit++) {
		v.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
		err = enc_row_value_parse(buf_slice(&v), v.len, &got, NULL,
					  NULL);
		if (!err) {
			ck_assert(got.version >= 0 && got.lease >= 0);
			ck_assert(got.deleted || got.object ||
				  got.value.len == got.size);
			ck_assert(!got.object || got.chunk_size >= 16);
		} else {
			ck_assert_int_eq(err, CAIRN_ECORRUPT);
		}
		v.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	buf_fini(&v);
}
END_TEST

static void ck_lease(struct cairn_slice k, struct cairn_slice v)
{
	struct buf k2 = { 0 }, v2 = { 0 };
	struct enc_lease l;
	int err = enc_lease_parse(k, v, &l);

	/* Either refused, or what these very bytes say. */
	if (err) {
		ck_assert_int_eq(err, CAIRN_ECORRUPT);
		return;
	}
	ck_assert(l.id > 0 && l.ttl > 0 && l.ttl <= MVCC_LEASE_TTL_MAX);
	ck_assert(l.left >= 0 && l.left <= l.ttl);
	ck_ok(enc_lease(&k2, &v2, &l));
	ck_assert(slice_eq(k, buf_slice(&k2)) && slice_eq(v, buf_slice(&v2)));
	buf_fini(&v2);
	buf_fini(&k2);
}

START_TEST(leases_come_back_or_are_refused)
{
	static const struct enc_lease leases[] = {
		{ 1, 2, 0, false },
		{ INT64_MAX, MVCC_LEASE_TTL_MAX, MVCC_LEASE_TTL_MAX, true },
		{ 0x1122334455667788, 3600, 300, false },
	};
	struct buf k = { 0 }, v = { 0 };

	for (size_t i = 0; i < sizeof(leases) / sizeof(leases[0]); i++) {
		const struct enc_lease *want = &leases[i];
		struct enc_lease l;

		ck_ok(enc_lease(&k, &v, want));
		ck_ok(enc_lease_parse(buf_slice(&k), buf_slice(&v), &l));
		ck_assert(l.id == want->id && l.ttl == want->ttl &&
			  l.left == want->left && l.ending == want->ending);
		for (size_t n = 0; n < k.len; n++)
			ck_assert_int_eq(enc_lease_parse(slice_of(k.data, n),
							 buf_slice(&v), &l),
					 CAIRN_ECORRUPT);
		for (size_t n = 0; n < v.len; n++)
			ck_assert_int_eq(enc_lease_parse(buf_slice(&k),
							 slice_of(v.data, n),
							 &l),
					 CAIRN_ECORRUPT);
		for (size_t bit = 0; bit < 8 * (k.len + v.len); bit++) {
			struct buf *b = bit / 8 < k.len ? &k : &v;
			size_t at = bit / 8 - (b == &v ? k.len : 0);

			b->data[at] ^= (uint8_t)(1 << bit % 8);
			ck_lease(buf_slice(&k), buf_slice(&v));
			b->data[at] ^= (uint8_t)(1 << bit % 8);
		}
	}
	/* As documented. */
	ck_ok(enc_lease(&k, &v, &leases[2]));
	ck_assert(slice_eq(buf_slice(&k),
			   slice_of("l\x11\x22\x33\x44\x55\x66\x77\x88", 9)));
	ck_assert(slice_eq(buf_slice(&v), slice_of("\0\0\0\0\0\0\0\x0e\x10"
						   "\0\0\0\0\0\0\x01\x2c",
						   17)));
	buf_fini(&v);
	buf_fini(&k);
}
END_TEST

START_TEST(keys_on_leases_come_back_and_sort_as_keys_do)
{
	static const struct {
		const char *data;
		size_t len;
	} keys[] = {
		{ "\0", 1 },        { "\0\0", 2 },     { "\0\1", 2 },
		{ "\0\xff", 2 },    { "\1", 1 },       { "a", 1 },
		{ "a\0", 2 },       { "a\0\0", 3 },    { "a\0b", 3 },
		{ "a\0\xff\0", 4 }, { "a\x01", 2 },    { "ab", 2 },
		{ "\xff", 1 },      { "\xff\xff", 2 },
	};
	struct buf k = { 0 }, last = { 0 }, plain = { 0 };
	int64_t lease;

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		struct cairn_slice key = slice_of(keys[i].data, keys[i].len);

		ck_ok(enc_attached_key(&k, 77, key));
		ck_assert_int_lt(slice_cmp(buf_slice(&last), buf_slice(&k)), 0);
		ck_ok(buf_set(&last, buf_slice(&k)));
		ck_ok(enc_attached_parse(buf_slice(&k), &lease, &plain));
		ck_assert_int_eq(lease, 77);
		ck_assert(slice_eq(buf_slice(&plain), key));
		for (size_t n = 0; n < k.len; n++) {
			int err = enc_attached_parse(slice_of(k.data, n),
						     &lease, &plain);

			/* A shorter one may be that of a shorter key. */
			ck_assert(err == CAIRN_ECORRUPT || !err);
			ck_assert(err ||
				  slice_starts_with(key, buf_slice(&plain)));
			ck_assert(err || n > 9);
		}
	}
	ck_assert_int_eq(
		enc_attached_parse(slice_of("a\0\0\0\0\0\0\0\1x\0\1", 12),
				   &lease, &plain),
		CAIRN_ECORRUPT);
	ck_assert_int_eq(enc_attached_parse(slice_of("a\0\0\0\0\0\0\0\0x", 10),
					    &lease, &plain),
			 CAIRN_ECORRUPT);
	ck_assert_int_eq(
		enc_attached_parse(slice_of("a\x80\0\0\0\0\0\0\1x", 10), &lease,
				   &plain),
		CAIRN_ECORRUPT);
	buf_fini(&plain);
	buf_fini(&last);
	buf_fini(&k);
}
END_TEST

int main(void)
{
	const int n_rows = sizeof(rows) / sizeof(rows[0]);
	Suite *s = suite_create("encode");
	TCase *keys = tcase_create("keys");
	TCase *values = tcase_create("rows");

	tcase_set_timeout(keys, 60);
	tcase_add_test(keys, encoded_keys_sort_like_plain_keys);
	tcase_add_test(keys, the_encoding_is_the_documented_one);
	tcase_add_test(keys,
		       newer_rows_of_a_key_sort_first_and_seeks_find_them);
	tcase_add_test(keys, the_prefix_of_a_prefix_is_itself);
	tcase_add_test(keys, malformed_row_keys_are_refused);
	tcase_add_test(keys, log_entries_come_back_and_sort_by_revision);
	tcase_add_test(keys, chunks_sort_by_index_then_newest_first);
	tcase_add_test(keys, marks_staged_and_ended_entries_come_back);
	tcase_add_test(keys, leases_come_back_or_are_refused);
	tcase_add_test(keys, keys_on_leases_come_back_and_sort_as_keys_do);
	suite_add_tcase(s, keys);

	tcase_set_timeout(values, 60);
	tcase_add_loop_test(values, a_row_comes_back_as_it_went, 0, n_rows);
	tcase_add_loop_test(values, a_row_cut_short_or_bent_is_refused_or_a_row,
			    0, n_rows);
	suite_add_tcase(s, values);
	return run_suite(s);
}
