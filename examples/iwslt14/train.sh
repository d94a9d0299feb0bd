#!/usr/bin/env bash
# train.sh DATA OUT [FAIRSEQ_TRAIN_OPTION...]: DATA is what prepare.sh made. ARCH, SEED and UPDATES are read
# from the environment; the options come last and so prevail. A training that was cut off goes on.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../common/steps.sh"
[ $# -ge 2 ] || fail "usage: train.sh DATA OUT [FAIRSEQ_TRAIN_OPTION...]"
require "$1/binary/dict.en.txt"

fairseq-train "$1/binary" --user-dir fairseq_lite --save-dir "$2/checkpoints" \
  --arch "${ARCH:-lite_transformer_iwslt_de_en}" \
  --seed "${SEED:-1}" --max-update "${UPDATES:-50000}" \
  --optimizer adam --adam-betas '(0.9, 0.98)' --weight-decay 1e-4 \
  --lr 5e-4 --lr-scheduler inverse_sqrt --warmup-updates 4000 --warmup-init-lr 1e-7 \
  --dropout 0.2 --criterion label_smoothed_cross_entropy --label-smoothing 0.1 \
  --max-tokens 4096 --keep-last-epochs 10 "${@:3}"
