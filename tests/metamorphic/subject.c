/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/metamorphic/subject_impl.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/env/env_mem.h"
#include "tests/compat/die.h"
#include "tests/metamorphic/model.h"
#include "tests/metamorphic/output.h"

/* A call is repeated this often after file operations failed. */
#define TRIES_MAX 6

/* One in so many operations is followed by something that nobody asked for. */
#define MEDDLE_EVERY 12
#define FAULTS_EVERY 15

/* ------------------------------------------------------------------ options */

static size_t prefix_len(void *ctx, struct cairn_slice key)
{
	(void)ctx;
	return key.len < PREFIX_LEN ? SIZE_MAX : PREFIX_LEN;
}

static const struct cairn_prefix_extractor extractor = {
	.name = "cairn.test.prefix",
	.prefix_len = prefix_len,
};

/* Counts what is in a table, which nobody reads but the table filter. */
static void *collector_begin(void *ctx)
{
	(void)ctx;
	return calloc(1, sizeof(uint64_t));
}

static void collector_add(void *table, enum cairn_entry_kind kind,
			  struct cairn_slice key, struct cairn_slice value)
{
	(void)kind;
	*(uint64_t *)table += key.len + value.len;
}

static int collector_finish(void *table, struct cairn_table_properties *out)
{
	return cairn_table_property_set(out, "test.bytes",
					slice_of(table, sizeof(uint64_t)));
}

static const struct cairn_table_collector collector = {
	.name = "cairn.test.collector",
	.begin = collector_begin,
	.add = collector_add,
	.finish = collector_finish,
	.end = free,
};

static void set_all(struct cairn_options *o, const char *settings)
{
	char text[1024], *save, *name;

	snprintf(text, sizeof(text), "%s", settings);
	for (name = strtok_r(text, ";", &save); name;
	     name = strtok_r(NULL, ";", &save)) {
		char *value = strchr(name, '=');

		if (!value)
			die("setting \"%s\" has no value", name);
		*value = '\0';
		must(cairn_options_set(o, name, value + 1), "option");
	}
}

struct cairn_options *subject_options(struct subject *s, const char *settings)
{
	struct cairn_options *o = must_have(cairn_options_new());
	const struct merge *m = s->merge;

	cairn_options_set_env(o, s->env);
	must(cairn_options_set(o, "create_if_missing", "true"), "option");
	set_all(o, settings);
	if (s->set.flags & SET_NO_WAL)
		must(cairn_options_set(o, "disable_wal", "true"), "option");
	if (m->option)
		must(cairn_options_set(o, "merge_operator", m->option),
		     "option");
	else
		cairn_options_set_merge_operator(
			o, s->set.flags & SET_NO_PARTIAL ? m->op_without_partial
							 : m->op);
	cairn_options_set_prefix_extractor(o, &extractor);
	if (s->set.flags & SET_COLLECTOR)
		cairn_options_set_table_collector(o, &collector);
	return o;
}

/* ------------------------------------------------------- opening and closing
 */

int subject_open(struct subject *s)
{
	struct optset drawn = s->set;
	struct cairn_options *o;
	int err;

	if (s->set.flags & SET_DRIFT)
		optset_random(rng_next(&s->rng) >> 32, &drawn);
	o = subject_options(s, drawn.settings);
	err = cairn_open(s->dir, o, &s->db);
	cairn_options_free(o);
	return err;
}

bool subject_is_held(const struct subject *s)
{
	bool held = false;

	for (unsigned i = 0; i < N_ITERS; i++)
		held = held || s->iters[i];
	for (unsigned i = 0; i < N_SNAPSHOTS; i++)
		held = held || s->snapshots[i];
	for (unsigned i = 0; i < N_PINS; i++)
		held = held || s->pinned[i];
	return held;
}

void subject_let_go(struct subject *s)
{
	for (unsigned i = 0; i < N_ITERS; i++) {
		cairn_iter_free(s->iters[i]);
		s->iters[i] = NULL;
	}
	for (unsigned i = 0; i < N_SNAPSHOTS; i++) {
		if (s->snapshots[i])
			cairn_snapshot_release(s->snapshots[i]);
		s->snapshots[i] = NULL;
	}
	for (unsigned i = 0; i < N_PINS; i++) {
		if (s->pinned[i])
			cairn_pinned_release(&s->pins[i]);
		s->pinned[i] = false;
	}
}

