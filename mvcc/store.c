/* SPDX-License-Identifier: BSD-3-Clause */
#include "mvcc/store.h"

#include <stdlib.h>

#include "engine/base/error.h"
#include "mvcc/cursor.h"
#include "mvcc/forget.h"
#include "mvcc/object.h"
#include "mvcc/table_revs.h"
#include "mvcc/txn_impl.h"

#define CHUNK_SIZE_DEFAULT      (64u << 10)
#define ROW_CACHE_BYTES_DEFAULT ((size_t)16 << 20)

/* ----------------------------------------------------------------- finding */

void found_release(struct found *f)
{
	free(f->own);
	memset(f, 0, sizeof(*f));
}

/* f takes over own: the key, and behind it the first bytes of the value. */
static int found_decode(struct found *f, uint8_t *own, size_t key_len,
			const struct cached_row *row)
{
	struct found got = { .own = own };
	int err;

	got.row.key = slice_of(own, key_len);
	got.row.main = row->main;
	got.row.sub = row->sub;
	err = enc_row_value_parse(row->value, row->full_len, &got.row,
				  &got.attrs, NULL);
	if (err) {
		free(own);
		return err;
	}
	*f = got;
	return CAIRN_OK;
}

int found_copy(struct found *f, struct cairn_slice key, int64_t main,
	       int32_t sub, struct cairn_slice value)
{
	struct cached_row row = { .main = main,
				  .sub = sub,
				  .full_len = value.len };
	uint8_t *own = malloc(key.len + value.len + 1);

	if (!own)
		return error_nomem();
	memcpy(own, key.data, key.len);
	if (value.len)
		memcpy(own + key.len, value.data, value.len);
	row.value = slice_of(own + key.len, value.len);
	return found_decode(f, own, key.len, &row);
}

int store_check_key(const struct mvcc *m, struct cairn_slice key)
{
	const struct store_kind *k = m->kind;

	if (key.len >= k->key_min && key.len <= k->key_max)
		return CAIRN_OK;
	return error_set(CAIRN_EINVAL,
			 "key of %zu bytes; %zu to %zu are allowed", key.len,
			 k->key_min, k->key_max);
}

int store_need_revisions(const struct mvcc *m)
{
	if (m->kind->revisions)
		return CAIRN_OK;
	return error_set(CAIRN_EKIND, "a plain store keeps no revisions");
}

int store_find_exact(struct mvcc *m, struct cairn_slice key, int64_t main,
		     int32_t sub, struct found *out)
{
	struct cairn_pinned pin = { 0 };
	struct buf k = { 0 };
	int err = enc_row_key(&k, key, main, sub);

	if (!err)
		err = cairn_get(m->db, NULL, buf_slice(&k), &pin);
	if (err == CAIRN_NOT_FOUND)
		err = error_set(CAIRN_ECORRUPT,
				"the row of revision %lld has vanished",
				(long long)main);
	if (!err)
		err = found_copy(out, key, main, sub, pin.value);
	cairn_pinned_release(&pin);
	buf_fini(&k);
	return err;
}

/* Tell the cache what was found at rev, the published revision. */
static void remember(struct mvcc *m, struct cairn_slice key, int64_t rev,
		     const struct enc_row *rk, struct cairn_slice value)
{
	struct cached_row row = { 0 };
	struct mvcc_row head = { .key = key };
	size_t head_len;

	if (rk) {
		row.main = rk->main;
		row.sub = rk->sub;
		row.full_len = value.len;
		row.value = value;
	}
	if (rk && value.len > ROW_CACHE_VALUE_MAX) {
		head.main = rk->main;
		if (enc_row_value_parse(value, value.len, &head, NULL,
					&head_len))
			return;
		row.value.len = head_len;
	}
	row_cache_fill(&m->rows, key, &row, &m->begun, rev);
}

