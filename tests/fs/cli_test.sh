#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# The commands of cairn, as a shell sees them: answers, messages, exit statuses;
# on a data directory, on a mount, and on a data directory that a mount holds.
#
#   CAIRN=build/cairn [HOLD_LOCK=build/tests/support/hold_lock] cli_test.sh
#
# Without /dev/fuse the second half is left out, and the exit status is 77.
set -u
export LC_ALL=C
unset POSIXLY_CORRECT

: "${CAIRN:?path of the cairn program}"
cairn=$(realpath -e -- "$CAIRN") || exit 1
hold_lock=${HOLD_LOCK:-$(dirname "$cairn")/tests/support/hold_lock}
hold_lock=$(realpath -m -- "$hold_lock")
golden=$(realpath -m -- "$(dirname "$0")/../data/golden")

top=$(mktemp -d "${TMPDIR:-/tmp}/cairn-cli.XXXXXX") || exit 1
cd "$top" || exit 1
checks=0 failed=0 skipped=

cleanup() {
  local m
  for m in "$top/mnt" "$top/mnt2"; do
    grep -q " $m fuse" /proc/mounts && "$cairn" umount "$m"
  done
  grep -q " $top/small tmpfs" /proc/mounts && umount "$top/small"
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

# The last command wrote exactly this text (and a newline) to stdout.
out() {
  checks=$((checks + 1))
  printf '%s\n' "$*" | cmp -s - "$top/out" ||
    fail "$last: wrote '$(head -c 300 "$top/out")', not '$*'"
}
# The same without the newline.
out_exactly() {
  checks=$((checks + 1))
  printf '%s' "$*" | cmp -s - "$top/out" ||
    fail "$last: wrote '$(head -c 300 "$top/out")', not '$*'"
}
# Its stderr is one line with this text, at most a hint behind it.
err() {
  checks=$((checks + 1))
  grep -qF -- "$*" "$top/err" || fail "$last: does not say '$*'"
  [ "$(grep -c '^cairn' "$top/err")" -eq 1 ] &&
    [ "$(grep -vc '^cairn' "$top/err")" -le 1 ] &&
    ! grep -v '^cairn' "$top/err" | grep -qv '^hint: ' ||
    fail "$last: not one line and a hint"
}
hint() {
  checks=$((checks + 1))
  grep -qF -- "hint: " "$top/err" && grep -qF -- "$*" "$top/err" ||
    fail "$last: no hint '$*'"
}
quiet() {
  checks=$((checks + 1))
  [ ! -s "$top/err" ] || fail "$last: has something to say"
}

# Names, sizes, modes, times and contents of all below a directory.
picture() {
  (cd "$1" && find . -printf '%p %s %m %T@ %C@\n' | sort &&
    find . -type f -exec sha256sum {} + | sort)
}
# unchanged DIR STATUS COMMAND...: as t, and DIR is afterwards as it was. While
# it is mounted (live is not empty) its daemon may be at work in it.
live=
unchanged() {
  local dir=$1 before
  shift
  if [ -n "$live" ]; then
    t "$@"
    return
  fi
  before=$(picture "$dir")
  t "$@"
  checks=$((checks + 1))
  [ "$before" = "$(picture "$dir")" ] || fail "$last: changed $dir"
}
# The same but for times and LOCK, which tells who had the directory last.
same_bytes() {
  local dir=$1 before
  shift
  before=$(picture "$dir" | sed 's/ [0-9.]* [0-9.]*$//; /LOCK/d')
  t "$@"
  checks=$((checks + 1))
  [ "$before" = "$(picture "$dir" | sed 's/ [0-9.]* [0-9.]*$//; /LOCK/d')" ] ||
    fail "$last: changed $dir"
}

# flip FILE OFFSET: change one byte.
flip() {
  local byte
  byte=$(od -An -tu1 -j "$2" -N 1 "$1")
  printf "\\x$(printf %x $((byte ^ 0xff)))" |
    dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

# Keys for an answer that no pipe holds.
awk 'BEGIN {
  for (i = 0; i < 40; i++) x = x "78"
  for (i = 10000; i < 15000; i++) {
    n = i ""
    k = x
    for (j = 1; j <= 5; j++) k = k "3" substr(n, j, 1)
    print k "\t"
  }
}' >many

# ------------------------------------------------------------- what is common

# The everyday life of keys in the revision store that $1 stands for. $2 is its
# data directory.
commands_on() {
  local d=$1 data=$2 rev i

  t 1 ls "$d"; out_exactly; quiet
  t 1 ls --count "$d"; out 0
  t 0 dump "$d"; out_exactly
  t 1 get "$d" motd; out_exactly; err 'cairn get: motd: no such key'
  t 1 history "$d" motd; err 'motd: no such key'
  t 1 del "$d" motd; out_exactly; quiet
  t 1 del -v "$d" --prefix m; out 0

  # put and get.
  t 0 put "$d" motd hello; out_exactly; quiet
  t 0 get "$d" motd; out_exactly hello; quiet
  t 0 put -v "$d" motd - <<<'from stdin'
  rev=$(cat out)
  t 0 get "$d" motd; out 'from stdin'
  t 0 get "$d" motd --rev $((rev - 1)); out_exactly hello
  t 0 get --rev=$rev "$d" motd; out 'from stdin'
  t 1 get "$d" motd --rev 1; err 'no such key'
  t 8 get "$d" motd --rev 999999; err 'revision 999999 is not yet written'
  t 8 ls "$d" --rev 999999; err 'not yet written'
  t 0 history "$d" motd; out "$((rev - 1)) put 5
$rev put 11"
  t 0 put "$d" empty ''
  t 0 get "$d" empty; out_exactly
  t 0 put "$d" empty2 </dev/null
  t 0 get "$d" empty2; out_exactly
  t 0 put --sync "$d" synced yes
  t 0 put "$d" -- -v --
  t 0 get "$d" -- -v; out_exactly --
  t 0 del -v "$d" empty empty2 synced nope empty -- -v; out 4

  # Any bytes as values.
  head -c 100000 /dev/urandom >bytes
  t 0 put "$d" bytes <bytes
  t 0 get "$d" bytes
  cmp -s out bytes || fail "a binary value comes back changed"
  printf 'a\0b\n\0' >nul
  t 0 put "$d" bytes <nul
  t 0 get "$d" bytes
  cmp -s out nul || fail "a value with NULs comes back changed"
  t 0 del "$d" bytes

  # --if-rev.
  t 1 put --if-rev 1 "$d" motd x; err 'cairn put: motd: '
  t 1 put --if-rev 0 "$d" motd x
  t 0 put --if-rev 0 "$d" fresh x
  t 1 put --if-rev 0 "$d" fresh y
  t 0 put --if-rev $rev "$d" motd hello
  t 2 put --if-rev x "$d" motd y; err '--if-rev x: not a number'
  t 0 get "$d" motd; out_exactly hello
  t 0 del "$d" fresh motd

  # Leases. None of these ends by itself before the test does.
  t 0 lease list "$d"; out_exactly; quiet
  t 0 lease grant --id 7F "$d" 1h; out 7f; quiet
  t 3 lease grant --id 7f "$d" 1h; err '7f: there is such a lease already'
  t 0 put --lease 7f "$d" leased/b 1
  t 0 put --lease 7f "$d" leased/a 2
  t 0 put --lease 7f "$d" leased/c 3
  t 0 put "$d" leased/c 3
  t 1 put --lease 80 "$d" leased/d 4; err '80: no such lease'
  t 1 get "$d" leased/d
  t 0 lease ttl --keys "$d" 7f
  [ "$(awk 'NR == 1 {print $1, ($2 > 3000 && $2 <= 3600), $3} NR > 1' out)" = \
    "7f 1 3600
leased/a
leased/b" ] || fail "lease ttl --keys: $(cat out)"
  t 0 lease list --json --keys --hex "$d"
  grep -qF '"id":"7f",' out &&
    grep -qF '"keys":["0x6c65617365642f61","0x6c65617365642f62"]' out ||
    fail "lease list --json: $(cat out)"
  t 0 lease keepalive -v "$d" 7f; out 3600
  rev=$("$cairn" stats "$d" revision/current)
  t 0 lease revoke -v "$d" 7f; out $((rev + 1))
  t 0 ls --prefix leased/ "$d"; out leased/c
  t 0 get --rev "$rev" "$d" leased/a; out_exactly 2
  for i in revoke keepalive ttl; do
    t 1 lease $i "$d" 7f; out_exactly; err '7f: no such lease'
  done
  t 0 put --ttl 1h "$d" leased/t v
  t 0 put --ttl 90m "$d" leased/u - <<<'from stdin'
  t 1 put --ttl 1h --if-rev 1 "$d" leased/t w
  t 0 lease list --keys "$d"
  [ "$(awk 'NF == 3 {print $3} NF == 1' out | sort)" = "3600
5400
leased/t
leased/u" ] || fail "lease list of put --ttl: $(cat out)"
  awk 'NF == 3 {print $1}' out >ids
  while read -r i; do t 0 lease revoke "$d" "$i"; done <ids
  t 0 lease grant --id 1 "$d" 1s; out 1; hint 'granted for 2 seconds'
  t 0 lease keepalive "$d" 1; out_exactly; quiet
  t 0 lease revoke "$d" 1; out_exactly; quiet
  t 2 put --ttl 5x "$d" k v; err '5x: not a time'
  t 2 put --ttl 0 "$d" k v; err '0: not a time to live'
  t 2 put --ttl 200000d "$d" k v; err 'not a time to live'
  t 2 put --ttl 1h --lease 1 "$d" k v; err 'either --ttl or --lease'
  t 2 put --lease x "$d" k v; err 'x: not a lease'
  t 2 lease grant "$d"; err 'grant: wants DIR and TTL'
  t 2 lease ttl "$d"; err 'ttl: wants DIR and ID'
  t 2 lease list "$d" 7; err 'list: wants DIR'
  t 2 lease list --id 7 "$d"; err '--id: for grant only'
  t 2 lease revoke "$d" 10000000000000000; err 'not a lease'
  t 2 lease frob "$d"; err 'frob: not one of grant'
  t 0 del "$d" --prefix leased/

  # Transactions: the answers, and which of the lists it was.
  printf '%s\n' 'create("txn/a") = "0"' '' 'put txn/a 1' 'put "txn/b c" "x\ty"' \
    '' 'get --prefix txn/' >txn
  t 0 txn "$d" txn; quiet; out "SUCCESS

OK

OK"
  t 1 txn "$d" - <txn; quiet; out "FAILURE

txn/a
1
txn/b c
x	y"
  rev=$(("$("$cairn" stats "$d" revision/current)" + 1))
  printf '\nput txn/a 2 --prev-kv\ndel txn/b txn/c --prev-kv\nget txn/a' >txn
  t 0 txn --sync -v "$d" <txn; out "SUCCESS
$rev

OK
txn/a
1

1
txn/b c
x	y

txn/a
2"
  t 0 history "$d" txn/a; out "$((rev - 1)) put 1
$rev put 1"
  printf '\nget txn/a' >txn
  unchanged "$data" 0 txn --json "$d" txn
  out "{\"succeeded\":true,\"rev\":$rev,\"answers\":[{\"op\":\"get\",\"count\":1,\
\"more\":false,\"rows\":[{\"key\":\"txn/a\",\"rev\":$rev,\"create_rev\":$((rev - 1)),\
\"version\":2,\"size\":1,\"value\":\"2\"}]}]}"
  printf '\nput txn/a 3\nput txn/a 4\n' >txn
  t 2 txn "$d" txn; err 'cairn txn: etcdserver: duplicate key given'
  printf '\nput txn/a 3\nget txn/a --rev 999999\n' >txn
  t 8 txn "$d" txn; err 'future revision'
  printf '\nput txn/a 3\n\nput txn/a\n' >txn
  unchanged "$data" 2 txn "$d" txn
  err 'cairn txn: txn: line 4, column 10: the value is missing'
  unchanged "$data" 2 txn "$d" <txn; err 'cairn txn: standard input: line 4'
  unchanged "$data" 2 txn "$d" </dev/null; err 'there is nothing'
  unchanged "$data" 3 txn "$d" nosuch; err 'nosuch: No such file'
  unchanged "$data" 3 txn "$d" "$top"; err 'Is a directory'
  head -c 17000000 /dev/zero | tr '\0' a >txn
  unchanged "$data" 2 txn "$d" txn; err 'txn: is longer than 16777216 bytes'
  t 0 get "$d" txn/a; out_exactly 2
  # A value of more than a chunk, there and back.
  (printf '\nput txn/long ' && head -c 300000 txn) >txn2
  t 0 txn "$d" txn2; out "SUCCESS

OK"
  t 0 get "$d" txn/long
  head -c 300000 txn | cmp -s - out || fail "$last: not what txn put"
  printf '\ndel txn/ txn0 --prev-kv' >txn2
  t 0 txn "$d" txn2
  { printf 'SUCCESS\n\n2\ntxn/a\n2\ntxn/long\n' && head -c 300000 txn && echo; } |
    cmp -s - out || fail "$last: not what it deleted"

  # The fingerprint: the same at a revision, whatever comes after it.
  rev=$("$cairn" stats "$d" revision/current)
  unchanged "$data" 0 hash "$d"; quiet; sum=$(cat out)
  case $sum in *[!0-9]* | '') fail "hash: $sum" ;; esac
  unchanged "$data" 0 hash -v "$d"
  [ "$(cat out)" = "$sum $rev $(awk '{print $3}' out)" ] || fail "hash -v"
  unchanged "$data" 0 hash --json "$d"
  grep -q "^{\"hash\":$sum,\"rev\":$rev,\"compact_rev\":-*[0-9]*}\$" out ||
    fail "hash --json: $(cat out)"
  t 0 put "$d" hashed x
  t 0 hash "$d"; [ "$(cat out)" != "$sum" ] || fail "hash of another state"
  t 0 hash --rev "$rev" "$d"; out "$sum"
  unchanged "$data" 8 hash --rev 999999 "$d"; err 'not yet written; the last one'
  t 0 del "$d" hashed

  # Keys in all spellings.
  t 0 put "$d" 'a%00b%FF%25/ü' v
  t 0 get "$d" --hex 0x610062ff252fc3bc; out_exactly v
  t 0 get "$d" --hex 610062FF252FC3BC; out_exactly v
  t 0 get "$d" --path '%a%00b'$'\xff''%25/ü'; out_exactly v
  t 2 get "$d" --path 'a/%@'; err 'not the path of a key'
  t 0 put "$d" --raw '100%' v
  t 0 get "$d" '100%25'; out_exactly v
  t 0 get "$d" --path '100%'; out_exactly v
  t 0 put "$d" --path 'dir/%' v
  t 0 get "$d" 'dir/'; out_exactly v
  t 0 ls "$d"; out "100%25
a%00b%FF%25/ü
dir/"
  t 2 ls --hex "$d" dir; err 'dir: not pairs of hex digits'
  t 0 ls --hex "$d" 0x646972; out 0x6469722f
  t 0 ls --path --prefix 'dir' "$d"; out 'dir/%'
  t 0 ls --raw "$d" --from 1 --to 2; out '100%'
  t 2 get "$d" '%zz'; err 'two hex digits'
  t 2 get --hex "$d" 0x1; err 'hex digits'
  t 2 get --hex --raw "$d" 00; err 'exclude each other'
  t 2 get "$d" ''; err 'key of 0 bytes'
  t 2 put "$d" "$(printf '%017000d' 0)" v; err 'key of 17000 bytes'
  t 0 del "$d" --prefix ''

  # Ranges.
  for i in 1 2 3 4 5 6 7 8 9; do t 0 put "$d" "k$i" "v$i"; done
  t 0 put "$d" other x
  t 0 ls "$d" k --limit 2; out "k1
k2"
  t 0 ls "$d" --prefix k --reverse --limit 2; out "k9
k8"
  t 0 ls "$d" --from k8; out "k8
k9
other"
  t 0 ls "$d" --from k3 --to k5; out "k3
k4"
  t 0 ls "$d" --to k2; out k1
  t 1 ls "$d" --from k5 --to k3; out_exactly
  t 0 ls --count "$d"; out 10
  t 0 ls -l "$d" k1
  [ "$(awk '{print $1, $3, $4}' out)" = "2 1 k1" ] || fail "ls -l: $(cat out)"
  t 2 ls "$d" --prefix k --from k3; err 'excludes'
  t 2 ls "$d" k --prefix k; err 'PREFIX is given twice'
  t 0 dump "$d" --from k8 --to l; out "6b38	7638
6b39	7639"
  rev=$("$cairn" stats "$d" revision/current)
  t 0 del -v "$d" --from k2 --to k9; out 7
  t 0 ls "$d"; out "k1
k9
other"
  t 0 ls "$d" --rev "$rev" --count; out 10
  t 0 dump "$d" --rev "$rev" --limit 1 --reverse; out "6f74686572	78"
  t 2 del "$d"; err 'either keys or a range'
  t 2 del "$d" k1 --prefix k; err 'either keys or a range'
  t 0 history "$d" k5
  [ "$(awk '{print $2, $3}' out)" = "put 2
delete -" ] || fail "history of a deleted key: $(cat out)"

  # dump and load.
  t 0 put "$d" 'large' <bytes
  t 0 put "$d" '%00%0A%09' $'\t\n'
  t 0 dump "$d"; cp out dumped
  t 0 dump --format hex "$d"; cmp -s out dumped || fail "dump --format hex"
  t 2 dump --format json5 "$d"; err 'no such format'
  t 0 init copy
  t 0 load -v copy dumped; out "$(wc -l <dumped)"
  t 0 dump copy; cmp -s out dumped || fail "what dump wrote, load did not read"
  t 0 init --plain copy2
  t 0 load copy2 <dumped
  t 0 dump copy2; cmp -s out dumped || fail "load into a plain store"
  rm -rf copy copy2
  t 0 load "$d" dumped
  t 0 dump "$d"; cmp -s out dumped || fail "load over what is there"
  printf '61\t62\n61\t63\n' >twice
  t 0 load -v "$d" twice; out 2
  t 0 get "$d" a; out_exactly c
  printf '61\t64\n62\t65' >cut
  t 5 load --batch 1 "$d" cut; err 'cut: line 2: cut short'
  hint 'the first 1 keys are loaded'
  printf '61\t64\n62 65\n' >notab
  t 5 load "$d" notab; err 'notab: line 2: no TAB'
  printf '61\t6x\n' >nohex
  t 5 load "$d" <nohex; err 'line 1: not pairs of hex digits'
  printf '61\t61\0 61\n' >hidden
  t 5 load "$d" hidden; err 'line 1: not pairs'
  t 3 load "$d" nosuchfile; err 'nosuchfile: No such file'
  t 3 load "$d" "$top"; err 'Is a directory'
  t 2 load --batch 0 "$d" twice; err '--batch 0'
  t 0 load "$d" /dev/null

  # Upkeep.
  t 0 flush "$d"; out_exactly; quiet
  t 0 compact "$d"; out_exactly; quiet
  t 0 ls --count "$d"; out 6
  t 1 forget --keep 1000 "$d"; quiet
  t 0 forget --keep 2 "$d"
  rev=$("$cairn" stats "$d" revision/oldest)
  t 8 forget --before "$rev" "$d"; err 'already forgotten'
  t 8 forget --before 999999 "$d"; err 'not yet written'
  t 2 forget "$d"; err 'one of --before, --keep'
  t 2 forget --before 1 --keep 1 "$d"
  t 8 get "$d" k5 --rev $((rev - 1))
  err "cairn get: k5: revision $((rev - 1)) is forgotten"
  hint 'cairn history'
  t 8 ls "$d" --rev $((rev - 1)); err 'is forgotten'
  t 8 dump "$d" --rev $((rev - 1)); out_exactly; err 'is forgotten'
  t 0 compact "$d"
  t 1 history "$d" k5
  t 0 get "$d" large; cmp -s out bytes || fail "large value after compact"

  # A copy, under a name that means something here only.
  rm -rf chk
  "$cairn" dump "$d" >here
  t 0 checkpoint "$d" chk; out_exactly; quiet
  t 0 dump chk; cmp -s out here || fail "the copy differs"
  t 0 get chk large; cmp -s out bytes || fail "large value of the copy"
  t 0 put chk k5 other
  "$cairn" dump "$d" | cmp -s - here || fail "the copy is no copy"
  t 3 checkpoint "$d" chk; err "cairn checkpoint: "; err 'chk: exists already'
  t 3 checkpoint "$d" no/where; err 'no/where'
  [ -z "$(ls -d chk.* no 2>&1 | grep -v 'No such')" ] || fail "left: $(ls)"
  t 2 checkpoint "$d"
  t 7 ingest "$d" here; err 'is a revision store'; hint 'cairn load'
  t 2 ingest --link --move "$d" here; err 'either --link or --move'

  # Numbers.
  t 0 stats "$d" kind revision/oldest; out "revision
$rev"
  t 0 stats "$d"; grep -q '^L6 ' out || fail "no L6 in stats"
  t 0 stats "$d" summary; grep -q '^total ' out || fail "no total in stats"
  t 0 stats --format all "$d"
  grep -q "^revision_oldest $rev\$" out || fail "stats --format all"
  t 0 stats --json "$d"
  grep -q "\"oldest\":$rev" out || fail "stats --json"
  t 0 stats --format metrics "$d"
  grep -q "^cairn_revision_oldest $rev\$" out || fail "stats --format metrics"
  t 0 stats "$d" levels/L6/files; [ "$(cat out)" -gt 0 ] || fail "L6 is empty"
  t 1 stats "$d" kind no/such health; out "revision
ok"; err 'no/such: no such number'
  t 2 stats --format nope "$d"; err 'no such format'
  for i in summary all json metrics latency compactions stalls; do
    t 0 stats --format $i "$d"; quiet
  done

  # Standard streams that fail.
  for i in "ls $d" "dump $d" "get $d other" "history $d other" "stats $d" \
    "stats $d kind" "ls --count $d" "put -v $d other y" "del -v $d nope" \
    "get --help"; do
    last="$i >/dev/full"
    checks=$((checks + 1))
    # shellcheck disable=SC2086
    "$cairn" $i >/dev/full 2>err
    [ $? -eq 3 ] || fail "$last: not 3"
    err 'standard output: No space left on device'
    "$cairn" $i >&- 2>err
    [ $? -eq 3 ] || fail "$i >&-: not 3"
  done
  "$cairn" put "$d" other <&- 2>err
  [ $? -eq 3 ] || fail "put <&-: not 3"
  err 'standard input: '
  "$cairn" put "$d" other <"$top" 2>err
  [ $? -eq 3 ] || fail "put <directory: not 3"
  err 'standard input: Is a directory'
  t 0 get "$d" other; out_exactly y
  # A reader that has seen enough is no news, but no success either.
  t 0 load "$d" many
  last="ls | head -1"
  "$cairn" ls "$d" 2>err | head -1 >/dev/null
  [ "${PIPESTATUS[0]}" -eq 3 ] || fail "$last: ${PIPESTATUS[0]}, not 3"
  quiet
  t 0 del "$d" --prefix xx

  # What is wrong with the command line touches nothing.
  unchanged "$data" 2 get "$d"; err 'an operand is missing; usage: cairn get'
  unchanged "$data" 2 get "$d" a b; err 'too many operands'
  unchanged "$data" 2 put "$d" '%' v; err 'two hex digits'
  unchanged "$data" 2 put --snyc "$d" a v; err 'did you mean --sync?'
  unchanged "$data" 2 del "$d" ok '%'; err 'two hex digits'
  unchanged "$data" 2 del --prefix '%' "$d"; err 'two hex digits'
  unchanged "$data" 2 compact --hard "$d"; err '--hard: no such option'
  unchanged "$data" 2 forget --keep -1 "$d"; err 'not a number'
  unchanged "$data" 2 load -b "$d"; err '-b: no such option'
}

# Every command that only reads leaves the directory as it is.
readers_change_nothing() {
  local d=$1 data=$2 key=$3
  unchanged "$data" 0 get "$d" "$key"
  unchanged "$data" 1 get "$d" nosuchkey
  unchanged "$data" 0 ls -l "$d"
  unchanged "$data" 0 dump "$d"
  unchanged "$data" 0 hash "$d"
  unchanged "$data" 0 stats "$d"
  unchanged "$data" 0 stats --format all "$d"
}

# ------------------------------------------------------------ without a store

for c in init get put del ls history diff watch txn lease hash dump load stats flush compact forget \
  checkpoint ingest import mount umount; do
  t 0 $c --help; quiet
  grep -q "^usage: cairn $c " out || fail "$c --help: no usage"
  grep -q '^example: cairn ' out || fail "$c --help: no example"
  grep -q '^exit: 0 ' out || fail "$c --help: no exit statuses"
  [ "$(wc -l <out)" -le 40 ] || fail "$c --help: over 40 lines"
  [ "$(wc -L <out)" -le 100 ] || fail "$c --help: over 100 columns"
  cp out direct
  t 0 help $c; cmp -s out direct || fail "help $c is not $c --help"
done
t 0; grep -q 'cairn mount --create' out || fail "cairn alone: no example"
[ "$(wc -l <out)" -le 20 ] || fail "cairn alone: over 20 lines"
for c in help -h --help; do t 0 $c; done
t 0 help -a; grep -q 'cairn forget' out || fail "help -a: not all"
t 0 version; grep -q '^cairn [0-9]' out || fail "version"
t 0 --version
t 2 gte x; err "cairn: no command 'gte'; did you mean 'get'?"
t 2 staus x; err "did you mean 'stats'?"
t 2 frobnicate; err "cairn: no command 'frobnicate'"
t 2 help gte; err "did you mean 'get'?"
t 2 get; err 'usage: cairn get'
t 2 init; err 'an operand is missing'

for c in "get no k" "ls no" "history no k" "dump no" "hash no" "stats no" "put no k v" \
  "del no k" "flush no" "compact no" "forget --keep 1 no" \
  "load no /dev/null" "checkpoint no new" "ingest no files"; do
  # shellcheck disable=SC2086
  t 3 $c; err "${c%% *}: no: "; hint 'cairn init no'
  [ ! -e no ] || fail "$c: made something"
done
mkdir files && echo x >files/x
for c in "get files k" "put files k v" "stats files" "init files"; do
  # shellcheck disable=SC2086
  unchanged files 3 $c; err 'files: '
done
for c in "get files/x k" "put files/x k v" "init files/x" "stats files/x"; do
  # shellcheck disable=SC2086
  unchanged files 3 $c; err 'files/x'
done
t 3 init no/such/dir; err 'No such file or directory'
if [ "$(id -u)" -ne 0 ]; then
  mkdir locked && chmod 0 locked
  t 3 get locked k; err 'Permission denied'
  t 3 init locked/x; err 'Permission denied'
fi

# ----------------------------------------------------------- a revision store

t 0 init store; out_exactly; quiet
unchanged store 3 init store; err 'store: '
unchanged store 3 init --plain store
commands_on store store
readers_change_nothing store store other
unchanged store 0 history store other
readers_change_nothing "$top/./store/" store other

# With a log to replay, and with nothing but a log.
cp -a store logged
t 0 put logged new value
readers_change_nothing logged logged new
t 0 init onlylog && t 0 put onlylog new value
readers_change_nothing onlylog onlylog new

# 100 MiB through standard input and output; memory stays small.
head -c 104857600 /dev/urandom >huge
small() { # what a process may have
  # Sanitizers need more than there is in all.
  if nm "$cairn" 2>/dev/null | grep -q '__[at]san_init'; then
    "$@"
  else
    # One heap: each further one reserves up to 128 MiB of addresses, and how
    # many there are depends on how the threads meet.
    (ulimit -v 400000 && MALLOC_ARENA_MAX=1 "$@")
  fi
}
checks=$((checks + 2))
small "$cairn" put store huge <huge 2>err || fail "put of 100 MiB"
small "$cairn" get store huge 2>err | cmp - huge || fail "get of 100 MiB"
t 0 del store huge

# ------------------------------------------------------------- a plain store

t 0 init --plain plain
t 1 ls plain
t 0 put plain k v
t 0 put plain k2 <bytes
t 0 get plain k; out_exactly v
t 0 ls plain; out "k
k2"
t 0 ls -l plain k2; [ "$(awk '{print $1, $2}' out)" = "100000 k2" ] ||
  fail "ls -l of a plain store: $(cat out)"
t 0 dump plain --to k2; out "6b	76"
t 0 put plain '' x
t 0 get plain ''; out_exactly x
t 0 del -v plain k k ''; out 2
t 1 del plain k

# A range is one change there, with and without an end.
for k in r1 r2 r3 r4 r5; do t 0 put plain $k v; done
t 1 del -v plain --from s; out 0
t 0 del -v plain --from r2 --to r4; out 2
t 0 ls plain --prefix r; out "r1
r4
r5"
t 0 del -v --sync plain --from r3; out 2
t 0 ls plain --prefix r; out r1
t 0 put plain r4 again
t 0 compact plain
t 0 get plain r4; out_exactly again
t 1 get plain r5
t 0 del -v plain --prefix r; out 2
t 1 del plain --prefix r
t 7 history plain k2; err 'plain: is a plain store, which keeps no revisions'
t 7 get plain k2 --rev 1; err 'plain store'
t 7 ls plain --rev 1; err 'plain store'
t 7 dump plain --rev 1; err 'plain store'
t 7 forget --keep 1 plain; err 'plain store'
t 7 put --if-rev 0 plain k v; err 'plain store'
t 7 put --ttl 1h plain k v; err 'plain store'
printf '\nget k2' >txn
t 7 txn plain txn; err 'plain store'
t 7 hash --rev 1 plain; err 'plain store'
t 7 lease list plain; err 'plain store'
t 7 lease grant plain 1h; err 'plain store'
"$cairn" dump plain | sha256sum | cut -d' ' -f1 >sum
t 0 hash plain; cmp -s out sum || fail "hash is not sha256sum of dump"
t 0 hash -v plain; out "$(cat sum) $("$cairn" ls --count plain)"
t 0 hash --json plain
out "{\"hash\":\"$(cat sum)\",\"keys\":$("$cairn" ls --count plain)}"
t 0 stats plain kind; out plain
t 0 flush plain
t 0 compact plain
readers_change_nothing plain plain k2

# Tables made elsewhere.
t 3 ingest plain nosuch.sst; err 'nosuch.sst: no such file'
t 5 ingest plain bytes; err 'cairn ingest: bytes: '
if command -v ldb >/dev/null; then
  ldb --db=theirs --create_if_missing put x y >/dev/null
  printf '%s\n' 'a ==> 1' 'k2 ==> new' |
    ldb --db=theirs write_extern_sst one.sst >/dev/null
  printf 'm ==> 2\n' | ldb --db=theirs write_extern_sst two.sst >/dev/null
  t 2 ingest plain one.sst one.sst; err 'one.sst and one.sst: their keys overlap'
  t 0 ingest plain one.sst two.sst; out_exactly; quiet
  t 0 ls plain; out "a
k2
m"
  t 0 get plain k2; out_exactly new
  [ -e one.sst ] || fail "ingest took the file away"
  t 0 put plain k2 <bytes
  t 0 ingest --move plain two.sst
  [ ! -e two.sst ] || fail "ingest --move left the file"
  rm -rf chk
  t 0 checkpoint plain chk/
  t 0 ls chk; out "a
k2
m"
  for f in theirs/*.sst; do
    t 2 ingest plain "$f"; err 'not one that was made to be ingested'
  done
  t 0 del plain a m
fi

# The operator is the store's, and operands are merged by it.
t 7 merge plain k2 x; err 'names a merge operator'; err 'hint: '
t 0 init --plain -o merge_operator=uint64add,compression=none sums
t 0 merge --u64 sums n 40; t 0 merge --u64 sums n 3
t 0 merge --u64 -- sums n -1; t 0 merge sums n 5 # no number: 0
t 0 get sums n; [ "$(od -An -tu8 out | tr -d ' ')" = 42 ] || fail "a sum"
t 0 compact sums
t 0 get sums n; [ "$(od -An -tu8 out | tr -d ' ')" = 42 ] || fail "a sum"
t 2 merge --u64 sums n 1x; err '1x'
t 2 merge --u64 sums n; err '--u64: needs OPERAND'
t 2 merge --u64 sums n 99999999999999999999
t 0 init --plain -o 'merge_operator={id=StringAppendOperator;delimiter=,;}' tags
t 0 put tags k a
t 0 merge tags k b
printf c | "$cairn" merge tags k || fail "merge from standard input"
t 0 merge tags other x
t 0 get tags k; out_exactly a,b,c
t 0 ls tags; out "k
other"
t 0 del tags k; t 1 get tags k
t 7 merge store k x; err 'store: is a revision store'
t 2 init --plain -o merge_operator=sum new; err 'uint64add'
t 2 init --plain -o block_size=1K new; err 'keeps only'
t 2 init --plain -o merge_operator new; err 'no =VALUE'
[ ! -e new ] || fail "a refused init made a directory"

# ----------------------------------------------------- made by something else

# A later format of revision stores.
t 0 init --plain later
printf '\0\0\0\0\0\0\0\2' | "$cairn" put later m/format
for c in "get later k" "put later k v" "ls later" "stats later" \
  "history later k" "dump later" "del later k" "flush later" "compact later" \
  "forget --keep 1 later" "load later dumped"; do
  # shellcheck disable=SC2086
  t 7 $c; err 'later: revision store of format 2'
done
unchanged later 7 get later k

if [ -d "$golden" ]; then
  for name in x-reversecmp x-blob x-widecol; do
    [ -d "$golden/$name/db" ] || continue
    rm -rf other && cp -r "$golden/$name/db" other && chmod -R u+w other
    unchanged other 7 dump other; err 'cairn dump: other/'
  done
  for dir in "$golden"/*/; do
    name=$(basename "$dir")
    [ "$(grep -s reader= "$dir/meta")" = reader=must_read ] || continue
    rm -rf other && cp -r "$dir/db" other && chmod -R u+w other
    checks=$((checks + 1))
    before=$(picture other)
    "$cairn" dump other >out 2>err
    got=$?
    last="dump of golden $name"
    [ "$before" = "$(picture other)" ] || fail "$last: changed it"
    case $got in
    0)
      [ ! -e "$dir/expected.tsv" ] || cmp -s out "$dir/expected.tsv" ||
        fail "$last: not what is expected"
      ;;
    5 | 7) err 'cairn dump: other/' ;;
    *) fail "$last: exit $got" ;;
    esac
  done