static bool in_memory_only(const struct subject *s)
{
	return s->unlogged || s->set.flags & SET_NO_WAL;
}

/* Without faults, and with what they have stopped going on again. */
static int recovered(struct subject *s)
{
	subject_disarm(s);
	return s->faulty ? cairn_resume(s->db) : CAIRN_OK;
}

static int flush(struct subject *s)
{
	int err = cairn_flush(s->db, true);

	if (!err)
		s->unlogged = false;
	return err;
}

int subject_secure(struct subject *s)
{
	int err = recovered(s);

	if (err)
		return err;
	return in_memory_only(s) ? flush(s) : cairn_wal_sync(s->db);
}

int subject_close(struct subject *s)
{
	int err;

	subject_let_go(s);
	if (!s->db)
		return CAIRN_OK;
	if (in_memory_only(s)) {
		err = recovered(s);
		if (!err)
			err = flush(s);
		if (err)
			return err;
	}
	err = cairn_close(s->db);
	s->db = NULL;
	/* What is in the logs is there whatever else failed. */
	return s->faulty ? CAIRN_OK : err;
}

int subject_reopen(struct subject *s)
{
	int err = subject_close(s);

	return err ? err : subject_open(s);
}

/* ------------------------------------------------------------------- faults */

static const unsigned classes[] = {
	ENV_FAULT_WRITES,
	ENV_FAULT_CREATE,
	ENV_FAULT_APPEND,
	ENV_FAULT_SYNC,
	ENV_FAULT_RENAME | ENV_FAULT_LINK | ENV_FAULT_SYNC_DIR,
	ENV_FAULT_UNLINK | ENV_FAULT_CLOSE,
	ENV_FAULT_OPEN_READ | ENV_FAULT_READ,
	ENV_FAULT_LIST | ENV_FAULT_STAT | ENV_FAULT_PREALLOCATE,
	ENV_FAULT_ALL,
};

/* What nobody asked for, for those who look for a mistake. */
static void say(const struct subject *s, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static void say(const struct subject *s, const char *fmt, ...)
{
	va_list ap;

	if (!s->set.say)
		return;
	va_start(ap, fmt);
	fputs("    ", stdout);
	vprintf(fmt, ap);
	putchar('\n');
	va_end(ap);
}

void subject_arm(struct subject *s, uint64_t class, uint64_t nth, uint64_t how)
{
	struct env_fault_rule rule = {
		.ops = classes[class % (sizeof(classes) / sizeof(classes[0]))],
		.nth = nth % 100 + 1,
		.sticky = how & 1,
		.partial = how & 2,
		.code = how & 4 ? CAIRN_ENOSPC : CAIRN_EIO,
	};

	say(s, "from here on operation %llu of class %#x fails%s%s: %s",
	    (unsigned long long)rule.nth, rule.ops,
	    rule.sticky ? ", and all after it" : "",
	    rule.partial ? ", in part" : "", cairn_strerror(rule.code));
	env_fault_set(s->env, &rule);
	s->armed = true;
	s->faulty = true;
}

void subject_disarm(struct subject *s)
{
	if (s->armed) {
		say(s, "%llu failed",
		    (unsigned long long)env_fault_hits(s->env));
		env_fault_set(s->env, NULL);
	}
	s->armed = false;
}

/*
 * Whether op must not meet a failure: when a sync fails the write may have been
 * done all the same, and these must not be done twice; and a move of an
 * iterator cannot be repeated.
 */
static bool must_be_spared(const struct subject *s, const struct op *op)
{
	struct cairn_slice key = { 0 };

	if (op->n_args)
		key = op_slice(op, 0);
	switch ((int)op->kind) {
	case OP_iter_next:
	case OP_iter_prev:
	case OP_iter_next_n:
	case OP_iter_prev_n:
	case OP_put_parallel:
	case OP_write_sync:
	case OP_merge_sync:
		return true;
	case OP_put_sync:
		return key.len && key.data[0] == ONCE_MARK;
	case OP_put:
	case OP_put_no_wait:
	case OP_single_delete:
	case OP_merge:
	case OP_write:
		return s->set.flags & SET_SYNC_ALL;
	default:
		return false;
	}
}

/* ------------------------------------------------------ files, cuts and kills
 */

void subject_new_path(struct subject *s, char out[PATH_LEN])
{
	snprintf(out, PATH_LEN, "%.200s/%u", s->root, ++s->n_names);
}

void subject_remove(struct subject *s, const char *dir)
{
	struct env_names names;
	char path[2 * PATH_LEN];

	if (env_list(s->below, dir, &names))
		return;
	for (size_t i = 0; i < names.n; i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names.names[i]);
		must(env_unlink(s->below, path), "unlink");
	}
	env_names_free(&names);
	must(env_rmdir(s->below, dir), "rmdir");
}

