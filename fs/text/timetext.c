/* SPDX-License-Identifier: BSD-3-Clause */
#include "fs/text/timetext.h"

#include <time.h>

#define SECOND_NS INT64_C(1000000000)
/* Longer than any moment that is one, with nine digits of a fraction. */
#define MOMENT_MAX 40u

static bool digits(const char **p, uint64_t *out)
{
	const char *start = *p;
	uint64_t v = 0;

	for (; **p >= '0' && **p <= '9'; (*p)++) {
		uint64_t digit = (uint64_t)(**p - '0');

		if (v > (UINT64_MAX - digit) / 10)
			return false;
		v = v * 10 + digit;
	}
	*out = v;
	return *p > start;
}

bool timetext_duration(const char *s, bool need_unit, uint64_t *out)
{
	static const struct {
		const char *name;
		uint64_t us;
	} units[] = {
		{ "us", 1 },
		{ "ms", 1000 },
		{ "s", TIMETEXT_SECOND_US },
		{ "m", 60 * TIMETEXT_SECOND_US },
		{ "h", 3600 * TIMETEXT_SECOND_US },
		{ "d", 86400 * TIMETEXT_SECOND_US },
	};
	uint64_t v, us = 0;

	if (!digits(&s, &v))
		return false;
	if (!*s && !need_unit)
		us = TIMETEXT_SECOND_US;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (!strcmp(s, units[i].name))
			us = units[i].us;
	if (!us || v > UINT64_MAX / us)
		return false;
	*out = v * us;
	return true;
}

bool timetext_ttl(const char *s, int64_t *seconds)
{
	uint64_t us;

	if (!timetext_duration(s, false, &us))
		return false;
	*seconds = (int64_t)(us / TIMETEXT_SECOND_US +
			     (us % TIMETEXT_SECOND_US != 0));
	return true;
}

/* Exactly n digits, a number from low to high. */
static bool field(const char **p, int n, int low, int high, int *out)
{
	int v = 0;

	for (; n > 0; n--, (*p)++) {
		if (**p < '0' || **p > '9')
			return false;
		v = v * 10 + (**p - '0');
	}
	*out = v;
	return v >= low && v <= high;
}

static bool one_of(const char **p, const char *set)
{
	if (!**p || !strchr(set, **p))
		return false;
	(*p)++;
	return true;
}

/* ".123" or nothing; what is finer than a nanosecond is dropped. */
static bool fraction(const char **p, int64_t *ns)
{
	int64_t unit = SECOND_NS / 10;

	*ns = 0;
	if (**p != '.')
		return true;
	(*p)++;
	if (**p < '0' || **p > '9')
		return false;
	for (; **p >= '0' && **p <= '9'; (*p)++, unit /= 10)
		*ns += unit * (**p - '0');
	return true;
}

/* "Z" or "+01:00", in seconds. */
static bool zone(const char **p, int64_t *east)
{
	int sign, h, m;

	*east = 0;
	if (one_of(p, "Zz"))
		return true;
	sign = **p == '-' ? -1 : 1;
	if (!one_of(p, "+-") || !field(p, 2, 0, 23, &h) || !one_of(p, ":") ||
	    !field(p, 2, 0, 59, &m))
		return false;
	*east = sign * (h * INT64_C(3600) + m * INT64_C(60));
	return true;
}

static bool rfc3339(const char *p, int64_t *ns)
{
	struct tm tm = { 0 }, same;
	int64_t frac, east;
	time_t t;

	if (!field(&p, 4, 1970, 2261, &tm.tm_year) || !one_of(&p, "-") ||
	    !field(&p, 2, 1, 12, &tm.tm_mon) || !one_of(&p, "-") ||
	    !field(&p, 2, 1, 31, &tm.tm_mday) || !one_of(&p, "Tt ") ||
	    !field(&p, 2, 0, 23, &tm.tm_hour) || !one_of(&p, ":") ||
	    !field(&p, 2, 0, 59, &tm.tm_min) || !one_of(&p, ":") ||
	    !field(&p, 2, 0, 60, &tm.tm_sec) || !fraction(&p, &frac) ||
	    !zone(&p, &east) || *p)
		return false;
	tm.tm_year -= 1900;
	tm.tm_mon--;
	same = tm;
	t = timegm(&same);
	/* The 30th of February would be in March. */
	if (same.tm_mon != tm.tm_mon && tm.tm_mday > 28)
		return false;
	*ns = ((int64_t)t - east) * SECOND_NS + frac;
	return true;
}

static bool since_1970(const char *p, int64_t *ns)
{
	int64_t frac;
	uint64_t s;

	if (!digits(&p, &s) || s >= (uint64_t)(INT64_MAX / SECOND_NS) ||
	    !fraction(&p, &frac) || *p)
		return false;
	*ns = (int64_t)s * SECOND_NS + frac;
	return true;
}

bool timetext_moment(struct cairn_slice s, int64_t now_ns, int64_t *ns)
{
	char text[MOMENT_MAX + 1];
	uint64_t ago;

	if (s.len > MOMENT_MAX || (s.len && memchr(s.data, 0, s.len)))
		return false;
	if (s.len)
		memcpy(text, s.data, s.len);
	text[s.len] = '\0';
	if (text[0] == '@')
		return since_1970(text + 1, ns);
	if (!timetext_duration(text, true, &ago))
		return rfc3339(text, ns);
	if (ago > (uint64_t)(INT64_MAX / 1000))
		return false;
	*ns = now_ns - (int64_t)ago * 1000;
	return true;
}
