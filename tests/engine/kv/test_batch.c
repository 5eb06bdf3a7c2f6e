/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/kv/batch.h"

#include "tests/support/runner.h"

#define HEADER "\x05\0\0\0\0\0\0\0" /* the count follows */

START_TEST(a_new_batch_is_a_header_of_zeros)
{
	static const uint8_t zeros[BATCH_HEADER_LEN] = { 0 };
	struct cairn_batch *b = cairn_batch_new();

	ck_assert_ptr_nonnull(b);
	ck_assert_uint_eq(cairn_batch_count(b), 0);
	ck_assert_uint_eq(cairn_batch_bytes(b), BATCH_HEADER_LEN);
	ck_assert_mem_eq(b->bytes.data, zeros, sizeof(zeros));
	ck_assert_int_eq(batch_validate(buf_slice(&b->bytes)), CAIRN_OK);
	cairn_batch_free(b);
	cairn_batch_free(NULL);
}
END_TEST

START_TEST(the_bytes_are_those_of_the_log_record)
{
	static const char want[] = HEADER "\x03\0\0\0"
					  "\x01\x01"
					  "k\x05value"
					  "\x00\x03"
					  "abc"
					  "\x01\x00\x00";
	struct cairn_batch *b = cairn_batch_new();

	ck_assert_int_eq(cairn_batch_put(b, slice_str("k"), slice_str("value")),
			 0);
	ck_assert_int_eq(cairn_batch_delete(b, slice_str("abc")), 0);
	ck_assert_int_eq(
		cairn_batch_put(b, slice_of(NULL, 0), slice_of(NULL, 0)), 0);
	batch_set_seqno(b, 5);
	ck_assert_uint_eq(cairn_batch_count(b), 3);
	ck_assert_uint_eq(cairn_batch_bytes(b), sizeof(want) - 1);
	ck_assert_mem_eq(b->bytes.data, want, sizeof(want) - 1);
	ck_assert_uint_eq(batch_bytes_seqno(buf_slice(&b->bytes)), 5);
	ck_assert_uint_eq(batch_bytes_count(buf_slice(&b->bytes)), 3);

	cairn_batch_clear(b);
	ck_assert_uint_eq(cairn_batch_count(b), 0);
	ck_assert_uint_eq(cairn_batch_bytes(b), BATCH_HEADER_LEN);
	ck_assert_uint_eq(batch_bytes_seqno(buf_slice(&b->bytes)), 0);
	cairn_batch_free(b);
}
END_TEST

START_TEST(a_refused_change_leaves_the_batch_as_it_was)
{
	struct cairn_batch *b = cairn_batch_new();
	uint8_t *big = calloc(1, CAIRN_KEY_MAX + 1);
	struct cairn_slice long_key = slice_of(big, CAIRN_KEY_MAX + 1);
	struct cairn_slice edge_key = slice_of(big, CAIRN_KEY_MAX);
	/* Never read: the length alone is too much. */
	struct cairn_slice long_value = slice_of(big, CAIRN_VALUE_MAX + 1ul);
	struct buf before = { 0 };

	ck_assert_int_eq(cairn_batch_put(b, edge_key, slice_str("v")), 0);
	ck_assert_int_eq(cairn_batch_delete(b, edge_key), 0);
	ck_assert_int_eq(buf_set(&before, buf_slice(&b->bytes)), 0);

	ck_assert_int_eq(cairn_batch_put(b, long_key, slice_str("v")),
			 CAIRN_EINVAL);
	ck_assert_ptr_nonnull(strstr(cairn_errmsg(), "65536"));
	ck_assert_int_eq(cairn_batch_delete(b, long_key), CAIRN_EINVAL);
	ck_assert_int_eq(cairn_batch_put(b, slice_str("k"), long_value),
			 CAIRN_EINVAL);
	ck_assert(slice_eq(buf_slice(&before), buf_slice(&b->bytes)));
	ck_assert_uint_eq(cairn_batch_count(b), 2);

	/* The count is 32 bits. */
	b->count = UINT32_MAX;
	ck_assert_int_eq(cairn_batch_delete(b, slice_str("k")), CAIRN_EINVAL);
	ck_assert(slice_eq(buf_slice(&before), buf_slice(&b->bytes)));
	ck_assert_uint_eq(cairn_batch_count(b), UINT32_MAX);

	buf_fini(&before);
	free(big);
	cairn_batch_free(b);
}
END_TEST

