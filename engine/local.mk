# SPDX-License-Identifier: BSD-3-Clause
# The engine as a library for the layers above and the tests, and libcairn, the
# same code with only the public symbols, for everybody else.
noinst_LTLIBRARIES += libengine.la
libengine_la_SOURCES = \
	engine/cairn.h \
	engine/base/buf.c \
	engine/base/buf.h \
	engine/base/coding.h \
	engine/base/crc32c.c \
	engine/base/crc32c.h \
	engine/base/error.c \
	engine/base/error.h \
	engine/base/hash.c \
	engine/base/hash.h \
	engine/base/hist.c \
	engine/base/hist.h \
	engine/base/list.h \
	engine/base/nearest.c \
	engine/base/nearest.h \
	engine/base/rng.h \
	engine/base/slice.h \
	engine/base/sync.h \
	engine/env/env.c \
	engine/env/env.h \
	engine/env/env_fault.c \
	engine/env/env_fault.h \
	engine/env/env_mem.c \
	engine/env/env_mem.h \
	engine/env/env_posix.c \
	engine/env/lock_text.c \
	engine/env/lock_text.h \
	engine/env/mem_crash.c \
	engine/env/mem_tree.c \
	engine/env/mem_tree.h \
	engine/env/pool.c \
	engine/env/pool.h \
	engine/kv/batch.c \
	engine/kv/batch.h \
	engine/kv/ikey.h \
	engine/kv/iter.h \
	engine/kv/kind.c \
	engine/kv/kind.h \
	engine/kv/merging_iter.c \
	engine/kv/merging_iter.h \
	engine/mem/arena.c \
	engine/mem/arena.h \
	engine/mem/key_index.c \
	engine/mem/key_index.h \
	engine/mem/memtable.c \
	engine/mem/memtable.h \
	engine/mem/skiplist.c \
	engine/mem/skiplist.h \
	engine/wal/reader.c \
	engine/wal/reader.h \
	engine/wal/record.h \
	engine/wal/writer.c \
	engine/wal/writer.h \
	engine/table/block.c \
	engine/table/block.h \
	engine/table/block_builder.c \
	engine/table/block_builder.h \
	engine/table/block_cache.c \
	engine/table/block_cache.h \
	engine/table/block_cache_pin.h \
	engine/table/block_reader.c \
	engine/table/block_reader.h \
	engine/table/bloom.c \
	engine/table/bloom.h \
	engine/table/compress.c \
	engine/table/compress.h \
	engine/table/filter.c \
	engine/table/filter.h \
	engine/table/format.c \
	engine/table/format.h \
	engine/table/index.c \
	engine/table/index.h \
	engine/table/pin.h \
	engine/table/prefix.h \
	engine/table/props.c \
	engine/table/props.h \
	engine/table/props_block.h \
	engine/table/table.c \
	engine/table/table.h \
	engine/table/table_cache.c \
	engine/table/table_cache.h \
	engine/table/table_get.c \
	engine/table/table_iter.c \
	engine/table/table_load.c \
	engine/table/table_priv.h \
	engine/table/table_verify.c \
	engine/table/table_writer.c \
	engine/table/table_writer.h \
	engine/version/edit.c \
	engine/version/edit.h \
	engine/version/file_meta.c \
	engine/version/file_meta.h \
	engine/version/filename.c \
	engine/version/filename.h \
	engine/version/l0.c \
	engine/version/l0.h \
	engine/version/level_iter.c \
	engine/version/level_iter.h \
	engine/version/manifest.c \
	engine/version/manifest.h \
	engine/version/options_file.c \
	engine/version/options_file.h \
	engine/version/version.c \
	engine/version/version.h \
	engine/version/version_set.c \
	engine/version/version_set.h \
	engine/compact/column.c \
	engine/compact/column.h \
	engine/compact/flush.c \
	engine/compact/job.c \
	engine/compact/job.h \
	engine/compact/merge_loop.c \
	engine/compact/merge_loop.h \
	engine/compact/output.c \
	engine/compact/output.h \
	engine/compact/picker.c \
	engine/compact/picker.h \
	engine/compact/plan.c \
	engine/compact/plan.h \
	engine/compact/targets.c \
	engine/db/commit.c \
	engine/db/commit.h \
	engine/db/commit_impl.h \
	engine/db/commit_log.c \
	engine/db/db.h \
	engine/db/db_iter.c \
	engine/db/db_iter.h \
	engine/db/db_log.c \
	engine/db/db_log.h \
	engine/db/event.c \
	engine/db/event.h \
	engine/db/get.c \
	engine/db/obsolete.c \
	engine/db/obsolete.h \
	engine/db/open.c \
	engine/db/open_files.c \
	engine/db/open_files.h \
	engine/db/options.c \
	engine/db/options.h \
	engine/db/read_state.c \
	engine/db/read_state.h \
	engine/db/recover.c \
	engine/db/recover.h \
	engine/db/snapshot.c \
	engine/db/snapshot.h \
	engine/db/stall.c \
	engine/db/stall.h \
	engine/db/stats.c \
	engine/db/stats.h \
	engine/db/thread.h \
	engine/db/work.c \
	engine/db/work.h \
	engine/db/work_error.c \
	engine/db/work_flush.c \
	engine/db/work_impl.h \
	engine/db/work_manual.c \
	engine/db/write.c
libengine_la_LIBADD = $(ZSTD_LIBS) $(XXHASH_LIBS) $(SNAPPY_LIBS) -lpthread

lib_LTLIBRARIES += libcairn.la
libcairn_la_SOURCES =
libcairn_la_LIBADD = libengine.la
libcairn_la_LDFLAGS = $(AM_LDFLAGS) -version-info 0:0:0 \
	-export-symbols-regex '^cairn_'

cairnincludedir = $(includedir)/cairn
cairninclude_HEADERS = engine/cairn.h
pkgconfigdir = $(libdir)/pkgconfig
pkgconfig_DATA = engine/cairn.pc
EXTRA_DIST += engine/README.md engine/FORMAT.md
