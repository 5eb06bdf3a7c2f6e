/* SPDX-License-Identifier: BSD-3-Clause */
#include "fs/text/timetext.h"

#include <string.h>

#define SECOND UINT64_C(1000000)

static const struct {
	const char *name;
	uint64_t us;
} units[] = {
	{ "us", 1 },          { "ms", 1000 },         { "s", SECOND },
	{ "m", 60 * SECOND }, { "h", 3600 * SECOND }, { "d", 86400 * SECOND },
};

bool timetext_parse(const char *text, bool need_unit, uint64_t *us)
{
	const char *p = text;
	uint64_t v = 0, unit = 0;

	for (; *p >= '0' && *p <= '9'; p++) {
		uint64_t digit = (uint64_t)(*p - '0');

		if (v > (UINT64_MAX - digit) / 10)
			return false;
		v = v * 10 + digit;
	}
	if (p == text)
		return false;
	if (!*p && !need_unit)
		unit = SECOND;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (!strcmp(p, units[i].name))
			unit = units[i].us;
	if (!unit || v > UINT64_MAX / unit)
		return false;
	*us = v * unit;
	return true;
}

bool timetext_parse_ttl(const char *text, int64_t *seconds)
{
	uint64_t us;

	if (!timetext_parse(text, false, &us))
		return false;
	*seconds = (int64_t)(us / SECOND + (us % SECOND != 0));
	return true;
}
