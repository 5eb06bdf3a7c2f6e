/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/table/props.h"

#include <assert.h>
#include <stdlib.h>

#include "engine/base/error.h"
#include "engine/table/block.h"
#include "engine/table/block_builder.h"
#include "engine/table/props_block.h"

enum kind {
	P_VARINT,        /* uint64_t */
	P_VARINT_SOME,   /* the same, written unless it is 0 */
	P_VARINT_BOOL,   /* bool as 0 or 1 */
	P_INDEX_TYPE,    /* enum table_index_type as fixed32 */
	P_FLAG,          /* bool as the character 0 or 1 */
	P_STRING,        /* char * */
	P_EXTERNAL,      /* uint32_t as fixed32, with has_external_version */
	P_GLOBAL_SEQNO,  /* uint64_t as fixed64, with has_global_seqno */
	P_CONST_ZERO,    /* written as 0, not read */
	P_CONST_DEFAULT, /* as "default" where family_id is 0, not read */
};

#define FIELD(name, kind, member)                                              \
	{                                                                      \
		name, kind, offsetof(struct table_props, member)               \
	}

/* In bytewise order, which is that of the block. */
static const struct property {
	const char *name;
	enum kind kind;
	size_t at;
} properties[] = {
	FIELD("cairn.tombstone-blocks", P_VARINT_SOME, tombstone_blocks),
	FIELD("rocksdb.block.based.table.index.type", P_INDEX_TYPE, index_type),
	FIELD("rocksdb.block.based.table.prefix.filtering", P_FLAG,
	      prefix_filtering),
	FIELD("rocksdb.block.based.table.whole.key.filtering", P_FLAG,
	      whole_key_filtering),
	FIELD("rocksdb.column.family.id", P_VARINT, family_id),
	{ "rocksdb.column.family.name", P_CONST_DEFAULT, 0 },
	FIELD("rocksdb.comparator", P_STRING, comparator),
	FIELD("rocksdb.compression", P_STRING, compression),
	FIELD("rocksdb.creation.time", P_VARINT, creation_time),
	FIELD("rocksdb.data.size", P_VARINT, data_bytes),
	FIELD("rocksdb.deleted.keys", P_VARINT, deletions),
	FIELD(PROPS_GLOBAL_SEQNO, P_GLOBAL_SEQNO, global_seqno),
	FIELD("rocksdb.external_sst_file.version", P_EXTERNAL,
	      external_version),
	FIELD("rocksdb.file.creation.time", P_VARINT, file_creation_time),
	FIELD("rocksdb.filter.policy", P_STRING, filter_policy),
	FIELD("rocksdb.filter.size", P_VARINT, filter_bytes),
	{ "rocksdb.fixed.key.length", P_CONST_ZERO, 0 },
	{ "rocksdb.format.version", P_CONST_ZERO, 0 },
	FIELD("rocksdb.index.key.is.user.key", P_VARINT_BOOL,
	      index_key_is_user_key),
	FIELD("rocksdb.index.size", P_VARINT, index_bytes),
	FIELD("rocksdb.index.value.is.delta.encoded", P_VARINT_BOOL,
	      index_value_is_delta),
	FIELD("rocksdb.merge.operands", P_VARINT, merges),
	FIELD("rocksdb.merge.operator", P_STRING, merge_operator),
	FIELD("rocksdb.num.data.blocks", P_VARINT, data_blocks),
	FIELD("rocksdb.num.entries", P_VARINT, entries),
	FIELD("rocksdb.num.filter_entries", P_VARINT, filter_entries),
	FIELD("rocksdb.num.range-deletions", P_VARINT, range_deletions),
	FIELD("rocksdb.oldest.key.time", P_VARINT, oldest_key_time),
	FIELD("rocksdb.prefix.extractor.name", P_STRING, prefix_extractor),
	FIELD("rocksdb.property.collectors", P_STRING, collectors),
	FIELD("rocksdb.raw.key.size", P_VARINT, raw_key_bytes),
	FIELD("rocksdb.raw.value.size", P_VARINT, raw_value_bytes),
};

#define N_PROPERTIES (sizeof(properties) / sizeof(properties[0]))

static void *member(struct table_props *p, const struct property *f)
{
	return (char *)p + f->at;
}

static const void *const_member(const struct table_props *p,
				const struct property *f)
{
	return (const char *)p + f->at;
}

/* Of the data blocks one in so many; and where no blocks were counted, of the
 * entries one in two. */
#define DENSE_ONE_IN 10

bool table_props_is_dense(const struct table_props *p)
{
	if (p->tombstone_blocks)
		return p->tombstone_blocks >= p->data_blocks / DENSE_ONE_IN;
	return p->entries && p->deletions > p->range_deletions &&
	       p->deletions - p->range_deletions >= p->entries - p->entries / 2;
}

