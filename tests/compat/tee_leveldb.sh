#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# cairn beside LevelDB, see tee.c.
exec "$(dirname "${CAIRN:?path of the cairn program}")/tests/compat/tee" \
  --with leveldb --ops 10000 --swaps 4 "$@"
