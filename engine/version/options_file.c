/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/version/options_file.h"

#include <stdlib.h>

#include "engine/base/error.h"

void options_file_fini(struct options_file *o)
{
	free(o->comparator);
	free(o->merge_operator);
	free(o->prefix_extractor);
	free(o->wal_dir);
	free(o->compression);
	free(o->compression_per_level);
	free(o->bottommost_compression);
	*o = (struct options_file){ 0 };
}

/* --------------------------------------------------------------- parsing */

enum section {
	SECTION_OTHER, /* nothing in it is wanted */
	SECTION_DB,
	SECTION_DEFAULT_FAMILY,
};

struct parser {
	struct options_file *out;
	const char *name;
	unsigned line;
	enum section section;
	bool has_db;
	bool has_family;
};

static int bad_line(const struct parser *p, const char *what)
{
	return error_set(CAIRN_ECORRUPT, "%s: line %u: %s", p->name, p->line,
			 what);
}

static bool is_space(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f';
}

static struct cairn_slice trim(struct cairn_slice s)
{
	while (s.len && is_space(s.data[0]))
		slice_advance(&s, 1);
	while (s.len && is_space(s.data[s.len - 1]))
		s.len--;
	return s;
}

/* Cut at the first '#' that has no backslash before it. */
static struct cairn_slice strip_comment(struct cairn_slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.data[i] == '#' && (i == 0 || s.data[i - 1] != '\\'))
			return slice_of(s.data, i);
	return s;
}

static bool is_str(struct cairn_slice s, const char *text)
{
	return slice_eq(s, slice_str(text));
}

/* [Name] or [Name "argument"] */
static int parse_section(struct parser *p, struct cairn_slice line)
{
	struct cairn_slice title, arg = { 0 };
	const uint8_t *quote;
	bool *seen = NULL;

	if (line.len < 2 || line.data[line.len - 1] != ']')
		return bad_line(p, "a section without ]");
	title = trim(slice_of(line.data + 1, line.len - 2));
	quote = title.len ? memchr(title.data, '"', title.len) : NULL;
	if (quote) {
		size_t at = (size_t)(quote - title.data);

		arg = slice_of(quote + 1, title.len - at - 1);
		if (!arg.len || arg.data[arg.len - 1] != '"')
			return bad_line(p, "a section argument without \"");
		arg.len--;
		title = trim(slice_of(title.data, at));
	}
	if (!title.len)
		return bad_line(p, "a section without a name");

	p->section = SECTION_OTHER;
	if (is_str(title, "DBOptions")) {
		p->section = SECTION_DB;
		seen = &p->has_db;
	} else if (is_str(title, "CFOptions") && is_str(arg, "default")) {
		p->section = SECTION_DEFAULT_FAMILY;
		seen = &p->has_family;
	}
	if (seen && *seen)
		return bad_line(p, "a section appears twice");
	if (seen)
		*seen = true;
	return CAIRN_OK;
}

/* A backslash takes the next character literally; \n and \r are ends of line.
 */
static void unescape(char *s)
{
	char *to = s;

	for (; *s; s++) {
		if (*s == '\\' && s[1]) {
			s++;
			*to++ = *s == 'n' ? '\n' : *s == 'r' ? '\r' : *s;
		} else {
			*to++ = *s;
		}
	}
	*to = '\0';
}

static int set_string(char **field, struct cairn_slice value)
{
	char *copy = NULL;

	if (value.len && !is_str(value, "nullptr")) {
		copy = malloc(value.len + 1);
		if (!copy)
			return error_nomem();
		memcpy(copy, value.data, value.len);
		copy[value.len] = '\0';
	}
	free(*field);
	*field = copy;
	return CAIRN_OK;
}

/* The field for a setting; NULL: it is not wanted. */
static char **field_of(const struct parser *p, struct cairn_slice key)
{
	struct options_file *o = p->out;
	const struct {
		enum section section;
		const char *key;
		char **field;
	} wanted[] = {
		{ SECTION_DB, "wal_dir", &o->wal_dir },
		{ SECTION_DEFAULT_FAMILY, "comparator", &o->comparator },
		{ SECTION_DEFAULT_FAMILY, "merge_operator",
		  &o->merge_operator },
		{ SECTION_DEFAULT_FAMILY, "prefix_extractor",
		  &o->prefix_extractor },
		{ SECTION_DEFAULT_FAMILY, "compression", &o->compression },
		{ SECTION_DEFAULT_FAMILY, "compression_per_level",
		  &o->compression_per_level },
		{ SECTION_DEFAULT_FAMILY, "bottommost_compression",
		  &o->bottommost_compression },
	};

	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
		if (wanted[i].section == p->section &&
		    is_str(key, wanted[i].key))
			return wanted[i].field;
	return NULL;
}

static int parse_setting(struct parser *p, struct cairn_slice line)
{
	const uint8_t *eq = memchr(line.data, '=', line.len);
	struct cairn_slice key, value;
	char **field;
	size_t at;
	int err;

	if (!eq)
		return bad_line(p, "neither a section nor a setting");
	at = (size_t)(eq - line.data);
	key = trim(slice_of(line.data, at));
	value = trim(slice_of(eq + 1, line.len - at - 1));
	if (!key.len)
		return bad_line(p, "a setting without a name");
	field = field_of(p, key);
	if (!field)
		return CAIRN_OK;
	err = set_string(field, value);
	if (!err && field == &p->out->wal_dir && *field)
		unescape(*field);
	return err;
}

