/* SPDX-License-Identifier: BSD-3-Clause */
#include "mvcc/bbolt.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/error.h"
#include "engine/env/env.h"

#define BBOLT_MAGIC   0xed0cdaedu
#define BBOLT_VERSION 2u
#define META_LEN      64u /* with its checksum */
#define META_SUMMED   56u
#define HEADER_LEN    16u /* of a page */
#define ELEMENT_LEN   16u
#define BUCKET_LEN    16u
#define FIRST_PAGE    2u /* behind the metas */
#define PAGE_SIZE_MIN 1024u
#define PAGE_SIZE_MAX (1024u << 14)
#define LEAF_BUCKET   1u

/* Pages from root to leaf. With two children each, 2^32 pages. */
#define LEVELS_MAX 32u

/* One page with its overflow. etcd's values are of megabytes at most. */
#define RUN_LEN_MAX (UINT64_C(1) << 30)

enum page_flags {
	PAGE_BRANCH = 0x01,
	PAGE_LEAF = 0x02,
};

struct bbolt {
	struct rfile *f;
	char *path;
	uint64_t root;
	uint64_t sequence;
	struct bbolt_info info;
};

/* ------------------------------------------------------------------ errors */

static int bad_at(const struct bbolt *b, uint64_t at, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static int bad_at(const struct bbolt *b, uint64_t at, const char *fmt, ...)
{
	char what[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	return error_set(CAIRN_ECORRUPT, "%s: offset %" PRIu64 ": %s", b->path,
			 at, what);
}

static int read_at(const struct bbolt *b, uint64_t at, void *dst, size_t len)
{
	size_t got;
	int err = rfile_read(b->f, at, dst, len, &got);

	if (!err && got < len)
		err = bad_at(b, at + got, "the file ends");
	return err;
}

/* -------------------------------------------------------------------- meta */

struct meta {
	uint32_t page_size;
	uint64_t root;
	uint64_t sequence;
	uint64_t pages;
	uint64_t txid;
};

static uint64_t fnv1a(const uint8_t *p, size_t len)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < len; i++)
		h = (h ^ p[i]) * UINT64_C(0x100000001b3);
	return h;
}

/* Why a meta does not count. */
enum meta_fault { META_GOOD, META_FOREIGN, META_SWAPPED, META_NEWER, META_BAD };

static enum meta_fault meta_decode(const uint8_t p[META_LEN], struct meta *out)
{
	uint32_t magic = load_le32(p);

	if (magic == __builtin_bswap32(BBOLT_MAGIC))
		return META_SWAPPED;
	if (magic != BBOLT_MAGIC)
		return META_FOREIGN;
	if (load_le64(p + META_SUMMED) != fnv1a(p, META_SUMMED))
		return META_BAD;
	if (load_le32(p + 4) != BBOLT_VERSION)
		return META_NEWER;
	out->page_size = load_le32(p + 8);
	out->root = load_le64(p + 16);
	out->sequence = load_le64(p + 24);
	out->pages = load_le64(p + 40);
	out->txid = load_le64(p + 48);
	if (out->page_size < PAGE_SIZE_MIN || out->page_size > PAGE_SIZE_MAX ||
	    (out->page_size & (out->page_size - 1)))
		return META_BAD;
	return META_GOOD;
}

/* The meta of the page at a place; a page that is not there is foreign. */
static int meta_read(const struct bbolt *b, uint64_t at, struct meta *out,
		     enum meta_fault *fault)
{
	uint8_t p[META_LEN];
	int err;

	*fault = META_FOREIGN;
	if (b->info.file_len < HEADER_LEN + META_LEN ||
	    at > b->info.file_len - HEADER_LEN - META_LEN)
		return CAIRN_OK;
	err = read_at(b, at + HEADER_LEN, p, META_LEN);
	if (!err)
		*fault = meta_decode(p, out);
	return err;
}

