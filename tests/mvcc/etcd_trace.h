/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests and answers as the traces in tests/data/golden-etcd have them: JSON,
 * see the README there.
 */
#ifndef CAIRN_TESTS_MVCC_ETCD_TRACE_H
#define CAIRN_TESTS_MVCC_ETCD_TRACE_H

#include <jansson.h>

#include "engine/base/buf.h"
#include "mvcc/request.h"

/* End the program with a message. */
_Noreturn void trace_die(const char *fmt, ...)
	__attribute__((format(printf, 1, 2)));

/* What a decoded request borrows from. Zeroed: nothing. */
struct trace_memory {
	void **blocks;
	size_t n;
	size_t cap;
};
void *trace_alloc(struct trace_memory *mem, size_t n, size_t size);
void trace_memory_fini(struct trace_memory *mem);

/* A byte string; missing: empty. */
struct cairn_slice trace_bytes(struct trace_memory *mem, const json_t *q,
			       const char *field);
/* A number or a boolean; missing: 0. */
int64_t trace_number(const json_t *q, const char *field);
/* "" when it is missing. */
const char *trace_text(const json_t *q, const char *field);

/* A put, range, del or txn. */
struct mvcc_request trace_request(struct trace_memory *mem, const char *op,
				  const json_t *q);

/* A new reference, as all that follow. */
json_t *trace_from_bytes(struct cairn_slice s);
json_t *trace_from_row(const struct mvcc_row *row);
json_t *trace_from_answer(const struct mvcc_answer *a);
/* {"code", "err"}, from what cairn_errmsg() says. */
json_t *trace_from_error(int err);

/* In place: take out of all objects what is zero, empty, or false, as if it was
 * missing. */
void trace_normalise(json_t *a);

#endif
