/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/env/env_fault.h"

#include "engine/env/env_mem.h"
#include "tests/engine/env/contract.h"

#define N_OF(a) ((int)(sizeof(a) / sizeof((a)[0])))

/* A fault env over a memory env; both are freed by free_pair(). */
struct pair {
	struct cairn_env *mem;
	struct cairn_env *e;
};

static struct pair new_pair(void)
{
	struct pair p;

	p.mem = env_mem_new(ENV_MEM_STRICT);
	ck_assert_ptr_nonnull(p.mem);
	p.e = env_fault_new(p.mem);
	ck_assert_ptr_nonnull(p.e);
	return p;
}

static void free_pair(struct pair *p)
{
	env_fault_free(p->e);
	env_mem_free(p->mem);
}

/* With no rule the env below shines through. */
static struct cairn_env *contract_below;

static struct cairn_env *contract_begin(char dir[256])
{
	struct pair p = new_pair();

	contract_below = p.mem;
	snprintf(dir, 256, "/d");
	ck_ok(env_mkdir(p.e, dir));
	return p.e;
}

static void contract_end(struct cairn_env *e, const char *dir)
{
	(void)dir;
	env_fault_free(e);
	env_mem_free(contract_below);
}

/* One operation of each class on /f; returns what it returned. */
static int do_op(struct cairn_env *e, unsigned op)
{
	struct rfile *r = NULL;
	struct wfile *w = NULL;
	struct env_lock *l = NULL;
	struct env_names names = { 0 };
	struct env_stat st;
	char byte;
	size_t got;
	int err, again;

	switch (op) {
	case ENV_FAULT_OPEN_READ:
		err = env_open_read(e, "/f", &r);
		break;
	case ENV_FAULT_READ:
		ck_ok(env_open_read(e, "/f", &r));
		err = rfile_read(r, 0, &byte, 1, &got);
		break;
	case ENV_FAULT_CREATE:
		err = env_open_write(e, "/new", &w);
		break;
	case ENV_FAULT_APPEND:
		ck_ok(env_open_write(e, "/new", &w));
		err = wfile_append(w, "xy", 2);
		break;
	case ENV_FAULT_SYNC:
		ck_ok(env_open_write(e, "/new", &w));
		err = wfile_sync(w);
		break;
	case ENV_FAULT_CLOSE:
		ck_ok(env_open_write(e, "/new", &w));
		err = wfile_close(w);
		w = NULL;
		break;
	case ENV_FAULT_PREALLOCATE:
		ck_ok(env_open_write(e, "/new", &w));
		err = wfile_preallocate(w, 10);
		break;
	case ENV_FAULT_RENAME:
		err = env_rename(e, "/f", "/g");
		break;
	case ENV_FAULT_LINK:
		err = env_link(e, "/f", "/g");
		break;
	case ENV_FAULT_UNLINK:
		err = env_unlink(e, "/f");
		break;
	case ENV_FAULT_SYNC_DIR:
		err = env_sync_dir(e, "/");
		break;
	case ENV_FAULT_LIST:
		err = env_list(e, "/", &names);
		env_names_free(&names);
		break;
	case ENV_FAULT_STAT:
		err = env_stat(e, "/f", &st);
		break;
	case ENV_FAULT_MKDIR:
		err = env_mkdir(e, "/g");
		break;
	default:
		ck_assert_uint_eq(op, ENV_FAULT_LOCK);
		err = env_lock(e, "/f", "", &l);
		env_unlock(e, l);
		break;
	}
	rfile_close(r);
	again = wfile_close(w);
	ck_assert_int_eq(again, CAIRN_OK);
	return err;
}

