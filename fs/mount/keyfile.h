/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Files being used: the bytes and attributes that all open descriptors of a
 * key share, and when they are committed.
 *
 * A keyfile exists while somebody has the key's file open or something of it is
 * not committed. What is written goes into one buffer (struct mvcc_object) that
 * every reader of the mount sees; a commit makes it the key's next revision.
 * Commits are made by the caller (close, fsync, truncate), by
 * keyfiles_tick() for long writers, and by a write that finds too much in
 * memory. Attributes alone are committed by keyfiles_tick(), many keys in one
 * revision, or with the next commit of their key.
 *
 * Results are cairn_codes. Any number of threads may use everything here.
 * Lock order: keyfile, then the list of keyfiles, then the inode table. The
 * object of a keyfile is used by one thread at a time, which is marked busy and
 * holds no lock meanwhile.
 */
#ifndef CAIRN_FS_KEYFILE_H
#define CAIRN_FS_KEYFILE_H

#include "engine/base/buf.h"
#include "mvcc/mvcc.h"

struct keyfiles;
struct keyfile;

/* Calls back into the mount. Any may be NULL. */
struct keyfile_hooks {
	void *ctx;
	/* The owner must stay: something of it is uncommitted; no more so. */
	void (*hold)(void *ctx, void *owner);
	void (*let_go)(void *ctx, void *owner);
	/* The calling thread may wait long from here to there. */
	void (*wait_begin)(void *ctx);
	void (*wait_end)(void *ctx);
	/* keyfiles_tick() has something to do in a while. */
	void (*wake)(void *ctx);
	/* CAIRN_OK, or CAIRN_EDQUOT or CAIRN_ENOSPC when nothing may be added.
	 */
	int (*may_grow)(void *ctx);
};

struct keyfiles_options {
	uint64_t commit_us; /* the longest a write stays uncommitted */
	uint64_t attrs_us;  /* the same for attributes alone */
	size_t dirty_max;   /* bytes in memory, of all files together */
	uint64_t value_max; /* the largest file */
	/*
	 * Values are in memory until they are committed, and a commit writes
	 * all of one. So a file is not committed for being large, but when
	 * there is no room for its bytes the others are, and CAIRN_ENOSPC is
	 * the answer when that does not help.
	 */
	bool whole_values;
	bool sync;          /* every commit waits for the disk */
	const void *origin; /* of our transactions */
	struct keyfile_hooks hooks;
};

MUST_CHECK int keyfiles_new(struct mvcc *m, const struct keyfiles_options *o,
			    struct keyfiles **out);
/* All keyfiles are gone. NULL is allowed. */
void keyfiles_free(struct keyfiles *ks);

/*
 * Commit what has waited long enough. now_us: monotonic microseconds, as
 * keyfiles_now_us() tells them. True while anything is left to wait for.
 */
bool keyfiles_tick(struct keyfiles *ks, uint64_t now_us);
uint64_t keyfiles_now_us(void);

/* Commit everything, then with sync wait for the disk. The first failure. */
MUST_CHECK int keyfiles_commit_all(struct keyfiles *ks, bool sync);

/* Forget everything uncommitted: the end, after commits have failed. */
void keyfiles_give_up(struct keyfiles *ks);

/*
 * The keys that start with prefix of files created and not yet committed, each
 * as varint32 length and bytes, appended to out in no order.
 */
MUST_CHECK int keyfiles_created(struct keyfiles *ks, struct cairn_slice prefix,
				struct buf *out);

/* Attributes and more, as stat(2) shows them. */
struct keyfile_stat {
	enum mvcc_type type;
	bool has_mode, has_uid, has_gid;
	uint32_t mode, uid, gid;
	uint64_t size;
	int64_t mtime_ns;
	int64_t ctime_ns;
	bool unlinked;
};
void keyfile_stat_of_row(const struct mvcc_row *row, struct keyfile_stat *st);

/*
 * A keyfile with one reference. owner goes to the hooks. new: of a key that
 * does not exist, an empty file with the attributes of st (type FILE), or a
 * directory (type DIR) that has no record yet. load: of an existing key.
 */
