/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Asks an etcd what a trace asks: through its JSON gateway, and for HashKV,
 * which that does not have, in gRPC over HTTP/2.
 */
#ifndef CAIRN_TESTS_COMPAT_ETCD_CLIENT_H
#define CAIRN_TESTS_COMPAT_ETCD_CLIENT_H

#include <curl/curl.h>

#include "tests/mvcc/etcd_trace.h"

struct etcd_client {
	const char *url;
	CURL *json;
	CURL *grpc;
	struct curl_slist *json_headers;
	struct curl_slist *grpc_headers;
};

void etcd_client_init(struct etcd_client *c, const char *url);
void etcd_client_fini(struct etcd_client *c);

/* The answer to an op of a trace, as a trace has it; a new reference. */
json_t *etcd_client_do(struct etcd_client *c, const char *op, const json_t *q);

#endif
