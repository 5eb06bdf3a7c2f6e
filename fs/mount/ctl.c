/* SPDX-License-Identifier: BSD-3-Clause */
#include "fs/mount/ctl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/error.h"
#include "engine/base/sync.h"
#include "fs/mount/keyfile.h"
#include "fs/mount/trigger.h"
#include "fs/text/errmap.h"

/* How old numbers may be when only sizes are asked for. */
#define FRESH_US 1000000u
/* What the triggers came to, among the stats. */
#define STATS_CTL "ctl"

/* README, a line for each that is there. */
static const struct readme_line {
	const char *text;
	bool past; /* in revision stores only */
	enum { ANYHOW, NOT_FLAT, FLAT } how;
} readme[] = {
	{ "keys/     every key as a file:           "
	  "echo 1 >keys/a/b; cat keys/a/b\n",
	  false, NOT_FLAT },
	{ "..        every key as a file:           "
	  "echo 1 >../a/b; cat ../a/b\n",
	  false, FLAT },
	{ "revs/     the keys as of any revision:   "
	  "diff -r revs/100 revs/latest/\n",
	  true, ANYHOW },
	{ "history/  all versions of one key:       "
	  "cat 'history/a/b%@/latest'\n",
	  true, ANYHOW },
	{ "levels/   the store's levels and tables: cat levels/summary\n",
	  false, ANYHOW },
	{ "stats/    what the store is doing:       "
	  "watch -n1 cat stats/summary\n",
	  false, ANYHOW },
	{ "ctl/      commands, done on return:      echo >ctl/compact\n", false,
	  ANYHOW },
	{ "watch     a line for every change:       cat watch\n", true,
	  ANYHOW },
	{ "events    what the store did, and does:  cat events\n", false,
	  ANYHOW },
};

static const char readme_plain[] =
	"A plain store: the keys are those of its tables. It keeps no "
	"revisions,\n"
	"modes, owners and times; a directory without keys lasts until it is "
	"unmounted.\n";

struct ctl {
	struct ctl_options o;
	volatile bool cancel;

	struct mutex mu;
	/* Guarded by mu. */
	struct stats recent;
	uint64_t recent_us; /* monotonic; 0: none */
	/* What the triggers came to, by their order. */
	struct {
		time_t when; /* 0: never */
		int err;
	} last[TRIGGERS_MAX];
};

int ctl_new(const struct ctl_options *o, struct ctl **out)
{
	struct ctl *c = calloc(1, sizeof(*c));

	if (!c)
		return ENOMEM;
	c->o = *o;
	mutex_init(&c->mu);
	*out = c;
	return 0;
}

void ctl_free(struct ctl *c)
{
	if (!c)
		return;
	if (c->recent_us)
		stats_fini(&c->recent);
	mutex_fini(&c->mu);
	free(c);
}

void ctl_cancel(struct ctl *c)
{
	/* The engine polls it as it is. */
	__atomic_store_n(&c->cancel, true, __ATOMIC_RELAXED);
}

/* ----------------------------------------------------------------- paths */

/* Take the first component off path. */
static struct cairn_slice first_part(struct cairn_slice *path)
{
	const uint8_t *slash =
		path->len ? memchr(path->data, '/', path->len) : NULL;
	size_t len = slash ? (size_t)(slash - path->data) : path->len;
	struct cairn_slice part = slice_of(path->data, len);

	slice_advance(path, slash ? len + 1 : len);
	return part;
}

static bool is(struct cairn_slice s, const char *text)
{
	return slice_eq(s, slice_str(text));
}

/* Whether name is one of the one-value files, or a directory of such. */
static enum ctl_type type_of_stat(struct cairn_slice name)
{
	const char *n;

	if (name.len == 0)
		return CTL_DIR;
	if (is(name, STATS_CTL))
		return CTL_TEXT;
	for (size_t i = 0; (n = stats_text_name(i)); i++)
		if (is(name, n))
			return CTL_TEXT;
	for (size_t i = 0; (n = stats_name(i)); i++) {
		if (is(name, n))
			return CTL_TEXT;
		if (slice_starts_with(slice_str(n), name) && n[name.len] == '/')
			return CTL_DIR;
	}
	return CTL_NONE;
}

/* "L0" ... "L6", or -1. */
static int level_of(struct cairn_slice name)
{
	if (name.len != 2 || name.data[0] != 'L' || name.data[1] < '0' ||
	    name.data[1] >= '0' + CAIRN_LEVELS)
		return -1;
	return name.data[1] - '0';
}

