/* SPDX-License-Identifier: BSD-3-Clause */
/* Running a history under a set of options, and making one that fails small. */
#ifndef CAIRN_TESTS_METAMORPHIC_REDUCE_H
#define CAIRN_TESTS_METAMORPHIC_REDUCE_H

#include "tests/metamorphic/model.h"
#include "tests/metamorphic/optset.h"

/* What the model says, one line per operation. */
struct expected {
	struct buf *lines; /* as many as operations */
	size_t n;
};

/* stats: added up; NULL: not wanted. */
void expected_init(struct expected *e, const struct history *h,
		   struct model *stats);
void expected_fini(struct expected *e);

#define VERDICT_LEN 4096

/* How a run ended. */
struct verdict {
	bool failed;
	size_t at;              /* the operation, counted from 0 */
	char text[VERDICT_LEN]; /* what was wrong, in lines */
};

/*
 * In a process of its own, so that what crashes or hangs is a verdict, too.
 * With set->say, what every operation says to stdout.
 */
void run_history(const struct history *h, const struct expected *e,
		 const struct optset *set, struct verdict *v);

/* Leave operations out of h while it fails; the verdict of what is left. */
void reduce(struct history *h, const struct optset *set, struct verdict *v);

#endif
