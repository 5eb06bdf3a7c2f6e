/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The same random operations on cairn and on a real etcd, started for this on
 * the loopback: every answer must be the same, and so must HashKV, now and
 * then.
 *
 *   etcd_tee [--ops N] [--seed N] [--trace FILE]
 *
 * cairn's store is flushed, compacted by hand and opened anew in between. With
 * --trace, what was asked and what etcd answered is written down, to be
 * replayed by etcd_replay. Ends with status 77 where there is no etcd.
 *
 * Not asked is what etcd answers differently from time to time, or what cairn
 * refuses on purpose: sorted ranges with a limit that may cut through rows of
 * equal rank, and deletes that etcd overlooks beside puts of the same keys.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/compat/etcd_client.h"
#include "tests/compat/etcd_server.h"
#include "tests/mvcc/etcd_player.h"

struct tee {
	struct player cairn;
	struct etcd_client etcd;
	FILE *trace;
	uint64_t seed;
	uint64_t state;
	size_t n;      /* operations so far */
	int64_t rev;   /* the current revision, as far as is known */
	int64_t bound; /* the compacted one */
	size_t hashes;
	size_t refused;
};

static struct etcd_server server;

static void stop_server(void)
{
	etcd_server_stop(&server);
}

static unsigned rnd(struct tee *t, unsigned n)
{
	t->state ^= t->state << 13;
	t->state ^= t->state >> 7;
	t->state ^= t->state << 17;
	return (unsigned)(t->state >> 11) % n;
}

static bool once_in(struct tee *t, unsigned n)
{
	return rnd(t, n) == 0;
}

/* ---------------------------------------------------------- random requests */

/* The ranges that deletes of a transaction may choose, and the keys that puts
 * of the same may: so that most of them are not refused. */
#define N_DIRS  6
#define N_FILES 12

static void random_key(struct tee *t, char key[16])
{
	unsigned dir = rnd(t, N_DIRS), file = rnd(t, N_FILES);

	if (once_in(t, 80))
		key[0] = '\0';
	else if (once_in(t, 12))
		snprintf(key, 16, "/%u", dir);
	else
		snprintf(key, 16, "/%u/%u%s", dir, file,
			 once_in(t, 5) ? "%00" : "");
}

static void set_key(struct tee *t, json_t *q)
{
	char key[16];

	random_key(t, key);
	if (*key)
		json_object_set_new(q, "k", json_string(key));
}

/* k, and perhaps e: a directory, a range of any sort, or all from a key on. */
static void set_range(struct tee *t, json_t *q, bool from_key)
{
	char key[16];

	set_key(t, q);
	switch (rnd(t, 8)) {
	case 0:
	case 1:
		random_key(t, key);
		if (*key)
			json_object_set_new(q, "e", json_string(key));
		break;
	case 2:
	case 3:
		snprintf(key, sizeof(key), "/%u/", rnd(t, N_DIRS));
		json_object_set_new(q, "k", json_string(key));
		key[2] = '0'; /* follows '/' */
		json_object_set_new(q, "e", json_string(key));
		break;
	case 4:
		if (from_key)
			json_object_set_new(q, "e", json_string("%00"));
		break;
	default:
		break;
	}
}

static int64_t random_rev(struct tee *t)
{
	if (once_in(t, 30))
		return t->rev + 1 + rnd(t, 5);
	return t->rev - (int64_t)rnd(t, 60);
}

static json_t *random_value(struct tee *t)
{
	size_t len = once_in(t, 12) ? rnd(t, 300) : rnd(t, 12);
	uint8_t bytes[300];

	for (size_t i = 0; i < len; i++)
		bytes[i] = (uint8_t)(once_in(t, 3) ? rnd(t, 256)
						   : 'a' + rnd(t, 26));
	return trace_from_bytes(slice_of(bytes, len));
}

static void set_number(json_t *q, const char *name, int64_t v)
{
	if (v)
		json_object_set_new(q, name, json_integer(v));
}

static int64_t lease_id(struct tee *t)
{
	return 100 + rnd(t, 12);
}

