/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/table/user_props.h"

#include <stdlib.h>

#include "engine/base/error.h"

#define RESERVED "rocksdb."

void user_props_fini(struct cairn_table_properties *u)
{
	buf_fini(&u->bytes);
	free(u->prop);
	*u = (struct cairn_table_properties){ 0 };
}

/* There may be no bytes at all: a name and its value can both be empty. */
static struct cairn_slice part(const struct cairn_table_properties *u,
			       size_t at, size_t len)
{
	return len ? slice_of(u->bytes.data + at, len) : slice_of("", 0);
}

struct cairn_slice user_props_name(const struct cairn_table_properties *u,
				   size_t i)
{
	return part(u, u->prop[i].at, u->prop[i].name_len);
}

struct cairn_slice user_props_value(const struct cairn_table_properties *u,
				    size_t i)
{
	const struct user_prop *p = &u->prop[i];

	return part(u, p->at + p->name_len, p->value_len);
}

size_t user_props_memory(const struct cairn_table_properties *u)
{
	return u->bytes.cap + u->cap * sizeof(u->prop[0]);
}

/* The first one whose name is not below name. */
static size_t find(const struct cairn_table_properties *u,
		   struct cairn_slice name)
{
	size_t lo = 0, hi = u->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (slice_cmp(user_props_name(u, mid), name) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

int user_props_find(const struct cairn_table_properties *u,
		    struct cairn_slice name, struct cairn_slice *value)
{
	size_t i = find(u, name);

	if (i == u->n || !slice_eq(user_props_name(u, i), name))
		return CAIRN_NOT_FOUND;
	*value = user_props_value(u, i);
	return CAIRN_OK;
}

static int too_much(void)
{
	return error_set(CAIRN_EINVAL,
			 "properties of a table: more than %u bytes",
			 USER_PROPS_MAX);
}

/* Room for one more, and its bytes put down. */
static int put_down(struct cairn_table_properties *u, struct cairn_slice name,
		    struct cairn_slice value, struct user_prop *out)
{
	size_t used = u->bytes.len + u->n * sizeof(u->prop[0]);
	int err;

	if (name.len > USER_PROPS_MAX || value.len > USER_PROPS_MAX ||
	    used + name.len + value.len + sizeof(u->prop[0]) > USER_PROPS_MAX)
		return too_much();
	if (u->n == u->cap) {
		size_t cap = u->cap ? 2 * u->cap : 4;
		struct user_prop *more = realloc(u->prop, cap * sizeof(*more));

		if (!more)
			return error_nomem();
		u->prop = more;
		u->cap = cap;
	}
	err = buf_reserve(&u->bytes, name.len + value.len);
	if (err)
		return err;
	*out = (struct user_prop){ u->bytes.len, name.len, value.len };
	err = buf_append(&u->bytes, name.data, name.len);
	return err ? err : buf_append(&u->bytes, value.data, value.len);
}

int user_props_append(struct cairn_table_properties *u, struct cairn_slice name,
		      struct cairn_slice value)
{
	struct user_prop p;
	int err;

	if (u->n && slice_cmp(user_props_name(u, u->n - 1), name) >= 0)
		return error_set(CAIRN_EINVAL,
				 "properties of a table: not in order");
	err = put_down(u, name, value, &p);
	if (!err)
		u->prop[u->n++] = p;
	return err;
}

int cairn_table_property_set(struct cairn_table_properties *u, const char *name,
			     struct cairn_slice value)
{
	struct cairn_slice key = slice_str(name);
	struct user_prop p;
	size_t i;
	int err;

	if (!key.len || slice_starts_with(key, slice_str(RESERVED)))
		return error_set(CAIRN_EINVAL,
				 "property \"%s\": a name must not be empty "
				 "nor begin with " RESERVED,
				 name);
	err = put_down(u, key, value, &p);
	if (err)
		return err;
	i = find(u, key);
	if (i == u->n || !slice_eq(user_props_name(u, i), key)) {
		memmove(&u->prop[i + 1], &u->prop[i],
			(u->n - i) * sizeof(u->prop[0]));
		u->n++;
	}
	u->prop[i] = p;
	return CAIRN_OK;
}