START_TEST(log_data_is_in_the_bytes_and_not_counted)
{
	static const char want[] = "\0\0\0\0\0\0\0\0"
				   "\x01\0\0\0"
				   "\x03\x04"
				   "blob"
				   "\x01\x01k\x01v"
				   "\x03\x00";
	struct cairn_batch *b = cairn_batch_new();
	/* Never read: the length alone is too much. */
	struct cairn_slice too_long = slice_of(want, CAIRN_VALUE_MAX + 1ul);

	ck_assert_int_eq(cairn_batch_log_data(b, slice_str("blob")), 0);
	ck_assert_uint_eq(cairn_batch_count(b), 0);
	ck_assert_int_eq(cairn_batch_put(b, slice_str("k"), slice_str("v")), 0);
	ck_assert_int_eq(cairn_batch_log_data(b, slice_of(NULL, 0)), 0);
	ck_assert_int_eq(cairn_batch_log_data(b, too_long), CAIRN_EINVAL);
	ck_assert_ptr_nonnull(strstr(cairn_errmsg(), "1073741824"));
	ck_assert_uint_eq(cairn_batch_count(b), 1);
	ck_assert_uint_eq(cairn_batch_bytes(b), sizeof(want) - 1);
	ck_assert_mem_eq(b->bytes.data, want, sizeof(want) - 1);
	ck_assert_int_eq(batch_validate(buf_slice(&b->bytes)), CAIRN_OK);
	cairn_batch_free(b);
}
END_TEST

/* Every operation that takes a key or value, at the limits and above. */
START_TEST(the_limits_hold_for_every_operation)
{
	struct cairn_batch *b =
		_i ? cairn_batch_new_indexed() : cairn_batch_new();
	uint8_t *big = calloc(1, CAIRN_KEY_MAX + 1);
	struct cairn_slice k = slice_of(big, CAIRN_KEY_MAX);
	struct cairn_slice long_k = slice_of(big, CAIRN_KEY_MAX + 1);
	struct cairn_slice long_v = slice_of(big, CAIRN_VALUE_MAX + 1ul);
	struct cairn_slice v = slice_str("v");
	size_t len = cairn_batch_bytes(b);

	ck_assert_int_eq(cairn_batch_put(b, long_k, v), CAIRN_EINVAL);
	ck_assert_int_eq(cairn_batch_put(b, k, long_v), CAIRN_EINVAL);
	ck_assert_ptr_nonnull(strstr(cairn_errmsg(), "value of 1073741825"));
	ck_assert_int_eq(cairn_batch_delete(b, long_k), CAIRN_EINVAL);
	ck_assert_int_eq(cairn_batch_single_delete(b, long_k), CAIRN_EINVAL);
	ck_assert_ptr_nonnull(strstr(cairn_errmsg(), "key of 65536"));
	ck_assert_int_eq(cairn_batch_merge(b, long_k, v), CAIRN_EINVAL);
	ck_assert_int_eq(cairn_batch_merge(b, k, long_v), CAIRN_EINVAL);
	ck_assert(!b->has_merge);
	ck_assert_int_eq(cairn_batch_delete_range(b, long_k, v), CAIRN_EINVAL);
	ck_assert_int_eq(cairn_batch_delete_range(b, k, long_k), CAIRN_EINVAL);
	ck_assert_int_eq(cairn_batch_delete_range(b, v, k), CAIRN_EINVAL);
	ck_assert_uint_eq(cairn_batch_count(b), 0);
	ck_assert_uint_eq(cairn_batch_bytes(b), len);

	ck_assert_int_eq(cairn_batch_put(b, k, v), 0);
	ck_assert_int_eq(cairn_batch_delete(b, k), 0);
	ck_assert_int_eq(cairn_batch_single_delete(b, k), 0);
	ck_assert_int_eq(cairn_batch_merge(b, k, v), 0);
	ck_assert_int_eq(cairn_batch_delete_range(b, k, v), 0);
	ck_assert_uint_eq(cairn_batch_count(b), 5);
	ck_assert_int_eq(batch_validate(buf_slice(&b->bytes)), CAIRN_OK);
	free(big);
	cairn_batch_free(b);
}
END_TEST

