/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A store with revisions as bench-mvcc sees it: cairn in this process, or an
 * etcd on the loopback. Functions return 0 or, after a message to stderr,
 * something else.
 */
#ifndef CAIRN_TESTS_BENCH_MVCC_PEER_H
#define CAIRN_TESTS_BENCH_MVCC_PEER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "engine/base/slice.h"
#include "tests/bench/workload.h"

/* Puts of one transaction while loading: what etcd allows. */
#define MVCC_BENCH_TXN 128

/*
 * The many keys, which have one version while they are read; as many that
 * measured puts write, so that who puts faster has not more to read; those with
 * a long history; the watched one.
 */
enum mvcc_key_kind { KEY_MANY, KEY_PUT, KEY_HISTORY, KEY_WATCHED };
void mvcc_bench_key(enum mvcc_key_kind kind, uint64_t i,
		    char key[BENCH_KEY_LEN + 1]);

/* Where watchers say what they got. Any number of threads. */
struct watch_sink {
	_Atomic bool stop; /* they are to return at the next event */
	pthread_mutex_t mu;
	pthread_cond_t cond;
	uint64_t created, events;
	uint64_t awaited; /* of both together; signal cond when reached */
};
/* Returns false when the watchers are to return. */
bool watch_sink_tell(struct watch_sink *s, uint64_t created, uint64_t events);

struct mvcc_memory {
	uint64_t now, peak; /* resident bytes of the process */
};

struct mvcc_peer {
	const char *name;

	/* A new store, under scratch. */
	int (*start)(const char *scratch, const struct bench_values *values,
		     void **store);
	void (*stop)(void *store);
	/* Stop cleanly, start again, and read key: *seconds for the latter
	 * two. */
	int (*restart)(void *store, struct cairn_slice key, double *seconds);

	/* What one thread needs for its calls. */
	int (*client_new)(void *store, void **client);
	void (*client_free)(void *client);

	/* Values of the given version for n <= MVCC_BENCH_TXN of the many keys,
	 * from number first on, as one revision. */
	int (*put_many)(void *client, uint64_t first, unsigned n,
			uint64_t version);
	int (*put)(void *client, struct cairn_slice key,
		   struct cairn_slice value, bool sync);
	/* As of rev, 0: now. There must be such a key, and the value is
	 * checked. */
	int (*get)(void *client, struct cairn_slice key, int64_t rev);
	/* All n keys in [from, to). */
	int (*range)(void *client, struct cairn_slice from,
		     struct cairn_slice to, unsigned n);
	/* All n versions of a key, which has none before revision from. */
	int (*history)(void *client, struct cairn_slice key, int64_t from,
		       unsigned n);
	/* Be n watchers of key, from now until sink says no. */
	int (*watch)(void *client, struct cairn_slice key, unsigned n,
		     struct watch_sink *sink);

	int (*current)(void *client, int64_t *rev);
	/* Forget what is before rev, and give its space back. */
	int (*forget)(void *client, int64_t rev);

	void (*memory)(void *store, struct mvcc_memory *out);
	/* Where the data lie: of etcd without its log, as all of it is in the
	 * database, too. */
	void (*data_dir)(void *store, char *path, size_t cap);
};

extern const struct mvcc_peer mvcc_peer_cairn;
extern const struct mvcc_peer mvcc_peer_etcd;

/* Of a process; pid 0: this one. The peak is since mvcc_bench_reset_peak(). */
void mvcc_bench_memory(int pid, struct mvcc_memory *out);
void mvcc_bench_reset_peak(int pid);
double mvcc_bench_now(void); /* seconds */
/* Whether the value belongs to the key, and if not, a message. */
int mvcc_bench_check(const struct bench_values *v, const char *peer,
		     struct cairn_slice key, struct cairn_slice value);

#endif
