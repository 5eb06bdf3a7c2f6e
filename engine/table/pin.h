/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Pinning something that a cache may take away at any moment, without a lock.
 *
 * The memory of a cache's entries is never given back while the cache exists,
 * only used again for other contents. So a reader that remembers where it last
 * saw an entry may add a pin to its state word first and then look at what it
 * got: if the entry was not live, or holds something else by now, the pin is
 * dropped again. An owner takes contents away only by a compare-and-exchange
 * of the state from "live, no pins", which fails when a pin came first.
 *
 * Entry fields are written only while the entry is not live and has an owner;
 * they are read only by those who hold a pin that found it live. The release
 * of pin_publish() pairs with the acquire of pin_try(), the release of
 * pin_drop() with the acquire of pin_retire() and pin_bury().
 */
#ifndef CAIRN_TABLE_PIN_H
#define CAIRN_TABLE_PIN_H

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/*
 *   bits 0-23   pins, those included that are about to be dropped again
 *   bit 24      live: contents may be used
 *   bit 25      doomed: contents go when the last pin does
 *   bit 26      used since the clock's hand passed
 *   bits 27-63  pins ever taken, signed; drained before it can overflow
 */
#define PIN_ONE        UINT64_C(1)
#define PIN_COUNT_MASK ((UINT64_C(1) << 24) - 1)
#define PIN_LIVE       (UINT64_C(1) << 24)
#define PIN_DOOMED     (UINT64_C(1) << 25)
#define PIN_USED       (UINT64_C(1) << 26)
#define PIN_EVER_SHIFT 27
#define PIN_EVER_ONE   (UINT64_C(1) << PIN_EVER_SHIFT)
#define PIN_EVER_FULL  (UINT64_C(1) << 62)

/*
 * Add a pin and return the state as it was. Unless that was live, and the
 * entry turns out to hold what is wanted, pin_undo() must follow.
 */
static inline uint64_t pin_take(_Atomic uint64_t *state)
{
	uint64_t s = atomic_fetch_add_explicit(state, PIN_ONE | PIN_EVER_ONE,
					       memory_order_acquire);

	assert((s & PIN_COUNT_MASK) != PIN_COUNT_MASK);
	/* Look before writing: nearly always the bit is there already. */
	if (!(s & PIN_USED))
		atomic_fetch_or_explicit(state, PIN_USED, memory_order_relaxed);
	return s;
}

static inline bool pin_sub(_Atomic uint64_t *state, uint64_t n)
{
	uint64_t s = atomic_fetch_sub_explicit(state, n, memory_order_release);

	assert(s & PIN_COUNT_MASK);
	return (s & PIN_DOOMED) && (s & PIN_COUNT_MASK) == 1;
}

/* Drop a pin. True: it was the last of a doomed entry, pin_bury() is due. */
static inline bool pin_drop(_Atomic uint64_t *state)
{
	return pin_sub(state, PIN_ONE);
}

/* Drop one that found something else; it does not count as ever taken. */
static inline bool pin_undo(_Atomic uint64_t *state)
{
	return pin_sub(state, PIN_ONE | PIN_EVER_ONE);
}

/* Make the contents usable, with one pin for the caller. */
static inline void pin_publish(_Atomic uint64_t *state)
{
	atomic_fetch_add_explicit(state, PIN_LIVE | PIN_ONE,
				  memory_order_release);
}

/* Take the contents away if nobody has a pin. False: somebody has. */
static inline bool pin_retire(_Atomic uint64_t *state)
{
	uint64_t s = atomic_load_explicit(state, memory_order_relaxed);

	while ((s & PIN_LIVE) && !(s & PIN_COUNT_MASK))
		if (atomic_compare_exchange_weak_explicit(
			    state, &s, s & ~(PIN_LIVE | PIN_USED),
			    memory_order_acquire, memory_order_relaxed))
			return true;
	return false;
}

/* Nobody new gets it, and the last pin takes it along. */
static inline void pin_doom(_Atomic uint64_t *state)
{
	uint64_t s = atomic_load_explicit(state, memory_order_relaxed);

	while (!atomic_compare_exchange_weak_explicit(
		state, &s, (s & ~(PIN_LIVE | PIN_USED)) | PIN_DOOMED,
		memory_order_acquire, memory_order_relaxed))
		;
}

/*
 * After pin_drop() or pin_undo() said so, or pin_doom(): true for exactly one
 * caller, once no pin is left; the contents are then the caller's to free.
 */
static inline bool pin_bury(_Atomic uint64_t *state)
{
	uint64_t s = atomic_load_explicit(state, memory_order_relaxed);

	while ((s & PIN_DOOMED) && !(s & PIN_COUNT_MASK))
		if (atomic_compare_exchange_weak_explicit(
			    state, &s, s & ~(PIN_DOOMED | PIN_USED),
			    memory_order_acquire, memory_order_relaxed))
			return true;
	return false;
}

/*
 * Take the number of pins ever taken out of the word. It may be a little below
 * zero when pin_undo() came after an earlier drain; the sum is right.
 */
static inline uint64_t pin_drain(_Atomic uint64_t *state)
{
	uint64_t s = atomic_load_explicit(state, memory_order_relaxed);
	uint64_t ever = s >> PIN_EVER_SHIFT;

	atomic_fetch_sub_explicit(state, ever << PIN_EVER_SHIFT,
				  memory_order_relaxed);
	/* Extend the sign. */
	if (s >> 63)
		ever |= ~(UINT64_MAX >> PIN_EVER_SHIFT);
	return ever;
}

#endif
