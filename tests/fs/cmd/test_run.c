/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Conversations with a store in memory. A request is written, in pieces of a
 * given size, and the answer read, in pieces of another.
 */
#include "fs/cmd/run.h"

#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/buf.h"
#include "engine/env/env_mem.h"
#include "fs/cmd/cmd.h"
#include "tests/support/runner.h"

static struct cairn_env *env;
static struct mvcc *m;
static struct buf out, err_text;

static void setup(void)
{
	struct cairn_options *o = cairn_options_new();
	struct mvcc_options mo = { .engine = o };

	env = env_mem_new(ENV_MEM_STRICT);
	ck_assert(o && env);
	cairn_options_set_env(o, env);
	ck_assert_int_eq(cairn_options_set(o, "create_if_missing", "true"),
			 CAIRN_OK);
	ck_assert_int_eq(mvcc_open("/db", &mo, &m), CAIRN_OK);
	cairn_options_free(o);
}

static void teardown(void)
{
	buf_fini(&out);
	buf_fini(&err_text);
	/* Also says that no command still has anything of the store. */
	ck_assert_int_eq(mvcc_close(m), CAIRN_OK);
	env_mem_free(env);
}

static struct run *begin(void)
{
	struct run *r;

	ck_assert_int_eq(run_open(m, "/db", NULL, &r), CAIRN_OK);
	return r;
}

static void append(struct buf *b, const void *data, size_t len)
{
	ck_assert_int_eq(buf_append(b, data, len), CAIRN_OK);
}

/* The head of a request for words parted by '|'; "" has no words. */
static void make_head(const char *words, struct buf *head)
{
	char count[16];
	int n = *words != '\0';

	for (const char *p = words; *p; p++)
		n += *p == '|';
	snprintf(count, sizeof(count), "%d", n);
	append(head, count, strlen(count) + 1);
	if (n)
		append(head, words, strlen(words) + 1);
	for (size_t i = strlen(count) + 1; i < head->len; i++)
		if (head->data[i] == '|')
			head->data[i] = '\0';
}

static int write_pieces(struct run *r, const struct buf *b, size_t piece)
{
	int err = CAIRN_OK;

	for (size_t at = 0; at < b->len && !err; at += piece) {
		size_t n = b->len - at < piece ? b->len - at : piece;

		err = run_write(r, b->data + at, n);
	}
	return err;
}

static int write_words(struct run *r, const char *words)
{
	struct buf head = { 0 };
	int err;

	make_head(words, &head);
	err = write_pieces(r, &head, head.len);
	buf_fini(&head);
	return err;
}

/* Split frames into out and err_text; the exit status. */
static int take_frames(const struct buf *frames)
{
	struct cairn_slice s = buf_slice(frames);

	for (;;) {
		uint32_t len;
		uint8_t type;

		ck_assert_uint_ge(s.len, 6);
		type = s.data[0];
		len = load_le32(s.data + 1);
		slice_advance(&s, 5);
		ck_assert_uint_ge(s.len, len);
		if (type == 'x') {
			ck_assert_uint_eq(len, 1);
			ck_assert_uint_eq(s.len, 1);
			return s.data[0];
		}
		ck_assert(type == 'o' || type == 'e');
		append(type == 'o' ? &out : &err_text, s.data, len);
		slice_advance(&s, len);
	}
}

/* Read the answer to its end; the exit status. */
static int finish(struct run *r, size_t piece)
{
	struct buf frames = { 0 };
	uint8_t *part = malloc(piece);
	size_t got = 1;
	int status;

	ck_assert_ptr_nonnull(part);
	buf_clear(&out);
	buf_clear(&err_text);
	while (got) {
		ck_assert_int_eq(run_read(r, part, piece, &got), CAIRN_OK);
		append(&frames, part, got);
	}
	/* The end stays the end. */
	ck_assert_int_eq(run_read(r, part, piece, &got), CAIRN_OK);
	ck_assert_uint_eq(got, 0);
	run_close(r);
	status = take_frames(&frames);
	append(&out, "", 1);
	append(&err_text, "", 1);
	free(part);
	buf_fini(&frames);
	return status;
}

