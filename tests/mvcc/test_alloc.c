/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Allocations fail: the k-th one of a workload, once or from then on, of the
 * calling thread or of those in the background, for k = 1, 2, ... until a run
 * ends without. Each time
 *
 *   - who fails says so; then all that can be read, the past, leases and
 *     attributes included, is as it was before, and no revision is used up
 *   - what was done is there, with the values that were written, at once and
 *     after reopening
 *   - nothing is leaked, and closing works
 *
 * By default k goes up in steps; CAIRN_ALLOC=full tries every k.
 */
#include "tests/support/alloc_fail.h"

#include "mvcc/encode.h"
#include "mvcc/forget.h"
#include "mvcc/hash.h"
#include "mvcc/import.h"
#include "mvcc/lease.h"
#include "mvcc/request.h"
#include "mvcc/watch.h"
#include "tests/mvcc/fixture.h"
#include "tests/support/runner.h"

#define N(array)  (sizeof(array) / sizeof((array)[0]))
#define LARGE     (6 * CHUNK)
#define VALUE_MAX (LARGE + 100)
#define LEASE     77
/* Of a workload in a mode. */
#define SOME 6

static const char *const keys[] = { "a",     "b",         "dir/",  "dir/one",
				    "dir/s", "dir/sub/x", "dir/t", "z" };

/* What the test itself knows of the newest values. */
struct model {
	char value[N(keys)][VALUE_MAX];
};

struct run {
	const struct workload *w;
	struct cairn_env *image;
	struct cairn_env *env;
	struct mvcc *m;
	struct model now;
	/* All that can be read, as text. */
	struct buf seen;
};

struct workload {
	const char *name;
	void (*work)(struct run *r);
	bool opens; /* the work opens the store itself */
	bool empty; /* there is none before */
	bool plain;
	int modes;
};

/* Whether a call succeeded; if not then because there was no memory. */
static bool ok(int err, const char *what)
{
	if (!err)
		return true;
	must(alloc_fail_hit(), "%s: %s: %s", what, cairn_strerror(err),
	     cairn_errmsg());
	must(err == CAIRN_ENOMEM || err == CAIRN_EROFS ||
		     (err == CAIRN_EIO &&
		      strstr(cairn_errmsg(), "cannot start")),
	     "%s without memory: %s: %s", what, cairn_strerror(err),
	     cairn_errmsg());
	must(strstr(cairn_errmsg(), "memory") ||
		     strstr(cairn_errmsg(), "cannot start"),
	     "%s without memory says: %s", what, cairn_errmsg());
	return false;
}

/* -------------------------------------------------------- what can be read */

static void add_row(struct buf *out, struct mvcc *m, const struct mvcc_row *row)
{
	char *value = row->deleted ? NULL : read_row(m, row);

	ck_ok(buf_printf(out, "%.*s %d.%d %s create %d version %d", /* */
			 (int)row->key.len, (const char *)row->key.data,
			 (int)row->main, row->sub, row->deleted ? "D" : "P",
			 (int)row->create_rev, (int)row->version));
	if (value)
		ck_ok(buf_printf(out, " lease %d mode %o type %d xattrs %d: %s",
				 (int)row->lease, row->attrs.mode,
				 row->attrs.type, (int)row->attrs.xattrs.len,
				 value));
	ck_ok(buf_append(out, "\n", 1));
	free(value);
}

static int add_key(void *ctx, struct cairn_slice key)
{
	return buf_printf(ctx, " %.*s", (int)key.len, (const char *)key.data);
}

static void add_leases(struct buf *out, struct mvcc *m)
{
	struct mvcc_lease_info *leases;
	size_t n;

	ck_ok(mvcc_lease_list(m, &leases, &n));
	for (size_t i = 0; i < n; i++) {
		ck_ok(buf_printf(out, "lease %d for %d:", (int)leases[i].id,
				 (int)leases[i].granted));
		ck_ok(mvcc_lease_keys(m, leases[i].id, add_key, out));
		ck_ok(buf_append(out, "\n", 1));
	}
	free(leases);
}

