#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Plain stores, the directories of RocksDB and LevelDB: what a shell user sees
# of their mount, and of what is refused. CAIRN (or the first argument) is the
# program; GOLDEN are directories that RocksDB and LevelDB wrote, with the keys
# they hold. What needs /dev/fuse is left out without it. Exit 77: skipped.
set -u

. "$(dirname "$0")/checks.sh"
FILES=$(dirname "$CAIRN")/tests/tools/key_files
[ -x "$FILES" ] || skip "no $FILES"
GOLDEN=${GOLDEN:-${srcdir:-.}/tests/data/golden}
[ -d "$GOLDEN/fv5" ] || [ -d "$GOLDEN/fv4" ] ||
	skip "no directories in $GOLDEN"
D=$top/store
M=$top/mnt
K=$M/keys
mkdir "$M"

cleanup()
{
	if grep -q " $M fuse" /proc/mounts; then
		fusermount3 -u -z "$M" 2>/dev/null || umount -l "$M"
	fi
	rm -rf "$top"
}
trap cleanup EXIT
trap 'exit 1' HUP INT TERM

# A golden directory as $D, ours to write to.
take()
{
	rm -rf "$D"
	cp -rp "$GOLDEN/$1/db" "$D"
	chmod -R u+w "$D"
}

mount_it()
{
	check "mount $1" "$CAIRN" mount "$@" "$D" "$M"
}

umount_it()
{
	check umount "$CAIRN" umount "$M"
}

# same WHAT LINES: the files of the mount are the keys of the lines, by walking
# and by name.
same()
{
	checks=$((checks + 2))
	"$FILES" walk "$K" >"$top/walked" 2>"$top/err" ||
		fail "$1: walk: $(cat "$top/err")"
	LC_ALL=C sort "$top/walked" >"$top/sorted"
	cmp -s "$top/sorted" "$2" ||
		fail "$1: $(wc -l <"$top/sorted") files are not the keys of $2"
	"$FILES" read "$K" <"$2" >"$top/out" 2>&1 ||
		fail "$1: by name: $(cat "$top/out")"
}

# ------------------------------------------------------ what RocksDB has left

# The mount and the tool, reading and writing, on a copy of each directory that
# dump can read.
goldens=0
for name in $(cd "$GOLDEN" && ls); do
	lines=$GOLDEN/$name/expected.tsv
	[ -f "$lines" ] || continue
	take "$name"
	# What is refused is none of this test's business, nor the directory
	# whose log is damaged.
	"$CAIRN" dump "$D" >"$top/dumped" 2>"$top/err" || {
		got=$?
		[ $got = 7 ] || [ "$name" = torn-middle ] ||
			fail "$name: exit $got: $(cat "$top/err")"
		continue
	}
	is "dump $name" "$(cmp "$top/dumped" "$lines" 2>&1)" ""
	goldens=$((goldens + 1))
	[ -n "$fuse" ] || continue
	"$FILES" state "$D" >"$top/before"
	mount_it -o ro
	same "$name, read-only" "$lines"
	refused "$name, read-only" "Read-only file system" \
		sh -c ": >'$K/new'"
	umount_it
	"$FILES" state "$D" >"$top/after"
	is "bytes, names and times of $name after a read-only mount" \
		"$(diff "$top/before" "$top/after")" ""
	case $name in
	ldb-*) continue ;;
	esac
	"$CAIRN" mount -q "$D" "$M" 2>"$top/err"
	got=$?
	# Refusals are looked at below.
	[ $got = 7 ] && grep -q 'column family' "$top/err" && continue
	is "mount $name: $(cat "$top/err")" $got 0
	same "$name" "$lines"
	check "write into $name" sh -c "printf value >'$K/~new'"
	umount_it
	(cat "$lines"; printf '7e6e6577\t76616c7565\n') >"$top/lines"
	LC_ALL=C sort -o "$top/lines" "$top/lines"
	"$CAIRN" dump "$D" >"$top/dumped"
	is "dump $name after a write" \
		"$(cmp "$top/dumped" "$top/lines" 2>&1)" ""
done
[ $goldens -gt 20 ] || fail "only $goldens directories were read"

