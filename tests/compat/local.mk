# SPDX-License-Identifier: BSD-3-Clause
# cairn beside the real RocksDB and LevelDB: programs of several files.
tee_sources = \
	tests/compat/dir.c \
	tests/compat/dir.h \
	tests/compat/die.c \
	tests/compat/die.h \
	tests/compat/keys.c \
	tests/compat/keys.h \
	tests/compat/store.c \
	tests/compat/store.h \
	tests/compat/store_cairn.c \
	tests/compat/store_rocksdb.c
if HAVE_LEVELDB
tee_sources += tests/compat/store_leveldb.c
endif

if HAVE_ROCKSDB
check_PROGRAMS += tests/compat/tee
TESTS += tests/compat/tee
if HAVE_LEVELDB
TESTS += tests/compat/tee_leveldb.sh
endif
tests_compat_tee_SOURCES = tests/compat/tee.c $(tee_sources)
tests_compat_tee_CFLAGS = $(AM_CFLAGS) -Wno-format-truncation
tests_compat_tee_LDADD = libengine.la -lrocksdb $(LEVELDB_LIBS)

if HAVE_CHECK
check_PROGRAMS += tests/compat/way_back
TESTS += tests/compat/way_back
tests_compat_way_back_SOURCES = tests/compat/way_back.c $(tee_sources)
tests_compat_way_back_CFLAGS = $(unit_cflags)
tests_compat_way_back_LDADD = libmvcc.la -lrocksdb $(LEVELDB_LIBS) \
	$(CHECK_LIBS)

if HAVE_LEVELDB
check_PROGRAMS += tests/compat/leveldb_upgrade
TESTS += tests/compat/leveldb_upgrade
tests_compat_leveldb_upgrade_SOURCES = tests/compat/leveldb_upgrade.c \
	tests/compat/dir.c tests/compat/dir.h tests/compat/die.c \
	tests/compat/die.h
tests_compat_leveldb_upgrade_CFLAGS = $(unit_cflags)
tests_compat_leveldb_upgrade_LDADD = libengine.la -lrocksdb $(LEVELDB_LIBS) \
	$(CHECK_LIBS)
endif
endif
endif

# With the real etcd, where there is one.
if HAVE_CHECK
check_PROGRAMS += tests/compat/etcd_store
TESTS += tests/compat/etcd_import.sh
tests_compat_etcd_store_SOURCES = tests/compat/etcd_store.c
tests_compat_etcd_store_CFLAGS = $(unit_cflags)
tests_compat_etcd_store_LDADD = $(unit_ldadd)
endif
EXTRA_DIST += tests/compat/etcd_import.sh tests/compat/etcd.py
EXTRA_DIST += tests/compat/tee_leveldb.sh
noinst_HEADERS += tests/compat/scratch.h
