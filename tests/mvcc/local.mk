# SPDX-License-Identifier: BSD-3-Clause
# What etcd was recorded to answer, replayed.
if HAVE_JANSSON
etcd_player_sources = \
	tests/mvcc/etcd_player.c \
	tests/mvcc/etcd_player.h \
	tests/mvcc/etcd_trace.c \
	tests/mvcc/etcd_trace.h
etcd_player_cflags = $(AM_CFLAGS) $(JANSSON_CFLAGS)

check_PROGRAMS += tests/mvcc/etcd_replay
tests_mvcc_etcd_replay_SOURCES = tests/mvcc/etcd_replay.c $(etcd_player_sources)
tests_mvcc_etcd_replay_CFLAGS = $(etcd_player_cflags)
tests_mvcc_etcd_replay_LDADD = libmvcc.la $(JANSSON_LIBS)
endif
