/* SPDX-License-Identifier: BSD-3-Clause */
#include "mvcc/watch.h"

#include <stdlib.h>
#include <time.h>

#include "engine/base/error.h"
#include "mvcc/store.h"
#include "mvcc/txn_impl.h"

/* A message ends with the revision that brings it here. */
#define MESSAGE_EVENTS 1000u
#define MESSAGE_BYTES  ((size_t)1 << 20)
/* etcd's limit of a request. */
#define FRAGMENT_BYTES 1572864u
/* What is looked at in one go, before anything else is. */
#define RING_STEP 64u
#define LOG_STEP  4096u

/* A thread in mvcc_watch_next(), on its stack. */
struct waiter {
	struct cond wake;
};

struct mvcc_watch {
	struct mvcc *m;
	struct watch_node node; /* the range */
	bool no_put;
	bool no_delete;
	bool prev;
	bool fragment;
	size_t fragment_bytes;
	uint64_t progress_us;
	int64_t created;

	/*
	 * All up to next, and of next itself what is below sub, is told. While
	 * it is idle that is a lower bound: it has told what the hub has seen.
	 * Written by the thread in mvcc_watch_next(), and under mu by those who
	 * take it out of the tree.
	 */
	int64_t next;
	int32_t sub;
	/* Since then it has told nothing. Of the thread in mvcc_watch_next().
	 */
	uint64_t quiet_us;

	/* Guarded by watch.mu. */
	bool idle; /* in the tree */
	bool canceled;
	int64_t compact_rev;
	bool asked; /* for its progress */
	struct waiter *waiter;
	void (*ready)(void *ctx);
	void *ready_ctx;
	struct mvcc_watch *hit; /* see put_to_watchers() */
};

static uint64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

/* -------------------------------------------------------------------- hub */

void watch_hub_init(struct watch_hub *h)
{
	mutex_init(&h->mu);
}

void watch_hub_fini(struct watch_hub *h)
{
	assert(!h->idle.root);
	watch_ring_stop(&h->ring);
	mutex_fini(&h->mu);
}

static struct mvcc_watch *watch_of(struct watch_node *n)
{
	return list_entry(n, struct mvcc_watch, node);
}

/* Somebody may want to call mvcc_watch_next(). watch.mu is held. */
static void wake(struct mvcc_watch *w)
{
	assert_held(&w->m->watch.mu);
	if (w->waiter)
		cond_signal(&w->waiter->wake);
	if (w->ready)
		w->ready(w->ready_ctx);
}

/* What a change means to the watchers. */
struct hits {
	struct mvcc_watch *first;
	int64_t main;
	bool deleted;
};

static bool wants(const struct mvcc_watch *w, bool deleted)
{
	return deleted ? !w->no_delete : !w->no_put;
}

static void on_hit(void *ctx, struct watch_node *n)
{
	struct hits *hits = ctx;
	struct mvcc_watch *w = watch_of(n);

	/* It may start later, or have been made after the revision was. */
	if (hits->main < w->next || !wants(w, hits->deleted))
		return;
	w->hit = hits->first;
	hits->first = w;
}

static void put_to_watchers(struct watch_hub *h, int64_t main,
			    const struct change *ch)
{
	struct hits hits = { .main = main, .deleted = ch->deleted };

	watch_tree_find(&h->idle, ch->key, on_hit, &hits);
	while (hits.first) {
		struct mvcc_watch *w = hits.first;

		hits.first = w->hit;
		w->hit = NULL;
		watch_tree_remove(&h->idle, &w->node);
		w->idle = false;
		w->next = main;
		wake(w);
	}
}

