/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/db/open_later.h"

#include <stdlib.h>

#include "engine/base/error.h"
#include "engine/db/event.h"

struct open_later {
	/* Of the directory, before any change, but for the files in use. */
	struct env_names names;
};

int open_later_new(struct cairn_db *db, struct env_names *names)
{
	struct open_later *l = calloc(1, sizeof(*l));

	if (!l)
		return error_nomem();
	l->names = *names;
	*names = (struct env_names){ 0 };
	db->later = l;
	return files_skip_used(db, &l->names);
}

static void free_later(struct open_later *l)
{
	if (!l)
		return;
	env_names_free(&l->names);
	free(l);
}

void open_later_free(struct cairn_db *db)
{
	free_later(db->later);
	db->later = NULL;
}

bool open_is_unfinished(struct cairn_db *db)
{
	assert_held(&db->mu);
	return db->later != NULL;
}

void open_finish(struct cairn_db *db)
{
	struct open_later *l = db->later;
	uint64_t numbers[2];
	bool made = false;
	int err;

	assert_held(&db->mu);
	if (!l)
		return;
	db->later = NULL;
	for (int i = 0; i < 2; i++)
		numbers[i] = version_set_new_file_number(db->versions);
	mutex_unlock(&db->mu);
	events_open_log(db->events);
	err = files_write_identity(db, &l->names, numbers[0]);
	if (!err)
		err = files_write_options(db, &l->names, numbers[1], &made);
	/* The next open has another go. */
	if (err)
		events_log(db->events, "[open] %s", cairn_errmsg());
	files_sweep(db, &l->names, made, false);
	free_later(l);
	mutex_lock(&db->mu);
}
