/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Directory listing by seeks.
 *
 * Keys come in key order, names are wanted in name order, and the two differ:
 * the keys `a!`, `a/x` stand for the file a! and the directory a. So when a
 * name comes up, directories that sort before it may lie ahead: those called
 * like a proper prefix of the name that is followed by a byte below '/'. And a
 * file may be a directory, too, whose keys lie ahead: `a`, `a!`, `a/x`.
 *
 * Both are the same question: is there a directory p, for a prefix p of the
 * name? The next key often answers it. It sorts behind the keys of the name; if
 * it does not go on with p, the keys of p/ have been passed by and there are
 * none. Only when it does, a second cursor has to look. That answer serves all
 * names with this prefix: they follow each other, and the question comes up at
 * the first of them only.
 *
 * A directory found ahead is shown at once, and must not be shown again when
 * its keys come up. All such directories are prefixes of the keys in between,
 * so those that are pending form a stack: prefixes of one string.
 */
#include <stdlib.h>

#include "engine/base/error.h"
#include "mvcc/cursor.h"

/* A copy of a row, to outlive the cursor's step. */
struct held_row {
	bool there;
	struct found f;
};

struct mvcc_list {
	struct mvcc *m;
	int64_t rev; /* pinned */
	struct buf dir;
	struct buf start;
	struct cursor c;
	struct cursor probe; /* its iterator is made at the first need */
	bool begun;
	int ended; /* what every further call returns, when not CAIRN_OK */

	/* The name that has come up. */
	bool have_name;
	struct buf name;
	bool is_dir;
	size_t next; /* the next prefix of it to ask about has this length */
	struct held_row file;
	struct held_row dir_row;
	struct held_row ahead; /* the record of a prefix of it */

	/* The one before it, in key order. */
	bool have_prev;
	struct buf prev;

	/* Directories shown already: prefixes of pending, by length. */
	struct buf pending;
	size_t *lens;
	size_t n_lens;
	size_t cap_lens;

	struct buf scratch;
	struct buf plain;
};

/* What c stands on, whose key is given. */
static int hold(struct held_row *h, const struct cursor *c,
		struct cairn_slice key)
{
	int err;

	found_release(&h->f);
	err = cursor_copy_row(c, key, &h->f);
	h->there = !err;
	return err;
}

/* ------------------------------------------------------------- construction */

/* The encoded start of the keys that begin with dir name more. */
static int encode_below(const struct mvcc_list *l, struct cairn_slice name,
			const char *more, struct buf *plain, struct buf *out)
{
	int err = buf_set(plain, buf_slice(&l->dir));

	if (!err)
		err = buf_append(plain, name.data, name.len);
	if (!err)
		err = buf_append(plain, more, strlen(more));
	if (!err)
		err = l->m->kind->encode_start(out, buf_slice(plain));
	return err;
}

static int dir_list_init(struct mvcc_list *l, struct cairn_slice dir,
			 struct cairn_slice start);

int mvcc_list_new(struct mvcc *m, int64_t rev, struct cairn_slice dir,
		  struct cairn_slice start, struct mvcc_list **out)
{
	struct mvcc_list *l;
	int err;

	if (dir.len > m->kind->key_max ||
	    (dir.len && dir.data[dir.len - 1] != '/'))
		return error_set(CAIRN_EINVAL, "no directory");
	l = calloc(1, sizeof(*l));
	if (!l)
		return error_nomem();
	l->m = m;
	err = store_pin(m, rev, &l->rev);
	if (err) {
		free(l);
		return err;
	}
	err = dir_list_init(l, dir, start);
	if (err) {
		mvcc_list_free(l);
		return err;
	}
	*out = l;
	return CAIRN_OK;
}

/* A cursor over all keys below the directory. */
static int open_cursor(struct mvcc_list *l, struct cursor *c)
{
	struct buf lower = { 0 }, upper = { 0 };
	int err = l->m->kind->encode_start(&lower, buf_slice(&l->dir));

	if (!err)
		err = buf_set(&upper, buf_slice(&lower));
	/* It ends in '/', or is the table byte alone: no carry. Nothing is all
	 * of a plain store. */
	if (!err) {
		if (upper.len)
			upper.data[upper.len - 1]++;
		err = cursor_init(c, l->m, l->rev, buf_slice(&lower),
				  buf_slice(&upper));
	}
	buf_fini(&upper);
	buf_fini(&lower);
	return err;
}

static int dir_list_init(struct mvcc_list *l, struct cairn_slice dir,
			 struct cairn_slice start)
{
	int err = buf_set(&l->dir, dir);

	if (!err)
		err = buf_set(&l->start, start);
	if (!err)
		err = open_cursor(l, &l->c);
	return err;
}