fi

# -------------------------------------------------------------------- damage

t 0 init sound
od -An -v -tx1 -w100 -N 40000 huge | tr -d ' ' |
  awk '{ print "6b" 10000000 + NR "\t" $0 }' >rows
t 0 load sound rows
t 0 flush sound

# damaged NAME OFFSET-IN-PERCENT: a copy of sound with one byte changed in the
# largest of the files that match NAME; $file is its name.
damaged() {
  rm -rf bad && cp -a sound bad
  # shellcheck disable=SC2012,SC2086
  file=$(ls -S bad/$1 | head -1)
  flip "$file" $(($(stat -c %s "$file") * $2 / 100))
}
damaged '*.sst' 20
for c in "dump bad" "ls bad"; do
  # shellcheck disable=SC2086
  unchanged bad 5 $c; err "$file: "
done
t 5 compact bad; err "bad/"
damaged 'MANIFEST-*' 50
for c in "get bad k" "ls bad" "history bad k" "dump bad" "stats bad"; do
  # shellcheck disable=SC2086
  unchanged bad 5 $c; err "$file: "
done
for c in "put bad k v" "del bad k" "flush bad" "compact bad" \
  "forget --keep 1 bad" "load bad rows"; do
  # shellcheck disable=SC2086
  same_bytes bad 5 $c; err "$file: "
