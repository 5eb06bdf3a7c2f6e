#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# What nobody should do to a mount: it answers as any file system would, or with
# one clean error, and nothing else is harmed. Needs /dev/fuse and python3; CAIRN
# (or the first argument) is the program. Exit 77: skipped.
set -u

. "$(dirname "$0")/checks.sh"
[ "$fuse" ] || skip "/dev/fuse is not usable here"
command -v python3 >/dev/null || skip "no python3"

D=$top/store
M=$top/mnt
K=$M/keys
export M K
mkdir "$M"
# How much of it: processes, seconds, names.
workers=8 seconds=1 names=2000
! grep -q '__[at]san_init' "$CAIRN" || workers=4 seconds=2 names=300

daemon=
cleanup()
{
	if grep -q " $M fuse" /proc/mounts; then
		fusermount3 -u -z "$M" 2>/dev/null || umount -l "$M"
	fi
	[ -z "$daemon" ] || {
		kill -CONT "$daemon"
		kill "$daemon"
	} 2>/dev/null
	rm -rf "$top"
}
trap cleanup EXIT
trap 'exit 1' HUP INT TERM

start()
{
	check "mount" "$CAIRN" mount -q "$@" "$D" "$M"
	daemon=$(cat "$M/stats/pid")
}

stop()
{
	check "umount" "$CAIRN" umount "$M"
	daemon=
}

# Everything in keys/ but times.
fingerprint()
{
	(cd "$K" && find . -printf '%P %y %m %n %l\n' | sort &&
		find . -type f -exec cksum {} + | sort)
}

