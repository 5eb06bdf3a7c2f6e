/* SPDX-License-Identifier: BSD-3-Clause */
/* Writes as the user calls them: limits, batches of one, and timing. */
#include <stdlib.h>
#include <time.h>

#include "engine/base/error.h"
#include "engine/db/commit.h"
#include "engine/db/db_log.h"
#include "engine/db/space.h"
#include "engine/db/stall.h"
#include "engine/db/work.h"
#include "engine/kv/batch.h"

/* A batch holds at most one largest value, and something beside it. */
#define BATCH_BYTES_MAX ((size_t)CAIRN_VALUE_MAX + ((size_t)1 << 20))
#define MEMTABLE_MAX    ((UINT64_C(4) << 30) - (UINT64_C(64) << 10))

/* Key and value together up to this size need no allocation in cairn_put(). */
#define STACK_BATCH 1024

/* One commit in 2^SAMPLE_BITS is timed: reading the clock twice costs about
 * 50 ns. All that sync are. */
#define SAMPLE_BITS 4

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* By the number of the last batch, spread (Knuth's multiplicative hashing). */
static bool sampled(struct cairn_db *db)
{
	uint64_t v = atomic_load_explicit(&db->visible, memory_order_relaxed);

	return (v * UINT64_C(0x9e3779b97f4a7c15)) >> (64 - SAMPLE_BITS) == 0;
}

static int check_writable(struct cairn_db *db)
{
	if (db->opts.read_only)
		return error_set(CAIRN_EROFS, "%s: opened read-only", db->dir);
	return work_check_writable(db->work);
}

static int check_merge(const struct cairn_db *db)
{
	if (db->opts.merge)
		return CAIRN_OK;
	if (db->opts.merge_unknown)
		return error_set(CAIRN_ENOTSUP,
				 "%s: the store's merge operator %s is not "
				 "known here",
				 db->dir, db->opts.merge_unknown);
	return error_set(CAIRN_ENOTSUP,
			 "%s: neither OPTIONS nor the option merge_operator "
			 "names a merge operator",
			 db->dir);
}

static int refuse_sync(const struct cairn_db *db)
{
	return error_set(CAIRN_EINVAL,
			 "%s: nothing to sync without a WAL (option "
			 "disable_wal): cairn_flush() makes writes durable",
			 db->dir);
}

static int check_batch(const struct cairn_db *db, const struct commit_batch *b)
{
	struct log_note note;

	if (b->sync && db->opts.disable_wal)
		return refuse_sync(db);
	if (b->sync && b->disable_wal)
		return error_set(CAIRN_EINVAL,
				 "sync and disable_wal exclude each other");
	if (b->len > BATCH_BYTES_MAX ||
	    memtable_batch_cost(b->len, b->count) > MEMTABLE_MAX)
		return error_set(CAIRN_EINVAL,
				 "batch of %zu bytes and %u changes is too "
				 "large",
				 b->len, (unsigned)b->count);
	if (log_note_decode(slice_of(b->bytes, b->len), &note))
		return error_set(CAIRN_EINVAL,
				 "log data reads as one of the notes that "
				 "cairn leaves in its logs");
	if (db->opts.budget_set &&
	    memtable_batch_cost(b->len, b->count) > db->opts.memory_budget)
		return error_set(CAIRN_EINVAL,
				 "batch of %zu bytes and %u changes does not "
				 "fit into the memory_budget of %llu bytes",
				 b->len, (unsigned)b->count,
				 (unsigned long long)db->opts.memory_budget);
	return CAIRN_OK;
}

/*
 * Half a memtable or more is not copied into one: the copy would take as much
 * time and memory as the batch has, and leave no room for others.
 */
static bool is_large(const struct cairn_db *db, size_t len, uint32_t count)
{
	return count &&
	       memtable_batch_cost(len, count) > db->opts.write_buffer_size / 2;
}

/* whole: what b is of, NULL when it is not large. */
static int write_batch(struct cairn_db *db, struct commit_batch *b,
		       const struct cairn_batch *whole)
{
	uint64_t start = 0;
	int err;

	err = check_batch(db, b);
	if (!err)
		err = check_writable(db);
	if (err)
		return err;
	/* Log data alone is worth a record. */
	if (!b->count && (b->len == BATCH_HEADER_LEN || b->disable_wal))
		return b->sync ? cairn_wal_sync(db) : CAIRN_OK;
	if (b->sync || sampled(db))
		start = now_ns();
	err = space_before_write(db, b);
	if (!err && whole && is_large(db, b->len, b->count))
		err = memtable_new_of_batch(whole, &b->large);
	if (!err)
		err = stall_before_write(db, b->len, b->no_slowdown,
					 space_may_use_reserve(b));
	if (!err)
		err = commit_batch(db->commit, b);
	memtable_unref(b->large);
	if (start && !err)
		hist_add(&db->commit_ns, now_ns() - start);
	return err;
}

static void set_options(const struct cairn_db *db, struct commit_batch *b,
			const struct cairn_write_options *o)
{
	b->disable_wal = db->opts.disable_wal;
	if (!o)
		return;
	b->sync = o->sync;
	b->no_slowdown = o->no_slowdown;
	b->disable_wal |= o->disable_wal;
	b->use_reserve = o->use_reserve;
}

int cairn_write(struct cairn_db *db, const struct cairn_write_options *o,
		struct cairn_batch *batch)
{
	struct commit_batch b = {
		.bytes = batch->bytes.data,
		.len = batch->bytes.len,
		.count = batch->count,
	};
	int err = batch->has_merge ? check_merge(db) : CAIRN_OK;

	if (err)
		return err;
	set_options(db, &b, o);
	return write_batch(db, &b, batch);
}

/* One operation that is a large batch by itself. value NULL: none. */
static int write_large(struct cairn_db *db, const struct cairn_write_options *o,
		       uint8_t kind, struct cairn_slice key,
		       const struct cairn_slice *value)
{
	struct cairn_batch *b = cairn_batch_new();
	int err;

	if (!b)
		return CAIRN_ENOMEM;
	err = batch_add(b, kind, key, value);
	if (!err)
		err = cairn_write(db, o, b);
	cairn_batch_free(b);
	return err;
}

static uint8_t *put_lp(uint8_t *p, struct cairn_slice s)
{
	p = put_varint32(p, (uint32_t)s.len);
	if (s.len)
		memcpy(p, s.data, s.len);
	return p + s.len;
}

static int check_limits(struct cairn_slice key, const struct cairn_slice *value)
{
	if (key.len > CAIRN_KEY_MAX)
		return error_set(CAIRN_EINVAL,
				 "key of %zu bytes is longer than %u", key.len,
				 CAIRN_KEY_MAX);
	if (value && value->len > CAIRN_VALUE_MAX)
		return error_set(CAIRN_EINVAL,
				 "value of %zu bytes is longer than %u",
				 value->len, CAIRN_VALUE_MAX);
	return CAIRN_OK;
}

/* A batch of one operation, on the stack when it is small. value NULL: none. */
static int write_one(struct cairn_db *db, const struct cairn_write_options *o,
		     uint8_t kind, struct cairn_slice key,
		     const struct cairn_slice *value)
{
	uint8_t small[BATCH_HEADER_LEN + 1 + 2 * VARINT32_MAX_LEN +
		      STACK_BATCH];
	size_t payload = key.len + (value ? value->len : 0);
	struct commit_batch b = { .bytes = small, .count = 1 };
	uint8_t *p;
	int err;

	err = check_limits(key, value);
	if (err)
		return err;
	if (is_large(db, sizeof(small) - STACK_BATCH + payload, 1))
		return write_large(db, o, kind, key, value);
	if (payload > STACK_BATCH) {
		b.bytes = malloc(sizeof(small) - STACK_BATCH + payload);
		if (!b.bytes)
			return error_nomem();
	}
	p = put_le64(b.bytes, 0);
	p = put_le32(p, 1);
	*p++ = kind;
	p = put_lp(p, key);
	if (value)
		p = put_lp(p, *value);
	b.len = (size_t)(p - b.bytes);
	set_options(db, &b, o);
	err = write_batch(db, &b, NULL);
	if (b.bytes != small)
		free(b.bytes);
	return err;
}

int cairn_put(struct cairn_db *db, const struct cairn_write_options *o,
	      struct cairn_slice key, struct cairn_slice value)
{
	return write_one(db, o, KIND_PUT, key, &value);
}

int cairn_delete(struct cairn_db *db, const struct cairn_write_options *o,
		 struct cairn_slice key)
{
	return write_one(db, o, KIND_DELETE, key, NULL);
}

int cairn_delete_range(struct cairn_db *db, const struct cairn_write_options *o,
		       struct cairn_slice start, struct cairn_slice end)
{
	uint8_t header[BATCH_HEADER_LEN] = { 0 };
	struct commit_batch nothing = { .bytes = header,
					.len = sizeof(header) };
	int err = batch_check_range(start, end);

	if (err)
		return err;
	if (!slice_eq(start, end))
		return write_one(db, o, KIND_RANGE_DELETE, start, &end);
	/* An empty range is never logged; batch.c has why. */
	set_options(db, &nothing, o);
	return write_batch(db, &nothing, NULL);
}

int cairn_merge(struct cairn_db *db, const struct cairn_write_options *o,
		struct cairn_slice key, struct cairn_slice operand)
{
	int err = check_merge(db);

	return err ? err : write_one(db, o, KIND_MERGE, key, &operand);
}

int cairn_single_delete(struct cairn_db *db,
			const struct cairn_write_options *o,
			struct cairn_slice key)
{
	return write_one(db, o, KIND_SINGLE_DELETE, key, NULL);
}

int cairn_wal_sync(struct cairn_db *db)
{
	const struct commit_batch nothing = { .sync = true };

	if (db->opts.read_only)
		return error_set(CAIRN_EROFS, "%s: opened read-only", db->dir);
	if (db->opts.disable_wal)
		return refuse_sync(db);
	return commit_batch(db->commit, &nothing);
}
