# SPDX-License-Identifier: BSD-3-Clause
# The benchmark against other engines. Nothing here is built by "make all";
# scripts/bench-engine builds the other engines and then runs
#
#   make bench BENCH_PEERS=DIR
#
# where DIR has include/ and lib/ of RocksDB, LevelDB and LMDB. Without it only
# cairn's own program is built.
BENCH_CXX = g++
BENCH_CXXFLAGS = -O2 -DNDEBUG

bench_common = tests/bench/driver.c tests/bench/peer.h \
	tests/bench/workload.c tests/bench/workload.h

EXTRA_PROGRAMS = tests/bench/bench-engine tests/bench/bench-cairn
tests_bench_bench_engine_SOURCES = tests/bench/bench_engine.c \
	tests/bench/workload.c tests/bench/workload.h
tests_bench_bench_engine_LDADD = -lm
tests_bench_bench_cairn_SOURCES = $(bench_common) tests/bench/peer_cairn.c
tests_bench_bench_cairn_LDADD = libengine.la -lm

# The programs of the others are linked by hand: configure knows neither of
# them nor of a C++ compiler.
BENCH_OTHERS = tests/bench/bench-rocksdb tests/bench/bench-leveldb \
	tests/bench/bench-lmdb
bench_objects = tests/bench/driver.$(OBJEXT) tests/bench/workload.$(OBJEXT)
# For its histogram.
bench_archive = .libs/libengine.a

tests/bench/peer_rocksdb.o: tests/bench/peer_rocksdb.cc tests/bench/peer.h
	$(AM_V_GEN)$(BENCH_CXX) -std=c++17 -fno-rtti $(BENCH_CXXFLAGS) \
		-I$(top_srcdir) -I$(BENCH_PEERS)/include -c -o $@ $<
tests/bench/peer_leveldb.o: tests/bench/peer_leveldb.cc tests/bench/peer.h
	$(AM_V_GEN)$(BENCH_CXX) -std=c++17 $(BENCH_CXXFLAGS) \
		-I$(top_srcdir) -I$(BENCH_PEERS)/include -c -o $@ $<
tests/bench/peer_lmdb.o: tests/bench/peer_lmdb.c tests/bench/peer.h
	$(AM_V_GEN)$(CC) $(DEFS) $(AM_CPPFLAGS) $(AM_CFLAGS) $(CFLAGS) \
		-I$(BENCH_PEERS)/include -c -o $@ $<

tests/bench/bench-rocksdb: tests/bench/peer_rocksdb.o $(bench_objects) | libengine.la
	$(AM_V_GEN)$(BENCH_CXX) -o $@ $^ $(bench_archive) $(BENCH_PEERS)/lib/librocksdb.a \
		-lsnappy -lzstd -lpthread -ldl -lm
tests/bench/bench-leveldb: tests/bench/peer_leveldb.o $(bench_objects) | libengine.la
	$(AM_V_GEN)$(BENCH_CXX) -o $@ $^ $(bench_archive) $(BENCH_PEERS)/lib/libleveldb.a \
		-lsnappy -lpthread -lm
tests/bench/bench-lmdb: tests/bench/peer_lmdb.o $(bench_objects) | libengine.la
	$(AM_V_GEN)$(CC) -o $@ $^ $(bench_archive) $(BENCH_PEERS)/lib/liblmdb.a -lpthread -lm

bench: tests/bench/bench-engine$(EXEEXT) tests/bench/bench-cairn$(EXEEXT)
	@if test -n "$(BENCH_PEERS)"; then \
		$(MAKE) $(AM_MAKEFLAGS) $(BENCH_OTHERS); fi
PHONY_TARGETS += bench

# cairn's revisions beside an etcd that the program starts: scripts/bench-mvcc.
# The check runs it for a moment, alone, so that it stays fit for use.
if HAVE_JANSSON
check_PROGRAMS += tests/bench/bench-mvcc
TESTS += tests/bench/bench_mvcc.sh
tests_bench_bench_mvcc_SOURCES = \
	tests/bench/bench_mvcc.c \
	tests/bench/grpc.c \
	tests/bench/grpc.h \
	tests/bench/mvcc_cairn.c \
	tests/bench/mvcc_etcd.c \
	tests/bench/mvcc_peer.h \
	tests/bench/workload.c \
	tests/bench/workload.h \
	tests/compat/etcd_server.c \
	tests/compat/etcd_server.h \
	tests/mvcc/etcd_trace.c \
	tests/mvcc/etcd_trace.h
tests_bench_bench_mvcc_CFLAGS = $(AM_CFLAGS) $(JANSSON_CFLAGS)
tests_bench_bench_mvcc_LDADD = libmvcc.la $(JANSSON_LIBS) -lm
endif

# The mount beside a plain file system in memory: scripts/bench-fs.
EXTRA_PROGRAMS += tests/bench/bench-fs-ops tests/bench/bench-memfs
tests_bench_bench_fs_ops_SOURCES = tests/bench/fs_ops.c
tests_bench_bench_memfs_SOURCES = tests/bench/memfs.c
tests_bench_bench_memfs_CFLAGS = $(AM_CFLAGS) $(FUSE_CFLAGS)
tests_bench_bench_memfs_LDADD = $(FUSE_LIBS)

bench-fs: cairn$(EXEEXT) tests/bench/bench-fs-ops$(EXEEXT) \
	tests/bench/bench-memfs$(EXEEXT)
PHONY_TARGETS += bench-fs

CLEANFILES += $(BENCH_OTHERS) tests/bench/peer_*.o $(EXTRA_PROGRAMS)
EXTRA_DIST += tests/bench/peer_rocksdb.cc tests/bench/peer_leveldb.cc \
	tests/bench/peer_lmdb.c
EXTRA_DIST += tests/bench/bench_mvcc.sh
