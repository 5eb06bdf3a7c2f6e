/* SPDX-License-Identifier: BSD-3-Clause */
/* Tables outside of a database, as the user makes them. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/error.h"
#include "engine/db/options.h"
#include "engine/version/filename.h"

struct cairn_sst_writer {
	struct cairn_env *env;
	char *path;
	struct wfile *file; /* NULL: closed */
	struct table_writer *table;
	struct buf last_key; /* user key; only with entries */
	struct range_del_list ranges;
	struct table_summary summary;
	bool created; /* the file is there and not finished */
	bool over;    /* finished or failed: nothing may be added */
};

static int open_table(struct cairn_sst_writer *w, const struct cairn_options *o)
{
	struct table_write_options opts;
	int err = env_open_write(w->env, w->path, &w->file);

	if (err)
		return err;
	w->created = true;
	options_table_write(o, CAIRN_LEVELS - 1, &opts);
	opts.creation_time = env_now_us(w->env) / 1000000;
	opts.external = true;
	return table_writer_new(w->file, w->path, &opts, &w->table);
}

int cairn_sst_writer_open(const char *path, const struct cairn_options *o,
			  struct cairn_sst_writer **out)
{
	struct cairn_sst_writer *w = calloc(1, sizeof(*w));
	struct cairn_options defaults;
	int err;

	if (!w)
		return error_nomem();
	options_init(&defaults);
	if (!o)
		o = &defaults;
	w->env = o->env ? o->env : env_posix();
	w->path = strdup(path);
	err = w->path ? open_table(w, o) : error_nomem();
	if (err)
		cairn_sst_writer_free(w);
	else
		*out = w;
	options_fini(&defaults);
	return err;
}

static int check_usable(const struct cairn_sst_writer *w)
{
	return w->over ? error_set(CAIRN_EINVAL,
				   "%s: finished, or failed earlier", w->path)
		       : CAIRN_OK;
}

static int check_entry(const struct cairn_sst_writer *w, struct cairn_slice key,
		       struct cairn_slice value)
{
	uint64_t n = table_writer_entries(w->table);
	int err = check_usable(w);

	if (err)
		return err;
	if (key.len > CAIRN_KEY_MAX || value.len > CAIRN_VALUE_MAX)
		return error_set(CAIRN_EINVAL,
				 "%s: entry %" PRIu64 ": key of %zu bytes with "
				 "%zu bytes of value; at most %u and %u are "
				 "allowed",
				 w->path, n + 1, key.len, value.len,
				 CAIRN_KEY_MAX, CAIRN_VALUE_MAX);
	if (n && slice_cmp(buf_slice(&w->last_key), key) >= 0)
		return error_set(CAIRN_EINVAL,
				 "%s: entry %" PRIu64 ": its key is not above "
				 "the one before; keys must ascend",
				 w->path, n + 1);
	return CAIRN_OK;
}

static int add(struct cairn_sst_writer *w, uint8_t kind, struct cairn_slice key,
	       struct cairn_slice value)
{
	struct ikey k = ikey_make(key, 0, kind);
	int err = check_entry(w, key, value);

	if (err)
		return err;
	err = buf_set(&w->last_key, key);
	if (!err)
		err = table_writer_add(w->table, &k, value);
	w->over = err != CAIRN_OK;
	return err;
}

int cairn_sst_writer_put(struct cairn_sst_writer *w, struct cairn_slice key,
			 struct cairn_slice value)
{
	return add(w, KIND_PUT, key, value);
}

int cairn_sst_writer_delete(struct cairn_sst_writer *w, struct cairn_slice key)
{
	return add(w, KIND_DELETE, key, slice_of(NULL, 0));
}

int cairn_sst_writer_merge(struct cairn_sst_writer *w, struct cairn_slice key,
			   struct cairn_slice operand)
{
	return add(w, KIND_MERGE, key, operand);
}

int cairn_sst_writer_delete_range(struct cairn_sst_writer *w,
				  struct cairn_slice start,
				  struct cairn_slice end)
{
	/* The list has no room for what is numbered 0, as these are. */
	const struct range_del d = { start, end, 1 };
	int err = check_usable(w);

