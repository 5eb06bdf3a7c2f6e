/* SPDX-License-Identifier: BSD-3-Clause */
/* The name a person probably meant, for messages about unknown names. */
#ifndef CAIRN_BASE_NEAREST_H
#define CAIRN_BASE_NEAREST_H

#include <stddef.h>

/*
 * Keep the candidate nearest to name in *best: start with *best NULL and call
 * once per candidate. Only candidates within two edits (insert, delete,
 * replace, swap of neighbours) and nearer than half their length count.
 */
void nearest_consider(const char *name, const char *candidate,
		      const char **best);

#endif
