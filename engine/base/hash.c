/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/base/hash.h"

#include "engine/base/coding.h"

/* The first author's char was signed, and so is the format. */
static uint32_t sign_extend(uint8_t byte)
{
	return byte < 0x80 ? byte : byte | 0xffffff00u;
}

uint32_t hash32(const void *data, size_t len, uint32_t seed)
{
	const uint32_t m = 0xc6a4a793u;
	const uint8_t *p = data;
	uint32_t h = seed ^ ((uint32_t)len * m);

	for (; len >= 4; p += 4, len -= 4) {
		h += load_le32(p);
		h *= m;
		h ^= h >> 16;
	}
	switch (len) {
	case 3:
		h += sign_extend(p[2]) << 16;
		__attribute__((fallthrough));
	case 2:
		h += sign_extend(p[1]) << 8;
		__attribute__((fallthrough));
	case 1:
		h += sign_extend(p[0]);
		h *= m;
		h ^= h >> 24;
		break;
	default:
		break;
	}
	return h;
}

/*
 * XXH3-64 as of xxHash 0.7.2. Where it differs from the final one is said at
 * each place, because everybody who knows the final one will take these for
 * mistakes.
 */

#define P64_1 0x9e3779b185ebca87ull
#define P64_2 0xc2b2ae3d27d4eb4full
#define P64_3 0x165667b19e3779f9ull
#define P64_4 0x85ebca77c2b2ae63ull
#define P64_5 0x27d4eb2f165667c5ull
#define P32_1 0x9e3779b1u
#define P32_2 0x85ebca77u
#define P32_3 0xc2b2ae3du

#define LANES       8
#define STRIPE_LEN  64u
#define N_STRIPES   16u /* in a block */
#define BLOCK_LEN   (STRIPE_LEN * N_STRIPES)
#define SCRAMBLE_AT 128u
#define LAST_AT     121u
#define MERGE_AT    11u
#define MIDDLE_AT   3u
#define MIDLAST_AT  119u

/* The same bytes as in the final XXH3. */
static const uint8_t secret[192] = {
	0xb8, 0xfe, 0x6c, 0x39, 0x23, 0xa4, 0x4b, 0xbe, 0x7c, 0x01, 0x81, 0x2c,
	0xf7, 0x21, 0xad, 0x1c, 0xde, 0xd4, 0x6d, 0xe9, 0x83, 0x90, 0x97, 0xdb,
	0x72, 0x40, 0xa4, 0xa4, 0xb7, 0xb3, 0x67, 0x1f, 0xcb, 0x79, 0xe6, 0x4e,
	0xcc, 0xc0, 0xe5, 0x78, 0x82, 0x5a, 0xd0, 0x7d, 0xcc, 0xff, 0x72, 0x21,
	0xb8, 0x08, 0x46, 0x74, 0xf7, 0x43, 0x24, 0x8e, 0xe0, 0x35, 0x90, 0xe6,
	0x81, 0x3a, 0x26, 0x4c, 0x3c, 0x28, 0x52, 0xbb, 0x91, 0xc3, 0x00, 0xcb,
	0x88, 0xd0, 0x65, 0x8b, 0x1b, 0x53, 0x2e, 0xa3, 0x71, 0x64, 0x48, 0x97,
	0xa2, 0x0d, 0xf9, 0x4e, 0x38, 0x19, 0xef, 0x46, 0xa9, 0xde, 0xac, 0xd8,
	0xa8, 0xfa, 0x76, 0x3f, 0xe3, 0x9c, 0x34, 0x3f, 0xf9, 0xdc, 0xbb, 0xc7,
	0xc7, 0x0b, 0x4f, 0x1d, 0x8a, 0x51, 0xe0, 0x4b, 0xcd, 0xb4, 0x59, 0x31,
	0xc8, 0x9f, 0x7e, 0xc9, 0xd9, 0x78, 0x73, 0x64, 0xea, 0xc5, 0xac, 0x83,
	0x34, 0xd3, 0xeb, 0xc3, 0xc5, 0x81, 0xa0, 0xff, 0xfa, 0x13, 0x63, 0xeb,
	0x17, 0x0d, 0xdd, 0x51, 0xb7, 0xf0, 0xda, 0x49, 0xd3, 0x16, 0x55, 0x26,
	0x29, 0xd4, 0x68, 0x9e, 0x2b, 0x16, 0xbe, 0x58, 0x7d, 0x47, 0xa1, 0xfc,
	0x8f, 0xf8, 0xb8, 0xd1, 0x7a, 0xd0, 0x31, 0xce, 0x45, 0xcb, 0x3a, 0x8f,
	0x95, 0x16, 0x04, 0x28, 0xaf, 0xd7, 0xfb, 0xca, 0xbb, 0x4b, 0x40, 0x7e,
};

