# SPDX-License-Identifier: BSD-3-Clause
dist_check_SCRIPTS += scripts/check-layers.sh scripts/check-headers.sh \
	scripts/check-mutants.sh
EXTRA_DIST += scripts/bench-engine scripts/bench-fs scripts/bench-mvcc \
	scripts/campaign scripts/check scripts/coverage scripts/deps scripts/format.sh \
	scripts/fuzz scripts/mutants scripts/quickstart scripts/tee \
	engine/PITFALLS.md tests/engine/mutants

# Draws the layer rule, the self-contained headers and the patches that take
# guards out into make check.
TESTS += scripts/check-layers.sh scripts/check-headers.sh \
	scripts/check-mutants.sh

# What scripts/campaign runs, but make check does not.
EXTRA_DIST += tests/fs/kill_rounds.sh
