#!/usr/bin/env bash
# run.sh DATA OUT [STEP...]: from a Transformer to a folder that runs without torch and fairseq, with what each step
# costs and gives. DATA is what examples/multi30k/prepare.sh made. The steps are student, pruned, recurrent and
# quantised, and each starts from the checkpoint before; without names student and pruned are made. TRANSFORMER (a
# checkpoint of your own), STUDENT, NEURONS, BITS, UPDATES and EXPORT are read from the environment. A run that was cut off
# repeats the step that it was at.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/../common/steps.sh"
[ $# -ge 2 ] || fail "usage: run.sh DATA OUT [STEP...]"
data=$1 out=$2 steps=("${@:3}")
[ ${#steps[@]} -gt 0 ] || steps=(student pruned)
for step in "${steps[@]}"; do
  [[ $step =~ ^(student|pruned|recurrent|quantised)$ ]] ||
    fail "$step: is no step; there are student, pruned, recurrent and quantised"
done
require "$data/binary/dict.de.txt" "$data/reference.de"
updates=${UPDATES:-5520} bits=${BITS:-4}
transformer=(--arch transformer --encoder-normalize-before --decoder-normalize-before
  --encoder-layers 3 --encoder-embed-dim 256 --encoder-ffn-embed-dim 1024 --encoder-attention-heads 4
  --decoder-layers 3 --decoder-embed-dim 256 --decoder-ffn-embed-dim 1024 --decoder-attention-heads 4)
student_options=(${STUDENT:---arch lite_transformer_edge})
teacher=(--teacher "$out/transformer.pt" --distillation-weight 0.5)
base=label_smoothed_cross_entropy

trained() {
  train_translation "$data" "$@"
}

# continuing CHECKPOINT [--recurrent]: options that finetune a checkpoint, whose sizes are taken from it. A step assigns
# them before it trains, for within another command's arguments a failure would go unseen.
continuing() {
  python "$common/continuing.py" "$@"
}

student() {
  trained "$updates" 2e-3 "${student_options[@]}" --encoder-normalize-before --decoder-normalize-before \
    --criterion ${base}_with_distillation "${teacher[@]}" "$2"
}

pruned() {
  local options
  options=$(continuing "$1")
  trained "$updates" 1e-3 $options --criterion ${base}_with_distillation_with_pruning "${teacher[@]}" \
    --pruning-target "${NEURONS:-0.3}" --pruning-end $((updates / 4)) "$2.masked"
  fairseq-lite shrink "$2.masked" "$2"
}

# A fifth of the updates trains the feature maps alone; the schedule is that of the rest.
recurrent() {
  local options length=$((updates / 4)) transfer=$((updates / 20))
  options=$(continuing "$1" --recurrent)
  trained "$length" 1e-3 $options --criterion ${base}_with_distillation "${teacher[@]}" \
    --attention-transfer kl --transfer-updates $transfer --total-num-update $((length - transfer)) "$2"
}

quantised() {
  local options
  options=$(continuing "$1")
  trained $((updates / 4)) 3e-4 $options --criterion ${base}_with_distillation "${teacher[@]}" \
    --quantize-finetune "$bits" "$2.full"
  fairseq-lite compress "$2.full" "$2" --bits "$bits" --entropy-code
}

# exported CHECKPOINT BITS FOLDER
exported() {
  fairseq-lite export "$1" "$3" --bits "$2" --data "$data/binary" --spm "$data/subwords.model" --beam 4
}

# measured CHECKPOINT [BITS]: exports it, in 32 bits or fewer, and translates the test set by the folder.
measured() {
  local name=$1${2:+-$2}
  once exported "$out/$1.pt" "${2:-32}" "$out/$name"
  once python "$here/measure.py" folder "$out/$name" "$data" "$out/$name.json"
  names+=("$name")
}

# first CHECKPOINT: the Transformer that all begins with.
first() {
  if [ -n "${TRANSFORMER:-}" ]; then
    fairseq-lite average "$TRANSFORMER" "$1"
  else
    trained "$updates" 2e-3 "${transformer[@]}" --criterion $base "$1"
  fi
}

once first "$out/transformer.pt"
once python "$here/measure.py" fairseq "$out/transformer.pt" "$data" "$out/fairseq.json"
names=(fairseq)
measured transformer
before=transformer
for step in "${steps[@]}"; do
  once "$step" "$out/$before.pt" "$out/$step.pt"
  measured "$step"
  before=$step
done
for few in ${EXPORT:-8 4}; do measured "$before" "$few"; done
python "$here/summary.py" "$out" "${names[@]}" --plot "$out/pipeline.png"
