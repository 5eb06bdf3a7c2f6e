/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Transactions as text. What is read is written down again in one notation, and
 * that is compared: key and end in <>, as escaped text.
 */
#include "fs/cmd/txn_text.h"

#include <inttypes.h>
#include <string.h>

#include "engine/base/rng.h"
#include "fs/text/keytext.h"
#include "tests/support/runner.h"

static const struct cmd_key_opts escaped = { 0 };
static const struct cmd_key_opts raw = { .raw = true };
static const struct cmd_key_opts hex = { .hex = true };

static void add(struct buf *out, const char *text)
{
	ck_assert_int_eq(buf_append(out, text, strlen(text)), CAIRN_OK);
}

static void add_bytes(struct buf *out, struct cairn_slice s)
{
	add(out, "<");
	ck_assert_int_eq(keytext_escape(s, out), CAIRN_OK);
	add(out, ">");
}

static void add_number(struct buf *out, const char *name, int64_t v)
{
	if (v)
		ck_assert_int_eq(buf_printf(out, " %s %" PRId64, name, v),
				 CAIRN_OK);
}

static void add_flag(struct buf *out, const char *name, bool yes)
{
	if (yes)
		add(out, name);
}

static void add_compare(struct buf *out, const struct mvcc_compare *c)
{
	static const char *const targets[] = { "version", "create", "mod",
					       "value", "lease" };
	static const char *const results[] = { "=", ">", "<", "!=" };

	add(out, "if ");
	add(out, targets[c->target]);
	add_bytes(out, c->key);
	add(out, results[c->result]);
	if (c->target == MVCC_COMPARE_VALUE)
		add_bytes(out, c->value);
	else
		ck_assert_int_eq(buf_printf(out, "%" PRId64, c->number),
				 CAIRN_OK);
	add(out, ";");
}

static void add_keys(struct buf *out, struct cairn_slice key,
		     struct cairn_slice end)
{
	add_bytes(out, key);
	if (end.len)
		add_bytes(out, end);
}

static void add_op(struct buf *out, const struct mvcc_request *r)
{
	if (r->kind == MVCC_REQUEST_RANGE) {
		add(out, "get");
		add_keys(out, r->range.key, r->range.end);
		add_number(out, "limit", r->range.limit);
		add_number(out, "rev", r->range.rev);
		add_number(out, "order", r->range.order);
		add_number(out, "by", r->range.target);
		add_flag(out, " keys", r->range.keys_only);
		add_flag(out, " count", r->range.count_only);
	} else if (r->kind == MVCC_REQUEST_PUT) {
		add(out, "put");
		add_keys(out, r->put.key, r->put.value);
		add_number(out, "lease", r->put.lease);
		add_flag(out, " prev", r->put.prev);
		add_flag(out, " keep-value", r->put.ignore_value);
		add_flag(out, " keep-lease", r->put.ignore_lease);
	} else {
		ck_assert_int_eq(r->kind, MVCC_REQUEST_DELETE);
		add(out, "del");
		add_keys(out, r->del.key, r->del.end);
		add_flag(out, " prev", r->del.prev);
	}
	add(out, ";");
}

static void render(const struct txn_text *t, struct buf *out)
{
	const struct mvcc_txn_request *q = &t->txn;

	for (size_t i = 0; i < q->n_compares; i++)
		add_compare(out, &q->compares[i]);
	for (size_t i = 0; i < q->n_success; i++)
		add_op(out, &q->success[i]);
	add(out, "|");
	for (size_t i = 0; i < q->n_failure; i++)
		add_op(out, &q->failure[i]);
	ck_assert_int_eq(buf_append(out, "", 1), CAIRN_OK);
}

/* ---------------------------------------------------------------- examples */

