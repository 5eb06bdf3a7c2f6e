/* SPDX-License-Identifier: BSD-3-Clause */
#include "fs/cmd/txn_text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "engine/base/error.h"
#include "engine/base/nearest.h"
#include "fs/cmd/txn_words.h"

/* ------------------------------------------------------- keys and numbers */

static bool has_nul(struct cairn_slice s)
{
	return s.len && memchr(s.data, 0, s.len);
}

static int read_key(struct txn_parse *p, const struct txn_word *w,
		    struct cairn_slice *key)
{
	struct buf b = { 0 };
	uint8_t *bytes;
	int err;

	if (p->keys->raw && !p->keys->hex && !p->keys->path) {
		err = buf_append(&b, w->text.data, w->text.len);
	} else if (has_nul(w->text)) {
		err = error_set(CAIRN_EINVAL,
				"a NUL in a key: %%00 stands for it");
	} else {
		err = cmd_key_read(p->keys, (const char *)w->text.data, &b);
	}
	if (!err && b.len > MVCC_KEY_MAX)
		err = error_set(CAIRN_EINVAL,
				"the key has %zu bytes, over the limit of %u",
				b.len, MVCC_KEY_MAX);
	if (err) {
		buf_fini(&b);
		return txn_bad_because(p, w->at, err);
	}
	bytes = txn_own(p, b.len);
	if (bytes && b.len)
		memcpy(bytes, b.data, b.len);
	*key = slice_of(bytes, b.len);
	buf_fini(&b);
	return bytes ? CAIRN_OK : error_nomem();
}

static int read_number(struct txn_parse *p, const struct txn_word *w,
		       bool negative, int64_t *out)
{
	const char *text = (const char *)w->text.data;
	const char *digits = text + (negative && *text == '-');
	char *end;

	errno = 0;
	*out = strtoll(text, &end, 10);
	if (*digits < '0' || *digits > '9' || errno ||
	    end != text + w->text.len)
		return txn_bad_word(p, w, "not a number");
	return CAIRN_OK;
}

static int read_lease(struct txn_parse *p, const struct txn_word *w,
		      int64_t *id)
{
	const char *text = (const char *)w->text.data;
	unsigned long long v;

	errno = 0;
	v = strtoull(text, NULL, 16);
	if (!w->text.len || errno || v > INT64_MAX ||
	    strspn(text, "0123456789abcdefABCDEF") != w->text.len)
		return txn_bad_word(p, w, "not a lease: 1 to 16 hex digits");
	*id = (int64_t)v;
	return CAIRN_OK;
}

/* ---------------------------------------------------------------- compares */

static const struct {
	const char *name;
	enum mvcc_compare_target target;
} targets[] = {
	{ "version", MVCC_COMPARE_VERSION }, { "ver", MVCC_COMPARE_VERSION },
	{ "create", MVCC_COMPARE_CREATE },   { "c", MVCC_COMPARE_CREATE },
	{ "mod", MVCC_COMPARE_MOD },         { "m", MVCC_COMPARE_MOD },
	{ "value", MVCC_COMPARE_VALUE },     { "val", MVCC_COMPARE_VALUE },
	{ "lease", MVCC_COMPARE_LEASE },
};

static int take_target(struct txn_parse *p, struct mvcc_compare *c)
{
	size_t at = p->at;
	const uint8_t *open = memchr(p->p + at, '(', p->len - at);
	struct cairn_slice name;

	if (!open)
		return txn_bad(
			p, at,
			"not a compare, which is as mod(\"key\") = \"3\"");
	name = slice_of(p->p + at, (size_t)(open - p->p) - at);
	while (name.len && txn_is_blank(name.data[name.len - 1]))
		name.len--;
	p->at = (size_t)(open - p->p) + 1;
	for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
		if (!slice_eq(name, slice_str(targets[i].name)))
			continue;
		c->target = targets[i].target;
		return CAIRN_OK;
	}
	return txn_bad(
		p, at,
		"what is compared is version, create, mod, value or lease");
}

