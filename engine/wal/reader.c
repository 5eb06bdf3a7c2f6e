/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How a log ends.
 *
 * Reading goes from fragment to fragment. At the first spot where no good
 * fragment is, the log ends, and what follows is looked through for the
 * beginning of another record of this log. If there is one, the spot is
 * damage: records were written after it, so it was whole once. If there is
 * none, it is what a crash leaves of the last record. Fragments that only
 * continue a record do not count, because they may belong to the bad one.
 *
 * Zeros are no exception. RocksDB takes a zero header for space that was
 * preallocated and goes on at the next block; no writer of today leaves such
 * space between records, so a record behind zeros means that records are
 * missing in between.
 *
 * Where a record may begin behind a bad spot: at a block's start, behind a
 * fragment whose header makes sense, and, where no header makes sense, at any
 * byte whose header and checksum fit. The payload of a fragment with a
 * sensible header is not looked into, for it may be a log itself, stored as a
 * value. A wrong length is recognised by the checksum, which does not cover
 * it: it fits the payload of the true length. And in a fragment that is longer
 * than the file, records count if they fill it to its very end: a value that
 * was cut off does not end so, unless by rare chance.
 *
 * Recyclable records carry the number of their log. In a log that is made of
 * them, whole records of another number, and legacy ones, are what the file
 * held before it was used again.
 */
#include "engine/wal/reader.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/buf.h"
#include "engine/base/crc32c.h"
#include "engine/base/error.h"
#include "engine/wal/record.h"

/*
 * Types of newer RocksDB releases: sizes of timestamps, the WAL before this
 * one. Those with the high bit may be skipped by who does not know them.
 */
#define RECORD_TIMESTAMP_SIZE            10
#define RECORD_RECYCLABLE_TIMESTAMP_SIZE 11
#define RECORD_SKIPPABLE                 0x80
#define RECORD_PREDECESSOR               130
#define RECORD_RECYCLABLE_PREDECESSOR    131

/*
 * Bytes to checksum at most while looking for a record behind a bad spot, some
 * tenths of a second; one byte at a time costs as much as so many at once. A
 * tail that needs more is made up, or vast, and counts as damage.
 */
#define SCAN_BYTES_MAX    ((uint64_t)256 << 20)
#define SCAN_COST_OF_STEP 16

struct log_reader {
	struct rfile *file;
	char *path;
	uint32_t log_number; /* the bits that recyclable headers carry */

	uint8_t *block;   /* RECORD_BLOCK_LEN bytes */
	size_t block_len; /* less than that in the last block only */
	uint64_t block_off;
	size_t pos; /* of the next fragment in the block */

	bool started;    /* a fragment was read */
	bool recyclable; /* and the first one was recyclable */

	/* A record that has begun and not ended. */
	bool open;
	struct buf partial;

	uint64_t offset;  /* log_reader_offset() */
	uint64_t after;   /* where the last whole record ended */
	uint64_t scanned; /* of SCAN_BYTES_MAX */

	int result;    /* once not CAIRN_OK, for ever */
	char *message; /* for result, when it is a failure */
	enum log_end end;
	bool garbled;
};

int log_reader_new(struct rfile *f, const char *path, uint64_t log_number,
		   struct log_reader **out)
{
	struct log_reader *r = calloc(1, sizeof(*r));

	if (!r)
		return error_nomem();
	r->file = f;
	r->log_number = (uint32_t)log_number;
	r->path = strdup(path);
	r->block = malloc(RECORD_BLOCK_LEN);
	if (!r->path || !r->block) {
		log_reader_free(r);
		return error_nomem();
	}
	/* As if a whole block had been read: the first one comes next. */
	r->block_len = RECORD_BLOCK_LEN;
	r->pos = RECORD_BLOCK_LEN;
	r->block_off = -(uint64_t)RECORD_BLOCK_LEN;
	*out = r;
	return CAIRN_OK;
}

