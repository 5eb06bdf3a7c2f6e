/* SPDX-License-Identifier: BSD-3-Clause */
#include <inttypes.h>

#include "engine/base/error.h"
#include "fs/cmd/cmd.h"
#include "fs/cmd/cmd_keyset.h"

/* Keys deleted by one transaction; a range of more becomes several. */
#define DELETES_MAX 10000

static const struct cmd_usage usage = {
	.synopsis = "[-v] DIR KEY... | DIR --prefix P | DIR --from A --to B",
	.summary = "Delete keys",
	.example = "cairn del /srv/app --prefix tmp/",
	.min_args = 1,
	.max_args = -1,
};

/* Deletes gathered for one commit. */
struct del {
	struct cmd *c;
	bool sync;
	struct mvcc_txn *t;
	struct keyset keys; /* of the pending ones */
	uint64_t pending;
	uint64_t deleted;
};

static int del_init(struct del *d, struct cmd *c)
{
	d->c = c;
	return mvcc_txn_new(c->m, &d->t);
}

static void del_fini(struct del *d)
{
	mvcc_txn_free(d->t);
	keyset_fini(&d->keys);
}

static int del_commit(struct del *d)
{
	int err;

	if (!d->pending)
		return CAIRN_OK;
	err = mvcc_txn_commit(d->t, d->sync, NULL);
	if (err)
		return err;
	keyset_clear(&d->keys);
	d->deleted += d->pending;
	d->pending = 0;
	return CAIRN_OK;
}

static int del_key(struct del *d, struct cairn_slice key)
{
	int err = mvcc_txn_delete(d->t, key);

	if (!err && ++d->pending == DELETES_MAX)
		err = del_commit(d);
	return err;
}

/* Whether key exists, so that the answer "none" can be given. */
static int exists(struct cmd *c, struct cairn_slice key)
{
	struct mvcc_pinned_row r = { 0 };
	int err = mvcc_get(c->m, key, 0, &r);

	mvcc_row_release(&r);
	return err;
}

static int del_named(struct del *d, const struct cmd_key_opts *k, char **names,
		     int n)
{
	struct buf key = { 0 };
	int err = CAIRN_OK;

	for (int i = 0; i < n && !err; i++) {
		bool again = false;

		err = cmd_key_read(k, names[i], &key);
		if (!err)
			err = keyset_add(&d->keys, buf_slice(&key), &again);
		/* Then it exists no more, and that must be seen. */
		if (!err && again)
			err = del_commit(d);
		if (!err && again)
			err = keyset_add(&d->keys, buf_slice(&key), &again);
		if (!err)
			err = exists(d->c, buf_slice(&key));
		if (!err)
			err = del_key(d, buf_slice(&key));
		else if (err == CAIRN_NOT_FOUND)
			err = CAIRN_OK;
	}
	buf_fini(&key);
	return err;
}

static int del_range(struct del *d, const struct cmd_range *r)
{
	struct cmd_scan *s;
	struct mvcc_row row;
	int err = cmd_scan_new(d->c, r, &s);

	if (err)
		return err;
	while (!(err = cmd_scan_next(s, &row)))
		if ((err = del_key(d, row.key)))
			break;
	cmd_scan_free(s);
	return err == CAIRN_NOT_FOUND ? CAIRN_OK : err;
}

/*
 * Whether a range goes by one range tombstone. A revision store has a deletion
 * for each key, and who watches a mounted store is told of each.
 */
static bool deletes_at_once(const struct cmd *c)
{
	return mvcc_is_plain(c->m) && !c->in_daemon;
}

/* How many keys are there, and the last one. */
static int count_keys(struct cmd *c, const struct cmd_range *r, uint64_t *n,
		      struct buf *last)
{
	struct cmd_scan *s;
	struct mvcc_row row;
	int err = cmd_scan_new(c, r, &s);

	if (err)
		return err;
	*n = 0;
	while (!(err = cmd_scan_next(s, &row))) {
		++*n;
		err = buf_set(last, row.key);
		if (err)
			break;
	}
	cmd_scan_free(s);
	return err == CAIRN_NOT_FOUND ? CAIRN_OK : err;
}

static int del_at_once(struct del *d, const struct cmd_range *r)
{
	const struct cairn_write_options wo = { .sync = d->sync };
	struct cairn_slice end = r->upper;
	struct buf last = { 0 };
	uint64_t n;
	int err = count_keys(d->c, r, &n, &last);

	/* A range without an end goes to behind the last key there is. */
	if (!err && n && !end.data) {
		err = buf_append(&last, "", 1);
		end = buf_slice(&last);
	}
	if (!err && n && end.len > CAIRN_KEY_MAX) {
		/* There is no key behind the longest. */
		err = del_range(d, r);
	} else if (!err && n) {
		err = cairn_delete_range(mvcc_db(d->c->m), &wo,
					 buf_slice(&r->lower), end);
		if (!err)
			d->deleted = n;
	}
	buf_fini(&last);
	return err;
}

int cmd_del(struct cmd *c, int argc, char **argv)
{
	struct cmd_key_opts keys = { 0 };
	struct cmd_range range = { 0 };
	struct del d = { 0 };
	bool verbose = false;
	const struct cmd_opt opts[] = {
		{ "prefix", 0, CMD_STRING, &range.prefix, "P",
		  "all keys that start with P" },
		{ "from", 0, CMD_STRING, &range.from, "A", "keys from A on" },
		{ "to", 0, CMD_STRING, &range.to, "B", "keys before B" },
		{ "sync", 0, CMD_FLAG, &d.sync, NULL,
		  "return when it survives a power cut" },
		{ "verbose", 'v', CMD_FLAG, &verbose, NULL,
		  "print how many were deleted" },
		CMD_UPGRADE_OPT(c),
		CMD_KEY_OPTS(&keys),
		{ 0 },
	};
	bool ranged;
	int status, n, err;

	if (cmd_parse(c, &usage, opts, argc, argv, &n, &status))
		return status;
	ranged = range.prefix || range.from || range.to;
	if (ranged == (n > 1))
		return cmd_fail(c, EXIT_USAGE,
				"give either keys or a range of keys");
	status = cmd_keys_check(c, &keys, argv + 2, n - 1);
	if (!status)
		status = cmd_range_resolve(c, &keys, &range);
	if (status || cmd_open(c, argv[1], CMD_WRITE, &status))
		goto out;
	err = del_init(&d, c);
	if (!err)
		err = !ranged ? del_named(&d, &keys, argv + 2, n - 1)
		      : deletes_at_once(c) ? del_at_once(&d, &range)
					   : del_range(&d, &range);
	if (!err)
		err = del_commit(&d);
	if (!err && verbose)
		err = cmd_printf(c, "%" PRIu64 "\n", d.deleted);
	if (err)
		status = cmd_fail_code(c, err, NULL);
	else if (!d.deleted)
		status = EXIT_NO;
	del_fini(&d);
	status = cmd_close(c, status);
out:
	cmd_range_fini(&range);
	return status;
}
