/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The lines of MNT/watch: one per change, as `cairn watch` prints them. They
 * begin with the next change, or where and with what keys a write says: "REV
 * [PREFIX]", REV 0 for the next change, PREFIX escaped as in the lines. Who
 * wants to go on after an interruption writes the revision behind the last one
 * it has seen. A reader that is so far behind that a part is forgotten gets
 * ESTALE.
 */
#ifndef CAIRN_FS_WATCHFILE_H
#define CAIRN_FS_WATCHFILE_H

#include "fs/mount/stream.h"

int watchfile_new(struct fs *fs, struct stream_source **out);

#endif
