/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/version/filename.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* Digits of a file number in a name, at least. */
#define NUMBER_DIGITS 6

/*
 * Read the digits at the front of *s and move past them. Only the way the
 * number is written by us and RocksDB counts ("000012", not "12"): a file with
 * another spelling is somebody else's, and would not be found by its number.
 */
static bool parse_number(const char **s, uint64_t *number)
{
	const char *p = *s;
	uint64_t v = 0;
	size_t digits;

	for (; *p >= '0' && *p <= '9'; p++) {
		unsigned d = (unsigned)(*p - '0');

		if (v > (UINT64_MAX - d) / 10)
			return false;
		v = v * 10 + d;
	}
	digits = (size_t)(p - *s);
	if (digits < NUMBER_DIGITS || (digits > NUMBER_DIGITS && **s == '0'))
		return false;
	*s = p;
	*number = v;
	return true;
}

static bool skip_prefix(const char **s, const char *prefix)
{
	size_t len = strlen(prefix);

	if (strncmp(*s, prefix, len) != 0)
		return false;
	*s += len;
	return true;
}

static enum file_kind parse_numbered(const char *name, uint64_t *number)
{
	static const struct {
		const char *suffix;
		enum file_kind kind;
	} suffixes[] = {
		{ ".log", FILE_WAL },       { ".sst", FILE_TABLE },
		{ ".ldb", FILE_TABLE_LDB }, { ".dbtmp", FILE_TEMP },
		{ ".blob", FILE_BLOB },
	};

	if (skip_prefix(&name, "MANIFEST-"))
		return parse_number(&name, number) && !*name ? FILE_MANIFEST
							     : FILE_UNKNOWN;
	if (skip_prefix(&name, "OPTIONS-")) {
		if (!parse_number(&name, number))
			return FILE_UNKNOWN;
		if (!*name)
			return FILE_OPTIONS;
		return strcmp(name, ".dbtmp") == 0 ? FILE_TEMP : FILE_UNKNOWN;
	}
	if (!parse_number(&name, number))
		return FILE_UNKNOWN;
	for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++)
		if (strcmp(name, suffixes[i].suffix) == 0)
			return suffixes[i].kind;
	return FILE_UNKNOWN;
}

enum file_kind filename_parse(const char *name, uint64_t *number)
{
	enum file_kind kind;
	uint64_t n = 0;

	*number = 0;
	if (strcmp(name, "CURRENT") == 0)
		return FILE_CURRENT;
	if (strcmp(name, "LOCK") == 0)
		return FILE_LOCK;
	if (strcmp(name, "IDENTITY") == 0)
		return FILE_IDENTITY;
	if (strcmp(name, "LOG") == 0 || strcmp(name, "LOG.old") == 0 ||
	    strncmp(name, "LOG.old.", strlen("LOG.old.")) == 0)
		return FILE_INFO_LOG;
	kind = parse_numbered(name, &n);
	if (kind != FILE_UNKNOWN)
		*number = n;
	return kind;
}

/* "DIR/" PREFIX NNNNNN SUFFIX */
static char *numbered(const char *dir, const char *prefix, uint64_t number,
		      const char *suffix)
{
	char *name;

	if (asprintf(&name, "%s/%s%0*" PRIu64 "%s", dir, prefix, NUMBER_DIGITS,
		     number, suffix) < 0)
		return NULL;
	return name;
}

char *filename_table(const char *dir, uint64_t number)
{
	return numbered(dir, "", number, ".sst");
}

char *filename_table_ldb(const char *dir, uint64_t number)
{
	return numbered(dir, "", number, ".ldb");
}

char *filename_wal(const char *dir, uint64_t number)
{
	return numbered(dir, "", number, ".log");
}

char *filename_manifest(const char *dir, uint64_t number)
{
	return numbered(dir, "MANIFEST-", number, "");
}

char *filename_options(const char *dir, uint64_t number)
{
	return numbered(dir, "OPTIONS-", number, "");
}

char *filename_temp(const char *dir, uint64_t number)
{
	return numbered(dir, "", number, ".dbtmp");
}

char *filename_in(const char *dir, const char *name)
{
	char *path;

	if (asprintf(&path, "%s/%s", dir, name) < 0)
		return NULL;
	return path;
}

char *filename_parent(const char *path)
{
	size_t len = strlen(path);

	while (len > 1 && path[len - 1] == '/')
		len--;
	while (len > 0 && path[len - 1] != '/')
		len--;
	if (!len)
		return strdup(".");
	while (len > 1 && path[len - 1] == '/')
		len--;
	return strndup(path, len);
}
