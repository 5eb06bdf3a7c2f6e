/* SPDX-License-Identifier: BSD-3-Clause */
#include "fs/mount/pins.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/list.h"
#include "engine/base/sync.h"
#include "fs/mount/revdir.h"
#include "fs/text/errmap.h"

struct pinned {
	struct list node;
	int64_t rev;
	size_t name_len; /* 0: none */
	uint8_t name[];
};

struct pins {
	struct mvcc *m;
	struct mutex mu;
	struct list list; /* guarded by mu; in the order they were made */
};

int pins_new(struct mvcc *m, struct pins **out)
{
	struct pins *p = calloc(1, sizeof(*p));

	if (!p)
		return ENOMEM;
	p->m = m;
	mutex_init(&p->mu);
	list_init(&p->list);
	*out = p;
	return 0;
}

static void let_go(struct pins *p, struct pinned *one)
{
	list_remove(&one->node);
	mvcc_unpin(p->m, one->rev);
	free(one);
}

void pins_free(struct pins *p)
{
	if (!p)
		return;
	list_for_each_safe (pos, next, &p->list)
		let_go(p, list_entry(pos, struct pinned, node));
	mutex_fini(&p->mu);
	free(p);
}

static struct cairn_slice name_of(const struct pinned *one)
{
	return slice_of(one->name, one->name_len);
}

/* By its name, or, without one, by its number; NULL. mu is held. */
static struct pinned *find(struct pins *p, int64_t rev, struct cairn_slice name)
{
	assert_held(&p->mu);
	list_for_each (pos, &p->list) {
		struct pinned *one = list_entry(pos, struct pinned, node);

		if (slice_eq(name_of(one), name) &&
		    (name.len || one->rev == rev))
			return one;
	}
	return NULL;
}

static struct cairn_slice trim(struct cairn_slice s)
{
	while (s.len && strchr(" \t\n", s.data[s.len - 1]) && s.data[s.len - 1])
		s.len--;
	while (s.len && (s.data[0] == ' ' || s.data[0] == '\t'))
		slice_advance(&s, 1);
	return s;
}

/* The word in front of text, which moves on to the next one. */
static struct cairn_slice take_word(struct cairn_slice *text)
{
	struct cairn_slice word = slice_of(text->data, 0);

	while (word.len < text->len && text->data[word.len] != ' ' &&
	       text->data[word.len] != '\t')
		word.len++;
	slice_advance(text, word.len);
	*text = trim(*text);
	return word;
}

static bool is_name(struct cairn_slice s)
{
	int64_t ignored;

	return s.len && s.len <= 255 && s.data[0] != '.' &&
	       (s.data[0] < '0' || s.data[0] > '9') &&
	       !memchr(s.data, '/', s.len) && !memchr(s.data, 0, s.len) &&
	       !revdir_is_reserved(s) && !revdir_parse_rev(s, &ignored);
}

/* "REV", "NAME", "REV NAME" or nothing; *rev 0: none. */
static int parse(struct cairn_slice text, int64_t *rev,
		 struct cairn_slice *name)
{
	struct cairn_slice word;

	text = trim(text);
	word = take_word(&text);
	*rev = 0;
	*name = slice_of("", 0);
	if (!word.len)
		return 0;
	if (revdir_parse_rev(word, rev)) {
		if (!text.len)
			return 0;
		word = take_word(&text);
	}
	*name = word;
	return text.len || !is_name(word) ? EINVAL : 0;
}

static int pin(struct pins *p, int64_t rev, struct cairn_slice name)
{
	struct pinned *one = calloc(1, sizeof(*one) + name.len);
	int err;

	if (!one)
		return ENOMEM;
	one->name_len = name.len;
	if (name.len)
		memcpy(one->name, name.data, name.len);
	one->rev = rev;
	err = rev ? mvcc_pin(p->m, rev) : mvcc_pin_current(p->m, &one->rev);
	if (err) {
		free(one);
		return errmap_errno(err);
	}
	if (find(p, one->rev, name)) {
		mvcc_unpin(p->m, one->rev);
		free(one);
		return EEXIST;
	}
	list_add_tail(&p->list, &one->node);
	return 0;
}

int pins_add(struct pins *p, struct cairn_slice text)
{
	struct cairn_slice name;
	int64_t rev;
	int err = parse(text, &rev, &name);

	if (err)
		return err;
	mutex_lock(&p->mu);
	err = pin(p, rev, name);
	mutex_unlock(&p->mu);
	return err;
}

int pins_remove(struct pins *p, struct cairn_slice text)
{
	struct cairn_slice name;
	struct pinned *one;
	int64_t rev;
	int err = parse(text, &rev, &name);

	if (!err && !rev == !name.len)
		err = EINVAL;
	if (err)
		return err;
	mutex_lock(&p->mu);
	one = find(p, rev, name);
	if (one)
		let_go(p, one);
	mutex_unlock(&p->mu);
	return one ? 0 : ENOENT;
}

bool pins_has(struct pins *p, int64_t rev)
{
	bool found = false;

	mutex_lock(&p->mu);
	list_for_each (pos, &p->list)
		found |= list_entry(pos, struct pinned, node)->rev == rev;
	mutex_unlock(&p->mu);
	return found;
}

int64_t pins_find(struct pins *p, struct cairn_slice name)
{
	struct pinned *one;
	int64_t rev;

	if (!name.len)
		return 0;
	mutex_lock(&p->mu);
	one = find(p, 0, name);
	rev = one ? one->rev : 0;
	mutex_unlock(&p->mu);
	return rev;
}

int pins_list(struct pins *p, struct buf *out)
{
	int err = CAIRN_OK;

	mutex_lock(&p->mu);
	list_for_each (pos, &p->list) {
		struct pinned *one = list_entry(pos, struct pinned, node);
		struct cairn_slice name = name_of(one);
		char number[24];

		if (!name.len) {
			snprintf(number, sizeof(number), "%lld",
				 (long long)one->rev);
			name = slice_str(number);
		}
		err = buf_append_lp(out, name);
		if (err)
			break;
	}
	mutex_unlock(&p->mu);
	return errmap_errno(err);
}
