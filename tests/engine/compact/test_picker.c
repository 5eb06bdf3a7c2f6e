/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/compact/picker.h"

#include <stdarg.h>
#include <stdio.h>

#include "engine/base/error.h"
#include "engine/base/rng.h"
#include "tests/support/runner.h"
#include "tests/support/version_text.h"

#define MIB (UINT64_C(1) << 20)

static const struct picker_options defaults = {
	.base_level_size = 64 * MIB,
	.level_multiplier = 10,
	.target_file_size = 4 * MIB,
	.target_file_size_max = 64 * MIB,
	.l0_trigger = 4,
};

/* ------------------------------------------------------------------- as text
 */

struct text {
	char at[4096];
	size_t len;
};

__attribute__((format(printf, 2, 3))) static void add(struct text *t,
						      const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(t->at + t->len, sizeof(t->at) - t->len, fmt, ap);
	va_end(ap);
	ck_assert(n >= 0 && (size_t)n < sizeof(t->at) - t->len);
	t->len += (size_t)n;
}

static void add_files(struct text *t, const char *before,
		      struct file_meta *const *files, size_t n)
{
	for (size_t i = 0; i < n; i++)
		add(t, "%s%llu", i ? " " : before,
		    (unsigned long long)files[i]->number);
}

/* "L1>2 5 6 + 9 / 12 move": inputs, those of the output level, grandparents. */
static struct text plan_text(const struct compaction_plan *p)
{
	struct text t = { 0 };

	add(&t, "L%d>%d", p->from_level, p->to_level);
	add_files(&t, " ", p->inputs[0], p->n_inputs[0]);
	add_files(&t, " + ", p->inputs[1], p->n_inputs[1]);
	add_files(&t, " / ", p->grandparents, p->n_grandparents);
	if (p->trivial_move)
		add(&t, " move");
	if (p->kind != COMPACT_SCORE && p->kind != COMPACT_MANUAL)
		add(&t, " %s", compaction_kind_name(p->kind));
	return t;
}

/* The same with the inputs of level 0 by number, which reads better. */
static void sort_l0(struct compaction_plan *p)
{
	if (p->from_level != 0)
		return;
	for (size_t i = 0; i < p->n_inputs[0]; i++)
		for (size_t j = i; j > 0; j--) {
			struct file_meta **f = p->inputs[0];
			struct file_meta *tmp = f[j];

			if (f[j - 1]->number < f[j]->number)
				break;
			f[j] = f[j - 1];
			f[j - 1] = tmp;
		}
}

/* ---------------------------------------------------------------- one session
 */

#define PLANS_MAX 16

struct session {
	struct version *v;
	struct picker_options o;
	struct compaction_plan plans[PLANS_MAX];
	const struct compaction_plan *running[PLANS_MAX];
	struct picker_running r;
	uint64_t snapshots[8];
	struct file_meta **marked; /* owned */
	uint64_t steps;
};

/* What the database would have marked, by file number. */
static void session_mark(struct session *s)
{
	size_t n = 0;

	for (int l = 0; l < CAIRN_LEVELS; l++)
		n += s->v->level[l].n;
	s->marked = calloc(n + 1, sizeof(struct file_meta *));
	ck_assert_ptr_nonnull(s->marked);
	n = 0;
	for (int l = 0; l < CAIRN_LEVELS; l++)
		for (size_t i = 0; i < s->v->level[l].n; i++)
			if (file_meta_is_notable(s->v->level[l].files[i]) ||
			    file_meta_is_garbage(s->v->level[l].files[i],
						 UINT64_MAX))
				s->marked[n++] = s->v->level[l].files[i];
	for (size_t i = 0; i < n; i++)
		for (size_t k = i; k > 0; k--) {
			struct file_meta *f = s->marked[k];

			if (s->marked[k - 1]->number < f->number)
				break;
			s->marked[k] = s->marked[k - 1];
			s->marked[k - 1] = f;
		}
	s->r.marked = s->marked;
	s->r.n_marked = n;
}

/* "3 17": a snapshot at 3, and 17 is visible. */
static void session_snapshots(struct session *s, const char *text)
{
	s->r.n_snapshots = 0;
	while (*text) {
		char *end;

		s->snapshots[s->r.n_snapshots++] = strtoull(text, &end, 10);
		ck_assert(end != text && s->r.n_snapshots < 8);
		text = end + strspn(end, " ");
	}
	s->r.snapshots = s->snapshots;
	if (s->r.n_snapshots > 1)
		s->r.newest_held = s->snapshots[s->r.n_snapshots - 2];
}

static void session_begin(struct session *s, const char *tree)
{
	*s = (struct session){ .o = defaults };
	s->r.plans = s->running;
	ck_assert_msg(version_parse(tree, &s->v) == CAIRN_OK, "%s",
		      cairn_errmsg());
	session_mark(s);
}

static void session_end(struct session *s)
{
	free(s->marked);
	for (size_t i = 0; i < s->r.n; i++)
		compaction_plan_fini(&s->plans[i]);
	version_unref(s->v);
}

/* Pick and let it run; "-" when there is nothing. */
static struct text session_pick(struct session *s)
{
	struct compaction_plan *p = &s->plans[s->r.n];
	struct text t = { "-", 1 };
	int err = picker_pick(s->v, &s->o, &s->r, p);

	ck_assert(err == CAIRN_OK || err == CAIRN_NOT_FOUND);
	if (err)
		return t;
	sort_l0(p);
	s->running[s->r.n++] = p;
	ck_assert_uint_lt(s->r.n, PLANS_MAX);
	return plan_text(p);
}

/* -------------------------------------------------------------------- targets
 */

static const struct {
	const char *name;
	const char *tree;
	int base;
	const char *targets; /* MiB of base..6, rounded */
} trees[] = {
	{ "nothing", "", 6, "0" },
	{ "level 0 only", "L0: 1:[a-b]#1 500M", 6, "0" },
	{ "small", "L6: 1:[a-b] 10M", 6, "64" },
	/* 0.9 of it is 90 > 64: a level above. */
	{ "more than the base level", "L6: 1:[a-b] 100M", 5, "64 90" },
	{ "level 0 counts, too", "L0: 2:[a-b]#1 60M L6: 1:[a-b] 40M", 5,
	  "64 90" },
	{ "just not", "L6: 1:[a-b] 71M", 6, "64" },
	/* 0.9 of 10 TiB: four powers of ten below is 943 MiB, five is 94. */
	{ "ten tebibytes", "L6: 1:[a-b] 10T", 1,
	  "64 692 7476 80794 873192 9437184" },
	{ "a tebibyte", "L6: 1:[a-b] 1T", 1,
	  "64 436 2976 20294 138392 943718" },
	{ "half a tebibyte", "L6: 1:[a-b] 512G", 2,
	  "64 593 5495 50922 471859" },
	/* Levels that have files stay: the base level never goes below. */
	{ "RocksDB's static levels", "L1: 1:[a-b] 256M L2: 2:[a-b] 700M", 1,
	  "64 109 172" },
};

static struct text targets_text(const struct level_targets *t)
{
	struct text out = { 0 };

	for (int level = t->base_level; level < CAIRN_LEVELS; level++)
		add(&out, "%s%.0f", level > t->base_level ? " " : "",
		    (double)t->target[level] / (double)MIB);
	for (int level = 0; level < t->base_level; level++)
		ck_assert_uint_eq(t->target[level], 0);
	return out;
}

START_TEST(targets_follow_the_size_of_the_database)
{
	struct level_targets t;
	struct session s;

	session_begin(&s, trees[_i].tree);
	picker_targets(s.v, &s.o, &s.r, &t);
	ck_assert_msg(t.base_level == trees[_i].base, "%s: %d", trees[_i].name,
		      t.base_level);
	if (strcmp(trees[_i].name, "RocksDB's static levels"))
		ck_assert_msg(!strcmp(targets_text(&t).at, trees[_i].targets),
			      "%s: %s", trees[_i].name, targets_text(&t).at);
	session_end(&s);
}
END_TEST