void watch_publish(struct commit *c)
{
	struct watch_hub *h = &c->m->watch;
	struct watch_block *b;

	if (!atomic_load(&h->n))
		return;
	b = watch_block_new(c);
	mutex_lock(&h->mu);
	if (atomic_load(&h->n)) {
		if (c->main > h->seen)
			h->seen = c->main;
		watch_ring_push(&h->ring, c->main, b);
		b = NULL;
		for (size_t i = 0; h->idle.root && i < c->n; i++)
			put_to_watchers(h, c->main, &c->changes[i]);
	}
	mutex_unlock(&h->mu);
	watch_block_unref(b);
}

/* --------------------------------------------------------------- watchers */

static int check_request(const struct mvcc *m,
			 const struct mvcc_watch_request *r)
{
	const struct cairn_slice zero = slice_of("", 1);
	struct cairn_slice key = r->key.len ? r->key : zero;
	int err = store_need_revisions(m);

	if (err)
		return err;
	if (r->end.len && !slice_eq(r->end, zero) &&
	    slice_cmp(r->end, key) <= 0)
		return error_set(CAIRN_EINVAL, "mvcc: watcher range is empty");
	if (r->start < 0)
		return error_set(CAIRN_EINVAL,
				 "a watcher cannot start at revision %lld",
				 (long long)r->start);
	return CAIRN_OK;
}

/* Room for the two ends of the range is behind the watcher. */
static struct mvcc_watch *watch_alloc(const struct mvcc_watch_request *r)
{
	struct cairn_slice zero = slice_of("", 1);
	struct cairn_slice key = r->key.len ? r->key : zero;
	struct cairn_slice end = r->end;
	struct mvcc_watch *w;
	uint8_t *at;

	/* A single key ends at itself and a byte 00. */
	w = calloc(1, sizeof(*w) + key.len + (end.len ? end.len : key.len + 1));
	if (!w)
		return NULL;
	at = (uint8_t *)(w + 1);
	memcpy(at, key.data, key.len);
	w->node.from = slice_of(at, key.len);
	at += key.len;
	if (!end.len) {
		memcpy(at, key.data, key.len);
		w->node.end = slice_of(at, key.len + 1);
	} else if (!slice_eq(end, zero)) {
		memcpy(at, end.data, end.len);
		w->node.end = slice_of(at, end.len);
	}
	return w;
}

/* Count w in; the first one has the commits tell what they do. */
static int join_hub(struct mvcc_watch *w, int64_t start)
{
	struct mvcc *m = w->m;
	struct watch_hub *h = &m->watch;
	int err = CAIRN_OK;

	mutex_lock(&h->mu);
	if (!atomic_load(&h->n))
		err = watch_ring_start(&h->ring);
	if (err)
		goto out;
	if (atomic_fetch_add(&h->n, 1) == 0) {
		h->seen = atomic_load(&m->current);
		h->ring.low = h->seen + 1;
		h->ring.high = h->seen + 1;
	}
	w->created = h->seen;
	w->next = start ? start : h->seen + 1;
	w->quiet_us = w->progress_us ? now_us() : 0;
out:
	mutex_unlock(&h->mu);
	return err;
}

int mvcc_watch_new(struct mvcc *m, const struct mvcc_watch_request *r,
		   struct mvcc_watch **out)
{
	struct mvcc_watch *w;
	int err = check_request(m, r);

	if (err)
		return err;
	w = watch_alloc(r);
	if (!w)
		return error_nomem();
	w->m = m;
	w->no_put = r->no_put;
	w->no_delete = r->no_delete;
	w->prev = r->prev;
	w->fragment = r->fragment;
	w->fragment_bytes =
		r->fragment_bytes ? r->fragment_bytes : FRAGMENT_BYTES;
	w->progress_us = r->progress_us;
	err = join_hub(w, r->start);
	if (err) {
		free(w);
		return err;
	}
	store_use(m);
	*out = w;
	return CAIRN_OK;
}

