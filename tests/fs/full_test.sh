#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# A mount on a disk that fills up: a small tmpfs. Needs /dev/fuse and the right
# to mount one; CAIRN (or the first argument) is the program. Exit 77: skipped.
set -u

. "$(dirname "$0")/checks.sh"
[ "$fuse" ] || skip "/dev/fuse is not usable here"

DISK=$top/disk
D=$DISK/store
M=$top/mnt
K=$M/keys
pids=

cleanup()
{
	if grep -q " $M fuse" /proc/mounts; then
		fusermount3 -u -z "$M" 2>/dev/null || umount -l "$M"
	fi
	# The daemons of this test and no others.
	for p in $pids; do
		kill "$p" 2>/dev/null
	done
	n=0
	while grep -q " $DISK tmpfs" /proc/mounts && [ $n -lt 50 ]; do
		umount "$DISK" 2>/dev/null || sleep 0.1
		n=$((n + 1))
	done
	grep -q " $DISK tmpfs" /proc/mounts && umount -l "$DISK"
	rm -rf "$top"
}
trap cleanup EXIT
trap 'exit 1' HUP INT TERM

mkdir "$DISK" "$M"
mount -t tmpfs -o size=24m cairn-test "$DISK" 2>"$top/out" ||
	skip "no tmpfs can be mounted here, so no disk fills up:" \
	     "$(cat "$top/out")"

start()
{
	check "mount $*" "$CAIRN" mount -q -o memory=8M "$@" "$D" "$M"
	pids="$pids $(sed -n 's/^pid \([0-9]*\) .*/\1/p' "$D/LOCK")"
}

stop()
{
	check "umount" "$CAIRN" umount "$M"
}

# put NAME: a file of 400 kB, written, synced and closed.
put()
{
	LC_ALL=C dd if="$top/data" of="$K/$1" bs=400000 count=1 conv=fsync \
		2>"$top/err"
}

# Put until it fails; the names that went through are in $done.
fill()
{
	done=
	for i in $(seq 1000); do
		put "$1$i" || return 0
		done="$done $1$i"
	done
	fail "1000 files went onto a disk of 24 MB"
}

# What was acknowledged is there.
intact()
{
	bad=0
	for name in $done; do
		cmp -s "$top/data" "$K/$name" || bad=$((bad + 1))
	done
	is "$1: damaged or missing files" $bad 0
}

# Within five seconds a file can be written; a busy machine may take longer.
until_writable()
{
	n=0
	until put "$1" || [ $n -ge 300 ]; do
		sleep 0.1
		n=$((n + 1))
	done
	checks=$((checks + 1))
	[ $n -lt 300 ] || fail "$1: still refused: $(cat "$top/err")"
	check "$1 is whole" cmp "$top/data" "$K/$1"
}

no_space()
{
	checks=$((checks + 1))
	grep -q 'No space left' "$top/err" ||
		fail "$1: said '$(cat "$top/err")', not that there is no space"
}

# Take what the disk has left, but for so many kB: again and again, for what
# compactions have replaced may be deleted late. Until no file can be put.
fillers=0
fill_disk()
{
	n=0
	while [ $n -lt 100 ]; do
		left=$(df -k --output=avail "$DISK" | tail -n 1)
		if [ "$left" -gt "$1" ]; then
			fillers=$((fillers + 1))
			dd if=/dev/zero of="$DISK/filler$fillers" bs=1024 \
				count=$((left - $1)) 2>/dev/null
		elif ! put probe && [ $((n += 1)) -ge 5 ]; then
			return 0
		fi
		rm -f "$K/probe" 2>/dev/null
		sleep 0.05
	done
	fail "the disk does not get full"
}

head -c 400000 /dev/urandom >"$top/data"

# ------------------------------------------------------- nearly full, by itself
start --create
fill a
no_space "a full disk"
intact "on a full disk"
# Less than the reserve, of 3 MB, and enough for what is in memory.
fill_disk 2500
refused "still no space" 'No space left' dd if="$top/data" of="$K/more" \
	bs=400000 count=1 conv=fsync
is "stats say so" "$(cat "$M/stats/disk/low")" 1
is "df says so" "$(df -k --output=avail "$M" | tail -n 1 | tr -d ' ')" 0
intact "on a fuller disk"
check "removing works" sh -c "rm $K/a1 $K/a2 $K/a3"
checks=$((checks + 1))
[ -e "$K/a1" ] && fail "a1 is still there"
check "the rest goes" sh -c "rm $K/a*"
rm -f "$DISK"/filler*
check "history goes" "$CAIRN" forget --keep 1 "$M"
# What was forgotten is deleted in the background; then tables can shrink.
n=0
until "$CAIRN" compact "$M" >"$top/out" 2>&1 || [ $n -ge 100 ]; do
	sleep 0.1
	n=$((n + 1))
done
checks=$((checks + 1))
[ $n -lt 100 ] || fail "no room is made: $(cat "$top/out")"
until_writable again
stop

# ----------------------------------------- full to the last byte, and a restart
start
fill b
fill_disk 0
kill -9 "${pids##* }"
"$CAIRN" umount "$M" >/dev/null 2>&1 || umount -l "$M"
start
intact "mounted on a full disk"
refused "not writable" 'No space left' dd if="$top/data" of="$K/more" \
	bs=400000 count=1 conv=fsync
checks=$((checks + 1))
[ "$(cat "$M/stats/health")" != ok ] || fail "health says ok on a full disk"
rm "$DISK"/filler*
mount -o remount,size=60m "$DISK" || fail "tmpfs does not grow"
until_writable again
intact "when there is space"
stop
start
intact "mounted again"
stop

# -------------------------------------------------- writes that fail in the log
rm -rf "$D"
mount -o remount,size=24m "$DISK" || fail "tmpfs does not shrink"
start --create -o disk_reserve=0
fill c
no_space "a log without space"
intact "after the log had no space"
fill_disk 0
refused "refused" 'No space left' dd if="$top/data" of="$K/more" \
	bs=400000 count=1 conv=fsync
intact "while nothing can be written"
rm "$DISK"/filler*
mount -o remount,size=120m "$DISK" || fail "tmpfs does not grow"
until_writable later
intact "when there is space again"
stop
start
intact "after all"
stop
echo "$checks checks, $failed failed"
[ $failed = 0 ]
