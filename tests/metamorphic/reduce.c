/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/metamorphic/reduce.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/compat/die.h"
#include "tests/metamorphic/subject.h"

/* A run that takes longer hangs: it takes a second, or a minute under a
 * sanitizer on a busy machine. */
#define HANG_S 600

/* Runs that reduction may take, and those to see whether it fails again. */
#define REDUCE_TRIES 600
#define AGAIN_TRIES  8

void expected_init(struct expected *e, const struct history *h,
		   struct model *stats)
{
	struct model m;

	model_init(&m, h->merge);
	e->n = h->n;
	e->lines = must_have(calloc(h->n + 1, sizeof(*e->lines)));
	for (size_t i = 0; i < h->n; i++)
		model_run(&m, h->ops[i], &e->lines[i]);
	if (stats) {
		for (int k = 0; k < N_OP_KINDS; k++)
			stats->done[k] += m.done[k];
		stats->skipped += m.skipped;
		stats->lookups += m.lookups;
		stats->hits += m.hits;
	}
	model_fini(&m);
}

void expected_fini(struct expected *e)
{
	for (size_t i = 0; i < e->n; i++)
		buf_fini(&e->lines[i]);
	free(e->lines);
	*e = (struct expected){ 0 };
}

/* ---------------------------------------------------------------- one run */

static void fail(struct verdict *v, const char *intro, struct cairn_slice want,
		 struct cairn_slice got)
{
	v->failed = true;
	snprintf(v->text, sizeof(v->text),
		 "%s\n  the model says:  %.*s\n  the store says:  %.*s", intro,
		 (int)(want.len < 1500 ? want.len : 1500),
		 (const char *)want.data,
		 (int)(got.len < 1500 ? got.len : 1500),
		 (const char *)got.data);
}

static void run_here(const struct history *h, const struct expected *e,
		     const struct optset *set, struct verdict *v)
{
	struct subject *s = subject_new(set, h->merge);
	struct buf out = { 0 };

	for (v->at = 0; v->at < h->n && !v->failed; v->at++) {
		const struct op *op = h->ops[v->at];
		struct cairn_slice want = buf_slice(&e->lines[v->at]);

		buf_clear(&out);
		if (op->skip)
			must(buf_append(&out, "skipped", 7), "output");
		else
			subject_run(s, op, &out);
		if (set->say)
			printf("%zu %s: %.*s\n", v->at + 1,
			       op_infos[op->kind].name, (int)out.len,
			       (const char *)out.data);
		if (!slice_eq(buf_slice(&out), want))
			fail(v, op->line, want, buf_slice(&out));
	}
	if (!v->failed) {
		buf_clear(&out);
		subject_free(s, &out);
		if (out.len)
			fail(v, "closing and verifying", slice_str("ok"),
			     buf_slice(&out));
	}
	buf_fini(&out);
}

static pid_t wait_for(pid_t pid, int *status)
{
	pid_t got;

	do
		got = waitpid(pid, status, 0);
	while (got < 0 && errno == EINTR);
	return got;
}

void run_history(const struct history *h, const struct expected *e,
		 const struct optset *set, struct verdict *v)
{
	struct verdict *shared =
		mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int status = 0;
	pid_t pid;

	if (shared == MAP_FAILED)
		die("no memory");
	fflush(stdout);
	pid = fork();
	if (pid < 0)
		die("no process");
	if (pid == 0) {
		alarm(HANG_S);
		run_here(h, e, set, shared);
		fflush(stdout);
		/* What has failed is not asked to clean up behind itself. */
		if (shared->failed)
			_exit(EXIT_FAILURE);
		exit(EXIT_SUCCESS);
	}
	if (wait_for(pid, &status) != pid)
		die("lost a process");
	*v = *shared;
	munmap(shared, sizeof(*shared));
	if (v->failed || status == 0)
		return;
	v->failed = true;
	if (WIFSIGNALED(status))
		snprintf(v->text, sizeof(v->text), "%s\n  signal %d%s",
			 v->at < h->n ? h->ops[v->at]->line : "at the end",
			 WTERMSIG(status),
			 WTERMSIG(status) == SIGALRM ? ": it hangs" : "");
	else
		snprintf(v->text, sizeof(v->text), "%s\n  exit status %d",
			 v->at < h->n ? h->ops[v->at]->line : "at the end",
			 WEXITSTATUS(status));
}

/* -------------------------------------------------------------------- reduce
 */

struct reduction {
	const struct optset *set;
	unsigned runs;  /* that are left */
	unsigned again; /* runs before a history is taken for good */
};

/* Nothing of it is owned. */
static bool fails(struct reduction *r, const struct history *h,
		  struct verdict *v)
{
	bool failed = false;
	struct expected e;

	expected_init(&e, h, NULL);
	for (unsigned i = 0; i < r->again && r->runs && !failed; i++) {
		struct verdict got = { 0 };

		r->runs--;
		run_history(h, &e, r->set, &got);
		failed = got.failed;
		if (failed)
			*v = got;
	}
	expected_fini(&e);
	return failed;
}

/* How often it must be run to see it fail: threads may have a hand in it. */
static unsigned runs_needed(const struct history *h, const struct optset *set)
{
	struct reduction r = { .set = set };
	unsigned failed = 0;
	struct verdict v;

	for (unsigned i = 0; i < AGAIN_TRIES; i++) {
		r.runs = r.again = 1;
		failed += fails(&r, h, &v);
	}
	if (!failed)
		return 0;
	return failed == AGAIN_TRIES ? 1 : 2 * AGAIN_TRIES / failed;
}

static void without(const struct history *h, size_t from, size_t to,
		    struct history *out)
{
	out->merge = h->merge;
	out->n = 0;
	for (size_t i = 0; i < h->n; i++)
		if (i < from || i >= to)
			history_add(out, h->ops[i]);
}

/* Drop what is in [from, to) and is not in the smaller one. */
static void take(struct history *h, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++)
		op_free(h->ops[i]);
	memmove(h->ops + from, h->ops + to, (h->n - to) * sizeof(*h->ops));
	h->n -= to - from;
}

void reduce(struct history *h, const struct optset *set, struct verdict *v)
{
	struct reduction r = { .set = set, .runs = REDUCE_TRIES };
	struct history smaller = { 0 };

	/* What comes after the failure has no part in it. */
	if (v->at + 1 < h->n)
		take(h, v->at + 1, h->n);
	r.again = runs_needed(h, set);
	for (size_t chunk = h->n / 2; r.again && chunk; chunk /= 2) {
		size_t from = 0;

		while (from < h->n && r.runs) {
			size_t to = from + chunk < h->n ? from + chunk : h->n;

			without(h, from, to, &smaller);
			if (fails(&r, &smaller, v))
				take(h, from, to);
			else
				from = to;
		}
	}
	free(smaller.ops);
}
