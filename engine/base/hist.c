/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Values 0..7 have a bucket each. Above, the bucket is the position of the
 * highest bit and the three bits below it: 62 powers of two of 8 buckets.
 */
#include "engine/base/hist.h"

#include <assert.h>

#define SUB_BITS 3u
#define SUBS     (1u << SUB_BITS)

_Static_assert((64 - SUB_BITS + 1) * SUBS <= HIST_BUCKETS,
	       "every 64-bit value has a bucket");

static size_t bucket_of(uint64_t value)
{
	unsigned top;

	if (value < SUBS)
		return (size_t)value;
	top = 63u - (unsigned)__builtin_clzll(value);
	return (top - SUB_BITS + 1) * SUBS +
	       (size_t)(value >> (top - SUB_BITS) & (SUBS - 1));
}

/* The middle of a bucket. */
static double bucket_value(size_t bucket)
{
	size_t power = bucket / SUBS;
	uint64_t low, width;

	if (power == 0)
		return (double)bucket;
	width = 1ull << (power - 1);
	low = (SUBS + bucket % SUBS) * width;
	return (double)low + (double)(width - 1) / 2;
}

void hist_add(struct hist *h, uint64_t value)
{
	uint64_t max;

	/*
	 * Relaxed throughout: the counters order nothing, and a summary taken
	 * meanwhile may be short of the latest.
	 */
	atomic_fetch_add_explicit(&h->bucket[bucket_of(value)], 1,
				  memory_order_relaxed);
	atomic_fetch_add_explicit(&h->sum, value, memory_order_relaxed);
	max = atomic_load_explicit(&h->max, memory_order_relaxed);
	while (value > max &&
	       !atomic_compare_exchange_weak_explicit(&h->max, &max, value,
						      memory_order_relaxed,
						      memory_order_relaxed))
		;
}

/* The value that permille of 1000 recorded ones do not exceed. */
static double percentile(const uint64_t counts[HIST_BUCKETS], uint64_t total,
			 unsigned permille, uint64_t max)
{
	/* The rank, rounded up; split so that no product overflows. */
	uint64_t rank = total / 1000 * permille +
			(total % 1000 * permille + 999) / 1000;
	uint64_t seen = 0;

	for (size_t i = 0; i < HIST_BUCKETS; i++) {
		seen += counts[i];
		if (seen >= rank) {
			double v = bucket_value(i);

			return v < (double)max ? v : (double)max;
		}
	}
	return (double)max;
}

void hist_summary(const struct hist *h, uint64_t scale,
		  struct cairn_latency *out)
{
	uint64_t counts[HIST_BUCKETS];
	uint64_t total = 0, max;

	assert(scale > 0);
	for (size_t i = 0; i < HIST_BUCKETS; i++) {
		counts[i] = atomic_load_explicit(&h->bucket[i],
						 memory_order_relaxed);
		total += counts[i];
	}
	max = atomic_load_explicit(&h->max, memory_order_relaxed);

	*out = (struct cairn_latency){ 0 };
	if (total == 0)
		return;
	out->count = total;
	out->sum_us =
		atomic_load_explicit(&h->sum, memory_order_relaxed) / scale;
	out->max_us = max / scale;
	out->p50_us = percentile(counts, total, 500, max) / (double)scale;
	out->p99_us = percentile(counts, total, 990, max) / (double)scale;
	out->p999_us = percentile(counts, total, 999, max) / (double)scale;
}
