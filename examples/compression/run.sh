#!/usr/bin/env bash
# run.sh DATA CHECKPOINT OUT: BLEU and bytes of a translation model in fewer and fewer bits, as it is and finetuned for
# them. DATA is what examples/multi30k/prepare.sh made, and has CHECKPOINT's dictionaries. BITS (8 6 4 3), METHOD
# (kmeans) and UPDATES (414, of each finetuning) are read from the environment. A run that was cut off repeats the step that
# it was at and no other.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/../common/steps.sh"
[ $# = 3 ] || fail "usage: run.sh DATA CHECKPOINT OUT"
data=$1 checkpoint=$2 out=$3 updates=${UPDATES:-414} method=${METHOD:-kmeans}
require "$data/binary/dict.de.txt" "$data/reference.de" "$checkpoint"

# compressed CHECKPOINT BITS SMALL
compressed() {
  fairseq-lite compress "$1" "$3" --bits "$2" --method "$method" --entropy-code
}

# finetuned BITS CHECKPOINT: weights keep to so many bits in every update.
finetuned() {
  local options
  options=$(python "$common/continuing.py" "$checkpoint")
  train_translation "$data" "$updates" 3e-4 $options --criterion label_smoothed_cross_entropy \
    --quantize-finetune "$1" --quantize-method "$method" "$2"
}

# scored NAME CHECKPOINT SCORE: a line of the table: name, bytes, BLEU.
scored() {
  generate "$data/binary" "$2" --beam 5 "$2.log"
  hypotheses "$2.log" "$2.de"
  local bleu
  bleu=$(sacrebleu "$data/reference.de" --input "$2.de" --metrics bleu --score-only --width 2)
  printf '%s\t%s\t%s\n' "$1" "$(wc -c <"$2")" "$bleu" >"$3"
}

# report NAME CHECKPOINT: NAME is also that of a file.
report() {
  once scored "$1" "$2" "$out/$1.tsv"
  reports+=("$out/$1.tsv")
}

reports=()
once fairseq-lite average "$checkpoint" "$out/whole.pt"
report '32 bits' "$out/whole.pt"
for bits in ${BITS:-8 6 4 3}; do
  once compressed "$out/whole.pt" "$bits" "$out/$bits.pt"
  report "$bits bits" "$out/$bits.pt"
  once finetuned "$bits" "$out/finetuned-$bits.pt"
  once compressed "$out/finetuned-$bits.pt" "$bits" "$out/finetuned-$bits-packed.pt"
  report "$bits bits, finetuned" "$out/finetuned-$bits-packed.pt"
done
cat "${reports[@]}" >"$out/bits.tsv"
python "$here/summary.py" "$out/bits.tsv" --plot "$out/bits.png"
