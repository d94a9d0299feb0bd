#!/usr/bin/env bash
# train.sh DATA OUT [FAIRSEQ_TRAIN_OPTION...]: DATA is what prepare.sh made. ARCH, SEED and UPDATES are read
# from the environment; the options come last and so prevail. A training that was cut off goes on.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../common/steps.sh"
[ $# -ge 2 ] || fail "usage: train.sh DATA OUT [FAIRSEQ_TRAIN_OPTION...]"
require "$1/binary/dict.de.txt"

# The schedule ends with the training, so that a small budget is spent whole.
updates=${UPDATES:-1656}
fairseq-train "$1/binary" --user-dir fairseq_lite --save-dir "$2/checkpoints" \
  --arch "${ARCH:-lite_transformer_iwslt_de_en}" --share-all-embeddings \
  --seed "${SEED:-1}" --max-update "$updates" \
  --optimizer adam --adam-betas '(0.9, 0.98)' --weight-decay 1e-4 --clip-norm 1.0 \
  --lr 2e-3 --lr-scheduler polynomial_decay --warmup-updates 200 --total-num-update "$updates" \
  --encoder-normalize-before --decoder-normalize-before --dropout 0.1 \
  --criterion label_smoothed_cross_entropy --label-smoothing 0.1 \
  --max-tokens 2048 --num-workers 0 --keep-last-epochs 5 "${@:3}"
