#!/usr/bin/env bash
# language_model.sh DATA OUT: trains a softmax language model; then linear ones, from its weights and from scratch.
# DATA is what examples/wikitext/prepare.sh made. MAPS, SEEDS, STARTS and LINEAR (more options of linear
# attention) are read from the environment. A run that was cut off repeats the model that it was at and no other.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/../common/steps.sh"
source "$here/steps.sh"
[ $# = 2 ] || fail "usage: language_model.sh DATA OUT"
data=$1/binary out=$2 arch=transformer_lm task=language_modeling
training=(2040 200 4e-3) finetuning=(510 50 1e-3)
require "$data/dict.txt"

train() {
  fairseq-train "$data" --user-dir fairseq_lite --save-dir "${!#}" \
    --decoder-layers 4 --decoder-attention-heads 4 --decoder-normalize-before \
    --decoder-embed-dim 128 --decoder-input-dim 128 --decoder-output-dim 128 --decoder-ffn-embed-dim 512 \
    --adaptive-input --adaptive-input-cutoff 2000,10000 --adaptive-softmax-cutoff 2000,10000 \
    --tie-adaptive-weights --criterion adaptive_loss --ddp-backend legacy_ddp --dropout 0 \
    --optimizer adam --adam-betas '(0.9, 0.98)' --weight-decay 0.01 --clip-norm 1.0 \
    --lr "$3" --lr-scheduler polynomial_decay --warmup-updates "$2" --total-num-update "$1" --max-update "$1" \
    --sample-break-mode none --tokens-per-sample 256 --max-tokens 2048 --num-workers 0 --no-epoch-checkpoints \
    "${@:4:$#-4}"
}

evaluate() {
  echo -n "$(basename "$1") "
  fairseq-eval-lm "$data" --user-dir fairseq_lite --path "$1/checkpoint_last.pt" --gen-subset test \
    --sample-break-mode none --tokens-per-sample 256 --max-tokens 4096 2>&1 | grep -o 'Perplexity: .*'
}

compare
