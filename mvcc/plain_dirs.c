/* SPDX-License-Identifier: BSD-3-Clause */
#include "mvcc/plain_dirs.h"

#include <assert.h>
#include <stdlib.h>

#include "engine/base/error.h"

/* Dead records are looked through when there are so many. */
#define DEAD_MIN 16

void plain_dirs_fini(struct plain_dirs *d)
{
	for (size_t i = 0; i < d->n; i++)
		free(d->list[i]);
	free(d->list);
	*d = (struct plain_dirs){ 0 };
}

/* The first record with a key >= key. */
static size_t lower_bound(const struct plain_dirs *d, struct cairn_slice key)
{
	size_t lo = 0, hi = d->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (slice_cmp(plain_dir_key(d->list[mid]), key) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static bool is_there(const struct plain_dir *r, uint64_t seq)
{
	return r->born <= seq && seq < r->died;
}

const struct plain_dir *plain_dirs_from(const struct plain_dirs *d,
					struct cairn_slice key, uint64_t seq)
{
	for (size_t i = lower_bound(d, key); i < d->n; i++)
		if (is_there(d->list[i], seq))
			return d->list[i];
	return NULL;
}

const struct plain_dir *plain_dirs_before(const struct plain_dirs *d,
					  struct cairn_slice key, uint64_t seq)
{
	for (size_t i = key.data ? lower_bound(d, key) : d->n; i-- > 0;)
		if (is_there(d->list[i], seq))
			return d->list[i];
	return NULL;
}

const struct plain_dir *plain_dirs_find(const struct plain_dirs *d,
					struct cairn_slice key, uint64_t seq)
{
	const struct plain_dir *r = plain_dirs_from(d, key, seq);

	return r && slice_eq(plain_dir_key(r), key) ? r : NULL;
}

static int reserve(struct plain_dirs *d)
{
	struct plain_dir **list;
	size_t cap = d->cap ? 2 * d->cap : 16;

	if (d->n < d->cap)
		return CAIRN_OK;
	list = realloc(d->list, cap * sizeof(struct plain_dir *));
	if (!list)
		return error_nomem();
	d->list = list;
	d->cap = cap;
	return CAIRN_OK;
}

int plain_dirs_add(struct plain_dirs *d, struct cairn_slice key,
		   int64_t time_ns)
{
	struct plain_dir *r;
	size_t at;
	int err;

	assert(key.len && key.data[key.len - 1] == '/');
	if (plain_dirs_find(d, key, d->seq))
		return CAIRN_OK;
	if (d->n - d->n_dead >= PLAIN_DIRS_MAX)
		return error_set(CAIRN_ENOSPC,
				 "a plain store keeps directories without keys "
				 "in memory, %u at most",
				 PLAIN_DIRS_MAX);
	err = reserve(d);
	if (err)
		return err;
	r = malloc(sizeof(*r) + key.len);
	if (!r)
		return error_nomem();
	r->born = ++d->seq;
	r->died = UINT64_MAX;
	r->time_ns = time_ns;
	r->len = key.len;
	memcpy(r->key, key.data, key.len);
	at = lower_bound(d, key);
	while (at < d->n && slice_eq(plain_dir_key(d->list[at]), key))
		at++;
	memmove(d->list + at + 1, d->list + at,
		(d->n - at) * sizeof(struct plain_dir *));
	d->list[at] = r;
	d->n++;
	return CAIRN_OK;
}

static void bury(struct plain_dirs *d, uint64_t seq_min)
{
	size_t kept = 0;

	for (size_t i = 0; i < d->n; i++) {
		if (d->list[i]->died <= seq_min) {
			free(d->list[i]);
			d->n_dead--;
		} else {
			d->list[kept++] = d->list[i];
		}
	}
	d->n = kept;
}

void plain_dirs_end(struct plain_dirs *d, struct cairn_slice key,
		    uint64_t seq_min)
{
	for (size_t i = lower_bound(d, key);
	     i < d->n && slice_eq(plain_dir_key(d->list[i]), key); i++) {
		if (!is_there(d->list[i], d->seq))
			continue;
		d->list[i]->died = ++d->seq;
		d->n_dead++;
		break;
	}
	if (d->n_dead > DEAD_MIN && d->n_dead > d->n / 2)
		bury(d, seq_min < d->seq ? seq_min : d->seq);
}
