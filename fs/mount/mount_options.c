/* SPDX-License-Identifier: BSD-3-Clause */
#include "fs/mount/mount_options.h"

#include <ctype.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "engine/base/error.h"
#include "engine/base/memory_limit.h"
#include "engine/base/nearest.h"
#include "fs/mount/memory.h"
#include "fs/text/timetext.h"

#define SECOND UINT64_C(1000000)

enum kind {
	FLAG,   /* bool to true */
	UNFLAG, /* bool to false */
	SIZE,   /* with K M G T */
	NUMBER,
	OCTAL,
	TIME,    /* with us ms s m h d; a bare number is seconds */
	SYNC,    /* always, fsync, or a time */
	HISTORY, /* all, a number, or a time */
	IGNORE,  /* passed by mount(8), autofs, systemd: means nothing here */
};

#define VALUE_DEFAULT (UINT64_C(1) << 40)

#define AT(field) offsetof(struct mount_options, field)

static const struct spec {
	const char *name;
	enum kind kind;
	size_t at;
	uint64_t min;
	uint64_t max;
} specs[] = {
	{ "ro", FLAG, AT(read_only), 0, 0 },
	{ "rw", UNFLAG, AT(read_only), 0, 0 },
	{ "memory", SIZE, AT(memory), MEMORY_MIN, UINT64_MAX / 2 },
	{ "quota", SIZE, AT(quota), 0, UINT64_MAX / 2 },
	{ "sync", SYNC, AT(sync_us), 0, 0 },
	{ "commit", TIME, AT(commit_us), SECOND / 10, 86400 * SECOND },
	{ "history", HISTORY, AT(history), 0, 0 },
	{ "uid", NUMBER, AT(uid), 0, UINT32_MAX - 1 },
	{ "gid", NUMBER, AT(gid), 0, UINT32_MAX - 1 },
	{ "umask", OCTAL, AT(umask), 0, 0777 },
	{ "allow_other", FLAG, AT(allow_other), 0, 0 },
	{ "threads", NUMBER, AT(threads), 1, 256 },
	{ "slow", TIME, AT(slow_us), 1, 86400 * SECOND },
	{ "max_value", SIZE, AT(max_value), 1, VALUE_DEFAULT },
	{ "nonempty", FLAG, AT(nonempty), 0, 0 },
	{ "debug", FLAG, AT(debug), 0, 0 },
	{ "flat", FLAG, AT(flat), 0, 0 },
	{ "noexec", FLAG, AT(noexec), 0, 0 },
	{ "exec", UNFLAG, AT(noexec), 0, 0 },
	{ "user", IGNORE, 0, 0, 0 },
	{ "users", IGNORE, 0, 0, 0 },
	{ "owner", IGNORE, 0, 0, 0 },
	{ "group", IGNORE, 0, 0, 0 },
	{ "auto", IGNORE, 0, 0, 0 },
	{ "noauto", IGNORE, 0, 0, 0 },
	{ "nofail", IGNORE, 0, 0, 0 },
	{ "_netdev", IGNORE, 0, 0, 0 },
	{ "defaults", IGNORE, 0, 0, 0 },
	{ "noatime", IGNORE, 0, 0, 0 },
	{ "relatime", IGNORE, 0, 0, 0 },
	/* Always so, whatever is asked for. */
	{ "nodev", IGNORE, 0, 0, 0 },
	{ "nosuid", IGNORE, 0, 0, 0 },
	{ "suid", IGNORE, 0, 0, 0 },
	{ "dev", IGNORE, 0, 0, 0 },
};

#define N_SPECS (sizeof(specs) / sizeof(specs[0]))

void mount_options_init(struct mount_options *o)
{
	*o = (struct mount_options){
		.commit_us = 5 * SECOND,
		.slow_us = SECOND / 10,
		.max_value = VALUE_DEFAULT,
		.uid = getuid(),
		.gid = getgid(),
		.umask = 022,
	};
}

void mount_options_fini(struct mount_options *o)
{
	free(o->engine);
	o->engine = NULL;
}

/* ---------------------------------------------------------------- values */

