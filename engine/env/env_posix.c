/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The real file system, through plain system calls: no buffering (that is
 * above), no mapping (an I/O error below a mapping is a SIGBUS). Directories
 * come from strangers, so nothing but regular files is opened: a FIFO called
 * CURRENT must not hang us.
 */
#include "engine/env/env.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/buf.h"
#include "engine/base/error.h"
#include "engine/base/list.h"
#include "engine/env/lock_text.h"

#define FILE_MODE 0640
#define DIR_MODE  0750

/* Linux transfers at most this much in one call. */
#define TRANSFER_MAX ((size_t)0x7ffff000)

/* ------------------------------------------------------------ descriptors */

/*
 * open() that never returns 0, 1 or 2: when a process was started with one of
 * them closed, its next message to stderr would land in the database. -1 with
 * errno on failure.
 */
static int open_fd(const char *path, int flags, mode_t mode)
{
	int fd, high, err;

	do
		fd = open(path, flags | O_CLOEXEC | O_NOCTTY, mode);
	while (fd < 0 && errno == EINTR);
	if (fd < 0 || fd > STDERR_FILENO)
		return fd;
	high = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	err = errno;
	close(fd);
	errno = err;
	return high;
}

/* No such file: neither the name nor the directory it would be in. */
static bool is_missing(int err)
{
	return err == ENOENT || err == ENOTDIR;
}

/* Open for reading what must be a regular file, CAIRN_NOT_FOUND if missing. */
static int open_regular(const char *path, int *out)
{
	struct stat st;
	int err = CAIRN_OK;
	int fd = open_fd(path, O_RDONLY | O_NONBLOCK, 0);

	if (fd < 0)
		return is_missing(errno) ? CAIRN_NOT_FOUND
					 : error_errno(errno, "open", path);
	if (fstat(fd, &st))
		err = error_errno(errno, "stat", path);
	else if (!S_ISREG(st.st_mode))
		err = error_set(CAIRN_EIO, "%s: open: not a regular file",
				path);
	if (err)
		close(fd);
	else
		*out = fd;
	return err;
}

/* Read up to len bytes; fewer at the end of the file only. 0 or an errno. */
static int pread_full(int fd, uint64_t off, void *dst, size_t len, size_t *got)
{
	uint8_t *p = dst;
	size_t done = 0;

	/* No file reaches beyond: that is its end, not a bad argument. */
	if (off > INT64_MAX)
		len = 0;
	else if (len > INT64_MAX - off)
		len = (size_t)(INT64_MAX - off);
	while (done < len) {
		size_t want = len - done;
		ssize_t n;

		if (want > TRANSFER_MAX)
			want = TRANSFER_MAX;
		n = pread(fd, p + done, want, (off_t)(off + done));
		if (n < 0) {
			if (errno == EINTR)
				continue;
			return errno;
		}
		if (n == 0)
			break;
		done += (size_t)n;
	}
	*got = done;
	return 0;
}

/* ------------------------------------------------------------ reading */

struct posix_rfile {
	struct rfile base;
	int fd;
	char path[];
};

static int posix_read(struct rfile *base, uint64_t off, void *dst, size_t len,
		      size_t *got)
{
	struct posix_rfile *f = (struct posix_rfile *)base;
	int err = pread_full(f->fd, off, dst, len, got);

	return err ? error_errno(err, "read", f->path) : CAIRN_OK;
}

static int posix_size(struct rfile *base, uint64_t *size)
{
	struct posix_rfile *f = (struct posix_rfile *)base;
	struct stat st;

	if (fstat(f->fd, &st))
		return error_errno(errno, "stat", f->path);
	*size = (uint64_t)st.st_size;
	return CAIRN_OK;
}

static void posix_prefetch(struct rfile *base, uint64_t off, size_t len)
{
	struct posix_rfile *f = (struct posix_rfile *)base;

	/* To posix_fadvise, length 0 is the rest of the file. */
	if (len && off <= INT64_MAX && len <= INT64_MAX)
		(void)posix_fadvise(f->fd, (off_t)off, (off_t)len,
				    POSIX_FADV_WILLNEED);
}

static void posix_rclose(struct rfile *base)
{
	struct posix_rfile *f = (struct posix_rfile *)base;

	close(f->fd);
	free(f);
}

static const struct rfile_ops posix_rfile_ops = {
	.read = posix_read,
	.size = posix_size,
	.prefetch = posix_prefetch,
	.close = posix_rclose,
};

static int posix_open_read(struct cairn_env *e, const char *path,
			   struct rfile **out)
{
	size_t path_len = strlen(path) + 1;
	struct posix_rfile *f = malloc(sizeof(*f) + path_len);
	int err;

