/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One history of operations under many options, with and without reopening,
 * upkeep, power cuts and failing files in between, must always say the same;
 * and what a model says that knows nothing of all that.
 *
 *     metamorphic [--seed N] [--ops N] [--histories N] [--options NAME,...]
 *                 [--each N] [--random N] [--minutes N]
 *     metamorphic --print --seed N --ops N
 *     metamorphic --run FILE [--options NAME,...] [--say]
 *     metamorphic --list
 *
 * Without arguments first the histories in cases/, which failed once.
 *
 * History i of a run is that of seed + i. --each N runs it under N of the
 * named sets, others each time (0: all of them), --random under as many that
 * nobody named. What fails is reduced and written to a file, and the command
 * that shows it again is printed.
 */
#include <glob.h>
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#include "tests/compat/die.h"
#include "tests/metamorphic/generate.h"
#include "tests/metamorphic/reduce.h"

/* In make check: some histories, each under some sets. */
#define HISTORIES_DEFAULT 6
#define OPS_DEFAULT       1000
#define EACH_DEFAULT      3
#define RANDOM_DEFAULT    1

/* Of 100 reads so many must find something: or nothing is tested. */
#define HITS_MIN 40
/* Of 100 operations no more may have nothing to do. */
#define SKIPPED_MAX 20

#define SETS_MAX 128
/* From one set to the next where not all are run: neighbours are alike. No
 * divisor of their number. */
#define SETS_STRIDE 7

struct campaign {
	uint64_t seed;
	uint64_t n_ops;
	uint64_t n_histories;
	uint64_t each;
	uint64_t n_random;
	uint64_t minutes;  /* 0: by number */
	const char *names; /* of sets; NULL: all */
	const char *file;
	bool print;
	bool say;

	struct optset sets[SETS_MAX];
	size_t n_sets;
	size_t next_set;
	time_t end;

	struct model stats; /* only its counts */
	uint64_t histories;
	uint64_t runs;
	uint64_t executions; /* of operations */
	uint64_t failures;
};

/* ---------------------------------------------------------------- failures */

static void report(struct campaign *c, const struct optset *set,
		   const struct verdict *v, const char *file)
{
	c->failures++;
	printf("FAILED under %s (%s): operation %zu\n%s\n", set->name,
	       set->settings, v->at, v->text);
	printf("to see it again: tests/metamorphic/metamorphic --run %s "
	       "--options %s\n",
	       file, set->name);
	fflush(stdout);
}

/* h is the caller's no more. */
static void reduce_and_report(struct campaign *c, struct history *h,
			      const struct optset *set, struct verdict *v,
			      uint64_t seed)
{
	size_t before = h->n;
	char path[128];
	FILE *f;

	printf("history of seed %" PRIu64 " fails under %s: %s\n", seed,
	       set->name, v->text);
	printf("made again by: tests/metamorphic/metamorphic --seed %" PRIu64
	       " --ops %zu --options %s\n",
	       seed, before, set->name);
	fflush(stdout);
	reduce(h, set, v);
	snprintf(path, sizeof(path), "metamorphic-%" PRIu64 "-%s.ops", seed,
		 set->name);
	f = fopen(path, "w");
	if (!f)
		die("%s cannot be written", path);
	history_print(h, f);
	if (fclose(f))
		die("%s cannot be written", path);
	printf("reduced from %zu to %zu operations\n", before, h->n);
	report(c, set, v, path);
}

/* ------------------------------------------------------------------ running */

static void run_one(struct campaign *c, const struct history *h,
		    const struct expected *e, struct optset *set, uint64_t seed)
{
	struct verdict v = { 0 };
	struct history again;

	set->say = c->say;
	run_history(h, e, set, &v);
	set->say = false;
	c->runs++;
	c->executions += v.failed ? v.at : h->n;
	if (!v.failed)
		return;
	if (c->file) {
		report(c, set, &v, c->file);
		return;
	}
	generate(seed, h->n, &again);
	reduce_and_report(c, &again, set, &v, seed);
	history_fini(&again);
}

static bool is_over(const struct campaign *c)
{
	return c->minutes && time(NULL) >= c->end;
}