MUST_CHECK int keyfile_new(struct keyfiles *ks, void *owner,
			   struct cairn_slice key,
			   const struct keyfile_stat *st, struct keyfile **out);
MUST_CHECK int keyfile_load(struct keyfiles *ks, void *owner,
			    struct cairn_slice key, struct keyfile **out);
void keyfile_ref(struct keyfile *kf);
void keyfile_unref(struct keyfile *kf);
bool keyfile_has_one_ref(const struct keyfile *kf);

/* One more descriptor is open, or one less. With the last one, what cannot be
 * committed is given up: then keyfile_close() fails. */
void keyfile_open(struct keyfile *kf);
MUST_CHECK int keyfile_close(struct keyfile *kf);

/* Of now. MUST_CHECK: reading a changed row can fail. */
MUST_CHECK int keyfile_stat(struct keyfile *kf, struct keyfile_stat *st);

/* What the hook may_grow says, which writing and truncating and extended
 * attributes ask by themselves: to be asked before attributes are set. */
MUST_CHECK int keyfile_may_grow(const struct keyfile *kf);

MUST_CHECK int keyfile_read(struct keyfile *kf, uint64_t off, void *dst,
			    size_t len, size_t *got);
/*
 * Write at off, or with append behind the end; *at (may be NULL) is where.
 * CAIRN_EINVAL: over the largest size.
 */
MUST_CHECK int keyfile_write(struct keyfile *kf, uint64_t off, bool append,
			     const void *data, size_t len, uint64_t *at);
/* As a write, without a commit. */
MUST_CHECK int keyfile_truncate(struct keyfile *kf, uint64_t size);
/* Extend to at least size. */
MUST_CHECK int keyfile_extend(struct keyfile *kf, uint64_t size);

/* Commit what there is. With sync it survives a power cut on return. */
MUST_CHECK int keyfile_commit(struct keyfile *kf, bool sync);
/* Whether bytes (not attributes) are uncommitted. */
bool keyfile_is_dirty(struct keyfile *kf);

enum {
	KEYFILE_MODE = 1,
	KEYFILE_UID = 2,
	KEYFILE_GID = 4,
	KEYFILE_MTIME = 8,
	/* With MTIME: it is that of now, as a write would set it. */
	KEYFILE_TOUCH = 16,
};
/* Set the attributes in mask from st. */
void keyfile_set_attrs(struct keyfile *kf, unsigned mask,
		       const struct keyfile_stat *st);
/* As xattr.h; the copy of all is appended to out. */
MUST_CHECK int keyfile_xattrs(struct keyfile *kf, struct buf *out);
MUST_CHECK int keyfile_set_xattr(struct keyfile *kf, struct cairn_slice name,
				 const struct cairn_slice *value);

/*
 * Commit, and put the key on the lease id (mvcc/lease.h), 0 for none. Other
 * commits leave a key on its lease. CAIRN_NOT_FOUND when there is no such
 * lease, or the file was deleted.
 */
MUST_CHECK int keyfile_set_lease(struct keyfile *kf, int64_t id);

/*
 * The key is about to be deleted or replaced: from now on nothing of kf is
 * committed, and what is open keeps its bytes. undo when that failed.
 * *was_committed: whether the key exists in the store.
 */
MUST_CHECK int keyfile_unlink(struct keyfile *kf, bool *was_committed);
void keyfile_undo_unlink(struct keyfile *kf);

/*
 * Commit, and until keyfile_thaw() nobody else uses kf: what was committed in
 * between would go to the name that the key is about to lose. One thread at a
 * time may freeze any number, in any order, and does nothing else with them: so
 * who keeps a keyfile busy must not wait for another.
 */
MUST_CHECK int keyfile_freeze(struct keyfile *kf);
void keyfile_thaw(struct keyfile *kf);

/*
 * The key was renamed in the store, kf being frozen. Takes over the bytes of
 * key, which come from malloc.
 */
void keyfile_renamed(struct keyfile *kf, struct cairn_slice key);

/* The key was changed in the store by somebody else. */
void keyfile_changed_below(struct keyfile *kf);

#endif
