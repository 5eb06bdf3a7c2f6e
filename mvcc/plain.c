/* SPDX-License-Identifier: BSD-3-Clause */
#include "mvcc/plain.h"

#include <stdlib.h>
#include <time.h>

#include "engine/base/error.h"
#include "engine/base/hash.h"
#include "mvcc/cursor.h"
#include "mvcc/object.h"
#include "mvcc/txn_impl.h"

/* Values up to this size are copied rather than pinned: what holds a row for
 * long shall not keep a memtable. */
#define COPY_MAX (64u << 10)
/* Keys whose time of change is remembered; a power of two. */
#define TIMES 8192u

/* ------------------------------------------------------------------- times */

/* hash 0: nothing. Of two keys with one hash the last one counts. */
struct plain_time {
	uint64_t hash;
	int64_t ns;
};

static int64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

int plain_init(struct plain *p, int64_t time_ns)
{
	p->times = calloc(TIMES, sizeof(*p->times));
	if (!p->times)
		return error_nomem();
	mutex_init(&p->times_mu);
	p->time_ns = time_ns ? time_ns : now_ns();
	return CAIRN_OK;
}

void plain_fini(struct plain *p)
{
	if (!p->times)
		return;
	free(p->times);
	p->times = NULL;
	mutex_fini(&p->times_mu);
	plain_dirs_fini(&p->dirs);
}

static uint64_t hash_of(struct cairn_slice key)
{
	return hash64(key.data, key.len) | 1;
}

int64_t plain_time(struct mvcc *m, struct cairn_slice key)
{
	struct plain *p = &m->plain;
	uint64_t hash = hash_of(key);
	struct plain_time t;

	mutex_lock(&p->times_mu);
	t = p->times[hash / 2 % TIMES];
	if (t.hash != hash)
		t.ns = p->time_ns;
	mutex_unlock(&p->times_mu);
	return t.ns;
}

static void set_time(struct mvcc *m, struct cairn_slice key, int64_t ns)
{
	struct plain *p = &m->plain;
	uint64_t hash = hash_of(key);

	mutex_lock(&p->times_mu);
	p->times[hash / 2 % TIMES] = (struct plain_time){ hash, ns };
	mutex_unlock(&p->times_mu);
}

/* Of all keys, for nobody knows which were changed. */
static void set_all_times(struct mvcc *m, int64_t ns)
{
	struct plain *p = &m->plain;

	mutex_lock(&p->times_mu);
	memset(p->times, 0, TIMES * sizeof(*p->times));
	p->time_ns = ns;
	mutex_unlock(&p->times_mu);
}

/* ------------------------------------------------------------------- pins */

static int pin_begin(struct mvcc *m, struct pin *p)
{
	assert_held(&m->pins_mu);
	p->snapshot = cairn_snapshot_new(m->db);
	if (!p->snapshot)
		return CAIRN_ENOMEM;
	p->dirs_seq = m->plain.dirs.seq;
	return CAIRN_OK;
}

static void pin_end(struct mvcc *m, struct pin *p)
{
	(void)m;
	cairn_snapshot_release(p->snapshot);
}

/* What a reader at rev, which the caller has pinned, sees. */
static struct pin view_at(struct mvcc *m, int64_t rev)
{
	struct pin p = { 0 };

	mutex_lock(&m->pins_mu);
	for (size_t i = 0; i < m->n_pins; i++)
		if (m->pins[i].rev == rev)
			p = m->pins[i];
	mutex_unlock(&m->pins_mu);
	assert(p.snapshot);
	return p;
}

int plain_spot_init(struct cursor *c, struct cairn_read_options *o)
{
	struct pin p = view_at(c->m, c->rev);

	c->spot.snapshot = p.snapshot;
	c->spot.seq = p.dirs_seq;
	o->snapshot = p.snapshot;
	return CAIRN_OK;
}

/* ------------------------------------------------------------------ reading */

/* The record of a directory; seq UINT64_MAX: of now. */
static bool find_dir(struct mvcc *m, struct cairn_slice key, uint64_t seq,
		     int64_t *time_ns)
{
	struct plain *p = &m->plain;
	const struct plain_dir *r;

	if (!atomic_load_explicit(&p->n_dirs, memory_order_acquire))
		return false;
	mutex_lock(&m->pins_mu);
	if (seq == UINT64_MAX)
		seq = p->dirs.seq;
	r = plain_dirs_find(&p->dirs, key, seq);
	if (r)
		*time_ns = r->time_ns;
	mutex_unlock(&m->pins_mu);
	return r != NULL;
}

