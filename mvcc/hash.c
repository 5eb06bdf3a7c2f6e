/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What has not changed since the compacted revision is found in order of keys
 * but hashed in order of revisions: the CRC of each row is taken alone, sorted,
 * and joined to the others'. What has changed since is read from the log.
 */
#include "mvcc/hash.h"

#include <stdlib.h>

#include "engine/base/crc32c.h"
#include "engine/base/error.h"
#include "mvcc/kv_proto.h"
#include "mvcc/request_impl.h"

/* Of a value that is hashed. */
#define PIECE_BYTES ((size_t)64 << 10)

/* Tag of the value in etcd's message: field 5, bytes. */
#define TAG_VALUE 0x2a

struct row_crc {
	int64_t main;
	int32_t sub;
	uint32_t crc;
	uint64_t len; /* of what was hashed */
};

struct hashing {
	struct mvcc *m;
	int64_t rev;
	int64_t compact;
	uint32_t crc;
	struct row_crc *rows;
	size_t n;
	size_t cap;
	struct buf head;
	uint8_t *piece;
};

/* Main and sub as etcd's keys have them; returns the length. */
static size_t rev_bytes(uint8_t out[18], int64_t main, int32_t sub,
			bool deleted)
{
	put_be64(out, (uint64_t)main);
	out[8] = '_';
	put_be64(out + 9, (uint64_t)sub);
	out[17] = 't';
	return deleted ? 18 : 17;
}

/* Take the value of row, which may be in chunks, into *crc. */
static int hash_value(struct hashing *h, const struct mvcc_row *row,
		      uint32_t *crc)
{
	uint64_t off = 0;

	while (off < row->size) {
		size_t n = PIECE_BYTES, got;
		int err;

		if (n > row->size - off)
			n = (size_t)(row->size - off);
		err = mvcc_read(h->m, row, off, h->piece, n, &got);
		if (!err && got != n)
			err = error_set(CAIRN_ECORRUPT,
					"a value ends before its size");
		if (err)
			return err;
		*crc = crc32c_extend(*crc, h->piece, n);
		off += n;
	}
	return CAIRN_OK;
}

/* The CRC and length of one change, alone. */
static int hash_row(struct hashing *h, const struct mvcc_row *row,
		    struct row_crc *out)
{
	struct kv_proto kv = { .key = row->key };
	const struct kv_proto tail = { .lease = row->lease };
	uint8_t rev[18];
	size_t rev_len = rev_bytes(rev, row->main, row->sub, row->deleted);
	const uint8_t tag = TAG_VALUE;
	int err;

	if (!row->deleted) {
		kv.create_rev = row->create_rev;
		kv.mod_rev = row->main;
		kv.version = row->version;
	}
	*out = (struct row_crc){ .main = row->main, .sub = row->sub };
	buf_clear(&h->head);
	err = buf_append(&h->head, rev, rev_len);
	if (!err)
		err = kv_proto_encode(&h->head, &kv);
	if (!err && !row->deleted && row->size) {
		err = buf_append(&h->head, &tag, 1);
		if (!err)
			err = buf_append_varint(&h->head, row->size);
	}
	if (err)
		return err;
	out->crc = crc32c(h->head.data, h->head.len);
	out->len = h->head.len;
	if (row->deleted)
		return CAIRN_OK;
	err = hash_value(h, row, &out->crc);
	out->len += row->size;
	buf_clear(&h->head);
	if (!err)
		err = kv_proto_encode(&h->head, &tail);
	if (!err && h->head.len) {
		out->crc = crc32c_extend(out->crc, h->head.data, h->head.len);
		out->len += h->head.len;
	}
	return err;
}

static void join(struct hashing *h, const struct row_crc *row)
{
	h->crc = crc32c_combine(h->crc, row->crc, row->len);
}

/* -------------------------------------------- what has not changed since */

static int keep(struct hashing *h, const struct mvcc_row *row)
{
	if (h->n == h->cap) {
		size_t cap = h->cap ? h->cap + h->cap / 2 : 256;
		struct row_crc *rows = realloc(h->rows, cap * sizeof(*rows));

		if (!rows)
			return error_nomem();
		h->rows = rows;
		h->cap = cap;
	}
	return hash_row(h, row, &h->rows[h->n++]);
}

/* The rows visible at rev that are not newer than the compacted revision.
 * *any: something is visible. */
