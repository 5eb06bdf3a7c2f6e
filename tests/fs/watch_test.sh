#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Changes as they happen, revisions by time, and revisions that are kept, as a
# shell user sees them through a mount. Needs /dev/fuse; CAIRN (or the first
# argument) is the program. Exit 77: skipped.
set -u

. "$(dirname "$0")/checks.sh"
[ "$fuse" ] || skip "/dev/fuse is not usable here"

D=$top/store
M=$top/mnt
K=$M/keys
W=$M/watch
export K M W
pids=

cleanup()
{
	if grep -q " $M fuse" /proc/mounts; then
		fusermount3 -u -z "$M" 2>/dev/null || umount -l "$M"
	fi
	# What this test has started and nothing else.
	for p in $pids; do
		kill "$p" 2>/dev/null
	done
	rm -rf "$top"
}
trap cleanup EXIT
trap 'exit 1' HUP INT TERM

# until_lines N FILE: it has that many lines; at most half a minute.
until_lines()
{
	n=0
	while [ "$(wc -l <"$2")" -lt "$1" ] && [ $n -lt 300 ]; do
		sleep 0.1
		n=$((n + 1))
	done
}

until_gone()
{
	n=0
	while kill -0 "$1" 2>/dev/null && [ $n -lt 300 ]; do
		sleep 0.1
		n=$((n + 1))
	done
	checks=$((checks + 1))
	kill -0 "$1" 2>/dev/null && fail "process $1 is still there"
}

# Nobody has the mount busy any more: what was killed may take its time.
umount_soon()
{
	n=0
	until "$CAIRN" umount "$M" 2>/dev/null || [ $n -ge 50 ]; do
		sleep 0.1
		n=$((n + 1))
	done
	checks=$((checks + 1))
	grep -q " $M fuse" /proc/mounts && fail "still mounted"
}

start()
{
	check "mount" "$CAIRN" mount -q --create "$D" "$M"
	pids="$pids $(cat "$M/stats/pid")"
}

# ------------------------------------------------------- without a mount
check "init" "$CAIRN" init "$D"
for i in 1 2 3; do
	check "put" "$CAIRN" put "$D" k$i v$i
done
check "del" "$CAIRN" del "$D" k2
is "what was kept is told" "$("$CAIRN" watch --from-rev 3 "$D" 2>/dev/null)" \
	"3 put 2 k2
4 put 2 k3
5 delete - k2"
exits "and then there is an end" 0 "$CAIRN" watch --from-rev 3 "$D"
exits_saying "nothing to wait for" 1 'not mounted' "$CAIRN" watch "$D"
exits "too few to come" 1 "$CAIRN" watch --from-rev 5 --count 2 "$D"
exits "enough" 0 "$CAIRN" watch --from-rev 4 --count 2 "$D"
is "diff" "$("$CAIRN" diff "$D" 3)" "deleted k2
added k3"
is "diff of two" "$("$CAIRN" diff "$D" 2 4)" "added k2
added k3"
exits "diff with the future" 8 "$CAIRN" diff "$D" 6
is "history" "$("$CAIRN" history "$D" k2)" "3 put 2
5 delete -"
exits "nothing is so old" 1 "$CAIRN" forget --older 1d "$D"
check "forget --before" "$CAIRN" forget --before 4 "$D"
exits_saying "a watch from what is forgotten" 8 \
	'revision 3 is forgotten; the oldest one is 4' \
	"$CAIRN" watch --from-rev 3 "$D"
exits "a diff from what is forgotten" 8 "$CAIRN" diff "$D" 3

# -------------------------------------------------------- commands, mounted
mkdir "$M"
start
: >"$top/w"
"$CAIRN" watch --from-rev 4 "$M" >"$top/w" &
w1=$!
"$CAIRN" watch --count 2 "$D" d/ >"$top/w2" &
w2=$!
pids="$pids $w1 $w2"
until_lines 2 "$top/w"
is "the past comes first" "$(cat "$top/w")" "4 put 2 k3
5 delete - k2"
# The second one must be there before something happens to its keys.
n=0
while [ ! -s "$top/w2" ] && [ $n -lt 300 ]; do
	mkdir -p $K/d
	echo $n >$K/d/a
	sleep 0.1
	n=$((n + 1))
