/* SPDX-License-Identifier: BSD-3-Clause */
#include "fs/mount/watchfile.h"

#include <errno.h>
#include <stdlib.h>

#include "fs/cmd/watch_line.h"
#include "fs/mount/ops.h"
#include "fs/text/errmap.h"
#include "fs/text/keytext.h"

/* The longest request: a revision and an escaped key. */
#define REQUEST_MAX (64u * 1024)

struct watchfile {
	struct stream_source src;
	struct mvcc_watch *w;
};

static struct mvcc_watch *watch_of(struct stream_source *s)
{
	return ((struct watchfile *)s)->w;
}

static int add_lines(const struct mvcc_watch_message *msg, struct buf *text)
{
	static const struct cmd_key_opts escaped = { 0 };
	int err = CAIRN_OK;

	for (size_t i = 0; i < msg->n && !err; i++)
		err = watch_line(&escaped, &msg->events[i], false, text);
	return err;
}

static int watchfile_next(struct stream_source *s, struct buf *text, int *end)
{
	struct mvcc_watch_message msg;
	int err = mvcc_watch_next(watch_of(s), 0, &msg);

	if (err)
		return err == CAIRN_NOT_FOUND ? EAGAIN : errmap_errno(err);
	if (msg.canceled)
		*end = ESTALE;
	else if (add_lines(&msg, text))
		*end = ENOMEM; /* there would be a gap */
	mvcc_watch_message_fini(&msg);
	return 0;
}

static void watchfile_on_ready(struct stream_source *s,
			       void (*ready)(void *ctx), void *ctx)
{
	mvcc_watch_on_ready(watch_of(s), ready, ctx);
}

static void watchfile_free(struct stream_source *s)
{
	mvcc_watch_free(watch_of(s));
	free(s);
}

/* Who reads of a change may go on to look at it. */
static void tell_kernel_first(struct fs *fs)
{
	if (fs->notify)
		notify_drain(fs->notify);
}

static int watchfile_choose(struct fs *fs, const char *data, size_t len,
			    struct stream_source **out);

static const struct stream_kind watchfile_kind = {
	.next = watchfile_next,
	.on_ready = watchfile_on_ready,
	.free = watchfile_free,
	.choose = watchfile_choose,
	.before = tell_kernel_first,
};

static int new_watch(struct mvcc *m, int64_t start, struct cairn_slice prefix,
		     struct stream_source **out)
{
	struct mvcc_watch_request r = { .start = start };
	struct watchfile *f;
	struct cairn_slice end;
	int err;

	/* Better said now than by the first read. */
	if (start && start < mvcc_oldest(m))
		return ESTALE;
	f = malloc(sizeof(*f));
	if (!f)
		return ENOMEM;
	f->src.kind = &watchfile_kind;
	err = watch_prefix(prefix, &r, &end);
	if (!err)
		err = mvcc_watch_new(m, &r, &f->w);
	free((void *)(uintptr_t)end.data);
	if (err)
		free(f);
	else
		*out = &f->src;
	return errmap_errno(err);
}

/* "REV", "REV PREFIX", and at most one newline behind. */
static int parse_request(const char *data, size_t len, int64_t *start,
			 struct buf *prefix)
{
	char *text, *end;
	int err = 0;

	if (len > REQUEST_MAX || memchr(data, 0, len))
		return EINVAL;
	text = strndup(data, len);
	if (!text)
		return ENOMEM;
	if (len && text[len - 1] == '\n')
		text[len - 1] = '\0';
	errno = 0;
	*start = strtoll(text, &end, 10);
	if (*text < '0' || *text > '9' || errno || (*end && *end != ' '))
		err = EINVAL;
	else if (*end)
		err = errmap_errno(keytext_unescape(end + 1, prefix));
	free(text);
	return err;
}

static int watchfile_choose(struct fs *fs, const char *data, size_t len,
			    struct stream_source **out)
{
	struct buf prefix = { 0 };
	int64_t start;
	int err = parse_request(data, len, &start, &prefix);

	if (!err)
		err = new_watch(fs->m, start, buf_slice(&prefix), out);
	buf_fini(&prefix);
	return err;
}

int watchfile_new(struct fs *fs, struct stream_source **out)
{
	return new_watch(fs->m, 0, slice_of(NULL, 0), out);
}
