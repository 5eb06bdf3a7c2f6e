/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/version/manifest_facts.h"

#include <stdio.h>

#include "engine/base/error.h"
#include "engine/base/rng.h"
#include "engine/env/env_mem.h"
#include "engine/version/manifest.h"
#include "engine/wal/writer.h"
#include "tests/support/golden.h"
#include "tests/support/runner.h"

#define PATH "/MANIFEST-000001"

static void must(int err)
{
	ck_assert_msg(err == CAIRN_OK, "%s: %s", cairn_strerror(err),
		      cairn_errmsg());
}

static struct cairn_env *new_env(void)
{
	struct cairn_env *env = env_mem_new(ENV_MEM_STRICT);

	ck_assert_ptr_nonnull(env);
	return env;
}

/* ------------------------------------------------- as the strict reader has it
 */

static void check_like_strict(struct cairn_env *env, const char *path,
			      const char *name)
{
	struct manifest_facts f = { 0 };
	struct manifest m = { 0 };
	size_t live = 0, want = 0;

	if (manifest_read(env, path, &m))
		return; /* what is refused is looked at elsewhere */
	must(manifest_facts_read(env, path, NULL, &f));
	ck_assert_msg(!f.gaps, "%s", name);
	ck_assert_uint_eq(f.last_seqno, m.last_seqno);
	ck_assert_uint_eq(f.log_number, m.state.log_number);
	ck_assert_uint_eq(f.min_log_to_keep, m.state.min_log_to_keep);
	ck_assert(f.torn == m.state.manifest_torn);
	for (int level = 0; level < CAIRN_LEVELS; level++) {
		const struct version_files *l = &m.version->level[level];

		for (size_t i = 0; i < l->n; i++) {
			const struct manifest_fact *t =
				manifest_facts_find(&f, l->files[i]->number);

			want++;
			ck_assert_msg(t && t->live && t->level == level,
				      "%s: table %u", name,
				      (unsigned)l->files[i]->number);
			ck_assert_uint_eq(t->meta->size, l->files[i]->size);
		}
	}
	for (size_t i = 0; i < f.cap; i++)
		live += f.table[i].live;
	ck_assert_uint_eq(live, want);
	manifest_facts_fini(&f);
	manifest_fini(&m);
}

START_TEST(a_good_manifest_gives_what_the_strict_reader_gives)
{
	struct env_names names;

	golden_names(&names);
	for (size_t i = 0; i < names.n; i++) {
		struct cairn_env *env = new_env();
		struct golden g;
		char path[256];

		golden_load(names.names[i], &g);
		golden_write(&g, env, "/db");
		for (size_t k = 0; k < g.n; k++) {
			if (strncmp(g.files[k].name, "MANIFEST", 8) != 0)
				continue;
			snprintf(path, sizeof(path), "/db/%s", g.files[k].name);
			check_like_strict(env, path, names.names[i]);
		}
		golden_fini(&g);
		env_mem_free(env);
	}
	env_names_free(&names);
}
END_TEST

/* ---------------------------------------------------------------- made here */

static void add_table(struct version_edit *e, int level, uint64_t number)
{
	uint8_t key[9] = "k";
	struct file_meta *m;

	put_le64(key + 1, number << 8 | KIND_PUT);
	must(file_meta_new(number, 1000 + number, slice_of(key, 9),
			   slice_of(key, 9), number, number, &m));
	must(version_edit_add_file(e, level, m));
	file_meta_unref(m);
}

static void append(struct log_writer *w, struct version_edit *e)
{
	struct buf record = { 0 };

	must(version_edit_encode(e, &record));
	must(log_writer_add(w, buf_slice(&record)));
	must(log_writer_flush(w));
	buf_fini(&record);
	version_edit_fini(e);
}

/* Three edits: tables 10 and 11; 12 for 10; 13, which moves to level 6. Returns
 * where the second one is. */
static uint64_t make(struct cairn_env *env)
{
	struct version_edit e = { .has_log_number = true, .log_number = 5 };
	struct log_writer *w;
	struct wfile *f;
	uint64_t second;

	must(env_open_write(env, PATH, &f));
	must(log_writer_new(f, &w));
	add_table(&e, 0, 10);
	add_table(&e, 0, 11);
	append(w, &e);
	second = log_writer_size(w);
	e = (struct version_edit){ 0 };
	must(version_edit_delete_file(&e, 0, 10));
	add_table(&e, 1, 12);
	append(w, &e);
	e = (struct version_edit){ .has_next_file_number = true,
				   .next_file_number = 40 };
	add_table(&e, 6, 13);
	append(w, &e);
	must(log_writer_close(w));
	return second;
}

