/* SPDX-License-Identifier: BSD-3-Clause */
#include "fs/mount/dir.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>

#include "engine/base/error.h"
#include "fs/text/errmap.h"

/* "%+" names that hold one another's keys between them: see struct cuts. */
#define CUTS_MAX 8
/* "." and "..". */
#define N_DOTS 2

/*
 * The "%+" directories listed whose keys may not have ended yet. Between the
 * keys of one, keys can come that are named otherwise (being short enough, or
 * cut at another place), so it must be remembered that it was listed. Each is a
 * prefix of the next: one string and the lengths.
 */
struct cuts {
	struct buf bytes;
	size_t len[CUTS_MAX];
	size_t n;
};

/* Where a reply ended. */
struct place {
	uint64_t cookie;
	struct cairn_slice name; /* the component that comes next; malloc'ed */
	unsigned out;            /* which of its entries */
	bool value_done;         /* "%=" was listed */
	struct cuts cuts;
};

struct dir {
	struct tree *t; /* NULL: a plain list */
	struct inode *i;
	uint64_t cookie; /* of the entry at hand */

	/* A plain list. */
	struct buf list;
	struct cairn_slice rest;

	/* A directory of keys. */
	struct inode_where where;
	int64_t rev; /* pinned; 0: not yet */
	struct mvcc_list *walk;
	struct mvcc_entry e;
	bool have_e;
	bool walk_ended;
	struct buf created; /* components, sorted, varint32 length and bytes */
	struct cairn_slice created_rest;
	struct cuts cuts;
	bool value_done;
	struct place *places;
	size_t n_places, places_cap;

	/* What the component at hand makes: up to two entries. */
	struct {
		struct dir_entry entry;
		struct name name;
		struct buf id;
	} out[2];
	unsigned n_out;
	unsigned at_out;
	bool from_created; /* the component came from there */
	bool from_walk;
};

/* -------------------------------------------------------------- the cuts */

static int cuts_copy(const struct cuts *from, struct cuts *to)
{
	int err;

	buf_clear(&to->bytes);
	err = buf_append(&to->bytes, from->bytes.data, from->bytes.len);
	if (err)
		return err;
	memcpy(to->len, from->len, sizeof(to->len));
	to->n = from->n;
	return CAIRN_OK;
}

/* Forget those whose keys have ended: name does not start with them. */
static void cuts_pass(struct cuts *c, struct cairn_slice name)
{
	while (c->n && !slice_starts_with(
			       name, slice_of(c->bytes.data, c->len[c->n - 1])))
		c->n--;
}

/* Whether the cut of len bytes of name is listed already; else note it. */
static int cuts_note(struct cuts *c, struct cairn_slice name, size_t len,
		     bool *known)
{
	int err;

	*known = false;
	for (size_t i = 0; i < c->n; i++)
		if (c->len[i] == len)
			*known = true;
	if (*known)
		return CAIRN_OK;
	err = buf_set(&c->bytes, slice_of(name.data, len));
	if (err)
		return err;
	if (c->n == CUTS_MAX) {
		memmove(c->len, c->len + 1, sizeof(c->len[0]) * --c->n);
	}
	c->len[c->n++] = len;
	return CAIRN_OK;
}

/* ------------------------------------------------------ opening, closing */

int64_t dir_rev(const struct dir *d)
{
	return d->rev;
}

static void stop_walk(struct dir *d)
{
	mvcc_list_free(d->walk);
	d->walk = NULL;
	d->have_e = false;
	d->walk_ended = false;
	d->n_out = 0;
	d->at_out = 0;
}

static void forget_places(struct dir *d)
{
	for (size_t i = 0; i < d->n_places; i++) {
		free((void *)(uintptr_t)d->places[i].name.data);
		buf_fini(&d->places[i].cuts.bytes);
	}
	d->n_places = 0;
}

void dir_close(struct dir *d)
{
	if (!d)
		return;
	stop_walk(d);
	forget_places(d);
	free(d->places);
	if (d->rev)
		mvcc_unpin(d->t->m, d->rev);
	if (d->t)
		inode_unref(d->t->inodes, d->i);
	inode_where_fini(&d->where);
	buf_fini(&d->list);
	buf_fini(&d->created);
	buf_fini(&d->cuts.bytes);
	buf_fini(&d->out[0].id);
	buf_fini(&d->out[1].id);
	free(d);
}

