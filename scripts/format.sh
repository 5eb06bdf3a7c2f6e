#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Hold the sources to .clang-format: "check" (default) lists what differs,
# "apply" changes it.
set -u
cd "$(dirname "$0")/.." || exit 2
files=$(git ls-files '*.[ch]')
case "${1:-check}" in
check) clang-format --dry-run -Werror $files ;;
apply) clang-format -i $files ;;
*)
  echo "usage: $0 [check|apply]" >&2
  exit 2
  ;;
esac
