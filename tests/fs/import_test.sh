#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# cairn import, as a shell sees it. What is imported is compared with etcd's own
# words in tests/mvcc/test_import.c and tests/compat/etcd_import.sh.
#
#   CAIRN=build/cairn import_test.sh
set -u
. "$(dirname "$0")/checks.sh"
data=$(cd "$(dirname "$0")/../data" && pwd) || exit 1
cd "$top" || exit 1

cp "$data/etcd/small.db" backup.db
cp "$data/etcd/member.db" db
chmod u+w backup.db db

check 'a snapshot' "$CAIRN" import --from etcd backup.db app
is 'silence' "$(cat out)" ''
is 'the current revision' "$("$CAIRN" get app a)" last
refused 'what was compacted' 'is forgotten' "$CAIRN" get --rev 5 app a
check 'verify' "$CAIRN" verify app
check 'to write on' "$CAIRN" put app a more
is 'keys' "$("$CAIRN" ls --count app)" 19

mkdir empty
check "a member's file, into what is there" \
	"$CAIRN" import --from=etcd -v db empty
grep -v 'users and roles' out >said
is 'what -v says' "$(cat said)" 'revision 9
oldest 1
rows 8
tombstones 1
leases 0
attached 0
checksum none'
is 'users are spoken of' "$(grep -c 'users and roles' out)" 1
is 'history' "$("$CAIRN" history empty key | awk '{ print $1, $2 }' |
	tr '\n' ' ')" '2 put 3 put 4 put 5 put 6 put 7 delete 8 put '
is 'a revision of old' "$("$CAIRN" get --rev 4 empty key)" 2

exits 'into a store' 3 "$CAIRN" import --from etcd db empty
refused 'into a store' 'is not empty' "$CAIRN" import --from etcd db empty
exits 'no snapshot' 3 "$CAIRN" import --from etcd nope new
exits 'no kind' 2 "$CAIRN" import db new
refused 'no kind' 'what can be imported is etcd' "$CAIRN" import db new
exits 'another kind' 2 "$CAIRN" import --from redis db new
exits 'no directory' 2 "$CAIRN" import --from etcd db
exits 'another file of bbolt' 7 \
	"$CAIRN" import --from etcd "$data/bbolt/small.db" new
exits 'no file of bbolt' 5 "$CAIRN" import --from etcd out new
printf x | dd of=backup.db bs=1 seek=30000 conv=notrunc 2>/dev/null
exits 'a bent snapshot' 5 "$CAIRN" import --from etcd backup.db new
refused 'a bent snapshot' 'backup.db: offset .*checksum' \
	"$CAIRN" import --from etcd backup.db new
head -c 30000 "$data/etcd/small.db" >short.db
refused 'half a snapshot' 'short.db: offset 30000: .*cut short' \
	"$CAIRN" import --from etcd short.db new
if command -v flock >/dev/null; then
	exits 'a running etcd' 4 flock db "$CAIRN" import --from etcd db new
fi
is 'nothing is made' "$(ls -d new 2>/dev/null)" ''

[ $failed = 0 ] || echo "import_test: $failed of $checks checks failed"
echo "import_test: $checks checks"
rm -rf "$top"
exit $((failed > 0))
