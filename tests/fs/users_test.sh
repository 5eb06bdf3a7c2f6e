#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Several users on one mount: who may do what, compared with a directory of the
# disk; and who may not even come. Needs root and /dev/fuse; CAIRN (or the first
# argument) is the program. Exit 77: skipped.
set -u

. "$(dirname "$0")/checks.sh"
[ "$fuse" ] || skip "/dev/fuse is not usable here"
[ "$(id -u)" = 0 ] || skip "only root can be others"
command -v setpriv >/dev/null || skip "no setpriv"

D=$top/store
M=$top/mnt
K=$M/keys
P=$top/plain
few=
mkdir "$M" "$P"
chmod 755 "$top" "$P"

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

# Somebody, and somebody of group 12.
U="setpriv --reuid 65534 --regid 65534 --clear-groups"
G="setpriv --reuid 65534 --regid 65534 --groups 12"
export U G

start --create -o allow_other
both made_by <<'EOF'
umask 022
mkdir -m 1777 tmp
$U sh -c 'echo x >tmp/mine; mkdir tmp/dir; ln -s mine tmp/link'
stat -c '%n %u %g %a' tmp/*
# What is made in a set-gid directory is of its group.
mkdir g
chgrp 12 g
chmod 2775 g
touch g/f
mkdir g/d
mkdir g/d/e
touch g/d/e/f
ln -s f g/l
$G sh -c 'echo >g/by_group; mkdir g/by_group_too'
stat -c '%n %u %g %a' g g/* g/d/e g/d/e/f
umask 077
touch um
mkdir umd
stat -c '%n %a' um umd
EOF
both may <<'EOF'
set +e
mkdir -m 1777 tmp
mkdir -m 711 by_name
mkdir -m 700 closed
mkdir open
for d in tmp by_name closed open; do echo root >$d/f; done
printf '#!/bin/sh\nid -u\n' >tmp/run
$U sh -c 'echo x >tmp/mine'
for d in tmp by_name closed open; do
	$U ls $d; echo ls $?
	$U cat $d/f; echo cat $?
	$U sh -c "echo x >$d/f"; echo write $?
	$U sh -c "echo x >$d/new"; echo create $?
	$U rm -f $d/f; echo rm $?
	$U mv $d/f $d/g; echo mv $?
	$U mv tmp/mine $d/f; echo replace $?
	$U mkdir $d/dir; echo mkdir $?
	$U rmdir $d/dir; echo rmdir $?
	$U ln -s x $d/link; echo link $?
	$U chmod 777 $d/f; echo chmod $?
	$U chown 65534 $d/f; echo chown $?
	$U touch $d/f; echo touch $?
	$U sh -c "test -r $d/f; echo \$?; test -w $d/f; echo \$?
		test -x $d/f; echo \$?; test -w $d; echo \$?"
	ls $d
done
chmod 622 open/f
$U cat open/f; echo write only $?
$U sh -c 'echo more >>open/f'; echo $?
$U touch open/f; echo touch $?
$U touch -d 2001-01-01 open/f; echo touch -d $?
$U tmp/run; echo not executable $?
chmod 755 tmp/run
$U tmp/run
tmp/run
$U chgrp 12 tmp/mine; echo chgrp $?
$G chgrp 12 tmp/mine; echo chgrp by group $?
$U chmod 2644 tmp/mine
stat -c '%u %g %a' tmp/mine
chown 65534:12 by_name/f
chmod 640 by_name/f
$U sh -c 'echo owner >by_name/f; cat by_name/f'
chown 1:12 by_name/f
$G cat by_name/f; echo group $?
$U cat by_name/f; echo other $?
$G sh -c 'echo >by_name/f'; echo $?
exit 0
EOF
both set_id <<'EOF'
umask 0
for mode in 4777 2777 6777 2766 6666; do
	for how in 'echo x >f' 'echo x >>f' 'echo x 1<>f' ': >f' \
		'truncate -s 1 f' 'fallocate -l 100 f' 'cat f' 'touch f' \
		'chmod u+w f'; do
		for who in '' "$U"; do
			echo hello >f
			chmod $mode f
			$who sh -c "$how" >/dev/null 2>&1 || :
			stat -c "%a after $who $how" f
			rm f
		done
	done
	echo hello >f
	chmod $mode f
	chown 12:12 f
	stat -c '%a after chown' f
	rm f
done
EOF
is "another user sees it all" "$($U cat "$M/stats/pid")" "$daemon"
refused "but gives no commands" 'Permission denied' \
	$U sh -c "echo >$M/ctl/flush"
refused "and has none run" 'cannot open\|Permission denied' \
	$U "$CAIRN" put "$M" k v
stop
start -o allow_other,uid=65534,gid=12,umask=027
check "a file without a mode" "$CAIRN" put "$M" bare x
is "is the user's that was asked for" "$(stat -c '%u %g %a' "$K/bare")" \
	"65534 12 640"
is "who can use it" "$($U cat "$K/bare")" x
refused "and others cannot" 'Permission denied' \
	setpriv --reuid 7 --regid 7 --clear-groups cat "$K/bare"
check "what root makes" touch "$K/roots"
is "is root's" "$(stat -c '%u %g' "$K/roots")" "0 0"
stop
start
refused "without allow_other nobody else comes" 'Permission denied' \
	$U ls "$M"
refused "not even by name" 'Permission denied' $U cat "$K/bare"
is "root does" "$(cat "$K/bare")" x
stop

echo "$checks checks, $failed failed"
[ $failed = 0 ]
