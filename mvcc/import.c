/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A snapshot of etcd into a new store.
 *
 * etcd's file has a bucket `key` whose keys are revisions, main:8 '_' sub:8 and
 * a 't' behind those of tombstones, all in order, and whose values are rows
 * (kv_proto.h). It is read twice: first the puts, then the tombstones, which
 * look up the version they end among them. A last walk over the new rows, which
 * shows the versions of a key side by side, tells which large values have ended
 * and which keys are on leases.
 */
#include "mvcc/import.h"

#include <inttypes.h>
#include <stdlib.h>

#include "engine/base/error.h"
#include "engine/env/env.h"
#include "mvcc/bbolt.h"
#include "mvcc/import_target.h"
#include "mvcc/kv_proto.h"
#include "mvcc/sha256.h"

#define REVISION_LEN  17u
#define TOMBSTONE_LEN 18u
#define LEASE_KEY_LEN 8u

/* A snapshot is a whole number of these, and then its checksum. */
#define SECTOR_LEN 512u

/* Steps of the progress that is told. */
#define SHARE_CHECKSUM 100u
#define SHARE_PUTS     700u
#define SHARE_ENDS     100u
#define SHARE_LATER    100u
#define SHARE_ALL      1000u

struct import {
	const struct mvcc_import_options *opts;
	struct mvcc_import_report report;
	struct bbolt *file;
	struct bbolt_bucket keys;
	struct import_target to;
	int64_t first; /* main of the first revision in the file */
	int64_t last;
	struct buf key;
	struct buf value;
};

/* Tell that part of share is done, after base others. */
static int tell(struct import *im, uint64_t base, uint64_t share, uint64_t done,
		uint64_t total)
{
	uint64_t part =
		total ? (uint64_t)((double)done / (double)total * (double)share)
		      : share;

	if (part > share)
		part = share;
	if (im->opts->progress &&
	    !im->opts->progress(im->opts->ctx, base + part, SHARE_ALL))
		return error_set(CAIRN_EABORTED, "the import was given up");
	return CAIRN_OK;
}

static int bad_item(const struct import *im, const struct bbolt_item *item,
		    const char *what)
{
	return error_set(CAIRN_ECORRUPT, "%s: offset %" PRIu64 ": %s",
			 bbolt_path(im->file), item->at, what);
}

/* ---------------------------------------------------------------- checksum */

static int sum_file(struct import *im, struct rfile *f, uint64_t len,
		    uint8_t out[SHA256_LEN])
{
	const size_t piece = 1 << 20;
	uint8_t *p = malloc(piece);
	struct sha256 s;
	uint64_t at = 0;
	int err = p ? CAIRN_OK : error_nomem();

	sha256_init(&s);
	while (!err && at < len) {
		size_t n = len - at < piece ? (size_t)(len - at) : piece;
		size_t got = 0;

		err = rfile_read(f, at, p, n, &got);
		if (!err && got < n)
			err = error_set(CAIRN_ECORRUPT,
					"%s: offset %" PRIu64 ": the file ends",
					bbolt_path(im->file), at + got);
		if (!err) {
			sha256_add(&s, p, n);
			at += n;
			err = tell(im, 0, SHARE_CHECKSUM, at, len);
		}
	}
	if (!err)
		sha256_end(&s, out);
	free(p);
	return err;
}

static int verify_sum(struct import *im, struct rfile *f, uint64_t len)
{
	uint8_t want[SHA256_LEN], sum[SHA256_LEN];
	size_t got;
	int err = rfile_read(f, len, want, SHA256_LEN, &got);

	if (!err)
		err = sum_file(im, f, len, sum);
	if (!err && (got < SHA256_LEN || memcmp(want, sum, SHA256_LEN) != 0))
		err = error_set(CAIRN_ECORRUPT,
				"%s: offset %" PRIu64
				": the checksum at the end is not that of the "
				"file",
				bbolt_path(im->file), len);
	im->report.checksum = !err;
	return err;
}

/* A file that etcd has open has no checksum, and a length that tells so. */
static int check_sum(struct import *im, struct cairn_env *env)
{
	uint64_t len = bbolt_info(im->file)->file_len;
	struct rfile *f;
	int err;

	if (len % SECTOR_LEN != SHA256_LEN)
		return CAIRN_OK;
	err = env_open_read(env, bbolt_path(im->file), &f);
	if (err)
		return err;
	err = verify_sum(im, f, len - SHA256_LEN);
	rfile_close(f);
	return err;
}