/* Let out own its key, and its value unless that is pinned or not wanted. */
static int own_row(struct mvcc_pinned_row *out, bool want_value)
{
	struct cairn_slice key = out->row.key, value = out->pin.value;
	bool copy = want_value && value.len <= COPY_MAX;
	uint8_t *own = malloc(key.len + (copy ? value.len : 0) + 1);

	if (!own)
		return error_nomem();
	if (key.len)
		memcpy(own, key.data, key.len);
	if (copy && value.len)
		memcpy(own + key.len, value.data, value.len);
	out->own = own;
	out->row.key = slice_of(own, key.len);
	if (copy)
		out->row.value = slice_of(own + key.len, value.len);
	else if (want_value)
		out->row.value = value;
	if (copy || !want_value)
		cairn_pinned_release(&out->pin);
	return CAIRN_OK;
}

static int get_at(struct mvcc *m, struct cairn_slice key,
		  const struct cairn_snapshot *snapshot, uint64_t seq,
		  bool want_value, struct mvcc_pinned_row *out)
{
	const struct cairn_read_options ro = { .snapshot = snapshot };
	struct mvcc_pinned_row r = { .row = { .key = key } };
	/* Before the engine: see plain.h. */
	bool is_dir = find_dir(m, key, seq, &r.row.time_ns);
	int err = cairn_get(m->db, &ro, key, &r.pin);

	if (!err) {
		r.row.size = r.pin.value.len;
		r.row.time_ns = plain_time(m, key);
	} else if (err == CAIRN_NOT_FOUND && is_dir) {
		r.row.attrs.type = MVCC_DIR;
		err = CAIRN_OK;
	}
	if (!err)
		err = own_row(&r, want_value);
	if (err)
		cairn_pinned_release(&r.pin);
	else
		*out = r;
	return err;
}

static int get(struct mvcc *m, struct cairn_slice key, int64_t rev,
	       bool want_value, struct mvcc_pinned_row *out)
{
	struct pin p;
	int err;

	if (rev <= 0)
		return get_at(m, key, NULL, UINT64_MAX, want_value, out);
	err = store_pin(m, rev, &rev);
	if (err)
		return err;
	p = view_at(m, rev);
	err = get_at(m, key, p.snapshot, p.dirs_seq, want_value, out);
	mvcc_unpin(m, rev);
	return err;
}

/* ------------------------------------------------------------------ commits */

/* What a commit does to the directories, keys as varint32 length and bytes. */
struct dirs_edit {
	struct buf adds;
	struct buf ends;
};

struct plain_commit {
	struct commit *c;
	struct dirs_edit dirs;
};

/* What a key is when it is looked at to be moved. */
struct thing {
	bool is_file;
	bool is_dir;
	int64_t time_ns;
	struct cairn_pinned value;
};

static int look(struct mvcc *m, struct cairn_slice key, struct thing *out)
{
	struct thing t = { 0 };
	int err;

	t.is_dir = find_dir(m, key, UINT64_MAX, &t.time_ns);
	err = cairn_get(m->db, NULL, key, &t.value);
	t.is_file = !err;
	if (t.is_file) {
		t.is_dir = false;
		t.time_ns = plain_time(m, key);
	}
	if (err < 0)
		return err;
	*out = t;
	return CAIRN_OK;
}

static int note(struct commit *c, struct cairn_slice key, bool deleted,
		int64_t time_ns)
{
	struct change *ch;
	int err = txn_add_change(c, &ch);

	if (err)
		return err;
	ch->key = key;
	ch->deleted = deleted;
	ch->time_ns = time_ns;
	c->n++;
	return CAIRN_OK;
}

/* The directories that key lies in, or is the record of, exist by it now. */
static int end_dirs(struct plain_commit *p, struct cairn_slice key)
{
	int err = CAIRN_OK;

	if (!atomic_load_explicit(&p->c->m->plain.n_dirs,
				  memory_order_acquire) &&
	    !p->dirs.adds.len)
		return CAIRN_OK;
	for (size_t i = 0; i < key.len && !err; i++)
		if (key.data[i] == '/')
			err = buf_append_lp(&p->dirs.ends,
					    slice_of(key.data, i + 1));
	return err;
}

static int put_file(struct plain_commit *p, struct cairn_slice key,
		    struct cairn_slice value, int64_t time_ns)
{
	int err = cairn_batch_put(p->c->batch, key, value);

	if (!err)
		err = end_dirs(p, key);
	return err ? err : note(p->c, key, false, time_ns);
}

static int put_dir(struct plain_commit *p, struct cairn_slice key,
		   int64_t time_ns)
{
	int err;

	if (!key.len || key.data[key.len - 1] != '/')
		return error_set(CAIRN_EINVAL,
				 "directory record at a key that does not end "
				 "in '/'");
	err = buf_append_lp(&p->dirs.adds, key);
	return err ? err : note(p->c, key, false, time_ns);
}

