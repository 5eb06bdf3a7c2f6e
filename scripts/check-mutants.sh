#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Each guard that scripts/mutants takes out is still where its patch says.
exec "$(dirname "$0")/mutants" check
