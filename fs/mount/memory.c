/* SPDX-License-Identifier: BSD-3-Clause */
#include "fs/mount/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define WRITE_BUFFERS 3u
#define LINE_MAX_LEN  4096

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t most(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* The number in a file; UINT64_MAX for "max", or when there is none. */
static uint64_t read_limit(const char *path)
{
	unsigned long long v;
	FILE *f = fopen(path, "re");
	int n;

	if (!f)
		return UINT64_MAX;
	n = fscanf(f, "%llu", &v);
	fclose(f);
	return n == 1 ? v : UINT64_MAX;
}

/* The least limit of a group and those it is in. group begins with '/'. */
static uint64_t limit_upwards(const char *top, char *group, const char *file)
{
	char path[LINE_MAX_LEN + 128];
	uint64_t limit = UINT64_MAX;

	for (;;) {
		char *slash;

		snprintf(path, sizeof(path), "%s%s/%s", top, group, file);
		limit = least(limit, read_limit(path));
		slash = strrchr(group, '/');
		if (!slash)
			return limit;
		*slash = '\0';
	}
}

/* Lines "0::/group" (version 2) and "7:cpu,memory:/group" (version 1). */
static uint64_t group_limit(void)
{
	FILE *f = fopen("/proc/self/cgroup", "re");
	char line[LINE_MAX_LEN];
	uint64_t limit = UINT64_MAX;

	if (!f)
		return limit;
	while (fgets(line, sizeof(line), f)) {
		char *names = strchr(line, ':');
		char *group = names ? strchr(names + 1, ':') : NULL;

		if (!group)
			continue;
		*group++ = '\0';
		group[strcspn(group, "\n")] = '\0';
		names++;
		if (!*names)
			limit = least(limit,
				      limit_upwards("/sys/fs/cgroup", group,
						    "memory.max"));
		else if (strstr(names, "memory"))
			limit = least(limit,
				      limit_upwards("/sys/fs/cgroup/memory",
						    group,
						    "memory.limit_in_bytes"));
	}
	fclose(f);
	return limit;
}

uint64_t memory_allowed(void)
{
	long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
	uint64_t allowed = group_limit();
	struct rlimit rl;

	if (pages > 0 && size > 0)
		allowed = least(allowed, (uint64_t)pages * (uint64_t)size);
	if (!getrlimit(RLIMIT_AS, &rl) && rl.rlim_cur != RLIM_INFINITY)
		allowed = least(allowed, rl.rlim_cur);
	return allowed;
}

static uint64_t within(uint64_t v, uint64_t min, uint64_t max)
{
	return v < min ? min : v > max ? max : v;
}

struct memory_split memory_split(uint64_t total)
{
	struct memory_split s = { .write_buffers = WRITE_BUFFERS };
	/* For the gaps of the heap, and for requests and compactions under
	 * way, which need the same some MiB under any budget. */
	uint64_t rest = most(total / 16, least(total / 4, 16u << 20));

	s.write_buffer = within(total / 16, 512u << 10, 64u << 20);
	s.row_cache = within(total / 32, 256u << 10, 16u << 20);
	s.dirty = within(total / 32, 1u << 20, 16u << 20);
	s.whole = within(total / 16, 1u << 20, 1u << 30);
	s.block_cache =
		total - rest - s.row_cache - WRITE_BUFFERS * s.write_buffer;
	return s;
}