/* NNNNNN.sst as RocksDB writes it: at least six digits. */
static bool table_number(struct cairn_slice name, uint64_t *number)
{
	char canonical[32];
	uint64_t n = 0;

	if (name.len < 10 || name.len > 24 ||
	    memcmp(name.data + name.len - 4, ".sst", 4) != 0)
		return false;
	for (size_t i = 0; i + 4 < name.len; i++) {
		if (name.data[i] < '0' || name.data[i] > '9' ||
		    n > UINT64_MAX / 10 - 1)
			return false;
		n = n * 10 + (uint64_t)(name.data[i] - '0');
	}
	snprintf(canonical, sizeof(canonical), "%06llu.sst",
		 (unsigned long long)n);
	*number = n;
	return is(name, canonical);
}

static const struct cairn_table_info *
find_table(const struct cairn_table_list *l, uint64_t number)
{
	for (size_t i = 0; i < l->n; i++)
		if (l->tables[i].number == number)
			return &l->tables[i];
	return NULL;
}

static bool has_table(struct ctl *c, int level, uint64_t number)
{
	struct cairn_table_list l = { 0 };
	bool found;

	if (cairn_tables(mvcc_db(c->o.m), level, &l))
		return false;
	found = find_table(&l, number);
	cairn_table_list_free(&l);
	return found;
}

static enum ctl_type type_in_level(struct ctl *c, int level,
				   struct cairn_slice name)
{
	uint64_t number;
	const char *n;

	if (name.len == 0)
		return CTL_DIR;
	if (is(name, "tables"))
		return CTL_TEXT;
	for (size_t i = 0; (n = stats_level_name(i)); i++)
		if (is(name, n))
			return CTL_TEXT;
	if (table_number(name, &number) && has_table(c, level, number))
		return CTL_TABLE;
	return CTL_NONE;
}

static enum ctl_type type_of_level(struct ctl *c, struct cairn_slice path)
{
	struct cairn_slice part;

	if (path.len == 0)
		return CTL_DIR;
	part = first_part(&path);
	if (is(part, "summary"))
		return path.len ? CTL_NONE : CTL_TEXT;
	if (level_of(part) < 0)
		return CTL_NONE;
	return type_in_level(c, level_of(part), path);
}

/* Which trigger it is, -1 for none. */
static int trigger_of(const struct ctl *c, struct cairn_slice name)
{
	const char *n;

	for (int i = 0; (n = trigger_name(mvcc_is_plain(c->o.m), (size_t)i));
	     i++)
		if (is(name, n))
			return i;
	return -1;
}

static enum ctl_type type_of_trigger(const struct ctl *c,
				     struct cairn_slice name)
{
	if (name.len == 0)
		return CTL_DIR;
	if (trigger_of(c, name) >= 0)
		return CTL_TRIGGER;
	return is(name, "run") ? CTL_RUN : CTL_NONE;
}

enum ctl_type ctl_type_of(struct ctl *c, struct cairn_slice path)
{
	struct cairn_slice part;

	if (path.len == 0)
		return CTL_DIR;
	part = first_part(&path);
	if (is(part, "README"))
		return path.len ? CTL_NONE : CTL_README;
	if (is(part, "watch") && !mvcc_is_plain(c->o.m))
		return path.len ? CTL_NONE : CTL_WATCH;
	if (is(part, "events"))
		return path.len ? CTL_NONE : CTL_EVENTS;
	if (is(part, "stats"))
		return type_of_stat(path);
	if (is(part, "levels"))
		return type_of_level(c, path);
	if (is(part, "ctl"))
		return type_of_trigger(c, path);
	return CTL_NONE;
}

/* ----------------------------------------------------------------- lists */

static int add(struct buf *out, const char *name)
{
	return errmap_errno(buf_append_lp(out, slice_str(name)));
}

static bool is_listed(const struct buf *list, struct cairn_slice name)
{
	struct cairn_slice rest = buf_slice(list), one;

	while (get_lp_slice(&rest, &one))
		if (slice_eq(one, name))
			return true;
	return false;
}

/* The names below dir of the one-value files, and the texts beside them. */
static int list_stats(struct cairn_slice dir, struct buf *out)
{
	const char *n;
	int err = 0;

	for (size_t i = 0; (n = stats_name(i)) && !err; i++) {
		struct cairn_slice rest = slice_str(n), part;

		if (dir.len) {
			if (!slice_starts_with(rest, dir) || n[dir.len] != '/')
				continue;
			slice_advance(&rest, dir.len + 1);
		}
		part = first_part(&rest);
		if (!is_listed(out, part))
			err = errmap_errno(buf_append_lp(out, part));
	}
	for (size_t i = 0; !dir.len && (n = stats_text_name(i)) && !err; i++)
		err = add(out, n);
	return err || dir.len ? err : add(out, STATS_CTL);
}