START_TEST(targets_grow_by_one_ratio_from_the_base_level_down)
{
	static const uint64_t sizes[] = {
		65, 100, 1000, 12345, 999999, 10 << 20
	};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct level_targets t;
		struct session s;
		double ratio = 0;
		char tree[64];

		snprintf(tree, sizeof(tree), "L6: 1:[a-b] %lluM",
			 (unsigned long long)sizes[i]);
		session_begin(&s, tree);
		picker_targets(s.v, &s.o, &s.r, &t);
		ck_assert_uint_eq(t.target[t.base_level], 64 * MIB);
		for (int level = t.base_level; level < 6; level++) {
			double here = (double)t.target[level + 1] /
				      (double)t.target[level];

			if (ratio > 0)
				ck_assert_double_eq_tol(here, ratio, 0.01);
			ratio = here;

			ck_assert_double_lt(ratio, 10.9);
		}
		session_end(&s);
	}
}
END_TEST

/* Scores times 100 of each level, 0 where not eligible. */
static const struct {
	const char *name;
	const char *tree;
	const char *want;
} scores[] = {
	{ "three sublevels are one too few",
	  "L0: 1:[a-b]#1 1M 2:[a-b]#2 1M 3:[a-b]#3 1M", "0 0 0 0 0 0 0" },
	/* 2 x 1 / 0.01 with an empty base level. */
	{ "four are enough",
	  "L0: 1:[a-b]#1 1M 2:[a-b]#2 1M 3:[a-b]#3 1M 4:[a-b]#4 1M",
	  "20000 0 0 0 0 0 0" },
	{ "four files side by side are one sublevel",
	  "L0: 1:[a-b]#1 1M 2:[c-d]#2 1M 3:[e-f]#3 1M 4:[g-h]#4 1M",
	  "0 0 0 0 0 0 0" },
	/* L5 at 128/64, L6 at 160/(0.9 x 292): 2 / 0.609; L0 2 x 1 / 2. */
	{ "an overfull base level holds level 0 back",
	  "L0: 1:[a-b]#1 1M 2:[a-b]#2 1M 3:[a-b]#3 1M 4:[a-b]#4 1M "
	  "L5: 5:[a-b] 128M L6: 6:[a-b] 160M",
	  "100 0 0 0 0 329 0" },
	{ "and a very overfull one stops it",
	  "L0: 1:[a-b]#1 1M 2:[a-b]#2 1M 3:[a-b]#3 1M 4:[a-b]#4 1M "
	  "L5: 5:[a-b] 140M L6: 6:[a-b] 160M",
	  "0 0 0 0 0 374 0" },
	{ "the bottom level has no score", "L6: 6:[a-b] 50M 7:[c-d] 500M",
	  "0 0 0 0 0 0 0" },
};

START_TEST(scores_say_what_is_urgent)
{
	struct level_targets t;
	struct text got = { 0 };
	struct session s;

	session_begin(&s, scores[_i].tree);
	picker_targets(s.v, &s.o, &s.r, &t);
	for (int level = 0; level < CAIRN_LEVELS; level++)
		add(&got, "%s%.0f", level ? " " : "", 100 * t.score[level]);
	ck_assert_msg(!strcmp(got.at, scores[_i].want), "%s: %s",
		      scores[_i].name, got.at);
	session_end(&s);
}
END_TEST

START_TEST(twenty_files_of_one_sublevel_start_a_compaction)
{
	struct text tree = { 0 };
	struct level_targets t;
	struct session s;

	add(&tree, "L0:");
	for (int i = 0; i < 19; i++)
		add(&tree, " %d:[%c-%c]#%d 1M", i + 1, 'a' + i, 'a' + i, i + 1);
	session_begin(&s, tree.at);
	ck_assert_str_eq(session_pick(&s).at, "-");
	session_end(&s);
	add(&tree, " 20:[t-t]#20 1M");
	session_begin(&s, tree.at);
	picker_targets(s.v, &s.o, &s.r, &t);
	ck_assert_double_ge(t.score[0], 1);
	ck_assert_str_eq(session_pick(&s).at, "L0>6 1 move");
	session_end(&s);
}
END_TEST

START_TEST(debt_is_what_must_be_rewritten)
{
	struct level_targets t;
	struct session s;

	session_begin(&s, "L0: 1:[a-b]#1 10M");
	picker_targets(s.v, &s.o, &s.r, &t);
	ck_assert_uint_eq(t.debt_bytes, 0);
	session_end(&s);

	session_begin(&s, "L0: 1:[a-b]#1 10M L6: 2:[a-b] 50M");
	picker_targets(s.v, &s.o, &s.r, &t);
	ck_assert_uint_eq(t.debt_bytes, 60 * MIB);
	session_end(&s);

	/* 100 MiB in a level of 64: 36 go down, into 200: 36 x (2 + 1). */
	session_begin(&s, "L5: 1:[a-b] 100M L6: 2:[a-b] 200M");
	picker_targets(s.v, &s.o, &s.r, &t);
	ck_assert_uint_eq(t.debt_bytes, 108 * MIB);
	session_end(&s);
}
END_TEST

/* ---------------------------------------------------------------------- picks
 */

