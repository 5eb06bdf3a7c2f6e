/* SPDX-License-Identifier: BSD-3-Clause */
#include "mvcc/chunk.h"

#include "engine/base/error.h"

/* Deletes in one batch of chunk_delete(). */
#define DELETE_BATCH 512u

int chunk_reader_init(struct chunk_reader *r, struct mvcc *m, uint64_t object,
		      uint32_t chunk_size, int64_t version_max)
{
	struct cairn_read_options opts = { 0 };

	opts.table_filter = table_revs_at(&r->revs, m, version_max);
	r->it = NULL;
	r->object = object;
	r->chunk_size = chunk_size;
	return cairn_iter_new(m->db, &opts, &r->it);
}

void chunk_reader_fini(struct chunk_reader *r)
{
	cairn_iter_free(r->it);
	r->it = NULL;
}

int chunk_reader_get(struct chunk_reader *r, uint64_t index, int64_t version,
		     struct cairn_slice *out)
{
	struct enc_chunk c = { r->object, index, version };
	uint8_t key[ENC_CHUNK_KEY];
	struct cairn_slice value;

	enc_chunk_key(key, &c);
	if (!cairn_iter_seek_prefix_ge(r->it, slice_of(key, sizeof(key))) ||
	    !slice_starts_with(cairn_iter_key(r->it),
			       slice_of(key, ENC_CHUNK_PREFIX))) {
		*out = slice_of(NULL, 0);
		return cairn_iter_status(r->it);
	}
	value = cairn_iter_value(r->it);
	if (value.len > r->chunk_size)
		return error_set(CAIRN_ECORRUPT,
				 "chunk %llu of object %llu has %zu bytes; "
				 "chunks have %u",
				 (unsigned long long)index,
				 (unsigned long long)r->object, value.len,
				 r->chunk_size);
	*out = value;
	return CAIRN_OK;
}

int chunk_reader_next(struct chunk_reader *r, uint64_t end, int64_t version,
		      uint64_t *index)
{
	struct enc_chunk c = { r->object, *index, version };
	uint8_t key[ENC_CHUNK_KEY];
	int err;

	while (c.index < end) {
		struct enc_chunk at;

		c.version = version;
		enc_chunk_key(key, &c);
		if (!cairn_iter_seek_ge(r->it, slice_of(key, sizeof(key))) ||
		    cairn_iter_key(r->it).data[0] != ENC_CHUNK) {
			err = cairn_iter_status(r->it);
			if (err)
				return err;
			break;
		}
		err = enc_chunk_parse(cairn_iter_key(r->it), &at);
		if (err)
			return err;
		if (at.object != r->object || at.index >= end)
			break;
		if (at.version <= version) {
			*index = at.index;
			return CAIRN_OK;
		}
		/* Only newer versions were passed; look for an older one. */
		c.index = at.index;
	}
	*index = end;
	return CAIRN_OK;
}

int mvcc_read(struct mvcc *m, const struct mvcc_row *row, uint64_t off,
	      void *dst, size_t len, size_t *got)
{
	struct chunk_reader r;
	uint8_t *out = dst;
	size_t done = 0;
	int err;

	if (off >= row->size)
		len = 0;
	else if (len > row->size - off)
		len = (size_t)(row->size - off);
	if (!len || !row->object) {
		if (len && (!row->value.data || row->value.len != row->size))
			return error_set(CAIRN_EINVAL, "row without a value");
		if (len)
			memcpy(dst, row->value.data + off, len);
		*got = len;
		return CAIRN_OK;
	}
	if (row->chunk_size < ENC_CHUNK_SIZE_MIN)
		return error_set(CAIRN_EINVAL, "row without a chunk size");
	err = chunk_reader_init(&r, m, row->object, row->chunk_size, row->main);
	while (!err && done < len) {
		uint64_t index = (off + done) / row->chunk_size;
		size_t skip = (size_t)((off + done) % row->chunk_size);
		size_t n = row->chunk_size - skip;
		size_t have = 0;
		struct cairn_slice c;

		err = chunk_reader_get(&r, index, row->main, &c);
		if (err)
			break;
		if (n > len - done)
			n = len - done;
		if (c.len > skip)
			have = c.len - skip < n ? c.len - skip : n;
		if (have)
			memcpy(out + done, c.data + skip, have);
		memset(out + done + have, 0, n - have);
		done += n;
	}
	chunk_reader_fini(&r);
	if (!err)
		*got = len;
	return err;
}

/*
 * Collect deletes of the next chunks from *at on, at most a batch of them; *at
 * moves behind the last one looked at. Looking at chunks that stay counts, so
 * that one call is bounded.
 */
static int collect(struct mvcc *m, struct enc_chunk *at, uint64_t to,
		   int64_t version_max, struct cairn_batch *b, bool *more)
{
	struct cairn_read_options opts = { .no_fill_cache = true };
	uint8_t key[ENC_CHUNK_KEY], end[9];
	struct cairn_iter *it;
	size_t n = 0;
	int err;

	end[0] = ENC_CHUNK;
	put_be64(end + 1, at->object + 1);
	/* Objects are counted from 1; the last number has no successor. */
	opts.upper = at->object == UINT64_MAX ? slice_str("d")
					      : slice_of(end, sizeof(end));
	err = cairn_iter_new(m->db, &opts, &it);
	if (err)
		return err;
	*more = false;
	enc_chunk_key(key, at);
	for (bool ok = cairn_iter_seek_ge(it, slice_of(key, sizeof(key))); ok;
	     ok = cairn_iter_next(it)) {
		struct enc_chunk c;

		err = enc_chunk_parse(cairn_iter_key(it), &c);
		if (err || c.index >= to)
			break;
		if (n++ == DELETE_BATCH) {
			*at = c;
			*more = true;
			break;
		}
		if (c.version <= version_max)
			err = cairn_batch_delete(b, cairn_iter_key(it));
		if (err)
			break;
	}
	if (!err)
		err = cairn_iter_status(it);
	cairn_iter_free(it);
	return err;
}

int chunk_delete(struct mvcc *m, uint64_t object, uint64_t from, uint64_t to,
		 int64_t version_max, bool (*stop)(struct mvcc *m))
{
	struct enc_chunk at = { object, from, INT64_MAX };
	struct cairn_batch *b = cairn_batch_new();
	bool more = true;
	int err = CAIRN_OK;

	if (!b)
		return error_nomem();
	while (!err && more) {
		if (stop && stop(m)) {
			err = error_set(CAIRN_EABORTED, "closing");
			break;
		}
		cairn_batch_clear(b);
		err = collect(m, &at, to, version_max, b, &more);
		if (!err && cairn_batch_count(b))
			err = cairn_write(m->db, NULL, b);
	}
	cairn_batch_free(b);
	return err;
}
