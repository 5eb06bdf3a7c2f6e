/* SPDX-License-Identifier: BSD-3-Clause */
/* Everything in a bbolt file as text, as tests/data/bbolt/make.go lists it. */
#ifndef CAIRN_TESTS_MVCC_BBOLT_WALK_H
#define CAIRN_TESTS_MVCC_BBOLT_WALK_H

#include "mvcc/bbolt.h"

struct bbolt_walk {
	struct buf *text; /* NULL: nobody reads it */
	uint64_t items;
	uint64_t items_max; /* a bucket may be in several others */
};

static inline int bbolt_walk_hex(struct buf *out, struct cairn_slice s)
{
	int err = CAIRN_OK;

	for (size_t i = 0; out && !err && i < s.len; i++)
		err = buf_printf(out, "%02x", s.data[i]);
	return err;
}

static inline int bbolt_walk_bucket(struct bbolt_walk *w,
				    const struct bbolt_bucket *b,
				    struct cairn_slice path);

/* The line of an item, and those of what is in it. */
static inline int bbolt_walk_item(struct bbolt_walk *w,
				  const struct bbolt_bucket *parent,
				  struct cairn_slice path,
				  const struct bbolt_item *item)
{
	struct bbolt_bucket sub = { 0 };
	struct buf below = { 0 };
	int err = CAIRN_OK;

	if (item->is_bucket)
		err = bbolt_item_bucket(parent, item, &sub);
	if (!err && w->text)
		err = buf_append(w->text, path.data, path.len);
	if (!err && w->text)
		err = buf_printf(w->text, "\t");
	if (!err)
		err = bbolt_walk_hex(w->text, item->key);
	if (!err && w->text)
		err = item->is_bucket
			      ? buf_printf(w->text, "\t#%llu\n",
					   (unsigned long long)sub.sequence)
			      : buf_printf(w->text, "\t=");
	if (!err && !item->is_bucket) {
		err = bbolt_walk_hex(w->text, item->value);
		if (!err && w->text)
			err = buf_printf(w->text, "\n");
	} else if (!err) {
		if (w->text && path.len)
			err = buf_printf(&below, "%.*s/", (int)path.len,
					 (const char *)path.data);
		if (!err && w->text)
			err = bbolt_walk_hex(&below, item->key);
		if (!err)
			err = bbolt_walk_bucket(w, &sub, buf_slice(&below));
	}
	buf_fini(&below);
	bbolt_bucket_release(&sub);
	return err;
}

static inline int bbolt_walk_bucket(struct bbolt_walk *w,
				    const struct bbolt_bucket *b,
				    struct cairn_slice path)
{
	struct bbolt_cursor *c;
	struct bbolt_item item;
	int err = bbolt_cursor_new(b, &c);

	if (err)
		return err;
	while (!(err = bbolt_cursor_next(c, &item)) &&
	       w->items < w->items_max) {
		w->items++;
		err = bbolt_walk_item(w, b, path, &item);
		if (err)
			break;
	}
	bbolt_cursor_free(c);
	return err == CAIRN_NOT_FOUND ? CAIRN_OK : err;
}

/* The whole file, or the first items_max of it. */
static inline int bbolt_walk(struct bbolt_walk *w, struct bbolt *b)
{
	struct bbolt_bucket root = bbolt_root(b);

	return bbolt_walk_bucket(w, &root, slice_of(NULL, 0));
}

#endif
