/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the engine needs of the outside world: files, directories and time.
 * All I/O of the engine goes through here, so that tests can lose unsynced
 * bytes (env_mem.h) and make any operation fail (env_fault.h).
 *
 * Every function returns CAIRN_OK, CAIRN_NOT_FOUND where said, or a failure
 * whose message (cairn_errmsg()) names the path. EINTR and short transfers are
 * dealt with below this line. Functions on one file object may be called by
 * one thread at a time, except rfile_read(), which any number may call.
 */
#ifndef CAIRN_ENV_ENV_H
#define CAIRN_ENV_ENV_H

#include "engine/base/slice.h"

struct cairn_env;

/* A file read at any offset. */
struct rfile {
	const struct rfile_ops *ops;
};

struct rfile_ops {
	int (*read)(struct rfile *f, uint64_t off, void *dst, size_t len,
		    size_t *got);
	int (*size)(struct rfile *f, uint64_t *size);
	/* Hint: [off, off + len) is wanted soon. */
	void (*prefetch)(struct rfile *f, uint64_t off, size_t len);
	void (*close)(struct rfile *f);
};

/* A file written from front to back. */
struct wfile {
	const struct wfile_ops *ops;
};

struct wfile_ops {
	int (*append)(struct wfile *f, const void *data, size_t len);
	int (*sync)(struct wfile *f);
	int (*preallocate)(struct wfile *f, uint64_t len);
	void (*flush_hint)(struct wfile *f, uint64_t off, uint64_t len);
	int (*close)(struct wfile *f);
};

/*
 * Read len bytes at off. *got < len only at the end of the file; reading
 * behind it gives 0 bytes and CAIRN_OK.
 */
static inline MUST_CHECK int rfile_read(struct rfile *f, uint64_t off,
					void *dst, size_t len, size_t *got)
{
	return f->ops->read(f, off, dst, len, got);
}

static inline MUST_CHECK int rfile_size(struct rfile *f, uint64_t *size)
{
	return f->ops->size(f, size);
}

static inline void rfile_prefetch(struct rfile *f, uint64_t off, size_t len)
{
	f->ops->prefetch(f, off, len);
}

/* NULL is allowed. */
static inline void rfile_close(struct rfile *f)
{
	if (f)
		f->ops->close(f);
}

/* Hand len bytes to the system. After a failure the tail is unknown. */
static inline MUST_CHECK int wfile_append(struct wfile *f, const void *data,
					  size_t len)
{
	return f->ops->append(f, data, len);
}

/*
 * Make the contents (not the name) survive a power cut: fdatasync. After a
 * failure the bytes may be gone although a second call would succeed, so the
 * file must be given up. One thread may do this while another appends: what was
 * appended before is made durable.
 */
static inline MUST_CHECK int wfile_sync(struct wfile *f)
{
	return f->ops->sync(f);
}

/* Reserve space without changing the size. Failing is no error to report. */
static inline int wfile_preallocate(struct wfile *f, uint64_t len)
{
	return f->ops->preallocate(f, len);
}

/* Hint: start writing [off, off + len) back. */
static inline void wfile_flush_hint(struct wfile *f, uint64_t off, uint64_t len)
{
	f->ops->flush_hint(f, off, len);
}

/* NULL is allowed. Frees the object whatever is returned. */
static inline MUST_CHECK int wfile_close(struct wfile *f)
{
	return f ? f->ops->close(f) : CAIRN_OK;
}

/* An exclusive lock on a file, held by this process. */
struct env_lock;

struct env_stat {
	uint64_t size;
	bool is_dir;
};

struct env_space {
	uint64_t free;  /* bytes that an ordinary user may still write */
	uint64_t total; /* the size of all */
};

/* Names in a directory without "." and "..", malloc'ed, unordered. */
struct env_names {
	char **names;
	size_t n;
};
void env_names_free(struct env_names *l);

struct cairn_env {
	const struct env_ops *ops;
};

struct env_ops {
	int (*open_read)(struct cairn_env *e, const char *path,
			 struct rfile **out);
	int (*open_write)(struct cairn_env *e, const char *path,
			  struct wfile **out);
	int (*list)(struct cairn_env *e, const char *dir,
		    struct env_names *out);
	int (*stat)(struct cairn_env *e, const char *path,
		    struct env_stat *out);
	int (*mkdir)(struct cairn_env *e, const char *path);
	int (*rename)(struct cairn_env *e, const char *from, const char *to);
	int (*link)(struct cairn_env *e, const char *from, const char *to);
	int (*unlink)(struct cairn_env *e, const char *path);
	int (*rmdir)(struct cairn_env *e, const char *path);
	int (*sync_file)(struct cairn_env *e, const char *path);
	int (*sync_dir)(struct cairn_env *e, const char *dir);
	int (*free_space)(struct cairn_env *e, const char *dir,
			  struct env_space *out);
	int (*lock)(struct cairn_env *e, const char *path, const char *note,
		    struct env_lock **out);
	void (*lock_note)(struct cairn_env *e, struct env_lock *l,
			  const char *note);
	void (*unlock)(struct cairn_env *e, struct env_lock *l);
	int (*holder)(struct cairn_env *e, const char *path,
		      struct cairn_holder *out);
	uint64_t (*now_us)(struct cairn_env *e);
	uint64_t (*mono_us)(struct cairn_env *e);
	void (*sleep_us)(struct cairn_env *e, uint64_t us);
};