static void add_past(struct buf *out, struct mvcc *m)
{
	struct mvcc_changes *c;
	struct mvcc_change one;
	int err;

	ck_ok(mvcc_changes_new(m, mvcc_oldest(m), INT64_MAX, &c));
	while (!(err = mvcc_changes_next(c, &one)))
		ck_ok(buf_printf(out, "%d.%d %c %.*s\n", (int)one.main,
				 (int)one.sub, one.deleted ? 'D' : 'P',
				 (int)one.key.len, (const char *)one.key.data));
	ck_code(err, CAIRN_NOT_FOUND);
	mvcc_changes_free(c);
	for (size_t i = 0; i < N(keys); i++) {
		struct mvcc_history *h;
		struct mvcc_row row;

		ck_ok(mvcc_history_new(m, S(keys[i]), &h));
		while (!(err = mvcc_history_next(h, &row)))
			if (row.main >= mvcc_oldest(m))
				add_row(out, m, &row);
		ck_code(err, CAIRN_NOT_FOUND);
		mvcc_history_free(h);
	}
}

/* All of it as text; and the newest values are those of the model. */
static void look(struct run *r, struct buf *out)
{
	struct mvcc_scan *s;
	struct mvcc_row row;
	size_t n = 0;
	int err;

	buf_clear(out);
	if (!mvcc_is_plain(r->m)) {
		ck_ok(buf_printf(out, "%d to %d\n", (int)mvcc_oldest(r->m),
				 (int)mvcc_current(r->m)));
		add_leases(out, r->m);
		add_past(out, r->m);
	}
	ck_ok(mvcc_scan_new(r->m, 0, none(), none(), false, &s));
	while (!(err = mvcc_scan_next(s, &row))) {
		add_row(out, r->m, &row);
		n++;
	}
	ck_code(err, CAIRN_NOT_FOUND);
	mvcc_scan_free(s);
	for (size_t i = 0; i < N(keys); i++) {
		const char *want = r->now.value[i];

		ck_value(r->m, keys[i], 0, *want ? want : NULL);
		n -= *want != '\0';
	}
	must(n == 0, "keys that nobody wrote: %.*s", (int)out->len,
	     (const char *)out->data);
}

static void check_same(struct run *r, const char *when)
{
	struct buf now = { 0 };

	alloc_fail_pause();
	look(r, &now);
	if (!slice_eq(buf_slice(&now), buf_slice(&r->seen))) {
		alloc_fail_disarm();
		fprintf(stderr, "%s:\n%.*sand not\n%.*s", when, (int)now.len,
			(const char *)now.data, (int)r->seen.len,
			(const char *)r->seen.data);
		must(false, "%s: not as before", when);
	}
	buf_fini(&now);
	alloc_fail_go_on();
}

/* A call that changes the store has returned; whether it did. */
static bool changed(struct run *r, int err, const char *what)
{
	if (!ok(err, what)) {
		check_same(r, what);
		return false;
	}
	return true;
}

/* The model has been brought up to date with a change. */
static void see(struct run *r)
{
	alloc_fail_pause();
	look(r, &r->seen);
	alloc_fail_go_on();
}

/* ----------------------------------------------------------------- workload */

static void value_of(int i, int op, bool large, char text[VALUE_MAX])
{
	snprintf(text, VALUE_MAX, "%d of %d %0*d", op, i, large ? LARGE : 10,
		 op);
}

static void set(struct run *r, int i, const char *value)
{
	snprintf(r->now.value[i], VALUE_MAX, "%s", value);
}

static void write_key(struct run *r, int i, int op, bool large)
{
	struct mvcc_attrs attrs = { .has_mode = op % 2,
				    .mode = op % 2 ? 0600 : 0 };
	char value[VALUE_MAX];
	int64_t rev = 0, was = mvcc_current(r->m);

	value_of(i, op, large, value);
	if (changed(r, mvcc_put(r->m, S(keys[i]), S(value), &attrs, &rev),
		    "a put")) {
		must(rev == was + 1, "revision %d after %d", (int)rev,
		     (int)was);
		set(r, i, value);
		see(r);
	}
}

static void delete_key(struct run *r, int i)
{
	if (changed(r, mvcc_delete(r->m, S(keys[i]), NULL), "a delete")) {
		set(r, i, "");
		see(r);
	}
}

static void work_put(struct run *r)
{
	for (int i = 0; i < 8; i++) {
		write_key(r, i == 2 ? 1 : i, 10 + i, i % 3 == 0);
		if (i % 3 == 2)
			delete_key(r, i);
	}
}