static bool is_live(const struct manifest_facts *f, uint64_t number)
{
	const struct manifest_fact *t = manifest_facts_find(f, number);

	return t && t->live;
}

static int count_damage(void *ctx, int code, uint64_t offset)
{
	uint64_t *at = ctx;

	ck_assert_int_eq(code, CAIRN_ECORRUPT);
	*at = offset;
	return CAIRN_OK;
}

START_TEST(records_behind_a_bad_one_count)
{
	struct cairn_env *env = new_env();
	uint64_t second = make(env), at = 0;
	const struct manifest_visitor v = { .ctx = &at,
					    .damage = count_damage };
	struct manifest_facts f = { 0 };

	must(env_mem_damage(env, PATH, second + 10, 1));
	must(manifest_facts_read(env, PATH, &v, &f));
	ck_assert(f.gaps && !f.torn);
	ck_assert_uint_eq(at, second);
	ck_assert_uint_eq(f.records, 2);
	ck_assert(is_live(&f, 10) && is_live(&f, 11) && is_live(&f, 13));
	ck_assert_ptr_null(manifest_facts_find(&f, 12));
	ck_assert_uint_eq(f.next_file_number, 40);
	ck_assert_uint_eq(f.log_number, 5);
	ck_assert_uint_eq(f.last_seqno, 13);
	manifest_facts_fini(&f);
	env_mem_free(env);
}
END_TEST

START_TEST(a_deleted_table_is_known_to_be_dead)
{
	struct cairn_env *env = new_env();
	struct manifest_facts f = { 0 };

	make(env);
	must(manifest_facts_read(env, PATH, NULL, &f));
	ck_assert(!f.gaps);
	ck_assert_ptr_nonnull(manifest_facts_find(&f, 10));
	ck_assert(!is_live(&f, 10) && is_live(&f, 12));
	ck_assert_int_eq(manifest_facts_find(&f, 13)->level, 6);
	ck_assert_ptr_null(manifest_facts_find(&f, 99));
	manifest_facts_fini(&f);
	ck_assert_int_eq(manifest_facts_read(env, "/absent", NULL, &f),
			 CAIRN_NOT_FOUND);
	env_mem_free(env);
}
END_TEST

START_TEST(many_tables_are_found_again)
{
	struct cairn_env *env = new_env();
	struct manifest_facts f = { 0 };
	struct version_edit e = { 0 };
	struct log_writer *w;
	struct wfile *file;

	must(env_open_write(env, PATH, &file));
	must(log_writer_new(file, &w));
	for (uint64_t n = 1; n <= 1000; n++)
		add_table(&e, 0, n * 3);
	append(w, &e);
	must(log_writer_close(w));
	must(manifest_facts_read(env, PATH, NULL, &f));
	for (uint64_t n = 1; n <= 3000; n++)
		ck_assert(is_live(&f, n) == (n % 3 == 0));
	manifest_facts_fini(&f);
	env_mem_free(env);
}
END_TEST

START_TEST(bent_bytes_never_misbehave)
{
	struct rng rng;

	rng_init(&rng, 5);
	for (unsigned k = 0; k < 400; k++) {
		struct cairn_env *env = new_env();
		struct manifest_facts f = { 0 };
		struct env_stat st;

		make(env);
		must(env_stat(env, PATH, &st));
		for (unsigned i = 0; i <= k % 4; i++)
			must(env_mem_damage(
				env, PATH, rng_below(&rng, st.size),
				(uint8_t)(1 + rng_below(&rng, 255))));
		must(manifest_facts_read(env, PATH, NULL, &f));
		/* Two flips may undo one another. */
		ck_assert(f.gaps || f.torn || f.records == 3);
		manifest_facts_fini(&f);
		env_mem_free(env);
	}
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("manifest facts");
	TCase *t = tcase_create("manifest facts");

	tcase_set_timeout(t, 30);
	tcase_add_test(t, a_good_manifest_gives_what_the_strict_reader_gives);
	tcase_add_test(t, records_behind_a_bad_one_count);
	tcase_add_test(t, a_deleted_table_is_known_to_be_dead);
	tcase_add_test(t, many_tables_are_found_again);
	tcase_add_test(t, bent_bytes_never_misbehave);
	suite_add_tcase(s, t);
	return s;
}

int main(void)
{
	return run_suite(suite());
}