int dir_open_list(struct buf *list, struct dir **out)
{
	struct dir *d = calloc(1, sizeof(*d));

	if (!d) {
		buf_fini(list);
		return ENOMEM;
	}
	d->list = *list;
	*list = (struct buf){ 0 };
	d->rest = buf_slice(&d->list);
	*out = d;
	return 0;
}

static struct cairn_slice dir_prefix(const struct dir *d)
{
	return slice_of(d->where.id.data, d->where.dir_len);
}

static struct cairn_slice dir_cut(const struct dir *d)
{
	return slice_of(d->where.id.data + d->where.dir_len,
			d->where.id.len - d->where.dir_len);
}

static int cmp_slices(const void *a, const void *b)
{
	return slice_cmp(*(const struct cairn_slice *)a,
			 *(const struct cairn_slice *)b);
}

/* Sort the components of the created keys that lie right in this directory. */
static int sort_created(struct dir *d, struct cairn_slice keys)
{
	struct cairn_slice *list, key;
	size_t n = 0, cap = keys.len / 2 + 1;
	int err = CAIRN_OK;

	list = calloc(cap, sizeof(*list));
	if (!list)
		return error_nomem();
	while (get_lp_slice(&keys, &key)) {
		slice_advance(&key, d->where.dir_len);
		if (key.len && !memchr(key.data, '/', key.len))
			list[n++] = key;
	}
	qsort(list, n, sizeof(*list), cmp_slices);
	for (size_t i = 0; i < n && !err; i++)
		err = buf_append_lp(&d->created, list[i]);
	free(list);
	return err;
}

static int load_created(struct dir *d)
{
	struct buf keys = { 0 };
	int err;

	buf_clear(&d->created);
	if (d->i->kind != INODE_DIR || d->i->rev)
		return CAIRN_OK;
	err = keyfiles_created(d->t->ks, d->where.id, &keys);
	if (!err && keys.len)
		err = sort_created(d, buf_slice(&keys));
	buf_fini(&keys);
	return err;
}

/* Start anew, as of now. */
static int take_snapshot(struct dir *d)
{
	int64_t rev;
	int err = load_created(d);

	if (err)
		return err;
	/* Created first: what is committed in between is seen below. */
	rev = d->i->rev;
	err = rev ? mvcc_pin(d->t->m, rev) : mvcc_pin_current(d->t->m, &rev);
	if (err)
		return err;
	if (d->rev)
		mvcc_unpin(d->t->m, d->rev);
	d->rev = rev;
	forget_places(d);
	return CAIRN_OK;
}

/* Walk from component name on (empty: all). */
static int start_walk(struct dir *d, struct cairn_slice name)
{
	struct cairn_slice from = name.len ? name : dir_cut(d), one;

	stop_walk(d);
	d->created_rest = buf_slice(&d->created);
	while (name.len) {
		struct cairn_slice rest = d->created_rest;

		if (!get_lp_slice(&rest, &one) || slice_cmp(one, name) >= 0)
			break;
		d->created_rest = rest;
	}
	return mvcc_list_new(d->t->m, d->rev, dir_prefix(d), from, &d->walk);
}

int dir_open_keys(struct tree *t, struct inode *i, struct dir **out)
{
	struct dir *d = calloc(1, sizeof(*d));
	int err;

	if (!d)
		return ENOMEM;
	d->t = t;
	d->i = i;
	inode_ref(t->inodes, i);
	err = inode_copy_id(t->inodes, i, &d->where);
	if (!err)
		err = take_snapshot(d);
	if (err)
		dir_close(d);
	else
		*out = d;
	return errmap_errno(err);
}

/* --------------------------------------------------------------- entries */

