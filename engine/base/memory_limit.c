/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/base/memory_limit.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define LINE_MAX_LEN 4096
#define PATH_MAX_LEN (2 * LINE_MAX_LEN)

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
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
static uint64_t limit_upwards(const char *top, const char *group,
			      const char *file)
{
	char path[PATH_MAX_LEN], at[LINE_MAX_LEN];
	uint64_t limit = UINT64_MAX;
	char *slash;

	snprintf(at, sizeof(at), "%s", group);
	for (;;) {
		int n = snprintf(path, sizeof(path), "%s%s/%s", top, at, file);

		if (n > 0 && (size_t)n < sizeof(path))
			limit = least(limit, read_limit(path));
		slash = strrchr(at, '/');
		if (!slash)
			return limit;
		*slash = '\0';
	}
}

/* Whether a list like "cpu,memory" has the word memory. */
static bool has_memory(const char *names)
{
	static const char word[] = "memory";
	size_t len;

	for (; *names; names += len + (names[len] == ',')) {
		len = strcspn(names, ",");
		if (len == sizeof(word) - 1 && memcmp(names, word, len) == 0)
			return true;
	}
	return false;
}

static uint64_t limit_of(const char *root, const char *names, const char *group)
{
	char top[LINE_MAX_LEN];

	if (*names) {
		if (!has_memory(names))
			return UINT64_MAX;
		snprintf(top, sizeof(top), "%s/sys/fs/cgroup/memory", root);
		return limit_upwards(top, group, "memory.limit_in_bytes");
	}
	snprintf(top, sizeof(top), "%s/sys/fs/cgroup", root);
	return least(limit_upwards(top, group, "memory.max"),
		     limit_upwards(top, group, "memory.high"));
}

/* Lines "0::/group" (version 2) and "7:cpu,memory:/group" (version 1). */
uint64_t memory_limit_of_groups(const char *root)
{
	char path[LINE_MAX_LEN], line[LINE_MAX_LEN];
	uint64_t limit = UINT64_MAX;
	FILE *f;

	snprintf(path, sizeof(path), "%s/proc/self/cgroup", root);
	f = fopen(path, "re");
	if (!f)
		return limit;
	while (fgets(line, sizeof(line), f)) {
		char *names = strchr(line, ':');
		char *group = names ? strchr(names + 1, ':') : NULL;

		if (!group)
			continue;
		*group++ = '\0';
		group[strcspn(group, "\n")] = '\0';
		limit = least(limit, limit_of(root, names + 1, group));
	}
	fclose(f);
	return limit;
}

uint64_t memory_limit(void)
{
	long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
	uint64_t limit = memory_limit_of_groups("");
	struct rlimit rl;

	if (pages > 0 && size > 0)
		limit = least(limit, (uint64_t)pages * (uint64_t)size);
	if (!getrlimit(RLIMIT_AS, &rl) && rl.rlim_cur != RLIM_INFINITY)
		limit = least(limit, rl.rlim_cur);
	return limit;
}