static int take_operator(struct txn_parse *p, struct mvcc_compare *c)
{
	size_t at = p->at, left;

	txn_skip_blanks(p);
	left = p->len - p->at;
	if (left >= 2 && p->p[p->at] == '!' && p->p[p->at + 1] == '=') {
		c->result = MVCC_COMPARE_NOT_EQUAL;
		p->at += 2;
		return CAIRN_OK;
	}
	if (left && p->p[p->at] == '=')
		c->result = MVCC_COMPARE_EQUAL;
	else if (left && p->p[p->at] == '<')
		c->result = MVCC_COMPARE_LESS;
	else if (left && p->p[p->at] == '>')
		c->result = MVCC_COMPARE_GREATER;
	else
		return txn_bad(p, left ? p->at : at,
			       "=, !=, < or > is missing");
	p->at++;
	return CAIRN_OK;
}

/* What is compared with. */
static int take_operand(struct txn_parse *p, struct mvcc_compare *c)
{
	struct txn_word w;
	int err;

	txn_skip_blanks(p);
	err = txn_take_string(p, true, &w);
	if (err == CAIRN_NOT_FOUND && c->target == MVCC_COMPARE_VALUE)
		return txn_bad(p, p->at, "a value in quotes is missing");
	if (err == CAIRN_NOT_FOUND && p->at == p->len)
		return txn_bad(p, p->at, "a number is missing");
	if (err == CAIRN_NOT_FOUND) {
		err = txn_take_until(p, p->len, &w);
		p->at = p->len;
	}
	if (err)
		return err;
	if (p->at != p->len)
		return txn_bad(p, p->at, "nothing may follow a compare");
	if (c->target == MVCC_COMPARE_VALUE)
		c->value = w.text;
	else if (c->target == MVCC_COMPARE_LEASE)
		return read_lease(p, &w, &c->number);
	else
		return read_number(p, &w, true, &c->number);
	return CAIRN_OK;
}

static int parse_compare(struct txn_parse *p, size_t i)
{
	struct mvcc_compare *c = &p->out->compares[i];
	struct txn_word w = { 0 };
	int err = take_target(p, c);

	if (err)
		return err;
	txn_skip_blanks(p);
	err = txn_take_string(p, true, &w);
	if (err == CAIRN_NOT_FOUND)
		return txn_bad(p, p->at, "a key in quotes is missing");
	if (!err)
		err = read_key(p, &w, &c->key);
	if (!err && !c->key.len)
		return txn_bad(p, w.at, "the key is empty");
	if (err)
		return err;
	txn_skip_blanks(p);
	if (p->at == p->len || p->p[p->at] != ')')
		return txn_bad(p, p->at, "a ) is missing behind the key");
	p->at++;
	err = take_operator(p, c);
	if (!err)
		err = take_operand(p, c);
	p->out->txn.n_compares = i + 1;
	return err;
}

/* --------------------------------------------------------------------- ops */

struct op {
	struct mvcc_request *r;
	bool prefix;
	bool from_key;
	struct txn_word operands[2];
	size_t n_operands;
};

enum op_option {
	OP_PREFIX,
	OP_FROM_KEY,
	OP_PREV_KV,
	OP_KEYS_ONLY,
	OP_COUNT_ONLY,
	OP_IGNORE_VALUE,
	OP_IGNORE_LEASE,
	OP_LAST_FLAG = OP_IGNORE_LEASE,
	OP_LIMIT,
	OP_REV,
	OP_ORDER,
	OP_SORT_BY,
	OP_LEASE,
};

#define OF(kind) (1u << (kind))

static const struct {
	const char *name;
	enum op_option option;
	unsigned kinds; /* of requests that have it */
} options[] = {
	{ "prefix", OP_PREFIX,
	  OF(MVCC_REQUEST_RANGE) | OF(MVCC_REQUEST_DELETE) },
	{ "from-key", OP_FROM_KEY,
	  OF(MVCC_REQUEST_RANGE) | OF(MVCC_REQUEST_DELETE) },
	{ "prev-kv", OP_PREV_KV,
	  OF(MVCC_REQUEST_PUT) | OF(MVCC_REQUEST_DELETE) },
	{ "keys-only", OP_KEYS_ONLY, OF(MVCC_REQUEST_RANGE) },
	{ "count-only", OP_COUNT_ONLY, OF(MVCC_REQUEST_RANGE) },
	{ "ignore-value", OP_IGNORE_VALUE, OF(MVCC_REQUEST_PUT) },
	{ "ignore-lease", OP_IGNORE_LEASE, OF(MVCC_REQUEST_PUT) },
	{ "limit", OP_LIMIT, OF(MVCC_REQUEST_RANGE) },
	{ "rev", OP_REV, OF(MVCC_REQUEST_RANGE) },
	{ "order", OP_ORDER, OF(MVCC_REQUEST_RANGE) },
	{ "sort-by", OP_SORT_BY, OF(MVCC_REQUEST_RANGE) },
	{ "lease", OP_LEASE, OF(MVCC_REQUEST_PUT) },
};

