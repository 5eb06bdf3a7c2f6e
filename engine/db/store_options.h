/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a store's OPTIONS file and the options of whoever opens it have to do
 * with one another: settings that belong to the store come from the file unless
 * they are set, and the file is written so that RocksDB does as cairn does.
 */
#ifndef CAIRN_DB_STORE_OPTIONS_H
#define CAIRN_DB_STORE_OPTIONS_H

#include "engine/db/options.h"
#include "engine/version/options_file.h"

/*
 * Take the merge operator, the prefix extractor and the compression from f
 * where o does not have them by its own. Those of cairn's own kinds are put to
 * work; of others the name is kept, for OPTIONS and for messages.
 */
MUST_CHECK int options_adopt(struct cairn_options *o,
			     const struct options_file *f);

/* Append the text of OPTIONS. */
MUST_CHECK int options_to_file(const struct cairn_options *o, struct buf *out);

#endif