/* L5's target is 64M in these, L6 is at its own. */
static const struct {
	const char *name;
	const char *tree;
	const char *picks; /* one after the other, all running; ends with - */
} picks[] = {
	{ "nothing to do", "L5: 1:[a-m] 30M L6: 2:[a-z] 300M", "-" },
	{ "the whole of level 0 when all of it overlaps",
	  "L0: 1:[a-m]#1 9M 2:[b-z]#2 9M 3:[c-y]#3 9M 4:[a-z]#4 9M "
	  "L6: 5:[a-f] 9M 6:[g-k] 9M 7:[zz-zzz] 9M",
	  "L0>6 1 2 3 4 + 5 6; -" },
	/* The column of a-c is deepest and goes first; that of x-z follows
	 * only when it still has enough sublevels. */
	{ "columns go one by one",
	  "L0: 1:[a-c]#1 9M 2:[a-c]#2 9M 3:[a-c]#3 9M 4:[a-c]#4 9M "
	  "5:[x-z]#5 9M 6:[x-z]#6 9M 7:[x-z]#7 9M 8:[x-z]#8 9M",
	  "L0>6 1 2 3 4; L0>6 5 6 7 8; -" },
	{ "a newer file may stay, an older one never does",
	  "L0: 1:[d-f]#1 9M 2:[a-d]#2 9M 3:[a-b]#3 9M 4:[a-b]#4 9M "
	  "5:[m-n]#5 9M 6:[e-e]#6 9M",
	  "L0>6 1 2 3 4 6; -" },
	/* Merging 4 MiB into 41 would write eleven bytes for one. */
	{ "level 0 alone while it is small beside the base level",
	  "L0: 1:[a-m]#1 1M 2:[b-z]#2 1M 3:[c-y]#3 1M 4:[a-z]#4 1M "
	  "L6: 5:[a-z] 41M",
	  "L0>0 1 2 3 4; -" },
	{ "but not when it is a tenth of it",
	  "L0: 1:[a-m]#1 1M 2:[b-z]#2 1M 3:[c-y]#3 1M 4:[a-z]#4 1M "
	  "L6: 5:[a-z] 40M",
	  "L0>6 1 2 3 4 + 5; -" },
	/* 900 KiB for 3 sublevels; the newest three are 150 for each. */
	{ "only as many as are cheap",
	  "L0: 1:[a-m]#1 600K 2:[b-z]#2 100K 3:[c-y]#3 100K 4:[a-z]#4 100K "
	  "L6: 5:[a-z] 60M",
	  "L0>0 2 3 4; -" },
	{ "not those that share no sublevel only",
	  "L0: 1:[a-b]#1 100K 2:[a-b]#2 100K 3:[a-b]#3 100K 4:[a-b]#4 100K "
	  "5:[c-d]#5 100K L6: 6:[a-d] 60M",
	  "L0>0 1 2 3 4 5; -" },
	{ "not across the seqnos of a file that stays",
	  "L0: 1:[a-m]#1-9 900K 2:[b-z]#8-10 100K 3:[c-y]#11 100K 4:[a-z]#12 "
	  "100K "
	  "L6: 5:[a-z] 60M",
	  "L0>0 3 4; -" },
	{ "not those with unknown seqnos",
	  "L0: 1:[a-m] 100K~ 2:[b-z] 100K~ 3:[c-y]#3 100K 4:[a-z]#4 100K "
	  "L6: 5:[a-z] 60M",
	  "L0>0 3 4; -" },
	{ "a single file moves", "L5: 1:[a-c] 40M 2:[d-f] 40M L6: 3:[a-c] 300M",
	  "L5>6 2 move; -" },
	{ "not one of tombstones with nothing below",
	  "L5: 1:[a-c] 40M 2:[d-f] 40M!11 L6: 3:[a-c] 300M", "L5>6 2; -" },
	{ "a few tombstones do not matter",
	  "L5: 1:[a-c] 40M 2:[d-f] 40M!10 L6: 3:[a-c] 300M", "L5>6 2 move; -" },
	{ "tombstones with something below move",
	  "L4: 1:[a-c]#9 40M 2:[d-f]#1 40M!50 L6: 3:[a-f] 60M",
	  "L4>5 2 / 3 move; -" },
	{ "not over too much below it",
	  "L4: 1:[a-c] 40M 2:[d-f] 40M L5: 9:[z-zz] 1M "
	  "L6: 3:[a-f] 800M 4:[g-h] 800M",
	  "L4>5 1 / 3; -" },
	{ "the file that drags least along goes first",
	  "L5: 1:[a-c] 30M 2:[d-f] 30M 3:[g-i] 30M "
	  "L6: 4:[a-c] 100M 5:[d-f] 50M 6:[g-i] 100M",
	  "L5>6 2 + 5; -" },
	{ "of equal ones the oldest",
	  "L5: 1:[a-c]#8-9 30M 2:[d-f]#1-5 30M 3:[g-i]#6-7 30M "
	  "L6: 4:[a-c] 90M 5:[d-f] 90M 6:[g-i] 90M",
	  "L5>6 2 + 5; -" },
	{ "more files when they cost nothing below",
	  "L5: 1:[a-b] 25M 2:[c-d] 20M 3:[e-f] 30M L6: 4:[a-d] 100M "
	  "5:[e-f] 200M",
	  "L5>6 1 2 + 4; -" },
	{ "but not when the job grows too large",
	  "L5: 1:[a-b] 90M 2:[c-d] 90M 3:[e-f] 30M L6: 4:[a-d] 100M "
	  "5:[e-f] 200M",
	  "L5>6 1 + 4; L5>6 3 + 5; -" },
	{ "nor when they drag more along",
	  "L5: 1:[a-b] 25M 2:[c-e] 20M 3:[f-g] 30M L6: 4:[a-d] 30M "
	  "5:[e-e] 50M 6:[f-g] 200M",
	  "L5>6 1 + 4; -" },
	{ "versions of one user key stay together",
	  "L5: 1:[a-c]#30 30M 2:[c-d]#20 30M 3:[d-e]#10 30M 4:[f-g]#5 10M "
	  "L6: 5:[a-b] 100M 6:[e-e] 100M 7:[f-g] 100M",
	  "L5>6 1 2 3 + 5 6; -" },
	{ "in the output level, too",
	  "L5: 1:[a-b] 80M L6: 5:[a-b]#30 100M 6:[b-c]#20 100M 7:[d-e] 100M",
	  "L5>6 1 + 5 6; -" },
	{ "the end of a range tombstone does not tie files together",
	  "L5: 1:[a-c) 40M 2:[c-d] 30M L6: 5:[a-b] 40M 6:[d-d] 300M",
	  "L5>6 1 + 5; -" },
	{ "a busy level waits, another is served",
	  "L4: 1:[a-z] 100M L5: 2:[a-m] 700M 3:[n-z] 500M L6: 4:[a-z] 900M",
	  "L5>6 2 + 4; -" },
};

START_TEST(picks_are_what_they_should_be)
{
	struct text got = { 0 };
	struct session s;

	session_begin(&s, picks[_i].tree);
	for (;;) {
		struct text t = session_pick(&s);

		add(&got, "%s%s", got.len ? "; " : "", t.at);
		if (!strcmp(t.at, "-"))
			break;
	}
	ck_assert_msg(!strcmp(got.at, picks[_i].picks), "%s: %s",
		      picks[_i].name, got.at);
	session_end(&s);
}
END_TEST