done
echo bye >$K/d/b
wait $w2
is "exit after --count" $? 0
is "two lines" "$(wc -l <"$top/w2")" 2
is "of its keys" "$(grep -vc ' d/' "$top/w2")" 0
r=$(readlink $M/revs/latest)
is "all that was done since" "$("$CAIRN" diff --prefix d/b "$M" $((r - 1)))" \
	"added d/b"
until_lines $((r - 3)) "$top/w"
is "no gap: as many lines as revisions" "$(cut -d' ' -f1 "$top/w" | sort -u |
	wc -l)" $((r - 3))
kill $w1
wait $w1 2>/dev/null

# ------------------------------------------------------------ the file watch
check "it is there" test -f $W
is "not where everything is listed" "$(ls $M | grep -c watch)" 0
cat $W >"$top/f" &
c1=$!
pids="$pids $c1"
# It begins with the next change: wait for the first it hears of.
n=0
while [ ! -s "$top/f" ] && [ $n -lt 300 ]; do
	echo $n >$K/tick
	sleep 0.1
	n=$((n + 1))
done
first=$(head -1 "$top/f" | cut -d' ' -f1)
echo three >$K/a
check "a change by a command" "$CAIRN" put "$M" 'b%0A' x
mv $K/a $K/c
rm $K/c
r=$(readlink $M/revs/latest)
until_lines $((r - first + 2)) "$top/f"
is "what happened" "$(tail -5 "$top/f")" \
	"$((r - 3)) put 6 a
$((r - 2)) put 1 b%0A
$((r - 1)) delete - a
$((r - 1)) put 6 c
$r delete - c"
check "a reader that waits can be interrupted" kill $c1
until_gone $c1
# From a revision on, and of some keys.
is "from a revision on" "$(
	exec 3<>$W
	echo $((r - 3)) >&3
	head -4 <&3
)" "$((r - 3)) put 6 a
$((r - 2)) put 1 b%0A
$((r - 1)) delete - a
$((r - 1)) put 6 c"
is "of some keys" "$(
	exec 3<>$W
	echo "$((r - 3)) b%0A" >&3
	head -1 <&3
)" "$((r - 2)) put 1 b%0A"
is "line by line" "$(
	exec 3<>$W
	echo $((r - 3)) >&3
	read -r one <&3
	read -r two <&3
	echo "$one, $two"
	head -1 <&3
	head -1 <&3
)" "$((r - 3)) put 6 a, $((r - 2)) put 1 b%0A
$((r - 1)) delete - a
$((r - 1)) put 6 c"
if command -v bash >/dev/null; then
	# It reads ahead and goes back.
	is "line by line, in bash" "$(bash -c 'exec 3<>$W; echo $0 >&3
		for i in 1 2 3; do read -r line <&3; echo "$line"; done' \
		$((r - 3)))" "$((r - 3)) put 6 a
$((r - 2)) put 1 b%0A
$((r - 1)) delete - a"
fi
refused "nonsense" 'Invalid argument' sh -c '/bin/echo from 3 1<>$W'
refused "what is forgotten" 'Stale file handle' sh -c '/bin/echo 3 1<>$W'
if command -v python3 >/dev/null; then
	check "poll, signals, small reads" python3 - "$M" <<'PY'
import errno, os, select, signal, subprocess, sys, threading
m = sys.argv[1]
def put(name, data):
    with open(m + "/keys/" + name, "w") as f:
        f.write(data)
def later(name):
    threading.Timer(0.2, put, (name, "x")).start()
fd = os.open(m + "/watch", os.O_RDWR)
p = select.poll(); p.register(fd, select.POLLIN)
assert p.poll(0) == []
later("p1")
assert p.poll(30000) == [(fd, select.POLLIN)]
assert os.read(fd, 1) and b" put 1 p1\n" in os.read(fd, 1000)
assert p.poll(0) == []
e = select.epoll(); e.register(fd, select.EPOLLIN)
later("p2")
assert e.poll(30) == [(fd, select.EPOLLIN)]
assert b" put 1 p2\n" in os.read(fd, 1000)
# Nothing to tell: not for those who do not wait.
nb = os.open(m + "/watch", os.O_RDONLY | os.O_NONBLOCK)
try:
    os.read(nb, 10); assert False