/* -------------------------------------------------------------- savepoints */

static struct cairn_batch *new_batch(int indexed)
{
	struct cairn_batch *b =
		indexed ? cairn_batch_new_indexed() : cairn_batch_new();

	ck_assert_ptr_nonnull(b);
	return b;
}

static void keep_bytes(struct buf *out, const struct cairn_batch *b)
{
	ck_assert_int_eq(buf_set(out, buf_slice(&b->bytes)), 0);
}

START_TEST(a_rollback_brings_back_the_bytes_of_the_savepoint)
{
	struct cairn_batch *b = new_batch(_i);
	struct buf at[2] = { 0 };

	ck_assert_int_eq(cairn_batch_put(b, slice_str("a"), slice_str("1")), 0);
	keep_bytes(&at[0], b);
	ck_assert_int_eq(cairn_batch_set_savepoint(b), CAIRN_OK);
	ck_assert_int_eq(cairn_batch_delete(b, slice_str("a")), 0);
	ck_assert_int_eq(
		cairn_batch_delete_range(b, slice_str("a"), slice_str("c")), 0);
	keep_bytes(&at[1], b);
	ck_assert_int_eq(cairn_batch_set_savepoint(b), CAIRN_OK);
	ck_assert_int_eq(cairn_batch_merge(b, slice_str("b"), slice_str("2")),
			 0);
	ck_assert_int_eq(cairn_batch_log_data(b, slice_str("data")), 0);
	ck_assert(b->has_merge);

	ck_assert_int_eq(cairn_batch_rollback(b), CAIRN_OK);
	ck_assert(slice_eq(buf_slice(&b->bytes), buf_slice(&at[1])));
	ck_assert_uint_eq(cairn_batch_count(b), 3);
	ck_assert(!b->has_merge);
	ck_assert_int_eq(cairn_batch_rollback(b), CAIRN_OK);
	ck_assert(slice_eq(buf_slice(&b->bytes), buf_slice(&at[0])));
	ck_assert_uint_eq(cairn_batch_count(b), 1);
	ck_assert_int_eq(cairn_batch_rollback(b), CAIRN_NOT_FOUND);
	ck_assert_int_eq(cairn_batch_pop_savepoint(b), CAIRN_NOT_FOUND);
	ck_assert(slice_eq(buf_slice(&b->bytes), buf_slice(&at[0])));
	buf_fini(&at[0]);
	buf_fini(&at[1]);
	cairn_batch_free(b);
}
END_TEST

START_TEST(a_savepoint_that_is_popped_is_not_gone_back_to)
{
	struct cairn_batch *b = new_batch(_i);

	for (int i = 0; i < 9; i++)
		ck_assert_int_eq(cairn_batch_set_savepoint(b), CAIRN_OK);
	ck_assert_int_eq(cairn_batch_put(b, slice_str("a"), slice_str("1")), 0);
	ck_assert_int_eq(cairn_batch_set_savepoint(b), CAIRN_OK);
	ck_assert_int_eq(cairn_batch_put(b, slice_str("b"), slice_str("2")), 0);
	ck_assert_int_eq(cairn_batch_pop_savepoint(b), CAIRN_OK);
	ck_assert_uint_eq(cairn_batch_count(b), 2);
	for (int i = 0; i < 9; i++) {
		ck_assert_int_eq(cairn_batch_rollback(b), CAIRN_OK);
		ck_assert_uint_eq(cairn_batch_count(b), 0);
	}
	ck_assert_int_eq(cairn_batch_rollback(b), CAIRN_NOT_FOUND);
	cairn_batch_free(b);
}
END_TEST