void log_reader_free(struct log_reader *r)
{
	if (!r)
		return;
	buf_fini(&r->partial);
	free(r->message);
	free(r->block);
	free(r->path);
	free(r);
}

uint64_t log_reader_offset(const struct log_reader *r)
{
	return r->offset;
}

enum log_end log_reader_end(const struct log_reader *r)
{
	assert(r->result == CAIRN_NOT_FOUND);
	return r->end;
}

bool log_reader_garbled(const struct log_reader *r)
{
	return r->garbled;
}

/* Whatever ends the log, nothing of an unfinished record remains. */
static int finish(struct log_reader *r, int result)
{
	r->result = result;
	r->open = false;
	buf_fini(&r->partial);
	if (result < 0)
		r->message = strdup(cairn_errmsg());
	return result;
}

static int finish_end(struct log_reader *r, enum log_end end, bool garbled)
{
	r->end = end;
	r->garbled = garbled;
	/* An unfinished record is not part of the log. */
	r->offset = r->after;
	return finish(r, CAIRN_NOT_FOUND);
}

static int finish_again(const struct log_reader *r)
{
	if (r->result < 0)
		return error_set(r->result, "%s",
				 r->message ? r->message : "out of memory");
	return r->result;
}

static int finish_corrupt(struct log_reader *r, uint64_t offset,
			  const char *what)
{
	if (!r->open)
		r->offset = offset;
	error_set(CAIRN_ECORRUPT, "%s: offset %" PRIu64 ": %s", r->path, offset,
		  what);
	return finish(r, CAIRN_ECORRUPT);
}

static bool is_last_block(const struct log_reader *r)
{
	return r->block_len < RECORD_BLOCK_LEN;
}

/* The next block; block_len 0 when there is none. */
static int read_block(struct log_reader *r)
{
	size_t got;
	int err = rfile_read(r->file, r->block_off + RECORD_BLOCK_LEN, r->block,
			     RECORD_BLOCK_LEN, &got);

	if (err)
		return err;
	r->block_off += RECORD_BLOCK_LEN;
	r->block_len = got;
	r->pos = 0;
	return CAIRN_OK;
}

enum fragment_state {
	FRAGMENT_OK,
	/* Whole, but of an earlier use of the file. */
	FRAGMENT_STALE,
	FRAGMENT_ZERO,
	/* The header makes sense, but the file ends before the payload does. */
	FRAGMENT_CUT,
	/* Whole by its length, but with a wrong checksum. */
	FRAGMENT_WRONG,
	/* Not even a header. */
	FRAGMENT_SENSELESS,
};

struct fragment {
	uint8_t type;
	size_t header_len;
	struct cairn_slice payload; /* OK and STALE */
	size_t end;                 /* position in the block behind it */
};

static bool is_recyclable(uint8_t type)
{
	return (type >= RECORD_RECYCLABLE_FULL &&
		type <= RECORD_RECYCLABLE_LAST) ||
	       type == RECORD_RECYCLABLE_TIMESTAMP_SIZE ||
	       type == RECORD_RECYCLABLE_PREDECESSOR;
}

static bool is_known(uint8_t type)
{
	return (type > RECORD_ZERO &&
		type <= RECORD_RECYCLABLE_TIMESTAMP_SIZE) ||
	       type == RECORD_PREDECESSOR ||
	       type == RECORD_RECYCLABLE_PREDECESSOR;
}

/* Whether a record begins with this type. */
static bool is_beginning(uint8_t type)
{
	return type == RECORD_FULL || type == RECORD_FIRST ||
	       type == RECORD_RECYCLABLE_FULL ||
	       type == RECORD_RECYCLABLE_FIRST;
}

static size_t header_len_of(uint8_t type)
{
	return is_recyclable(type) ? RECORD_HEADER_LEN_MAX : RECORD_HEADER_LEN;
}

/* At most this many bytes at the end of a block are padding. */
static size_t padding_max(const struct log_reader *r)
{
	return (r->recyclable ? RECORD_HEADER_LEN_MAX : RECORD_HEADER_LEN) - 1;
}