/* What single files ask for, with no level over its target. */
static const struct {
	const char *name;
	const char *snapshots;
	const char *tree;
	const char *picks;
} specials[] = {
	/* drop */
	{ "files that are deleted as a whole go", "100",
	  "L5: 9:[a-z]#50 1M L6: 1:[b-c]#1-9 9M^50 2:[d-e]#1-9 9M "
	  "3:[f-g]#1-9 9M^50",
	  "L6>6 1 3 delete-only; -" },
	{ "before all else", "100",
	  "L0: 11:[a-b]#91 9M 12:[a-b]#92 9M 13:[a-b]#93 9M 14:[a-b]#94 9M "
	  "L5: 9:[a-z]#50 1M L6: 1:[b-c]#1-9 9M^50",
	  "L6>6 1 delete-only; L0>5 11 12 13 14 + 9 / 1; -" },
	{ "not while a snapshot sees them", "20 100",
	  "L5: 9:[a-z]#50 1M L6: 1:[b-c]#1-9 9M^50", "-" },
	{ "nor one that sees a part of them", "1 100",
	  "L5: 9:[a-z]#50 1M L6: 1:[b-c]#1-9 9M^50", "-" },
	{ "one that sees nothing of them does not matter", "0 100",
	  "L5: 9:[a-z]#50 1M L6: 1:[b-c]#1-9 9M^50", "L6>6 1 delete-only; -" },
	{ "nor one that sees them deleted", "50 100",
	  "L5: 9:[a-z]#50 1M L6: 1:[b-c]#1-9 9M^50", "L6>6 1 delete-only; -" },
	{ "the last one that does not", "49 100",
	  "L5: 9:[a-z]#50 1M L6: 1:[b-c]#1-9 9M^50", "-" },
	{ "nor before the deletion is published", "49",
	  "L5: 9:[a-z]#50 1M L6: 1:[b-c]#1-9 9M^50", "-" },
	{ "nor when that is not known", "",
	  "L5: 9:[a-z]#50 1M L6: 1:[b-c]#1-9 9M^50", "-" },
	{ "one with a zeroed seqno is seen by all", "0 100",
	  "L5: 9:[a-z]#50 1M L6: 1:[b-c]#0-9 9M^50", "-" },
	{ "nor those with unknown seqnos", "100",
	  "L5: 9:[a-z]#50 1M L6: 1:[b-c]#1-9 9M~^50", "-" },
	{ "one level at a time", "100",
	  "L4: 9:[a-z]#50 1M L5: 3:[b-c]#11-19 9M^50 "
	  "L6: 1:[b-c]#1-9 9M^50 2:[k-l]#1-9 9M^50",
	  "L6>6 1 2 delete-only; L5>5 3 delete-only; -" },
	{ "in level 0, too", "100",
	  "L0: 9:[a-z]#50 1M 2:[c-d]#11-19 9M^50 1:[b-c]#1-9 9M^50",
	  "L0>0 1 2 delete-only; -" },
	/* elide */
	{ "tombstones at the bottom go", "9", "L6: 1:[a-c]#1-9 9M!11",
	  "L6>6 1 elision-only; -" },
	{ "a few may stay", "9", "L6: 1:[a-c]#1-9 9M!10", "-" },
	{ "not while a snapshot needs them", "8 20", "L6: 1:[a-c]#1-9 9M!50",
	  "-" },
	{ "the bottom is where nothing is below", "9",
	  "L5: 1:[c-e]#1-9 9M!11 L6: 2:[a-b] 9M 3:[f-g] 9M",
	  "L5>5 1 elision-only; -" },
	{ "nothing at all", "9", "L5: 1:[c-e]#1-9 9M!11 L6: 2:[a-c] 9M", "-" },
	{ "not even the end of a tombstone", "9",
	  "L5: 1:[c-e]#1-9 9M!11 L6: 2:[a-c) 9M", "-" },
	{ "files that share a user key go together", "9",
	  "L6: 1:[a-c]#8-9 9M!11 2:[c-d]#1-7 9M 3:[e-f]#1-7 9M",
	  "L6>6 1 2 elision-only; -" },
	{ "or not at all", "9",
	  "L6: 1:[a-c]#10-11 9M 2:[c-d]#1-9 9M!11 3:[e-f]#1-7 9M", "-" },
	{ "not in level 0", "9", "L0: 1:[a-c]#1-9 9M!50", "-" },
	{ "one file per job", "20",
	  "L6: 1:[a-c]#1-9 9M!50 2:[d-e]#1-9 9M!50 3:[f-g]#1-30 9M!50",
	  "L6>6 1 elision-only; L6>6 2 elision-only; -" },
	/* garbage, as of position 7 */
	{ "what is forgotten goes", "9", "L6: 1:[a-c]#1-9 9M%30@7",
	  "L6>6 1 garbage; -" },
	{ "not when it is too little", "9", "L6: 1:[a-c]#1-9 9M%29@7", "-" },
	{ "nor before its time", "9", "L6: 1:[a-c]#1-9 9M%90@8", "-" },
	{ "where it is, not further down", "9",
	  "L4: 1:[a-c]#1-9 9M%40@1 L5: 2:[a-c] 9M L6: 3:[a-c] 50M",
	  "L4>4 1 / 2 garbage; -" },
	{ "in level 0 each by itself", "9",
	  "L0: 1:[a-c]#1-3 9M%40@1 2:[b-d]#4-6 9M%40@1 3:[x-z]#7-9 9M%40@1",
	  "L0>0 1 garbage; L0>0 3 garbage; -" },
	{ "not while a snapshot sees some of it", "1 20",
	  "L6: 1:[a-c]#1-9 9M%40@7", "-" },
	{ "a snapshot from before does not matter", "0 20",
	  "L6: 1:[a-c]#1-9 9M%40@7", "L6>6 1 garbage; -" },
	{ "nor before all of it is published", "8", "L6: 1:[a-c]#1-9 9M%40@7",
	  "-" },
	{ "nor when that is not known", "", "L6: 1:[a-c]#1-9 9M%40@7", "-" },
	{ "neighbours go along when they ask for the same", "9",
	  "L6: 9:[a-c]#1-9 9M 1:[d-e]#1-9 7M%40@7 7:[f-g]#1-9 7M%40@7 "
	  "8:[h-i]#1-9 9M 2:[k-l]#1-9 9M%40@6",
	  "L6>6 1 7 garbage; L6>6 2 garbage; -" },
	/* Four files of 4 MiB. */
	{ "as long as the job stays small", "9",
	  "L6: 3:[a-c]#1-9 9M%40@7 1:[d-e]#1-9 9M%40@7 2:[f-g]#1-9 7M%40@7 ",
	  "L6>6 1 2 garbage; L6>6 3 garbage; -" },
	{ "a large one by itself", "9",
	  "L6: 3:[a-c]#1-9 64M%40@7 1:[d-e]#1-9 64M%40@7",
	  "L6>6 1 garbage; L6>6 3 garbage; -" },
	{ "files that share a user key go together", "9",
	  "L6: 1:[a-c]#8-9 9M%40@7 2:[c-d]#1-7 9M 3:[e-f]#1-7 9M",
	  "L6>6 1 2 garbage; -" },
	/* dense */
	{ "many tombstones in a place move on", "9",
	  "L4: 1:[a-c]#1-9 9M= L5: 2:[a-c] 9M L6: 3:[a-c] 50M",
	  "L4>5 1 + 2 / 3 tombstones; -" },
	{ "also as they are", "9", "L4: 1:[a-c]#1-9 9M= L6: 3:[a-c] 50M",
	  "L4>5 1 / 3 move tombstones; -" },
	{ "not over much more than they are", "9",
	  "L5: 1:[a-c]#1-9 9M= L6: 3:[a-c] 99M", "-" },
	{ "not while a snapshot sees what they hide", "8 9",
	  "L4: 1:[a-c]#1-9 9M= L5: 2:[a-c] 9M L6: 3:[a-c] 50M", "-" },
	{ "level 0 is soon compacted anyway", "9",
	  "L0: 1:[a-c]#1-9 9M= L6: 3:[a-c] 9M", "-" },
	{ "at the bottom they do not move", "9", "L6: 3:[a-c]#1-9 9M=", "-" },
	/* reads */
	{ "a file that reads often pass moves on", "9",
	  "L5: 1:[a-c] 9M* 4:[d-e] 9M L6: 2:[a-c] 20M", "L5>6 1 + 2 reads; -" },
	{ "not over far more than it is", "9",
	  "L5: 1:[a-c] 1M* L6: 2:[a-c] 36M", "-" },
	{ "from the bottom there is no way on", "9", "L6: 2:[a-c] 36M*", "-" },
	{ "level 0 with what it overlaps", "9",
	  "L0: 1:[a-c]#5 1M 2:[c-f]#6 1M* 3:[g-h]#4 1M L6: 4:[a-d] 9M",
	  "L0>6 1 2 + 4 reads; -" },
	/* all of them */
	{ "what levels need goes before, what is cheap first", "9",
	  "L5: 1:[a-c]#1-9 9M* 2:[d-f]#1-9 60M 3:[g-h]#1-9 9M= "
	  "L6: 5:[a-c] 90M 6:[d-f] 100M 7:[g-h] 60M 8:[x-z]#1-9 9M!50",
	  "L5>6 2 + 6; L6>6 8 elision-only; L5>6 3 + 7 tombstones; "
	  "L5>6 1 + 5 reads; -" },
};

START_TEST(files_get_what_they_ask_for)
{
	struct text got = { 0 };
	struct session s;

	session_begin(&s, specials[_i].tree);
	session_snapshots(&s, specials[_i].snapshots);
	s.r.garbage_position = 7;
	for (;;) {
		struct text t = session_pick(&s);

		add(&got, "%s%s", got.len ? "; " : "", t.at);
		if (!strcmp(t.at, "-"))
			break;
	}
	ck_assert_msg(!strcmp(got.at, specials[_i].picks), "%s: %s",
		      specials[_i].name, got.at);
	session_end(&s);
}
END_TEST

/* Who releases which snapshot makes it worth picking again. */
static const struct {
	const char *snapshots;
	const char *tree;
	uint64_t below;
} blocked[] = {
	{ "100", "L5: 9:[a-z]#50 1M L6: 1:[b-c]#1-9 9M^50", 0 },
	{ "20 100", "L5: 9:[a-z]#50 1M L6: 1:[b-c]#1-9 9M^50", 50 },
	{ "50 100", "L5: 9:[a-z]#50 1M L6: 1:[b-c]#1-9 9M^50", 0 },
	{ "8 100", "L6: 1:[a-c]#1-9 9M!11", 9 },
	{ "9 100", "L6: 1:[a-c]#1-9 9M!11", 0 },
	{ "8 100", "L6: 1:[a-c]#1-9 9M!11 2:[d-e]#1-30 9M=", 30 },
	{ "8 100", "L6: 1:[a-c]#1-9 9M", 0 },
	{ "8 100", "L6: 1:[a-c]#1-9 9M%40@7", 9 },
	{ "7 8 100", "L6: 1:[a-c]#8-9 9M%40@7", 9 },
	{ "7 100", "L6: 1:[a-c]#8-9 9M%40@7", 0 },
	{ "8 100", "L6: 1:[a-c]#1-9 9M%40@8", 0 },
};

START_TEST(snapshots_are_told_when_they_are_waited_for)
{
	struct session s;

	session_begin(&s, blocked[_i].tree);
	session_snapshots(&s, blocked[_i].snapshots);
	s.r.garbage_position = 7;
	ck_assert_uint_eq(picker_blocked_below(&s.r), blocked[_i].below);
	session_end(&s);
}
END_TEST

