/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An engine as the benchmark sees it. Each engine is a program of its own: the
 * driver (driver.c) and one file peer_x that defines bench_peer. The RocksDB
 * and LevelDB ones are C++, because their C interfaces copy every value twice.
 *
 * Functions return 0 or, after a message to stderr, something else.
 */
#ifndef CAIRN_TESTS_BENCH_PEER_H
#define CAIRN_TESTS_BENCH_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What every engine gets, as far as it has such a thing. */
struct bench_budget {
	size_t write_buffer; /* bytes of one memtable */
	int write_buffers;   /* memtables in memory */
	size_t cache;        /* bytes of cached blocks */
	int bloom_bits;      /* per key */
	int compactions;     /* at once, beside one flush */
	bool compress;       /* with snappy */
	bool sync;           /* every write is to survive a power cut */
};

struct bench_slice {
	const char *data;
	size_t len;
};

struct bench_peer {
	const char *name;

	/* Open the store in dir, making it when there is none. */
	int (*open)(const char *dir, const struct bench_budget *budget,
		    void **db);
	int (*close)(void *db);

	/* What one client thread needs for its calls; NULL is fine. */
	int (*client_new)(void *db, void **client);
	void (*client_free)(void *db, void *client);

	int (*put)(void *db, struct bench_slice key, struct bench_slice value);
	/* Copy the value of key, which is no longer than cap, to value; *found
	 * says whether there is one. */
	int (*get)(void *db, void *client, struct bench_slice key, char *value,
		   size_t cap, size_t *len, bool *found);

	/* Positioning calls return whether there is an entry, and at the end
	 * iter_free() whether all went well. */
	int (*iter_new)(void *db, void *client, void **iter);
	int (*iter_free)(void *iter);
	bool (*first)(void *iter);
	bool (*last)(void *iter);
	bool (*seek)(void *iter, struct bench_slice key);
	bool (*next)(void *iter);
	bool (*prev)(void *iter);
	struct bench_slice (*key)(void *iter);
	struct bench_slice (*value)(void *iter);

	/* Write out what is in memory, and wait until nothing is left to do. */
	int (*settle)(void *db);
};

extern const struct bench_peer bench_peer;

#ifdef __cplusplus
}
#endif

#endif