/* Look at the bytes at pos of the block, a header at least. */
static enum fragment_state parse(const struct log_reader *r, size_t pos,
				 struct fragment *f)
{
	const uint8_t *p = r->block + pos;
	size_t len = load_le16(p + 4);
	uint32_t crc;

	assert(r->block_len - pos >= RECORD_HEADER_LEN);
	f->type = p[6];
	f->header_len = header_len_of(f->type);
	f->end = pos + f->header_len + len;
	if (f->type == RECORD_ZERO && len == 0)
		return FRAGMENT_ZERO;
	if (f->end > RECORD_BLOCK_LEN)
		return FRAGMENT_SENSELESS;
	if (f->end > r->block_len)
		return is_known(f->type) ? FRAGMENT_CUT : FRAGMENT_SENSELESS;

	/* Type, log number if there is one, and payload lie in a row. */
	crc = crc32c(p + 6, f->end - pos - 6);
	if (crc != crc32c_unmask(load_le32(p)))
		return is_known(f->type) ? FRAGMENT_WRONG : FRAGMENT_SENSELESS;
	f->payload = slice_of(p + f->header_len, len);
	if (is_recyclable(f->type)) {
		if (load_le32(p + RECORD_HEADER_LEN) != r->log_number)
			return FRAGMENT_STALE;
	} else if (r->recyclable) {
		return FRAGMENT_STALE;
	}
	return FRAGMENT_OK;
}

static bool all_zero(const uint8_t *p, size_t len)
{
	return len == 0 || (p[0] == 0 && memcmp(p, p + 1, len - 1) == 0);
}

/* Whether a fragment may end here: at the end, or another one follows. */
static bool may_end_at(struct log_reader *r, size_t pos)
{
	enum fragment_state state;
	struct fragment f;

	if (r->block_len - pos < RECORD_HEADER_LEN)
		return all_zero(r->block + pos, r->block_len - pos);
	state = parse(r, pos, &f);
	r->scanned += f.end - pos;
	/* Three zeros in a row are found in any small sequence number. */
	return state == FRAGMENT_OK ||
	       (state == FRAGMENT_ZERO &&
		all_zero(r->block + pos, r->block_len - pos));
}

/*
 * Whether the fragment at pos is whole but for its length field: the stored
 * checksum fits another length, behind which the log goes on.
 */
static bool has_wrong_length(struct log_reader *r, size_t pos)
{
	const uint8_t *p = r->block + pos;
	size_t header_len = header_len_of(p[6]);
	uint32_t want = crc32c_unmask(load_le32(p));
	uint32_t crc;

	if (!is_known(p[6]) || r->block_len - pos < header_len)
		return false;
	r->scanned += SCAN_COST_OF_STEP * (r->block_len - pos);
	crc = crc32c(p + 6, header_len - 6);
	for (size_t end = pos + header_len;; end++) {
		if (crc == want && may_end_at(r, end))
			return true;
		if (end == r->block_len)
			return false;
		crc = crc32c_extend(crc, r->block + end, 1);
	}
}

/* Whether the bytes at pos can be passed over without a checksum. */
static bool is_hopeless(const struct log_reader *r, size_t pos)
{
	const uint8_t *p = r->block + pos;

	if (!r->recyclable)
		return !is_known(p[6]);
	return !is_recyclable(p[6]) ||
	       r->block_len - pos < RECORD_HEADER_LEN_MAX ||
	       load_le32(p + RECORD_HEADER_LEN) != r->log_number;
}

/*
 * Where the search goes on behind a fragment with a wrong checksum. If it is
 * the type that is wrong, the header may be a longer or a shorter one.
 */
static size_t believable_end(struct log_reader *r, const struct fragment *f,
			     bool *guess)
{
	size_t shorter = f->end - f->header_len + RECORD_HEADER_LEN;
	size_t longer = f->end - f->header_len + RECORD_HEADER_LEN_MAX;

	*guess = false;
	if (may_end_at(r, f->end))
		return f->end;
	if (f->end != shorter && may_end_at(r, shorter))
		return shorter;
	if (f->end != longer && longer <= r->block_len && may_end_at(r, longer))
		return longer;
	*guess = true;
	return shorter;
}

