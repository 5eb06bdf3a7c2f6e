/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Replay what a real etcd was asked and answered:
 *
 *   etcd_replay [--flush-every N] [--compact-every N] [--reopen-every N]
 *               [--seed N] TRACE...
 *
 * Each trace begins with an empty store, in memory, and every answer must be
 * the recorded one. Between any two operations the store is flushed, compacted
 * by hand, or opened anew (every other time as after a kill), once in N times
 * on average, as the seed has it. Files of this format (see
 * tests/data/golden-etcd/README.md) from other recordings work as well.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/mvcc/etcd_player.h"

struct settings {
	uint64_t flush_every; /* 0: never */
	uint64_t compact_every;
	uint64_t reopen_every;
	uint64_t seed;
};

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static bool now_and_then(uint64_t *state, uint64_t every)
{
	return every && next_random(state) % every == 0;
}

static void disturb(struct player *p, const struct settings *s, uint64_t *state)
{
	if (now_and_then(state, s->flush_every))
		player_flush(p);
	if (now_and_then(state, s->compact_every))
		player_compact(p);
	if (now_and_then(state, s->reopen_every))
		player_reopen(p, next_random(state) & 1);
}

static void differ(const char *path, size_t line, const char *text,
		   const json_t *got, const json_t *want,
		   const struct settings *s)
{
	char *g = json_dumps(got, JSON_COMPACT | JSON_SORT_KEYS);
	char *w = json_dumps(want, JSON_COMPACT | JSON_SORT_KEYS);

	fprintf(stderr,
		"%s:%zu: another answer than etcd's\n"
		"  asked %s"
		"  etcd  %s\n"
		"  cairn %s\n",
		path, line, text, w ? w : "?", g ? g : "?");
	trace_die("--flush-every %llu --compact-every %llu --reopen-every %llu "
		  "--seed %llu",
		  (unsigned long long)s->flush_every,
		  (unsigned long long)s->compact_every,
		  (unsigned long long)s->reopen_every,
		  (unsigned long long)s->seed);
}

static void play_line(struct player *p, const char *path, size_t line,
		      const char *text, const struct settings *s,
		      uint64_t *state)
{
	json_error_t e;
	json_t *root = json_loads(text, 0, &e);
	json_t *want, *got;

	if (!root)
		trace_die("%s:%zu: %s", path, line, e.text);
	if (strcmp(trace_text(root, "op"), "meta") == 0) {
		if (line != 1 || trace_number(root, "format") != 1)
			trace_die("%s: not a trace of format 1", path);
		json_decref(root);
		return;
	}
	if (line == 1)
		trace_die("%s: not a trace: no meta line", path);
	want = json_object_get(root, "a");
	got = player_do(p, trace_text(root, "op"), json_object_get(root, "q"));
	trace_normalise(want);
	trace_normalise(got);
	if (!json_equal(got, want))
		differ(path, line, text, got, want, s);
	json_decref(got);
	json_decref(root);
	disturb(p, s, state);
}

static size_t play(const char *path, const struct settings *s)
{
	uint64_t state = (s->seed + 1) * UINT64_C(0x9e3779b97f4a7c15) | 1;
	FILE *f = fopen(path, "r");
	struct player p;
	char *text = NULL;
	size_t cap = 0, line = 0;

	if (!f)
		trace_die("%s: %s", path, strerror(errno));
	player_init(&p);
	while (getline(&text, &cap, f) > 0)
		play_line(&p, path, ++line, text, s, &state);
	if (ferror(f))
		trace_die("%s: %s", path, strerror(errno));
	if (line < 2)
		trace_die("%s: no operations", path);
	player_fini(&p);
	free(text);
	fclose(f);
	return line - 1;
}

static uint64_t number_arg(const char *text)
{
	char *end;
	unsigned long long v;

	errno = 0;
	v = strtoull(text, &end, 10);
	if (errno || end == text || *end)
		trace_die("%s is no number", text);
	return v;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "flush-every", required_argument, NULL, 'f' },
		{ "compact-every", required_argument, NULL, 'c' },
		{ "reopen-every", required_argument, NULL, 'r' },
		{ "seed", required_argument, NULL, 's' },
		{ 0 },
	};
	struct settings s = { 0 };
	size_t ops = 0;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'f')
			s.flush_every = number_arg(optarg);
		else if (c == 'c')
			s.compact_every = number_arg(optarg);
		else if (c == 'r')
			s.reopen_every = number_arg(optarg);
		else if (c == 's')
			s.seed = number_arg(optarg);
		else
			return 2;
	}
	if (optind == argc) {
		fprintf(stderr,
			"usage: %s [--flush-every N] [--compact-every N]"
			" [--reopen-every N] [--seed N] TRACE...\n",
			argv[0]);
		return 2;
	}
	for (int i = optind; i < argc; i++)
		ops += play(argv[i], &s);
	printf("%zu answers of %d traces are etcd's\n", ops, argc - optind);
	return 0;
}
