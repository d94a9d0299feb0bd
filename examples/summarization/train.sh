#!/usr/bin/env bash
# train.sh DATA OUT [FAIRSEQ_TRAIN_OPTION...]: DATA is what prepare.sh made. MODEL (lite or transformer), SEED and UPDATES
# are read from the environment; the options come last and so prevail. A training that was cut off goes on.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../common/steps.sh"
[ $# -ge 2 ] || fail "usage: train.sh DATA OUT [FAIRSEQ_TRAIN_OPTION...]"
require "$1/binary/dict.target.txt"

# The published Lite Transformer at two fifths of its width; a Transformer of its Mult-Adds and parameters.
declare -A models=(
  [lite]="--arch lite_transformer_cnndm --encoder-embed-dim 200"
  [transformer]="--arch transformer --encoder-embed-dim 128 --encoder-ffn-embed-dim 512 --encoder-attention-heads 4
    --decoder-embed-dim 128 --decoder-ffn-embed-dim 512 --decoder-attention-heads 4"
)
model=${models[${MODEL:-lite}]:-}
[ -n "$model" ] || fail "MODEL=$MODEL: is none of ${!models[*]}"

updates=${UPDATES:-5400}
# Even at 400 words a few texts have more subwords than a model has positions: they are cut there.
fairseq-train "$1/binary" --user-dir fairseq_lite --save-dir "$2/checkpoints" \
  --truncate-source $model --share-all-embeddings --dropout 0.15 --attention-dropout 0.1 \
  --encoder-normalize-before --decoder-normalize-before \
  --seed "${SEED:-1}" --max-update "$updates" \
  --optimizer adam --adam-betas '(0.9, 0.98)' --weight-decay 1e-4 --clip-norm 1.0 \
  --lr 1e-3 --lr-scheduler polynomial_decay --warmup-updates 400 --total-num-update "$updates" \
  --criterion label_smoothed_cross_entropy --label-smoothing 0.1 \
  --max-tokens 4096 --num-workers 0 --no-epoch-checkpoints "${@:3}"
