/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/bench/grpc.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/coding.h"

/* Before each message: one byte, 0 as nothing is compressed, and its length. */
#define PREFIX_LEN 5

static void must(int err)
{
	if (!err)
		return;
	fprintf(stderr, "no memory\n");
	exit(1);
}

/* ---------------------------------------------------------------- protobuf */

enum { WIRE_VARINT = 0, WIRE_BYTES = 2 };

void pb_number(struct buf *b, unsigned field, uint64_t v)
{
	if (!v)
		return;
	must(buf_append_varint(b, field << 3 | WIRE_VARINT));
	must(buf_append_varint(b, v));
}

void pb_bytes(struct buf *b, unsigned field, struct cairn_slice s)
{
	if (!s.len)
		return;
	must(buf_append_varint(b, field << 3 | WIRE_BYTES));
	must(buf_append_lp(b, s));
}

void pb_message(struct buf *b, unsigned field, const struct buf *inner)
{
	must(buf_append_varint(b, field << 3 | WIRE_BYTES));
	must(buf_append_lp(b, buf_slice(inner)));
}

static bool take_varint(struct cairn_slice *in, uint64_t *v)
{
	*v = 0;
	for (unsigned shift = 0; in->len && shift < 64; shift += 7) {
		uint8_t byte = in->data[0];

		slice_advance(in, 1);
		*v |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80))
			return true;
	}
	return false;
}

bool pb_next(struct cairn_slice *in, struct pb_field *f, bool *bad)
{
	uint64_t tag, v;

	if (!in->len)
		return false;
	*f = (struct pb_field){ 0 };
	*bad = true;
	if (!take_varint(in, &tag) || !take_varint(in, &v))
		return false;
	f->field = (unsigned)(tag >> 3);
	if ((tag & 7) == WIRE_BYTES) {
		if (v > in->len)
			return false;
		f->bytes = slice_of(in->data, (size_t)v);
		slice_advance(in, (size_t)v);
	} else if ((tag & 7) == WIRE_VARINT) {
		f->number = v;
	} else {
		return false;
	}
	*bad = false;
	return true;
}

/* ------------------------------------------------------------------- frames */

/* Of RFC 9113. */
enum frame_type {
	FRAME_DATA = 0,
	FRAME_HEADERS = 1,
	FRAME_RST_STREAM = 3,
	FRAME_SETTINGS = 4,
	FRAME_PING = 6,
	FRAME_GOAWAY = 7,
	FRAME_WINDOW_UPDATE = 8,
};

enum {
	FLAG_END_STREAM = 1,
	FLAG_ACK = 1,
	FLAG_END_HEADERS = 4,
	FLAG_PADDED = 8,
};

enum { SETTING_INITIAL_WINDOW = 4, ERROR_CANCEL = 8 };

#define HEAD_LEN       9
#define FRAME_MAX      16384u
#define WINDOW_DEFAULT 65535
#define WINDOW_MAX     INT32_MAX
#define READ_LEN       65536u
/* What the other side may send on a stream. Less than may be, because it is
 * allowed more for what came on the stream before, too. */
#define WINDOW_STREAM (INT32_C(1) << 30)
/* When to allow it to send more. */
#define ACKNOWLEDGE_LEN (UINT64_C(1) << 20)

struct frame {
	enum frame_type type;
	uint8_t flags;
	uint32_t stream;
	struct cairn_slice payload; /* until the next frame */
};

static int failed(const char *what)
{
	fprintf(stderr, "etcd: %s%s%s\n", what, errno ? ": " : "",
		errno ? strerror(errno) : "");
	return 1;
}

static int send_all(struct grpc *g, const uint8_t *p, size_t n)
{
	while (n) {
		ssize_t done = send(g->fd, p, n, MSG_NOSIGNAL);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return failed("send");
		p += done;
		n -= (size_t)done;
	}
	return 0;
}