/* One conversation with the input text; the exit status. */
static int say(const char *words, const char *input)
{
	struct run *r = begin();

	ck_assert_int_eq(write_words(r, words), CAIRN_OK);
	if (*input) {
		int err = run_write(r, input, strlen(input));

		/* It may have ended without it. */
		ck_assert(err == CAIRN_OK || err == CAIRN_EINVAL);
	}
	return finish(r, 4096);
}

static const char *said(void)
{
	return (const char *)out.data;
}

static const char *complained(void)
{
	return (const char *)err_text.data;
}

/* Run one after the other on one store. */
static const struct {
	const char *words;
	const char *input;
	int status;
	const char *out; /* all of it; NULL: starts with nothing known */
	const char *err; /* a part; NULL: nothing at all */
} script[] = {
	{ "put|/|motd|hello", "", EXIT_YES, "", NULL },
	{ "get|/|motd", "", EXIT_YES, "hello", NULL },
	{ "get|/|nope", "", EXIT_NO, "", "nope: no such key" },
	{ "put|-v|/|motd|-", "from the input", EXIT_YES, "3\n", NULL },
	{ "get|/|motd", "", EXIT_YES, "from the input", NULL },
	{ "get|/|motd|--rev|2", "", EXIT_YES, "hello", NULL },
	{ "get|/|motd|--rev=9", "", EXIT_REVISION, "", "not yet written" },
	/* An empty argument is one, too. */
	{ "put|/|empty|", "not this", EXIT_YES, "", NULL },
	{ "get|/|empty", "", EXIT_YES, "", NULL },
	{ "put|/|bytes%00%FF|b", "", EXIT_YES, "", NULL },
	{ "ls|/", "", EXIT_YES, "bytes%00%FF\nempty\nmotd\n", NULL },
	{ "ls|/|m", "", EXIT_YES, "motd\n", NULL },
	{ "ls|/|", "", EXIT_YES, "bytes%00%FF\nempty\nmotd\n", NULL },
	{ "ls|/|none", "", EXIT_NO, "", NULL },
	{ "ls|--count|/", "", EXIT_YES, "3\n", NULL },
	{ "ls|--reverse|--limit|2|/", "", EXIT_YES, "motd\nempty\n", NULL },
	{ "ls|--hex|--from|0x62|--to|0x63|/", "", EXIT_YES,
	  "0x627974657300ff\n", NULL },
	{ "history|/|motd", "", EXIT_YES, "2 put 5\n3 put 14\n", NULL },
	{ "history|/|nope", "", EXIT_NO, "", "no such key" },
	{ "dump|--prefix|e|/", "", EXIT_YES, "656d707479\t\n", NULL },
	{ "load|/", "61\t62\n61\t63\n", EXIT_YES, "", NULL },
	{ "history|/|a", "", EXIT_YES, "6 put 1\n7 put 1\n", NULL },
	{ "load|-v|/", "61\t64\n7a\t", EXIT_DAMAGE, "", "line 2: cut short" },
	{ "get|/|a", "", EXIT_YES, "c", NULL },
	{ "load|/", "no tab\n", EXIT_DAMAGE, "", "line 1: no TAB" },
	{ "load|/", "6\t61\n", EXIT_DAMAGE, "", "line 1: not pairs" },
	{ "load|--batch|0|/", "", EXIT_USAGE, "", "--batch 0" },
	{ "del|-v|/|a|a|nope", "", EXIT_YES, "1\n", NULL },
	{ "del|/|a", "", EXIT_NO, "", NULL },
	{ "put|--if-rev|1|/|motd|x", "", EXIT_NO, "", "motd" },
	{ "put|--if-rev|3|/|motd|x", "", EXIT_YES, "", NULL },
	{ "put|--if-rev|0|/|motd|x", "", EXIT_NO, "", "motd" },
	{ "watch|--from-rev|2|--count|2|/|m", "", EXIT_YES,
	  "2 put 5 motd\n3 put 14 motd\n", NULL },
	{ "watch|--from-rev|9|--count|1|--json|/", "", EXIT_YES,
	  "{\"rev\":9,\"sub\":0,\"op\":\"put\",\"key\":\"motd\","
	  "\"size\":1,\"create_rev\":2,\"version\":3}\n",
	  NULL },
	{ "watch|--from-rev|5|--count|1|--hex|/", "", EXIT_YES,
	  "5 put 1 0x627974657300ff\n", NULL },
	{ "watch|--from-rev|-1|/", "", EXIT_USAGE, "", "--from-rev -1" },
	{ "watch|/|%zz", "", EXIT_USAGE, "", "two hex digits" },
	{ "diff|/|2", "", EXIT_YES,
	  "added bytes%00%FF\nadded empty\nchanged motd\n", NULL },
	{ "diff|/|3|2", "", EXIT_YES, "changed motd\n", NULL },
	{ "diff|/|6|8", "", EXIT_YES, "deleted a\n", NULL },
	{ "diff|--prefix|e|/|1|8", "", EXIT_YES, "added empty\n", NULL },
	{ "diff|--json|/|2|3", "", EXIT_YES,
	  "{\"change\":\"changed\",\"key\":\"motd\"}\n", NULL },
	{ "diff|/|3|3", "", EXIT_YES, "", NULL },
	{ "diff|/|10", "", EXIT_REVISION, "", "not yet written" },
	{ "diff|/|0", "", EXIT_USAGE, "", "0: is no revision" },
	{ "diff|/|1x", "", EXIT_USAGE, "", "1x: is no revision" },
	{ "forget|--older|1d|/", "", EXIT_NO, "", NULL },
	{ "flush|/", "", EXIT_YES, "", NULL },
	{ "compact|/", "", EXIT_YES, "", NULL },
	{ "forget|--before|9|/", "", EXIT_YES, "", NULL },
	{ "forget|--before|9|/", "", EXIT_REVISION, "", "already" },
	{ "forget|--before|99|/", "", EXIT_REVISION, "", "not yet written" },
	{ "forget|--keep|100|/", "", EXIT_NO, "", NULL },
	{ "get|/|motd|--rev|2", "", EXIT_REVISION, "", "hint: " },
	{ "watch|--from-rev|2|/", "", EXIT_REVISION, "",
	  "revision 2 is forgotten; the oldest one is 9" },
	{ "diff|/|2", "", EXIT_REVISION, "", "forgotten" },
	{ "stats|/|revision/oldest|kind", "", EXIT_YES, "9\nrevision\n", NULL },
	{ "stats|/|no/such", "", EXIT_NO, "", "no/such" },
	{ "stats|--format|nope|/", "", EXIT_USAGE, "", "no such format" },
	{ "del|-v|--prefix|b|/", "", EXIT_YES, "1\n", NULL },
	{ "init|/elsewhere", "", EXIT_SYSTEM, "", "mounted" },
	/* Usage. */
	{ "get|/", "", EXIT_USAGE, "", "an operand is missing" },
	{ "get|/|a|b", "", EXIT_USAGE, "", "too many operands" },
	{ "get|/|%zz", "", EXIT_USAGE, "", "two hex digits" },
	{ "get|--hex|--raw|/|61", "", EXIT_USAGE, "", "exclude each other" },
	{ "ls|--limt|3|/", "", EXIT_USAGE, "", "did you mean --limit?" },
	{ "ls|--limit|x|/", "", EXIT_USAGE, "", "--limit x: not a number" },
	{ "ls|/|--limit", "", EXIT_USAGE, "", "--limit: its argument N" },
	{ "ls|--reverse=1|/", "", EXIT_USAGE, "", "takes no argument" },
	{ "ls|-lx|/", "", EXIT_USAGE, "", "-x: no such option" },
	{ "ls|--prefix|a|--from|b|/", "", EXIT_USAGE, "", "excludes" },
	{ "del|/", "", EXIT_USAGE, "", "either keys or a range" },
	{ "del|--prefix|a|/|b", "", EXIT_USAGE, "", "either keys or a range" },
	{ "forget|/", "", EXIT_USAGE, "", "one of --before" },
	{ "forget|--older|soon|/", "", EXIT_USAGE, "", "wants a time" },
	{ "forget|--older|1d|--keep|1|/", "", EXIT_USAGE, "", "one of" },
	/* Transactions, and the fingerprint of what they leave. */
	{ "txn|/", "mod(\"motd\") = 9\n\nput motd t\nget motd\n\nget motd\n",
	  EXIT_YES, "SUCCESS\n\nOK\n\nmotd\nt\n", NULL },
	{ "txn|-v|/|the-file", "mod(\"motd\") = 9\n\nput motd t\n\nget motd\n",
	  EXIT_NO, "FAILURE\n11\n\nmotd\nt\n", NULL },
	{ "txn|/", "\nput t/b 1\nput t/a ''\n", EXIT_YES,
	  "SUCCESS\n\nOK\n\nOK\n", NULL },
	{ "txn|/", "\nget --prefix t/\nget --prefix t/ --count-only\n",
	  EXIT_YES, "SUCCESS\n\nt/a\n\nt/b\n1\n\n2\n", NULL },
	{ "txn|--hex|/", "\nget 0x742f61 742f7a --keys-only\n", EXIT_YES,
	  "SUCCESS\n\n0x742f61\n\n0x742f62\n\n", NULL },
	{ "txn|--json|/",
	  "\nget --prefix t/ --limit 1\nput t/a \"\\xff\" --prev-kv\n"
	  "del t/b --prev-kv\nget --prefix t/ --count-only\nget nope\n",
	  EXIT_YES,
	  "{\"succeeded\":true,\"rev\":13,\"answers\":["
	  "{\"op\":\"get\",\"count\":2,\"more\":true,\"rows\":["
	  "{\"key\":\"t/a\",\"rev\":12,\"create_rev\":12,\"version\":1,"
	  "\"size\":0,\"value\":\"\"}]},"
	  "{\"op\":\"put\",\"prev\":["
	  "{\"key\":\"t/a\",\"rev\":12,\"create_rev\":12,\"version\":1,"
	  "\"size\":0,\"value\":\"\"}]},"
	  "{\"op\":\"del\",\"count\":1,\"prev\":["
	  "{\"key\":\"t/b\",\"rev\":12,\"create_rev\":12,\"version\":1,"
	  "\"size\":1,\"value\":\"1\"}]},"
	  "{\"op\":\"get\",\"count\":1,\"more\":false},"
	  "{\"op\":\"get\",\"count\":0,\"more\":false,\"rows\":[]}]}\n",
	  NULL },
	{ "txn|--json|/", "mod(\"t/a\") < 13\n\n\nget t/a\nput u v\n", EXIT_NO,
	  "{\"succeeded\":false,\"rev\":14,\"answers\":["
	  "{\"op\":\"get\",\"count\":1,\"more\":false,\"rows\":["
	  "{\"key\":\"t/a\",\"rev\":13,\"create_rev\":12,\"version\":2,"
	  "\"size\":1,\"value_b64\":\"/w==\"}]},{\"op\":\"put\"}]}\n",
	  NULL },
	{ "txn|/", "\nput u v\nput u w\n", EXIT_USAGE, "", "duplicate key" },
	{ "txn|/", "\nput u v --lease 99\n", EXIT_USAGE, "",
	  "requested lease not found" },
	{ "txn|/", "\nput nope --ignore-value\n", EXIT_USAGE, "",
	  "key not found" },
	{ "txn|/", "\nput u w\nget u --rev 3\n", EXIT_REVISION, "",
	  "compacted" },
	{ "txn|/", "\nput u w\nget u --rev 99\n", EXIT_REVISION, "", "future" },
	{ "get|/|u", "", EXIT_YES, "v", NULL },
	{ "txn|/", "", EXIT_USAGE, "", "standard input: line 1, column 1: " },
	{ "txn|/|the-file", "\nput u\n", EXIT_USAGE, "",
	  "the-file: line 2, column 6: the value is missing" },
	{ "hash|--rev|9|/", "", EXIT_REVISION, "", "9 is not above 9" },
	{ "hash|--rev|99|/", "", EXIT_REVISION, "",
	  "99 is not yet written; the last one is 14" },
	{ "hash|/|x", "", EXIT_USAGE, "", "too many operands" },
	{ "del|/|t/a|u", "", EXIT_YES, "", NULL },
	{ "put|/|--|--odd|v", "", EXIT_YES, "", NULL },
	{ "get|/|--|--odd", "", EXIT_YES, "v", NULL },
};

