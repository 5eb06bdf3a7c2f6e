/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The same random operations on cairn and on RocksDB, side by side, results
 * compared; and now and then each goes on in the directory of the other.
 *
 *     tee [--with rocksdb|leveldb] [--ops N] [--swaps N] [--seed N] [--keep]
 *
 * Everything is drawn from the seed: keys, values, operations, settings of both
 * stores. With LevelDB, which knows no files but its own, cairn goes on in
 * upgraded copies of what LevelDB left, and LevelDB in its own directory.
 *
 * Each entry of `ops` is one operation, each entry of `kinds` one kind of
 * change in a batch.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/compat/die.h"
#include "tests/compat/keys.h"
#include "tests/compat/store.h"

#define MAX_SNAPSHOTS 4
#define MAX_WALKS     3
#define MAX_TABLES    4 /* ingested at once */

/* Between the letters and the highest of other keys. */
#define ONCE_PREFIX "\xfe"
#define ONCE_KEYS   200u

/* The kinds of change that tables made outside of a store can have. */
#define TABLE_KINDS                                                            \
	(1u << CHANGE_PUT | 1u << CHANGE_DELETE | 1u << CHANGE_DELETE_RANGE |  \
	 1u << CHANGE_MERGE)

/* One of the two stores, and where it is. */
struct side {
	const struct store_ops *ops;
	struct store *s;
	char dir[PATH_LEN];
	bool killed; /* there may be half a table that nobody names */
};

/* Iterators of both over the same state, standing on the same entry. */
struct walk {
	struct cursor *c[2]; /* NULL: free */
	void *const *snapshot;
	struct buf lower;
	struct buf upper;
	bool on;
};

struct tee {
	const char *with;
	uint64_t seed;
	uint64_t n_ops;
	uint64_t n_swaps;
	bool keep; /* the directories, also when all is well */
	void (*swap)(struct tee *t); /* both are closed, and open after it */

	struct rng rng;
	struct keys keys;
	const char *merge; /* name of the operator, NULL: none */
	char work[PATH_LEN];
	unsigned n_dirs;
	struct side side[2];
	void *snapshot[MAX_SNAPSHOTS][2];
	struct walk walk[MAX_WALKS];

	bool once[ONCE_KEYS]; /* see add_once() */

	uint64_t done;   /* operations */
	uint64_t swaps;  /* done */
	uint64_t serial; /* of values */
	uint64_t hits;   /* of point lookups */
	const char *doing;
	struct changes batch;
	struct buf key, value, got[2]; /* scratch */
};

static struct tee tee;

/* -------------------------------------------------------------- failures */

static char command[256];

static void print_context(void)
{
	fprintf(stderr, "in %s, operation %llu, after %llu swaps\n", tee.doing,
		(unsigned long long)tee.done, (unsigned long long)tee.swaps);
	for (int i = 0; i < 2; i++)
		if (tee.side[i].s)
			fprintf(stderr, "%s in %s: %s\n", tee.side[i].ops->name,
				tee.side[i].dir, tee.side[i].s->settings);
		else
			fprintf(stderr, "%s is closed: %s\n",
				tee.side[i].ops->name, tee.side[i].dir);
	fprintf(stderr, "to see it again: %s\n", command);
}

/* RocksDB is built with assertions; what trips one must name the seed, too. */
static void on_signal(int sig)
{
	static const char intro[] = "\nkilled by a signal; to see it again: ";
	ssize_t n;

	n = write(STDERR_FILENO, intro, sizeof(intro) - 1);
	n = write(STDERR_FILENO, command, strlen(command));
	n = write(STDERR_FILENO, "\n", 1);
	(void)n;
	signal(sig, SIG_DFL);
	raise(sig);
}

/* ----------------------------------------------------------- comparisons */

static const char *name_of(int side)
{
	return tee.side[side].ops->name;
}

static void same_value(struct cairn_slice key, struct cairn_slice a,
		       struct cairn_slice b)
{
	if (!slice_eq(a, b))
		die("key %s: %s has %s, %s has %s", shown(key), name_of(0),
		    shown(a), name_of(1), shown(b));
}

