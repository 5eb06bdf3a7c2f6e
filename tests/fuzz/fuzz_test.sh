#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Every fuzz target on its seeds and on some variations of them. Fuzzing in
# earnest is scripts/fuzz.
set -u

dir=tests/fuzz
found=${srcdir:-..}/tests/data/fuzz # what failed once
[ -x $dir/make_seeds ] || exit 77
seeds=$(mktemp -d "${TMPDIR:-/tmp}/cairn-seeds-XXXXXX") || exit 1
trap 'rm -rf "$seeds"' EXIT
$dir/make_seeds "$seeds" || exit 1

bad=0
n=0
for seed_dir in "$seeds"/*; do
  target=${seed_dir##*/}
  n=$((n + 1))
  [ ! -d "$found/$target" ] || cp "$found/$target"/* "$seed_dir/"
  if $dir/fuzz_"$target" -help=1 >/dev/null 2>&1; then
    $dir/fuzz_"$target" -max_total_time=1 -timeout=10 -verbosity=0 \
      "$seed_dir" || bad=1
  else
    $dir/fuzz_"$target" -runs=20000 -seconds=1 "$seed_dir" || bad=1
  fi
done
if [ $n -ne 14 ]; then
  echo "seeds for $n targets, should be 14"
  bad=1
fi
exit $bad
