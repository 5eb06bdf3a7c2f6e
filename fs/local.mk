# SPDX-License-Identifier: BSD-3-Clause
# All of the program but main(), for the tests too.
noinst_LTLIBRARIES += libcairnfs.la
libcairnfs_la_SOURCES = \
	fs/cmd/cmd.c \
	fs/cmd/cmd.h \
	fs/cmd/cmd_del.c \
	fs/cmd/cmd_diff.c \
	fs/cmd/cmd_dump.c \
	fs/cmd/cmd_get.c \
	fs/cmd/cmd_hash.c \
	fs/cmd/cmd_history.c \
	fs/cmd/cmd_import.c \
	fs/cmd/cmd_init.c \
	fs/cmd/cmd_inspect.c \
	fs/cmd/cmd_keyset.c \
	fs/cmd/cmd_keyset.h \
	fs/cmd/cmd_lease.c \
	fs/cmd/cmd_load.c \
	fs/cmd/cmd_ls.c \
	fs/cmd/cmd_manifest.c \
	fs/cmd/cmd_merge.c \
	fs/cmd/cmd_opt.c \
	fs/cmd/cmd_put.c \
	fs/cmd/cmd_range.c \
	fs/cmd/cmd_repair.c \
	fs/cmd/cmd_sst.c \
	fs/cmd/cmd_stats.c \
	fs/cmd/cmd_tables.c \
	fs/cmd/cmd_txn.c \
	fs/cmd/cmd_upkeep.c \
	fs/cmd/cmd_verify.c \
	fs/cmd/cmd_wal.c \
	fs/cmd/cmd_watch.c \
	fs/cmd/forget_by.c \
	fs/cmd/forget_by.h \
	fs/cmd/forward.c \
	fs/cmd/forward.h \
	fs/cmd/run.c \
	fs/cmd/run.h \
	fs/cmd/txn_text.c \
	fs/cmd/txn_text.h \
	fs/cmd/txn_words.c \
	fs/cmd/txn_words.h \
	fs/cmd/watch_line.c \
	fs/cmd/watch_line.h \
	fs/cmd_mount.c \
	fs/cmd_umount.c \
	fs/daemon.c \
	fs/daemon.h \
	fs/mount/ctl.c \
	fs/mount/ctl.h \
	fs/mount/dir.c \
	fs/mount/dir.h \
	fs/mount/eventfile.c \
	fs/mount/eventfile.h \
	fs/mount/eventlog.c \
	fs/mount/eventlog.h \
	fs/mount/fuse.h \
	fs/mount/inode.c \
	fs/mount/inode.h \
	fs/mount/jobs.c \
	fs/mount/jobs.h \
	fs/mount/keyfile.c \
	fs/mount/keyfile.h \
	fs/mount/lastfd.c \
	fs/mount/lastfd.h \
	fs/mount/memory.c \
	fs/mount/memory.h \
	fs/mount/mount.c \
	fs/mount/mount.h \
	fs/mount/mount_options.c \
	fs/mount/mount_options.h \
	fs/mount/mounts.c \
	fs/mount/mounts.h \
	fs/mount/notify.c \
	fs/mount/notify.h \
	fs/mount/ops.c \
	fs/mount/ops.h \
	fs/mount/ops_dir.c \
	fs/mount/ops_file.c \
	fs/mount/ops_impl.h \
	fs/mount/ops_xattr.c \
	fs/mount/pins.c \
	fs/mount/pins.h \
	fs/mount/rename.c \
	fs/mount/revdir.c \
	fs/mount/revdir.h \
	fs/mount/rowref.c \
	fs/mount/rowref.h \
	fs/mount/stream.c \
	fs/mount/stream.h \
	fs/mount/talk.c \
	fs/mount/tree.c \
	fs/mount/tree_change.c \
	fs/mount/tree.h \
	fs/mount/tree_impl.h \
	fs/mount/trigger.c \
	fs/mount/trigger.h \
	fs/mount/watchfile.c \
	fs/mount/watchfile.h \
	fs/mount/workers.c \
	fs/mount/workers.h \
	fs/stats/stats.c \
	fs/stats/stats.h \
	fs/stats/stats_table.h \
	fs/stats/stats_text.c \
	fs/text/errmap.c \
	fs/text/errmap.h \
	fs/text/jsontext.c \
	fs/text/jsontext.h \
	fs/text/keytext.c \
	fs/text/keytext.h \
	fs/text/name.c \
	fs/text/name.h \
	fs/text/timetext.c \
	fs/text/timetext.h \
	fs/text/xattr.c \
	fs/text/xattr.h
libcairnfs_la_CFLAGS = $(AM_CFLAGS) $(FUSE_CFLAGS)
libcairnfs_la_LIBADD = libmvcc.la $(FUSE_LIBS)

bin_PROGRAMS += cairn
cairn_SOURCES = fs/main.c
cairn_CFLAGS = $(AM_CFLAGS)
cairn_LDADD = libcairnfs.la
EXTRA_DIST += fs/README.md
dist_man_MANS += fs/cairn-mount.8 fs/cairn.1