#define N_OPTIONS (sizeof(options) / sizeof(options[0]))

static void set_flag(struct op *o, enum op_option option)
{
	struct mvcc_request *r = o->r;

	if (option == OP_PREFIX)
		o->prefix = true;
	else if (option == OP_FROM_KEY)
		o->from_key = true;
	else if (option == OP_KEYS_ONLY)
		r->range.keys_only = true;
	else if (option == OP_COUNT_ONLY)
		r->range.count_only = true;
	else if (option == OP_IGNORE_VALUE)
		r->put.ignore_value = true;
	else if (option == OP_IGNORE_LEASE)
		r->put.ignore_lease = true;
	else if (r->kind == MVCC_REQUEST_PUT)
		r->put.prev = true;
	else
		r->del.prev = true;
}

/* The place of w among names; -1 when it is none of them. */
static int one_of(const struct txn_word *w, const char *const *names, int n)
{
	for (int i = 0; i < n; i++)
		if (!strcasecmp((const char *)w->text.data, names[i]))
			return i;
	return -1;
}

static int set_order(struct txn_parse *p, struct op *o,
		     const struct txn_word *w)
{
	static const char *const names[] = { "ASCEND", "DESCEND" };
	int i = one_of(w, names, 2);

	if (i < 0)
		return txn_bad_word(p, w, "not one of ASCEND and DESCEND");
	o->r->range.order = i ? MVCC_SORT_DESCEND : MVCC_SORT_ASCEND;
	return CAIRN_OK;
}

/* In the order of enum mvcc_sort_target. */
static int set_sort(struct txn_parse *p, struct op *o, const struct txn_word *w)
{
	static const char *const names[] = { "KEY", "VERSION", "CREATE",
					     "MODIFY", "VALUE" };
	int i = one_of(w, names, 5);

	if (i < 0)
		return txn_bad_word(
			p, w,
			"not one of KEY, VERSION, CREATE, MODIFY and "
			"VALUE");
	o->r->range.target = (enum mvcc_sort_target)i;
	return CAIRN_OK;
}

static int set_option(struct txn_parse *p, struct op *o, enum op_option option,
		      const struct txn_word *w)
{
	if (option == OP_LIMIT)
		return read_number(p, w, false, &o->r->range.limit);
	if (option == OP_REV)
		return read_number(p, w, false, &o->r->range.rev);
	if (option == OP_ORDER)
		return set_order(p, o, w);
	if (option == OP_SORT_BY)
		return set_sort(p, o, w);
	if (option == OP_LEASE)
		return read_lease(p, w, &o->r->put.lease);
	set_flag(o, option);
	return CAIRN_OK;
}

static int unknown_option(struct txn_parse *p, const struct op *o,
			  const struct txn_word *w)
{
	const char *best = NULL;
	char given[64], why[160];

	snprintf(given, sizeof(given), "%.*s",
		 (int)strcspn((const char *)w->text.data, "="),
		 (const char *)w->text.data);
	for (size_t i = 0; i < N_OPTIONS; i++)
		if (options[i].kinds & OF(o->r->kind))
			nearest_consider(given + strspn(given, "-"),
					 options[i].name, &best);
	if (!best)
		return txn_bad_word(
			p, w, "no such option; what is none is to be quoted");
	snprintf(why, sizeof(why), "no such option; did you mean --%s?", best);
	return txn_bad_word(p, w, why);
}

