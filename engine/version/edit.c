/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/version/edit.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "engine/base/error.h"

/* Tags of a record; each is followed by its body. */
enum edit_tag {
	TAG_COMPARATOR = 1,
	TAG_LOG_NUMBER = 2,
	TAG_NEXT_FILE_NUMBER = 3,
	TAG_LAST_SEQNO = 4,
	TAG_COMPACT_CURSOR = 5,
	TAG_DELETED_FILE = 6,
	TAG_NEW_FILE = 7, /* LevelDB's: no seqnos */
	TAG_PREV_LOG_NUMBER = 9,
	TAG_MIN_LOG_TO_KEEP = 10,
	TAG_NEW_FILE2 = 100,
	TAG_NEW_FILE3 = 102,
	TAG_NEW_FILE4 = 103,
	TAG_FAMILY = 200,
	TAG_FAMILY_ADD = 201,
	TAG_FAMILY_DROP = 202,
	TAG_MAX_FAMILY = 203,
	TAG_ATOMIC_GROUP = 300,
	TAG_BLOB_ADDITION = 400,
	TAG_BLOB_GARBAGE = 401,
	/* A reader that does not know a tag with this bit may skip its body,
	 * which is then length-prefixed. */
	TAG_IGNORABLE = 1 << 13,
	TAG_DB_ID = TAG_IGNORABLE + 1,
	/* Early forms; these are not length-prefixed in spite of the bit. */
	TAG_OLD_BLOB_ADDITION = TAG_IGNORABLE + 2,
	TAG_OLD_BLOB_GARBAGE = TAG_IGNORABLE + 3,
	TAG_OLD_WAL_ADDITION = TAG_IGNORABLE + 4,
	TAG_OLD_WAL_DELETION = TAG_IGNORABLE + 5,
	TAG_FULL_HISTORY_TS_LOW = TAG_IGNORABLE + 6,
	TAG_WAL_ADDITION = TAG_IGNORABLE + 7,
	TAG_WAL_DELETION = TAG_IGNORABLE + 8,
};

/* Fields of TAG_NEW_FILE4, each a tag and a length-prefixed value. */
enum file_tag {
	FILE_TAG_END = 1, /* has no value */
	FILE_TAG_MIN_LOG_TO_KEEP = 3,
	FILE_TAG_OLDEST_BLOB = 4,
	FILE_TAG_OLDEST_ANCESTOR_TIME = 5,
	FILE_TAG_CREATION_TIME = 6,
	FILE_TAG_CHECKSUM = 7,
	FILE_TAG_CHECKSUM_FUNCTION = 8,
	/* A reader that does not know a tag with this bit must give up. */
	FILE_TAG_MUST_KNOW = 1 << 6,
	FILE_TAG_PATH_ID = FILE_TAG_MUST_KNOW + 1,
};

/* Fields of a WAL addition. */
#define WAL_TAG_END         1
#define WAL_TAG_SYNCED_SIZE 2

/* RocksDB keeps the upper two bits of file numbers for the path. */
#define FILE_NUMBER_MAX ((UINT64_C(1) << 62) - 1)

void version_edit_fini(struct version_edit *e)
{
	for (size_t i = 0; i < e->n_added; i++)
		file_meta_unref(e->added[i].meta);
	free(e->added);
	free(e->deleted);
	free(e->wals);
	free(e->comparator);
	free(e->family_name);
	free(e->db_id);
	*e = (struct version_edit){ 0 };
}

/*
 * Make room for one more element behind n. Arrays grow when n is a power of
 * two, so no capacity has to be kept.
 */
static int grow(void **array, size_t n, size_t size)
{
	void *p;

	if (n & (n - 1))
		return CAIRN_OK;
	if (n > SIZE_MAX / 2 / size)
		return error_nomem();
	p = realloc(*array, (n ? 2 * n : 1) * size);
	if (!p)
		return error_nomem();
	*array = p;
	return CAIRN_OK;
}

int version_edit_add_file(struct version_edit *e, int level,
			  struct file_meta *meta)
{
	void *array = e->added;
	int err;

	assert(level >= 0 && level < CAIRN_LEVELS);
	err = grow(&array, e->n_added, sizeof(*e->added));
	if (err)
		return err;
	e->added = array;
	e->added[e->n_added].level = level;
	e->added[e->n_added].meta = file_meta_ref(meta);
	e->n_added++;
	return CAIRN_OK;
}