/*
 * RocksDB 7.8.3 may leave the versions of a key in two files of one level, and
 * its point lookup ends in the first of them when that has an operand for the
 * key and a range tombstone over it, although the tombstone is older than what
 * the second file has. Its iterator goes on, so that is what counts.
 */
static bool get_by_iterator(struct tee *t, int i, void *snapshot,
			    struct cairn_slice key)
{
	struct cursor *c = t->side[i].ops->cursor(t->side[i].s, snapshot, NULL);
	bool found = c->move(c, MOVE_SEEK_GE, key) && slice_eq(c->key, key);

	if (found)
		must(buf_set(&t->got[i], c->value), "get");
	c->free(c);
	return found;
}

/* True when both have it. */
static bool same_get(struct tee *t, void *const snapshot[2],
		     struct cairn_slice key)
{
	bool found[2];

	for (int i = 0; i < 2; i++)
		found[i] = t->side[i].ops->get(t->side[i].s, snapshot[i], key,
					       &t->got[i]);
	for (int i = 0; i < 2 && t->merge; i++)
		if (t->side[i].ops == &rocksdb_store &&
		    (found[0] != found[1] ||
		     !slice_eq(buf_slice(&t->got[0]), buf_slice(&t->got[1]))))
			found[i] = get_by_iterator(t, i, snapshot[i], key);
	if (found[0] != found[1])
		die("get of key %s: %s finds it, %s does not", shown(key),
		    name_of(found[1]), name_of(found[0]));
	if (found[0])
		same_value(key, buf_slice(&t->got[0]), buf_slice(&t->got[1]));
	t->hits += found[0];
	return found[0];
}

static bool same_move(struct cursor *const c[2], enum move how,
		      struct cairn_slice key)
{
	bool on[2];

	for (int i = 0; i < 2; i++)
		on[i] = c[i]->move(c[i], how, key);
	if (on[0] != on[1])
		die("%s %s: %s stands on %s, %s on nothing", move_names[how],
		    how >= MOVE_SEEK_GE ? shown(key) : "", name_of(on[1]),
		    shown(c[on[1]]->key), name_of(on[0]));
	if (!on[0])
		return false;
	if (!slice_eq(c[0]->key, c[1]->key))
		die("%s %s: %s stands on %s, %s on %s", move_names[how],
		    how >= MOVE_SEEK_GE ? shown(key) : "", name_of(0),
		    shown(c[0]->key), name_of(1), shown(c[1]->key));
	same_value(c[0]->key, c[0]->value, c[1]->value);
	return true;
}

static void new_cursors(struct tee *t, void *const snapshot[2],
			const struct bounds *b, struct cursor *c[2])
{
	for (int i = 0; i < 2; i++)
		c[i] = t->side[i].ops->cursor(t->side[i].s, snapshot[i], b);
}

static void free_cursors(struct cursor *c[2])
{
	for (int i = 0; i < 2; i++) {
		c[i]->free(c[i]);
		c[i] = NULL;
	}
}

static void same_scan(struct tee *t, void *const snapshot[2])
{
	const struct cairn_slice none = { 0 };
	uint64_t forward = 0, back = 0;
	struct cursor *c[2];

	new_cursors(t, snapshot, NULL, c);
	for (bool on = same_move(c, MOVE_FIRST, none); on;
	     on = same_move(c, MOVE_NEXT, none)) {
		must(buf_set(&t->key, c[0]->key), "copy");
		must(buf_set(&t->value, c[0]->value), "copy");
		if (!same_get(t, snapshot, buf_slice(&t->key)))
			die("get misses key %s, which the scan shows",
			    shown(buf_slice(&t->key)));
		same_value(buf_slice(&t->key), buf_slice(&t->got[0]),
			   buf_slice(&t->value));
		forward++;
	}
	for (bool on = same_move(c, MOVE_LAST, none); on;
	     on = same_move(c, MOVE_PREV, none))
		back++;
	if (forward != back)
		die("%llu keys forward, %llu back", (unsigned long long)forward,
		    (unsigned long long)back);
	free_cursors(c);
}

