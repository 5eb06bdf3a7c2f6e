/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/db/read_only.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/base/error.h"
#include "engine/version/filename.h"

#define CURRENT_LEN_MAX 256

static int check_unlocked(struct cairn_db *db)
{
	struct cairn_holder holder;
	char *path = filename_in(db->dir, "LOCK");
	int err;

	if (!path)
		return error_nomem();
	err = env_holder(db->env, path, &holder);
	if (err == CAIRN_OK)
		err = error_set(CAIRN_EBUSY, "%s: held by process %ld%s%s",
				path, holder.pid, *holder.note ? ": " : "",
				holder.note);
	free(path);
	return err == CAIRN_NOT_FOUND ? CAIRN_OK : err;
}

/* Empty when there is none. */
static int read_current(struct cairn_db *db, struct buf *out)
{
	char *path = filename_in(db->dir, "CURRENT");
	int err;

	if (!path)
		return error_nomem();
	buf_clear(out);
	err = env_read_file(db->env, path, CURRENT_LEN_MAX, out);
	free(path);
	return err == CAIRN_NOT_FOUND ? CAIRN_OK : err;
}

int read_only_begin(struct cairn_db *db)
{
	int err = check_unlocked(db);

	return err ? err : read_current(db, &db->current);
}

int read_only_check(struct cairn_db *db)
{
	struct buf now = { 0 };
	int err = read_current(db, &now);

	if (!err && !slice_eq(buf_slice(&now), buf_slice(&db->current)))
		err = error_set(CAIRN_EABORTED,
				"%s: another program has written to it",
				db->dir);
	buf_fini(&now);
	return err ? err : check_unlocked(db);
}

int read_only_blame(struct cairn_db *db, int code)
{
	char why[512];
	int now;

	if (code >= 0 || !db->opts.read_only)
		return code;
	snprintf(why, sizeof(why), "%s", cairn_errmsg());
	now = read_only_check(db);
	if (now != CAIRN_EABORTED && now != CAIRN_EBUSY)
		return error_set(code, "%s", why);
	return error_set(CAIRN_EIO,
			 "%s: another program has changed the store since it "
			 "was opened read-only",
			 why);
}
