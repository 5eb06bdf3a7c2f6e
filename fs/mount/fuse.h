/* SPDX-License-Identifier: BSD-3-Clause */
/* libfuse in the version this code is written for. */
#ifndef CAIRN_FS_FUSE_H
#define CAIRN_FS_FUSE_H

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>

#endif