/* Every key that may be there, and one that cannot be, at every snapshot. */
static void same_everything(struct tee *t)
{
	void *const now[2] = { NULL, NULL };

	same_scan(t, now);
	for (unsigned i = 0; i < t->keys.n; i++) {
		keys_get(&t->keys, i, &t->key);
		same_get(t, now, buf_slice(&t->key));
		must(buf_append(&t->key, "!", 1), "key");
		same_get(t, now, buf_slice(&t->key));
	}
	for (int i = 0; i < MAX_SNAPSHOTS; i++)
		if (t->snapshot[i][0])
			same_scan(t, t->snapshot[i]);
}

/* --------------------------------------------------- opening and closing */

static void new_dir(struct tee *t, struct side *side)
{
	snprintf(side->dir, PATH_LEN, "%.200s/%u", t->work, ++t->n_dirs);
}

static void open_side(struct tee *t, int i)
{
	struct side *side = &t->side[i];
	const struct wish w = { .rng = &t->rng, .merge = t->merge };

	side->s = side->ops->open(side->dir, &w);
	side->killed = false;
}

static void close_side(struct tee *t, int i)
{
	struct store *s = t->side[i].s;

	t->side[i].s = NULL;
	t->side[i].ops->close(s);
}

/* RocksDB's iterators look at their snapshot all their life. */
static void release_snapshot(struct tee *t, int at)
{
	for (int i = 0; i < MAX_WALKS; i++)
		if (t->walk[i].c[0] && t->walk[i].snapshot == t->snapshot[at])
			free_cursors(t->walk[i].c);
	for (int i = 0; i < 2; i++) {
		t->side[i].ops->release(t->side[i].s, t->snapshot[at][i]);
		t->snapshot[at][i] = NULL;
	}
}

/* What neither store lets survive its being closed. */
static void release_all(struct tee *t)
{
	for (int i = 0; i < MAX_WALKS; i++)
		if (t->walk[i].c[0])
			free_cursors(t->walk[i].c);
	for (int i = 0; i < MAX_SNAPSHOTS; i++)
		if (t->snapshot[i][0])
			release_snapshot(t, i);
}

/*
 * Close, but leave a copy of the open directory, as after a kill: closing
 * writes tables, a kill leaves logs.
 */
static void kill_side(struct tee *t, int i)
{
	struct side *side = &t->side[i];
	char old[PATH_LEN];

	strcpy(old, side->dir);
	new_dir(t, side);
	dir_copy_live(old, side->dir);
	side->killed = true;
	close_side(t, i);
	dir_remove(old);
}

static void exchange_dirs(struct tee *t)
{
	char dir[PATH_LEN];

	strcpy(dir, t->side[0].dir);
	strcpy(t->side[0].dir, t->side[1].dir);
	strcpy(t->side[1].dir, dir);
}

/* Each goes on in the directory of the other. */
static void swap_both(struct tee *t)
{
	if (rng_one_in(&t->rng, 20))
		dir_check_with_tools(t->side[0].dir, !t->side[0].killed);
	exchange_dirs(t);
	for (int i = 0; i < 2; i++) {
		open_side(t, i);
		t->side[i].ops->verify(t->side[i].s);
	}
	same_everything(t);
}

/* What a store says of the directory of side 0, which is closed. */
static void look_at(struct tee *t, const struct store_ops *ops,
		    const struct wish *w)
{
	struct side *side = &t->side[0];
	const struct store_ops *own = side->ops;

	side->ops = ops;
	side->s = ops->open(side->dir, w);
	ops->verify(side->s);
	same_everything(t);
	close_side(t, 0);
	side->ops = own;
}

/*
 * The other goes on in its own directory, and cairn in a copy of it that it
 * makes RocksDB's: for LevelDB, which knows no files but its own.
 */
static void take_over(struct tee *t)
{
	const struct wish look = { .rng = &t->rng, .read_only = true };
	const struct wish upgrade = { .rng = &t->rng, .upgrade = true };
	const struct wish upgraded = { .rng = &t->rng, .upgraded = true };
	struct side *ours = &t->side[0];

	dir_remove(ours->dir);
	new_dir(t, ours);
	dir_copy_live(t->side[1].dir, ours->dir);
	open_side(t, 1);
	look_at(t, &cairn_store, &look);
	look_at(t, &cairn_store, &upgrade);
	dir_check_with_tools(ours->dir, rng_one_in(&t->rng, 4));
	look_at(t, &rocksdb_store, &upgraded);
	open_side(t, 0);
}

