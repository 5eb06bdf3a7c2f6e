/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/error.h"
#include "fs/cmd/txn_text.h"
#include "fs/text/jsontext.h"

/* The text may be so long. It is held whole, as the request made of it is. */
#define TEXT_MAX ((size_t)16 << 20)
/* Of the answer, which is held whole, too. */
#define ANSWER_MAX (UINT64_C(64) << 20)

#define PIECE (256 * 1024)

static const struct cmd_usage usage = {
	.synopsis = "[--json] [--sync] [-v] DIR [FILE]",
	.summary = "Do what FILE or standard input says, as one revision: "
		   "compares, what to do if\n"
		   "all hold, what to do else, parted by empty lines, in the "
		   "words of etcdctl txn.\n"
		   "1 when it was the else",
	.example = "cairn txn /srv/app "
		   "<<<$'mod(\"k\") = \"0\"\\n\\nput k v\\n\\nget k'",
	.min_args = 1,
	.max_args = 2,
};

struct txn {
	struct cmd *c;
	struct cmd_key_opts keys;
	bool json;
	bool sync;
	bool verbose;
	struct txn_text text;
	struct buf line;
};

/* ------------------------------------------------------------------- input */

static int read_text(struct cmd *c, struct buf *text)
{
	size_t n = 1;
	int err = CAIRN_OK;

	while (!err && n) {
		err = buf_reserve(text, PIECE);
		if (!err)
			err = cmd_read(c, text->data + text->len, PIECE, &n);
		if (!err)
			text->len += n;
		if (!err && text->len > TEXT_MAX)
			err = error_set(CAIRN_EINVAL,
					"is longer than %zu bytes", TEXT_MAX);
	}
	return err;
}

/*
 * The text is read here, before a store is touched, and by a daemon once more.
 * *in, from which that one gets it, borrows from text.
 */
static int take_text(struct txn *x, struct buf *text, FILE **in)
{
	int err = read_text(x->c, text);

	if (!err)
		err = txn_text_parse(&x->keys, buf_slice(text), &x->text);
	if (err || x->c->in_daemon)
		return err;
	*in = fmemopen(text->data, text->len, "r");
	if (!*in)
		return error_set(error_code_of_errno(errno), "%s",
				 strerror(errno));
	x->c->in = *in;
	return CAIRN_OK;
}

/* ------------------------------------------------------- answers as etcdctl */

/* A line for the key, one for the value. */
static int print_row(struct txn *x, const struct mvcc_row *row)
{
	int err;

	buf_clear(&x->line);
	err = cmd_key_write(&x->keys, row->key, &x->line);
	if (!err)
		err = buf_append(&x->line, "\n", 1);
	if (!err)
		err = cmd_write(x->c, x->line.data, x->line.len);
	if (!err)
		err = cmd_write(x->c, row->value.data, row->value.len);
	return err ? err : cmd_write(x->c, "\n", 1);
}

static int print_answer(struct txn *x, const struct mvcc_request *r,
			const struct mvcc_answer *a)
{
	int err = cmd_write(x->c, "\n", 1);

	if (!err && r->kind == MVCC_REQUEST_PUT)
		err = cmd_printf(x->c, "OK\n");
	else if (!err &&
		 (r->kind == MVCC_REQUEST_DELETE || r->range.count_only))
		err = cmd_printf(x->c, "%" PRId64 "\n", a->count);
	for (size_t i = 0; !err && i < a->n_rows; i++)
		err = print_row(x, &a->rows[i]);
	return err;
}

static int print_answers(struct txn *x, const struct mvcc_request *list,
			 const struct mvcc_answer *a)
{
	int err =
		cmd_printf(x->c, "%s\n", a->succeeded ? "SUCCESS" : "FAILURE");

	if (!err && x->verbose)
		err = cmd_printf(x->c, "%" PRId64 "\n", a->rev);
	for (size_t i = 0; !err && i < a->n_answers; i++)
		err = print_answer(x, &list[i], &a->answers[i]);
	return err;
}

/* ------------------------------------------------------------- and as JSON */

/* Write what the line has, and let it go. */
static int write_line(struct txn *x)
{
	int err = cmd_write(x->c, x->line.data, x->line.len);

	buf_clear(&x->line);
	return err;
}

static int json_row(struct txn *x, const struct mvcc_row *row)
{
	struct buf *out = &x->line;
	int err = buf_printf(out, "{\"key\":");

	if (!err)
		err = cmd_key_json(&x->keys, row->key, out);
	if (!err)
		err = buf_printf(out,
				 ",\"rev\":%" PRId64 ",\"create_rev\":%" PRId64
				 ",\"version\":%" PRId64 ",\"size\":%" PRIu64,
				 row->main, row->create_rev, row->version,
				 row->size);
	if (!err && row->lease)
		err = buf_printf(out, ",\"lease\":%" PRId64, row->lease);
	if (!err && (row->value.data || !row->size))
		err = buf_append(out, ",", 1);
	if (!err && (row->value.data || !row->size))
		err = jsontext_value("value", row->value, out);
	if (!err)
		err = buf_append(out, "}", 1);
	return err ? err : write_line(x);
}