# ------------------------------------------------------------- the refusals

# unchanged WHAT STATUS TEXT COMMAND...: refused with them, and $D as it was.
unchanged()
{
	"$FILES" state "$D" >"$top/before"
	exits_saying "$@"
	"$FILES" state "$D" >"$top/after"
	is "what $1 changed" "$(diff "$top/before" "$top/after")" ""
}

# cannot WHAT HOW TEXT: the tool and the mount refuse $D with this cause, "all"
# ways or those that "write". With LOCK and without: none is made.
cannot()
{
	for lock in "with LOCK" "without LOCK"; do
		[ "$lock" = "with LOCK" ] || rm -f "$D/LOCK"
		w="$1 $lock"
		unchanged "put, $w" 7 "$3" "$CAIRN" put "$D" k v
		unchanged "del, $w" 7 "$3" "$CAIRN" del "$D" k
		unchanged "load, $w" 7 "$3" "$CAIRN" load "$D" /dev/null
		unchanged "flush, $w" 7 "$3" "$CAIRN" flush "$D"
		unchanged "compact, $w" 7 "$3" "$CAIRN" compact "$D"
		if [ "$2" = all ]; then
			unchanged "get, $w" 7 "$3" "$CAIRN" get "$D" k
			unchanged "ls, $w" 7 "$3" "$CAIRN" ls "$D"
			unchanged "dump, $w" 7 "$3" "$CAIRN" dump "$D"
			unchanged "stats, $w" 7 "$3" "$CAIRN" stats "$D"
		else
			unchanged "dump, $w" 0 "" "$CAIRN" dump "$D"
			unchanged "stats, $w" 0 "" "$CAIRN" stats "$D"
		fi
		[ -n "$fuse" ] || continue
		unchanged "mount, $w" 7 "$3" "$CAIRN" mount "$D" "$M"
		[ "$2" = all ] || {
			grep -q '^hint: .*-o ro' "$top/out" ||
				fail "$w: mount -o ro is not offered"
			continue
		}
		unchanged "mount -o ro, $w" 7 "$3" \
			"$CAIRN" mount -o ro "$D" "$M"
	done
}

refuse()
{
	[ -d "$GOLDEN/$1" ] || return
	take "$1"
	cannot "$@"
}
refuse cf-two write 'column family "alpha" is not supported'
refuse wal-multi write 'column family "cold" is not supported'
refuse manifest-tags write 'column family "alpha" is not supported'
refuse x-blob all 'blob files are not supported'
refuse x-reversecmp all 'rocksdb.ReverseBytewiseComparator'
refuse x-txn-wal all 'two-phase commit'
refuse x-widecol all 'wide-column entities'
refuse wal-zstd all 'compressed log'
for name in ldb-bloom ldb-log ldb-snappy ldb-tiny; do
	refuse $name write 'a LevelDB database; it can be opened read-only'
done

# Codecs that are not built in.
for codec in bzip2 lz4 zlib; do
	[ -d "$GOLDEN/comp-$codec" ] || continue
	take comp-$codec
	"$CAIRN" dump "$D" >/dev/null 2>&1 && continue
	unchanged "dump of $codec" 7 "compression $codec ([0-9]) is not supported" \
		"$CAIRN" dump "$D"
done

# OPTIONS name what the rest does not.
take fv2
for f in "$D"/OPTIONS-*; do
	sed -i 's/^  comparator=.*/  comparator=my.Comparator/' "$f"
done
cannot "a comparator in OPTIONS" all 'comparator my.Comparator is not supported'
take fv2
for f in "$D"/OPTIONS-*; do
	sed -i 's/^\[DBOptions\]/&\n  wal_dir=\/elsewhere/' "$f"
	sed -i '/^  wal_dir=$/d' "$f"
done
cannot "logs elsewhere" all 'wal_dir /elsewhere'

# Pebble, beyond the formats it shares with RocksDB.
take fv2
mv "$D/CURRENT" "$D/marker.manifest.000001.$(cat "$D/CURRENT")"
: >"$D/marker.format-version.000012.013"
cannot "Pebble" all 'a Pebble database'

