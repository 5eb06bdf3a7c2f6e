/* SPDX-License-Identifier: BSD-3-Clause */
#include "fs/cmd/forget_by.h"

#include <time.h>

static int64_t wall_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static int by_age(struct mvcc *m, uint64_t us, int64_t *rev)
{
	int64_t now = wall_ns();
	int err;

	if (us > (uint64_t)now / 1000)
		return CAIRN_NOT_FOUND;
	err = mvcc_rev_at(m, now - (int64_t)us * 1000, rev);
	/* Nothing is older than the oldest. */
	return err == CAIRN_EFORGOTTEN ? CAIRN_NOT_FOUND : err;
}

int forget_by(struct mvcc *m, const struct forget_by *by)
{
	int64_t rev;
	int err = CAIRN_OK;

	if (by->before)
		return mvcc_forget(m, by->before);
	if (by->keep)
		rev = mvcc_current(m) - by->keep + 1;
	else
		err = by_age(m, by->older_us, &rev);
	if (!err && rev <= mvcc_oldest(m))
		err = CAIRN_NOT_FOUND;
	return err ? err : mvcc_forget(m, rev);
}