	(void)e;
	if (!f)
		return error_nomem();
	f->base.ops = &posix_rfile_ops;
	memcpy(f->path, path, path_len);
	err = open_regular(path, &f->fd);
	if (err) {
		free(f);
		return err;
	}
	*out = &f->base;
	return CAIRN_OK;
}

/* ------------------------------------------------------------ writing */

struct posix_wfile {
	struct wfile base;
	int fd;
	int sync_errno; /* of the sync that failed, 0: none did */
	uint64_t size;
	uint64_t preallocated;
	char path[];
};

static int posix_append(struct wfile *base, const void *data, size_t len)
{
	struct posix_wfile *f = (struct posix_wfile *)base;
	const uint8_t *p = data;

	while (len) {
		size_t want = len < TRANSFER_MAX ? len : TRANSFER_MAX;
		ssize_t n = write(f->fd, p, want);

		if (n < 0) {
			if (errno == EINTR)
				continue;
			return error_errno(errno, "write", f->path);
		}
		if (n == 0)
			return error_errno(EIO, "write", f->path);
		p += n;
		len -= (size_t)n;
		f->size += (uint64_t)n;
	}
	return CAIRN_OK;
}

static int posix_sync(struct wfile *base)
{
	struct posix_wfile *f = (struct posix_wfile *)base;
	int ret;

	/*
	 * After a failed fdatasync the kernel takes the pages for clean: the
	 * next one would succeed although the bytes never reached the disk.
	 */
	if (!f->sync_errno) {
		do
			ret = fdatasync(f->fd);
		while (ret && errno == EINTR);
		if (ret)
			f->sync_errno = errno;
	}
	return f->sync_errno ? error_errno(f->sync_errno, "sync", f->path)
			     : CAIRN_OK;
}

static int posix_preallocate(struct wfile *base, uint64_t len)
{
	struct posix_wfile *f = (struct posix_wfile *)base;
	int ret;

	if (len <= f->preallocated)
		return CAIRN_OK;
	if (len > INT64_MAX)
		return error_errno(EFBIG, "preallocate", f->path);
	do
		ret = fallocate(f->fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)len);
	while (ret && errno == EINTR);
	if (ret)
		return error_errno(errno, "preallocate", f->path);
	f->preallocated = len;
	return CAIRN_OK;
}

static void posix_flush_hint(struct wfile *base, uint64_t off, uint64_t len)
{
	struct posix_wfile *f = (struct posix_wfile *)base;

	/*
	 * Only starts the writing. The flags that wait would also take an
	 * error away that the next fdatasync must see.
	 */
	if (len && off <= INT64_MAX && len <= INT64_MAX)
		(void)sync_file_range(f->fd, (off_t)off, (off_t)len,
				      SYNC_FILE_RANGE_WRITE);
}

static int posix_wclose(struct wfile *base)
{
	struct posix_wfile *f = (struct posix_wfile *)base;
	int err = CAIRN_OK;

	/*
	 * Give back what was reserved and not used: truncating to the size a
	 * file has frees its blocks behind the end. When that fails only space
	 * is lost, until the file goes.
	 */
	if (f->preallocated > f->size && ftruncate(f->fd, (off_t)f->size))
		f->preallocated = 0;
	/* Linux releases the descriptor also when close is interrupted. */
	if (close(f->fd) && errno != EINTR)
		err = error_errno(errno, "close", f->path);
	free(f);
	return err;
}

static const struct wfile_ops posix_wfile_ops = {
	.append = posix_append,
	.sync = posix_sync,
	.preallocate = posix_preallocate,
	.flush_hint = posix_flush_hint,
	.close = posix_wclose,
};

static int posix_open_write(struct cairn_env *e, const char *path,
			    struct wfile **out)
{
	size_t path_len = strlen(path) + 1;
	struct posix_wfile *f = calloc(1, sizeof(*f) + path_len);

	(void)e;
	if (!f)
		return error_nomem();
	f->base.ops = &posix_wfile_ops;
	memcpy(f->path, path, path_len);
	f->fd = open_fd(path, O_WRONLY | O_CREAT | O_EXCL, FILE_MODE);
	if (f->fd < 0) {
		int err = errno;

		free(f);
		return error_errno(err, "create", path);
	}
	*out = &f->base;
	return CAIRN_OK;
}

/* ------------------------------------------------------------ names */

#define NAMES_CAP_MIN 32

