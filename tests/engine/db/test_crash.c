/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a power cut and failing operations leave behind, against a model.
 *
 * After a cut everything that was synced must be there, and of the rest a
 * prefix in the order of the commits. After a failing operation nothing that
 * was acknowledged may be missing.
 */
#include "tests/support/db_test.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "engine/base/rng.h"

#define N_KEYS    24
#define N_COMMITS 400

/* Of all tests, which run in processes of their own. */
static struct counts {
	_Atomic uint64_t cuts;
	_Atomic uint64_t second_cuts; /* part of cuts */
	_Atomic uint64_t faults;
} * counts;

/* ------------------------------------------------------------- the history */

/* Commit i sets a few keys to values that name it, or deletes them. */
struct change {
	int key;
	bool deletes;
};

struct commit {
	struct change changes[4];
	int n;
};

struct history {
	struct commit commits[N_COMMITS];
	int n;
	int synced; /* so many are durable */
};

/* The number of the commit that a key's value is from; -1: none. */
struct state {
	int from[N_KEYS];
};

static void state_init(struct state *s)
{
	for (int i = 0; i < N_KEYS; i++)
		s->from[i] = -1;
}

static void state_apply(struct state *s, const struct history *h, int i)
{
	const struct commit *c = &h->commits[i];

	for (int k = 0; k < c->n; k++)
		s->from[c->changes[k].key] = c->changes[k].deletes ? -1 : i;
}

static void key_name(char *out, size_t len, int key)
{
	snprintf(out, len, "key%02d", key);
}

/* Long enough that a few commits fill a sector, and a few dozen a memtable. */
static void value_text(char *out, size_t len, int commit)
{
	snprintf(out, len, "%d %0*d", commit, 40 + commit * 7 % 120, commit);
}

static void commit_one(struct test_db *t, struct history *h, struct rng *r)
{
	struct cairn_batch *b = cairn_batch_new();
	struct commit *c = &h->commits[h->n];
	struct cairn_write_options o = { .sync = rng_one_in(r, 12) };
	char key[16], value[256];

	ck_assert_ptr_nonnull(b);
	c->n = 1 + (int)rng_below(r, 4);
	value_text(value, sizeof(value), h->n);
	for (int i = 0; i < c->n; i++) {
		c->changes[i].key = (int)rng_below(r, N_KEYS);
		c->changes[i].deletes = rng_one_in(r, 5);
		key_name(key, sizeof(key), c->changes[i].key);
		if (c->changes[i].deletes)
			CK_OK(cairn_batch_delete(b, slice_str(key)));
		else
			CK_OK(cairn_batch_put(b, slice_str(key),
					      slice_str(value)));
	}
	CK_OK(cairn_write(t->db, &o, b));
	h->n++;
	if (o.sync)
		h->synced = h->n;
	cairn_batch_free(b);
}

static void read_state(struct cairn_db *db, struct state *s)
{
	char name[16], value[256], want[256];

	for (int i = 0; i < N_KEYS; i++) {
		struct cairn_pinned p = { 0 };
		int err;

		key_name(name, sizeof(name), i);
		err = cairn_get(db, NULL, slice_str(name), &p);
		s->from[i] = -1;
		if (err == CAIRN_NOT_FOUND)
			continue;
		CK_OK(err);
		ck_assert_uint_lt(p.value.len, sizeof(value));
		memcpy(value, p.value.data, p.value.len);
		value[p.value.len] = '\0';
		cairn_pinned_release(&p);
		s->from[i] = atoi(value);
		value_text(want, sizeof(want), s->from[i]);
		ck_assert_str_eq(value, want);
	}
}

/* The state is that after p commits, for some p that has all that is synced. */
static void check_prefix(const struct history *h, const struct state *got,
			 const char *when)
{
	struct state s;

	state_init(&s);
	for (int p = 0; p <= h->n; p++) {
		if (p >= h->synced && memcmp(&s, got, sizeof(s)) == 0)
			return;
		if (p < h->n)
			state_apply(&s, h, p);
	}
	ck_abort_msg("%s: not a prefix with the %d synced of %d commits", when,
		     h->synced, h->n);
}

/* -------------------------------------------------------------- power cuts */

