/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The commands of the cairn program.
 *
 * A command reads its arguments, does its work on a store and returns an exit
 * status. The same function serves the shell and the daemon: in the daemon the
 * store is given and output goes into the conversation (run.h). So commands
 * touch nothing but what is in struct cmd: no stdin, stdout, exit or globals.
 */
#ifndef CAIRN_FS_CMD_H
#define CAIRN_FS_CMD_H

#include <stdio.h>

#include "engine/base/buf.h"
#include "mvcc/mvcc.h"

/* Exit statuses; also the manual's. */
enum cmd_exit {
	EXIT_YES = 0,
	EXIT_NO = 1,          /* key absent, nothing matched */
	EXIT_USAGE = 2,       /* the command line is wrong; nothing touched */
	EXIT_SYSTEM = 3,      /* the system refused */
	EXIT_BUSY = 4,        /* in use by another process, or timed out */
	EXIT_DAMAGE = 5,      /* damage found */
	EXIT_FULL = 6,        /* quota or disk */
	EXIT_NOTSUP = 7,      /* made by something cairn cannot handle */
	EXIT_REVISION = 8,    /* forgotten, or not yet written */
	EXIT_MOUNT_FAIL = 32, /* as mount.cairn only */
};

/* The exit status for a result of the engine. */
int cmd_exit_of(int code);

struct stats_fs_counters; /* stats.h */

struct cmd {
	const char *name; /* of the command, for messages */
	/* The arguments as given, argv[0] the command: what is forwarded to a
	 * daemon. NULL in the daemon. */
	int argc;
	char *const *argv;
	FILE *in;
	FILE *out; /* see cmd_write() */
	FILE *err;
	bool out_is_tty;
	bool out_gone;  /* nobody reads c->out any more */
	int last_byte;  /* written to c->out; 0: none yet */
	struct mvcc *m; /* the store, when it is open, of either kind */
	const char *dir;
	char *own_dir; /* what dir points to when it was not given so */
	const struct stats_fs_counters *counters; /* of the daemon, or NULL */
	bool in_daemon;   /* the store was given and stays open */
	bool upgrade;     /* convert a LevelDB directory: before cmd_open() */
	bool reads_input; /* takes c->in; to be set before cmd_open() */
	/* Becomes true when nobody waits for the command any more; NULL when
	 * that cannot happen. */
	const volatile bool *cancel;
};

/*
 * "cairn NAME: MESSAGE" and a newline on c->err; returns status, so that a
 * command can say return cmd_fail(...).
 */