void table_props_fini(struct table_props *p)
{
	user_props_fini(&p->user);
	for (size_t i = 0; i < N_PROPERTIES; i++) {
		char **s;

		if (properties[i].kind != P_STRING)
			continue;
		s = member(p, &properties[i]);
		free(*s);
		*s = NULL;
	}
}

static int set_string(char **to, struct cairn_slice value)
{
	char *s;

	if (value.len && memchr(value.data, 0, value.len))
		return error_set(CAIRN_ECORRUPT, "has a NUL in it");
	s = malloc(value.len + 1);
	if (!s)
		return error_nomem();
	if (value.len)
		memcpy(s, value.data, value.len);
	s[value.len] = '\0';
	free(*to);
	*to = s;
	return CAIRN_OK;
}

int table_props_init(struct table_props *p)
{
	*p = (struct table_props){ .whole_key_filtering = true,
				   .prefix_filtering = true };
	for (size_t i = 0; i < N_PROPERTIES; i++) {
		int err;

		if (properties[i].kind != P_STRING)
			continue;
		err = set_string(member(p, &properties[i]), slice_of(NULL, 0));
		if (err) {
			table_props_fini(p);
			return err;
		}
	}
	return CAIRN_OK;
}

static int malformed(void)
{
	return error_set(CAIRN_ECORRUPT, "is malformed");
}

static int decode_number(struct cairn_slice value, uint64_t *v)
{
	if (!get_varint64(&value, v) || value.len)
		return malformed();
	return CAIRN_OK;
}

static int decode_bool(struct cairn_slice value, bool *b)
{
	uint64_t v;
	int err = decode_number(value, &v);

	if (err)
		return err;
	if (v > 1)
		return malformed();
	*b = v == 1;
	return CAIRN_OK;
}

static int decode_index_type(struct cairn_slice value,
			     enum table_index_type *type)
{
	uint32_t v;

	if (!get_le32(&value, &v) || value.len)
		return malformed();
	if (v > TABLE_INDEX_FIRST_KEY)
		return error_set(CAIRN_ENOTSUP, "has the unknown value %u", v);
	*type = (enum table_index_type)v;
	return CAIRN_OK;
}

static int decode_external(struct cairn_slice value, struct table_props *p)
{
	if (!get_le32(&value, &p->external_version) || value.len)
		return malformed();
	p->has_external_version = true;
	return CAIRN_OK;
}

static int decode_global_seqno(struct cairn_slice value, struct table_props *p)
{
	if (!get_le64(&value, &p->global_seqno) || value.len ||
	    p->global_seqno > SEQNO_MAX)
		return malformed();
	p->has_global_seqno = true;
	return CAIRN_OK;
}

static int decode_value(const struct property *f, struct cairn_slice value,
			struct table_props *p)
{
	switch (f->kind) {
	case P_VARINT:
	case P_VARINT_SOME:
		return decode_number(value, member(p, f));
	case P_VARINT_BOOL:
		return decode_bool(value, member(p, f));
	case P_INDEX_TYPE:
		return decode_index_type(value, member(p, f));
	case P_FLAG:
		*(bool *)member(p, f) = !slice_eq(value, slice_str("0"));
		return CAIRN_OK;
	case P_STRING:
		return set_string(member(p, f), value);
	case P_EXTERNAL:
		return decode_external(value, p);
	case P_GLOBAL_SEQNO:
		return decode_global_seqno(value, p);
	case P_CONST_ZERO:
	case P_CONST_DEFAULT:
		break;
	}
	return CAIRN_OK;
}

static const struct property *find(struct cairn_slice name)
{
	for (size_t i = 0; i < N_PROPERTIES; i++)
		if (slice_eq(name, slice_str(properties[i].name)))
			return &properties[i];
	return NULL;
}

/*
 * A property that has no member: one that a newer RocksDB knows, or one of a
 * collector. The latter nobody may depend on, so those that make no sense are
 * as good as none; *refused then.
 */
static int decode_user(struct cairn_slice name, struct cairn_slice value,
		       struct table_props *p, bool *refused)
{
	int err;

	if (*refused || slice_starts_with(name, slice_str("rocksdb.")))
		return CAIRN_OK;
	err = user_props_append(&p->user, name, value);
	if (err == CAIRN_EINVAL) {
		user_props_fini(&p->user);
		*refused = true;
		return CAIRN_OK;
	}
	return err;
}

