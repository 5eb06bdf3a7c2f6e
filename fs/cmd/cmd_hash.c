/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fingerprints, to compare copies. That of a revision store is etcd's HashKV.
 * That of a plain store is the SHA-256 of what dump writes, so that it can be
 * had without this program as well.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "engine/base/error.h"
#include "fs/cmd/cmd.h"
#include "fs/text/keytext.h"
#include "mvcc/hash.h"
#include "mvcc/sha256.h"

/* Of a value, which becomes twice as many digits. */
#define PIECE ((size_t)32 << 10)

static const struct cmd_usage usage = {
	.synopsis = "[--rev N] [--json] [-v] DIR",
	.summary = "Print a fingerprint of all keys and values: etcd's HashKV, "
		   "or, of a plain store,\n"
		   "the SHA-256 of what cairn dump writes",
	.example = "cairn hash --rev 4711 /srv/app",
	.min_args = 1,
	.max_args = 1,
};

struct hash_cmd {
	struct cmd *c;
	int64_t rev; /* 0: now */
	bool json;
	bool verbose;
};

/* ------------------------------------------------------------ with history */

static int say_refused(struct hash_cmd *h, enum mvcc_refusal why, int err)
{
	if (why == MVCC_REFUSAL_COMPACTED)
		return cmd_fail(h->c, cmd_exit_of(err),
				"revision %" PRId64 " is not above %" PRId64
				", below which everything is forgotten",
				h->rev, mvcc_oldest(h->c->m));
	if (why == MVCC_REFUSAL_FUTURE)
		return cmd_fail(h->c, cmd_exit_of(err),
				"revision %" PRId64
				" is not yet written; the last one is %" PRId64,
				h->rev, mvcc_current(h->c->m));
	return cmd_fail_code(h->c, err, NULL);
}

static int hash_revisions(struct hash_cmd *h)
{
	enum mvcc_refusal why = MVCC_REFUSAL_NONE;
	struct mvcc_hash got;
	int err = mvcc_hash(h->c->m, h->rev, &got, &why);

	if (err)
		return say_refused(h, why, err);
	if (h->json)
		err = cmd_printf(h->c,
				 "{\"hash\":%" PRIu32 ",\"rev\":%" PRId64
				 ",\"compact_rev\":%" PRId64 "}\n",
				 got.hash, got.rev, got.compact_rev);
	else if (h->verbose)
		err = cmd_printf(h->c, "%" PRIu32 " %" PRId64 " %" PRId64 "\n",
				 got.hash, got.rev, got.compact_rev);
	else
		err = cmd_printf(h->c, "%" PRIu32 "\n", got.hash);
	return err ? cmd_fail_code(h->c, err, NULL) : EXIT_YES;
}

/* --------------------------------------------------------------- without */

static int add_hex(struct sha256 *s, struct cairn_slice bytes,
		   struct buf *scratch)
{
	int err = CAIRN_OK;

	while (bytes.len && !err) {
		size_t n = bytes.len < PIECE ? bytes.len : PIECE;

		buf_clear(scratch);
		err = keytext_hex(slice_of(bytes.data, n), scratch);
		if (!err)
			sha256_add(s, scratch->data, scratch->len);
		slice_advance(&bytes, n);
	}
	return err;
}

/* A line as dump writes it. */
static int add_row(struct sha256 *s, const struct mvcc_row *row,
		   struct buf *scratch)
{
	int err = add_hex(s, row->key, scratch);

	sha256_add(s, "\t", 1);
	if (!err)
		err = add_hex(s, row->value, scratch);
	sha256_add(s, "\n", 1);
	return err;
}

static int hash_rows(struct hash_cmd *h, struct sha256 *s, uint64_t *n)
{
	const struct cmd_range all = { .rev = h->rev };
	struct buf scratch = { 0 };
	struct cmd_scan *scan;
	struct mvcc_row row;
	int err = cmd_scan_new(h->c, &all, &scan);

	if (err)
		return err;
	*n = 0;
	while (!(err = cmd_scan_next(scan, &row))) {
		err = add_row(s, &row, &scratch);
		if (err)
			break;
		++*n;
	}
	cmd_scan_free(scan);
	buf_fini(&scratch);
	return err == CAIRN_NOT_FOUND ? CAIRN_OK : err;
}

static int hash_plain(struct hash_cmd *h)
{
	uint8_t sum[SHA256_LEN];
	struct buf hex = { 0 };
	struct sha256 s;
	uint64_t n;
	int err;

	sha256_init(&s);
	err = hash_rows(h, &s, &n);
	if (!err) {
		sha256_end(&s, sum);
		err = keytext_hex(slice_of(sum, sizeof(sum)), &hex);
	}
	if (!err)
		err = buf_append(&hex, "", 1);
	if (!err && h->json)
		err = cmd_printf(h->c,
				 "{\"hash\":\"%s\",\"keys\":%" PRIu64 "}\n",
				 (char *)hex.data, n);
	else if (!err && h->verbose)
		err = cmd_printf(h->c, "%s %" PRIu64 "\n", (char *)hex.data, n);
	else if (!err)
		err = cmd_printf(h->c, "%s\n", (char *)hex.data);
	buf_fini(&hex);
	return err ? cmd_fail_code(h->c, err, NULL) : EXIT_YES;
}

int cmd_hash(struct cmd *c, int argc, char **argv)
{
	struct hash_cmd h = { .c = c };
	const struct cmd_opt opts[] = {
		{ "rev", 0, CMD_INT, &h.rev, "N", "as of revision N" },
		{ "json", 0, CMD_FLAG, &h.json, NULL, "an object" },
		{ "verbose", 'v', CMD_FLAG, &h.verbose, NULL,
		  "behind it the revision, and the one forgotten up to; "
		  "or the number of keys" },
		{ 0 },
	};
	int status, n;

	if (cmd_parse(c, &usage, opts, argc, argv, &n, &status))
		return status;
	if (cmd_open(c, argv[1], CMD_READ, &status))
		return status;
	status = mvcc_is_plain(c->m) ? hash_plain(&h) : hash_revisions(&h);
	return cmd_close(c, status);
}
