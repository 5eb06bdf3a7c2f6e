/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define MESSAGE_MAX 1024

/* Per thread, as errno is: no two databases share a message by accident. */
static _Thread_local char message[MESSAGE_MAX];

int error_set(int code, const char *fmt, ...)
{
	/* The arguments may hold the old message: format aside, then copy. */
	char text[MESSAGE_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	memcpy(message, text, sizeof(message));
	return code;
}

int error_code_of_errno(int errno_value)
{
	switch (errno_value) {
	case 0:
		return CAIRN_OK;
	case ENOSPC:
		return CAIRN_ENOSPC;
	case EDQUOT:
		return CAIRN_ENOSPC;
	case ENOENT:
	case ENOTDIR:
		return CAIRN_ENOENT;
	case EEXIST:
		return CAIRN_EEXIST;
	case EACCES:
	case EPERM:
		return CAIRN_EACCES;
	case EROFS:
		return CAIRN_EROFS;
	case ENOMEM:
		return CAIRN_ENOMEM;
	default:
		return CAIRN_EIO;
	}
}

int error_errno(int errno_value, const char *what, const char *path)
{
	char text[128];

	/* The GNU strerror_r: returns the text, in the buffer or not. */
	return error_set(error_code_of_errno(errno_value), "%s: %s: %s", path,
			 what, strerror_r(errno_value, text, sizeof(text)));
}

int error_nomem(void)
{
	return error_set(CAIRN_ENOMEM, "out of memory");
}

const char *cairn_errmsg(void)
{
	return message;
}

const char *cairn_strerror(int code)
{
	static const char *const names[] = {
		"ok",
		"corruption",
		"input/output error",
		"no space",
		"invalid argument",
		"not supported",
		"read-only",
		"busy",
		"timed out",
		"aborted",
		"out of memory",
		"already exists",
		"no such file",
		"permission denied",
		"quota reached",
		"forgotten",
		"in the future",
		"wrong kind of store",
	};

	if (code == CAIRN_NOT_FOUND)
		return "not found";
	if (code > 0 || -code >= (int)(sizeof(names) / sizeof(names[0])))
		return "unknown";
	return names[-code];
}
