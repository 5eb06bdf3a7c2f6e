/* SPDX-License-Identifier: BSD-3-Clause */
/* What operations say: the same words from the model and from a store. */
#ifndef CAIRN_TESTS_METAMORPHIC_OUTPUT_H
#define CAIRN_TESTS_METAMORPHIC_OUTPUT_H

#include "engine/base/buf.h"

void out_text(struct buf *out, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* In full when short, else its beginning, length and hash. */
void out_bytes(struct buf *out, struct cairn_slice s);
void out_entry(struct buf *out, struct cairn_slice key,
	       struct cairn_slice value);

/* Many entries: all of them when few, else number and hash. Zeroed: none. */
struct digest {
	uint64_t n;
	uint64_t hash;
	struct buf shown;
};

void digest_add(struct digest *d, struct cairn_slice key,
		struct cairn_slice value);
/* Say it; d is empty again. */
void digest_end(struct digest *d, struct buf *out);

#endif