static void add_frame(struct buf *b, enum frame_type type, uint8_t flags,
		      uint32_t stream, const void *payload, size_t n)
{
	uint8_t head[HEAD_LEN] = { (uint8_t)(n >> 16), (uint8_t)(n >> 8),
				   (uint8_t)n, (uint8_t)type, flags };

	put_be32(head + 5, stream);
	must(buf_append(b, head, sizeof(head)));
	if (n)
		must(buf_append(b, payload, n));
}

/* One that is sent while others are read. */
static int send_frame(struct grpc *g, enum frame_type type, uint8_t flags,
		      uint32_t stream, const void *payload, size_t n)
{
	struct buf b = { 0 };
	int err;

	add_frame(&b, type, flags, stream, payload, n);
	err = send_all(g, b.data, b.len);
	buf_fini(&b);
	return err;
}

/* Read until n bytes are there that have not been looked at. */
static int fill(struct grpc *g, size_t n)
{
	if (g->raw_at) {
		g->raw.len -= g->raw_at;
		memmove(g->raw.data, g->raw.data + g->raw_at, g->raw.len);
		g->raw_at = 0;
	}
	while (g->raw.len < n) {
		ssize_t got;

		must(buf_reserve(&g->raw, READ_LEN));
		got = recv(g->fd, g->raw.data + g->raw.len, READ_LEN, 0);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0) {
			errno = got ? errno : 0;
			return failed("the connection has ended");
		}
		g->raw.len += (size_t)got;
	}
	return 0;
}

static int read_frame(struct grpc *g, struct frame *f)
{
	const uint8_t *p;
	size_t n;

	if (g->raw.len - g->raw_at < HEAD_LEN && fill(g, HEAD_LEN))
		return 1;
	p = g->raw.data + g->raw_at;
	n = (size_t)p[0] << 16 | (size_t)p[1] << 8 | p[2];
	if (n > FRAME_MAX) {
		errno = 0;
		return failed("a frame that is too long");
	}
	if (g->raw.len - g->raw_at < HEAD_LEN + n && fill(g, HEAD_LEN + n))
		return 1;
	p = g->raw.data + g->raw_at;
	f->type = p[3];
	f->flags = p[4];
	f->stream = load_be32(p + 5) & INT32_MAX;
	f->payload = slice_of(p + HEAD_LEN, n);
	g->raw_at += HEAD_LEN + n;
	return 0;
}

static int on_settings(struct grpc *g, const struct frame *f)
{
	if (f->flags & FLAG_ACK)
		return 0;
	for (size_t i = 0; i + 6 <= f->payload.len; i += 6) {
		const uint8_t *p = f->payload.data + i;
		int64_t v = load_be32(p + 2);

		if ((p[0] << 8 | p[1]) == SETTING_INITIAL_WINDOW) {
			g->stream_window += v - g->initial_window;
			g->initial_window = v;
		}
	}
	return send_frame(g, FRAME_SETTINGS, FLAG_ACK, 0, NULL, 0);
}

static void on_window_update(struct grpc *g, const struct frame *f)
{
	if (f->payload.len != 4)
		return;
	if (!f->stream)
		g->window += load_be32(f->payload.data);
	else if (f->stream == g->stream)
		g->stream_window += load_be32(f->payload.data);
}

static int acknowledge(struct grpc *g)
{
	uint8_t n[4];

	if (g->unacknowledged < ACKNOWLEDGE_LEN)
		return 0;
	put_be32(n, (uint32_t)g->unacknowledged);
	g->unacknowledged = 0;
	/* Some of it may have come on an earlier stream: WINDOW_STREAM. */
	return send_frame(g, FRAME_WINDOW_UPDATE, 0, 0, n, 4) ||
	       send_frame(g, FRAME_WINDOW_UPDATE, 0, g->stream, n, 4);
}