/* --------------------------------------------------------------- revisions */

struct revision {
	int64_t main;
	int64_t sub;
	bool tombstone;
};

static bool revision_decode(struct cairn_slice k, struct revision *out)
{
	uint64_t main, sub;

	if ((k.len != REVISION_LEN && k.len != TOMBSTONE_LEN) ||
	    k.data[8] != '_' ||
	    (k.len == TOMBSTONE_LEN && k.data[REVISION_LEN] != 't'))
		return false;
	main = load_be64(k.data);
	sub = load_be64(k.data + 9);
	if (main > INT64_MAX || sub > INT64_MAX)
		return false;
	*out = (struct revision){ (int64_t)main, (int64_t)sub,
				  k.len == TOMBSTONE_LEN };
	return true;
}

/* The bucket name. CAIRN_NOT_FOUND when there is none. */
static int open_bucket(struct import *im, const char *name,
		       struct bbolt_bucket *out)
{
	struct bbolt_bucket root = bbolt_root(im->file);

	return bbolt_bucket_open(&root, slice_str(name), out);
}

/* A revision among etcd's marks; 0 when it is not there. */
static int get_mark(struct import *im, const struct bbolt_bucket *meta,
		    const char *name, int64_t *out)
{
	struct bbolt_cursor *c;
	struct bbolt_item item;
	struct revision rev;
	int err = bbolt_cursor_new(meta, &c);

	*out = 0;
	if (err)
		return err;
	err = bbolt_cursor_seek(c, slice_str(name));
	if (!err)
		err = bbolt_cursor_next(c, &item);
	if (!err && slice_eq(item.key, slice_str(name))) {
		if (item.is_bucket || !revision_decode(item.value, &rev) ||
		    rev.main == INT64_MAX)
			err = bad_item(im, &item, "malformed revision");
		else
			*out = rev.main;
	}
	bbolt_cursor_free(c);
	return err == CAIRN_NOT_FOUND ? CAIRN_OK : err;
}

/*
 * How far history was compacted. etcd writes down what it is about to remove,
 * and again when it has been: from the first on, older revisions are refused.
 */
static int read_bound(struct import *im)
{
	struct bbolt_bucket meta = { 0 };
	int64_t scheduled = 0, finished = 0;
	int err = open_bucket(im, "meta", &meta);

	if (err == CAIRN_NOT_FOUND)
		return CAIRN_OK;
	if (!err)
		err = get_mark(im, &meta, "scheduledCompactRev", &scheduled);
	if (!err)
		err = get_mark(im, &meta, "finishedCompactRev", &finished);
	bbolt_bucket_release(&meta);
	im->report.forgotten = scheduled > finished ? scheduled : finished;
	im->to.forgotten = im->report.forgotten;
	return err;
}

/* The first and the last revision, as far as the file has them. */
static int read_ends(struct import *im)
{
	struct bbolt_cursor *c;
	struct bbolt_item item;
	struct revision rev;
	int err = bbolt_cursor_new(&im->keys, &c);

	if (err)
		return err;
	err = bbolt_cursor_next(c, &item);
	if (!err && revision_decode(item.key, &rev))
		im->first = rev.main;
	if (!err)
		err = bbolt_cursor_last(c, &item);
	if (!err && revision_decode(item.key, &rev))
		im->last = rev.main;
	bbolt_cursor_free(c);
	return err == CAIRN_NOT_FOUND ? CAIRN_OK : err;
}

static uint64_t distance(int64_t from, int64_t to)
{
	return to > from ? (uint64_t)to - (uint64_t)from : 0;
}

/* What no row of etcd's can be, and what no row of ours can. */
static int check_row(const struct import *im, const struct bbolt_item *item,
		     const struct revision *rev, const struct kv_proto *kv)
{
	if (!kv->key.len)
		return bad_item(im, item, "revision without a key");
	if (kv->key.len > MVCC_KEY_MAX)
		return error_set(CAIRN_ENOTSUP,
				 "%s: offset %" PRIu64 ": revision %" PRId64
				 " is of a key of %zu bytes; at most %u are "
				 "allowed",
				 bbolt_path(im->file), item->at, rev->main,
				 kv->key.len, MVCC_KEY_MAX);
	if (rev->tombstone)
		return CAIRN_OK;
	if (kv->mod_rev != rev->main || kv->create_rev < 1 ||
	    kv->create_rev > rev->main || kv->version < 1)
		return bad_item(im, item, "row with impossible revisions");
	if (kv->lease < 0)
		return error_set(CAIRN_ENOTSUP,
				 "%s: offset %" PRIu64 ": revision %" PRId64
				 " is on lease %" PRId64
				 "; only positive ids are allowed",
				 bbolt_path(im->file), item->at, rev->main,
				 kv->lease);
	return CAIRN_OK;
}

