/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/wal/writer.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/buf.h"
#include "engine/base/crc32c.h"
#include "engine/base/error.h"
#include "engine/wal/record.h"

/* A buffer grown beyond this by a large record is not kept. */
#define BUFFER_KEPT_MAX ((size_t)1 << 20)

struct log_writer {
	struct wfile *file;
	struct buf pending; /* framed, not yet handed to the system */
	uint64_t flushed;
	int status;
	char why[512]; /* the message that came with status */
};

int log_writer_new(struct wfile *f, struct log_writer **out)
{
	struct log_writer *w = calloc(1, sizeof(*w));

	if (!w)
		return error_nomem();
	w->file = f;
	*out = w;
	return CAIRN_OK;
}

static int given_up(const struct log_writer *w)
{
	return error_set(w->status, "log given up after a failure: %s", w->why);
}

static int give_up(struct log_writer *w, int err)
{
	w->status = err;
	snprintf(w->why, sizeof(w->why), "%s", cairn_errmsg());
	return err;
}

/* The most that a record takes once framed: padding, headers, payload. */
static size_t framed_len_max(size_t record_len)
{
	size_t payload_max = RECORD_BLOCK_LEN - RECORD_HEADER_LEN;

	return 2 * RECORD_HEADER_LEN + record_len +
	       (record_len / payload_max + 1) * RECORD_HEADER_LEN;
}

static enum record_type fragment_type(bool first, bool last)
{
	if (first)
		return last ? RECORD_FULL : RECORD_FIRST;
	return last ? RECORD_LAST : RECORD_MIDDLE;
}

static uint8_t *put_fragment(uint8_t *p, enum record_type type,
			     struct cairn_slice payload)
{
	uint8_t *header = p;
	uint32_t crc;

	assert(payload.len <= RECORD_BLOCK_LEN - RECORD_HEADER_LEN);
	put_le16(header + 4, (uint16_t)payload.len);
	header[6] = (uint8_t)type;
	p += RECORD_HEADER_LEN;
	if (payload.len)
		memcpy(p, payload.data, payload.len);
	/* The type lies just before the payload: one run for both. */
	crc = crc32c(header + 6, 1 + payload.len);
	put_le32(header, crc32c_mask(crc));
	return p + payload.len;
}

int log_writer_add(struct log_writer *w, struct cairn_slice record)
{
	size_t in_block = log_writer_size(w) % RECORD_BLOCK_LEN;
	bool first = true;
	uint8_t *p;
	int err;

	if (w->status)
		return given_up(w);
	if (record.len > SIZE_MAX / 4)
		return error_nomem();
	err = buf_reserve(&w->pending, framed_len_max(record.len));
	if (err)
		return err;

	p = w->pending.data + w->pending.len;
	do {
		size_t left = RECORD_BLOCK_LEN - in_block;
		size_t len;

		if (left < RECORD_HEADER_LEN) {
			memset(p, 0, left);
			p += left;
			left = RECORD_BLOCK_LEN;
		}
		/*
		 * Exactly a header may be left: RocksDB writes, and reads, a
		 * first fragment without payload there.
		 */
		len = left - RECORD_HEADER_LEN;
		if (len > record.len)
			len = record.len;
		p = put_fragment(p, fragment_type(first, len == record.len),
				 slice_of(record.data, len));
		slice_advance(&record, len);
		in_block = RECORD_BLOCK_LEN - left + RECORD_HEADER_LEN + len;
		first = false;
	} while (record.len);
	w->pending.len = (size_t)(p - w->pending.data);
	assert(w->pending.len <= w->pending.cap);
	return CAIRN_OK;
}

int log_writer_flush(struct log_writer *w)
{
	int err;

	if (w->status)
		return given_up(w);
	if (!w->pending.len)
		return CAIRN_OK;
	err = wfile_append(w->file, w->pending.data, w->pending.len);
	if (err)
		return give_up(w, err);
	w->flushed += w->pending.len;
	buf_clear(&w->pending);
	if (w->pending.cap > BUFFER_KEPT_MAX)
		buf_fini(&w->pending);
	return CAIRN_OK;
}

int log_writer_sync(struct log_writer *w)
{
	int err;

	if (w->status)
		return given_up(w);
	err = wfile_sync(w->file);
	return err ? give_up(w, err) : CAIRN_OK;
}

int log_writer_status(const struct log_writer *w)
{
	return w->status;
}

uint64_t log_writer_size(const struct log_writer *w)
{
	return w->flushed + w->pending.len;
}

uint64_t log_writer_flushed(const struct log_writer *w)
{
	return w->flushed;
}

int log_writer_close(struct log_writer *w)
{
	int err, close_err;

	if (!w)
		return CAIRN_OK;
	err = log_writer_flush(w);
	close_err = wfile_close(w->file);
	buf_fini(&w->pending);
	free(w);
	return err ? err : close_err;
}
