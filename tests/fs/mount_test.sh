#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# What a shell user sees of a mount. Needs /dev/fuse; CAIRN (or the first
# argument) is the program. Exit 77: skipped.
set -u

. "$(dirname "$0")/checks.sh"
[ "$fuse" ] || skip "/dev/fuse is not usable here"

D=$top/store
M=$top/mnt
K=$M/keys

cleanup()
{
	for mp in "$M" "$top"/m2 "$top"/m3; do
		if grep -q " $mp fuse" /proc/mounts; then
			fusermount3 -u -z "$mp" 2>/dev/null || umount -l "$mp"
		fi
	done
	# The daemons of this test and no others.
	for p in $pids; do
		kill "$p" 2>/dev/null
	done
	rm -rf "$top"
}
pids=
trap cleanup EXIT
trap 'exit 1' HUP INT TERM

rev()
{
	readlink "$M/revs/latest"
}

# revisions WHAT N SHELL-TEXT: it makes N revisions.
revisions()
{
	before=$(rev)
	sh -c "$3" || fail "$1: '$3' failed"
	is "$1: revisions of '$3'" $(($(rev) - before)) "$2"
}

mounted()
{
	grep -q " $M fuse.cairn " /proc/mounts
}

# Until the process is gone.
until_gone()
{
	n=0
	while kill -0 "$1" 2>/dev/null && [ $n -lt 300 ]; do
		sleep 0.1
		n=$((n + 1))
	done
}

holder()
{
	sed -n 's/^pid \([0-9]*\) .*/\1/p' "$D/LOCK"
}

start()
{
	check "mount" "$CAIRN" mount -q "$@" "$D" "$M"
	pids="$pids $(holder)"
}

stop()
{
	check "umount" "$CAIRN" umount "$M"
	checks=$((checks + 1))
	mounted && fail "still mounted"
}

mkdir "$M"
export K M

# ---------------------------------------------------------------- starting
exits "no store, not asked to make one" 3 "$CAIRN" mount "$D" "$M"
grep -q 'hint: --create' "$top/out" || fail "no hint at --create"
exits "a mistyped option" 2 "$CAIRN" mount -o qouta=8G "$D" "$M"
grep -q 'did you mean quota=8G' "$top/out" || fail "no suggestion"
exits "no mount point" 3 "$CAIRN" mount --create "$D" "$top/none"
: >"$top/file"
exits "mount point is a file" 3 "$CAIRN" mount --create "$D" "$top/file"
exits "store is a file" 3 "$CAIRN" mount --create "$top/file" "$M"
exits "one operand" 2 "$CAIRN" mount "$D"
exits "unknown flag" 2 "$CAIRN" mount --frobnicate "$D" "$M"
mkdir "$top/full" && : >"$top/full/x"
exits "mount point not empty" 3 "$CAIRN" mount --create "$D" "$top/full"
exits "mount point above the store" 2 \
	"$CAIRN" mount --create "$top/store" "$top"
checks=$((checks + 1))
[ -e "$D" ] && fail "a mount that failed made $D"
start --create
check "mounted" mounted
exits "mounted twice" 4 "$CAIRN" mount "$D" "$top/full" -o nonempty
mkdir "$top/m2"
exits "a second mount elsewhere" 4 "$CAIRN" mount "$D" "$top/m2"
is "what the root shows" "$(ls "$M" | tr '\n' ' ')" \
	"README ctl history keys levels revs stats "
is "README lines" "$(wc -l <"$M/README")" 8
is "an empty store is at revision 1" "$(rev)" 1

# --------------------------------------------------------- one file's life
revisions "create" 1 'echo hello >$K/a'
is "contents" "$(cat $K/a)" hello
is "size" "$(stat -c %s $K/a)" 6
is "mode" "$(stat -c %a $K/a)" 644
revisions "overwrite" 1 'echo bye >$K/a'
revisions "append" 1 'echo more >>$K/a'
is "appended" "$(cat $K/a)" "bye
more"
revisions "empty" 1 ': >$K/a'
is "emptied" "$(stat -c %s $K/a)" 0
revisions "a new empty file" 1 ': >$K/empty'
revisions "touch of a new file" 1 'touch $K/touched'
revisions "printf without newline" 1 'printf x >$K/a'
is "no newline added" "$(od -An -c $K/a | tr -d ' ')" x
revisions "a group with one redirection" 1 '{ :; echo 1; } >$K/a'
revisions "a copy" 1 'head -c 300000 /dev/zero >$K/big'
is "large size" "$(stat -c %s $K/big)" 300000
revisions "truncate by path" 1 'truncate -s 10 $K/big'
is "truncated" "$(stat -c %s $K/big)" 10
revisions "grow" 1 'truncate -s 100000 $K/big'
is "grown with NULs" "$(tr -d '\0' <$K/big | wc -c)" 0
revisions "overwrite in the middle" 1 \
	'printf XYZ | dd of=$K/big bs=1 seek=50000 conv=notrunc status=none'
