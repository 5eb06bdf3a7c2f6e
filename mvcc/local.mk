# SPDX-License-Identifier: BSD-3-Clause
noinst_LTLIBRARIES += libmvcc.la
libmvcc_la_SOURCES = \
	mvcc/attr.c \
	mvcc/attr.h \
	mvcc/bbolt.c \
	mvcc/bbolt.h \
	mvcc/chunk.c \
	mvcc/chunk.h \
	mvcc/cursor.c \
	mvcc/cursor.h \
	mvcc/encode.c \
	mvcc/encode.h \
	mvcc/forget.c \
	mvcc/forget.h \
	mvcc/hash.c \
	mvcc/hash.h \
	mvcc/history.c \
	mvcc/import.c \
	mvcc/import.h \
	mvcc/import_target.c \
	mvcc/import_target.h \
	mvcc/kv_proto.c \
	mvcc/kv_proto.h \
	mvcc/lease.c \
	mvcc/lease.h \
	mvcc/lease_expire.c \
	mvcc/lease_impl.h \
	mvcc/list.c \
	mvcc/mend.c \
	mvcc/mvcc.h \
	mvcc/object.c \
	mvcc/object.h \
	mvcc/object_buf.c \
	mvcc/object_impl.h \
	mvcc/object_stage.c \
	mvcc/plain.c \
	mvcc/plain.h \
	mvcc/plain_cursor.c \
	mvcc/plain_dirs.c \
	mvcc/plain_dirs.h \
	mvcc/request.c \
	mvcc/request.h \
	mvcc/request_check.c \
	mvcc/request_impl.h \
	mvcc/request_range.c \
	mvcc/request_view.c \
	mvcc/row_cache.c \
	mvcc/row_cache.h \
	mvcc/scan.c \
	mvcc/sha256.c \
	mvcc/sha256.h \
	mvcc/store.c \
	mvcc/store.h \
	mvcc/table_revs.c \
	mvcc/table_revs.h \
	mvcc/txn.c \
	mvcc/txn_impl.h \
	mvcc/watch.c \
	mvcc/watch.h \
	mvcc/watch_hub.h \
	mvcc/watch_ring.c \
	mvcc/watch_ring.h \
	mvcc/watch_tree.c \
	mvcc/watch_tree.h
libmvcc_la_LIBADD = libengine.la
EXTRA_DIST += mvcc/README.md
