/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/mvcc/etcd_trace.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void trace_die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fputs("FAIL: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	exit(1);
}

/* ------------------------------------------------------------------ memory */

void *trace_alloc(struct trace_memory *mem, size_t n, size_t size)
{
	void *p = calloc(n + 1, size);

	if (mem->n == mem->cap) {
		mem->cap = mem->cap ? 2 * mem->cap : 16;
		mem->blocks = realloc(mem->blocks, mem->cap * sizeof(void *));
	}
	if (!p || !mem->blocks)
		trace_die("no memory");
	mem->blocks[mem->n++] = p;
	return p;
}

void trace_memory_fini(struct trace_memory *mem)
{
	for (size_t i = 0; i < mem->n; i++)
		free(mem->blocks[i]);
	free(mem->blocks);
	*mem = (struct trace_memory){ 0 };
}

/* ---------------------------------------------------------------- decoding */

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static struct cairn_slice decode(struct trace_memory *mem, const char *text)
{
	uint8_t *out = trace_alloc(mem, strlen(text), 1);
	size_t n = 0;

	for (const char *p = text; *p; p++) {
		int high, low;

		if (*p != '%') {
			out[n++] = (uint8_t)*p;
			continue;
		}
		high = hex_digit(p[1]);
		low = high < 0 ? -1 : hex_digit(p[2]);
		if (low < 0)
			trace_die("no byte string: %s", text);
		out[n++] = (uint8_t)(high << 4 | low);
		p += 2;
	}
	return slice_of(out, n);
}

struct cairn_slice trace_bytes(struct trace_memory *mem, const json_t *q,
			       const char *field)
{
	return decode(mem, trace_text(q, field));
}

int64_t trace_number(const json_t *q, const char *field)
{
	const json_t *v = json_object_get(q, field);

	if (json_is_boolean(v))
		return json_is_true(v);
	if (v && !json_is_integer(v))
		trace_die("%s is no number", field);
	return json_integer_value(v);
}

const char *trace_text(const json_t *q, const char *field)
{
	const json_t *v = json_object_get(q, field);

	if (v && !json_is_string(v))
		trace_die("%s is no string", field);
	return v ? json_string_value(v) : "";
}

/* The index of text in a list of words; the first one when it is empty. */
static int word(const char *text, const char *const *words, int n)
{
	for (int i = 0; i < n; i++) {
		if (!*text || strcmp(text, words[i]) == 0)
			return i;
	}
	trace_die("unknown word %s", text);
}

#define WORD(text, words)                                                      \
	word(text, words, (int)(sizeof(words) / sizeof((words)[0])))

static struct mvcc_put_request put_request(struct trace_memory *mem,
					   const json_t *q)
{
	return (struct mvcc_put_request){
		.key = trace_bytes(mem, q, "k"),
		.value = trace_bytes(mem, q, "v"),
		.lease = trace_number(q, "lease"),
		.prev = trace_number(q, "prev"),
		.ignore_value = trace_number(q, "iv"),
		.ignore_lease = trace_number(q, "il"),
	};
}

static struct mvcc_range_request range_request(struct trace_memory *mem,
					       const json_t *q)
{
	/* In the order of the enums. */
	static const char *const orders[] = { "NONE", "ASCEND", "DESCEND" };
	static const char *const targets[] = { "KEY", "VERSION", "CREATE",
					       "MOD", "VALUE" };

	return (struct mvcc_range_request){
		.key = trace_bytes(mem, q, "k"),
		.end = trace_bytes(mem, q, "e"),
		.rev = trace_number(q, "rev"),
		.limit = trace_number(q, "lim"),
		.order =
			(enum mvcc_sort_order)WORD(trace_text(q, "so"), orders),
		.target = (enum mvcc_sort_target)WORD(trace_text(q, "st"),
						      targets),
		.keys_only = trace_number(q, "ko"),
		.count_only = trace_number(q, "co"),
		.min_mod = trace_number(q, "mnm"),
		.max_mod = trace_number(q, "mxm"),
		.min_create = trace_number(q, "mnc"),
		.max_create = trace_number(q, "mxc"),
	};
}

static struct mvcc_compare compare(struct trace_memory *mem, const json_t *q)
{
	static const char *const targets[] = { "VERSION", "CREATE", "MOD",
					       "VALUE", "LEASE" };
	static const char *const results[] = { "EQUAL", "GREATER", "LESS",
					       "NOT_EQUAL" };
	struct mvcc_compare c = {
		.key = trace_bytes(mem, q, "k"),
		.end = trace_bytes(mem, q, "e"),
		.target = (enum mvcc_compare_target)WORD(trace_text(q, "t"),
							 targets),
		.result = (enum mvcc_compare_result)WORD(trace_text(q, "o"),
							 results),
	};

	if (c.target == MVCC_COMPARE_VALUE)
		c.value = trace_bytes(mem, q, "x");
	else
		c.number = trace_number(q, "x");
	return c;
}

static const struct mvcc_request *branch(struct trace_memory *mem,
					 const json_t *list, size_t *n)
{
	struct mvcc_request *ops;

	*n = json_array_size(list);
	ops = trace_alloc(mem, *n, sizeof(*ops));
	for (size_t i = 0; i < *n; i++) {
		const json_t *q = json_array_get(list, i);

		ops[i] = trace_request(mem, trace_text(q, "op"), q);
	}
	return ops;
}

static struct mvcc_txn_request txn_request(struct trace_memory *mem,
					   const json_t *q)
{
	const json_t *list = json_object_get(q, "cmp");
	struct mvcc_txn_request t = { .n_compares = json_array_size(list) };
	struct mvcc_compare *compares =
		trace_alloc(mem, t.n_compares, sizeof(*compares));

	for (size_t i = 0; i < t.n_compares; i++)
		compares[i] = compare(mem, json_array_get(list, i));
	t.compares = compares;
	t.success = branch(mem, json_object_get(q, "then"), &t.n_success);
	t.failure = branch(mem, json_object_get(q, "else"), &t.n_failure);
	return t;
}

