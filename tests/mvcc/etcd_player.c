/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/mvcc/etcd_player.h"

#include <stdlib.h>

#include "engine/env/env_mem.h"
#include "mvcc/hash.h"
#include "mvcc/lease.h"

static void need(int err, const char *what)
{
	if (err)
		trace_die("%s: %d: %s", what, err, cairn_errmsg());
}

static json_t *number(const char *name, int64_t v)
{
	return json_pack("{s:I}", name, (json_int_t)v);
}

/* --------------------------------------------------------------- the store */

static int64_t clock_ms(void *ctx)
{
	const struct player *p = ctx;

	return p->now_ms;
}

/* Small tables and chunks, so that a short trace makes many. */
static void open_store(struct player *p)
{
	struct cairn_options *o = cairn_options_new();
	struct mvcc_options mo = {
		.engine = o,
		.chunk_size = 16,
		.lease = { .now_ms = clock_ms, .ctx = p, .manual = true },
	};

	if (!o)
		trace_die("no memory");
	cairn_options_set_env(o, p->env);
	need(cairn_options_set(o, "create_if_missing", "true"), "options");
	need(cairn_options_set(o, "write_buffer_size", "64K"), "options");
	need(cairn_options_set(o, "target_file_size", "64K"), "options");
	need(cairn_options_set(o, "block_cache_size", "1M"), "options");
	need(mvcc_open("/db", &mo, &p->m), "open");
	cairn_options_free(o);
}

void player_init(struct player *p)
{
	*p = (struct player){ .now_ms = 1000 };
	p->env = env_mem_new(ENV_MEM_STRICT);
	if (!p->env)
		trace_die("no memory");
	open_store(p);
}

static void watch_fini(struct player_watch *w)
{
	mvcc_watch_free(w->w);
	json_decref(w->q);
	json_decref(w->events);
}

void player_fini(struct player *p)
{
	for (size_t i = 0; i < p->n_watches; i++)
		watch_fini(&p->watches[i]);
	free(p->watches);
	need(mvcc_close(p->m), "close");
	env_mem_free(p->env);
}

void player_flush(struct player *p)
{
	need(cairn_flush(mvcc_db(p->m), true), "flush");
}

void player_compact(struct player *p)
{
	need(cairn_compact_range(mvcc_db(p->m), slice_of(NULL, 0),
				 slice_of(NULL, 0), NULL),
	     "compact");
}

/* ---------------------------------------------------------------- watchers */

static bool has_filter(const json_t *q, const char *name)
{
	const json_t *list = json_object_get(q, "f");
	const json_t *v;
	size_t i;

	json_array_foreach(list, i, v)
	{
		if (strcmp(json_string_value(v), name) == 0)
			return true;
	}
	return false;
}

/* Whether the trace names another start: 0, none. */
static int new_watch(struct player *p, const json_t *q, int64_t start,
		     struct mvcc_watch **out)
{
	struct trace_memory mem = { 0 };
	const struct mvcc_watch_request r = {
		.key = trace_bytes(&mem, q, "k"),
		.end = trace_bytes(&mem, q, "e"),
		.start = start,
		.no_put = has_filter(q, "NOPUT"),
		.no_delete = has_filter(q, "NODELETE"),
		.prev = trace_number(q, "prev"),
	};
	int err = mvcc_watch_new(p->m, &r, out);

	trace_memory_fini(&mem);
	return err;
}

/* A copy of row that has its value. */
static json_t *whole_row(struct player *p, const struct mvcc_row *row)
{
	struct mvcc_row whole = *row;
	uint8_t *value = malloc((size_t)row->size + 1);
	size_t got;
	json_t *j;

	if (!value)
		trace_die("no memory");
	if (!row->deleted) {
		need(mvcc_read(p->m, row, 0, value, (size_t)row->size, &got),
		     "value of an event");
		whole.value = slice_of(value, got);
	}
	j = trace_from_row(&whole);
	free(value);
	return j;
}