static int names_add(struct env_names *l, size_t *cap, const char *name)
{
	char *copy;

	if (l->n == *cap) {
		size_t more = 2 * *cap;
		char **names = realloc(l->names, more * sizeof(*names));

		if (!names)
			return error_nomem();
		l->names = names;
		*cap = more;
	}
	copy = strdup(name);
	if (!copy)
		return error_nomem();
	l->names[l->n++] = copy;
	return CAIRN_OK;
}

static int read_names(DIR *d, const char *dir, struct env_names *l)
{
	size_t cap = NAMES_CAP_MIN;
	int err = CAIRN_OK;

	/* Not NULL for an empty directory either: callers sort it. */
	l->names = malloc(cap * sizeof(*l->names));
	if (!l->names)
		return error_nomem();
	while (!err) {
		const struct dirent *entry;

		errno = 0;
		entry = readdir(d);
		if (!entry)
			return errno ? error_errno(errno, "list", dir)
				     : CAIRN_OK;
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			err = names_add(l, &cap, entry->d_name);
	}
	return err;
}

static int posix_list(struct cairn_env *e, const char *dir,
		      struct env_names *out)
{
	struct env_names l = { 0 };
	DIR *d = opendir(dir); /* with O_CLOEXEC */
	int err;

	(void)e;
	if (!d)
		return errno == ENOENT ? CAIRN_NOT_FOUND
				       : error_errno(errno, "list", dir);
	err = read_names(d, dir, &l);
	closedir(d);
	if (err)
		env_names_free(&l);
	else
		*out = l;
	return err;
}

static int posix_stat(struct cairn_env *e, const char *path,
		      struct env_stat *out)
{
	struct stat st;

	(void)e;
	if (stat(path, &st))
		return is_missing(errno) ? CAIRN_NOT_FOUND
					 : error_errno(errno, "stat", path);
	*out = (struct env_stat){
		.size = S_ISDIR(st.st_mode) ? 0 : (uint64_t)st.st_size,
		.is_dir = S_ISDIR(st.st_mode),
	};
	return CAIRN_OK;
}

static int posix_mkdir(struct cairn_env *e, const char *path)
{
	(void)e;
	if (mkdir(path, DIR_MODE))
		return error_errno(errno, "make directory", path);
	return CAIRN_OK;
}

static int posix_rename(struct cairn_env *e, const char *from, const char *to)
{
	(void)e;
	if (rename(from, to)) {
		int err = errno;
		char what[PATH_MAX];

		snprintf(what, sizeof(what), "rename to %s", to);
		return error_errno(err, what, from);
	}
	return CAIRN_OK;
}

static int posix_link(struct cairn_env *e, const char *from, const char *to)
{
	(void)e;
	/* What from leads to, not a link that it may be. */
	if (linkat(AT_FDCWD, from, AT_FDCWD, to, AT_SYMLINK_FOLLOW)) {
		int err = errno;
		char what[PATH_MAX];

		snprintf(what, sizeof(what), "link to %s", to);
		return error_errno(err, what, from);
	}
	return CAIRN_OK;
}

static int posix_unlink(struct cairn_env *e, const char *path)
{
	(void)e;
	if (unlink(path))
		return is_missing(errno) ? CAIRN_NOT_FOUND
					 : error_errno(errno, "remove", path);
	return CAIRN_OK;
}

static int posix_rmdir(struct cairn_env *e, const char *path)
{
	(void)e;
	if (rmdir(path))
		return is_missing(errno) ? CAIRN_NOT_FOUND
					 : error_errno(errno, "remove", path);
	return CAIRN_OK;
}

static int posix_sync_file(struct cairn_env *e, const char *path)
{
	int fd, ret;
	int err = open_regular(path, &fd);

	(void)e;
	if (err)
		return err;
	do
		ret = fsync(fd);
	while (ret && errno == EINTR);
	err = ret ? error_errno(errno, "sync", path) : CAIRN_OK;
	close(fd);
	return err;
}

static int posix_sync_dir(struct cairn_env *e, const char *dir)
{
	int fd = open_fd(dir, O_RDONLY | O_DIRECTORY, 0);
	int ret, err;

	(void)e;
	if (fd < 0)
		return error_errno(errno, "open directory", dir);
	do
		ret = fsync(fd);
	while (ret && errno == EINTR);
	err = ret ? error_errno(errno, "sync directory", dir) : CAIRN_OK;
	close(fd);
	return err;
}

static int posix_free_space(struct cairn_env *e, const char *dir,
			    struct env_space *out)
{
	struct statvfs st;
	int ret;