static void new_env(struct subject *s, struct cairn_env *mem)
{
	s->mem = must_have(mem);
	s->below = mem;
	s->env = must_have(env_fault_new(mem));
	s->armed = false;
	s->faulty = false;
}

/* The process that had the store is no more: it writes nothing. */
static void abandon(struct subject *s)
{
	struct env_fault_rule rule = {
		.ops = ENV_FAULT_WRITES,
		.nth = 1,
		.sticky = true,
		.code = CAIRN_EIO,
	};

	env_fault_set(s->env, &rule);
	if (s->db)
		(void)!cairn_close(s->db);
	s->db = NULL;
	s->unlogged = false;
	env_fault_free(s->env);
	env_mem_free(s->mem);
}

static struct cairn_env *copy_after_cut(struct subject *s, uint64_t seed,
					uint64_t keep_percent)
{
	return must_have(env_mem_crash_clone(s->mem, seed,
					     (unsigned)(keep_percent % 101)));
}

static int go_on_in(struct subject *s, struct cairn_env *mem)
{
	abandon(s);
	new_env(s, mem);
	return subject_open(s);
}

int subject_kill(struct subject *s)
{
	int err = CAIRN_OK;

	if (!s->mem)
		return subject_reopen(s);
	subject_let_go(s);
	if (!s->db) /* The second try, after the kill. */
		return subject_open(s);
	if (in_memory_only(s))
		err = subject_secure(s);
	return err ? err : go_on_in(s, copy_after_cut(s, 0, 100));
}

int subject_cut(struct subject *s, uint64_t keep_percent, uint64_t seed,
		uint64_t again_at)
{
	struct cairn_env *mem;
	int err;

	if (!s->mem)
		return subject_reopen(s);
	subject_let_go(s);
	if (!s->db)
		return subject_open(s);
	err = subject_secure(s);
	if (err)
		return err;
	mem = copy_after_cut(s, seed, keep_percent);
	if (again_at == UINT64_MAX)
		return go_on_in(s, mem);
	abandon(s);
	new_env(s, mem);
	subject_arm(s, 0, again_at, 1);
	(void)!subject_open(s);
	return go_on_in(s, copy_after_cut(s, seed + 1, keep_percent));
}

int subject_switch(struct subject *s)
{
	char dir[PATH_LEN], old[PATH_LEN];
	int err;

	if (!s->db)
		return subject_open(s);
	subject_new_path(s, dir);
	err = cairn_checkpoint(s->db, dir);
	if (err)
		return err;
	strcpy(old, s->dir);
	err = subject_close(s);
	if (err)
		return err;
	strcpy(s->dir, dir);
	subject_remove(s, old);
	return subject_open(s);
}

/* --------------------------------------------------------------- what others
 * do between operations */