# Asked for, it is done.
for name in ldb-bloom ldb-log ldb-snappy ldb-tiny; do
	[ -d "$GOLDEN/$name" ] || continue
	take $name
	exits_saying "the hint of $name" 7 'hint: .*--upgrade' "$CAIRN" put "$D" k v
	if [ -n "$fuse" ]; then
		exits_saying "the hint of $name" 7 'hint: .*--upgrade.*-o ro' \
			"$CAIRN" mount "$D" "$M"
		mount_it --upgrade
		same "$name, upgraded" "$GOLDEN/$name/expected.tsv"
		echo new >"$K/~new"
		umount_it
		is "written" "$("$CAIRN" get "$D" '~new')" new
		check "del" "$CAIRN" del "$D" '~new'
	else
		check "upgrade $name" "$CAIRN" flush --upgrade "$D"
	fi
	is "names of $name" "$(ls "$D" | grep -c '\.ldb$')" 0
	"$CAIRN" dump "$D" >"$top/dumped"
	is "dump $name, upgraded" \
		"$(cmp "$top/dumped" "$GOLDEN/$name/expected.tsv" 2>&1)" ""
done

# ------------------------------------------------------------ a plain store

[ -n "$fuse" ] || {
	echo "plain_test: $checks checks without /dev/fuse, $failed failed"
	exit $((failed > 0))
}

rm -rf "$D"
check init "$CAIRN" init --plain "$D"
mount_it -q
is "the top" "$(ls "$M" | tr '\n' ' ')" "README ctl keys levels stats "
is "kind" "$(cat "$M/stats/kind")" plain
for absent in revs history at watch; do
	refused "$absent" "No such file" ls "$M/$absent"
done
is "README" "$(grep -c 'plain store' "$M/README")" 1

echo one >"$K/a"
is "a value" "$(cat "$K/a")" one
is "its key" "$(getfattr --absolute-names --only-values -n user.cairn.key "$K/a")" a
refused "no revision" "No such attribute" getfattr -n user.cairn.rev "$K/a"
before=$(cat "$M/stats/wal/in_bytes_total")
echo two >"$K/a"
after=$(cat "$M/stats/wal/in_bytes_total")
[ $((after - before)) -lt 60 ] || fail "an overwrite wrote $((after - before)) bytes"
echo three >>"$K/a"
is "append" "$(cat "$K/a")" "two
three"
check "sed -i" sed -i s/two/2/ "$K/a"
is "after sed -i" "$(cat "$K/a")" "2
three"
check "fsync" sh -c "echo synced | dd of='$K/synced' conv=fsync status=none"
dd if=/dev/urandom of="$top/big" bs=1M count=5 status=none
check "a large value" cp "$top/big" "$K/big"
check "compares" cmp "$top/big" "$K/big"
is "one entry" "$("$CAIRN" ls -l "$D" big | awk '{print $1, $2}')" "5242880 big"

# Names.
printf empty >"$K/%"
is "the empty key" "$("$CAIRN" get "$M" '')" empty
check "put the key that is a directory, too" "$CAIRN" put "$M" 'both/x' 1
check "put the key that is a directory, too" "$CAIRN" put "$M" 'both' 2
is "key and directory" "$(cd "$K" && ls both)" "%=
x"
is "its value" "$(cat "$K/both/%=")" 2
check "put below the nameless directory" "$CAIRN" put "$M" '/x' 3
is "the empty key is a directory, too" "$(cd "$K/%" && ls)" "%=
x"
is "its value" "$(cat "$K/%/%=")" empty
check "remove it" rm "$K/%/%="
is "it is gone" "$(cd "$K/%" && ls)" x
check "and all" rm -r "$K/%" "$K/both"
long=$(printf '%01000d' 7)
check "a long key" "$CAIRN" put "$M" "$long" v
is "by name" "$(find "$K" -type f -path '*+*' | wc -l)" 1
check "remove it" "$CAIRN" del "$M" "$long"
is "by name" "$(find "$K" -path '*+*' | wc -l)" 0

