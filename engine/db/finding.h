/* SPDX-License-Identifier: BSD-3-Clause */
/* Telling what was found in the files of a database. */
#ifndef CAIRN_DB_FINDING_H
#define CAIRN_DB_FINDING_H

#include "engine/base/buf.h"
#include "engine/table/walk.h"

struct finder {
	cairn_found_fn *found; /* may be NULL */
	void *ctx;
	const bool volatile *cancel; /* may be NULL */
	uint64_t findings;           /* but remarks */
	int worst;                   /* CAIRN_OK, CAIRN_ENOTSUP, CAIRN_ECORRUPT
				      */
};

/* Whether err is about the files, rather than about this process. */
static inline bool finding_is_damage(int err)
{
	return err == CAIRN_ECORRUPT || err == CAIRN_ENOTSUP ||
	       err == CAIRN_EIO;
}

#define NO_PLACE UINT64_MAX

/*
 * Tell cairn_errmsg() with code (CAIRN_OK: a remark). Returns what the callback
 * returned; a code that is none of the file's is returned at once.
 */
MUST_CHECK int finder_tell(struct finder *f, int code, const char *path,
			   uint64_t offset);

/* A remark. */
MUST_CHECK int finder_remark(struct finder *f, const char *path,
			     const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Keys of a table that cannot be read; of is how many blocks it has. */
MUST_CHECK int finder_tell_lost(struct finder *f, const char *path,
				const struct walk_span *s, uint64_t of);

/* Keys from from to to, both data NULL when not known; what says why. */
MUST_CHECK int finder_tell_keys(struct finder *f, const char *path,
				struct cairn_slice from, struct cairn_slice to,
				const char *what);

/* CAIRN_EABORTED when *cancel is set. */
MUST_CHECK int finder_poll(const struct finder *f);

/* CAIRN_OK, or the worst finding with a message of how many there are. */
MUST_CHECK int finder_result(const struct finder *f, const char *what);

#endif
