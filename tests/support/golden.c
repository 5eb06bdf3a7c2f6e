/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/support/golden.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/base/error.h"

#define FILE_LEN_MAX (64u << 20)

const char *golden_root(void)
{
	static _Thread_local char path[4096];
	const char *golden = getenv("CAIRN_GOLDEN");
	const char *srcdir = getenv("srcdir");

	if (golden)
		return golden;
	snprintf(path, sizeof(path), "%s/tests/data/golden",
		 srcdir ? srcdir : "..");
	return path;
}

/* Not a failed assertion: this works outside of tests, too. */
static void need(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "golden directories: %s: %s\n", what, cairn_errmsg());
	exit(EXIT_FAILURE);
}

/* ROOT/NAME/FILE, to be freed. */
static char *path_of(const char *name, const char *file)
{
	struct buf b = { 0 };

	need(!buf_printf(&b, "%s/%s/%s", golden_root(), name, file), name);
	need(!buf_append(&b, "", 1), name);
	return (char *)b.data;
}

static int by_name(const void *a, const void *b)
{
	const char *const *x = a;
	const char *const *y = b;

	return strcmp(*x, *y);
}

static void list_sorted(const char *dir, struct env_names *out)
{
	need(env_list(env_posix(), dir, out) == CAIRN_OK, dir);
	if (out->n)
		qsort(out->names, out->n, sizeof(*out->names), by_name);
}

void golden_names(struct env_names *out)
{
	size_t n = 0;

	list_sorted(golden_root(), out);
	for (size_t i = 0; i < out->n; i++) {
		char *db = path_of(out->names[i], "db");
		struct env_stat st;

		/* There is a README beside the directories. */
		if (env_stat(env_posix(), db, &st) == CAIRN_OK && st.is_dir)
			out->names[n++] = out->names[i];
		else
			free(out->names[i]);
		free(db);
	}
	out->n = n;
	need(n > 0, golden_root());
}

/* ------------------------------------------------------------- the files */

void golden_load(const char *name, struct golden *out)
{
	char *dir = path_of(name, "db");
	struct env_names names;

	list_sorted(dir, &names);
	*out = (struct golden){ .name = strdup(name), .n = names.n };
	out->files = calloc(names.n ? names.n : 1, sizeof(*out->files));
	need(out->name && out->files, name);
	for (size_t i = 0; i < names.n; i++) {
		struct buf file = { 0 };
		char *path;
		int err;

		need(!buf_printf(&file, "db/%s", names.names[i]), name);
		need(!buf_append(&file, "", 1), name);
		path = path_of(name, (char *)file.data);
		err = env_read_file(env_posix(), path, FILE_LEN_MAX,
				    &out->files[i].bytes);
		need(err == CAIRN_OK, name);
		out->files[i].name = strdup(names.names[i]);
		need(out->files[i].name, name);
		buf_fini(&file);
		free(path);
	}
	env_names_free(&names);
	free(dir);
}

void golden_fini(struct golden *g)
{
	for (size_t i = 0; i < g->n; i++) {
		free(g->files[i].name);
		buf_fini(&g->files[i].bytes);
	}
	free(g->files);
	free(g->name);
	*g = (struct golden){ 0 };
}

void golden_write(const struct golden *g, struct cairn_env *env,
		  const char *dir)
{
	int err = env_mkdir(env, dir);

	need(err == CAIRN_OK, dir);
	for (size_t i = 0; i < g->n; i++) {
		struct cairn_slice bytes = buf_slice(&g->files[i].bytes);
		struct buf path = { 0 };
		struct wfile *f;

		need(!buf_printf(&path, "%s/%s", dir, g->files[i].name), dir);
		need(!buf_append(&path, "", 1), dir);
		err = env_open_write(env, (char *)path.data, &f);
		need(err == CAIRN_OK, dir);
		need(!wfile_append(f, bytes.data, bytes.len), dir);
		need(!wfile_close(f), dir);
		buf_fini(&path);
	}
}

/* ------------------------------------------------------- what they hold */

bool golden_text(const char *name, const char *file, struct buf *out)
{
	char *path = path_of(name, file);
	int err;

	buf_clear(out);
	err = env_read_file(env_posix(), path, FILE_LEN_MAX, out);
	need(err >= 0, name);
	free(path);
	if (err)
		return false;
	need(!buf_append(out, "", 1), name);
	return true;
}

char *golden_meta(const char *name, const char *key)
{
	struct buf text = { 0 };
	size_t len = strlen(key);
	char *value = NULL;

	need(golden_text(name, "meta", &text), "no meta");
	for (char *p = (char *)text.data; p && !value;) {
		char *line = strsep(&p, "\n");

		if (!strncmp(line, key, len) && line[len] == '=')
			value = strdup(line + len + 1);
	}
	buf_fini(&text);
	return value;
}

static unsigned nibble(char c)
{
	const char *digits = "0123456789abcdef";
	const char *at = c ? strchr(digits, c) : NULL;

	need(at, "not a hex digit");
	return (unsigned)(at - digits);
}

/* Decode hex digits in place up to end; returns what they are. */
static struct cairn_slice unhex(char *text, char end)
{
	uint8_t *to = (uint8_t *)text;
	size_t n = 0;

	for (; *text != end; text += 2)
		to[n++] = (uint8_t)(nibble(text[0]) << 4 | nibble(text[1]));
	return slice_of(to, n);
}

bool golden_rows(const char *name, const char *file, struct golden_rows *out)
{
	size_t lines = 0;
	char *p;

	*out = (struct golden_rows){ 0 };
	if (!golden_text(name, file, &out->bytes))
		return false;
	for (size_t i = 0; i < out->bytes.len; i++)
		lines += out->bytes.data[i] == '\n';
	out->row = calloc(lines ? lines : 1, sizeof(*out->row));
	need(out->row, name);
	p = (char *)out->bytes.data;
	while (*p) {
		struct golden_row *row = &out->row[out->n++];
		char *tab = strchr(p, '\t');
		char *end = strchr(p, '\n');

		need(tab && end && tab < end, name);
		row->key = unhex(p, '\t');
		row->value = unhex(tab + 1, '\n');
		p = end + 1;
	}
	return true;
}

void golden_rows_fini(struct golden_rows *r)
{
	free(r->row);
	buf_fini(&r->bytes);
	*r = (struct golden_rows){ 0 };
}

const struct golden_row *golden_find(const struct golden_rows *r,
				     struct cairn_slice key)
{
	size_t lo = 0;
	size_t hi = r->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		int c = slice_cmp(r->row[mid].key, key);

		if (c == 0)
			return &r->row[mid];
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

size_t golden_seqnos(const char *name, uint64_t **out)
{
	struct env_names names;
	char *dir = path_of(name, "");
	size_t n = 0;

	list_sorted(dir, &names);
	*out = calloc(names.n ? names.n : 1, sizeof(**out));
	need(*out, name);
	for (size_t i = 0; i < names.n; i++)
		if (!strncmp(names.names[i], "expected.seq-", 13))
			(*out)[n++] = strtoull(names.names[i] + 13, NULL, 10);
	env_names_free(&names);
	free(dir);
	return n;
}
