/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/db/snapshot.h"

#include <stdlib.h>

#include "engine/base/error.h"
#include "engine/db/db.h"
#include "engine/db/work.h"

struct cairn_snapshot *cairn_snapshot_new(struct cairn_db *db)
{
	struct cairn_snapshot *s = calloc(1, sizeof(*s));

	if (!s) {
		(void)error_nomem();
		return NULL;
	}
	s->db = db;
	s->created_us = env_mono_us(db->env);
	/*
	 * One critical section, the one in which jobs copy the list: were the
	 * seqno loaded before, a job could start in between and drop what the
	 * snapshot is to see.
	 */
	mutex_lock(&db->mu);
	s->seqno = atomic_load_explicit(&db->visible, memory_order_acquire);
	list_add_tail(&db->snapshots, &s->link);
	mutex_unlock(&db->mu);
	return s;
}

void cairn_snapshot_release(struct cairn_snapshot *s)
{
	struct cairn_db *db;

	if (!s)
		return;
	db = s->db;
	mutex_lock(&db->mu);
	list_remove(&s->link);
	if (db->work)
		work_snapshot_gone(db->work, s->seqno);
	mutex_unlock(&db->mu);
	free(s);
}

uint64_t cairn_snapshot_seqno(const struct cairn_snapshot *s)
{
	return s->seqno;
}

/* Append seqno, which is not below the last one, unless it is that. */
static int append(struct buf *out, uint64_t seqno)
{
	uint64_t last;

	if (out->len) {
		memcpy(&last, out->data + out->len - sizeof(last),
		       sizeof(last));
		if (last == seqno)
			return CAIRN_OK;
	}
	return buf_append(out, &seqno, sizeof(seqno));
}

int snapshots_collect(struct cairn_db *db, struct buf *out,
		      uint64_t *newest_user)
{
	uint64_t newest = 0;
	int err;

	assert_held(&db->mu);
	buf_clear(out);
	list_for_each (pos, &db->snapshots) {
		newest = list_entry(pos, struct cairn_snapshot, link)->seqno;
		err = append(out, newest);
		if (err)
			return err;
	}
	err = append(out,
		     atomic_load_explicit(&db->visible, memory_order_acquire));
	if (err)
		return err;
	*newest_user = newest;
	return CAIRN_OK;
}