static json_t *random_put(struct tee *t)
{
	json_t *q = json_object();

	set_key(t, q);
	if (!once_in(t, 10))
		json_object_set_new(q, "v", random_value(t));
	if (once_in(t, 4))
		set_number(q, "lease", lease_id(t));
	set_number(q, "prev", once_in(t, 3));
	if (once_in(t, 8)) {
		set_number(q, "iv", 1);
		if (!once_in(t, 8))
			json_object_del(q, "v");
	}
	if (once_in(t, 8)) {
		set_number(q, "il", 1);
		if (!once_in(t, 8))
			json_object_del(q, "lease");
	}
	return q;
}

static json_t *random_range(struct tee *t)
{
	static const char *const orders[] = { "ASCEND", "DESCEND" };
	static const char *const targets[] = { "KEY", "VERSION", "CREATE",
					       "MOD", "VALUE" };
	json_t *q = json_object();
	unsigned target = once_in(t, 2) ? 0 : rnd(t, 5);

	set_range(t, q, true);
	if (once_in(t, 3))
		set_number(q, "rev", random_rev(t));
	if (target || once_in(t, 3))
		json_object_set_new(q, "st", json_string(targets[target]));
	if (once_in(t, 2))
		json_object_set_new(q, "so", json_string(orders[rnd(t, 2)]));
	if (!target && once_in(t, 3))
		set_number(q, "lim", 1 + rnd(t, 10));
	/* By value, and without one, is not defined in all releases. */
	if (target != 4)
		set_number(q, "ko", once_in(t, 6));
	set_number(q, "co", once_in(t, 8));
	if (once_in(t, 8))
		set_number(q, "mnm", random_rev(t));
	if (once_in(t, 8))
		set_number(q, "mxm", random_rev(t));
	if (once_in(t, 8))
		set_number(q, "mnc", random_rev(t) - rnd(t, 500));
	if (once_in(t, 8))
		set_number(q, "mxc", random_rev(t));
	return q;
}

static json_t *random_delete(struct tee *t, bool from_key)
{
	json_t *q = json_object();

	set_range(t, q, from_key && once_in(t, 10));
	/* Or there would be nothing left too often. */
	if (json_object_get(q, "e") && !once_in(t, 4))
		json_object_del(q, "e");
	set_number(q, "prev", once_in(t, 2));
	return q;
}

static json_t *random_compare(struct tee *t)
{
	static const char *const targets[] = { "VERSION", "CREATE", "MOD",
					       "LEASE", "VALUE" };
	static const char *const results[] = { "EQUAL", "NOT_EQUAL", "GREATER",
					       "LESS" };
	unsigned target = rnd(t, 5);
	json_t *q = json_object();

	set_range(t, q, true);
	if (!once_in(t, 3))
		json_object_del(q, "e");
	json_object_set_new(q, "t", json_string(targets[target]));
	json_object_set_new(q, "o", json_string(results[rnd(t, 4)]));
	if (target == 4)
		json_object_set_new(q, "x", random_value(t));
	else if (target == 0)
		set_number(q, "x", rnd(t, 5));
	else if (target == 3)
		set_number(q, "x", once_in(t, 2) ? lease_id(t) : 0);
	else
		set_number(q, "x", once_in(t, 3) ? 0 : random_rev(t));
	return q;
}

static json_t *random_txn(struct tee *t, int depth, bool deletes);

static json_t *random_branch(struct tee *t, int depth, bool deletes)
{
	json_t *list = json_array();

	for (unsigned n = rnd(t, 5); n > 0; n--) {
		const char *op;
		json_t *q;

		switch (rnd(t, depth < 3 ? 10 : 8)) {
		case 0:
		case 1:
		case 2:
			op = "put";
			q = random_put(t);
			break;
		case 3:
		case 4:
			if (deletes) {
				op = "del";
				q = random_delete(t, false);
				break;
			}
			/* fall through */
		case 5:
		case 6:
		case 7:
			op = "range";
			q = random_range(t);
			break;
		default:
			op = "txn";
			/* Deletes of nested ones are overlooked by etcd. */
			q = random_txn(t, depth + 1, false);
			break;
		}
		json_object_set_new(q, "op", json_string(op));
		json_array_append_new(list, q);
	}
	return list;
}

static json_t *random_txn(struct tee *t, int depth, bool deletes)
{
	json_t *q = json_object(), *compares = json_array();

	for (unsigned n = rnd(t, 3); n > 0; n--)
		json_array_append_new(compares, random_compare(t));
	json_object_set_new(q, "cmp", compares);
	json_object_set_new(q, "then", random_branch(t, depth, deletes));
	json_object_set_new(q, "else", random_branch(t, depth, deletes));
	return q;
}