/* Whether nothing but whole fragments, or zeros, is left from pos on. */
static bool runs_to_end(struct log_reader *r, size_t pos)
{
	while (r->block_len - pos >= RECORD_HEADER_LEN) {
		struct fragment f;
		enum fragment_state state = parse(r, pos, &f);

		if (state == FRAGMENT_ZERO)
			break;
		if (state != FRAGMENT_OK)
			return false;
		r->scanned += f.end - pos;
		pos = f.end;
	}
	return all_zero(r->block + pos, r->block_len - pos);
}

/*
 * Whether a record of this log begins in the block at pos or behind it. pos is
 * where a header should be.
 */
static bool record_begins(struct log_reader *r, size_t pos, uint64_t *where)
{
	bool guess = false;  /* pos is any byte, not where a header should be */
	bool inside = false; /* of a fragment longer than the file */

	while (pos + RECORD_HEADER_LEN <= r->block_len) {
		enum fragment_state state;
		struct fragment f;

		if (guess && is_hopeless(r, pos)) {
			pos++;
			continue;
		}
		*where = r->block_off + pos;
		state = parse(r, pos, &f);
		r->scanned += f.end - pos;
		if (state == FRAGMENT_OK && is_beginning(f.type) &&
		    (f.payload.len || !guess) &&
		    (!inside || runs_to_end(r, f.end)))
			return true;
		if (r->scanned > SCAN_BYTES_MAX)
			return true;
		if (guess &&
		    (inside || state == FRAGMENT_WRONG ||
		     state == FRAGMENT_CUT || state == FRAGMENT_SENSELESS)) {
			pos++;
		} else if (state == FRAGMENT_OK || state == FRAGMENT_STALE) {
			pos = f.end;
			guess = false;
		} else if (has_wrong_length(r, pos)) {
			return true;
		} else if (state == FRAGMENT_WRONG) {
			pos = believable_end(r, &f, &guess);
		} else {
			inside = state == FRAGMENT_CUT;
			guess = true;
			pos++;
		}
	}
	return false;
}

/* A bad spot that is no end, because of what is at where. */
static int finish_damaged(struct log_reader *r, uint64_t bad, const char *what,
			  uint64_t where)
{
	char text[160];

	if (r->scanned > SCAN_BYTES_MAX)
		snprintf(text, sizeof(text),
			 "%s, and what follows may be records", what);
	else if (where == bad)
		snprintf(text, sizeof(text), "record with a wrong length");
	else
		snprintf(text, sizeof(text),
			 "%s, but the log goes on at offset %" PRIu64, what,
			 where);
	return finish_corrupt(r, bad, text);
}

/*
 * At the next byte of the block is no fragment of the log: decide whether it
 * may end there. stale: what is there was there before the log.
 */
static int judge_end(struct log_reader *r, const char *what, bool stale)
{
	uint64_t bad = r->block_off + r->pos;
	size_t left = r->block_len - r->pos;
	bool cut = left < RECORD_HEADER_LEN;
	bool zeros = true;
	struct fragment f;
	uint64_t where;
	int err;

	if (!cut)
		cut = parse(r, r->pos, &f) == FRAGMENT_CUT;
	for (;;) {
		zeros = zeros &&
			all_zero(r->block + r->pos, r->block_len - r->pos);
		if (record_begins(r, r->pos, &where))
			return finish_damaged(r, bad, what, where);
		if (is_last_block(r))
			break;
		err = read_block(r);
		if (err)
			return finish(r, err);
	}
	if (!r->open && (zeros || stale))
		return finish_end(r, LOG_END_CLEAN, false);
	return finish_end(r, LOG_END_TORN, !cut && !stale);
}