static const struct {
	const struct cmd_key_opts *keys;
	const char *text;
	const char *read;
} good[] = {
	/* Lists and lines. */
	{ &escaped, "\n", "|" },
	{ &escaped, "\n\n\n", "|" },
	{ &escaped, "mod(\"k\") = \"0\"\n\nput k v\n\nget k\n\n",
	  "if mod<k>=0;put<k><v>;|get<k>;" },
	{ &escaped, "\nput k v", "put<k><v>;|" },
	{ &escaped, "\n\nget k", "|get<k>;" },
	{ &escaped, "m(\"k\") = \"0\"", "if mod<k>=0;|" },
	{ &escaped, " \t\r\n  put \t k  v \r\n\n\n \n\r\n", "put<k><v>;|" },
	{ &escaped, "\nput a 1\nput b 2\n\ndel a\ndel b\n",
	  "put<a><1>;put<b><2>;|del<a>;del<b>;" },
	/* Compares. */
	{ &escaped,
	  "ver(\"a\") = \"1\"\nversion(\"b\") != \"2\"\nc(\"c\") < \"3\"\n"
	  "create(\"d\") > \"4\"\nm(\"e\") = \"5\"\nmod(\"f\") = \"6\"\n"
	  "val(\"g\") = \"7\"\nvalue(\"h\") > \"8\"\nlease(\"i\") = \"9f\"",
	  "if version<a>=1;if version<b>!=2;if create<c><3;if create<d>>4;"
	  "if mod<e>=5;if mod<f>=6;if value<g>=<7>;if value<h>><8>;"
	  "if lease<i>=159;|" },
	{ &escaped, "mod(\"k\")=0\nmod( 'k' ) <-5\nlease(`k`)=0",
	  "if mod<k>=0;if mod<k><-5;if lease<k>=0;|" },
	{ &escaped, "value(\"k\") = \"\"\nvalue(\"k\")!=`\"\\n`",
	  "if value<k>=<>;if value<k>!=<\"\\n>;|" },
	{ &escaped, "mod(\")(\") = \"1\"", "if mod<)(>=1;|" },
	{ &escaped, "mod(\"k\") = \"9223372036854775807\"",
	  "if mod<k>=9223372036854775807;|" },
	/* Words. */
	{ &escaped,
	  "\nput a \"b c\"\nput a 'b \"\\n'\nput a it's\nput a b\"c\"",
	  "put<a><b c>;put<a><b \"\\n>;put<a><it's>;put<a><b\"c\">;|" },
	{ &escaped,
	  "\nput a \"\\a\\b\\f\\n\\r\\t\\v\\\\\\\"\\x00\\xfF\\101\\u00fc"
	  "\\u20AC\\U0001F600\"",
	  "put<a><%07%08%0C%0A%0D%09%0B\\\"%00%FFA\u00fc\u20ac\U0001f600>;|" },
	{ &escaped,
	  "\nput a \"\"\nput a ''\nput a '--prev-kv'\nput a -\n"
	  "put -- a --prev-kv\nput a -- -5",
	  "put<a>;put<a>;put<a><--prev-kv>;put<a><->;put<a><--prev-kv>;"
	  "put<a><-5>;|" },
	/* Keys as in arguments; values as they are. */
	{ &escaped, "\nput a%00%25 a%00", "put<a%00%25><a%2500>;|" },
	{ &raw, "\nput a%00 a%00\nput \"a\\x00\" b\nget 100%",
	  "put<a%2500><a%2500>;put<a%00><b>;get<100%25>;|" },
	{ &hex, "mod(\"6100\") = 1\n\nput 0x6162 6162\nget --prefix 61",
	  "if mod<a%00>=1;put<ab><6162>;get<a><b>;|" },
	/* Ranges. */
	{ &escaped,
	  "\nget a b\nget --prefix a\nget a --prefix\nget --prefix \"\"\n"
	  "get --from-key a\nget --from-key ''\nget --prefix %FF%FF\nget a ''",
	  "get<a><b>;get<a><b>;get<a><b>;get<%00><%00>;get<a><%00>;"
	  "get<%00><%00>;get<%FF%FF><%00>;get<a>;|" },
	{ &escaped,
	  "\ndel a b\ndel --prefix az%FF\ndel a --from-key\ndel k "
	  "--prev-kv",
	  "del<a><b>;del<az%FF><a{>;del<a><%00>;del<k> prev;|" },
	{ &escaped,
	  "\nget k --limit 5 --rev=7 --keys-only --count-only\n"
	  "get k --order ascend --sort-by=version\n"
	  "get k --order=DESCEND --sort-by KEY\nget k --sort-by CREATE\n"
	  "get k --sort-by Modify\nget k --sort-by \"VALUE\"",
	  "get<k> limit 5 rev 7 keys count;get<k> order 1 by 1;"
	  "get<k> order 2;get<k> by 2;get<k> by 3;get<k> by 4;|" },
	{ &escaped,
	  "\nput k v --lease 7fFF\nput --lease=1 --prev-kv k v\n"
	  "put k --ignore-value\nput k v --ignore-lease\nput k v --lease=0",
	  "put<k><v> lease 32767;put<k><v> lease 1 prev;put<k> keep-value;"
	  "put<k><v> keep-lease;put<k><v>;|" },
};

