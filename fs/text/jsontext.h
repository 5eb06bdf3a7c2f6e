/* SPDX-License-Identifier: BSD-3-Clause */
/* Strings of JSON. */
#ifndef CAIRN_FS_JSONTEXT_H
#define CAIRN_FS_JSONTEXT_H

#include "engine/base/buf.h"

/*
 * Append text in quotes. Bytes that are no UTF-8 become U+FFFD: where they
 * must not be lost, escape them before (keytext.h) or use jsontext_value().
 */
MUST_CHECK int jsontext_string(struct cairn_slice text, struct buf *out);

/* Append "NAME":"text" when value is UTF-8, else "NAME_b64":"base64". */
MUST_CHECK int jsontext_value(const char *name, struct cairn_slice value,
			      struct buf *out);

#endif