is "the middle" "$(dd if=$K/big bs=1 skip=50000 count=3 status=none)" XYZ
is "the size stays" "$(stat -c %s $K/big)" 100000
revisions "dd with fsync" 1 \
	'dd if=/dev/zero of=$K/synced bs=4096 count=3 conv=fsync status=none'
check "sync of a file" sync "$K/synced"
check "sync of a directory" sync "$K"
revisions "unlink" 1 'rm $K/a'
check "gone" test ! -e $K/a
refused "reading what is not there" 'No such file' cat $K/a
revisions "a file that never was committed" 0 'exec 3>$K/t; rm $K/t; echo x >&3'
revisions "tee" 1 'echo x | tee $K/tee >/dev/null'
revisions "sed -i" 2 'sed -i s/x/y/ $K/tee'
is "sed -i worked" "$(cat $K/tee)" y
echo old >$K/over
echo new >$K/src
revisions "mv over a file" 1 'mv $K/src $K/over'
is "renamed over" "$(cat $K/over)" new
head -c 200000 /dev/urandom >"$top/r"
cp "$top/r" $K/r
check "cmp" cmp "$top/r" $K/r
check "rename of a large file" mv $K/r $K/r2
check "cmp after rename" cmp "$top/r" $K/r2
check "direct I/O out" dd if=$K/r2 of="$top/r3" bs=4096 iflag=direct status=none
check "cmp of direct I/O" cmp "$top/r" "$top/r3"

# ------------------------------------------------------------- directories
revisions "mkdir" 1 'mkdir $K/d'
refused "mkdir again" 'File exists' mkdir $K/d
echo 1 >$K/d/x
echo 2 >$K/d/y
refused "rmdir of a full one" 'not empty' rmdir $K/d
is "listing" "$(ls $K/d | tr '\n' ' ')" "x y "
revisions "mv of a directory" 1 'mv $K/d $K/e'
is "moved" "$(cat $K/e/x $K/e/y | tr '\n' ' ')" "1 2 "
check "the old name is gone" test ! -e $K/d
refused "into itself" 'subdirectory of itself' mv $K/e $K/e/f
mkdir $K/f
check "mv over an empty directory" mv -T $K/e $K/f
is "it is there" "$(cat $K/f/x)" 1
rm $K/f/x $K/f/y
check "the directory outlives its last file" test -d $K/f
check "rmdir" rmdir $K/f
refused "a file as directory" 'Not a directory' cat $K/over/x
refused "create below a file" 'Not a directory' touch $K/over/x
refused "writing to a directory" 'Is a directory' sh -c 'mkdir $K/g; echo >$K/g'
mkdir -p $K/p/q/r
echo deep >$K/p/q/r/file
is "find" "$(cd $K && find p | sort | tr '\n' ' ')" \
	"p p/q p/q/r p/q/r/file "
is "find by type" "$(cd $K && find p -type f)" p/q/r/file
check "rm -r" rm -r $K/p
check "rm -r worked" test ! -e $K/p
i=0
mkdir $K/many
while [ $i -lt 500 ]; do
	: >$K/many/n$i
	i=$((i + 1))
done
is "many names, each once" "$(ls $K/many | sort -u | wc -l)" 500
is "ls -l of them" "$(ls -l $K/many | grep -c n)" 500
is "ls -U and rm while listing" \
	"$(find $K/many -name 'n1*' -delete; ls $K/many | wc -l)" 389
check "rm -r of many" rm -r $K/many

