/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Keys as files of a mount, against what they should be:
 *
 *     key_files walk DIR          every file below DIR as a line: the key,
 * which user.cairn.key tells, in hex, TAB, contents in hex key_files read DIR
 * <LINES   each line's key is found by its name below DIR, and the file has the
 * line's value key_files state DIR         names, sizes, mtimes and a checksum
 * of the bytes of all files in a data directory
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "engine/base/hash.h"
#include "fs/text/keytext.h"
#include "fs/text/name.h"

static void die(const char *what, const char *name)
{
	fprintf(stderr, "key_files: %s: %s: %s\n", what, name, strerror(errno));
	exit(1);
}

/* All of an open file. */
static void slurp(int fd, const char *name, struct buf *out)
{
	ssize_t n;

	do {
		if (buf_reserve(out, 65536))
			die("read", name);
		n = read(fd, out->data + out->len, 65536);
		if (n < 0)
			die("read", name);
		out->len += (size_t)n;
	} while (n);
}

/* --------------------------------------------------------------------- walk */

static void print_file(int dir, const char *name)
{
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	uint8_t key[70000];
	struct buf value = { 0 }, line = { 0 };
	ssize_t n;

	if (fd < 0)
		die("open", name);
	n = fgetxattr(fd, "user.cairn.key", key, sizeof(key));
	if (n < 0)
		die("getxattr", name);
	slurp(fd, name, &value);
	if (keytext_hex(slice_of(key, (size_t)n), &line) ||
	    buf_append(&line, "\t", 1) ||
	    keytext_hex(buf_slice(&value), &line) || buf_append(&line, "\n", 1))
		die("print", name);
	fwrite(line.data, 1, line.len, stdout);
	buf_fini(&value);
	buf_fini(&line);
	close(fd);
}

static void walk(int fd, const char *shown)
{
	DIR *d = fdopendir(fd);
	const struct dirent *e;

	if (!d)
		die("list", shown);
	while ((errno = 0, e = readdir(d))) {
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		if (e->d_type == DT_DIR) {
			int sub = openat(fd, e->d_name,
					 O_RDONLY | O_DIRECTORY | O_CLOEXEC);

			if (sub < 0)
				die("open", e->d_name);
			walk(sub, e->d_name);
		} else if (e->d_type == DT_REG) {
			print_file(fd, e->d_name);
		} else {
			die("d_type", e->d_name);
		}
	}
	if (errno)
		die("list", shown);
	closedir(d);
}

/* --------------------------------------------------------------------- read */

/* A path may be too long for one system call. */
static int open_path(int dir, char *path)
{
	int fd = dup(dir);
	char *name;

	while (fd >= 0 && (name = strsep(&path, "/"))) {
		int next = openat(fd, name, O_RDONLY | O_CLOEXEC);

		close(fd);
		fd = next;
	}
	return fd;
}

static bool is_dir(int fd)
{
	struct stat st;

	return !fstat(fd, &st) && S_ISDIR(st.st_mode);
}

static void read_key(int dir, const char *hex, struct cairn_slice want)
{
	struct buf key = { 0 }, path = { 0 }, value = { 0 };
	int fd;

	if (keytext_unhex(hex, &key) ||
	    name_key_to_path(buf_slice(&key), &path) ||
	    buf_append(&path, "", 1))
		die("name", hex);
	fd = open_path(dir, (char *)path.data);
	if (fd < 0)
		die("open", hex);
	/* Other keys go on below it. */
	if (is_dir(fd)) {
		int value_fd = openat(fd, "%=", O_RDONLY | O_CLOEXEC);

		close(fd);
		fd = value_fd;
	}
	if (fd < 0)
		die("open", hex);
	slurp(fd, hex, &value);
	close(fd);
	if (!slice_eq(buf_slice(&value), want)) {
		fprintf(stderr, "key_files: %s has another value\n", hex);
		exit(1);
	}
	buf_fini(&key);
	buf_fini(&path);
	buf_fini(&value);
}

static void read_keys(int dir)
{
	struct buf want = { 0 };
	char *line = NULL;
	size_t cap = 0;
	ssize_t n;

	while ((n = getline(&line, &cap, stdin)) > 0) {
		char *tab = strchr(line, '\t');

		if (!tab || line[n - 1] != '\n')
			die("line", line);
		line[n - 1] = '\0';
		*tab = '\0';
		buf_clear(&want);
		if (keytext_unhex(tab + 1, &want))
			die("line", line);
		read_key(dir, line, buf_slice(&want));
	}
	free(line);
	buf_fini(&want);
}

/* -------------------------------------------------------------------- state */

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static void print_state(const char *path)
{
	struct dirent **list;
	int n = scandir(path, &list, NULL, by_name);
	struct stat st;

	if (n < 0 || stat(path, &st))
		die("list", path);
	printf("%s %lld.%09ld\n", ".", (long long)st.st_mtim.tv_sec,
	       st.st_mtim.tv_nsec);
	for (int i = 0; i < n; i++) {
		struct buf bytes = { 0 };
		char file[4096];
		int fd;

		snprintf(file, sizeof(file), "%s/%s", path, list[i]->d_name);
		if (list[i]->d_name[0] != '.') {
			fd = open(file, O_RDONLY | O_CLOEXEC);
			if (fd < 0 || fstat(fd, &st))
				die("open", file);
			if (S_ISREG(st.st_mode))
				slurp(fd, file, &bytes);
			printf("%s %zu %lld.%09ld %016llx %o\n",
			       list[i]->d_name, bytes.len,
			       (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec,
			       (unsigned long long)hash64(bytes.data,
							  bytes.len),
			       st.st_mode);
			close(fd);
		}
		buf_fini(&bytes);
		free(list[i]);
	}
	free(list);
}

int main(int argc, char **argv)
{
	int fd;

	if (argc != 3) {
		fprintf(stderr, "usage: key_files walk|read|state DIR\n");
		return 2;
	}
	if (!strcmp(argv[1], "state")) {
		print_state(argv[2]);
		return 0;
	}
	fd = open(argv[2], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		die("open", argv[2]);
	if (!strcmp(argv[1], "walk"))
		walk(fd, argv[2]);
	else
		read_keys(fd);
	return fflush(stdout) ? 1 : 0;
}
