/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One face for cairn and the stores it is held against. Settings are drawn
 * anew each time a store is opened. Whatever fails ends the program, see
 * die.h; results are compared by the caller.
 */
#ifndef CAIRN_TESTS_COMPAT_STORE_H
#define CAIRN_TESTS_COMPAT_STORE_H

#include "engine/base/buf.h"
#include "engine/base/rng.h"
#include "tests/compat/dir.h"

enum change_kind {
	CHANGE_PUT,
	CHANGE_DELETE,
	CHANGE_DELETE_RANGE,  /* value: the end, which stays */
	CHANGE_SINGLE_DELETE, /* of what was put once */
	CHANGE_MERGE,
	N_CHANGE_KINDS
};

struct change {
	enum change_kind kind;
	struct cairn_slice key;
	struct cairn_slice value;
};

/* The changes of one batch; owns keys and values. Zeroed: empty. */
struct changes {
	struct change *v;
	size_t n;
	size_t cap;
};

void changes_add(struct changes *c, enum change_kind kind,
		 struct cairn_slice key, struct cairn_slice value);
void changes_clear(struct changes *c);
/* Into ascending order of keys, one change of each key. */
void changes_sort(struct changes *c);
void changes_fini(struct changes *c);

enum write_mode {
	WRITE_LOGGED,
	WRITE_SYNCED,
	WRITE_UNLOGGED, /* there when flushed */
};

enum move {
	MOVE_FIRST,
	MOVE_LAST,
	MOVE_NEXT, /* next and prev only from an entry */
	MOVE_PREV,
	MOVE_SEEK_GE,
	MOVE_SEEK_LT,
	N_MOVES
};

extern const char *const move_names[N_MOVES];

/* An iterator. key and value are those of the entry it stands on. */
struct cursor {
	/* Whether it now stands on an entry. key is for seeks. */
	bool (*move)(struct cursor *c, enum move how, struct cairn_slice key);
	void (*free)(struct cursor *c);
	struct cairn_slice key;
	struct cairn_slice value;
};

/* data NULL: no bound. The bytes must stay while the cursor lives. */
struct bounds {
	struct cairn_slice lower;
	struct cairn_slice upper;
};

#define SETTINGS_LEN 2048

struct store {
	const struct store_ops *ops;
	char settings[SETTINGS_LEN]; /* as drawn, for people */
};

/* How to open a store. */
struct wish {
	struct rng *rng;   /* draws the settings; NULL: defaults */
	const char *merge; /* the merge operator, NULL: none */
	bool read_only;    /* not LevelDB */
	bool upgrade;      /* for cairn: make a LevelDB directory RocksDB's */
	bool upgraded;     /* for RocksDB: some tables are LevelDB's */
};

struct store_ops {
	const char *name;
	unsigned kinds; /* a bit per change_kind it has */

	/* dir may be missing: then an empty store is made. */
	struct store *(*open)(const char *dir, const struct wish *w);
	void (*close)(struct store *s);
	void (*write)(struct store *s, const struct changes *c,
		      enum write_mode mode);
	/* Snapshots may be NULL: now. False: not there. */
	bool (*get)(struct store *s, void *snapshot, struct cairn_slice key,
		    struct buf *value);
	struct cursor *(*cursor)(struct store *s, void *snapshot,
				 const struct bounds *b);
	void *(*snapshot)(struct store *s);
	void (*release)(struct store *s, void *snapshot);
	void (*flush)(struct store *s);
	void (*compact)(struct store *s, const struct bounds *b);
	/* Checksums of everything that is on disk. */
	void (*verify)(struct store *s);

	/* What follows is NULL where there is no such thing. */

	/* A database of the present state in a directory that is not there. */
	void (*checkpoint)(struct store *s, const char *dir);
	/* A table file of changes with ascending keys, of this store's make. */
	void (*table)(struct store *s, const char *path,
		      const struct changes *c);
	/* Files that are then nobody's; with move, they may be gone. */
	void (*ingest)(struct store *s, const char *const *paths, size_t n,
		       bool move);
};

extern const struct store_ops cairn_store;
extern const struct store_ops rocksdb_store;
#ifdef HAVE_LEVELDB
extern const struct store_ops leveldb_store;
#endif

/* ------------------------------------------------------------ for stores */

/* A setting, and what it may be: values parted by '|', often the same one
 * twice to make it likelier. */
struct choice {
	const char *name;
	const char *values;
};

/* One of the values of a list into out; out is at least as long as the list. */
void draw(struct rng *rng, const char *values, char *out);

/* Append to the settings in s, as printf. */
void settings_add(struct store *s, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

#endif
