#!/usr/bin/env bash
# run.sh DATA OUT: from a Transformer to a Lite Transformer of a few hundred kilobytes, with BLEU and bytes of each step.
# DATA is what examples/multi30k/prepare.sh made. UPDATES, NEURONS and WEIGHTS are read from the environment. A run that
# was cut off repeats the step that it was at and no other.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/../common/steps.sh"
[ $# = 2 ] || fail "usage: run.sh DATA OUT"
data=$1 out=$2 updates=${UPDATES:-1656} neurons=${NEURONS:-0.3} weights=${WEIGHTS:-0.3}
require "$data/binary/dict.de.txt" "$data/reference.de"
mkdir -p "$out"

transformer=(--encoder-layers 3 --encoder-embed-dim 256 --encoder-ffn-embed-dim 1024 --encoder-attention-heads 4
  --decoder-layers 3 --decoder-embed-dim 256 --decoder-ffn-embed-dim 1024 --decoder-attention-heads 4)
pruning=(--criterion label_smoothed_cross_entropy_with_pruning --pruning-target "$neurons" --pruning-end $((updates / 4)))

# trained ARCH [FAIRSEQ_TRAIN_OPTION...] CHECKPOINT: trains as examples/multi30k does; without the optimizer's state.
trained() {
  local folder="${!#}.training"
  ARCH=$1 UPDATES=$updates bash "$here/../multi30k/train.sh" "$data" "$folder" "${@:2:$#-2}"
  fairseq-lite average "$folder/checkpoints" --last 1 "${!#}"
}

# compressed CHECKPOINT [OPTION...] CHECKPOINT
compressed() {
  fairseq-lite compress "$1" "${!#}" "${@:2:$#-2}"
}

shrunk() {
  fairseq-lite shrink "$1" "$2"
}

translated() {
  generate "$data/binary" "$1" --beam 5 "$2"
}

# report NAME CHECKPOINT: a line of the table: name, bytes on disk, BLEU.
report() {
  once translated "$2" "$2.log"
  hypotheses "$2.log" "$2.de"
  local bleu
  bleu=$(sacrebleu "$data/reference.de" --input "$2.de" --metrics bleu --score-only --width 2)
  printf '%s\t%s\t%s\n' "$1" "$(wc -c <"$2")" "$bleu" >>"$out/chain.part"
}

rm -f "$out/chain.part"
# The Transformer goes on for as long as pruning and recovery take: what is compared has had the same training.
once trained transformer "${transformer[@]}" "$out/transformer-half.pt"
once trained transformer "${transformer[@]}" --finetune-from-model "$out/transformer-half.pt" "$out/transformer.pt"
report 'Transformer' "$out/transformer.pt"
once trained lite_transformer_iwslt_de_en "$out/lite.pt"
report 'Lite Transformer' "$out/lite.pt"
once trained lite_transformer_iwslt_de_en --finetune-from-model "$out/lite.pt" "${pruning[@]}" "$out/masked.pt"
once shrunk "$out/masked.pt" "$out/shrunk.pt"
report 'neurons pruned' "$out/shrunk.pt"
for bits in 8 6 4; do
  once compressed "$out/shrunk.pt" --prune-weights "$weights" --bits $bits "$out/$bits-bits.pt"
  report "weights pruned, $bits bits" "$out/$bits-bits.pt"
done
once compressed "$out/shrunk.pt" --prune-weights "$weights" --bits 4 --entropy-code "$out/entropy-coded.pt"
report 'entropy coded' "$out/entropy-coded.pt"
mv "$out/chain.part" "$out/chain.tsv"

fairseq-lite size "$out"/{transformer,lite,shrunk,8-bits,6-bits,4-bits,entropy-coded}.pt --dict "$data/binary/dict.de.txt"
python "$here/summary.py" "$out/chain.tsv" --plot "$out/chain.png"