static struct dir_entry *new_out(struct dir *d, struct cairn_slice id,
				 const char *end)
{
	unsigned i = d->n_out++;
	struct dir_entry *e = &d->out[i].entry;
	struct buf *b = &d->out[i].id;

	*e = (struct dir_entry){ .type = DT_UNKNOWN };
	buf_clear(b);
	if (buf_append(b, dir_prefix(d).data, d->where.dir_len) ||
	    buf_append(b, id.data, id.len) || buf_append(b, end, strlen(end)))
		return NULL;
	e->id.kind = INODE_DIR;
	/* revs/ lists its own revision; keys/ lists the present. */
	e->id.rev = d->i->rev;
	e->id.id = buf_slice(b);
	return e;
}

static unsigned type_of(enum mvcc_type type)
{
	return type == MVCC_SYMLINK ? DT_LNK : DT_REG;
}

/* A long component: the directory of its first part, once. */
static int out_cut(struct dir *d, struct cairn_slice comp, size_t len,
		   bool history)
{
	struct dir_entry *e;
	bool known;
	int err = cuts_note(&d->cuts, comp, len, &known);

	if (err || known)
		return err;
	e = new_out(d, slice_of(comp.data, len), "");
	if (!e)
		return error_nomem();
	e->type = DT_DIR;
	e->id.dir_len = d->where.dir_len;
	if (history) {
		e->id.kind = INODE_HIST_DIR;
		return CAIRN_OK;
	}
	e->has_stat = true;
	e->st = tree_plain_dir(d->t);
	return CAIRN_OK;
}

static int out_dir(struct dir *d, struct cairn_slice comp,
		   const struct mvcc_entry *m, bool history)
{
	struct dir_entry *e = new_out(d, comp, "/");

	if (!e)
		return error_nomem();
	e->type = DT_DIR;
	e->id.dir_len = e->id.id.len;
	if (history) {
		e->id.kind = INODE_HIST_DIR;
		return CAIRN_OK;
	}
	e->has_stat = true;
	e->st = tree_plain_dir(d->t);
	if (m->has_dir_row)
		keyfile_stat_of_row(&m->dir_row, &e->st);
	return CAIRN_OK;
}

static int out_file(struct dir *d, struct cairn_slice comp,
		    const struct mvcc_entry *m, bool history)
{
	struct name *name = &d->out[d->n_out].name;
	struct dir_entry *e = new_out(d, comp, "");

	if (!e)
		return error_nomem();
	if (history) {
		name_make_history(name);
		e->id.kind = INODE_HIST_KEY;
		e->id.rev = 0;
		e->type = DT_DIR;
		return CAIRN_OK;
	}
	e->id.kind = INODE_FILE;
	e->type = DT_REG;
	if (m) {
		e->type = type_of(m->file.attrs.type);
		e->has_stat = true;
		keyfile_stat_of_row(&m->file, &e->st);
	}
	return CAIRN_OK;
}

/* The entries of a component; none when it lies elsewhere. m NULL: created. */
static int make_out(struct dir *d, struct cairn_slice comp,
		    const struct mvcc_entry *m)
{
	bool history = d->i->kind == INODE_HIST_DIR;
	size_t cut = dir_cut(d).len, take;
	bool is_dir = m && m->is_dir, is_file = !m || m->is_file;
	int err = CAIRN_OK;

	d->n_out = 0;
	d->at_out = 0;
	if (cut &&
	    !name_is_cut_at(comp, tree_flat_top(d->t, d->where.dir_len), cut))
		return CAIRN_OK;
	cuts_pass(&d->cuts, comp);
	take = name_encode(slice_of(comp.data + cut, comp.len - cut),
			   tree_flat_top(d->t, d->where.id.len),
			   &d->out[0].name);
	if (take < comp.len - cut)
		return out_cut(d, comp, cut + take, history);
	d->out[1].name = d->out[0].name;
	if (is_dir)
		err = out_dir(d, comp, m, history);
	/* Beside a directory, the file is "%=" in it. */
	if (!err && is_file && (!is_dir || history))
		err = out_file(d, comp, m, history);
	return err;
}

