/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A conversation is a thread that runs the command between two pipes: the
 * request's input flows through one, the answer's frames through the other. So
 * neither is ever held in memory, and a reader that stops holds up its own
 * command only.
 *
 * The end of the input pipe says nothing about the input: it ends also when
 * the client has died. Only in_complete makes it the end.
 */
#include "fs/cmd/run.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "engine/base/error.h"
#include "engine/base/sync.h"
#include "fs/cmd/cmd.h"

/* Arguments of one command, all together: no less than execve() takes. */
#define HEAD_MAX (8u << 20)
/* Digits of their number, and its NUL. */
#define COUNT_LEN_MAX 8
/* Output of a command is framed in pieces of at most this. */
#define FRAME_MAX (32 * 1024)

struct run {
	struct mvcc *m;
	const char *dir; /* borrowed: the daemon's */
	const struct stats_fs_counters *counters;

	struct buf head; /* the request up to its input */
	size_t n_ended;  /* strings in head that are complete */
	size_t scanned;  /* bytes of head they were counted in */
	size_t n_args;   /* from the first string; 0: not yet known */
	char **argv;     /* into head */

	bool started;
	pthread_t thread;
	int in_write;  /* the end of the input pipe that run_write() has */
	int in_read;   /* the command's */
	int out_read;  /* what run_read() reads */
	int out_write; /* the command's */

	_Atomic bool in_complete;
	volatile bool cancel; /* set once, read by the command */

	struct mutex mu;
	/* Guarded by mu. */
	bool writing;   /* in run_write(), which has in_write */
	bool in_closed; /* an answer was read: no more input */
};

/* One of the two output streams of a command. */
struct channel {
	int fd;
	uint8_t type;
};

