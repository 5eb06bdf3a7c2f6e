/* SPDX-License-Identifier: BSD-3-Clause */
/* The checker of invariants sees each of them broken. */
#include "engine/db/invariants.h"

#include "tests/support/db_test.h"

#define KEYS 100

/* Tables a and b in level 0, b newer, and c in level 1; all overlap. */
struct world {
	struct test_db t;
	struct version *v; /* a copy of the current version, to be bent */
	uint64_t last;
};

static void write_keys(struct world *w, int from)
{
	for (int i = from; i < KEYS; i += 3) {
		char key[32];

		snprintf(key, sizeof(key), "key%03d", i);
		if (i % 7)
			tdb_put(&w->t, key, "value");
		else
			tdb_delete(&w->t, key);
	}
	CK_OK(cairn_flush(w->t.db, true));
}

/* The tables of a level are copied, so that they can be changed. */
static void copy_level(const struct version *from, int level,
		       struct version *to)
{
	const struct version_files *f = &from->level[level];

	to->level[level].files = calloc(f->n + 1, sizeof(struct file_meta *));
	ck_assert_ptr_nonnull(to->level[level].files);
	for (size_t i = 0; i < f->n; i++) {
		const struct file_meta *m = f->files[i];
		struct file_meta *c;

		CK_OK(file_meta_new(m->number, m->size, m->smallest, m->largest,
				    m->smallest_seqno, m->largest_seqno, &c));
		atomic_store(&c->entries, atomic_load(&m->entries));
		to->level[level].files[to->level[level].n++] = c;
	}
}

static void world_init(struct world *w)
{
	const struct cairn_slice all = { NULL, 0 };

	tdb_init(&w->t, NULL);
	tdb_set(&w->t, "auto_compactions", "false");
	tdb_open(&w->t);
	write_keys(w, 0);
	CK_OK(cairn_compact_range(w->t.db, all, all, NULL));
	write_keys(w, 1);
	write_keys(w, 2);
	w->last = version_set_last_seqno(w->t.db->versions);
	CK_OK(version_new(&w->v));
	for (int level = 0; level < CAIRN_LEVELS; level++)
		copy_level(version_set_current(w->t.db->versions), level, w->v);
	/* Two files that overlap: two sublevels. */
	w->v->n_sublevels = 2;
	w->v->sublevel = calloc(2, sizeof(*w->v->sublevel));
	ck_assert_ptr_nonnull(w->v->sublevel);
	for (size_t s = 0; s < 2; s++) {
		struct version_files *sub = &w->v->sublevel[s];

		sub->files = calloc(2, sizeof(struct file_meta *));
		ck_assert_ptr_nonnull(sub->files);
		sub->files[sub->n++] = w->v->level[0].files[1 - s];
	}
}

static void world_fini(struct world *w)
{
	version_unref(w->v);
	tdb_fini(&w->t);
}

static struct file_meta *newer(struct world *w)
{
	return w->v->level[0].files[0];
}

static struct file_meta *older(struct world *w)
{
	return w->v->level[0].files[1];
}

/* ---------------------------------------------------------------- versions */

static void nothing(struct world *w)
{
	(void)w;
}

static void swap_level0(struct world *w)
{
	struct file_meta *f = newer(w);

	w->v->level[0].files[0] = older(w);
	w->v->level[0].files[1] = f;
}

static void lower_seqno(struct world *w)
{
	newer(w)->smallest_seqno = older(w)->smallest_seqno;
}

static void raise_seqno(struct world *w)
{
	newer(w)->largest_seqno = w->last + 1;
}

static void turn_seqnos(struct world *w)
{
	struct file_meta *f = w->v->level[6].files[0];

	f->smallest_seqno = f->largest_seqno + 1;
}

static void raise_number(struct world *w)
{
	newer(w)->number = version_set_next_file_number(w->t.db->versions);
}

static void repeat_number(struct world *w)
{
	w->v->level[6].files[0]->number = newer(w)->number;
}

static void turn_bounds(struct world *w)
{
	struct ikey k = newer(w)->smallest_key;

	newer(w)->smallest_key = newer(w)->largest_key;
	newer(w)->largest_key = k;
}

static void swap_sublevels(struct world *w)
{
	w->v->sublevel[0].files[0] = newer(w);
	w->v->sublevel[1].files[0] = older(w);
}