static int json_rows(struct txn *x, const char *name,
		     const struct mvcc_answer *a)
{
	int err = buf_printf(&x->line, ",\"%s\":[", name);

	for (size_t i = 0; !err && i < a->n_rows; i++) {
		if (i)
			err = buf_append(&x->line, ",", 1);
		if (!err)
			err = json_row(x, &a->rows[i]);
	}
	return err ? err : buf_append(&x->line, "]", 1);
}

static int json_answer(struct txn *x, const struct mvcc_request *r,
		       const struct mvcc_answer *a)
{
	struct buf *out = &x->line;
	int err;

	if (r->kind == MVCC_REQUEST_RANGE) {
		err = buf_printf(out,
				 "{\"op\":\"get\",\"count\":%" PRId64
				 ",\"more\":%s",
				 a->count, a->more ? "true" : "false");
		if (!err && !r->range.count_only)
			err = json_rows(x, "rows", a);
	} else if (r->kind == MVCC_REQUEST_PUT) {
		err = buf_printf(out, "{\"op\":\"put\"");
		if (!err && r->put.prev)
			err = json_rows(x, "prev", a);
	} else {
		err = buf_printf(out, "{\"op\":\"del\",\"count\":%" PRId64,
				 a->count);
		if (!err && r->del.prev)
			err = json_rows(x, "prev", a);
	}
	return err ? err : buf_append(out, "}", 1);
}

static int json_answers(struct txn *x, const struct mvcc_request *list,
			const struct mvcc_answer *a)
{
	int err = buf_printf(
		&x->line, "{\"succeeded\":%s,\"rev\":%" PRId64 ",\"answers\":[",
		a->succeeded ? "true" : "false", a->rev);

	for (size_t i = 0; !err && i < a->n_answers; i++) {
		if (i)
			err = buf_append(&x->line, ",", 1);
		if (!err)
			err = json_answer(x, &list[i], &a->answers[i]);
	}
	if (!err)
		err = buf_append(&x->line, "]}\n", 3);
	return err ? err : write_line(x);
}

/* ----------------------------------------------------------------- command */

/* What a refusal says is etcd's, for programs that look for it. A lease or key
 * that is not there is no answer, as the else is. */
static int say_failure(struct txn *x, int err)
{
	if (err == CAIRN_NOT_FOUND)
		return cmd_fail(x->c, EXIT_USAGE, "%s", cairn_errmsg());
	return cmd_fail_code(x->c, err, NULL);
}

static int run(struct txn *x)
{
	const struct mvcc_request_options o = {
		.sync = x->sync,
		/* The text has its limit, and is not much shorter. */
		.request_bytes_max = 2 * TEXT_MAX,
		.answer_bytes_max = ANSWER_MAX,
	};
	const struct mvcc_request r = { .kind = MVCC_REQUEST_TXN,
					.txn = x->text.txn };
	struct mvcc_answer a = { 0 };
	int status = EXIT_YES, err = CAIRN_OK;

	if (x->text.puts)
		err = cmd_may_grow(x->c);
	if (!err)
		err = mvcc_request(x->c->m, &r, &o, &a);
	if (!err) {
		const struct mvcc_request *list =
			a.succeeded ? r.txn.success : r.txn.failure;

		status = a.succeeded ? EXIT_YES : EXIT_NO;
		err = x->json ? json_answers(x, list, &a)
			      : print_answers(x, list, &a);
	}
	if (err)
		status = say_failure(x, err);
	mvcc_answer_free(&a);
	return status;
}

static int txn(struct txn *x, const char *dir, const char *file)
{
	struct buf text = { 0 };
	FILE *in = NULL;
	int status;
	int err = take_text(x, &text, &in);

	x->c->reads_input = true;
	if (err)
		status = cmd_fail_code(x->c, err,
				       file ? file : "standard input");
	else if (!cmd_open(x->c, dir, x->text.writes ? CMD_WRITE : CMD_READ,
			   &status)) {
		status = cmd_need_revisions(x->c);
		if (!status)
			status = run(x);
		status = cmd_close(x->c, status);
	}
	if (in)
		fclose(in);
	buf_fini(&text);
	buf_fini(&x->line);
	txn_text_free(&x->text);
	return status;
}

int cmd_txn(struct cmd *c, int argc, char **argv)
{
	struct txn x = { .c = c };
	const struct cmd_opt opts[] = {
		{ "json", 0, CMD_FLAG, &x.json, NULL,
		  "the answers as an object" },
		{ "sync", 0, CMD_FLAG, &x.sync, NULL,
		  "return when it survives a power cut" },
		{ "verbose", 'v', CMD_FLAG, &x.verbose, NULL,
		  "print the revision, too" },
		CMD_KEY_OPTS(&x.keys),
		{ 0 },
	};
	FILE *given = NULL;
	int status, n;

	if (cmd_parse(c, &usage, opts, argc, argv, &n, &status))
		return status;
	/* FILE is the caller's, as that of load. */
	if (n == 2 && !c->in_daemon && strcmp(argv[2], "-") != 0) {
		given = fopen(argv[2], "re");
		if (!given)
			return cmd_fail(c, EXIT_SYSTEM, "%s: %s", argv[2],
					strerror(errno));
		c->in = given;
	}
	status = txn(&x, argv[1], n == 2 ? argv[2] : NULL);
	if (given)
		fclose(given);
	return status;
}
