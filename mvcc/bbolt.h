/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reading the files of bbolt, the database below etcd.
 *
 * A file is pages of one size, a power of two. Pages 0 and 1 are the metas: the
 * one with the higher transaction number and a right checksum says which pages
 * count and where the root bucket begins. A bucket is a B+ tree of branch and
 * leaf pages whose leaves hold keys with values or with other buckets; a small
 * bucket is kept within the value, as one leaf. A page that needs more room
 * goes on into the pages behind it ("overflow"). Numbers are those of the
 * machine that wrote the file; files of big-endian ones are refused.
 *
 *   page    id:8 flags:2 count:2 overflow:4, then count elements, then bytes
 *   branch  pos:4 ksize:4 page:8              of an element, pos from its start
 *   leaf    flags:4 pos:4 ksize:4 vsize:4     flags 1: the value is a bucket
 *   bucket  root:8 sequence:8                 root 0: a page follows, as a leaf
 *   meta    magic:4 version:4 page size:4 flags:4 root bucket:16 freelist:8
 *           pages:8 txid:8 checksum:8         FNV-1a of all that precedes it
 *
 * Nothing that is read is trusted: a page lies inside the file and below the
 * meta's count, is what its place asks for, keeps its bytes in order inside of
 * it, and its keys ascend and lie between those of its parent. A walk reaches
 * no page twice, so it ends, and takes no more memory than the file is long.
 * What does not hold is CAIRN_ECORRUPT, the message naming file and offset.
 *
 * There is no lock here: the file must not be written to meanwhile. An open
 * file may be read by any number of threads, a cursor by one.
 */
#ifndef CAIRN_MVCC_BBOLT_H
#define CAIRN_MVCC_BBOLT_H

#include "engine/base/buf.h"

struct bbolt;

struct bbolt_info {
	uint64_t file_len;
	uint64_t pages; /* that count; their bytes are in the file */
	uint64_t txid;
	uint32_t page_size;
	/* The other meta is damaged: this may be the state before the last
	 * commit, as it is after a crash while a meta was written. */
	bool meta_damaged;
};

/*
 * CAIRN_NOT_FOUND when there is no such file, CAIRN_ECORRUPT when it has no
 * meta that counts, or ends too early, CAIRN_ENOTSUP for other versions of the
 * format. path is copied.
 */
MUST_CHECK int bbolt_open(struct cairn_env *env, const char *path,
			  struct bbolt **out);
/* NULL is allowed. */
void bbolt_close(struct bbolt *b);
const struct bbolt_info *bbolt_info(const struct bbolt *b);
const char *bbolt_path(const struct bbolt *b);

/* Buckets in buckets, at most; a bucket that holds itself is met here. */
#define BBOLT_NESTED_MAX 32u

/* Where a bucket is. Borrows nothing but the file. */
struct bbolt_bucket {
	struct bbolt *file;
	uint64_t root; /* page; 0: it is in page */
	uint64_t sequence;
	struct buf page; /* of an inline bucket */
	uint64_t at;     /* in the file: what messages name */
	unsigned depth;  /* 0: the root bucket */
};

/* The bucket that all others are in. Nothing to free. */
struct bbolt_bucket bbolt_root(struct bbolt *b);

/*
 * The bucket name in parent. CAIRN_NOT_FOUND when there is none, CAIRN_ECORRUPT
 * when it is a plain value. To be released.
 */
MUST_CHECK int bbolt_bucket_open(const struct bbolt_bucket *parent,
				 struct cairn_slice name,
				 struct bbolt_bucket *out);
/* Safe on a zeroed struct, and twice. */
void bbolt_bucket_release(struct bbolt_bucket *b);

struct bbolt_item {
	struct cairn_slice key;
	struct cairn_slice value; /* of a bucket: its bytes */
	bool is_bucket;
	uint64_t at; /* of the key in the file */
};

/* Walks the items of a bucket in ascending order of keys. The bucket must stay
 * until the cursor is freed. */
struct bbolt_cursor;
MUST_CHECK int bbolt_cursor_new(const struct bbolt_bucket *b,
				struct bbolt_cursor **out);
/* NULL is allowed. */
void bbolt_cursor_free(struct bbolt_cursor *c);

/* The next bbolt_cursor_next() gives the first item with a key >= key. A new
 * cursor stands before the first of all. */
MUST_CHECK int bbolt_cursor_seek(struct bbolt_cursor *c,
				 struct cairn_slice key);
/* CAIRN_OK and the next item, which lives until the next call with c,
 * CAIRN_NOT_FOUND behind the last one, or a failure, which stays. */
MUST_CHECK int bbolt_cursor_next(struct bbolt_cursor *c,
				 struct bbolt_item *out);

/* The last item, CAIRN_NOT_FOUND when there is none. bbolt_cursor_next() then
 * finds no more. */
MUST_CHECK int bbolt_cursor_last(struct bbolt_cursor *c,
				 struct bbolt_item *out);

/* The bucket that item, one of parent's, is. To be released. */
MUST_CHECK int bbolt_item_bucket(const struct bbolt_bucket *parent,
				 const struct bbolt_item *item,
				 struct bbolt_bucket *out);

#endif
