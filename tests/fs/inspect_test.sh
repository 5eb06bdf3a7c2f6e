#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# sst, wal, manifest, verify and repair, as a shell sees them: on directories of
# RocksDB and LevelDB, on damaged ones, and through a mount.
#
#   CAIRN=build/cairn inspect_test.sh
#
# Without /dev/fuse the last part is left out, and the exit status is 77.
set -u
export LC_ALL=C

: "${CAIRN:?path of the cairn program}"
cairn=$(realpath -e -- "$CAIRN") || exit 1
golden=$(realpath -e -- "$(dirname "$0")/../data/golden") || exit 1

top=$(mktemp -d "${TMPDIR:-/tmp}/cairn-inspect.XXXXXX") || exit 1
cd "$top" || exit 1
checks=0 failed=0

cleanup() {
  grep -q " $top/mnt fuse" /proc/mounts && "$cairn" umount "$top/mnt"
  cd / && rm -rf "$top"
}
trap cleanup EXIT
trap 'exit 1' HUP INT TERM

fail() {
  failed=$((failed + 1))
  echo "FAIL: $*"
  [ ! -s "$top/err" ] || sed 's/^/    /' "$top/err"
}

# t STATUS COMMAND...: run a command of cairn; its output is in out and err.
t() {
  local want=$1 got
  shift
  checks=$((checks + 1))
  last=$*
  timeout 120 "$cairn" "$@" >"$top/out" 2>"$top/err"
  got=$?
  [ $got -eq "$want" ] || fail "$last: exit $got, not $want"
}
# The last command wrote a line like this, to stdout or stderr.
line() {
  checks=$((checks + 1))
  grep -qE -- "$1" "$top/out" || fail "$last: wrote no line like '$1'"
}
said() {
  checks=$((checks + 1))
  grep -qE -- "$1" "$top/err" || fail "$last: said nothing like '$1'"
}
quiet() {
  checks=$((checks + 1))
  [ ! -s "$top/err" ] || fail "$last: said something"
}
lines() {
  checks=$((checks + 1))
  [ "$(wc -l <"$top/out")" -eq "$1" ] || fail "$last: not $1 lines"
}
# Every line of the last output is an object of JSON, if somebody can tell.
json() {
  checks=$((checks + 1))
  command -v python3 >/dev/null || return 0
  python3 -c 'import json, sys
for line in sys.stdin: assert isinstance(json.loads(line), dict)' \
    <"$top/out" 2>/dev/null || fail "$last: no JSON"
}
copy() {
  rm -rf "$2"
  cp -r "$golden/$1/db" "$2"
  chmod -R u+w "$2"
}
# spoil FILE OFFSET: other bytes at a place.
spoil() {
  printf 'garbage!' | dd of="$1" bs=1 seek="$2" conv=notrunc 2>/dev/null
}
finish() {
  echo "$checks checks, $failed failed"
  [ "$failed" -eq 0 ] || exit 1
  exit "${1:-0}"
}

