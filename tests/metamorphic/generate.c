/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/metamorphic/generate.h"

#include <stdlib.h>

#include "engine/base/rng.h"
#include "tests/compat/die.h"
#include "tests/metamorphic/model.h"

/* Of 100 keys so many are there already, when there are any. */
#define KEYS_THERE 70

struct generator {
	struct rng rng;
	struct model model;
	uint64_t serial;
	struct buf line;
	struct buf out; /* of the model */
};

static uint64_t below(struct generator *g, uint64_t n)
{
	return rng_below(&g->rng, n);
}

static bool percent(struct generator *g, unsigned p)
{
	return below(g, 100) < p;
}

/* --------------------------------------------------------------------- keys */

/* Odd ones that every history has. */
static const struct {
	const char *bytes;
	size_t len;
} odd_keys[] = {
	{ "", 0 },     { "\0", 1 },       { "\0\0", 2 },
	{ "a", 1 },    { "aa", 2 },       { "aa\0", 3 },
	{ "aa/", 3 },  { "ah", 2 },       { "ah\xff", 3 },
	{ "\xff", 1 }, { "\xff\xff", 2 }, { "\xff\xff\xff", 3 },
};

static void random_key(struct generator *g, struct buf *key)
{
	size_t odd =
		(size_t)below(g, 12 * sizeof(odd_keys) / sizeof(odd_keys[0]));

	buf_clear(key);
	if (odd < sizeof(odd_keys) / sizeof(odd_keys[0])) {
		must(buf_append(key, odd_keys[odd].bytes, odd_keys[odd].len),
		     "key");
		return;
	}
	/* Prefixes are shared, and so are ends. */
	must(buf_printf(key, "a%c/%02u", (int)('a' + below(g, 8)),
			(unsigned)below(g, 10)),
	     "key");
	if (percent(g, 40))
		must(buf_printf(key, "@%u", (unsigned)below(g, 5)), "key");
	else if (percent(g, 3))
		must(buf_printf(key, "%0300u", (unsigned)below(g, 3)), "key");
}

static void key(struct generator *g, struct buf *out)
{
	const struct view *v = &g->model.now;

	if (!v->n || !percent(g, KEYS_THERE)) {
		random_key(g, out);
		return;
	}
	must(buf_set(out, word_slice(v->v[below(g, v->n)].key)), "key");
}

/* To be put once, and then deleted by single_delete. */
static void once_key(struct generator *g, bool there, struct buf *out)
{
	const struct view *v = &g->model.now;
	size_t at = view_lower_bound(v, slice_str("~"));

	for (; there && at < v->n; at++) {
		struct cairn_slice k = word_slice(v->v[at].key);

		if (!slice_starts_with(k, slice_str("~")))
			break;
		if (v->v[at].once && percent(g, 30)) {
			must(buf_set(out, k), "key");
			return;
		}
	}
	buf_clear(out);
	must(buf_printf(out, "~%u/%02u", (unsigned)below(g, 2),
			(unsigned)below(g, 15)),
	     "key");
}

static void add_key(struct generator *g)
{
	struct buf k = { 0 };

	key(g, &k);
	text_add_bytes(&g->line, slice_of(k.data ? k.data : (void *)"", k.len));
	buf_fini(&k);
}

/* Two keys in order; open: some are none. close_by: mostly few between them. */
static void add_span(struct generator *g, bool open, bool close_by)
{
	struct buf a = { 0 }, b = { 0 };
	struct cairn_slice low, high;

	key(g, &a);
	if (close_by && percent(g, 85)) {
		const struct view *v = &g->model.now;
		size_t at = view_lower_bound(v, buf_slice(&a)) +
			    (size_t)below(g, 6);

		if (at < v->n)
			must(buf_set(&b, word_slice(v->v[at].key)), "key");
		else
			key(g, &b);
	} else {
		key(g, &b);
	}
	low = slice_of(a.data ? a.data : (void *)"", a.len);
	high = slice_of(b.data ? b.data : (void *)"", b.len);
	if (slice_cmp(low, high) > 0 && !(close_by && percent(g, 2))) {
		struct cairn_slice swap = low;

		low = high;
		high = swap;
	}
	if (open && percent(g, 40))
		low = slice_of(NULL, 0);
	if (open && percent(g, 40))
		high = slice_of(NULL, 0);
	text_add_bytes(&g->line, low);
	must(buf_append(&g->line, " ", 1), "line");
	text_add_bytes(&g->line, high);
	buf_fini(&a);
	buf_fini(&b);
}