/* Decode an item of the bucket `key`. last is the one before. */
static int take_item(const struct import *im, const struct bbolt_item *item,
		     struct revision *last, struct kv_proto *kv)
{
	struct revision rev;

	if (item->is_bucket || !revision_decode(item->key, &rev))
		return bad_item(im, item, "malformed revision");
	/* The order of the bytes is that of the numbers; but a put and a
	 * tombstone may stand side by side. */
	if (rev.main < 1 || rev.main == INT64_MAX || rev.sub > INT32_MAX ||
	    (rev.main == last->main && rev.sub == last->sub))
		return bad_item(im, item, "impossible revision");
	*last = rev;
	if (kv_proto_decode(item->value, kv))
		return bad_item(im, item, "malformed row");
	return check_row(im, item, &rev, kv);
}

static int add_put(struct import *im, const struct revision *rev,
		   const struct kv_proto *kv)
{
	struct mvcc_row row = {
		.key = kv->key,
		.main = rev->main,
		.sub = (int32_t)rev->sub,
		.create_rev = kv->create_rev,
		.version = kv->version,
		.lease = kv->lease,
		.value = kv->value,
	};

	im->report.rows++;
	return import_target_row(&im->to, &row);
}

/* The version that the put before (main, sub) made; 0 when there is none. it
 * shows puts only. */
static int ended_version(struct import *im, struct cairn_iter *it,
			 const struct revision *rev, struct cairn_slice key,
			 int64_t *out)
{
	struct mvcc_row row = { .key = key };
	struct enc_row at;
	int err = enc_row_key(&im->key, key, rev->main, (int32_t)rev->sub);

	*out = 0;
	if (!err)
		err = enc_prefix(&im->value, key);
	if (err)
		return err;
	cairn_iter_seek_prefix_ge(it, buf_slice(&im->key));
	if (!cairn_iter_valid(it) ||
	    !slice_starts_with(cairn_iter_key(it), buf_slice(&im->value)))
		return cairn_iter_status(it);
	err = enc_row_parse(cairn_iter_key(it), &at);
	row.main = at.main;
	row.sub = at.sub;
	if (!err)
		err = enc_row_value_parse(cairn_iter_value(it),
					  cairn_iter_value(it).len, &row, NULL,
					  NULL);
	if (!err)
		*out = row.version;
	return err;
}

static int add_tombstone(struct import *im, struct cairn_iter *it,
			 const struct revision *rev, const struct kv_proto *kv)
{
	struct mvcc_row row = {
		.key = kv->key,
		.main = rev->main,
		.sub = (int32_t)rev->sub,
		.deleted = true,
	};
	int err = ended_version(im, it, rev, kv->key, &row.version);

	im->report.rows++;
	return err ? err : import_target_row(&im->to, &row);
}

/* All puts, or with an iterator that shows them, all tombstones. */
static int add_rows(struct import *im, struct cairn_iter *it, uint64_t base,
		    uint64_t share)
{
	struct revision rev = { .main = 0 };
	struct bbolt_cursor *c;
	struct bbolt_item item;
	uint64_t n = 0;
	int err = bbolt_cursor_new(&im->keys, &c);

	if (err)
		return err;
	while (!(err = bbolt_cursor_next(c, &item))) {
		struct kv_proto kv;

		err = take_item(im, &item, &rev, &kv);
		if (!err && !it && rev.tombstone)
			im->report.tombstones++;
		else if (!err && !it)
			err = add_put(im, &rev, &kv);
		else if (!err && rev.tombstone)
			err = add_tombstone(im, it, &rev, &kv);
		if (!err && n++ % 1024 == 0)
			err = tell(im, base, share,
				   distance(im->first, rev.main),
				   distance(im->first, im->last));
		if (err)
			break;
	}
	bbolt_cursor_free(c);
	return err == CAIRN_NOT_FOUND ? CAIRN_OK : err;
}