/* The classes are the bits 0 to 14. */
START_TEST(each_class_fails_alone_with_the_code_asked_for)
{
	unsigned op = 1u << _i;

	for (int other = 0; other < 15; other++) {
		struct pair p = new_pair();
		struct env_fault_rule rule = {
			.ops = 1u << other,
			.nth = 1,
			.code = CAIRN_ENOSPC,
		};
		int err;

		put_file(p.e, "/f", "x");
		env_fault_set(p.e, &rule);
		/* The helper opens a file before it can do some. */
		if (other != _i && (other == 0 || other == 2 || other == 5)) {
			free_pair(&p);
			continue;
		}
		err = do_op(p.e, op);
		if (other == _i) {
			ck_assert_int_eq(err, CAIRN_ENOSPC);
			ck_assert_ptr_nonnull(
				strstr(cairn_errmsg(), "injected"));
			ck_assert(cairn_errmsg()[0] == '/');
			ck_assert_uint_eq(env_fault_hits(p.e), 1);
		} else {
			ck_ok(err);
			ck_assert_uint_eq(env_fault_hits(p.e), 0);
		}
		free_pair(&p);
	}
}
END_TEST

START_TEST(a_failed_operation_has_done_nothing)
{
	static const unsigned ops[] = {
		ENV_FAULT_CREATE, ENV_FAULT_RENAME, ENV_FAULT_LINK,
		ENV_FAULT_UNLINK, ENV_FAULT_MKDIR,  ENV_FAULT_LOCK,
	};

	for (int i = 0; i < N_OF(ops); i++) {
		struct pair p = new_pair();
		struct env_fault_rule rule = {
			.ops = ops[i],
			.nth = 1,
			.code = CAIRN_EIO,
		};

		put_file(p.e, "/f", "x");
		env_fault_set(p.e, &rule);
		ck_assert_int_eq(do_op(p.e, ops[i]), CAIRN_EIO);
		ck_ls(p.mem, "/", "f ");
		ck_file(p.mem, "/f", "x");
		free_pair(&p);
	}
}
END_TEST

START_TEST(the_nth_match_fails_and_only_it_unless_sticky)
{
	bool sticky = _i == 1;

	for (uint64_t nth = 1; nth <= 5; nth++) {
		struct pair p = new_pair();
		struct env_fault_rule rule = {
			.ops = ENV_FAULT_STAT | ENV_FAULT_LIST,
			.nth = nth,
			.sticky = sticky,
			.code = CAIRN_EIO,
		};

		put_file(p.e, "/f", "x");
		env_fault_set(p.e, &rule);
		for (uint64_t i = 1; i <= 8; i++) {
			unsigned op = i % 2 ? ENV_FAULT_STAT : ENV_FAULT_LIST;
			bool fails = i == nth || (sticky && i > nth);

			ck_assert_int_eq(do_op(p.e, op),
					 fails ? CAIRN_EIO : CAIRN_OK);
			ck_ok(do_op(p.e, ENV_FAULT_READ)); /* no match */
		}
		ck_assert_uint_eq(env_fault_hits(p.e), sticky ? 9 - nth : 1);
		/* Set again, it counts from the start; NULL ends it. */
		env_fault_set(p.e, &rule);
		ck_assert_uint_eq(env_fault_hits(p.e), 0);
		env_fault_set(p.e, NULL);
		for (int i = 0; i < 8; i++)
			ck_ok(do_op(p.e, ENV_FAULT_STAT));
		free_pair(&p);
	}
}
END_TEST

START_TEST(a_path_in_the_rule_must_be_part_of_the_path)
{
	struct pair p = new_pair();
	struct env_fault_rule rule = {
		.ops = ENV_FAULT_ALL,
		.path = ".log",
		.nth = 1,
		.sticky = true,
		.code = CAIRN_EIO,
	};
	struct wfile *w = NULL;

	put_file(p.e, "/1.sst", "x");
	ck_ok(env_open_write(p.e, "/2.log", &w));
	env_fault_set(p.e, &rule);
	put_file(p.e, "/3.sst", "x");
	ck_assert_int_eq(env_unlink(p.e, "/9.log"), CAIRN_EIO);
	/* By the name it was opened with. */
	ck_assert_int_eq(wfile_append(w, "x", 1), CAIRN_EIO);
	/* Either name of two. */
	ck_assert_int_eq(env_rename(p.e, "/1.sst", "/4.log"), CAIRN_EIO);
	ck_assert_int_eq(env_rename(p.e, "/2.log", "/4.sst"), CAIRN_EIO);
	ck_assert_int_eq(env_link(p.e, "/1.sst", "/4.log"), CAIRN_EIO);
	ck_ok(env_rename(p.e, "/1.sst", "/4.sst"));
	ck_assert_int_eq(wfile_close(w), CAIRN_EIO);
	free_pair(&p);
}
END_TEST

