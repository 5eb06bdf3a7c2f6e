/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Runs the workloads on all engines in turns and compares. A round runs every
 * workload on every engine, beginning with another engine each time; what the
 * machine does meanwhile then hits all of them alike, and the median of the
 * rounds' ratios says more than any single figure.
 */
#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/bench/workload.h"

#define PEERS_MAX   8
#define THREADS_MAX 8
#define WORKS_MAX   64
#define ROUNDS_MAX  1000
#define PATH_LEN    4096

/* What a run tells, see report() in driver.c, and what follows from it. */
enum figure {
	OPS,
	SECONDS,
	IDLE_SECONDS,
	CPU_SECONDS,
	P50_US,
	P99_US,
	P999_US,
	MAX_US,
	PUT_BYTES,
	WRITTEN_BYTES,
	LIVE_BYTES,
	PEAK_KIB,
	/* From here on computed. */
	RATE,
	IDLE_RATE,
	CPU_US,
	WRITE_AMP,
	SPACE_AMP,
	N_FIGURES,
};

static const char *const figure_names[] = {
	"ops",       "seconds",       "idle_seconds", "cpu_seconds",
	"p50_us",    "p99_us",        "p999_us",      "max_us",
	"put_bytes", "written_bytes", "live_bytes",   "peak_kib",
};

struct result {
	double figure[N_FIGURES];
};

struct settings {
	const char *programs; /* folder of bench-PEER */
	const char *scratch;
	unsigned rounds;
	uint64_t records;
	uint64_t value;
	uint64_t write_buffer;
	uint64_t cache;
	uint64_t compactions;
	bool compress;

	const char *peer[PEERS_MAX];
	size_t n_peers;
	unsigned threads[THREADS_MAX];
	size_t n_threads;
	const struct bench_workload *work[WORKS_MAX];
	size_t n_works;
};

/* Results by round, then thread count, workload and peer. */
struct results {
	const struct settings *s;
	struct result *all;
};

static struct result *result_at(const struct results *r, size_t round,
				size_t threads, size_t work, size_t peer)
{
	const struct settings *s = r->s;

	return &r->all[((round * s->n_threads + threads) * s->n_works + work) *
			       s->n_peers +
		       peer];
}

__attribute__((noreturn)) static void die(const char *what, const char *name)
{
	fprintf(stderr, "bench-engine: %s: %s\n", name, what);
	exit(1);
}

/* ------------------------------------------------------------------ folders */

static void join(char path[PATH_LEN], const char *dir, const char *name)
{
	int n = snprintf(path, PATH_LEN, "%s/%s", dir, name);

	if (n < 0 || n >= PATH_LEN)
		die("path is too long", name);
}

/* Remove what an engine made: a folder of files, or folders of these. */
static void remove_store(const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *e;

	if (!d) {
		if (errno != ENOENT)
			die(strerror(errno), dir);
		return;
	}
	while ((e = readdir(d))) {
		char path[PATH_LEN];

		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		join(path, dir, e->d_name);
		if (unlink(path) == 0)
			continue;
		if (errno != EISDIR && errno != EPERM)
			die(strerror(errno), path);
		remove_store(path);
	}
	closedir(d);
	if (rmdir(dir))
		die(strerror(errno), dir);
}

static void store_path(const struct settings *s, const char *peer,
		       const struct bench_workload *w, char path[PATH_LEN])
{
	char name[128];

	snprintf(name, sizeof(name), "%s-%s", peer, w->store);
	join(path, s->scratch, name);
}

/* What a store takes on the disk. */
static double store_bytes(const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	double sum = 0;

	if (!d)
		return 0;
	while ((e = readdir(d))) {
		char path[PATH_LEN];
		struct stat st;

		join(path, dir, e->d_name);
		if (lstat(path, &st) == 0 && S_ISREG(st.st_mode))
			sum += (double)st.st_blocks * 512;
	}
	closedir(d);
	return sum;
}

static void make_dir(const char *dir)
{
	if (mkdir(dir, 0777) && errno != EEXIST)
		die(strerror(errno), dir);
}

/* ------------------------------------------------------------------- a run */

