/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Keys as paths of file names, and back: a bijection.
 *
 * A key is split at '/'; each component becomes one name, nearly always the
 * same bytes. A component that cannot be a name ("", ".", "..", one with a NUL,
 * a reserved one, or one that looks like a quoted one) becomes '%' followed by
 * its bytes with '%' as "%25" and NUL as "%00". A component whose name would be
 * over 255 bytes is cut: as much as fits in 253 becomes a directory with "%+"
 * behind, and the rest goes on inside.
 *
 * With -o flat the keys are at the top of the mount, where ".cairn" is what
 * else there is: there a first component that is ".cairn" is quoted, too. That
 * is what flat_top asks for: the mount is flat, and the component is the first
 * of its key.
 *
 * Reserved names, never the name of a component: "%=", the value of a key that
 * is also a directory; "...%+", a cut; "...%@", the history of a key.
 */
#ifndef CAIRN_FS_NAME_H
#define CAIRN_FS_NAME_H

#include "engine/base/buf.h"

#define NAME_LEN_MAX 255u
#define NAME_CONTROL ".cairn"

/* A file name, not NUL-terminated. */
struct name {
	uint8_t bytes[NAME_LEN_MAX + 2]; /* a history name may take 257 */
	size_t len;
};

enum name_kind {
	NAME_PART,    /* a component, or the last piece of a long one */
	NAME_CUT,     /* "...%+": a directory in which the component goes on */
	NAME_VALUE,   /* "%=" */
	NAME_HISTORY, /* "...%@", only below history/ */
	NAME_BAD,     /* no name this module makes */
};

/*
 * The first name of a component (without '/'). Returns how many of its bytes
 * the name stands for: all of them, or fewer when the name is a cut and the
 * rest follows inside.
 */
size_t name_encode(struct cairn_slice component, bool flat_top,
		   struct name *out);

/* The bytes that a name stands for; nothing for NAME_VALUE and NAME_BAD. */
struct name_bytes {
	uint8_t bytes[NAME_LEN_MAX + 2];
	size_t len;
};
enum name_kind name_decode(struct cairn_slice name, bool flat_top,
			   struct name_bytes *out);

static inline struct cairn_slice name_slice(const struct name *n)
{
	return slice_of(n->bytes, n->len);
}

/* Add "%@" to the name of a key. */
void name_make_history(struct name *n);

/*
 * Whether the path of component has a directory boundary after its first
 * cut_len bytes: so that what follows them is named inside that directory.
 */
bool name_is_cut_at(struct cairn_slice component, bool flat_top,
		    size_t cut_len);

/* The path of key below keys/ (not flat), appended to out. CAIRN_ENOMEM. */
MUST_CHECK int name_key_to_path(struct cairn_slice key, struct buf *out);

/*
 * The key of a path, appended to out. "a/%=" is key "a". CAIRN_EINVAL when the
 * path is of no key: a reserved or over-long name, an empty one, a cut at the
 * wrong place.
 */
MUST_CHECK int name_path_to_key(struct cairn_slice path, struct buf *out);

#endif
