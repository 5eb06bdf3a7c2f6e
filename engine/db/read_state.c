/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Slots. A thread that is done with the current state leaves its reference in
 * the slot of its thread id, and takes it from there for its next read: one
 * exchange and one compare-and-swap on a cache line that is mostly its own,
 * instead of two counts on one that all share.
 *
 * A slot must not keep an old state alive for long. install() first publishes
 * the new generation, then empties all slots; release() first puts the state
 * into a slot, then looks at the generation again. These are sequentially
 * consistent, so that at least one of the two sees the other: either install()
 * finds the state in the slot, or release() finds the generation changed and
 * takes the state out again.
 */
#include "engine/db/read_state.h"

#include <assert.h>
#include <stdalign.h>
#include <stdlib.h>
#include <unistd.h>

#include "engine/base/error.h"
#include "engine/db/db.h"

/* Two lines: processors fetch them in pairs. */
#define SLOT_ALIGN 128
#define SLOTS_MIN  16
#define SLOTS_MAX  1024

struct slot {
	alignas(SLOT_ALIGN) _Atomic(struct read_state *) state;
};

struct read_states {
	struct cairn_db *db;
	struct mutex mu;            /* a leaf lock */
	struct read_state *current; /* guarded by mu */
	/* current's; seq_cst, see above. */
	_Atomic uint64_t generation;
	unsigned slot_bits;
	struct slot *slots;
};

static unsigned choose_slot_bits(void)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned bits = 0;

	while ((1L << bits) < SLOTS_MIN ||
	       ((1L << bits) < 2 * cores && (1L << bits) < SLOTS_MAX))
		bits++;
	return bits;
}

/* By thread: stacks lie far apart, so their addresses are spread by a
 * multiplication (Knuth's multiplicative hashing). */
static size_t home_slot(const struct read_states *rs)
{
	uint64_t id = (uint64_t)pthread_self();

	return (size_t)((id * UINT64_C(0x9e3779b97f4a7c15)) >>
			(64 - rs->slot_bits));
}

int read_states_new(struct cairn_db *db, struct read_states **out)
{
	struct read_states *rs = calloc(1, sizeof(*rs));
	size_t n;

	if (!rs)
		return error_nomem();
	rs->slot_bits = choose_slot_bits();
	n = (size_t)1 << rs->slot_bits;
	rs->slots = aligned_alloc(SLOT_ALIGN, n * sizeof(rs->slots[0]));
	if (!rs->slots) {
		free(rs);
		return error_nomem();
	}
	for (size_t i = 0; i < n; i++)
		atomic_init(&rs->slots[i].state, NULL);
	rs->db = db;
	mutex_init(&rs->mu);
	*out = rs;
	return CAIRN_OK;
}

/* ---------------------------------------------------------- references */

static void read_state_free(struct read_state *s)
{
	version_unref(s->version);
	for (size_t i = 0; i < s->n_mems; i++)
		memtable_unref(s->mems[i]);
	free(s);
}

/* Whether that was the last reference; the state is gone then. */
static bool drop(struct read_state *s)
{
	if (atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
		return false;
	read_state_free(s);
	return true;
}

void read_state_unref(struct read_state *s)
{
	struct cairn_db *db = s->db;

	if (drop(s) && db)
		db_readers_changed(db);
}

struct read_state *read_state_ref_current(struct read_states *rs)
{
	struct read_state *s;

	mutex_lock(&rs->mu);
	s = rs->current;
	assert(s);
	/* Relaxed: the reference of current keeps the count above 0. */
	atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
	mutex_unlock(&rs->mu);
	return s;
}

struct read_state *read_state_ref(struct read_state *s)
{
	/* Relaxed: the caller's reference keeps the count above 0. */
	atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
	return s;
}

/* ---------------------------------------------------------- for one read */

struct read_state *read_state_acquire(struct read_states *rs)
{
	struct slot *slot = &rs->slots[home_slot(rs)];
	struct read_state *s = atomic_exchange(&slot->state, NULL);

	if (s) {
		/* The reference is ours now, so reading it is safe. */
		if (s->generation == atomic_load(&rs->generation))
			return s;
		read_state_unref(s);
	}
	return read_state_ref_current(rs);
}

void read_state_release(struct read_states *rs, struct read_state *s)
{
	struct slot *slot = &rs->slots[home_slot(rs)];
	uint64_t generation = s->generation;
	struct read_state *empty = NULL;

	if (generation != atomic_load(&rs->generation) ||
	    !atomic_compare_exchange_strong(&slot->state, &empty, s)) {
		read_state_unref(s);
		return;
	}
	/* s belongs to the slot now and may be gone. */
	if (generation == atomic_load(&rs->generation))
		return;
	s = atomic_exchange(&slot->state, NULL);
	if (s)
		read_state_unref(s);
}

/* -------------------------------------------------------------- install */

static struct read_state *read_state_new(struct cairn_db *db,
					 struct version *version,
					 struct memtable *const *mems, size_t n)
{
	struct read_state *s = malloc(sizeof(*s) + n * sizeof(mems[0]));

	if (!s)
		return NULL;
	*s = (struct read_state){
		.version = version_ref(version),
		.mems = (struct memtable **)(s + 1),
		.n_mems = n,
		.db = db,
	};
	atomic_init(&s->refs, 1);
	for (size_t i = 0; i < n; i++) {
		s->mems[i] = mems[i];
		memtable_ref(mems[i]);
	}
	return s;
}

static void empty_slots(struct read_states *rs)
{
	for (size_t i = 0; i < (size_t)1 << rs->slot_bits; i++) {
		struct read_state *s =
			atomic_exchange(&rs->slots[i].state, NULL);

		/* Even a new state that a fast reader left already. */
		if (s)
			drop(s);
	}
}

int read_states_install(struct read_states *rs, struct version *version,
			struct memtable *const *mems, size_t n)
{
	struct read_state *s = read_state_new(rs->db, version, mems, n);
	struct read_state *old;

	if (!s)
		return error_nomem();
	mutex_lock(&rs->mu);
	old = rs->current;
	s->generation = atomic_load(&rs->generation) + 1;
	rs->current = s;
	atomic_store(&rs->generation, s->generation);
	mutex_unlock(&rs->mu);

	empty_slots(rs);
	if (old)
		drop(old);
	return CAIRN_OK;
}

void read_states_free(struct read_states *rs)
{
	if (!rs)
		return;
	empty_slots(rs);
	if (rs->current)
		drop(rs->current);
	mutex_fini(&rs->mu);
	free(rs->slots);
	free(rs);
}
