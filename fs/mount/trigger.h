/* SPDX-License-Identifier: BSD-3-Clause */
/* The commands that are written to the files of ctl/. */
#ifndef CAIRN_FS_TRIGGER_H
#define CAIRN_FS_TRIGGER_H

#include "engine/base/slice.h"
#include "mvcc/mvcc.h"

struct keyfiles;
struct pins;
struct stats_fs_counters;

/* What they work on. */
struct trigger_env {
	struct mvcc *m;
	struct keyfiles *ks;
	struct pins *pins;
	const struct stats_fs_counters *counters; /* for the quota */
	const volatile bool *cancel; /* becomes true: long ones are to end */
};

/* The names, of a store that keeps a past or of a plain one; NULL past the end.
 */
const char *trigger_name(bool plain, size_t i);
#define TRIGGERS_MAX 8u

/* Do what text says. Returns when it is done: 0 or an errno, EINVAL for what is
 * not understood. */
int trigger_run(const struct trigger_env *e, struct cairn_slice name,
		struct cairn_slice text);

#endif