START_TEST(every_command_works_and_fails_as_in_the_shell)
{
	for (size_t i = 0; i < sizeof(script) / sizeof(script[0]); i++) {
		int status = say(script[i].words, script[i].input);

		ck_assert_msg(status == script[i].status, "%s: %d: %s",
			      script[i].words, status, complained());
		ck_assert_msg(!strcmp(said(), script[i].out), "%s: %s",
			      script[i].words, said());
		if (script[i].err)
			ck_assert_msg(strstr(complained(), script[i].err),
				      "%s: %s", script[i].words, complained());
		else
			ck_assert_msg(!*complained(), "%s: %s", script[i].words,
				      complained());
	}
}
END_TEST

START_TEST(every_command_explains_itself)
{
	for (size_t i = 0; cmd_at(i); i++) {
		char words[64];

		snprintf(words, sizeof(words), "%s|--help", cmd_at(i)->name);
		ck_assert_int_eq(say(words, ""), EXIT_YES);
		ck_assert_ptr_nonnull(strstr(said(), "usage: cairn "));
		ck_assert_ptr_nonnull(strstr(said(), "example: cairn "));
		ck_assert_ptr_nonnull(strstr(said(), "exit: 0 done"));
		ck_assert_str_eq(complained(), "");
	}
}
END_TEST

