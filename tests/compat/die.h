/* SPDX-License-Identifier: BSD-3-Clause */
/* How the programs that set cairn beside other stores end when they differ. */
#ifndef CAIRN_TESTS_COMPAT_DIE_H
#define CAIRN_TESTS_COMPAT_DIE_H

#include "engine/base/buf.h"

/* The message to stderr, then what die_context() asked for, then exit(1). */
_Noreturn void die(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Called once by die(): where it happened, how to see it again. */
void die_context(void (*print)(void));

/* End with the message of cairn, or that there is no memory. */
void must(int err, const char *what);
void *must_have(void *p);

/*
 * A key or value for messages: cut when long, bytes that are no text in hex.
 * The text lives until the fourth call after this one.
 */
const char *shown(struct cairn_slice s);

#endif
