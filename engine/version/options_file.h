/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The OPTIONS-NNNNNN file (RocksDB's options/options_parser.cc): written so
 * that RocksDB loads it and its compactions agree with cairn's, read for the
 * few settings that change what the data means.
 */
#ifndef CAIRN_VERSION_OPTIONS_FILE_H
#define CAIRN_VERSION_OPTIONS_FILE_H

#include "engine/base/buf.h"

struct options_file {
	/* Owned; NULL when the file does not say. */
	char *comparator;
	char *merge_operator; /* as written, e.g. with {id=...} */
	char *prefix_extractor;
	char *wal_dir;
	char *compression;           /* kSnappyCompression, ... */
	char *compression_per_level; /* with ':' between the levels */
	char *bottommost_compression;
	bool foreign; /* no [DBOptions]: not RocksDB's, treated as absent */
};
void options_file_fini(struct options_file *o);

/* name is for messages. CAIRN_ECORRUPT with the line number. */
MUST_CHECK int options_file_parse(struct cairn_slice text, const char *name,
				  struct options_file *out);

/* What cairn tells RocksDB. */
struct options_file_settings {
	uint64_t write_buffer_size;
	uint64_t base_level_size;
	unsigned level_multiplier;
	uint64_t target_file_size;
	size_t block_size;
	unsigned restart_interval;
	double bloom_bits_per_key;
	/* kNoCompression, kSnappyCompression, kZSTD per level */
	const char *compression[CAIRN_LEVELS];
	/* As they are to stand there, NULL: none. */
	const char *merge_operator;
	const char *prefix_extractor;
};
MUST_CHECK int options_file_format(const struct options_file_settings *s,
				   struct buf *out);

#endif
