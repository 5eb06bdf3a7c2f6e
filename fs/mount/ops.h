/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The FUSE operations: name the inode and the handle, call what knows nothing
 * of FUSE, reply once.
 */
#ifndef CAIRN_FS_OPS_H
#define CAIRN_FS_OPS_H

#include "engine/base/list.h"
#include "fs/mount/ctl.h"
#include "fs/mount/eventlog.h"
#include "fs/mount/fuse.h"
#include "fs/mount/jobs.h"
#include "fs/mount/notify.h"
#include "fs/mount/stream.h"
#include "fs/mount/tree.h"
#include "fs/mount/workers.h"

struct fs;

/* Buffers for replies that are kept rather than given back. */
#define FS_SCRATCH 4

struct fs_options {
	uid_t uid;
	gid_t gid;
	mode_t umask;
	bool read_only;
	uint64_t slow_us; /* requests slower than this are counted */
	uint64_t commit_us;
	uint64_t value_max;
	size_t dirty_max;        /* bytes of open files in memory */
	bool sync;               /* commits wait for the disk */
	bool flat;               /* keys/ is the top, all else below .cairn */
	bool whole_values;       /* see keyfile.h */
	struct eventlog *events; /* of the store; borrowed; NULL: none */
};

/*
 * An open file or directory, first member of its handle. What is still open
 * when the mount ends is closed by end().
 */
struct fs_open {
	struct list node;
	void (*end)(struct fs *fs, struct fs_open *o);
	/* Let what waits for it, or works for it, end soon; NULL: nothing
	 * does. open_mu is held. */
	void (*cancel)(struct fs_open *o);
};

/* One mount: the user data of the session. */
struct fs {
	struct mvcc *m;
	const char *dir; /* the data directory; borrowed */
	struct fs_options o;
	struct fuse_session *se;
	struct inodes *inodes;
	struct keyfiles *ks;
	struct tree tree;
	struct ctl *ctl;
	struct pins *pins;
	struct streams *streams;
	struct jobs *jobs;
	struct notify *notify;   /* from the mount on */
	struct workers *workers; /* as well */
	struct inode *root;      /* of the mount: control, or if flat, keys/ */
	struct inode *control;   /* the directory of what is no key */
	_Atomic dev_t dev;       /* of the mount, once it answers */
	struct stats_fs_counters counters;

	/* Something waits for keyfiles_tick(). */
	void (*wake)(void *ctx);
	void *wake_ctx;

	/* Files and directories the kernel has open. Guarded by open_mu. */
	struct mutex open_mu;
	struct list open;

	struct mutex scratch_mu;
	struct buf scratch[FS_SCRATCH];
	size_t n_scratch;
};

extern const struct fuse_lowlevel_ops fs_ops;

/* The parts of fs but the session, and what runs on it. CAIRN_ codes. */
int fs_init(struct fs *fs, struct mvcc *m, const char *dir,
	    const struct fs_options *o);
/* Let what works for open files end soon. */
void fs_cancel_all(struct fs *fs);
/* Close what the kernel has open and will not close any more. */
void fs_close_all(struct fs *fs);
void fs_fini(struct fs *fs);

#endif
