#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Mounts with -o flat: the keys are at the top, all else is below .cairn, which
# is there and not listed. Needs /dev/fuse; CAIRN (or the first argument) is the
# program. Exit 77: skipped.
set -u

. "$(dirname "$0")/checks.sh"
[ "$fuse" ] || skip "/dev/fuse is not usable here"

D=$top/store
M=$top/mnt
C=$M/.cairn
export M C
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

start()
{
	check "mount" "$CAIRN" mount -q -o flat "$@" "$D" "$M"
	daemon=$(cat "$C/stats/pid")
}

stop()
{
	check "umount" "$CAIRN" umount "$M"
	daemon=
}

# ------------------------------------------------------------ what is where
start --create
is "nothing is listed in an empty store" "$(ls -A "$M")" ""
is "what is no key is there" "$(ls "$C" | tr '\n' ' ')" \
	"README ctl history levels revs stats "
refused "but no keys" 'No such file' ls "$C/keys"
is "README says so" "$(grep -c '^keys/' "$C/README") $(wc -l <"$C/README")" \
	"0 8"
echo 1 >"$M/a"
mkdir "$M/d"
echo 2 >"$M/d/b"
is "keys are at the top" "$(cd "$M" && find . | sort | tr '\n' ' ')" \
	". ./a ./d ./d/b "
check "a revision is the same tree" diff -r "$M" "$C/revs/latest/"
is "history" "$(cat "$C/history/d/b%@/latest")" 2
check "ctl" sh -c 'echo >"$C/ctl/flush"'
is "levels" "$(cat "$C/levels/L0/files")" 1
check "events" sh -c 'timeout 5 head -1 "$C/events" | grep -q wal_created'
is "df" "$(df --output=target "$M/d/b" | tail -1)" "$M"

# -------------------------------------------------------- the name .cairn
for how in 'mkdir .cairn' 'rmdir .cairn' 'mv d .cairn/..' 'rm -r .cairn' \
	'ln -s a .cairn/x' 'mv -T d .cairn' 'mv -T .cairn e' 'touch .cairn/x' \
	'echo >.cairn'; do
	checks=$((checks + 1))
	(cd "$M" && sh -c "$how") >"$top/out" 2>&1 && fail "$how succeeded"
done
check "it is there after all that" test -f "$C/stats/pid"
is "and the keys are" "$(ls "$M" | tr '\n' ' ')" "a d "
for key in .cairn/x .cairn %25.cairn %25%2525.cairn; do
	check "put $key" "$CAIRN" put "$M" "$key" "$key"
done
is "keys of that name are quoted" "$(ls "$M" | tr '\n' ' ')" \
	"%%25%2525.cairn %%25.cairn %.cairn a d "
is "and are what they are called" \
	"$(cat "$M/%.cairn/x" "$M/%.cairn/%=" "$M/%%25.cairn" \
		"$M/%%25%2525.cairn")" \
	".cairn/x.cairn%25.cairn%25%2525.cairn"
is "in the past as well" "$(cat "$C/revs/latest/%.cairn/x")" .cairn/x
is "and in history" "$(cat "$C/history/%.cairn%@/latest")" .cairn
echo deep >"$M/d/.cairn"
is "further down it is a name" "$("$CAIRN" get "$M" d/.cairn)" deep
check "made by name" sh -c 'echo new >"$M/%.cairn/y"'
is "is the key" "$("$CAIRN" get "$M" .cairn/y)" new
check "and removed" rm -r "$M/%.cairn"
exits "gone" 1 "$CAIRN" get "$M" .cairn
check "put again" "$CAIRN" put "$M" .cairn/z z
is "and seen at once" "$(cat "$M/%.cairn/z")" z

# ------------------------------------------------------ commands and changes
mkdir "$M/ctl"
echo not this >"$M/ctl/run"
is "get by the mount" "$("$CAIRN" get "$M" a)" 1
is "get by the data directory" "$("$CAIRN" get "$D" a)" 1
refused "what is absent" 'No such file' cat "$M/late"
check "is put" "$CAIRN" put "$D" late 1
is "and seen at once" "$(cat "$M/late")" 1
check "changed" "$CAIRN" put "$D" late 22
is "and seen at once" "$(cat "$M/late") $(stat -c %s "$M/late")" "22 2"
check "deleted" "$CAIRN" del "$D" late
check "and gone at once" test ! -e "$M/late"
refused "in a directory" 'No such file' cat "$M/d/late"
check "is put" "$CAIRN" put "$D" d/late 1
is "and seen at once" "$(cat "$M/d/late")" 1
ls -ld "$M" >/dev/null
check "chmod of the top" chmod 750 "$M"
is "is seen" "$(stat -c %a "$M")" 750
stop

# ----------------------------------------------------------- and not flat
check "mount" "$CAIRN" mount -q "$D" "$M"
daemon=$(cat "$M/stats/pid")
is "the same store" "$(cat "$M/keys/.cairn/z" "$M/keys/d/b")" "z2"
refused "there is no .cairn" 'No such file' ls "$C"
stop

# ------------------------------------------------------------- plain stores
D=$top/plain
check "a plain store" "$CAIRN" init --plain "$D"
check "put" "$CAIRN" put "$D" a 1
check "put" "$CAIRN" put "$D" d/b 2
start
is "what there is" "$(ls "$C" | tr '\n' ' ')$(ls "$M" | tr '\n' ' ')" \
	"README ctl levels stats a d "
refused "what is absent" 'No such file' cat "$M/e"
cat "$M/d/b" >"$top/out"
# No single keys are told of these.
check "a range is deleted" "$CAIRN" del "$M" --prefix d/
refused "gone at once" 'No such file' cat "$M/d/b"
check "put" "$CAIRN" put "$M" e 3
is "there at once" "$(cat "$M/e")" 3
if command -v ldb >/dev/null; then
	printf '%s\n' 'a ==> new' 'd/c ==> 4' 'g ==> 5' |
		ldb --db="$top/theirs" --create_if_missing write_extern_sst \
			"$top/one.sst" >/dev/null
	mkdir "$M/d"
	is "what was there" "$(cat "$M/a")" 1
	refused "what is absent" 'No such file' cat "$M/d/c"
	refused "what is absent" 'No such file' cat "$M/g"
	check "ingest" "$CAIRN" ingest "$M" "$top/one.sst"
	is "all of it is there at once" "$(cat "$M/a" "$M/d/c" "$M/g")" new45
	printf '%s\n' 'd/c ==> 6' |
		ldb --db="$top/theirs" write_extern_sst "$top/two.sst" \
			>/dev/null
	check "ctl/ingest" sh -c "echo $top/two.sst >\$C/ctl/ingest"
	is "is seen at once" "$(cat "$M/d/c")" 6
	check "and copied" test -f "$top/two.sst"
	for what in old new; do
		echo "d/c ==> $what" |
			ldb --db="$top/theirs" write_extern_sst \
				"$top/$what.sst" >/dev/null
	done
	# Without a new process between, so that it comes as soon as it can.
	is "nor a moment later" "$(
		for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
			for what in old new; do
				echo "$top/$what.sst" >"$C/ctl/ingest"
				read -r got <"$M/d/c"
				[ "$got" = "$what" ] ||
					echo "$i: $got, not $what"
			done
		done
	)" ""
	refused "a table that is not there" 'No such file' \
		sh -c "/bin/echo $top/no.sst >\$C/ctl/ingest"
	refused "what is no table" 'error' \
		sh -c "/bin/echo $CAIRN >\$C/ctl/ingest"
fi
stop

echo "$checks checks, $failed failed"
[ $failed = 0 ]