/* Puts, a move, an exchange, other attributes, a lease, all in one. */
static int fill_txn(struct mvcc_txn *t, const char *value, bool leases)
{
	const struct mvcc_attrs attrs = { .has_mode = true,
					  .mode = 0640,
					  .xattrs = S("\1a\1b") };
	int err = mvcc_txn_put(t, S("a"), S(value), &attrs);

	if (!err && leases)
		err = mvcc_txn_set_lease(t, LEASE);
	if (!err)
		err = mvcc_txn_move(t, S("b"), S("z"));
	if (!err)
		err = mvcc_txn_exchange(t, S("dir/one"), S("dir/s"));
	if (!err && leases)
		err = mvcc_txn_set_attrs(t, S("dir/t"), &attrs);
	if (!err)
		err = mvcc_txn_delete(t, S("dir/sub/x"));
	return err;
}

static void work_txn(struct run *r)
{
	struct model m = r->now;
	char value[VALUE_MAX];
	struct mvcc_txn *t;
	int err;

	if (!ok(mvcc_txn_new(r->m, &t), "a transaction"))
		return;
	value_of(0, 20, true, value);
	if (ok(fill_txn(t, value, !mvcc_is_plain(r->m)), "a transaction")) {
		snprintf(m.value[0], VALUE_MAX, "%s", value);
		memcpy(m.value[7], m.value[1], VALUE_MAX);
		m.value[1][0] = '\0';
		memcpy(m.value[3], r->now.value[4], VALUE_MAX);
		memcpy(m.value[4], r->now.value[3], VALUE_MAX);
		m.value[5][0] = '\0';
		/* It is as before after a failure. */
		for (int i = 0; i < 3; i++) {
			err = mvcc_txn_commit(t, i == 1, NULL);
			if (changed(r, err, "a commit"))
				break;
		}
		if (!err) {
			r->now = m;
			see(r);
		}
	}
	mvcc_txn_free(t);
	write_key(r, 1, 21, false);
}

/* A new value, and then the same one changed in the middle and cut. */
static void work_object(struct run *r)
{
	struct mvcc_pinned_row row = { 0 };
	char value[VALUE_MAX], part[16];
	struct mvcc_object *o = NULL;
	struct mvcc_txn *t = NULL;
	size_t got, len;
	int err = mvcc_object_new(r->m, &o);

	value_of(6, 30, true, value);
	len = strlen(value);
	for (size_t off = 0; !err && off < len; off += 50)
		err = mvcc_object_write(o, off, value + off,
					len - off < 50 ? len - off : 50);
	if (!err)
		err = mvcc_object_read(o, 70, part, sizeof(part), &got);
	if (!err)
		must(!memcmp(part, value + 70, sizeof(part)), "read: %.16s",
		     part);
	if (!err)
		err = mvcc_txn_new(r->m, &t);
	if (!err)
		err = mvcc_txn_put_object(t, S(keys[6]), o, NULL);
	if (!err)
		err = mvcc_txn_commit(t, false, NULL);
	if (changed(r, err, "a new object")) {
		set(r, 6, value);
		see(r);
		memcpy(value + 100, "changed", 7);
		err = mvcc_object_write(o, 100, "changed", 7);
		if (!err) {
			value[200] = '\0';
			err = mvcc_object_truncate(o, 200);
		}
		if (!err)
			err = mvcc_txn_put_object(t, S(keys[6]), o, NULL);
		if (!err)
			err = mvcc_txn_commit(t, false, NULL);
		if (changed(r, err, "the same object")) {
			set(r, 6, value);
			see(r);
		}
	}
	mvcc_txn_free(t);
	mvcc_object_free(o);
	t = NULL;
	o = NULL;
	/* One that is in chunks already. */
	snprintf(value, sizeof(value), "%s", r->now.value[3]);
	memcpy(value + 10, "begin", 5);
	memcpy(value + 300, "end", 3);
	err = mvcc_get(r->m, S(keys[3]), 0, &row);
	if (!err)
		err = mvcc_object_open(r->m, &row.row, &o);
	if (!err)
		err = mvcc_object_write(o, 10, "begin", 5);
	if (!err)
		err = mvcc_object_write(o, 300, "end", 3);
	if (!err)
		err = mvcc_txn_new(r->m, &t);
	if (!err)
		err = mvcc_txn_put_object(t, S(keys[3]), o, NULL);
	if (!err)
		err = mvcc_txn_commit(t, false, NULL);
	if (changed(r, err, "an old object")) {
		set(r, 3, value);
		see(r);
	}
	mvcc_txn_free(t);
	mvcc_object_free(o);
	mvcc_row_release(&row);
}

