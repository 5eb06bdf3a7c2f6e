/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A row as etcd keeps it and hashes it: the protobuf message mvccpb.KeyValue.
 *
 *   field  1 key  2 create_revision  3 mod_revision  4 version  5 value  6
 * lease tag    0a     10                 18              20         2a       30
 *
 * Byte strings are a varint length and the bytes, numbers are varints of their
 * two's complement. Fields that are zero or empty are left out, so a tombstone
 * is its key alone.
 */
#ifndef CAIRN_MVCC_KV_PROTO_H
#define CAIRN_MVCC_KV_PROTO_H

#include "engine/base/buf.h"

struct kv_proto {
	struct cairn_slice key;
	struct cairn_slice value;
	int64_t create_rev;
	int64_t mod_rev;
	int64_t version;
	int64_t lease;
};

/* Append the message, its fields in ascending order: the bytes are those that
 * etcd makes. CAIRN_ENOMEM leaves out as it was. */
MUST_CHECK int kv_proto_encode(struct buf *out, const struct kv_proto *kv);

/*
 * Decode the whole of in; key and value borrow from it, data NULL where the
 * field is missing. As protobuf has it, fields may come in any order, the last
 * of several counts, and unknown ones are skipped. CAIRN_ECORRUPT when in is no
 * such message, out then unchanged.
 */
MUST_CHECK int kv_proto_decode(struct cairn_slice in, struct kv_proto *out);

/*
 * A lease as etcd keeps it, the message leasepb.Lease: field 1 id, 2 ttl, 3
 * remaining ttl, all numbers; seconds.
 */
struct lease_proto {
	int64_t id;
	int64_t ttl;
	int64_t remaining; /* at the last checkpoint; 0: there was none */
};

/* As kv_proto_decode(). */
MUST_CHECK int lease_proto_decode(struct cairn_slice in,
				  struct lease_proto *out);

#endif
