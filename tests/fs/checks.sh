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
