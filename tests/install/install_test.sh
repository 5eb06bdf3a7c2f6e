#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# What is installed is enough: a program outside of the tree that makes each
# kind of call (tour.c), built by what pkg-config says, against the shared and
# the static library; the command runs from where it was put; and uninstalling
# leaves nothing behind. Runs in the build directory.
set -u
src=${srcdir:-.}
[ -e config.status ] || { echo "FAIL: not a build directory"; exit 1; }
top=$(mktemp -d "${TMPDIR:-/tmp}/cairn-install.XXXXXX") || exit 1
trap 'rm -rf "$top"' EXIT

die()
{
	echo "FAIL: $1"
	[ -z "${2:-}" ] || tail -n 30 "$2"
	exit 1
}
# of NAME: what configure chose.
of()
{
	echo "@$1@" >"$top/of.in"
	./config.status -q --file="$top/of:$top/of.in" && cat "$top/of"
}

command -v pkg-config >/dev/null || die "pkg-config is missing"
CC=$(of CC) flags=$(of SANITIZE_FLAGS) prefix=$(of prefix)

env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make -s install DESTDIR="$top/root" \
	>"$top/install.out" 2>&1 || die "make install" "$top/install.out"
lib=$top/root$(of libdir | sed "s,\${exec_prefix},$prefix,")
export PKG_CONFIG_PATH=$lib/pkgconfig PKG_CONFIG_SYSROOT_DIR=$top/root

mkdir "$top/away" && cp "$src/tests/install/tour.c" "$top/away" || exit 1
cd "$top/away" || exit 1
cflags=$(pkg-config --cflags cairn) && libs=$(pkg-config --libs cairn) ||
	die "pkg-config does not know cairn"
# shellcheck disable=SC2086
$CC -std=c11 -Wall -Wextra -Werror $flags $cflags -o shared tour.c $libs \
	>cc.out 2>&1 || die "tour.c against the shared library" cc.out
LD_LIBRARY_PATH=$lib ./shared "$top/store" || die "tour, shared"

if [ -e "$lib/libcairn.a" ]; then
	libs=$(pkg-config --static --libs cairn | sed 's,-lcairn,-l:libcairn.a,')
	# shellcheck disable=SC2086
	$CC -std=c11 $flags $cflags -o static tour.c $libs >cc.out 2>&1 ||
		die "tour.c against the static library" cc.out
	rm -rf "$top/store"*
	./static "$top/store" || die "tour, static"
fi

cairn=$top/root$prefix/bin/cairn
if [ -x "$cairn" ]; then
	"$cairn" verify "$top/store" >verify.out 2>&1 ||
		die "the installed command refuses the store" verify.out
fi
cd - >/dev/null || exit 1
env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make -s uninstall \
	DESTDIR="$top/root" >"$top/install.out" 2>&1 ||
	die "make uninstall" "$top/install.out"
left=$(find "$top/root" ! -type d)
[ -z "$left" ] || die "uninstalling leaves $left"
echo "PASS"