# Directories.
check "mkdir" mkdir -p "$K/d/e"
is "ls" "$(cd "$K" && find d | LC_ALL=C sort | tr '\n' ' ')" "d d/e "
is "no key" "$("$CAIRN" ls "$M" d; echo $?)" 1
refused "get" "no such key" "$CAIRN" get "$M" d/
echo v >"$K/d/e/f"
check "rm" rm "$K/d/e/f"
is "it stays" "$(cd "$K" && find d | LC_ALL=C sort | tr '\n' ' ')" "d d/e "
refused "mkdir again" "File exists" mkdir "$K/d"
refused "rmdir" "not empty" rmdir "$K/d"
check "mv" mv "$K/d" "$K/D"
is "moved" "$(cd "$K" && find D | LC_ALL=C sort | tr '\n' ' ')" "D D/e "
check "rm -r" rm -r "$K/D"
refused "gone" "No such file" ls "$K/D"
mkdir -p "$K/tree"
check "tar" sh -c "tar -C '${srcdir:-.}' -cf - fs mvcc |
	tar -C '$K/tree' --no-same-owner --no-same-permissions -m -xf -"
check "the tree" diff -r "${srcdir:-.}/fs" "$K/tree/fs"
check "mv of a directory" mv "$K/tree/fs" "$K/tree/moved"
check "the moved tree" diff -r "${srcdir:-.}/fs" "$K/tree/moved"
check "rm -r" rm -r "$K/tree"
check "mkdir that will not last" mkdir "$K/short"

# There is no place for attributes.
check "chmod to what it is" chmod 644 "$K/a"
refused "chmod" "Operation not permitted" chmod 600 "$K/a"
check "chown to what it is" chown "$(id -u):$(id -g)" "$K/a"
[ "$(id -u)" != 0 ] || refused "chown" "not permitted" chown 1 "$K/a"
refused "touch -d" "not permitted" touch -d 2001-02-03 "$K/a"
check "touch -r itself" touch -r "$K/a" "$K/a"
check "touch" touch "$K/a"
check "touch makes" touch "$K/touched"
refused "symlink" "not permitted" ln -s a "$K/link"
refused "link" "not permitted" ln "$K/a" "$K/link"
refused "xattr" "not supported" setfattr -n user.x -v 1 "$K/a"
(umask 077 && echo v >"$K/private")
is "a mode that was asked for is not kept" \
	"$(stat -c %a "$K/private")" 644
was=$(stat -c %y "$K/a")
cat "$K/a" >/dev/null
is "times stay" "$(stat -c %y "$K/a")" "$was"
echo more >>"$K/a"
[ "$(stat -c %y "$K/a")" != "$was" ] || fail "a write renews no time"
was=$(stat -c %y "$K/a")
check "mv" mv "$K/a" "$K/A"
is "a rename does not" "$(stat -c %y "$K/A")" "$was"
refused "write to what is mounted" "in use by another" \
	"$CAIRN" mount "$D" "$top"

# Commands through the mount, and what they change is seen at once.
refused "absent" "No such file" cat "$K/absent"
check "put" "$CAIRN" put "$M" absent 'here now'
is "seen" "$(cat "$K/absent")" 'here now'
check "put by directory" "$CAIRN" put "$D" absent 'and now'
is "seen" "$(cat "$K/absent")" 'and now'
check "del" "$CAIRN" del "$M" absent
refused "seen" "No such file" cat "$K/absent"
exits_saying "history" 7 "plain store" "$CAIRN" history "$M" A
exits_saying "forget" 7 "plain store" "$CAIRN" forget --keep 1 "$M"
exits_saying "get --rev" 7 "plain store" "$CAIRN" get --rev 1 "$M" A
exits_saying "put --if-rev" 7 "plain store" "$CAIRN" put --if-rev 0 "$M" A x
check "ctl/flush" sh -c "echo >'$M/ctl/flush'"
check "ctl/compact" sh -c "echo >'$M/ctl/compact'"
check "ctl/sync" sh -c "echo >'$M/ctl/sync'"
is "levels" "$(ls "$M"/levels/*/*.sst | wc -l)" \
	"$(awk '$1 == "total" { print $2 }' "$M/levels/summary")"
check "stats" grep -q '^kind plain' "$M/stats/all"

