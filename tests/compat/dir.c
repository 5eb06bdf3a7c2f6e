/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/compat/dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/compat/die.h"

#define FILE_PATH_LEN (PATH_LEN + 260)

void dir_make_temp(char path[PATH_LEN])
{
	const char *tmp = getenv("TMPDIR");

	snprintf(path, PATH_LEN, "%.200s/compat-XXXXXX", tmp ? tmp : "/tmp");
	if (!mkdtemp(path))
		die("%s: %s", path, strerror(errno));
}

void dir_remove(const char *path)
{
	char cmd[PATH_LEN + 16];

	snprintf(cmd, sizeof(cmd), "rm -rf '%s'", path);
	if (system(cmd) != 0)
		die("%s", cmd);
}

/* ---------------------------------------------------------------- copies */

/* False when from is gone. */
static bool read_whole(const char *path, struct buf *out)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	buf_clear(out);
	if (fd < 0 && errno == ENOENT)
		return false;
	if (fd < 0)
		die("%s: %s", path, strerror(errno));
	do {
		must(buf_reserve(out, 64 << 10), path);
		n = read(fd, out->data + out->len, out->cap - out->len);
		if (n < 0)
			die("%s: %s", path, strerror(errno));
		out->len += (size_t)n;
	} while (n > 0);
	close(fd);
	return true;
}

static void write_whole(const char *path, const struct buf *bytes)
{
	FILE *f = fopen(path, "wbe");

	if (!f || (bytes->len && fwrite(bytes->data, bytes->len, 1, f) != 1) ||
	    fclose(f) != 0)
		die("%s: %s", path, strerror(errno));
}

void file_copy(const char *from, const char *to)
{
	struct buf bytes = { 0 };

	if (!read_whole(from, &bytes))
		die("%s: %s", from, strerror(errno));
	write_whole(to, &bytes);
	buf_fini(&bytes);
}

/*
 * Which MANIFEST is current, and how long it is. False while it is being
 * replaced.
 */
static bool manifest_of(const char *dir, char name[64], off_t *size)
{
	char path[FILE_PATH_LEN];
	struct buf current = { 0 };
	struct stat st;
	bool found;

	snprintf(path, sizeof(path), "%s/CURRENT", dir);
	found = read_whole(path, &current);
	snprintf(name, 64, "%.*s", (int)(current.len ? current.len - 1 : 0),
		 (const char *)current.data);
	buf_fini(&current);
	if (!found)
		return false;
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	if (stat(path, &st))
		return false;
	*size = st.st_size;
	return true;
}

static void copy_files(const char *from, const char *to)
{
	char path[FILE_PATH_LEN];
	struct buf bytes = { 0 };
	struct dirent *e;
	DIR *d = opendir(from);

	if (!d)
		die("%s: %s", from, strerror(errno));
	while ((e = readdir(d))) {
		struct stat st;

		snprintf(path, sizeof(path), "%s/%s", from, e->d_name);
		if (stat(path, &st) || !S_ISREG(st.st_mode) ||
		    !read_whole(path, &bytes))
			continue;
		snprintf(path, sizeof(path), "%s/%s", to, e->d_name);
		write_whole(path, &bytes);
	}
	closedir(d);
	buf_fini(&bytes);
}

void dir_copy_live(const char *from, const char *to)
{
	char before[64], after[64];
	off_t size_before, size_after;

	for (;;) {
		bool same = manifest_of(from, before, &size_before);

		if (mkdir(to, 0777))
			die("%s: %s", to, strerror(errno));
		copy_files(from, to);
		same = same && manifest_of(from, after, &size_after) &&
		       strcmp(before, after) == 0 && size_before == size_after;
		if (same)
			return;
		dir_remove(to);
		usleep(1000);
	}
}

/* ---------------------------------------------------------------- checks */

static int show_finding(void *ctx, const struct cairn_finding *f)
{
	(void)ctx;
	if (f->code)
		fprintf(stderr, "%s: %s\n", cairn_strerror(f->code),
			f->message);
	return CAIRN_OK;
}

void dir_verify(const char *path)
{
	const struct cairn_verify_options v = { .found = show_finding };

	must(cairn_verify(path, NULL, &v, NULL), "verify");
}

/* Run by the shell, output into a file; what it says when it objects. */
static bool tool_objects(const char *cmd, struct buf *said)
{
	FILE *p = popen(cmd, "r");
	char line[512];

	if (!p)
		die("%s: %s", cmd, strerror(errno));
	buf_clear(said);
	while (fgets(line, sizeof(line), p))
		must(buf_append(said, line, strlen(line)), cmd);
	must(buf_append(said, "", 1), cmd);
	return pclose(p) != 0;
}

static bool have_tools(void)
{
	return system("command -v ldb >/dev/null && "
		      "command -v sst_dump >/dev/null") == 0;
}

static void verify_tables(const char *path)
{
	char cmd[FILE_PATH_LEN + 64];
	struct buf said = { 0 };
	struct dirent *e;
	DIR *d = opendir(path);

	if (!d)
		die("%s: %s", path, strerror(errno));
	while ((e = readdir(d))) {
		size_t len = strlen(e->d_name);

		if (len < 4 || strcmp(e->d_name + len - 4, ".sst") != 0)
			continue;
		snprintf(cmd, sizeof(cmd),
			 "sst_dump --file='%s/%s' --command=verify 2>&1", path,
			 e->d_name);
		/* Its exit status tells little. */
		if (tool_objects(cmd, &said) ||
		    strcasestr((char *)said.data, "corrupt") ||
		    strcasestr((char *)said.data, "not ok") ||
		    strcasestr((char *)said.data, "is corrupted") ||
		    !strstr((char *)said.data, "The file is ok"))
			die("%s: %s", cmd, (char *)said.data);
	}
	closedir(d);
	buf_fini(&said);
}

bool dir_check_with_tools(const char *path, bool tables)
{
	char cmd[FILE_PATH_LEN + 64];
	struct buf said = { 0 };

	if (!have_tools())
		return false;
	snprintf(cmd, sizeof(cmd), "ldb --db='%s' checkconsistency 2>&1", path);
	if (tool_objects(cmd, &said))
		die("%s: %s", cmd, (char *)said.data);
	buf_fini(&said);
	if (tables)
		verify_tables(path);
	return true;
}