static uint64_t fold(uint64_t a, uint64_t b)
{
	__extension__ typedef unsigned __int128 wide;
	wide product = (wide)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* The final XXH3 multiplies by another constant here. */
static uint64_t avalanche(uint64_t h)
{
	h ^= h >> 37;
	h *= P64_3;
	return h ^ (h >> 32);
}

static uint64_t mix16(const uint8_t *p, const uint8_t *s)
{
	return fold(load_le64(p) ^ load_le64(s),
		    load_le64(p + 8) ^ load_le64(s + 8));
}

static uint64_t hash_1_to_3(const uint8_t *p, size_t n)
{
	uint32_t c = p[0] | (uint32_t)p[n >> 1] << 8 |
		     (uint32_t)p[n - 1] << 16 | (uint32_t)n << 24;

	return avalanche((c ^ load_le32(secret)) * P64_1);
}

static uint64_t hash_4_to_8(const uint8_t *p, size_t n)
{
	uint64_t x = load_le32(p) | (uint64_t)load_le32(p + n - 4) << 32;
	uint64_t k = x ^ load_le64(secret);
	uint64_t m = n + (k ^ (k >> 51)) * P32_1;

	return avalanche((m ^ (m >> 47)) * P64_2);
}

static uint64_t hash_9_to_16(const uint8_t *p, size_t n)
{
	uint64_t a = load_le64(p) ^ load_le64(secret);
	uint64_t b = load_le64(p + n - 8) ^ load_le64(secret + 8);

	return avalanche(n + a + b + fold(a, b));
}

/* Pairs from both ends, the innermost first. */
static uint64_t hash_17_to_128(const uint8_t *p, size_t n)
{
	uint64_t acc = n * P64_1;

	for (size_t i = (n - 1) / 32 + 1; i-- > 0;) {
		const uint8_t *s = secret + 32 * i;

		acc += mix16(p + 16 * i, s);
		acc += mix16(p + n - 16 * (i + 1), s + 16);
	}
	return avalanche(acc);
}

static uint64_t hash_129_to_240(const uint8_t *p, size_t n)
{
	uint64_t acc = n * P64_1;
	size_t i;

	for (i = 0; i < 8; i++)
		acc += mix16(p + 16 * i, secret + 16 * i);
	acc = avalanche(acc);
	for (; i < n / 16; i++)
		acc += mix16(p + 16 * i, secret + 16 * (i - 8) + MIDDLE_AT);
	acc += mix16(p + n - 16, secret + MIDLAST_AT);
	return avalanche(acc);
}

/* The final XXH3 adds v to the neighbouring lane. */
static inline void add_stripe(uint64_t acc[LANES], const uint8_t *p,
			      const uint8_t *s)
{
	for (size_t i = 0; i < LANES; i++) {
		uint64_t v = load_le64(p + 8 * i);
		uint64_t k = v ^ load_le64(s + 8 * i);

		acc[i] += v + (k & 0xffffffffu) * (k >> 32);
	}
}

static void scramble(uint64_t acc[LANES])
{
	for (size_t i = 0; i < LANES; i++) {
		uint64_t a = acc[i] ^ (acc[i] >> 47);

		acc[i] = (a ^ load_le64(secret + SCRAMBLE_AT + 8 * i)) * P32_1;
	}
}

static uint64_t hash_long(const uint8_t *p, size_t n)
{
	uint64_t acc[LANES] = { P32_3, P64_1, P64_2, P64_3,
				P64_4, P32_2, P64_5, P32_1 };
	const uint8_t *end = p + n;
	uint64_t h = n * P64_1;
	size_t rest = n;

	/* A block that ends with the input is scrambled, too. */
	for (; rest >= BLOCK_LEN; p += BLOCK_LEN, rest -= BLOCK_LEN) {
		for (size_t j = 0; j < N_STRIPES; j++)
			add_stripe(acc, p + STRIPE_LEN * j, secret + 8 * j);
		scramble(acc);
	}
	for (size_t j = 0; j < rest / STRIPE_LEN; j++)
		add_stripe(acc, p + STRIPE_LEN * j, secret + 8 * j);
	if (n % STRIPE_LEN)
		add_stripe(acc, end - STRIPE_LEN, secret + LAST_AT);

	for (size_t q = 0; q < LANES / 2; q++) {
		const uint8_t *s = secret + MERGE_AT + 16 * q;

		h += fold(acc[2 * q] ^ load_le64(s),
			  acc[2 * q + 1] ^ load_le64(s + 8));
	}
	return avalanche(h);
}

uint64_t hash64(const void *data, size_t len)
{
	const uint8_t *p = data;

	if (len == 0) /* RocksDB's own: 0.7.2 returns 0 */
		return fold(load_le64(secret), P64_2);
	if (len <= 3)
		return hash_1_to_3(p, len);
	if (len <= 8)
		return hash_4_to_8(p, len);
	if (len <= 16)
		return hash_9_to_16(p, len);
	if (len <= 128)
		return hash_17_to_128(p, len);
	if (len <= 240)
		return hash_129_to_240(p, len);
	return hash_long(p, len);
}
