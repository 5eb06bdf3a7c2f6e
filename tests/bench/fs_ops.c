/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Operations on files, timed in any number of directories side by side: each
 * measurement is made in all of them, one after the other, the order changing
 * from round to round, so that what the machine does meanwhile hits all alike.
 * scripts/bench-fs makes tables of what this prints, a line per measurement:
 *
 *	op ROUND WORK CLIENTS NAME OPS_PER_SECOND P50_US P99_US
 *	requests WORK NAME KIND COUNT ...
 *
 * where requests are those of one operation, as a daemon counts them.
 * A client is a thread with descriptors and a directory of its own. It works in
 * batches: what a batch needs and leaves is made and removed between them,
 * while no clock runs.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#define PEERS_MAX   8
#define COUNTS_MAX  8 /* of numbers of clients */
#define CLIENTS_MAX 64
#define WORKS_MAX   32
#define KINDS_MAX   32 /* of requests */

#define FILES       64u /* of a client */
#define SMALL       100u
#define NAMES       500u /* in the directory that is listed */
#define BLOCK       4096u
#define MIB         (1u << 20)
#define STREAM_MIB  8u
#define BIG_MIB     64u
#define SAMPLES_MAX (1u << 16)
#define BIG         "../big" /* of all clients */

#define FUSE_MAGIC 0x65735546

struct client {
	struct run *run;
	pthread_t thread;
	unsigned id;
	int dir;
	int fd;
	uint64_t serial; /* of names never used before */
	uint64_t first;  /* serial of the batch's first name */
	uint64_t random;
	char *bytes; /* 1 MiB */
	uint32_t *ns;
	size_t n_ns;
	uint64_t n_ops;
	int err;
};

/* What is measured. 0, or -1 with errno. */
struct work {
	const char *name;
	const char *what;
	unsigned batch; /* operations of a client between two pauses */
	bool cold;      /* the kernel knows no name and no byte of a file */
	int (*prepare)(struct client *c);
	int (*op)(struct client *c, unsigned i);
	int (*finish)(struct client *c);
};

struct peer {
	const char *name;
	const char *dir;
	const char *stats; /* what counts its requests, or NULL */
	char *mount;       /* whose names can be dropped, or NULL */
};

/* Requests by kind, as stats/latency of a mount has them. */
struct counts {
	size_t n;
	struct {
		char kind[16];
		double count;
	} of[KINDS_MAX];
};

/* A measurement. */
struct run {
	const struct peer *peer;
	const struct work *work;
	unsigned clients;
	double seconds;
	/* Instead: how many requests a batch takes, at least, of a few. */
	unsigned counting;
	struct counts before, looking, requests;

	pthread_barrier_t barrier;
	bool done; /* written by client 0 between barriers */
	double took;
	struct client client[CLIENTS_MAX];
};

struct settings {
	unsigned rounds;
	double seconds;
	unsigned counts[COUNTS_MAX];
	size_t n_counts;
	const struct work *works[WORKS_MAX];
	size_t n_works;
	struct peer peers[PEERS_MAX];
	size_t n_peers;
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static int fail(const char *what, const char *name)
{
	fprintf(stderr, "fs-ops: %s: %s: %s\n", name, what, strerror(errno));
	return -1;
}

/* ------------------------------------------------------------ operations */

struct file_name {
	char s[32];
};

static struct file_name name_of(char kind, uint64_t i)
{
	struct file_name n;

