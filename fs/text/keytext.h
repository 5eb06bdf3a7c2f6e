/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Keys as people type and read them: bytes 0-31, 127, '%' and bytes that are
 * not UTF-8 as %XX with capital hex digits, all else as it is. One escaping for
 * command arguments, text output and messages.
 */
#ifndef CAIRN_FS_KEYTEXT_H
#define CAIRN_FS_KEYTEXT_H

#include "engine/base/buf.h"

MUST_CHECK int keytext_escape(struct cairn_slice key, struct buf *out);

/* CAIRN_EINVAL when a '%' is not followed by two hex digits. */
MUST_CHECK int keytext_unescape(const char *text, struct buf *key);

/* Lower-case hex digits, without a prefix. */
MUST_CHECK int keytext_hex(struct cairn_slice bytes, struct buf *out);

/* With or without "0x" in front. CAIRN_EINVAL for anything but hex pairs. */
MUST_CHECK int keytext_unhex(const char *text, struct buf *bytes);

/* Length of the UTF-8 sequence at p (1-4), 0 when it is none. */
size_t keytext_utf8(const uint8_t *p, const uint8_t *end);

#endif