static void swap(struct tee *t)
{
	t->doing = "swap";
	release_all(t);
	for (int i = 0; i < 2; i++)
		if (rng_one_in(&t->rng, 2))
			kill_side(t, i);
		else
			close_side(t, i);
	for (int i = 0; i < 2; i++)
		dir_verify(t->side[i].dir);
	t->swap(t);
	t->swaps++;
}

/* --------------------------------------------------------------- changes */

/* How much of a kind goes into batches, and what it adds to one. */
static const struct kind {
	unsigned weight;
	void (*add)(struct tee *t);
} kinds[N_CHANGE_KINDS];

static void once_key(uint64_t i, struct buf *out)
{
	buf_clear(out);
	must(buf_printf(out, "%sonce%03u", ONCE_PREFIX, (unsigned)i), "key");
}

static void draw_key(struct tee *t)
{
	keys_get(&t->keys, (unsigned)rng_below(&t->rng, t->keys.n), &t->key);
}

static void add_put(struct tee *t)
{
	draw_key(t);
	value_draw(&t->rng, ++t->serial, &t->value);
	changes_add(&t->batch, CHANGE_PUT, buf_slice(&t->key),
		    buf_slice(&t->value));
}

static void add_delete(struct tee *t)
{
	draw_key(t);
	changes_add(&t->batch, CHANGE_DELETE, buf_slice(&t->key),
		    slice_of(NULL, 0));
}

/* Neighbours, a key alone, and rarely whatever lies between two keys. */
static void add_delete_range(struct tee *t)
{
	const struct cairn_slice once = slice_str(ONCE_PREFIX);
	unsigned i = (unsigned)rng_below(&t->rng, t->keys.n);
	unsigned n = 1 + (unsigned)rng_below(&t->rng, 20);

	keys_get(&t->keys, i, &t->key);
	keys_get(&t->keys, (i + n) % t->keys.n, &t->value);
	if (rng_one_in(&t->rng, 100)) {
		keys_draw(&t->keys, &t->rng, &t->value);
	} else if (!keys_is_text(i) || !keys_is_text((i + n) % t->keys.n)) {
		must(buf_set(&t->value, buf_slice(&t->key)), "key");
		must(buf_append(&t->value, "", 1), "key");
	}
	/* Single deletion may not meet other deletions. */
	if (slice_cmp(buf_slice(&t->key), once) < 0 &&
	    slice_cmp(buf_slice(&t->value), once) > 0)
		return;
	if (slice_cmp(buf_slice(&t->key), buf_slice(&t->value)) < 0)
		changes_add(&t->batch, CHANGE_DELETE_RANGE, buf_slice(&t->key),
			    buf_slice(&t->value));
}

/*
 * A key of its own kind that is put only when it is not there and deleted only
 * when it is: what single deletion asks for.
 */
static void add_once(struct tee *t)
{
	uint64_t i = rng_below(&t->rng, ONCE_KEYS);

	once_key(i, &t->key);
	value_draw(&t->rng, ++t->serial, &t->value);
	if (t->once[i])
		changes_add(&t->batch, CHANGE_SINGLE_DELETE, buf_slice(&t->key),
			    slice_of(NULL, 0));
	else
		changes_add(&t->batch, CHANGE_PUT, buf_slice(&t->key),
			    buf_slice(&t->value));
	t->once[i] = !t->once[i];
}

/* Numbers of eight bytes add up; what is longer or shorter counts as 0. */
static void add_merge(struct tee *t)
{
	draw_key(t);
	buf_clear(&t->value);
	must(buf_append_le64(&t->value, rng_next(&t->rng)), "operand");
	if (rng_one_in(&t->rng, strcmp(t->merge, "uint64add") ? 1 : 20))
		must(buf_printf(&t->value, "%llu",
				(unsigned long long)++t->serial),
		     "operand");
	changes_add(&t->batch, CHANGE_MERGE, buf_slice(&t->key),
		    buf_slice(&t->value));
}