/* The option w, which begins with '-', and its argument. */
static int parse_option(struct txn_parse *p, struct op *o,
			const struct txn_word *w)
{
	const char *name = (const char *)w->text.data + 2;
	size_t len = w->text.len > 2 ? strcspn(name, "=") : 0, i = 0;
	struct txn_word arg = { .at = w->at + 3 + len };

	if (w->text.data[1] != '-' || has_nul(w->text))
		return unknown_option(p, o, w);
	while (i < N_OPTIONS && (!(options[i].kinds & OF(o->r->kind)) ||
				 strlen(options[i].name) != len ||
				 strncmp(options[i].name, name, len) != 0))
		i++;
	if (i == N_OPTIONS)
		return unknown_option(p, o, w);
	if (name[len] == '=') {
		if (options[i].option <= OP_LAST_FLAG)
			return txn_bad_word(p, w, "takes no argument");
		arg.text = slice_of(name + len + 1, w->text.len - len - 3);
	} else if (options[i].option > OP_LAST_FLAG) {
		int err;

		txn_skip_blanks(p);
		if (p->at == p->len)
			return txn_bad_word(p, w, "its argument is missing");
		err = txn_take_word(p, &arg);
		if (err)
			return err;
	}
	return set_option(p, o, options[i].option, &arg);
}

/* Everything behind the name of an op. */
static int take_rest(struct txn_parse *p, struct op *o)
{
	bool only_operands = false;
	struct txn_word w;
	int err = CAIRN_OK;

	for (txn_skip_blanks(p); !err && p->at < p->len; txn_skip_blanks(p)) {
		err = txn_take_word(p, &w);
		if (err)
			break;
		if (only_operands || w.quoted || w.text.len < 2 ||
		    w.text.data[0] != '-') {
			if (o->n_operands == 2)
				return txn_bad_word(p, &w, "too many operands");
			o->operands[o->n_operands++] = w;
		} else if (slice_eq(w.text, slice_str("--"))) {
			only_operands = true;
		} else {
			err = parse_option(p, o, &w);
		}
	}
	return err;
}

/* The keys that an op other than a put is about. */
static int finish_range(struct txn_parse *p, struct op *o,
			struct cairn_slice *key, struct cairn_slice *end)
{
	bool wide = o->prefix || o->from_key;
	struct cairn_slice upper = { 0 };
	uint8_t *bytes;
	int err;

	if (o->prefix && o->from_key)
		return txn_bad(p, 0,
			       "--prefix and --from-key exclude each other");
	if (wide && o->n_operands == 2)
		return txn_bad_word(p, &o->operands[1],
				    "--prefix and --from-key take one key");
	err = read_key(p, &o->operands[0], key);
	if (!err && !wide && !key->len)
		return txn_bad(p, o->operands[0].at, "the key is empty");
	if (!err && !wide && o->n_operands == 2)
		return read_key(p, &o->operands[1], end);
	if (err || !wide)
		return err;
	if (o->prefix && key->len)
		err = mvcc_prefix_end(*key, &upper);
	if (err)
		return err;
	/* No end is written as one byte 00. */
	bytes = txn_own(p, upper.len + 1);
	if (bytes) {
		bytes[0] = '\0';
		if (upper.len)
			memcpy(bytes, upper.data, upper.len);
		*end = slice_of(bytes, upper.len ? upper.len : 1);
		if (!key->len)
			*key = slice_of(bytes, 1);
	}
	free((void *)(uintptr_t)upper.data);
	return bytes ? CAIRN_OK : error_nomem();
}

static int finish_put(struct txn_parse *p, struct op *o)
{
	struct mvcc_put_request *q = &o->r->put;
	int err = read_key(p, &o->operands[0], &q->key);

	if (err)
		return err;
	if (!q->key.len)
		return txn_bad(p, o->operands[0].at, "the key is empty");
	if (q->ignore_value && o->n_operands == 2)
		return txn_bad_word(p, &o->operands[1],
				    "a value beside --ignore-value");
	if (!q->ignore_value && o->n_operands == 1)
		return txn_bad(p, p->len, "the value is missing");
	if (q->ignore_lease && q->lease)
		return txn_bad(p, 0,
			       "--lease and --ignore-lease exclude each other");
	if (o->n_operands == 2)
		q->value = o->operands[1].text;
	return CAIRN_OK;
}

