/* SPDX-License-Identifier: BSD-3-Clause */
#include "fs/mount/trigger.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/error.h"
#include "fs/cmd/cmd.h"
#include "fs/cmd/forget_by.h"
#include "fs/mount/keyfile.h"
#include "fs/mount/pins.h"
#include "fs/text/errmap.h"
#include "fs/text/timetext.h"

static const char *const names[] = { "flush",  "compact", "sync",  "checkpoint",
				     "forget", "pin",     "unpin", NULL };
static const char *const names_plain[] = { "flush",      "compact", "sync",
					   "checkpoint", "ingest",  NULL };

const char *trigger_name(bool plain, size_t i)
{
	return plain ? names_plain[i] : names[i];
}

static bool is(struct cairn_slice s, const char *text)
{
	return slice_eq(s, slice_str(text));
}

/* Nothing but blanks and at most one newline behind. */
static bool is_blank(struct cairn_slice text)
{
	for (size_t i = 0; i < text.len; i++)
		if (!strchr(" \t\n", text.data[i]) || !text.data[i])
			return false;
	return true;
}

/* A number in words, above 0. */
static bool number(const char *word, int64_t *out)
{
	char *end;

	errno = 0;
	*out = strtoll(word, &end, 10);
	return *word >= '0' && *word <= '9' && !*end && !errno && *out > 0;
}

/* "REV", "keep N" or "older T". */
static bool parse_forget(const char *text, struct forget_by *by)
{
	char word[2][32];
	char more[2];
	int n = sscanf(text, "%31s %31s %1s", word[0], word[1], more);

	if (n == 1)
		return number(word[0], &by->before);
	if (n != 2)
		return false;
	if (!strcmp(word[0], "keep"))
		return number(word[1], &by->keep);
	return !strcmp(word[0], "older") &&
	       timetext_duration(word[1], true, &by->older_us) && by->older_us;
}

static int forget(const struct trigger_env *e, struct cairn_slice text)
{
	struct forget_by by = { 0 };
	char words[80];
	int err;

	if (text.len >= sizeof(words) ||
	    (text.len && memchr(text.data, 0, text.len)))
		return EINVAL;
	if (text.len)
		memcpy(words, text.data, text.len);
	words[text.len] = '\0';
	if (!parse_forget(words, &by))
		return EINVAL;
	err = forget_by(e->m, &by);
	/* That there is nothing older is as good. */
	return err == CAIRN_NOT_FOUND ? 0 : errmap_errno(err);
}

/*
 * An absolute path, in memory from malloc: the daemon stands at the top of the
 * file system, and who writes may stand anywhere.
 */
static int parse_path(struct cairn_slice text, char **out)
{
	if (text.len && text.data[text.len - 1] == '\n')
		text.len--;
	if (!text.len || text.data[0] != '/' || memchr(text.data, 0, text.len))
		return EINVAL;
	*out = strndup((const char *)text.data, text.len);
	return *out ? 0 : ENOMEM;
}

static int checkpoint(const struct trigger_env *e, struct cairn_slice text)
{
	char *path = NULL;
	int err = parse_path(text, &path);

	if (!err)
		err = errmap_errno(cairn_checkpoint(mvcc_db(e->m), path));
	free(path);
	return err;
}

/* A table, of which a copy is made. */
static int ingest(const struct trigger_env *e, struct cairn_slice text)
{
	const struct cairn_ingest_options o = { CAIRN_INGEST_COPY };
	struct cmd c = { .m = e->m, .counters = e->counters };
	const char *const *paths;
	char *path = NULL;
	int err = parse_path(text, &path);

	if (err)
		return err;
	paths = (const char *const *)&path;
	err = cmd_may_grow(&c);
	if (!err)
		err = mvcc_ingest(e->m, paths, 1, &o);
	free(path);
	return errmap_errno(err);
}

/* Those that take no argument. */
static int plain_command(const struct trigger_env *e, struct cairn_slice name,
			 struct cairn_slice text)
{
	struct cairn_db *db = mvcc_db(e->m);
	int err;

	if (!is_blank(text))
		return EINVAL;
	/* What is open and written is not yet theirs: an open file's bytes are
	 * committed when it is closed, or by sync. */
	err = is(name, "sync") ? keyfiles_commit_all(e->ks, true) : CAIRN_OK;
	if (!err && is(name, "flush"))
		err = cairn_flush(db, true);
	else if (!err && is(name, "compact"))
		err = cairn_compact_range(db, slice_of(NULL, 0),
					  slice_of(NULL, 0), e->cancel);
	return errmap_errno(err);
}

int trigger_run(const struct trigger_env *e, struct cairn_slice name,
		struct cairn_slice text)
{
	if (is(name, "forget"))
		return forget(e, text);
	if (is(name, "pin"))
		return pins_add(e->pins, text);
	if (is(name, "unpin"))
		return pins_remove(e->pins, text);
	if (is(name, "checkpoint"))
		return checkpoint(e, text);
	if (is(name, "ingest"))
		return ingest(e, text);
	return plain_command(e, name, text);
}