/* CAIRN_NOT_FOUND when there is no such file. */
static inline MUST_CHECK int env_open_read(struct cairn_env *e,
					   const char *path, struct rfile **out)
{
	return e->ops->open_read(e, path, out);
}

/*
 * Create a new file, mode 0640 less the umask. CAIRN_EEXIST when the name is
 * taken: an existing file is never truncated.
 */
static inline MUST_CHECK int
env_open_write(struct cairn_env *e, const char *path, struct wfile **out)
{
	return e->ops->open_write(e, path, out);
}

/* CAIRN_NOT_FOUND when there is no such directory. */
static inline MUST_CHECK int env_list(struct cairn_env *e, const char *dir,
				      struct env_names *out)
{
	return e->ops->list(e, dir, out);
}

/* CAIRN_NOT_FOUND when there is no such name. */
static inline MUST_CHECK int env_stat(struct cairn_env *e, const char *path,
				      struct env_stat *out)
{
	return e->ops->stat(e, path, out);
}

/* Mode 0750. CAIRN_EEXIST when the name is taken. */
static inline MUST_CHECK int env_mkdir(struct cairn_env *e, const char *path)
{
	return e->ops->mkdir(e, path);
}

/* Replaces to. Durable after env_sync_dir() only. */
static inline MUST_CHECK int env_rename(struct cairn_env *e, const char *from,
					const char *to)
{
	return e->ops->rename(e, from, to);
}

/* A hard link; CAIRN_EEXIST when to is taken. */
static inline MUST_CHECK int env_link(struct cairn_env *e, const char *from,
				      const char *to)
{
	return e->ops->link(e, from, to);
}

/* CAIRN_NOT_FOUND when there is no such file. */
static inline MUST_CHECK int env_unlink(struct cairn_env *e, const char *path)
{
	return e->ops->unlink(e, path);
}

/* Remove an empty directory. CAIRN_NOT_FOUND when there is none. */
static inline MUST_CHECK int env_rmdir(struct cairn_env *e, const char *path)
{
	return e->ops->rmdir(e, path);
}

/*
 * As wfile_sync(), for a file that somebody else wrote: nobody knows whether
 * its bytes have reached the disk. CAIRN_NOT_FOUND when it is not there.
 */
static inline MUST_CHECK int env_sync_file(struct cairn_env *e,
					   const char *path)
{
	return e->ops->sync_file(e, path);
}

/* Make names created, renamed and removed in dir survive a power cut. */
static inline MUST_CHECK int env_sync_dir(struct cairn_env *e, const char *dir)
{
	return e->ops->sync_dir(e, dir);
}

/* Of the file system below dir. */
static inline MUST_CHECK int
env_free_space(struct cairn_env *e, const char *dir, struct env_space *out)
{
	return e->ops->free_space(e, dir, out);
}

/*
 * Lock path, creating it (mode 0640), exclusively against other processes and
 * against this one: a POSIX write lock on the whole file as RocksDB and
 * LevelDB take it, and a registry for this process, because closing any
 * descriptor of the file would drop the lock. With a note, env_lock_note() is
 * done at once; note NULL leaves the contents alone, so that an open that is
 * refused changes nothing. CAIRN_EBUSY when held; the message says by whom.
 */
static inline MUST_CHECK int env_lock(struct cairn_env *e, const char *path,
				      const char *note, struct env_lock **out)
{
	return e->ops->lock(e, path, note, out);
}

/*
 * Replace the contents by "pid N NOTE since RFC3339-TIME\n" for other processes
 * to read. The lock holds without it: failing to write it is no failure.
 */
static inline void env_lock_note(struct cairn_env *e, struct env_lock *l,
				 const char *note)
{
	e->ops->lock_note(e, l, note);
}

/* NULL is allowed. Empties the file if a note was written. */
static inline void env_unlock(struct cairn_env *e, struct env_lock *l)
{
	if (l)
		e->ops->unlock(e, l);
}

/* Who holds path; CAIRN_NOT_FOUND when nobody does. Creates nothing. */
static inline MUST_CHECK int env_holder(struct cairn_env *e, const char *path,
					struct cairn_holder *out)
{
	return e->ops->holder(e, path, out);
}

/* Wall clock, microseconds since 1970. May go backwards. */
static inline uint64_t env_now_us(struct cairn_env *e)
{
	return e->ops->now_us(e);
}

/* Monotonic microseconds from an arbitrary start. */
static inline uint64_t env_mono_us(struct cairn_env *e)
{
	return e->ops->mono_us(e);
}

static inline void env_sleep_us(struct cairn_env *e, uint64_t us)
{
	e->ops->sleep_us(e, us);
}

/* The real file system. One for the process; never freed. */
struct cairn_env *env_posix(void);

/* Read a whole file of at most max bytes (CAIRN_ECORRUPT above). */
struct buf;
MUST_CHECK int env_read_file(struct cairn_env *e, const char *path, size_t max,
			     struct buf *out);

/*
 * Copy a file, or of a longer one the first len bytes, to the new name to,
 * durable but for the name. CAIRN_ECORRUPT when from is shorter. On failure
 * there is no file to, as far as it could be removed again.
 */
MUST_CHECK int env_copy_file(struct cairn_env *e, const char *from,
			     const char *to, uint64_t len);

/*
 * Write path anew, so that a power cut leaves the old or the new contents:
 * tmp is created, written, synced, renamed to path, and dir is synced.
 */
MUST_CHECK int env_replace_file(struct cairn_env *e, const char *dir,
				const char *tmp, const char *path,
				struct cairn_slice contents);

#endif
