# SPDX-License-Identifier: BSD-3-Clause
# Programs that the shell tests use.
check_PROGRAMS += tests/tools/key_files
tests_tools_key_files_CFLAGS = $(AM_CFLAGS)
tests_tools_key_files_LDADD = libcairnfs.la