/* What w has to tell now, at the end of events. *compact_rev: it has ended. */
static void drain(struct player *p, struct mvcc_watch *w, json_t *events,
		  int64_t *start, int64_t *compact_rev)
{
	for (;;) {
		struct mvcc_watch_message msg = { 0 };
		int err = mvcc_watch_next(w, 0, &msg);

		if (err == CAIRN_NOT_FOUND)
			return;
		need(err, "watch");
		for (size_t i = 0; i < msg.n; i++) {
			const struct mvcc_event *e = &msg.events[i];
			json_t *prev = e->has_prev ? whole_row(p, &e->prev)
						   : json_null();

			json_array_append_new(
				events,
				json_pack("[s,o,o]", e->row.deleted ? "D" : "P",
					  whole_row(p, &e->row), prev));
		}
		if (msg.rev >= *start)
			*start = msg.rev + 1;
		*compact_rev = msg.compact_rev;
		err = msg.canceled;
		mvcc_watch_message_fini(&msg);
		if (err)
			return;
	}
}

static void drain_all(struct player *p)
{
	for (size_t i = 0; i < p->n_watches; i++) {
		struct player_watch *w = &p->watches[i];
		int64_t ended = 0;

		drain(p, w->w, w->events, &w->start, &ended);
		if (ended)
			trace_die("watcher %lld was ended by a compaction",
				  (long long)w->number);
	}
}

static json_t *do_watch(struct player *p, const json_t *q)
{
	struct mvcc_watch *w;
	json_t *events = json_array(), *a;
	int64_t start = 0, ended = 0;
	int err = new_watch(p, q, trace_number(q, "rev"), &w);

	if (err) {
		json_decref(events);
		return json_pack("{s:b,s:s}", "canceled", 1, "reason",
				 cairn_errmsg());
	}
	drain(p, w, events, &start, &ended);
	if (ended) {
		a = json_pack("{s:b,s:I}", "canceled", 1, "compact_rev",
			      (json_int_t)ended);
		if (json_array_size(events))
			trace_die("events of a watcher that starts too early");
		json_decref(events);
	} else {
		a = json_pack("{s:I,s:o}", "rev",
			      (json_int_t)mvcc_watch_created(w), "events",
			      events);
	}
	mvcc_watch_free(w);
	return a;
}

static json_t *do_watch_open(struct player *p, const json_t *q)
{
	struct player_watch *w;

	p->watches = realloc(p->watches, (p->n_watches + 1) * sizeof(*w));
	if (!p->watches)
		trace_die("no memory");
	w = &p->watches[p->n_watches];
	*w = (struct player_watch){ .number = trace_number(q, "w"),
				    .q = json_deep_copy(q),
				    .events = json_array(),
				    .start = trace_number(q, "rev") };
	need(new_watch(p, q, w->start, &w->w), "watch");
	p->n_watches++;
	/* It goes on from there. */
	if (!w->start)
		w->start = mvcc_watch_created(w->w) + 1;
	return number("rev", mvcc_watch_created(w->w));
}

static json_t *do_watch_close(struct player *p, const json_t *q)
{
	for (size_t i = 0; i < p->n_watches; i++) {
		struct player_watch *w = &p->watches[i];
		json_t *a;

		if (w->number != trace_number(q, "w"))
			continue;
		a = json_pack("{s:O}", "events", w->events);
		watch_fini(w);
		*w = p->watches[--p->n_watches];
		return a;
	}
	trace_die("a watcher is closed that is not open");
}

void player_reopen(struct player *p, bool killed)
{
	struct cairn_env *after = NULL;

	drain_all(p);
	for (size_t i = 0; i < p->n_watches; i++) {
		struct player_watch *w = &p->watches[i];

		mvcc_watch_free(w->w);
		/* All there was has been told, if there was anything. */
		if (w->start <= mvcc_current(p->m))
			w->start = mvcc_current(p->m) + 1;
	}
	/* What it does while it is closed happens in a world of its own. */
	if (killed) {
		after = env_mem_crash_clone(p->env, 0, 100);
		if (!after)
			trace_die("no memory");
	}
	need(mvcc_close(p->m), "close");
	if (after) {
		env_mem_free(p->env);
		p->env = after;
	}
	open_store(p);
	for (size_t i = 0; i < p->n_watches; i++)
		need(new_watch(p, p->watches[i].q, p->watches[i].start,
			       &p->watches[i].w),
		     "watch after a restart");
}

/* ------------------------------------------------------------------ leases */

static json_t *do_lease_grant(struct player *p, const json_t *q)
{
	int64_t id = trace_number(q, "id"), granted;
	int err = mvcc_lease_grant(p->m, trace_number(q, "ttl"), &id, &granted);

	if (err)
		return trace_from_error(err);
	return json_pack("{s:I,s:I}", "id", (json_int_t)id, "ttl",
			 (json_int_t)granted);
}

