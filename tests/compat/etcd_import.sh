#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# A live etcd on the loopback gets ten thousand keys with history; its snapshot
# is imported and compared with etcd's own answers: all rows at each revision,
# every change, leases, HashKV.
#
#   CAIRN=build/cairn etcd_import.sh [KEYS]
#
# Without etcd, etcdctl or python3 there is nothing to compare with: status 77.
set -u
: "${CAIRN:?path of the cairn program}"
here=$(dirname "$0")
check=$(dirname "$CAIRN")/tests/compat/etcd_store

for program in etcd etcdctl python3; do
	command -v "$program" >/dev/null || {
		echo "SKIP: no $program: nothing was compared with a live etcd"
		echo "hint: apt-get install etcd-server etcd-client python3"
		exit 77
	}
done
[ -x "$check" ] || {
	echo "SKIP: no $check: make it first"
	exit 77
}

top=$(mktemp -d "${TMPDIR:-/tmp}/cairn-etcd.XXXXXX") || exit 1
trap 'rm -rf "$top"' EXIT
trap 'exit 1' HUP INT TERM

bad=0
for kind in small large; do
	python3 "$here/etcd.py" $kind "$top/$kind.db" "$top/$kind.tsv" \
		${1:+"$1"} || exit 1
	"$CAIRN" import --from etcd -v "$top/$kind.db" "$top/$kind" || exit 1
	"$check" "$top/$kind" "$top/$kind.tsv" 1 || bad=1
	"$CAIRN" verify "$top/$kind" || bad=1
done
exit $bad
