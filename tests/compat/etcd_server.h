/* SPDX-License-Identifier: BSD-3-Clause */
/* A real etcd of one member on the loopback, with a directory of its own. */
#ifndef CAIRN_TESTS_COMPAT_ETCD_SERVER_H
#define CAIRN_TESTS_COMPAT_ETCD_SERVER_H

#include <stdbool.h>
#include <sys/types.h>

struct etcd_server {
	char dir[256];
	char url[64]; /* for clients */
	int port;     /* of it */
	pid_t pid;
	/* Settings beyond the usual, as etcd takes them from its environment;
	 * a pair of NULLs at the end. To be set before the start, or NULL. */
	const char *const (*settings)[2];
	int peer_port; /* private */
};

/* False when there is no program of that name to be found. */
bool etcd_server_there(void);
/* Start it, and return when it listens. Failures end the program. */
void etcd_server_start(struct etcd_server *s);
/* End it as an administrator would, and start it again with what it left. */
void etcd_server_end(struct etcd_server *s);
void etcd_server_resume(struct etcd_server *s);
/* End it and remove the directory; safe on one that never started. */
void etcd_server_stop(struct etcd_server *s);

#endif