/* Have the walk's next component in d->e, if there is one. */
static int fetch(struct dir *d)
{
	struct cairn_slice cut = dir_cut(d);
	int err;

	if (d->have_e || d->walk_ended)
		return CAIRN_OK;
	err = mvcc_list_next(d->walk, &d->e);
	if (err == CAIRN_NOT_FOUND ||
	    (!err && !slice_starts_with(d->e.name, cut))) {
		d->walk_ended = true;
		return CAIRN_OK;
	}
	d->have_e = !err;
	return err;
}

/* The entries of the next component. ENOENT-like CAIRN_NOT_FOUND at the end. */
static int next_component(struct dir *d)
{
	struct cairn_slice rest = d->created_rest, one = { 0 };
	bool have_one, both;
	int c, err = fetch(d);

	if (err)
		return err;
	have_one = get_lp_slice(&rest, &one);
	if (!have_one && !d->have_e)
		return CAIRN_NOT_FOUND;
	c = !have_one ? 1 : !d->have_e ? -1 : slice_cmp(one, d->e.name);
	/* Committed by now; but a directory beside it is still to be shown. */
	both = c == 0;
	d->from_created = c < 0 || both;
	d->from_walk = c > 0 || both;
	return d->from_walk ? make_out(d, d->e.name, &d->e)
			    : make_out(d, one, NULL);
}

static void leave_component(struct dir *d)
{
	struct cairn_slice one;

	if (d->from_created && !get_lp_slice(&d->created_rest, &one))
		d->created_rest.len = 0;
	if (d->from_walk)
		d->have_e = false;
	d->n_out = 0;
	d->at_out = 0;
}

/* "%=", when the key that is this directory exists as well. */
static int make_value(struct dir *d)
{
	static const struct name value = { .bytes = "%=", .len = 2 };
	struct cairn_slice key = d->where.id;
	struct mvcc_pinned_row row = { 0 };
	struct keyfile_stat st = { 0 };
	struct dir_entry *e;
	int err;

	d->n_out = 0;
	d->at_out = 0;
	d->from_created = false;
	d->from_walk = false;
	if (d->i->kind != INODE_DIR || key.len != d->where.dir_len ||
	    key.len <= mvcc_key_min(d->t->m))
		return CAIRN_OK;
	key.len--;
	err = mvcc_get(d->t->m, key, d->rev, &row);
	if (!err)
		keyfile_stat_of_row(&row.row, &st);
	mvcc_row_release(&row);
	if (err)
		return err == CAIRN_NOT_FOUND ? CAIRN_OK : err;
	e = &d->out[0].entry;
	*e = (struct dir_entry){ .type = type_of(st.type),
				 .has_stat = true,
				 .st = st };
	d->out[0].name = value;
	e->id = (struct inode_id){ INODE_FILE, d->i->rev, key, 0 };
	d->n_out = 1;
	return CAIRN_OK;
}

/* Have an entry at hand. */
static int find_out(struct dir *d)
{
	int err;

	if (!d->walk) {
		err = start_walk(d, slice_of(NULL, 0));
		if (err)
			return err;
	}
	while (d->at_out == d->n_out) {
		if (!d->value_done) {
			err = make_value(d);
			d->value_done = !err;
		} else {
			if (d->from_created || d->from_walk)
				leave_component(d);
			err = next_component(d);
		}
		if (err)
			return err;
	}
	return CAIRN_OK;
}

static int peek_list(struct dir *d, struct dir_entry *out)
{
	struct cairn_slice rest = d->rest;

	*out = (struct dir_entry){ .type = DT_UNKNOWN,
				   .cookie = d->cookie + 1 };
	return get_lp_slice(&rest, &out->name) ? 0 : ENOENT;
}

int dir_peek(struct dir *d, struct dir_entry *out)
{
	int err;

	if (d->cookie < N_DOTS) {
		*out = (struct dir_entry){ .type = DT_DIR,
					   .cookie = d->cookie + 1 };
		out->name = slice_of("..", d->cookie + 1);
		return 0;
	}
	if (!d->t)
		return peek_list(d, out);
	err = find_out(d);
	if (err)
		return errmap_errno(err);
	*out = d->out[d->at_out].entry;
	out->name = name_slice(&d->out[d->at_out].name);
	out->cookie = d->cookie + 1;
	return 0;
}

