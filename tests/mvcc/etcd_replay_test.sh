#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Replay all recordings of etcd: as they are, and with the store flushed,
# compacted and opened anew between operations. Arguments go to etcd_replay
# instead.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
replay=$(dirname "${CAIRN:?path of the cairn program}")/tests/mvcc/etcd_replay

if [ ! -x "$replay" ]; then
	echo "SKIP: no $replay: it needs jansson (Debian: libjansson-dev)"
	exit 77
fi
[ $# -eq 0 ] || exec "$replay" "$@"
set -- "$here"/data/golden-etcd/*.jsonl
"$replay" "$@"
"$replay" --flush-every 3 --seed 1 "$@"
"$replay" --compact-every 4 --seed 2 "$@"
"$replay" --reopen-every 3 --seed 3 "$@"
"$replay" --flush-every 1 --compact-every 1 --reopen-every 1 "$@"
