/* SPDX-License-Identifier: BSD-3-Clause */
/* The cairn program: finds the command and gives it the process's streams. */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/nearest.h"
#include "fs/cmd/cmd.h"

struct shell_command {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *summary;
};

static const struct shell_command shell_commands[] = {
	{ "mount", cmd_mount, "show a store as a directory" },
	{ "umount", cmd_umount, "end a mount" },
};

#define N_SHELL (sizeof(shell_commands) / sizeof(shell_commands[0]))

static void print_commands(FILE *out, bool all)
{
	fputs("cairn: a key-value store you can ls\n\n", out);
	for (size_t i = 0; i < N_SHELL; i++)
		fprintf(out, "  cairn %-8s %s\n", shell_commands[i].name,
			shell_commands[i].summary);
	for (size_t i = 0; cmd_at(i); i++)
		if (all || cmd_at(i)->everyday)
			fprintf(out, "  cairn %-8s %s\n", cmd_at(i)->name,
				cmd_at(i)->summary);
	fputs("\nexample:\n"
	      "  cairn mount --create /srv/app /mnt/app\n"
	      "  echo hello >/mnt/app/keys/motd; cat /mnt/app/stats/summary\n"
	      "\n",
	      out);
	if (!all)
		fputs("cairn help -a lists all commands, ", out);
	fputs("cairn COMMAND --help explains one\n", out);
}

static int run_on_store(const struct cmd_entry *e, int argc, char **argv)
{
	struct cmd c = {
		.name = e->name,
		.argc = argc,
		.in = stdin,
		.out = stdout,
		.err = stderr,
		.out_is_tty = isatty(STDOUT_FILENO),
	};
	/* Parsing moves the arguments about; what is forwarded must not be. */
	char **given = calloc((size_t)argc + 1, sizeof(*given));
	int status;

	if (!given)
		return cmd_fail(&c, EXIT_SYSTEM, "out of memory");
	memcpy(given, argv, (size_t)argc * sizeof(*given));
	c.argv = given;
	status = e->run(&c, argc, argv);
	free(given);
	free(c.own_dir);
	return cmd_finish_output(&c, status);
}

static int no_command(const char *name)
{
	const char *best = NULL;

	for (size_t i = 0; i < N_SHELL; i++)
		nearest_consider(name, shell_commands[i].name, &best);
	for (size_t i = 0; cmd_at(i); i++)
		nearest_consider(name, cmd_at(i)->name, &best);
	fprintf(stderr, "cairn: no command '%s'", name);
	if (best)
		fprintf(stderr, "; did you mean '%s'?", best);
	fputs("\nhint: cairn help -a lists them\n", stderr);
	return EXIT_USAGE;
}

static int dispatch(int argc, char **argv)
{
	const char *name = argv[0];
	const struct cmd_entry *e = cmd_find(name);

	if (e)
		return run_on_store(e, argc, argv);
	for (size_t i = 0; i < N_SHELL; i++)
		if (!strcmp(shell_commands[i].name, name))
			return shell_commands[i].run(argc, argv);
	return no_command(name);
}

/* Of what is no command on a store: EXIT_YES when stdout took it. */
static int finish_stdout(const char *name)
{
	struct cmd c = { .name = name, .out = stdout, .err = stderr };

	return cmd_finish_output(&c, EXIT_YES);
}

static int help(int argc, char **argv)
{
	char ask[] = "--help";
	char *of[] = { argc > 1 ? argv[1] : NULL, ask, NULL };
	bool all = of[0] && !strcmp(of[0], "-a");

	if (of[0] && !all)
		return dispatch(2, of);
	print_commands(stdout, all);
	return finish_stdout("help");
}

/*
 * Were a standard stream closed, the next file opened would get its number, and
 * messages would be written into the store. What stands in for it can be used
 * for nothing: reading input or writing output fails, as it should.
 */
static void occupy_std_fds(void)
{
	static const int modes[] = { O_WRONLY, O_RDONLY, O_RDONLY };

	for (int fd = 0; fd < 3; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", modes[fd]) < 0)
			_exit(EXIT_SYSTEM);
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "help";

	occupy_std_fds();
	/* A reader that went away is an error of the write, not a death. */
	signal(SIGPIPE, SIG_IGN);
	if (!strcmp(name, "help") || !strcmp(name, "--help") ||
	    !strcmp(name, "-h"))
		return help(argc - 1, argv + 1);
	if (!strcmp(name, "version") || !strcmp(name, "--version")) {
		printf("cairn %s (files of RocksDB %s)\n", cairn_version(),
		       CAIRN_ROCKSDB_VERSION);
		return finish_stdout("version");
	}
	return dispatch(argc - 1, argv + 1);
}