static int index_of(struct cairn_slice key)
{
	for (int i = 0; i < (int)N(keys); i++)
		if (slice_eq(key, S(keys[i])))
			return i;
	must(false, "a key that nobody wrote: %.*s", (int)key.len,
	     (const char *)key.data);
	return 0;
}

static void work_read(struct run *r)
{
	for (int i = 0; i < (int)N(keys); i++) {
		struct mvcc_pinned_row row = { 0 };
		char value[VALUE_MAX];
		size_t got;
		int err = mvcc_get(r->m, S(keys[i]), 0, &row);

		if (err == CAIRN_NOT_FOUND) {
			must(!r->now.value[i][0], "%s is not there", keys[i]);
		} else if (ok(err, "a get")) {
			err = mvcc_read(r->m, &row.row, 0, value, VALUE_MAX,
					&got);
			if (ok(err, "a read"))
				must(slice_eq(slice_of(value, got),
					      S(r->now.value[i])),
				     "%s is another", keys[i]);
		}
		mvcc_row_release(&row);
	}
	if (ok(mvcc_pin(r->m, mvcc_current(r->m)), "a pin"))
		mvcc_unpin(r->m, mvcc_current(r->m));
}

static void scan(struct run *r, bool reverse)
{
	int i = reverse ? (int)N(keys) : -1, step = reverse ? -1 : 1, err;
	struct mvcc_scan *s;
	struct mvcc_row row;

	if (!ok(mvcc_scan_new(r->m, 0, none(), none(), reverse, &s), "a scan"))
		return;
	do {
		err = mvcc_scan_next(s, &row);
		do
			i += step;
		while (i >= 0 && i < (int)N(keys) && !r->now.value[i][0]);
		if (!err)
			must(i >= 0 && i < (int)N(keys) &&
				     slice_eq(row.key, S(keys[i])),
			     "a scan shows %.*s", (int)row.key.len,
			     (const char *)row.key.data);
	} while (!err);
	if (err == CAIRN_NOT_FOUND)
		must(i < 0 || i >= (int)N(keys), "a scan ends before %s",
		     keys[i]);
	else
		ok(err, "a scan");
	mvcc_scan_free(s);
}

static void list(struct run *r)
{
	struct mvcc_list *l;
	struct mvcc_entry e;
	int err, n = 0;

	if (!ok(mvcc_list_new(r->m, 0, S("dir/"), none(), &l), "a list"))
		return;
	while (!(err = mvcc_list_next(l, &e)))
		n++;
	if (err == CAIRN_NOT_FOUND)
		must(n == 4, "%d names", n);
	else
		ok(err, "a list");
	mvcc_list_free(l);
}

static void lookup(struct run *r)
{
	struct mvcc_pinned_row a = { 0 }, b = { 0 };
	struct mvcc_entry e;

	if (ok(mvcc_lookup(r->m, 0, S("dir/"), S("sub"), &e, &a, &b),
	       "a look-up"))
		must(e.is_dir && !e.is_file, "dir/sub is no directory");
	mvcc_row_release(&a);
	mvcc_row_release(&b);
	ok(mvcc_any(r->m, 0, S("dir/sub/"), none()), "a look below");
}

static void work_scan(struct run *r)
{
	struct mvcc_changes *c;
	struct mvcc_history *h;
	struct mvcc_change one;
	struct mvcc_row row;
	int64_t rev, versions = 0;
	int err;

	scan(r, false);
	scan(r, true);
	list(r);
	lookup(r);
	if (r->w->plain)
		return;
	if (ok(mvcc_history_new(r->m, S(keys[3]), &h), "a history")) {
		while (!(err = mvcc_history_next(h, &row)))
			must(row.version == ++versions, "version %d, not %d",
			     (int)row.version, (int)versions);
		if (err == CAIRN_NOT_FOUND)
			must(versions == 3, "%d versions", (int)versions);
		else
			ok(err, "a history");
		mvcc_history_free(h);
	}
	if (ok(mvcc_changes_new(r->m, 1, INT64_MAX, &c), "changes")) {
		while (!(err = mvcc_changes_next(c, &one)))
			versions = one.main;
		if (err == CAIRN_NOT_FOUND)
			must(versions == mvcc_current(r->m), "up to %d",
			     (int)versions);
		else
			ok(err, "changes");
		mvcc_changes_free(c);
	}
	if (ok(mvcc_rev_at(r->m, INT64_MAX, &rev), "a time"))
		must(rev == mvcc_current(r->m), "revision %d", (int)rev);
}

