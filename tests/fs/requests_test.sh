#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# How many requests the kernel sends for what programs do, as the daemon counts
# them (stats/latency): each takes as long as all else that a small file costs.
# Needs /dev/fuse and python3; CAIRN (or the first argument) is the program.
# Exit 77: skipped.
set -u

. "$(dirname "$0")/checks.sh"
[ "$fuse" ] || skip "/dev/fuse is not usable here"
command -v python3 >/dev/null || skip "no python3"

D=$top/store
M=$top/mnt
mkdir "$M"
daemon=
cleanup()
{
	if grep -q " $M fuse" /proc/mounts; then
		fusermount3 -u -z "$M" 2>/dev/null || umount -l "$M"
	fi
	[ -z "$daemon" ] || kill "$daemon" 2>/dev/null
	rm -rf "$top"
}
trap cleanup EXIT
trap 'exit 1' HUP INT TERM

check "mount" "$CAIRN" mount -q --create "$D" "$M"
daemon=$(cat "$M/stats/pid")
check "requests" python3 - "$M" <<'PY'
import os, sys, time
m = sys.argv[1]
os.chdir(m + "/keys")
data = b"x" * 100
failed = 0

def counts():
    # A request is counted when it has been answered.
    time.sleep(0.02)
    with open(m + "/stats/latency") as f:
        rows = [l.split() for l in f.read().splitlines()[1:]]
    return {r[0]: int(r[1]) for r in rows
            if r[0] not in ("get", "commit", "sync")}

def less(a, b):
    return {k: v - b.get(k, 0) for k, v in a.items() if v != b.get(k, 0)}

def sent(prepare, do):
    prepare()
    idle = counts()
    before = counts()
    do()
    got = less(less(counts(), before), less(before, idle))
    # Nobody waits for it, so it may come at any time.
    got.pop("release", None)
    return {k: v for k, v in got.items() if v}

# Looking costs requests, too: fewer when the kernel still knows the files of
# stats/ from the time before. So what comes out once counts.
def check(what, want, do, prepare=lambda: None):
    global failed
    for _ in range(20):
        got = sent(prepare, do)
        if want(got) if callable(want) else got == want:
            return
    failed += 1
    print("%s: sent %s, should be %s" %
          (what, got, want.__doc__ if callable(want) else want))

n = 0
def new():
    global n
    n += 1
    return "new%d" % n

def write(name, mode):
    fd = os.open(name, mode, 0o644)
    os.write(fd, data)
    os.close(fd)

def create(name=None):
    name = name or new()
    write(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    return name

def read(name):
    fd = os.open(name, os.O_RDONLY)
    assert os.read(fd, 200) == data
    os.close(fd)

def safe_save():
    os.rename(create(), "target")

def drop(name):
    os.unlink(name)

def many_writes(fd):
    for _ in range(20):
        os.write(fd, b"y" * 4096)

def ls_l():
    with os.scandir("dir") as it:
        assert sum(e.stat(follow_symlinks=False).st_size for e in it) == 2000

create("known")
create("target")
check("create, write, close", {"lookup": 1, "create": 1, "write": 1, "flush": 1},
      create)
check("the first read", {"open": 1, "read": 1}, lambda: read("known"),
      lambda: os.stat(create("known")))
check("read again", {"open": 1}, lambda: read("known"))
check("overwrite", {"open": 1, "xattr": 1, "write": 1, "flush": 1},
      lambda: write("known", os.O_WRONLY | os.O_TRUNC))
check("write anew and rename",
      {"lookup": 2, "create": 1, "write": 1, "flush": 1, "rename": 1},
      safe_save, lambda: os.stat("target"))
check("stat", {}, lambda: os.stat("known"), lambda: os.stat("known"))
check("a name that is absent", {}, lambda: os.path.exists("absent"),
      lambda: os.path.exists("absent"))
name = ""
def make():
    global name
    name = create()
check("rename", {"lookup": 1, "rename": 1}, lambda: os.rename(name, new()), make)
check("unlink", {"unlink": 1}, lambda: os.unlink(name), make)
fd = os.open("stream", os.O_WRONLY | os.O_CREAT)
check("20 writes of 4 KiB", {"write": 20}, lambda: many_writes(fd))
os.close(fd)
os.mkdir("dir")
for i in range(20):
    create("dir/%d" % i)
# Its own attributes and the names, which the kernel may or may not still have:
# none for a file.
def few(got):
    "4 in all, of getattr and readdir"
    return sum(got.values()) <= 4 and got.keys() <= {"getattr", "readdir"}
check("ls -l of 20 files", few, ls_l, ls_l)
sys.exit(failed)
PY
check "umount" "$CAIRN" umount "$M"
daemon=

echo "$checks checks, $failed failed"
[ $failed = 0 ]
