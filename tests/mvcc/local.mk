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

# Random operations, beside a live etcd where there is one.
if HAVE_JANSSON
if HAVE_CURL
check_PROGRAMS += tests/compat/etcd_tee
TESTS += tests/compat/etcd_tee
tests_compat_etcd_tee_SOURCES = \
	tests/compat/etcd_tee.c \
	tests/compat/etcd_client.c \
	tests/compat/etcd_client.h \
	tests/compat/etcd_server.c \
	tests/compat/etcd_server.h \
	$(etcd_player_sources)
tests_compat_etcd_tee_CFLAGS = $(etcd_player_cflags) $(CURL_CFLAGS)
tests_compat_etcd_tee_LDADD = libmvcc.la $(JANSSON_LIBS) $(CURL_LIBS)
endif
endif
