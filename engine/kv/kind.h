/* SPDX-License-Identifier: BSD-3-Clause */
/* What to say about entries of a kind that a reader cannot honour. */
#ifndef CAIRN_KV_KIND_H
#define CAIRN_KV_KIND_H

#include "engine/kv/ikey.h"

/* A few words for a kind, e.g. "merge operand"; never NULL. */
const char *kind_name(uint8_t kind);

/*
 * The failure for meeting an entry of that kind: CAIRN_ENOTSUP for what
 * RocksDB knows and cairn does not, CAIRN_ECORRUPT for kinds that no table may
 * hold. where is a file or a few words like "a memtable".
 */
int kind_refuse(uint8_t kind, const char *where);

#endif