static void small_options(struct test_db *t)
{
	static const char *const settings[][2] = {
		{ "write_buffer_size", "6K" }, { "l0_compaction_trigger", "2" },
		{ "base_level_size", "8K" },   { "target_file_size", "4K" },
		{ "block_size", "256" },       { "max_manifest_size", "2K" },
	};

	for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++)
		tdb_set(t, settings[i][0], settings[i][1]);
}

/* Open what the cut left. Takes the clone over. */
static void check_clone(struct cairn_env *clone, const struct history *h,
			uint64_t seed)
{
	struct state first, second;
	struct test_db t;
	char when[64];

	atomic_fetch_add(&counts->cuts, 1);
	snprintf(when, sizeof(when), "seed %llu", (unsigned long long)seed);
	tdb_init(&t, clone);
	small_options(&t);
	tdb_open(&t);
	read_state(t.db, &first);
	check_prefix(h, &first, when);
	/* What has been read must stay, whatever happens next. */
	clone = env_mem_crash_clone(t.mem, seed, 0);
	ck_assert_ptr_nonnull(clone);
	tdb_fini(&t);

	tdb_init(&t, clone);
	small_options(&t);
	tdb_open(&t);
	read_state(t.db, &second);
	ck_assert_msg(memcmp(&first, &second, sizeof(first)) == 0,
		      "%s: recovered state lost by a second cut", when);
	tdb_put(&t, "after", "all");
	tdb_reopen(&t);
	tdb_expect(&t, "after", "all");
	tdb_fini(&t);
}

/* The cut comes again while opening: at the n-th operation that writes. */
static void check_cut_again(struct cairn_env *clone, const struct history *h,
			    uint64_t seed, uint64_t nth, unsigned keep)
{
	struct test_db t;

	atomic_fetch_add(&counts->second_cuts, 1);
	tdb_init(&t, clone);
	small_options(&t);
	tdb_fail(&t, ENV_FAULT_WRITES, NULL, nth, true, CAIRN_EIO);
	if (cairn_open(TEST_DIR, t.opts, &t.db) == CAIRN_OK)
		(void)!cairn_close(t.db);
	t.db = NULL;
	clone = env_mem_crash_clone(t.mem, seed, keep);
	ck_assert_ptr_nonnull(clone);
	tdb_fini(&t);
	check_clone(clone, h, seed);
}

static void random_upkeep(struct test_db *t, struct history *h, struct rng *r)
{
	if (rng_one_in(r, 60)) {
		CK_OK(cairn_flush(t->db, true));
		h->synced = h->n;
	} else if (rng_one_in(r, 60)) {
		CK_OK(cairn_wal_sync(t->db));
		h->synced = h->n;
	} else if (rng_one_in(r, 100)) {
		CK_OK(cairn_compact_range(t->db, slice_of(NULL, 0),
					  slice_of(NULL, 0), NULL));
		h->synced = h->n;
	} else if (rng_one_in(r, 100)) {
		tdb_reopen(t);
		h->synced = h->n;
	}
}

static const struct {
	enum env_mem_rule rule;
	unsigned keep;
} cuts[] = {
	{ ENV_MEM_STRICT, 0 },   { ENV_MEM_STRICT, 30 },
	{ ENV_MEM_STRICT, 70 },  { ENV_MEM_STRICT, 100 },
	{ ENV_MEM_JOURNAL, 0 },  { ENV_MEM_JOURNAL, 30 },
	{ ENV_MEM_JOURNAL, 70 }, { ENV_MEM_JOURNAL, 95 },
};

START_TEST(a_power_cut_leaves_what_was_synced_and_a_prefix_of_the_rest)
{
	const char *env_seed = getenv("CAIRN_TEST_SEED");
	uint64_t seed = env_seed ? strtoull(env_seed, NULL, 10) : 1;
	struct cairn_env *mem = env_mem_new(cuts[_i].rule);
	struct history h = { .n = 0 };
	struct cairn_env *clone;
	struct test_db t;
	struct rng r;

	seed = seed * 1000 + (uint64_t)_i;
	rng_init(&r, seed);
	tdb_init(&t, mem);
	small_options(&t);
	tdb_open(&t);
	while (h.n < N_COMMITS) {
		commit_one(&t, &h, &r);
		random_upkeep(&t, &h, &r);
		if (!rng_one_in(&r, 12))
			continue;
		clone = env_mem_crash_clone(t.mem, rng_next(&r), cuts[_i].keep);
		ck_assert_ptr_nonnull(clone);
		if (rng_one_in(&r, 3))
			check_cut_again(clone, &h, rng_next(&r),
					1 + rng_below(&r, 30), cuts[_i].keep);
		else
			check_clone(clone, &h, seed);
	}
	tdb_fini(&t);
}
END_TEST

