#!/usr/bin/env bash
# A language model on the English strings of the quick start, and its perplexity on the test set.
# run.sh [OUT [QUICKSTART_OUT]]: takes over the corpus and the subwords of the quick start if they are there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source examples/quickstart/steps.sh

out=${1:-examples/language_model/work}
quickstart=${2:-examples/quickstart/work}

take_english() {
  local split
  mkdir "$1"
  for split in train valid test; do cp "$quickstart/text/$split.en" "$1/$split.txt"; done
}

train() {
  train_on_two_cores "$out" \
    --task language_modeling --arch lite_transformer_lm --share-decoder-input-output-embed \
    --decoder-embed-dim 128 --decoder-layers 4 --decoder-attention-heads 4 --decoder-conv-glu \
    --decoder-kernel-sizes 3,7,15,31 --dropout 0.1 \
    --optimizer adam --adam-betas '(0.9, 0.98)' --clip-norm 1.0 \
    --lr 3e-3 --lr-scheduler polynomial_decay --warmup-updates 100 \
    --total-num-update 800 --max-update 800 \
    --tokens-per-sample 128 --max-tokens 1024
  cp "$out/checkpoints/checkpoint_best.pt" "$1"
}

perplexity() {
  fairseq-eval-lm "$out/binary" --user-dir fairseq_lite --path "$out/model.pt" --gen-subset test \
    --tokens-per-sample 128 --max-tokens 2048 >"$1"
}

prepare_quickstart "$quickstart"
once take_english "$out/text"
once binarise_text "$out/text" "$out/binary"

say "Training: $out/train.log"
once train "$out/model.pt"

say "Perplexity and Mult-Adds: $out/test.log"
once perplexity "$out/test.log"
grep -o 'Loss .*' "$out/test.log"
fairseq-lite mult-adds "$out/model.pt"
