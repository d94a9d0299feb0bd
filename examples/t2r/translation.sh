#!/usr/bin/env bash
# translation.sh DATA OUT: trains a Transformer; then ones with a linear decoder, from its weights and from scratch.
# DATA is what examples/multi30k/prepare.sh made. MAPS, SEEDS, STARTS and LINEAR (more options of linear
# attention) are read from the environment. A run that was cut off repeats the model that it was at and no other.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/../common/steps.sh"
source "$here/steps.sh"
[ $# = 2 ] || fail "usage: translation.sh DATA OUT"
data=$1 out=$2 arch=transformer task=translation
training=(2208 200 3e-3) finetuning=(414 50 1e-3)
require "$data/binary/dict.de.txt" "$data/reference.de"

train() {
  fairseq-train "$data/binary" --user-dir fairseq_lite --save-dir "${!#}" --share-all-embeddings \
    --encoder-embed-dim 128 --encoder-ffn-embed-dim 256 --encoder-layers 3 --encoder-attention-heads 4 \
    --decoder-embed-dim 128 --decoder-ffn-embed-dim 256 --decoder-layers 3 --decoder-attention-heads 4 \
    --encoder-normalize-before --decoder-normalize-before --dropout 0.1 \
    --optimizer adam --adam-betas '(0.9, 0.98)' --weight-decay 1e-4 --clip-norm 1.0 \
    --lr "$3" --lr-scheduler polynomial_decay --warmup-updates "$2" --total-num-update "$1" --max-update "$1" \
    --criterion label_smoothed_cross_entropy --label-smoothing 0.1 \
    --max-tokens 2048 --num-workers 0 --no-epoch-checkpoints "${@:4:$#-4}"
}

evaluate() {
  generate "$data/binary" "$1/checkpoint_last.pt" --beam 5 "$1/test.log"
  hypotheses "$1/test.log" "$1/translation.de"
  echo "$(basename "$1") $(sacrebleu "$data/reference.de" --input "$1/translation.de" --metrics bleu --score-only)"
}

compare