START_TEST(a_database_being_created_can_be_cut_at_any_operation)
{
	struct cairn_env *clone;
	struct test_db t;

	for (uint64_t k = 1;; k++) {
		bool opened;

		tdb_init(&t, NULL);
		tdb_fail(&t, ENV_FAULT_WRITES, NULL, k, true, CAIRN_EIO);
		opened = cairn_open(TEST_DIR, t.opts, &t.db) == CAIRN_OK;
		if (opened)
			(void)!cairn_close(t.db);
		t.db = NULL;
		for (unsigned keep = 0; keep <= 100; keep += 50) {
			struct test_db again;

			clone = env_mem_crash_clone(t.mem, k, keep);
			ck_assert_ptr_nonnull(clone);
			atomic_fetch_add(&counts->cuts, 1);
			tdb_init(&again, clone);
			tdb_open(&again);
			tdb_put(&again, "a", "b");
			tdb_fini(&again);
		}
		tdb_fini(&t);
		if (opened && k > 60)
			break;
	}
}
END_TEST

/* ------------------------------------------------------- failing operations */

/* What each key may hold: the last acknowledged change, or one after it whose
 * outcome nobody knows. */
struct possible {
	int acked;
	int maybe[64];
	int n_maybe;
};

struct fault_run {
	struct test_db t;
	struct possible keys[N_KEYS];
	unsigned n_failed;
	uint64_t k; /* the operation that fails */
};

static void check_possible(struct fault_run *f, struct cairn_db *db,
			   const char *when)
{
	struct state s;

	read_state(db, &s);
	for (int i = 0; i < N_KEYS; i++) {
		const struct possible *p = &f->keys[i];
		bool good = s.from[i] == p->acked;

		for (int m = 0; m < p->n_maybe; m++)
			good = good || s.from[i] == p->maybe[m];
		ck_assert_msg(good, "fault %llu, %s: key %d is from %d, not %d",
			      (unsigned long long)f->k, when, i, s.from[i],
			      p->acked);
	}
}

/* The process dies now: everything that was written is there. */
static void check_killed(struct fault_run *f)
{
	struct cairn_env *clone = env_mem_crash_clone(f->t.mem, f->k, 100);
	struct test_db t;

	ck_assert_ptr_nonnull(clone);
	tdb_init(&t, clone);
	small_options(&t);
	tdb_open(&t);
	check_possible(f, t.db, "killed");
	tdb_fini(&t);
}

static void run_put(struct fault_run *f, int i, bool sync)
{
	struct possible *p = &f->keys[i * 7 % N_KEYS];
	char key[16], value[256];
	int err;

	key_name(key, sizeof(key), i * 7 % N_KEYS);
	value_text(value, sizeof(value), i);
	err = sync ? tdb_put_sync(&f->t, key, value)
		   : tdb_try_put(&f->t, key, value);
	if (err == CAIRN_OK) {
		p->acked = i;
		p->n_maybe = 0;
		return;
	}
	ck_assert_int_lt(p->n_maybe, 64);
	p->maybe[p->n_maybe++] = i;
	if (!f->n_failed++)
		check_killed(f);
	/* The fault is gone if it came once; then this lets writes in again. */
	(void)!cairn_resume(f->t.db);
}

static void run_workload(struct fault_run *f)
{
	for (int i = 0; i < N_KEYS; i++)
		f->keys[i] = (struct possible){ .acked = -1 };
	for (int i = 0; i < 110; i++) {
		run_put(f, i, i % 17 == 0);
		if (i % 40 == 39 && cairn_flush(f->t.db, true))
			(void)!cairn_resume(f->t.db);
		if (i == 90)
			(void)!cairn_compact_range(f->t.db, slice_of(NULL, 0),
						   slice_of(NULL, 0), NULL);
		if (i == 100)
			(void)!cairn_wal_sync(f->t.db);
	}
}