# --------------------------------------------------------------------- junk
start --create
{ printf '\001\377'; head -c 1048576 /dev/urandom; } >"$top/junk"
for f in "$M"/ctl/*; do
	for size in 300 70000 1048576; do
		checks=$((checks + 1))
		dd if="$top/junk" of="$f" bs=$size count=1 2>"$top/out" &&
			fail "$size bytes of junk to $f succeeded"
	done
done
refused "junk to watch" 'Invalid' dd if="$top/junk" of="$M/watch" bs=1M
check "it answers" test -s "$M/stats/pid"
is "reading them does nothing" "$(timeout 60 cat "$M"/ctl/* | wc -c)" 0
check "so does grep" sh -c 'timeout 60 grep -r x "$M/ctl"; [ $? = 1 ]'

# --------------------------------------------------------- deep, many, long
check "500 directories in one another" python3 - <<'PY'
import os
os.chdir(os.environ["K"])
for i in range(500):
    os.mkdir("d"); os.chdir("d")
with open("leaf", "w") as f: f.write("deep")
with open("leaf") as f: assert f.read() == "deep"
PY
is "are found" "$(find "$K/d" -type d | wc -l)" 500
check "and removed" rm -r "$K/d"
check "a path that is too long for one call" python3 - <<'PY'
import errno, os
os.chdir(os.environ["K"])
n = "n" * 200
fd = os.open(".", os.O_RDONLY)
depth = 0
try:
    while True:
        os.mkdir(n, dir_fd=fd)
        below = os.open(n, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
        depth += 1
except OSError as e:
    # The longest key.
    assert e.errno == errno.ENAMETOOLONG, e
assert depth == 16384 // 201, depth
os.close(os.open("leaf", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
assert os.listdir(fd) == ["leaf"]
PY
check "and removed" rm -r "$K/$(printf '%0200d' 0 | tr 0 n)"
check "many descriptors, and names that come and go" python3 - $names <<'PY'
import os, resource, sys
n = int(sys.argv[1])
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
n = min(n, hard - 100)
os.chdir(os.environ["K"])
os.mkdir("many")
fds = []
for i in range(n):
    fds.append(os.open("many/%05d" % i, os.O_RDWR | os.O_CREAT))
    os.write(fds[i], b"%d" % i)
for i, fd in enumerate(fds):
    assert os.pread(fd, 9, 0) == b"%d" % i
    os.close(fd)
pid = os.fork()
if pid == 0:
    i = 0
    while True:
        open("many/x%d" % i, "w").close()
        os.unlink("many/x%d" % i)
        os.rename("many/00000", "many/0y")
        os.rename("many/0y", "many/00000")
        i += 1
want = {"%05d" % i for i in range(1, n)}
for i in range(10):
    l = os.listdir("many")
    assert len(l) == len(set(l)), "a name twice"
    assert want <= set(l), want - set(l)
os.kill(pid, 9)
os.wait()
for name in os.listdir("many"):
    os.close(os.open("many/" + name, os.O_RDONLY))
PY
if command -v perl >/dev/null; then
	is "seekdir and rewinddir" "$(cd "$K/many" && perl -e '
opendir(D, ".") or die;
my (@a, %behind);
while (defined(my $e = readdir(D))) {
	push @a, $e;
	$behind{$e} = telldir(D);
	last if @a == 250;
}
open(F, ">", "0000new") or die;
close F;
unlink $a[10] or die;
for my $k (240, 3, 100, 0, 248) {
	seekdir(D, $behind{$a[$k]});
	my $e = readdir(D);
	print "behind $a[$k] is $e\n" if $e ne $a[$k + 1];
}
rewinddir(D);
my %b = map { $_ => 1 } readdir(D);
print "a new name is missing\n" if !$b{"0000new"};
print "an old name is there\n" if $b{$a[10]};')" ""
fi
check "removed while listed" sh -c 'find "$K/many" -type f -delete'
check "and all" rmdir "$K/many"

# ------------------------------------------------ all at once on a few names
cat >"$top/torture.py" <<'PY'
import errno, multiprocessing, os, random, sys, time
workers, seconds = int(sys.argv[1]), float(sys.argv[2])
os.chdir(os.environ["K"])
os.mkdir("t"); os.chdir("t")
names = ["n%d" % i for i in range(8)]
allowed = {errno.ENOENT, errno.EEXIST, errno.ENOTDIR, errno.EISDIR,
           errno.ENOTEMPTY, errno.EINVAL, errno.ELOOP, errno.EBADF}

def one(r, fds):
    a, b = r.choice(names), r.choice(names)
    op = r.randrange(14)
    if op == 0: os.rename(a, b)
    elif op == 1: os.unlink(a)
    elif op == 2: os.truncate(a, 512 * r.randrange(300))
    elif op == 3: fds.append(os.open(a, os.O_RDWR | os.O_CREAT))
    elif op == 4:
        fds.append(os.open(a, os.O_WRONLY | os.O_CREAT | os.O_TRUNC))
    elif op == 5 and fds:
        # One write is one byte's, of whole blocks.
        os.pwrite(r.choice(fds), bytes([r.randrange(1, 256)]) *
                  (512 * r.randrange(1, 300)), 512 * r.randrange(300))
    elif op == 6 and fds: os.ftruncate(r.choice(fds), 512 * r.randrange(300))
    elif op == 7 and fds and r.random() < .2: os.fsync(r.choice(fds))
    elif op == 8 and fds: os.close(fds.pop(r.randrange(len(fds))))
    elif op == 9:
        l = os.listdir(".")
        assert len(l) == len(set(l)), l
    elif op == 10: os.mkdir(a)
    elif op == 11: os.rmdir(a)
    elif op == 12:
        # In one call: others may cut it between two.
        fd = os.open(a, os.O_RDONLY)
        try:
            data = os.read(fd, 1 << 20)
        finally:
            os.close(fd)
        assert len(data) % 512 == 0, len(data)
        for i in range(0, len(data), 512):
            assert data[i:i + 512].count(data[i]) == 512, "a torn block"
    elif op == 13: os.rename(a, b + "/" + r.choice(names))

def work(n):
    r = random.Random(n)
    end = time.monotonic() + seconds
    fds = []
    while time.monotonic() < end:
        try:
            one(r, fds)
        except OSError as e:
            if e.errno not in allowed:
                raise

with multiprocessing.Pool(workers) as p:
    p.map(work, range(workers))
PY
check "many at once on eight names" python3 "$top/torture.py" $workers $seconds
fingerprint >"$top/before"
stop
check "verify" "$CAIRN" verify "$D"
start
fingerprint >"$top/after"
check "all is as it was" diff "$top/before" "$top/after"
check "and goes" rm -r "$K/t"

# -------------------------------------------------------- stopped, and killed
echo before >$K/s
kill -STOP "$daemon"
(sleep 0.2 && kill -CONT "$daemon") &
is "a daemon that was stopped goes on" "$(cat $K/s)" before
wait
if command -v sqlite3 >/dev/null; then
	for mode in delete wal; do
		sqlite3 "$K/$mode.db" "PRAGMA journal_mode=$mode;
			CREATE TABLE t(x INTEGER PRIMARY KEY);" >/dev/null
		(
			i=1
			while sqlite3 "$K/$mode.db" \
				"INSERT INTO t VALUES($i)" 2>/dev/null; do
				echo $i >"$top/acked.$mode"
				i=$((i + 1))
			done
		) 2>/dev/null &
	done
	n=0
	while { [ ! -s "$top/acked.delete" ] || [ ! -s "$top/acked.wal" ]; } &&
		[ $n -lt 300 ]; do
		sleep 0.1
		n=$((n + 1))
	done
	kill -KILL "$daemon"
	wait
	start
	for mode in delete wal; do
		is "integrity of $mode.db" \
			"$(sqlite3 "$K/$mode.db" 'PRAGMA integrity_check')" ok
		acked=$(cat "$top/acked.$mode")
		there=$(sqlite3 "$K/$mode.db" 'SELECT count(*) FROM t')
		checks=$((checks + 1))
		[ "$there" = "$acked" ] || [ "$there" = $((acked + 1)) ] ||
			fail "$mode: $there rows, $acked acknowledged"
	done
fi
stop

# ----------------------------------------------------------------- too little
# Refused with a reason, or it works.
(ulimit -n 10 && exec "$CAIRN" mount "$D" "$M") >"$top/out" 2>&1
is "10 descriptors are too few" $? 3
is "which is said" "$(grep -c 'Too many open files' "$top/out")" 1
(ulimit -n 32 && exec "$CAIRN" mount -q "$D" "$M")
is "32 do" $? 0
daemon=$(cat "$M/stats/pid")
is "to read" "$(cat $K/s)" before
check "and to write" sh -c 'for i in 1 2 3 4 5 6 7 8 9; do
	echo $i >"$K/few$i" || exit 1
done; echo >"$M/ctl/flush"; echo >"$M/ctl/compact"'
is "it is all there" "$(cat $K/few?)" "$(seq 9)"
stop
start
mv "$D" "$D.away"
is "without its directory it reads" "$(cat $K/s)" before
check "and writes to the log it has" sh -c 'echo late >$K/late'
refused "a flush cannot be" 'No such file' sh -c '/bin/echo >$M/ctl/flush'
mv "$D.away" "$D"
stop
start
is "nothing is lost" "$(cat $K/late)" late
stop

echo "$checks checks, $failed failed"
[ $failed = 0 ]
