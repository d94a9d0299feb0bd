#!/usr/bin/env bash
# train.sh DATA OUT [FAIRSEQ_TRAIN_OPTION...]: DATA is what prepare.sh made. ARCH, SEED and UPDATES are read
# from the environment; the options come last and so prevail. A training that was cut off goes on.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../common/steps.sh"
[ $# -ge 2 ] || fail "usage: train.sh DATA OUT [FAIRSEQ_TRAIN_OPTION...]"
require "$1/binary/dict.txt"

# The cosine spans what follows the warm-up. Adaptive softmax leaves parameters without gradients, which
# only legacy_ddp allows.
updates=${UPDATES:-286000}
fairseq-train "$1/binary" --user-dir fairseq_lite --save-dir "$2/checkpoints" \
  --task language_modeling --arch "${ARCH:-lite_transformer_lm_wiki103}" --criterion adaptive_loss \
  --seed "${SEED:-1}" --max-update "$updates" \
  --optimizer nag --clip-norm 0.1 \
  --lr 1.0 --lr-scheduler cosine --warmup-updates 16000 --warmup-init-lr 1e-7 --min-lr 1e-4 \
  --lr-period-updates $((updates - 16000)) \
  --sample-break-mode none --tokens-per-sample 3072 --max-tokens 3072 --update-freq 3 \
  --ddp-backend legacy_ddp --keep-last-epochs 2 "${@:3}"