int store_take_row(struct mvcc *m, struct cairn_iter *it,
		   struct cairn_slice key, struct cairn_slice prefix,
		   int64_t rev, bool newest, struct found *out)
{
	struct enc_row rk;
	int err;

	if (!cairn_iter_valid(it) ||
	    !slice_starts_with(cairn_iter_key(it), prefix)) {
		err = cairn_iter_status(it);
		if (err)
			return err;
		out->none = true;
		if (newest)
			remember(m, key, rev, NULL, slice_of(NULL, 0));
		return CAIRN_OK;
	}
	err = enc_row_parse(cairn_iter_key(it), &rk);
	if (err)
		return err;
	err = found_copy(out, key, rk.main, rk.sub, cairn_iter_value(it));
	if (!err && newest)
		remember(m, key, rev, &rk, cairn_iter_value(it));
	return err;
}

static int search(struct mvcc *m, struct cairn_slice key, int64_t rev,
		  bool newest, struct found *out)
{
	struct cairn_read_options opts = { 0 };
	struct buf prefix = { 0 }, seek = { 0 };
	struct cairn_iter *it = NULL;
	struct table_revs revs;
	int err = enc_prefix(&prefix, key);

	opts.table_filter = table_revs_at(&revs, m, rev);
	if (!err)
		err = enc_seek(&seek, buf_slice(&prefix), rev);
	if (!err)
		err = cairn_iter_new(m->db, &opts, &it);
	if (!err)
		err = store_check_rev(m, rev);
	if (!err) {
		cairn_iter_seek_prefix_ge(it, buf_slice(&seek));
		err = store_take_row(m, it, key, buf_slice(&prefix), rev,
				     newest, out);
	}
	cairn_iter_free(it);
	buf_fini(&seek);
	buf_fini(&prefix);
	return err;
}

/* What the cache says of key at rev; CAIRN_NOT_FOUND: nothing. */
static int find_cached(struct mvcc *m, struct cairn_slice key, int64_t rev,
		       bool want_value, struct found *out)
{
	struct cached_row row;
	uint8_t *own;
	int err = row_cache_get(&m->rows, key, &row, &own);

	if (err)
		return err;
	if (row.main > rev) {
		free(own);
		return CAIRN_NOT_FOUND;
	}
	if (!row.main) {
		free(own);
		out->none = true;
	} else if (want_value && row.value.len < row.full_len) {
		free(own);
		err = store_find_exact(m, key, row.main, row.sub, out);
	} else {
		err = found_decode(out, own, key.len, &row);
	}
	out->none_below = !err && row.none_below && row.none_below <= rev;
	return err;
}

static int find_at(struct mvcc *m, struct cairn_slice key, int64_t rev,
		   bool newest, bool want_value, struct found *out)
{
	int err = store_check_rev(m, rev);

	if (err)
		return err;
	err = find_cached(m, key, rev, want_value, out);
	return err == CAIRN_NOT_FOUND ? search(m, key, rev, newest, out) : err;
}

int store_find_cached(struct mvcc *m, struct cairn_slice key, int64_t rev,
		      struct found *out)
{
	memset(out, 0, sizeof(*out));
	return find_cached(m, key, rev, false, out);
}

int store_find(struct mvcc *m, struct cairn_slice key, int64_t rev,
	       bool want_value, struct found *out)
{
	for (;;) {
		int64_t cur = atomic_load(&m->current);
		bool now = rev <= 0;
		int64_t at = now ? cur : rev;
		int err;

		memset(out, 0, sizeof(*out));
		err = find_at(m, key, at, at == cur, want_value, out);
		/* Only when it was forgotten this moment is "now" too old. */
		if (err != CAIRN_EFORGOTTEN || !now)
			return err;
	}
}

int store_latest(struct mvcc *m, struct cairn_slice key, bool want_value,
		 struct found *out)
{
	return store_find(m, key, 0, want_value, out);
}

void mvcc_row_release(struct mvcc_pinned_row *r)
{
	cairn_pinned_release(&r->pin);
	free(r->own);
	memset(r, 0, sizeof(*r));
}

int mvcc_get(struct mvcc *m, struct cairn_slice key, int64_t rev,
	     struct mvcc_pinned_row *out)
{
	int err = store_check_key(m, key);

	return err ? err : m->kind->get(m, key, rev, true, out);
}

static int get_revision(struct mvcc *m, struct cairn_slice key, int64_t rev,
			bool want_value, struct mvcc_pinned_row *out)
{
	struct found f;
	int err = store_find(m, key, rev, want_value, &f);

	if (err)
		return err;
	if (!found_live(&f)) {
		found_release(&f);
		return CAIRN_NOT_FOUND;
	}
	*out = (struct mvcc_pinned_row){ .row = f.row, .own = f.own };
	return CAIRN_OK;
}