/* ----------------------------------------------------------- the request */

START_TEST(a_request_may_come_in_pieces_of_any_size)
{
	static const char input[] = "some\0input";

	for (size_t piece = 1; piece < 40; piece++) {
		struct buf request = { 0 };
		struct run *r = begin();

		make_head("put|/|k|-", &request);
		append(&request, input, sizeof(input));
		ck_assert_int_eq(write_pieces(r, &request, piece), CAIRN_OK);
		ck_assert_int_eq(finish(r, piece), EXIT_YES);
		buf_fini(&request);
		ck_assert_int_eq(say("get|/|k", ""), EXIT_YES);
		ck_assert_uint_eq(out.len, sizeof(input) + 1);
		ck_assert_mem_eq(out.data, input, sizeof(input));
	}
}
END_TEST

static const struct {
	const char *what;
	const char *bytes;
	size_t len;
} bad[] = {
	{ "no number", "get\0/\0k", 8 },
	{ "no arguments", "0", 2 },
	{ "an empty number", "", 1 },
	{ "a number with a sign", "+1\0ls", 6 },
	{ "a number that is too long", "123456789", 9 },
	{ "eight digits and no end", "12345678", 8 },
	{ "a command that is none", "1\0gte", 6 },
	{ "no name", "1\0", 3 },
	{ "a command of the shell only", "1\0mount", 8 },
};