	(void)e;
	do
		ret = statvfs(dir, &st);
	while (ret && errno == EINTR);
	if (ret)
		return error_errno(errno, "free space", dir);
	out->free = (uint64_t)st.f_bavail * (uint64_t)st.f_frsize;
	out->total = (uint64_t)st.f_blocks * (uint64_t)st.f_frsize;
	return CAIRN_OK;
}

/* ------------------------------------------------------------ locks */

struct env_lock {
	struct list link;
	dev_t dev;
	ino_t ino;
	int fd;
	bool noted; /* the text in the file is ours */
	struct cairn_holder holder;
};

/*
 * The locks of this process. A POSIX lock belongs to the process: taking it
 * twice succeeds, and closing any descriptor of the file drops it. So the
 * process must know all of its locks, whichever database took them, before it
 * opens a LOCK file; there is no smaller place to keep them. Files are
 * identified by device and inode, because one file may have many paths.
 */
static pthread_mutex_t registry_mu = PTHREAD_MUTEX_INITIALIZER;
static struct list registry = { &registry, &registry };

static struct env_lock *registry_find(const struct stat *st)
{
	list_for_each (pos, &registry) {
		struct env_lock *l = list_entry(pos, struct env_lock, link);

		if (l->dev == st->st_dev && l->ino == st->st_ino)
			return l;
	}
	return NULL;
}

/* fcntl() on a lock; 0 or an errno. */
static int lock_call(int fd, int cmd, struct flock *fl)
{
	int ret;

	do
		ret = fcntl(fd, cmd, fl);
	while (ret && errno == EINTR);
	return ret ? errno : 0;
}

/*
 * Which other process holds the lock on the open file; the kernel does not
 * count our own. 0 or an errno.
 */
static int query_lock(int fd, bool *held, struct cairn_holder *out)
{
	struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	uint8_t text[sizeof(out->note)];
	size_t got = 0;
	int err;

	err = lock_call(fd, F_GETLK, &fl);
	if (err)
		return err;
	*held = fl.l_type != F_UNLCK;
	if (!*held)
		return 0;
	err = pread_full(fd, 0, text, sizeof(text), &got);
	if (err)
		return err;
	out->pid = fl.l_pid;
	lock_text_read(slice_of(text, got), out);
	return 0;
}

/*
 * Write the text over the old one, then cut: no block is needed that was not
 * there, and a reader, who stops at the newline, never sees half of each. The
 * lock holds without it, and must, when the disk is full; so failures to write
 * are no failures of locking.
 */
static void write_text(int fd, struct cairn_slice text)
{
	if (pwrite(fd, text.data, text.len, 0) != (ssize_t)text.len)
		text.len = 0;
	if (ftruncate(fd, (off_t)text.len))
		return; /* the line stands, with old bytes behind it */
}

/* Take the system's lock on l->fd. */
static int take_lock(struct env_lock *l, const char *path)
{
	struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	struct stat st;
	bool held = false;
	int err;

	if (fstat(l->fd, &st))
		return error_errno(errno, "stat", path);
	if (!S_ISREG(st.st_mode))
		return error_set(CAIRN_EIO, "%s: lock: not a regular file",
				 path);
	l->dev = st.st_dev;
	l->ino = st.st_ino;
	err = lock_call(l->fd, F_SETLK, &fl);
	if (!err)
		return CAIRN_OK;
	if (err != EACCES && err != EAGAIN)
		return error_errno(err, "lock", path);
	l->holder = (struct cairn_holder){ 0 };
	err = query_lock(l->fd, &held, &l->holder);
	if (err)
		return error_errno(err, "lock", path);
	return lock_text_busy(path, &l->holder);
}

/* registry_mu is held. On failure l->fd may be open. */
static int lock_registered(struct env_lock *l, const char *path)
{
	const struct env_lock *ours;
	struct stat st;
	int err;

	if (stat(path, &st) == 0) {
		ours = registry_find(&st);
		if (ours)
			return lock_text_busy(path, &ours->holder);
	} else if (errno != ENOENT) {
		return error_errno(errno, "lock", path);
	}
	/* A link planted as LOCK would have its target overwritten. */
	l->fd = open_fd(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK,
			FILE_MODE);
	if (l->fd < 0)
		return error_errno(errno, "lock", path);
	err = take_lock(l, path);
	if (err)
		return err;
	/* A refused open may have removed the file in between. */
	if (stat(path, &st) || st.st_dev != l->dev || st.st_ino != l->ino)
		return error_set(CAIRN_EBUSY, "%s: just released; try again",
				 path);
	return CAIRN_OK;
}

