/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/compat/die.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define SHOWN_MAX 60

static void (*context)(void);

void die_context(void (*print)(void))
{
	context = print;
}

_Noreturn void die(const char *fmt, ...)
{
	void (*print)(void) = context;
	va_list ap;

	fflush(stdout);
	fputs("FAILED: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	context = NULL;
	if (print)
		print();
	exit(EXIT_FAILURE);
}

void must(int err, const char *what)
{
	if (err)
		die("cairn: %s: %s: %s", what, cairn_strerror(err),
		    cairn_errmsg());
}

void *must_have(void *p)
{
	if (!p)
		die("no memory");
	return p;
}

const char *shown(struct cairn_slice s)
{
	static char texts[4][4 * SHOWN_MAX + 40];
	static unsigned turn;
	char *text = texts[turn++ % 4], *p = text;
	size_t n = s.len < SHOWN_MAX ? s.len : SHOWN_MAX;

	for (size_t i = 0; i < n; i++)
		if (isprint(s.data[i]) && s.data[i] != '\\')
			*p++ = (char)s.data[i];
		else
			p += snprintf(p, 5, "\\x%02x", (unsigned)s.data[i]);
	snprintf(p, 40, "%s(%zu bytes)", n < s.len ? "... " : " ", s.len);
	return text;
}
