# What the two comparisons share. Source this file under `set -euo pipefail`, after setting
#   out         folder for everything
#   arch, task  fairseq's architecture with softmax attention, and its task
#   training    updates, warm-up updates and learning rate of a model from scratch
#   finetuning  the same of a model finetuned from softmax attention
# and defining `train UPDATES WARMUP LEARNING_RATE [FAIRSEQ_TRAIN_OPTION...] FOLDER` and `evaluate FOLDER`.

softmax() {
  train "${training[@]}" --task "$task" --arch "$arch" --seed 1 "$1"
}

# from_scratch FEATURE_MAP SEED FOLDER
from_scratch() {
  train "${training[@]}" --task "$task" --arch "t2r_$arch" --feature-map "$1" ${LINEAR:-} --seed "$2" "$3"
}

# finetuned FEATURE_MAP SEED FOLDER
finetuned() {
  train "${finetuning[@]}" --task "finetune_$task" --arch "t2r_$arch" --feature-map "$1" ${LINEAR:-} --seed "$2" \
    --pretrained "$out/softmax/checkpoint_last.pt" "$3"
}

# Trains and evaluates the softmax model, then every feature map of MAPS with every seed of SEEDS from every start.
compare() {
  local seed map start
  once softmax "$out/softmax"
  evaluate "$out/softmax"
  for seed in ${SEEDS:-1 2}; do
    for map in ${MAPS:-t2r rfa elu}; do
      for start in ${STARTS:-finetuned from_scratch}; do
        once "$start" "$map" "$seed" "$out/$map-$start-$seed"
        evaluate "$out/$map-$start-$seed"
      done
    done
  done
}
