#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Programs that people use, on a mount and on a directory of the disk: they say
# the same, end with the same status and leave the same files. Needs /dev/fuse;
# CAIRN (or the first argument) is the program. Exit 77: skipped.
set -u

. "$(dirname "$0")/checks.sh"
[ "$fuse" ] || skip "/dev/fuse is not usable here"

D=$top/store
M=$top/mnt
K=$M/keys
P=$top/plain
# With the sanitizers these have to do.
few=
! grep -q '__[at]san_init' "$CAIRN" || few=' git tar shell appenders python '

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

HOME=$top/home
GIT_CONFIG_NOSYSTEM=1
GIT_AUTHOR_NAME=a
GIT_AUTHOR_EMAIL=a@example.org
GIT_COMMITTER_NAME=a
GIT_COMMITTER_EMAIL=a@example.org
GIT_AUTHOR_DATE='1700000000 +0000'
GIT_COMMITTER_DATE='1700000000 +0000'
T=$top
export HOME T GIT_CONFIG_NOSYSTEM GIT_AUTHOR_NAME GIT_AUTHOR_EMAIL \
	GIT_COMMITTER_NAME GIT_COMMITTER_EMAIL GIT_AUTHOR_DATE GIT_COMMITTER_DATE
mkdir "$M" "$P" "$HOME"
cat >"$HOME/.gitconfig" <<'EOF'
[init]
	defaultBranch = main
[gc]
	auto = 0
[pack]
	threads = 1
EOF

has()
{
	for p; do
		command -v "$p" >/dev/null || return 1
	done
}

check "mount" "$CAIRN" mount -q --create "$D" "$M"
daemon=$(cat "$M/stats/pid")

# Something to work on.
mkdir -p "$top/src/lib/deep/er" "$top/src/empty"
i=0
while [ $i -lt 40 ]; do
	seq $i $((i * 20)) >"$top/src/lib/f$i.txt"
	i=$((i + 1))
done
head -c 300000 /dev/urandom >"$top/src/lib/deep/er/blob"
printf '#!/bin/sh\necho run\n' >"$top/src/run"
chmod 755 "$top/src/run"
chmod 600 "$top/src/lib/f1.txt"
ln -s lib/deep "$top/src/link"
# Long ago, so that what is changed later has another time to the second.
find "$top/src" -exec touch -h -d '2001-05-06 07:08:09.1 UTC' {} +
touch -d '2001-02-03 04:05:06.7 UTC' "$top/src/lib/f2.txt" "$top/src/lib/deep"

# -------------------------------------------------------- version control
if has git; then
	both git <<'EOF'
mkdir r
cd r
git init -q .
cp -a "$T/src/." .
git add -A
git commit -q -m one
git status --porcelain
echo more >>lib/f3.txt
git mv lib/f4.txt lib/renamed.txt
git rm -q lib/f5.txt
chmod 755 lib/f6.txt
git status --porcelain
git commit -q -a -m two
git checkout -q -b side HEAD~1
seq 5 >side.txt
git add side.txt
git commit -q -m side
git checkout -q main
git merge -q -m merged side
git stash list
git gc -q --prune=now
git fsck --strict
git log --format='%H %s' --graph
git ls-files -s
git diff HEAD~1 --stat
cd ..
git clone -q --no-hardlinks r c
git -C c status --porcelain
git -C c rev-parse HEAD
./c/run
# The index holds times and inode numbers, these hold where we are.
git -C c config remote.origin.url ../r
rm -r r/.git/index c/.git/index c/.git/logs
EOF
fi

# ------------------------------------------------------------ copies of trees
if has rsync; then
	both rsync <<'EOF'