# --------------------------------------------------------------- attributes
echo x >$K/attr
check "chmod" chmod 600 $K/attr
is "chmod is seen" "$(stat -c %a $K/attr)" 600
check "touch -d" touch -d '2001-02-03 04:05:06.123456789 UTC' $K/attr
is "mtime to the nanosecond" "$(stat -c %.9Y $K/attr)" 981173106.123456789
is "contents stay" "$(cat $K/attr)" x
for when in -5.500000000 -9000000000.250000000 0.000000000 \
	9000000000.999999999; do
	check "touch -d @$when" touch -d @$when $K/attr
	is "the time $when" "$(stat -c %.9Y $K/attr)" $when
	mkdir -p $K/dtime
	check "touch -d @$when of a directory" touch -d @$when $K/dtime
	is "its time $when" "$(stat -c %.9Y $K/dtime)" $when
done
check "a time that is too late" touch -d 2600-01-01 $K/attr
is "is the last there is" "$(stat -c %.9Y $K/attr)" 9223372035.000000000
check "a time that is too early" touch -d 1500-01-01 $K/attr
is "is the first there is" "$(stat -c %.9Y $K/attr)" -9223372035.000000000
rmdir $K/dtime
check "symlink" ln -s target/of/link $K/link
is "readlink" "$(readlink $K/link)" target/of/link
is "its type" "$(stat -c %F $K/link)" "symbolic link"
refused "hard link" 'Operation not permitted' ln $K/attr $K/hard
refused "fifo" 'Operation not permitted' mkfifo $K/fifo
check "chmod of a directory" sh -c 'mkdir $K/ad && chmod 700 $K/ad'
is "mode of a directory" "$(stat -c %a $K/ad)" 700
if [ "$(id -u)" = 0 ]; then
	check "chown" chown 12:34 $K/attr
	is "chown is seen" "$(stat -c %u:%g $K/attr)" 12:34
fi
if command -v getfattr >/dev/null; then
	check "setfattr" setfattr -n user.note -v something $K/attr
	is "getfattr" "$(getfattr --absolute-names --only-values -n user.note $K/attr)" something
	is "the key" "$(getfattr --absolute-names --only-values -n user.cairn.key $K/attr)" attr
	is "the revision" \
		"$(getfattr --absolute-names --only-values -n user.cairn.rev $K/over)" \
		"$(ls "$M/history/over%@" | sort -n | tail -1)"
	is "not listed" \
		"$(getfattr --absolute-names -m . $K/attr | grep -c '^user.cairn')" 0
	check "setfattr -x" setfattr -x user.note $K/attr
	refused "an ACL" 'not supported' \
		setfattr -n system.nfs4_acl -v 0x02 $K/attr
	is "the key of a directory" \
		"$(getfattr --absolute-names --only-values -n user.cairn.key $K/ad)" ad/
fi

# ---------------------------------------------------------- a time to live
# attribute NAME FILE: its value, or nothing.
attribute()
{
	getfattr --absolute-names --only-values -n "user.cairn.$1" "$2" \
		2>/dev/null
}

# ends WHAT FILE: it is gone before long. It has been looked at, so the kernel
# must have been told.
ends()
{
	n=0
	while test -e "$2" && [ $n -lt 300 ]; do
		sleep 0.1
		n=$((n + 1))
	done
	check "$1" test ! -e "$2"
}

check "put --ttl through the mount" "$CAIRN" put --ttl 2s "$M" ttl/put v
ends "a key put with --ttl ends" $K/ttl/put
check "put --ttl by the data directory" "$CAIRN" put --ttl 2s "$D" ttl/dir v
ends "and this one" $K/ttl/dir
if command -v getfattr >/dev/null; then
	echo 1 >$K/short
	echo 1 >$K/long
	echo 1 >$K/freed
	is "no ttl" "$(attribute ttl $K/short)" ""
	refused "no ttl to take off" 'No such attribute' \
		setfattr -x user.cairn.ttl $K/short
	exec 4<$K/short
	revisions "a ttl" 1 'setfattr -n user.cairn.ttl -v 2s $K/short'
	check "a long one" setfattr -n user.cairn.ttl -v 1h $K/long
	check "one for a while" setfattr -n user.cairn.ttl -v 1h $K/freed
	revisions "taken off" 1 'setfattr -x user.cairn.ttl $K/freed'
	is "and no ttl is left" "$(attribute ttl $K/freed)" ""
	is "not listed" "$(getfattr --absolute-names -m . $K/long)" ""
	left=$(attribute ttl $K/long)
	checks=$((checks + 1))
	[ "${left%s}" -gt 3500 ] && [ "${left%s}" -le 3600 ] ||
		fail "the ttl of an hour is $left"
	# Whatever is done to it here, it stays on its lease.
	lease=$(attribute lease $K/long)
	echo 2 >>$K/long
	chmod 600 $K/long
	sync $K/long
	mv $K/long $K/long2
	is "the lease" "$(attribute lease $K/long2)" "$lease"
	is "and the lease tells" \
		"$("$CAIRN" lease ttl --keys "$M" "$lease" | tail -n +2)" long2
	check "another one" setfattr -n user.cairn.ttl -v 2h $K/long2
	checks=$((checks + 1))
	[ "$(attribute lease $K/long2)" != "$lease" ] ||
		fail "a new ttl, the old lease"
	for bad in x 0 5x -1s 1.5s 99999999999999999999s; do
		refused "the ttl $bad" 'Invalid' \
			setfattr -n user.cairn.ttl -v $bad $K/long2
	done
	mkdir $K/ttldir
	refused "of a directory" 'not supported' \
		setfattr -n user.cairn.ttl -v 1h $K/ttldir
	refused "the lease" 'not permitted' \
		setfattr -n user.cairn.lease -v 1 $K/long2
	ends "a file with a ttl ends" $K/short
	is "an open one keeps its bytes" "$(cat <&4)" 1
	exec 4<&-
	is "and one without it stays" "$(cat $K/freed)" 1
	check "revoked" "$CAIRN" lease revoke "$M" "$(attribute lease $K/long2)"
	check "gone at once" test ! -e $K/long2
