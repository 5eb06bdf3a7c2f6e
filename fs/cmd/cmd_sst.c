/* SPDX-License-Identifier: BSD-3-Clause */
#include <inttypes.h>

#include "fs/cmd/cmd.h"
#include "fs/text/jsontext.h"
#include "fs/text/keytext.h"

static const struct cmd_usage usage = {
	.synopsis = "[--props] [--blocks] [--keys] [--check] FILE...",
	.summary = "Show table files (sstables) of cairn, RocksDB or LevelDB, "
		   "also damaged ones",
	.example = "cairn sst --blocks /srv/app/000012.sst",
	.min_args = 1,
	.max_args = -1,
};

struct show {
	struct cmd_findings findings; /* first: the context of cmd_finding() */
	struct cmd *c;
	const struct cmd_key_opts *keys;
	const char *path;
	bool props, blocks, entries, json;
	uint64_t n_entries, n_blocks;
	struct buf line;
};

static int put_line(struct show *s, int err)
{
	if (!err)
		err = buf_append(&s->line, s->json ? "}\n" : "\n",
				 s->json ? 2 : 1);
	return err ? err : cmd_write(s->c, s->line.data, s->line.len);
}

/* Begin a line of JSON, which always says of which file it is. */
static int begin_json(struct show *s)
{
	int err;

	buf_clear(&s->line);
	err = buf_printf(&s->line, "{\"file\":");
	return err ? err : jsontext_string(slice_str(s->path), &s->line);
}

static int on_summary(void *ctx, const struct cairn_sst_summary *sum)
{
	struct show *s = ctx;
	int err;

	if (s->json) {
		err = begin_json(s);
		if (!err)
			err = buf_printf(&s->line,
					 ",\"size_bytes\":%" PRIu64
					 ",\"format_version\":%" PRIu32
					 ",\"checksum\":\"%s\"",
					 sum->size_bytes, sum->format_version,
					 sum->checksum);
		return put_line(s, err);
	}
	buf_clear(&s->line);
	err = keytext_escape(slice_str(s->path), &s->line);
	if (!err)
		err = buf_printf(&s->line,
				 ": %" PRIu64 " bytes, format_version %" PRIu32
				 ", checksum %s",
				 sum->size_bytes, sum->format_version,
				 sum->checksum);
	return put_line(s, err);
}

static int on_property(void *ctx, const char *name, const char *value)
{
	struct show *s = ctx;
	int err;

	if (s->json) {
		err = begin_json(s);
		if (!err)
			err = buf_printf(&s->line, ",\"property\":");
		if (!err)
			err = jsontext_string(slice_str(name), &s->line);
		if (!err)
			err = buf_printf(&s->line, ",\"value\":");
		if (!err)
			err = jsontext_string(slice_str(value), &s->line);
		return put_line(s, err);
	}
	buf_clear(&s->line);
	err = keytext_escape(slice_str(name), &s->line);
	if (!err)
		err = buf_printf(&s->line, " %s", value);
	return put_line(s, err);
}

static int on_block(void *ctx, const struct cairn_sst_block *b)
{
	struct show *s = ctx;
	int err;

	s->n_blocks++;
	if (!s->blocks)
		return CAIRN_OK;
	if (s->json) {
		err = begin_json(s);
		if (!err)
			err = buf_printf(
				&s->line,
				",\"block\":\"%s\",\"offset\":%" PRIu64
				",\"size_bytes\":%" PRIu64
				",\"raw_bytes\":%" PRIu64
				",\"codec\":\"%s\",\"entries\":%" PRIu64
				",\"damaged\":%s",
				b->kind, b->offset, b->size, b->raw_size,
				b->codec, b->entries,
				b->damaged ? "true" : "false");
		if (!err && b->last_key.data) {
			err = buf_printf(&s->line, ",\"last_key\":");
			if (!err)
				err = cmd_key_json(s->keys, b->last_key,
						   &s->line);
		}
		return put_line(s, err);
	}
	buf_clear(&s->line);
	err = buf_printf(&s->line,
			 "block %" PRIu64 " %" PRIu64 " %" PRIu64 " %s %" PRIu64
			 " %s%s",
			 b->offset, b->size, b->raw_size, b->codec, b->entries,
			 b->kind, b->damaged ? " damaged" : "");
	if (!err && b->last_key.data)
		err = buf_append(&s->line, " ", 1);
	if (!err && b->last_key.data)
		err = cmd_key_write(s->keys, b->last_key, &s->line);
	return put_line(s, err);
}

static int on_entry(void *ctx, const struct cairn_entry *e)
{
	struct show *s = ctx;
	int err = CAIRN_OK;

	s->n_entries++;
	if (!s->entries)
		return CAIRN_OK;
	if (s->json)
		err = begin_json(s);
	else
		buf_clear(&s->line);
	if (!err)
		err = cmd_entry_text(s->keys, e, s->json, &s->line);
	return put_line(s, err);
}

static int show_file(struct show *s, bool check)
{
	const struct cairn_sst_visitor v = {
		.ctx = s,
		.summary = check && !s->json ? NULL : on_summary,
		.property = s->props ? on_property : NULL,
		.block = on_block,
		.entry = on_entry,
		.found = cmd_finding,
	};
	int err;

	s->n_entries = 0;
	s->n_blocks = 0;
	err = cairn_sst_visit(s->path, NULL, &v);
	if (!err && check && !s->json) {
		buf_clear(&s->line);
		err = keytext_escape(slice_str(s->path), &s->line);
		if (!err)
			err = buf_printf(&s->line,
					 ": %" PRIu64 " entries, %" PRIu64
					 " blocks: good",
					 s->n_entries, s->n_blocks);
		err = put_line(s, err);
	}
	return err;
}

int cmd_sst(struct cmd *c, int argc, char **argv)
{
	struct cmd_key_opts keys = { 0 };
	struct show s = { .c = c, .keys = &keys, .findings = { .c = c } };
	bool check = false;
	const struct cmd_opt opts[] = {
		{ "props", 0, CMD_FLAG, &s.props, NULL,
		  "properties (the default)" },
		{ "blocks", 0, CMD_FLAG, &s.blocks, NULL,
		  "a line for each block: offset, bytes, bytes uncompressed, "
		  "codec, entries, kind, last key" },
		{ "keys", 0, CMD_FLAG, &s.entries, NULL,
		  "a line for each entry: key, sequence number, kind, value" },
		{ "check", 0, CMD_FLAG, &check, NULL,
		  "only say whether the file is good" },
		{ "json", 0, CMD_FLAG, &s.json, NULL, "objects, one a line" },
		CMD_KEY_OPTS(&keys),
		{ 0 },
	};
	int status, n, worst = EXIT_YES;

	if (cmd_parse(c, &usage, opts, argc, argv, &n, &status))
		return status;
	if (c->in_daemon)
		return cmd_not_in_daemon(c);
	if (!s.blocks && !s.entries && !check)
		s.props = true;
	s.findings.json = s.json;
	for (int i = 1; i <= n && !c->out_gone; i++) {
		s.path = argv[i];
		status = cmd_file_status(c, &s.findings, show_file(&s, check),
					 argv[i]);
		if (status > worst)
			worst = status;
	}
	buf_fini(&s.line);
	return worst;
}
