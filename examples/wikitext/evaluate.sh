#!/usr/bin/env bash
# evaluate.sh DATA OUT [FAIRSEQ_EVAL_LM_OPTION...]: test perplexity and Mult-Adds of what train.sh left in OUT.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../common/steps.sh"
[ $# -ge 2 ] || fail "usage: evaluate.sh DATA OUT [FAIRSEQ_EVAL_LM_OPTION...]"
require "$1/binary/dict.txt" "$2/checkpoints/checkpoint_best.pt"

fairseq-eval-lm "$1/binary" --user-dir fairseq_lite --path "$2/checkpoints/checkpoint_best.pt" --gen-subset test \
  --sample-break-mode complete --max-tokens 3072 --context-window 2560 --softmax-batch 1024 "${@:3}"
fairseq-lite mult-adds "$2/checkpoints/checkpoint_best.pt"
