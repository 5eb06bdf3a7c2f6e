#!/bin/sh
# Every header compiles alone. Needs CC and, from make, the flags of the build.
set -u
cd "${1:-$(dirname "$0")/..}" || exit 2
bad=0
for h in engine/*.h engine/*/*.h mvcc/*.h fs/*.h; do
  [ -e "$h" ] || continue
  printf '#include "%s"\n' "$h" |
    ${CC:-cc} -std=gnu11 -Wall -Wextra -Werror -I. ${CPPFLAGS:-} \
      -fsyntax-only -x c - || { echo "$h does not compile alone"; bad=1; }
done
exit $bad
