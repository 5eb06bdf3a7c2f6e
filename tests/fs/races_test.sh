#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Names that change at the very moment in which somebody opens the file or closes
# what he wrote. Needs /dev/fuse and python3; CAIRN (or the first argument) is the
# program. Exit 77: skipped.
set -u

. "$(dirname "$0")/checks.sh"
[ "$fuse" ] || skip "/dev/fuse is not usable here"
command -v python3 >/dev/null || skip "no python3"

rounds=500
! grep -q '__[at]san_init' "$CAIRN" || rounds=200
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
check "races" python3 - "$M" $rounds <<'PY'
import errno, os, sys, threading
m, rounds = sys.argv[1], int(sys.argv[2])
os.chdir(m + "/keys")
failed = 0

# What the store has. The kernel knows nothing of a new revision's names, while
# in keys/ it would tell what it remembers.
def latest(name):
    rev = os.readlink(m + "/revs/latest")
    try:
        with open("%s/revs/%s/%s/%s" %
                  (m, rev, os.path.basename(os.getcwd()), name), "rb") as f:
            return f.read()
    except FileNotFoundError:
        return None

# Both at once: the errors.
def both(a, b):
    errors = []
    start = threading.Barrier(2)
    def run(f):
        start.wait()
        try:
            f()
        except OSError as e:
            errors.append(e.errno)
    t = threading.Thread(target=run, args=(a,))
    t.start()
    run(b)
    t.join()
    return errors

def check(once):
    global failed
    os.mkdir(once.__name__)
    os.chdir(once.__name__)
    for n in range(rounds):
        bad = once(b"%9d" % n)
        if bad:
            failed += 1
            print("%s, round %d: %s" % (once.__name__, n, bad))
            break
    os.chdir(m + "/keys")

def put(name, data):
    fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.write(fd, data)
    return fd

def write(name, data):
    fd = os.open(name, os.O_WRONLY)
    os.write(fd, data)
    os.close(fd)

def close_and_rmdir(data):
    os.mkdir("d")
    fd = put("d/f", data)
    if both(lambda: os.close(fd), lambda: os.rmdir("d")) != [errno.ENOTEMPTY]:
        return "a directory with a file was removed"
    os.unlink("d/f")
    os.rmdir("d")

def close_and_rename_over_dir(data):
    os.mkdir("d")
    os.mkdir("e")
    fd = put("d/f", data)
    if both(lambda: os.close(fd),
            lambda: os.rename("e", "d")) != [errno.ENOTEMPTY]:
        return "a directory with a file was replaced"
    os.unlink("d/f")
    os.rmdir("d")
    os.rmdir("e")

def close_and_unlink(data):
    fd = put("a", data)
    if both(lambda: os.close(fd), lambda: os.unlink("a")):
        return "unlink failed"
    if latest("a") is not None:
        return "the name is still there"

def close_and_rename(data):
    os.close(put("a", b"old"))
    fd = os.open("a", os.O_WRONLY)
    both(lambda: (os.write(fd, data), os.close(fd)),
         lambda: os.rename("a", "b"))
    if latest("a") is not None:
        return "the old name is still there"
    if latest("b") != data:
        return "the new name has %s" % latest("b")

def close_and_rename_dir(data):
    os.makedirs("x/y", exist_ok=True)
    os.close(put("x/y/a", b"old"))
    fd = os.open("x/y/a", os.O_WRONLY)
    both(lambda: (os.write(fd, data), os.close(fd)),
         lambda: os.rename("x", "z"))
    if latest("x/y/a") is not None:
        return "the old name is still there"
    if latest("z/y/a") != data:
        return "the new name has %s" % latest("z/y/a")
    os.unlink("z/y/a")
    os.rmdir("z/y")
    os.rmdir("z")

def open_and_rename(data):
    os.close(put("a", b"old"))
    late = both(lambda: write("a", data), lambda: os.rename("a", "b"))
    if latest("a") is not None:
        return "the old name is still there"
    if latest("b") != (b"old" if late else data):
        return "the new name has %s" % latest("b")

def open_and_rename_dir(data):
    os.mkdir("x")
    os.close(put("x/a", b"old"))
    late = both(lambda: write("x/a", data), lambda: os.rename("x", "z"))
    if latest("x/a") is not None:
        return "the old name is still there"
    if latest("z/a") != (b"old" if late else data):
        return "the new name has %s" % latest("z/a")
    os.unlink("z/a")
    os.rmdir("z")

def open_and_unlink(data):
    os.close(put("a", b"old"))
    both(lambda: write("a", data), lambda: os.unlink("a"))
    if latest("a") is not None:
        return "the name is still there"

for once in (close_and_rmdir, close_and_rename_over_dir, close_and_unlink,
             close_and_rename, close_and_rename_dir, open_and_rename,
             open_and_rename_dir, open_and_unlink):
    check(once)
sys.exit(failed)
PY
check "umount" "$CAIRN" umount "$M"
daemon=

echo "$checks checks, $failed failed"
[ $failed = 0 ]
