/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What can be learned of a MANIFEST, which may be damaged: every record that is
 * whole is looked at. manifest.h reads one that must be right.
 */
#ifndef CAIRN_VERSION_MANIFEST_FACTS_H
#define CAIRN_VERSION_MANIFEST_FACTS_H

#include "engine/env/env.h"
#include "engine/version/edit.h"

/* The last that is known of a table. */
struct manifest_fact {
	uint64_t number; /* 0: none */
	int level;
	struct file_meta *meta; /* of the addition; NULL: not known */
	bool live;              /* added, and not deleted after that */
};

struct manifest_facts {
	struct manifest_fact *table; /* cap of them, in no order */
	size_t cap;                  /* a power of two, or 0 */
	size_t used;

	uint64_t next_file_number; /* above all that were met */
	uint64_t last_seqno;       /* the highest that was met */
	uint64_t log_number;
	uint64_t min_log_to_keep;
	uint64_t prev_log_number;
	uint64_t records;    /* whole ones */
	bool families;       /* of tables of other column families */
	char *comparator;    /* other than bytewise; NULL: none */
	bool seqnos_unknown; /* some files were added without */
	bool gaps;           /* records are missing, or were not understood */
	bool torn;           /* the last one is cut short */
	struct version_edit *group; /* an unfinished one; private */
	size_t n_group;
};

struct manifest_visitor {
	void *ctx;
	/* A record. What is not CAIRN_OK ends the reading. May be NULL. */
	int (*edit)(void *ctx, uint64_t offset, const struct version_edit *e);
	/* Bytes that are no record, or a record that is no edit: the message
	 * is cairn_errmsg(). May be NULL. */
	int (*damage)(void *ctx, int code, uint64_t offset);
};

/* Zeroed before; may be called for several files, oldest first. CAIRN_NOT_FOUND
 * when there is no such file; CAIRN_EIO, CAIRN_ENOMEM. */
MUST_CHECK int manifest_facts_read(struct cairn_env *env, const char *path,
				   const struct manifest_visitor *v,
				   struct manifest_facts *out);
void manifest_facts_fini(struct manifest_facts *f);

/* NULL: nothing is known of it. */
const struct manifest_fact *manifest_facts_find(const struct manifest_facts *f,
						uint64_t number);

#endif
