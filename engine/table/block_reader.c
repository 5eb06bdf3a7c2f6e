/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/table/block_reader.h"

#include <inttypes.h>
#include <stdlib.h>

#include "engine/base/error.h"

/* Stored blocks up to this length are read onto the stack. */
#define STACK_LEN 8192

int block_failure(const struct block_source *s, struct block_handle h, int err)
{
	if (err != CAIRN_ECORRUPT && err != CAIRN_ENOTSUP)
		return err;
	if (err == CAIRN_ECORRUPT && s->stats)
		atomic_fetch_add_explicit(&s->stats->corruptions, 1,
					  memory_order_relaxed);
	return error_set(err, "%s: block at %" PRIu64 ", %" PRIu64 " bytes: %s",
			 s->path, h.offset, h.size, cairn_errmsg());
}

int read_window_fill(const struct block_source *s, struct read_window *w,
		     uint64_t off, size_t want)
{
	size_t got;
	int err;

	if (want > s->file_len - off)
		want = (size_t)(s->file_len - off);
	w->len = 0;
	if (w->cap < want) {
		free(w->bytes);
		w->cap = 0;
		w->bytes = malloc(want);
		if (!w->bytes)
			return error_nomem();
		w->cap = want;
	}
	err = rfile_read(s->file, off, w->bytes, want, &got);
	if (err)
		return err;
	w->off = off;
	w->len = got;
	return CAIRN_OK;
}

void read_window_fini(struct read_window *w)
{
	free(w->bytes);
	*w = (struct read_window){ 0 };
}

bool read_window_has(const struct read_window *w, struct block_handle h)
{
	uint64_t len = h.size + BLOCK_TRAILER_LEN;

	return h.offset >= w->off && len <= w->len &&
	       h.offset - w->off <= w->len - len;
}

int block_read_stored(const struct block_source *s, struct block_handle h,
		      const struct read_window *window, uint8_t *scratch,
		      struct stored_block *out)
{
	size_t len = (size_t)h.size;
	const uint8_t *p = scratch;
	size_t got;
	int err;

	if (window && read_window_has(window, h)) {
		p = window->bytes + (h.offset - window->off);
	} else {
		err = rfile_read(s->file, h.offset, scratch,
				 len + BLOCK_TRAILER_LEN, &got);
		if (err)
			return err;
		if (got != len + BLOCK_TRAILER_LEN) {
			err = error_set(CAIRN_ECORRUPT,
					"file ends after %zu of them", got);
			return block_failure(s, h, err);
		}
	}
	out->bytes = slice_of(p, len);
	out->codec = p[len];
	out->version = s->version;
	return CAIRN_OK;
}

static int read_checked(const struct block_source *s, struct block_handle h,
			const struct read_window *window, uint8_t *scratch,
			struct stored_block *out)
{
	int err = block_read_stored(s, h, window, scratch, out);

	if (err)
		return err;
	err = block_check(s->checksum, out->bytes.data, out->bytes.len);
	return err ? block_failure(s, h, err) : CAIRN_OK;
}

/* The stored bytes become room bytes and the contents. */
static int expand(const struct block_source *s, const struct stored_block *st,
		  const struct block_dict *dict, size_t room, void **memory,
		  size_t *len)
{
	uint8_t *p;
	size_t n;
	int err = decompressed_len(st, dict, &n);

	if (err)
		return err;
	p = malloc(room + n + 1);
	if (!p)
		return error_nomem();
	err = decompress(st, dict, s->pool, p + room, n);
	if (err) {
		free(p);
		return err;
	}
	*memory = p;
	*len = n;
	return CAIRN_OK;
}

int block_read(const struct block_source *s, struct block_handle h,
	       const struct read_window *window, const struct block_dict *dict,
	       size_t room, void **memory, size_t *len)
{
	uint8_t stack[STACK_LEN];
	uint8_t *scratch = stack, *heap = NULL;
	struct stored_block st;
	int err;

	if (h.size + BLOCK_TRAILER_LEN > sizeof(stack) &&
	    !(window && read_window_has(window, h))) {
		heap = malloc((size_t)h.size + BLOCK_TRAILER_LEN);
		if (!heap)
			return error_nomem();
		scratch = heap;
	}
	err = read_checked(s, h, window, scratch, &st);
	if (!err) {
		err = expand(s, &st, dict, room, memory, len);
		if (err)
			err = block_failure(s, h, err);
	}
	free(heap);
	return err;
}

int block_read_reusing(const struct block_source *s, struct block_handle h,
		       const struct read_window *window,
		       const struct block_dict *dict, struct buf *reuse,
		       struct cairn_slice *contents)
{
	size_t stored_len = (size_t)h.size + BLOCK_TRAILER_LEN;
	struct stored_block st;
	size_t n;
	int err = CAIRN_OK;

	/* Stored bytes in front, contents behind them. */
	buf_clear(reuse);
	if (!read_window_has(window, h))
		err = buf_reserve(reuse, stored_len);
	else
		stored_len = 0;
	if (!err)
		err = read_checked(s, h, window, reuse->data, &st);
	if (err)
		return err;
	if (st.codec == TABLE_CODEC_NONE) {
		*contents = st.bytes;
		return CAIRN_OK;
	}
	err = decompressed_len(&st, dict, &n);
	if (err)
		return block_failure(s, h, err);
	reuse->len = stored_len;
	err = buf_reserve(reuse, n + 1); /* no contents are somewhere, too */
	if (err)
		return err;
	if (stored_len)
		st.bytes.data = reuse->data; /* may have moved */
	err = decompress(&st, dict, s->pool, reuse->data + stored_len, n);
	if (err)
		return block_failure(s, h, err);
	*contents = slice_of(reuse->data + stored_len, n);
	return CAIRN_OK;
}