static int parse_op(struct txn_parse *p, int list, size_t i)
{
	static const char *const names[] = { "get", "put", "del" };
	static const enum mvcc_request_kind kinds[] = { MVCC_REQUEST_RANGE,
							MVCC_REQUEST_PUT,
							MVCC_REQUEST_DELETE };
	struct op o = { .r = &p->out->ops[list][i] };
	struct txn_word w;
	int which, err = txn_take_word(p, &w);

	if (err)
		return err;
	for (which = 0; which < 3; which++)
		if (slice_eq(w.text, slice_str(names[which])))
			break;
	if (which == 3)
		return txn_bad_word(p, &w, "not one of get, put and del");
	*o.r = (struct mvcc_request){ .kind = kinds[which] };
	p->out->writes |= o.r->kind != MVCC_REQUEST_RANGE;
	p->out->puts |= o.r->kind == MVCC_REQUEST_PUT;
	err = take_rest(p, &o);
	if (!err && !o.n_operands)
		err = txn_bad(p, p->len, "the key is missing");
	if (err)
		return err;
	if (o.r->kind == MVCC_REQUEST_PUT)
		return finish_put(p, &o);
	if (o.r->kind == MVCC_REQUEST_RANGE)
		return finish_range(p, &o, &o.r->range.key, &o.r->range.end);
	return finish_range(p, &o, &o.r->del.key, &o.r->del.end);
}

/* ------------------------------------------------------------------- lists */

/* False at the end of the text. */
static bool next_line(struct txn_parse *p)
{
	const uint8_t *newline;
	size_t len = p->left.len;

	if (!len)
		return false;
	newline = memchr(p->left.data, '\n', len);
	p->p = p->left.data;
	p->len = newline ? (size_t)(newline - p->p) : len;
	slice_advance(&p->left, p->len + (newline != NULL));
	p->line++;
	p->at = 0;
	while (p->len && txn_is_blank(p->p[p->len - 1]))
		p->len--;
	txn_skip_blanks(p);
	return true;
}

/* 0: compares, 1: then, 2: else. */
static int parse_list(struct txn_parse *p, int which)
{
	struct txn_text *out = p->out;
	size_t n = 0;
	int err = CAIRN_OK;

	while (!err && next_line(p) && p->len) {
		if (n == MVCC_TXN_OPS_MAX)
			return txn_bad(p, p->at, "over 128 lines in one list");
		err = which ? parse_op(p, which - 1, n) : parse_compare(p, n);
		n++;
	}
	if (which == 1)
		out->txn.n_success = n;
	else if (which == 2)
		out->txn.n_failure = n;
	return err;
}

static int parse_text(struct txn_parse *p)
{
	struct txn_text *out = p->out;
	int err = CAIRN_OK;

	out->compares = calloc(MVCC_TXN_OPS_MAX, sizeof(*out->compares));
	for (int i = 0; i < 2; i++)
		out->ops[i] = calloc(MVCC_TXN_OPS_MAX, sizeof(*out->ops[i]));
	if (!out->compares || !out->ops[0] || !out->ops[1])
		return error_nomem();
	out->txn.compares = out->compares;
	out->txn.success = out->ops[0];
	out->txn.failure = out->ops[1];
	for (int i = 0; i < 3 && !err; i++)
		err = parse_list(p, i);
	while (!err && next_line(p))
		if (p->len)
			err = txn_bad(p, p->at,
				      "nothing may follow the third list");
	return err;
}

int txn_text_parse(const struct cmd_key_opts *keys, struct cairn_slice text,
		   struct txn_text *out)
{
	struct txn_parse p = { .keys = keys, .out = out, .left = text };
	int err;

	*out = (struct txn_text){ 0 };
	if (!text.len)
		return error_set(CAIRN_EINVAL,
				 "line 1, column 1: there is nothing");
	err = parse_text(&p);
	if (err)
		txn_text_free(out);
	return err;
}

void txn_text_free(struct txn_text *t)
{
	txn_free_owned(t);
	free(t->compares);
	free(t->ops[0]);
	free(t->ops[1]);
	*t = (struct txn_text){ 0 };
}