static const struct {
	unsigned ops;
	int code;
	bool sticky;
	bool partial;
	unsigned step;
} faults[] = {
	{ ENV_FAULT_WRITES, CAIRN_EIO, false, false, 1 },
	{ ENV_FAULT_WRITES, CAIRN_ENOSPC, false, true, 2 },
	{ ENV_FAULT_WRITES, CAIRN_EIO, true, false, 3 },
	{ ENV_FAULT_OPEN_READ | ENV_FAULT_READ | ENV_FAULT_STAT |
		  ENV_FAULT_LIST,
	  CAIRN_EIO, false, false, 1 },
};

static bool run_with_fault(uint64_t k, int fault)
{
	struct env_fault_rule rule = {
		.ops = faults[fault].ops,
		.nth = k,
		.sticky = faults[fault].sticky,
		.code = faults[fault].code,
		.partial = faults[fault].partial,
	};
	struct fault_run f = { .k = k };
	bool hit;

	tdb_init(&f.t, NULL);
	small_options(&f.t);
	tdb_open(&f.t);
	env_fault_set(f.t.env, &rule);
	run_workload(&f);
	/* Reads go on, whatever has happened. */
	if (faults[fault].ops == ENV_FAULT_WRITES)
		check_possible(&f, f.t.db, "running");
	(void)!cairn_close(f.t.db);
	f.t.db = NULL;
	hit = env_fault_hits(f.t.env) > 0;
	atomic_fetch_add(&counts->faults, hit);
	env_fault_set(f.t.env, NULL);
	tdb_open(&f.t);
	check_possible(&f, f.t.db, "reopened");
	if (!faults[fault].sticky && hit)
		tdb_put(&f.t, "more", "works");
	tdb_fini(&f.t);
	return hit;
}

START_TEST(no_single_failure_loses_what_was_acknowledged)
{
	for (uint64_t k = 1; run_with_fault(k, _i); k += faults[_i].step)
		;
}
END_TEST

START_TEST(after_one_failure_writing_works_again_without_reopening)
{
	for (uint64_t k = 1;; k += 5) {
		struct test_db t;
		char key[16];
		bool hit;

		tdb_init(&t, NULL);
		small_options(&t);
		tdb_open(&t);
		tdb_fail(&t, ENV_FAULT_WRITES, NULL, k, false, CAIRN_EIO);
		for (int i = 0; i < 80; i++) {
			snprintf(key, sizeof(key), "%d", i);
			if (tdb_put_sync(&t, key, key))
				CK_OK(cairn_resume(t.db));
		}
		hit = env_fault_hits(t.env) > 0;
		atomic_fetch_add(&counts->faults, hit);
		env_fault_set(t.env, NULL);
		CK_OK(cairn_resume(t.db));
		CK_OK(tdb_put_sync(&t, "again", "works"));
		tdb_reopen(&t);
		tdb_expect(&t, "again", "works");
		tdb_fini(&t);
		if (!hit)
			break;
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("crash");
	TCase *tc = tcase_create("power cut");
	int status;

	counts = mmap(NULL, sizeof(*counts), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (counts == MAP_FAILED) {
		perror("mmap");
		return EXIT_FAILURE;
	}
	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(
		tc, a_power_cut_leaves_what_was_synced_and_a_prefix_of_the_rest,
		0, (int)(sizeof(cuts) / sizeof(cuts[0])));
	tcase_add_test(tc,
		       a_database_being_created_can_be_cut_at_any_operation);
	suite_add_tcase(s, tc);

	tc = tcase_create("failing operations");
	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, no_single_failure_loses_what_was_acknowledged,
			    0, (int)(sizeof(faults) / sizeof(faults[0])));
	tcase_add_test(tc,
		       after_one_failure_writing_works_again_without_reopening);
	suite_add_tcase(s, tc);
	status = run_suite(s);
	printf("count power-cuts %" PRIu64 "\ncount cut-again %" PRIu64
	       "\ncount failing-operations %" PRIu64 "\n",
	       counts->cuts, counts->second_cuts, counts->faults);
	return status;
}
