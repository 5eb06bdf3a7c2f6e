/* SPDX-License-Identifier: BSD-3-Clause */
/* What cmd_dump.c wrote, back into a store. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/error.h"
#include "fs/cmd/cmd.h"
#include "fs/cmd/cmd_keyset.h"
#include "fs/text/keytext.h"

/* A commit is made at so many keys or so many bytes. */
#define BATCH_DEFAULT   1000
#define BATCH_MAX       1000000
#define BATCH_BYTES_MAX (8u << 20)

static const struct cmd_usage usage = {
	.synopsis = "[--batch N] [--sync] [-v] DIR [FILE]",
	.summary = "Set keys from lines as dump writes them, of FILE or of "
		   "standard input",
	.example = "cairn load /srv/copy app.tsv",
	.min_args = 1,
	.max_args = 2,
};

/* Puts gathered for one commit. */
struct load {
	struct cmd *c;
	int64_t batch;
	bool sync;
	struct mvcc_txn *t;
	struct keyset keys; /* of the pending ones */
	int64_t pending;
	size_t pending_bytes;
	uint64_t loaded;
	uint64_t line;
};

static int load_commit(struct load *l)
{
	int err;

	if (!l->pending)
		return CAIRN_OK;
	err = cmd_may_grow(l->c);
	if (!err)
		err = mvcc_txn_commit(l->t, l->sync, NULL);
	if (err)
		return err;
	keyset_clear(&l->keys);
	l->loaded += (uint64_t)l->pending;
	l->pending = 0;
	l->pending_bytes = 0;
	return CAIRN_OK;
}

/* Of the lines with one key, each becomes a revision; the last one counts. */
static int load_put(struct load *l, struct cairn_slice key,
		    struct cairn_slice value)
{
	bool again;
	int err = keyset_add(&l->keys, key, &again);

	if (!err && again)
		err = load_commit(l);
	if (!err && again)
		err = keyset_add(&l->keys, key, &again);
	if (!err)
		err = mvcc_txn_put(l->t, key, value, NULL);
	if (err)
		return err;
	l->pending++;
	l->pending_bytes += key.len + value.len;
	if (l->pending >= l->batch || l->pending_bytes >= BATCH_BYTES_MAX)
		return load_commit(l);
	return CAIRN_OK;
}

static int bad_line(const struct load *l, const char *why)
{
	return error_set(CAIRN_ECORRUPT, "line %" PRIu64 ": %s", l->line, why);
}

/* len bytes, the newline among them. */
static int load_line(struct load *l, char *line, size_t len, struct buf *key,
		     struct buf *value)
{
	char *tab = strchr(line, '\t');
	int err;

	/* Half a line is no line: its value would be half a value. */
	if (line[len - 1] != '\n')
		return bad_line(l, "cut short: it does not end with a newline");
	line[len - 1] = '\0';
	if (!tab)
		return bad_line(l, "no TAB between key and value");
	*tab = '\0';
	/* A NUL would end the digits, and hide what follows it. */
	if (strlen(tab + 1) != len - 1 - (size_t)(tab + 1 - line))
		return bad_line(l, "not pairs of hex digits");
	buf_clear(key);
	buf_clear(value);
	err = keytext_unhex(line, key);
	if (!err)
		err = keytext_unhex(tab + 1, value);
	if (err == CAIRN_EINVAL)
		return bad_line(l, "not pairs of hex digits");
	return err ? err : load_put(l, buf_slice(key), buf_slice(value));
}

static int load_lines(struct load *l, FILE *in)
{
	struct buf key = { 0 }, value = { 0 };
	char *line = NULL;
	size_t cap = 0;
	ssize_t n;
	int err = CAIRN_OK;

	while (!err && (n = getline(&line, &cap, in)) > 0) {
		l->line++;
		err = load_line(l, line, (size_t)n, &key, &value);
	}
	/* getline() fails for lack of memory, too, and sets no flag then. */
	if (!err && !feof(in))
		err = error_set(CAIRN_EIO, "after line %" PRIu64 ": %s",
				l->line, strerror(errno));
	if (!err)
		err = load_commit(l);
	free(line);
	buf_fini(&key);
	buf_fini(&value);
	return err;
}

static void load_fini(struct load *l)
{
	mvcc_txn_free(l->t);
	keyset_fini(&l->keys);
}

static int load_init(struct load *l, struct cmd *c)
{
	l->c = c;
	return mvcc_txn_new(c->m, &l->t);
}

int cmd_load(struct cmd *c, int argc, char **argv)
{
	struct load l = { .batch = BATCH_DEFAULT };
	bool verbose = false;
	const struct cmd_opt opts[] = {
		{ "batch", 0, CMD_INT, &l.batch, "N",
		  "keys committed together, as one revision (1000)" },
		{ "sync", 0, CMD_FLAG, &l.sync, NULL,
		  "each commit survives a power cut" },
		{ "verbose", 'v', CMD_FLAG, &verbose, NULL,
		  "print how many were loaded" },
		CMD_UPGRADE_OPT(c),
		{ 0 },
	};
	FILE *given = NULL;
	int status, n, err;

	if (cmd_parse(c, &usage, opts, argc, argv, &n, &status))
		return status;
	if (l.batch < 1 || l.batch > BATCH_MAX)
		return cmd_fail(c, EXIT_USAGE,
				"--batch %" PRId64 ": 1 to %d are allowed",
				l.batch, BATCH_MAX);
	/* FILE is the caller's: it is read here, and a daemon gets the lines.
	 */
	if (n == 2 && !c->in_daemon && strcmp(argv[2], "-") != 0) {
		given = fopen(argv[2], "re");
		if (!given)
			return cmd_fail(c, EXIT_SYSTEM, "%s: %s", argv[2],
					strerror(errno));
		c->in = given;
	}
	c->reads_input = true;
	if (cmd_open(c, argv[1], CMD_WRITE, &status))
		goto out;
	err = load_init(&l, c);
	if (!err)
		err = load_lines(&l, c->in);
	if (!err && verbose)
		err = cmd_printf(c, "%" PRIu64 "\n", l.loaded);
	if (err)
		status = cmd_fail_code(c, err, n == 2 ? argv[2] : NULL);
	if (err && l.loaded)
		cmd_hint(c, "the first %" PRIu64 " keys are loaded", l.loaded);
	load_fini(&l);
	status = cmd_close(c, status);
out:
	if (given)
		fclose(given);
	return status;
}