const struct store_kind store_revision = {
	.revisions = true,
	.key_min = 1,
	.key_max = MVCC_KEY_MAX,
	.value_max = MVCC_VALUE_MAX,
	.get = get_revision,
	.encode = enc_prefix,
	.encode_start = enc_start,
	.cursor = &cursor_revision,
	.prepare = txn_prepare_revision,
	.commit = txn_commit_revision,
};

/* -------------------------------------------------------------------- pins */

/* The first pin with a revision >= rev. */
static size_t pin_index(const struct mvcc *m, int64_t rev)
{
	size_t lo = 0, hi = m->n_pins;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (m->pins[mid].rev < rev)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static bool is_pinned(const struct mvcc *m, int64_t rev)
{
	size_t i = pin_index(m, rev);

	return i < m->n_pins && m->pins[i].rev == rev;
}

/* pins_mu is held. */
static int check_rev_locked(struct mvcc *m, int64_t rev)
{
	int64_t cur = atomic_load(&m->current);
	int64_t forgotten =
		m->kind->revisions ? atomic_load(&m->forgotten) : cur;

	assert_held(&m->pins_mu);
	if (rev > cur)
		return error_set(CAIRN_EFUTURE,
				 "revision %lld is not yet written; the "
				 "current one is %lld",
				 (long long)rev, (long long)cur);
	if (rev < forgotten && !is_pinned(m, rev))
		return error_set(CAIRN_EFORGOTTEN,
				 "revision %lld is forgotten; the oldest one "
				 "is %lld",
				 (long long)rev, (long long)forgotten);
	return CAIRN_OK;
}

int store_check_rev(struct mvcc *m, int64_t rev)
{
	int err;

	if (rev >= atomic_load(&m->forgotten) &&
	    rev <= atomic_load(&m->current))
		return CAIRN_OK;
	mutex_lock(&m->pins_mu);
	err = check_rev_locked(m, rev);
	mutex_unlock(&m->pins_mu);
	return err;
}

static void pin_remove(struct mvcc *m, size_t i)
{
	m->n_pins--;
	memmove(&m->pins[i], &m->pins[i + 1],
		(m->n_pins - i) * sizeof(m->pins[0]));
}

static int pin_insert(struct mvcc *m, size_t i, int64_t rev)
{
	int err;

	if (m->n_pins == m->cap_pins) {
		size_t cap = m->cap_pins ? 2 * m->cap_pins : 16;
		struct pin *pins = realloc(m->pins, cap * sizeof(*pins));

		if (!pins)
			return error_nomem();
		m->pins = pins;
		m->cap_pins = cap;
	}
	memmove(&m->pins[i + 1], &m->pins[i],
		(m->n_pins - i) * sizeof(m->pins[0]));
	m->pins[i] = (struct pin){ .rev = rev, .count = 1 };
	m->n_pins++;
	if (!m->kind->pin_begin)
		return CAIRN_OK;
	err = m->kind->pin_begin(m, &m->pins[i]);
	if (err)
		pin_remove(m, i);
	return err;
}

int store_pin(struct mvcc *m, int64_t rev, int64_t *resolved)
{
	size_t i;
	int err = CAIRN_OK;

	mutex_lock(&m->pins_mu);
	/* What is current is never forgotten. It is not looked up twice: a
	 * commit may come between, and a plain store has nothing but the last.
	 */
	if (rev <= 0)
		rev = atomic_load(&m->current);
	else if ((err = check_rev_locked(m, rev)))
		goto out;
	i = pin_index(m, rev);
	if (i < m->n_pins && m->pins[i].rev == rev)
		m->pins[i].count++;
	else
		err = pin_insert(m, i, rev);
	if (!err) {
		store_use(m);
		*resolved = rev;
	}
out:
	mutex_unlock(&m->pins_mu);
	return err;
}

int mvcc_pin(struct mvcc *m, int64_t rev)
{
	int64_t resolved;

	/* The caller must know what to unpin. */
	if (rev <= 0)
		return error_set(CAIRN_EINVAL, "no revision to pin");
	return store_pin(m, rev, &resolved);
}

int mvcc_pin_current(struct mvcc *m, int64_t *rev)
{
	return store_pin(m, 0, rev);
}

static int64_t horizon_locked(struct mvcc *m)
{
	int64_t h = atomic_load(&m->forgotten);

	assert_held(&m->pins_mu);
	return m->n_pins && m->pins[0].rev < h ? m->pins[0].rev : h;
}

void mvcc_unpin(struct mvcc *m, int64_t rev)
{
	int64_t horizon = -1;
	size_t i;

	mutex_lock(&m->pins_mu);
	i = pin_index(m, rev);
	if (i < m->n_pins && m->pins[i].rev == rev) {
		if (--m->pins[i].count == 0) {
			if (m->kind->pin_end)
				m->kind->pin_end(m, &m->pins[i]);
			pin_remove(m, i);
		}
		store_unuse(m);
		horizon = horizon_locked(m);
	}
	mutex_unlock(&m->pins_mu);
	forget_collect(m, horizon);
	if (horizon > atomic_load(&m->worker.swept) &&
	    atomic_load(&m->objects_ended) > 0)
		forget_kick(m);
}

int64_t store_horizon(struct mvcc *m)
{
	int64_t h;

	mutex_lock(&m->pins_mu);
	h = horizon_locked(m);
	mutex_unlock(&m->pins_mu);
	return h;
}

/* -------------------------------------------------------------------- open */

static int get_mark(struct cairn_db *db, const char *name, uint64_t *out)
{
	struct cairn_pinned pin = { 0 };
	struct buf k = { 0 };
	int err = enc_mark(&k, name);

	if (!err)
		err = cairn_get(db, NULL, buf_slice(&k), &pin);
	if (!err)
		err = enc_number_parse(pin.value, out);
	cairn_pinned_release(&pin);
	buf_fini(&k);
	return err;
}

static int is_empty(struct cairn_db *db, bool *empty)
{
	struct cairn_iter *it;
	int err = cairn_iter_new(db, NULL, &it);

	if (err)
		return err;
	*empty = !cairn_iter_first(it);
	err = cairn_iter_status(it);
	cairn_iter_free(it);
	return err;
}

/* Make an empty database a revision store. */
static int write_format(struct mvcc *m)
{
	const struct cairn_write_options sync = { .sync = true };
	struct buf k = { 0 }, v = { 0 };
	int err = enc_mark(&k, "format");

	if (!err)
		err = enc_number(&v, MVCC_FORMAT);
	if (!err)
		err = cairn_put(m->db, &sync, buf_slice(&k), buf_slice(&v));
	buf_fini(&v);
	buf_fini(&k);
	return err;
}

/*
 * The kind of a store stands in m/format. A database without it is made a
 * revision store when it is empty and the caller may create: the process may
 * have died between creating it and writing the mark. NULL: it is to be made
 * one.
 */
static int find_kind(struct cairn_db *db, const char *dir, bool create,
		     const struct store_kind **out)
{
	bool empty = false;
	uint64_t format;
	int err = get_mark(db, "format", &format);

	if (err == CAIRN_NOT_FOUND) {
		err = create ? is_empty(db, &empty) : CAIRN_OK;
		if (!err)
			*out = empty ? NULL : &store_plain;
		return err;
	}
	if (err)
		return err;
	if (format == 0)
		return error_set(CAIRN_ECORRUPT,
				 "%s: m/format is 0: an import into it was not "
				 "finished; remove it and import again",
				 dir);
	if (format > MVCC_FORMAT)
		return error_set(CAIRN_ENOTSUP,
				 "%s: revision store of format %llu; this "
				 "version knows %u",
				 dir, (unsigned long long)format, MVCC_FORMAT);
	*out = &store_revision;
	return CAIRN_OK;
}

/* The last log entry, and when its revision was committed. */
static int read_log_end(struct mvcc *m, int64_t *last)
{
	const struct cairn_read_options log = { .lower = slice_str("r"),
						.upper = slice_str("s") };
	struct cairn_iter *it;
	struct mvcc_change c;
	struct found f = { 0 };
	struct buf k = { 0 };
	struct cairn_pinned pin = { 0 };
	int err = cairn_iter_new(m->db, &log, &it);

	if (err)
		return err;
	*last = 0;
	if (!cairn_iter_last(it)) {
		err = cairn_iter_status(it);
		goto out;
	}
	err = enc_log_parse(cairn_iter_key(it), cairn_iter_value(it), &c);
	if (err)
		goto out;
	*last = c.main;
	err = enc_row_key(&k, c.key, c.main, c.sub);
	if (!err)
		err = cairn_get(m->db, NULL, buf_slice(&k), &pin);
	if (err == CAIRN_NOT_FOUND) {
		/* A tombstone that compaction has removed. */
		err = CAIRN_OK;
		goto out;
	}
	if (!err)
		err = found_copy(&f, c.key, c.main, c.sub, pin.value);
	if (!err)
		m->last_time_ns = f.row.time_ns;
	found_release(&f);
out:
	cairn_pinned_release(&pin);
	buf_fini(&k);
	cairn_iter_free(it);
	return err;
}

static int bad_mark(const char *dir, const char *name)
{
	return error_set(CAIRN_ECORRUPT, "%s: m/%s is out of range", dir, name);
}

static int load_revision(struct mvcc *m, const char *dir)
{
	uint64_t compact = 0, object = 1;
	int64_t last, current = 1;
	int err;

	err = get_mark(m->db, "compact", &compact);
	if (err < 0)
		return err;
	if (!err && compact > INT64_MAX)
		return bad_mark(dir, "compact");
	if (!err) {
		atomic_store(&m->forgotten, (int64_t)compact);
		if (compact > 1)
			current = (int64_t)compact;
	}
	err = get_mark(m->db, "object", &object);
	if (err < 0)
		return err;
	if (object == 0)
		return bad_mark(dir, "object");
	m->next_object = object;
	m->reserved_object = object;
	err = read_log_end(m, &last);
	if (err)
		return err;
	if (last > current)
		current = last;
	/* Revisions are handed out by adding one. */
	if (current == INT64_MAX)
		return error_set(CAIRN_ECORRUPT, "%s: no revision is left",
				 dir);
	atomic_store(&m->current, current);
	atomic_store(&m->begun, current);
	err = lease_load(m);
	if (err)
		return err;
	return m->read_only ? CAIRN_OK : forget_load(m);
}

static void store_free(struct mvcc *m)
{
	plain_fini(&m->plain);
	watch_hub_fini(&m->watch);
	forget_fini(m);
	lease_fini(m);
	row_cache_fini(&m->rows);
	txn_spare_fini(&m->spare);
	cond_fini(&m->leftover_done);
	mutex_fini(&m->objects_mu);
	mutex_fini(&m->pins_mu);
	mutex_fini(&m->forget_mu);
	mutex_fini(&m->write_mu);
	free(m->pins);
	free(m);
}

static struct mvcc *store_new(const struct mvcc_options *opts)
{
	struct mvcc *m = calloc(1, sizeof(*m));
	size_t rows = opts->row_cache_bytes;

	if (!m)
		return NULL;
	m->chunk_size =
		opts->chunk_size ? opts->chunk_size : CHUNK_SIZE_DEFAULT;
	object_limits_init(m);
	m->prefix.name = ENC_PREFIX_NAME;
	m->prefix.prefix_len = enc_prefix_len;
	atomic_store(&m->forgotten, -1);
	atomic_store(&m->current, 1);
	atomic_store(&m->begun, 1);
	mutex_init(&m->write_mu);
	mutex_init(&m->forget_mu);
	mutex_init(&m->pins_mu);
	mutex_init(&m->objects_mu);
	cond_init(&m->leftover_done);
	list_init(&m->objects);
	list_init(&m->leftovers);
	m->kind = &store_revision;
	m->value_max = m->kind->value_max;
	row_cache_init(&m->rows, rows ? rows : ROW_CACHE_BYTES_DEFAULT);
	watch_hub_init(&m->watch);
	forget_init(m);
	lease_init(m, &opts->lease);
	forget_filter_init(m);
	return m;
}

/*
 * What kind of store dir holds, NULL when none that has one. Looked for without
 * changing anything: the engine must not be opened for writing with options
 * that are of the other kind, and a store that will be refused not at all.
 */
static int probe_kind(const char *dir, const struct cairn_options *engine,
		      bool create, const struct store_kind **out)
{
	const struct cairn_listener none = { 0 };
	struct cairn_options *o = cairn_options_clone(engine);
	struct cairn_db *db = NULL;
	int err, e;

	*out = NULL;
	if (!o)
		return error_nomem();
	cairn_options_set_listener(o, &none);
	err = cairn_options_set(o, "read_only", "true");
	if (!err)
		err = cairn_options_set(o, "create_if_missing", "false");
	if (!err)
		err = cairn_options_set(o, "error_if_exists", "false");
	if (!err)
		err = cairn_open(dir, o, &db);
	cairn_options_free(o);
	if (err)
		return err == CAIRN_ENOENT && create ? CAIRN_OK : err;
	err = find_kind(db, dir, create, out);
	e = cairn_close(db);
	return err ? err : e;
}

static int check_kind(const char *dir, const struct store_kind *kind,
		      const struct mvcc_options *opts)
{
	if (!kind || kind->revisions || opts->plain)
		return CAIRN_OK;
	return error_set(CAIRN_EKIND, "%s: plain store, without revisions",
			 dir);
}

/* m->db is open, with the options of m->kind unless it is read-only. */
static int load(struct mvcc *m, const char *dir,
		const struct mvcc_options *opts, bool create)
{
	const struct store_kind *kind;
	int err = find_kind(m->db, dir, create, &kind);

	if (!err)
		err = check_kind(dir, kind, opts);
	if (err)
		return err;
	if (!kind) {
		kind = &store_revision;
		err = write_format(m);
	}
	if (!err && !m->read_only && kind != m->kind)
		err = error_set(CAIRN_EBUSY, "%s: changed while it was opened",
				dir);
	if (err)
		return err;
	m->kind = kind;
	if (kind->revisions)
		return load_revision(m, dir);
	/* Nothing becomes chunks. */
	m->chunk_size = CAIRN_VALUE_MAX;
	m->value_max = kind->value_max;
	if (opts->plain_value_max && opts->plain_value_max < m->value_max)
		m->value_max = opts->plain_value_max;
	return plain_init(&m->plain, opts->plain_time_ns);
}

/* m->kind is known, or it does not matter. */
static int open_engine(struct mvcc *m, const char *dir, struct cairn_options *o)
{
	if (m->kind->revisions) {
		cairn_options_set_prefix_extractor(o, &m->prefix);
		cairn_options_set_compaction_filter(o, &m->filter);
		cairn_options_set_table_collector(o, &table_revs_collector);
	}
	return cairn_open(dir, o, &m->db);
}

/* The kind of what is there, or will be made, before it is opened to be
 * written to. */
static int choose_kind(struct mvcc *m, const char *dir,
		       const struct cairn_options *o,
		       const struct mvcc_options *opts, bool create)
{
	const struct store_kind *kind;
	bool must_be_new = false;
	int err = cairn_options_get_bool(o, "error_if_exists", &must_be_new);

	/* Whatever is there, it is not wanted. */
	if (err || must_be_new)
		return err;
	err = probe_kind(dir, o, create, &kind);
	if (!err)
		err = check_kind(dir, kind, opts);
	if (!err && kind)
		m->kind = kind;
	return err;
}

static int check_options(const struct mvcc_options *opts)
{
	uint32_t size = opts->chunk_size;

	if (!size || (size >= ENC_CHUNK_SIZE_MIN && size <= ENC_CHUNK_SIZE_MAX))
		return CAIRN_OK;
	return error_set(CAIRN_EINVAL, "chunk size %u; %u to %u are allowed",
			 size, ENC_CHUNK_SIZE_MIN, ENC_CHUNK_SIZE_MAX);
}

int mvcc_open(const char *dir, const struct mvcc_options *opts,
	      struct mvcc **out)
{
	static const struct mvcc_options defaults = { 0 };
	struct cairn_options *o = NULL;
	struct mvcc *m = NULL;
	bool create = false;
	int err;

	if (!opts)
		opts = &defaults;
	err = check_options(opts);
	if (err)
		return err;
	m = store_new(opts);
	o = opts->engine ? cairn_options_clone(opts->engine)
			 : cairn_options_new();
	if (!m || !o) {
		err = error_nomem();
		goto out;
	}
	err = cairn_options_get_bool(o, "create_if_missing", &create);
	if (!err)
		err = cairn_options_get_bool(o, "read_only", &m->read_only);
	create = create && !m->read_only;
	if (!err && !m->read_only)
		err = choose_kind(m, dir, o, opts, create);
	if (!err)
		err = open_engine(m, dir, o);
	if (err)
		goto out;
	err = load(m, dir, opts, create);
	if (!err && m->leases.n)
		err = lease_start(m);
	if (err) {
		forget_stop(m);
		/* The reason counts, not how closing went. */
		(void)cairn_close(m->db);
		goto out;
	}
	forget_collect(m, store_horizon(m));
	*out = m;
	m = NULL;
out:
	cairn_options_free(o);
	if (m)
		store_free(m);
	return err;
}

int mvcc_close(struct mvcc *m)
{
	int err;

	if (!m)
		return CAIRN_OK;
	if (atomic_load(&m->in_use))
		return error_set(CAIRN_EBUSY,
				 "%llu readers and writers use the store",
				 (unsigned long long)atomic_load(&m->in_use));
	lease_stop(m);
	forget_stop(m);
	err = cairn_close(m->db);
	if (err == CAIRN_EBUSY) {
		forget_kick(m);
		/* Should it fail, what is due waits for the next grant. */
		if (m->leases.n)
			(void)lease_start(m);
		return err;
	}
	store_free(m);
	return err;
}

/* ------------------------------------------------------------------ reading */

struct cairn_db *mvcc_db(struct mvcc *m)
{
	return m->db;
}

bool mvcc_is_plain(const struct mvcc *m)
{
	return !m->kind->revisions;
}

size_t mvcc_key_min(const struct mvcc *m)
{
	return m->kind->key_min;
}

size_t mvcc_key_max(const struct mvcc *m)
{
	return m->kind->key_max;
}

uint64_t mvcc_value_max(const struct mvcc *m)
{
	return m->value_max;
}

int64_t mvcc_current(const struct mvcc *m)
{
	return atomic_load_explicit(&m->current, memory_order_acquire);
}

int64_t mvcc_oldest(const struct mvcc *m)
{
	int64_t forgotten = atomic_load(&m->forgotten);

	if (!m->kind->revisions)
		return mvcc_current(m);
	return forgotten < 1 ? 1 : forgotten;
}

int mvcc_sync(struct mvcc *m)
{
	return cairn_wal_sync(m->db);
}

void mvcc_set_listener(struct mvcc *m, const struct mvcc_listener *l)
{
	/* A lease may end at any time. */
	mutex_lock(&m->write_mu);
	m->listener = l ? *l : (struct mvcc_listener){ 0 };
	mutex_unlock(&m->write_mu);
}

void mvcc_metrics_get(struct mvcc *m, struct mvcc_metrics *out)
{
	struct cairn_metrics engine;
	struct row_cache_stats rows;
	int64_t ended = atomic_load(&m->objects_ended);

	cairn_metrics_get(m->db, &engine);
	row_cache_stats(&m->rows, &rows);
	memset(out, 0, sizeof(*out));
	if (m->kind->revisions) {
		out->current = mvcc_current(m);
		out->oldest = mvcc_oldest(m);
	}
	/* Each change is a row and an entry of the log. */
	out->keys = engine.estimated_entries / (m->kind->revisions ? 2 : 1);
	out->commits = atomic_load(&m->commits);
	out->row_cache_hits = rows.hits;
	out->row_cache_misses = rows.misses;
	out->objects_ended = ended > 0 ? (uint64_t)ended : 0;
	out->memory_bytes = rows.bytes + atomic_load(&m->dirty_bytes);
	mutex_lock(&m->pins_mu);
	for (size_t i = 0; i < m->n_pins; i++)
		out->pins += m->pins[i].count;
	out->oldest_pin = m->n_pins ? m->pins[0].rev : 0;
	mutex_unlock(&m->pins_mu);
}