# Tables that come in while the kernel knows other names and values.
if command -v ldb >/dev/null; then
	ldb --db="$top/theirs" --create_if_missing put x y >/dev/null
	printf '%s\n' 'in/a ==> new' 'in/b ==> new' |
		ldb --db="$top/theirs" write_extern_sst "$top/in.sst" >/dev/null
	mkdir "$K/in"
	echo old >"$K/in/a"
	is "before" "$(cd "$K/in" && ls && cat a)" "a
old"
	refused "before" "No such file" cat "$K/in/b"
	check "ingest" sh -c "cd '$top' && '$CAIRN' ingest '$M' in.sst"
	is "what came in" "$(cd "$K/in" && ls && cat a b)" "a
b
newnew"
	echo newer >"$K/in/a"
	is "a write after it" "$(cat "$K/in/a")" newer
	check "remove" rm -r "$K/in"
fi
rm -rf "$top/copy"
check "checkpoint" sh -c "cd '$top' && '$CAIRN' checkpoint '$D' copy"
is "the copy" "$("$CAIRN" dump "$top/copy" | cksum)" \
	"$("$CAIRN" dump "$M" | cksum)"
exits_saying "checkpoint again" 3 "exists already" "$CAIRN" checkpoint "$M" "$top/copy"

# A listing is of the moment it was begun.
i=0
while [ $i -lt 3000 ]; do
	echo "key/$i"
	i=$((i + 1))
done >"$top/keys"
while read -r key; do
	printf '%s' "$key" | od -An -v -tx1 | tr -d ' \n'
	printf '\t31\n'
done <"$top/keys" >"$top/lines"
check "load" "$CAIRN" load "$M" "$top/lines"
is "all there" "$(ls "$K/key" | wc -l)" 3000
is "find sees each once" "$(find "$K/key" -type f | sort | uniq | wc -l)" 3000
check "remove while listing" find "$K/key" -type f -delete
is "none is left" "$(ls "$K/key" | wc -l)" 0
is "in the store neither" "$("$CAIRN" ls "$M" key/ | wc -l)" 0

# kill -9 of the daemon: what was closed is there.
echo survives >"$K/killed"
kill -9 "$(cat "$M/stats/pid")"
mount_it -q
is "after kill -9" "$(cat "$K/killed")" survives
refused "a directory without keys" "No such file" ls "$K/short"
umount_it

# memory= bounds what a value may be, and max_value= says so, too.
mount_it -q -o memory=32M
check "2M of 32M" dd if=/dev/zero of="$K/v" bs=1M count=2 status=none
refused "3M of 32M" "File too large" \
	dd if=/dev/zero of="$K/w" bs=1M count=3 status=none
refused "append to 5M of 32M" "File too large" \
	dd if=/dev/zero of="$K/big" bs=1 count=1 oflag=append conv=notrunc \
	status=none
check "but it can be read" cmp "$top/big" "$K/big"
check "and moved" mv "$K/big" "$K/moved"
check "and cut" truncate -s 100 "$K/moved"
is "to its front" "$(cmp -n 100 "$top/big" "$K/moved" 2>&1)" ""
exits_saying "the tool as well" 2 "value over" \
	sh -c "head -c 3M /dev/zero | '$CAIRN' put '$M' w"
umount_it
mount_it -q -o memory=32M,max_value=4M
check "3M with max_value=4M" dd if=/dev/zero of="$K/w" bs=1M count=3 \
	status=none
refused "5M" "File too large" \
	dd if=/dev/zero of="$K/w" bs=1M count=5 status=none
umount_it
exits_saying "history= on a plain store" 7 "keeps no revisions" \
	"$CAIRN" mount -o history=3 "$D" "$M"

# One that many writers fill without waiting.
mount_it -q -o memory=64M
for i in 1 2 3 4 5 6 7 8; do
	dd if=/dev/urandom of="$K/p$i" bs=100K count=10 status=none &
done
wait
is "eight writers" "$(stat -c %s "$K"/p? | sort -u)" 1024000
umount_it

[ $failed = 0 ] || echo "plain_test: $failed of $checks checks failed"
echo "plain_test: $checks checks, $goldens directories"
exit $((failed > 0))