int version_edit_delete_file(struct version_edit *e, int level, uint64_t number)
{
	void *array = e->deleted;
	int err;

	assert(level >= 0 && level < CAIRN_LEVELS);
	err = grow(&array, e->n_deleted, sizeof(*e->deleted));
	if (err)
		return err;
	e->deleted = array;
	e->deleted[e->n_deleted].level = level;
	e->deleted[e->n_deleted].number = number;
	e->n_deleted++;
	return CAIRN_OK;
}

/* -------------------------------------------------------------- encoding */

static int append_number(struct buf *out, enum edit_tag tag, uint64_t v)
{
	int err = buf_append_varint(out, tag);

	return err ? err : buf_append_varint(out, v);
}

static int append_string(struct buf *out, enum edit_tag tag, const char *s)
{
	int err = buf_append_varint(out, tag);

	return err ? err : buf_append_lp(out, slice_str(s));
}

static int append_file_field(struct buf *out, enum file_tag tag, uint64_t v)
{
	uint8_t bytes[VARINT64_MAX_LEN];
	uint8_t *end = put_varint64(bytes, v);
	int err = buf_append_varint(out, tag);

	if (err)
		return err;
	return buf_append_lp(out, slice_of(bytes, (size_t)(end - bytes)));
}

/* The fields that RocksDB always writes, in its order. */
static int append_file_fields(struct buf *out, const struct file_meta *f)
{
	int err = append_file_field(out, FILE_TAG_OLDEST_ANCESTOR_TIME,
				    f->oldest_ancestor_time);

	if (!err)
		err = append_file_field(out, FILE_TAG_CREATION_TIME,
					f->creation_time);
	if (!err)
		err = buf_append_varint(out, FILE_TAG_CHECKSUM);
	if (!err)
		err = buf_append_lp(out, slice_str(""));
	if (!err)
		err = buf_append_varint(out, FILE_TAG_CHECKSUM_FUNCTION);
	if (!err)
		err = buf_append_lp(out, slice_str("Unknown"));
	if (!err)
		err = buf_append_varint(out, FILE_TAG_END);
	return err;
}

static int append_new_file(struct buf *out, const struct version_edit_file *a)
{
	const struct file_meta *f = a->meta;
	int err = buf_append_varint(out, f->seqnos_known ? TAG_NEW_FILE4
							 : TAG_NEW_FILE);

	if (!err)
		err = buf_append_varint(out, (uint64_t)a->level);
	if (!err)
		err = buf_append_varint(out, f->number);
	if (!err)
		err = buf_append_varint(out, f->size);
	if (!err)
		err = buf_append_lp(out, f->smallest);
	if (!err)
		err = buf_append_lp(out, f->largest);
	if (err || !f->seqnos_known)
		return err;
	err = buf_append_varint(out, f->smallest_seqno);
	if (!err)
		err = buf_append_varint(out, f->largest_seqno);
	return err ? err : append_file_fields(out, f);
}

static int append_numbers(struct buf *out, const struct version_edit *e)
{
	int err = CAIRN_OK;

	if (e->has_log_number)
		err = append_number(out, TAG_LOG_NUMBER, e->log_number);
	if (!err && e->has_prev_log_number)
		err = append_number(out, TAG_PREV_LOG_NUMBER,
				    e->prev_log_number);
	if (!err && e->has_next_file_number)
		err = append_number(out, TAG_NEXT_FILE_NUMBER,
				    e->next_file_number);
	if (!err && e->has_last_seqno)
		err = append_number(out, TAG_LAST_SEQNO, e->last_seqno);
	if (!err && e->has_min_log_to_keep)
		err = append_number(out, TAG_MIN_LOG_TO_KEEP,
				    e->min_log_to_keep);
	if (!err && e->max_family)
		err = append_number(out, TAG_MAX_FAMILY, e->max_family);
	return err;
}

static int append_files(struct buf *out, const struct version_edit *e)
{
	int err = CAIRN_OK;

	for (size_t i = 0; !err && i < e->n_deleted; i++) {
		err = append_number(out, TAG_DELETED_FILE,
				    (uint64_t)e->deleted[i].level);
		if (!err)
			err = buf_append_varint(out, e->deleted[i].number);
	}
	for (size_t i = 0; !err && i < e->n_added; i++)
		err = append_new_file(out, &e->added[i]);
	return err;
}

static int append_family(struct buf *out, const struct version_edit *e)
{
	int err = CAIRN_OK;

	if (e->family)
		err = append_number(out, TAG_FAMILY, e->family);
	if (!err && e->has_family_add)
		err = append_string(out, TAG_FAMILY_ADD, e->family_name);
	if (!err && e->family_drop)
		err = buf_append_varint(out, TAG_FAMILY_DROP);
	if (!err && e->in_atomic_group)
		err = append_number(out, TAG_ATOMIC_GROUP, e->group_remaining);
	return err;
}

