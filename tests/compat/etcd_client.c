/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/compat/etcd_client.h"

#include <stdlib.h>

/* ------------------------------------------------------------------ base64 */

static const char digits[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static json_t *to_base64(struct cairn_slice s)
{
	char *text = malloc(s.len / 3 * 4 + 5);
	size_t n = 0;
	json_t *j;

	if (!text)
		trace_die("no memory");
	for (size_t i = 0; i < s.len; i += 3) {
		uint32_t v = (uint32_t)s.data[i] << 16;

		if (i + 1 < s.len)
			v |= (uint32_t)s.data[i + 1] << 8;
		if (i + 2 < s.len)
			v |= s.data[i + 2];
		text[n++] = digits[v >> 18];
		text[n++] = digits[v >> 12 & 63];
		text[n++] = i + 1 < s.len ? digits[v >> 6 & 63] : '=';
		text[n++] = i + 2 < s.len ? digits[v & 63] : '=';
	}
	j = json_stringn(text, n);
	free(text);
	return j;
}

/* As a trace has it. */
static json_t *from_base64(const json_t *v)
{
	const char *text = v ? json_string_value(v) : "";
	uint8_t *bytes = malloc(strlen(text) + 1);
	uint32_t bits = 0;
	int n_bits = 0;
	size_t n = 0;
	json_t *j;

	if (!bytes)
		trace_die("no memory");
	for (; *text && *text != '='; text++) {
		const char *at = strchr(digits, *text);

		if (!at)
			trace_die("no base64");
		bits = bits << 6 | (uint32_t)(at - digits);
		n_bits += 6;
		if (n_bits >= 8) {
			n_bits -= 8;
			bytes[n++] = (uint8_t)(bits >> n_bits);
		}
	}
	j = trace_from_bytes(slice_of(bytes, n));
	free(bytes);
	return j;
}

/* -------------------------------------------------------------------- http */

static size_t collect(char *data, size_t size, size_t n, void *ctx)
{
	return buf_append(ctx, data, size * n) ? 0 : n;
}

static CURL *new_handle(void)
{
	CURL *h = curl_easy_init();

	if (!h)
		trace_die("no memory");
	curl_easy_setopt(h, CURLOPT_POST, 1L);
	curl_easy_setopt(h, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(h, CURLOPT_TIMEOUT, 60L);
	curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, collect);
	return h;
}

void etcd_client_init(struct etcd_client *c, const char *url)
{
	*c = (struct etcd_client){ .url = url };
	c->json = new_handle();
	c->grpc = new_handle();
	c->json_headers =
		curl_slist_append(NULL, "Content-Type: application/json");
	c->grpc_headers =
		curl_slist_append(NULL, "content-type: application/grpc");
	c->grpc_headers = curl_slist_append(c->grpc_headers, "te: trailers");
	curl_easy_setopt(c->json, CURLOPT_HTTPHEADER, c->json_headers);
	curl_easy_setopt(c->grpc, CURLOPT_HTTPHEADER, c->grpc_headers);
	curl_easy_setopt(c->grpc, CURLOPT_HTTP_VERSION,
			 (long)CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE);
	/* While it is idle nobody answers what the server asks on it. */
	curl_easy_setopt(c->grpc, CURLOPT_FORBID_REUSE, 1L);
}

void etcd_client_fini(struct etcd_client *c)
{
	curl_easy_cleanup(c->json);
	curl_easy_cleanup(c->grpc);
	curl_slist_free_all(c->json_headers);
	curl_slist_free_all(c->grpc_headers);
}

static void post(CURL *h, const char *url, const char *path,
		 struct cairn_slice body, struct buf *answer)
{
	char full[256];
	CURLcode rc;

	snprintf(full, sizeof(full), "%s%s", url, path);
	curl_easy_setopt(h, CURLOPT_URL, full);
	curl_easy_setopt(h, CURLOPT_POSTFIELDS, (const char *)body.data);
	curl_easy_setopt(h, CURLOPT_POSTFIELDSIZE, (long)body.len);
	curl_easy_setopt(h, CURLOPT_WRITEDATA, answer);
	rc = curl_easy_perform(h);
	if (rc != CURLE_OK)
		trace_die("%s: %s", full, curl_easy_strerror(rc));
}

/* Takes over body. */
static json_t *ask(struct etcd_client *c, const char *path, json_t *body)
{
	char *text = json_dumps(body, JSON_COMPACT);
	struct buf answer = { 0 };
	json_error_t e;
	json_t *j;

	if (!text)
		trace_die("no memory");
	post(c->json, c->url, path, slice_str(text), &answer);
	j = json_loadb((const char *)answer.data, answer.len, 0, &e);
	if (!j)
		trace_die("%s: %s: %.*s", path, e.text, (int)answer.len,
			  (const char *)answer.data);
	free(text);
	json_decref(body);
	buf_fini(&answer);
	return j;
}

/* -------------------------------------------------------------- requests */

static void copy_bytes(json_t *to, const char *name, const json_t *q,
		       const char *field)
{
	struct trace_memory mem = { 0 };
	struct cairn_slice s = trace_bytes(&mem, q, field);

	if (s.len)
		json_object_set_new(to, name, to_base64(s));
	trace_memory_fini(&mem);
}

static void copy_number(json_t *to, const char *name, const json_t *q,
			const char *field)
{
	int64_t v = trace_number(q, field);

	if (v)
		json_object_set_new(to, name, json_integer(v));
}

static void copy_flag(json_t *to, const char *name, const json_t *q,
		      const char *field)
{
	if (trace_number(q, field))
		json_object_set_new(to, name, json_true());
}

static void copy_text(json_t *to, const char *name, const json_t *q,
		      const char *field)
{
	if (*trace_text(q, field))
		json_object_set_new(to, name,
				    json_string(trace_text(q, field)));
}

static json_t *put_body(const json_t *q)
{
	json_t *b = json_object();

	copy_bytes(b, "key", q, "k");
	copy_bytes(b, "value", q, "v");
	copy_number(b, "lease", q, "lease");
	copy_flag(b, "prev_kv", q, "prev");
	copy_flag(b, "ignore_value", q, "iv");
	copy_flag(b, "ignore_lease", q, "il");
	return b;
}

static json_t *range_body(const json_t *q)
{
	json_t *b = json_object();

	copy_bytes(b, "key", q, "k");
	copy_bytes(b, "range_end", q, "e");
	copy_number(b, "limit", q, "lim");
	copy_number(b, "revision", q, "rev");
	copy_text(b, "sort_order", q, "so");
	copy_text(b, "sort_target", q, "st");
	copy_flag(b, "keys_only", q, "ko");
	copy_flag(b, "count_only", q, "co");
	copy_number(b, "min_mod_revision", q, "mnm");
	copy_number(b, "max_mod_revision", q, "mxm");
	copy_number(b, "min_create_revision", q, "mnc");
	copy_number(b, "max_create_revision", q, "mxc");
	return b;
}

static json_t *delete_body(const json_t *q)
{
	json_t *b = json_object();

	copy_bytes(b, "key", q, "k");
	copy_bytes(b, "range_end", q, "e");
	copy_flag(b, "prev_kv", q, "prev");
	return b;
}

static json_t *compare_body(const json_t *q)
{
	static const char *const targets[][2] = {
		{ "VERSION", "version" },  { "CREATE", "create_revision" },
		{ "MOD", "mod_revision" }, { "LEASE", "lease" },
		{ "VALUE", "value" },
	};
	json_t *b = json_object();
	const char *target = trace_text(q, "t");

	copy_text(b, "target", q, "t");
	copy_text(b, "result", q, "o");
	copy_bytes(b, "key", q, "k");
	copy_bytes(b, "range_end", q, "e");
	if (strcmp(target, "VALUE") == 0) {
		struct trace_memory mem = { 0 };

		json_object_set_new(b, "value",
				    to_base64(trace_bytes(&mem, q, "x")));
		trace_memory_fini(&mem);
		return b;
	}
	for (size_t i = 0; i < 4; i++) {
		if (strcmp(target, targets[i][0]) == 0)
			json_object_set_new(b, targets[i][1],
					    json_integer(trace_number(q, "x")));
	}
	return b;
}

static json_t *txn_body(const json_t *q);

static json_t *branch_body(const json_t *list)
{
	json_t *b = json_array(), *q;
	size_t i;

	json_array_foreach(list, i, q)
	{
		const char *op = trace_text(q, "op");
		json_t *r = json_object();

		if (strcmp(op, "put") == 0)
			json_object_set_new(r, "request_put", put_body(q));
		else if (strcmp(op, "range") == 0)
			json_object_set_new(r, "request_range", range_body(q));
		else if (strcmp(op, "del") == 0)
			json_object_set_new(r, "request_delete_range",
					    delete_body(q));
		else
			json_object_set_new(r, "request_txn", txn_body(q));
		json_array_append_new(b, r);
	}
	return b;
}

static json_t *txn_body(const json_t *q)
{
	json_t *b = json_object(), *compares = json_array(), *c;
	size_t i;

	json_array_foreach(json_object_get(q, "cmp"), i, c)
		json_array_append_new(compares, compare_body(c));
	json_object_set_new(b, "compare", compares);
	json_object_set_new(b, "success",
			    branch_body(json_object_get(q, "then")));
	json_object_set_new(b, "failure",
			    branch_body(json_object_get(q, "else")));
	return b;
}

/* --------------------------------------------------------------- answers */

/* Numbers of 64 bits are strings there. */
static int64_t number_of(const json_t *a, const char *field)
{
	const json_t *v = json_object_get(a, field);

	if (json_is_string(v))
		return strtoll(json_string_value(v), NULL, 10);
	return json_integer_value(v);
}

static json_t *row_of(const json_t *kv)
{
	return json_pack("[o,o,I,I,I,I]",
			 from_base64(json_object_get(kv, "key")),
			 from_base64(json_object_get(kv, "value")),
			 (json_int_t)number_of(kv, "create_revision"),
			 (json_int_t)number_of(kv, "mod_revision"),
			 (json_int_t)number_of(kv, "version"),
			 (json_int_t)number_of(kv, "lease"));
}

static json_t *rows_of(const json_t *list)
{
	json_t *rows = json_array(), *kv;
	size_t i;

	json_array_foreach(list, i, kv) json_array_append_new(rows, row_of(kv));
	return rows;
}

static json_t *with_rev(const json_t *a)
{
	return json_pack("{s:I}", "rev",
			 (json_int_t)number_of(json_object_get(a, "header"),
					       "revision"));
}

static json_t *put_answer(const json_t *a)
{
	const json_t *prev = json_object_get(a, "prev_kv");
	json_t *j = with_rev(a);

	if (prev)
		json_object_set_new(j, "prev", row_of(prev));
	return j;
}

static json_t *range_answer(const json_t *a)
{
	json_t *j = with_rev(a);

	json_object_set_new(j, "count", json_integer(number_of(a, "count")));
	json_object_set_new(
		j, "more",
		json_boolean(json_is_true(json_object_get(a, "more"))));
	json_object_set_new(j, "kvs", rows_of(json_object_get(a, "kvs")));
	return j;
}

static json_t *delete_answer(const json_t *a)
{
	json_t *j = with_rev(a);

	json_object_set_new(j, "deleted",
			    json_integer(number_of(a, "deleted")));
	json_object_set_new(j, "prev", rows_of(json_object_get(a, "prev_kvs")));
	return j;
}

static json_t *txn_answer(const json_t *a)
{
	json_t *j = with_rev(a), *list = json_array(), *r;
	size_t i;

	json_array_foreach(json_object_get(a, "responses"), i, r)
	{
		const char *kind = json_object_iter_key(json_object_iter(r));
		const json_t *inner = json_object_get(r, kind);

		if (strcmp(kind, "response_put") == 0)
			json_array_append_new(list, put_answer(inner));
		else if (strcmp(kind, "response_range") == 0)
			json_array_append_new(list, range_answer(inner));
		else if (strcmp(kind, "response_delete_range") == 0)
			json_array_append_new(list, delete_answer(inner));
		else
			json_array_append_new(list, txn_answer(inner));
	}
	json_object_set_new(
		j, "ok",
		json_boolean(json_is_true(json_object_get(a, "succeeded"))));
	json_object_set_new(j, "res", list);
	return j;
}

static json_t *grant_answer(const json_t *a)
{
	return json_pack("{s:I,s:I}", "id", (json_int_t)number_of(a, "ID"),
			 "ttl", (json_int_t)number_of(a, "TTL"));
}

static int cmp_text(const void *a, const void *b)
{
	const json_t *x, *y;

	memcpy(&x, a, sizeof(x));
	memcpy(&y, b, sizeof(y));
	return strcmp(json_string_value(x), json_string_value(y));
}

static json_t *ttl_answer(const json_t *a)
{
	const json_t *keys = json_object_get(a, "keys");
	json_t *sorted = json_array(), *key, **list;
	size_t n = json_array_size(keys), i;

	if (number_of(a, "TTL") == -1)
		return json_pack("{s:i,s:o}", "ttl", -1, "keys", sorted);
	/* Keys here are plain text, which sorts as the bytes do. */
	list = calloc(n + 1, sizeof(json_t *));
	if (!list)
		trace_die("no memory");
	json_array_foreach(keys, i, key) list[i] = from_base64(key);
	if (n)
		qsort(list, n, sizeof(json_t *), cmp_text);
	for (i = 0; i < n; i++)
		json_array_append_new(sorted, list[i]);
	free(list);
	return json_pack("{s:I,s:o}", "granted",
			 (json_int_t)number_of(a, "grantedTTL"), "keys",
			 sorted);
}

static int cmp_number(const void *a, const void *b)
{
	const int64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static json_t *leases_answer(const json_t *a)
{
	const json_t *leases = json_object_get(a, "leases");
	size_t n = json_array_size(leases), i;
	int64_t *ids = calloc(n + 1, sizeof(*ids));
	json_t *list = json_array(), *l;

	if (!ids)
		trace_die("no memory");
	json_array_foreach(leases, i, l) ids[i] = number_of(l, "ID");
	qsort(ids, n, sizeof(*ids), cmp_number);
	for (i = 0; i < n; i++)
		json_array_append_new(list, json_integer(ids[i]));
	free(ids);
	return json_pack("{s:o}", "ids", list);
}

static json_t *keepalive_answer(const json_t *a)
{
	const json_t *result = json_object_get(a, "result");

	return json_pack("{s:I}", "ttl", (json_int_t)number_of(result, "TTL"));
}

static json_t *compact_body(const json_t *q)
{
	return json_pack("{s:I,s:b}", "revision",
			 (json_int_t)trace_number(q, "rev"), "physical", 1);
}

static json_t *lease_body(const json_t *q)
{
	return json_pack("{s:I,s:I,s:b}", "ID",
			 (json_int_t)trace_number(q, "id"), "TTL",
			 (json_int_t)trace_number(q, "ttl"), "keys", 1);
}

/* ------------------------------------------------------------------ HashKV */

static uint64_t read_varint(struct cairn_slice *in)
{
	uint64_t v = 0;

	for (unsigned shift = 0; in->len && shift < 64; shift += 7) {
		uint8_t byte = in->data[0];

		slice_advance(in, 1);
		v |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80))
			return v;
	}
	trace_die("HashKV: no varint");
}