static int collect(struct hashing *h, int64_t rev, bool *any)
{
	struct mvcc_scan *s = NULL;
	struct mvcc_row row;
	int err = mvcc_scan_new(h->m, rev, slice_of(NULL, 0), slice_of(NULL, 0),
				false, &s);

	*any = false;
	while (!err) {
		err = mvcc_scan_next(s, &row);
		if (err)
			break;
		*any = true;
		if (row.main <= h->compact)
			err = keep(h, &row);
	}
	mvcc_scan_free(s);
	return err == CAIRN_NOT_FOUND ? CAIRN_OK : err;
}

static int cmp_rows(const void *a, const void *b)
{
	const struct row_crc *x = a, *y = b;

	if (x->main != y->main)
		return x->main < y->main ? -1 : 1;
	return (x->sub > y->sub) - (x->sub < y->sub);
}

static int hash_kept(struct hashing *h)
{
	bool any;
	int err;

	/* Nothing at or below it: revision 1 is that of an empty store. */
	if (h->compact < 2)
		return CAIRN_OK;
	err = collect(h, h->rev, &any);
	if (!err && !any)
		err = collect(h, h->compact, &any);
	if (err)
		return err;
	if (h->n)
		qsort(h->rows, h->n, sizeof(h->rows[0]), cmp_rows);
	for (size_t i = 0; i < h->n; i++)
		join(h, &h->rows[i]);
	return CAIRN_OK;
}

/* ---------------------------------------------------- what has changed since
 */

static int hash_change(struct hashing *h, const struct mvcc_change *change)
{
	struct found f = { 0 };
	struct row_crc row;
	int err = store_find_exact(h->m, change->key, change->main, change->sub,
				   &f);

	if (!err)
		err = hash_row(h, &f.row, &row);
	if (!err)
		join(h, &row);
	found_release(&f);
	return err;
}

static int hash_log(struct hashing *h)
{
	struct mvcc_changes *log = NULL;
	struct mvcc_change change;
	int err = mvcc_changes_new(h->m, h->compact + 1, h->rev + 1, &log);

	while (!err) {
		err = mvcc_changes_next(log, &change);
		if (!err)
			err = hash_change(h, &change);
	}
	mvcc_changes_free(log);
	return err == CAIRN_NOT_FOUND ? CAIRN_OK : err;
}

/* -------------------------------------------------------------------------- */

static int run(struct hashing *h)
{
	int err;

	h->crc = crc32c("key", 3);
	/* Before the first change there was nothing. */
	if (h->rev < 0)
		return CAIRN_OK;
	h->piece = malloc(PIECE_BYTES);
	if (!h->piece)
		return error_nomem();
	err = hash_kept(h);
	if (!err)
		err = hash_log(h);
	free(h->piece);
	free(h->rows);
	buf_fini(&h->head);
	return err;
}

/* With the compacted revision as it is now; CAIRN_EFORGOTTEN when it moves. */
static int try(struct mvcc *m, int64_t rev, struct mvcc_hash *out,
	       enum mvcc_refusal *why)
{
	struct hashing h = { .m = m, .compact = atomic_load(&m->forgotten) };
	/* In this order, so that it is not below. */
	int64_t current = mvcc_current(m);
	int64_t pinned = 0;
	int err = CAIRN_OK;

	if (rev > 0 && rev <= h.compact)
		return request_refuse(why, MVCC_REFUSAL_COMPACTED);
	if (rev > current)
		return request_refuse(why, MVCC_REFUSAL_FUTURE);
	h.rev = rev ? rev : current;
	/* With it nothing above goes, either. */
	err = store_pin(m, h.compact > 0 ? h.compact : 1, &pinned);
	if (err)
		return err;
	err = run(&h);
	mvcc_unpin(m, pinned);
	if (!err)
		*out = (struct mvcc_hash){ .hash = h.crc,
					   .rev = h.rev,
					   .compact_rev = h.compact };
	return err;
}

int mvcc_hash(struct mvcc *m, int64_t rev, struct mvcc_hash *out,
	      enum mvcc_refusal *refusal)
{
	enum mvcc_refusal why = MVCC_REFUSAL_NONE;
	int err = store_need_revisions(m);

	if (!err) {
		do
			err = try(m, rev, out, &why);
		while (err == CAIRN_EFORGOTTEN && !why);
	}
	if (refusal)
		*refusal = why;
	return err;
}
