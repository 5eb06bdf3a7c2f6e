/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Three ways to the same number: eight bytes a step through tables, the CRC
 * instruction of ARMv8 where the compiler may use it, and that of SSE 4.2
 * where the processor turns out to have it.
 *
 * A CRC without the inversions at both ends is a polynomial over GF(2) modulo
 * the Castagnoli polynomial. "Reflected" means that bit 31 is the coefficient
 * of x^0. Appending n zero bytes multiplies by x^(8n); everything below that
 * joins CRCs of pieces rests on this.
 */
#include "engine/base/crc32c.h"

#include "engine/base/coding.h"

#define POLY 0x82f63b78u

#if defined(__x86_64__)
#include <immintrin.h>
#define HAVE_SSE42 1
#elif defined(__ARM_FEATURE_CRC32)
#include <arm_acle.h>
#define HAVE_ARM_CRC 1
#endif

/*
 * Each table is linear in its index, so eight constants make 256 entries and
 * the compiler does the adding up. table[k][i] is the CRC state of byte i
 * followed by k zero bytes.
 */
#define BIT(i, b, c) (((i) >> (b)) & 1u ? (c) : 0u)
#define E1(i, a, b, c, d, e, f, g, h)                                          \
	(BIT(i, 0, a) ^ BIT(i, 1, b) ^ BIT(i, 2, c) ^ BIT(i, 3, d) ^           \
	 BIT(i, 4, e) ^ BIT(i, 5, f) ^ BIT(i, 6, g) ^ BIT(i, 7, h))
#define E4(i, ...)                                                             \
	E1((i), __VA_ARGS__), E1((i) + 1u, __VA_ARGS__),                       \
		E1((i) + 2u, __VA_ARGS__), E1((i) + 3u, __VA_ARGS__)
#define E16(i, ...)                                                            \
	E4(i, __VA_ARGS__), E4((i) + 4u, __VA_ARGS__),                         \
		E4((i) + 8u, __VA_ARGS__), E4((i) + 12u, __VA_ARGS__)
#define E64(i, ...)                                                            \
	E16(i, __VA_ARGS__), E16((i) + 16u, __VA_ARGS__),                      \
		E16((i) + 32u, __VA_ARGS__), E16((i) + 48u, __VA_ARGS__)
#define E256(...)                                                              \
	{                                                                      \
		E64(0u, __VA_ARGS__), E64(64u, __VA_ARGS__),                   \
			E64(128u, __VA_ARGS__), E64(192u, __VA_ARGS__)         \
	}

static const uint32_t table[8][256] = {
	E256(0xf26b8303u, 0xe13b70f7u, 0xc79a971fu, 0x8ad958cfu, 0x105ec76fu,
	     0x20bd8edeu, 0x417b1dbcu, 0x82f63b78u),
	E256(0x13a29877u, 0x274530eeu, 0x4e8a61dcu, 0x9d14c3b8u, 0x3fc5f181u,
	     0x7f8be302u, 0xff17c604u, 0xfbc3faf9u),
	E256(0xa541927eu, 0x4f6f520du, 0x9edea41au, 0x38513ec5u, 0x70a27d8au,
	     0xe144fb14u, 0xc76580d9u, 0x8b277743u),
	E256(0xdd45aab8u, 0xbf672381u, 0x7b2231f3u, 0xf64463e6u, 0xe964b13du,
	     0xd725148bu, 0xaba65fe7u, 0x52a0c93fu),
	E256(0x38116facu, 0x7022df58u, 0xe045beb0u, 0xc5670b91u, 0x8f2261d3u,
	     0x1ba8b557u, 0x37516aaeu, 0x6ea2d55cu),
	E256(0xef306b19u, 0xdb8ca0c3u, 0xb2f53777u, 0x6006181fu, 0xc00c303eu,
	     0x85f4168du, 0x0e045bebu, 0x1c08b7d6u),
	E256(0x68032cc8u, 0xd0065990u, 0xa5e0c5d1u, 0x4e2dfd53u, 0x9c5bfaa6u,
	     0x3d5b83bdu, 0x7ab7077au, 0xf56e0ef4u),
	E256(0x493c7d27u, 0x9278fa4eu, 0x211d826du, 0x423b04dau, 0x847609b4u,
	     0x0d006599u, 0x1a00cb32u, 0x34019664u),
};

static uint32_t table_step(uint32_t crc, uint8_t byte)
{
	return table[0][(crc ^ byte) & 0xff] ^ (crc >> 8);
}

