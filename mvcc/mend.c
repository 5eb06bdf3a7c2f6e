/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a repair of the engine's files may have lost of a revision store besides
 * rows: its marks, entries of the change log, and which keys are on a lease.
 * Rows tell what they said.
 */
#include <assert.h>
#include <stdlib.h>

#include "engine/base/error.h"
#include "mvcc/encode.h"
#include "mvcc/table_revs.h"

/* Entries that are put together. */
#define BATCH_ENTRIES 1000

struct mend {
	struct cairn_db *db;
	struct mvcc_mend_report *report;
	bool has_format;
	bool has_compact;
	bool foreign; /* there are keys that no revision store has */
	uint64_t rows;
	uint64_t compact;
	uint64_t object;     /* of the mark; 0: none */
	uint64_t max_object; /* met */
	int64_t first_log;   /* main of the first entry; 0: none */
	int64_t last_main;   /* of rows and entries */
	struct cairn_batch *batch;
	struct buf key;
	struct buf value;
	struct buf plain;
};

static void see_main(struct mend *m, int64_t main)
{
	if (main > m->last_main)
		m->last_main = main;
}

static void see_object(struct mend *m, uint64_t object)
{
	if (object > m->max_object)
		m->max_object = object;
}

static int see_mark(struct mend *m, struct cairn_slice k, struct cairn_slice v)
{
	uint64_t n;

	if (enc_number_parse(v, &n))
		return CAIRN_ECORRUPT;
	if (slice_eq(k, slice_str("m/format"))) {
		m->has_format = true;
	} else if (slice_eq(k, slice_str("m/compact"))) {
		m->has_compact = true;
		m->compact = n;
	} else if (slice_eq(k, slice_str("m/object"))) {
		m->object = n;
	} else {
		return CAIRN_ECORRUPT;
	}
	return CAIRN_OK;
}

static int see_attached(struct cairn_slice k)
{
	struct buf key = { 0 };
	int64_t lease;
	int err = enc_attached_parse(k, &lease, &key);

	buf_fini(&key);
	return err;
}

/* The number that a row has taken, though no chunk may have it: a value of
 * zeros has none, and others may be lost. */
static int see_row(struct mend *m, const struct enc_row *row,
		   struct cairn_slice v)
{
	struct mvcc_row r = { .main = row->main, .sub = row->sub };
	int err = enc_row_value_parse(v, v.len, &r, NULL, NULL);

	m->rows++;
	see_main(m, row->main);
	if (!err)
		see_object(m, r.object);
	/* What is malformed is for its readers to find. */
	return err == CAIRN_ENOMEM ? err : CAIRN_OK;
}

/* Learn from one entry; CAIRN_ECORRUPT: no revision store has it. */
static int see(struct mend *m, struct cairn_slice k, struct cairn_slice v)
{
	struct mvcc_change change;
	struct enc_chunk chunk;
	struct enc_ended ended;
	struct enc_lease lease;
	struct enc_row row;
	uint64_t object, from;
	int err;

	switch (k.len ? k.data[0] : 0) {
	case ENC_ATTACHED:
		return see_attached(k);
	case ENC_LEASES:
		return enc_lease_parse(k, v, &lease);
	case ENC_CHUNK:
		err = enc_chunk_parse(k, &chunk);
		if (!err)
			see_object(m, chunk.object);
		return err;
	case ENC_ENDED:
		err = enc_ended_parse(k, v, &ended);
		if (!err)
			see_object(m, ended.object);
		return err;
	case ENC_STAGED:
		err = enc_staged_parse(k, v, &object, &from);
		if (!err)
			see_object(m, object);
		return err;
	case ENC_ROW:
		err = enc_row_parse(k, &row);
		return err ? err : see_row(m, &row, v);
	case ENC_LOG:
		err = enc_log_parse(k, v, &change);
		if (!err) {
			if (!m->first_log)
				m->first_log = change.main;
			see_main(m, change.main);
		}
		return err;
	case ENC_MARK:
		return see_mark(m, k, v);
	default:
		return CAIRN_ECORRUPT;
	}
}

static int survey(struct mend *m)
{
	struct cairn_iter *it;
	int err = cairn_iter_new(m->db, NULL, &it);

	if (err)
		return err;
	for (bool on = cairn_iter_first(it); on && !err;
	     on = cairn_iter_next(it)) {
		err = see(m, cairn_iter_key(it), cairn_iter_value(it));
		if (err == CAIRN_ECORRUPT) {
			m->foreign = true;
			err = CAIRN_OK;
		}
	}
	if (!err)
		err = cairn_iter_status(it);
	cairn_iter_free(it);
	return err;
}

static int write_batch(struct mend *m)
{
	int err = cairn_batch_count(m->batch)
			  ? cairn_write(m->db, NULL, m->batch)
			  : CAIRN_OK;

	cairn_batch_clear(m->batch);
	return err;
}

static int put_mark(struct mend *m, const char *name, uint64_t n)
{
	int err = enc_mark(&m->key, name);

	if (!err)
		err = enc_number(&m->value, n);
	if (!err)
		err = cairn_batch_put(m->batch, buf_slice(&m->key),
				      buf_slice(&m->value));
	m->report->marks++;
	return err;
}

/*
 * The marks are next to one another, and mostly lost together. Which history
 * had been forgotten is then not known: all of it is, unless the log goes back
 * to the first change there can be.
 */