START_TEST(a_text_is_read_as_etcdctl_reads_it)
{
	struct buf got = { 0 };
	struct txn_text t;
	int err = txn_text_parse(good[_i].keys, slice_str(good[_i].text), &t);

	ck_assert_msg(!err, "%s: %s", good[_i].text, cairn_errmsg());
	render(&t, &got);
	ck_assert_str_eq((char *)got.data, good[_i].read);
	ck_assert_int_eq(t.writes, strstr(good[_i].read, "put<") ||
					   strstr(good[_i].read, "del<"));
	ck_assert_int_eq(t.puts, strstr(good[_i].read, "put<") != NULL);
	buf_fini(&got);
	txn_text_free(&t);
	txn_text_free(&t);
}
END_TEST

static const struct {
	const struct cmd_key_opts *keys;
	const char *text;
	const char *why; /* how it begins */
} wrong[] = {
	{ &escaped, "", "line 1, column 1: there is nothing" },
	/* Compares. */
	{ &escaped, "k = 1", "line 1, column 1: not a compare" },
	{ &escaped, "  put k v", "line 1, column 3: not a compare" },
	{ &escaped, "modd(\"k\") = 1", "line 1, column 1: what is compared" },
	{ &escaped, "(\"k\") = 1", "line 1, column 1: what is compared" },
	{ &escaped, "mod(k) = 1", "line 1, column 5: a key in quotes" },
	{ &escaped, "mod(", "line 1, column 5: a key in quotes" },
	{ &escaped, "mod(\"k = 1", "line 1, column 5: the string is not clo" },
	{ &escaped, "mod(`k\"", "line 1, column 5: the string is not closed" },
	{ &escaped, "mod(\"\") = 1", "line 1, column 5: the key is empty" },
	{ &escaped, "mod(\"%\") = 1", "line 1, column 5: %: % must be follow" },
	{ &escaped, "mod(\"\\x00\") = 1", "line 1, column 5: a NUL in a key" },
	{ &hex, "mod(\"616\") = 1", "line 1, column 5: 616: not pairs of hex" },
	{ &escaped, "mod(\"k\"", "line 1, column 8: a ) is missing" },
	{ &escaped, "mod(\"k\", \"l\") = 1", "line 1, column 8: a ) is miss" },
	{ &escaped, "mod(\"k\")", "line 1, column 9: =, !=, < or > is" },
	{ &escaped, "mod(\"k\") \"1\"", "line 1, column 10: =, !=, < or >" },
	{ &escaped, "mod(\"k\") ! 1", "line 1, column 10: =, !=, < or >" },
	{ &escaped, "mod(\"k\") == 1", "line 1, column 11: = 1: not a numb" },
	{ &escaped, "mod(\"k\") =", "line 1, column 11: a number is missing" },
	{ &escaped, "mod(\"k\") = \"\"", "line 1, column 12: : not a number" },
	{ &escaped, "mod(\"k\") = 1x", "line 1, column 12: 1x: not a number" },
	{ &escaped, "mod(\"k\") = 9223372036854775808",
	  "line 1, column 12: 9223372036854775808: not a number" },
	{ &escaped, "mod(\"k\") = \"1\" x", "line 1, column 15: nothing may" },
	{ &escaped, "val(\"k\") = v", "line 1, column 12: a value in quotes" },
	{ &escaped, "lease(\"k\") = 1x", "line 1, column 14: 1x: not a lease" },
	{ &escaped, "lease(\"k\") = 8000000000000000",
	  "line 1, column 14: 8000000000000000: not a lease" },
	/* Words. */
	{ &escaped, "\nfrob k", "line 2, column 1: frob: not one of get, put" },
	{ &escaped, "\nput k \"v", "line 2, column 7: the string is not clo" },
	{ &escaped, "\nput k \"v\\", "line 2, column 9: no such escape" },
	{ &escaped, "\nput k \"\\q\"", "line 2, column 8: no such escape" },
	{ &escaped, "\nput k \"\\'\"", "line 2, column 8: no such escape" },
	{ &escaped, "\nput k \"\\x1\"", "line 2, column 8: no such escape" },
	{ &escaped, "\nput k \"\\400\"", "line 2, column 8: no such escape" },
	{ &escaped, "\nput k \"\\ud800\"", "line 2, column 8: no such escap" },
	{ &escaped, "\nput k \"\\U00110000\"", "line 2, column 8: no such es" },
	{ &escaped, "\nput k 'v",
	  "line 2, column 7: the string is not closed" },
	{ &escaped, "\nput \"k\"v", "line 2, column 8: a blank is missing" },
	{ &escaped, "\nput k v w", "line 2, column 9: w: too many operands" },
	/* Options. */
	{ &escaped, "\nget k --prefx",
	  "line 2, column 7: --prefx: no such "
	  "option; did you mean --prefix?" },
	{ &escaped, "\nput k v --prefix",
	  "line 2, column 9: --prefix: no suc" },
	{ &escaped, "\nput k -5", "line 2, column 7: -5: no such option; wha" },
	{ &escaped, "\nget k --limit", "line 2, column 7: --limit: its arg" },
	{ &escaped, "\nget k --limit x", "line 2, column 15: x: not a number" },
	{ &escaped, "\nget k --limit=-1", "line 2, column 15: -1: not a num" },
	{ &escaped, "\nget k --rev=", "line 2, column 13: : not a number" },
	{ &escaped, "\nget k --prefix=true", "line 2, column 7: --prefix=tru" },
	{ &escaped, "\nget k --order up", "line 2, column 15: up: not one of" },
	{ &escaped, "\nget k --sort-by x", "line 2, column 17: x: not one of" },
	{ &escaped, "\nput k v --lease x", "line 2, column 17: x: not a leas" },
	/* What is missing or does not go together. */
	{ &escaped, "\nget", "line 2, column 4: the key is missing" },
	{ &escaped, "\nput k", "line 2, column 6: the value is missing" },
	{ &escaped, "\nput '' v", "line 2, column 5: the key is empty" },
	{ &escaped, "\nget ''", "line 2, column 5: the key is empty" },
	{ &escaped, "\ndel '' b", "line 2, column 5: the key is empty" },
	{ &escaped, "\nget %4", "line 2, column 5: %4: % must be followed" },
	{ &escaped, "\nget a b --prefix", "line 2, column 7: b: --prefix and" },
	{ &escaped, "\nget a --prefix --from-key", "line 2, column 1: --pref" },
	{ &escaped, "\nput k v --ignore-value", "line 2, column 7: v: a val" },
	{ &escaped, "\nput k v --ignore-lease --lease=1",
	  "line 2, column 1: --lease and --ignore-lease exclude" },
	{ &escaped, "\n\n\nget k", "line 4, column 1: nothing may follow" },
	{ &escaped, "\nput k v\n\n\n\n get k", "line 6, column 2: nothing ma" },
	{ &escaped, "\n\nget \x1b[31m\x01 b c", "line 3, column 14: c: too m" },
	{ &escaped, "\n\nget k --\x1b[31m", "line 3, column 7: --%1B[31m: no" },
};

