/* SPDX-License-Identifier: BSD-3-Clause */
#include "fs/mount/eventfile.h"

#include <errno.h>
#include <stdlib.h>

#include "fs/mount/eventlog.h"
#include "fs/text/errmap.h"

struct eventfile {
	struct stream_source src;
	struct eventlog_reader *r;
};

static struct eventlog_reader *reader_of(struct stream_source *s)
{
	return ((struct eventfile *)s)->r;
}

static int eventfile_next(struct stream_source *s, struct buf *text, int *end)
{
	int err = eventlog_next(reader_of(s), text);

	(void)end;
	return err == CAIRN_NOT_FOUND ? EAGAIN : errmap_errno(err);
}

static void eventfile_on_ready(struct stream_source *s,
			       void (*ready)(void *ctx), void *ctx)
{
	eventlog_on_ready(reader_of(s), ready, ctx);
}

static void eventfile_free(struct stream_source *s)
{
	eventlog_reader_free(reader_of(s));
	free(s);
}

static const struct stream_kind eventfile_kind = {
	.next = eventfile_next,
	.on_ready = eventfile_on_ready,
	.free = eventfile_free,
};

int eventfile_new(struct eventlog *l, struct stream_source **out)
{
	struct eventfile *f = malloc(sizeof(*f));
	int err;

	if (!f)
		return ENOMEM;
	f->src.kind = &eventfile_kind;
	err = eventlog_reader_new(l, &f->r);
	if (err)
		free(f);
	else
		*out = &f->src;
	return errmap_errno(err);
}