fi
revisions "three changes of attributes" 1 \
	'chmod 640 $K/attr; touch $K/attr; chmod 600 $K/attr
	 was=$(readlink $M/revs/latest); n=0
	 while [ $(readlink $M/revs/latest) = $was ] && [ $n -lt 300 ]; do
		sleep 0.1; n=$((n + 1))
	 done'
is "statfs name length" "$(stat -f -c %l $K)" 255
check "df" df $K

# ------------------------------------------------------------------- names
long=$(printf '%0255d' 0)
check "a name of 255 bytes" sh -c "echo x >$K/$long"
refused "a name of 256 bytes" 'too long' sh -c "echo x >$K/0$long"
refused "looking up 256 bytes" 'too long' stat "$K/0$long"
for bad in '%=' 'x%+' 'x%@'; do
	refused "the reserved name $bad" 'Invalid argument' sh -c "echo >\"\$K/$bad\""
done
refused "the empty key" 'Invalid argument' touch "$K/%"
for odd in '%%25' '100%' '%41' 'a b' '-n' '*' "it's" '\x' '%.'; do
	check "the name $odd" sh -c 'printf %s "$1" >"$K/$1"' sh "$odd"
	is "the contents of $odd" "$(cat "$K/$odd")" "$odd"
done
if command -v getfattr >/dev/null; then
	is "the key of %." \
		"$(getfattr --absolute-names --only-values -n user.cairn.key "$K/%.")" .
fi
check "a key below a key, through a command" \
	"$CAIRN" put "$M" over/sub deep
is "it is a directory now" "$(cat $K/over/sub)" deep
is "and its value is inside" "$(cat "$K/over/%=")" new
check "the value can be written" sh -c 'echo newer >"$K/over/%="'
rm $K/over/sub
check "rmdir of the directory" rmdir $K/over
is "a file again" "$(cat $K/over)" newer
check "a key that begins with a slash" "$CAIRN" put "$M" /abs x
is "is found" "$(cat "$K/%/abs")" x
is "and listed" "$(cd $K && find . -name abs)" "./%/abs"
check "removed" rm -r "$K/%"
key=$(printf '%0600d' 7)
check "a key of 600 bytes" "$CAIRN" put "$M" "$key" long
is "found by find" "$(find $K -type f -path '*%+*' | wc -l)" 1
is "read" "$(find $K -type f -path '*%+*' -exec cat {} +)" long
check "and removed" sh -c 'rm -r $K/*%+'

# ------------------------------------------------- changes of other programs
ls $K/outside >/dev/null 2>&1 # remembered as absent
check "put by command" "$CAIRN" put "$M" outside 1
is "seen at once" "$(cat $K/outside)" 1
check "changed by command" "$CAIRN" put "$M" outside 22
is "the change, too" "$(cat $K/outside)" 22
is "and its size" "$(stat -c %s $K/outside)" 2
check "deleted by command" "$CAIRN" del "$M" outside
check "gone at once" test ! -e $K/outside
is "get by command" "$("$CAIRN" get "$M" attr)" x
exits "get of nothing" 1 "$CAIRN" get "$M" nothing