START_TEST(clearing_forgets_savepoints)
{
	struct cairn_batch *b = new_batch(_i);

	ck_assert_int_eq(cairn_batch_put(b, slice_str("a"), slice_str("1")), 0);
	ck_assert_int_eq(cairn_batch_set_savepoint(b), CAIRN_OK);
	cairn_batch_clear(b);
	ck_assert_int_eq(cairn_batch_put(b, slice_str("b"), slice_str("2")), 0);
	ck_assert_int_eq(cairn_batch_rollback(b), CAIRN_NOT_FOUND);
	ck_assert_uint_eq(cairn_batch_count(b), 1);
	cairn_batch_free(b);
}
END_TEST

/* What others hold of a batch stays as it was, whatever is done to the batch.
 */
START_TEST(a_shared_block_is_never_written_over)
{
	struct cairn_batch *b = new_batch(_i);
	struct batch_block *held[3];
	struct buf was[3] = { 0 };

	ck_assert_ptr_null(batch_share(b));
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(cairn_batch_set_savepoint(b), CAIRN_OK);
		ck_assert_int_eq(
			cairn_batch_put(b, slice_str("a"), slice_str("old")),
			0);
		held[i] = batch_share(b);
		keep_bytes(&was[i], b);
	}
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(cairn_batch_rollback(b), CAIRN_OK);
		ck_assert_int_eq(
			cairn_batch_put(b, slice_str("b"), slice_str("new")),
			0);
	}
	cairn_batch_clear(b);
	for (int i = 0; i < 40; i++)
		ck_assert_int_eq(
			cairn_batch_put(b, slice_str("c"), slice_str("newer")),
			0);
	ck_assert_int_eq(batch_validate(buf_slice(&b->bytes)), CAIRN_OK);
	cairn_batch_free(b);
	for (int i = 0; i < 3; i++) {
		ck_assert_mem_eq(held[i]->data + BATCH_HEADER_LEN,
				 was[i].data + BATCH_HEADER_LEN,
				 was[i].len - BATCH_HEADER_LEN);
		batch_block_unref(held[i]);
		buf_fini(&was[i]);
	}
}
END_TEST

/* The tags that are understood: what a body gives. */
static const struct {
	const char *bytes;
	size_t len;
	uint8_t kind;
	uint32_t family;
	const char *key;
	const char *value;
} known[] = {
	{ "\x00\x01k", 3, KIND_DELETE, 0, "k", "" },
	{ "\x01\x01k\x01v", 5, KIND_PUT, 0, "k", "v" },
	{ "\x02\x01k\x01v", 5, KIND_MERGE, 0, "k", "v" },
	{ "\x03\x04"
	  "blob",
	  6, KIND_LOG_DATA, 0, "", "blob" },
	{ "\x04\x07\x01k", 4, KIND_DELETE, 7, "k", "" },
	{ "\x05\x80\x01\x01k\x01v", 7, KIND_PUT, 128, "k", "v" },
	{ "\x06\x07\x01k\x01v", 6, KIND_MERGE, 7, "k", "v" },
	{ "\x07\x01k", 3, KIND_SINGLE_DELETE, 0, "k", "" },
	{ "\x08\x07\x01k", 4, KIND_SINGLE_DELETE, 7, "k", "" },
	{ "\x0d\x0d\x00\x01k", 5, KIND_DELETE, 0, "k", "" },
	{ "\x0e\x07\x01"
	  "a\x01"
	  "b",
	  6, KIND_RANGE_DELETE, 7, "a", "b" },
	{ "\x0f\x01"
	  "a\x01"
	  "b",
	  5, KIND_RANGE_DELETE, 0, "a", "b" },
};

/* A batch of header, with the given count, and body. */
static struct cairn_slice make(struct buf *b, uint32_t count, const char *body,
			       size_t len)
{
	buf_clear(b);
	ck_assert_int_eq(buf_append_le64(b, 5), 0);
	ck_assert_int_eq(buf_append_le32(b, count), 0);
	ck_assert_int_eq(buf_append(b, body, len), 0);
	return buf_slice(b);
}