static int see_row(void *ctx, const struct mvcc_row *row)
{
	struct run *r = ctx;

	if (row->value.data)
		must(slice_eq(row->value, S(r->now.value[index_of(row->key)])),
		     "a range shows another value");
	return CAIRN_OK;
}

static void work_request(struct run *r)
{
	const struct mvcc_range_request all = {
		.key = slice_of("", 1),
		.end = slice_of("", 1),
		.order = MVCC_SORT_DESCEND,
		.target = MVCC_SORT_VALUE,
	};
	char value[VALUE_MAX] = "";
	const struct mvcc_compare compare = {
		.key = S("a"),
		.target = MVCC_COMPARE_VERSION,
		.result = MVCC_COMPARE_GREATER,
		.number = 0,
	};
	const struct mvcc_request ops[] = {
		{ .kind = MVCC_REQUEST_PUT,
		  .put = { .key = S("a"),
			   .value = { (uint8_t *)value, LARGE },
			   .prev = true } },
		{ .kind = MVCC_REQUEST_RANGE, .range = all },
		{ .kind = MVCC_REQUEST_DELETE,
		  .del = { .key = S("dir/"), .end = S("dir0"), .prev = true } },
		{ .kind = MVCC_REQUEST_PUT,
		  .put = { .key = S("dir/t"),
			   .value = S("new"),
			   .lease = LEASE } },
	};
	const struct mvcc_request txn = {
		.kind = MVCC_REQUEST_TXN,
		.txn = { .compares = &compare,
			 .n_compares = 1,
			 .success = ops,
			 .n_success = 3 },
	};
	struct mvcc_answer a;

	if (ok(mvcc_range(r->m, &all, NULL, see_row, r, &a), "a range"))
		must(a.count == 6, "%d keys", (int)a.count);
	mvcc_answer_free(&a);
	memset(value, 'r', LARGE);
	if (changed(r, mvcc_request(r->m, &txn, NULL, &a), "a request")) {
		must(a.n_answers == 3 && a.succeeded, "answers");
		set(r, 0, value);
		for (int i = 2; i < 7; i++)
			set(r, i, "");
		see(r);
	}
	mvcc_answer_free(&a);
	if (changed(r, mvcc_request(r->m, &ops[3], NULL, &a), "a request")) {
		set(r, 6, "new");
		see(r);
	}
	mvcc_answer_free(&a);
}

/* Events come in order and none is left out, whatever fails between. */
static void watch_all(struct run *r, struct mvcc_watch *w, int64_t *rev)
{
	struct mvcc_watch_message msg = { 0 };
	int64_t last = *rev;

	for (int i = 0; i < 30 && *rev < mvcc_current(r->m); i++) {
		int err = mvcc_watch_next(w, 0, &msg);

		if (err == CAIRN_ETIMEDOUT || err == CAIRN_NOT_FOUND)
			break;
		if (!ok(err, "a watcher"))
			continue;
		must(!msg.canceled, "a watcher is cancelled");
		for (size_t k = 0; k < msg.n; k++) {
			must(msg.events[k].row.main == last ||
				     msg.events[k].row.main == last + 1,
			     "revision %d after %d",
			     (int)msg.events[k].row.main, (int)last);
			last = msg.events[k].row.main;
		}
		must(msg.rev >= last, "told up to %d, says %d", (int)last,
		     (int)msg.rev);
		*rev = last = msg.rev;
		mvcc_watch_message_fini(&msg);
	}
	mvcc_watch_message_fini(&msg);
}

