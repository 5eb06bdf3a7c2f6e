/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of subject.h share. */
#ifndef CAIRN_TESTS_METAMORPHIC_SUBJECT_IMPL_H
#define CAIRN_TESTS_METAMORPHIC_SUBJECT_IMPL_H

#include "engine/base/rng.h"
#include "engine/env/env_fault.h"
#include "tests/compat/dir.h"
#include "tests/metamorphic/merge.h"
#include "tests/metamorphic/subject.h"

struct subject {
	struct optset set;
	const struct merge *merge;
	struct rng rng; /* of what the set does by itself */

	char root[PATH_LEN];     /* of real files; "" in memory */
	struct cairn_env *mem;   /* NULL: real files */
	struct cairn_env *below; /* mem, or the real one */
	struct cairn_env *env;   /* of faults, over it */
	char dir[PATH_LEN];      /* of the store */
	unsigned n_names;        /* of directories and files made so far */

	struct cairn_db *db; /* NULL: closed */
	struct cairn_batch *batches[N_BATCHES];
	struct cairn_iter *iters[N_ITERS];
	struct cairn_snapshot *snapshots[N_SNAPSHOTS];
	struct cairn_pinned pins[N_PINS];
	bool pinned[N_PINS];

	bool unlogged; /* there may be writes in memory only */
	bool armed;    /* a file operation is to fail */
	bool faulty;   /* one has been, since the file system is new */
};

/* How the store is to be opened; to be freed by the caller. */
struct cairn_options *subject_options(struct subject *s, const char *settings);
int subject_open(struct subject *s);
/* With all that is open in it. CAIRN_OK when it is closed already. */
int subject_close(struct subject *s);
void subject_let_go(struct subject *s);
bool subject_is_held(const struct subject *s); /* something is open in it */

/* A name that was not used before, beside the directory of the store. */
void subject_new_path(struct subject *s, char out[PATH_LEN]);
/* Remove a directory with its files, as far as it is there. */
void subject_remove(struct subject *s, const char *dir);

void subject_arm(struct subject *s, uint64_t class, uint64_t nth, uint64_t how);
void subject_disarm(struct subject *s);

/* Everything committed becomes durable. */
int subject_secure(struct subject *s);
int subject_reopen(struct subject *s);
int subject_kill(struct subject *s);
int subject_cut(struct subject *s, uint64_t keep_percent, uint64_t seed,
		uint64_t again_at); /* UINT64_MAX: once */
/* Go on in a checkpoint. */
int subject_switch(struct subject *s);

/* Everything in db as text. */
int subject_digest(struct subject *s, struct cairn_db *db, struct buf *out);

extern int (*const subject_ops[N_OP_KINDS])(struct subject *s,
					    const struct op *op,
					    struct buf *out);

#endif