/* Fields: 1 header (a message), 2 hash, 3 compact_revision. */
static json_t *hash_answer(struct cairn_slice in)
{
	int64_t fields[4] = { 0 };

	while (in.len) {
		uint64_t tag = read_varint(&in);
		uint64_t v = read_varint(&in);

		if ((tag & 7) == 2) {
			if (v > in.len)
				trace_die("HashKV: a field is cut off");
			slice_advance(&in, (size_t)v);
		} else if ((tag & 7) == 0 && tag >> 3 < 4) {
			fields[tag >> 3] = (int64_t)v;
		} else {
			trace_die("HashKV: unknown field");
		}
	}
	return json_pack("{s:I,s:I}", "hash", (json_int_t)fields[2],
			 "compact_rev", (json_int_t)fields[3]);
}

/* Headers and trailers; those with the result of the call are kept. */
static size_t look_at_header(char *data, size_t size, size_t n, void *ctx)
{
	static const char name[] = "grpc-message:";
	size_t total = size * n;
	struct cairn_slice s = slice_of(data, total);

	if (!slice_starts_with(s, slice_str(name)))
		return total;
	slice_advance(&s, strlen(name));
	while (s.len && s.data[0] == ' ')
		slice_advance(&s, 1);
	while (s.len &&
	       (s.data[s.len - 1] == '\n' || s.data[s.len - 1] == '\r'))
		s.len--;
	return buf_set(ctx, s) ? 0 : total;
}