static int write_all(int fd, const void *data, size_t len)
{
	const uint8_t *p = data;

	while (len) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

static int write_frame(int fd, uint8_t type, const void *data, size_t len)
{
	uint8_t head[5] = { type };

	put_le32(head + 1, (uint32_t)len);
	if (write_all(fd, head, sizeof(head)))
		return -1;
	return write_all(fd, data, len);
}

/* fopencookie: what the command prints becomes frames. */
static ssize_t channel_write(void *cookie, const char *data, size_t len)
{
	struct channel *ch = cookie;

	for (size_t done = 0; done < len;) {
		size_t n = len - done < FRAME_MAX ? len - done : FRAME_MAX;

		if (write_frame(ch->fd, ch->type, data + done, n))
			return 0;
		done += n;
	}
	return (ssize_t)len;
}

/* fopencookie: the command's standard input. */
static ssize_t input_read(void *cookie, char *dst, size_t len)
{
	struct run *r = cookie;
	ssize_t n;

	do
		n = read(r->in_read, dst, len);
	while (n < 0 && errno == EINTR);
	if (n == 0 && !atomic_load(&r->in_complete)) {
		errno = ECANCELED;
		return -1;
	}
	return n;
}

static FILE *input_open(struct run *r)
{
	cookie_io_functions_t io = { .read = input_read };

	return fopencookie(r, "r", io);
}

/* mode is one of setvbuf(). */
static FILE *channel_open(struct channel *ch, int mode)
{
	cookie_io_functions_t io = { .write = channel_write };
	FILE *f = fopencookie(ch, "w", io);

	if (f && setvbuf(f, NULL, mode, FRAME_MAX)) {
		fclose(f);
		return NULL;
	}
	return f;
}

static int run_command(struct run *r, FILE *in, FILE *out, FILE *err)
{
	const struct cmd_entry *e = cmd_find(r->argv[0]);
	struct cmd c = {
		.name = e->name,
		.in = in,
		.out = out,
		.err = err,
		.m = r->m,
		.dir = r->dir,
		.counters = r->counters,
		.in_daemon = true,
		.cancel = &r->cancel,
	};

	return cmd_finish_output(&c, e->run(&c, (int)r->n_args, r->argv));
}

static void *run_main(void *arg)
{
	struct run *r = arg;
	struct channel o = { r->out_write, 'o' }, e = { r->out_write, 'e' };
	FILE *in = input_open(r);
	FILE *out = channel_open(&o, _IOFBF);
	FILE *err = channel_open(&e, _IOLBF);
	uint8_t status = EXIT_SYSTEM;

	if (in && out && err)
		status = (uint8_t)run_command(r, in, out, err);
	if (out)
		fclose(out);
	if (err)
		fclose(err);
	if (in)
		fclose(in);
	/* First, so that who still sends input learns that nobody wants it. */
	close(r->in_read);
	/* A client that is gone gets no status; nothing else to tell. */
	(void)write_frame(r->out_write, 'x', &status, 1);
	close(r->out_write);
	return NULL;
}

int run_open(struct mvcc *m, const char *dir,
	     const struct stats_fs_counters *counters, struct run **out)
{
	struct run *r = calloc(1, sizeof(*r));

	if (!r)
		return error_nomem();
	r->m = m;
	r->dir = dir;
	r->counters = counters;
	r->in_write = -1;
	r->out_read = -1;
	mutex_init(&r->mu);
	*out = r;
	return CAIRN_OK;
}

/* The arguments behind the first string of head, which is complete. */
static int split_head(struct run *r)
{
	char *p = (char *)r->head.data + strlen((char *)r->head.data) + 1;

	r->argv = calloc(r->n_args + 1, sizeof(*r->argv));
	if (!r->argv)
		return error_nomem();
	for (size_t i = 0; i < r->n_args; i++) {
		r->argv[i] = p;
		p += strlen(p) + 1;
	}
	if (!cmd_find(r->argv[0]))
		return error_set(CAIRN_EINVAL, "run: no command '%s'",
				 r->argv[0]);
	return CAIRN_OK;
}

static int start(struct run *r)
{
	int in[2], out[2], err;

	err = split_head(r);
	if (err)
		return err;
	if (pipe2(in, O_CLOEXEC))
		return error_errno(errno, "cannot make a pipe", "run");
	if (pipe2(out, O_CLOEXEC)) {
		err = error_errno(errno, "cannot make a pipe", "run");
		close(in[0]);
		close(in[1]);
		return err;
	}
	r->in_read = in[0];
	r->in_write = in[1];
	r->out_read = out[0];
	r->out_write = out[1];
	err = pthread_create(&r->thread, NULL, run_main, r);
	if (err) {
		close(in[0]);
		close(in[1]);
		close(out[0]);
		close(out[1]);
		r->in_write = r->out_read = -1;
		return error_errno(err, "cannot start a thread", "run");
	}
	r->started = true;
	return CAIRN_OK;
}

/* The number of arguments from the first string, once that is complete. */
static int take_count(struct run *r)
{
	const uint8_t *p = r->head.data;
	size_t n = 0, i = 0;

	while (i < r->head.len && i < COUNT_LEN_MAX && p[i] >= '0' &&
	       p[i] <= '9')
		n = 10 * n + (size_t)(p[i++] - '0');
	if (i == r->head.len && i < COUNT_LEN_MAX)
		return CAIRN_OK; /* more is to come */
	if (i == r->head.len || p[i] || n == 0)
		return error_set(CAIRN_EINVAL,
				 "run: begin with the number of arguments");
	r->n_args = n;
	return CAIRN_OK;
}

/*
 * Take what belongs to the head off data. CAIRN_NOT_FOUND: it is not complete
 * yet.
 */
static int take_head(struct run *r, const uint8_t **data, size_t *len)
{
	size_t had = r->head.len;
	int err = buf_append(&r->head, *data, *len);

	if (!err && !r->n_args)
		err = take_count(r);
	if (err)
		return err;
	while (r->scanned < r->head.len && r->n_ended < r->n_args + 1)
		r->n_ended += !r->head.data[r->scanned++];
	if (r->scanned > HEAD_MAX || r->n_args > HEAD_MAX)
		return error_set(CAIRN_EINVAL, "run: arguments too long");
	if (!r->n_args || r->n_ended < r->n_args + 1) {
		*len = 0;
		return CAIRN_NOT_FOUND;
	}
	r->head.len = r->scanned;
	*data += r->scanned - had;
	*len -= r->scanned - had;
	return CAIRN_OK;
}

static int take_request(struct run *r, const uint8_t *data, size_t len)
{
	int err = CAIRN_OK;

	if (!r->started) {
		err = take_head(r, &data, &len);
		if (!err)
			err = start(r);
		if (err)
			return err == CAIRN_NOT_FOUND ? CAIRN_OK : err;
	}
	if (!len || !write_all(r->in_write, data, len))
		return CAIRN_OK;
	if (errno == EPIPE)
		return error_set(CAIRN_EINVAL, "run: the command has ended");
	return error_errno(errno, "cannot pass the input on", "run");
}

int run_write(struct run *r, const void *data, size_t len)
{
	bool refused;
	int err;

	mutex_lock(&r->mu);
	refused = r->in_closed || r->writing;
	r->writing |= !refused;
	mutex_unlock(&r->mu);
	if (refused)
		return error_set(CAIRN_EINVAL,
				 "run: the request is closed already");
	err = take_request(r, data, len);
	mutex_lock(&r->mu);
	r->writing = false;
	/* Half a request cannot be continued. */
	r->in_closed = r->in_closed || (err && !r->started);
	mutex_unlock(&r->mu);
	return err;
}

/* The first read ends the request. */
static int end_request(struct run *r)
{
	int err = CAIRN_OK;

	mutex_lock(&r->mu);
	if (r->writing) {
		err = error_set(CAIRN_EBUSY, "run: being written to");
	} else if (!r->started) {
		err = error_set(CAIRN_EINVAL, "run: no command given");
	} else if (!r->in_closed) {
		r->in_closed = true;
		atomic_store(&r->in_complete, true);
		close(r->in_write);
		r->in_write = -1;
	}
	mutex_unlock(&r->mu);
	return err;
}

int run_read(struct run *r, void *dst, size_t len, size_t *got)
{
	ssize_t n;
	int err = end_request(r);

	if (err)
		return err;
	do
		n = read(r->out_read, dst, len);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return error_errno(errno, "cannot read the answer", "run");
	*got = (size_t)n;
	return CAIRN_OK;
}

void run_cancel(struct run *r)
{
	__atomic_store_n(&r->cancel, true, __ATOMIC_RELAXED);
}

void run_close(struct run *r)
{
	if (!r)
		return;
	/* The command sees its input break off, that nobody listens when it
	 * writes, or the flag when it does neither: each ends it soon. */
	run_cancel(r);
	if (r->in_write >= 0)
		close(r->in_write);
	if (r->out_read >= 0)
		close(r->out_read);
	if (r->started)
		pthread_join(r->thread, NULL);
	free(r->argv);
	buf_fini(&r->head);
	mutex_fini(&r->mu);
	free(r);
}