static const struct kind kinds[N_CHANGE_KINDS] = {
	[CHANGE_PUT] = { 70, add_put },
	[CHANGE_DELETE] = { 30, add_delete },
	[CHANGE_DELETE_RANGE] = { 3, add_delete_range },
	[CHANGE_SINGLE_DELETE] = { 10, add_once },
	[CHANGE_MERGE] = { 30, add_merge },
};

static const char *const merge_operators[] = { "uint64add", "stringappend" };

/* Of the allowed kinds (a bit each), one that both stores have. */
static void add_change(struct tee *t, unsigned allowed)
{
	unsigned total = 0, kind;
	uint64_t at;

	allowed &= t->side[0].ops->kinds & t->side[1].ops->kinds;
	for (kind = 0; kind < N_CHANGE_KINDS; kind++)
		if (allowed >> kind & 1)
			total += kinds[kind].weight;
	at = rng_below(&t->rng, total);
	for (kind = 0;; kind++) {
		if (!(allowed >> kind & 1))
			continue;
		if (at < kinds[kind].weight)
			break;
		at -= kinds[kind].weight;
	}
	kinds[kind].add(t);
}

static uint64_t batch_len(struct rng *rng)
{
	switch (rng_below(rng, 100)) {
	case 0:
		return 100 + rng_below(rng, 300);
	case 1:
		return 0;
	default:
		return rng_one_in(rng, 4) ? 2 + rng_below(rng, 12) : 1;
	}
}

/* -------------------------------------------------------------- operations */

/* They return how many operations they count for. */

static uint64_t write_batch(struct tee *t, enum write_mode mode)
{
	uint64_t n = batch_len(&t->rng);

	changes_clear(&t->batch);
	for (uint64_t i = 0; i < n; i++)
		add_change(t, ~0u);
	for (int i = 0; i < 2; i++)
		t->side[i].ops->write(t->side[i].s, &t->batch, mode);
	return n ? n : 1;
}

static uint64_t op_write(struct tee *t)
{
	return write_batch(t, rng_one_in(&t->rng, 50) ? WRITE_SYNCED
						      : WRITE_LOGGED);
}

static uint64_t op_write_unlogged(struct tee *t)
{
	uint64_t n = write_batch(t, WRITE_UNLOGGED);

	for (int i = 0; i < 2; i++)
		t->side[i].ops->flush(t->side[i].s);
	return n;
}

/* Now, or one of the snapshots that are held. */
static void *const *draw_snapshot(struct tee *t)
{
	static void *const now[2];
	uint64_t i = rng_below(&t->rng, 2 * MAX_SNAPSHOTS);

	return i < MAX_SNAPSHOTS && t->snapshot[i][0] ? t->snapshot[i] : now;
}

static uint64_t op_get(struct tee *t)
{
	if (rng_one_in(&t->rng, 20))
		once_key(rng_below(&t->rng, ONCE_KEYS), &t->key);
	else
		keys_draw(&t->keys, &t->rng, &t->key);
	same_get(t, draw_snapshot(t), buf_slice(&t->key));
	return 1;
}

static void begin_walk(struct tee *t, struct walk *w)
{
	struct bounds b = { 0 };

	if (rng_one_in(&t->rng, 2)) {
		keys_draw(&t->keys, &t->rng, &t->key);
		must(buf_append(&w->lower, "", 1), "bound"); /* never NULL */
		must(buf_set(&w->lower, buf_slice(&t->key)), "bound");
		b.lower = buf_slice(&w->lower);
	}
	if (rng_one_in(&t->rng, 2)) {
		keys_draw(&t->keys, &t->rng, &t->key);
		must(buf_append(&w->upper, "", 1), "bound");
		must(buf_set(&w->upper, buf_slice(&t->key)), "bound");
		b.upper = buf_slice(&w->upper);
	}
	/* Crossed bounds are nobody's promise. */
	if (b.lower.data && b.upper.data && slice_cmp(b.lower, b.upper) > 0)
		b = (struct bounds){ .lower = b.upper, .upper = b.lower };
	w->snapshot = draw_snapshot(t);
	new_cursors(t, w->snapshot, &b, w->c);
	w->on = false;
}