int version_edit_encode(const struct version_edit *e, struct buf *out)
{
	size_t start = out->len;
	int err = CAIRN_OK;

	if (e->db_id)
		err = append_string(out, TAG_DB_ID, e->db_id);
	if (!err && e->has_comparator)
		err = append_string(out, TAG_COMPARATOR, e->comparator);
	if (!err)
		err = append_numbers(out, e);
	if (!err)
		err = append_files(out, e);
	if (!err)
		err = append_family(out, e);
	if (err)
		out->len = start;
	return err;
}

/* -------------------------------------------------------------- decoding */

static int malformed(const char *what)
{
	return error_set(CAIRN_ECORRUPT, "version edit: bad %s", what);
}

static int blob_files(void)
{
	return error_set(CAIRN_ENOTSUP,
			 "version edit: blob files are not supported");
}

static int get_file_number(struct cairn_slice *in, const char *what,
			   uint64_t *v)
{
	uint64_t n;

	if (!get_varint64(in, &n) || n > FILE_NUMBER_MAX)
		return malformed(what);
	*v = n;
	return CAIRN_OK;
}

static int get_string(struct cairn_slice *in, const char *what, char **out)
{
	struct cairn_slice s;
	char *copy;

	if (!get_lp_slice(in, &s) || memchr(s.data, 0, s.len))
		return malformed(what);
	copy = malloc(s.len + 1);
	if (!copy)
		return error_nomem();
	memcpy(copy, s.data, s.len);
	copy[s.len] = '\0';
	free(*out);
	*out = copy;
	return CAIRN_OK;
}

static int get_level(struct cairn_slice *in, int *level)
{
	uint32_t n;

	if (!get_varint32(in, &n))
		return malformed("level");
	if (n >= CAIRN_LEVELS)
		return error_set(CAIRN_ENOTSUP,
				 "version edit: level %" PRIu32
				 ", only %d levels are supported",
				 n, CAIRN_LEVELS);
	*level = (int)n;
	return CAIRN_OK;
}

/* What the records of a new file have in common, before it is an object. */
struct new_file {
	int level;
	uint64_t number;
	uint64_t size;
	struct cairn_slice smallest;
	struct cairn_slice largest;
	uint64_t smallest_seqno;
	uint64_t largest_seqno;
	bool seqnos_known;
	uint64_t oldest_ancestor_time;
	uint64_t creation_time;
};

static int check_path_id(uint64_t id)
{
	if (id == 0)
		return CAIRN_OK;
	return error_set(CAIRN_ENOTSUP,
			 "version edit: several data paths (path id %" PRIu64
			 ") are not supported",
			 id);
}

static int get_field_number(struct cairn_slice value, const char *what,
			    uint64_t *v)
{
	uint64_t n;

	if (!get_varint64(&value, &n))
		return malformed(what);
	*v = n;
	return CAIRN_OK;
}

static int decode_file_field(struct version_edit *e, struct new_file *f,
			     uint32_t tag, struct cairn_slice value)
{
	uint64_t n = 0;
	int err;

	switch (tag) {
	case FILE_TAG_MIN_LOG_TO_KEEP:
		if (!get_le64(&value, &n) || n > FILE_NUMBER_MAX)
			return malformed("min log number of a file");
		e->has_min_log_to_keep = true;
		e->min_log_to_keep = n;
		return CAIRN_OK;
	case FILE_TAG_OLDEST_BLOB:
		err = get_field_number(value, "blob file number", &n);
		if (err)
			return err;
		return n ? blob_files() : CAIRN_OK;
	case FILE_TAG_OLDEST_ANCESTOR_TIME:
		return get_field_number(value, "oldest ancestor time",
					&f->oldest_ancestor_time);
	case FILE_TAG_CREATION_TIME:
		return get_field_number(value, "file creation time",
					&f->creation_time);
	case FILE_TAG_PATH_ID:
		if (value.len != 1)
			return malformed("path id");
		return check_path_id(value.data[0]);
	default:
		break;
	}
	if (tag & FILE_TAG_MUST_KNOW)
		return error_set(CAIRN_ENOTSUP,
				 "version edit: table %06" PRIu64
				 " has a property %" PRIu32
				 " that must be understood",
				 f->number, tag);
	return CAIRN_OK;
}

static int decode_file_fields(struct version_edit *e, struct new_file *f,
			      struct cairn_slice *in)
{
	for (;;) {
		struct cairn_slice value;
		uint32_t tag;
		int err;

		if (!get_varint32(in, &tag))
			return malformed("property tag of a new file");
		if (tag == FILE_TAG_END)
			return CAIRN_OK;
		if (!get_lp_slice(in, &value))
			return malformed("property of a new file");
		err = decode_file_field(e, f, tag, value);
		if (err)
			return err;
	}
}

