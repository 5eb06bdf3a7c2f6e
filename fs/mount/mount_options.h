/* SPDX-License-Identifier: BSD-3-Clause */
/* The options of a mount, as -o gives them. */
#ifndef CAIRN_FS_MOUNT_OPTIONS_H
#define CAIRN_FS_MOUNT_OPTIONS_H

#include <stdint.h>
#include <sys/types.h>

#include "engine/base/slice.h"

struct mount_options {
	bool read_only;
	bool allow_other;
	bool nonempty;
	bool debug;
	bool noexec;
	bool flat; /* the keys are at the top */
	bool sync_always;
	uint64_t sync_us;   /* sync this often; 0: at fsync(2) only */
	uint64_t commit_us; /* the longest a write stays uncommitted */
	uint64_t slow_us;
	uint64_t memory;     /* bytes; 0: by default */
	uint64_t quota;      /* bytes; 0: none */
	uint64_t max_value;  /* bytes */
	uint64_t history;    /* keep so many revisions; 0: all */
	uint64_t history_us; /* keep revisions so long; 0: all */
	uint64_t threads;    /* 0: by default */
	uint64_t uid;
	uint64_t gid;
	uint64_t umask;

	/* Engine options given by name, "name=value" with NULs behind. */
	char *engine;
	size_t engine_len;
};

/* Defaults; the caller as owner. */
void mount_options_init(struct mount_options *o);
void mount_options_fini(struct mount_options *o);

/*
 * Take in what stands behind one -o: "name[=value],...". CAIRN_EINVAL with a
 * message that begins with the option and, for an unknown name, tells the
 * nearest one.
 */
MUST_CHECK int mount_options_parse(struct mount_options *o, const char *text);

/* memory=, or what it is by default. */
uint64_t mount_options_memory(const struct mount_options *o);

/* The largest value to be written to a plain store: max_value=, or what memory=
 * allows. */
uint64_t mount_options_plain_value(const struct mount_options *o);

/*
 * Give engine options their values: the shares of memory, then those named in
 * -o. *row_cache is mvcc_options.row_cache_bytes.
 */
MUST_CHECK int mount_options_apply(const struct mount_options *o,
				   struct cairn_options *engine,
				   size_t *row_cache);

#endif