# --------------------------------------------------------------- single files
copy fv4 db
table=$(ls db/*.sst | head -1)
entries=$("$cairn" sst "$table" | sed -n 's/^rocksdb.num.entries //p')
t 0 sst "$table"; quiet
line '^db/[0-9]+\.sst: [0-9]+ bytes, format_version 4, checksum [a-z0-9]+$'
line '^rocksdb\.comparator leveldb\.BytewiseComparator$'
t 0 sst --keys "$table"; lines $((entries + 1))
line $'^key[0-9]+\t[0-9]+\tput\t'
t 0 sst --blocks "$table"; line '^block 0 [0-9]+ [0-9]+ [a-z]+ [0-9]+ data key'
line '^block [0-9]+ [0-9]+ [0-9]+ none [0-9]+ index'
t 0 sst --check "$table"
line "^$table: $entries entries, [0-9]+ blocks: good$"
t 0 sst --json --props --blocks --keys "$table"; json
t 0 sst --hex --keys "$table"; line $'^0x6b6579'
t 0 sst --check db/*.sst; lines "$(ls db/*.sst | wc -l)"
spoil "$table" 40
t 5 sst --check "$table"; said "$table: block at 0, .*checksum is"
t 5 sst --json "$table"; json; line '"finding":"corruption"'
: >empty.sst
t 5 sst empty.sst; said 'empty.sst: 0 bytes are too few'
t 3 sst absent.sst; said 'absent.sst: no such file'
t 2 sst db; said 'db: is a directory'
t 2 sst

copy ldb-snappy ldb
t 0 sst --check ldb/*.ldb
t 0 wal ldb/*.log; quiet
t 0 manifest ldb; line '^live L[0-9] [0-9]+ [0-9]+ - '

copy wal-multi wal
t 0 wal --records wal/*.log; line '^record 0 '
line $'\tput\\[1\\]\t'
t 0 wal --json --records wal/*.log; json
copy torn-payload torn
t 0 wal torn/*.log; said 'cut short \(a remark\)'
copy torn-middle middle
t 5 wal middle/000008.log; said 'offset 3948, 98 bytes'
line $'\tput\t'
t 3 wal absent.log

t 0 manifest db; line '^edit offset 0 comparator leveldb.BytewiseComparator'
line '^added L[0-9] [0-9]+ '; line '^state '; line '^live '
t 0 manifest --state db; line '^live '
checks=$((checks + 1))
! grep -q '^edit' out || fail "$last: has edits"
live=$(grep -c '^live' out)
[ "$live" -eq "$(ls db/*.sst | wc -l)" ] || fail "$last: $live live tables"
t 0 manifest --json db; json
manifest=$(ls db/MANIFEST-*)
spoil "$manifest" 30
t 5 manifest "$manifest"; said "$manifest: offset 0, "
t 3 manifest absent

# --------------------------------------------------------------------- verify
copy fv4 db
t 0 verify db; line '^checked [0-9]+ tables, .*: good$'; quiet
cp "$table" db/000777.sst
t 0 verify db; quiet
t 0 verify -v db; said '000777.sst: no live table \(a remark\)'
rm db/000777.sst
spoil "$table" 40
before=$(find db -type f -exec md5sum {} + | sort)
t 5 verify db; line ': 1 finding, 1 table damaged$'
said "$table: block at 0, [0-9]+ bytes: checksum is [0-9a-f]+, should be"
said "$table: 1 of [0-9]+ blocks bad; keys to key[0-9]+ unreadable"
said '^hint: .*cairn repair --dry-run db'
t 5 verify --json db; json; line '"findings":1,'
t 3 verify absent
mkdir nothing
t 3 verify nothing; said 'nothing: there is no database'

# --------------------------------------------------------------------- repair
t 5 repair --dry-run db; line '^would repair: [0-9]+ tables stay, 1 written anew'
t 5 repair --json --dry-run db; json
[ "$before" = "$(find db -type f -exec md5sum {} + | sort)" ] ||
  fail "$last: changed something"
t 5 repair db; line '1 blocks lost'; said 'what can be read of it is in'
t 0 verify db; line ': good$'
[ -e "db/lost/$(basename "$table")" ] || fail "$last: nothing in lost/"
t 0 repair db; line 'nothing is wrong$'
t 0 dump db
rm db/MANIFEST-* db/CURRENT
t 0 repair db; line 'the MANIFEST was made anew$'
t 0 verify db
t 2 repair ldb x; t 0 repair ldb; line 'nothing is wrong$'
rm ldb/CURRENT
t 7 repair ldb; said '^hint: .*--upgrade'
t 0 repair --upgrade ldb
t 0 verify ldb
t 3 repair absent
t 3 repair nothing

# A revision store without its marks.
t 0 init rev
for i in 1 2 3; do t 0 put rev key "value $i"; done
t 0 flush rev
"$cairn" sst --keys rev/*.sst >rows
t 0 verify rev
rm rev/CURRENT
t 0 repair rev
t 0 get rev key; line '^value 3$'
t 0 get --rev 2 rev key; line '^value 1$'

# ------------------------------------------------------------- through a mount
[ -w /dev/fuse ] || { echo "no /dev/fuse"; finish 77; }
mkdir mnt
"$cairn" mount -q rev "$top/mnt" 2>/dev/null ||
  { echo "cannot mount"; finish 77; }
echo more >mnt/keys/more
t 0 verify mnt; line ': good$'; quiet
t 0 verify rev; line ': good$'; quiet
t 0 verify --json mnt; json
t 4 repair mnt; said 'is mounted'
t 4 repair rev; said 'is mounted'
for f in mnt/levels/L*/*.sst; do
  [ ! -e "$f" ] || t 0 sst --check "$f"
done
t 0 umount mnt
finish