rsync -a "$T/src/" to
rsync -ai "$T/src/" to
rm to/lib/f7.txt
echo extra >to/extra
echo changed >>to/lib/f8.txt
rsync -ai --delete --checksum "$T/src/" to | sort
rsync -a --inplace --no-whole-file "$T/src/" to
rsync -a to/ back
rsync -ai to/ "$T/src/"
EOF
fi
both tar <<'EOF'
tar cf all.tar -C "$T/src" --sort=name .
mkdir out
tar xpf all.tar -C out
tar df all.tar -C out
tar cf again.tar -C out --sort=name .
cmp all.tar again.tar && echo same
tar xpf all.tar -C out --overwrite
tar xpf all.tar -C out --recursive-unlink --unlink-first
find out -mindepth 1 ! -type l -printf '%P %T@\n' | sort
tar rf all.tar -C "$T/src" run
tar tf all.tar | wc -l
EOF
both copies <<'EOF'
cp -a "$T/src" a
cp -a a b
find b ! -type l -printf '%P %T@ %m\n' | sort
cp -u a/lib/f2.txt b/lib/f2.txt
cp --remove-destination a/run b/lib/f3.txt
cp --backup=numbered a/run b/lib/f4.txt
install -m 751 a/run b/installed
mv b/lib b/moved
mv -n a/run b/installed
mv a/lib/f9.txt a/lib/f10.txt
dd if=a/lib/deep/er/blob of=b/dd bs=7001 status=none
split -n 3 b/dd b/part
cat b/part* | cmp - b/dd
rm -rf a
ls
EOF

# ------------------------------------------------------------------ databases
if has sqlite3; then
	both sqlite <<'EOF'
for mode in delete persist wal; do
	sqlite3 $mode.db "PRAGMA journal_mode=$mode;
		CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT);
		CREATE INDEX i ON t(v);"
	for n in 1 2 3; do
		sqlite3 $mode.db "WITH RECURSIVE s(x) AS
			(SELECT 1 UNION ALL SELECT x+1 FROM s WHERE x<300)
			INSERT INTO t(v) SELECT hex(x * 7919 + $n) FROM s;"
	done
	sqlite3 $mode.db "BEGIN; DELETE FROM t WHERE id % 3 = 0; ROLLBACK;
		BEGIN; DELETE FROM t WHERE id % 5 = 0; COMMIT;
		VACUUM; PRAGMA integrity_check;
		SELECT count(*), min(v), max(v) FROM t;"
	# Two at once: one waits for the lock of the other.
	for n in 1 2; do
		sqlite3 -cmd '.timeout 60000' $mode.db "BEGIN IMMEDIATE;
			INSERT INTO t(v) VALUES('w$n'); COMMIT;" &
	done
	wait
	sqlite3 $mode.db "PRAGMA integrity_check;
		SELECT v FROM t WHERE v LIKE 'w%' ORDER BY v;
		DELETE FROM t WHERE v LIKE 'w%';"
	sqlite3 $mode.db .dump | sort >$mode.sql
	rm -f $mode.db*
done
cmp delete.sql persist.sql && cmp delete.sql wal.sql && echo same
EOF
fi

# -------------------------------------------------------------------- editors
vim=$(command -v vim.tiny || command -v vim) && both vim <<EOF
vim='$vim -u NONE -i NONE -N -es'
seq 200 >f
chmod 640 f
ln -s f link
for how in yes no auto; do
	\$vim -c "set backupcopy=\$how" -c '%s/1/one\$how/' -c wq f
	\$vim -c "set backupcopy=\$how backup" -c 'normal Goend' -c wq link
done
\$vim -c 'normal inew' -c 'wq' created
cat created
find . -name '.*.sw?'
rm -f f~ link~
EOF
if has ed; then
	both ed <<'EOF'