/* Some steps of an iterator, which may have begun long ago. */
static uint64_t op_walk(struct tee *t)
{
	struct walk *w = &t->walk[rng_below(&t->rng, MAX_WALKS)];
	uint64_t n = 1 + rng_below(&t->rng, 16);

	if (!w->c[0])
		begin_walk(t, w);
	for (uint64_t i = 0; i < n; i++) {
		enum move how = (enum move)rng_below(&t->rng, N_MOVES);

		if (!w->on && (how == MOVE_NEXT || how == MOVE_PREV))
			how = MOVE_SEEK_GE;
		else if (w->on && rng_one_in(&t->rng, 2))
			how = rng_one_in(&t->rng, 3) ? MOVE_PREV : MOVE_NEXT;
		keys_draw(&t->keys, &t->rng, &t->key);
		w->on = same_move(w->c, how, buf_slice(&t->key));
	}
	if (rng_one_in(&t->rng, 3))
		free_cursors(w->c);
	return n;
}

static uint64_t op_scan(struct tee *t)
{
	same_scan(t, draw_snapshot(t));
	return 1;
}

static uint64_t op_snapshot(struct tee *t)
{
	uint64_t at = rng_below(&t->rng, MAX_SNAPSHOTS);

	if (t->snapshot[at][0])
		release_snapshot(t, (int)at);
	else
		for (int i = 0; i < 2; i++)
			t->snapshot[at][i] =
				t->side[i].ops->snapshot(t->side[i].s);
	return 1;
}

static int draw_side(struct tee *t)
{
	return (int)rng_below(&t->rng, 2);
}

static uint64_t op_flush(struct tee *t)
{
	struct side *side = &t->side[draw_side(t)];

	side->ops->flush(side->s);
	return 1;
}

static uint64_t op_compact(struct tee *t)
{
	struct side *side = &t->side[draw_side(t)];

	side->ops->compact(side->s, NULL);
	return 1;
}

static uint64_t op_compact_range(struct tee *t)
{
	struct side *side = &t->side[draw_side(t)];
	struct bounds b = { 0 };

	keys_draw(&t->keys, &t->rng, &t->key);
	keys_draw(&t->keys, &t->rng, &t->value);
	if (slice_cmp(buf_slice(&t->key), buf_slice(&t->value)) <= 0 &&
	    t->key.data && t->value.data) {
		b.lower = buf_slice(&t->key);
		b.upper = buf_slice(&t->value);
	}
	side->ops->compact(side->s, &b);
	return 1;
}

static uint64_t op_reopen(struct tee *t)
{
	int i = draw_side(t);

	release_all(t);
	close_side(t, i);
	open_side(t, i);
	return 1;
}

static uint64_t op_kill(struct tee *t)
{
	int i = draw_side(t);

	release_all(t);
	kill_side(t, i);
	open_side(t, i);
	return 1;
}

/* Go on in a checkpoint. */
static uint64_t op_checkpoint(struct tee *t)
{
	int i = draw_side(t);
	struct side *side = &t->side[i];
	char old[PATH_LEN];

	if (!side->ops->checkpoint)
		return 1;
	release_all(t);
	strcpy(old, side->dir);
	new_dir(t, side);
	side->ops->checkpoint(side->s, side->dir);
	close_side(t, i);
	dir_remove(old);
	open_side(t, i);
	return 1;
}

/* A copy of one of the open directories, read-only, by one of the stores. */
static uint64_t op_look(struct tee *t)
{
	const struct wish look = { .rng = &t->rng,
				   .merge = t->merge,
				   .read_only = true };
	static void *const now[2];
	struct side *side = &t->side[0];
	const struct side own = *side;
	int of = draw_side(t);

	/* What is LevelDB's, or was, is for cairn alone. */
	if (t->side[1].ops == &rocksdb_store && rng_one_in(&t->rng, 2))
		side->ops = &rocksdb_store;
	new_dir(t, side);
	dir_copy_live(of ? t->side[1].dir : own.dir, side->dir);
	side->s = side->ops->open(side->dir, &look);
	side->ops->verify(side->s);
	same_scan(t, now);
	close_side(t, 0);
	dir_remove(side->dir);
	*side = own;
	return 1;
}

