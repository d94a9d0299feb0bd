#!/usr/bin/env bash
# translation.sh DATA TRAINED OUT [PERCENT...]: prunes so many percent (0 30 50) of the neurons of a translation model.
# DATA is what examples/multi30k/prepare.sh made, TRAINED a checkpoint of examples/multi30k/train.sh. Each model trains
# UPDATES (552, two epochs) more, of which the first quarter prunes. Makes OUT/PERCENT/{shrunk.pt,scores.txt}; a run
# that was cut off repeats the model that it was at and no other.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/../common/steps.sh"
[ $# -ge 3 ] || fail "usage: translation.sh DATA TRAINED OUT [PERCENT...]"
data=$1 trained=$2 out=$3 updates=${UPDATES:-552}
percents=("${@:4}")
[ ${#percents[@]} -gt 0 ] || percents=(0 30 50)
require "$data/binary/dict.de.txt" "$trained"

# prune PERCENT FOLDER
prune() {
  UPDATES=$updates bash "$here/../multi30k/train.sh" "$data" "$2" --finetune-from-model "$trained" \
    --warmup-updates $((updates / 20)) --lr 5e-4 --no-save-optimizer-state --keep-last-epochs 1 \
    --criterion label_smoothed_cross_entropy_with_pruning --pruning-target "$(printf '%d.%02d' $(($1 / 100)) $(($1 % 100)))" \
    --pruning-end $((updates / 4))
  if [ "$1" = 0 ]; then
    cp "$2/checkpoints/checkpoint_last.pt" "$2/shrunk.pt"
  else
    fairseq-lite shrink "$2/checkpoints/checkpoint_last.pt" "$2/shrunk.pt"
  fi
  generate "$data/binary" "$2/shrunk.pt" --beam 5 "$2/test.log"
  hypotheses "$2/test.log" "$2/translation.de"
  sacrebleu "$data/reference.de" --input "$2/translation.de" --metrics bleu >"$2/scores.txt"
  fairseq-lite mult-adds "$2/shrunk.pt" >>"$2/scores.txt"
}

mkdir -p "$out"
for percent in "${percents[@]}"; do
  once prune "$percent" "$out/$percent"
  cat "$out/$percent/scores.txt"
done
models=("${percents[@]/#/$out/}")
fairseq-lite latency "${models[@]/%//shrunk.pt}" --threads 1