START_TEST(what_was_rewritten_for_a_position_is_not_rewritten_for_it_again)
{
	struct session s;

	session_begin(&s, "L6: 1:[a-c]#1-9 9M%40@7");
	session_snapshots(&s, "9");
	s.marked[0]->garbage_collected = 8;
	s.r.garbage_position = 8;
	ck_assert_str_eq(session_pick(&s).at, "-");
	s.r.garbage_position = 9;
	ck_assert_str_eq(session_pick(&s).at, "L6>6 1 garbage");
	session_end(&s);
}
END_TEST

START_TEST(garbage_waits_for_a_snapshot_of_what_is_visible_now)
{
	struct session s;

	session_begin(&s, "L6: 1:[a-c]#1-9 9M%40@7");
	session_snapshots(&s, "9");
	s.r.garbage_position = 7;
	s.r.newest_held = 9;
	ck_assert_str_eq(session_pick(&s).at, "-");
	ck_assert_uint_eq(picker_blocked_below(&s.r), 10);
	s.r.newest_held = 0;
	ck_assert_str_eq(session_pick(&s).at, "L6>6 1 garbage");
	session_end(&s);
}
END_TEST

START_TEST(files_in_a_job_are_not_dropped_and_dropped_ones_are_in_no_job)
{
	struct cairn_slice none = { 0 };
	struct compaction_plan p = { 0 };
	struct session s;

	session_begin(&s, "L4: 9:[a-z]#50 1M L5: 5:[b-c]#11-19 9M "
			  "L6: 1:[b-c]#1-9 9M^50 2:[k-l]#1-9 9M^50 "
			  "3:[x-z]#1-9 9M");
	session_snapshots(&s, "100");
	ck_assert_int_eq(picker_pick_manual(s.v, &s.o, &s.r, 5, false, none,
					    none, &s.plans[0]),
			 CAIRN_OK);
	s.running[s.r.n++] = &s.plans[0];
	ck_assert_str_eq(plan_text(&s.plans[0]).at, "L5>6 5 + 1");
	ck_assert_str_eq(session_pick(&s).at, "L6>6 2 delete-only");
	/* Its neighbours are nobody's; it is in the way of who wants it. */
	ck_assert_int_eq(picker_pick_manual(s.v, &s.o, &s.r, 6, true,
					    slice_str("x"), none, &p),
			 CAIRN_OK);
	compaction_plan_fini(&p);
	ck_assert_int_eq(picker_pick_manual(s.v, &s.o, &s.r, 6, true,
					    slice_str("k"), none, &p),
			 CAIRN_EBUSY);
	session_end(&s);
}
END_TEST

/* ------------------------------------------------------------------ ten TiB
 */

#define BIG_FILE (64 * MIB)

/* n files of 64 MiB over all keys of ten digits; every fourth with tombstones
 * that a snapshot still needs. */
static void add_big_level(struct version_edit *e, int level, uint64_t n,
			  uint64_t *number)
{
	uint64_t width = UINT64_C(10000000000) / n;

	for (uint64_t i = 0; i < n; i++) {
		char text[96];

		snprintf(text, sizeof(text),
			 "L%d: %llu:[%010llu-%010llu]#%d-%d 64M!%d", level,
			 (unsigned long long)++*number,
			 (unsigned long long)(i * width),
			 (unsigned long long)(i * width + width - 1),
			 level ? 70 - 10 * level : 80, 79 - 10 * level,
			 i % 4 ? 0 : 50);
		edit_parse(text, e);
	}
}

/*
 * A database of ten TiB with a level over its target. The database mutex is
 * held while a compaction is picked, so the time it takes must not follow the
 * size of the tree.
 */
START_TEST(a_pick_in_ten_tebibytes_looks_at_few_files)
{
	static const uint64_t files[CAIRN_LEVELS] = { 0,    1,     20,    200,
						      2000, 16000, 150000 };
	struct version_edit e = { 0 };
	struct version *empty;
	uint64_t number = 0;
	struct session s;

	session_begin(&s, "");
	version_unref(s.v);
	free(s.marked);
	for (int level = 1; level < CAIRN_LEVELS; level++)
		add_big_level(&e, level, files[level], &number);
	ck_assert_int_eq(version_new(&empty), CAIRN_OK);
	ck_assert_int_eq(version_apply(empty, &e, &s.v), CAIRN_OK);
	version_unref(empty);
	version_edit_fini(&e);
	ck_assert_uint_gt(version_bytes(s.v), UINT64_C(10) << 40);
	s.o.target_file_size_max = BIG_FILE;
	session_mark(&s);
	/* The marks would be most of it: they are one look each. */
	ck_assert_uint_gt(s.r.n_marked, 40000);
	session_snapshots(&s, "0 100");
	s.r.n_marked = 4000;
	s.r.steps = &s.steps;
	for (int i = 0; i < 12; i++) {
		s.steps = 0;
		s.v->number = (uint64_t)i;
		ck_assert_str_ne(session_pick(&s).at, "-");
		/* A window of a level and what is below it. */
		ck_assert_uint_lt(s.steps, 4000 + 16 * 1024);
	}
	session_end(&s);
}
END_TEST

START_TEST(a_plan_tells_all_about_itself)
{
	struct session s;
	const struct compaction_plan *p = &s.plans[0];

	session_begin(&s, "L4: 1:[b-c] 40M 2:[d-f] 40M "
			  "L5: 3:[a-d] 100M 4:[x-y] 500M "
			  "L6: 5:[c-d] 900M 6:[k-l] 4G");
	ck_assert_str_eq(session_pick(&s).at, "L4>5 1 2 + 3 / 5");
	ck_assert_uint_eq(p->bytes[0], 80 * MIB);
	ck_assert_uint_eq(p->bytes[1], 100 * MIB);
	/* Base level 4: 4M there, 8M one below. */
	ck_assert_uint_eq(p->target_file_size, 8 * MIB);
	ck_assert_uint_eq(p->grandparent_bytes_max, 80 * MIB);
	ck_assert(slice_eq(p->smallest, slice_str("a")));
	ck_assert(slice_eq(p->largest, slice_str("f")));
	ck_assert_int_eq(p->kind, COMPACT_SCORE);
	ck_assert_double_ge(p->score, 1);
	ck_assert_ptr_nonnull(strstr(p->reason, "L4"));
	ck_assert_uint_eq(p->inputs[0][0]->refs, 2);
	ck_assert_uint_eq(p->grandparents[0]->refs, 2);
	session_end(&s);
}
END_TEST

START_TEST(output_files_double_down_to_a_cap)
{
	static const uint64_t want[] = { 0, 4, 8, 16, 32, 64, 64 };
	struct cairn_slice none = { 0 };

	for (int level = 0; level < 6; level++) {
		struct compaction_plan p = { 0 };
		struct text tree = { 0 };
		struct session s;

		add(&tree, "L0: 1:[a-b]#1 1M L1: 2:[a-b] 1M L2: 3:[a-b] 1M "
			   "L3: 4:[a-b] 1M L4: 5:[a-b] 1M L5: 6:[a-b] 1M "
			   "L6: 7:[a-b] 1M");
		session_begin(&s, tree.at);
		ck_assert_int_eq(picker_pick_manual(s.v, &s.o, &s.r, level,
						    false, none, none, &p),
				 CAIRN_OK);
		ck_assert_uint_eq(p.target_file_size, want[level + 1] * MIB);
		compaction_plan_fini(&p);
		session_end(&s);
	}
}
END_TEST

START_TEST(a_running_job_counts_as_if_it_were_done)
{
	struct level_targets t;
	struct session s;

	session_begin(&s, "L5: 1:[a-c] 50M 2:[d-f] 50M L6: 3:[a-f] 500M");
	picker_targets(s.v, &s.o, &s.r, &t);
	ck_assert_double_gt(t.score[5], 0);
	ck_assert_str_eq(session_pick(&s).at, "L5>6 1 + 3");
	picker_targets(s.v, &s.o, &s.r, &t);
	ck_assert_double_eq(t.score[5], 0);
	session_end(&s);
}
END_TEST