START_TEST(operations_are_counted_by_class)
{
	struct pair p = new_pair();

	put_file(p.e, "/f", "x"); /* create, append, close */
	ck_assert_uint_eq(env_fault_count(p.e, ENV_FAULT_ALL), 3);
	ck_assert_uint_eq(env_fault_count(p.e, ENV_FAULT_APPEND), 1);
	ck_assert_uint_eq(
		env_fault_count(p.e, ENV_FAULT_CREATE | ENV_FAULT_CLOSE), 2);
	ck_ok(do_op(p.e, ENV_FAULT_READ));
	ck_assert_uint_eq(env_fault_count(p.e, ENV_FAULT_OPEN_READ), 1);
	ck_assert_uint_eq(env_fault_count(p.e, ENV_FAULT_READ), 1);
	ck_assert_uint_eq(env_fault_count(p.e, ENV_FAULT_WRITES), 3);
	env_fault_set(p.e, NULL); /* does not restart these */
	ck_assert_uint_eq(env_fault_count(p.e, ENV_FAULT_ALL), 5);
	free_pair(&p);
}
END_TEST

START_TEST(a_failing_append_writes_nothing_or_half)
{
	bool partial = _i == 1;
	struct pair p = new_pair();
	struct env_fault_rule rule = {
		.ops = ENV_FAULT_APPEND,
		.nth = 2,
		.code = CAIRN_ENOSPC,
		.partial = partial,
	};
	struct wfile *w = NULL;

	env_fault_set(p.e, &rule);
	ck_ok(env_open_write(p.e, "/f", &w));
	ck_ok(wfile_append(w, "abcd", 4));
	ck_assert_int_eq(wfile_append(w, "efgh", 4), CAIRN_ENOSPC);
	ck_ok(wfile_append(w, "ij", 2));
	ck_ok(wfile_close(w));
	ck_file(p.e, "/f", partial ? "abcdefij" : "abcdij");

	/* The half may fail as well: the code stays that of the rule. */
	env_mem_set_capacity(p.mem, 1);
	ck_ok(env_open_write(p.e, "/g", &w));
	rule.nth = 1;
	rule.code = CAIRN_EIO;
	env_fault_set(p.e, &rule);
	ck_assert_int_eq(wfile_append(w, "abcdefgh", 8), CAIRN_EIO);
	ck_names_path("/g");
	ck_names_path("injected");
	ck_ok(wfile_close(w));
	free_pair(&p);
}
END_TEST

START_TEST(a_failing_sync_may_lose_its_bytes_for_good)
{
	bool partial = _i == 1;
	struct pair p = new_pair();
	struct env_fault_rule rule = {
		.ops = ENV_FAULT_SYNC,
		.nth = 2,
		.code = CAIRN_EIO,
		.partial = partial,
	};
	struct cairn_env *c;
	struct wfile *w = NULL;

	ck_ok(env_open_write(p.e, "/f", &w));
	ck_ok(env_sync_dir(p.e, "/"));
	env_fault_set(p.e, &rule);
	ck_ok(wfile_append(w, "one ", 4));
	ck_ok(wfile_sync(w));
	ck_ok(wfile_append(w, "two ", 4));
	ck_assert_int_eq(wfile_sync(w), CAIRN_EIO);
	c = env_mem_crash_clone(p.mem, 0, 0);
	ck_file(c, "/f", "one ");
	env_mem_free(c);

	/* Trying again looks like success. */
	ck_ok(wfile_sync(w));
	ck_file(p.e, "/f", "one two ");
	c = env_mem_crash_clone(p.mem, 0, 0);
	ck_file(c, "/f", partial ? "one " : "one two ");
	env_mem_free(c);
	ck_ok(wfile_close(w));
	free_pair(&p);
}
END_TEST