static bool batch_has(const struct tee *t, enum change_kind kind)
{
	for (size_t i = 0; i < t->batch.n; i++)
		if (t->batch.v[i].kind == kind)
			return true;
	return false;
}

/* The changes of the batch as n tables: names for each side into paths. */
static size_t make_tables(struct tee *t, char paths[2][MAX_TABLES][PATH_LEN])
{
	struct side *maker = &t->side[draw_side(t)];
	size_t per = 1 + rng_below(&t->rng, t->batch.n), n = 0;

	/* Tables that go in together may not overlap, as ranges would. */
	if (per * MAX_TABLES < t->batch.n || batch_has(t, CHANGE_DELETE_RANGE))
		per = t->batch.n;
	for (size_t at = 0; at < t->batch.n; at += per, n++) {
		const struct changes part = {
			.v = t->batch.v + at,
			.n = t->batch.n - at < per ? t->batch.n - at : per,
		};

		for (int i = 0; i < 2; i++)
			snprintf(paths[i][n], PATH_LEN, "%.200s/%u.sst",
				 t->work, ++t->n_dirs);
		maker->ops->table(maker->s, paths[0][n], &part);
		file_copy(paths[0][n], paths[1][n]);
	}
	return n;
}

/* One of the stores makes tables, both take them in. */
static uint64_t op_ingest(struct tee *t)
{
	static char paths[2][MAX_TABLES][PATH_LEN];
	const char *names[MAX_TABLES];
	uint64_t n = 1 + rng_below(&t->rng, 60);
	size_t n_tables;

	if (!t->side[0].ops->table || !t->side[1].ops->table)
		return 1;
	changes_clear(&t->batch);
	for (uint64_t i = 0; i < n; i++)
		add_change(t, TABLE_KINDS);
	changes_sort(&t->batch);
	n_tables = make_tables(t, paths);
	for (int i = 0; i < 2; i++) {
		for (size_t k = 0; k < n_tables; k++)
			names[k] = paths[i][k];
		t->side[i].ops->ingest(t->side[i].s, names, n_tables,
				       rng_one_in(&t->rng, 2));
		for (size_t k = 0; k < n_tables; k++)
			unlink(names[k]);
	}
	return n;
}

static const struct op {
	const char *name;
	unsigned weight;
	uint64_t (*run)(struct tee *t);
} ops[] = {
	{ "write", 30000, op_write },
	{ "write unlogged", 10, op_write_unlogged },
	{ "get", 25000, op_get },
	{ "walk", 3000, op_walk },
	{ "scan", 10, op_scan },
	{ "snapshot", 400, op_snapshot },
	{ "flush", 60, op_flush },
	{ "compact", 6, op_compact },
	{ "compact range", 30, op_compact_range },
	{ "reopen", 15, op_reopen },
	{ "kill", 15, op_kill },
	{ "checkpoint", 10, op_checkpoint },
	{ "ingest", 60, op_ingest },
	{ "look", 10, op_look },
};

#define N_OPS (sizeof(ops) / sizeof(ops[0]))

static void run_one(struct tee *t)
{
	uint64_t at, total = 0;
	const struct op *op;

	for (size_t i = 0; i < N_OPS; i++)
		total += ops[i].weight;
	at = rng_below(&t->rng, total);
	for (op = ops; at >= op->weight; op++)
		at -= op->weight;
	t->doing = op->name;
	t->done += op->run(t);
}

/* ------------------------------------------------------------------ runs */

static void run(struct tee *t)
{
	t->doing = "open";
	for (int i = 0; i < 2; i++) {
		new_dir(t, &t->side[i]);
		open_side(t, i);
	}
	while (t->done < t->n_ops) {
		run_one(t);
		if (t->swaps < t->n_swaps &&
		    t->done >= t->n_ops / (t->n_swaps + 1) * (t->swaps + 1))
			swap(t);
	}
	t->doing = "end";
	same_everything(t);
	release_all(t);
	for (int i = 0; i < 2; i++)
		close_side(t, i);
	dir_check_with_tools(t->side[0].dir, true);
}