START_TEST(level_0_goes_on_to_where_it_already_goes)
{
	struct session s;
	struct level_targets t;

	/* While a job fills level 5 the base level is not below it. */
	session_begin(&s, "L0: 1:[a-c]#1 9M 2:[a-c]#2 9M 3:[a-c]#3 9M "
			  "4:[a-c]#4 9M L5: 5:[a-c] 9M");
	ck_assert_str_eq(session_pick(&s).at, "L0>5 1 2 3 4 + 5");
	version_unref(s.v);
	ck_assert_int_eq(version_parse("L0: 11:[x-z]#1 9M 12:[x-z]#2 9M "
				       "13:[x-z]#3 9M 14:[x-z]#4 9M",
				       &s.v),
			 CAIRN_OK);
	picker_targets(s.v, &s.o, &s.r, &t);
	ck_assert_int_eq(t.base_level, 5);
	ck_assert_str_eq(session_pick(&s).at, "L0>5 11 12 13 14");
	session_end(&s);
}
END_TEST

/* An ingested table may be newer than what a memtable holds. */
START_TEST(level_0_is_not_merged_over_what_is_not_yet_flushed)
{
	struct session s;

	session_begin(&s, "L0: 1:[a-z]#1-9 100K 2:[a-z]#10-19 100K "
			  "3:[a-z]#20-29 100K 4:[a-z]#40 100K L6: 5:[a-z] 60M");
	s.r.unflushed_seqno = 30;
	ck_assert_str_eq(session_pick(&s).at, "L0>0 1 2 3");
	session_end(&s);
	session_begin(&s, "L0: 1:[a-z]#1-9 100K 2:[a-z]#10-19 100K "
			  "3:[a-z]#20-29 100K 4:[a-z]#40 100K L6: 5:[a-z] 60M");
	s.r.unflushed_seqno = 15;
	ck_assert_str_eq(session_pick(&s).at, "L0>6 1 2 3 4 + 5");
	session_end(&s);
}
END_TEST

/* --------------------------------------------------------------------- manual
 */

#define MANUAL_TREE                                                            \
	"L0: 1:[a-c]#1 9M 2:[c-f]#2 9M 3:[m-n]#3 9M "                          \
	"L4: 4:[a-b] 9M 5:[k-m] 9M L5: 6:[a-z] 9M "                            \
	"L6: 7:[a-c] 9M 8:[d-m] 9M 9:[n-z] 9M"

static const struct {
	const char *name;
	const char *tree;
	int level;
	bool bottom;
	const char *from; /* NULL: open */
	const char *to;
	const char *want; /* "-" for CAIRN_NOT_FOUND */
} manuals[] = {
	{ "all of level 0", MANUAL_TREE, 0, false, NULL, NULL,
	  "L0>4 1 2 3 + 4 5 / 6" },
	{ "files of level 0 drag one another along", MANUAL_TREE, 0, false, "e",
	  "g", "L0>4 1 2 + 4 / 6" },
	{ "one file of level 0", MANUAL_TREE, 0, false, "n", NULL,
	  "L0>4 3 + 5 / 6" },
	{ "nothing there", MANUAL_TREE, 0, false, "o", NULL, "-" },
	{ "a sorted level", MANUAL_TREE, 4, false, NULL, NULL,
	  "L4>5 4 5 + 6 / 7 8 9" },
	{ "a part of it", MANUAL_TREE, 4, false, "c", "k",
	  "L4>5 4 5 + 6 / 7 8 9" },
	{ "an empty level", MANUAL_TREE, 2, false, NULL, NULL, "-" },
	{ "into the bottom", MANUAL_TREE, 5, true, "a", "a", "L5>6 6 + 7 8 9" },
	{ "the bottom is not touched", MANUAL_TREE, 6, false, NULL, NULL, "-" },
	{ "unless it is meant", MANUAL_TREE, 6, true, NULL, NULL,
	  "L6>6 7 8 9" },
	{ "a part of the bottom", MANUAL_TREE, 6, true, "e", "e", "L6>6 8" },
	{ "the last level with files is the bottom", "L4: 4:[a-b] 9M", 4, true,
	  NULL, NULL, "L4>4 4" },
	{ "but moves down when that is not meant", "L4: 4:[a-b] 9M", 4, false,
	  NULL, NULL, "L4>5 4 move" },
	{ "user keys are not split", "L6: 1:[a-c]#9 9M 2:[c-d]#8 9M", 6, true,
	  "d", NULL, "L6>6 1 2" },
};

START_TEST(a_manual_step_takes_what_it_is_told)
{
	const char *from = manuals[_i].from;
	const char *to = manuals[_i].to;
	struct cairn_slice none = { 0 };
	struct compaction_plan p = { 0 };
	struct text got = { "-", 1 };
	struct session s;
	int err;

	session_begin(&s, manuals[_i].tree);
	err = picker_pick_manual(
		s.v, &s.o, &s.r, manuals[_i].level, manuals[_i].bottom,
		from ? slice_str(from) : none, to ? slice_str(to) : none, &p);
	if (!err) {
		sort_l0(&p);
		got = plan_text(&p);
		ck_assert_int_eq(p.kind, COMPACT_MANUAL);
		ck_assert_str_eq(p.reason, "manual");
	}
	ck_assert_msg(!strcmp(got.at, manuals[_i].want), "%s: %s",
		      manuals[_i].name, got.at);
	compaction_plan_fini(&p);
	session_end(&s);
}
END_TEST

START_TEST(a_manual_step_waits_for_running_jobs)
{
	struct cairn_slice none = { 0 };
	struct compaction_plan p = { 0 };
	struct session s;

	session_begin(&s, "L4: 1:[a-c] 9M 2:[x-z] 9M L5: 3:[a-c] 100M "
			  "4:[x-z] 9M L6: 5:[a-z] 800M");
	ck_assert_int_eq(picker_pick_manual(s.v, &s.o, &s.r, 4, false,
					    slice_str("a"), slice_str("c"),
					    &s.plans[0]),
			 CAIRN_OK);
	s.running[s.r.n++] = &s.plans[0];
	ck_assert_str_eq(plan_text(&s.plans[0]).at, "L4>5 1 + 3 / 5");
	ck_assert_int_eq(
		picker_pick_manual(s.v, &s.o, &s.r, 4, false, none, none, &p),
		CAIRN_EBUSY);
	ck_assert_int_eq(picker_pick_manual(s.v, &s.o, &s.r, 5, false,
					    slice_str("b"), slice_str("b"), &p),
			 CAIRN_EBUSY);
	ck_assert_int_eq(picker_pick_manual(s.v, &s.o, &s.r, 4, false,
					    slice_str("x"), none, &p),
			 CAIRN_OK);
	compaction_plan_fini(&p);
	session_end(&s);
}
END_TEST

/* ------------------------------------------------------------------ conflicts
 */

/* Plans of a tree: "L4 a c" is the manual step of level 4 from a to c. */
static const struct {
	const char *a;
	const char *b;
	bool want;
} conflicts[] = {
	{ "4 a c", "4 a c", true },  { "4 a c", "4 x z", false },
	{ "4 a c", "5 a c", true },  { "4 a c", "5 x z", false },
	{ "4 a c", "6 a c", false }, { "5 a c", "6 a c", true },
	{ "5 a c", "6 x z", false }, { "0 a c", "0 x z", false },
	{ "0 a c", "4 a c", true },  { "0 a c", "4 x z", false },
	{ "0 a c", "5 a c", false }, { "6 a c", "6 x z", false },
	{ "6 a c", "6 a c", true },
};

static void parse_step(const struct session *s, const char *text,
		       struct compaction_plan *p)
{
	char from[8], to[8];
	int level;

	ck_assert_int_eq(sscanf(text, "%d %7s %7s", &level, from, to), 3);
	ck_assert_int_eq(picker_pick_manual(s->v, &s->o, &s->r, level,
					    level == 6, slice_str(from),
					    slice_str(to), p),
			 CAIRN_OK);
}