START_TEST(replacing_a_file_survives_a_fault_at_every_step)
{
	bool sticky = _i & 1, partial = _i & 2;
	uint64_t nth;

	for (nth = 1;; nth++) {
		struct pair p = new_pair();
		struct env_fault_rule rule = {
			.ops = ENV_FAULT_ALL,
			.nth = nth,
			.sticky = sticky,
			.code = CAIRN_EIO,
			.partial = partial,
		};
		struct cairn_env *c;
		char text[256];
		int err;

		ck_ok(env_replace_file(p.e, "/", "/tmp", "/f",
				       slice_str("old")));
		env_fault_set(p.e, &rule);
		err = env_replace_file(p.e, "/", "/tmp", "/f",
				       slice_str("new"));
		if (err)
			ck_names_path("injected");
		c = env_mem_crash_clone(p.mem, nth, 0);
		get_file(c, "/f", text);
		ck_assert_str_eq(text, err ? "old" : "new");
		env_mem_free(c);
		c = env_mem_crash_clone(p.mem, nth, 50);
		get_file(c, "/f", text);
		ck_assert(strcmp(text, "old") == 0 || strcmp(text, "new") == 0);
		env_mem_free(c);

		/* The fault gone, it works again. */
		env_fault_set(p.e, NULL);
		ck_ok(env_replace_file(p.e, "/", "/tmp", "/f",
				       slice_str("newer")));
		ck_ls(p.e, "/", "f ");
		free_pair(&p);
		if (!err)
			break;
	}
	/* remove, create, append, sync, close, rename, sync directory */
	ck_assert_uint_eq(nth, 8);
}
END_TEST

START_TEST(reading_a_file_reports_a_fault_at_every_step)
{
	uint64_t nth;

	for (nth = 1;; nth++) {
		struct pair p = new_pair();
		struct env_fault_rule rule = {
			.ops = ENV_FAULT_ALL,
			.nth = nth,
			.code = CAIRN_EIO,
		};
		struct buf b = { 0 };
		int err;

		put_file(p.e, "/f", "x");
		env_fault_set(p.e, &rule);
		err = env_read_file(p.e, "/f", 10, &b);
		ck_assert_uint_eq(b.len, err ? 0 : 1);
		buf_fini(&b);
		free_pair(&p);
		if (!err)
			break;
		ck_assert_int_eq(err, CAIRN_EIO);
	}
	ck_assert_uint_eq(nth, 4); /* open, size, read */
}
END_TEST

int main(void)
{
	Suite *s = suite_create("env_fault");
	TCase *t = tcase_create("env_fault");

	add_contract(s);
	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, each_class_fails_alone_with_the_code_asked_for,
			    0, 15);
	tcase_add_test(t, a_failed_operation_has_done_nothing);
	tcase_add_loop_test(t, the_nth_match_fails_and_only_it_unless_sticky, 0,
			    2);
	tcase_add_test(t, a_path_in_the_rule_must_be_part_of_the_path);
	tcase_add_test(t, operations_are_counted_by_class);
	tcase_add_loop_test(t, a_failing_append_writes_nothing_or_half, 0, 2);
	tcase_add_loop_test(t, a_failing_sync_may_lose_its_bytes_for_good, 0,
			    2);
	tcase_add_loop_test(t, replacing_a_file_survives_a_fault_at_every_step,
			    0, 4);
	tcase_add_test(t, reading_a_file_reports_a_fault_at_every_step);
	suite_add_tcase(s, t);
	return run_suite(s);
}