static void work_watch(struct run *r)
{
	const struct mvcc_watch_request all = { .end = slice_of("", 1),
						.start = 2,
						.prev = true };
	struct mvcc_watch *w;
	int64_t rev = 1;

	if (!ok(mvcc_watch_new(r->m, &all, &w), "a watcher"))
		return;
	watch_all(r, w, &rev);
	write_key(r, 1, 50, true);
	write_key(r, 4, 51, false);
	delete_key(r, 1);
	watch_all(r, w, &rev);
	alloc_fail_pause();
	watch_all(r, w, &rev);
	must(rev == mvcc_current(r->m), "a watcher is at %d, not %d", (int)rev,
	     (int)mvcc_current(r->m));
	alloc_fail_go_on();
	mvcc_watch_free(w);
}

static void work_lease(struct run *r)
{
	struct mvcc_lease_info info;
	int64_t id = 0, granted, ttl;
	char value[VALUE_MAX];
	struct mvcc_txn *t;
	int err;

	if (changed(r, mvcc_lease_grant(r->m, 1000, &id, &granted), "a grant"))
		see(r);
	if (id) {
		ok(mvcc_lease_get(r->m, id, &info), "a lease");
		err = mvcc_txn_new(r->m, &t);
		value_of(4, 60, false, value);
		if (!err) {
			err = mvcc_txn_put(t, S(keys[4]), S(value), NULL);
			if (!err)
				err = mvcc_txn_set_lease(t, id);
			if (!err)
				err = mvcc_txn_commit(t, false, NULL);
			mvcc_txn_free(t);
		}
		if (changed(r, err, "a put on a lease")) {
			set(r, 4, value);
			see(r);
		}
		if (changed(r, mvcc_lease_keepalive(r->m, id, &ttl),
			    "keeping alive"))
			must(ttl == 1000, "kept for %d", (int)ttl);
		if (changed(r, mvcc_lease_revoke(r->m, id, NULL),
			    "a revocation")) {
			if (!err)
				set(r, 4, "");
			see(r);
		}
	}
	if (changed(r, mvcc_lease_revoke(r->m, LEASE, NULL), "a revocation")) {
		set(r, 6, "");
		see(r);
	}
	ok(mvcc_lease_expire_due(r->m), "expiring");
}

static void work_forget(struct run *r)
{
	if (changed(r, mvcc_forget(r->m, mvcc_current(r->m) - 2), "a forget"))
		see(r);
	write_key(r, 3, 70, true);
	ok(cairn_flush(mvcc_db(r->m), true), "a flush");
	forget_wait_idle(r->m);
	ok(cairn_compact_range(mvcc_db(r->m), none(), none(), NULL),
	   "a compaction");
	forget_wait_idle(r->m);
	check_same(r, "compacted");
}

static void work_hash(struct run *r)
{
	enum mvcc_refusal refusal = MVCC_REFUSAL_NONE;
	struct mvcc_hash h, again;
	int err = mvcc_hash(r->m, 0, &h, &refusal);

	ok(err, "a hash");
	must(refusal == MVCC_REFUSAL_NONE, "a hash is refused");
	alloc_fail_pause();
	must(!mvcc_hash(r->m, 0, &again, &refusal), "%s", cairn_errmsg());
	alloc_fail_go_on();
	if (!err)
		must(h.hash == again.hash, "another hash");
	err = mvcc_compact(r->m, mvcc_current(r->m) - 1, true, &refusal);
	/* It is forgotten, but not gone from the tables yet. */
	if (err && mvcc_oldest(r->m) > 1)
		must(alloc_fail_hit(), "a compaction: %s", cairn_errmsg());
	else
		changed(r, err, "a compaction");
	see(r);
	must(mvcc_oldest(r->m) == 1 ||
		     mvcc_oldest(r->m) == mvcc_current(r->m) - 1,
	     "forgotten up to %d", (int)mvcc_oldest(r->m));
	must(refusal == MVCC_REFUSAL_NONE, "a compaction is refused");
}

static int open_store(struct cairn_env *env, bool plain, struct mvcc **out)
{
	struct cairn_options *o;
	struct mvcc_options mo = { .chunk_size = CHUNK,
				   .lease.manual = true,
				   .plain = plain };
	int err;

	alloc_fail_pause();
	o = small_options(env);
	ck_ok(cairn_options_set(o, "create_if_missing",
				plain ? "false" : "true"));
	mo.engine = o;
	alloc_fail_go_on();
	*out = NULL;
	err = mvcc_open("/db", &mo, out);
	cairn_options_free(o);
	if (err)
		must(!*out, "a failed open returns something");
	return err;
}