static void add_value(struct generator *g)
{
	static const struct {
		unsigned of_1000;
		unsigned len;
	} sizes[] = {
		{ 30, 0 },    { 500, 8 },   { 300, 60 },   { 120, 400 },
		{ 45, 3000 }, { 4, 30000 }, { 1, 200000 },
	};
	uint64_t roll = below(g, 1000);
	char text[32];
	size_t i = 0;

	snprintf(text, sizeof(text), "v%llu", (unsigned long long)g->serial++);
	while (roll >= sizes[i].of_1000)
		roll -= sizes[i++].of_1000;
	if (!sizes[i].len)
		must(buf_append(&g->line, "%", 1), "line");
	else
		text_add_filled(&g->line, text,
				(size_t)(8 + below(g, sizes[i].len)));
}

static void add_operand(struct generator *g)
{
	uint8_t number[8] = { 0 };

	number[0] = (uint8_t)(g->serial++);
	number[2] = (uint8_t)below(g, 256);
	if (strcmp(g->model.merge->name, "add") == 0 && percent(g, 95))
		text_add_bytes(&g->line, slice_of(number, 8));
	else if (percent(g, 5))
		must(buf_append(&g->line, "%", 1), "line");
	else
		must(buf_printf(&g->line, "m%llu",
				(unsigned long long)g->serial++),
		     "line");
}

/* -------------------------------------------------------------------- slots */

/* One that is used, or unused, if there is such, mostly. */
static unsigned slot(struct generator *g, unsigned n, bool used,
		     bool (*is_used)(const struct model *m, unsigned i))
{
	unsigned first = (unsigned)below(g, n);

	if (percent(g, 5))
		return first;
	for (unsigned i = 0; i < n; i++)
		if (is_used(&g->model, (first + i) % n) == used)
			return (first + i) % n;
	return first;
}

static bool batch_used(const struct model *m, unsigned i)
{
	return m->batches[i].used;
}

static bool batch_indexed(const struct model *m, unsigned i)
{
	return m->batches[i].used && m->batches[i].indexed;
}

static bool iter_used(const struct model *m, unsigned i)
{
	return m->iters[i].used;
}

static bool iter_valid(const struct model *m, unsigned i)
{
	return m->iters[i].used && m->iters[i].valid;
}

static bool iter_movable_back(const struct model *m, unsigned i)
{
	return iter_valid(m, i) && !m->iters[i].prefix;
}

static bool iter_without_prefix(const struct model *m, unsigned i)
{
	return m->iters[i].used && !m->iters[i].prefix;
}

static bool iter_has_batch(const struct model *m, unsigned i)
{
	return m->iters[i].used && m->iters[i].has_batch;
}

static bool snapshot_used(const struct model *m, unsigned i)
{
	return m->snapshots[i].used;
}

static bool pin_used(const struct model *m, unsigned i)
{
	return m->pins[i];
}

static unsigned iter_slot(struct generator *g, enum op_kind kind, unsigned arg)
{
	switch ((int)kind) {
	case OP_iter:
	case OP_batch_iter:
		return slot(g, N_ITERS, false, iter_used);
	case OP_iter_clone:
	case OP_iter_clone_bounds:
		return slot(g, N_ITERS, arg == 0, iter_used);
	case OP_batch_refresh:
		return slot(g, N_ITERS, true, iter_has_batch);
	case OP_iter_last:
		return slot(g, N_ITERS, true, iter_without_prefix);
	case OP_iter_next:
	case OP_iter_next_n:
	case OP_pin_iter:
		return slot(g, N_ITERS, true, iter_valid);
	case OP_iter_prev:
	case OP_iter_prev_n:
		return slot(g, N_ITERS, true, iter_movable_back);
	default:
		return slot(g, N_ITERS, true, iter_used);
	}
}

static unsigned batch_slot(struct generator *g, enum op_kind kind)
{
	switch ((int)kind) {
	case OP_batch:
	case OP_batch_indexed:
		return slot(g, N_BATCHES, false, batch_used);
	case OP_batch_get:
	case OP_batch_iter:
	case OP_batch_refresh:
		return slot(g, N_BATCHES, true, batch_indexed);
	default:
		return slot(g, N_BATCHES, true, batch_used);
	}
}

static void add_number(struct generator *g, uint64_t n)
{
	must(buf_printf(&g->line, "%llu", (unsigned long long)n), "line");
}

static void add_snapshot(struct generator *g)
{
	unsigned s = slot(g, N_SNAPSHOTS, true, snapshot_used);

	if (g->model.snapshots[s].used && percent(g, 50))
		add_number(g, s);
	else
		must(buf_append(&g->line, "-", 1), "line");
}

/* ---------------------------------------------------------------- arguments */