static json_t *do_lease_revoke(struct player *p, const json_t *q)
{
	int64_t rev;
	int err = mvcc_lease_revoke(p->m, trace_number(q, "id"), &rev);

	return err ? trace_from_error(err) : number("rev", rev);
}

static json_t *do_lease_keepalive(struct player *p, const json_t *q)
{
	int64_t ttl;

	need(mvcc_lease_keepalive(p->m, trace_number(q, "id"), &ttl),
	     "keepalive");
	return number("ttl", ttl);
}

static int add_key(void *ctx, struct cairn_slice key)
{
	return json_array_append_new(ctx, trace_from_bytes(key));
}

static json_t *do_lease_ttl(struct player *p, const json_t *q)
{
	struct mvcc_lease_info info;
	json_t *keys;
	int err = mvcc_lease_get(p->m, trace_number(q, "id"), &info);

	if (err == CAIRN_NOT_FOUND)
		return number("ttl", -1);
	need(err, "lease");
	keys = json_array();
	need(mvcc_lease_keys(p->m, info.id, add_key, keys), "keys of a lease");
	return json_pack("{s:I,s:o}", "granted", (json_int_t)info.granted,
			 "keys", keys);
}

static json_t *do_lease_list(struct player *p)
{
	struct mvcc_lease_info *list = NULL;
	json_t *ids = json_array();
	size_t n;

	need(mvcc_lease_list(p->m, &list, &n), "leases");
	for (size_t i = 0; i < n; i++)
		json_array_append_new(ids, json_integer(list[i].id));
	free(list);
	return json_pack("{s:o}", "ids", ids);
}

/* -------------------------------------------------------------- everything */

static json_t *do_request(struct player *p, const char *op, const json_t *q)
{
	struct trace_memory mem = { 0 };
	const struct mvcc_request r = trace_request(&mem, op, q);
	struct mvcc_answer a;
	int err = mvcc_request(p->m, &r, NULL, &a);
	json_t *j = err ? trace_from_error(err) : trace_from_answer(&a);

	mvcc_answer_free(&a);
	trace_memory_fini(&mem);
	return j;
}

static json_t *do_compact(struct player *p, const json_t *q)
{
	int err = mvcc_compact(p->m, trace_number(q, "rev"), true, NULL);

	return err ? trace_from_error(err) : number("rev", mvcc_current(p->m));
}

static json_t *do_hash(struct player *p, const json_t *q)
{
	struct mvcc_hash h;
	int err = mvcc_hash(p->m, trace_number(q, "rev"), &h, NULL);

	if (err)
		return trace_from_error(err);
	return json_pack("{s:I,s:I}", "hash", (json_int_t)h.hash, "compact_rev",
			 (json_int_t)h.compact_rev);
}

static json_t *dispatch(struct player *p, const char *op, const json_t *q)
{
	if (strcmp(op, "compact") == 0)
		return do_compact(p, q);
	if (strcmp(op, "hashkv") == 0)
		return do_hash(p, q);
	if (strcmp(op, "watch") == 0)
		return do_watch(p, q);
	if (strcmp(op, "watch_open") == 0)
		return do_watch_open(p, q);
	if (strcmp(op, "watch_close") == 0)
		return do_watch_close(p, q);
	if (strcmp(op, "lease_grant") == 0)
		return do_lease_grant(p, q);
	if (strcmp(op, "lease_revoke") == 0)
		return do_lease_revoke(p, q);
	if (strcmp(op, "lease_keepalive") == 0)
		return do_lease_keepalive(p, q);
	if (strcmp(op, "lease_ttl") == 0)
		return do_lease_ttl(p, q);
	if (strcmp(op, "lease_list") == 0)
		return do_lease_list(p);
	if (strcmp(op, "sleep") == 0) {
		p->now_ms += trace_number(q, "ms");
		need(mvcc_lease_expire_due(p->m), "expiry");
		return json_object();
	}
	if (strcmp(op, "restart") == 0) {
		player_reopen(p, strcmp(trace_text(q, "how"), "kill") == 0);
		return json_object();
	}
	return do_request(p, op, q);
}

json_t *player_do(struct player *p, const char *op, const json_t *q)
{
	json_t *a = dispatch(p, op, q);

	/* They have been read all along. */
	drain_all(p);
	return a;
}
