/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/db/finding.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "engine/base/error.h"

static int call(struct finder *f, const struct cairn_finding *finding)
{
	return f->found ? f->found(f->ctx, finding) : CAIRN_OK;
}

static void count(struct finder *f, int code)
{
	f->findings++;
	/* Damage of the file outweighs what cairn cannot do. */
	if (code != CAIRN_ENOTSUP)
		f->worst = CAIRN_ECORRUPT;
	else if (!f->worst)
		f->worst = CAIRN_ENOTSUP;
}

int finder_tell(struct finder *f, int code, const char *path, uint64_t offset)
{
	char text[1024];
	struct cairn_finding finding = {
		.code = code,
		.message = text,
		.path = path,
		.offset = offset,
	};

	if (code && !finding_is_damage(code))
		return code;
	snprintf(text, sizeof(text), "%s", cairn_errmsg());
	if (code)
		count(f, code);
	return call(f, &finding);
}

int finder_remark(struct finder *f, const char *path, const char *fmt, ...)
{
	char text[1024];
	struct cairn_finding finding = {
		.message = text,
		.path = path,
		.offset = NO_PLACE,
	};
	va_list ap;
	int n;

	n = snprintf(text, sizeof(text), "%s: ", path);
	if (n < 0 || (size_t)n >= sizeof(text))
		n = 0;
	va_start(ap, fmt);
	vsnprintf(text + n, sizeof(text) - (size_t)n, fmt, ap);
	va_end(ap);
	return call(f, &finding);
}

int finder_tell_keys(struct finder *f, const char *path,
		     struct cairn_slice from, struct cairn_slice to,
		     const char *what)
{
	char text[1024];
	const struct cairn_finding finding = {
		.code = CAIRN_ECORRUPT,
		.message = text,
		.path = path,
		.offset = NO_PLACE,
		.keys_lost = true,
		.from = from,
		.to = to,
	};

	snprintf(text, sizeof(text), "%s: %s", path, what);
	return call(f, &finding);
}

int finder_tell_lost(struct finder *f, const char *path,
		     const struct walk_span *s, uint64_t of)
{
	char what[128];

	if (of)
		snprintf(what, sizeof(what),
			 "%" PRIu64 " of %" PRIu64 " blocks bad", s->blocks,
			 of);
	else
		snprintf(what, sizeof(what), "%" PRIu64 " bytes are bad",
			 s->bytes);
	return finder_tell_keys(f, path, s->from, s->to, what);
}

int finder_poll(const struct finder *f)
{
	if (f->cancel && __atomic_load_n(f->cancel, __ATOMIC_RELAXED))
		return error_set(CAIRN_EABORTED, "cancelled");
	return CAIRN_OK;
}

int finder_result(const struct finder *f, const char *what)
{
	if (!f->worst)
		return CAIRN_OK;
	return error_set(f->worst, "%s: %" PRIu64 " finding%s", what,
			 f->findings, f->findings == 1 ? "" : "s");
}