/* The second meta says how long its page is, if only by where it is found. */
static int meta_search(const struct bbolt *b, struct meta *out,
		       enum meta_fault *fault)
{
	int err = CAIRN_OK;

	*fault = META_FOREIGN;
	for (uint32_t size = PAGE_SIZE_MIN;
	     !err && *fault != META_GOOD && size <= PAGE_SIZE_MAX; size *= 2) {
		err = meta_read(b, size, out, fault);
		if (!err && *fault == META_GOOD && out->page_size != size)
			*fault = META_BAD;
	}
	return err;
}

static int no_meta(const struct bbolt *b, enum meta_fault fault)
{
	switch (fault) {
	case META_SWAPPED:
		return error_set(CAIRN_ENOTSUP,
				 "%s: a bbolt file of a big-endian machine, "
				 "which is not read here",
				 b->path);
	case META_NEWER:
		return error_set(CAIRN_ENOTSUP,
				 "%s: a bbolt file of another version than %u",
				 b->path, BBOLT_VERSION);
	case META_BAD:
		return bad_at(b, HEADER_LEN,
			      "both metas of the bbolt file are damaged");
	case META_FOREIGN:
	case META_GOOD:
		break;
	}
	return bad_at(b, HEADER_LEN,
		      "no magic number of bbolt: not a database of etcd");
}

static int check_meta(const struct bbolt *b, const struct meta *m, uint64_t at)
{
	if (m->pages <= FIRST_PAGE || m->root < FIRST_PAGE ||
	    m->root >= m->pages)
		return bad_at(b, at,
			      "meta with root page %" PRIu64 " of %" PRIu64
			      " pages",
			      m->root, m->pages);
	if (m->pages > b->info.file_len / m->page_size)
		return bad_at(b, b->info.file_len,
			      "the file is cut short: %" PRIu64
			      " pages of %" PRIu32 " bytes are due",
			      m->pages, m->page_size);
	return CAIRN_OK;
}

/* As bbolt does: the higher transaction counts, if its meta does. */
static int choose_meta(struct bbolt *b)
{
	enum meta_fault fault[2];
	struct meta m[2];
	unsigned pick;
	int err = meta_read(b, 0, &m[0], &fault[0]);

	if (!err && fault[0] == META_GOOD)
		err = meta_read(b, m[0].page_size, &m[1], &fault[1]);
	else if (!err)
		err = meta_search(b, &m[1], &fault[1]);
	if (err)
		return err;
	if (fault[0] == META_GOOD && fault[1] == META_GOOD &&
	    m[1].page_size != m[0].page_size)
		fault[1] = META_BAD;
	if (fault[0] != META_GOOD && fault[1] != META_GOOD)
		return no_meta(b, fault[0]);
	pick = fault[0] != META_GOOD ||
	       (fault[1] == META_GOOD && m[1].txid > m[0].txid);
	err = check_meta(b, &m[pick], pick ? m[pick].page_size : 0);
	if (err)
		return err;
	b->root = m[pick].root;
	b->sequence = m[pick].sequence;
	b->info.pages = m[pick].pages;
	b->info.page_size = m[pick].page_size;
	b->info.txid = m[pick].txid;
	b->info.meta_damaged = fault[0] != META_GOOD || fault[1] != META_GOOD;
	return CAIRN_OK;
}

int bbolt_open(struct cairn_env *env, const char *path, struct bbolt **out)
{
	struct bbolt *b = calloc(1, sizeof(*b));
	int err;

	if (!b)
		return error_nomem();
	b->path = strdup(path);
	err = b->path ? env_open_read(env, path, &b->f) : error_nomem();
	if (!err)
		err = rfile_size(b->f, &b->info.file_len);
	if (!err)
		err = choose_meta(b);
	if (err) {
		bbolt_close(b);
		return err;
	}
	*out = b;
	return CAIRN_OK;
}