static json_t *hash_error(const struct buf *message)
{
	for (int r = MVCC_REFUSAL_NONE + 1; r <= MVCC_REFUSAL_SORT; r++) {
		enum mvcc_refusal why = (enum mvcc_refusal)r;

		if (slice_eq(buf_slice(message),
			     slice_str(mvcc_refusal_text(why))))
			return json_pack("{s:i,s:s}", "code",
					 mvcc_refusal_status(why), "err",
					 mvcc_refusal_text(why));
	}
	trace_die("HashKV: %.*s", (int)message->len,
		  (const char *)message->data);
}

static json_t *do_hash(struct etcd_client *c, const json_t *q)
{
	uint8_t body[16] = { 0 };
	uint64_t rev = (uint64_t)trace_number(q, "rev");
	struct buf answer = { 0 }, message = { 0 };
	size_t n = 5;
	json_t *j;

	/* One flag, four bytes of length, and the message: field 1, rev. */
	if (rev) {
		body[n++] = 0x08;
		for (; rev >= 0x80; rev >>= 7)
			body[n++] = (uint8_t)(rev | 0x80);
		body[n++] = (uint8_t)rev;
	}
	body[4] = (uint8_t)(n - 5);
	curl_easy_setopt(c->grpc, CURLOPT_HEADERFUNCTION, look_at_header);
	curl_easy_setopt(c->grpc, CURLOPT_HEADERDATA, &message);
	post(c->grpc, c->url, "/etcdserverpb.Maintenance/HashKV",
	     slice_of(body, n), &answer);
	if (answer.len < 5)
		j = hash_error(&message);
	else
		j = hash_answer(slice_of(answer.data + 5, answer.len - 5));
	buf_fini(&answer);
	buf_fini(&message);
	return j;
}