static int parse_line(struct parser *p, struct cairn_slice line)
{
	if (line.len && memchr(line.data, 0, line.len))
		return bad_line(p, "a byte that is not text");
	line = trim(strip_comment(line));
	if (!line.len)
		return CAIRN_OK;
	return line.data[0] == '[' ? parse_section(p, line)
				   : parse_setting(p, line);
}

static struct cairn_slice next_line(struct cairn_slice *text)
{
	const uint8_t *nl = memchr(text->data, '\n', text->len);
	size_t len = nl ? (size_t)(nl - text->data) : text->len;
	struct cairn_slice line = slice_of(text->data, len);

	slice_advance(text, nl ? len + 1 : len);
	return line;
}

/*
 * Whether there is a [DBOptions] at all. Pebble's files are called OPTIONS,
 * too, and whatever is wrong in one of them is none of our business.
 */
static bool is_rocksdb(struct cairn_slice text)
{
	while (text.len) {
		struct cairn_slice line = next_line(&text);

		if (is_str(trim(strip_comment(line)), "[DBOptions]"))
			return true;
	}
	return false;
}

int options_file_parse(struct cairn_slice text, const char *name,
		       struct options_file *out)
{
	struct options_file o = { 0 };
	struct parser p = { .out = &o, .name = name };
	int err = CAIRN_OK;

	if (!is_rocksdb(text)) {
		*out = (struct options_file){ .foreign = true };
		return CAIRN_OK;
	}
	while (!err && text.len) {
		p.line++;
		err = parse_line(&p, next_line(&text));
	}
	if (!err && !p.has_family)
		err = error_set(CAIRN_ECORRUPT,
				"%s: no section [CFOptions \"default\"]", name);
	if (err) {
		options_file_fini(&o);
		return err;
	}
	*out = o;
	return CAIRN_OK;
}

/* --------------------------------------------------------------- writing */

static int format_compression(const struct options_file_settings *s,
			      struct buf *out)
{
	int err =
		buf_printf(out,
			   "  compression=%s\n"
			   "  bottommost_compression=%s\n"
			   "  compression_per_level=",
			   s->compression[0], s->compression[CAIRN_LEVELS - 1]);

	for (int level = 0; !err && level < CAIRN_LEVELS; level++)
		err = buf_printf(out, "%s%s", level ? ":" : "",
				 s->compression[level]);
	return err ? err : buf_printf(out, "\n");
}

/* What makes RocksDB's tree keep the shape of ours. */
static int format_family(const struct options_file_settings *s, struct buf *out)
{
	int err = buf_printf(
		out,
		"[CFOptions \"default\"]\n"
		"  comparator=leveldb.BytewiseComparator\n"
		"  num_levels=%d\n"
		"  compaction_style=kCompactionStyleLevel\n"
		"  compaction_pri=kMinOverlappingRatio\n"
		"  level_compaction_dynamic_level_bytes=true\n"
		"  write_buffer_size=%llu\n"
		"  max_bytes_for_level_base=%llu\n"
		"  max_bytes_for_level_multiplier=%u.000000\n"
		"  target_file_size_base=%llu\n"
		"  target_file_size_multiplier=2\n",
		CAIRN_LEVELS, (unsigned long long)s->write_buffer_size,
		(unsigned long long)s->base_level_size, s->level_multiplier,
		(unsigned long long)s->target_file_size);

	if (!err && s->merge_operator)
		err = buf_printf(out, "  merge_operator=%s\n",
				 s->merge_operator);
	if (!err && s->prefix_extractor)
		err = buf_printf(out, "  prefix_extractor=%s\n",
				 s->prefix_extractor);
	return err ? err : format_compression(s, out);
}

static int format_table(const struct options_file_settings *s, struct buf *out)
{
	int err = buf_printf(out,
			     "[TableOptions/BlockBasedTable \"default\"]\n"
			     "  format_version=5\n"
			     "  checksum=kXXH3\n"
			     "  block_size=%zu\n"
			     "  block_restart_interval=%u\n"
			     "  whole_key_filtering=true\n",
			     s->block_size, s->restart_interval);

	if (err)
		return err;
	if (s->bloom_bits_per_key <= 0)
		return buf_printf(out, "  filter_policy=nullptr\n");
	return buf_printf(out, "  filter_policy=bloomfilter:%g:false\n",
			  s->bloom_bits_per_key);
}

int options_file_format(const struct options_file_settings *s, struct buf *out)
{
	size_t start = out->len;
	int err = buf_printf(out,
			     "# Written by cairn for RocksDB, which refuses a "
			     "directory whose OPTIONS has a\n"
			     "# setting it does not know.\n\n"
			     "[Version]\n"
			     "  rocksdb_version=" CAIRN_ROCKSDB_VERSION "\n"
			     "  options_file_version=1.1\n\n"
			     "[DBOptions]\n\n");

	if (!err)
		err = format_family(s, out);
	if (!err)
		err = buf_printf(out, "\n");
	if (!err)
		err = format_table(s, out);
	if (err)
		out->len = start;
	return err;
}
