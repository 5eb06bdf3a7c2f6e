/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/wal/salvage.h"

#include <inttypes.h>
#include <stdlib.h>

#include "engine/base/buf.h"
#include "engine/base/crc32c.h"
#include "engine/base/error.h"
#include "engine/wal/record.h"

/* What newer releases write. Those with the high bit may be ignored. */
#define RECORD_TIMESTAMP_SIZE            10
#define RECORD_RECYCLABLE_TIMESTAMP_SIZE 11
#define RECORD_SKIPPABLE                 0x80
#define RECORD_RECYCLABLE_PREDECESSOR    131

/* Set aside at the end of a log, where records should be elsewhere. */
static const char zeros[] = "zeros";

struct log_salvage {
	struct rfile *file;
	char *path;
	uint32_t log_number;
	bool number_known;
	bool started;
	bool recyclable; /* the first whole fragment was */

	uint8_t *block;
	size_t block_len;
	uint64_t block_off;
	size_t pos;

	bool open; /* a record has begun; it is in partial */
	struct buf partial;
	uint64_t record_at;

	uint64_t offset; /* of the record returned */
	struct log_gap gap;
	bool cut;
	bool ended;
};

int log_salvage_new(struct rfile *f, const char *path, uint64_t log_number,
		    struct log_salvage **out)
{
	struct log_salvage *s = calloc(1, sizeof(*s));

	if (!s)
		return error_nomem();
	s->file = f;
	s->log_number = (uint32_t)log_number;
	s->number_known = log_number != 0;
	s->path = strdup(path);
	s->block = malloc(RECORD_BLOCK_LEN);
	if (!s->path || !s->block) {
		log_salvage_free(s);
		return error_nomem();
	}
	/* As if a whole block had been read: the first one comes next. */
	s->block_len = RECORD_BLOCK_LEN;
	s->pos = RECORD_BLOCK_LEN;
	s->block_off = -(uint64_t)RECORD_BLOCK_LEN;
	*out = s;
	return CAIRN_OK;
}

void log_salvage_free(struct log_salvage *s)
{
	if (!s)
		return;
	buf_fini(&s->partial);
	free(s->block);
	free(s->path);
	free(s);
}

uint64_t log_salvage_offset(const struct log_salvage *s)
{
	return s->offset;
}

struct log_gap log_salvage_gap(const struct log_salvage *s)
{
	return s->gap;
}

bool log_salvage_cut(const struct log_salvage *s)
{
	return s->cut;
}

static uint64_t here(const struct log_salvage *s)
{
	return s->block_off + s->pos;
}

/* Nothing whole begins at from; what was read of a record is given up. */
static void begin_gap(struct log_salvage *s, uint64_t from, const char *why)
{
	if (s->open)
		from = s->record_at;
	s->open = false;
	if (!s->gap.why)
		s->gap = (struct log_gap){ .offset = from, .why = why };
	else if (s->gap.why == zeros)
		s->gap.why = why;
}

static void end_gap(struct log_salvage *s, uint64_t to)
{
	if (s->gap.why)
		s->gap.len = to - s->gap.offset;
}

static int read_block(struct log_salvage *s)
{
	size_t got;
	int err;

	if (s->block_len < RECORD_BLOCK_LEN)
		return CAIRN_NOT_FOUND;
	err = rfile_read(s->file, s->block_off + RECORD_BLOCK_LEN, s->block,
			 RECORD_BLOCK_LEN, &got);
	if (err)
		return err;
	s->block_off += RECORD_BLOCK_LEN;
	s->block_len = got;
	s->pos = 0;
	return got ? CAIRN_OK : CAIRN_NOT_FOUND;
}

static bool is_recyclable(uint8_t type)
{
	return (type >= RECORD_RECYCLABLE_FULL &&
		type <= RECORD_RECYCLABLE_LAST) ||
	       type == RECORD_RECYCLABLE_TIMESTAMP_SIZE ||
	       type == RECORD_RECYCLABLE_PREDECESSOR;
}

static bool is_zero(const uint8_t *p, size_t len)
{
	return !len || (!p[0] && !memcmp(p, p + 1, len - 1));
}

struct piece {
	uint8_t type;
	struct cairn_slice payload;
	uint32_t number; /* of a recyclable one */
	size_t end;
};

/* Whether a whole fragment is at pos. *end is set also when there is none, to
 * where it would end; 0: nowhere in this block. */
static bool parse(const struct log_salvage *s, size_t pos, struct piece *p)
{
	const uint8_t *at = s->block + pos;
	size_t header, len;

	p->end = 0;
	if (s->block_len - pos < RECORD_HEADER_LEN)
		return false;
	len = load_le16(at + 4);
	p->type = at[6];
	header = is_recyclable(p->type) ? RECORD_HEADER_LEN_MAX
					: RECORD_HEADER_LEN;
	if (p->type == RECORD_ZERO || header + len > s->block_len - pos)
		return false;
	p->end = pos + header + len;
	p->number =
		is_recyclable(p->type) ? load_le32(at + RECORD_HEADER_LEN) : 0;
	p->payload = slice_of(at + header, len);
	return crc32c(at + 6, header - 6 + len) == crc32c_unmask(load_le32(at));
}