seq 9 >f
printf '1,3d\na\nmore\n.\nw\nr f\nw g\nq\n' | ed -s f
EOF
fi
both in_place <<'EOF'
seq 100 >f
chmod 604 f
sed -i.bak 's/1/one/' f
sed -i -e '/2/d' -e '$a end' f
perl -pi -e 's/3/three/' f
perl -i.orig -ne 'print unless /4/' f
sort -o f -r f
sort -u -S 16k -T . f bigger 2>/dev/null || seq 20000 | sort -S 64k -T . -r >bigger
tac f >g
tee -a f g <f.bak >/dev/null
truncate -s 3 f.orig
truncate -s +5 f.orig
truncate -s 100000 f.orig
shred -u f.bak
patch=$(diff f g || :)
echo "$patch" | wc -l
EOF

# ------------------------------------------------------------------- building
# Of the make that runs this test they would speak.
unset MAKEFLAGS MFLAGS MAKELEVEL
if has make; then
	both make <<'EOF'
cat >Makefile <<'MK'
all: out
out: a.o b.o
	cat $^ >$@
%.o: %.c common.h
	cat $< common.h >$@
clean:
	rm -f *.o out
MK
for f in a.c b.c common.h; do echo $f >$f; done
make -s -j2
make
echo changed >>a.c
make
touch common.h
make
touch -d '1 hour ago' a.c b.c common.h
make -q && echo nothing to do
make clean
make -s
EOF
fi