static void run_all_sets(struct campaign *c, const struct history *h,
			 uint64_t seed)
{
	size_t n = c->each && c->each < c->n_sets ? (size_t)c->each : c->n_sets;
	struct expected e;
	struct optset set;

	expected_init(&e, h, &c->stats);
	c->histories++;
	for (size_t i = 0; i < n && !is_over(c); i++) {
		run_one(c, h, &e, &c->sets[c->next_set % c->n_sets], seed);
		c->next_set += n < c->n_sets ? SETS_STRIDE : 1;
	}
	for (uint64_t i = 0; i < c->n_random && !is_over(c); i++) {
		optset_random(seed * 1000 + i, &set);
		run_one(c, h, &e, &set, seed);
	}
	expected_fini(&e);
}

static bool goes_on(const struct campaign *c)
{
	return c->minutes ? !is_over(c) : c->histories < c->n_histories;
}

static void run_campaign(struct campaign *c)
{
	c->end = time(NULL) + (time_t)c->minutes * 60;
	while (goes_on(c)) {
		uint64_t seed = c->seed + c->histories;
		struct history h;

		generate(seed, (size_t)c->n_ops, &h);
		run_all_sets(c, &h, seed);
		history_fini(&h);
	}
}

/* ----------------------------------------------------- is anything tested? */

static uint64_t total_done(const struct model *stats, unsigned *kinds)
{
	uint64_t total = 0;

	*kinds = 0;
	for (int k = 0; k < N_OP_KINDS; k++) {
		total += stats->done[k];
		*kinds += stats->done[k] > 0;
	}
	return total;
}

/* A generator whose reads find nothing would hide almost any bug. */
static void check_generator(struct campaign *c)
{
	const struct model *s = &c->stats;
	unsigned kinds;
	uint64_t done = total_done(s, &kinds);

	if (c->file || done + s->skipped < 3000)
		return;
	if (s->hits * 100 < s->lookups * HITS_MIN ||
	    s->skipped * 100 > (done + s->skipped) * SKIPPED_MAX) {
		printf("FAILED: the generator's histories test too little\n");
		c->failures++;
	}
	for (int k = 0; k < N_OP_KINDS && done > 5000; k++)
		if (!s->done[k]) {
			printf("FAILED: the generator made no %s that counts\n",
			       op_infos[k].name);
			c->failures++;
		}
}

static void print_counts(const struct campaign *c)
{
	const struct model *s = &c->stats;
	unsigned kinds;
	uint64_t done = total_done(s, &kinds);

	printf("metamorphic: seed %" PRIu64 ", %" PRIu64 " histories, %" PRIu64
	       " runs, %" PRIu64
	       " operations executed; %u of %d kinds, %" PRIu64
	       " %% of reads found something, %" PRIu64
	       " %% of operations had nothing to do; %" PRIu64 " failures\n",
	       c->seed, c->histories, c->runs, c->executions, kinds, N_OP_KINDS,
	       s->lookups ? s->hits * 100 / s->lookups : 0,
	       s->skipped * 100 / (done + s->skipped + 1), c->failures);
}

/* ---------------------------------------------------------------- arguments */

static uint64_t number(const char *text, const char *what)
{
	char *end;
	uint64_t n = strtoull(text, &end, 10);

	if (!*text || *end || *text == '-')
		die("%s: \"%s\" is no number", what, text);
	return n;
}

static void list(void)
{
	struct optset set;

	printf("%d kinds of operations:", N_OP_KINDS);
	for (int k = 0; k < N_OP_KINDS; k++)
		printf(" %s", op_infos[k].name);
	printf("\n%zu sets of options, and random-N for any N:\n",
	       optset_count());
	for (size_t i = 0; i < optset_count(); i++) {
		optset_at(i, &set);
		printf("  %-20s %s\n", set.name, set.settings);
	}
}

