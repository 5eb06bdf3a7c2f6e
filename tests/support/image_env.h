/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A golden directory that can only be read, straight from memory, with one of
 * its files replaced by other bytes: cheap enough to be opened a million times.
 */
#ifndef CAIRN_TESTS_SUPPORT_IMAGE_ENV_H
#define CAIRN_TESTS_SUPPORT_IMAGE_ENV_H

#include "tests/support/golden.h"

#define IMAGE_DIR "/db"

struct image_env {
	struct cairn_env base;
	const struct golden *golden; /* its files are in IMAGE_DIR */
	size_t replaced;             /* index of a file, SIZE_MAX: none */
	struct cairn_slice bytes;    /* what it has instead */
	bool *touched;               /* per file: opened, or its size asked */
};

/* golden is borrowed. Ends the test when there is no memory. */
void image_env_init(struct image_env *e, const struct golden *golden);
void image_env_fini(struct image_env *e);

#endif
