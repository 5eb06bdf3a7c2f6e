/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/error.h"
#include "fs/cmd/cmd.h"
#include "fs/text/timetext.h"
#include "mvcc/lease.h"

static const struct cmd_usage usage = {
	.synopsis = "grant [--id ID] DIR TTL | list DIR |\n"
		    "       cairn lease {revoke | keepalive | ttl} DIR ID",
	.summary = "Leases: a time to live that keys share. TTL is a time, as "
		   "30s or 2h; ID is in hex",
	.example = "cairn put --lease $(cairn lease grant /mnt/app 30s) "
		   "/mnt/app up yes",
	.min_args = 2,
	.max_args = 3,
};

struct lease_cmd {
	struct cmd *c;
	const char *id_text; /* of --id */
	bool json;
	bool keys;
	bool verbose;
	struct cmd_key_opts key_opts;
	int64_t id;
	int64_t ttl;
	/* Scratch. */
	struct buf line;
	uint64_t n_keys;
};

int cmd_lease_id(struct cmd *c, const char *text, int64_t *id)
{
	char *end;
	unsigned long long v;

	errno = 0;
	v = strtoull(text, &end, 16);
	if (strspn(text, "0123456789abcdefABCDEF") != strlen(text) || !*text ||
	    errno || v == 0 || v > INT64_MAX)
		return cmd_fail(c, EXIT_USAGE,
				"%s: not a lease: 1 to 16 hex digits", text);
	*id = (int64_t)v;
	return EXIT_YES;
}

int cmd_ttl(struct cmd *c, const char *text, int64_t *seconds)
{
	if (!timetext_ttl(text, seconds))
		return cmd_fail(c, EXIT_USAGE,
				"%s: not a time: digits and s, m, h or d",
				text);
	if (*seconds > 0 && *seconds <= MVCC_LEASE_TTL_MAX)
		return EXIT_YES;
	return cmd_fail(c, EXIT_USAGE,
			"%s: not a time to live: 1 to %" PRId64 " seconds",
			text, MVCC_LEASE_TTL_MAX);
}

/* -------------------------------------------------------------- actions */

static int grant(struct lease_cmd *l)
{
	int64_t granted = 0;
	int err = cmd_may_grow(l->c);

	if (!err)
		err = mvcc_lease_grant(l->c->m, l->ttl, &l->id, &granted);
	if (!err)
		err = cmd_printf(l->c, "%" PRIx64 "\n", (uint64_t)l->id);
	if (!err && granted != l->ttl)
		cmd_hint(l->c,
			 "granted for %" PRId64 " seconds, the least there is",
			 granted);
	return err;
}

static int revoke(struct lease_cmd *l)
{
	int64_t rev;
	int err = mvcc_lease_revoke(l->c->m, l->id, &rev);

	if (!err && l->verbose)
		err = cmd_printf(l->c, "%" PRId64 "\n", rev);
	return err;
}

static int keepalive(struct lease_cmd *l)
{
	int64_t ttl;
	int err = mvcc_lease_keepalive(l->c->m, l->id, &ttl);

	if (!err && !ttl)
		return CAIRN_NOT_FOUND;
	if (!err && l->verbose)
		err = cmd_printf(l->c, "%" PRId64 "\n", ttl);
	return err;
}

static int print_key(void *ctx, struct cairn_slice key)
{
	struct lease_cmd *l = ctx;
	int err = cmd_check_cancel(l->c);

	if (err)
		return err;
	buf_clear(&l->line);
	if (l->json && l->n_keys++)
		err = buf_append(&l->line, ",", 1);
	if (!err)
		err = l->json ? cmd_key_json(&l->key_opts, key, &l->line)
			      : cmd_key_write(&l->key_opts, key, &l->line);
	if (!err && !l->json)
		err = buf_append(&l->line, "\n", 1);
	if (!err)
		err = cmd_write(l->c, l->line.data, l->line.len);
	return err;
}

/* What is known of a lease, but its keys; the line is open for them. */
static int print_info(struct lease_cmd *l, const struct mvcc_lease_info *i)
{
	if (l->json)
		return cmd_printf(l->c,
				  "{\"id\":\"%" PRIx64
				  "\",\"remaining_seconds\":%" PRId64
				  ",\"granted_seconds\":%" PRId64,
				  (uint64_t)i->id, i->remaining, i->granted);
	return cmd_printf(l->c, "%" PRIx64 " %" PRId64 " %" PRId64 "\n",
			  (uint64_t)i->id, i->remaining, i->granted);
}

