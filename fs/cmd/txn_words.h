/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The lines of a transaction's text (txn_text.h), word by word. Private to
 * txn_text.c.
 */
#ifndef CAIRN_FS_TXN_WORDS_H
#define CAIRN_FS_TXN_WORDS_H

#include "fs/cmd/txn_text.h"

struct txn_parse {
	const struct cmd_key_opts *keys;
	struct txn_text *out;
	struct cairn_slice left; /* lines not yet read */
	unsigned line;           /* its number */
	/* The line, without blanks behind it, and how far it is read. */
	const uint8_t *p;
	size_t len;
	size_t at;
};

struct txn_word {
	size_t at; /* in the line */
	bool quoted;
	struct cairn_slice text; /* NUL-terminated behind its length */
};

/*
 * CAIRN_EINVAL with a message: what is wrong at a place of the line; the same
 * with the word, which may be anything, before it; or, when err is
 * CAIRN_EINVAL, with the message that is there, else err.
 */
MUST_CHECK int txn_bad(const struct txn_parse *p, size_t at, const char *what);
MUST_CHECK int txn_bad_word(const struct txn_parse *p, const struct txn_word *w,
			    const char *what);
MUST_CHECK int txn_bad_because(const struct txn_parse *p, size_t at, int err);

/* Room for n bytes, and a NUL behind them, that lives as long as p->out. NULL
 * without memory. */
uint8_t *txn_own(struct txn_parse *p, size_t n);
void txn_free_owned(struct txn_text *t);

static inline bool txn_is_blank(uint8_t b)
{
	return b == ' ' || (b >= '\t' && b <= '\r');
}

void txn_skip_blanks(struct txn_parse *p);

/* The bytes from p->at to before end, as they are; p->at stays. */
MUST_CHECK int txn_take_until(struct txn_parse *p, size_t end,
			      struct txn_word *w);

/* The string in quotes at p->at, and past it. CAIRN_NOT_FOUND when there is
 * none. */
MUST_CHECK int txn_take_string(struct txn_parse *p, bool back_quotes,
			       struct txn_word *w);

/* The next word of an op, at p->at, which is no blank, and past it. */
MUST_CHECK int txn_take_word(struct txn_parse *p, struct txn_word *w);

#endif