void mvcc_watch_free(struct mvcc_watch *w)
{
	struct watch_hub *h;

	if (!w)
		return;
	h = &w->m->watch;
	mutex_lock(&h->mu);
	assert(!w->waiter);
	if (w->idle)
		watch_tree_remove(&h->idle, &w->node);
	if (atomic_fetch_sub(&h->n, 1) == 1)
		watch_ring_stop(&h->ring);
	mutex_unlock(&h->mu);
	store_unuse(w->m);
	free(w);
}

int64_t mvcc_watch_created(const struct mvcc_watch *w)
{
	return w->created;
}

void mvcc_watch_cancel(struct mvcc_watch *w)
{
	mutex_lock(&w->m->watch.mu);
	w->canceled = true;
	wake(w);
	mutex_unlock(&w->m->watch.mu);
}

void mvcc_watch_progress(struct mvcc_watch *w)
{
	mutex_lock(&w->m->watch.mu);
	w->asked = true;
	wake(w);
	mutex_unlock(&w->m->watch.mu);
}

void mvcc_watch_on_ready(struct mvcc_watch *w, void (*fn)(void *ctx), void *ctx)
{
	mutex_lock(&w->m->watch.mu);
	w->ready = fn;
	w->ready_ctx = ctx;
	mutex_unlock(&w->m->watch.mu);
}

/* --------------------------------------------------------------- messages */

void mvcc_watch_message_fini(struct mvcc_watch_message *msg)
{
	for (size_t i = 0; i < msg->n; i++) {
		free(msg->own[i].own[0]);
		free(msg->own[i].own[1]);
	}
	free(msg->own);
	if (msg->pinned)
		mvcc_unpin(msg->m, msg->pinned);
	*msg = (struct mvcc_watch_message){ 0 };
}

/* A message being filled. */
struct gather {
	struct mvcc_watch *w;
	struct mvcc_watch_message msg;
	size_t bytes;
	/* What comes next, as in the watcher. */
	int64_t next;
	int32_t sub;
	int64_t last;   /* revision of the change last taken */
	bool full;      /* enough; next says where it goes on */
	bool in_chunks; /* an event's value is */
};

/* The next event, zeroed; it counts when msg.n is raised. */
static int add_event(struct gather *g, struct mvcc_event **out)
{
	struct mvcc_watch_message *msg = &g->msg;

	if (msg->n == msg->cap) {
		size_t cap = msg->cap ? 2 * msg->cap : 8;
		struct mvcc_event *own = realloc(msg->own, cap * sizeof(*own));

		if (!own)
			return error_nomem();
		msg->own = own;
		msg->cap = cap;
	}
	*out = &msg->own[msg->n];
	**out = (struct mvcc_event){ 0 };
	return CAIRN_OK;
}

/* f becomes *row, which owns *own; f is then empty. */
static void give_row(struct gather *g, struct found *f, struct mvcc_row *row,
		     void **own)
{
	*row = f->row;
	*own = f->own;
	g->bytes += row->key.len + row->value.len;
	if (row->object)
		g->in_chunks = true;
	*f = (struct found){ 0 };
}

static int get_deleted(struct gather *g, const struct mvcc_change *ch,
		       struct mvcc_event *e)
{
	uint8_t *own = malloc(ch->key.len + 1);

	if (!own)
		return error_nomem();
	memcpy(own, ch->key.data, ch->key.len);
	e->own[0] = own;
	e->row.key = slice_of(own, ch->key.len);
	e->row.main = ch->main;
	e->row.sub = ch->sub;
	e->row.deleted = true;
	g->bytes += ch->key.len;
	return CAIRN_OK;
}

static int get_prev(struct gather *g, const struct mvcc_change *ch,
		    struct mvcc_event *e)
{
	struct mvcc *m = g->w->m;
	struct found f = { 0 };
	int64_t rev = ch->main - 1;
	int err;

