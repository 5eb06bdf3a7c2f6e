# SPDX-License-Identifier: BSD-3-Clause
# One program per unit, in the folders of the units they test.
if HAVE_CHECK
unit_tests = \
	tests/engine/base/test_buf \
	tests/engine/base/test_coding \
	tests/engine/base/test_crc32c \
	tests/engine/base/test_hash \
	tests/engine/base/test_hist \
	tests/engine/base/test_nearest \
	tests/engine/env/test_env_fault \
	tests/engine/env/test_env_mem \
	tests/engine/env/test_env_posix \
	tests/engine/env/test_pool
check_PROGRAMS += $(unit_tests)
TESTS += $(unit_tests)
unit_ldadd = libengine.la $(CHECK_LIBS)
unit_cflags = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_engine_base_test_buf_CFLAGS = $(unit_cflags)
tests_engine_base_test_buf_LDADD = $(unit_ldadd)
tests_engine_base_test_coding_CFLAGS = $(unit_cflags)
tests_engine_base_test_coding_LDADD = $(unit_ldadd)
tests_engine_base_test_crc32c_CFLAGS = $(unit_cflags)
tests_engine_base_test_crc32c_LDADD = $(unit_ldadd)
tests_engine_base_test_hash_CFLAGS = $(unit_cflags)
tests_engine_base_test_hash_LDADD = $(unit_ldadd)
tests_engine_base_test_hist_CFLAGS = $(unit_cflags)
tests_engine_base_test_hist_LDADD = $(unit_ldadd)
tests_engine_base_test_nearest_CFLAGS = $(unit_cflags)
tests_engine_base_test_nearest_LDADD = $(unit_ldadd)
tests_engine_env_test_env_fault_CFLAGS = $(unit_cflags)
tests_engine_env_test_env_fault_LDADD = $(unit_ldadd)
tests_engine_env_test_env_mem_CFLAGS = $(unit_cflags)
tests_engine_env_test_env_mem_LDADD = $(unit_ldadd)
tests_engine_env_test_env_posix_CFLAGS = $(unit_cflags)
tests_engine_env_test_env_posix_LDADD = $(unit_ldadd)
tests_engine_env_test_pool_CFLAGS = $(unit_cflags)
tests_engine_env_test_pool_LDADD = $(unit_ldadd)
endif

AM_TESTS_ENVIRONMENT = CAIRN=$(abs_top_builddir)/cairn; export CAIRN;
