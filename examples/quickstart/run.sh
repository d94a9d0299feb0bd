#!/usr/bin/env bash
# The quick start: from an empty machine to a trained Lite Transformer, its BLEU and its Mult-Adds.
# run.sh [OUT]: a step whose result is in OUT is skipped; a training that was cut off goes on.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source examples/quickstart/steps.sh

here=examples/quickstart
out=${1:-$here/work}

model_options=(
  --arch lite_transformer --share-all-embeddings --encoder-embed-dim 160
  --encoder-layers 3 --encoder-kernel-sizes 3,7,15 --encoder-conv-glu --encoder-normalize-before
  --decoder-layers 3 --decoder-kernel-sizes 3,7,15 --decoder-conv-glu --decoder-normalize-before
)
# The Transformer that the Lite Transformer is compared with.
transformer_options=(
  --arch transformer --share-all-embeddings
  --encoder-embed-dim 160 --encoder-ffn-embed-dim 320 --encoder-layers 3 --encoder-attention-heads 4
  --decoder-embed-dim 160 --decoder-ffn-embed-dim 320 --decoder-layers 3 --decoder-attention-heads 4
)

training_options=(
  --dropout 0.1 --criterion label_smoothed_cross_entropy --label-smoothing 0.1
  --optimizer adam --adam-betas '(0.9, 0.98)' --clip-norm 1.0
  --lr 5e-3 --lr-scheduler polynomial_decay --warmup-updates 200
  --max-tokens 500 --required-batch-size-multiple 1
)

# train MODEL: 2,400 updates, or as many as fit in 500 seconds. The first 100 say how fast the machine is; the learning
# rate, which still rises then, falls to zero with the last update in any case.
train() {
  local training=(train_on_two_cores "$out" "${model_options[@]}" "${training_options[@]}" --stop-time-hours 0.16)
  if [ ! -s "$out/updates" ]; then
    "${training[@]}" --total-num-update 2400 --max-update 100 || return 1
    updates_within 500 2400 <"$out/train.log" >"$out/updates"
  fi
  "${training[@]}" --total-num-update "$(cat "$out/updates")" --max-update "$(cat "$out/updates")" || return 1
  cp "$out/checkpoints/checkpoint_last.pt" "$1"
}

translate_examples() {
  fairseq-interactive "$out/binary" --user-dir fairseq_lite --path "$out/model.pt" \
    --bpe sentencepiece --sentencepiece-model "$out/subwords.model" --beam 5 --input "$here/examples.en" >"$1"
}

# mult_adds CHECKPOINT_OR_OPTION... JSON: counted for 30 source and 30 target tokens.
mult_adds() {
  fairseq-lite mult-adds "${@:1:$#-1}" --src-len 30 --tgt-len 30 --json >"${!#}"
}

prepare_quickstart "$out"

say "Training: $out/train.log"
once train "$out/model.pt"

say "Translation of the test set: $out/test.log"
once generate "$out/binary" "$out/model.pt" --beam 5 "$out/test.log"
once hypotheses "$out/test.log" "$out/translation.de"
once translate_examples "$out/examples.log"
once hypotheses "$out/examples.log" "$out/examples.de"

say "Mult-Adds"
once mult_adds "$out/model.pt" "$out/mult-adds.json"
once mult_adds "${transformer_options[@]}" "$out/mult-adds-transformer.json"

python "$here/summary.py" "$out"