static int show(struct lease_cmd *l, const struct mvcc_lease_info *i)
{
	int err = print_info(l, i);

	if (!err && l->json && l->keys)
		err = cmd_printf(l->c, ",\"keys\":[");
	l->n_keys = 0;
	if (!err && l->keys)
		err = mvcc_lease_keys(l->c->m, i->id, print_key, l);
	if (!err && l->json && l->keys)
		err = cmd_printf(l->c, "]");
	if (!err && l->json)
		err = cmd_printf(l->c, "}\n");
	return err;
}

static int show_one(struct lease_cmd *l)
{
	struct mvcc_lease_info info;
	int err = mvcc_lease_get(l->c->m, l->id, &info);

	return err ? err : show(l, &info);
}

static int list(struct lease_cmd *l)
{
	struct mvcc_lease_info *all = NULL;
	size_t n = 0;
	int err = mvcc_lease_list(l->c->m, &all, &n);

	for (size_t i = 0; i < n && !err; i++)
		err = show(l, &all[i]);
	free(all);
	return err;
}

static const struct action {
	const char *name;
	int (*run)(struct lease_cmd *l);
	int n_args; /* DIR included */
	enum cmd_access access;
} actions[] = {
	{ "grant", grant, 2, CMD_WRITE },
	{ "revoke", revoke, 2, CMD_WRITE },
	{ "keepalive", keepalive, 2, CMD_WRITE },
	{ "ttl", show_one, 2, CMD_READ },
	{ "list", list, 1, CMD_READ },
};

static const struct action *find_action(const char *name)
{
	for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++)
		if (!strcmp(actions[i].name, name))
			return &actions[i];
	return NULL;
}

/* Everything that can be wrong before a store is touched. */
static int check_args(struct lease_cmd *l, const struct action *a, char **argv,
		      int n)
{
	if (!a)
		return cmd_fail(l->c, EXIT_USAGE,
				"%s: not one of grant, revoke, keepalive, ttl "
				"and list",
				argv[1]);
	if (n - 1 != a->n_args)
		return cmd_fail(l->c, EXIT_USAGE, "%s: wants DIR%s", a->name,
				a->n_args == 1    ? ""
				: a->run == grant ? " and TTL"
						  : " and ID");
	if (l->id_text && a->run != grant)
		return cmd_fail(l->c, EXIT_USAGE, "--id: for grant only");
	if (l->id_text && cmd_lease_id(l->c, l->id_text, &l->id))
		return EXIT_USAGE;
	if (a->run == grant)
		return cmd_ttl(l->c, argv[3], &l->ttl);
	return a->n_args == 2 ? cmd_lease_id(l->c, argv[3], &l->id) : EXIT_YES;
}

/* Two of the messages are etcd's, for programs that look for them. */
static int say_failure(struct lease_cmd *l, int err)
{
	if (err == CAIRN_NOT_FOUND)
		return cmd_fail(l->c, EXIT_NO, "%" PRIx64 ": no such lease",
				(uint64_t)l->id);
	if (err == CAIRN_EEXIST)
		return cmd_fail(l->c, cmd_exit_of(err),
				"%" PRIx64 ": there is such a lease already",
				(uint64_t)l->id);
	return cmd_fail_code(l->c, err, NULL);
}

int cmd_lease(struct cmd *c, int argc, char **argv)
{
	struct lease_cmd l = { .c = c };
	const struct cmd_opt opts[] = {
		{ "id", 0, CMD_STRING, &l.id_text, "ID",
		  "grant: this one, instead of choosing one" },
		{ "keys", 0, CMD_FLAG, &l.keys, NULL,
		  "ttl, list: the keys of each lease behind it" },
		{ "json", 0, CMD_FLAG, &l.json, NULL,
		  "ttl, list: objects, one a line" },
		{ "verbose", 'v', CMD_FLAG, &l.verbose, NULL,
		  "revoke: print the revision; keepalive: the seconds" },
		{ "hex", 0, CMD_FLAG, &l.key_opts.hex, NULL,
		  "keys as 0x and hex digits" },
		{ "raw", 0, CMD_FLAG, &l.key_opts.raw, NULL,
		  "keys as plain bytes" },
		{ 0 },
	};
	const struct action *a;
	int status, n, err;

	if (cmd_parse(c, &usage, opts, argc, argv, &n, &status))
		return status;
	a = find_action(argv[1]);
	status = check_args(&l, a, argv, n);
	if (status || cmd_open(c, argv[2], a->access, &status))
		return status;
	status = cmd_need_revisions(c);
	if (status)
		return cmd_close(c, status);
	err = a->run(&l);
	if (err)
		status = say_failure(&l, err);
	buf_fini(&l.line);
	return cmd_close(c, status);
}