uint32_t crc32c_extend_table(uint32_t crc, const void *data, size_t len)
{
	const uint8_t *p = data;

	crc = ~crc;
	for (; len >= 8; p += 8, len -= 8) {
		uint64_t v = load_le64(p) ^ crc;

		crc = table[7][v & 0xff] ^ table[6][v >> 8 & 0xff] ^
		      table[5][v >> 16 & 0xff] ^ table[4][v >> 24 & 0xff] ^
		      table[3][v >> 32 & 0xff] ^ table[2][v >> 40 & 0xff] ^
		      table[1][v >> 48 & 0xff] ^ table[0][v >> 56];
	}
	while (len--)
		crc = table_step(crc, *p++);
	return ~crc;
}

#ifdef HAVE_SSE42

/*
 * The instruction takes three cycles but a new one may start in each, so three
 * streams run side by side and are joined by carry-less multiplication. The
 * strides are a third of a 4 KiB block and of 1 KiB, rounded down to words.
 */
#define LONG_STRIDE  1344u
#define SHORT_STRIDE 336u

/*
 * x^(8n - 33) for a shift by n bytes: the product of two reflected 32-bit
 * polynomials comes out multiplied by x, and reducing it with the CRC
 * instruction multiplies by x^32.
 */
struct shift {
	uint32_t one; /* by one stride */
	uint32_t two; /* by two strides */
};
static const struct shift long_shift = { 0xc9c8b782u, 0x889774e1u };
static const struct shift short_shift = { 0xa60ce07bu, 0xcec3662eu };

#define TARGET __attribute__((target("sse4.2,pclmul")))

TARGET static inline uint64_t clmul(uint64_t a, uint32_t b)
{
	__m128i v = _mm_clmulepi64_si128(_mm_cvtsi64_si128((long long)a),
					 _mm_cvtsi64_si128(b), 0);

	return (uint64_t)_mm_cvtsi128_si64(v);
}

/* Three strides starting at p. */
TARGET static inline uint64_t three_streams(uint64_t crc, const uint8_t *p,
					    size_t stride,
					    const struct shift *s)
{
	const uint8_t *end = p + stride;
	uint64_t b = 0, c = 0;

	for (; p < end; p += 8) {
		crc = _mm_crc32_u64(crc, load_le64(p));
		b = _mm_crc32_u64(b, load_le64(p + stride));
		c = _mm_crc32_u64(c, load_le64(p + 2 * stride));
	}
	return c ^ _mm_crc32_u64(0, clmul(crc, s->two) ^ clmul(b, s->one));
}

TARGET static uint32_t extend_sse42(uint32_t crc, const uint8_t *p, size_t len)
{
	uint64_t r = ~crc;

	for (; len >= 3 * LONG_STRIDE;
	     p += 3 * LONG_STRIDE, len -= 3 * LONG_STRIDE)
		r = three_streams(r, p, LONG_STRIDE, &long_shift);
	for (; len >= 3 * SHORT_STRIDE;
	     p += 3 * SHORT_STRIDE, len -= 3 * SHORT_STRIDE)
		r = three_streams(r, p, SHORT_STRIDE, &short_shift);
	for (; len >= 8; p += 8, len -= 8)
		r = _mm_crc32_u64(r, load_le64(p));
	while (len--)
		r = _mm_crc32_u8((uint32_t)r, *p++);
	return ~(uint32_t)r;
}

uint32_t crc32c_extend(uint32_t crc, const void *data, size_t len)
{
	/* A load and a test: the C library has asked the processor before. */
	if (__builtin_cpu_supports("sse4.2") &&
	    __builtin_cpu_supports("pclmul"))
		return extend_sse42(crc, data, len);
	return crc32c_extend_table(crc, data, len);
}

#elif defined(HAVE_ARM_CRC)

uint32_t crc32c_extend(uint32_t crc, const void *data, size_t len)
{
	const uint8_t *p = data;

	crc = ~crc;
	for (; len >= 8; p += 8, len -= 8)
		crc = __crc32cd(crc, load_le64(p));
	while (len--)
		crc = __crc32cb(crc, *p++);
	return ~crc;
}

#else

uint32_t crc32c_extend(uint32_t crc, const void *data, size_t len)
{
	return crc32c_extend_table(crc, data, len);
}

#endif

/* a * b modulo the polynomial, all reflected. */
static uint32_t mul_mod(uint32_t a, uint32_t b)
{
	uint32_t r = 0;

	for (uint32_t bit = 0x80000000u; bit; bit >>= 1) {
		if (a & bit)
			r ^= b;
		b = (b >> 1) ^ (b & 1 ? POLY : 0);
	}
	return r;
}

uint32_t crc32c_combine(uint32_t crc_a, uint32_t crc_b, uint64_t len_b)
{
	uint32_t power = 0x00800000u; /* x^8: one zero byte */

	/*
	 * The inversions cancel: A's final one against the initial one that B
	 * would have seen, B's initial one against its own.
	 */
	for (; len_b; len_b >>= 1) {
		if (len_b & 1)
			crc_a = mul_mod(crc_a, power);
		power = mul_mod(power, power);
	}
	return crc_a ^ crc_b;
}