static bool parse_line(const char *line, struct result *out)
{
	char name[64];
	double v;

	if (sscanf(line, "%63s %lf", name, &v) != 2)
		return false;
	for (size_t i = 0; i < RATE; i++) {
		if (strcmp(name, figure_names[i]) == 0) {
			out->figure[i] = v;
			return true;
		}
	}
	return false;
}

static double ratio_of(double a, double b)
{
	return b > 0 ? a / b : 0;
}

static void compute(struct result *r, const char *dir)
{
	double *f = r->figure;

	f[RATE] = ratio_of(f[OPS], f[SECONDS]) / 1000;
	f[IDLE_RATE] = ratio_of(f[OPS], f[IDLE_SECONDS]) / 1000;
	f[CPU_US] = ratio_of(f[CPU_SECONDS] * 1e6, f[OPS]);
	f[WRITE_AMP] = ratio_of(f[WRITTEN_BYTES], f[PUT_BYTES]);
	f[SPACE_AMP] = ratio_of(store_bytes(dir), f[LIVE_BYTES]);
}

#define N_ARGUMENTS 13

static void start(const struct settings *s, const char *peer, const char *dir,
		  const struct bench_workload *w, unsigned threads,
		  unsigned round)
{
	char text[N_ARGUMENTS][PATH_LEN + 100];
	char *argv[N_ARGUMENTS + 1] = { NULL };
	int n = 0;

#define ARGUMENT(...) snprintf(text[n++], sizeof(text[0]), __VA_ARGS__)
	ARGUMENT("%s/bench-%s", s->programs, peer);
	ARGUMENT("workload=%s", w->name);
	ARGUMENT("dir=%s", dir);
	ARGUMENT("records=%" PRIu64, s->records);
	ARGUMENT("threads=%u", threads);
	ARGUMENT("seed=%u", 1000 * (round + 1));
	ARGUMENT("value=%" PRIu64, s->value);
	ARGUMENT("write_buffer=%" PRIu64, s->write_buffer);
	ARGUMENT("cache=%" PRIu64, s->cache);
	ARGUMENT("compress=%d", s->compress);
	ARGUMENT("write_buffers=3");
	ARGUMENT("bloom_bits=10");
	ARGUMENT("compactions=%" PRIu64, s->compactions);
#undef ARGUMENT
	for (int i = 0; i < n; i++)
		argv[i] = text[i];
	execv(argv[0], argv);
	fprintf(stderr, "bench-engine: %s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

static void run(const struct settings *s, const char *peer,
		const struct bench_workload *w, unsigned threads,
		unsigned round, struct result *out)
{
	char dir[PATH_LEN], line[256];
	int ends[2], status;
	FILE *in;
	pid_t pid;

	store_path(s, peer, w, dir);
	if (!w->maker)
		remove_store(dir);
	if (pipe(ends))
		die(strerror(errno), "pipe");
	fflush(NULL);
	pid = fork();
	if (pid < 0)
		die(strerror(errno), "fork");
	if (pid == 0) {
		dup2(ends[1], STDOUT_FILENO);
		close(ends[0]);
		close(ends[1]);
		start(s, peer, dir, w, threads, round);
	}
	close(ends[1]);
	in = fdopen(ends[0], "r");
	if (!in)
		die(strerror(errno), "pipe");
	*out = (struct result){ 0 };
	while (fgets(line, sizeof(line), in))
		if (!parse_line(line, out))
			fputs(line, stderr);
	fclose(in);
	if (waitpid(pid, &status, 0) != pid || status != 0) {
		char what[128];

		snprintf(what, sizeof(what), "%s with %u threads failed",
			 w->name, threads);
		die(what, peer);
	}
	compute(out, dir);
}

/* ---------------------------------------------------------------- all runs */

static bool is_chosen(const struct settings *s, const char *name)
{
	for (size_t i = 0; i < s->n_works; i++)
		if (strcmp(s->work[i]->name, name) == 0)
			return true;
	return false;
}

static bool made_earlier(const struct settings *s, size_t work)
{
	for (size_t i = 0; i < work; i++)
		if (s->work[i]->maker &&
		    strcmp(s->work[i]->maker, s->work[work]->maker) == 0)
			return true;
	return is_chosen(s, s->work[work]->maker);
}

static void run_round(const struct results *r, unsigned round)
{
	const struct settings *s = r->s;

	for (size_t t = 0; t < s->n_threads; t++) {
		for (size_t w = 0; w < s->n_works; w++) {
			const struct bench_workload *work = s->work[w];

			if (isatty(STDERR_FILENO))
				fprintf(stderr,
					"\rround %u of %u, %u threads: %-12s",
					round + 1, s->rounds, s->threads[t],
					work->name);
			for (size_t i = 0; i < s->n_peers; i++) {
				size_t p = (i + round + w) % s->n_peers;
				struct result ignored;

				if (work->maker && !made_earlier(s, w))
					run(s, s->peer[p],
					    bench_workload_find(work->maker), 1,
					    round, &ignored);
				run(s, s->peer[p], work, s->threads[t], round,
				    result_at(r, round, t, w, p));
			}
		}
	}
	for (size_t p = 0; p < s->n_peers; p++) {
		for (size_t w = 0; w < bench_n_workloads; w++) {
			char dir[PATH_LEN];

			store_path(s, s->peer[p], &bench_workloads[w], dir);
			remove_store(dir);
		}
	}
}

/* ------------------------------------------------------------------- report */

static int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

struct spread {
	double min, median, max;
};

static struct spread spread_of(double *v, size_t n)
{
	struct spread s;

	qsort(v, n, sizeof(*v), compare_doubles);
	s.min = v[0];
	s.max = v[n - 1];
	s.median = n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
	return s;
}

/* Of one figure over the rounds. */
static double median(const struct results *r, size_t t, size_t w, size_t p,
		     enum figure f)
{
	double v[ROUNDS_MAX];

	for (size_t i = 0; i < r->s->rounds; i++)
		v[i] = result_at(r, i, t, w, p)->figure[f];
	return spread_of(v, r->s->rounds).median;
}

/* The first engine's figure divided by that of engine p, round by round. */
static struct spread ratios(const struct results *r, size_t t, size_t w,
			    size_t p, enum figure f)
{
	double v[ROUNDS_MAX];

	for (size_t i = 0; i < r->s->rounds; i++)
		v[i] = ratio_of(result_at(r, i, t, w, 0)->figure[f],
				result_at(r, i, t, w, p)->figure[f]);
	return spread_of(v, r->s->rounds);
}

static void print_ratio(struct spread s)
{
	printf(" %5.2f [%5.2f %5.2f]", s.median, s.min, s.max);
}

static void print_peer(const struct results *r, size_t t, size_t w, size_t p)
{
	printf("%-8s %8.1f", r->s->peer[p], median(r, t, w, p, RATE));
	if (p)
		print_ratio(ratios(r, t, w, p, RATE));
	else
		printf(" %19s", "");
	printf(" %8.1f", median(r, t, w, p, IDLE_RATE));
	if (p)
		print_ratio(ratios(r, t, w, p, IDLE_RATE));
	else
		printf(" %19s", "");
	printf(" %8.2f %8.2f %8.1f %8.0f", median(r, t, w, p, P50_US),
	       median(r, t, w, p, P99_US), median(r, t, w, p, P999_US),
	       median(r, t, w, p, MAX_US));
	printf(" %6.2f %6.2f %7.2f %7.1f\n", median(r, t, w, p, WRITE_AMP),
	       median(r, t, w, p, SPACE_AMP), median(r, t, w, p, CPU_US),
	       median(r, t, w, p, PEAK_KIB) / 1024);
}

static void print_workload(const struct results *r, size_t t, size_t w)
{
	const struct settings *s = r->s;

	printf("\n%s: %s; %u thread%s, %.0f operations\n", s->work[w]->name,
	       s->work[w]->what, s->threads[t], s->threads[t] > 1 ? "s" : "",
	       median(r, t, w, 0, OPS));
	printf("%-8s %8s %-19s %8s %-19s %8s %8s %8s %8s %6s %6s %7s %7s\n", "",
	       "kops/s", " ratio [ min   max ]", "to idle",
	       " ratio [ min   max ]", "p50 us", "p99 us", "p99.9 us", "max us",
	       "w-amp", "s-amp", "cpu us", "peak MB");
	for (size_t p = 0; p < s->n_peers; p++)
		print_peer(r, t, w, p);
}

/* All ratios of medians' rounds at a glance. */
static void print_summary(const struct results *r)
{
	const struct settings *s = r->s;

	if (s->n_peers < 2)
		return;
	printf("\n%s divided by the others, median of %u rounds: foreground, "
	       "to idle, CPU per operation (less is better)\n%-14s",
	       s->peer[0], s->rounds, "");
	for (size_t p = 1; p < s->n_peers; p++)
		printf(" | %-20s", s->peer[p]);
	printf("\n");
	for (size_t t = 0; t < s->n_threads; t++) {
		for (size_t w = 0; w < s->n_works; w++) {
			printf("%-11s %2u", s->work[w]->name, s->threads[t]);
			for (size_t p = 1; p < s->n_peers; p++)
				printf(" | %6.2f %6.2f %6.2f",
				       ratios(r, t, w, p, RATE).median,
				       ratios(r, t, w, p, IDLE_RATE).median,
				       ratios(r, t, w, p, CPU_US).median);
			printf("\n");
		}
	}
}

static void print_all(const struct results *r)
{
	const struct settings *s = r->s;

	printf("%" PRIu64 " records, %d-byte keys, %" PRIu64
	       "-byte values, %s; budget: write buffers 3 x %" PRIu64
	       " MiB, block cache %" PRIu64
	       " MiB, 10 bloom bits per key, %" PRIu64
	       " compactions and a flush at once; %u rounds\n",
	       s->records, BENCH_KEY_LEN, s->value,
	       s->compress ? "snappy" : "no compression", s->write_buffer >> 20,
	       s->cache >> 20, s->compactions, s->rounds);
	printf("w-amp: bytes handed to the system per byte put; s-amp: bytes "
	       "on "
	       "the disk per byte of records;\npeak MB: resident memory, "
	       "LMDB's "
	       "with the mapped file\n");
	for (size_t t = 0; t < s->n_threads; t++)
		for (size_t w = 0; w < s->n_works; w++)
			print_workload(r, t, w);
	print_summary(r);
}

/* ---------------------------------------------------------------- arguments */

static void usage(FILE *f)
{
	fprintf(f,
		"usage: bench-engine --programs DIR --scratch DIR [options] "
		"[workload ...]\n"
		"\n"
		"  --rounds N         default 5\n"
		"  --keys N           records in a store, default 1000000\n"
		"  --value BYTES      default 100, at least 16\n"
		"  --threads LIST     client threads, default 1,2\n"
		"  --peers LIST       default cairn,rocksdb,leveldb,lmdb; the "
		"first is compared\n"
		"                     with the others\n"
		"  --write-buffer MB  default 32\n"
		"  --cache MB         block cache, default 256\n"
		"  --compactions N    background threads, default 2\n"
		"  --uncompressed     no snappy\n"
		"  --quick            3 rounds of 100000 records, one thread\n"
		"\n"
		"workloads, default all:\n");
	for (size_t i = 0; i < bench_n_workloads; i++)
		fprintf(f, "  %-12s %s\n", bench_workloads[i].name,
			bench_workloads[i].what);
}

__attribute__((noreturn)) static void bad(const char *name, const char *value)
{
	fprintf(stderr, "bench-engine: %s: %s (see --help)\n", name, value);
	exit(2);
}

static uint64_t parse_number(const char *name, const char *text, uint64_t min,
			     uint64_t max)
{
	char *end;
	unsigned long long v;

	errno = 0;
	v = strtoull(text, &end, 10);
	if (errno || *end || end == text || v < min || v > max)
		bad(name, text);
	return v;
}

static void parse_threads(struct settings *s, char *list)
{
	s->n_threads = 0;
	for (char *t = strtok(list, ","); t; t = strtok(NULL, ",")) {
		if (s->n_threads == THREADS_MAX)
			bad("--threads", "too many");
		s->threads[s->n_threads++] =
			(unsigned)parse_number("--threads", t, 1, 64);
	}
	if (!s->n_threads)
		bad("--threads", "none");
}

static void parse_peers(struct settings *s, char *list)
{
	s->n_peers = 0;
	for (char *p = strtok(list, ","); p; p = strtok(NULL, ",")) {
		if (s->n_peers == PEERS_MAX)
			bad("--peers", "too many");
		s->peer[s->n_peers++] = p;
	}
	if (!s->n_peers)
		bad("--peers", "none");
}

static void add_workload(struct settings *s, const char *name)
{
	const struct bench_workload *w = bench_workload_find(name);

	if (!w)
		bad("no workload of this name", name);
	if (s->n_works == WORKS_MAX)
		bad("too many workloads", name);
	s->work[s->n_works++] = w;
}

enum option_id {
	PROGRAMS = 256,
	SCRATCH,
	ROUNDS,
	KEYS,
	VALUE,
	THREADS,
	PEERS,
	WRITE_BUFFER,
	CACHE,
	COMPACTIONS,
	UNCOMPRESSED,
	QUICK,
	HELP,
};

static void parse_option(struct settings *s, int option, const char *name)
{
	switch ((enum option_id)option) {
	case PROGRAMS:
		s->programs = optarg;
		return;
	case SCRATCH:
		s->scratch = optarg;
		return;
	case ROUNDS:
		s->rounds = (unsigned)parse_number(name, optarg, 1, ROUNDS_MAX);
		return;
	case KEYS:
		s->records = parse_number(name, optarg, 1000, 100000000);
		return;
	case VALUE:
		s->value = parse_number(name, optarg, BENCH_VALUE_MIN, 1 << 20);
		return;
	case THREADS:
		parse_threads(s, optarg);
		return;
	case PEERS:
		parse_peers(s, optarg);
		return;
	case WRITE_BUFFER:
		s->write_buffer = parse_number(name, optarg, 1, 4096) << 20;
		return;
	case CACHE:
		s->cache = parse_number(name, optarg, 1, 1 << 20) << 20;
		return;
	case COMPACTIONS:
		s->compactions = parse_number(name, optarg, 1, 64);
		return;
	case UNCOMPRESSED:
		s->compress = false;
		return;
	case QUICK:
		s->rounds = 3;
		s->records = 100000;
		s->threads[0] = 1;
		s->n_threads = 1;
		return;
	case HELP:
		usage(stdout);
		exit(0);
	}
	exit(2); /* getopt said why */
}

static void parse(struct settings *s, int argc, char **argv)
{
	static const struct option options[] = {
		{ "programs", required_argument, NULL, PROGRAMS },
		{ "scratch", required_argument, NULL, SCRATCH },
		{ "rounds", required_argument, NULL, ROUNDS },
		{ "keys", required_argument, NULL, KEYS },
		{ "value", required_argument, NULL, VALUE },
		{ "threads", required_argument, NULL, THREADS },
		{ "peers", required_argument, NULL, PEERS },
		{ "write-buffer", required_argument, NULL, WRITE_BUFFER },
		{ "cache", required_argument, NULL, CACHE },
		{ "compactions", required_argument, NULL, COMPACTIONS },
		{ "uncompressed", no_argument, NULL, UNCOMPRESSED },
		{ "quick", no_argument, NULL, QUICK },
		{ "help", no_argument, NULL, HELP },
		{ 0 },
	};
	int c, index = 0;

	while ((c = getopt_long(argc, argv, "", options, &index)) != -1)
		parse_option(s, c, options[index].name);
	for (int i = optind; i < argc; i++)
		add_workload(s, argv[i]);
	if (!s->n_works)
		for (size_t i = 0; i < bench_n_workloads; i++)
			add_workload(s, bench_workloads[i].name);
	if (!s->programs || !s->scratch)
		bad("--programs and --scratch", "both are needed");
}

int main(int argc, char **argv)
{
	static char peers[] = "cairn,rocksdb,leveldb,lmdb";
	struct settings s = {
		.rounds = 5,
		.records = 1000000,
		.value = 100,
		.write_buffer = 32 << 20,
		.cache = 256 << 20,
		.compactions = 2,
		.compress = true,
		.threads = { 1, 2 },
		.n_threads = 2,
	};
	struct results r = { .s = &s };

	parse_peers(&s, peers);
	parse(&s, argc, argv);
	r.all = calloc(s.rounds * s.n_threads * s.n_works * s.n_peers,
		       sizeof(*r.all));
	if (!r.all)
		die("no memory", "results");
	make_dir(s.scratch);
	for (unsigned i = 0; i < s.rounds; i++)
		run_round(&r, i);
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r%60s\r", "");
	print_all(&r);
	free(r.all);
	return 0;
}
