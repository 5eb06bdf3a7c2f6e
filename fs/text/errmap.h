/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Our result codes as errno, the one place that knows both. The functions of
 * the mount (tree.h, dir.h, revdir.h, ctl.h) return 0 or an errno, positive.
 */
#ifndef CAIRN_FS_ERRMAP_H
#define CAIRN_FS_ERRMAP_H

/* The errno for a cairn_code: 0 for CAIRN_OK, ENOENT for CAIRN_NOT_FOUND. */
int errmap_errno(int code);

#endif
