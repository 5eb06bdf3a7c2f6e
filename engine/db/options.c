/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/db/options.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

#include "engine/base/error.h"
#include "engine/base/nearest.h"

#define KIB (UINT64_C(1) << 10)
#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)
#define TIB (UINT64_C(1) << 40)

/* Tables do not grow beyond this by their level alone. */
#define TARGET_FILE_SIZE_CAP (64 * MIB)

/*
 * The base level had better hold what comes from level 0 at once: smaller, it
 * would be rewritten for each compaction out of there only to go on down.
 */
#define BASE_LEVEL_SIZE_MIN (64 * MIB)

enum option_type {
	OPTION_BOOL,  /* bool */
	OPTION_SIZE,  /* uint64_t */
	OPTION_COUNT, /* unsigned */
	OPTION_INT,   /* int */
	OPTION_REAL,  /* double */
	OPTION_CODEC, /* enum table_codec[CAIRN_LEVELS] */
	OPTION_MERGE, /* struct merge_builtin * */
};

struct option_def {
	const char *name;
	enum option_type type;
	size_t offset; /* in struct cairn_options */
	uint64_t min;
	uint64_t max;
};

#define OPTION(field, type, min, max)                                          \
	{                                                                      \
#field, type, offsetof(struct cairn_options, field), min, max  \
	}

static const struct option_def option_defs[] = {
	OPTION(create_if_missing, OPTION_BOOL, 0, 0),
	OPTION(error_if_exists, OPTION_BOOL, 0, 0),
	OPTION(read_only, OPTION_BOOL, 0, 0),
	OPTION(upgrade, OPTION_BOOL, 0, 0),
	OPTION(paranoid_checks, OPTION_BOOL, 0, 0),
	OPTION(point_in_time_recovery, OPTION_BOOL, 0, 0),
	OPTION(disable_wal, OPTION_BOOL, 0, 0),
	OPTION(write_buffer_size, OPTION_SIZE, 1 * KIB, 2 * GIB),
	OPTION(max_write_buffers, OPTION_COUNT, 2, 1000),
	OPTION(block_cache_size, OPTION_SIZE, 0, TIB),
	OPTION(memory_budget, OPTION_SIZE, 0, UINT64_MAX / 2),
	OPTION(max_open_files, OPTION_SIZE, 1, 10000000),
	OPTION(block_size, OPTION_SIZE, 1, 16 * MIB),
	OPTION(block_restart_interval, OPTION_COUNT, 1, 65535),
	OPTION(bloom_bits_per_key, OPTION_REAL, 0, 100),
	OPTION(base_level_size, OPTION_SIZE, 0, TIB),
	OPTION(level_multiplier, OPTION_COUNT, 2, 1000),
	OPTION(target_file_size, OPTION_SIZE, 1, GIB),
	OPTION(l0_compaction_trigger, OPTION_COUNT, 1, 100000),
	OPTION(l0_slowdown, OPTION_COUNT, 1, 100000),
	OPTION(l0_stop, OPTION_COUNT, 1, 100000),
	{ "compression", OPTION_CODEC, offsetof(struct cairn_options, codec), 0,
	  0 },
	OPTION(zstd_level, OPTION_INT, 1, 22),
	OPTION(max_background_jobs, OPTION_COUNT, 1, 64),
	OPTION(auto_compactions, OPTION_BOOL, 0, 0),
	OPTION(auto_resume, OPTION_BOOL, 0, 0),
	OPTION(bytes_per_sync, OPTION_SIZE, 0, TIB),
	OPTION(max_manifest_size, OPTION_SIZE, 1, TIB),
	OPTION(flush_rate, OPTION_SIZE, 0, TIB),
	OPTION(compaction_rate, OPTION_SIZE, 0, TIB),
	OPTION(debt_slowdown, OPTION_SIZE, 1, UINT64_MAX / 2),
	OPTION(debt_stop, OPTION_SIZE, 1, UINT64_MAX / 2),
	OPTION(quota, OPTION_SIZE, 0, UINT64_MAX / 2),
	OPTION(disk_reserve, OPTION_SIZE, 0, TIB),
	OPTION(delete_rate, OPTION_SIZE, 0, TIB),
	{ "merge_operator", OPTION_MERGE, 0, 0, 0 },
};

