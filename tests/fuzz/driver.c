/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * main() of a fuzz target where there is no libFuzzer:
 *
 *   fuzz_X [-runs=N] [-seconds=S] [-seed=N] FILE|DIRECTORY...
 *
 * Runs each file, then N variations of files chosen at random, for at most S
 * seconds (0: no limit). The same seed gives the same variations.
 */
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/rng.h"
#include "tests/fuzz/fuzz.h"

#define INPUT_LEN_MAX ((size_t)1 << 20)
#define SECONDS_EACH  10 /* what takes longer hangs */

struct input {
	uint8_t *data;
	size_t len;
};

static struct input *inputs;
static size_t n_inputs;

static void fail(const char *what)
{
	perror(what);
	exit(EXIT_FAILURE);
}

static void *need(void *p)
{
	if (!p)
		fail("malloc");
	return p;
}

static void add_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	struct input in = { .data = need(malloc(INPUT_LEN_MAX)) };

	if (!f)
		fail(path);
	in.len = fread(in.data, 1, INPUT_LEN_MAX, f);
	if (ferror(f))
		fail(path);
	fclose(f);
	in.data = need(realloc(in.data, in.len ? in.len : 1));
	inputs = need(realloc(inputs, (n_inputs + 1) * sizeof(*inputs)));
	inputs[n_inputs++] = in;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static void add(const char *path)
{
	struct dirent **list;
	struct stat st;
	int n;

	if (stat(path, &st))
		fail(path);
	if (!S_ISDIR(st.st_mode)) {
		add_file(path);
		return;
	}
	n = scandir(path, &list, NULL, by_name);
	if (n < 0)
		fail(path);
	for (int i = 0; i < n; i++) {
		char file[4096];

		if (list[i]->d_name[0] != '.') {
			snprintf(file, sizeof(file), "%s/%s", path,
				 list[i]->d_name);
			add_file(file);
		}
		free(list[i]);
	}
	free(list);
}

/* In memory of exactly its length, so that sanitizers see the end of it. */
static void run(const uint8_t *data, size_t len)
{
	uint8_t *exact = need(malloc(len ? len : 1));

	memcpy(exact, data, len);
	alarm(SECONDS_EACH);
	LLVMFuzzerTestOneInput(exact, len);
	alarm(0);
	free(exact);
}

/* Numbers that decoders like least. */
static uint32_t odd_number(struct rng *r)
{
	static const uint32_t numbers[] = {
		0,       1,          2,           0x7f,        0x80,
		0xff,    0x100,      0x7fff,      0x8000,      0xffff,
		0x10000, 0x7fffffff, 0x80000000u, 0xffffffffu, 0xfffffff0u,
	};

	return numbers[rng_below(r, sizeof(numbers) / sizeof(*numbers))];
}

/* One change to the *len bytes at p, which has room for INPUT_LEN_MAX. */
static void change(struct rng *r, uint8_t *p, size_t *len)
{
	const struct input *other = &inputs[rng_below(r, n_inputs)];
	size_t at = *len ? rng_below(r, *len) : 0;
	size_t n = 1 + rng_below(r, 16);
	uint32_t number;

	if (n > *len - at)
		n = *len - at;
	switch (rng_below(r, 7)) {
	case 0:
		if (*len)
			p[at] ^= (uint8_t)(1u << rng_below(r, 8));
		break;
	case 1:
		if (*len)
			p[at] = (uint8_t)rng_next(r);
		break;
	case 2:
		number = odd_number(r);
		memcpy(p + at, &number, n < 4 ? n : 4);
		break;
	case 3: /* cut out */
		memmove(p + at, p + at + n, *len - at - n);
		*len -= n;
		break;
	case 4: /* repeat */
		if (*len + n > INPUT_LEN_MAX)
			break;
		memmove(p + at + n, p + at, *len - at);
		*len += n;
		break;
	case 5:
		*len = at;
		break;
	default: /* go on as another one does */
		if (at < other->len) {
			memcpy(p + at, other->data + at, other->len - at);
			*len = other->len;
		}
		break;
	}
}

static unsigned long long vary(struct rng *r, unsigned long long runs,
			       time_t seconds)
{
	uint8_t *p = need(malloc(INPUT_LEN_MAX));
	time_t end = time(NULL) + seconds;
	unsigned long long n = 0;

	for (; n < runs; n++) {
		const struct input *in = &inputs[rng_below(r, n_inputs)];
		size_t changes = 1 + rng_below(r, 4);
		size_t len = in->len;

		if (seconds && n % 64 == 0 && time(NULL) >= end)
			break;
		memcpy(p, in->data, len);
		while (changes-- > 0)
			change(r, p, &len);
		run(p, len);
	}
	free(p);
	return n;
}

int main(int argc, char **argv)
{
	unsigned long long runs = 0, seed = 1;
	unsigned long seconds = 0;
	struct rng r;

	for (int i = 1; i < argc; i++) {
		if (sscanf(argv[i], "-runs=%llu", &runs) == 1 ||
		    sscanf(argv[i], "-seed=%llu", &seed) == 1 ||
		    sscanf(argv[i], "-seconds=%lu", &seconds) == 1)
			continue;
		if (argv[i][0] == '-') {
			fprintf(stderr, "%s: no option %s\n", argv[0], argv[i]);
			return 2;
		}
		add(argv[i]);
	}
	if (!n_inputs) {
		fprintf(stderr, "%s: no inputs given\n", argv[0]);
		return 2;
	}
	for (size_t i = 0; i < n_inputs; i++)
		run(inputs[i].data, inputs[i].len);
	rng_init(&r, seed);
	runs = vary(&r, runs, (time_t)seconds);
	printf("%s: %zu inputs, %llu variations\n", argv[0], n_inputs, runs);
	for (size_t i = 0; i < n_inputs; i++)
		free(inputs[i].data);
	free(inputs);
	return 0;
}
