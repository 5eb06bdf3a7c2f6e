/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The keys that differ between two revisions. When little has changed they are
 * those of the log, sorted; else both states are walked side by side, so that
 * memory stays bounded either way.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "engine/base/error.h"
#include "fs/cmd/cmd.h"

/* Changes of the log to remember at most. */
#define KEYS_MAX  65536u
#define BYTES_MAX ((size_t)16 << 20)

static const struct cmd_usage usage = {
	.synopsis = "[--prefix P] [--json] DIR REV1 [REV2]",
	.summary = "List the keys added, changed and deleted from REV1 to REV2 "
		   "(default: now)",
	.example = "cairn diff /srv/app 4700 4711",
	.min_args = 2,
	.max_args = 3,
};

struct diff {
	struct cmd *c;
	struct cmd_key_opts keys;
	bool json;
	int64_t rev[2]; /* pinned */
	struct cmd_range range;
	struct buf line;
};

static int print(struct diff *d, const char *what, struct cairn_slice key)
{
	int err;

	buf_clear(&d->line);
	if (d->json) {
		err = buf_printf(&d->line, "{\"change\":\"%s\",\"key\":", what);
		if (!err)
			err = cmd_key_json(&d->keys, key, &d->line);
		if (!err)
			err = buf_append(&d->line, "}", 1);
	} else {
		err = buf_printf(&d->line, "%s ", what);
		if (!err)
			err = cmd_key_write(&d->keys, key, &d->line);
	}
	if (!err)
		err = buf_append(&d->line, "\n", 1);
	return err ? err : cmd_write(d->c, d->line.data, d->line.len);
}

/* old and new: the revisions of the rows, 0 when there is none. */
static int print_change(struct diff *d, struct cairn_slice key, int64_t old,
			int64_t new)
{
	if (old == new)
		return CAIRN_OK;
	return print(d, !old ? "added" : !new ? "deleted" : "changed", key);
}

/* ----------------------------------------------------------- by the log */

struct touched {
	struct buf bytes;
	struct buf at; /* le32 offset and length of each key in bytes */
};

static bool in_range(const struct diff *d, struct cairn_slice key)
{
	return slice_cmp(buf_slice(&d->range.lower), key) <= 0 &&
	       (!d->range.upper.data || slice_cmp(key, d->range.upper) < 0);
}

/* CAIRN_NOT_FOUND: it is too much. */
static int touch(struct diff *d, struct touched *t, struct cairn_slice key)
{
	int err;

	if (!in_range(d, key))
		return CAIRN_OK;
	if (t->at.len / 8 >= KEYS_MAX || t->bytes.len + key.len > BYTES_MAX)
		return CAIRN_NOT_FOUND;
	err = buf_append_le32(&t->at, (uint32_t)t->bytes.len);
	if (!err)
		err = buf_append_le32(&t->at, (uint32_t)key.len);
	return err ? err : buf_append(&t->bytes, key.data, key.len);
}

/* The keys of the log between the revisions. CAIRN_NOT_FOUND: too many, or
 * that part of the log is not there any more. */
static int read_log(struct diff *d, struct touched *t)
{
	bool back = d->rev[0] > d->rev[1];
	struct mvcc_changes *changes;
	struct mvcc_change ch;
	int err = mvcc_changes_new(d->c->m, d->rev[back] + 1, d->rev[!back] + 1,
				   &changes);

	if (err)
		return err == CAIRN_EFORGOTTEN ? CAIRN_NOT_FOUND : err;
	while (!(err = mvcc_changes_next(changes, &ch))) {
		err = touch(d, t, ch.key);
		if (!err)
			err = cmd_check_cancel(d->c);
		if (err)
			goto out;
	}
	if (err == CAIRN_NOT_FOUND)
		err = CAIRN_OK;
out:
	mvcc_changes_free(changes);
	return err;
}

static int cmp_keys(const void *a, const void *b)
{
	struct cairn_slice x, y;

	memcpy(&x, a, sizeof(x));
	memcpy(&y, b, sizeof(y));
	return slice_cmp(x, y);
}

/* The revision of key's row at rev, 0 when it has none. */
static int row_rev(struct diff *d, struct cairn_slice key, int64_t rev,
		   int64_t *main)
{
	struct mvcc_pinned_row r = { 0 };
	int err = mvcc_get(d->c->m, key, rev, &r);

	*main = err ? 0 : r.row.main;
	mvcc_row_release(&r);
	return err == CAIRN_NOT_FOUND ? CAIRN_OK : err;
}