static void close_store(struct run *r)
{
	int err = mvcc_close(r->m);

	must(err != CAIRN_EBUSY, "closing: %s", cairn_errmsg());
	ok(err, "closing");
	r->m = NULL;
}

static void work_open(struct run *r)
{
	if (!ok(open_store(r->env, r->w->plain, &r->m), "opening"))
		return;
	if (r->w->empty)
		see(r);
	else
		check_same(r, "opened");
	close_store(r);
}

static void work_close(struct run *r)
{
	write_key(r, 0, 80, true);
	close_store(r);
}

static void work_mend(struct run *r)
{
	struct mvcc_mend_report report;
	struct cairn_options *o;

	alloc_fail_pause();
	o = small_options(r->env);
	alloc_fail_go_on();
	if (ok(mvcc_mend("/db", o, &report), "mending"))
		must(report.revisions && !report.history_forgotten, "mended");
	cairn_options_free(o);
}

#define SNAPSHOT "/snap.db"

static void copy_snapshot(struct run *r)
{
	const char *srcdir = getenv("srcdir");
	struct buf bytes = { 0 };
	struct wfile *f;
	char path[4096];

	snprintf(path, sizeof(path), "%s/tests/data/etcd/small.db",
		 srcdir ? srcdir : "..");
	ck_ok(env_read_file(env_posix(), path, 1 << 20, &bytes));
	ck_ok(env_open_write(r->env, SNAPSHOT, &f));
	ck_ok(wfile_append(f, bytes.data, bytes.len));
	ck_ok(wfile_sync(f));
	ck_ok(wfile_close(f));
	buf_fini(&bytes);
}

/* All or nothing; and it can be tried again. */
static void work_import(struct run *r)
{
	struct mvcc_import_report report;
	struct mvcc_import_options o = { .env = r->env, .chunk_size = CHUNK };
	struct cairn_options *engine;
	struct mvcc *m;
	int err;

	alloc_fail_pause();
	copy_snapshot(r);
	engine = small_options(r->env);
	alloc_fail_go_on();
	o.engine = engine;
	err = mvcc_import_etcd(SNAPSHOT, "/new", &o, &report);
	alloc_fail_pause();
	if (ok(err, "an import")) {
		struct mvcc_options mo = { .engine = engine };

		ck_ok(mvcc_open("/new", &mo, &m));
		must(mvcc_current(m) == report.current, "imported up to %d",
		     (int)mvcc_current(m));
		ck_ok(mvcc_close(m));
	} else {
		struct mvcc_options mo = { .engine = engine };

		ck_ok(cairn_options_set(engine, "create_if_missing", "false"));
		must(mvcc_open("/new", &mo, &m) != CAIRN_OK,
		     "half an import can be opened");
	}
	cairn_options_free(engine);
	alloc_fail_go_on();
}

#define MINE ALLOC_FAIL_MODES_MINE
#define ANY  ALLOC_FAIL_MODES

static const struct workload workloads[] = {
	{ "open new", work_open, true, true, false, ANY },
	{ "open", work_open, true, false, false, ANY },
	{ "put", work_put, false, false, false, ANY },
	{ "txn", work_txn, false, false, false, MINE },
	{ "object", work_object, false, false, false, ANY },
	{ "read", work_read, false, false, false, MINE },
	{ "scan", work_scan, false, false, false, MINE },
	{ "request", work_request, false, false, false, MINE },
	{ "watch", work_watch, false, false, false, MINE },
	{ "lease", work_lease, false, false, false, MINE },
	{ "forget", work_forget, false, false, false, ANY },
	{ "hash", work_hash, false, false, false, ANY },
	{ "close", work_close, false, false, false, ANY },
	{ "mend", work_mend, true, false, false, MINE },
	{ "import", work_import, true, true, false, ANY },
	{ "open plain", work_open, true, false, true, MINE },
	{ "put plain", work_put, false, false, true, MINE },
	{ "txn plain", work_txn, false, false, true, MINE },
	{ "read plain", work_read, false, false, true, MINE },
	{ "scan plain", work_scan, false, false, true, MINE },
};