static int on_data(struct grpc *g, const struct frame *f)
{
	struct cairn_slice s = f->payload;

	g->unacknowledged += s.len;
	if (f->flags & FLAG_PADDED) {
		size_t pad = s.len ? s.data[0] : 0;

		if (pad >= s.len) {
			errno = 0;
			return failed("a frame with too much padding");
		}
		slice_advance(&s, 1);
		s.len -= pad;
	}
	if (f->stream == g->stream && s.len)
		must(buf_append(&g->in, s.data, s.len));
	return acknowledge(g);
}

/* Read one frame, whatever it is, and do what is to be done about it. */
static int step(struct grpc *g)
{
	struct frame f = { 0 };
	int err = read_frame(g, &f);

	if (err)
		return err;
	if (f.stream == g->stream &&
	    (f.type == FRAME_RST_STREAM ||
	     ((f.type == FRAME_DATA || f.type == FRAME_HEADERS) &&
	      f.flags & FLAG_END_STREAM)))
		g->ended = true;
	switch (f.type) {
	case FRAME_DATA:
		return on_data(g, &f);
	case FRAME_HEADERS:
	case FRAME_RST_STREAM:
		return 0;
	case FRAME_SETTINGS:
		return on_settings(g, &f);
	case FRAME_WINDOW_UPDATE:
		on_window_update(g, &f);
		return 0;
	case FRAME_PING:
		return f.flags & FLAG_ACK
			       ? 0
			       : send_frame(g, FRAME_PING, FLAG_ACK, 0,
					    f.payload.data, f.payload.len);
	case FRAME_GOAWAY:
		errno = 0;
		return failed("it wants to end the connection");
	default:
		return 0;
	}
}

/* -------------------------------------------------------------- connections */

static int say_hello(struct grpc *g)
{
	static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
	uint8_t setting[6] = { 0, SETTING_INITIAL_WINDOW }, more[4];
	struct buf b = { 0 };
	int err;

	put_be32(setting + 2, WINDOW_STREAM);
	put_be32(more, WINDOW_MAX - WINDOW_DEFAULT);
	must(buf_append(&b, preface, sizeof(preface) - 1));
	add_frame(&b, FRAME_SETTINGS, 0, 0, setting, sizeof(setting));
	add_frame(&b, FRAME_WINDOW_UPDATE, 0, 0, more, sizeof(more));
	err = send_all(g, b.data, b.len);
	buf_fini(&b);
	return err;
}

int grpc_open(struct grpc *g, int port)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	int one = 1;

	*g = (struct grpc){ .window = WINDOW_DEFAULT,
			    .initial_window = WINDOW_DEFAULT };
	a.sin_port = htons((uint16_t)port);
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	g->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (g->fd < 0 || connect(g->fd, (struct sockaddr *)&a, sizeof(a)) ||
	    setsockopt(g->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)))
		return failed("connect");
	return say_hello(g);
}

void grpc_close(struct grpc *g)
{
	if (g->fd > 0)
		close(g->fd);
	buf_fini(&g->out);
	buf_fini(&g->in);
	buf_fini(&g->raw);
	*g = (struct grpc){ .fd = -1 };
}

/* -------------------------------------------------------------------- calls */

void grpc_clear(struct grpc *g)
{
	buf_clear(&g->out);
}

void grpc_add(struct grpc *g, const struct buf *message)
{
	uint8_t prefix[PREFIX_LEN] = { 0 };

	put_be32(prefix + 1, (uint32_t)message->len);
	must(buf_append(&g->out, prefix, sizeof(prefix)));
	if (message->len)
		must(buf_append(&g->out, message->data, message->len));
}

static void add_text(struct buf *b, const char *s)
{
	must(buf_append_lp(b, slice_str(s)));
}

/* In HPACK (RFC 7541): numbers of its table, and literals as they are, all
 * shorter than 127 bytes, so that one byte has their length. */
