#!/usr/bin/env bash
# prepare.sh RAW OUT: RAW holds {train,valid,test}.{source,target}, a text or its summary a line. WORDS (400), how many of
# a text are kept, and VOCABULARY (8000), the number of subwords, are read from the environment.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../common/steps.sh"
[ $# = 2 ] || fail "usage: prepare.sh RAW OUT"

# beginnings WORDS TEXT CUT: the first words of each line, single blanks between them.
beginnings() {
  awk -v words="$1" '{ if (NF > words) NF = words; $1 = $1; print }' "$2" >"$3"
}

for split in train valid test; do
  require "$1/$split.source" "$1/$split.target"
  once beginnings "${WORDS:-400}" "$1/$split.source" "$2/cut/$split.source"
  once cp "$1/$split.target" "$2/cut/$split.target"
done
prepare_pair "$2/cut" "$2" source target "${VOCABULARY:-8000}" --joined-dictionary
echo "$2/binary is ready for fairseq-train"