START_TEST(what_is_malformed_is_named_by_line_and_column)
{
	struct txn_text t;
	int err = txn_text_parse(wrong[_i].keys, slice_str(wrong[_i].text), &t);

	ck_assert_msg(err == CAIRN_EINVAL, "%s: %d", wrong[_i].text, err);
	ck_assert_msg(
		!strncmp(cairn_errmsg(), wrong[_i].why, strlen(wrong[_i].why)),
		"%s: %s", wrong[_i].text, cairn_errmsg());
	ck_assert_ptr_null(t.compares);
	ck_assert_ptr_null(t.owned);
}
END_TEST

/* ------------------------------------------------------------------ limits */

static void repeat(struct buf *out, const char *line, unsigned n)
{
	while (n--)
		add(out, line);
}

START_TEST(a_list_has_128_lines_at_most)
{
	static const char *const parts[] = { "mod(\"k\") = 1\n", "get k\n",
					     "get k\n" };

	for (int list = 0; list < 3; list++)
		for (unsigned n = 128; n <= 129; n++) {
			struct buf text = { 0 };
			struct txn_text t;
			int err;

			repeat(&text, "\n", (unsigned)list);
			repeat(&text, parts[list], n);
			err = txn_text_parse(&escaped, buf_slice(&text), &t);
			buf_fini(&text);
			ck_assert_int_eq(err,
					 n == 128 ? CAIRN_OK : CAIRN_EINVAL);
			txn_text_free(&t);
		}
}
END_TEST

