/* SPDX-License-Identifier: BSD-3-Clause */
/* Times as people write them: digits, then us, ms, s, m, h or d. */
#ifndef CAIRN_FS_TIMETEXT_H
#define CAIRN_FS_TIMETEXT_H

#include <stdbool.h>
#include <stdint.h>

/* The time in microseconds. Without a unit it is in seconds, or with need_unit
 * none. False when it is none; *us is then unchanged. */
bool timetext_parse(const char *text, bool need_unit, uint64_t *us);

/* A time to live, in seconds, rounded up; false as above. */
bool timetext_parse_ttl(const char *text, int64_t *seconds);

#endif
