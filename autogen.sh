#!/bin/sh
# Make configure. Needed once after cloning.
cd "$(dirname "$0")" || exit 1
mkdir -p m4
exec autoreconf --install --force