START_TEST(a_malformed_request_is_refused_and_ends_the_conversation)
{
	struct run *r = begin();
	uint8_t byte;
	size_t got;

	ck_assert_msg(run_write(r, bad[_i].bytes, bad[_i].len) == CAIRN_EINVAL,
		      "%s", bad[_i].what);
	ck_assert_int_eq(write_words(r, "ls|/"), CAIRN_EINVAL);
	ck_assert_int_eq(run_read(r, &byte, 1, &got), CAIRN_EINVAL);
	run_close(r);
}
END_TEST

START_TEST(nothing_is_answered_before_the_request_is_complete)
{
	struct run *r = begin();
	uint8_t byte;
	size_t got;

	ck_assert_int_eq(run_read(r, &byte, 1, &got), CAIRN_EINVAL);
	ck_assert_int_eq(run_write(r, "2\0ls", 5), CAIRN_OK);
	ck_assert_int_eq(run_read(r, &byte, 1, &got), CAIRN_EINVAL);
	ck_assert_int_eq(run_write(r, "/", 2), CAIRN_OK);
	ck_assert_int_eq(finish(r, 10), EXIT_NO);
}
END_TEST

START_TEST(nothing_is_taken_after_the_first_read)
{
	struct run *r = begin();
	uint8_t frame[6];
	size_t got;

	ck_assert_int_eq(write_words(r, "put|/|k|-"), CAIRN_OK);
	ck_assert_int_eq(run_write(r, "v", 1), CAIRN_OK);
	ck_assert_int_eq(run_read(r, frame, sizeof(frame), &got), CAIRN_OK);
	ck_assert_int_eq(run_write(r, "w", 1), CAIRN_EINVAL);
	run_close(r);
	ck_assert_int_eq(say("get|/|k", ""), EXIT_YES);
	ck_assert_str_eq(said(), "v");
}
END_TEST