static void init(struct tee *t)
{
	rng_init(&t->rng, t->seed);
	t->keys.seed = t->seed;
	t->merge = merge_operators[rng_below(&t->rng, 2)];
	t->keys.n = (unsigned)(500 + rng_below(&t->rng, 3000));
	dir_make_temp(t->work);
	snprintf(command, sizeof(command),
		 "scripts/tee --with %s --ops %llu --swaps %llu --seed %llu",
		 t->with, (unsigned long long)t->n_ops,
		 (unsigned long long)t->n_swaps, (unsigned long long)t->seed);
	die_context(print_context);
	signal(SIGABRT, on_signal);
	signal(SIGSEGV, on_signal);
	signal(SIGBUS, on_signal);
}

static void fini(struct tee *t)
{
	changes_fini(&t->batch);
	buf_fini(&t->key);
	buf_fini(&t->value);
	for (int i = 0; i < 2; i++)
		buf_fini(&t->got[i]);
	for (int i = 0; i < MAX_WALKS; i++) {
		buf_fini(&t->walk[i].lower);
		buf_fini(&t->walk[i].upper);
	}
	if (!t->keep)
		dir_remove(t->work);
}

static uint64_t number(const char *text, const char *what)
{
	char *end;
	uint64_t n = strtoull(text, &end, 10);

	if (!*text || *end || *text == '-') {
		fprintf(stderr, "tee: %s: \"%s\" is no number\n", what, text);
		exit(2);
	}
	return n;
}

static uint64_t from_environment(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text ? number(text, name) : otherwise;
}

static _Noreturn void usage(void)
{
	fputs("usage: tee [--with rocksdb|leveldb] [--ops N] [--swaps N] "
	      "[--seed N] [--keep]\n",
	      stderr);
	exit(2);
}

static const struct partner {
	const char *name;
	const struct store_ops *ops;
	void (*swap)(struct tee *t);
} partners[] = {
	{ "rocksdb", &rocksdb_store, swap_both },
#ifdef HAVE_LEVELDB
	{ "leveldb", &leveldb_store, take_over },
#endif
};

static void set_partner(struct tee *t, const char *name)
{
	const struct partner *p = partners;

	while (strcmp(p->name, name) != 0)
		if (++p == partners + sizeof(partners) / sizeof(partners[0])) {
			fprintf(stderr, "tee: built without %s\n", name);
			exit(2);
		}
	t->with = p->name;
	t->side[1].ops = p->ops;
	t->swap = p->swap;
}

static void read_arguments(struct tee *t, char **argv)
{
	t->n_ops = from_environment("CAIRN_TEE_OPS", 20000);
	t->n_swaps = from_environment("CAIRN_TEE_SWAPS", 8);
	t->seed = from_environment("CAIRN_TEST_SEED", 1);
	t->side[0].ops = &cairn_store;
	set_partner(t, "rocksdb");
	while (*++argv) {
		if (strcmp(*argv, "--keep") == 0)
			t->keep = true;
		else if (!argv[1])
			usage();
		else if (strcmp(*argv, "--with") == 0)
			set_partner(t, *++argv);
		else if (strcmp(*argv, "--ops") == 0)
			t->n_ops = number(*++argv, "--ops");
		else if (strcmp(*argv, "--swaps") == 0)
			t->n_swaps = number(*++argv, "--swaps");
		else if (strcmp(*argv, "--seed") == 0)
			t->seed = number(*++argv, "--seed");
		else
			usage();
	}
}

int main(int argc, char **argv)
{
	(void)argc;
	read_arguments(&tee, argv);
	init(&tee);
	printf("tee: %s; %u keys, %s, in %s\n", command, tee.keys.n, tee.merge,
	       tee.work);
	fflush(stdout);
	run(&tee);
	printf("tee: %llu operations, %llu swaps, %llu keys found by get: "
	       "no difference\n",
	       (unsigned long long)tee.done, (unsigned long long)tee.swaps,
	       (unsigned long long)tee.hits);
	printf("count operations %llu\ncount swaps %llu\n",
	       (unsigned long long)tee.done, (unsigned long long)tee.swaps);
	fini(&tee);
	return 0;
}