	/* That it may be pinned, by whomever, shall make no difference. */
	if (rev < 1 || rev < atomic_load(&m->forgotten))
		return CAIRN_OK;
	err = store_find(m, ch->key, rev, true, &f);
	if (err == CAIRN_EFORGOTTEN)
		return CAIRN_OK;
	if (err)
		return err;
	if (found_live(&f)) {
		e->has_prev = true;
		give_row(g, &f, &e->prev, &e->own[1]);
	}
	found_release(&f);
	return CAIRN_OK;
}

static int take_event(struct gather *g, const struct mvcc_change *ch)
{
	struct found f = { 0 };
	struct mvcc_event *e = NULL;
	int err = add_event(g, &e);

	if (err)
		return err;
	if (ch->deleted) {
		err = get_deleted(g, ch, e);
	} else {
		err = store_find_exact(g->w->m, ch->key, ch->main, ch->sub, &f);
		if (!err)
			give_row(g, &f, &e->row, &e->own[0]);
	}
	if (!err && g->w->prev)
		err = get_prev(g, ch, e);
	if (err) {
		free(e->own[0]);
		free(e->own[1]);
		return err;
	}
	g->msg.n++;
	return CAIRN_OK;
}

/* Look at a change; when it does not fit in any more, g->full. */
static int take_change(struct gather *g, const struct mvcc_change *ch)
{
	const struct mvcc_watch *w = g->w;
	bool begins = ch->main != g->last;

	if (begins &&
	    (g->msg.n >= MESSAGE_EVENTS || g->bytes >= MESSAGE_BYTES)) {
		g->full = true;
		g->next = ch->main;
		g->sub = 0;
		return CAIRN_OK;
	}
	if (!watch_node_has(&w->node, ch->key) || !wants(w, ch->deleted)) {
		g->last = ch->main;
		return CAIRN_OK;
	}
	if (w->fragment && g->msg.n && g->bytes >= w->fragment_bytes) {
		g->full = true;
		g->next = ch->main;
		g->sub = ch->sub;
		/* What is before it in this revision may not have been for us.
		 */
		g->msg.fragment = g->msg.own[g->msg.n - 1].row.main == ch->main;
		return CAIRN_OK;
	}
	g->last = ch->main;
	return take_event(g, ch);
}

static int read_block(struct gather *g, const struct watch_block *b)
{
	for (size_t i = (size_t)g->sub; i < b->n; i++) {
		const struct mvcc_change ch = {
			.main = b->main,
			.sub = (int32_t)i,
			.deleted = b->changes[i].deleted,
			.key = b->changes[i].key,
		};
		int err = take_change(g, &ch);

		if (err || g->full)
			return err;
	}
	g->next = b->main + 1;
	g->sub = 0;
	return CAIRN_OK;
}

/* From the ring, as far as that has it; *some: it has. */
static int read_ring(struct gather *g, int64_t upto, bool *some)
{
	struct watch_hub *h = &g->w->m->watch;
	struct watch_block *blocks[RING_STEP];
	size_t want = RING_STEP, n;
	int err = CAIRN_OK;

	if ((uint64_t)(upto - g->next) < want)
		want = (size_t)(upto - g->next) + 1;
	mutex_lock(&h->mu);
	n = watch_ring_take(&h->ring, g->next, blocks, want);
	mutex_unlock(&h->mu);
	for (size_t i = 0; i < n; i++) {
		if (!err && !g->full)
			err = read_block(g, blocks[i]);
		watch_block_unref(blocks[i]);
	}
	*some = n > 0;
	return err;
}

/* Entries of the log from it on, until enough have been looked at. */
static int read_entries(struct gather *g, struct cairn_iter *it, int64_t upto)
{
	struct mvcc_change ch;
	size_t looked = 0;
	int err = CAIRN_OK;

	for (bool ok = cairn_iter_first(it); ok; ok = cairn_iter_next(it)) {
		err = enc_log_parse(cairn_iter_key(it), cairn_iter_value(it),
				    &ch);
		if (err)
			return err;
		if (looked++ >= LOG_STEP && ch.main != g->last) {
			g->next = ch.main;
			g->sub = 0;
			return CAIRN_OK;
		}
		err = take_change(g, &ch);
		if (err || g->full)
			return err;
	}
	err = cairn_iter_status(it);
	if (!err) {
		g->next = upto + 1;
		g->sub = 0;
	}
	return err;
}

