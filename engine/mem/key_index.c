/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/mem/key_index.h"

#include <assert.h>

#include "engine/base/error.h"

/* With one key per slot, one chain in 10^7 is longer than 10 by chance. */
#define CHAIN_STEPS_MAX 16

int key_index_init(struct key_index *x, struct arena *a, size_t n_slots)
{
	uint32_t off;

	assert(n_slots && (n_slots & (n_slots - 1)) == 0);
	off = arena_alloc(a, KEY_INDEX_LEN(n_slots));
	if (!off)
		return error_nomem();
	/* The arena's zeros are empty slots. */
	x->slots = (_Atomic uint32_t *)(void *)(a->base + off);
	x->mask = n_slots - 1;
	return CAIRN_OK;
}

/* Both halves of the product, so that every bit depends on every bit. */
static uint64_t mix(uint64_t a, uint64_t b)
{
	__extension__ typedef unsigned __int128 wide;
	wide p = (wide)a * b;

	return (uint64_t)p ^ (uint64_t)(p >> 64);
}

/* Never stored, so it needs no format; about 1 ns for each 8 bytes. */
struct index_key index_key_of(struct cairn_slice key)
{
	const uint64_t m = 0x9e3779b97f4a7c15u;
	uint64_t h = mix(skiplist_key_prefix(key) ^ 0xe7037ed1a0b428dbu,
			 key.len ^ m);

	for (size_t i = 8; i + 8 < key.len; i += 8)
		h = mix(h ^ load_le64(key.data + i), m);
	if (key.len > 8)
		h = mix(h ^ load_le64(key.data + key.len - 8), m);
	return (struct index_key){ key, h };
}

static _Atomic uint32_t *slot_of(const struct key_index *x,
				 const struct index_key *k)
{
	return &x->slots[k->hash & x->mask];
}

uint32_t key_index_find(const struct key_index *x, const struct skiplist *s,
			const struct index_key *k, bool *sure)
{
	/* Pairs with the release in key_index_add(). */
	uint32_t off =
		atomic_load_explicit(slot_of(x, k), memory_order_acquire);

	*sure = true;
	for (int i = 0; off; i++) {
		const struct skiplist_node *n = skiplist_node(s, off);

		if (skiplist_node_has_key(n, k->key))
			return off;
		if (i == CHAIN_STEPS_MAX) {
			*sure = false;
			return 0;
		}
		off = n->chain;
	}
	return 0;
}

void key_index_add(struct key_index *x, const struct skiplist *s,
		   const struct index_key *k, uint32_t node)
{
	struct skiplist_node *n = skiplist_node(s, node);
	_Atomic uint32_t *slot = slot_of(x, k);
	uint32_t front = atomic_load_explicit(slot, memory_order_acquire);

	do {
		const struct skiplist_node *f = skiplist_node(s, front);

		/* Readers see chain only after the slot led them here. */
		if (front && skiplist_node_has_key(f, k->key))
			n->chain = f->chain;
		else
			n->chain = front;
	} while (!atomic_compare_exchange_weak_explicit(slot, &front, node,
							memory_order_acq_rel,
							memory_order_acquire));
}
