/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Finding files that another file's range tombstones delete as a whole, so that
 * they can be dropped without being read (COMPACT_DROP in picker.h).
 */
#ifndef CAIRN_COMPACT_COVERED_H
#define CAIRN_COMPACT_COVERED_H

#include "engine/kv/range_del.h"
#include "engine/version/version.h"

/* Files with references. Zeroed is empty. */
struct file_list {
	struct file_meta **files;
	size_t n;
	size_t cap;
};
void file_list_fini(struct file_list *l);
/* CAIRN_ENOMEM. */
MUST_CHECK int file_list_add(struct file_list *l, struct file_meta *f);

/*
 * Set dead_seqno of the files of v that lie below f and of which f's range
 * tombstones d delete everything, and add them to out. Nothing happens when f
 * is not in v. Takes steps in proportion to the lesser of the number of spans
 * and that of files, and reads nothing. CAIRN_ENOMEM, after which out may have
 * some of them.
 */
MUST_CHECK int covered_find(const struct version *v, const struct file_meta *f,
			    const struct range_dels *d, struct file_list *out);

#endif
