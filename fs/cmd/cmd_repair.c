/* SPDX-License-Identifier: BSD-3-Clause */
#include <inttypes.h>

#include "fs/cmd/cmd.h"

static const struct cmd_usage usage = {
	.synopsis = "[--dry-run] [--upgrade] [--json] DIR",
	.summary = "Save what can be read of a damaged store; what is replaced "
		   "goes to DIR/lost",
	.example = "cairn repair --dry-run /srv/app",
	.min_args = 1,
	.max_args = 1,
};

static int print_text(struct cmd *c, const struct cairn_repair_report *r,
		      bool dry_run)
{
	struct buf line = { 0 };
	int err;

	if (!r->damaged)
		return cmd_printf(c, "%" PRIu64 " tables: nothing is wrong\n",
				  r->tables_kept);
	err = buf_printf(&line,
			 "%s: %" PRIu64 " tables stay, %" PRIu64
			 " written anew, %" PRIu64 " lost",
			 dry_run ? "would repair" : "repaired", r->tables_kept,
			 r->tables_rewritten, r->tables_lost);
	if (!err && r->log_records)
		err = buf_printf(&line, "; %" PRIu64 " records of logs kept",
				 r->log_records);
	if (!err && r->blocks_lost)
		err = buf_printf(&line, "; %" PRIu64 " blocks lost",
				 r->blocks_lost);
	if (!err && r->bytes_lost)
		err = buf_printf(&line, "; ");
	if (!err && r->bytes_lost)
		err = cmd_size_text(r->bytes_lost, &line);
	if (!err && r->bytes_lost)
		err = buf_printf(&line, " lost");
	if (!err && r->manifest_rebuilt)
		err = buf_printf(&line, "; the MANIFEST was made anew");
	if (!err)
		err = buf_append(&line, "\n", 1);
	if (!err)
		err = cmd_write(c, line.data, line.len);
	buf_fini(&line);
	return err;
}

static int print_json(struct cmd *c, const struct cairn_repair_report *r)
{
	return cmd_printf(
		c,
		"{\"damaged\":%s,\"repaired\":%s,\"manifest_rebuilt\":%s"
		",\"tables_kept\":%" PRIu64 ",\"tables_rewritten\":%" PRIu64
		",\"tables_lost\":%" PRIu64 ",\"entries_rewritten\":%" PRIu64
		",\"blocks_lost\":%" PRIu64 ",\"bytes_lost\":%" PRIu64
		",\"log_records\":%" PRIu64 "}\n",
		r->damaged ? "true" : "false", r->repaired ? "true" : "false",
		r->manifest_rebuilt ? "true" : "false", r->tables_kept,
		r->tables_rewritten, r->tables_lost, r->entries_rewritten,
		r->blocks_lost, r->bytes_lost, r->log_records);
}

/* What a revision store needs besides its rows. */
static int mend(struct cmd *c, bool json)
{
	struct mvcc_mend_report r;
	int err = mvcc_mend(c->dir, NULL, &r);

	if (err)
		return cmd_fail_code(c, err, c->dir);
	if (r.history_forgotten)
		(void)cmd_fail(c, 0,
			       "%s: what had been forgotten of the history is "
			       "not known: all but the newest is forgotten now",
			       c->dir);
	if (json || (!r.marks && !r.log_entries && !r.attached))
		return EXIT_YES;
	err = cmd_printf(c,
			 "revisions: %" PRIu64 " entries of the change log and "
			 "%" PRIu64 " marks written anew, %" PRIu64 " keys put "
			 "back on their leases\n",
			 r.log_entries, r.marks, r.attached);
	return err ? cmd_fail_code(c, err, NULL) : EXIT_YES;
}

/* Whether something is gone that was there. */
static bool has_loss(const struct cairn_repair_report *r)
{
	return r->tables_lost || r->blocks_lost || r->bytes_lost;
}

int cmd_repair(struct cmd *c, int argc, char **argv)
{
	struct cmd_findings findings = { .c = c, .remarks = true };
	struct cairn_repair_options ro = { .found = cmd_finding,
					   .ctx = &findings,
					   .cancel = c->cancel };
	const struct cmd_opt opts[] = {
		{ "dry-run", 0, CMD_FLAG, &ro.dry_run, NULL,
		  "say what would be done, and change nothing" },
		{ "upgrade", 0, CMD_FLAG, &ro.upgrade, NULL,
		  "make a directory of LevelDB one of RocksDB" },
		{ "json", 0, CMD_FLAG, &findings.json, NULL,
		  "findings and the summary as objects, one a line" },
		{ 0 },
	};
	struct cairn_repair_report r = { 0 };
	int status, n, err;

	if (cmd_parse(c, &usage, opts, argc, argv, &n, &status))
		return status;
	if (c->in_daemon)
		return cmd_fail(c, EXIT_BUSY,
				"%s: is mounted; it can be repaired when it is "
				"not",
				c->dir);
	if (cmd_locate(c, argv[1], &status))
		return status;
	err = cairn_repair(c->dir, NULL, &ro, &r);
	if (err) {
		status = cmd_fail_code(c, err, argv[1]);
		if (err == CAIRN_ENOTSUP && !ro.upgrade)
			cmd_hint(c, "a directory of LevelDB's is repaired with "
				    "--upgrade");
		return status;
	}
	err = findings.json ? print_json(c, &r) : print_text(c, &r, ro.dry_run);
	if (err)
		return cmd_fail_code(c, err, NULL);
	if (ro.dry_run && r.damaged)
		return EXIT_DAMAGE;
	status = r.repaired ? mend(c, findings.json) : EXIT_YES;
	if (status)
		return status;
	return has_loss(&r) ? EXIT_DAMAGE : EXIT_YES;
}
