#!/usr/bin/env bash
# run.sh DATA TEACHER OUT [FAIRSEQ_TRAIN_OPTION...]: translates the training set by a teacher's beam, trains students on
# the translations and on the references, and prints BLEU. DATA is what examples/multi30k/prepare.sh made, TEACHER a
# checkpoint of its dictionaries. TARGETS, BEAM and SHARDS are read from the environment, and what
# examples/multi30k/train.sh reads. A run that was cut off repeats the shard, or goes on with the training, that it was at.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/../common/steps.sh"
[ $# -ge 3 ] || fail "usage: run.sh DATA TEACHER OUT [FAIRSEQ_TRAIN_OPTION...]"
data=$1 teacher=$2 out=$3 options=("${@:4}") beam=${BEAM:-5} shards=${SHARDS:-10}
require "$data"/binary/dict.{en,de}.txt "$data"/text/train.{en,de} "$data/reference.de" "$teacher"

# translated SHARD NBEST: what the teacher's beam holds at the end, in subwords, for every SHARDSth batch.
# fairseq-generate shards by the options of distributed training and ignores --num-shards.
translated() {
  fairseq-generate "$data/binary" --user-dir fairseq_lite --path "$teacher" --gen-subset train \
    --beam "$beam" --nbest "$beam" --max-len-a 1.2 --max-len-b 10 --skip-invalid-size-inputs-valid-test \
    --distributed-world-size "$shards" --distributed-rank "$1" | grep '^H-' >"$2"
}

picked() {
  python "$here/targets.py" "$1" --references "$data/text/train.de" "$out"/nbest/*-of-"$shards" "$2"
}

# binarised TEXT BINARY: with the dictionaries of DATA, so that the teacher's words keep their numbers.
binarised() {
  fairseq-preprocess --source-lang en --target-lang de --srcdict "$data/binary/dict.en.txt" \
    --tgtdict "$data/binary/dict.de.txt" --trainpref "$1/train" --validpref "$data/text/valid" --destdir "$2"
}

# distil best|nearest: makes OUT/PICK/binary from the translations.
distil() {
  local shard
  for ((shard = 0; shard < shards; shard++)); do
    once translated "$shard" "$out/nbest/$shard-of-$shards"
  done
  once picked "$1" "$out/$1/text/train.de"
  once cp "$data/text/train.en" "$out/$1/text/train.en"
  once binarised "$out/$1/text" "$out/$1/binary"
}

# student FOLDER FROM: trains on FROM/binary and prints BLEU of the test set.
student() {
  bash "$here/../multi30k/train.sh" "$2" "$1" "${options[@]}"
  generate "$data/binary" "$1/checkpoints/checkpoint_last.pt" --beam 5 "$1/test.log"
  hypotheses "$1/test.log" "$1/translation.de"
  local bleu
  bleu=$(sacrebleu "$data/reference.de" --input "$1/translation.de" --metrics bleu --score-only)
  echo "$(basename "$1") $bleu"
}

for targets in ${TARGETS:=references best nearest}; do
  [[ $targets =~ ^(references|best|nearest)$ ]] || fail "TARGETS: $targets is none of references best nearest"
done
for targets in $TARGETS; do
  from=$data
  if [ "$targets" != references ]; then
    distil "$targets"
    from=$out/$targets
  fi
  student "$out/$targets" "$from"
done