#define N_OPTIONS (sizeof(option_defs) / sizeof(option_defs[0]))

/* ------------------------------------------------------------------ codecs */

/* From this level on the default is zstd: below lies most of the data, and it
 * is rewritten least. */
#define ZSTD_FROM_LEVEL 5

static void set_default_codecs(struct cairn_options *o)
{
	for (int i = 0; i < CAIRN_LEVELS; i++)
		o->codec[i] = i < ZSTD_FROM_LEVEL ? TABLE_CODEC_SNAPPY
						  : TABLE_CODEC_ZSTD;
}

static int set_codecs(struct cairn_options *o, const char *value)
{
	static const struct {
		const char *name;
		enum table_codec codec;
	} codecs[] = {
		{ "none", TABLE_CODEC_NONE },
		{ "snappy", TABLE_CODEC_SNAPPY },
		{ "zstd", TABLE_CODEC_ZSTD },
	};

	if (strcmp(value, "default") == 0) {
		set_default_codecs(o);
		o->codec_set = true;
		return CAIRN_OK;
	}
	for (size_t i = 0; i < sizeof(codecs) / sizeof(codecs[0]); i++) {
		if (strcmp(value, codecs[i].name) != 0)
			continue;
		for (int l = 0; l < CAIRN_LEVELS; l++)
			o->codec[l] = codecs[i].codec;
		o->codec_set = true;
		return CAIRN_OK;
	}
	return error_set(CAIRN_EINVAL,
			 "option compression: \"%s\" is none of none, snappy, "
			 "zstd, default",
			 value);
}

/* ---------------------------------------------------------- merge operator */

static void set_merge(struct cairn_options *o, struct merge_builtin *b,
		      const struct cairn_merge_operator *op)
{
	merge_builtin_free(o->merge_builtin);
	o->merge_builtin = b;
	o->merge = op;
}

static int set_merge_by_name(struct cairn_options *o, const char *value)
{
	struct merge_builtin *b;
	int err;

	if (strcmp(value, "default") == 0) {
		set_merge(o, NULL, NULL);
		return CAIRN_OK;
	}
	err = merge_builtin_new(value, &b);
	if (!err)
		set_merge(o, b, &b->op);
	if (err == CAIRN_NOT_FOUND)
		err = error_set(CAIRN_EINVAL,
				"option merge_operator: \"%s\" is none of "
				"uint64add, stringappend, stringappendtest, "
				"default",
				value);
	return err;
}

void cairn_options_set_merge_operator(struct cairn_options *o,
				      const struct cairn_merge_operator *op)
{
	set_merge(o, NULL, op);
}

/* ------------------------------------------------------------------ values */

static bool parse_digits(const char **s, uint64_t *out)
{
	const char *p = *s;
	uint64_t v = 0;

	if (!isdigit((unsigned char)*p))
		return false;
	for (; isdigit((unsigned char)*p); p++) {
		uint64_t digit = (uint64_t)(*p - '0');

		if (v > (UINT64_MAX - digit) / 10)
			return false;
		v = v * 10 + digit;
	}
	*s = p;
	*out = v;
	return true;
}

/* "512", "64K", "1M": false for anything else and for what does not fit. */
static bool parse_size(const char *s, uint64_t *out)
{
	uint64_t unit = 1;
	uint64_t v;

	if (!parse_digits(&s, &v))
		return false;
	switch (*s) {
	case 'K':
		unit = KIB;
		break;
	case 'M':
		unit = MIB;
		break;
	case 'G':
		unit = GIB;
		break;
	case 'T':
		unit = TIB;
		break;
	default:
		break;
	}
	if (unit > 1)
		s++;
	if (*s || v > UINT64_MAX / unit)
		return false;
	*out = v * unit;
	return true;
}