static int mend_marks(struct mend *m)
{
	int err = CAIRN_OK;

	if (!m->has_format && !m->has_compact && m->first_log != 2 &&
	    m->last_main > 1) {
		m->compact = (uint64_t)m->last_main;
		m->report->history_forgotten = true;
		err = put_mark(m, "compact", m->compact);
	}
	if (!err && m->max_object && m->object <= m->max_object)
		err = put_mark(m, "object", m->max_object + 1);
	if (!err && !m->has_format)
		err = put_mark(m, "format", MVCC_FORMAT);
	return err;
}

/* A row that the log must have, and may not. */
static int mend_row(struct mend *m, const struct enc_row *row,
		    struct cairn_slice v)
{
	struct cairn_pinned pin = { 0 };
	int err = enc_log_key(&m->key, row->main, row->sub);

	if (!err)
		err = cairn_get(m->db, NULL, buf_slice(&m->key), &pin);
	cairn_pinned_release(&pin);
	if (err != CAIRN_NOT_FOUND)
		return err;
	err = enc_plain(row->prefix, &m->plain);
	if (!err)
		err = enc_log_value(&m->value, enc_is_tombstone(v),
				    buf_slice(&m->plain));
	if (!err)
		err = cairn_batch_put(m->batch, buf_slice(&m->key),
				      buf_slice(&m->value));
	m->report->log_entries++;
	if (!err && cairn_batch_count(m->batch) >= BATCH_ENTRIES)
		err = write_batch(m);
	return err;
}

/* The newest row of a key, which may be on a lease: it must be known there. A
 * lease that is lost ends no more, and its keys stay. */
static int mend_attached(struct mend *m, const struct enc_row *row,
			 struct cairn_slice v)
{
	struct cairn_pinned pin = { 0 };
	struct mvcc_row r = { .main = row->main, .sub = row->sub };
	int err = enc_plain(row->prefix, &m->plain);

	r.key = buf_slice(&m->plain);
	if (!err)
		err = enc_row_value_parse(v, v.len, &r, NULL, NULL);
	/* What is malformed is for its readers to find. */
	if (err || r.deleted || !r.lease)
		return err == CAIRN_ENOMEM ? err : CAIRN_OK;
	err = enc_attached_key(&m->key, r.lease, r.key);
	if (!err)
		err = cairn_get(m->db, NULL, buf_slice(&m->key), &pin);
	cairn_pinned_release(&pin);
	if (err != CAIRN_NOT_FOUND)
		return err;
	m->report->attached++;
	return cairn_batch_put(m->batch, buf_slice(&m->key), slice_of(NULL, 0));
}

static int mend_log(struct mend *m)
{
	const struct cairn_read_options rows = { .lower = slice_str("k"),
						 .upper = slice_str("l") };
	struct cairn_iter *it;
	struct buf last = { 0 };
	int err = cairn_iter_new(m->db, &rows, &it);

	if (err)
		return err;
	for (bool on = cairn_iter_first(it); on && !err;
	     on = cairn_iter_next(it)) {
		struct enc_row row;

		/* What is no row has been met before. */
		if (enc_row_parse(cairn_iter_key(it), &row))
			continue;
		if (!slice_eq(buf_slice(&last), row.prefix)) {
			err = buf_set(&last, row.prefix);
			if (!err)
				err = mend_attached(m, &row,
						    cairn_iter_value(it));
		}
		if (!err && (uint64_t)row.main >= m->compact)
			err = mend_row(m, &row, cairn_iter_value(it));
	}
	if (!err)
		err = cairn_iter_status(it);
	buf_fini(&last);
	cairn_iter_free(it);
	return err;
}

static int mend(struct mend *m)
{
	int err = survey(m);

	if (err)
		return err;
	/* Without the mark every key must look the part. */
	if (!m->has_format && (m->foreign || !m->rows))
		return CAIRN_OK;
	m->report->revisions = true;
	err = mend_log(m);
	if (!err)
		err = mend_marks(m);
	if (!err)
		err = write_batch(m);
	return err ? err : cairn_wal_sync(m->db);
}

int mvcc_mend(const char *dir, const struct cairn_options *engine,
	      struct mvcc_mend_report *report)
{
	static const struct cairn_prefix_extractor prefix = {
		.name = ENC_PREFIX_NAME,
		.prefix_len = enc_prefix_len,
	};
	struct cairn_options *o =
		engine ? cairn_options_clone(engine) : cairn_options_new();
	struct mend m = { .report = report };
	int err = o ? CAIRN_OK : error_nomem(), e;

	*report = (struct mvcc_mend_report){ 0 };
	m.batch = cairn_batch_new();
	if (!err && !m.batch)
		err = error_nomem();
	if (!err) {
		cairn_options_set_prefix_extractor(o, &prefix);
		cairn_options_set_table_collector(o, &table_revs_collector);
		err = cairn_options_set(o, "create_if_missing", "false");
	}
	/* Nothing is to be dropped before it has been looked at. */
	if (!err)
		err = cairn_options_set(o, "auto_compactions", "false");
	if (!err)
		err = cairn_open(dir, o, &m.db);
	if (!err) {
		err = mend(&m);
		e = cairn_close(m.db);
		err = err ? err : e;
	}
	cairn_batch_free(m.batch);
	cairn_options_free(o);
	buf_fini(&m.key);
	buf_fini(&m.value);
	buf_fini(&m.plain);
	return err;
}
