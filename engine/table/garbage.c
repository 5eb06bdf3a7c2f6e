/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/table/garbage.h"

#include <stdlib.h>

#include "engine/base/coding.h"
#include "engine/base/error.h"

/* In the value, both big-endian. */
#define STEP_LEN 16

static bool makes_sense(struct cairn_slice value, uint64_t raw_bytes)
{
	uint64_t position = 0, bytes = 0;

	if (!value.len || value.len % STEP_LEN ||
	    value.len / STEP_LEN > GARBAGE_STEPS_MAX)
		return false;
	for (size_t i = 0; i < value.len; i += STEP_LEN) {
		uint64_t p = load_be64(value.data + i);
		uint64_t b = load_be64(value.data + i + 8);

		if (p <= position || b <= bytes || b > raw_bytes)
			return false;
		position = p;
		bytes = b;
	}
	return true;
}

int garbage_new(struct cairn_slice value, uint64_t raw_bytes,
		uint64_t file_bytes, struct garbage **out)
{
	struct garbage *g;

	*out = NULL;
	if (!makes_sense(value, raw_bytes))
		return CAIRN_OK;
	g = malloc(sizeof(*g) + value.len / STEP_LEN * sizeof(g->step[0]));
	if (!g)
		return error_nomem();
	g->n = value.len / STEP_LEN;
	for (size_t i = 0; i < g->n; i++) {
		const uint8_t *p = value.data + i * STEP_LEN;

		g->step[i].position = load_be64(p);
		g->step[i].bytes =
			(uint64_t)((double)load_be64(p + 8) /
				   (double)raw_bytes * (double)file_bytes);
	}
	*out = g;
	return CAIRN_OK;
}

int garbage_of_table(const struct table_props *props,
		     const struct cairn_table_collector *c, uint64_t file_bytes,
		     struct garbage **out)
{
	struct cairn_slice value;

	*out = NULL;
	if (!c || !c->garbage ||
	    user_props_find(&props->user, slice_str(c->garbage), &value))
		return CAIRN_OK;
	return garbage_new(value, props->raw_key_bytes + props->raw_value_bytes,
			   file_bytes, out);
}

uint64_t garbage_at(const struct garbage *g, uint64_t position)
{
	size_t n = g ? g->n : 0;

	while (n && g->step[n - 1].position > position)
		n--;
	return n ? g->step[n - 1].bytes : 0;
}