static int decode_all(struct block_cursor *c, struct table_props *p)
{
	bool refused = false;
	int err;

	while (!(err = block_cursor_next(c, NULL))) {
		const struct property *f = find(buf_slice(&c->key));

		if (!f)
			err = decode_user(buf_slice(&c->key), c->value, p,
					  &refused);
		else
			err = decode_value(f, c->value, p);
		if (f && (err == CAIRN_ECORRUPT || err == CAIRN_ENOTSUP))
			return error_set(err, "property %s %s", f->name,
					 cairn_errmsg());
		if (err)
			return err;
	}
	return err == CAIRN_NOT_FOUND ? CAIRN_OK : err;
}

int table_props_decode(struct cairn_slice block, struct table_props *out)
{
	struct block_cursor c = { 0 };
	struct table_props p;
	int err = table_props_init(&p);

	if (err)
		return err;
	err = block_cursor_init(&c, block, false);
	if (!err)
		err = decode_all(&c, &p);
	block_cursor_fini(&c);
	if (err)
		table_props_fini(&p);
	else
		*out = p;
	return err;
}

int props_find_global_seqno(struct cairn_slice block, size_t *at)
{
	struct block_cursor c = { 0 };
	int err = block_cursor_init(&c, block, false);

	while (!err) {
		err = block_cursor_next(&c, NULL);
		if (!err && c.value.len == 8 &&
		    slice_eq(buf_slice(&c.key),
			     slice_str(PROPS_GLOBAL_SEQNO))) {
			*at = (size_t)(c.value.data - block.data);
			break;
		}
	}
	block_cursor_fini(&c);
	return err;
}

static bool is_written(const struct table_props *p, const struct property *f)
{
	if (f->kind == P_VARINT_SOME)
		return *(const uint64_t *)const_member(p, f) != 0;
	if (f->kind == P_EXTERNAL)
		return p->has_external_version;
	if (f->kind == P_GLOBAL_SEQNO)
		return p->has_global_seqno;
	if (f->kind == P_CONST_DEFAULT)
		return p->family_id == 0;
	if (f->kind == P_STRING) {
		char *const *s = const_member(p, f);

		return *s && **s;
	}
	return true;
}

/* The value as bytes: in room, or borrowed from p. */
static struct cairn_slice encode_value(const struct table_props *p,
				       const struct property *f, uint8_t *room)
{
	const void *v = const_member(p, f);
	uint8_t *end = room;

	switch (f->kind) {
	case P_VARINT:
	case P_VARINT_SOME:
		end = put_varint64(room, *(const uint64_t *)v);
		break;
	case P_VARINT_BOOL:
		*end++ = *(const bool *)v;
		break;
	case P_INDEX_TYPE:
		end = put_le32(room,
			       (uint32_t) * (const enum table_index_type *)v);
		break;
	case P_FLAG:
		*end++ = *(const bool *)v ? '1' : '0';
		break;
	case P_STRING:
		return slice_str(*(char *const *)v);
	case P_EXTERNAL:
		end = put_le32(room, p->external_version);
		break;
	case P_GLOBAL_SEQNO:
		end = put_le64(room, p->global_seqno);
		break;
	case P_CONST_ZERO:
		*end++ = 0;
		break;
	case P_CONST_DEFAULT:
		return slice_str("default");
	}
	return slice_of(room, (size_t)(end - room));
}

/* Those of the collectors from *i on that come before the name, in order. */
static int encode_user(const struct table_props *p, struct cairn_slice before,
		       size_t *i, struct block_builder *b)
{
	int err = CAIRN_OK;

	for (; *i < p->user.n && !err; ++*i) {
		struct cairn_slice name = user_props_name(&p->user, *i);

		if (before.data && slice_cmp(name, before) >= 0)
			break;
		err = block_builder_add(b, name, slice_of(NULL, 0),
					user_props_value(&p->user, *i));
	}
	return err;
}

int table_props_encode(const struct table_props *p, struct buf *out)
{
	struct block_builder b;
	struct cairn_slice contents;
	size_t user = 0;
	int err = CAIRN_OK;

	block_builder_init(&b, BLOCK_ONE_RESTART);
	for (size_t i = 0; i < N_PROPERTIES && !err; i++) {
		const struct property *f = &properties[i];
		uint8_t room[VARINT64_MAX_LEN];

		assert(i == 0 || strcmp(properties[i - 1].name, f->name) < 0);
		err = encode_user(p, slice_str(f->name), &user, &b);
		if (err)
			break;
		if (is_written(p, f))
			err = block_builder_add(&b, slice_str(f->name),
						slice_of(NULL, 0),
						encode_value(p, f, room));
	}
	if (!err)
		err = encode_user(p, slice_of(NULL, 0), &user, &b);
	if (!err)
		err = block_builder_finish(&b, &contents);
	if (!err)
		err = buf_append(out, contents.data, contents.len);
	block_builder_fini(&b);
	return err;
}
