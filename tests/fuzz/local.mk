# SPDX-License-Identifier: BSD-3-Clause
# Fuzz targets: with --enable-fuzz programs of libFuzzer, else ones that run
# files and variations of them. The seeds are made from the golden directories.
fuzz_targets = \
	tests/fuzz/fuzz_batch \
	tests/fuzz/fuzz_bbolt \
	tests/fuzz/fuzz_block \
	tests/fuzz/fuzz_decompress \
	tests/fuzz/fuzz_edit \
	tests/fuzz/fuzz_filter \
	tests/fuzz/fuzz_footer \
	tests/fuzz/fuzz_index \
	tests/fuzz/fuzz_manifest \
	tests/fuzz/fuzz_options \
	tests/fuzz/fuzz_props \
	tests/fuzz/fuzz_range_del \
	tests/fuzz/fuzz_table \
	tests/fuzz/fuzz_wal
fuzz_headers = tests/fuzz/bytes.h tests/fuzz/framing.h tests/fuzz/fuzz.h

if FUZZ
fuzz_main =
else
fuzz_main = tests/fuzz/driver.c
endif
fuzz_ldadd = libengine.la
fuzz_ldflags = $(AM_LDFLAGS) $(FUZZ_LDFLAGS)

tests_fuzz_fuzz_batch_SOURCES = tests/fuzz/fuzz_batch.c $(fuzz_main) $(fuzz_headers)
tests_fuzz_fuzz_batch_LDADD = $(fuzz_ldadd)
tests_fuzz_fuzz_batch_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_bbolt_SOURCES = tests/fuzz/fuzz_bbolt.c $(fuzz_main) $(fuzz_headers)
tests_fuzz_fuzz_bbolt_LDADD = libmvcc.la
tests_fuzz_fuzz_bbolt_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_block_SOURCES = tests/fuzz/fuzz_block.c $(fuzz_main) $(fuzz_headers)
tests_fuzz_fuzz_block_LDADD = $(fuzz_ldadd)
tests_fuzz_fuzz_block_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_decompress_SOURCES = tests/fuzz/fuzz_decompress.c $(fuzz_main) $(fuzz_headers)
tests_fuzz_fuzz_decompress_LDADD = $(fuzz_ldadd)
tests_fuzz_fuzz_decompress_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_edit_SOURCES = tests/fuzz/fuzz_edit.c $(fuzz_main) $(fuzz_headers)
tests_fuzz_fuzz_edit_LDADD = $(fuzz_ldadd)
tests_fuzz_fuzz_edit_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_filter_SOURCES = tests/fuzz/fuzz_filter.c $(fuzz_main) $(fuzz_headers)
tests_fuzz_fuzz_filter_LDADD = $(fuzz_ldadd)
tests_fuzz_fuzz_filter_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_footer_SOURCES = tests/fuzz/fuzz_footer.c $(fuzz_main) $(fuzz_headers)
tests_fuzz_fuzz_footer_LDADD = $(fuzz_ldadd)
tests_fuzz_fuzz_footer_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_index_SOURCES = tests/fuzz/fuzz_index.c $(fuzz_main) $(fuzz_headers)
tests_fuzz_fuzz_index_LDADD = $(fuzz_ldadd)
tests_fuzz_fuzz_index_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_manifest_SOURCES = tests/fuzz/fuzz_manifest.c $(fuzz_main) $(fuzz_headers)
tests_fuzz_fuzz_manifest_LDADD = $(fuzz_ldadd)
tests_fuzz_fuzz_manifest_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_options_SOURCES = tests/fuzz/fuzz_options.c $(fuzz_main) $(fuzz_headers)
tests_fuzz_fuzz_options_LDADD = $(fuzz_ldadd)
tests_fuzz_fuzz_options_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_props_SOURCES = tests/fuzz/fuzz_props.c $(fuzz_main) $(fuzz_headers)
tests_fuzz_fuzz_props_LDADD = $(fuzz_ldadd)
tests_fuzz_fuzz_props_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_range_del_SOURCES = tests/fuzz/fuzz_range_del.c $(fuzz_main) $(fuzz_headers)
tests_fuzz_fuzz_range_del_LDADD = $(fuzz_ldadd)
tests_fuzz_fuzz_range_del_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_table_SOURCES = tests/fuzz/fuzz_table.c $(fuzz_main) $(fuzz_headers)
tests_fuzz_fuzz_table_LDADD = $(fuzz_ldadd)
tests_fuzz_fuzz_table_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_wal_SOURCES = tests/fuzz/fuzz_wal.c $(fuzz_main) $(fuzz_headers)
tests_fuzz_fuzz_wal_LDADD = $(fuzz_ldadd)
tests_fuzz_fuzz_wal_LDFLAGS = $(fuzz_ldflags)

if HAVE_CHECK
check_PROGRAMS += $(fuzz_targets) tests/fuzz/make_seeds
tests_fuzz_make_seeds_SOURCES = tests/fuzz/make_seeds.c $(fuzz_headers)
tests_fuzz_make_seeds_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_fuzz_make_seeds_LDADD = libtestsupport.la libengine.la $(CHECK_LIBS)

PHONY_TARGETS += fuzz
fuzz: $(fuzz_targets) tests/fuzz/make_seeds
endif
EXTRA_DIST += scripts/fuzz