static json_t *random_compact(struct tee *t)
{
	int64_t rev = t->rev - (int64_t)rnd(t, 100);

	if (once_in(t, 10))
		rev = t->rev + 1;
	else if (once_in(t, 10))
		rev = t->bound;
	return json_pack("{s:I}", "rev", (json_int_t)rev);
}

static json_t *random_lease(struct tee *t, const char **op)
{
	json_t *q = json_pack("{s:I}", "id", (json_int_t)lease_id(t));

	switch (rnd(t, 8)) {
	case 0:
	case 1:
	case 2:
		*op = "lease_grant";
		json_object_set_new(q, "ttl",
				    json_integer(100000 + rnd(t, 1000)));
		if (once_in(t, 20))
			json_object_set_new(q, "ttl", json_integer(9000000001));
		break;
	case 3:
		*op = "lease_revoke";
		break;
	case 4:
	case 5:
		*op = "lease_ttl";
		break;
	case 6:
		*op = "lease_keepalive";
		break;
	default:
		*op = "lease_list";
		json_object_clear(q);
		break;
	}
	return q;
}

static json_t *random_request(struct tee *t, const char **op)
{
	unsigned r = rnd(t, 100);

	if (r < 38) {
		*op = "put";
		return random_put(t);
	}
	if (r < 62) {
		*op = "range";
		return random_range(t);
	}
	if (r < 70) {
		*op = "del";
		return random_delete(t, true);
	}
	if (r < 92) {
		*op = "txn";
		return random_txn(t, 0, true);
	}
	if (r < 99)
		return random_lease(t, op);
	*op = "compact";
	return random_compact(t);
}

/* ---------------------------------------------------------------- comparing */

/* Of a row, what a target of the sort is. */
static int target_index(const json_t *q)
{
	const char *target = trace_text(q, "st");

	if (strcmp(target, "VERSION") == 0)
		return 4;
	if (strcmp(target, "CREATE") == 0)
		return 2;
	if (strcmp(target, "MOD") == 0)
		return 3;
	return strcmp(target, "VALUE") == 0 ? 1 : 0;
}

/* Bring rows of equal rank into the order of their keys: etcd's is any. */
static void settle_ties(const json_t *q, json_t *a)
{
	json_t *rows = json_object_get(a, "kvs");
	int target = target_index(q);
	bool moved = target != 0;

	while (moved) {
		moved = false;
		for (size_t i = 1; i < json_array_size(rows); i++) {
			json_t *x = json_array_get(rows, i - 1);
			json_t *y = json_array_get(rows, i);

			if (!json_equal(json_array_get(x, (size_t)target),
					json_array_get(y, (size_t)target)) ||
			    strcmp(json_string_value(json_array_get(x, 0)),
				   json_string_value(json_array_get(y, 0))) <=
				    0)
				continue;
			json_incref(x);
			json_array_set(rows, i - 1, y);
			json_array_set_new(rows, i, x);
			moved = true;
		}
	}
}

static void settle(const char *op, const json_t *q, json_t *a)
{
	const json_t *list;
	json_t *inner;
	size_t i;

	if (strcmp(op, "range") == 0)
		settle_ties(q, a);
	if (strcmp(op, "txn") != 0)
		return;
	list = json_object_get(
		q, json_is_true(json_object_get(a, "ok")) ? "then" : "else");
	json_array_foreach(json_object_get(a, "res"), i, inner)
	{
		const json_t *asked = json_array_get(list, i);

		settle(trace_text(asked, "op"), asked, inner);
	}
}

static void write_down(struct tee *t, const char *op, const json_t *q,
		       const json_t *a)
{
	json_t *line;

	if (!t->trace)
		return;
	line = json_pack("{s:I,s:s,s:O,s:O}", "i", (json_int_t)t->n, "op", op,
			 "q", q, "a", a);
	if (json_dumpf(line, t->trace, JSON_COMPACT) ||
	    fputc('\n', t->trace) == EOF)
		trace_die("the trace: %s", strerror(errno));
	json_decref(line);
}

