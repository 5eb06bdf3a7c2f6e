/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/db/store_options.h"

#include <ctype.h>
#include <stdlib.h>

#include "engine/base/error.h"

/* ---------------------------------------------------------------- reading */

static int keep_text(const char *text, char **to)
{
	char *copy = strdup(text);

	if (!copy)
		return error_nomem();
	free(*to);
	*to = copy;
	return CAIRN_OK;
}

static int adopt_merge(struct cairn_options *o, const char *text)
{
	int err;

	if (o->merge || !text)
		return CAIRN_OK;
	err = merge_builtin_new(text, &o->merge_builtin);
	if (!err)
		o->merge = &o->merge_builtin->op;
	/* One with settings that are not understood is not understood. */
	if (err == CAIRN_NOT_FOUND || err == CAIRN_EINVAL)
		err = keep_text(text, &o->merge_unknown);
	return err;
}

static int adopt_prefix(struct cairn_options *o, const char *text)
{
	int err;

	if (o->prefix || !text)
		return CAIRN_OK;
	err = prefix_builtin_new(text, &o->prefix_builtin);
	if (!err)
		o->prefix = &o->prefix_builtin->px;
	return err == CAIRN_NOT_FOUND ? keep_text(text, &o->prefix_unknown)
				      : err;
}

static const struct {
	const char *name;
	enum table_codec codec;
} codecs[] = {
	{ "kNoCompression", TABLE_CODEC_NONE },
	{ "kSnappyCompression", TABLE_CODEC_SNAPPY },
	{ "kZSTD", TABLE_CODEC_ZSTD },
};

#define N_CODECS (sizeof(codecs) / sizeof(codecs[0]))

/* A codec that cairn does not write leaves its own choice. */
static void set_codec(enum table_codec *codec, struct cairn_slice name)
{
	for (size_t i = 0; i < N_CODECS; i++)
		if (slice_eq(name, slice_str(codecs[i].name)))
			*codec = codecs[i].codec;
}

/* "A:B:C", one for each level; the last also stands for those behind it. */
static void set_codecs(struct cairn_options *o, const char *list)
{
	struct cairn_slice name = { 0 };

	for (int level = 0; level < CAIRN_LEVELS; level++) {
		if (*list) {
			size_t len = strcspn(list, ":");

			name = slice_of(list, len);
			list += len + (list[len] == ':');
		}
		set_codec(&o->codec[level], name);
	}
}

/*
 * Snappy for all is what RocksDB says when nobody chose anything, so it says
 * nothing here either.
 */
static void adopt_codecs(struct cairn_options *o, const struct options_file *f)
{
	if (o->codec_set)
		return;
	if (f->compression_per_level)
		set_codecs(o, f->compression_per_level);
	else if (f->compression && strcmp(f->compression, "kSnappyCompression"))
		set_codecs(o, f->compression);
	if (f->bottommost_compression)
		set_codec(&o->codec[CAIRN_LEVELS - 1],
			  slice_str(f->bottommost_compression));
}

int options_adopt(struct cairn_options *o, const struct options_file *f)
{
	int err;

	if (f->foreign)
		return CAIRN_OK;
	adopt_codecs(o, f);
	err = adopt_merge(o, f->merge_operator);
	return err ? err : adopt_prefix(o, f->prefix_extractor);
}

/* ---------------------------------------------------------------- writing */

static const char *rocksdb_codec(enum table_codec codec)
{
	for (size_t i = 0; i < N_CODECS; i++)
		if (codecs[i].codec == codec)
			return codecs[i].name;
	return codecs[0].name;
}

/* Names that would mean something else in OPTIONS are left out. */
static const char *plain_name(const char *name)
{
	for (const char *p = name; *p; p++)
		if (!isalnum((unsigned char)*p) && !strchr("._-:", *p))
			return NULL;
	return *name ? name : NULL;
}

/* What OPTIONS calls the merge operator: in text, or borrowed; NULL: none. */
static int merge_name(const struct cairn_options *o, struct buf *text,
		      const char **name)
{
	int err = CAIRN_OK;

	*name = o->merge_unknown;
	if (o->merge_builtin) {
		err = merge_builtin_format(o->merge_builtin, text);
		if (!err)
			err = buf_append(text, "", 1);
		*name = (const char *)text->data;
	} else if (o->merge) {
		*name = plain_name(o->merge->name);
	}
	return err;
}

int options_to_file(const struct cairn_options *o, struct buf *out)
{
	struct options_file_settings s = {
		.write_buffer_size = o->write_buffer_size,
		.base_level_size = options_base_level_size(o),
		.level_multiplier = o->level_multiplier,
		.target_file_size = o->target_file_size,
		.block_size = (size_t)o->block_size,
		.restart_interval = o->block_restart_interval,
		.bloom_bits_per_key = o->bloom_bits_per_key,
		.prefix_extractor = o->prefix ? plain_name(o->prefix->name)
					      : o->prefix_unknown,
	};
	struct buf merge = { 0 };
	int err = merge_name(o, &merge, &s.merge_operator);

	for (int i = 0; i < CAIRN_LEVELS; i++)
		s.compression[i] = rocksdb_codec(o->codec[i]);
	if (!err)
		err = options_file_format(&s, out);
	buf_fini(&merge);
	return err;
}
