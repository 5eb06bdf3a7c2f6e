/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/metamorphic/output.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "tests/compat/die.h"
#include "tests/metamorphic/history.h"

#define BYTES_SHOWN   24
#define ENTRIES_SHOWN 8

void out_text(struct buf *out, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	must(buf_append(out, text, strlen(text)), "output");
}

/* FNV-1a (Fowler, Noll, Vo). */
static uint64_t hash(uint64_t h, struct cairn_slice s)
{
	if (!h)
		h = UINT64_C(14695981039346656037);
	for (size_t i = 0; i < s.len; i++)
		h = (h ^ s.data[i]) * UINT64_C(1099511628211);
	return (h ^ s.len) * UINT64_C(1099511628211);
}

void out_bytes(struct buf *out, struct cairn_slice s)
{
	if (s.len <= BYTES_SHOWN) {
		text_add_bytes(out,
			       slice_of(s.data ? s.data : (void *)"", s.len));
		return;
	}
	text_add_bytes(out, slice_of(s.data, BYTES_SHOWN / 2));
	out_text(out, "..%zu.%016" PRIx64, s.len, hash(0, s));
}

void out_entry(struct buf *out, struct cairn_slice key,
	       struct cairn_slice value)
{
	out_bytes(out, key);
	out_text(out, " = ");
	out_bytes(out, value);
}

void digest_add(struct digest *d, struct cairn_slice key,
		struct cairn_slice value)
{
	d->hash = hash(hash(d->hash, key), value);
	if (d->n++ < ENTRIES_SHOWN) {
		out_text(&d->shown, "; ");
		out_entry(&d->shown, key, value);
	}
}

void digest_end(struct digest *d, struct buf *out)
{
	out_text(out, "%" PRIu64 " entries", d->n);
	must(buf_append(out, d->shown.data, d->shown.len), "output");
	if (d->n > ENTRIES_SHOWN)
		out_text(out, "; ... %016" PRIx64, d->hash);
	buf_fini(&d->shown);
	*d = (struct digest){ 0 };
}