done
rm -rf bad && cp -a sound bad && echo nonsense >bad/CURRENT
unchanged bad 5 get bad k; err 'bad/CURRENT'
same_bytes bad 5 put bad k v; err 'bad/CURRENT'
rm -rf bad && cp -a sound bad && rm bad/*.sst
unchanged bad 5 get bad k; err '.sst'
# A log of many synced records: left by one who was killed.
mkfifo lines
"$cairn" load --batch 10 --sync sound lines &
loader=$!
exec 9>lines
cat rows >&9
# shellcheck disable=SC2012
until [ "$(stat -c %s "$(ls -S sound/*.log | head -1)")" -gt 30000 ]; do
  kill -0 $loader || break
done
kill -9 $loader
wait $loader 2>/dev/null
exec 9>&-
damaged '*.log' 30
for c in "get bad k" "stats bad"; do
  # shellcheck disable=SC2086
  unchanged bad 5 $c; err "$file: "
done
same_bytes bad 5 put bad k v; err "$file: "

# -------------------------------------------------- held by another program

if [ -x "$hold_lock" ]; then
  for c in "get sound k" "ls sound" "history sound k" "dump sound" \
    "stats sound" "put sound k v" "del sound k" "flush sound" \
    "compact sound" "forget --keep 1 sound" "load sound rows"; do
    before=$(picture sound)
    checks=$((checks + 1))
    last="$c, held"
    # shellcheck disable=SC2086
    "$hold_lock" sound/LOCK "$cairn" $c >out 2>err
    [ $? -eq 4 ] || fail "$last: not 4"
    err 'sound: in use by another program, pid '
    err '(hold_lock)'
    hint 'mount'
    [ "$before" = "$(picture sound)" ] || fail "$last: changed it"
  done
else
  skipped="$skipped hold_lock"
fi
# Another cairn at work is such a program, too.
"$cairn" load sound lines &
loader=$!
exec 9>lines
printf '6b\t76\n' >&9
# It opens the store after the pipe.
until t_held=$("$cairn" get sound k 2>&1); [ $? -eq 4 ]; do
  kill -0 $loader 2>/dev/null || break
done
checks=$((checks + 1))
case $t_held in
*"in use by another program, pid $loader ("*") since 2"*) ;;
*) fail "held by a load: $t_held" ;;
esac
exec 9>&-
wait $loader || fail "the load that held the store"
t 0 get sound k; out_exactly v

# ---------------------------------------------------------------- a full disk

if [ "$(id -u)" -eq 0 ] && mkdir small &&
  mount -t tmpfs -o size=12m none "$top/small" 2>/dev/null; then
  t 0 init small/s
  t 0 put small/s k v
  t 6 put small/s big <huge; err 'No space left on device'
  t 0 get small/s k; out_exactly v
  t 1 get small/s big
  umount "$top/small"
else
  echo "NOTE: not root: what a full disk does is not tested"
fi

# ============================================================ through a mount

finish() {
  echo "$checks checks, $failed failed${skipped:+; SKIPPED:$skipped}"
  [ "$failed" -eq 0 ] || exit 1
  [ -z "$skipped" ] || exit 77
  exit 0
}
if [ ! -c /dev/fuse ] || ! (: <>/dev/fuse) 2>/dev/null; then
  skipped="$skipped everything-with-a-mount(no-/dev/fuse)"
  finish
fi

mkdir mnt mnt2
live=yes
t 0 mount --create -q mounted "$top/mnt"
commands_on mnt mounted
t 0 umount mnt
rm -rf mounted
t 0 mount --create -q mounted "$top/mnt"
commands_on mounted mounted

# The same through the files.
t 0 put mounted motd hello
[ "$(cat mnt/keys/motd)" = hello ] || fail "put on the directory, not in keys/"
echo changed >mnt/keys/motd
t 0 get mounted motd; out changed
t 0 get mnt motd; out changed
t 0 put mnt motd again
[ "$(cat mnt/keys/motd)" = again ] || fail "the mount shows an old value"
t 0 del mnt motd
[ ! -e mnt/keys/motd ] || fail "the mount shows a deleted key"
mkdir mnt/keys/d && ln -s target mnt/keys/link
t 0 ls mnt d; out d/
t 0 get mnt link; out_exactly target
t 0 get mnt --path d/%; out_exactly
rmdir mnt/keys/d
readers_change_nothing mnt mounted other
readers_change_nothing mounted mounted other
t 0 stats mnt pid
[ "$(cat out)" = "$(cat mnt/stats/pid)" ] || fail "stats not of the daemon"
unchanged mounted 3 init mnt; err 'mnt: is a mounted store already'
unchanged mounted 3 init mounted; err 'mounted: '
checks=$((checks + 2))
"$cairn" put mnt huge <huge || fail "put of 100 MiB through the mount"
"$cairn" get mnt huge | cmp - huge || fail "get of 100 MiB through the mount"
cmp huge mnt/keys/huge || fail "100 MiB, seen in keys/"
t 0 del mnt huge

# A client that is killed before its input is complete has put nothing.
mkfifo half
"$cairn" put mnt half <half &
putter=$!
exec 9>half
head -c 3000000 huge >&9
kill -9 $putter
wait $putter 2>/dev/null
exec 9>&-
t 1 get mnt half
# Nor has one whose input fails.
"$cairn" put mnt half <"$top" 2>err
[ $? -eq 3 ] || fail "put <directory, through the mount"
t 1 get mnt half
# One whose answer nobody reads ends, and the mount can be ended after it.
t 0 load mnt many
"$cairn" dump mnt 2>err | head -c 10 >/dev/null
[ "${PIPESTATUS[0]}" -eq 3 ] || fail "dump | head through the mount"
# A command that fails early does not wait for the rest of its input.
last="yes | load"
yes | timeout 60 "$cairn" load mnt 2>err
[ "${PIPESTATUS[1]}" -eq 5 ] || fail "$last"
err 'line 1: no TAB'
t 0 umount mnt
t 0 get mounted other

# Another store mounted above the mount: commands go to the right one.
t 0 mount -q mounted "$top/mnt"
t 0 mount --create -q above "$top/mnt2"
t 0 put above only-above x
t 1 get mounted only-above
t 0 umount mnt2
t 0 umount mnt

# Read-only: what reads works, what writes is refused by the daemon.
t 0 mount -q -o ro mounted "$top/mnt"
live=
readers_change_nothing mnt mounted other
unchanged mounted 3 put mnt other x; err 'mnt: mounted read-only'
unchanged mounted 3 del mnt other; err 'mnt: mounted read-only'
unchanged mounted 3 flush mnt
printf '\nput other x\n\nget other' >txn
unchanged mounted 3 txn mnt txn; err 'mnt: mounted read-only'
printf '\nget other' >txn
unchanged mounted 0 txn mnt txn; out "SUCCESS

other
y"
t 0 umount mnt

# A quota holds for commands, too, and for what frees space it does not.
t 0 mount -q --create -o quota=4M limited "$top/mnt"
t 0 put mnt k v
i=0
while [ $i -lt 100 ] &&
	head -c 100000 /dev/urandom >mnt/keys/most$i 2>/dev/null; do
	i=$((i + 1))
done
t 6 put mnt big <huge; err 'quota'
t 6 put mnt big small; err 'quota'
t 1 get mnt big
printf '\nput big x\n\nput big y' >txn
t 6 txn mnt txn; err 'quota'
t 1 get mnt big
printf '\ndel most0' >txn
t 0 txn mnt txn
t 1 get mnt most0
t 0 del mnt most1
t 0 forget mnt --keep 1
t 0 stats mnt quota/limit_bytes; out 4194304
t 0 umount mnt

# A dead mount says so.
t 0 mount -q mounted "$top/mnt"
kill -9 "$(cat mnt/stats/pid)"
t 3 get mnt other; err 'mnt'
t 0 get mounted other; out_exactly y
t 0 umount mnt
finish
