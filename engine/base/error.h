/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The detail of the last failure of a thread, behind cairn_errmsg(). The code
 * that detects a failure calls error_set() once; those above pass the code up.
 */
#ifndef CAIRN_BASE_ERROR_H
#define CAIRN_BASE_ERROR_H

#include "engine/cairn.h"

/* Store the message (cut at 1023 bytes) and return code. */
int error_set(int code, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* The code that fits errno_value (ENOSPC, ENOENT, EACCES, ENOMEM, ...). */
int error_code_of_errno(int errno_value);

/* "what: path: strerror" with the code of errno_value. */
int error_errno(int errno_value, const char *what, const char *path);

/* CAIRN_ENOMEM with a message. */
int error_nomem(void);

#endif