static bool parse_digits(const char **p, unsigned base, uint64_t *out)
{
	const char *start = *p;
	uint64_t v = 0;

	for (; **p >= '0' && **p < (char)('0' + base); (*p)++) {
		uint64_t digit = (uint64_t)(**p - '0');

		if (v > (UINT64_MAX - digit) / base)
			return false;
		v = v * base + digit;
	}
	*out = v;
	return *p > start;
}

static bool parse_size(const char *s, uint64_t *out)
{
	static const char units[] = "KMGT";
	const char *unit;
	uint64_t v;

	if (!parse_digits(&s, 10, &v))
		return false;
	if (*s) {
		unit = strchr(units, toupper((unsigned char)*s));
		if (!unit || s[1])
			return false;
		for (const char *u = units; u <= unit; u++) {
			if (v > UINT64_MAX / 1024)
				return false;
			v *= 1024;
		}
	}
	*out = v;
	return true;
}

/* ------------------------------------------------------------ one option */

static int bad_value(const char *option, const char *wanted)
{
	return error_set(CAIRN_EINVAL, "-o %s: %s", option, wanted);
}

static const char *what_is_wanted(enum kind kind)
{
	switch (kind) {
	case SIZE:
		return "wants a size, as 512M or 8G";
	case NUMBER:
		return "wants a number";
	case OCTAL:
		return "wants an octal mode, as 022";
	case TIME:
		return "wants a time, as 500ms or 5s";
	case SYNC:
		return "wants always, fsync or a time, as 1s";
	case HISTORY:
		return "wants all, a number of revisions, or a time, as 7d";
	case FLAG:
	case UNFLAG:
	case IGNORE:
		break;
	}
	return "takes no value";
}

static bool parse_sync(struct mount_options *o, const char *value)
{
	/* Alone it is mount(8)'s sync: every write is on disk. */
	o->sync_always = !value || !strcmp(value, "always");
	o->sync_us = 0;
	if (o->sync_always || !strcmp(value, "fsync"))
		return true;
	return timetext_duration(value, false, &o->sync_us) && o->sync_us;
}

static bool parse_history(struct mount_options *o, const char *value)
{
	const char *p = value;

	o->history = 0;
	o->history_us = 0;
	if (!strcmp(value, "all"))
		return true;
	if (parse_digits(&p, 10, &o->history) && !*p)
		return o->history > 0 && o->history < INT64_MAX;
	o->history = 0;
	return timetext_duration(value, true, &o->history_us) && o->history_us;
}

static bool parse_value(struct mount_options *o, const struct spec *s,
			const char *value)
{
	uint64_t *dst = (uint64_t *)(void *)((char *)o + s->at);
	uint64_t v = 0;
	bool good = false;

	switch (s->kind) {
	case SIZE:
		good = parse_size(value, &v);
		break;
	case NUMBER:
		good = parse_digits(&value, 10, &v) && !*value;
		break;
	case OCTAL:
		good = parse_digits(&value, 8, &v) && !*value;
		break;
	case TIME:
		good = timetext_duration(value, false, &v);
		break;
	case HISTORY:
		return parse_history(o, value);
	case SYNC:
	case FLAG:
	case UNFLAG:
	case IGNORE:
		return false;
	}
	if (!good || v < s->min || v > s->max)
		return false;
	*dst = v;
	return true;
}

static int set_own(struct mount_options *o, const struct spec *s,
		   const char *option, const char *value)
{
	bool *flag = (bool *)(void *)((char *)o + s->at);
	bool good;

	if (s->kind == IGNORE)
		return CAIRN_OK;
	if (s->kind == SYNC)
		good = parse_sync(o, value);
	else if (s->kind == FLAG || s->kind == UNFLAG)
		good = !value;
	else
		good = value && parse_value(o, s, value);
	if (!good)
		return bad_value(option, what_is_wanted(s->kind));
	if (s->kind == FLAG || s->kind == UNFLAG)
		*flag = s->kind == FLAG;
	return CAIRN_OK;
}

