/* SPDX-License-Identifier: BSD-3-Clause */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/error.h"
#include "fs/cmd/cmd.h"

#define PIECE (256 * 1024)

static const struct cmd_usage usage = {
	.synopsis = "[--if-rev N] [--sync] [-v] DIR KEY [VALUE]",
	.summary =
		"Set KEY to VALUE, or to standard input when VALUE is absent "
		"or -",
	.example = "cairn put /srv/app motd 'hello'",
	.min_args = 2,
	.max_args = 3,
};

struct put {
	struct cairn_slice key;
	const char *value; /* NULL: from c->in */
	bool sync;
	bool verbose;
	int64_t if_rev; /* -1: whatever it is */
};

/* The input as a value of any size, without holding it. */
static int fill_object(struct cmd *c, struct mvcc_object *o)
{
	uint8_t *piece = malloc(PIECE);
	uint64_t off = 0;
	size_t n;
	int err;

	if (!piece)
		return error_nomem();
	while (!(err = cmd_read(c, piece, PIECE, &n)) && n > 0) {
		err = cmd_may_grow(c);
		if (!err)
			err = mvcc_object_write(o, off, piece, n);
		if (err)
			break;
		off += n;
	}
	free(piece);
	return err;
}

static int put(struct cmd *c, const struct put *p)
{
	struct mvcc_object *o = NULL;
	struct mvcc_txn *t = NULL;
	int64_t rev;
	int err = mvcc_txn_new(c->m, &t);

	if (!err && p->if_rev >= 0)
		err = mvcc_txn_expect(t, p->key, p->if_rev);
	if (!err && p->value)
		err = mvcc_txn_put(t, p->key, slice_str(p->value), NULL);
	if (!err && !p->value) {
		err = mvcc_object_new(c->m, &o);
		if (!err)
			err = fill_object(c, o);
		if (!err)
			err = mvcc_txn_put_object(t, p->key, o, NULL);
	}
	if (!err)
		err = cmd_may_grow(c);
	if (!err)
		err = mvcc_txn_commit(t, p->sync, &rev);
	if (!err && p->verbose && !mvcc_is_plain(c->m))
		err = cmd_printf(c, "%" PRId64 "\n", rev);
	mvcc_txn_free(t);
	mvcc_object_free(o);
	return err;
}

int cmd_put(struct cmd *c, int argc, char **argv)
{
	struct cmd_key_opts keys = { 0 };
	struct put p = { .if_rev = -1 };
	const struct cmd_opt opts[] = {
		{ "if-rev", 0, CMD_INT, &p.if_rev, "N",
		  "only if KEY was last changed at revision N (0: is absent)" },
		{ "sync", 0, CMD_FLAG, &p.sync, NULL,
		  "return when it survives a power cut" },
		{ "verbose", 'v', CMD_FLAG, &p.verbose, NULL,
		  "print the revision" },
		CMD_UPGRADE_OPT(c),
		CMD_KEY_OPTS(&keys),
		{ 0 },
	};
	struct buf key = { 0 };
	int status, n, err;

	if (cmd_parse(c, &usage, opts, argc, argv, &n, &status))
		return status;
	if (n == 3 && strcmp(argv[3], "-") != 0)
		p.value = argv[3];
	c->reads_input = !p.value;
	status = cmd_keys_check(c, &keys, argv + 2, 1);
	if (status || cmd_open(c, argv[1], CMD_WRITE, &status))
		return status;
	if (p.if_rev >= 0 && (status = cmd_need_revisions(c)))
		return cmd_close(c, status);
	err = cmd_key_read(&keys, argv[2], &key);
	p.key = buf_slice(&key);
	if (!err)
		err = put(c, &p);
	if (err)
		status = cmd_fail_code(c, err, argv[2]);
	buf_fini(&key);
	return cmd_close(c, status);
}