static int check_seqnos(struct new_file *f)
{
	/*
	 * RocksDB knows no seqnos of LevelDB's tables either, and when it
	 * writes its own MANIFEST of them this is what it records.
	 */
	if (f->smallest_seqno == SEQNO_MAX && f->largest_seqno == 0)
		f->seqnos_known = false;
	if (!f->seqnos_known) {
		f->smallest_seqno = 0;
		f->largest_seqno = 0;
		return CAIRN_OK;
	}
	if (f->largest_seqno > SEQNO_MAX ||
	    f->smallest_seqno > f->largest_seqno)
		return error_set(
			CAIRN_ECORRUPT,
			"version edit: table %06" PRIu64
			" has sequence numbers %" PRIu64 " to %" PRIu64,
			f->number, f->smallest_seqno, f->largest_seqno);
	return CAIRN_OK;
}

static int add_new_file(struct version_edit *e, const struct new_file *f)
{
	struct file_meta *meta;
	int err;

	err = file_meta_new(f->number, f->size, f->smallest, f->largest,
			    f->smallest_seqno, f->largest_seqno, &meta);
	if (err)
		return err;
	meta->seqnos_known = f->seqnos_known;
	meta->creation_time = f->creation_time;
	meta->oldest_ancestor_time = f->oldest_ancestor_time;
	err = version_edit_add_file(e, f->level, meta);
	file_meta_unref(meta);
	return err;
}

static int decode_new_file(struct version_edit *e, uint32_t tag,
			   struct cairn_slice *in)
{
	struct new_file f = { .seqnos_known = tag != TAG_NEW_FILE };
	int err;

	err = get_level(in, &f.level);
	if (err)
		return err;
	err = get_file_number(in, "number of a new file", &f.number);
	if (err)
		return err;
	if (!f.number)
		return malformed("number of a new file");
	if (tag == TAG_NEW_FILE3) {
		uint32_t path_id;

		if (!get_varint32(in, &path_id))
			return malformed("path id");
		err = check_path_id(path_id);
		if (err)
			return err;
	}
	if (!get_varint64(in, &f.size))
		return malformed("size of a new file");
	if (!get_lp_slice(in, &f.smallest) || !get_lp_slice(in, &f.largest))
		return malformed("bound of a new file");
	if (f.seqnos_known && (!get_varint64(in, &f.smallest_seqno) ||
			       !get_varint64(in, &f.largest_seqno)))
		return malformed("sequence number of a new file");
	if (tag == TAG_NEW_FILE4) {
		err = decode_file_fields(e, &f, in);
		if (err)
			return err;
	}
	err = check_seqnos(&f);
	return err ? err : add_new_file(e, &f);
}

static int decode_deleted_file(struct version_edit *e, struct cairn_slice *in)
{
	uint64_t number;
	int level;
	int err;

	err = get_level(in, &level);
	if (err)
		return err;
	err = get_file_number(in, "number of a deleted file", &number);
	if (err)
		return err;
	return version_edit_delete_file(e, level, number);
}

static int decode_wal_addition(struct version_edit *e, struct cairn_slice *in)
{
	struct version_edit_wal w = { 0 };
	uint32_t tag;
	void *p = e->wals;
	int err = get_file_number(in, "WAL addition", &w.number);

	if (err)
		return err;
	for (;;) {
		if (!get_varint32(in, &tag))
			return malformed("WAL addition");
		if (tag == WAL_TAG_END)
			break;
		if (tag != WAL_TAG_SYNCED_SIZE || !get_varint64(in, &w.size))
			return malformed("WAL addition");
	}
	err = grow(&p, e->n_wals, sizeof(w));
	if (err)
		return err;
	e->wals = p;
	e->wals[e->n_wals++] = w;
	return CAIRN_OK;
}

static int decode_wal_deletion(struct version_edit *e, struct cairn_slice *in)
{
	return get_file_number(in, "WAL deletion", &e->wals_gone_below);
}

/* The early forms have no length before them. */
static int decode_wal_field(struct version_edit *e, uint32_t tag,
			    struct cairn_slice *in)
{
	struct cairn_slice body;
	int err;

	if (tag == TAG_OLD_WAL_ADDITION)
		return decode_wal_addition(e, in);
	if (tag == TAG_OLD_WAL_DELETION)
		return decode_wal_deletion(e, in);
	if (!get_lp_slice(in, &body))
		return malformed("WAL field");
	err = tag == TAG_WAL_ADDITION ? decode_wal_addition(e, &body)
				      : decode_wal_deletion(e, &body);
	if (!err && body.len)
		return malformed("WAL field");
	return err;
}

