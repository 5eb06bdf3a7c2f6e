#!/bin/sh
# The layer rule of ARCHITECTURE (engine/README.md): arrows only point down.
# Looks at every #include "..." and prints those that climb. Exit 1 if any.
set -u
cd "${1:-$(dirname "$0")/..}" || exit 2
bad=0

# allow FOLDER LIST: files in FOLDER may include only from LIST and FOLDER.
allow() {
  folder=$1
  shift
  pattern="^\"($folder/|engine/cairn\.h\""
  for up in "$@"; do pattern="$pattern|$up"; done
  pattern="$pattern)"
  for f in "$folder"/*.[ch]; do
    [ -e "$f" ] || continue
    climbing=$(sed -n 's/^#[[:space:]]*include[[:space:]]*\("[^"]*"\).*/\1/p' "$f" |
      grep -Ev "$pattern" | grep -v '^"config\.h"$')
    if [ -n "$climbing" ]; then
      printf '%s includes %s\n' "$f" "$(echo "$climbing" | tr '\n' ' ')"
      bad=1
    fi
  done
}

b=engine/base/ e=engine/env/ k=engine/kv/ w=engine/wal/ m=engine/mem/
t=engine/table/ v=engine/version/ c=engine/compact/
allow engine/base
allow engine/env $b
allow engine/kv $b $e
allow engine/wal $b $e
allow engine/mem $b $k
allow engine/table $b $e $k
allow engine/version $b $e $k $w $t
allow engine/compact $b $e $k $m $t $v
allow engine/db $b $e $k $w $m $t $v $c
allow mvcc $b 'engine/env/env\.h"'
mv='mvcc/(mvcc|request|lease|watch|hash|import|sha256)\.h"'
allow fs/text $b "$mv"
allow fs/stats $b "$mv" fs/text/
allow fs/cmd $b "$mv" fs/text/ fs/stats/
allow fs/mount $b "$mv" fs/text/ fs/stats/ fs/cmd/
allow fs $b "$mv" fs/cmd/ fs/mount/

if grep -q '#[[:space:]]*include[[:space:]]*"' engine/cairn.h; then
  echo 'engine/cairn.h includes something of ours'
  bad=1
fi
exit $bad