/* A fragment of the log, or what ends it. */
static int next_fragment(struct log_reader *r, struct fragment *f)
{
	enum fragment_state state;

	while (r->block_len - r->pos <= padding_max(r)) {
		int err;

		if (is_last_block(r))
			return judge_end(r, "header cut short", false);
		err = read_block(r);
		if (err)
			return finish(r, err);
	}

	state = parse(r, r->pos, f);
	if (!r->started && (state == FRAGMENT_OK || state == FRAGMENT_STALE))
		r->recyclable = is_recyclable(f->type);
	r->started = true;
	switch (state) {
	case FRAGMENT_OK:
		r->pos = f->end;
		return CAIRN_OK;
	case FRAGMENT_STALE:
		return judge_end(r, "record of another log", true);
	case FRAGMENT_ZERO:
		return judge_end(r, "zeros instead of a record", false);
	case FRAGMENT_CUT:
		return judge_end(r, "record cut short", false);
	case FRAGMENT_WRONG:
		return judge_end(r, "record with a wrong checksum", false);
	case FRAGMENT_SENSELESS:
	default:
		return judge_end(r, "no record header", false);
	}
}

/* Whether a fragment that is no piece of a record may be passed over. */
static int other_fragment(struct log_reader *r, uint8_t type)
{
	if (type & RECORD_SKIPPABLE)
		return CAIRN_OK;
	if (type == RECORD_SET_COMPRESSION)
		error_set(CAIRN_ENOTSUP, "%s: compressed log (record type 9)",
			  r->path);
	else
		error_set(CAIRN_ENOTSUP,
			  "%s: log record of type %u, of a newer RocksDB",
			  r->path, type);
	return finish(r, CAIRN_ENOTSUP);
}

/*
 * A record begins at offset. One may be open without a byte in it: early
 * versions of LevelDB began a record twice at the end of a block.
 */
static int begin_record(struct log_reader *r, uint64_t offset)
{
	char text[80];

	if (r->open && r->partial.len) {
		snprintf(text, sizeof(text),
			 "record without end before the one at offset %" PRIu64,
			 offset);
		return finish_corrupt(r, r->offset, text);
	}
	buf_clear(&r->partial);
	r->open = true;
	r->offset = offset;
	return CAIRN_OK;
}

static int add_piece(struct log_reader *r, uint64_t offset,
		     struct cairn_slice payload)
{
	int err;

	if (!r->open)
		return finish_corrupt(r, offset,
				      "piece of a record without beginning");
	err = buf_append(&r->partial, payload.data, payload.len);
	return err ? finish(r, err) : CAIRN_OK;
}

/* The record that was open is whole. */
static int end_record(struct log_reader *r, struct cairn_slice bytes,
		      struct cairn_slice *record)
{
	r->open = false;
	r->after = r->block_off + r->pos;
	*record = bytes;
	return CAIRN_OK;
}

int log_reader_next(struct log_reader *r, struct cairn_slice *record)
{
	struct fragment f;
	uint64_t offset;
	int err;

	if (r->result)
		return finish_again(r);
	for (;;) {
		err = next_fragment(r, &f);
		if (err)
			return err;
		offset = r->block_off + f.end - f.payload.len - f.header_len;
		switch (f.type) {
		case RECORD_FULL:
		case RECORD_RECYCLABLE_FULL:
			err = begin_record(r, offset);
			return err ? err : end_record(r, f.payload, record);
		case RECORD_FIRST:
		case RECORD_RECYCLABLE_FIRST:
			err = begin_record(r, offset);
			if (!err)
				err = add_piece(r, offset, f.payload);
			break;
		case RECORD_MIDDLE:
		case RECORD_RECYCLABLE_MIDDLE:
			err = add_piece(r, offset, f.payload);
			break;
		case RECORD_LAST:
		case RECORD_RECYCLABLE_LAST:
			err = add_piece(r, offset, f.payload);
			return err ? err
				   : end_record(r, buf_slice(&r->partial),
						record);
		default:
			err = other_fragment(r, f.type);
			break;
		}
		if (err)
			return err;
	}
}