static int skip_ignorable(uint32_t tag, struct cairn_slice *in)
{
	struct cairn_slice body;

	if (!(tag & TAG_IGNORABLE))
		return error_set(CAIRN_ENOTSUP,
				 "version edit: unknown tag %" PRIu32
				 " that must not be ignored",
				 tag);
	if (!get_lp_slice(in, &body))
		return malformed("ignorable field");
	if (tag == TAG_FULL_HISTORY_TS_LOW && body.len)
		return error_set(CAIRN_ENOTSUP,
				 "version edit: user-defined timestamps are "
				 "not supported");
	return CAIRN_OK;
}

static int skip_cursor(struct cairn_slice *in)
{
	struct cairn_slice key;
	uint32_t level;

	if (!get_varint32(in, &level) || !get_lp_slice(in, &key))
		return malformed("compaction cursor");
	return CAIRN_OK;
}

static int decode_family_field(struct version_edit *e, uint32_t tag,
			       struct cairn_slice *in)
{
	switch (tag) {
	case TAG_FAMILY:
		return get_varint32(in, &e->family)
			       ? CAIRN_OK
			       : malformed("column family");
	case TAG_FAMILY_ADD:
		e->has_family_add = true;
		return get_string(in, "column family name", &e->family_name);
	case TAG_FAMILY_DROP:
		e->family_drop = true;
		return CAIRN_OK;
	case TAG_MAX_FAMILY:
		return get_varint32(in, &e->max_family)
			       ? CAIRN_OK
			       : malformed("largest column family");
	default:
		e->in_atomic_group = true;
		return get_varint32(in, &e->group_remaining)
			       ? CAIRN_OK
			       : malformed("atomic group");
	}
}

static int decode_field(struct version_edit *e, uint32_t tag,
			struct cairn_slice *in)
{
	uint64_t n;

	switch (tag) {
	case TAG_COMPARATOR:
		e->has_comparator = true;
		return get_string(in, "comparator", &e->comparator);
	case TAG_LOG_NUMBER:
		e->has_log_number = true;
		return get_file_number(in, "log number", &e->log_number);
	case TAG_NEXT_FILE_NUMBER:
		e->has_next_file_number = true;
		return get_file_number(in, "next file number",
				       &e->next_file_number);
	case TAG_LAST_SEQNO:
		if (!get_varint64(in, &n) || n > SEQNO_MAX)
			return malformed("last sequence number");
		e->has_last_seqno = true;
		e->last_seqno = n;
		return CAIRN_OK;
	case TAG_COMPACT_CURSOR:
		return skip_cursor(in);
	case TAG_DELETED_FILE:
		return decode_deleted_file(e, in);
	case TAG_NEW_FILE:
	case TAG_NEW_FILE2:
	case TAG_NEW_FILE3:
	case TAG_NEW_FILE4:
		return decode_new_file(e, tag, in);
	case TAG_PREV_LOG_NUMBER:
		e->has_prev_log_number = true;
		return get_file_number(in, "previous log number",
				       &e->prev_log_number);
	case TAG_MIN_LOG_TO_KEEP:
		e->has_min_log_to_keep = true;
		return get_file_number(in, "min log number to keep",
				       &e->min_log_to_keep);
	case TAG_FAMILY:
	case TAG_FAMILY_ADD:
	case TAG_FAMILY_DROP:
	case TAG_MAX_FAMILY:
	case TAG_ATOMIC_GROUP:
		return decode_family_field(e, tag, in);
	case TAG_BLOB_ADDITION:
	case TAG_BLOB_GARBAGE:
	case TAG_OLD_BLOB_ADDITION:
	case TAG_OLD_BLOB_GARBAGE:
		return blob_files();
	case TAG_DB_ID:
		return get_string(in, "database id", &e->db_id);
	case TAG_OLD_WAL_ADDITION:
	case TAG_OLD_WAL_DELETION:
	case TAG_WAL_ADDITION:
	case TAG_WAL_DELETION:
		return decode_wal_field(e, tag, in);
	default:
		return skip_ignorable(tag, in);
	}
}

int version_edit_decode(struct cairn_slice record, struct version_edit *e)
{
	int err = CAIRN_OK;

	while (!err && record.len) {
		uint32_t tag;

		err = get_varint32(&record, &tag)
			      ? decode_field(e, tag, &record)
			      : malformed("tag");
	}
	if (err)
		version_edit_fini(e);
	return err;
}
