/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A client of gRPC that costs the other side as little as can be: HTTP/2 in
 * clear on one connection of its own, one call at a time, and the few pieces of
 * protobuf that calls need. What headers and trailers say is not decoded: a
 * call that comes back without a message has failed, for whatever reason.
 *
 * Not thread-safe. A lack of memory ends the program.
 */
#ifndef CAIRN_TESTS_BENCH_GRPC_H
#define CAIRN_TESTS_BENCH_GRPC_H

#include <stdint.h>

#include "engine/base/buf.h"
#include "engine/base/slice.h"

/* ---------------------------------------------------------------- protobuf */

/* Append a field; numbers of 0 and empty bytes are left out. */
void pb_number(struct buf *b, unsigned field, uint64_t v);
void pb_bytes(struct buf *b, unsigned field, struct cairn_slice s);
/* A message in a message, also when it is empty. */
void pb_message(struct buf *b, unsigned field, const struct buf *inner);

struct pb_field {
	unsigned field;
	uint64_t number;
	struct cairn_slice bytes; /* of in; data NULL for a number */
};
/* Take the next field off in; false at the end, and *bad when it is cut off or
 * of an unknown kind. */
bool pb_next(struct cairn_slice *in, struct pb_field *f, bool *bad);

/* -------------------------------------------------------------------- calls */

struct grpc {
	int fd;         /* -1: closed */
	struct buf out; /* messages to be sent, each behind its length */
	struct buf in;  /* what has come of messages of the stream */
	struct buf raw; /* frames to be sent, or what has come of them */
	size_t raw_at;  /* of what has come: looked at so far */
	uint32_t stream;
	bool ended; /* the stream, by the other side */
	/* Bytes that may be sent: in all, on the stream, on a new stream. */
	int64_t window, stream_window, initial_window;
	uint64_t unacknowledged; /* bytes that came */
};

/* Connect to the loopback. 0, or 1 after a message to stderr. */
int grpc_open(struct grpc *g, int port);
/* Safe on a zeroed one. */
void grpc_close(struct grpc *g);

/* Empty what is to be sent, or add a message to it. */
void grpc_clear(struct grpc *g);
void grpc_add(struct grpc *g, const struct buf *message);

/*
 * Send what was added, the one message of a call, and wait for *answer, which
 * lives until the next call. Returns 0 or, after a message to stderr, 1.
 */
int grpc_call(struct grpc *g, const char *method, struct cairn_slice *answer);
/* Send what was added, and give fn each message that comes until it says no or
 * the other side ends, which is a failure. */
int grpc_stream(struct grpc *g, const char *method,
		bool (*fn)(void *ctx, struct cairn_slice message), void *ctx);

#endif
