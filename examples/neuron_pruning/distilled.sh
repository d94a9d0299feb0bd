#!/usr/bin/env bash
# distilled.sh DATA OUT [FAIRSEQ_TRAIN_OPTION...]: small models that learn from a dense one, which is trained first: pruned
# ones, one of every other layer, and a Bi-LSTM. DATA is what prepare.sh made. SEEDS (1 2), STUDENTS and what train.sh
# reads are read from the environment; the BERT has six layers. Makes OUT-SEED with a folder for each model; those that are there are kept.
set -euo pipefail
[ $# -ge 2 ] || { echo "usage: distilled.sh DATA OUT [FAIRSEQ_TRAIN_OPTION...]" >&2; exit 2; }
data=$1 out=$2 more=("${@:3}")
source "$(dirname "${BASH_SOURCE[0]}")/steps.sh"
students=${STUDENTS:-neurons-60 neurons-80 neurons-90 layers-3 bilstm}
layers=0:0,1:1,2:2,3:3,4:4,5:5
for name in $students; do
  [[ $name =~ ^(neurons-[1-9][0-9]|layers-3|bilstm)$ ]] ||
    fail "STUDENTS: $name is none of neurons-PERCENT (10 to 99), layers-3, bilstm"
done

# trained NAME [FAIRSEQ_TRAIN_OPTION...]
trained() {
  bash "$here/train.sh" "$data" "$of_seed/$1" --seed "$seed" "${more[@]}" "${@:2}"
}

# taught NAME [FAIRSEQ_TRAIN_OPTION...]: the dense model of the same seed is the teacher.
taught() {
  trained "$1" --criterion sentence_prediction_with_distillation --teacher "$of_seed/dense/model.pt" \
    --distillation-weight 0.9 --distillation-temperature 2 "${@:2}"
}

# student NAME: neurons-PERCENT, layers-3 or bilstm.
student() {
  case $1 in
    neurons-*)
      taught "$1" --finetune-from-model "$of_seed/dense/model.pt" --distillation-layers $layers \
        --criterion sentence_prediction_with_distillation_with_pruning --pruning-target "0.${1#*-}" \
        --pruning-start 0 --pruning-end $((updates / 4)) --pruning-steps 20
      ;;
    layers-3)
      once fairseq-lite take-layers "$of_seed/dense/model.pt" --encoder 0,2,4 "$of_seed/taken.pt"
      ENCODER="$encoder --encoder-layers 3" taught "$1" --finetune-from-model "$of_seed/taken.pt" \
        --distillation-layers 0:1,1:3,2:5
      ;;
    bilstm) MODEL=bilstm LEARNING_RATE=${LEARNING_RATE:-3e-3} taught "$1" ;;
  esac
}

for seed in ${SEEDS:-1 2}; do
  of_seed=$out-$seed
  mkdir -p "$of_seed"
  trained dense
  for name in $students; do student "$name"; done
done