int cmd_fail(struct cmd *c, int status, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* "hint: ..." after it. */
void cmd_hint(struct cmd *c, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/*
 * The failure of an engine call: cairn_errmsg() with the status of code. object
 * is what it was about, unless the message says so itself; NULL: nothing to
 * add.
 */
int cmd_fail_code(struct cmd *c, int code, const char *object);

/* CAIRN_EABORTED once nobody waits for the command any more. */
int cmd_check_cancel(const struct cmd *c);

/* --------------------------------------------------------------- streams */

/*
 * Write to c->out, all of it, or CAIRN_EIO. Every answer goes through these, so
 * that one that did not arrive is never taken for one that did.
 */
MUST_CHECK int cmd_write(struct cmd *c, const void *data, size_t len);
MUST_CHECK int cmd_printf(struct cmd *c, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* What was written so far is to be seen now. CAIRN_EIO. */
MUST_CHECK int cmd_flush_output(struct cmd *c);
/* Let the buffers go; status, or EXIT_SYSTEM after a message when that failed
 * and nothing had failed before. */
int cmd_finish_output(struct cmd *c, int status);

/* Up to len bytes of c->in; *got 0 only at its end. CAIRN_EIO. */
MUST_CHECK int cmd_read(struct cmd *c, void *dst, size_t len, size_t *got);

/* -------------------------------------------------------------- options */

enum cmd_opt_kind {
	CMD_FLAG,   /* bool */
	CMD_STRING, /* const char *, into argv */
	CMD_INT,    /* int64_t, >= 0 */
};

/* One option of a command. The table ends with a NULL name. The help is shown
 * by --help, which every command has. */
struct cmd_opt {
	const char *name; /* without "--" */
	char letter;      /* 0: none */
	enum cmd_opt_kind kind;
	void *dst;
	const char *arg; /* what the argument is called in the help */
	const char *help;
};

/* How to use a command, for cmd_parse() and `cairn help`. */
struct cmd_usage {
	const char *synopsis; /* after "cairn NAME " */
	const char *summary;  /* one line */
	const char *example;
	int min_args; /* operands, DIR included */
	int max_args; /* -1: any */
};

/*
 * Parse argv (argv[0] is the command) by the table. Options may stand anywhere
 * before "--", their arguments behind or after '='. CAIRN_OK: argv[1..*n] are
 * the operands, argv[*n + 1] is NULL. Else *status is what the command must
 * return at once: help was printed, or the usage is wrong.
 */
int cmd_parse(struct cmd *c, const struct cmd_usage *u,
	      const struct cmd_opt *opts, int argc, char **argv, int *n,
	      int *status);

/* ---------------------------------------------------------------- stores */

enum cmd_access {
	CMD_READ,  /* read-only: changes not a byte */
	CMD_WRITE, /* read-write */
};

/* The option of commands that write. */
#define CMD_UPGRADE_OPT(c)                                                     \
	{                                                                      \
		"upgrade", 0, CMD_FLAG, &(c)->upgrade, NULL,                   \
			"make a LevelDB directory RocksDB's first"             \
	}

/*
 * Open the store in dir, of either kind, unless the daemon has given it.
 * Returns 0, or the exit status after a message. When dir is a mount point of
 * a store, or a data directory held by a mount, the whole command is run in
 * that daemon instead: then this returns -1 and *status is the command's.
 */
int cmd_open(struct cmd *c, const char *dir, enum cmd_access access,
	     int *status);

/*
 * As cmd_open(), for commands that look at the files of a directory whether or
 * not it can be opened: nothing is opened, c->dir is the data directory.
 */
int cmd_locate(struct cmd *c, const char *dir, int *status);

/* Close what cmd_open() opened; status, or what closing failed with. */
int cmd_close(struct cmd *c, int status);

/* As cairn_check_space(): to be asked before putting something. */
MUST_CHECK int cmd_may_grow(struct cmd *c);

/* Fail with EXIT_NOTSUP unless the store is a revision store, or a plain one.
 */
int cmd_need_revisions(struct cmd *c);
int cmd_need_plain(struct cmd *c);

/* ------------------------------------------------------------------ keys */

enum cmd_key_form {
	CMD_KEY_ESCAPED, /* %XX for bytes 0-31, 127, '%' and invalid UTF-8 */
	CMD_KEY_HEX,     /* 0x... */
	CMD_KEY_RAW,
	CMD_KEY_PATH, /* a name below keys/ of a mount; input only */
};

/* Options that choose how keys are read and written. */
struct cmd_key_opts {
	bool hex;
	bool raw;
	bool path;
};
#define CMD_KEY_OPTS(k)                                                         \
	{ "hex", 0, CMD_FLAG, &(k)->hex, NULL, "keys as 0x and hex digits" },   \
		{ "raw", 0, CMD_FLAG, &(k)->raw, NULL, "keys as plain bytes" }, \
	{                                                                       \
		"path", 0, CMD_FLAG, &(k)->path, NULL,                          \
			"keys as file names below keys/"                        \
	}

/* CAIRN_OK, or CAIRN_EINVAL with a message in cairn_errmsg(). */
int cmd_key_read(const struct cmd_key_opts *k, const char *text,
		 struct buf *key);
int cmd_key_write(const struct cmd_key_opts *k, struct cairn_slice key,
		  struct buf *text);

/* Check keys given as arguments, before a store is touched: EXIT_YES, or the
 * status to return, after a message. */
int cmd_keys_check(struct cmd *c, const struct cmd_key_opts *k,
		   char *const *texts, int n);

/* A range of keys from --prefix, --from, --to, --reverse, --limit, --rev. */
struct cmd_range {
	const char *prefix;
	const char *from;
	const char *to;
	bool reverse;
	int64_t limit; /* 0: none */
	int64_t rev;   /* 0: now */
	/* By cmd_range_resolve(): [lower, upper), upper.data NULL: no end. */
	struct buf lower;
	struct cairn_slice upper; /* malloc'ed */
};
#define CMD_RANGE_OPTS(r)                                                      \
	{                                                                      \
		"prefix",     0,   CMD_STRING,                                 \
		&(r)->prefix, "P", "keys that start with P"                    \
	},                                                                     \
		{ "from", 0, CMD_STRING, &(r)->from, "A", "keys from A on" },  \
		{ "to", 0, CMD_STRING, &(r)->to, "B", "keys before B" },       \
		{ "reverse",     0,    CMD_FLAG,                               \
		  &(r)->reverse, NULL, "from the last to the first" },         \
		{ "limit",     0,   CMD_INT,                                   \
		  &(r)->limit, "N", "at most N keys (0: all)" },               \
	{                                                                      \
		"rev", 0, CMD_INT, &(r)->rev, "N", "as of revision N"          \
	}

/* Read the keys of the range. EXIT_YES, or the status to return, after a
 * message; cmd_range_fini() is to be called in any case. */
int cmd_range_resolve(struct cmd *c, const struct cmd_key_opts *k,
		      struct cmd_range *r);
void cmd_range_fini(struct cmd_range *r);

/* Walks the keys of a range. Directories that a plain store has in memory are
 * no keys. */
struct cmd_scan;
int cmd_scan_new(struct cmd *c, const struct cmd_range *r,
		 struct cmd_scan **out);
/* CAIRN_OK, CAIRN_NOT_FOUND at the end or the limit, or a failure;
 * CAIRN_EABORTED after c->cancel. row->value is NULL for values in chunks. */
int cmd_scan_next(struct cmd_scan *s, struct mvcc_row *row);
void cmd_scan_free(struct cmd_scan *s);

/* Write a value to c->out in pieces, as bytes or as hex digits. */
enum cmd_value_form { CMD_VALUE_BYTES, CMD_VALUE_HEX };
int cmd_value_write(struct cmd *c, const struct mvcc_row *row,
		    enum cmd_value_form form);

/* Read a lease's id, in hex, or a time to live: EXIT_YES, or EXIT_USAGE after a
 * message. */
int cmd_lease_id(struct cmd *c, const char *text, int64_t *id);
int cmd_ttl(struct cmd *c, const char *text, int64_t *seconds);

/* ------------------------------------------------- looking inside, damage */

/* The context of cmd_finding(). */
struct cmd_findings {
	struct cmd *c;
	bool json;    /* to the answer, as objects */
	bool remarks; /* what is no damage as well */
	uint64_t n;   /* printed, but remarks */
};

/* Print a finding of the engine: a cairn_found_fn. */
int cmd_finding(void *ctx, const struct cairn_finding *f);

/* A key as a string of JSON. */
int cmd_key_json(const struct cmd_key_opts *k, struct cairn_slice key,
		 struct buf *out);

/* Append "KEY TAB SEQNO TAB KIND TAB VALUE", or ,"key":... and so on. */
int cmd_entry_text(const struct cmd_key_opts *k, const struct cairn_entry *e,
		   bool json, struct buf *out);

/* Append a number of bytes for people, as 6.9G. */
int cmd_size_text(uint64_t bytes, struct buf *out);

/* The exit status of a look at a file, after a message unless findings were
 * printed. */
int cmd_file_status(struct cmd *c, const struct cmd_findings *f, int err,
		    const char *path);

/* For commands on files: those of the daemon are none of its business. */
int cmd_not_in_daemon(struct cmd *c);

/* -------------------------------------------------------------- commands */

typedef int cmd_fn(struct cmd *c, int argc, char **argv);

cmd_fn cmd_init;
cmd_fn cmd_get;
cmd_fn cmd_put;
cmd_fn cmd_merge;
cmd_fn cmd_del;
cmd_fn cmd_ls;
cmd_fn cmd_history;
cmd_fn cmd_lease;
cmd_fn cmd_diff;
cmd_fn cmd_watch;
cmd_fn cmd_txn;
cmd_fn cmd_dump;
cmd_fn cmd_load;
cmd_fn cmd_stats;
cmd_fn cmd_flush;
cmd_fn cmd_compact;
cmd_fn cmd_forget;
cmd_fn cmd_checkpoint;
cmd_fn cmd_ingest;
cmd_fn cmd_import;
cmd_fn cmd_hash;
cmd_fn cmd_verify;
cmd_fn cmd_repair;
cmd_fn cmd_sst;
cmd_fn cmd_wal;
cmd_fn cmd_manifest;

/* These run in the shell only, on the process's own streams. */
int cmd_mount(int argc, char **argv);
int cmd_umount(int argc, char **argv);

/* The entry of a command that runs on a store; NULL when there is none. */
struct cmd_entry {
	const char *name;
	cmd_fn *run;
	bool everyday; /* shown by `cairn` alone */
	const char *summary;
};
const struct cmd_entry *cmd_find(const char *name);
/* All of them; NULL past the end. */
const struct cmd_entry *cmd_at(size_t i);

#endif