/* Ask both; takes over q. */
static void both(struct tee *t, const char *op, json_t *q)
{
	json_t *want = etcd_client_do(&t->etcd, op, q);
	json_t *got = player_do(&t->cairn, op, q);
	int64_t rev;

	settle(op, q, want);
	settle(op, q, got);
	t->n++;
	write_down(t, op, q, want);
	trace_normalise(want);
	trace_normalise(got);
	if (!json_equal(want, got)) {
		char *asked = json_dumps(q, JSON_COMPACT);
		char *w = json_dumps(want, JSON_COMPACT | JSON_SORT_KEYS);
		char *g = json_dumps(got, JSON_COMPACT | JSON_SORT_KEYS);

		fprintf(stderr,
			"%s %s\n"
			"  etcd  %s\n"
			"  cairn %s\n",
			op, asked, w, g);
		trace_die("operation %zu of --seed %llu", t->n,
			  (unsigned long long)t->seed);
	}
	rev = trace_number(got, "rev");
	if (rev > t->rev)
		t->rev = rev;
	if (json_object_get(got, "err"))
		t->refused++;
	else if (strcmp(op, "compact") == 0)
		t->bound = trace_number(q, "rev");
	json_decref(q);
	json_decref(want);
	json_decref(got);
}

static void compare_hashes(struct tee *t)
{
	int64_t rev = 0;

	if (!once_in(t, 3))
		rev = t->rev - (int64_t)rnd(t, 50);
	if (rev < 0)
		rev = 0;
	both(t, "hashkv", json_pack("{s:I}", "rev", (json_int_t)rev));
	t->hashes++;
}

static void disturb(struct tee *t)
{
	switch (rnd(t, 3)) {
	case 0:
		player_flush(&t->cairn);
		break;
	case 1:
		player_compact(&t->cairn);
		break;
	default:
		player_reopen(&t->cairn, once_in(t, 2));
		break;
	}
}

static void run(struct tee *t, size_t ops)
{
	for (size_t i = 1; i <= ops; i++) {
		const char *op;
		json_t *q = random_request(t, &op);

		both(t, op, q);
		if (i % 100 == 0)
			compare_hashes(t);
		if (once_in(t, 50))
			disturb(t);
	}
}

/* ---------------------------------------------------------------- beginning */

static uint64_t number_arg(const char *text)
{
	char *end;
	unsigned long long v;

	errno = 0;
	v = strtoull(text, &end, 10);
	if (errno || end == text || *end)
		trace_die("%s is no number", text);
	return v;
}

static void open_trace(struct tee *t, const char *path)
{
	t->trace = fopen(path, "w");
	if (!t->trace)
		trace_die("%s: %s", path, strerror(errno));
	fprintf(t->trace, "{\"op\":\"meta\",\"format\":1,\"seed\":%llu}\n",
		(unsigned long long)t->seed);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "ops", required_argument, NULL, 'o' },
		{ "seed", required_argument, NULL, 's' },
		{ "trace", required_argument, NULL, 't' },
		{ 0 },
	};
	struct tee t = { .seed = 1, .rev = 1, .bound = -1 };
	const char *trace = NULL;
	size_t ops = 2000;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'o')
			ops = (size_t)number_arg(optarg);
		else if (c == 's')
			t.seed = number_arg(optarg);
		else if (c == 't')
			trace = optarg;
		else
			return 2;
	}
	if (!etcd_server_there()) {
		puts("SKIP: no etcd here (Debian: etcd-server): nothing was "
		     "compared with it");
		return 77;
	}
	t.state = (t.seed + 1) * UINT64_C(0x9e3779b97f4a7c15) | 1;
	if (trace)
		open_trace(&t, trace);
	atexit(stop_server);
	etcd_server_start(&server);
	curl_global_init(CURL_GLOBAL_DEFAULT);
	etcd_client_init(&t.etcd, server.url);
	player_init(&t.cairn);
	run(&t, ops);
	player_fini(&t.cairn);
	etcd_client_fini(&t.etcd);
	curl_global_cleanup();
	if (t.trace && fclose(t.trace))
		trace_die("%s: %s", trace, strerror(errno));
	printf("%zu answers, %zu of them refusals, and %zu hashes are etcd's\n",
	       t.n, t.refused, t.hashes);
	return 0;
}