START_TEST(every_operation_is_read_and_none_of_its_prefixes)
{
	uint32_t count = known[_i].kind == KIND_LOG_DATA ? 0 : 1;
	struct buf b = { 0 };
	struct cairn_slice bytes =
		make(&b, count, known[_i].bytes, known[_i].len);
	struct batch_reader r;
	struct batch_op op;

	ck_assert_int_eq(batch_reader_init(&r, bytes), CAIRN_OK);
	ck_assert_int_eq(batch_reader_next(&r, &op), CAIRN_OK);
	ck_assert_uint_eq(op.kind, known[_i].kind);
	ck_assert_uint_eq(op.family, known[_i].family);
	ck_assert(slice_eq(op.key, slice_str(known[_i].key)));
	ck_assert(slice_eq(op.value, slice_str(known[_i].value)));
	ck_assert_int_eq(batch_reader_next(&r, &op), CAIRN_NOT_FOUND);
	ck_assert_int_eq(batch_reader_next(&r, &op), CAIRN_NOT_FOUND);
	ck_assert_int_eq(batch_validate(bytes), CAIRN_OK);

	for (size_t n = 0; n < known[_i].len; n++) {
		/* On the heap and exact, so that reading past it shows. */
		struct cairn_slice cut;

		bytes.len = BATCH_HEADER_LEN + n;
		ck_assert_int_eq(slice_dup(bytes, &cut), 0);
		if (n > 0 && known[_i].bytes[n - 1] != 0x0d)
			ck_assert_int_eq(batch_validate(cut), CAIRN_ECORRUPT);
		else if (count)
			/* Nothing is left but a count. */
			ck_assert_int_eq(batch_validate(cut), CAIRN_ECORRUPT);
		free((void *)(uintptr_t)cut.data);
	}
	buf_fini(&b);
}
END_TEST

/* What each tag byte means when a full body follows. */
START_TEST(tags_that_must_not_be_ignored_are_refused_by_name)
{
	static const struct {
		uint8_t tag;
		const char *name;
	} refused[] = {
		{ 0x09, "prepared transactions" },
		{ 0x0a, "prepared transactions" },
		{ 0x0b, "prepared transactions" },
		{ 0x0c, "prepared transactions" },
		{ 0x10, "blob files" },
		{ 0x11, "blob files" },
		{ 0x12, "prepared transactions" },
		{ 0x13, "prepared transactions" },
		{ 0x15, "prepared transactions" },
		{ 0x16, "wide-column" },
		{ 0x17, "wide-column" },
	};
	struct buf b = { 0 };

	for (int tag = 0; tag < 256; tag++) {
		/* A family, a key and a value, or a key and a value. */
		char body[] = "?\x01\x01\x01\x01\x01\x01";
		struct batch_reader r;
		struct batch_op op;
		const char *name = NULL;
		int got;

		for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]);
		     i++)
			if (refused[i].tag == tag)
				name = refused[i].name;
		body[0] = (char)tag;
		ck_assert_int_eq(batch_reader_init(&r, make(&b, 1, body, 7)),
				 CAIRN_OK);
		got = batch_reader_next(&r, &op);
		if (name) {
			ck_assert_int_eq(got, CAIRN_ENOTSUP);
			ck_assert_ptr_nonnull(strstr(cairn_errmsg(), name));
		} else if (tag > 0x0f) {
			ck_assert_int_eq(got, CAIRN_ECORRUPT);
		} else {
			ck_assert_int_eq(got, CAIRN_OK);
		}
	}
	buf_fini(&b);
}
END_TEST

START_TEST(a_batch_shorter_than_its_header_is_corrupt)
{
	static const uint8_t zeros[BATCH_HEADER_LEN] = { 0 };
	struct batch_reader r;

	ck_assert_int_eq(batch_reader_init(&r, slice_of(zeros, (size_t)_i)),
			 CAIRN_ECORRUPT);
	ck_assert_int_eq(batch_validate(slice_of(zeros, (size_t)_i)),
			 CAIRN_ECORRUPT);
}
END_TEST