/* key was t and shall not exist any more. */
static int remove_thing(struct plain_commit *p, struct cairn_slice key,
			const struct thing *t)
{
	int err = CAIRN_OK;

	if (t->is_file)
		err = cairn_batch_delete(p->c->batch, key);
	else if (t->is_dir)
		err = buf_append_lp(&p->dirs.ends, key);
	else
		return CAIRN_OK;
	return err ? err : note(p->c, key, true, 0);
}

/* key was old and shall be t. */
static int become(struct plain_commit *p, struct cairn_slice key,
		  const struct thing *old, const struct thing *t)
{
	int err = CAIRN_OK;

	if (t->is_file)
		return put_file(p, key, t->value.value, t->time_ns);
	if (old->is_file)
		err = cairn_batch_delete(p->c->batch, key);
	return err ? err : put_dir(p, key, t->time_ns);
}

static int emit_put(struct plain_commit *p, const struct op *op)
{
	int64_t time_ns = op->has_mtime ? op->mtime_ns : p->c->time_ns;
	struct mvcc_row row = { .value = op->value };
	struct thing t = { 0 };
	bool cut;
	int err;

	if (op->type == MVCC_SYMLINK)
		return error_set(CAIRN_EKIND,
				 "a plain store has no symbolic links");
	if (op->type == MVCC_DIR) {
		/* A key of that name makes the directory as well. */
		err = look(p->c->m, op->key, &t);
		if (!err && !t.is_file)
			err = put_dir(p, op->key, time_ns);
		cairn_pinned_release(&t.value);
		return err;
	}
	if (op->object) {
		err = object_emit(op->object, p->c->batch, &row, &cut);
		if (err)
			return err;
	}
	return put_file(p, op->key, row.value, time_ns);
}

static int emit_merge(struct plain_commit *p, const struct op *op)
{
	int err = cairn_batch_merge(p->c->batch, op->key, op->value);

	if (!err)
		err = end_dirs(p, op->key);
	return err ? err : note(p->c, op->key, false, p->c->time_ns);
}

static int emit_delete(struct plain_commit *p, const struct op *op)
{
	struct thing t = { 0 };
	int err = look(p->c->m, op->key, &t);

	if (!err)
		err = remove_thing(p, op->key, &t);
	cairn_pinned_release(&t.value);
	return err;
}

static int emit_move(struct plain_commit *p, const struct op *op)
{
	struct thing from = { 0 }, to = { 0 };
	int err = look(p->c->m, op->key, &from);
	bool there[2];

	if (!err)
		err = look(p->c->m, op->to, &to);
	there[0] = from.is_file || from.is_dir;
	there[1] = to.is_file || to.is_dir;
	if (!err && (!there[0] || (op->kind == OP_EXCHANGE && !there[1])))
		err = error_set(CAIRN_NOT_FOUND, "no such key");
	if (!err)
		err = become(p, op->to, &to, &from);
	if (!err)
		err = op->kind == OP_EXCHANGE ? become(p, op->key, &from, &to)
					      : remove_thing(p, op->key, &from);
	cairn_pinned_release(&to.value);
	cairn_pinned_release(&from.value);
	return err;
}

/* Of these only the time is kept. */
static int emit_attrs(struct plain_commit *p, const struct op *op)
{
	struct thing t = { 0 };
	int err = look(p->c->m, op->key, &t);

	cairn_pinned_release(&t.value);
	if (!err && !t.is_file && !t.is_dir)
		err = error_set(CAIRN_NOT_FOUND, "no such key");
	if (!err && t.is_file && op->has_mtime)
		err = note(p->c, op->key, false, op->mtime_ns);
	return err;
}

static int emit(struct plain_commit *p, const struct op *op)
{
	switch (op->kind) {
	case OP_PUT:
		return emit_put(p, op);
	case OP_MERGE:
		return emit_merge(p, op);
	case OP_DELETE:
		return emit_delete(p, op);
	case OP_MOVE:
	case OP_EXCHANGE:
		return emit_move(p, op);
	case OP_SET_ATTRS:
		return emit_attrs(p, op);
	}
	return error_set(CAIRN_EINVAL, "unknown op");
}

/* The least point that a pinned reader looks from; pins_mu is held. */
static uint64_t oldest_seq(struct mvcc *m)
{
	uint64_t seq = UINT64_MAX;

	assert_held(&m->pins_mu);
	for (size_t i = 0; i < m->n_pins; i++)
		if (m->pins[i].dirs_seq < seq)
			seq = m->pins[i].dirs_seq;
	return seq;
}