void mvcc_list_free(struct mvcc_list *l)
{
	if (!l)
		return;
	cursor_fini(&l->c);
	cursor_fini(&l->probe);
	found_release(&l->file.f);
	found_release(&l->dir_row.f);
	found_release(&l->ahead.f);
	buf_fini(&l->dir);
	buf_fini(&l->start);
	buf_fini(&l->name);
	buf_fini(&l->prev);
	buf_fini(&l->pending);
	buf_fini(&l->scratch);
	buf_fini(&l->plain);
	free(l->lens);
	mvcc_unpin(l->m, l->rev);
	free(l);
}

/* ------------------------------------------------------------------ pending */

static bool pending_has_prefix(const struct mvcc_list *l, size_t len,
			       struct cairn_slice name)
{
	return len <= name.len &&
	       slice_starts_with(name, slice_of(l->pending.data, len));
}

static int push_pending(struct mvcc_list *l, struct cairn_slice name)
{
	while (l->n_lens &&
	       !pending_has_prefix(l, l->lens[l->n_lens - 1], name))
		l->n_lens--;
	if (l->n_lens == l->cap_lens) {
		size_t cap = l->cap_lens ? 2 * l->cap_lens : 8;
		size_t *lens = realloc(l->lens, cap * sizeof(*lens));

		if (!lens)
			return error_nomem();
		l->lens = lens;
		l->cap_lens = cap;
	}
	if (buf_set(&l->pending, name))
		return error_nomem();
	l->lens[l->n_lens++] = name.len;
	return CAIRN_OK;
}

/* The keys of directory name have come up: was it shown already? */
static bool take_pending(struct mvcc_list *l, struct cairn_slice name)
{
	while (l->n_lens) {
		size_t len = l->lens[l->n_lens - 1];

		if (pending_has_prefix(l, len, name) && len < name.len)
			return false;
		l->n_lens--;
		if (len == name.len && pending_has_prefix(l, len, name))
			return true;
	}
	return false;
}

/* ------------------------------------------------------------------ walking */

static size_t common_prefix(struct cairn_slice a, struct cairn_slice b)
{
	size_t n = a.len < b.len ? a.len : b.len;
	size_t i = 0;

	while (i < n && a.data[i] == b.data[i])
		i++;
	return i;
}

/* A name has come up; of its prefixes, those of the one before were asked
 * about. */
static int set_name(struct mvcc_list *l, struct cairn_slice name, bool is_dir)
{
	int err = buf_set(&l->name, name);

	if (err)
		return err;
	l->next = 0;
	if (l->have_prev)
		l->next = common_prefix(name, buf_slice(&l->prev)) + 1;
	l->is_dir = is_dir;
	l->have_name = true;
	return CAIRN_OK;
}

/* A directory's keys have come up. rest is what follows dir in the first. */
static int take_dir(struct mvcc_list *l, struct cairn_slice rest, size_t len,
		    struct cairn_slice key)
{
	struct cairn_slice name = slice_of(rest.data, len);
	int err = CAIRN_OK;

	if (rest.len == len + 1) {
		err = hold(&l->dir_row, &l->c, key);
		if (!err && l->dir_row.f.row.attrs.type != MVCC_DIR)
			l->dir_row.there = false;
	}
	if (!err)
		err = set_name(l, name, true);
	/* '0' follows '/': behind all that is below it. */
	if (!err)
		err = encode_below(l, buf_slice(&l->name), "0", &l->plain,
				   &l->scratch);
	if (!err)
		err = cursor_seek(&l->c, buf_slice(&l->scratch));
	return err;
}

static int take_file(struct mvcc_list *l, struct cairn_slice name,
		     struct cairn_slice key)
{
	int err = hold(&l->file, &l->c, key);

	/* The record of the directory that is listed is not in it. */
	if (!err && !name.len && l->file.f.row.attrs.type == MVCC_DIR)
		l->file.there = false;
	else if (!err)
		err = set_name(l, name, false);
	if (!err)
		err = cursor_skip(&l->c);
	return err;
}

static int begin(struct mvcc_list *l)
{
	int err = encode_below(l, buf_slice(&l->start), "", &l->plain,
			       &l->scratch);

	if (!err)
		err = cursor_seek(&l->c, buf_slice(&l->scratch));
	l->begun = !err;
	return err;
}

/* The next name in key order. */
static int take_name(struct mvcc_list *l)
{
	struct cairn_slice key, rest;
	const uint8_t *slash;
	int err = l->begun ? CAIRN_OK : begin(l);

	l->file.there = false;
	l->dir_row.there = false;
	while (!err && !l->have_name) {
		err = cursor_settle(&l->c, slice_of(NULL, 0));
		if (!err)
			err = cursor_key(&l->c, &l->plain);
		if (err)
			break;
		key = buf_slice(&l->plain);
		rest = key;
		slice_advance(&rest, l->dir.len);
		slash = rest.len ? memchr(rest.data, '/', rest.len) : NULL;
		if (slash)
			err = take_dir(l, rest, (size_t)(slash - rest.data),
				       key);
		else
			err = take_file(l, rest, key);
	}
	return err;
}

