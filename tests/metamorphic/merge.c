/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/metamorphic/merge.h"

#include <stdlib.h>

#include "tests/compat/die.h"

/* -------------------------------------------------------------------- tail */

/*
 * The last bytes of everything in a row: needs the order, and values stay
 * small. Whatever is put together first, the end is the same.
 */
#define TAIL_LEN 100

static int tail(const struct cairn_slice *existing,
		const struct cairn_slice *operands, size_t n,
		struct cairn_merge_result *out)
{
	size_t total = existing ? existing->len : 0;
	size_t skip;
	int err = CAIRN_OK;

	for (size_t i = 0; i < n; i++)
		total += operands[i].len;
	skip = total > TAIL_LEN ? total - TAIL_LEN : 0;
	for (size_t i = existing ? 0 : 1; i <= n && !err; i++) {
		struct cairn_slice s = i ? operands[i - 1] : *existing;
		size_t cut = skip < s.len ? skip : s.len;

		skip -= cut;
		slice_advance(&s, cut);
		if (s.len)
			err = cairn_merge_append(out, s.data, s.len);
	}
	return err;
}

static int tail_full(void *ctx, struct cairn_slice key,
		     const struct cairn_slice *existing,
		     const struct cairn_slice *operands, size_t n,
		     struct cairn_merge_result *out)
{
	(void)ctx;
	(void)key;
	return tail(existing, operands, n, out);
}

static int tail_partial(void *ctx, struct cairn_slice key,
			const struct cairn_slice *operands, size_t n,
			struct cairn_merge_result *out)
{
	return tail_full(ctx, key, NULL, operands, n, out);
}

static void tail_apply(struct cairn_slice existing, struct cairn_slice operand,
		       struct buf *out)
{
	buf_clear(out);
	if (existing.data)
		must(buf_append(out, existing.data, existing.len), "merge");
	must(buf_append(out, operand.data, operand.len), "merge");
	if (out->len <= TAIL_LEN)
		return;
	memmove(out->data, out->data + out->len - TAIL_LEN, TAIL_LEN);
	out->len = TAIL_LEN;
}

static const struct cairn_merge_operator tail_op = {
	.name = "cairn.test.tail",
	.full = tail_full,
	.partial = tail_partial,
};
static const struct cairn_merge_operator tail_op_without_partial = {
	.name = "cairn.test.tail",
	.full = tail_full,
};

/* ------------------------------------------------------------ cairn's own */

static void append_apply(struct cairn_slice existing,
			 struct cairn_slice operand, struct buf *out)
{
	buf_clear(out);
	if (existing.data) {
		must(buf_append(out, existing.data, existing.len), "merge");
		must(buf_append(out, ",", 1), "merge");
	}
	must(buf_append(out, operand.data, operand.len), "merge");
}

/* What is not eight bytes long counts as zero. */
static uint64_t number_of(struct cairn_slice s)
{
	uint64_t v = 0;

	for (size_t i = 0; s.len == 8 && i < 8; i++)
		v |= (uint64_t)s.data[i] << (8 * i);
	return v;
}

static void add_apply(struct cairn_slice existing, struct cairn_slice operand,
		      struct buf *out)
{
	uint64_t sum = number_of(existing) + number_of(operand);

	buf_clear(out);
	for (int i = 0; i < 8; i++) {
		uint8_t byte = (uint8_t)(sum >> (8 * i));

		must(buf_append(out, &byte, 1), "merge");
	}
}

const struct merge merges[N_MERGES] = {
	{ "tail", tail_apply, NULL, &tail_op, &tail_op_without_partial },
	{ "append", append_apply, "stringappend", NULL, NULL },
	{ "add", add_apply, "uint64add", NULL, NULL },
};

const struct merge *merge_named(const char *name)
{
	for (size_t i = 0; i < N_MERGES; i++)
		if (strcmp(merges[i].name, name) == 0)
			return &merges[i];
	die("no merge operator \"%s\"", name);
}
