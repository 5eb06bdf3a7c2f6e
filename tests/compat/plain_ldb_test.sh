#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Plain stores go back to RocksDB's own tools: what was written through a mount
# and by the commands, and LevelDB directories after an upgrade.
#
#   CAIRN=build/cairn tests/compat/plain_ldb_test.sh
set -u

cairn=${CAIRN:?path of the cairn program}
golden=${GOLDEN:-${srcdir:-.}/tests/data/golden}
[ -d "$golden/ldb-snappy" ] || { echo "SKIPPED: no $golden"; exit 77; }
for tool in ldb sst_dump cmp; do
  command -v $tool >/dev/null || { echo "SKIPPED: no $tool"; exit 77; }
done

work=$(mktemp -d)
data=$work/data
mnt=$work/mnt
mkdir "$mnt"
cleanup() {
  grep -q " $mnt fuse" /proc/mounts && fusermount3 -uz "$mnt"
  rm -rf "$work"
}
trap cleanup EXIT
fail() { echo "FAILED: $*"; exit 1; }

# take NAME: a copy of a golden directory, ours to write to.
take() {
  rm -rf "$data"
  cp -r "$golden/$1/db" "$data"
  chmod -R u+w "$data"
}

# RocksDB shows what cairn shows, and finds nothing wrong.
same_by_ldb() {
  "$cairn" dump "$data" >"$work/ours" || fail "$1: dump"
  ldb --db="$data" scan --hex 2>"$work/err" |
    sed -n 's/^0x\([0-9A-F]*\) : 0x/\1\t/p' | tr A-F a-f >"$work/theirs"
  cmp "$work/ours" "$work/theirs" || fail "$1: ldb scan: $(head -3 "$work/err")"
  ldb --db="$data" checkconsistency >"$work/out" 2>&1 ||
    fail "$1: checkconsistency: $(cat "$work/out")"
  for t in "$data"/*.sst; do
    [ -f "$t" ] || continue
    sst_dump --file="$t" --command=verify --verify_checksum >"$work/out" 2>&1 ||
      fail "$1: sst_dump of $t"
    grep -qi 'corrupt\|error\|fail' "$work/out" &&
      fail "$1: $t: $(cat "$work/out")"
  done
}

# --------------------------------------------------------------- LevelDB's
for name in ldb-bloom ldb-log ldb-snappy ldb-tiny; do
  take $name
  "$cairn" flush "$data" 2>"$work/err" && fail "$name: written to unasked"
  grep -q -- --upgrade "$work/err" || fail "$name: $(cat "$work/err")"
  "$cairn" flush --upgrade "$data" || fail "$name: upgrade"
  ls "$data" | grep -q '\.ldb$' && fail "$name: LevelDB's names are left"
  cmp <("$cairn" dump "$data") "$golden/$name/expected.tsv" ||
    fail "$name: after the upgrade"
  same_by_ldb "$name"
  ldb --db="$data" put ~theirs 1 >/dev/null || fail "$name: ldb put"
  ldb --db="$data" compact >/dev/null 2>&1 || fail "$name: ldb compact"
  "$cairn" put "$data" ~ours 2 || fail "$name: put"
  "$cairn" compact "$data" || fail "$name: compact"
  [ "$("$cairn" get "$data" ~theirs)" = 1 ] || fail "$name: a key of ldb's"
  same_by_ldb "$name, both ways"
done

# ---------------------------------------------------------------- commands
rm -rf "$data"
"$cairn" init --plain "$data" || fail init
same_by_ldb "an empty store"
"$cairn" put "$data" a 1 && "$cairn" put "$data" b 2 && "$cairn" del "$data" a
"$cairn" load "$data" "$golden/levels/expected.tsv" || fail load
same_by_ldb "commands"
ldb --db="$data" --hex put 0x 0x656D707479 >/dev/null 2>&1 || true
ldb --db="$data" delete b >/dev/null || fail "ldb delete"
"$cairn" get "$data" b 2>/dev/null && fail "deleted by ldb, and there"

# ------------------------------------------------------------------ a mount
if [ ! -c /dev/fuse ] || ! (: <>/dev/fuse) 2>/dev/null; then
  echo "passed, without /dev/fuse"
  exit 0
fi
for name in levels fv5 part-index-filter binary wal-multi; do
  [ -d "$golden/$name" ] || continue
  take $name
  "$cairn" dump "$data" >"$work/before" 2>"$work/err" || {
    grep -q 'not supported' "$work/err" && continue
    fail "$name: $(cat "$work/err")"
  }
  "$cairn" mount "$data" "$mnt" 2>"$work/err" || {
    grep -q 'not supported' "$work/err" && continue
    fail "$name: mount: $(cat "$work/err")"
  }
  first=$(head -1 "$golden/$name/expected.tsv" | cut -f1)
  mkdir "$mnt/keys/new" && cp -r "${srcdir:-.}/mvcc" "$mnt/keys/new/" ||
    fail "$name: cp -r"
  for i in 1 2 3 4 5 6 7 8; do
    head -c 300000 /dev/urandom >"$mnt/keys/big$i" || fail "$name: write"
    echo >"$mnt/ctl/flush" || fail "$name: flush"
  done
  "$cairn" del --hex "$mnt" "0x$first" || fail "$name: del"
  mv "$mnt/keys/new/mvcc" "$mnt/keys/moved" || fail "$name: mv"
  rm "$mnt/keys/big3"
  diff -r "${srcdir:-.}/mvcc" "$mnt/keys/moved" || fail "$name: diff"
  "$cairn" umount "$mnt" || fail "$name: umount"
  same_by_ldb "$name"
  cut -f1 "$work/theirs" | grep -qx "$first" && fail "$name: a deleted key"
done
echo passed