static void add_headers(struct buf *b, const char *method)
{
	static const uint8_t post_http[] = { 0x83, 0x86 };
	static const uint8_t authority = 0x01, path = 0x04, literal = 0x00;
	static const uint8_t content_type[] = { 0x0f, 0x10 };
	char text[100];

	must(buf_append(b, post_http, sizeof(post_http)));
	snprintf(text, sizeof(text), "/etcdserverpb.%s", method);
	must(buf_append(b, &path, 1));
	add_text(b, text);
	must(buf_append(b, &authority, 1));
	add_text(b, "localhost");
	must(buf_append(b, content_type, sizeof(content_type)));
	add_text(b, "application/grpc");
	must(buf_append(b, &literal, 1));
	add_text(b, "te");
	add_text(b, "trailers");
}

/* What is to be sent, as far as the other side has room for it. */
static int send_messages(struct grpc *g, struct buf *b)
{
	struct cairn_slice s = buf_slice(&g->out);
	int err = 0;

	while (!err && s.len) {
		int64_t room = g->window < g->stream_window ? g->window
							    : g->stream_window;
		size_t n = s.len < FRAME_MAX ? s.len : FRAME_MAX;

		if (room <= 0) {
			err = send_all(g, b->data, b->len);
			buf_clear(b);
			err = err || step(g);
			continue;
		}
		if ((int64_t)n > room)
			n = (size_t)room;
		add_frame(b, FRAME_DATA, n == s.len ? FLAG_END_STREAM : 0,
			  g->stream, s.data, n);
		g->window -= (int64_t)n;
		g->stream_window -= (int64_t)n;
		slice_advance(&s, n);
	}
	return err || send_all(g, b->data, b->len);
}

static int send_request(struct grpc *g, const char *method)
{
	struct buf headers = { 0 }, b = { 0 };
	int err;

	/* Streams of clients have odd numbers. */
	g->stream = g->stream ? g->stream + 2 : 1;
	g->stream_window = g->initial_window;
	g->ended = false;
	buf_clear(&g->in);
	add_headers(&headers, method);
	add_frame(&b, FRAME_HEADERS, FLAG_END_HEADERS, g->stream, headers.data,
		  headers.len);
	err = send_messages(g, &b);
	buf_fini(&headers);
	buf_fini(&b);
	return err;
}

/* Take a whole message off s. */
static bool take_message(struct cairn_slice *s, struct cairn_slice *message)
{
	uint32_t n;

	if (s->len < PREFIX_LEN)
		return false;
	n = load_be32(s->data + 1);
	if (s->len - PREFIX_LEN < n)
		return false;
	slice_advance(s, PREFIX_LEN);
	*message = slice_of(s->data, n);
	slice_advance(s, n);
	return true;
}

int grpc_call(struct grpc *g, const char *method, struct cairn_slice *answer)
{
	struct cairn_slice s;

	if (send_request(g, method))
		return 1;
	while (!g->ended)
		if (step(g))
			return 1;
	s = buf_slice(&g->in);
	if (take_message(&s, answer) && !s.len)
		return 0;
	fprintf(stderr, "etcd: %s was refused\n", method);
	return 1;
}

int grpc_stream(struct grpc *g, const char *method,
		bool (*fn)(void *ctx, struct cairn_slice message), void *ctx)
{
	uint8_t cancel[4];

	if (send_request(g, method))
		return 1;
	for (;;) {
		struct cairn_slice s = buf_slice(&g->in), message;
		bool more = true;

		while (more && take_message(&s, &message))
			more = fn(ctx, message);
		if (!more)
			break;
		if (s.len && s.len < g->in.len)
			memmove(g->in.data, s.data, s.len);
		g->in.len = s.len;
		if (g->ended) {
			fprintf(stderr, "etcd: %s has ended\n", method);
			return 1;
		}
		if (step(g))
			return 1;
	}
	if (g->ended)
		return 0;
	put_be32(cancel, ERROR_CANCEL);
	return send_frame(g, FRAME_RST_STREAM, 0, g->stream, cancel, 4);
}