void bbolt_close(struct bbolt *b)
{
	if (!b)
		return;
	rfile_close(b->f);
	free(b->path);
	free(b);
}

const struct bbolt_info *bbolt_info(const struct bbolt *b)
{
	return &b->info;
}

const char *bbolt_path(const struct bbolt *b)
{
	return b->path;
}

/* ------------------------------------------------------------------- pages */

/* A page in memory, looked through: what element() says lies in bytes. */
struct page {
	struct buf own; /* of a page of the file */
	struct cairn_slice bytes;
	uint64_t at; /* of bytes in the file */
	size_t count;
	bool leaf;
};

struct element {
	struct cairn_slice key;
	struct cairn_slice value; /* of a leaf */
	uint64_t child;           /* of a branch */
	bool is_bucket;
};

/* Where element i is, and how long its parts are. */
static const uint8_t *element_head(const struct page *p, size_t i,
				   uint64_t *pos, uint64_t *key_len,
				   uint64_t *value_len)
{
	size_t at = HEADER_LEN + i * ELEMENT_LEN;
	const uint8_t *e = p->bytes.data + at;

	assert(i < p->count);
	*pos = at + (uint64_t)load_le32(p->leaf ? e + 4 : e);
	*key_len = load_le32(p->leaf ? e + 8 : e + 4);
	*value_len = p->leaf ? load_le32(e + 12) : 0;
	return e;
}

static struct element element(const struct page *p, size_t i)
{
	uint64_t pos, key_len, value_len;
	const uint8_t *e = element_head(p, i, &pos, &key_len, &value_len);
	struct element out = { 0 };

	out.key = slice_of(p->bytes.data + pos, (size_t)key_len);
	if (p->leaf) {
		out.value = slice_of(out.key.data + key_len, (size_t)value_len);
		out.is_bucket = load_le32(e) & LEAF_BUCKET;
	} else {
		out.child = load_le64(e + 8);
	}
	return out;
}

/*
 * What bbolt writes: the bytes of each element behind those of the one before,
 * no key empty, each above the last.
 */
static int check_elements(const struct bbolt *b, const struct page *p)
{
	uint64_t end = HEADER_LEN + (uint64_t)p->count * ELEMENT_LEN;
	struct cairn_slice last = { NULL, 0 };

	if (end > p->bytes.len)
		return bad_at(b, p->at, "page of %zu bytes with %zu elements",
			      p->bytes.len, p->count);
	for (size_t i = 0; i < p->count; i++) {
		uint64_t at = p->at + HEADER_LEN + i * ELEMENT_LEN;
		uint64_t pos, key_len, value_len, left;
		const uint8_t *e =
			element_head(p, i, &pos, &key_len, &value_len);
		struct cairn_slice key;

		left = p->bytes.len - (pos < p->bytes.len ? pos : p->bytes.len);
		if (pos < end || key_len > left || value_len > left - key_len)
			return bad_at(b, at,
				      "element %zu of %zu lies outside "
				      "of its page",
				      i, p->count);
		if (!key_len)
			return bad_at(b, at, "element %zu has no key", i);
		if (p->leaf && load_le32(e) > LEAF_BUCKET)
			return bad_at(b, at, "element %zu with flags %" PRIx32,
				      i, load_le32(e));
		key = slice_of(p->bytes.data + pos, (size_t)key_len);
		if (i && slice_cmp(last, key) >= 0)
			return bad_at(b, at, "element %zu is out of order", i);
		last = key;
		end = pos + key_len + value_len;
	}
	return CAIRN_OK;
}

/* p->bytes and at are set; what the page says of itself follows from them. */
static int page_init(const struct bbolt *b, struct page *p)
{
	uint16_t flags = load_le16(p->bytes.data + 8);

	p->count = load_le16(p->bytes.data + 10);
	p->leaf = flags == PAGE_LEAF;
	if (flags != PAGE_LEAF && flags != PAGE_BRANCH)
		return bad_at(b, p->at,
			      "page with flags %#x where a branch or "
			      "a leaf is due",
			      flags);
	if (!p->leaf && !p->count)
		return bad_at(b, p->at, "branch page without children");
	return check_elements(b, p);
}

