#!/usr/bin/env bash
# language_model.sh DATA OUT [maps|ideas|lite]: trains a softmax language model; then linear ones. DATA is what
# examples/wikitext/prepare.sh made. By default the linear ones have each feature map, from the softmax model's
# weights and from scratch; with `ideas` each way to keep its quality, from its weights; with `lite` all are Lite
# Transformers of the same sizes. SEEDS, MAPS, STARTS, LINEAR (more options of linear attention) and IDEAS are read
# from the environment. A run that was cut off repeats the model that it was at.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/../common/steps.sh"
source "$here/steps.sh"
[[ $# -ge 2 && ${3:-maps} =~ ^(maps|ideas|lite)$ ]] || fail "usage: language_model.sh DATA OUT [maps|ideas|lite]"
data=$1/binary out=$2 arch=transformer_lm task=language_modeling criterion=adaptive_loss
training=(2040 200 4e-3) finetuning=(510 50 1e-3)
require "$data/dict.txt"

train() {
  fairseq-train "$data" --user-dir fairseq_lite --save-dir "${!#}" \
    --decoder-layers 4 --decoder-attention-heads 4 --decoder-normalize-before \
    --decoder-embed-dim 128 --decoder-input-dim 128 --decoder-output-dim 128 --decoder-ffn-embed-dim 512 \
    --adaptive-input --adaptive-input-cutoff 2000,10000 --adaptive-softmax-cutoff 2000,10000 \
    --tie-adaptive-weights --criterion "$criterion" --ddp-backend legacy_ddp --dropout 0 \
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

t2r="--arch t2r_transformer_lm" exp="--arch t2r_transformer_lm_exp"
declare -A ideas=(
  [softmax]="--arch transformer_lm"
  [softmax-logits]="--arch transformer_lm $(logits)"
  [t2r-32]="$t2r"
  [t2r-64]="$t2r --causal-feature-dim 64"
  [t2r-64-transfer]="$t2r --causal-feature-dim 64 $(transfer)"
  [exp]="$exp"
  [exp-transfer-alone]="$exp --attention-transfer kl --transfer-updates 100 --max-update 100"
  [exp-transfer]="$exp $(transfer)"
  [exp-transfer-mse]="$exp $(transfer mse)"
  [exp-transfer-longer]="$exp $(transfer kl 200)"
  [exp-128-transfer]="$exp --causal-feature-dim 128 $(transfer)"
  [exp-128-transfer-logits]="$exp --causal-feature-dim 128 $(transfer) $(logits)"
  [exp-transfer-logits]="$exp $(transfer) $(logits)"
  [exp-transfer-window]="$exp $(transfer) --causal-window 16"
  [exp-transfer-window-logits]="$exp $(transfer) --causal-window 16 $(logits)"
  [exp-transfer-first-softmax]="$exp $(transfer) --softmax-sublayers 0"
  [exp-transfer-one-softmax]="$exp $(transfer) --softmax-sublayers 2"
  [exp-transfer-one-softmax-logits]="$exp $(transfer) --softmax-sublayers 2 $(logits)"
  [exp-transfer-window-one-softmax]="$exp $(transfer) --causal-window 16 --softmax-sublayers 2"
  [hedgehog-transfer]="$exp $(transfer) --feature-map hedgehog"
)
compare=${3:-maps}
if [ "$compare" = lite ]; then
  arch="lite_transformer_lm --decoder-kernel-sizes 3,7,15,31" compare=ideas
  ideas=(
    [softmax]="--arch $arch"
    [exp-transfer]="--arch $arch --decoder-feature-map exp --causal-feature-dim 64 $(transfer)"
  )
fi
"compare_$compare"