void dir_take(struct dir *d)
{
	struct cairn_slice one;

	if (d->cookie++ < N_DOTS)
		return;
	if (d->t)
		d->at_out++;
	else if (!get_lp_slice(&d->rest, &one))
		d->rest.len = 0;
}

/* ----------------------------------------------------------------- places */

static struct place *add_place(struct dir *d)
{
	if (d->n_places == d->places_cap) {
		size_t cap = d->places_cap ? d->places_cap * 2 : 8;
		struct place *p = realloc(d->places, cap * sizeof(*p));

		if (!p)
			return NULL;
		d->places = p;
		d->places_cap = cap;
	}
	d->places[d->n_places] = (struct place){ 0 };
	return &d->places[d->n_places++];
}

/* The component at hand, whose entries are out. */
static struct cairn_slice component(const struct dir *d)
{
	struct cairn_slice rest = d->created_rest, one = { 0 };

	if (d->from_walk)
		return d->e.name;
	return get_lp_slice(&rest, &one) ? one : slice_of(NULL, 0);
}

int dir_mark(struct dir *d)
{
	struct dir_entry e;
	struct place *p;
	int err;

	if (!d->t || d->cookie <= N_DOTS ||
	    (d->n_places && d->places[d->n_places - 1].cookie >= d->cookie))
		return 0;
	err = dir_peek(d, &e);
	if (err)
		return err == ENOENT ? 0 : err;
	/* The entry "%=" comes first: from the start is near enough. */
	if (!d->from_walk && !d->from_created)
		return 0;
	p = add_place(d);
	if (!p)
		return ENOMEM;
	p->cookie = d->cookie;
	p->out = d->at_out;
	err = slice_dup(component(d), &p->name);
	/* The cut that is the entry at hand is not listed yet. */
	if (!err)
		err = cuts_copy(&d->cuts, &p->cuts);
	if (!err && p->cuts.n && e.id.kind == INODE_DIR &&
	    e.id.id.len != e.id.dir_len)
		p->cuts.n--;
	if (!err && p->cuts.n && e.id.kind == INODE_HIST_DIR &&
	    e.id.id.len != e.id.dir_len)
		p->cuts.n--;
	if (err) {
		free((void *)(uintptr_t)p->name.data);
		buf_fini(&p->cuts.bytes);
		d->n_places--;
	}
	return errmap_errno(err);
}

static int go_to_start(struct dir *d)
{
	stop_walk(d);
	d->cookie = 0;
	d->cuts.n = 0;
	d->value_done = false;
	d->from_walk = false;
	d->from_created = false;
	d->rest = buf_slice(&d->list);
	return d->t ? start_walk(d, slice_of(NULL, 0)) : CAIRN_OK;
}

static int go_to_place(struct dir *d, const struct place *p)
{
	int err = cuts_copy(&p->cuts, &d->cuts);

	if (!err)
		err = start_walk(d, p->name);
	if (err)
		return err;
	d->cookie = p->cookie;
	d->value_done = true;
	d->from_walk = false;
	d->from_created = false;
	err = find_out(d);
	if (!err && d->n_out > p->out)
		d->at_out = p->out;
	return err == CAIRN_NOT_FOUND ? CAIRN_OK : err;
}

int dir_seek(struct dir *d, uint64_t cookie)
{
	const struct place *near = NULL;
	struct dir_entry e;
	int err;

	if (cookie == d->cookie && cookie != 0)
		return 0;
	for (size_t i = 0; i < d->n_places; i++)
		if (d->places[i].cookie <= cookie)
			near = &d->places[i];
	if (cookie == 0 && d->t) {
		err = take_snapshot(d);
		near = NULL;
		if (err)
			return errmap_errno(err);
	}
	if (near)
		err = go_to_place(d, near);
	else
		err = go_to_start(d);
	if (err)
		return errmap_errno(err);
	while (d->cookie < cookie) {
		err = dir_peek(d, &e);
		if (err)
			return err == ENOENT ? 0 : err;
		dir_take(d);
	}
	return 0;
}