START_TEST(a_key_may_be_as_long_as_a_key_can_be)
{
	for (unsigned n = MVCC_KEY_MAX; n <= MVCC_KEY_MAX + 1; n++) {
		struct buf text = { 0 };
		struct txn_text t;
		int err;

		add(&text, "\nget ");
		repeat(&text, "k", n);
		err = txn_text_parse(&escaped, buf_slice(&text), &t);
		buf_fini(&text);
		ck_assert_int_eq(err,
				 n == MVCC_KEY_MAX ? CAIRN_OK : CAIRN_EINVAL);
		if (err)
			ck_assert_ptr_nonnull(strstr(
				cairn_errmsg(), "line 2, column 5: the key "
						"has 16385 bytes"));
		txn_text_free(&t);
	}
}
END_TEST

/* Of any bytes at all: reading ends, with an answer that can be freed. */
static void try_bytes(const uint8_t *bytes, size_t len)
{
	/* Of the length exactly, so that reading behind it is seen. */
	uint8_t *copy = malloc(len ? len : 1);
	struct txn_text t;
	int err;

	ck_assert_ptr_nonnull(copy);
	memcpy(copy, bytes, len);
	err = txn_text_parse(&escaped, slice_of(copy, len), &t);
	ck_assert(err == CAIRN_OK || err == CAIRN_EINVAL);
	if (err)
		ck_assert(!strncmp(cairn_errmsg(), "line ", 5));
	txn_text_free(&t);
	free(copy);
}

START_TEST(any_bytes_are_read_or_refused)
{
	static const char marks[] = "\"'`\\()=!<>-% \n\r\t";
	struct rng rng;
	uint8_t bytes[512];

	rng_init(&rng, 7);
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		size_t len = strlen(good[i].text);

		ck_assert_uint_lt(len, sizeof(bytes));
		for (size_t cut = 0; cut <= len; cut++)
			try_bytes((const uint8_t *)good[i].text, cut);
		for (size_t at = 0; at < len; at++) {
			memcpy(bytes, good[i].text, len);
			for (unsigned bit = 0; bit < 8; bit++) {
				bytes[at] = (uint8_t)good[i].text[at] ^
					    (uint8_t)(1u << bit);
				try_bytes(bytes, len);
			}
			for (const char *m = marks; *m; m++) {
				bytes[at] = (uint8_t)*m;
				try_bytes(bytes, len);
			}
		}
		for (int n = 0; n < 200; n++) {
			memcpy(bytes, good[i].text, len);
			for (int k = 0; k < 4; k++)
				bytes[rng_below(&rng, len)] = (uint8_t)
					marks[rng_below(&rng, sizeof(marks))];
			try_bytes(bytes, len);
		}
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("txn_text");
	TCase *t = tcase_create("txn_text");

	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, a_text_is_read_as_etcdctl_reads_it, 0,
			    (int)(sizeof(good) / sizeof(good[0])));
	tcase_add_loop_test(t, what_is_malformed_is_named_by_line_and_column, 0,
			    (int)(sizeof(wrong) / sizeof(wrong[0])));
	tcase_add_test(t, a_list_has_128_lines_at_most);
	tcase_add_test(t, a_key_may_be_as_long_as_a_key_can_be);
	tcase_add_test(t, any_bytes_are_read_or_refused);
	suite_add_tcase(s, t);
	return run_suite(s);
}
