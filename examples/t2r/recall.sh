#!/usr/bin/env bash
# recall.sh OUT: makes a task of associative recall, trains a softmax language model on it, and from its weights each
# kind of linear attention. SEEDS and IDEAS are read from the environment. A run that was cut off repeats the model that
# it was at and no other.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/../common/steps.sh"
source "$here/steps.sh"
[ $# = 1 ] || fail "usage: recall.sh OUT"
data=$1/binary out=$1 arch=transformer_lm task=language_modeling criterion=cross_entropy
training=(1500 100 3e-3) finetuning=(500 50 1e-3)

train() {
  fairseq-train "$data" --user-dir fairseq_lite --save-dir "${!#}" \
    --decoder-layers 2 --decoder-attention-heads 2 --decoder-normalize-before --share-decoder-input-output-embed \
    --decoder-embed-dim 64 --decoder-input-dim 64 --decoder-output-dim 64 --decoder-ffn-embed-dim 128 \
    --criterion "$criterion" --ddp-backend legacy_ddp --dropout 0 \
    --optimizer adam --adam-betas '(0.9, 0.98)' --weight-decay 0.01 --clip-norm 1.0 \
    --lr "$3" --lr-scheduler polynomial_decay --warmup-updates "$2" --total-num-update "$1" --max-update "$1" \
    --sample-break-mode eos --tokens-per-sample 160 --max-tokens 2048 --num-workers 0 --no-epoch-checkpoints \
    "${@:4:$#-4}"
}

evaluate() {
  python "$here/recall.py" score "$data" "$1/checkpoint_last.pt"
}

once python "$here/recall.py" make "$out/raw"
once binarise_text "$out/raw" "$data"
t2r="--arch t2r_transformer_lm" exp="--arch t2r_transformer_lm_exp"
declare -A ideas=(
  [softmax]="--arch transformer_lm"
  [t2r-32]="$t2r"
  [t2r-64-transfer]="$t2r --causal-feature-dim 64 $(transfer)"
  [exp-transfer]="$exp $(transfer)"
  [exp-transfer-window]="$exp $(transfer) --causal-window 16"
  [exp-transfer-one-softmax]="$exp $(transfer) --softmax-sublayers 1"
  [hedgehog-transfer]="$exp $(transfer) --feature-map hedgehog"
)
compare_ideas