# ----------------------------------------------------------------- the past
echo one >$K/h
r1=$(rev)
echo two >$K/h
r2=$(rev)
rm $K/h
r3=$(rev)
is "at the first" "$(cat $M/revs/$r1/h)" one
is "at the second" "$(cat $M/revs/$r2/h)" two
check "not at the third" test ! -e $M/revs/$r3/h
refused "a future revision" 'No such file' ls $M/revs/$((r3 + 1))
refused "no revision" 'No such file' ls $M/revs/0$r1
is "only links are listed" "$(ls $M/revs | tr '\n' ' ')" "latest oldest "
is "history" "$(ls "$M/history/h%@" | sort | tr '\n' ' ')" \
	"$r1 $r2 $r3.deleted latest "
is "latest of a deleted key" "$(readlink "$M/history/h%@/latest")" \
	"$r3.deleted"
is "a version" "$(cat "$M/history/h%@/$r1")" one
is "a deletion is empty" "$(wc -c <"$M/history/h%@/$r3.deleted")" 0
refused "writing to the past" 'Read-only' sh -c "echo >$M/revs/$r1/h"
refused "creating in the past" 'Read-only' mkdir $M/revs/$r1/new
refused "removing from the past" 'Read-only' rm -f $M/revs/$r1/h
refused "writing to history" 'Read-only' sh -c "echo >'$M/history/h%@/$r1'"
refused "chmod in the past" 'Read-only' chmod 600 $M/revs/$r1/h
echo a >$K/b1
before=$(rev)
echo b >$K/b1
is "two revisions differ" \
	"$(diff -rq --no-dereference $M/revs/$before $M/revs/$(rev) | wc -l)" 1
exec 3>$K/slow
/bin/echo half >$K/slow.copy
cat $K/slow.copy >&3
is "the mount sees an open writer" "$(cat $K/slow)" half
exec 3>&-
is "a revision shows what was closed" "$(cat $M/revs/latest/slow)" half

# ------------------------------------------------------------ control files
is "stats/revision/current" "$(cat $M/stats/revision/current)" "$(rev)"
for f in summary all json metrics latency compactions stalls; do
	check "stats/$f" test -s $M/stats/$f
done
is "the size is the true one" "$(stat -c %s $M/stats/version)" \
	"$(wc -c <$M/stats/version)"
check "tar of stats" sh -c 'tar cf - -C $M stats | tar tf - >/dev/null'
check "cp -r of stats" cp -r $M/stats "$top/stats"
check "cp copied something" test -s "$top/stats/all"
refused "writing to stats" 'Read-only' sh -c 'echo >$M/stats/version'
refused "creating in stats" 'Read-only' sh -c 'echo >$M/stats/new'
check "ctl/flush" sh -c 'echo >$M/ctl/flush'
check "a table is there" sh -c 'ls $M/levels/L*/*.sst'
is "a table is the file itself" \
	"$(for t in $M/levels/L*/*.sst; do
		cmp "$t" "$D/${t##*/}" || echo differs
	done)" ""
is "levels/L0/files" "$(cat $M/levels/L0/files)" \
	"$(ls $M/levels/L0 | grep -c 'sst$')"
check "levels/summary" test -s $M/levels/summary
check "levels/L6/tables" cat $M/levels/L6/tables
check "ctl/compact" sh -c 'echo >$M/ctl/compact'
is "all in the last level" "$(cat $M/levels/L0/files)" 0
check "ctl/sync" sh -c 'echo >$M/ctl/sync'
mkdir "$top/cp"
check "ctl/checkpoint" sh -c "echo $top/cp/new >\$M/ctl/checkpoint"
is "it is a store" "$("$CAIRN" ls "$top/cp/new" | wc -l)" \
	"$("$CAIRN" ls "$M" | wc -l)"
refused "a checkpoint that is there" 'File exists' \
	sh -c "/bin/echo $top/cp/new >\$M/ctl/checkpoint"
refused "one that is not absolute" 'Invalid argument' \
	sh -c '/bin/echo cp2 >$M/ctl/checkpoint'
refused "one in no directory" 'No such file' \
	sh -c "/bin/echo $top/none/x >\$M/ctl/checkpoint"
is "what they came to" "$(sed 's/ [-0-9]*T[0-9:]*Z / TIME /' $M/stats/ctl)" \
	"flush TIME ok
