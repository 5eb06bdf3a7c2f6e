/* SPDX-License-Identifier: BSD-3-Clause */
/* How much of the tables a range of keys takes, by their indexes. */
#include <stdlib.h>

#include "engine/base/error.h"
#include "engine/db/db.h"

/* Where in the file of f an entry at or above key would be. */
static int offset_in(struct cairn_db *db, const struct file_meta *f,
		     struct cairn_slice key, uint64_t *offset)
{
	struct table_ref *ref;
	int err = table_cache_get(db->tables, f->number, f->size, &ref);

	if (err)
		return err;
	err = table_offset_of(table_ref_table(ref), key, offset);
	table_cache_release(db->tables, ref);
	return err;
}

static int add_file(struct cairn_db *db, const struct file_meta *f,
		    const struct cairn_range *r, uint64_t *bytes)
{
	uint64_t from = 0, to = f->size;
	int err = CAIRN_OK;

	if (r->to.data && slice_cmp(f->smallest_key.user_key, r->to) >= 0)
		return CAIRN_OK;
	if (r->from.data && slice_cmp(f->largest_key.user_key, r->from) < 0)
		return CAIRN_OK;
	if (r->from.data && slice_cmp(f->smallest_key.user_key, r->from) < 0)
		err = offset_in(db, f, r->from, &from);
	if (!err && r->to.data &&
	    slice_cmp(f->largest_key.user_key, r->to) >= 0)
		err = offset_in(db, f, r->to, &to);
	if (!err && to > from)
		*bytes += to - from;
	return err;
}

static int add_range(struct cairn_db *db, const struct version *v,
		     const struct cairn_range *r, uint64_t *bytes)
{
	int err = CAIRN_OK;

	*bytes = 0;
	if (r->from.data && r->to.data && slice_cmp(r->from, r->to) >= 0)
		return CAIRN_OK;
	for (int i = 0; i < CAIRN_LEVELS; i++)
		for (size_t k = 0; !err && k < v->level[i].n; k++)
			err = add_file(db, v->level[i].files[k], r, bytes);
	return err;
}

int cairn_approximate_sizes(struct cairn_db *db,
			    const struct cairn_range *ranges, size_t n,
			    uint64_t *bytes)
{
	struct read_state *s = read_state_ref_current(db->read_states);
	uint64_t *found = calloc(n ? n : 1, sizeof(*found));
	int err = found ? CAIRN_OK : error_nomem();

	for (size_t i = 0; !err && i < n; i++)
		err = add_range(db, s->version, &ranges[i], &found[i]);
	read_state_unref(s);
	if (!err && n)
		memcpy(bytes, found, n * sizeof(*found));
	free(found);
	return err;
}
