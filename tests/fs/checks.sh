# SPDX-License-Identifier: BSD-3-Clause
# What the tests of a mount have in common, to be sourced. Needs CAIRN or $1;
# sets CAIRN to an absolute path, and top to a new directory.

CAIRN=${1:-${CAIRN:-./cairn}}
case $CAIRN in
/*) ;;
*) CAIRN=$PWD/$CAIRN ;;
esac
[ -x "$CAIRN" ] || { echo "FAIL: no program $CAIRN"; exit 1; }
fuse=yes
if [ ! -c /dev/fuse ] || ! (: <>/dev/fuse) 2>/dev/null; then
	fuse=
fi

top=$(mktemp -d "${TMPDIR:-/tmp}/cairn-test.XXXXXX") || exit 1
checks=0
failed=0

skip()
{
	echo "SKIP: $*"
	rm -rf "$top"
	exit 77
}

fail()
{
	failed=$((failed + 1))
	echo "FAIL: $*"
}

# check WHAT COMMAND...: the command succeeds.
check()
{
	what=$1
	shift
	checks=$((checks + 1))
	"$@" >"$top/out" 2>&1 || {
		fail "$what: $*"
		sed 's/^/	/' "$top/out"
	}
}

# is WHAT GOT WANTED
is()
{
	checks=$((checks + 1))
	[ "$2" = "$3" ] || fail "$1: got '$2', wanted '$3'"
}

# refused WHAT TEXT COMMAND...: it fails with this text in its message.
refused()
{
	what=$1
	text=$2
	shift 2
	checks=$((checks + 1))
	if LC_ALL=C "$@" >"$top/out" 2>&1; then
		fail "$what: succeeded: $*"
	elif ! grep -q "$text" "$top/out"; then
		fail "$what: said '$(cat "$top/out")', not '$text'"
	fi
}

# exits WHAT STATUS COMMAND...
exits()
{
	what=$1
	want=$2
	shift 2
	checks=$((checks + 1))
	"$@" >"$top/out" 2>&1
	got=$?
	[ $got = "$want" ] ||
		fail "$what: exit $got, wanted $want: $(cat "$top/out")"
}

# exits_saying WHAT STATUS TEXT COMMAND...: with this text in the message, too.
exits_saying()
{
	what=$1
	want=$2
	text=$3
	shift 3
	exits "$what" "$want" "$@"
	grep -q -- "$text" "$top/out" ||
		fail "$what: said '$(cat "$top/out")', not '$text'"
}

# The tree in the working directory: names, types, modes, sizes, targets.
tree_list()
{
	find . ! -name . \( -type d -printf '%P %y %m\n' -o \
		-printf '%P %y %m %s %l\n' \) | LC_ALL=C sort
}

# both NAME: the script on standard input, in a new directory NAME of $K, which
# is of a mount, and of $P, which is of the disk: it says the same, ends with the
# same status and leaves the same files. few: the names of those to run, with
# blanks around; empty: all.
both()
{
	cat >"$top/script"
	case ${few:- $1 } in
	*" $1 "*) ;;
	*) return ;;
	esac
	checks=$((checks + 3))
	for side in disk mount; do
		at=$K
		[ $side = mount ] || at=$P
		out=$top/said.$side
		mkdir "$at/$1" || fail "$1: mkdir"
		(cd "$at/$1" &&
			LC_ALL=C TZ=UTC sh -eu "$top/script" >"$out" 2>&1 </dev/null
			echo "status $?" >>"$out")
		(cd "$at/$1" && tree_list) >"$top/tree.$side"
	done
	if ! cmp -s "$top/said.disk" "$top/said.mount"; then
		fail "$1: what the programs said:"
		diff "$top/said.disk" "$top/said.mount" | sed 's/^/	/'
	fi
	if ! cmp -s "$top/tree.disk" "$top/tree.mount"; then
		fail "$1: the files that were left:"
		diff "$top/tree.disk" "$top/tree.mount" | sed 's/^/	/'
	fi
	diff -r --no-dereference "$P/$1" "$K/$1" >"$top/out" 2>&1 || {
		fail "$1: the contents that were left:"
		sed 's/^/	/' "$top/out"
	}
	# A script that ends early compares nothing.
	grep -qx 'status 0' "$top/said.disk" || {
		fail "$1: does not work on the disk either:"
		sed 's/^/	/' "$top/said.disk"
	}
}
