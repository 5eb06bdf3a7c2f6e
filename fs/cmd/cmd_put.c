/* SPDX-License-Identifier: BSD-3-Clause */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/error.h"
#include "fs/cmd/cmd.h"
#include "mvcc/lease.h"

#define PIECE (256 * 1024)

static const struct cmd_usage usage = {
	.synopsis = "[--if-rev N] [--ttl T | --lease ID] [--sync] [-v] DIR "
		    "KEY [VALUE]",
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
	int64_t ttl;    /* seconds, 0: for ever */
	int64_t lease;  /* 0: none */
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

/* Add the put to t; *o is what it needs until the commit. */
static int add_put(struct cmd *c, const struct put *p, struct mvcc_txn *t,
		   struct mvcc_object **o)
{
	int err = CAIRN_OK;

	if (p->if_rev >= 0)
		err = mvcc_txn_expect(t, p->key, p->if_rev);
	if (!err && p->value)
		return mvcc_txn_put(t, p->key, slice_str(p->value), NULL);
	if (!err)
		err = mvcc_object_new(c->m, o);
	if (!err)
		err = fill_object(c, *o);
	return err ? err : mvcc_txn_put_object(t, p->key, *o, NULL);
}

/* With the lease asked for; one for this key alone goes again when the put
 * fails. */
static int commit(struct cmd *c, const struct put *p, struct mvcc_txn *t,
		  int64_t *rev)
{
	int64_t lease = p->lease, granted;
	int err = cmd_may_grow(c);

	if (!err && p->ttl)
		err = mvcc_lease_grant(c->m, p->ttl, &lease, &granted);
	if (err)
		return err;
	if (lease)
		err = mvcc_txn_set_lease(t, lease);
	if (!err)
		err = mvcc_txn_commit(t, p->sync, rev);
	if (err && p->ttl) {
		struct buf why = { 0 };

		/* The message is of the put. */
		if (!buf_printf(&why, "%s%c", cairn_errmsg(), 0)) {
			(void)mvcc_lease_revoke(c->m, lease, NULL);
			error_set(err, "%s", (char *)why.data);
		}
		buf_fini(&why);
	}
	return err;
}

static int put(struct cmd *c, const struct put *p)
{
	struct mvcc_object *o = NULL;
	struct mvcc_txn *t = NULL;
	int64_t rev;
	int err = mvcc_txn_new(c->m, &t);

	if (!err)
		err = add_put(c, p, t, &o);
	if (!err)
		err = commit(c, p, t, &rev);
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
	const char *ttl = NULL, *lease = NULL;
	const struct cmd_opt opts[] = {
		{ "if-rev", 0, CMD_INT, &p.if_rev, "N",
		  "only if KEY was last changed at revision N (0: is absent)" },
		{ "ttl", 0, CMD_STRING, &ttl, "T",
		  "delete KEY when it was not put again for this long" },
		{ "lease", 0, CMD_STRING, &lease, "ID",
		  "delete KEY when this lease ends" },
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
	if (ttl && lease)
		return cmd_fail(c, EXIT_USAGE, "give either --ttl or --lease");
	if (ttl && cmd_ttl(c, ttl, &p.ttl))
		return EXIT_USAGE;
	if (lease && cmd_lease_id(c, lease, &p.lease))
		return EXIT_USAGE;
	status = cmd_keys_check(c, &keys, argv + 2, 1);
	if (status || cmd_open(c, argv[1], CMD_WRITE, &status))
		return status;
	if ((p.if_rev >= 0 || ttl || lease) && (status = cmd_need_revisions(c)))
		return cmd_close(c, status);
	err = cmd_key_read(&keys, argv[2], &key);
	p.key = buf_slice(&key);
	if (!err)
		err = put(c, &p);
	if (err == CAIRN_NOT_FOUND && lease)
		status = cmd_fail(c, EXIT_NO, "%s: no such lease", lease);
	else if (err)
		status = cmd_fail_code(c, err, argv[2]);
	buf_fini(&key);
	return cmd_close(c, status);
}
