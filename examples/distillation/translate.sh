#!/usr/bin/env bash
# translate.sh DATA TEACHER OUT: translates the training set by a teacher's beam and makes OUT/best and OUT/nearest for
# trainings. DATA is what examples/multi30k/prepare.sh made, TEACHER a checkpoint of its dictionaries. TARGETS (best
# nearest), BEAM and SHARDS are read from the environment. A run that was cut off repeats the shard that it was at.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/../common/steps.sh"
[ $# = 3 ] || fail "usage: translate.sh DATA TEACHER OUT"
data=$1 teacher=$2 out=$3 beam=${BEAM:-5} shards=${SHARDS:-10}
require "$data"/binary/dict.{en,de}.txt "$data"/text/train.{en,de} "$teacher"
for targets in ${TARGETS:=best nearest}; do
  [[ $targets =~ ^(best|nearest)$ ]] || fail "TARGETS: $targets is none of best nearest"
done

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

for ((shard = 0; shard < shards; shard++)); do
  once translated "$shard" "$out/nbest/$shard-of-$shards"
done
for targets in $TARGETS; do
  once picked "$targets" "$out/$targets/text/train.de"
  once cp "$data/text/train.en" "$out/$targets/text/train.en"
  once binarised "$out/$targets/text" "$out/$targets/binary"
done