static int add_tombstones(struct import *im)
{
	struct cairn_iter *it;
	int err;

	if (!im->report.tombstones)
		return CAIRN_OK;
	err = import_target_write(&im->to);
	if (!err)
		err = cairn_iter_new(im->to.db, NULL, &it);
	if (err)
		return err;
	err = add_rows(im, it, SHARE_CHECKSUM + SHARE_PUTS, SHARE_ENDS);
	cairn_iter_free(it);
	return err;
}

/* ------------------------------------------------------------------ leases */

static int add_lease(struct import *im, const struct bbolt_item *item)
{
	struct lease_proto l;
	struct enc_lease mine;
	int err;

	if (item->is_bucket || item->key.len != LEASE_KEY_LEN ||
	    lease_proto_decode(item->value, &l) ||
	    (uint64_t)l.id != load_be64(item->key.data) || !l.id)
		return bad_item(im, item, "malformed lease");
	if (l.id < 0)
		return error_set(CAIRN_ENOTSUP,
				 "%s: offset %" PRIu64 ": lease %" PRId64
				 "; only positive ids are allowed",
				 bbolt_path(im->file), item->at, l.id);
	if (l.ttl < 1 || l.ttl > MVCC_LEASE_TTL_MAX || l.remaining < 0)
		return bad_item(im, item, "lease with an impossible ttl");
	mine = (struct enc_lease){
		.id = l.id,
		.ttl = l.ttl,
		.left = l.remaining < l.ttl ? l.remaining : l.ttl,
	};
	im->report.leases++;
	err = enc_lease(&im->key, &im->value, &mine);
	return err ? err
		   : import_target_put(&im->to, buf_slice(&im->key),
				       buf_slice(&im->value));
}

static int add_leases(struct import *im)
{
	struct bbolt_bucket leases = { 0 };
	struct bbolt_cursor *c = NULL;
	struct bbolt_item item;
	int err = open_bucket(im, "lease", &leases);

	if (err == CAIRN_NOT_FOUND)
		return CAIRN_OK;
	if (!err)
		err = bbolt_cursor_new(&leases, &c);
	while (!err && !(err = bbolt_cursor_next(c, &item)))
		err = add_lease(im, &item);
	bbolt_cursor_free(c);
	bbolt_bucket_release(&leases);
	return err == CAIRN_NOT_FOUND ? CAIRN_OK : err;
}

/* --------------------------------------------------------- the last walk */

/* Rows of one key, the newest first. */
struct walk {
	struct import *im;
	struct buf prefix; /* of the key; empty: none yet */
	struct buf plain;
	struct enc_ended newer; /* revision of the row before of this key */
};

/* The newest row of a key: its lease counts, if there still is one. */
static int attach(struct walk *w, int64_t lease)
{
	const struct enc_lease probe = { .id = lease, .ttl = 1 };
	struct import *im = w->im;
	struct cairn_pinned pin = { 0 };
	int err = enc_lease(&im->key, &im->value, &probe);

	if (!err)
		err = cairn_get(im->to.db, NULL, buf_slice(&im->key), &pin);
	cairn_pinned_release(&pin);
	if (err)
		return err == CAIRN_NOT_FOUND ? CAIRN_OK : err;
	im->report.attached++;
	err = enc_plain(buf_slice(&w->prefix), &w->plain);
	if (!err)
		err = enc_attached_key(&im->key, lease, buf_slice(&w->plain));
	return err ? err
		   : import_target_put(&im->to, buf_slice(&im->key),
				       slice_of(NULL, 0));
}

/* A large value ended with the row that came next. */
static int end_object(struct walk *w, uint64_t object)
{
	struct import *im = w->im;
	int err;

	w->newer.object = object;
	err = enc_ended(&im->key, &im->value, &w->newer);
	return err ? err
		   : import_target_put(&im->to, buf_slice(&im->key),
				       buf_slice(&im->value));
}

static int walk_row(struct walk *w, struct cairn_slice k, struct cairn_slice v)
{
	struct mvcc_row row = { .key = k };
	struct enc_row at;
	bool newest;
	int err = enc_row_parse(k, &at);

	if (err)
		return err;
	row.main = at.main;
	row.sub = at.sub;
	newest = !slice_eq(at.prefix, buf_slice(&w->prefix));
	if (newest)
		err = buf_set(&w->prefix, at.prefix);
	if (!err)
		err = enc_row_value_parse(v, v.len, &row, NULL, NULL);
	if (!err && newest && row.lease)
		err = attach(w, row.lease);
	if (!err && !newest && row.object)
		err = end_object(w, row.object);
	w->newer = (struct enc_ended){ .main = at.main,
				       .sub = at.sub,
				       .to = UINT64_MAX };
	return err;
}

