/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A latency histogram with log-linear buckets: 8 per power of two, so a
 * percentile is within 12.5 % of the truth. Recording is one relaxed atomic
 * add and may be done by any number of threads.
 */
#ifndef CAIRN_BASE_HIST_H
#define CAIRN_BASE_HIST_H

#include <stdatomic.h>
#include <stdint.h>

#include "engine/cairn.h"

#define HIST_BUCKETS 512

struct hist {
	_Atomic uint64_t bucket[HIST_BUCKETS];
	_Atomic uint64_t sum;
	_Atomic uint64_t max;
};

/* All zero is an empty histogram. */
void hist_add(struct hist *h, uint64_t value);

/*
 * Percentiles of what has been recorded. values are in units of 1/scale
 * microseconds: scale 1000 when nanoseconds were recorded.
 */
void hist_summary(const struct hist *h, uint64_t scale,
		  struct cairn_latency *out);

#endif