/* names: NULL: all. */
static void choose_sets(struct campaign *c, const char *names)
{
	char text[2048], *save, *name;

	c->n_sets = 0;
	c->next_set = 0;
	if (!names) {
		while (c->n_sets < optset_count() && c->n_sets < SETS_MAX) {
			optset_at(c->n_sets, &c->sets[c->n_sets]);
			c->n_sets++;
		}
		return;
	}
	snprintf(text, sizeof(text), "%s", names);
	for (name = strtok_r(text, ",", &save); name && c->n_sets < SETS_MAX;
	     name = strtok_r(NULL, ",", &save))
		if (!optset_find(name, &c->sets[c->n_sets++]))
			die("no set of options \"%s\"; --list shows them",
			    name);
	if (!c->n_sets)
		die("--options names none");
}

/* Under the sets that were named, or those that it names itself. */
static void run_file(struct campaign *c, const char *path)
{
	struct campaign alone = { .file = path, .say = c->say };
	struct history h = { 0 };

	history_read(&h, path);
	choose_sets(&alone, c->names ? c->names : h.sets);
	run_all_sets(&alone, &h, 0);
	c->runs += alone.runs;
	c->executions += alone.executions;
	c->failures += alone.failures;
	history_fini(&h);
}

/* The histories that failed once. */
static void run_cases(struct campaign *c)
{
	const char *srcdir = getenv("srcdir");
	char pattern[4096];
	glob_t found;

	snprintf(pattern, sizeof(pattern), "%s/tests/metamorphic/cases/*.ops",
		 srcdir ? srcdir : ".");
	if (glob(pattern, 0, NULL, &found))
		return;
	for (size_t i = 0; i < found.gl_pathc; i++)
		run_file(c, found.gl_pathv[i]);
	globfree(&found);
}

static _Noreturn void usage(void)
{
	fputs("usage: metamorphic [--seed N] [--ops N] [--histories N] "
	      "[--options NAME,...]\n"
	      "                   [--each N] [--random N] [--minutes N]\n"
	      "       metamorphic --print [--seed N] [--ops N]\n"
	      "       metamorphic --run FILE [--options NAME,...] [--say]\n"
	      "       metamorphic --list\n",
	      stderr);
	exit(2);
}

/* What takes a number. */
static uint64_t *number_option(struct campaign *c, const char *name)
{
	const struct {
		const char *name;
		uint64_t *value;
	} options[] = {
		{ "--seed", &c->seed },
		{ "--ops", &c->n_ops },
		{ "--histories", &c->n_histories },
		{ "--each", &c->each },
		{ "--random", &c->n_random },
		{ "--minutes", &c->minutes },
	};

	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		if (strcmp(options[i].name, name) == 0)
			return options[i].value;
	return NULL;
}

static void read_arguments(struct campaign *c, char **argv)
{
	while (*++argv) {
		uint64_t *value = number_option(c, *argv);

		if (strcmp(*argv, "--list") == 0) {
			list();
			exit(EXIT_SUCCESS);
		} else if (strcmp(*argv, "--print") == 0) {
			c->print = true;
		} else if (strcmp(*argv, "--say") == 0) {
			c->say = true;
		} else if (!argv[1]) {
			usage();
		} else if (value) {
			*value = number(argv[1], *argv);
			argv++;
		} else if (strcmp(*argv, "--options") == 0) {
			c->names = *++argv;
			c->each = 0;
			c->n_random = 0;
		} else if (strcmp(*argv, "--run") == 0) {
			c->file = *++argv;
		} else {
			usage();
		}
	}
}

int main(int argc, char **argv)
{
	static struct campaign c = {
		.seed = 1,
		.n_ops = OPS_DEFAULT,
		.n_histories = HISTORIES_DEFAULT,
		.each = EACH_DEFAULT,
		.n_random = RANDOM_DEFAULT,
	};
	struct history h;

	read_arguments(&c, argv);
	if (c.print) {
		generate(c.seed, (size_t)c.n_ops, &h);
		history_print(&h, stdout);
		history_fini(&h);
		return EXIT_SUCCESS;
	}
	if (argc == 1)
		run_cases(&c);
	if (c.file) {
		run_file(&c, c.file);
	} else {
		choose_sets(&c, c.names);
		run_campaign(&c);
	}
	check_generator(&c);
	print_counts(&c);
	return c.failures ? EXIT_FAILURE : EXIT_SUCCESS;
}