static uint64_t clock_us(clockid_t clock)
{
	struct timespec ts = { 0 };

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static void posix_lock_note(struct cairn_env *e, struct env_lock *l,
			    const char *note)
{
	struct buf text = { 0 };

	(void)e;
	if (lock_text_append(&text, (long)getpid(), note,
			     clock_us(CLOCK_REALTIME)) == CAIRN_OK) {
		pthread_mutex_lock(&registry_mu);
		write_text(l->fd, buf_slice(&text));
		l->noted = true;
		lock_text_read(buf_slice(&text), &l->holder);
		pthread_mutex_unlock(&registry_mu);
	}
	buf_fini(&text);
}

static int posix_lock(struct cairn_env *e, const char *path, const char *note,
		      struct env_lock **out)
{
	struct env_lock *l = calloc(1, sizeof(*l));
	int err;

	if (!l)
		return error_nomem();
	l->fd = -1;
	pthread_mutex_lock(&registry_mu);
	err = lock_registered(l, path);
	if (err) {
		if (l->fd >= 0)
			close(l->fd);
	} else {
		l->holder = (struct cairn_holder){ .pid = (long)getpid() };
		list_add_tail(&registry, &l->link);
	}
	pthread_mutex_unlock(&registry_mu);
	if (err) {
		free(l);
		return err;
	}
	if (note)
		posix_lock_note(e, l, note);
	*out = l;
	return CAIRN_OK;
}

static void posix_unlock(struct cairn_env *e, struct env_lock *l)
{
	(void)e;
	pthread_mutex_lock(&registry_mu);
	list_remove(&l->link);
	/*
	 * Empty again, as RocksDB leaves it: should that engine hold the file
	 * next, nobody takes our text for its own.
	 */
	if (l->noted)
		write_text(l->fd, slice_of("", 0));
	close(l->fd); /* drops the lock */
	pthread_mutex_unlock(&registry_mu);
	free(l);
}

/* registry_mu is held, so that nobody of us locks what is opened here. */
static int find_holder(const char *path, struct cairn_holder *out)
{
	struct cairn_holder h = { 0 };
	const struct env_lock *ours;
	struct stat st;
	bool held = false;
	int fd, err;

	if (stat(path, &st))
		return is_missing(errno) ? CAIRN_NOT_FOUND
					 : error_errno(errno, "stat", path);
	ours = registry_find(&st);
	if (ours) {
		*out = ours->holder;
		return CAIRN_OK;
	}
	err = open_regular(path, &fd);
	if (err)
		return err;
	err = query_lock(fd, &held, &h);
	close(fd);
	if (err)
		return error_errno(err, "find lock holder", path);
	if (!held)
		return CAIRN_NOT_FOUND;
	*out = h;
	return CAIRN_OK;
}

static int posix_holder(struct cairn_env *e, const char *path,
			struct cairn_holder *out)
{
	int err;

	(void)e;
	pthread_mutex_lock(&registry_mu);
	err = find_holder(path, out);
	pthread_mutex_unlock(&registry_mu);
	return err;
}

/* ------------------------------------------------------------ time */

static uint64_t posix_now_us(struct cairn_env *e)
{
	(void)e;
	return clock_us(CLOCK_REALTIME);
}

static uint64_t posix_mono_us(struct cairn_env *e)
{
	(void)e;
	return clock_us(CLOCK_MONOTONIC);
}

static void posix_sleep_us(struct cairn_env *e, uint64_t us)
{
	struct timespec ts = {
		.tv_sec = (time_t)(us / 1000000),
		.tv_nsec = (long)(us % 1000000) * 1000,
	};

	(void)e;
	while (clock_nanosleep(CLOCK_MONOTONIC, 0, &ts, &ts) == EINTR)
		;
}

static const struct env_ops posix_ops = {
	.open_read = posix_open_read,
	.open_write = posix_open_write,
	.list = posix_list,
	.stat = posix_stat,
	.mkdir = posix_mkdir,
	.rename = posix_rename,
	.link = posix_link,
	.unlink = posix_unlink,
	.rmdir = posix_rmdir,
	.sync_file = posix_sync_file,
	.sync_dir = posix_sync_dir,
	.free_space = posix_free_space,
	.lock = posix_lock,
	.lock_note = posix_lock_note,
	.unlock = posix_unlock,
	.holder = posix_holder,
	.now_us = posix_now_us,
	.mono_us = posix_mono_us,
	.sleep_us = posix_sleep_us,
};

struct cairn_env *env_posix(void)
{
	/* Never written; not const because the type of an env is not. */
	static struct cairn_env posix = { .ops = &posix_ops };

	return &posix;
}
