/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fuzz targets: one program per decoder. Each has the function below, which
 * hands its input to the decoder as bytes from a file would be, and then uses
 * what came out in all ways that readers do. No input may make it crash, hang
 * or ask for more than 64 MiB, and what FUZZ_CHECK() says must hold.
 *
 * scripts/fuzz builds them with clang's libFuzzer and runs them. Without it
 * driver.c is their main(), which runs files and simple variations of them.
 * The seeds come from make_seeds.c, which takes tests/data/golden apart.
 */
#ifndef CAIRN_TESTS_FUZZ_FUZZ_H
#define CAIRN_TESTS_FUZZ_FUZZ_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/slice.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define FUZZ_CHECK(what)                                                       \
	do {                                                                   \
		if (!(what)) {                                                 \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__,       \
				__LINE__, #what);                              \
			abort();                                               \
		}                                                              \
	} while (0)

/* Take a byte from the front of an input; 0 when there is none. */
static inline uint8_t fuzz_byte(struct cairn_slice *in)
{
	uint8_t b = 0;

	if (in->len) {
		b = in->data[0];
		slice_advance(in, 1);
	}
	return b;
}

#endif
