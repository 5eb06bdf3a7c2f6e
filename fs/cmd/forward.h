/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The client's side of ctl/run (run.h): a store that a mount holds is worked
 * through the mount.
 */
#ifndef CAIRN_FS_FORWARD_H
#define CAIRN_FS_FORWARD_H

#include "fs/cmd/cmd.h"

/* Whether path is the root of a live mount of a store. */
bool forward_is_mount(const char *path);

/*
 * The mount through which the store at dir can be worked: dir itself when it is
 * one, or the one that the holder of the data directory dir left in LOCK.
 * CAIRN_OK and a malloc'ed path in *mount; CAIRN_NOT_FOUND when nobody holds
 * dir; CAIRN_EBUSY when somebody does who is no mount, the message saying who.
 *
 * Nothing can be sent through a mount that is read-only, nor does it hold its
 * store. For one, CAIRN_NOT_FOUND and its data directory, malloc'ed, in *data;
 * else *data is NULL.
 */
int forward_find_mount(const char *dir, char **mount, char **data);

/*
 * Run a command in the daemon behind mount: c->argv, then c->in when
 * c->reads_input, go to it; its output goes to c->out and c->err. Returns the
 * command's exit status, or EXIT_SYSTEM after a message when the conversation
 * failed.
 */
int forward_command(struct cmd *c, const char *mount);

#endif