START_TEST(arguments_may_be_many_and_long)
{
	struct buf request = { 0 };
	struct run *r = begin();
	char count[16], key[64];

	snprintf(count, sizeof(count), "%d", 50002);
	append(&request, count, strlen(count) + 1);
	append(&request, "del\0/", 6);
	for (int i = 0; i < 50000; i++) {
		snprintf(key, sizeof(key), "a-key-of-some-length/%d", i);
		append(&request, key, strlen(key) + 1);
	}
	ck_assert_uint_gt(request.len, 1u << 20);
	ck_assert_int_eq(write_pieces(r, &request, 100000), CAIRN_OK);
	ck_assert_int_eq(finish(r, 4096), EXIT_NO);
	buf_fini(&request);
}
END_TEST

START_TEST(endless_arguments_are_refused)
{
	struct run *r = begin();
	uint8_t *zeros = calloc(1, 1 << 20);
	int err;

	ck_assert_ptr_nonnull(zeros);
	err = run_write(r, "8000000\0ls", 11);
	memset(zeros, 'k', 1 << 20);
	for (int i = 0; i < 64 && !err; i++)
		err = run_write(r, zeros, 1 << 20);
	ck_assert_int_eq(err, CAIRN_EINVAL);
	run_close(r);
	free(zeros);
}
END_TEST

/* ------------------------------------------------------- large and slow */

static void fill(struct buf *b, size_t len)
{
	ck_assert_int_eq(buf_reserve(b, len), CAIRN_OK);
	for (size_t i = 0; i < len; i++)
		b->data[b->len + i] = (uint8_t)(i * 2654435761u >> 13);
	b->len += len;
}

START_TEST(values_of_many_mebibytes_pass_both_ways)
{
	struct buf request = { 0 }, value = { 0 };
	struct run *r = begin();

	fill(&value, (9u << 20) + 17);
	make_head("put|/|big", &request);
	append(&request, value.data, value.len);
	ck_assert_int_eq(write_pieces(r, &request, 1u << 20), CAIRN_OK);
	ck_assert_int_eq(finish(r, 4096), EXIT_YES);

	r = begin();
	ck_assert_int_eq(write_words(r, "get|/|big"), CAIRN_OK);
	ck_assert_int_eq(finish(r, 1000), EXIT_YES);
	ck_assert_uint_eq(out.len, value.len + 1);
	ck_assert_mem_eq(out.data, value.data, value.len);

	r = begin();
	ck_assert_int_eq(write_words(r, "dump|/"), CAIRN_OK);
	ck_assert_int_eq(finish(r, 100000), EXIT_YES);
	ck_assert_uint_eq(out.len, 8 + 2 * value.len + 1);
	buf_fini(&value);
	buf_fini(&request);
}
END_TEST

START_TEST(a_command_that_wants_no_more_input_says_so)
{
	struct run *r = begin();
	struct buf line = { 0 };
	int err = CAIRN_OK;

	/* The first line is wrong; the rest never ends. */
	ck_assert_int_eq(write_words(r, "load|/"), CAIRN_OK);
	fill(&line, 4096);
	for (size_t i = 0; i < line.len; i++)
		line.data[i] = i % 64 ? 'x' : '\n';
	while (!err)
		err = run_write(r, line.data, line.len);
	ck_assert_int_eq(err, CAIRN_EINVAL);
	ck_assert_int_eq(finish(r, 4096), EXIT_DAMAGE);
	ck_assert_ptr_nonnull(strstr(complained(), "line 1"));
	buf_fini(&line);
}
END_TEST

