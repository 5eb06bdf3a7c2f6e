/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/compat/etcd_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/mvcc/etcd_trace.h"

/* How long it may take to listen: a busy machine must not reach it. */
#define START_SECONDS 60
/* How often to look. */
#define LOOKS_PER_SECOND 200

bool etcd_server_there(void)
{
	const char *path = getenv("PATH");
	char file[4096];

	for (const char *p = path ? path : ""; *p;) {
		size_t n = strcspn(p, ":");

		snprintf(file, sizeof(file), "%.*s/etcd", (int)n, p);
		if (access(file, X_OK) == 0)
			return true;
		p += n + (p[n] == ':');
	}
	return false;
}

static struct sockaddr_in loopback(int port)
{
	struct sockaddr_in a = { .sin_family = AF_INET };

	a.sin_port = htons((uint16_t)port);
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return a;
}

/* A port that nobody uses now; *fd keeps it until it is closed. */
static int free_port(int *fd)
{
	struct sockaddr_in a = loopback(0);
	socklen_t len = sizeof(a);

	*fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (*fd < 0 || bind(*fd, (struct sockaddr *)&a, sizeof(a)) ||
	    getsockname(*fd, (struct sockaddr *)&a, &len))
		trace_die("no free port: %s", strerror(errno));
	return ntohs(a.sin_port);
}

static bool listens(int port)
{
	struct sockaddr_in a = loopback(port);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool ok = fd >= 0 && !connect(fd, (struct sockaddr *)&a, sizeof(a));

	if (fd >= 0)
		close(fd);
	return ok;
}

static _Noreturn void run_etcd(const struct etcd_server *s)
{
	char log[300], peer[64], cluster[96], data[300];
	int fd;

	/* Whatever becomes of the test, it must not stay behind. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	snprintf(log, sizeof(log), "%s/log", s->dir);
	snprintf(data, sizeof(data), "%s/data", s->dir);
	snprintf(peer, sizeof(peer), "http://127.0.0.1:%d", s->peer_port);
	snprintf(cluster, sizeof(cluster), "default=%s", peer);
	fd = open(log, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (fd >= 0) {
		dup2(fd, 1);
		dup2(fd, 2);
	}
	for (size_t i = 0; s->settings && s->settings[i][0]; i++)
		setenv(s->settings[i][0], s->settings[i][1], 1);
	execlp("etcd", "etcd", "--data-dir", data, "--listen-client-urls",
	       s->url, "--advertise-client-urls", s->url, "--listen-peer-urls",
	       peer, "--initial-advertise-peer-urls", peer, "--initial-cluster",
	       cluster, "--logger", "zap", "--log-level", "error",
	       (char *)NULL);
	_exit(127);
}

/* Returns when it listens. */
static void run(struct etcd_server *s)
{
	const struct timespec moment = { .tv_nsec = 1000000000 /
						    LOOKS_PER_SECOND };

	s->pid = fork();
	if (s->pid < 0)
		trace_die("fork: %s", strerror(errno));
	if (s->pid == 0)
		run_etcd(s);
	for (int i = 0; i < START_SECONDS * LOOKS_PER_SECOND; i++) {
		if (listens(s->port))
			return;
		if (waitpid(s->pid, NULL, WNOHANG) == s->pid) {
			s->pid = 0;
			trace_die("etcd ended at once, see %s/log", s->dir);
		}
		nanosleep(&moment, NULL);
	}
	trace_die("etcd does not listen on %s", s->url);
}

void etcd_server_start(struct etcd_server *s)
{
	const char *tmp = getenv("TMPDIR");
	int client_fd, peer_fd;

	s->port = free_port(&client_fd);
	s->peer_port = free_port(&peer_fd);
	snprintf(s->dir, sizeof(s->dir), "%s/cairn-etcd.XXXXXX",
		 tmp ? tmp : "/tmp");
	if (!mkdtemp(s->dir))
		trace_die("%s: %s", s->dir, strerror(errno));
	snprintf(s->url, sizeof(s->url), "http://127.0.0.1:%d", s->port);
	close(client_fd);
	close(peer_fd);
	run(s);
}

void etcd_server_end(struct etcd_server *s)
{
	kill(s->pid, SIGTERM);
	waitpid(s->pid, NULL, 0);
	s->pid = 0;
}

void etcd_server_resume(struct etcd_server *s)
{
	run(s);
}

static int remove_one(const char *path, const struct stat *st, int type,
		      struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

void etcd_server_stop(struct etcd_server *s)
{
	if (s->pid > 0) {
		kill(s->pid, SIGKILL);
		waitpid(s->pid, NULL, 0);
		s->pid = 0;
	}
	if (s->dir[0])
		nftw(s->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	s->dir[0] = '\0';
}
