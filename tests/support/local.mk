# SPDX-License-Identifier: BSD-3-Clause
# Allocations go through tests/support/alloc_fail.h, which makes them fail.
if HAVE_CHECK
alloc_fail_ldflags = $(AM_LDFLAGS) \
	-Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=aligned_alloc \
	-Wl,--wrap=strdup,--wrap=strndup,--wrap=asprintf,--wrap=free \
	-Wl,--wrap=mmap,--wrap=pthread_create,--wrap=ZSTD_createCCtx \
	-Wl,--wrap=ZSTD_createDCtx,--wrap=ZSTD_createDDict
tests_engine_db_test_alloc_LDFLAGS = $(alloc_fail_ldflags)
tests_mvcc_test_alloc_LDFLAGS = $(alloc_fail_ldflags)
endif