static void end_listed(struct mvcc *m, struct cairn_slice keys)
{
	struct plain *p = &m->plain;
	struct cairn_slice key;

	if (!keys.len)
		return;
	mutex_lock(&m->pins_mu);
	while (get_lp_slice(&keys, &key))
		plain_dirs_end(&p->dirs, key, oldest_seq(m));
	atomic_store_explicit(&p->n_dirs, p->dirs.n, memory_order_release);
	mutex_unlock(&m->pins_mu);
}

static int add_listed(struct mvcc *m, struct cairn_slice keys, int64_t time_ns)
{
	struct cairn_slice key, rest = keys;
	int err = CAIRN_OK;

	if (!keys.len)
		return CAIRN_OK;
	mutex_lock(&m->pins_mu);
	while (!err && get_lp_slice(&rest, &key))
		err = plain_dirs_add(&m->plain.dirs, key, time_ns);
	atomic_store_explicit(&m->plain.n_dirs, m->plain.dirs.n,
			      memory_order_release);
	mutex_unlock(&m->pins_mu);
	if (err)
		end_listed(m, keys);
	return err;
}

static int write_all(struct plain_commit *p, const struct mvcc_txn *t)
{
	struct commit *c = p->c;
	struct mvcc *m = c->m;
	struct mvcc_change *changes = NULL;
	int err;

	if (m->read_only)
		return error_set(CAIRN_EROFS, "opened read-only");
	err = txn_list_changes(c, &changes);
	if (err)
		return err;
	err = add_listed(m, buf_slice(&p->dirs.adds), c->time_ns);
	if (!err && cairn_batch_count(c->batch)) {
		err = txn_write(c);
		if (err)
			end_listed(m, buf_slice(&p->dirs.adds));
	}
	if (!err) {
		end_listed(m, buf_slice(&p->dirs.ends));
		for (size_t i = 0; i < c->n; i++)
			if (!c->changes[i].deleted)
				set_time(m, c->changes[i].key,
					 c->changes[i].time_ns);
		txn_publish(c, t, changes);
	}
	free(changes);
	return err;
}

static int commit(struct commit *c, const struct mvcc_txn *t)
{
	struct plain_commit p = { .c = c };
	int err = CAIRN_OK;

	assert_held(&c->m->write_mu);
	for (size_t i = 0; !err && i < t->n_ops; i++)
		err = emit(&p, &t->ops[i]);
	if (!err && c->n)
		err = write_all(&p, t);
	buf_fini(&p.dirs.adds);
	buf_fini(&p.dirs.ends);
	return err;
}

int mvcc_ingest(struct mvcc *m, const char *const *paths, size_t n,
		const struct cairn_ingest_options *o)
{
	int64_t rev;
	int err;

	if (!mvcc_is_plain(m))
		return error_set(
			CAIRN_EKIND,
			"a revision store: its rows are more than keys "
			"and values, which is all that tables hold");
	err = cairn_ingest(m->db, paths, n, o);
	if (err)
		return err;
	/* Others commit while the tables are read, which takes long. */
	mutex_lock(&m->write_mu);
	set_all_times(m, now_ns());
	rev = atomic_load(&m->current) + 1;
	atomic_fetch_add(&m->commits, 1);
	atomic_store(&m->current, rev);
	if (m->listener.committed)
		m->listener.committed(m->listener.ctx, rev, NULL, NULL, 0);
	mutex_unlock(&m->write_mu);
	return CAIRN_OK;
}

/* Have the blocks of the keys that will be looked at in the cache. */
static int prepare(const struct mvcc_txn *t)
{
	int err = CAIRN_OK;

	for (size_t i = 0; !err && i < t->n_ops; i++) {
		const struct op *op = &t->ops[i];
		struct cairn_pinned v = { 0 };

		if (op->kind == OP_PUT || op->kind == OP_MERGE)
			continue;
		err = cairn_get(t->m->db, NULL, op->key, &v);
		cairn_pinned_release(&v);
		if (err == CAIRN_NOT_FOUND)
			err = CAIRN_OK;
	}
	return err;
}

/* Keys are what they are. */
static int encode(struct buf *out, struct cairn_slice key)
{
	return buf_set(out, key);
}

const struct store_kind store_plain = {
	.revisions = false,
	.key_min = 0,
	.key_max = CAIRN_KEY_MAX,
	.value_max = CAIRN_VALUE_MAX,
	.get = get,
	.pin_begin = pin_begin,
	.pin_end = pin_end,
	.encode = encode,
	.encode_start = encode,
	.cursor = &cursor_plain,
	.prepare = prepare,
	.commit = commit,
};
