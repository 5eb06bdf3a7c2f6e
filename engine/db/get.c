/* SPDX-License-Identifier: BSD-3-Clause */
/* Point reads: a batch to be committed, memtables, then level 0 by sublevel,
 * then the levels below, each newer than the next; the first version found is
 * the answer. */
#include <stdlib.h>
#include <time.h>

#include "engine/base/error.h"
#include "engine/db/get_impl.h"
#include "engine/db/read_only.h"
#include "engine/kv/batch_index.h"
#include "engine/kv/kind.h"
#include "engine/version/filename.h"

/* Of how many reads of a thread one is timed: reading the clock twice costs
 * about 50 ns. */
#define SAMPLE_PERIOD 64

static void note_cover(struct get *g, uint64_t seqno)
{
	if (g->cover < seqno)
		g->cover = seqno;
}

static void release_memtable(void *m)
{
	memtable_unref(m);
}

/* f: the table it was found in, NULL for a memtable. */
static int refuse(const struct get *g, const struct file_meta *f, uint8_t kind)
{
	char *path;
	int err;

	if (!f)
		return kind_refuse(kind, "memtable");
	path = filename_table(g->db->dir, f->number);
	err = path ? kind_refuse(kind, path) : error_nomem();
	free(path);
	return err;
}

/* ------------------------------------------------------- merge operands */

static int keep_operand(struct get *g, uint64_t trailer,
			struct cairn_slice operand)
{
	if (!g->db->opts.merge)
		return merge_refuse(g->key, g->db->opts.merge_unknown);
	if (!g->operands) {
		g->operands = calloc(1, sizeof(*g->operands));
		if (!g->operands)
			return error_nomem();
	}
	return merge_operands_add(g->operands, operand, trailer);
}

/* Keep an operand of the store; what is older than it comes next. */
static int take_operand(struct get *g, uint64_t trailer,
			struct cairn_slice operand)
{
	/* The search goes on below it; a block in disorder must not turn it. */
	if (trailer >> 8 > g->seqno)
		return error_set(CAIRN_ECORRUPT,
				 "versions of a key out of order");
	if (trailer >> 8 > 0)
		g->seqno = (trailer >> 8) - 1;
	return keep_operand(g, trailer, operand);
}

void get_fini(struct get *g)
{
	if (!g->operands)
		return;
	merge_operands_fini(g->operands);
	free(g->operands);
	g->operands = NULL;
}

/* The operands applied to what was found below them, NULL: nothing. */
static int merge(const struct get *g, const struct cairn_slice *existing,
		 struct cairn_pinned *out)
{
	struct buf value = { 0 };
	int err = merge_full(g->db->opts.merge, g->key, existing, g->operands,
			     MERGE_NEWEST_FIRST, &value);

	if (err) {
		buf_fini(&value);
		return err;
	}
	*out = (struct cairn_pinned){ .value = buf_slice(&value),
				      .release = free,
				      .owner = value.data };
	return CAIRN_OK;
}

/* --------------------------------------------------------------- sources */

/* As answer(), for what is not a put alone. Out of the way of those. */
__attribute__((noinline)) static int
answer_other(struct get *g, const struct file_meta *f, uint64_t trailer,
	     struct cairn_pinned *value, bool *found, struct cairn_pinned *out)
{
	uint8_t kind = (uint8_t)trailer;
	int err;

	switch (kind) {
	case KIND_PUT:
		err = merge(g, &value->value, out);
		break;
	case KIND_DELETE:
	case KIND_SINGLE_DELETE:
		err = g->operands ? merge(g, NULL, out) : CAIRN_NOT_FOUND;
		break;
	case KIND_MERGE:
		err = take_operand(g, trailer, value->value);
		/* Nothing is older than 0. */
		*found = err || trailer >> 8 == 0;
		if (!err && *found)
			err = merge(g, NULL, out);
		break;
	default:
		err = refuse(g, f, kind);
		break;
	}
	cairn_pinned_release(value);
	return err;
}

/*
 * What a version of the key says about it; f as above. Takes value over.
 * *found: the result is the answer; clear after an operand, when the next
 * older version is to be looked for.
 */
static inline int answer(struct get *g, const struct file_meta *f,
			 uint64_t trailer, struct cairn_pinned *value,
			 bool *found, struct cairn_pinned *out)
{
	*found = true;
	if ((uint8_t)trailer != KIND_PUT || g->operands)
		return answer_other(g, f, trailer, value, found, out);
	*out = *value;
	return CAIRN_OK;
}

