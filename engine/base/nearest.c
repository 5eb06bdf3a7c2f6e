/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/base/nearest.h"

#include <string.h>

#define NAME_MAX_LEN 64
#define DISTANCE_MAX 2

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
	unsigned m = a < b ? a : b;

	return m < c ? m : c;
}

/* Optimal string alignment distance; names over NAME_MAX_LEN are far away. */
static unsigned distance(const char *a, const char *b)
{
	unsigned d[3][NAME_MAX_LEN + 1];
	size_t n = strlen(a), m = strlen(b);

	if (n > NAME_MAX_LEN || m > NAME_MAX_LEN)
		return NAME_MAX_LEN;
	for (size_t j = 0; j <= m; j++)
		d[0][j] = (unsigned)j;
	for (size_t i = 1; i <= n; i++) {
		unsigned *now = d[i % 3], *up = d[(i - 1) % 3];
		const unsigned *up2 = d[(i + 1) % 3];

		now[0] = (unsigned)i;
		for (size_t j = 1; j <= m; j++) {
			now[j] = min3(up[j] + 1, now[j - 1] + 1,
				      up[j - 1] + (a[i - 1] != b[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] &&
			    a[i - 2] == b[j - 1] && up2[j - 2] + 1 < now[j])
				now[j] = up2[j - 2] + 1;
		}
	}
	return d[n % 3][m];
}

void nearest_consider(const char *name, const char *candidate,
		      const char **best)
{
	unsigned d = distance(name, candidate);

	if (d > DISTANCE_MAX || 2 * d >= strlen(candidate))
		return;
	if (!*best || d < distance(name, *best))
		*best = candidate;
}