static int print_touched(struct diff *d, const struct touched *t)
{
	size_t n = t->at.len / 8;
	struct cairn_slice *keys = calloc(n + 1, sizeof(*keys));
	int err = CAIRN_OK;

	if (!keys)
		return error_nomem();
	for (size_t i = 0; i < n; i++)
		keys[i] =
			slice_of(t->bytes.data + load_le32(t->at.data + 8 * i),
				 load_le32(t->at.data + 8 * i + 4));
	qsort(keys, n, sizeof(*keys), cmp_keys);
	for (size_t i = 0; i < n && !err; i++) {
		int64_t old, new;

		if (i && slice_eq(keys[i], keys[i - 1]))
			continue;
		err = row_rev(d, keys[i], d->rev[0], &old);
		if (!err)
			err = row_rev(d, keys[i], d->rev[1], &new);
		if (!err)
			err = print_change(d, keys[i], old, new);
		if (!err)
			err = cmd_check_cancel(d->c);
	}
	free(keys);
	return err;
}

static int diff_log(struct diff *d)
{
	struct touched t = { 0 };
	int err = read_log(d, &t);

	if (!err)
		err = print_touched(d, &t);
	buf_fini(&t.at);
	buf_fini(&t.bytes);
	return err;
}

/* -------------------------------------------------------- side by side */

struct side {
	struct cmd_scan *scan;
	struct mvcc_row row;
	bool end;
};

static int advance(struct side *s)
{
	int err = cmd_scan_next(s->scan, &s->row);

	s->end = err == CAIRN_NOT_FOUND;
	return s->end ? CAIRN_OK : err;
}

static int step(struct diff *d, struct side s[2])
{
	int c = s[0].end   ? 1
		: s[1].end ? -1
			   : slice_cmp(s[0].row.key, s[1].row.key);
	int err = print_change(d, c <= 0 ? s[0].row.key : s[1].row.key,
			       c <= 0 ? s[0].row.main : 0,
			       c >= 0 ? s[1].row.main : 0);

	if (!err && c <= 0)
		err = advance(&s[0]);
	if (!err && c >= 0)
		err = advance(&s[1]);
	return err;
}

static int diff_scans(struct diff *d)
{
	struct side s[2] = { 0 };
	int err = CAIRN_OK;

	for (int i = 0; i < 2 && !err; i++) {
		d->range.rev = d->rev[i];
		err = cmd_scan_new(d->c, &d->range, &s[i].scan);
		if (!err)
			err = advance(&s[i]);
	}
	while (!err && !(s[0].end && s[1].end))
		err = step(d, s);
	cmd_scan_free(s[0].scan);
	cmd_scan_free(s[1].scan);
	return err;
}

/* -------------------------------------------------------------- command */

static int diff(struct diff *d)
{
	struct mvcc *m = d->c->m;
	int err = mvcc_pin(m, d->rev[0]);

	if (err)
		return err;
	err = d->rev[1] ? mvcc_pin(m, d->rev[1])
			: mvcc_pin_current(m, &d->rev[1]);
	if (!err) {
		err = diff_log(d);
		if (err == CAIRN_NOT_FOUND)
			err = diff_scans(d);
		mvcc_unpin(m, d->rev[1]);
	}
	mvcc_unpin(m, d->rev[0]);
	return err;
}

static int parse_rev(struct cmd *c, const char *text, int64_t *rev)
{
	char *end;

	errno = 0;
	*rev = strtoll(text, &end, 10);
	if (*text >= '0' && *text <= '9' && !*end && !errno && *rev > 0)
		return EXIT_YES;
	return cmd_fail(c, EXIT_USAGE, "%s: is no revision", text);
}

int cmd_diff(struct cmd *c, int argc, char **argv)
{
	struct diff d = { .c = c };
	const struct cmd_opt opts[] = {
		{ "prefix", 0, CMD_STRING, &d.range.prefix, "P",
		  "keys that start with P" },
		{ "json", 0, CMD_FLAG, &d.json, NULL, "objects, one a line" },
		CMD_KEY_OPTS(&d.keys),
		{ 0 },
	};
	int status, n, err;

	if (cmd_parse(c, &usage, opts, argc, argv, &n, &status))
		return status;
	status = parse_rev(c, argv[2], &d.rev[0]);
	if (!status && n == 3)
		status = parse_rev(c, argv[3], &d.rev[1]);
	if (!status)
		status = cmd_range_resolve(c, &d.keys, &d.range);
	if (status || cmd_open(c, argv[1], CMD_READ, &status))
		goto out;
	status = cmd_need_revisions(c);
	if (!status) {
		err = diff(&d);
		if (err)
			status = cmd_fail_code(c, err, NULL);
	}
	status = cmd_close(c, status);
out:
	cmd_range_fini(&d.range);
	buf_fini(&d.line);
	return status;
}