/*
 * Look whether there is a directory called name, with the second cursor.
 * CAIRN_NOT_FOUND: no. *record: its record, if it has one.
 */
static int probe_dir(struct mvcc_list *l, struct cairn_slice name,
		     struct held_row *record)
{
	struct buf plain = { 0 };
	int err = CAIRN_OK;

	record->there = false;
	if (!l->probe.it)
		err = open_cursor(l, &l->probe);
	if (!err)
		err = encode_below(l, name, "/", &l->plain, &l->scratch);
	if (!err)
		err = cursor_seek(&l->probe, buf_slice(&l->scratch));
	if (!err)
		err = cursor_settle(&l->probe, buf_slice(&l->scratch));
	if (!err)
		err = cursor_key(&l->probe, &plain);
	if (!err && plain.len == l->dir.len + name.len + 1) {
		err = hold(record, &l->probe, buf_slice(&plain));
		if (!err && record->f.row.attrs.type != MVCC_DIR)
			record->there = false;
	}
	buf_fini(&plain);
	return err;
}

/* Whether there is a directory ahead called name, which is a prefix of the
 * name that has come up, or all of it. CAIRN_NOT_FOUND: no. */
static int ask_ahead(struct mvcc_list *l, struct cairn_slice name,
		     struct held_row *record)
{
	struct cairn_slice raw;
	int err = cursor_raw(&l->c, &raw);

	if (err)
		return err;
	/* All keys here start with the directory; only NUL is escaped. */
	slice_advance(&raw, l->c.lower.len);
	if (name.len && memchr(name.data, '\0', name.len))
		return probe_dir(l, name, record);
	if (!slice_starts_with(raw, name) || raw.len == name.len ||
	    raw.data[name.len] > '/')
		return CAIRN_NOT_FOUND;
	return probe_dir(l, name, record);
}

static void emit_dir(struct cairn_slice name, const struct held_row *record,
		     struct mvcc_entry *out)
{
	memset(out, 0, sizeof(*out));
	out->name = name;
	out->is_dir = true;
	out->has_dir_row = record->there;
	if (record->there)
		out->dir_row = record->f.row;
}

/*
 * The next directory ahead that sorts before the name that has come up, and
 * was not asked about before. CAIRN_NOT_FOUND: none is left.
 */
static int next_ahead(struct mvcc_list *l, struct mvcc_entry *out)
{
	struct cairn_slice name = buf_slice(&l->name);
	int err;

	while (l->next < name.len) {
		struct cairn_slice p = slice_of(name.data, l->next++);

		if (name.data[p.len] >= '/')
			continue;
		err = ask_ahead(l, p, &l->ahead);
		if (err == CAIRN_NOT_FOUND)
			continue;
		if (!err)
			err = push_pending(l, p);
		if (err)
			return err;
		if (slice_cmp(p, buf_slice(&l->start)) < 0)
			continue;
		emit_dir(p, &l->ahead, out);
		return CAIRN_OK;
	}
	return CAIRN_NOT_FOUND;
}

/* The name itself. CAIRN_NOT_FOUND: it is not to be shown. */
static int finish_name(struct mvcc_list *l, struct mvcc_entry *out)
{
	struct cairn_slice name = buf_slice(&l->name);
	bool shown = l->is_dir && take_pending(l, name);
	int err;

	l->have_name = false;
	if (!l->is_dir) {
		err = ask_ahead(l, name, &l->dir_row);
		if (!err)
			err = push_pending(l, name);
		if (err < 0)
			return err;
		l->is_dir = !err;
	}
	l->have_prev = true;
	err = buf_set(&l->prev, name);
	if (err)
		return err;
	if (shown || slice_cmp(name, buf_slice(&l->start)) < 0)
		return CAIRN_NOT_FOUND;
	memset(out, 0, sizeof(*out));
	if (l->is_dir)
		emit_dir(name, &l->dir_row, out);
	out->name = name;
	out->is_file = l->file.there;
	if (l->file.there)
		out->file = l->file.f.row;
	return CAIRN_OK;
}

int mvcc_list_next(struct mvcc_list *l, struct mvcc_entry *out)
{
	int err;

	if (l->ended)
		return l->ended;
	for (;;) {
		if (!l->have_name) {
			err = take_name(l);
			if (err)
				break;
		}
		err = next_ahead(l, out);
		if (err == CAIRN_NOT_FOUND)
			err = finish_name(l, out);
		if (!err)
			return CAIRN_OK;
		if (err != CAIRN_NOT_FOUND)
			break;
	}
	/* Let go of the files they hold. */
	l->ended = err;
	cursor_fini(&l->c);
	cursor_fini(&l->probe);
	return err;
}