compact TIME ok
sync TIME ok
checkpoint TIME No such file or directory
forget -
pin -
unpin -"
refused "nonsense to ctl" 'Invalid argument' sh -c '/bin/echo what >$M/ctl/flush'
refused "creating in ctl" 'not permitted' sh -c 'echo >$M/ctl/new'
refused "removing from ctl" 'not permitted' rm -f $M/ctl/flush
is "reading a trigger" "$(cat $M/ctl/compact)" ""
check "grep -r of everything" sh -c 'grep -r hello $M >/dev/null; [ $? -le 1 ]'
check "contents after compaction" cmp "$top/r" $K/r2

# -------------------------------------------------------------- concurrency
: >$K/log
n=0
for w in 1 2 3 4; do
	(
		i=0
		while [ $i -lt 50 ]; do
			echo "writer $w line $i" >>$K/log
			i=$((i + 1))
		done
	) &
done
wait
is "appenders lose no line" "$(sort -u $K/log | wc -l)" 200
is "unlink while open" "$(
	exec 3<>$K/unl
	echo kept >&3
	rm $K/unl
	cat /proc/self/fd/3
)" kept
is "rename over while open" "$(
	echo old >$K/ro
	exec 3<$K/ro
	echo new >$K/ro2
	mv $K/ro2 $K/ro
	cat <&3
	cat $K/ro
)" "old
new"
if command -v python3 >/dev/null; then
	check "system calls" python3 - "$K" <<'PY'
import ctypes, errno, mmap, os, sys
k = sys.argv[1]
os.chdir(k)
libc = ctypes.CDLL(None, use_errno=True)
def renameat2(a, b, flags):
    if libc.renameat2(-100, a.encode(), -100, b.encode(), flags):
        return ctypes.get_errno()
    return 0
def put(name, data):
    with open(name, "wb") as f:
        f.write(data)
def get(name):
    with open(name, "rb") as f:
        return f.read()
put("xa", b"A"); put("xb", b"B" * 100000)
assert renameat2("xa", "xb", 1) == errno.EEXIST
assert renameat2("xa", "xb", 2) == 0
assert get("xa") == b"B" * 100000 and get("xb") == b"A"
assert renameat2("xa", "nosuch", 2) == errno.ENOENT
assert renameat2("xa", "xb", 4) == errno.EINVAL
os.makedirs("x1/s"); os.makedirs("x2")
put("x1/s/f", b"1"); put("x2/g", b"2")
assert renameat2("x1", "x2", 2) == 0
assert get("x2/s/f") == b"1" and get("x1/g") == b"2"
assert renameat2("x1", "x2/s", 2) == 0
assert get("x2/s/g") == b"2" and get("x1/f") == b"1"
# The inode stays through a rename.
ino = os.stat("x2").st_ino; os.rename("x2", "x3")
assert os.stat("x3").st_ino == ino
# Unlinked: no links left, bytes kept.
fd = os.open("un", os.O_RDWR | os.O_CREAT); os.write(fd, b"abc" * 50000)
os.unlink("un"); st = os.fstat(fd)
assert st.st_nlink == 0 and st.st_size == 150000
assert os.pread(fd, 3, 149997) == b"abc"
os.pwrite(fd, b"Z", 0); assert os.pread(fd, 2, 0) == b"Zb"; os.close(fd)
# mmap, shared.
fd = os.open("mm", os.O_RDWR | os.O_CREAT); os.ftruncate(fd, 8192)
m = mmap.mmap(fd, 8192); m[0:5] = b"hello"; m[5000:5005] = b"world"
m.flush(); m.close(); os.close(fd)
d = get("mm"); assert len(d) == 8192 and d[:5] == b"hello" and d[5000:5005] == b"world"
# Holes and ends.
fd = os.open("hole", os.O_RDWR | os.O_CREAT)
os.pwrite(fd, b"end", 10_000_000); assert os.pread(fd, 10, 5_000_000) == bytes(10)
assert os.fstat(fd).st_size == 10_000_003
os.posix_fallocate(fd, 0, 10_500_000); assert os.fstat(fd).st_size == 10_500_000
try:
    os.pwrite(fd, b"x", 1 << 40); assert False
except OSError as e:
    assert e.errno == errno.EFBIG
os.close(fd)
# Rewinding sees what came meanwhile; a listing has each steady name once.
os.mkdir("ls")
for i in range(3000):
    put("ls/%04d" % i, b"")