START_TEST(the_count_must_be_that_of_the_operations)
{
	static const char body[] = "\x01\x01k\x01v\x03\x01x\x0d\x00\x01k";
	struct buf b = { 0 };

	for (uint32_t n = 0; n < 5; n++)
		ck_assert_int_eq(
			batch_validate(make(&b, n, body, sizeof(body) - 1)),
			n == 2 ? CAIRN_OK : CAIRN_ECORRUPT);
	ck_assert_int_eq(
		batch_validate(make(&b, UINT32_MAX, body, sizeof(body) - 1)),
		CAIRN_ECORRUPT);
	buf_fini(&b);
}
END_TEST

START_TEST(sequence_numbers_stay_below_the_one_kept_for_bounds)
{
	struct cairn_batch *b = cairn_batch_new();

	ck_assert_int_eq(cairn_batch_delete(b, slice_str("a")), 0);
	ck_assert_int_eq(cairn_batch_delete(b, slice_str("b")), 0);
	batch_set_seqno(b, SEQNO_MAX - 2);
	ck_assert_int_eq(batch_validate(buf_slice(&b->bytes)), CAIRN_OK);
	batch_set_seqno(b, SEQNO_MAX - 1);
	ck_assert_int_eq(batch_validate(buf_slice(&b->bytes)), CAIRN_ECORRUPT);
	batch_set_seqno(b, UINT64_MAX);
	ck_assert_int_eq(batch_validate(buf_slice(&b->bytes)), CAIRN_ECORRUPT);
	cairn_batch_free(b);
}
END_TEST

/* Flipped bits must not lead outside the bytes; sanitizers watch. */
START_TEST(flipped_bits_are_read_without_harm)
{
	struct cairn_batch *b = cairn_batch_new();
	struct cairn_slice copy;
	uint8_t *bytes;

	ck_assert_int_eq(
		cairn_batch_put(b, slice_str("key one"), slice_str("a value")),
		0);
	ck_assert_int_eq(cairn_batch_delete(b, slice_str("another key")), 0);
	ck_assert_int_eq(slice_dup(buf_slice(&b->bytes), &copy), 0);
	bytes = (uint8_t *)(uintptr_t)copy.data;
	for (size_t bit = 0; bit < copy.len * 8; bit++) {
		int got;

		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		got = batch_validate(copy);
		ck_assert(got == CAIRN_OK || got == CAIRN_ECORRUPT ||
			  got == CAIRN_ENOTSUP);
		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	free(bytes);
	cairn_batch_free(b);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("batch");
	TCase *t = tcase_create("build");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, a_new_batch_is_a_header_of_zeros);
	tcase_add_test(t, the_bytes_are_those_of_the_log_record);
	tcase_add_test(t, a_refused_change_leaves_the_batch_as_it_was);
	tcase_add_test(t, log_data_is_in_the_bytes_and_not_counted);
	tcase_add_loop_test(t, the_limits_hold_for_every_operation, 0, 2);
	suite_add_tcase(s, t);

	t = tcase_create("savepoints");
	tcase_add_loop_test(
		t, a_rollback_brings_back_the_bytes_of_the_savepoint, 0, 2);
	tcase_add_loop_test(t, a_savepoint_that_is_popped_is_not_gone_back_to,
			    0, 2);
	tcase_add_loop_test(t, clearing_forgets_savepoints, 0, 2);
	tcase_add_loop_test(t, a_shared_block_is_never_written_over, 0, 2);
	suite_add_tcase(s, t);

	t = tcase_create("read");
	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, every_operation_is_read_and_none_of_its_prefixes,
			    0, (int)(sizeof(known) / sizeof(known[0])));
	tcase_add_test(t, tags_that_must_not_be_ignored_are_refused_by_name);
	tcase_add_loop_test(t, a_batch_shorter_than_its_header_is_corrupt, 0,
			    BATCH_HEADER_LEN);
	tcase_add_test(t, the_count_must_be_that_of_the_operations);
	tcase_add_test(t, sequence_numbers_stay_below_the_one_kept_for_bounds);
	tcase_add_test(t, flipped_bits_are_read_without_harm);
	suite_add_tcase(s, t);
	return run_suite(s);
}
