/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Options of commands. Not getopt: that keeps its place in globals, and the
 * daemon runs commands on several threads; it obeys POSIXLY_CORRECT; and it
 * takes beginnings of names, which later options would make ambiguous.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/error.h"
#include "engine/base/nearest.h"
#include "fs/cmd/cmd.h"

/* A command line being read. */
struct parse {
	struct cmd *c;
	const struct cmd_usage *usage;
	const struct cmd_opt *opts;
	int argc;
	char **argv;
	int at; /* the argument being looked at */
};

/* What a step says: go on, or end with a status. */
#define GO_ON (-1)

static int print_help(struct cmd *c, const struct cmd_usage *u,
		      const struct cmd_opt *opts)
{
	int err = cmd_printf(c, "usage: cairn %s %s\n%s.\n", c->name,
			     u->synopsis, u->summary);

	if (!err && opts->name)
		err = cmd_printf(c, "\noptions:\n");
	for (const struct cmd_opt *o = opts; o->name && !err; o++) {
		char left[64];

		snprintf(left, sizeof(left), "%s%c%s--%s%s%s",
			 o->letter ? "-" : "  ", o->letter ? o->letter : ' ',
			 o->letter ? ", " : " ", o->name, o->arg ? " " : "",
			 o->arg ? o->arg : "");
		err = cmd_printf(c, "  %-22s %s\n", left, o->help);
	}
	if (!err)
		err = cmd_printf(c,
				 "\nexample: %s\n"
				 "\nexit: 0 done, 1 no such key, 2 usage, "
				 "3 system, 4 in use, 5 damage, 6 full,\n"
				 "      7 not supported, 8 revision forgotten "
				 "or not yet written\n",
				 u->example);
	return err ? cmd_fail_code(c, err, NULL) : EXIT_YES;
}

static int store_int(struct cmd *c, const struct cmd_opt *o, const char *value)
{
	char *end;
	long long v;

	errno = 0;
	v = strtoll(value, &end, 10);
	if (*value < '0' || *value > '9' || *end || errno)
		return cmd_fail(c, EXIT_USAGE, "--%s %s: not a number", o->name,
				value);
	*(int64_t *)o->dst = v;
	return GO_ON;
}

static int store(struct cmd *c, const struct cmd_opt *o, const char *value)
{
	switch (o->kind) {
	case CMD_FLAG:
		*(bool *)o->dst = true;
		break;
	case CMD_STRING:
		*(const char **)o->dst = value;
		break;
	case CMD_INT:
		return store_int(c, o, value);
	}
	return GO_ON;
}

/* The next argument as that of an option; NULL when there is none. */
static const char *next_arg(struct parse *p)
{
	return p->at + 1 < p->argc ? p->argv[++p->at] : NULL;
}

static int missing_arg(struct parse *p, const struct cmd_opt *o)
{
	return cmd_fail(p->c, EXIT_USAGE, "--%s: its argument %s is missing",
			o->name, o->arg);
}

static int unknown(struct parse *p, const char *name, size_t len)
{
	const char *best = NULL;
	char given[64];

	snprintf(given, sizeof(given), "%.*s", (int)(len < 63 ? len : 63),
		 name);
	for (const struct cmd_opt *o = p->opts; o->name; o++)
		nearest_consider(given, o->name, &best);
	nearest_consider(given, "help", &best);
	if (best)
		return cmd_fail(p->c, EXIT_USAGE,
				"--%s: no such option; did you mean --%s?",
				given, best);
	return cmd_fail(p->c, EXIT_USAGE,
			"--%s: no such option; see cairn %s --help", given,
			p->c->name);
}

/* "--name", "--name=value", "--name" "value"; arg is behind the dashes. */
static int long_option(struct parse *p, const char *arg)
{
	const char *equals = strchr(arg, '=');
	size_t len = equals ? (size_t)(equals - arg) : strlen(arg);
	const char *value = equals ? equals + 1 : NULL;
	const struct cmd_opt *o = p->opts;

	while (o->name &&
	       (strlen(o->name) != len || strncmp(o->name, arg, len) != 0))
		o++;
	if (!o->name && len == 4 && !strncmp(arg, "help", len) && !value)
		return print_help(p->c, p->usage, p->opts);
	if (!o->name)
		return unknown(p, arg, len);
	if (o->kind == CMD_FLAG && value)
		return cmd_fail(p->c, EXIT_USAGE, "--%s: takes no argument",
				o->name);
	if (o->kind != CMD_FLAG && !value && !(value = next_arg(p)))
		return missing_arg(p, o);
	return store(p->c, o, value);
}

/* "-lv", "-nvalue", "-n" "value"; letters are behind the dash. */
static int short_options(struct parse *p, const char *letters)
{
	for (; *letters; letters++) {
		const struct cmd_opt *o = p->opts;
		const char *value = NULL;
		int status;

		while (o->name && o->letter != *letters)
			o++;
		if (!o->name)
			return cmd_fail(p->c, EXIT_USAGE,
					"-%c: no such option; see cairn %s "
					"--help",
					*letters, p->c->name);
		if (o->kind != CMD_FLAG) {
			value = letters[1] ? letters + 1 : next_arg(p);
			if (!value)
				return missing_arg(p, o);
		}
		status = store(p->c, o, value);
		if (status != GO_ON || o->kind != CMD_FLAG)
			return status;
	}
	return GO_ON;
}

int cmd_parse(struct cmd *c, const struct cmd_usage *u,
	      const struct cmd_opt *opts, int argc, char **argv, int *n,
	      int *status)
{
	struct parse p = {
		.c = c, .usage = u, .opts = opts, .argc = argc, .argv = argv
	};
	bool only_operands = false;
	int operands = 0;

	*status = GO_ON;
	for (p.at = 1; p.at < argc && *status == GO_ON; p.at++) {
		char *arg = argv[p.at];

		if (only_operands || *arg != '-' || !arg[1])
			argv[++operands] = arg;
		else if (!strcmp(arg, "--"))
			only_operands = true;
		else if (arg[1] == '-')
			*status = long_option(&p, arg + 2);
		else
			*status = short_options(&p, arg + 1);
	}
	if (*status != GO_ON)
		return CAIRN_EINVAL;
	argv[operands + 1] = NULL;
	if (operands < u->min_args ||
	    (u->max_args >= 0 && operands > u->max_args)) {
		*status = cmd_fail(c, EXIT_USAGE, "%s; usage: cairn %s %s",
				   operands < u->min_args
					   ? "an operand is missing"
					   : "too many operands",
				   c->name, u->synopsis);
		return CAIRN_EINVAL;
	}
	*status = EXIT_YES;
	*n = operands;
	return CAIRN_OK;
}