	snprintf(n.s, sizeof(n.s), "%c%" PRIu64, kind, i);
	return n;
}

static int write_all(int fd, const char *bytes, size_t len)
{
	ssize_t n = write(fd, bytes, len);

	if (n >= 0 && (size_t)n != len)
		errno = ENOSPC;
	return n == (ssize_t)len ? 0 : -1;
}

static int close_after(int fd, int err)
{
	int saved = errno;

	if (close(fd))
		return -1;
	errno = saved;
	return err;
}

static int write_file(struct client *c, const char *name, int flags, bool sync)
{
	int fd = openat(c->dir, name, O_WRONLY | flags, 0644), err;

	if (fd < 0)
		return -1;
	err = write_all(fd, c->bytes, SMALL);
	if (!err && sync)
		err = fsync(fd);
	return close_after(fd, err);
}

static int read_file(struct client *c, const char *name)
{
	int fd = openat(c->dir, name, O_RDONLY);
	char got[SMALL + 1];
	ssize_t n;

	if (fd < 0)
		return -1;
	n = read(fd, got, sizeof(got));
	if (n >= 0 && (n != SMALL || memcmp(got, c->bytes, SMALL) != 0)) {
		errno = EILSEQ; /* not what was written */
		n = -1;
	}
	return close_after(fd, n < 0 ? -1 : 0);
}

/* Start a batch with names that never were. */
static int new_names(struct client *c)
{
	c->first = c->serial;
	c->serial += c->run->work->batch;
	return 0;
}

static int make_new(struct client *c)
{
	new_names(c);
	for (uint64_t i = c->first; i < c->serial; i++)
		if (write_file(c, name_of('n', i).s, O_CREAT, false))
			return -1;
	return 0;
}

static int remove_new(struct client *c)
{
	for (uint64_t i = c->first; i < c->serial; i++)
		if (unlinkat(c->dir, name_of('n', i).s, 0))
			return -1;
	return 0;
}

static int do_create(struct client *c, unsigned i)
{
	return write_file(c, name_of('n', c->first + i).s, O_CREAT | O_TRUNC,
			  false);
}

static int do_fsync(struct client *c, unsigned i)
{
	return write_file(c, name_of('n', c->first + i).s, O_CREAT | O_TRUNC,
			  true);
}

static int do_overwrite(struct client *c, unsigned i)
{
	return write_file(c, name_of('f', i % FILES).s, O_TRUNC, false);
}

static int do_save(struct client *c, unsigned i)
{
	struct file_name n = name_of('n', c->first + i);

	return do_create(c, i) ||
	       renameat(c->dir, n.s, c->dir, name_of('f', i % FILES).s);
}

static int do_unlink(struct client *c, unsigned i)
{
	return unlinkat(c->dir, name_of('n', c->first + i).s, 0);
}

static int do_rename(struct client *c, unsigned i)
{
	return renameat(c->dir, name_of('f', i % FILES).s, c->dir,
			name_of('n', c->first + i).s);
}

static int undo_rename(struct client *c)
{
	for (uint64_t i = 0; i < c->run->work->batch; i++)
		if (renameat(c->dir, name_of('n', c->first + i).s, c->dir,
			     name_of('f', i % FILES).s))
			return -1;
	return 0;
}

static int do_mkdir(struct client *c, unsigned i)
{
	struct file_name n = name_of('n', c->first + i);

	return mkdirat(c->dir, n.s, 0755) ||
	       unlinkat(c->dir, n.s, AT_REMOVEDIR);
}

static int do_read(struct client *c, unsigned i)
{
	return read_file(c, name_of('f', i % FILES).s);
}

/* So that what is warm has been read by this mount before. */
static int read_all(struct client *c)
{
	for (unsigned i = 0; i < FILES; i++)
		if (do_read(c, i))
			return -1;
	return 0;
}

static int do_stat(struct client *c, unsigned i)
{
	struct stat st;

	return fstatat(c->dir, name_of('f', i % FILES).s, &st,
		       AT_SYMLINK_NOFOLLOW);
}

static int stat_all(struct client *c)
{
	for (unsigned i = 0; i < FILES; i++)
		if (do_stat(c, i))
			return -1;
	return 0;
}

static int do_list(struct client *c, unsigned i)
{
	int fd = openat(c->dir, "names", O_RDONLY | O_DIRECTORY), err = 0;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;
	struct stat st;
	unsigned n = 0;

	(void)i;
	if (!d)
		return -1;
	while (!err && (e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		err = fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW);
		n++;
	}
	if (!err && n != NAMES) {
		errno = EILSEQ;
		err = -1;
	}
	closedir(d);
	return err;
}

static int list_once(struct client *c)
{
	return do_list(c, 0);
}

/* Writes of a stream: the first opens it and the last closes it. */
static int write_stream(struct client *c, unsigned i, int flags, size_t len)
{
	if (i == 0)
		c->fd = openat(c->dir, "stream", O_WRONLY | O_CREAT | flags,
			       0644);
	if (c->fd < 0 || write_all(c->fd, c->bytes, len))
		return -1;
	return i + 1 == c->run->work->batch ? close(c->fd) : 0;
}

static int drop_stream(struct client *c)
{
	return unlinkat(c->dir, "stream", 0);
}

static int do_append(struct client *c, unsigned i)
{
	return write_stream(c, i, O_APPEND, SMALL);
}

static int do_write_4k(struct client *c, unsigned i)
{
	return write_stream(c, i, O_TRUNC, BLOCK);
}

static int do_write_1m(struct client *c, unsigned i)
{
	return write_stream(c, i, O_TRUNC, MIB);
}

static int ensure_file(struct client *c, const char *name, unsigned mib)
{
	struct stat st;
	int fd, err = 0;

	if (!fstatat(c->dir, name, &st, 0) &&
	    st.st_size == (off_t)mib * (off_t)MIB)
		return 0;
	fd = openat(c->dir, name, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	if (fd < 0)
		return -1;
	for (unsigned i = 0; i < mib && !err; i++)
		err = write_all(fd, c->bytes, MIB);
	/* Pages that are not written yet cannot be dropped. */
	if (!err)
		err = fsync(fd);
	return close_after(fd, err);
}

/* Open with none of its pages in memory. */
static int open_unread(struct client *c, const char *name, int advice)
{
	int err;

	c->fd = openat(c->dir, name, O_RDONLY);
	if (c->fd < 0)
		return -1;
	err = posix_fadvise(c->fd, 0, 0, POSIX_FADV_DONTNEED);
	if (!err)
		err = posix_fadvise(c->fd, 0, 0, advice);
	if (err)
		errno = err;
	return err ? -1 : 0;
}

static int prepare_stream(struct client *c)
{
	return ensure_file(c, "long", STREAM_MIB) ||
	       open_unread(c, "long", POSIX_FADV_SEQUENTIAL);
}

static int prepare_big(struct client *c)
{
	return open_unread(c, BIG, POSIX_FADV_RANDOM);
}

static int read_at(struct client *c, size_t len, off_t off)
{
	ssize_t n = pread(c->fd, c->bytes, len, off);

	if (n >= 0 && (size_t)n != len)
		errno = EILSEQ;
	return n == (ssize_t)len ? 0 : -1;
}

static int do_read_1m(struct client *c, unsigned i)
{
	return read_at(c, MIB, (off_t)i * MIB);
}

static int do_read_4k(struct client *c, unsigned i)
{
	const uint64_t blocks = (uint64_t)BIG_MIB * MIB / BLOCK;

	(void)i;
	c->random = c->random * 6364136223846793005u + 1442695040888963407u;
	return read_at(c, BLOCK, (off_t)((c->random >> 33) % blocks * BLOCK));
}

static int close_it(struct client *c)
{
	return close(c->fd);
}

static int nothing(struct client *c)
{
	(void)c;
	return 0;
}

static const struct work works[] = {
	{ "create", "make, write 100 bytes, close", 64, false, new_names,
	  do_create, remove_new },
	{ "overwrite", "open, cut, write 100 bytes, close", 64, false, nothing,
	  do_overwrite, nothing },
	{ "save", "create and rename over a file", 64, false, new_names,
	  do_save, nothing },
	{ "append", "100 bytes at the end of an open file", 256, false, nothing,
	  do_append, drop_stream },
	{ "write-4k", "the next 4 KiB of a file", 256, false, nothing,
	  do_write_4k, drop_stream },
	{ "write-1m", "the next 1 MiB of a file", STREAM_MIB, false, nothing,
	  do_write_1m, drop_stream },
	{ "fsync", "create, with fsync", 16, false, new_names, do_fsync,
	  remove_new },
	{ "rename", "a file to a new name", 64, false, new_names, do_rename,
	  undo_rename },
	{ "unlink", "of a file", 64, false, make_new, do_unlink, nothing },
	{ "mkdir", "and rmdir", 64, false, new_names, do_mkdir, nothing },
	{ "read", "open, read 100 bytes, close", 512, false, read_all, do_read,
	  nothing },
	{ "read-cold", "the same, of a file nobody has looked at", FILES, true,
	  nothing, do_read, nothing },
	{ "stat", "of a file", 8192, false, stat_all, do_stat, nothing },
	{ "stat-cold", "of a file nobody has looked at", FILES, true, nothing,
	  do_stat, nothing },
	{ "list", "500 names, and stat of each", 4, false, list_once, do_list,
	  nothing },
	{ "list-cold", "of a directory nobody has looked at", 1, true, nothing,
	  do_list, nothing },
	{ "read-1m", "the next 1 MiB of a file not in memory", STREAM_MIB,
	  false, prepare_stream, do_read_1m, close_it },
	{ "read-4k", "4 KiB anywhere in a file not in memory", 256, false,
	  prepare_big, do_read_4k, close_it },
};

#define N_WORKS (sizeof(works) / sizeof(works[0]))

/* -------------------------------------------------------------- requests */

static double count_of(const struct counts *c, const char *kind)
{
	for (size_t i = 0; i < c->n; i++)
		if (!strcmp(c->of[i].kind, kind))
			return c->of[i].count;
	return 0;
}

/* What of a is not of b. */
static struct counts less(const struct counts *a, const struct counts *b)
{
	struct counts out = *a;

	for (size_t i = 0; i < out.n; i++)
		out.of[i].count -= count_of(b, out.of[i].kind);
	return out;
}

static struct counts least(const struct counts *a, const struct counts *b)
{
	struct counts out = *a;

	for (size_t i = 0; i < out.n; i++) {
		double other = count_of(b, out.of[i].kind);

		if (other < out.of[i].count)
			out.of[i].count = other;
	}
	return out;
}

/* Nobody waits for a release; the others are the engine's. */
static bool is_request(const char *kind)
{
	return strcmp(kind, "get") != 0 && strcmp(kind, "commit") != 0 &&
	       strcmp(kind, "sync") != 0 && strcmp(kind, "release") != 0;
}

static int get_counts(const char *path, struct counts *c)
{
	char line[256];
	FILE *f;

	/* A request is counted when it has been answered. */
	usleep(20000);
	f = fopen(path, "r");
	if (!f)
		return fail("cannot be read", path);
	c->n = 0;
	while (c->n < KINDS_MAX && fgets(line, sizeof(line), f))
		if (sscanf(line, "%15s %lf", c->of[c->n].kind,
			   &c->of[c->n].count) == 2 &&
		    is_request(c->of[c->n].kind))
			c->n++;
	fclose(f);
	return 0;
}

/*
 * Looking costs requests, too, and more of them now and then, when the kernel
 * has forgotten the name: what it costs is the least of two looks, and what the
 * operations cost the least of a few batches.
 */
static int begin_counting(struct run *r)
{
	struct counts first, second, a, b;

	if (get_counts(r->peer->stats, &first) ||
	    get_counts(r->peer->stats, &second) ||
	    get_counts(r->peer->stats, &r->before))
		return -1;
	a = less(&second, &first);
	b = less(&r->before, &second);
	r->looking = least(&b, &a);
	return 0;
}

static int end_counting(struct run *r)
{
	struct counts now;

	if (get_counts(r->peer->stats, &now))
		return -1;
	now = less(&now, &r->before);
	now = less(&now, &r->looking);
	r->requests = r->requests.n ? least(&now, &r->requests) : now;
	r->counting--;
	return 0;
}

static void print_requests(const struct run *r)
{
	printf("requests %s %s", r->work->name, r->peer->name);
	for (size_t i = 0; i < r->requests.n; i++)
		if (r->requests.of[i].count > 0)
			printf(" %s %.4g", r->requests.of[i].kind,
			       r->requests.of[i].count / r->work->batch);
	printf("\n");
}

/* --------------------------------------------------------- a measurement */

/*
 * Make the kernel forget all names of a mount, and with them its files: it
 * does when a mount is mounted anew.
 */
static int drop_names(const char *mount_point)
{
	struct statvfs sv;
	unsigned long flags = MS_REMOUNT;

	if (statvfs(mount_point, &sv))
		return -1;
	if (sv.f_flag & ST_NOSUID)
		flags |= MS_NOSUID;
	if (sv.f_flag & ST_NODEV)
		flags |= MS_NODEV;
	if (sv.f_flag & ST_NOEXEC)
		flags |= MS_NOEXEC;
	if (sv.f_flag & ST_RDONLY)
		flags |= MS_RDONLY;
	return mount(NULL, mount_point, NULL, flags, NULL);
}

static void wait_all(struct run *r)
{
	pthread_barrier_wait(&r->barrier);
}

static void do_batch(struct client *c)
{
	const struct work *w = c->run->work;
	uint64_t last = now_ns(), now;

	for (unsigned i = 0; i < w->batch && !c->err; i++) {
		if (w->op(c, i)) {
			c->err = errno;
			return;
		}
		now = now_ns();
		if (c->n_ns < SAMPLES_MAX)
			c->ns[c->n_ns++] = (uint32_t)(now - last);
		last = now;
		c->n_ops++;
	}
}

/* What client 0 does for all before a batch. */
static void before_batch(struct client *c)
{
	struct run *r = c->run;

	if (!c->err && r->work->cold && drop_names(r->peer->mount))
		c->err = errno;
	if (!c->err && r->counting && begin_counting(r))
		c->err = EIO;
}

static void after_batch(struct client *c, uint64_t start)
{
	struct run *r = c->run;

	r->took += (double)(now_ns() - start) / 1e9;
	r->done = r->took >= r->seconds;
	if (!c->err && r->counting) {
		if (end_counting(r))
			c->err = EIO;
		r->done = !r->counting;
	}
	for (unsigned i = 0; i < r->clients; i++)
		r->done |= r->client[i].err != 0;
}

static int open_dir(struct client *c)
{
	struct file_name n = name_of('c', c->id);
	int fd = open(c->run->peer->dir, O_RDONLY | O_DIRECTORY);

	if (fd < 0)
		return -1;
	c->dir = openat(fd, n.s, O_RDONLY | O_DIRECTORY);
	return close_after(fd, c->dir < 0 ? -1 : 0);
}

static void *client_main(void *arg)
{
	struct client *c = arg;
	struct run *r = c->run;
	uint64_t start;

	/* As processes have: threads wait for each other in open(2). */
	if (unshare(CLONE_FILES) || open_dir(c))
		c->err = errno;
	while (!r->done) {
		if (!c->err && r->work->prepare(c))
			c->err = errno;
		wait_all(r);
		if (c->id == 0)
			before_batch(c);
		wait_all(r);
		start = now_ns();
		do_batch(c);
		wait_all(r);
		if (c->id == 0)
			after_batch(c, start);
		if (!c->err && r->work->finish(c))
			c->err = errno;
		wait_all(r);
	}
	if (c->dir >= 0)
		close(c->dir);
	return NULL;
}

static int by_size(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static void print_result(const struct run *r, unsigned round)
{
	size_t n = 0, at = 0;
	uint64_t ops = 0;
	uint32_t *all;

	for (unsigned i = 0; i < r->clients; i++) {
		n += r->client[i].n_ns;
		ops += r->client[i].n_ops;
	}
	all = malloc((n + 1) * sizeof(*all));
	if (!all) {
		fprintf(stderr, "fs-ops: out of memory\n");
		exit(1);
	}
	for (unsigned i = 0; i < r->clients; i++) {
		memcpy(all + at, r->client[i].ns,
		       r->client[i].n_ns * sizeof(*all));
		at += r->client[i].n_ns;
	}
	qsort(all, n, sizeof(*all), by_size);
	all[n] = n ? all[n - 1] : 0;
	printf("op %u %s %u %s %.1f %.2f %.2f\n", round, r->work->name,
	       r->clients, r->peer->name, (double)ops / r->took,
	       all[n / 2] / 1e3, all[n * 99 / 100] / 1e3);
	free(all);
}

static void init_client(struct run *r, unsigned id, uint64_t serial)
{
	struct client *c = &r->client[id];

	*c = (struct client){ .run = r,
			      .id = id,
			      .dir = -1,
			      .fd = -1,
			      .serial = serial,
			      .random = id,
			      .bytes = aligned_alloc(BLOCK, MIB),
			      .ns = malloc(SAMPLES_MAX * sizeof(uint32_t)) };
	if (!c->bytes || !c->ns) {
		fprintf(stderr, "fs-ops: out of memory\n");
		exit(1);
	}
	/* Text that compresses somewhat, as files do. */
	for (size_t i = 0; i < MIB; i++)
		c->bytes[i] = (char)('a' + (i * 7 + i / 100) % 26);
}

static int measure(struct run *r)
{
	/* Names made by an earlier measurement have been removed; the kernel
	 * may know that. */
	uint64_t serial = now_ns();
	int status = 0;

	pthread_barrier_init(&r->barrier, NULL, r->clients);
	for (unsigned i = 0; i < r->clients; i++)
		init_client(r, i, serial);
	for (unsigned i = 0; i < r->clients; i++)
		if (pthread_create(&r->client[i].thread, NULL, client_main,
				   &r->client[i])) {
			fprintf(stderr, "fs-ops: cannot start threads\n");
			exit(1);
		}
	for (unsigned i = 0; i < r->clients; i++)
		pthread_join(r->client[i].thread, NULL);
	pthread_barrier_destroy(&r->barrier);
	for (unsigned i = 0; i < r->clients && !status; i++)
		if (r->client[i].err) {
			errno = r->client[i].err;
			status = fail(r->work->name, r->peer->dir);
		}
	return status;
}

static void free_clients(struct run *r)
{
	for (unsigned i = 0; i < r->clients; i++) {
		free(r->client[i].bytes);
		free(r->client[i].ns);
	}
}

static int measure_in(const struct peer *p, const struct work *w,
		      unsigned clients, unsigned round,
		      const struct settings *s)
{
	struct run *r = calloc(1, sizeof(*r));
	int err;

	if (!r)
		return fail(w->name, p->name);
	r->peer = p;
	r->work = w;
	r->clients = clients;
	r->seconds = s->seconds;
	r->counting = round ? 0 : 4;
	err = measure(r);
	if (!err && round)
		print_result(r, round);
	else if (!err)
		print_requests(r);
	free_clients(r);
	free(r);
	fflush(stdout);
	return err;
}

static bool can_measure(const struct peer *p, const struct work *w)
{
	return !w->cold || p->mount;
}

static int measure_all(const struct settings *s)
{
	int err = 0;

	for (size_t w = 0; w < s->n_works && !err; w++)
		for (size_t p = 0; p < s->n_peers && !err; p++)
			if (s->peers[p].stats &&
			    can_measure(&s->peers[p], s->works[w]))
				err = measure_in(&s->peers[p], s->works[w], 1,
						 0, s);
	for (unsigned round = 1; round <= s->rounds; round++)
		for (size_t w = 0; w < s->n_works; w++)
			for (size_t n = 0; n < s->n_counts; n++)
				for (size_t i = 0; i < s->n_peers && !err;
				     i++) {
					const struct peer *p =
						&s->peers[(i + round) %
							  s->n_peers];

					if (can_measure(p, s->works[w]))
						err = measure_in(p, s->works[w],
								 s->counts[n],
								 round, s);
				}
	return err;
}

/* -------------------------------------------------------------- in order */

static int make_files(struct client *c)
{
	struct client names = *c;
	int err = 0;

	for (unsigned i = 0; i < FILES && !err; i++)
		err = write_file(c, name_of('f', i).s, O_CREAT, false);
	if (err || mkdirat(c->dir, "names", 0755))
		return -1;
	names.dir = openat(c->dir, "names", O_RDONLY | O_DIRECTORY);
	if (names.dir < 0)
		return -1;
	for (unsigned i = 0; i < NAMES && !err; i++)
		err = write_file(&names, name_of('n', i).s, O_CREAT, false);
	return close_after(names.dir, err);
}

/* What all measurements in a directory find there. */
static int set_up(const struct peer *p, unsigned clients)
{
	struct run *r = calloc(1, sizeof(*r));
	char path[4096];
	int err = 0;

	if (!r)
		return fail("set up", p->dir);
	r->peer = p;
	r->clients = 1;
	for (unsigned i = 0; i < clients && !err; i++) {
		init_client(r, 0, 0);
		r->client[0].id = i;
		snprintf(path, sizeof(path), "%s/c%u", p->dir, i);
		err = mkdir(path, 0755) || open_dir(&r->client[0]) ||
		      make_files(&r->client[0]);
		if (!err && i == 0)
			err = ensure_file(&r->client[0], BIG, BIG_MIB);
		if (r->client[0].dir >= 0)
			err = close_after(r->client[0].dir, err);
		free_clients(r);
	}
	free(r);
	return err ? fail("set up", p->dir) : 0;
}

/* The mount that dir is of, when it is of FUSE and may be mounted anew. */
static char *find_mount(const char *dir)
{
	char *path = realpath(dir, NULL), *up;
	char above[4096 + 4];
	struct stat st, st_up;
	struct statfs fs;

	if (!path || statfs(path, &fs) || fs.f_type != FUSE_MAGIC ||
	    stat(path, &st))
		goto none;
	for (;;) {
		snprintf(above, sizeof(above), "%s/..", path);
		up = realpath(above, NULL);
		if (!up || stat(up, &st_up) || st_up.st_dev != st.st_dev ||
		    !strcmp(up, path))
			break;
		free(path);
		path = up;
	}
	free(up);
	if (!drop_names(path))
		return path;
none:
	free(path);
	return NULL;
}

static void usage(FILE *f)
{
	fprintf(f,
		"usage: bench-fs-ops [--rounds N] [--seconds S] "
		"[--clients N,...] [--only WORK,...]\n"
		"                    [--stats NAME=FILE] NAME=DIR ...\n"
		"       bench-fs-ops --drop DIR\n\n"
		"--drop: let the kernel forget the names of the mount of DIR. "
		"Works:\n");
	for (size_t i = 0; i < N_WORKS; i++)
		fprintf(f, "  %-10s %s\n", works[i].name, works[i].what);
}

static void bad(const char *what, const char *arg)
{
	fprintf(stderr, "fs-ops: %s: %s\n", arg, what);
	exit(2);
}

static double number(const char *arg, double most)
{
	char *end;
	double d = strtod(arg, &end);

	if (end == arg || *end || !(d > 0) || d > most)
		bad("not a number, or out of range", arg);
	return d;
}

static void choose_clients(struct settings *s, char *list)
{
	char *save = NULL;

	s->n_counts = 0;
	for (char *t = strtok_r(list, ",", &save); t;
	     t = strtok_r(NULL, ",", &save)) {
		if (s->n_counts == COUNTS_MAX)
			bad("too many numbers of clients", t);
		s->counts[s->n_counts++] = (unsigned)number(t, CLIENTS_MAX);
	}
}

static void choose_works(struct settings *s, char *list)
{
	char *save = NULL;

	s->n_works = 0;
	for (char *t = strtok_r(list, ",", &save); t;
	     t = strtok_r(NULL, ",", &save)) {
		size_t i = 0;

		while (i < N_WORKS && strcmp(works[i].name, t) != 0)
			i++;
		if (i == N_WORKS)
			bad("no such work (see --help)", t);
		if (s->n_works == WORKS_MAX)
			bad("too many works", t);
		s->works[s->n_works++] = &works[i];
	}
}

static struct peer split(char *arg)
{
	char *eq = strchr(arg, '=');

	if (!eq)
		bad("should be NAME=PATH", arg);
	*eq = '\0';
	return (struct peer){ .name = arg, .dir = eq + 1 };
}

static void take_options(struct settings *s, int argc, char **argv)
{
	static const struct option options[] = {
		{ "rounds", required_argument, NULL, 'r' },
		{ "seconds", required_argument, NULL, 's' },
		{ "clients", required_argument, NULL, 'c' },
		{ "only", required_argument, NULL, 'o' },
		{ "stats", required_argument, NULL, 'S' },
		{ "drop", required_argument, NULL, 'd' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	struct peer counted = { 0 };
	int opt;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1)
		switch (opt) {
		case 'r':
			s->rounds = (unsigned)number(optarg, 1000);
			break;
		case 's':
			s->seconds = number(optarg, 3600);
			break;
		case 'c':
			choose_clients(s, optarg);
			break;
		case 'o':
			choose_works(s, optarg);
			break;
		case 'S':
			counted = split(optarg);
			break;
		case 'd':
			exit(find_mount(optarg) ? 0 : 1);
		case 'h':
			usage(stdout);
			exit(0);
		default:
			exit(2);
		}
	for (; optind < argc; optind++) {
		struct peer p = split(argv[optind]);

		if (s->n_peers == PEERS_MAX)
			bad("too many directories", argv[optind]);
		if (counted.name && !strcmp(counted.name, p.name))
			p.stats = counted.dir;
		s->peers[s->n_peers++] = p;
	}
	if (!s->n_peers) {
		usage(stderr);
		exit(2);
	}
}

int main(int argc, char **argv)
{
	struct settings s = { .rounds = 3,
			      .seconds = 0.1,
			      .counts = { 1, 2, 16 },
			      .n_counts = 3,
			      .n_works = N_WORKS };
	unsigned most = 0;
	int err = 0;

	for (size_t i = 0; i < N_WORKS; i++)
		s.works[i] = &works[i];
	take_options(&s, argc, argv);
	for (size_t i = 0; i < s.n_counts; i++)
		most = s.counts[i] > most ? s.counts[i] : most;
	for (size_t i = 0; i < s.n_peers && !err; i++) {
		err = set_up(&s.peers[i], most ? most : 1);
		if (!err)
			s.peers[i].mount = find_mount(s.peers[i].dir);
	}
	if (!err)
		err = measure_all(&s);
	for (size_t i = 0; i < s.n_peers; i++)
		free(s.peers[i].mount);
	return err ? 1 : 0;
}