	if (err)
		return err;
	if (start.len > CAIRN_KEY_MAX || end.len > CAIRN_KEY_MAX)
		return error_set(CAIRN_EINVAL,
				 "%s: a range from a key of %zu to one of %zu "
				 "bytes; at most %u are allowed",
				 w->path, start.len, end.len, CAIRN_KEY_MAX);
	if (slice_cmp(start, end) > 0)
		return error_set(CAIRN_EINVAL,
				 "%s: a range that ends before it begins",
				 w->path);
	err = range_del_list_add(&w->ranges, &d);
	w->over = err != CAIRN_OK;
	return err;
}

static int by_start(const void *a, const void *b)
{
	const struct range_del *x = a, *y = b;
	int c = slice_cmp(x->start, y->start);

	return c ? c : slice_cmp(x->end, y->end);
}

static int add_ranges(struct cairn_sst_writer *w)
{
	size_t n = w->ranges.n;
	struct range_del *sorted;
	int err = CAIRN_OK;

	if (!n)
		return CAIRN_OK;
	sorted = calloc(n, sizeof(*sorted));
	if (!sorted)
		return error_nomem();
	for (size_t i = 0; i < n; i++) {
		const struct range_del_place *p = &w->ranges.place[i];
		const uint8_t *keys = w->ranges.keys.data + p->start;

		sorted[i].start = slice_of(keys, p->start_len);
		sorted[i].end = slice_of(keys + p->start_len, p->end_len);
	}
	qsort(sorted, n, sizeof(*sorted), by_start);
	for (size_t i = 0; i < n && !err; i++)
		err = table_writer_add_range(w->table, &sorted[i]);
	free(sorted);
	return err;
}

static int sync_parent(const struct cairn_sst_writer *w)
{
	char *parent = filename_parent(w->path);
	int err = parent ? env_sync_dir(w->env, parent) : error_nomem();

	free(parent);
	return err;
}

static int complete(struct cairn_sst_writer *w)
{
	struct wfile *file = w->file;
	int err = add_ranges(w);
	int close_err;

	if (!err)
		err = table_writer_finish(w->table, &w->summary);
	if (!err)
		err = wfile_sync(file);
	w->file = NULL;
	close_err = wfile_close(file);
	err = err ? err : close_err;
	return err ? err : sync_parent(w);
}

static struct cairn_slice user_key(struct cairn_slice encoded)
{
	return slice_of(encoded.data, encoded.len - IKEY_TRAILER_LEN);
}

int cairn_sst_writer_finish(struct cairn_sst_writer *w,
			    struct cairn_sst_info *info)
{
	int err = check_usable(w);

	if (err)
		return err;
	if (!table_writer_entries(w->table) && !w->ranges.n)
		return error_set(
			CAIRN_EINVAL,
			"%s: nothing was added; a table needs an entry",
			w->path);
	w->over = true;
	err = complete(w);
	if (err)
		return err;
	w->created = false;
	if (info)
		*info = (struct cairn_sst_info){
			.size_bytes = w->summary.size,
			.entries = w->summary.entries,
			.smallest = user_key(w->summary.smallest),
			.largest = user_key(w->summary.largest),
		};
	return CAIRN_OK;
}

/* The half file goes; why it was given up is still the message. */
static void take_back(struct cairn_sst_writer *w)
{
	char why[1024];

	snprintf(why, sizeof(why), "%s", cairn_errmsg());
	if (wfile_close(w->file) || env_unlink(w->env, w->path))
		(void)error_set(CAIRN_EIO, "%s", why);
}

void cairn_sst_writer_free(struct cairn_sst_writer *w)
{
	if (!w)
		return;
	table_writer_free(w->table);
	if (w->created)
		take_back(w);
	table_summary_fini(&w->summary);
	range_del_list_fini(&w->ranges);
	buf_fini(&w->last_key);
	free(w->path);
	free(w);
}