/* x has no (other) version: whether a range tombstone has ended the search. */
static int none_there(const struct get *g, bool *found,
		      struct cairn_pinned *out)
{
	if (!g->cover)
		return CAIRN_OK;
	*found = true;
	return g->operands ? merge(g, NULL, out) : CAIRN_NOT_FOUND;
}

int get_from_memtable(struct get *g, struct memtable *m, bool *found,
		      struct cairn_pinned *out)
{
	int err;

	note_cover(g, memtable_cover(m, g->key, g->seqno));
	do {
		struct cairn_pinned value = { .release = release_memtable,
					      .owner = m };
		uint64_t trailer;

		err = memtable_get(m, g->key, g->seqno, &trailer, &value.value);
		if (err == CAIRN_NOT_FOUND || (!err && trailer >> 8 < g->cover))
			return none_there(g, found, out);
		if (err)
			return err;
		memtable_ref(m);
		err = answer(g, NULL, trailer, &value, found, out);
	} while (!err && !*found);
	return err;
}

static inline void note_table_cover(struct get *g, const struct table *t)
{
	const struct range_dels *dels = table_range_dels(t);

	if (dels)
		note_cover(g, range_dels_cover(dels, g->key, g->seqno));
}

/*
 * After an operand, older versions may be in the file that follows f in its
 * run: the two share the user key, and what range tombstones of f delete says
 * nothing of those yet.
 */
static bool goes_on_behind(const struct get *g, const struct file_meta *f)
{
	struct ikey place = ikey_seek(g->key, g->seqno);

	return g->operands && ikey_cmp(&place, &f->largest_key) > 0;
}

/* What table_get() returned. *more: it may have an older version. */
static inline int take_from_table(struct get *g, const struct file_meta *f,
				  int err, uint64_t trailer,
				  struct cairn_pinned *value, bool *found,
				  struct cairn_pinned *out, bool *more)
{
	*more = false;
	if (!err && trailer >> 8 < g->cover) {
		cairn_pinned_release(value);
		err = CAIRN_NOT_FOUND;
	}
	if (err == CAIRN_NOT_FOUND)
		return goes_on_behind(g, f) ? CAIRN_OK
					    : none_there(g, found, out);
	if (err)
		return err;
	err = answer(g, f, trailer, value, found, out);
	*more = !err && !*found;
	return err;
}

static int get_from_table(struct get *g, const struct file_meta *f,
			  struct table *t, bool *found,
			  struct cairn_pinned *out)
{
	bool more;
	int err;

	note_table_cover(g, t);
	do {
		struct cairn_pinned value = { 0 };
		uint64_t trailer = 0;

		err = table_get(t, g->key, g->seqno, g->fill_cache, &trailer,
				&value);
		err = take_from_table(g, f, err, trailer, &value, found, out,
				      &more);
	} while (more);
	return err;
}

int get_take(struct get *g, const struct file_meta *f, struct table *t,
	     struct table_probe *p, bool *found, struct cairn_pinned *out,
	     bool *more)
{
	note_table_cover(g, t);
	return take_from_table(g, f, p->result, p->trailer, &p->value, found,
			       out, more);
}

/*
 * The tombstones of the file count here: it is the one that would hold a
 * version of the key at or below seqno, so the place is within its bounds.
 */
static int get_from_file(struct get *g, const struct file_meta *f, bool *found,
			 struct cairn_pinned *out)
{
	struct table_ref *ref;
	int err;

	err = table_cache_get(g->db->tables, f->number, f->size, &ref);
	if (err)
		return err;
	err = get_from_table(g, f, table_ref_table(ref), found, out);
	table_cache_release(g->db->tables, ref);
	return err;
}

/*
 * At most one file of a sorted run can hold the version: the first that does
 * not end before the place where it would be. This holds as well where two
 * files share a user key, as those of LevelDB may; then operands may go on in
 * the next one.
 */
int get_from_run(struct get *g, const struct version_files *run, bool *found,
		 struct cairn_pinned *out)
{
	uint64_t seqno;
	int err;

	do {
		struct ikey target = ikey_seek(g->key, g->seqno);
		size_t i = version_find_file(run, &target);

		if (i == run->n ||
		    slice_cmp(g->key, run->files[i]->smallest_key.user_key) < 0)
			return CAIRN_OK;
		seqno = g->seqno;
		err = get_from_file(g, run->files[i], found, out);
	} while (!err && !*found && g->seqno != seqno);
	return err;
}

