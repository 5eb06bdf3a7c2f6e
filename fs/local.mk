# SPDX-License-Identifier: BSD-3-Clause
# All of the program but main(), for the tests too.
noinst_LTLIBRARIES += libcairnfs.la
libcairnfs_la_SOURCES = \
	fs/cmd.c \
	fs/cmd.h \
	fs/cmd_del.c \
	fs/cmd_dump.c \
	fs/cmd_get.c \
	fs/cmd_history.c \
	fs/cmd_init.c \
	fs/cmd_keyset.c \
	fs/cmd_keyset.h \
	fs/cmd_load.c \
	fs/cmd_ls.c \
	fs/cmd_mount.c \
	fs/cmd_opt.c \
	fs/cmd_put.c \
	fs/cmd_range.c \
	fs/cmd_stats.c \
	fs/cmd_umount.c \
	fs/cmd_upkeep.c \
	fs/ctl.c \
	fs/ctl.h \
	fs/daemon.c \
	fs/daemon.h \
	fs/dir.c \
	fs/dir.h \
	fs/errmap.c \
	fs/errmap.h \
	fs/forward.c \
	fs/forward.h \
	fs/fuse.h \
	fs/inode.c \
	fs/inode.h \
	fs/jobs.c \
	fs/jobs.h \
	fs/keyfile.c \
	fs/keyfile.h \
	fs/keytext.c \
	fs/keytext.h \
	fs/lastfd.c \
	fs/lastfd.h \
	fs/memory.c \
	fs/memory.h \
	fs/mount.c \
	fs/mount.h \
	fs/mount_options.c \
	fs/mount_options.h \
	fs/mounts.c \
	fs/mounts.h \
	fs/name.c \
	fs/name.h \
	fs/notify.c \
	fs/notify.h \
	fs/ops.c \
	fs/ops.h \
	fs/ops_dir.c \
	fs/ops_file.c \
	fs/ops_impl.h \
	fs/ops_xattr.c \
	fs/rename.c \
	fs/revdir.c \
	fs/revdir.h \
	fs/rowref.c \
	fs/rowref.h \
	fs/run.c \
	fs/run.h \
	fs/stats.c \
	fs/stats.h \
	fs/stats_table.h \
	fs/stats_text.c \
	fs/talk.c \
	fs/tree.c \
	fs/tree.h \
	fs/tree_impl.h \
	fs/workers.c \
	fs/workers.h \
	fs/xattr.c \
	fs/xattr.h
libcairnfs_la_CFLAGS = $(AM_CFLAGS) $(FUSE_CFLAGS)
libcairnfs_la_LIBADD = libmvcc.la $(FUSE_LIBS)

bin_PROGRAMS += cairn
cairn_SOURCES = fs/main.c
cairn_CFLAGS = $(AM_CFLAGS)
cairn_LDADD = libcairnfs.la
EXTRA_DIST += fs/README.md
dist_man_MANS += fs/cairn-mount.8 fs/cairn.1
