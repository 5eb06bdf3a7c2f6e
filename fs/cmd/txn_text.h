/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Transactions as text, in the form of etcdctl txn: three lists, each ended by
 * an empty line or the end of the text. Compares, one a line; what to do if all
 * of them hold; what to do else.
 *
 *	mod("motd") = "3"
 *	value("owner") = "ann"
 *
 *	put motd "good morning"
 *	get --prefix users/
 *
 *	get motd
 *
 * A compare is TARGET("KEY") OP "WHAT": version (ver), create (c), mod (m),
 * value (val) or lease; =, !=, < or >. What etcdctl wants in quotes may be a
 * bare number, but for values; that of lease is in hex.
 *
 * The others are lines of words, in the options of etcdctl 3.4, and
 * --count-only:
 *
 *	get [--prefix | --from-key] [--limit N] [--rev N] [--keys-only]
 *	    [--count-only] [--order ASCEND | DESCEND]
 *	    [--sort-by KEY | VERSION | CREATE | MODIFY | VALUE] KEY [END]
 *	put [--lease ID] [--prev-kv] [--ignore-value] [--ignore-lease]
 *	    KEY [VALUE]
 *	del [--prefix | --from-key] [--prev-kv] KEY [END]
 *
 * Words in double quotes have Go's escapes, those in single quotes none, and
 * neither is an option. In any of them a key is read as in an argument of a
 * command (cmd.h): with %XX, unless another form is chosen. A value is what the
 * word is.
 */
#ifndef CAIRN_FS_TXN_TEXT_H
#define CAIRN_FS_TXN_TEXT_H

#include "fs/cmd/cmd.h"
#include "mvcc/request.h"

struct txn_text {
	struct mvcc_txn_request txn; /* borrows from the others */
	bool writes; /* an op, of either list, is a put or del */
	bool puts;   /* or a put */
	/* Private. */
	struct mvcc_compare *compares;
	struct mvcc_request *ops[2];
	void *owned;
};

/*
 * Read text. CAIRN_EINVAL, and a message that begins with line and column
 * (bytes, from 1), when it is malformed; CAIRN_ENOMEM. out is zeroed then.
 */
MUST_CHECK int txn_text_parse(const struct cmd_key_opts *keys,
			      struct cairn_slice text, struct txn_text *out);
/* Safe on a zeroed struct, and twice. */
void txn_text_free(struct txn_text *t);

#endif