static int walk_rows(struct walk *w)
{
	const struct cairn_read_options rows = { .lower = slice_str("k"),
						 .upper = slice_str("l") };
	struct import *im = w->im;
	struct cairn_iter *it;
	uint64_t n = 0;
	int err = cairn_iter_new(im->to.db, &rows, &it);

	if (err)
		return err;
	for (bool on = cairn_iter_first(it); on && !err;
	     on = cairn_iter_next(it)) {
		err = walk_row(w, cairn_iter_key(it), cairn_iter_value(it));
		if (!err && n++ % 1024 == 0)
			err = tell(im, SHARE_ALL - SHARE_LATER, SHARE_LATER, n,
				   im->report.rows);
	}
	if (!err)
		err = cairn_iter_status(it);
	cairn_iter_free(it);
	return err;
}

/* What only neighbouring versions of a key tell. */
static int add_what_follows(struct import *im)
{
	struct walk w = { .im = im };
	int err;

	if (!im->report.leases && im->to.next_object == 1)
		return CAIRN_OK;
	err = import_target_write(&im->to);
	if (!err)
		err = walk_rows(&w);
	buf_fini(&w.prefix);
	buf_fini(&w.plain);
	return err;
}

/* --------------------------------------------------------------- the whole */

/* Whether there are users, who will have to be made again. */
static int look_for_users(struct import *im)
{
	struct bbolt_bucket users = { 0 };
	struct bbolt_cursor *c = NULL;
	struct bbolt_item item;
	int err = open_bucket(im, "authUsers", &users);

	if (!err)
		err = bbolt_cursor_new(&users, &c);
	if (!err)
		err = bbolt_cursor_next(c, &item);
	im->report.users = !err;
	bbolt_cursor_free(c);
	bbolt_bucket_release(&users);
	return err == CAIRN_NOT_FOUND ? CAIRN_OK : err;
}

static int open_snapshot(struct import *im, const char *path)
{
	struct cairn_env *env = im->opts->env ? im->opts->env : env_posix();
	int err = bbolt_open(env, path, &im->file);

	if (err == CAIRN_NOT_FOUND)
		err = error_set(CAIRN_ENOENT, "%s: no such file", path);
	if (!err) {
		im->report.snapshot_older = bbolt_info(im->file)->meta_damaged;
		err = check_sum(im, env);
	}
	if (err)
		return err;
	err = open_bucket(im, "key", &im->keys);
	if (err == CAIRN_NOT_FOUND)
		err = error_set(CAIRN_EKIND,
				"%s: a file of bbolt without the bucket 'key': "
				"not a snapshot of etcd",
				path);
	return err ? err : read_ends(im);
}

static int fill(struct import *im)
{
	int err = read_bound(im);

	if (!err)
		err = look_for_users(im);
	if (!err)
		err = add_rows(im, NULL, SHARE_CHECKSUM, SHARE_PUTS);
	if (!err)
		err = add_tombstones(im);
	if (!err)
		err = add_leases(im);
	if (!err)
		err = add_what_follows(im);
	return err ? err : tell(im, SHARE_ALL, 0, 1, 1);
}

static int import(struct import *im, const char *dir)
{
	int err = import_target_open(&im->to, dir, im->opts);

	if (err)
		return err;
	err = fill(im);
	if (!err)
		err = import_target_finish(&im->to);
	if (err)
		import_target_abandon(&im->to, err);
	return err;
}

int mvcc_import_etcd(const char *snapshot, const char *dir,
		     const struct mvcc_import_options *opts,
		     struct mvcc_import_report *report)
{
	static const struct mvcc_import_options defaults = { 0 };
	struct import im = { .opts = opts ? opts : &defaults };
	int err = open_snapshot(&im, snapshot);

	if (!err)
		err = import(&im, dir);
	im.report.current =
		im.last > im.report.forgotten ? im.last : im.report.forgotten;
	if (im.report.current < 1)
		im.report.current = 1;
	if (!err)
		*report = im.report;
	bbolt_bucket_release(&im.keys);
	bbolt_close(im.file);
	buf_fini(&im.value);
	buf_fini(&im.key);
	return err;
}