except BlockingIOError:
    pass
put("p3", "x")
assert b" put 1 p3\n" in os.read(nb, 1000)
assert b" put 1 p3\n" in os.read(fd, 1000)
# A signal ends the waiting, and nothing is lost by it.
class Rang(Exception):
    pass
def ring(*_):
    raise Rang()
signal.signal(signal.SIGALRM, ring)
for i in range(5):
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        os.read(fd, 1000); assert False
    except Rang:
        pass
later("p4")
assert b" put 1 p4\n" in os.read(fd, 1000)
# A reader falls behind, and learns of it.
put("p5", "x")
rev = int(os.readlink(m + "/revs/latest"))
put("p6", "x")
with open(m + "/ctl/forget", "w") as f:
    f.write(str(rev + 1))
for i in range(2):
    try:
        os.read(fd, 1000); assert False
    except OSError as x:
        assert x.errno == errno.ESTALE, x
assert p.poll(0) == [(fd, select.POLLIN)]
os.write(fd, str(rev + 1).encode())
assert os.read(fd, 1000) == b"%d put 1 p6\n" % (rev + 1)
# No other places.
for off in (0, 1 << 40):
    try:
        os.pread(fd, 10, off); assert False
    except OSError as x:
        assert x.errno == errno.EINVAL, x
# Many that wait take no threads.
pid = open(m + "/stats/pid").read().strip()
n = len(os.listdir("/proc/" + pid + "/task"))
fds = [os.open(m + "/watch", os.O_RDWR) for i in range(100)]
for f in fds:
    os.write(f, b"0 many/")
got = []
ts = [threading.Thread(target=lambda f=f: got.append(os.read(f, 100)))
      for f in fds]
for t in ts:
    t.start()
put("other", "x")
assert len(os.listdir("/proc/" + pid + "/task")) <= n + 16
assert got == []
os.mkdir(m + "/keys/many")
for t in ts:
    t.join(60)
assert len(got) == 100 and set(got) == {b"%d put 0 many/\n" % (rev + 3)}, got
PY
fi

# -------------------------------------------------------------- revs/at, pins
echo later >$K/t
r=$(readlink $M/revs/latest)
is "what there is at the end of time" \
	"$(readlink $M/revs/at/2200-01-01T00:00:00Z)" "../$r"
is "it leads there" "$(cat $M/revs/at/@9000000000/t)" later
refused "before anything" 'No such file' ls $M/revs/at/@1
refused "no time" 'No such file' ls $M/revs/at/yesterday
is "no times are listed" "$(ls $M/revs/at)" ""
check "a time with a zone" \
	readlink "$M/revs/at/2200-01-01T00:00:00.5+01:00"
echo 1 >$K/pin
r1=$(readlink $M/revs/latest)
check "pin" sh -c "echo $r1 >$M/ctl/pin"
echo 2 >$K/pin
check "pin the current one by name" sh -c 'echo release >$M/ctl/pin'
echo 3 >$K/pin
check "pin by both" sh -c "echo $r1 first >$M/ctl/pin"
refused "pinned already" 'File exists' sh -c "/bin/echo $r1 >$M/ctl/pin"
refused "name taken" 'File exists' sh -c '/bin/echo release >$M/ctl/pin'
for bad in latest at 12x 'a b' .x a/b 0; do
	refused "the name $bad" 'Invalid argument' \
		sh -c "/bin/echo $bad >\$M/ctl/pin"
done
refused "a revision to come" 'No such file' sh -c '/bin/echo 99999 >$M/ctl/pin'
is "pins are listed" "$(ls $M/revs | tr '\n' ' ')" \
	"$r1 first latest oldest release "
check "forget" sh -c 'echo keep 1 >$M/ctl/forget'
check "nothing more to forget" sh -c 'echo keep 1 >$M/ctl/forget'
check "nor by age" sh -c 'echo older 100d >$M/ctl/forget'
refused "nonsense to forget" 'Invalid argument' \
	sh -c '/bin/echo older >$M/ctl/forget'
