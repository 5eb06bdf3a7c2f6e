/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A store that a history is run on, under one set of options: over a file
 * system in memory that can lose power and fail, or over real files.
 *
 * A call that fails because a file operation was made to is repeated, after
 * the store was told to go on, until it succeeds; what it says then must be
 * what it would have said without.
 */
#ifndef CAIRN_TESTS_METAMORPHIC_SUBJECT_H
#define CAIRN_TESTS_METAMORPHIC_SUBJECT_H

#include "tests/metamorphic/history.h"
#include "tests/metamorphic/optset.h"

struct subject;

/* Over an empty directory. merge is the history's operator. */
struct subject *subject_new(const struct optset *set, const char *merge);

/* What op says into out. Operations that the model skips are not run. */
void subject_run(struct subject *s, const struct op *op, struct buf *out);

/* Close, and check what is on the disk: what is wrong into out. */
void subject_free(struct subject *s, struct buf *out);

#endif
