/* SPDX-License-Identifier: BSD-3-Clause */
/* SHA-256 (FIPS 180-4), as etcd puts it behind its snapshots. Not made for
 * speed, nor for secrets. */
#ifndef CAIRN_MVCC_SHA256_H
#define CAIRN_MVCC_SHA256_H

#include <stddef.h>
#include <stdint.h>

#define SHA256_LEN   32u
#define SHA256_BLOCK 64u

struct sha256 {
	uint32_t h[8];
	uint64_t len; /* bytes so far */
	uint8_t block[SHA256_BLOCK];
};

void sha256_init(struct sha256 *s);
void sha256_add(struct sha256 *s, const void *data, size_t len);
/* s must be initialised again to be used again. */
void sha256_end(struct sha256 *s, uint8_t out[SHA256_LEN]);

#endif
