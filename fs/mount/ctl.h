/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The files that are no keys: README, stats/, levels/, ctl/, watch, events.
 * Told apart by their path from the root of the mount
 * ("stats/cache/hits_total"; "" is the root). Knows nothing of FUSE. Functions
 * return 0 or an errno.
 */
#ifndef CAIRN_FS_CTL_H
#define CAIRN_FS_CTL_H

#include "engine/base/buf.h"
#include "fs/stats/stats.h"

enum ctl_type {
	CTL_NONE, /* there is no such path */
	CTL_DIR,
	CTL_TEXT,    /* rendered when opened */
	CTL_README,  /* a text that stays */
	CTL_TABLE,   /* a table file of the store */
	CTL_TRIGGER, /* a command per write */
	CTL_RUN,     /* conversations: run.h */
	CTL_WATCH,   /* changes as they happen: watchfile.h */
	CTL_EVENTS,  /* what the engine does: eventlog.h */
};

struct keyfiles;
struct pins;
struct ctl;

/* All are borrowed. */
struct ctl_options {
	struct mvcc *m;
	struct keyfiles *ks;
	struct pins *pins;
	const char *dir;
	const struct stats_fs_counters *counters;
	bool flat; /* the keys are not in keys/ */
};
int ctl_new(const struct ctl_options *o, struct ctl **out);
void ctl_free(struct ctl *c);
/* Long commands end soon with CAIRN_EABORTED, and new ones at once. */
void ctl_cancel(struct ctl *c);

enum ctl_type ctl_type_of(struct ctl *c, struct cairn_slice path);

/* The names in a directory, each as varint32 length and bytes. */
int ctl_list(struct ctl *c, struct cairn_slice path, struct buf *out);

/*
 * The text of a file. fresh: of this moment; else it may be made of numbers up
 * to a second old, so that looking at all files costs one look at the store.
 */
int ctl_render(struct ctl *c, struct cairn_slice path, bool fresh,
	       struct buf *out);

/* A table file: its size, or a descriptor and what keeps the file there. */
int ctl_table_size(struct ctl *c, struct cairn_slice path, uint64_t *size);
int ctl_table_open(struct ctl *c, struct cairn_slice path, int *fd,
		   struct cairn_table_list *keep);

/* Do what was written to a trigger. Returns when it is done. */
int ctl_command(struct ctl *c, struct cairn_slice path,
		struct cairn_slice text);

/* The last failure of the store in words, "none" when there is none. */
int ctl_error_text(struct ctl *c, struct buf *out);

#endif
