#!/usr/bin/env bash
# translation.sh DATA OUT [maps|ideas|lite]: trains a Transformer; then ones with a linear decoder. DATA is what
# examples/multi30k/prepare.sh made. By default the linear ones have each feature map, from the Transformer's weights
# and from scratch; with `ideas` each way to keep its quality, from its weights; with `lite` all are Lite Transformers
# of the same sizes. SEEDS, MAPS, STARTS, LINEAR (more options of linear attention) and IDEAS are read from the
# environment. A run that was cut off repeats the model that it was at.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/../common/steps.sh"
source "$here/steps.sh"
[[ $# -ge 2 && ${3:-maps} =~ ^(maps|ideas|lite)$ ]] || fail "usage: translation.sh DATA OUT [maps|ideas|lite]"
data=$1 out=$2 arch=transformer task=translation criterion=label_smoothed_cross_entropy
training=(2208 200 3e-3) finetuning=(414 50 1e-3)
require "$data/binary/dict.de.txt" "$data/reference.de"

train() {
  fairseq-train "$data/binary" --user-dir fairseq_lite --save-dir "${!#}" --share-all-embeddings \
    --encoder-embed-dim 128 --encoder-ffn-embed-dim 256 --encoder-layers 3 --encoder-attention-heads 4 \
    --decoder-embed-dim 128 --decoder-ffn-embed-dim 256 --decoder-layers 3 --decoder-attention-heads 4 \
    --encoder-normalize-before --decoder-normalize-before --dropout 0.1 \
    --optimizer adam --adam-betas '(0.9, 0.98)' --weight-decay 1e-4 --clip-norm 1.0 \
    --lr "$3" --lr-scheduler polynomial_decay --warmup-updates "$2" --total-num-update "$1" --max-update "$1" \
    --criterion "$criterion" --label-smoothing 0.1 \
    --max-tokens 2048 --num-workers 0 --no-epoch-checkpoints "${@:4:$#-4}"
}

evaluate() {
  generate "$data/binary" "$1/checkpoint_last.pt" --beam 5 "$1/test.log"
  hypotheses "$1/test.log" "$1/translation.de"
  local bleu
  bleu=$(sacrebleu "$data/reference.de" --input "$1/translation.de" --metrics bleu --score-only)
  echo "$(basename "$1") $bleu"
}

exp="--arch t2r_transformer_exp" both="--linear-attention causal,cross"
declare -A ideas=(
  [softmax]="--arch transformer"
  [softmax-logits]="--arch transformer $(logits)"
  [past-t2r]="--arch t2r_transformer --linear-attention causal"
  [past-exp]="$exp"
  [past-exp-transfer]="$exp $(transfer)"
  [past-exp-transfer-logits]="$exp $(transfer) $(logits)"
  [past-exp-transfer-window]="$exp $(transfer) --causal-window 4"
  [both-t2r]="--arch t2r_transformer $both"
  [both-t2r-64]="--arch t2r_transformer $both --causal-feature-dim 64 --cross-feature-dim 64"
  [both-t2r-64-transfer]="--arch t2r_transformer $both --causal-feature-dim 64 --cross-feature-dim 64 $(transfer)"
  [both-exp]="$exp $both"
  [both-exp-transfer]="$exp $both $(transfer)"
  [both-exp-transfer-logits]="$exp $both $(transfer) $(logits)"
  [both-exp-transfer-window]="$exp $both $(transfer) --causal-window 4"
  [both-exp-transfer-window-logits]="$exp $both $(transfer) --causal-window 4 $(logits)"
  [both-hedgehog-transfer]="$exp $both $(transfer) --feature-map hedgehog"
)
compare=${3:-maps}
if [ "$compare" = lite ]; then
  arch="lite_transformer --encoder-kernel-sizes 3,7,15 --decoder-kernel-sizes 3,7,15" compare=ideas
  exp="--arch $arch --decoder-feature-map exp --causal-feature-dim 64 --cross-feature-dim 64 $(transfer)"
  past="$exp --linear-attention causal"
  ideas=(
    [softmax]="--arch $arch"
    [softmax-logits]="--arch $arch $(logits)"
    [past-exp-transfer]="$past"
    [past-exp-transfer-logits]="$past $(logits)"
    [past-exp-transfer-window]="$past --causal-window 4"
    [both-exp-transfer]="$exp --linear-attention causal,cross"
  )
fi
"compare_$compare"
