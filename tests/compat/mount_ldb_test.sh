#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# A real tree goes through the mount; the daemon is killed; the tree is still
# there; RocksDB's own tools accept the directory; a RocksDB program changes it
# and the mount shows the change.
#
#   CAIRN=build/cairn [TREE=/usr/include] tests/compat/mount_ldb_test.sh
set -u

cairn=${CAIRN:?path of the cairn program}
touch_program=$(dirname "$cairn")/tests/compat/rocksdb_touch
tree=${TREE:-/usr/include}

[ -c /dev/fuse ] || { echo "SKIPPED: no /dev/fuse"; exit 77; }
for tool in ldb sst_dump diff; do
  command -v $tool >/dev/null || { echo "SKIPPED: no $tool"; exit 77; }
done
[ -x "$touch_program" ] || { echo "SKIPPED: no rocksdb_touch"; exit 77; }

work=$(mktemp -d)
data=$work/data
mnt=$work/mnt
mkdir "$mnt"
cleanup() {
  "$cairn" umount "$mnt" 2>/dev/null || fusermount3 -uz "$mnt" 2>/dev/null
  rm -rf "$work"
}
trap cleanup EXIT
fail() { echo "FAILED: $*"; exit 1; }

same_tree() {
  diff -r --no-dereference "$tree" "$mnt/keys/tree" >"$work/diff" 2>&1 || {
    head -5 "$work/diff"
    fail "$1: the tree differs"
  }
}
daemon_pid() { cat "$mnt/stats/pid"; }

"$cairn" mount --create "$data" "$mnt" || fail "mount"
cp -a "$tree" "$mnt/keys/tree" || fail "cp -a"
echo "copied $(find "$tree" | wc -l) names, $(find "$tree" -type l | wc -l) symlinks"
same_tree "after cp -a"

kill -9 "$(daemon_pid)"
"$cairn" mount "$data" "$mnt" || fail "mount after kill -9"
same_tree "after kill -9"

echo >"$mnt/ctl/compact" || fail "ctl/compact"
same_tree "after ctl/compact"
kill -9 "$(daemon_pid)"
"$cairn" mount "$data" "$mnt" || fail "mount after compact and kill -9"
same_tree "after compact and kill -9"

before=$(cat "$mnt/stats/revision/current")
"$cairn" umount "$mnt" || fail "umount"

keys=$(ldb --db="$data" scan --hex 2>"$work/err" | wc -l)
[ "$keys" -gt 1000 ] || { cat "$work/err"; fail "ldb scan shows $keys keys"; }
ldb --db="$data" checkconsistency >"$work/out" 2>&1 || {
  cat "$work/out"
  fail "ldb checkconsistency"
}
tables=0
for t in "$data"/*.sst; do
  sst_dump --file="$t" --command=verify --verify_checksum >"$work/out" 2>&1 ||
    fail "sst_dump verify of $t"
  # sst_dump's exit status does not tell.
  grep -qi 'corrupt\|error\|fail' "$work/out" && {
    cat "$work/out"
    fail "sst_dump verify of $t"
  }
  tables=$((tables + 1))
done
echo "ldb scans $keys keys; sst_dump verifies $tables tables"

"$touch_program" "$data" $((before + 1)) motd 'hello from RocksDB' ||
  fail "the RocksDB program"

"$cairn" mount "$data" "$mnt" || fail "mount after RocksDB"
same_tree "after RocksDB"
[ "$(cat "$mnt/keys/motd")" = 'hello from RocksDB' ] ||
  fail "the change of the RocksDB program does not show"
[ "$(cat "$mnt/stats/revision/current")" = $((before + 1)) ] ||
  fail "the revision of the RocksDB program does not count"
"$cairn" umount "$mnt" || fail "last umount"
echo "passed"
