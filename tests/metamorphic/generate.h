/* SPDX-License-Identifier: BSD-3-Clause */
/* Histories from a seed. */
#ifndef CAIRN_TESTS_METAMORPHIC_GENERATE_H
#define CAIRN_TESTS_METAMORPHIC_GENERATE_H

#include "tests/metamorphic/history.h"

/* n operations of every kind, drawn with an eye on what a model of the store
 * has by then: so that most of what is asked for is there. */
void generate(uint64_t seed, size_t n, struct history *out);

#endif
