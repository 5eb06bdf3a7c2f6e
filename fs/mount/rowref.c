/* SPDX-License-Identifier: BSD-3-Clause */
#include "fs/mount/rowref.h"

#include <stdlib.h>

#include "engine/base/error.h"

int rowref_get(struct mvcc *m, struct cairn_slice key, int64_t rev,
	       struct rowref **out)
{
	struct rowref *r = malloc(sizeof(*r));
	int err = CAIRN_OK;

	if (!r)
		return error_nomem();
	*r = (struct rowref){ .m = m, .refs = 1 };
	if (rev > 0) {
		err = mvcc_pin(m, rev);
		if (!err)
			r->pinned = rev;
	}
	if (!err)
		err = mvcc_get(m, key, rev, &r->r);
	if (err) {
		rowref_unref(r);
		return err;
	}
	*out = r;
	return CAIRN_OK;
}

int rowref_keep(struct rowref *r)
{
	int64_t now;
	int err;

	/* A value within the row needs no pin: the row has its bytes. */
	if (r->pinned || !r->r.row.object)
		return CAIRN_OK;
	err = mvcc_pin_current(r->m, &now);
	if (!err)
		r->pinned = now;
	return err;
}

struct rowref *rowref_ref(struct rowref *r)
{
	r->refs++;
	return r;
}

void rowref_unref(struct rowref *r)
{
	if (!r || --r->refs)
		return;
	mvcc_row_release(&r->r);
	if (r->pinned)
		mvcc_unpin(r->m, r->pinned);
	free(r);
}
