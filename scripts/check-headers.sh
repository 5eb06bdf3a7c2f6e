#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Every header compiles alone.
set -u
cd "${1:-$(dirname "$0")/..}" || exit 2
# libfuse's headers are system headers to us: their warnings are not ours.
fuse=$(pkg-config --cflags fuse3 2>/dev/null | sed 's/-I/-isystem /g')
bad=0
for h in engine/*.h engine/*/*.h mvcc/*.h fs/*.h fs/*/*.h; do
  [ -e "$h" ] || continue
  printf '#include "%s"\n' "$h" |
    ${CC:-cc} -D_GNU_SOURCE -std=c11 -Wall -Wextra -Werror -I. $fuse \
      -fsyntax-only -x c - || { echo "$h does not compile alone"; bad=1; }
done
exit $bad
