/* SPDX-License-Identifier: BSD-3-Clause */
/* Times as people type them. */
#ifndef CAIRN_FS_TIMETEXT_H
#define CAIRN_FS_TIMETEXT_H

#include "engine/base/slice.h"

#define TIMETEXT_SECOND_US UINT64_C(1000000)

/*
 * A number with a unit, one of us ms s m h d, as microseconds; without
 * need_unit, a bare number is seconds. False when it is none, or too large.
 */
bool timetext_duration(const char *s, bool need_unit, uint64_t *us);

/* A time to live, in seconds, rounded up; false as above. */
bool timetext_ttl(const char *s, int64_t *seconds);

/*
 * A moment, as ns since 1970: "2026-11-23T11:05:00Z" (RFC 3339, with fractions
 * and other zones), "@SECONDS" since 1970, or how long before now, as "10m".
 * False when it is none.
 */
bool timetext_moment(struct cairn_slice s, int64_t now_ns, int64_t *ns);

#endif