/* A few changes of keys that ascend, in up to three tables. */
static void add_ingest(struct generator *g)
{
	unsigned n = 1 + (unsigned)below(g, 12);
	struct view keys = { 0 };
	struct word *none = word_new(slice_of("", 0));
	struct buf k = { 0 };
	size_t begun = 0; /* where the present table begins */
	unsigned tables = 1;

	add_number(g, below(g, 3));
	for (unsigned i = 0; i < n; i++) {
		if (percent(g, 10))
			once_key(g, false, &k);
		else
			key(g, &k);
		view_put(&keys, buf_slice(&k), none);
	}
	for (size_t i = 0; i < keys.n; i++) {
		struct cairn_slice at = word_slice(keys.v[i].key);
		unsigned what = (unsigned)below(g, 10);

		if (i > begun && tables < INGEST_TABLES && percent(g, 15)) {
			must(buf_append(&g->line, " /", 2), "line");
			begun = i;
			tables++;
		}
		must(buf_printf(&g->line, " %c ", "ppppppddmm"[what]), "line");
		text_add_bytes(&g->line, at);
		if (what < 6 || what > 7)
			must(buf_append(&g->line, " ", 1), "line");
		if (what < 6)
			add_value(g);
		else if (what > 7)
			add_operand(g);
		/* A range inside of the table's own keys. */
		if (i > begun && percent(g, 15)) {
			must(buf_append(&g->line, " r ", 3), "line");
			text_add_bytes(&g->line, word_slice(keys.v[begun].key));
			must(buf_append(&g->line, " ", 1), "line");
			text_add_bytes(&g->line, at);
		}
	}
	buf_fini(&k);
	word_unref(none);
	view_fini(&keys);
}

/* Numbers that mean something else for each kind. */
static void add_numbers(struct generator *g, enum op_kind kind)
{
	switch ((int)kind) {
	case OP_put_parallel:
		must(buf_printf(&g->line, "%u %u %llu", (unsigned)below(g, 4),
				(unsigned)(1 + below(g, 40)),
				(unsigned long long)g->serial++),
		     "line");
		break;
	case OP_iter_next_n:
	case OP_iter_prev_n:
		add_number(g, 2 + below(g, 8));
		break;
	case OP_compact_cancel:
		add_number(g, below(g, 6));
		break;
	case OP_fault:
		must(buf_printf(&g->line, "%u %u %u", (unsigned)below(g, 9),
				(unsigned)below(g, 40), (unsigned)below(g, 8)),
		     "line");
		break;
	case OP_cut:
	case OP_cut_twice:
		must(buf_printf(&g->line, "%u %u", (unsigned)below(g, 101),
				(unsigned)below(g, 1000000)),
		     "line");
		if (kind == OP_cut_twice)
			must(buf_printf(&g->line, " %u",
					(unsigned)below(g, 30)),
			     "line");
		break;
	default:
		add_number(g, below(g, 1000000));
	}
}

static void add_one_key(struct generator *g, enum op_kind kind)
{
	struct buf k = { 0 };

	switch ((int)kind) {
	case OP_single_delete:
	case OP_batch_single_delete:
		once_key(g, true, &k);
		break;
	case OP_put:
	case OP_put_sync:
	case OP_batch_put:
		if (percent(g, 20)) {
			once_key(g, false, &k);
			break;
		}
		/* fall through */
	default:
		key(g, &k);
	}
	text_add_bytes(&g->line, slice_of(k.data ? k.data : (void *)"", k.len));
	buf_fini(&k);
}

static void add_arguments(struct generator *g, enum op_kind kind)
{
	bool merging = kind == OP_merge || kind == OP_merge_sync ||
		       kind == OP_batch_merge;
	const char *args = op_infos[kind].args;

	for (unsigned i = 0; args[i]; i++) {
		if (args[i] != '+' && args[i] != '*')
			must(buf_append(&g->line, " ", 1), "line");
		switch (args[i]) {
		case 'k':
			if (args[i + 1] == 'k') {
				add_span(g, false, true);
				i++;
			} else {
				add_one_key(g, kind);
			}
			break;
		case 'K':
			add_span(g, true, false);
			i++;
			break;
		case 'v':
			if (merging)
				add_operand(g);
			else
				add_value(g);
			break;
		case 'b':
			add_number(g, batch_slot(g, kind));
			break;
		case 'i':
			add_number(g, iter_slot(g, kind, i));
			break;
		case 's':
			add_number(g, slot(g, N_SNAPSHOTS, kind == OP_release,
					   snapshot_used));
			break;
		case 'S':
			add_snapshot(g);
			break;
		case 'p':
			add_number(g,
				   slot(g, N_PINS, kind == OP_unpin, pin_used));
			break;
		case 'n':
			if (kind == OP_ingest) {
				add_ingest(g);
				return;
			}
			add_numbers(g, kind);
			while (args[i + 1] == 'n')
				i++;
			break;
		case '+':
			for (uint64_t n = below(g, 12); n; n--) {
				must(buf_append(&g->line, " ", 1), "line");
				add_key(g);
			}
			break;
		default:
			break;
		}
	}
}

/* -------------------------------------------------------------------- kinds */