/* --------------------------------------------------------- closing early */

static size_t count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	size_t n = 0;

	ck_assert_ptr_nonnull(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

START_TEST(a_request_that_breaks_off_changes_nothing)
{
	static const char *const words[] = { "put|/|k", "put|/|k|-",
					     "put|--sync|/|k", "load|/" };
	struct buf large = { 0 };

	fill(&large, 3u << 20);
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		struct run *r = begin();

		ck_assert_int_eq(write_words(r, words[i]), CAIRN_OK);
		/* A whole line, and half a one. */
		ck_assert_int_eq(run_write(r, "61\t62", 5), CAIRN_OK);
		run_close(r);
		r = begin();
		ck_assert_int_eq(write_words(r, "put|/|k"), CAIRN_OK);
		ck_assert_int_eq(run_write(r, large.data, large.len), CAIRN_OK);
		run_close(r);
		ck_assert_int_eq(say("ls|/", ""), EXIT_NO);
	}
	ck_assert_int_eq(mvcc_current(m), 1);
	buf_fini(&large);
}
END_TEST

/* Keys enough for an answer that no pipe holds. */
static void put_many(int n)
{
	struct mvcc_txn *t;

	ck_assert_int_eq(mvcc_txn_new(m, &t), CAIRN_OK);
	for (int i = 0; i < n; i++) {
		char key[80];

		snprintf(key, sizeof(key), "%060d", i);
		ck_assert_int_eq(mvcc_txn_put(t, slice_str(key),
					      slice_str("value"), NULL),
				 CAIRN_OK);
	}
	ck_assert_int_eq(mvcc_txn_commit(t, false, NULL), CAIRN_OK);
	mvcc_txn_free(t);
}

START_TEST(closing_ends_a_command_that_is_answering)
{
	size_t before = count_fds();

	put_many(20000);
	for (size_t piece = 0; piece < 100000; piece = 10 * piece + 1) {
		struct run *r = begin();
		uint8_t *part = malloc(piece + 1);
		size_t got = 0;

		ck_assert_ptr_nonnull(part);
		ck_assert_int_eq(write_words(r, "ls|/"), CAIRN_OK);
		if (piece)
			ck_assert_int_eq(run_read(r, part, piece, &got),
					 CAIRN_OK);
		run_close(r);
		free(part);
	}
	ck_assert_uint_eq(count_fds(), before);
}
END_TEST

START_TEST(closing_at_any_time_leaves_nothing_behind)
{
	static const char *const words[] = {
		"ls|/",      "dump|/",          "stats|/",
		"put|/|k|v", "del|--prefix||/", "ls|--count|/",
		"get|/|k"
	};
	size_t before = count_fds();

	put_many(1000);
	for (int i = 0; i < 300; i++) {
		struct run *r = begin();

		ck_assert_int_eq(
			write_words(r, words[(size_t)i % (sizeof(words) /
							  sizeof(words[0]))]),
			CAIRN_OK);
		run_close(r);
	}
	run_close(begin());
	run_close(NULL);
	ck_assert_uint_eq(count_fds(), before);
}
END_TEST

/* ---------------------------------------------------------- many at once */

static void *talker(void *arg)
{
	const char *key = arg;
	char words[64];

	for (int i = 0; i < 50; i++) {
		struct run *r;
		uint8_t part[512];
		size_t got = 1, all = 0;

		snprintf(words, sizeof(words), i % 2 ? "get|/|%s" : "put|/|%s",
			 key);
		if (run_open(m, "/db", NULL, &r))
			return arg;
		if (write_words(r, words) ||
		    (i % 2 == 0 && run_write(r, "v", 1)))
			return arg;
		while (got) {
			if (run_read(r, part, sizeof(part), &got))
				return arg;
			all += got;
		}
		run_close(r);
		/* 'x' and 0, and the value in between. */
		if (all != (i % 2 ? 12 : 6))
			return arg;
	}
	return NULL;
}