static int list_level(struct ctl *c, int level, struct buf *out)
{
	struct cairn_table_list l = { 0 };
	char name[32];
	const char *n;
	int err = add(out, "tables");

	for (size_t i = 0; (n = stats_level_name(i)) && !err; i++)
		err = add(out, n);
	if (!err)
		err = errmap_errno(cairn_tables(mvcc_db(c->o.m), level, &l));
	for (size_t i = 0; i < l.n && !err; i++) {
		snprintf(name, sizeof(name), "%06llu.sst",
			 (unsigned long long)l.tables[i].number);
		err = add(out, name);
	}
	cairn_table_list_free(&l);
	return err;
}

static int list_levels(struct buf *out)
{
	char name[3] = "L0";
	int err = add(out, "summary");

	for (int i = 0; i < CAIRN_LEVELS && !err; i++) {
		name[1] = (char)('0' + i);
		err = add(out, name);
	}
	return err;
}

int ctl_list(struct ctl *c, struct cairn_slice path, struct buf *out)
{
	static const char *const top[] = { "README", "ctl", "levels", "stats" };
	struct cairn_slice part = first_part(&path);
	const char *n;
	int err = 0;

	if (part.len == 0) {
		for (size_t i = 0; i < sizeof(top) / sizeof(top[0]) && !err;
		     i++)
			err = add(out, top[i]);
		/* Not watch and events: who reads all there is would never
		 * end. */
		return err;
	}
	if (is(part, "stats"))
		return list_stats(path, out);
	if (is(part, "levels"))
		return path.len ? list_level(c, level_of(path), out)
				: list_levels(out);
	for (size_t i = 0; !err && (n = trigger_name(mvcc_is_plain(c->o.m), i));
	     i++)
		err = add(out, n);
	return err ? err : add(out, "run");
}

/* ------------------------------------------------------------- rendering */

static int render_level(struct ctl *c, const struct stats *s,
			struct cairn_slice path, struct buf *out)
{
	struct cairn_slice part = first_part(&path);
	char name[64];
	int level = level_of(part), err;

	if (is(part, "summary"))
		return stats_levels(s, out);
	if (is(path, "tables"))
		return stats_tables(c->o.m, level, out);
	if (level < 0 || path.len >= sizeof(name))
		return CAIRN_NOT_FOUND;
	memcpy(name, path.data, path.len);
	name[path.len] = '\0';
	err = stats_level_value(s, level, name, out);
	if (!err && (out->len == 0 || out->data[out->len - 1] != '\n'))
		err = buf_append(out, "\n", 1);
	return err;
}

static int render_stat(const struct stats *s, struct cairn_slice path,
		       struct buf *out)
{
	char name[128];
	int err;

	if (path.len >= sizeof(name))
		return CAIRN_NOT_FOUND;
	memcpy(name, path.data, path.len);
	name[path.len] = '\0';
	err = stats_text(s, name, out);
	if (err != CAIRN_NOT_FOUND)
		return err;
	err = stats_value(s, name, out);
	return err ? err : buf_append(out, "\n", 1);
}

static int render(struct ctl *c, const struct stats *s, struct cairn_slice path,
		  struct buf *out)
{
	struct cairn_slice part = first_part(&path);

	return is(part, "levels") ? render_level(c, s, path, out)
				  : render_stat(s, path, out);
}

/* Make c->recent at most FRESH_US old. Called with mu. */
static int look_recently(struct ctl *c)
{
	uint64_t now = keyfiles_now_us();
	int err;

	if (c->recent_us && now - c->recent_us < FRESH_US)
		return CAIRN_OK;
	if (c->recent_us)
		stats_fini(&c->recent);
	c->recent_us = 0;
	err = stats_collect(c->o.m, c->o.dir, c->o.counters, &c->recent);
	if (!err)
		c->recent_us = now;
	return err;
}

static int render_readme(const struct ctl *c, struct buf *out)
{
	bool plain = mvcc_is_plain(c->o.m);
	int err = CAIRN_OK;

	for (size_t i = 0; i < sizeof(readme) / sizeof(readme[0]) && !err;
	     i++) {
		const struct readme_line *l = &readme[i];

		if ((!plain || !l->past) &&
		    l->how != (c->o.flat ? NOT_FLAT : FLAT))
			err = buf_append(out, l->text, strlen(l->text));
	}
	if (!err && plain)
		err = buf_append(out, readme_plain, strlen(readme_plain));
	return err;
}