struct mvcc_request trace_request(struct trace_memory *mem, const char *op,
				  const json_t *q)
{
	struct mvcc_request r = { .kind = MVCC_REQUEST_NONE };

	if (strcmp(op, "put") == 0) {
		r.kind = MVCC_REQUEST_PUT;
		r.put = put_request(mem, q);
	} else if (strcmp(op, "range") == 0) {
		r.kind = MVCC_REQUEST_RANGE;
		r.range = range_request(mem, q);
	} else if (strcmp(op, "del") == 0) {
		r.kind = MVCC_REQUEST_DELETE;
		r.del = (struct mvcc_delete_request){
			.key = trace_bytes(mem, q, "k"),
			.end = trace_bytes(mem, q, "e"),
			.prev = trace_number(q, "prev"),
		};
	} else if (strcmp(op, "txn") == 0) {
		r.kind = MVCC_REQUEST_TXN;
		r.txn = txn_request(mem, q);
	} else if (*op) {
		trace_die("unknown op %s", op);
	}
	return r;
}

/* ---------------------------------------------------------------- encoding */

json_t *trace_from_bytes(struct cairn_slice s)
{
	static const char digits[] = "0123456789ABCDEF";
	char *text = malloc(3 * s.len + 1);
	size_t n = 0;
	json_t *j;

	if (!text)
		trace_die("no memory");
	for (size_t i = 0; i < s.len; i++) {
		uint8_t c = s.data[i];

		if (c > 0x20 && c < 0x7f && !strchr("%\"\\", c)) {
			text[n++] = (char)c;
			continue;
		}
		text[n++] = '%';
		text[n++] = digits[c >> 4];
		text[n++] = digits[c & 15];
	}
	j = json_stringn(text, n);
	free(text);
	return j;
}

json_t *trace_from_row(const struct mvcc_row *row)
{
	if (row->deleted)
		return json_pack("[o,s,I,I,I,I]", trace_from_bytes(row->key),
				 "", (json_int_t)0, (json_int_t)row->main,
				 (json_int_t)0, (json_int_t)0);
	return json_pack("[o,o,I,I,I,I]", trace_from_bytes(row->key),
			 trace_from_bytes(row->value),
			 (json_int_t)row->create_rev, (json_int_t)row->main,
			 (json_int_t)row->version, (json_int_t)row->lease);
}

static json_t *rows_of(const struct mvcc_answer *a)
{
	json_t *list = json_array();

	for (size_t i = 0; i < a->n_rows; i++)
		json_array_append_new(list, trace_from_row(&a->rows[i]));
	return list;
}

static void add_txn(json_t *j, const struct mvcc_answer *a)
{
	json_t *list = json_array();

	for (size_t i = 0; i < a->n_answers; i++)
		json_array_append_new(list, trace_from_answer(&a->answers[i]));
	json_object_set_new(j, "ok", json_boolean(a->succeeded));
	json_object_set_new(j, "res", list);
}

json_t *trace_from_answer(const struct mvcc_answer *a)
{
	json_t *j = json_pack("{s:I}", "rev", (json_int_t)a->rev);

	switch (a->kind) {
	case MVCC_REQUEST_NONE:
		break;
	case MVCC_REQUEST_RANGE:
		json_object_set_new(j, "count", json_integer(a->count));
		json_object_set_new(j, "more", json_boolean(a->more));
		json_object_set_new(j, "kvs", rows_of(a));
		break;
	case MVCC_REQUEST_PUT:
		if (a->n_rows)
			json_object_set_new(j, "prev",
					    trace_from_row(&a->rows[0]));
		break;
	case MVCC_REQUEST_DELETE:
		json_object_set_new(j, "deleted", json_integer(a->count));
		json_object_set_new(j, "prev", rows_of(a));
		break;
	case MVCC_REQUEST_TXN:
		add_txn(j, a);
		break;
	}
	return j;
}

json_t *trace_from_error(int err)
{
	const char *text = cairn_errmsg();

	for (int r = MVCC_REFUSAL_NONE + 1; r <= MVCC_REFUSAL_SORT; r++) {
		enum mvcc_refusal why = (enum mvcc_refusal)r;

		if (strcmp(text, mvcc_refusal_text(why)) != 0)
			continue;
		if (mvcc_refusal_code(why) != err)
			trace_die("%s with result %d", text, err);
		return json_pack("{s:i,s:s}", "code", mvcc_refusal_status(why),
				 "err", text);
	}
	trace_die("result %d: %s", err, text);
}

/* ----------------------------------------------------------- normalisation */

static bool is_nothing(const json_t *v)
{
	switch (json_typeof(v)) {
	case JSON_OBJECT:
		return json_object_size(v) == 0;
	case JSON_ARRAY:
		return json_array_size(v) == 0;
	case JSON_STRING:
		return json_string_length(v) == 0;
	case JSON_INTEGER:
		return json_integer_value(v) == 0;
	case JSON_REAL:
	case JSON_TRUE:
		return false;
	case JSON_FALSE:
	case JSON_NULL:
		return true;
	}
	return false;
}

void trace_normalise(json_t *a)
{
	const char *key;
	json_t *v;
	void *tmp;
	size_t i;

	if (json_is_array(a)) {
		json_array_foreach(a, i, v) trace_normalise(v);
		return;
	}
	if (!json_is_object(a))
		return;
	json_object_foreach_safe(a, tmp, key, v)
	{
		trace_normalise(v);
		if (is_nothing(v))
			json_object_del(a, key);
	}
}
