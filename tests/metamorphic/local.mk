# SPDX-License-Identifier: BSD-3-Clause
# One history under many options must say the same, see metamorphic.c.
check_PROGRAMS += tests/metamorphic/metamorphic
TESTS += tests/metamorphic/metamorphic
tests_metamorphic_metamorphic_SOURCES = \
	tests/compat/die.c \
	tests/compat/die.h \
	tests/compat/dir.c \
	tests/compat/dir.h \
	tests/metamorphic/generate.c \
	tests/metamorphic/generate.h \
	tests/metamorphic/history.c \
	tests/metamorphic/history.h \
	tests/metamorphic/merge.c \
	tests/metamorphic/merge.h \
	tests/metamorphic/metamorphic.c \
	tests/metamorphic/model.c \
	tests/metamorphic/model.h \
	tests/metamorphic/optset.c \
	tests/metamorphic/optset.h \
	tests/metamorphic/output.c \
	tests/metamorphic/output.h \
	tests/metamorphic/reduce.c \
	tests/metamorphic/reduce.h \
	tests/metamorphic/subject.c \
	tests/metamorphic/subject.h \
	tests/metamorphic/subject_impl.h \
	tests/metamorphic/subject_ops.c \
	tests/metamorphic/view.c \
	tests/metamorphic/view.h
tests_metamorphic_metamorphic_CFLAGS = $(AM_CFLAGS) -Wno-format-truncation
tests_metamorphic_metamorphic_LDADD = libengine.la
EXTRA_DIST += tests/metamorphic/cases
CLEANFILES += metamorphic-*.ops campaign-*.log