static bool parse_number(const char *s, uint64_t *out)
{
	uint64_t v;

	if (!parse_digits(&s, &v) || *s)
		return false;
	*out = v;
	return true;
}

static bool parse_real(const char *s, double *out)
{
	char *end;
	double v;

	/* strtod() also takes signs, blanks, hexadecimal, "inf" and "nan". */
	if (!*s || strspn(s, "0123456789.") != strlen(s))
		return false;
	errno = 0;
	v = strtod(s, &end);
	if (errno || *end)
		return false;
	*out = v;
	return true;
}

static int bad_value(const struct option_def *d, const char *value)
{
	switch (d->type) {
	case OPTION_BOOL:
		return error_set(CAIRN_EINVAL,
				 "option %s: \"%s\" is neither true nor false",
				 d->name, value);
	case OPTION_SIZE:
		return error_set(CAIRN_EINVAL,
				 "option %s: \"%s\" is no size from %llu to "
				 "%llu, with K, M, G or T for powers of 1024",
				 d->name, value, (unsigned long long)d->min,
				 (unsigned long long)d->max);
	case OPTION_COUNT:
	case OPTION_INT:
	case OPTION_REAL:
	case OPTION_CODEC:
	case OPTION_MERGE:
		break;
	}
	return error_set(CAIRN_EINVAL,
			 "option %s: \"%s\" is no number from %llu to %llu",
			 d->name, value, (unsigned long long)d->min,
			 (unsigned long long)d->max);
}

static int set_real(void *field, const struct option_def *d, const char *value)
{
	double v;

	if (!parse_real(value, &v) || v < (double)d->min || v > (double)d->max)
		return bad_value(d, value);
	memcpy(field, &v, sizeof(v));
	return CAIRN_OK;
}

static int set_bool(void *field, const struct option_def *d, const char *value)
{
	bool v = strcmp(value, "true") == 0;

	if (!v && strcmp(value, "false") != 0)
		return bad_value(d, value);
	memcpy(field, &v, sizeof(v));
	return CAIRN_OK;
}

static int set_integer(void *field, const struct option_def *d,
		       const char *value)
{
	unsigned u;
	uint64_t v;
	int i;

	if (!(d->type == OPTION_SIZE ? parse_size : parse_number)(value, &v) ||
	    v < d->min || v > d->max)
		return bad_value(d, value);
	if (d->type == OPTION_SIZE) {
		memcpy(field, &v, sizeof(v));
	} else if (d->type == OPTION_COUNT) {
		u = (unsigned)v;
		memcpy(field, &u, sizeof(u));
	} else {
		i = (int)v;
		memcpy(field, &i, sizeof(i));
	}
	return CAIRN_OK;
}

static int unknown_name(const char *name)
{
	const char *best = NULL;

	for (size_t i = 0; i < N_OPTIONS; i++)
		nearest_consider(name, option_defs[i].name, &best);
	if (best)
		return error_set(CAIRN_EINVAL,
				 "unknown option \"%s\"; did you mean %s?",
				 name, best);
	return error_set(CAIRN_EINVAL, "unknown option \"%s\"", name);
}

int cairn_options_set(struct cairn_options *o, const char *name,
		      const char *value)
{
	for (size_t i = 0; i < N_OPTIONS; i++) {
		const struct option_def *d = &option_defs[i];
		void *field = (char *)o + d->offset;

		if (strcmp(name, d->name) != 0)
			continue;
		switch (d->type) {
		case OPTION_BOOL:
			return set_bool(field, d, value);
		case OPTION_REAL:
			return set_real(field, d, value);
		case OPTION_CODEC:
			return set_codecs(o, value);
		case OPTION_MERGE:
			return set_merge_by_name(o, value);
		case OPTION_SIZE:
		case OPTION_COUNT:
		case OPTION_INT:
			return set_integer(field, d, value);
		}
	}
	return unknown_name(name);
}