START_TEST(jobs_conflict_where_their_keys_and_levels_meet)
{
	struct compaction_plan a, b;
	struct session s;

	session_begin(&s, "L0: 1:[a-c]#1 9M 2:[x-z]#2 9M "
			  "L4: 3:[a-c] 9M 4:[x-z] 9M "
			  "L5: 5:[a-c] 9M 6:[x-z] 9M "
			  "L6: 7:[a-c] 9M 8:[x-z] 9M");
	parse_step(&s, conflicts[_i].a, &a);
	parse_step(&s, conflicts[_i].b, &b);
	ck_assert_int_eq(compaction_plans_conflict(&a, &b), conflicts[_i].want);
	ck_assert_int_eq(compaction_plans_conflict(&b, &a), conflicts[_i].want);
	compaction_plan_fini(&a);
	compaction_plan_fini(&b);
	session_end(&s);
}
END_TEST

/* ------------------------------------------------------- random trees and jobs
 */

/* A sorted level of up to max files, text for the DSL. */
static void add_random_level(struct text *t, struct rng *rng, int level,
			     unsigned *number, uint64_t max)
{
	uint64_t n = rng_below(rng, max + 1);
	unsigned key = 0;

	if (n)
		add(t, " L%d:", level);
	for (uint64_t i = 0; i < n && key < 900; i++) {
		unsigned first = key + (unsigned)rng_below(rng, 30);
		unsigned last = first + (unsigned)rng_below(rng, 60);
		/* Now and then a user key in two files. */
		bool split = rng_one_in(rng, 8);

		++*number;
		add(t, " %u:[%03u-%03u]#%u %lluM", *number, first, last,
		    2000 - *number,
		    (unsigned long long)(1 + rng_below(rng, 40)));
		key = split ? last : last + 1;
	}
}

static void random_tree(struct text *t, struct rng *rng)
{
	uint64_t n_l0 = rng_below(rng, 12);
	unsigned number = 0;

	t->len = 0;
	t->at[0] = '\0';
	if (n_l0)
		add(t, "L0:");
	for (uint64_t i = 0; i < n_l0; i++) {
		unsigned first = (unsigned)rng_below(rng, 599);
		unsigned span = rng_below(rng, 4) ? 50 : 400;

		number++;
		add(t, " %u:[%03u-%03u]#%u-%u %lluM", number, first,
		    first + (unsigned)rng_below(rng, span), 3000 + 10 * number,
		    3009 + 10 * number,
		    (unsigned long long)(1 + rng_below(rng, 16)));
	}
	for (int level = 4; level < CAIRN_LEVELS; level++)
		add_random_level(t, rng, level, &number, 9);
}

static bool is_in(struct file_meta *const *files, size_t n,
		  const struct file_meta *f)
{
	for (size_t i = 0; i < n; i++)
		if (files[i] == f)
			return true;
	return false;
}

/* Neighbours, whose seqnos are in the way of no other file. */
static void check_intra(const struct version *v,
			const struct compaction_plan *p)
{
	uint64_t low = UINT64_MAX, high = 0;

	ck_assert_uint_gt(p->n_inputs[0], 1);
	ck_assert_uint_eq(p->target_file_size, 0);
	for (size_t i = 0; i < p->n_inputs[0]; i++) {
		const struct file_meta *f = p->inputs[0][i];

		low = f->smallest_seqno < low ? f->smallest_seqno : low;
		high = f->largest_seqno > high ? f->largest_seqno : high;
	}
	for (size_t i = 0; i < v->level[0].n; i++) {
		const struct file_meta *f = v->level[0].files[i];

		if (!is_in(p->inputs[0], p->n_inputs[0], f))
			ck_assert(f->smallest_seqno > high ||
				  f->largest_seqno < low);
	}
}

/* No older file of level 0 that overlaps the column stays behind. */
static void check_column(const struct version *v,
			 const struct compaction_plan *p)
{
	struct cairn_slice low = p->inputs[0][0]->smallest_key.user_key;
	struct cairn_slice high = p->inputs[0][0]->largest_key.user_key;
	uint64_t newest = 0;

	for (size_t i = 0; i < p->n_inputs[0]; i++) {
		const struct file_meta *f = p->inputs[0][i];

		if (slice_cmp(f->smallest_key.user_key, low) < 0)
			low = f->smallest_key.user_key;
		if (slice_cmp(f->largest_key.user_key, high) > 0)
			high = f->largest_key.user_key;
		if (f->largest_seqno > newest)
			newest = f->largest_seqno;
	}
	for (size_t i = 0; i < v->level[0].n; i++) {
		const struct file_meta *f = v->level[0].files[i];

		if (f->largest_seqno < newest &&
		    file_meta_overlaps(f, low, high))
			ck_assert(is_in(p->inputs[0], p->n_inputs[0], f));
	}
	/* Levels that are skipped have nothing there. */
	for (int level = 1; level < p->to_level; level++)
		ck_assert_uint_eq(v->level[level].n, 0);
}

/* A run of the level with whole user keys; all files there that meet [low,
 * high] are in it when whole is set. */
static void check_run(const struct version *v, int level,
		      struct file_meta *const *files, size_t n, bool whole,
		      struct cairn_slice low, struct cairn_slice high)
{
	const struct version_files *l = &v->level[level];

	for (size_t i = 0; i < l->n; i++) {
		bool in = is_in(files, n, l->files[i]);

		if (whole && file_meta_overlaps(l->files[i], low, high))
			ck_assert(in);
		if (i && !file_meta_before(l->files[i - 1], l->files[i]))
			ck_assert_int_eq(in, is_in(files, n, l->files[i - 1]));
	}
	for (size_t i = 0; i < n; i++) {
		ck_assert(is_in(l->files, l->n, files[i]));
		if (i)
			ck_assert(ikey_cmp(&files[i - 1]->largest_key,
					   &files[i]->smallest_key) < 0);
	}
}

static bool is_shared(const struct compaction_plan *a,
		      const struct compaction_plan *b)
{
	for (int x = 0; x < 2; x++)
		for (int y = 0; y < 2; y++)
			for (size_t i = 0; i < a->n_inputs[x]; i++)
				if (is_in(b->inputs[y], b->n_inputs[y],
					  a->inputs[x][i]))
					return true;
	return false;
}

static void check_plan(const struct session *s, const struct compaction_plan *p)
{
	uint64_t bytes[2] = { 0 };

	ck_assert_uint_gt(p->n_inputs[0], 0);
	for (int which = 0; which < 2; which++) {
		for (size_t i = 0; i < p->n_inputs[which]; i++) {
			const struct file_meta *f = p->inputs[which][i];

			bytes[which] += f->size;
			ck_assert(slice_cmp(p->smallest,
					    f->smallest_key.user_key) <= 0);
			ck_assert(slice_cmp(p->largest,
					    f->largest_key.user_key) >= 0);
		}
		ck_assert_uint_eq(p->bytes[which], bytes[which]);
	}
	if (p->from_level == 0 && p->to_level == 0)
		check_intra(s->v, p);
	else if (p->from_level == 0)
		check_column(s->v, p);
	else
		check_run(s->v, p->from_level, p->inputs[0], p->n_inputs[0],
			  false, p->smallest, p->largest);
	if (p->from_level == p->to_level)
		ck_assert_uint_eq(p->n_inputs[1], 0);
	else
		check_run(s->v, p->to_level, p->inputs[1], p->n_inputs[1], true,
			  p->smallest, p->largest);
	if (p->to_level == 0)
		ck_assert_uint_eq(p->n_grandparents, 0);
	else if (p->to_level < 6)
		check_run(s->v, p->to_level + 1, p->grandparents,
			  p->n_grandparents, true, p->smallest, p->largest);
	if (p->trivial_move)
		ck_assert(p->n_inputs[0] == 1 && p->n_inputs[1] == 0);
	for (size_t i = 0; i < s->r.n; i++) {
		if (s->running[i] == p)
			continue;
		ck_assert(!compaction_plans_conflict(p, s->running[i]));
		ck_assert(!is_shared(p, s->running[i]));
	}
}