/* Of the engine: tried on options that are thrown away, and noted. */
static int set_engine(struct mount_options *o, const char *option,
		      const char *name, const char *value)
{
	struct cairn_options *try = cairn_options_new();
	const char *best = NULL;
	size_t len = strlen(option) + 1;
	char *more;
	int err;

	if (!try)
		return error_nomem();
	err = cairn_options_set(try, name, value ? value : "true");
	cairn_options_free(try);
	if (err == CAIRN_EINVAL) {
		for (size_t i = 0; i < N_SPECS; i++)
			nearest_consider(name, specs[i].name, &best);
		if (best)
			return error_set(err,
					 "-o %s: no such option; did you mean "
					 "%s%s%s?",
					 option, best, value ? "=" : "",
					 value ? value : "");
		return error_set(err, "-o %s: %s", option, cairn_errmsg());
	}
	if (err)
		return err;
	more = realloc(o->engine, o->engine_len + len);
	if (!more)
		return error_nomem();
	memcpy(more + o->engine_len, option, len);
	o->engine = more;
	o->engine_len += len;
	return CAIRN_OK;
}

static bool is_comment(const char *option)
{
	return !strncmp(option, "x-", 2) || !strncmp(option, "comment=", 8);
}

static int parse_one(struct mount_options *o, const char *option)
{
	const char *eq = strchr(option, '=');
	size_t len = eq ? (size_t)(eq - option) : strlen(option);
	char name[64];

	if (is_comment(option))
		return CAIRN_OK;
	if (len >= sizeof(name))
		return error_set(CAIRN_EINVAL, "-o %.64s...: no such option",
				 option);
	memcpy(name, option, len);
	name[len] = '\0';
	for (size_t i = 0; i < N_SPECS; i++)
		if (!strcmp(specs[i].name, name))
			return set_own(o, &specs[i], option,
				       eq ? eq + 1 : NULL);
	return set_engine(o, option, name, eq ? eq + 1 : NULL);
}

int mount_options_parse(struct mount_options *o, const char *text)
{
	char *copy = strdup(text), *rest = copy, *option;
	int err = CAIRN_OK;

	if (!copy)
		return error_nomem();
	while (!err && (option = strsep(&rest, ",")))
		if (*option)
			err = parse_one(o, option);
	free(copy);
	return err;
}

/* -------------------------------------------------------------- applying */

static int set_number(struct cairn_options *engine, const char *name,
		      uint64_t value)
{
	char text[32];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
	return cairn_options_set(engine, name, text);
}

static int apply_named(const struct mount_options *o,
		       struct cairn_options *engine)
{
	char name[64];
	int err = CAIRN_OK;

	for (size_t at = 0; at < o->engine_len && !err;) {
		const char *option = o->engine + at;
		const char *eq = strchr(option, '=');
		size_t len = eq ? (size_t)(eq - option) : strlen(option);

		memcpy(name, option, len);
		name[len] = '\0';
		err = cairn_options_set(engine, name, eq ? eq + 1 : "true");
		at += strlen(option) + 1;
	}
	return err;
}

uint64_t mount_options_memory(const struct mount_options *o)
{
	uint64_t memory = o->memory ? o->memory : memory_limit() / 4;

	return memory < MEMORY_MIN ? MEMORY_MIN : memory;
}

uint64_t mount_options_plain_value(const struct mount_options *o)
{
	if (o->max_value != VALUE_DEFAULT)
		return o->max_value < CAIRN_VALUE_MAX ? o->max_value
						      : CAIRN_VALUE_MAX;
	return memory_split(mount_options_memory(o)).whole;
}

int mount_options_apply(const struct mount_options *o,
			struct cairn_options *engine, size_t *row_cache)
{
	struct memory_split s = memory_split(mount_options_memory(o));
	int err;

	*row_cache = s.row_cache;
	err = set_number(engine, "block_cache_size", s.block_cache);
	if (!err)
		err = set_number(engine, "write_buffer_size", s.write_buffer);
	if (!err)
		err = set_number(engine, "max_write_buffers", s.write_buffers);
	if (!err)
		err = set_number(engine, "quota", o->quota);
	if (!err)
		err = cairn_options_set(engine, "read_only",
					o->read_only ? "true" : "false");
	return err ? err : apply_named(o, engine);
}
