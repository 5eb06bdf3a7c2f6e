#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# The benchmark of revisions runs, and every answer it gets is right. What it
# measures in such a short time does not matter.
set -eu

scratch=$(mktemp -d "${TMPDIR:-/tmp}/cairn-bench-mvcc.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
tests/bench/bench-mvcc --alone --keys 2000 --rounds 1 --seconds 0.01 \
  --clients 1,4 --watchers 100 --scratch "$scratch"