int cairn_options_get_bool(const struct cairn_options *o, const char *name,
			   bool *out)
{
	for (size_t i = 0; i < N_OPTIONS; i++) {
		const struct option_def *d = &option_defs[i];

		if (strcmp(name, d->name) != 0)
			continue;
		if (d->type != OPTION_BOOL)
			break;
		memcpy(out, (const char *)o + d->offset, sizeof(*out));
		return CAIRN_OK;
	}
	return error_set(CAIRN_EINVAL,
			 "\"%s\" is no option that is true or "
			 "false",
			 name);
}

/* ----------------------------------------------------------------- objects */

void options_init(struct cairn_options *o)
{
	*o = (struct cairn_options){
		.auto_compactions = true,
		.auto_resume = true,
		.write_buffer_size = 16 * MIB,
		.max_write_buffers = 3,
		.block_cache_size = 64 * MIB,
		.max_open_files = 1000,
		.block_size = 4 * KIB,
		.block_restart_interval = 16,
		.bloom_bits_per_key = 10,
		.level_multiplier = 10,
		.target_file_size = 4 * MIB,
		.l0_compaction_trigger = 4,
		.l0_slowdown = 10,
		.l0_stop = 16,
		.zstd_level = 1,
		.max_background_jobs = 2,
		.bytes_per_sync = 512 * KIB,
		.max_manifest_size = 64 * MIB,
		.flush_rate = 64 * MIB,
		.debt_slowdown = 64 * GIB,
		.debt_stop = 256 * GIB,
		.disk_reserve = 64 * MIB,
		.delete_rate = 128 * MIB,
	};
	set_default_codecs(o);
}

/* Own what from owns; the pointers of to are still those of from. */
static int copy_owned(const struct cairn_options *from,
		      struct cairn_options *to)
{
	int err = CAIRN_OK;

	to->lock_note = to->merge_unknown = to->prefix_unknown = NULL;
	to->merge_builtin = NULL;
	to->prefix_builtin = NULL;
	if (from->lock_note)
		err = cairn_options_set_lock_note(to, from->lock_note);
	if (!err && from->merge_builtin) {
		err = merge_builtin_clone(from->merge_builtin,
					  &to->merge_builtin);
		if (!err)
			to->merge = &to->merge_builtin->op;
	}
	return err;
}

int options_copy(const struct cairn_options *from, struct cairn_options *to)
{
	int err;

	/* Only the options of an open database have these. */
	assert(!from->prefix_builtin && !from->merge_unknown &&
	       !from->prefix_unknown);
	*to = *from;
	err = copy_owned(from, to);
	if (err)
		options_fini(to);
	return err;
}

void options_fini(struct cairn_options *o)
{
	merge_builtin_free(o->merge_builtin);
	prefix_builtin_free(o->prefix_builtin);
	free(o->merge_unknown);
	free(o->prefix_unknown);
	free(o->lock_note);
	o->merge_builtin = NULL;
	o->prefix_builtin = NULL;
	o->merge_unknown = o->prefix_unknown = o->lock_note = NULL;
}

/* As cairn.h says, so that OPTIONS can be read again. */
static int check_merge_name(const struct cairn_merge_operator *op)
{
	for (const char *p = op->name; *p; p++)
		if (!isalnum((unsigned char)*p) && !strchr("._-:", *p))
			return error_set(CAIRN_EINVAL,
					 "merge operator \"%s\": a name has "
					 "letters, digits and ._-: only",
					 op->name);
	if (!*op->name)
		return error_set(CAIRN_EINVAL, "merge operator without a name");
	return CAIRN_OK;
}