int get_end(struct get *g, struct cairn_pinned *out)
{
	return g->operands ? merge(g, NULL, out) : CAIRN_NOT_FOUND;
}

static int get_from_state(struct get *g, const struct read_state *s,
			  struct cairn_pinned *out)
{
	const struct version *v = s->version;
	bool found = false;
	int err;

	for (size_t i = 0; i < s->n_mems; i++) {
		err = get_from_memtable(g, s->mems[i], &found, out);
		if (err || found)
			return err;
	}
	for (size_t i = v->n_sublevels; i-- > 0;) {
		err = get_from_run(g, &v->sublevel[i], &found, out);
		if (err || found)
			return err;
	}
	for (int l = 1; l < CAIRN_LEVELS; l++) {
		err = get_from_run(g, &v->level[l], &found, out);
		if (err || found)
			return err;
	}
	return get_end(g, out);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static bool is_sample(void)
{
	static _Thread_local unsigned n;

	return n++ % SAMPLE_PERIOD == 0;
}

/* ----------------------------------------------------- of a batch on top */

static void release_block(void *k)
{
	batch_block_unref(k);
}

/* What the newest version of the key that is not taken yet says, *v; *found as
 * above. */
static int get_version(struct get *g, const struct cairn_batch *b,
		       const struct batch_version *v, bool *found,
		       struct cairn_pinned *out)
{
	uint8_t kind = (uint8_t)v->trailer;

	*found = true;
	switch (kind) {
	case KIND_PUT:
		if (g->operands)
			return merge(g, &v->value, out);
		*out = (struct cairn_pinned){ .value = v->value,
					      .release = release_block,
					      .owner = batch_share(b) };
		return CAIRN_OK;
	case KIND_DELETE:
	case KIND_SINGLE_DELETE:
		return g->operands ? merge(g, NULL, out) : CAIRN_NOT_FOUND;
	case KIND_MERGE:
		*found = false;
		return keep_operand(g, v->trailer, v->value);
	default:
		return kind_refuse(kind, "batch");
	}
}

/* As the functions called get_from_x. */
static int get_from_batch(struct get *g, const struct cairn_batch *b,
			  bool *found, struct cairn_pinned *out)
{
	uint64_t cover = batch_cover(b, g->key);
	struct batch_version v;
	int err = CAIRN_OK;

	batch_find(b, g->key, &v);
	while (v.node && v.trailer >> 8 > cover) {
		err = get_version(g, b, &v, found, out);
		if (err || *found)
			return err;
		batch_find_older(b, &v);
	}
	if (!cover)
		return CAIRN_OK;
	*found = true;
	return g->operands ? merge(g, NULL, out) : CAIRN_NOT_FOUND;
}

/* b may be NULL. */
static int get(struct cairn_db *db, const struct cairn_read_options *o,
	       const struct cairn_batch *b, struct cairn_slice key,
	       struct cairn_pinned *out)
{
	const struct cairn_snapshot *snapshot = o ? o->snapshot : NULL;
	struct get g = {
		.db = db,
		.key = key,
		.fill_cache = !(o && o->no_fill_cache),
	};
	uint64_t start = is_sample() ? now_ns() : 0;
	/* The state first, then the seqno: see read_state.h. */
	struct read_state *s = read_state_acquire(db->read_states);
	bool found = false;
	int err = CAIRN_OK;

	g.seqno = snapshot ? snapshot->seqno
			   : atomic_load_explicit(&db->visible,
						  memory_order_acquire);
	if (b)
		err = get_from_batch(&g, b, &found, out);
	if (!err && !found)
		err = get_from_state(&g, s, out);
	read_state_release(db->read_states, s);
	get_fini(&g);
	if (start)
		hist_add(&db->get_ns, now_ns() - start);
	return err < 0 ? read_only_blame(db, err) : err;
}

int cairn_get(struct cairn_db *db, const struct cairn_read_options *o,
	      struct cairn_slice key, struct cairn_pinned *out)
{
	return get(db, o, NULL, key, out);
}

int cairn_batch_get(struct cairn_db *db, const struct cairn_read_options *o,
		    const struct cairn_batch *b, struct cairn_slice key,
		    struct cairn_pinned *out)
{
	if (!b->indexed)
		return batch_refuse_unindexed();
	return get(db, o, b, key, out);
}