/*
 * Past a bad fragment: to its end, if another begins there, else to the end of
 * the block.
 */
static void skip_bad(struct log_salvage *s, size_t end)
{
	struct piece next;

	s->pos = end && parse(s, end, &next) ? end : s->block_len;
}

/* Whether the header at pos is that of a fragment that the file cuts. */
static bool is_cut(const struct log_salvage *s)
{
	size_t left = s->block_len - s->pos;
	const uint8_t *at = s->block + s->pos;

	if (s->block_len == RECORD_BLOCK_LEN)
		return false;
	if (left < RECORD_HEADER_LEN)
		return left > 0 && !is_zero(at, left);
	return at[6] != RECORD_ZERO &&
	       at[6] <= RECORD_RECYCLABLE_TIMESTAMP_SIZE &&
	       s->pos + RECORD_HEADER_LEN + load_le16(at + 4) <=
		       RECORD_BLOCK_LEN;
}

/* Nothing whole at pos. */
static void take_bad(struct log_salvage *s, size_t end)
{
	const uint8_t *at = s->block + s->pos;
	size_t left = s->block_len - s->pos;

	if (is_zero(at, left)) {
		/* Preallocated, unless something follows: see take(). */
		begin_gap(s, here(s), zeros);
		s->pos = s->block_len;
		return;
	}
	if (!end && is_cut(s)) {
		s->cut = true;
		begin_gap(s, here(s), "record is cut short");
		s->pos = s->block_len;
		return;
	}
	begin_gap(s, here(s), "no whole record");
	skip_bad(s, end);
}

static int refuse(const struct log_salvage *s, const char *what)
{
	return error_set(CAIRN_ENOTSUP, "%s: offset %" PRIu64 ": %s", s->path,
			 here(s), what);
}

/*
 * A whole fragment. CAIRN_OK: it completes a record. CAIRN_NOT_FOUND: it does
 * not. Only the parts of a record are in partial when it has several.
 */
static int take(struct log_salvage *s, const struct piece *p,
		struct cairn_slice *record)
{
	uint8_t type = p->type;
	int err;

	if (type >= RECORD_RECYCLABLE_FULL && type <= RECORD_RECYCLABLE_LAST)
		type = (uint8_t)(type - RECORD_RECYCLABLE_FULL + RECORD_FULL);
	switch (type) {
	case RECORD_FULL:
	case RECORD_FIRST:
		if (s->open && s->partial.len)
			begin_gap(s, s->record_at, "record without an end");
		end_gap(s, here(s));
		s->record_at = here(s);
		if (type == RECORD_FULL) {
			s->open = false;
			*record = p->payload;
			return CAIRN_OK;
		}
		s->open = true;
		err = buf_set(&s->partial, p->payload);
		return err ? err : CAIRN_NOT_FOUND;
	case RECORD_MIDDLE:
	case RECORD_LAST:
		if (!s->open) {
			begin_gap(s, here(s), "record without a beginning");
			return CAIRN_NOT_FOUND;
		}
		err = buf_append(&s->partial, p->payload.data, p->payload.len);
		if (err)
			return err;
		if (type == RECORD_MIDDLE)
			return CAIRN_NOT_FOUND;
		s->open = false;
		*record = buf_slice(&s->partial);
		return CAIRN_OK;
	case RECORD_SET_COMPRESSION:
		return refuse(s, "compressed logs are not supported");
	default:
		if (p->type & RECORD_SKIPPABLE)
			return CAIRN_NOT_FOUND;
		return refuse(s, "a record of a newer release");
	}
}

/* Whether the fragment is of an earlier use of the file. */
static bool is_stale(struct log_salvage *s, const struct piece *p)
{
	bool recyclable = is_recyclable(p->type);

	if (recyclable && !s->number_known) {
		s->log_number = p->number;
		s->number_known = true;
	}
	if (!s->started) {
		s->started = true;
		s->recyclable = recyclable;
	}
	return recyclable ? p->number != s->log_number : s->recyclable;
}

static int finish(struct log_salvage *s)
{
	s->ended = true;
	if (s->open) {
		s->cut = true;
		begin_gap(s, s->record_at, "record is cut short");
	}
	/* Zeros at the end are space that was set aside. */
	if (s->gap.why == zeros)
		s->gap = (struct log_gap){ 0 };
	end_gap(s, here(s));
	return CAIRN_NOT_FOUND;
}

int log_salvage_next(struct log_salvage *s, struct cairn_slice *record)
{
	if (s->ended)
		return CAIRN_NOT_FOUND;
	s->gap = (struct log_gap){ 0 };
	s->cut = false;
	for (;;) {
		struct piece p;
		int err;

		if (s->block_len - s->pos < RECORD_HEADER_LEN) {
			if (is_cut(s))
				take_bad(s, 0);
			s->pos = s->block_len;
			err = read_block(s);
			if (err == CAIRN_NOT_FOUND)
				return finish(s);
			if (err)
				return err;
			continue;
		}
		if (!parse(s, s->pos, &p)) {
			take_bad(s, p.end);
			continue;
		}
		if (is_stale(s, &p))
			return finish(s);
		err = take(s, &p, record);
		s->pos = p.end;
		if (!err)
			s->offset = s->record_at;
		if (err != CAIRN_NOT_FOUND)
			return err;
	}
}