/* How often of 10 * what they add up to. Reads and iterators are most, what
 * closes the store or takes long is rare. */
static const unsigned short weights[N_OP_KINDS] = {
	[OP_put] = 900,
	[OP_put_sync] = 60,
	[OP_put_unlogged] = 40,
	[OP_put_no_wait] = 40,
	[OP_put_parallel] = 8,
	[OP_delete] = 150,
	[OP_delete_range] = 60,
	[OP_single_delete] = 100,
	[OP_merge] = 180,
	[OP_merge_sync] = 20,
	[OP_batch] = 60,
	[OP_batch_indexed] = 70,
	[OP_batch_free] = 10,
	[OP_batch_clear] = 40,
	[OP_batch_put] = 250,
	[OP_batch_delete] = 70,
	[OP_batch_delete_range] = 40,
	[OP_batch_single_delete] = 20,
	[OP_batch_merge] = 80,
	[OP_batch_log_data] = 10,
	[OP_batch_savepoint] = 40,
	[OP_batch_rollback] = 25,
	[OP_batch_pop] = 10,
	[OP_batch_count] = 10,
	[OP_batch_get] = 120,
	[OP_batch_iter] = 60,
	[OP_batch_refresh] = 30,
	[OP_write] = 110,
	[OP_write_sync] = 20,
	[OP_write_unlogged] = 10,
	[OP_get] = 600,
	[OP_multi_get] = 120,
	[OP_pin] = 40,
	[OP_pin_iter] = 30,
	[OP_unpin] = 50,
	[OP_snapshot] = 60,
	[OP_release] = 40,
	[OP_iter] = 120,
	[OP_iter_clone] = 40,
	[OP_iter_clone_bounds] = 40,
	[OP_iter_free] = 120,
	[OP_iter_bounds] = 90,
	[OP_iter_first] = 90,
	[OP_iter_last] = 90,
	[OP_iter_seek_ge] = 300,
	[OP_iter_seek_lt] = 250,
	[OP_iter_seek_prefix] = 120,
	[OP_iter_next] = 300,
	[OP_iter_prev] = 250,
	[OP_iter_next_n] = 80,
	[OP_iter_prev_n] = 80,
	[OP_scan] = 30,
	[OP_scan_back] = 30,
	[OP_scan_prefix] = 50,
	[OP_wal_sync] = 10,
	[OP_flush] = 30,
	[OP_flush_async] = 30,
	[OP_compact_range] = 20,
	[OP_compact] = 10,
	[OP_compact_cancel] = 10,
	[OP_cancel_job] = 4,
	[OP_wait_idle] = 8,
	[OP_resume] = 5,
	[OP_sizes] = 10,
	[OP_facts] = 10,
	[OP_checksums] = 5,
	[OP_verify_open] = 4,
	[OP_verify_closed] = 4,
	[OP_repair] = 3,
	[OP_ingest] = 50,
	[OP_checkpoint] = 8,
	[OP_checkpoint_switch] = 4,
	[OP_close_busy] = 8,
	[OP_open_twice] = 4,
	[OP_reopen] = 8,
	[OP_reopen_read_only] = 4,
	[OP_reopen_other] = 6,
	[OP_fault] = 25,
	[OP_kill] = 8,
	[OP_cut] = 8,
	[OP_cut_twice] = 6,
};

static enum op_kind random_kind(struct generator *g)
{
	uint64_t total = 0, roll;
	int k = 0;

	for (int i = 0; i < N_OP_KINDS; i++)
		total += weights[i];
	roll = below(g, total);
	while (roll >= weights[k])
		roll -= weights[k++];
	return (enum op_kind)k;
}

static void add_op(struct generator *g, enum op_kind kind, struct history *h)
{
	char why[128];
	struct op *op;

	buf_clear(&g->line);
	must(buf_append(&g->line, op_infos[kind].name,
			strlen(op_infos[kind].name)),
	     "line");
	add_arguments(g, kind);
	must(buf_append(&g->line, "", 1), "line");
	op = op_parse((const char *)g->line.data, why, sizeof(why));
	if (!op)
		die("generated \"%s\": %s", (const char *)g->line.data, why);
	buf_clear(&g->out);
	model_run(&g->model, op, &g->out);
	/* Few that have nothing to do, which changed nothing. */
	if (op->skip && percent(g, 85))
		op_free(op);
	else
		history_add(h, op);
}

void generate(uint64_t seed, size_t n, struct history *out)
{
	struct generator g = { .serial = 1 };

	rng_init(&g.rng, seed);
	*out = (struct history){ .merge = merges[below(&g, N_MERGES)].name };
	model_init(&g.model, out->merge);
	while (out->n < n)
		add_op(&g, random_kind(&g), out);
	model_fini(&g.model);
	buf_fini(&g.line);
	buf_fini(&g.out);
}