static int read_log(struct gather *g, int64_t upto)
{
	struct cairn_read_options opts = { 0 };
	struct buf lower = { 0 }, upper = { 0 };
	struct cairn_iter *it = NULL;
	int err = enc_log_key(&lower, g->next, g->sub);

	if (!err)
		err = enc_log_key(&upper, upto + 1, 0);
	if (err)
		goto out;
	opts.lower = buf_slice(&lower);
	opts.upper = buf_slice(&upper);
	err = cairn_iter_new(g->w->m->db, &opts, &it);
	if (!err)
		err = read_entries(g, it, upto);
out:
	cairn_iter_free(it);
	buf_fini(&upper);
	buf_fini(&lower);
	return err;
}

/*
 * Pin what is read from the next revision on: that one, and the one before
 * when its rows may be asked for. CAIRN_EFORGOTTEN when it has fallen behind.
 */
static int pin_next(const struct gather *g, int64_t *pinned)
{
	struct mvcc *m = g->w->m;
	int err = CAIRN_EFORGOTTEN;

	if (g->w->prev && g->next > 1)
		err = store_pin(m, g->next - 1, pinned);
	if (err == CAIRN_EFORGOTTEN)
		err = store_pin(m, g->next, pinned);
	if (err)
		return err;
	/* That others hold it shall make no difference. */
	if (g->next >= atomic_load(&m->forgotten))
		return CAIRN_OK;
	mvcc_unpin(m, *pinned);
	return CAIRN_EFORGOTTEN;
}

/* Some of what is left up to upto. */
static int gather_some(struct gather *g, int64_t upto, bool *enough)
{
	bool some = false;
	int64_t pinned;
	int err = pin_next(g, &pinned);

	if (err)
		return err;
	err = read_ring(g, upto, &some);
	if (!err && !some)
		err = read_log(g, upto);
	/* The lowest pin serves all later revisions, too. */
	if (!err && g->in_chunks && !g->msg.pinned)
		g->msg.pinned = pinned;
	else
		mvcc_unpin(g->w->m, pinned);
	/* What the log gave took its time: do not let it wait for more. */
	*enough = g->full || g->next > upto || (g->msg.n && !some);
	return err;
}

/*
 * Read what is new up to upto into *msg; without any event in it, it may not
 * have got there yet. Failures leave the watcher as it was.
 */
static int gather(struct mvcc_watch *w, int64_t upto,
		  struct mvcc_watch_message *msg)
{
	struct gather g = { .w = w, .next = w->next, .sub = w->sub };
	bool enough = false;
	int err = CAIRN_OK;

	g.msg.m = w->m;
	while (!err && !enough) {
		err = gather_some(&g, upto, &enough);
		enough = enough || !g.msg.n;
	}
	/* What was found before it fell behind is told first. */
	if (err == CAIRN_EFORGOTTEN && g.msg.n)
		err = CAIRN_OK;
	if (err) {
		mvcc_watch_message_fini(&g.msg);
		return err;
	}
	w->next = g.next;
	w->sub = g.sub;
	g.msg.rev = g.next - 1;
	g.msg.events = g.msg.own;
	*msg = g.msg;
	return CAIRN_OK;
}

/* ------------------------------------------------------------------- next */

enum due {
	DUE_NOTHING, /* the time is up */
	DUE_CANCELED,
	DUE_PROGRESS,
	DUE_EVENTS, /* perhaps: there is something to read */
};

/* What there is to tell now; watch.mu is held. */
static enum due look(struct mvcc_watch *w)
{
	struct watch_hub *h = &w->m->watch;

