/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How fast background jobs write. They ask here now and then, on their own
 * threads, and may be made to sleep.
 *
 * A flush goes twice as fast as writers fill memtables, and at least at
 * flush_rate, so that the disk has a steady load rather than bursts. It does
 * not wait when somebody waits for it. Compactions together go at
 * compaction_rate, unless writers are being slowed down, and end when they
 * would use up the last bytes of the disk.
 */
#ifndef CAIRN_DB_PACE_H
#define CAIRN_DB_PACE_H

#include "engine/base/sync.h"

struct job;
struct work;

/* Of all compactions. */
struct pace {
	struct mutex mu;  /* a leaf lock */
	uint64_t next_us; /* when the next bytes may be read */
};

/* Of one job. */
struct job_pace {
	uint64_t begun_bytes; /* that writers had written */
	uint64_t seen_bytes;  /* what the job had done when it last asked */
	uint64_t looked_at;   /* ... and when the disk was looked at */
	bool no_space;        /* the job was ended for it */
};

void pace_init(struct pace *p);
void pace_fini(struct pace *p);

/* A job begins. */
void pace_begin(struct job *j);

/* The job has done what j->bytes_done says: sleep if it must. false: it must
 * end for want of space. No locks. */
bool pace_go_on(struct job *j);

#endif
