#!/usr/bin/env bash
# run.sh DATA TEACHER OUT [FAIRSEQ_TRAIN_OPTION...]: trains students on a teacher's translations of the training set and
# on the references, and prints BLEU. DATA and TEACHER are what translate.sh takes. TARGETS (references best nearest) is
# read from the environment, and what translate.sh and examples/multi30k/train.sh read. A run that was cut off goes on.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/../common/steps.sh"
[ $# -ge 3 ] || fail "usage: run.sh DATA TEACHER OUT [FAIRSEQ_TRAIN_OPTION...]"
data=$1 teacher=$2 out=$3 options=("${@:4}")
require "$data/reference.de" "$teacher"
for targets in ${TARGETS:=references best nearest}; do
  [[ $targets =~ ^(references|best|nearest)$ ]] || fail "TARGETS: $targets is none of references best nearest"
done

# student FOLDER FROM: trains on FROM/binary and prints BLEU of the test set.
student() {
  bash "$here/../multi30k/train.sh" "$2" "$1" "${options[@]}"
  generate "$data/binary" "$1/checkpoints/checkpoint_last.pt" --beam 5 "$1/test.log"
  hypotheses "$1/test.log" "$1/translation.de"
  local bleu
  bleu=$(sacrebleu "$data/reference.de" --input "$1/translation.de" --metrics bleu --score-only)
  echo "$(basename "$1") $bleu"
}

for targets in $TARGETS; do
  from=$data
  if [ "$targets" != references ]; then
    TARGETS=$targets bash "$here/translate.sh" "$data" "$teacher" "$out"
    from=$out/$targets
  fi
  student "$out/$targets" "$from"
done