static void one_sublevel(struct world *w)
{
	w->v->sublevel[0].files[w->v->sublevel[0].n++] = newer(w);
	w->v->sublevel[1].n = 0;
}

static void lose_sublevel(struct world *w)
{
	w->v->sublevel[1].n = 0;
}

static void same_in_sublevels(struct world *w)
{
	w->v->sublevel[1].files[0] = older(w);
}

static const struct {
	void (*bend)(struct world *w);
	const char *message; /* NULL: all is well */
} versions[] = {
	{ nothing, NULL },
	{ swap_level0, "of level 0 are out of order" },
	{ lower_seqno, "of level 0 are not one above the other" },
	{ raise_seqno, "largest sequence number is above the last one" },
	{ turn_seqnos, "sequence numbers are the wrong way round" },
	{ raise_number, "its number was not handed out" },
	{ repeat_number, "is live twice" },
	{ turn_bounds, "its largest key is below its smallest" },
	{ swap_sublevels, "is not above an older one that it overlaps" },
	{ one_sublevel, "overlaps one of its sublevel" },
	{ lose_sublevel, "level 0 has 2 files, its sublevels 1" },
	{ same_in_sublevels, "is in no sublevel" },
};

START_TEST(a_version_that_breaks_one_is_found)
{
	const char *message = versions[_i].message;
	struct world w;
	int err;

	world_init(&w);
	versions[_i].bend(&w);
	err = invariants_of_version(w.t.db, w.v, w.last);
	ck_assert_msg((err == CAIRN_ECORRUPT) == (message != NULL), "%d: %s",
		      err, cairn_errmsg());
	if (message)
		ck_assert_msg(strstr(cairn_errmsg(), message), "%s",
			      cairn_errmsg());
	world_fini(&w);
}
END_TEST

/* ------------------------------------------------------------------ tables */

static void set_bound(struct ikey *bound, const char *key)
{
	bound->user_key = slice_str(key);
}

static void narrow_front(struct world *w)
{
	set_bound(&newer(w)->smallest_key, "key050");
}

static void narrow_back(struct world *w)
{
	set_bound(&newer(w)->largest_key, "key050");
}

static void widen(struct world *w)
{
	set_bound(&newer(w)->smallest_key, "a");
}

static void narrow_seqnos(struct world *w)
{
	newer(w)->smallest_seqno++;
}

static void widen_seqnos(struct world *w)
{
	newer(w)->smallest_seqno--;
}

static void other_entries(struct world *w)
{
	atomic_store(&newer(w)->entries, 5);
}

static const struct {
	void (*bend)(struct world *w);
	const char *message;
} tables[] = {
	{ nothing, NULL },
	{ narrow_front, "its keys are out of its bounds" },
	{ narrow_back, "its keys are out of its bounds" },
	{ widen, "its bounds are wider than its keys" },
	{ narrow_seqnos, "it has sequence numbers out of its bounds" },
	{ widen_seqnos, "its sequence numbers do not reach its bounds" },
	{ other_entries, "it is known to have other entries" },
};

START_TEST(a_table_that_is_not_as_the_manifest_says_is_found)
{
	const char *message = tables[_i].message;
	bool unreadable;
	struct world w;
	int err;

	world_init(&w);
	tables[_i].bend(&w);
	err = invariants_of_table(w.t.db, newer(&w), &unreadable);
	ck_assert(!unreadable);
	ck_assert_msg((err == CAIRN_ECORRUPT) == (message != NULL), "%d: %s",
		      err, cairn_errmsg());
	if (message)
		ck_assert_msg(strstr(cairn_errmsg(), message), "%s",
			      cairn_errmsg());
	world_fini(&w);
}
END_TEST

START_TEST(a_table_that_cannot_be_read_is_no_violation)
{
	struct file_meta *f;
	bool unreadable;
	struct world w;

	world_init(&w);
	f = newer(&w);
	f->number = 999999;
	ck_assert_int_lt(invariants_of_table(w.t.db, f, &unreadable), 0);
	ck_assert(unreadable);
	world_fini(&w);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("invariants");
	TCase *tc = tcase_create("each");

	tcase_add_loop_test(tc, a_version_that_breaks_one_is_found, 0,
			    sizeof(versions) / sizeof(*versions));
	tcase_add_loop_test(tc,
			    a_table_that_is_not_as_the_manifest_says_is_found,
			    0, sizeof(tables) / sizeof(*tables));
	tcase_add_test(tc, a_table_that_cannot_be_read_is_no_violation);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