# ------------------------------------------------------------------ searching
both find <<'EOF'
cp -a "$T/src" s
find s | sort
find s -type f -size +20k
find s -name 'f1*.txt' -exec grep -lx 99 {} + | sort
grep -r -c 77 s | sort
grep -rl --include='*2.txt' 200 s | sort
find s -newer s/lib/f2.txt | wc -l
find s -perm 600
find s -empty
find s -type f -name 'f2*' -delete
find s -depth -type d -empty -exec rmdir {} +
du -a --apparent-size -b s/lib/deep/er/blob
find s -type l -printf '%l\n'
ls -1R s
wc -c s/lib/*.txt | tail -1
md5sum s/lib/*.txt >sums
md5sum -c --quiet sums
find s | xargs stat -c '%n %F %h' | grep -v ' directory ' | sort
rm -rf s
EOF

# ----------------------------------------------------------------- descriptors
both shell <<'EOF'
exec 3>f 4>>f 5<f
echo one >&3
echo two >&4
cat <&5
echo three >&3
cat f
rm f
echo four >&4
cat <&5
[ -e f ] || echo gone
exec 3>&- 4>&- 5<&-
set -C
echo x >new
(echo y >new) 2>/dev/null || echo kept
set +C
echo old >o
exec 3<o
echo new >n
mv n o
cat <&3 o
{ sleep 0.05; echo 1; } >late &
wait
cat late
mkdir d
cd d
rmdir ../d
ls
(echo x >y) 2>/dev/null || echo cannot
EOF
if has flock; then
	both flock <<'EOF'
echo 0 >n
for i in 1 2 3 4; do
	(
		for j in 1 2 3 4 5; do
			flock lock sh -c 'v=$(cat n); echo $((v + 1)) >n'
		done
	) &
done
wait
cat n
exec 9>held
flock 9
flock -n held true || echo taken
flock -u 9
flock -n held echo free
EOF
fi
both appenders <<'EOF'
for w in 1 2 3 4 5 6; do
	(
		exec >>log
		i=0
		while [ $i -lt 100 ]; do
			echo "writer $w line $i of a log that is appended to"
			i=$((i + 1))
		done
	) &
done
wait
sort -o log log
wc -l <log
EOF
if has python3; then
	both python <<'EOF'
cat >"$T/calls.py" <<'PY'
import errno, fcntl, mmap, os, struct, sys

def said(what, f, *a):
    try:
        print(what, f(*a))
    except OSError as e:
        print(what, errno.errorcode[e.errno])

# The modes of open().
for mode in ("r", "w", "a", "x", "r+", "w+", "a+", "rb+", "xb+"):
    for name in ("there", "absent"):
        with open("there", "w") as f:
            f.write("0123456789")
        if os.path.exists("absent"):
            os.unlink("absent")
        try:
            with open(name, mode) as f:
                if f.writable():
                    f.write(b"AB" if "b" in mode else "AB")
                    f.flush()
                print(mode, name, f.tell())
                if f.readable():
                    f.seek(1)
                    print(f.read())
        except OSError as e:
            print(mode, name, errno.errorcode[e.errno])
        print(os.path.exists(name) and open(name).read())
os.unlink("there")
if os.path.exists("absent"):
    os.unlink("absent")

# What open(2) refuses.
open("file", "w").close()
os.mkdir("dir")
os.symlink("file", "sym")
os.symlink("loop", "loop")
flags = {n: getattr(os, n) for n in (
    "O_RDONLY", "O_WRONLY", "O_RDWR", "O_DIRECTORY", "O_NOFOLLOW", "O_PATH")}
for target in ("file", "dir", "sym", "loop", "none", "file/x", "dir/.",
               "file/", "none/"):
    for a, b in (("O_RDONLY", "O_RDONLY"), ("O_WRONLY", "O_RDONLY"),
                 ("O_RDONLY", "O_DIRECTORY"), ("O_RDWR", "O_NOFOLLOW"),
                 ("O_PATH", "O_NOFOLLOW")):
        for c in (0, os.O_CREAT | os.O_EXCL):
            try:
                os.close(os.open(target, flags[a] | flags[b] | c, 0o600))
                print(target, a, b, c, "opened")
                if c and flags[b] != os.O_NOFOLLOW:
                    os.unlink(target)
            except OSError as e:
                print(target, a, b, c, errno.errorcode[e.errno])
said("rename file dir", os.rename, "file", "dir")
said("rename dir file", os.rename, "dir", "file")
said("rename itself", os.rename, "file", "file")
said("rmdir .", os.rmdir, "dir/.")
said("rmdir file", os.rmdir, "file")
said("unlink dir", os.unlink, "dir")
said("readlink file", os.readlink, "file")
said("truncate dir", os.truncate, "dir", 0)
said("truncate -1", os.truncate, "file", -1)
said("chmod none", os.chmod, "none", 0o600)
said("long", os.stat, "n" * 256)
said("empty", os.stat, "")
said("listdir file", os.listdir, "file")

# Descriptors.
fd = os.open("rw", os.O_RDWR | os.O_CREAT)
print(os.pwrite(fd, b"x" * 5000, 3000), os.fstat(fd).st_size)
print(os.lseek(fd, 0, os.SEEK_END), os.lseek(fd, -8000, os.SEEK_CUR))
said("before", os.lseek, fd, -1, os.SEEK_SET)
os.ftruncate(fd, 100)
print(os.read(fd, 200) == bytes(100), os.read(fd, 200))
os.ftruncate(fd, 70000)
print(os.pread(fd, 10, 69995), os.pread(fd, 10, 70000))
print(os.writev(fd, [b"a", b"bc", b""]), os.preadv(fd, [bytearray(4)], 99))
dup = os.dup(fd)
os.write(dup, b"dup")
print(os.lseek(fd, 0, os.SEEK_CUR))
os.close(fd)
os.write(dup, b"later")
os.close(dup)
fd = os.open("rw", os.O_RDONLY)
said("write to a reader", os.write, fd, b"x")
os.close(fd)
fd = os.open("rw", os.O_WRONLY | os.O_APPEND)
said("read of a writer", os.read, fd, 1)
os.pwrite(fd, b"END", 0)
os.close(fd)
with open("rw", "rb") as f:
    d = f.read()
print(len(d), d[-3:])

# Holes, both ways.
with open("sparse", "wb") as f:
    f.seek(3 << 20)
    f.write(b"end")
with open("sparse", "r+b") as f:
    f.seek(1 << 20)
    f.write(b"middle")
    f.truncate((1 << 20) + 3)
    f.truncate(2 << 20)
    f.seek((1 << 20) - 2)
    print(f.read(8))

# Shared and private mappings; what is written is seen by the other side.
with open("map", "w+b") as f:
    f.truncate(20000)
    with mmap.mmap(f.fileno(), 20000) as m:
        m[4090:4100] = b"0123456789"
        m.flush()
        f.seek(4090)
        print(f.read(10))
        f.seek(8000)
        f.write(b"written")
        f.flush()
        print(m[8000:8007])
        m[19999:] = b"Z"
    with mmap.mmap(f.fileno(), 20000, access=mmap.ACCESS_COPY) as m:
        m[0:4] = b"mine"
    f.seek(0)
    print(f.read(4))
with open("map", "rb") as f, mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ) as m:
    print(m.find(b"56789"), m[-1:])

# Locks of fcntl(2) between two processes.
with open("lock", "w+") as f:
    fcntl.lockf(f, fcntl.LOCK_EX)
    r, w = os.pipe()
    if not os.fork():
        with open("lock", "r+") as g:
            try:
                fcntl.lockf(g, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.write(w, b"got")
            except OSError:
                os.write(w, b"refused")
        os._exit(0)
    os.wait()
    print(os.read(r, 10))

# A directory that changes while it is read, and one that is gone.
os.mkdir("many")
for i in range(300):
    open("many/%03d" % i, "w").close()
with os.scandir("many") as it:
    for e in it:
        os.unlink(e.path)
print(os.listdir("many"))
fd = os.open("many", os.O_RDONLY)
os.rmdir("many")
print(os.listdir(fd), os.fstat(fd).st_nlink == 0)
said("openat", os.open, "x", os.O_CREAT | os.O_WRONLY, 0o600)
try:
    os.close(os.open("x", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
except OSError as e:
    print("in a directory that is gone", errno.errorcode[e.errno])
os.close(fd)

# Nobody's name.
try:
    fd = os.open(".", os.O_TMPFILE | os.O_RDWR, 0o600)
    os.write(fd, b"x")
    os.close(fd)
except OSError as e:
    assert e.errno == errno.EOPNOTSUPP, e
with open("xattr", "w") as f:
    said("set", os.setxattr, "xattr", "user.a", b"1")
    said("again", os.setxattr, "xattr", "user.a", b"2", os.XATTR_CREATE)
    said("absent", os.setxattr, "xattr", "user.b", b"2", os.XATTR_REPLACE)
    said("get", os.getxattr, "xattr", "user.a")
    said("get none", os.getxattr, "xattr", "user.b")
    said("list", os.listxattr, "xattr")
    said("remove", os.removexattr, "xattr", "user.a")
    said("list", os.listxattr, "xattr")
os.utime("xattr", ns=(5, 1234567890123456789))
print(os.stat("xattr").st_mtime_ns)
os.utime("sym", ns=(5, 987654321), follow_symlinks=False)
print(os.lstat("sym").st_mtime_ns)
PY
python3 "$T/calls.py"
EOF
fi

# ------------------------------------------------------------------ and all of it
check "umount" "$CAIRN" umount "$M"
daemon=
check "verify" "$CAIRN" verify "$D"
check "mount again" "$CAIRN" mount -q "$D" "$M"
daemon=$(cat "$M/stats/pid")
check "all is still there" diff -r --no-dereference "$P" "$K"
if has git; then
	(cd "$K/git/c" && git reset -q) # its index was taken away
	is "git status after a mount" "$(git -C "$K/git/c" status --porcelain)" ""
	check "git fsck after a mount" git -C "$K/git/r" fsck --strict
fi
check "rm -rf of all" rm -rf "$K"/git "$K"/tar "$K"/python
check "the rest is there" test -e "$K/shell/late"
check "umount" "$CAIRN" umount "$M"
daemon=

echo "$checks checks, $failed failed"
[ $failed = 0 ]
