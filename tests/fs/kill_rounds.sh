#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# kill -9 of the mounted daemon, again and again, under several writers; a third
# of the kills come while it starts. What was closed must be there afterwards,
# and of what was being written the old value or the new one, whole.
#
#   kill_rounds.sh [--seed N] [--rounds N]
#
# CAIRN is the program. Each round goes on with the store of the one before. The
# seed decides when to kill and what is written, the machine what is hit by it.
# Exit 77: skipped.
set -u

seed=1 rounds=30
while [ $# -gt 1 ]; do
	case $1 in
	--seed) seed=$2 ;;
	--rounds) rounds=$2 ;;
	*) break ;;
	esac
	shift 2
done
if [ $# -gt 0 ]; then
	echo "usage: kill_rounds.sh [--seed N] [--rounds N]" >&2
	exit 2
fi

. "$(dirname "$0")/checks.sh"
[ "$fuse" ] || skip "/dev/fuse is not usable here"

RANDOM=$seed
writers=4
D=$top/store
M=$top/mnt
K=$M/keys
daemon=

cleanup()
{
	[ -z "$daemon" ] || kill -9 "$daemon" 2>/dev/null
	if grep -q " $M fuse" /proc/mounts; then
		fusermount3 -u -z "$M" 2>/dev/null || umount -l "$M"
	fi
	rm -rf "$top"
}
trap cleanup EXIT
trap 'exit 1' HUP INT TERM

# In the foreground, so that the pid is known from the first moment on.
start()
{
	"$CAIRN" mount -f -q "$D" "$M" >"$top/daemon.out" 2>&1 &
	daemon=$!
}

# Until it serves, or has given up.
served()
{
	local n=0
	until grep -q " $M fuse.cairn " /proc/mounts && [ -e "$M/stats/pid" ]; do
		kill -0 "$daemon" 2>/dev/null || return 1
		sleep 0.02
		n=$((n + 1))
		[ $n -lt 3000 ] || return 1
	done 2>/dev/null
}

killed()
{
	kill -9 "$daemon" 2>/dev/null
	wait "$daemon" 2>/dev/null
	daemon=
}

# write W ROUND: values that name themselves, until the daemon is dead. try.W.K
# is what is being written to key K, done.W.K what was closed there.
write()
{
	local n=0 k
	while :; do
		n=$((n + 1))
		k=$((n * 7 % 10))
		echo "$2.$n" >"$top/try.$1.$k"
		# Not the shell's own printf: it does not look at what close()
		# returns, which is when a value is committed.
		{ value "$2.$n" | cat >"$K/w$1/k$k"; } 2>/dev/null || break
		mv "$top/try.$1.$k" "$top/done.$1.$k"
	done
}

# Some of a few bytes, some of several pages; begins and ends with the name.
value()
{
	if [ $((${1#*.} % 5)) -eq 0 ]; then
		printf '%s %020000d %s\n' "$1" 0 "$1"
	else
		printf '%s %s\n' "$1" "$1"
	fi
}

# What key K of writer W has is what was closed, or what was being written.
look()
{
	local got want try
	got=$(cat "$K/w$1/k$2" 2>/dev/null | cksum)
	checks=$((checks + 1))
	for file in "$top/done.$1.$2" "$top/try.$1.$2"; do
		[ -e "$file" ] || continue
		want=$(value "$(cat "$file")" | cksum)
		[ "$got" = "$want" ] || continue
		# That is what the next kill must leave.
		[ "$file" = "$top/done.$1.$2" ] || mv "$file" "$top/done.$1.$2"
		rm -f "$top/try.$1.$2"
		return
	done
	# Nothing was ever closed there.
	[ ! -e "$top/done.$1.$2" ] && [ ! -e "$K/w$1/k$2" ] && return
	try=$(cat "$top/try.$1.$2" 2>/dev/null)
	fail "key w$1/k$2 has '$(head -c 60 "$K/w$1/k$2")'," \
		"closed was '$(cat "$top/done.$1.$2" 2>/dev/null)'," \
		"being written '$try'"
}

mkdir "$M"
"$CAIRN" init "$D" >/dev/null || exit 1
early=0
for round in $(seq "$rounds"); do
	start
	if [ $((RANDOM % 3)) -eq 0 ]; then
		sleep "0.0$((10 + RANDOM % 60))"
		killed
		early=$((early + 1))
		continue
	fi
	if ! served; then
		fail "round $round: it does not start: $(cat "$top/daemon.out")"
		break
	fi
	for w in $(seq $writers); do
		for k in 0 1 2 3 4 5 6 7 8 9; do
			look "$w" "$k"
		done
		mkdir -p "$K/w$w"
		write "$w" "$round" &
		writing[w]=$!
	done
	sleep "0.$((100 + RANDOM % 400))"
	killed
	wait "${writing[@]}"
done

echo "count kills $rounds"
echo "count early-kills $early"
echo "count looks $checks"
[ $failed -eq 0 ] || {
	echo "kill_rounds.sh: seed $seed: $failed of $checks checks failed"
	exit 1
}