/* At most a few files at a time of random levels, by hand. */
static void run_something(struct session *s, struct rng *rng)
{
	unsigned at = (unsigned)rng_below(rng, 900);
	struct compaction_plan *p = &s->plans[s->r.n];
	char from[8], to[8];
	int err;

	snprintf(from, sizeof(from), "%03u", at);
	snprintf(to, sizeof(to), "%03u", at + 40);
	err = picker_pick_manual(s->v, &s->o, &s->r,
				 (int)rng_below(rng, CAIRN_LEVELS), true,
				 slice_str(from), slice_str(to), p);
	if (err) {
		ck_assert(err == CAIRN_NOT_FOUND || err == CAIRN_EBUSY);
		return;
	}
	s->running[s->r.n++] = p;
}

START_TEST(no_plan_ever_breaks_a_rule)
{
	struct rng rng;

	rng_init(&rng, (uint64_t)_i);
	for (int round = 0; round < 100; round++) {
		struct text tree;
		struct session s;

		random_tree(&tree, &rng);
		session_begin(&s, tree.at);
		s.o.base_level_size = MIB << rng_below(&rng, 8);
		s.o.target_file_size = MIB << rng_below(&rng, 3);
		s.o.l0_trigger = 1 + (unsigned)rng_below(&rng, 4);
		for (int i = 0; i < 3; i++)
			if (rng_one_in(&rng, 2))
				run_something(&s, &rng);
		for (int i = 0; i < 8; i++)
			if (!strcmp(session_pick(&s).at, "-"))
				break;
		for (size_t i = 0; i < s.r.n; i++)
			check_plan(&s, &s.plans[i]);
		session_end(&s);
	}
}
END_TEST

/* ------------------------------------------------------- a tree over its life
 */

/* Keys of three digits. */
static unsigned key_value(struct cairn_slice key)
{
	ck_assert_uint_eq(key.len, 3);
	return (unsigned)(key.data[0] - '0') * 100 +
	       (unsigned)(key.data[1] - '0') * 10 +
	       (unsigned)(key.data[2] - '0');
}

/* What a job would leave: the same bytes, one file per target size, or the
 * same file when it only moves. */
static void finish_plan(struct session *s, unsigned *number)
{
	struct compaction_plan *p = &s->plans[0];
	struct version_edit e = { 0 };
	struct version *w;
	uint64_t total = p->bytes[0] + p->bytes[1];

	for (int which = 0; which < 2; which++)
		for (size_t i = 0; i < p->n_inputs[which]; i++)
			ck_assert_int_eq(
				version_edit_delete_file(
					&e, which ? p->to_level : p->from_level,
					p->inputs[which][i]->number),
				CAIRN_OK);
	if (p->trivial_move) {
		ck_assert_int_eq(
			version_edit_add_file(&e, p->to_level, p->inputs[0][0]),
			CAIRN_OK);
	} else {
		unsigned low = key_value(p->smallest);
		unsigned high = key_value(p->largest);
		uint64_t n = 1;
		uint64_t first = UINT64_MAX, last = 0;

		if (p->to_level)
			n += total / p->target_file_size;
		for (size_t i = 0; i < p->n_inputs[0]; i++) {
			const struct file_meta *f = p->inputs[0][i];

			if (f->smallest_seqno < first)
				first = f->smallest_seqno;
			if (f->largest_seqno > last)
				last = f->largest_seqno;
		}

		if (n > high - low + 1)
			n = high - low + 1;
		for (uint64_t i = 0; i < n; i++) {
			uint64_t a = low + (high - low + 1) * i / n;
			uint64_t b = low + (high - low + 1) * (i + 1) / n - 1;
			char text[128];

			snprintf(text, sizeof(text),
				 "L%d: %u:[%03u-%03u]#%llu-%llu %llu",
				 p->to_level, ++*number, (unsigned)a,
				 (unsigned)b, (unsigned long long)first,
				 (unsigned long long)last,
				 (unsigned long long)(total / n));
			edit_parse(text, &e);
		}
	}
	ck_assert_msg(version_apply(s->v, &e, &w) == CAIRN_OK, "%s",
		      cairn_errmsg());
	version_edit_fini(&e);
	version_unref(s->v);
	s->v = w;
	compaction_plan_fini(p);
	s->r.n = 0;
}

START_TEST(a_loaded_tree_takes_its_shape_and_comes_to_rest)
{
	struct level_targets t;
	unsigned number = 0;
	struct session s;
	struct rng rng;

	rng_init(&rng, 7);
	session_begin(&s, "");
	s.o.base_level_size = 8 * MIB;
	s.o.target_file_size = MIB;
	for (unsigned flush = 0; flush < 300; flush++) {
		struct version_edit e = { 0 };
		struct version *w;
		char text[96];
		int steps = 0;

		number++;
		snprintf(text, sizeof(text), "L0: %u:[%03u-%03u]#%u-%u 2M",
			 number, (unsigned)rng_below(&rng, 50),
			 950 + (unsigned)rng_below(&rng, 50), 10 * flush + 1,
			 10 * flush + 10);
		edit_parse(text, &e);
		ck_assert_int_eq(version_apply(s.v, &e, &w), CAIRN_OK);
		version_edit_fini(&e);
		version_unref(s.v);
		s.v = w;
		while (strcmp(session_pick(&s).at, "-")) {
			check_plan(&s, &s.plans[0]);
			finish_plan(&s, &number);
			ck_assert_int_lt(++steps, 2000);
		}
		ck_assert_uint_lt(s.v->n_sublevels, 12);
	}
	picker_targets(s.v, &s.o, &s.r, &t);
	/* 600 MiB over a base level of 8: levels 4 to 6. */
	ck_assert_int_eq(t.base_level, 4);
	for (int level = 4; level < 6; level++)
		ck_assert_double_lt((double)s.v->level[level].bytes,
				    1.1 * (double)t.target[level]);
	session_end(&s);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("picker");
	TCase *tc = tcase_create("picker");

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, targets_follow_the_size_of_the_database, 0,
			    sizeof(trees) / sizeof(trees[0]));
	tcase_add_test(tc, targets_grow_by_one_ratio_from_the_base_level_down);
	tcase_add_loop_test(tc, scores_say_what_is_urgent, 0,
			    sizeof(scores) / sizeof(scores[0]));
	tcase_add_test(tc, twenty_files_of_one_sublevel_start_a_compaction);
	tcase_add_test(tc, debt_is_what_must_be_rewritten);
	tcase_add_loop_test(tc, picks_are_what_they_should_be, 0,
			    sizeof(picks) / sizeof(picks[0]));
	tcase_add_loop_test(tc, files_get_what_they_ask_for, 0,
			    sizeof(specials) / sizeof(specials[0]));
	tcase_add_loop_test(tc, snapshots_are_told_when_they_are_waited_for, 0,
			    sizeof(blocked) / sizeof(blocked[0]));
	tcase_add_test(
		tc,
		what_was_rewritten_for_a_position_is_not_rewritten_for_it_again);
	tcase_add_test(tc, garbage_waits_for_a_snapshot_of_what_is_visible_now);
	tcase_add_test(
		tc,
		files_in_a_job_are_not_dropped_and_dropped_ones_are_in_no_job);
	tcase_add_test(tc, a_pick_in_ten_tebibytes_looks_at_few_files);
	tcase_add_test(tc, a_plan_tells_all_about_itself);
	tcase_add_test(tc, output_files_double_down_to_a_cap);
	tcase_add_test(tc, a_running_job_counts_as_if_it_were_done);
	tcase_add_test(tc, level_0_goes_on_to_where_it_already_goes);
	tcase_add_test(tc, level_0_is_not_merged_over_what_is_not_yet_flushed);
	tcase_add_loop_test(tc, a_manual_step_takes_what_it_is_told, 0,
			    sizeof(manuals) / sizeof(manuals[0]));
	tcase_add_test(tc, a_manual_step_waits_for_running_jobs);
	tcase_add_loop_test(tc, jobs_conflict_where_their_keys_and_levels_meet,
			    0, sizeof(conflicts) / sizeof(conflicts[0]));
	tcase_add_loop_test(tc, no_plan_ever_breaks_a_rule, 0, 20);
	tcase_add_test(tc, a_loaded_tree_takes_its_shape_and_comes_to_rest);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