/* Read page id and those it goes on into. */
static int page_load(const struct bbolt *b, uint64_t id, struct page *p,
		     uint64_t *n_pages)
{
	uint64_t at = id * b->info.page_size, len;
	uint8_t head[HEADER_LEN];
	int err = read_at(b, at, head, HEADER_LEN);

	if (err)
		return err;
	*n_pages = (uint64_t)load_le32(head + 12) + 1;
	if (load_le64(head) != id)
		return bad_at(b, at, "page %" PRIu64 " says it is %" PRIu64, id,
			      load_le64(head));
	if (*n_pages > b->info.pages - id)
		return bad_at(b, at,
			      "page %" PRIu64 " with %" PRIu64
			      " more, of %" PRIu64 " in all",
			      id, *n_pages - 1, b->info.pages);
	len = *n_pages * b->info.page_size;
	if (len > RUN_LEN_MAX)
		return error_set(CAIRN_ENOTSUP,
				 "%s: offset %" PRIu64 ": a page of %" PRIu64
				 " bytes; at most %" PRIu64 " are read here",
				 b->path, at, len, RUN_LEN_MAX);
	buf_clear(&p->own);
	err = buf_reserve(&p->own, (size_t)len);
	if (!err)
		err = read_at(b, at, p->own.data, (size_t)len);
	if (err)
		return err;
	p->own.len = (size_t)len;
	p->bytes = buf_slice(&p->own);
	p->at = at;
	return page_init(b, p);
}

/* The first element with a key >= key; of a branch, the one before it unless
 * it has that very key: the child that the key belongs into. */