/* Revisions of several keys in tables and in the log, one key on a lease. */
static void prepare(struct run *r)
{
	const struct mvcc_attrs dir = { .type = MVCC_DIR };
	int64_t id = LEASE, granted;
	struct mvcc_txn *t;

	for (int i = 0; i < (int)N(keys); i++)
		if (i != 2)
			write_key(r, i, 1, i % 3 == 0);
	if (r->w->plain)
		return;
	delete_key(r, 7);
	ck_ok(mvcc_put(r->m, S("dir/"), none(), &dir, NULL));
	ck_ok(mvcc_delete(r->m, S("dir/"), NULL));
	ck_ok(cairn_flush(mvcc_db(r->m), true));
	write_key(r, 3, 2, true);
	write_key(r, 3, 3, true);
	ck_ok(mvcc_lease_grant(r->m, 500, &id, &granted));
	ck_ok(mvcc_txn_new(r->m, &t));
	ck_ok(mvcc_txn_put(t, S(keys[6]), S("on a lease"), NULL));
	ck_ok(mvcc_txn_set_lease(t, LEASE));
	ck_ok(mvcc_txn_commit(t, false, NULL));
	mvcc_txn_free(t);
	set(r, 6, "on a lease");
	see(r);
}

/* When there is memory again. */
static void recover(struct run *r)
{
	if (r->m) {
		check_same(r, "afterwards");
		ck_ok(cairn_resume(mvcc_db(r->m)));
		write_key(r, 1, 90, true);
		forget_wait_idle(r->m);
		ck_ok(mvcc_close(r->m));
	}
	ck_ok(open_store(r->env, r->w->plain, &r->m));
	if (r->w->empty)
		see(r);
	check_same(r, "reopened");
	write_key(r, 1, 91, false);
	forget_wait_idle(r->m);
	if (!r->w->plain)
		must(count_entries(r->m, "o") == 0, "objects are left");
	ck_ok(mvcc_close(r->m));
}

static void run_once(void *ctx)
{
	struct run *from = ctx;
	int64_t live = alloc_fail_live();
	struct run r = *from;

	r.env = r.image ? env_mem_crash_clone(r.image, 1, 100)
			: env_mem_new(ENV_MEM_STRICT);
	ck_assert_ptr_nonnull(r.env);
	r.seen = (struct buf){ 0 };
	ck_ok(buf_append(&r.seen, from->seen.data, from->seen.len));
	if (!r.w->opens) {
		ck_ok(open_store(r.env, r.w->plain, &r.m));
		r.m->stage_bytes = 0;
	}
	alloc_fail_arm();
	r.w->work(&r);
	alloc_fail_disarm();
	recover(&r);
	buf_fini(&r.seen);
	env_mem_free(r.env);
	live = alloc_fail_live() - live;
	must(live == 0, "%lld allocations are not freed", (long long)live);
}

static void make_plain(struct cairn_env *env)
{
	struct cairn_options *o = small_options(env);
	struct cairn_db *db;

	ck_ok(cairn_open("/db", o, &db));
	ck_ok(cairn_close(db));
	cairn_options_free(o);
}

static void loop(const struct workload *w, int mode)
{
	struct run r = { .w = w };

	if (!w->empty) {
		r.env = env_mem_new(ENV_MEM_STRICT);
		ck_assert_ptr_nonnull(r.env);
		if (w->plain)
			make_plain(r.env);
		ck_ok(open_store(r.env, w->plain, &r.m));
		prepare(&r);
		/* As after a kill. */
		r.image = env_mem_crash_clone(r.env, 1, 100);
		ck_assert_ptr_nonnull(r.image);
		ck_ok(mvcc_close(r.m));
		env_mem_free(r.env);
		r.m = NULL;
	}
	alloc_fail_loop(w->name, mode, SOME, run_once, &r);
	if (r.image)
		env_mem_free(r.image);
	buf_fini(&r.seen);
}

START_TEST(without_memory_nothing_is_lost_leaked_or_half_done)
{
	loop(&workloads[_i / ALLOC_FAIL_MODES], _i % ALLOC_FAIL_MODES);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("alloc");

	for (size_t i = 0; i < N(workloads); i++) {
		TCase *tc = tcase_create(workloads[i].name);
		int first = (int)i * ALLOC_FAIL_MODES;

		tcase_set_timeout(tc, 1800);
		tcase_add_loop_test(
			tc, without_memory_nothing_is_lost_leaked_or_half_done,
			first, first + workloads[i].modes);
		suite_add_tcase(s, tc);
	}
	return run_suite(s);
}