	assert_held(&h->mu);
	if (w->canceled)
		return DUE_CANCELED;
	if (!w->idle && w->next <= h->seen)
		return DUE_EVENTS;
	if (!w->idle) {
		watch_tree_add(&h->idle, &w->node);
		w->idle = true;
	}
	if (w->asked ||
	    (w->progress_us && now_us() - w->quiet_us >= w->progress_us))
		return DUE_PROGRESS;
	return DUE_NOTHING;
}

/* How long to wait at most, until deadline or the next sign of progress. */
static uint64_t patience(const struct mvcc_watch *w, uint64_t deadline)
{
	uint64_t now = now_us(), left = UINT64_MAX;

	if (deadline != UINT64_MAX)
		left = deadline > now ? deadline - now : 0;
	if (w->progress_us) {
		uint64_t quiet = now - w->quiet_us;
		uint64_t more =
			quiet < w->progress_us ? w->progress_us - quiet : 0;

		if (more < left)
			left = more;
	}
	return left;
}

/* Wait until something is due or deadline; watch.mu is held. */
static enum due wait_due(struct mvcc_watch *w, uint64_t deadline)
{
	struct watch_hub *h = &w->m->watch;
	struct waiter waiter;
	enum due due = look(w);

	if (due || deadline == 0)
		return due;
	cond_init(&waiter.wake);
	assert(!w->waiter);
	w->waiter = &waiter;
	while (!due && (deadline == UINT64_MAX || now_us() < deadline)) {
		uint64_t us = patience(w, deadline);

		if (us == UINT64_MAX)
			cond_wait(&waiter.wake, &h->mu);
		else if (us)
			(void)cond_wait_us(&waiter.wake, &h->mu, us);
		due = look(w);
	}
	w->waiter = NULL;
	cond_fini(&waiter.wake);
	return due;
}

static void tell_progress(struct mvcc_watch *w)
{
	assert_held(&w->m->watch.mu);
	w->asked = false;
	if (w->progress_us)
		w->quiet_us = now_us();
}

static void fall_behind(struct mvcc_watch *w)
{
	mutex_lock(&w->m->watch.mu);
	w->canceled = true;
	w->compact_rev = mvcc_oldest(w->m);
	mutex_unlock(&w->m->watch.mu);
}

int mvcc_watch_next(struct mvcc_watch *w, uint64_t timeout_us,
		    struct mvcc_watch_message *msg)
{
	struct watch_hub *h = &w->m->watch;
	uint64_t deadline = timeout_us, now;
	struct mvcc_watch_message got;
	enum due due;
	int64_t seen;
	int err;

	if (timeout_us != 0 && timeout_us != MVCC_WATCH_FOREVER) {
		now = now_us();
		deadline = timeout_us < UINT64_MAX - now ? now + timeout_us
							 : UINT64_MAX;
	}
	for (;;) {
		got = (struct mvcc_watch_message){ .m = w->m };
		mutex_lock(&h->mu);
		due = wait_due(w, deadline);
		seen = h->seen;
		got.canceled = w->canceled;
		got.compact_rev = w->compact_rev;
		/* Idle, it has told all; next may be in the future. */
		got.rev = w->idle || w->next > seen ? seen : w->next - 1;
		if (due == DUE_PROGRESS)
			tell_progress(w);
		mutex_unlock(&h->mu);
		if (due == DUE_NOTHING)
			return CAIRN_NOT_FOUND;
		if (due != DUE_EVENTS)
			break;
		err = gather(w, seen, &got);
		if (err == CAIRN_EFORGOTTEN) {
			fall_behind(w);
			continue;
		}
		if (err)
			return err;
		if (got.n) {
			if (w->progress_us)
				w->quiet_us = now_us();
			break;
		}
		mvcc_watch_message_fini(&got);
	}
	*msg = got;
	return CAIRN_OK;
}