static int meddle(struct subject *s)
{
	static const struct cairn_slice none;
	static const char *const meddles[] = {
		"start a flush", "flush",
		"compact",       "wait",
		"verify",        "reopen",
		"reopen",        "kill",
		"cut",           "go on in a checkpoint",
	};
	/* The rest only where nothing is open. */
	uint64_t what = rng_below(&s->rng, subject_is_held(s) ? 5 : 10);

	if (!s->db) /* It failed when it was closed already. */
		return subject_open(s);
	say(s, "meddling: %s", meddles[what]);
	switch ((int)what) {
	case 0:
		return cairn_flush(s->db, false);
	case 1:
		return flush(s);
	case 2:
		return cairn_compact_range(s->db, none, none, NULL);
	case 3:
		return cairn_wait_idle(s->db);
	case 4:
		return cairn_verify_checksums(s->db);
	case 5:
	case 6:
		return subject_reopen(s);
	case 7:
		return subject_kill(s);
	case 8:
		return subject_cut(s, rng_below(&s->rng, 101),
				   rng_next(&s->rng), UINT64_MAX);
	default:
		return subject_switch(s);
	}
}

static int meddle_op(struct subject *s, const struct op *op, struct buf *out)
{
	(void)op;
	(void)out;
	return meddle(s);
}

/* --------------------------------------------------------------- operations */

/* Repeat what fails because it was made to. */
static void run_until_done(struct subject *s, const struct op *op,
			   int (*run)(struct subject *s, const struct op *op,
				      struct buf *out),
			   struct buf *out)
{
	size_t start = out->len;
	char message[512];
	int err;

	for (int tries = 0;; tries++) {
		out->len = start;
		err = run(s, op, out);
		if (!err)
			return;
		snprintf(message, sizeof(message), "%s", cairn_errmsg());
		say(s, "%s, which is tried again: %s", cairn_strerror(err),
		    message);
		if (!s->faulty || tries == TRIES_MAX)
			break;
		subject_disarm(s);
		if (s->db)
			(void)!cairn_resume(s->db);
	}
	out->len = start;
	out_text(out, "%s: %s", cairn_strerror(err), message);
}

void subject_run(struct subject *s, const struct op *op, struct buf *out)
{
	struct buf aside = { 0 };

	if (s->armed && must_be_spared(s, op))
		(void)!recovered(s);
	run_until_done(s, op, subject_ops[op->kind], out);
	if (s->set.flags & SET_FAULTS && !s->armed &&
	    rng_one_in(&s->rng, FAULTS_EVERY))
		subject_arm(s, rng_next(&s->rng), rng_next(&s->rng),
			    rng_next(&s->rng));
	if (s->db && s->set.flags & SET_MEDDLE &&
	    rng_one_in(&s->rng, MEDDLE_EVERY))
		run_until_done(s, NULL, meddle_op, &aside);
	if (aside.len) {
		out_text(out, ", then ");
		must(buf_append(out, aside.data, aside.len), "output");
	}
	buf_fini(&aside);
}

struct subject *subject_new(const struct optset *set, const char *merge)
{
	struct subject *s = must_have(calloc(1, sizeof(*s)));

	s->set = *set;
	s->merge = merge_named(merge);
	rng_init(&s->rng, 1);
	if (set->flags & SET_POSIX) {
		dir_make_temp(s->root);
		s->below = env_posix();
		s->env = must_have(env_fault_new(s->below));
	} else {
		new_env(s,
			env_mem_new(set->flags & SET_JOURNAL ? ENV_MEM_JOURNAL
							     : ENV_MEM_STRICT));
	}
	subject_new_path(s, s->dir);
	must(subject_open(s), "open");
	return s;
}

static int close_op(struct subject *s, const struct op *op, struct buf *out)
{
	(void)op;
	(void)out;
	return subject_close(s);
}

static int verify_op(struct subject *s, const struct op *op, struct buf *out)
{
	struct cairn_options *o = subject_options(s, "");
	int err = cairn_verify(s->dir, o, NULL, NULL);

	(void)op;
	(void)out;
	cairn_options_free(o);
	return err;
}

void subject_free(struct subject *s, struct buf *out)
{
	subject_disarm(s);
	run_until_done(s, NULL, close_op, out);
	if (!out->len)
		run_until_done(s, NULL, verify_op, out);
	for (unsigned i = 0; i < N_BATCHES; i++)
		cairn_batch_free(s->batches[i]);
	env_fault_free(s->env);
	if (s->mem)
		env_mem_free(s->mem);
	else
		dir_remove(s->root);
	free(s);
}