seen = []
with os.scandir("ls") as it:
    for n, e in enumerate(it):
        seen.append(e.name)
        assert e.is_file(follow_symlinks=False)
        if n % 100 == 0:
            put("ls/new%d" % n, b""); os.unlink("ls/%04d" % (2999 - n // 100))
steady = ["%04d" % i for i in range(2900)]
assert len(seen) == len(set(seen)) and set(steady) <= set(seen)
for e in os.listdir("ls"): os.unlink("ls/" + e)
os.rmdir("ls")
PY
	check "clean up" sh -c 'cd $K && rm -r xa xb x1 x3 mm hole'
fi

# ----------------------------------------------------------- copies of trees
mkdir -p "$top/tree/a/b" "$top/tree/empty"
echo 1 >"$top/tree/a/one"
head -c 100000 /dev/urandom >"$top/tree/a/b/big"
: >"$top/tree/a/nothing"
ln -s ../one "$top/tree/a/b/link"
ln -s dangling "$top/tree/dangling"
chmod 640 "$top/tree/a/one"
chmod 711 "$top/tree/a/b"
touch -d '1999-12-31 23:59:59.5 UTC' "$top/tree/a/one" "$top/tree/a"
printf 'x' >"$top/tree/100%"
printf 'x' >"$top/tree/ $(printf '\n')name"
before=$(rev)
check "cp -a" cp -a "$top/tree" $K/tree
check "diff -r" diff -r --no-dereference "$top/tree" $K/tree
is "modes and times" "$(cd $K/tree && find . ! -name . -printf '%p %m %T@ %y\n' | sort)" \
	"$(cd "$top/tree" && find . ! -name . -printf '%p %m %T@ %y\n' | sort)"
if command -v rsync >/dev/null; then
	check "rsync -a" rsync -a "$top/tree/" $K/tree2/
	is "rsync finds nothing more to do" \
		"$(rsync -ani "$top/tree/" $K/tree2/ | wc -l)" 0
fi
check "tar into the mount" sh -c \
	'mkdir $K/tree3; tar cf - -C "$1" . | tar xf - -C $K/tree3' sh "$top/tree"
check "diff of tar's" diff -r --no-dereference "$top/tree" $K/tree3
check "cp -a out of it" cp -a $K/tree "$top/back"
check "diff of what came back" diff -r --no-dereference "$top/tree" "$top/back"
files=$(find "$top/tree" | wc -l)
before=$(rev)
cp -a "$top/tree" $K/tree4
sleep 1.2
checks=$((checks + 1))
# Three each without waiting for attributes; a slow machine has some of those.
[ $(($(rev) - before)) -le $((files * 2)) ] ||
	fail "cp -a of $files things made $(($(rev) - before)) revisions"
check "rm -r of trees" sh -c 'rm -r $K/tree*'

# ----------------------------------------------------- ends, clean and unclean
echo stays >$K/stays
stop
start
is "there after a remount" "$(cat $K/stays)" stays
is "attributes, too" "$(stat -c %a $K/ad)" 700
echo open >$K/open_writer
daemon=$(holder)
(
	exec 3>>$K/open_writer
	echo unclosed >&3
	kill -TERM "$daemon"
	until_gone "$daemon"
)
checks=$((checks + 1))
mounted && fail "SIGTERM did not unmount"
start
is "what was open at SIGTERM is there" "$(tail -1 $K/open_writer)" unclosed
i=0
while [ $i -lt 30 ]; do
	echo "value $i" >$K/kill$i
	i=$((i + 1))
done
: >$K/kill_empty
kill -KILL "$(holder)"
n=0
while ls $K >/dev/null 2>&1 && [ $n -lt 300 ]; do
	sleep 0.1
	n=$((n + 1))
done
refused "a dead mount" 'not connected' ls $K
check "remount over the dead one" "$CAIRN" mount "$D" "$M"
grep -q 'took away the dead mount' "$top/out" ||
	fail "nothing was said about the dead mount"
pids="$pids $(holder)"
is "all that was closed is there" "$(cat $K/kill? $K/kill?? | sort -u | wc -l)" 30
check "the empty one, too" test -e $K/kill_empty
(
	cd $K
	exec "$CAIRN" umount "$M" >"$top/out" 2>&1
)
is "umount of a busy mount" $? 4
grep -q 'used by' "$top/out" || fail "the holders are not named"
stop
exits "umount of nothing" 3 "$CAIRN" umount "$M"

# ------------------------------------------------------------ other options
start -o umask=077,uid=5,gid=6,commit=1s,memory=16M,threads=2
echo m >$K/optioned
# A mode that was never set is not stored: it follows the option.
is "umask" "$(stat -c %a $K/stays)" 600
is "owner" "$(stat -c %u:%g $K/stays)" 5:6
stop
start -r
is "read-only reads" "$(cat $K/stays)" stays
refused "read-only writes" 'Read-only' sh -c 'echo >$K/stays'
refused "read-only removes" 'Read-only' rm $K/stays
stop
# A quota: what adds is refused, what makes room is not, and it ends by itself.
D=$top/limited
start --create -o quota=1M
check "put" "$CAIRN" put "$M" implied/only v
echo kept >$K/kept
i=0
full=no
while [ $i -lt 200 ] && [ $full = no ]; do
	head -c 60000 /dev/urandom >$K/q$i 2>"$top/out" || full=yes
	i=$((i + 1))
done
is "the quota is met" $full yes
grep -q 'quota' "$top/out" || fail "said '$(cat "$top/out")', not quota"
is "stats say so" "$(cat "$M/stats/quota/reached")" 1
check "and why" grep -q '^full quota' "$M/stats/health"
is "df says so" "$(df -k --output=avail "$M" | tail -n 1 | tr -d ' ')" 0
was=$(stat -c %a $K/kept)
refused "a full store: chmod" 'quota' chmod 600 $K/kept
refused "a full store: truncating" 'quota' truncate -s 0 $K/kept
refused "a full store: mkdir" 'quota' mkdir $K/dir
refused "a full store: mv" 'quota' mv $K/kept $K/moved
refused "a full store: a transaction" 'quota' "$CAIRN" put "$M" more v
is "nothing has changed" "$(stat -c %a $K/kept) $(cat $K/kept)" "$was kept"
# Its directory needs a record of its own now.
check "removing the last of a directory" rm $K/implied/only
check "which stays" test -d $K/implied
check "removing a directory" rmdir $K/implied
check "removing works" sh -c 'rm $K/q*'
check "forgetting works" "$CAIRN" forget --keep 1 "$M"
n=0
echo again >"$top/again"
until cp "$top/again" $K/again 2>/dev/null || [ $n -ge 300 ]; do
	sleep 0.1
	n=$((n + 1))
done
is "what was removed makes room" "$(cat $K/again)" again
is "stats say so, too" "$(cat "$M/stats/quota/reached")" 0
check "a full store no more" chmod 600 $K/kept
stop
D=$top/store

# A log that cannot be written: for a while no file may be longer than a byte.
# The daemon inherits that there is no signal for it.
if command -v prlimit >/dev/null; then
	trap '' XFSZ
	start
	trap - XFSZ
	echo before >$K/before
	check "a limit" prlimit --pid "$(holder)" --fsize=1:
	# cp looks at what close says, which is where it fails; echo does not.
	echo after >"$top/after"
	refused "a log that breaks" 'error\|Read-only' cp "$top/after" $K/broken
	refused "a broken log" 'Read-only' cp "$top/after" $K/broken
	is "reads go on" "$(cat $K/before)" before
	check "and it is told" grep -q '^readonly' "$M/stats/health"
	check "no limit" prlimit --pid "$(holder)" --fsize=unlimited:
	n=0
	until cp "$top/after" $K/after 2>/dev/null || [ $n -ge 300 ]; do
		sleep 0.1
		n=$((n + 1))
	done
	is "writing works again" "$(cat $K/after)" after
	is "and it is told, too" "$(cat "$M/stats/health")" ok
	kill -9 "$(holder)"
	"$CAIRN" umount "$M" >/dev/null 2>&1 || umount -l "$M"
	start
	is "what was closed is there" "$(cat $K/before $K/after)" "before
after"
	check "what was refused is not" test ! -e $K/broken
	stop
fi
"$CAIRN" mount -f -q "$D" "$M" >"$top/fg" 2>&1 &
fg=$!
pids="$pids $fg"
n=0
while ! mounted && [ $n -lt 300 ]; do
	sleep 0.1
	n=$((n + 1))
done
check "foreground" test -e $K/stays
kill -INT $fg
wait $fg
is "SIGINT ends it with 0" $? 0

echo "$checks checks, $failed failed"
[ $failed = 0 ]