static void note_result(struct ctl *c, struct cairn_slice name, int err)
{
	int i = trigger_of(c, name);

	if (i < 0)
		return;
	mutex_lock(&c->mu);
	c->last[i].when = time(NULL);
	c->last[i].err = err;
	mutex_unlock(&c->mu);
}

/* "flush 2026-11-23T10:14:02Z ok", "compact -". */
static int render_results(struct ctl *c, struct buf *out)
{
	bool plain = mvcc_is_plain(c->o.m);
	const char *n;
	int err = CAIRN_OK;

	mutex_lock(&c->mu);
	for (size_t i = 0; !err && (n = trigger_name(plain, i)); i++) {
		char when[32];
		struct tm tm = { 0 };

		if (!c->last[i].when) {
			err = buf_printf(out, "%s -\n", n);
			continue;
		}
		gmtime_r(&c->last[i].when, &tm);
		strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &tm);
		err = buf_printf(out, "%s %s %s\n", n, when,
				 c->last[i].err
					 ? strerrordesc_np(c->last[i].err)
					 : "ok");
	}
	mutex_unlock(&c->mu);
	return err;
}

int ctl_render(struct ctl *c, struct cairn_slice path, bool fresh,
	       struct buf *out)
{
	struct stats s;
	int err;

	if (is(path, "README"))
		return errmap_errno(render_readme(c, out));
	if (is(path, "stats/" STATS_CTL))
		return errmap_errno(render_results(c, out));
	if (!fresh) {
		mutex_lock(&c->mu);
		err = look_recently(c);
		if (!err)
			err = render(c, &c->recent, path, out);
		mutex_unlock(&c->mu);
		return errmap_errno(err);
	}
	err = stats_collect(c->o.m, c->o.dir, c->o.counters, &s);
	if (err)
		return errmap_errno(err);
	err = render(c, &s, path, out);
	stats_fini(&s);
	return errmap_errno(err);
}

int ctl_error_text(struct ctl *c, struct buf *out)
{
	char text[1024] = "";

	if (cairn_background_error(mvcc_db(c->o.m), text, sizeof(text)) ==
		    CAIRN_OK ||
	    !*text)
		return errmap_errno(buf_append(out, "none", 4));
	return errmap_errno(buf_append(out, text, strlen(text)));
}

/* ---------------------------------------------------------------- tables */

/* "levels/L<n>/NNNNNN.sst" in the list, which the caller frees. */
static int get_table(struct ctl *c, struct cairn_slice path,
		     struct cairn_table_list *l,
		     const struct cairn_table_info **out)
{
	struct cairn_slice part;
	uint64_t number = 0;
	int err, level;

	first_part(&path);
	part = first_part(&path);
	level = level_of(part);
	if (level < 0 || !table_number(path, &number))
		return ENOENT;
	err = errmap_errno(cairn_tables(mvcc_db(c->o.m), level, l));
	if (err)
		return err;
	*out = find_table(l, number);
	return *out ? 0 : ENOENT;
}

int ctl_table_size(struct ctl *c, struct cairn_slice path, uint64_t *size)
{
	struct cairn_table_list l = { 0 };
	const struct cairn_table_info *t = NULL;
	int err = get_table(c, path, &l, &t);

	if (!err)
		*size = t->size_bytes;
	cairn_table_list_free(&l);
	return err;
}

int ctl_table_open(struct ctl *c, struct cairn_slice path, int *fd,
		   struct cairn_table_list *keep)
{
	struct cairn_table_list l = { 0 };
	const struct cairn_table_info *t = NULL;
	int err = get_table(c, path, &l, &t);

	if (!err) {
		*fd = open(t->path, O_RDONLY | O_CLOEXEC);
		if (*fd < 0)
			err = errno;
	}
	if (err)
		cairn_table_list_free(&l);
	else
		*keep = l;
	return err;
}

int ctl_command(struct ctl *c, struct cairn_slice path, struct cairn_slice text)
{
	const struct trigger_env e = { .m = c->o.m,
				       .ks = c->o.ks,
				       .pins = c->o.pins,
				       .counters = c->o.counters,
				       .cancel = &c->cancel };
	int err;

	if (__atomic_load_n(&c->cancel, __ATOMIC_RELAXED))
		return ESHUTDOWN;
	first_part(&path);
	err = trigger_run(&e, path, text);
	note_result(c, path, err);
	return err;
}