START_TEST(closing_ends_a_watch_that_has_nothing_to_say)
{
	struct run *r = begin();
	uint8_t frame[256];
	size_t got;

	ck_assert_int_eq(say("put|/|k|v", ""), EXIT_YES);
	ck_assert_int_eq(write_words(r, "watch|--from-rev|1|/"), CAIRN_OK);
	/* What there is comes at once, not when a buffer is full. */
	ck_assert_int_eq(run_read(r, frame, sizeof(frame), &got), CAIRN_OK);
	ck_assert_uint_gt(got, 0);
	run_close(r);
}
END_TEST

/* More than is remembered of the log: the two states are walked instead. */
START_TEST(a_large_difference_is_told_like_a_small_one)
{
	enum { N = 70000 };
	const char *line;
	struct mvcc_txn *t;
	char key[32];

	ck_assert_int_eq(mvcc_txn_new(m, &t), CAIRN_OK);
	for (int i = 0; i < N; i++) {
		snprintf(key, sizeof(key), "k%05d", i);
		ck_assert_int_eq(
			mvcc_txn_put(t, slice_str(key), slice_str(""), NULL),
			CAIRN_OK);
	}
	ck_assert_int_eq(mvcc_txn_commit(t, false, NULL), CAIRN_OK);
	mvcc_txn_free(t);
	ck_assert_int_eq(say("put|/|k00007|x", ""), EXIT_YES);
	ck_assert_int_eq(say("del|/|k00008", ""), EXIT_YES);
	ck_assert_int_eq(say("put|/|l|x", ""), EXIT_YES);
	ck_assert_int_eq(say("diff|/|2|5", ""), EXIT_YES);
	ck_assert_str_eq(said(), "changed k00007\ndeleted k00008\nadded l\n");
	ck_assert_int_eq(say("diff|/|1|5", ""), EXIT_YES);
	line = said();
	for (int i = 0; i < N; i++) {
		if (i == 8)
			continue;
		snprintf(key, sizeof(key), "added k%05d\n", i);
		ck_assert(!strncmp(line, key, strlen(key)));
		line += strlen(key);
	}
	ck_assert_str_eq(line, "added l\n");
	ck_assert_int_eq(say("diff|/|5|1", ""), EXIT_YES);
	ck_assert(!strncmp(said(), "deleted k00000\n", 15));
}
END_TEST

START_TEST(conversations_run_side_by_side)
{
	static char keys[4][2] = { "a", "b", "c", "d" };
	pthread_t threads[4];

	for (size_t i = 0; i < 4; i++)
		ck_assert_int_eq(
			pthread_create(&threads[i], NULL, talker, keys[i]), 0);
	for (size_t i = 0; i < 4; i++) {
		void *failed;

		pthread_join(threads[i], &failed);
		ck_assert_ptr_null(failed);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("run");
	TCase *t = tcase_create("run");

	signal(SIGPIPE, SIG_IGN);
	tcase_set_timeout(t, 120);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, every_command_works_and_fails_as_in_the_shell);
	tcase_add_test(t, every_command_explains_itself);
	tcase_add_test(t, a_request_may_come_in_pieces_of_any_size);
	tcase_add_loop_test(
		t, a_malformed_request_is_refused_and_ends_the_conversation, 0,
		sizeof(bad) / sizeof(bad[0]));
	tcase_add_test(t, nothing_is_answered_before_the_request_is_complete);
	tcase_add_test(t, nothing_is_taken_after_the_first_read);
	tcase_add_test(t, arguments_may_be_many_and_long);
	tcase_add_test(t, endless_arguments_are_refused);
	tcase_add_test(t, values_of_many_mebibytes_pass_both_ways);
	tcase_add_test(t, a_command_that_wants_no_more_input_says_so);
	tcase_add_test(t, a_request_that_breaks_off_changes_nothing);
	tcase_add_test(t, closing_ends_a_command_that_is_answering);
	tcase_add_test(t, closing_at_any_time_leaves_nothing_behind);
	tcase_add_test(t, closing_ends_a_watch_that_has_nothing_to_say);
	tcase_add_test(t, a_large_difference_is_told_like_a_small_one);
	tcase_add_test(t, conversations_run_side_by_side);
	suite_add_tcase(s, t);
	return run_suite(s);
}
