/* SPDX-License-Identifier: BSD-3-Clause */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/error.h"
#include "fs/cmd/cmd.h"

#define PIECE (256 * 1024)

static const struct cmd_usage usage = {
	.synopsis = "[--u64] [--sync] DIR KEY [OPERAND]",
	.summary = "Merge OPERAND, or standard input when it is absent or -, "
		   "into the value of KEY, by the store's merge operator",
	.example = "cairn merge /srv/plain tags new",
	.min_args = 2,
	.max_args = 3,
};

/* The input, at most as long as a value can be. */
static int read_input(struct cmd *c, struct buf *text)
{
	uint64_t max = mvcc_value_max(c->m);
	size_t n = 0;

	do {
		int err = buf_reserve(text, PIECE);

		if (!err)
			err = cmd_read(c, text->data + text->len, PIECE, &n);
		if (err)
			return err;
		text->len += n;
		if (text->len > max)
			return error_set(CAIRN_EINVAL,
					 "the operand is over %llu bytes",
					 (unsigned long long)max);
	} while (n > 0);
	return CAIRN_OK;
}

/* A decimal number, perhaps below 0, in the 8 bytes that uint64add takes. */
static int encode_number(const char *text, struct buf *out)
{
	const char *digits = *text == '-' ? text + 1 : text;
	unsigned long long v;
	char *end;

	errno = 0;
	v = strtoull(digits, &end, 10);
	if (!isdigit((unsigned char)*digits) || *end || errno)
		return error_set(CAIRN_EINVAL,
				 "--u64: \"%s\" is no number of 64 bits", text);
	return buf_append_le64(out, *text == '-' ? 0 - v : v);
}

static int merge(struct cmd *c, struct cairn_slice key,
		 struct cairn_slice operand, bool sync)
{
	struct mvcc_txn *t = NULL;
	int64_t rev;
	int err = mvcc_txn_new(c->m, &t);

	if (!err)
		err = mvcc_txn_merge(t, key, operand);
	if (!err)
		err = cmd_may_grow(c);
	if (!err)
		err = mvcc_txn_commit(t, sync, &rev);
	mvcc_txn_free(t);
	return err;
}

static int failed(struct cmd *c, int err, const char *key)
{
	if (err != CAIRN_ENOTSUP)
		return cmd_fail_code(c, err, key);
	err = cmd_fail_code(c, err, NULL);
	cmd_hint(c, "a store gets its operator when it is made: cairn init "
		    "--plain -o merge_operator=stringappend DIR");
	return err;
}

int cmd_merge(struct cmd *c, int argc, char **argv)
{
	struct cmd_key_opts keys = { 0 };
	bool u64 = false, sync = false;
	const struct cmd_opt opts[] = {
		{ "u64", 0, CMD_FLAG, &u64, NULL,
		  "OPERAND is a decimal number, for the operator uint64add" },
		{ "sync", 0, CMD_FLAG, &sync, NULL,
		  "return when it survives a power cut" },
		CMD_KEY_OPTS(&keys),
		{ 0 },
	};
	struct buf key = { 0 }, operand = { 0 };
	const char *text = NULL;
	int status, n, err = CAIRN_OK;

	if (cmd_parse(c, &usage, opts, argc, argv, &n, &status))
		return status;
	if (n == 3 && strcmp(argv[3], "-") != 0)
		text = argv[3];
	if (u64 && !text)
		return cmd_fail(c, EXIT_USAGE, "--u64: needs OPERAND");
	if (u64)
		err = encode_number(text, &operand);
	else if (text)
		err = buf_append(&operand, text, strlen(text));
	if (err) {
		buf_fini(&operand);
		return cmd_fail_code(c, err, NULL);
	}
	c->reads_input = !text;
	status = cmd_keys_check(c, &keys, argv + 2, 1);
	if (status || cmd_open(c, argv[1], CMD_WRITE, &status))
		goto out;
	status = cmd_need_plain(c);
	if (!status) {
		if (!text)
			err = read_input(c, &operand);
		if (!err)
			err = cmd_key_read(&keys, argv[2], &key);
		if (!err)
			err = merge(c, buf_slice(&key), buf_slice(&operand),
				    sync);
		if (err)
			status = failed(c, err, argv[2]);
	}
	status = cmd_close(c, status);
out:
	buf_fini(&key);
	buf_fini(&operand);
	return status;
}