/* -------------------------------------------------------------- everything */

static const struct call {
	const char *op;
	const char *path;
	json_t *(*body)(const json_t *q);
	json_t *(*answer)(const json_t *a);
} calls[] = {
	{ "put", "/v3/kv/put", put_body, put_answer },
	{ "range", "/v3/kv/range", range_body, range_answer },
	{ "del", "/v3/kv/deleterange", delete_body, delete_answer },
	{ "txn", "/v3/kv/txn", txn_body, txn_answer },
	{ "compact", "/v3/kv/compaction", compact_body, with_rev },
	{ "lease_grant", "/v3/lease/grant", lease_body, grant_answer },
	{ "lease_revoke", "/v3/lease/revoke", lease_body, with_rev },
	{ "lease_ttl", "/v3/lease/timetolive", lease_body, ttl_answer },
	{ "lease_keepalive", "/v3/lease/keepalive", lease_body,
	  keepalive_answer },
	{ "lease_list", "/v3/lease/leases", lease_body, leases_answer },
};

json_t *etcd_client_do(struct etcd_client *c, const char *op, const json_t *q)
{
	if (strcmp(op, "hashkv") == 0)
		return do_hash(c, q);
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		json_t *a, *j;

		if (strcmp(calls[i].op, op) != 0)
			continue;
		a = ask(c, calls[i].path, calls[i].body(q));
		if (json_object_get(a, "error"))
			j = json_pack("{s:I,s:O}", "code",
				      (json_int_t)number_of(a, "code"), "err",
				      json_object_get(a, "error"));
		else
			j = calls[i].answer(a);
		json_decref(a);
		return j;
	}
	trace_die("unknown op %s", op);
}