int options_check(const struct cairn_options *o)
{
	/* Writers would wait for a compaction that never becomes due. */
	if (o->auto_compactions && o->l0_compaction_trigger > o->l0_stop)
		return error_set(CAIRN_EINVAL,
				 "option l0_compaction_trigger (%u) is above "
				 "l0_stop (%u)",
				 o->l0_compaction_trigger, o->l0_stop);
	if (o->debt_slowdown > o->debt_stop)
		return error_set(CAIRN_EINVAL,
				 "option debt_slowdown (%llu) is above "
				 "debt_stop (%llu)",
				 (unsigned long long)o->debt_slowdown,
				 (unsigned long long)o->debt_stop);
	if (o->merge)
		return check_merge_name(o->merge);
	return CAIRN_OK;
}

struct cairn_options *cairn_options_new(void)
{
	struct cairn_options *o = malloc(sizeof(*o));

	if (!o) {
		(void)error_nomem();
		return NULL;
	}
	options_init(o);
	return o;
}

void cairn_options_free(struct cairn_options *o)
{
	if (!o)
		return;
	options_fini(o);
	free(o);
}

struct cairn_options *cairn_options_clone(const struct cairn_options *o)
{
	struct cairn_options *c = malloc(sizeof(*c));

	if (!c) {
		(void)error_nomem();
		return NULL;
	}
	if (options_copy(o, c)) {
		free(c);
		return NULL;
	}
	return c;
}

void cairn_options_set_env(struct cairn_options *o, struct cairn_env *env)
{
	o->env = env;
}

int cairn_options_set_lock_note(struct cairn_options *o, const char *note)
{
	char *copy = NULL;

	if (note) {
		copy = strdup(note);
		if (!copy)
			return error_nomem();
	}
	free(o->lock_note);
	o->lock_note = copy;
	return CAIRN_OK;
}

void cairn_options_set_prefix_extractor(struct cairn_options *o,
					const struct cairn_prefix_extractor *px)
{
	o->prefix = px;
}

void cairn_options_set_compaction_filter(
	struct cairn_options *o, const struct cairn_compaction_filter *f)
{
	o->filter = f;
}

void cairn_options_set_table_collector(struct cairn_options *o,
				       const struct cairn_table_collector *c)
{
	o->collector = c;
}

void cairn_options_set_listener(struct cairn_options *o,
				const struct cairn_listener *l)
{
	o->listener = l ? *l : (struct cairn_listener){ 0 };
}

/* ---------------------------------------------------------- for the layers */

void options_table_write(const struct cairn_options *o, int level,
			 struct table_write_options *out)
{
	*out = (struct table_write_options){
		.block_size = (size_t)o->block_size,
		.restart_interval = o->block_restart_interval,
		.codec = o->codec[level],
		.zstd_level = o->zstd_level,
		.bloom_bits_per_key = o->bloom_bits_per_key,
		.prefix = o->prefix,
		.merge_operator = o->merge ? o->merge->name : NULL,
		.collector = o->collector,
		.bytes_per_sync = o->bytes_per_sync,
	};
}

uint64_t options_base_level_size(const struct cairn_options *o)
{
	uint64_t level_0 = o->l0_compaction_trigger * o->write_buffer_size;

	if (o->base_level_size)
		return o->base_level_size;
	return level_0 > BASE_LEVEL_SIZE_MIN ? level_0 : BASE_LEVEL_SIZE_MIN;
}

void options_picker(const struct cairn_options *o, struct picker_options *out)
{
	uint64_t cap = o->target_file_size;

	if (cap < TARGET_FILE_SIZE_CAP)
		cap = TARGET_FILE_SIZE_CAP;
	*out = (struct picker_options){
		.base_level_size = options_base_level_size(o),
		.level_multiplier = (double)o->level_multiplier,
		.target_file_size = o->target_file_size,
		.target_file_size_max = cap,
		.l0_trigger = o->l0_compaction_trigger,
	};
}