static size_t page_find(const struct page *p, struct cairn_slice key)
{
	size_t lo = 0, hi = p->count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (slice_cmp(element(p, mid).key, key) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (p->leaf || (lo < p->count && slice_eq(element(p, lo).key, key)))
		return lo;
	return lo ? lo - 1 : 0;
}

/* ----------------------------------------------------------------- buckets */

struct bbolt_bucket bbolt_root(struct bbolt *b)
{
	return (struct bbolt_bucket){
		.file = b,
		.root = b->root,
		.sequence = b->sequence,
		.at = b->root * b->info.page_size,
	};
}

int bbolt_item_bucket(const struct bbolt_bucket *parent,
		      const struct bbolt_item *item, struct bbolt_bucket *out)
{
	struct bbolt *b = parent->file;
	uint64_t at = item->at + item->key.len;
	struct cairn_slice v = item->value;
	struct bbolt_bucket got = { .file = b, .depth = parent->depth + 1 };
	int err;

	if (!item->is_bucket)
		return bad_at(b, item->at, "a value where a bucket is due");
	if (got.depth > BBOLT_NESTED_MAX)
		return bad_at(b, item->at, "more than %u buckets in each other",
			      BBOLT_NESTED_MAX);
	if (v.len < BUCKET_LEN)
		return bad_at(b, at, "bucket of %zu bytes", v.len);
	got.root = load_le64(v.data);
	got.sequence = load_le64(v.data + 8);
	slice_advance(&v, BUCKET_LEN);
	if (got.root) {
		if (got.root < FIRST_PAGE || got.root >= b->info.pages)
			return bad_at(b, at,
				      "bucket at page %" PRIu64 " of %" PRIu64,
				      got.root, b->info.pages);
		got.at = got.root * b->info.page_size;
	} else {
		if (v.len < HEADER_LEN)
			return bad_at(b, at, "bucket without a page");
		got.at = at + BUCKET_LEN;
		err = buf_set(&got.page, v);
		if (err)
			return err;
	}
	*out = got;
	return CAIRN_OK;
}

int bbolt_bucket_open(const struct bbolt_bucket *parent,
		      struct cairn_slice name, struct bbolt_bucket *out)
{
	struct bbolt_cursor *c;
	struct bbolt_item item;
	int err = bbolt_cursor_new(parent, &c);

	if (err)
		return err;
	err = bbolt_cursor_seek(c, name);
	if (!err)
		err = bbolt_cursor_next(c, &item);
	if (!err && !slice_eq(item.key, name))
		err = CAIRN_NOT_FOUND;
	if (!err)
		err = bbolt_item_bucket(parent, &item, out);
	bbolt_cursor_free(c);
	return err;
}

void bbolt_bucket_release(struct bbolt_bucket *b)
{
	buf_fini(&b->page);
	memset(b, 0, sizeof(*b));
}

/* ----------------------------------------------------------------- cursors */

struct frame {
	struct page page;
	size_t i;                /* the next element, or the child below */
	struct cairn_slice high; /* all keys are below it; data NULL: no end */
};

struct bbolt_cursor {
	const struct bbolt_bucket *bucket;
	struct frame frames[LEVELS_MAX];
	unsigned n;
	bool placed;
	int failed;
	uint8_t *met; /* a bit for each page of the file */
};

int bbolt_cursor_new(const struct bbolt_bucket *b, struct bbolt_cursor **out)
{
	struct bbolt_cursor *c = calloc(1, sizeof(*c));

	if (c)
		c->met = malloc((size_t)(b->file->info.pages / 8 + 1));
	if (!c || !c->met) {
		free(c);
		return error_nomem();
	}
	c->bucket = b;
	*out = c;
	return CAIRN_OK;
}

void bbolt_cursor_free(struct bbolt_cursor *c)
{
	if (!c)
		return;
	for (unsigned i = 0; i < LEVELS_MAX; i++)
		buf_fini(&c->frames[i].page.own);
	free(c->met);
	free(c);
}

/* What has been met once belongs to no other place. */
static int meet(struct bbolt_cursor *c, uint64_t id, uint64_t n)
{
	const struct bbolt *b = c->bucket->file;

	for (; n; id++, n--) {
		uint8_t bit = (uint8_t)(1u << id % 8);

		if (c->met[id / 8] & bit)
			return bad_at(b, id * b->info.page_size,
				      "page %" PRIu64 " is in two places", id);
		c->met[id / 8] |= bit;
	}
	return CAIRN_OK;
}

/* The keys of a page lie where its parent says. */
static int check_bounds(const struct bbolt *b, const struct page *p,
			struct cairn_slice low, struct cairn_slice high)
{
	if (!p->count)
		return bad_at(b, p->at, "page without elements");
	if (slice_cmp(element(p, 0).key, low) < 0 ||
	    (high.data && slice_cmp(element(p, p->count - 1).key, high) >= 0))
		return bad_at(b, p->at, "keys that its parent does not allow");
	return CAIRN_OK;
}

/* Put page id on top, which its parent, if any, is at. */
static int push(struct bbolt_cursor *c, uint64_t id)
{
	const struct bbolt *b = c->bucket->file;
	struct frame *up = c->n ? &c->frames[c->n - 1] : NULL;
	struct frame *f;
	struct cairn_slice low = { NULL, 0 };
	uint64_t n_pages;
	int err;

	if (id < FIRST_PAGE || id >= b->info.pages)
		return bad_at(b, up ? up->page.at : c->bucket->at,
			      "child page %" PRIu64 " of %" PRIu64, id,
			      b->info.pages);
	if (c->n == LEVELS_MAX)
		return bad_at(b, id * b->info.page_size,
			      "more than %u levels of pages", LEVELS_MAX);
	f = &c->frames[c->n];
	err = page_load(b, id, &f->page, &n_pages);
	if (!err)
		err = meet(c, id, n_pages);
	if (err)
		return err;
	f->high = slice_of(NULL, 0);
	if (up) {
		low = element(&up->page, up->i).key;
		f->high = up->i + 1 < up->page.count
				  ? element(&up->page, up->i + 1).key
				  : up->high;
		err = check_bounds(b, &f->page, low, f->high);
	}
	if (!err)
		c->n++;
	return err;
}

/* The leaf that an inline bucket is. */
static int push_inline(struct bbolt_cursor *c)
{
	struct frame *f = &c->frames[0];
	int err;

	f->page.bytes = buf_slice(&c->bucket->page);
	f->page.at = c->bucket->at;
	f->high = slice_of(NULL, 0);
	err = page_init(c->bucket->file, &f->page);
	if (!err && !f->page.leaf)
		err = bad_at(c->bucket->file, f->page.at,
			     "a branch within a bucket's value");
	if (!err)
		c->n = 1;
	return err;
}

/* From the page on top down to a leaf, to where key is or would be; NULL: to
 * its last item. */
static int descend(struct bbolt_cursor *c, const struct cairn_slice *key)
{
	int err = CAIRN_OK;

	for (;;) {
		struct frame *f = &c->frames[c->n - 1];

		if (key)
			f->i = page_find(&f->page, *key);
		else
			f->i = f->page.count ? f->page.count - 1 : 0;
		if (f->page.leaf)
			return CAIRN_OK;
		err = push(c, element(&f->page, f->i).child);
		if (err)
			return err;
	}
}

static int place(struct bbolt_cursor *c, const struct cairn_slice *key)
{
	const struct bbolt_bucket *b = c->bucket;
	int err;

	c->n = 0;
	c->placed = true;
	memset(c->met, 0, (size_t)(b->file->info.pages / 8 + 1));
	err = b->root ? push(c, b->root) : push_inline(c);
	return err ? err : descend(c, key);
}

int bbolt_cursor_seek(struct bbolt_cursor *c, struct cairn_slice key)
{
	c->failed = place(c, &key);
	return c->failed;
}

int bbolt_cursor_last(struct bbolt_cursor *c, struct bbolt_item *out)
{
	c->failed = place(c, NULL);
	return bbolt_cursor_next(c, out);
}

/* From the end of a leaf to the start of the next; CAIRN_NOT_FOUND: none. */
static int next_leaf(struct bbolt_cursor *c)
{
	const struct cairn_slice first = { NULL, 0 };
	int err;

	do {
		if (c->n == 1)
			return CAIRN_NOT_FOUND;
		c->n--;
	} while (c->frames[c->n - 1].i + 1 >= c->frames[c->n - 1].page.count);
	c->frames[c->n - 1].i++;
	err = push(c, element(&c->frames[c->n - 1].page, c->frames[c->n - 1].i)
			      .child);
	return err ? err : descend(c, &first);
}

static int next(struct bbolt_cursor *c, struct bbolt_item *out)
{
	const struct cairn_slice first = { NULL, 0 };
	struct frame *f;
	struct element e;
	int err = CAIRN_OK;

	if (!c->placed)
		err = place(c, &first);
	if (err)
		return err;
	f = &c->frames[c->n - 1];
	if (f->i == f->page.count) {
		err = next_leaf(c);
		if (err)
			return err;
		f = &c->frames[c->n - 1];
	}
	e = element(&f->page, f->i++);
	out->key = e.key;
	out->value = e.value;
	out->is_bucket = e.is_bucket;
	out->at = f->page.at + (uint64_t)(e.key.data - f->page.bytes.data);
	return CAIRN_OK;
}

int bbolt_cursor_next(struct bbolt_cursor *c, struct bbolt_item *out)
{
	struct bbolt_item item;

	if (c->failed)
		return c->failed;
	c->failed = next(c, &item);
	if (!c->failed)
		*out = item;
	return c->failed;
}