check "compact" sh -c 'echo >$M/ctl/compact'
is "a pinned revision is there" "$(cat $M/revs/$r1/pin)" 1
is "by its name" "$(cat $M/revs/first/pin $M/revs/release/pin)" "1
2"
refused "the one between is not" 'No such file' ls $M/revs/$((r1 - 1))
check "unpin" sh -c "echo $r1 >$M/ctl/unpin"
is "it is still pinned by name" "$(cat $M/revs/first/pin)" 1
check "unpin by name" sh -c 'echo first >$M/ctl/unpin'
refused "unpin again" 'No such file' sh -c '/bin/echo first >$M/ctl/unpin'
refused "it is gone" 'No such file' cat $M/revs/first/pin
is "the other is there" "$(cat $M/revs/release/pin)" 2

# ----------------------------------------------------- what the store does
E=$M/events
is "events are not listed" "$(ls "$M" | grep -c events)" 0
is "and are no place to write to" "$(stat -c '%a %F' "$E")" \
	"444 regular empty file"
refused "writing to events" 'Read-only' sh -c "echo >$E"
refused "removing events" 'not permitted' rm -f "$E"
cat "$E" >"$top/e1" &
e1=$!
pids="$pids $e1"
check "flush" sh -c 'echo 1 >$K/event; echo >$M/ctl/flush'
n=0
until grep -q '"flush_end"' "$top/e1" || [ $n -ge 300 ]; do
	sleep 0.1
	n=$((n + 1))
done
is "all from the beginning, in order" "$(sed 's/.*"seq":\([0-9]*\).*/\1/' \
	"$top/e1" | head -4 | tr '\n' ' ')" "1 2 3 4 "
checks=$((checks + 2))
grep -q '^{"ts":"[-0-9]*T[0-9:.]*Z","seq":[0-9]*,"event":"open","seconds":' \
	"$top/e1" || fail "no line of the opening: $(head -3 "$top/e1")"
grep -q ',"event":"flush_end","job":[0-9]*,"status":"ok","files_out":1,' \
	"$top/e1" || fail "no line of a flush: $(tail -3 "$top/e1")"
check "who comes later has the same" sh -c \
	'n=$(wc -l <$2); timeout 60 head -n $n $1 | cmp - $2' sh "$E" "$top/e1"
if command -v python3 >/dev/null; then
	check "they are JSON, and can be waited for" python3 - "$M" <<'PY'
import json, os, select, sys
fd = os.open(sys.argv[1] + "/events", os.O_RDONLY | os.O_NONBLOCK)
p = select.poll(); p.register(fd, select.POLLIN)
def lines():
    got = b""
    try:
        while True:
            got += os.read(fd, 100000)
    except BlockingIOError:
        return [json.loads(l) for l in got.splitlines()]
old = lines()
assert [e["seq"] for e in old] == list(range(1, len(old) + 1)), old
assert p.poll(0) == []
with open(sys.argv[1] + "/ctl/flush", "w") as f: f.write("\n")
with open(sys.argv[1] + "/keys/event", "w") as f: f.write("2")
with open(sys.argv[1] + "/ctl/flush", "w") as f: f.write("\n")
assert p.poll(30000)
assert lines()[0]["seq"] == len(old) + 1
PY
fi
kill $e1
wait $e1 2>/dev/null

# ---------------------------------------------------------------- the end
cat $W >/dev/null 2>&1 &
c1=$!
"$CAIRN" watch "$M" >"$top/w3" 2>"$top/w3.err" &
w3=$!
pids="$pids $c1 $w3"
n=0
while [ ! -s "$top/w3" ] && [ $n -lt 300 ]; do
	echo $n >$K/tick
	sleep 0.1
	n=$((n + 1))
done
refused "umount of what is watched" 'busy' "$CAIRN" umount "$M"
daemon=$(cat $M/stats/pid)
kill "$daemon"
until_gone "$daemon"
wait $c1
is "the file ends with the mount" $? 0
wait $w3
is "the command fails" $? 3
is "and says why" "$(cat "$top/w3.err")" \
	"cairn watch: $M: the mount has ended"
start
"$CAIRN" watch "$M" >"$top/w4" &
w4=$!
pids="$pids $w4"
n=0
while [ ! -s "$top/w4" ] && [ $n -lt 300 ]; do
	echo $n >$K/tick
	sleep 0.1
	n=$((n + 1))
done
kill -9 $w4
wait $w4 2>/dev/null
umount_soon

echo "$checks checks, $failed failed"
[ $failed = 0 ]
