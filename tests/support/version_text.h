/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Versions as text, for tests. A line per level:
 *
 *   L0: 9:[a-m]#31-40 16M 8:[c-z]#21-30 16M
 *   L1: 5:[a-c] 64M 6:[d-f) 64M
 *
 * is file 9 with the user keys a to m, the seqnos 31 to 40 and 16 MiB. Keys are
 * free of spaces and of the signs used here; "." is the empty key. The seqnos
 * may be left out (0), a single one too (#7). "[d-f)" ends with a range
 * tombstone that ends before f. A file is marked with ~ behind the size when
 * its seqnos are not known, with !N when N percent of it are tombstones, ^N
 * when all of it is deleted as of seqno N, %N@P when N percent of it are
 * garbage from position P on, = when it is dense with tombstones and * when
 * reads often pass through it.
 */
#ifndef CAIRN_TESTS_SUPPORT_VERSION_TEXT_H
#define CAIRN_TESTS_SUPPORT_VERSION_TEXT_H

#include "engine/version/version.h"

/* Add the files of text to an edit. Ends the test when text is malformed. */
void edit_parse(const char *text, struct version_edit *e);

/* The code of version_apply() on an empty version. */
int version_parse(const char *text, struct version **out);

/* The live file of that number, or NULL. */
struct file_meta *version_file(const struct version *v, uint64_t number);

/* Bytes with a suffix, "64M"; moves *s past it. */
uint64_t parse_bytes(const char **s);

#endif
