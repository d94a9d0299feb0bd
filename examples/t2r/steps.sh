# What the scripts beside this file share. Source it under `set -euo pipefail`, after setting
#   out         folder for everything
#   arch, task  architecture with softmax attention, options after it, and fairseq's task
#   training    updates, warm-up updates and learning rate of a model from scratch
#   finetuning  the same of a model finetuned from softmax attention
#   criterion   fairseq's
#   ideas       options of each idea by its name, for compare_ideas
# and defining `train UPDATES WARMUP LEARNING_RATE [FAIRSEQ_TRAIN_OPTION...] FOLDER` and `evaluate FOLDER`.

softmax() {
  train "${training[@]}" --task "$task" --arch $arch --seed 1 "$1"
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
compare_maps() {
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

# transfer [LOSS [UPDATES]]: the first updates train the feature maps alone, by default a quarter of a finetuning,
# rounded to fifties; the schedule is that of the rest.
transfer() {
  local updates=${2:-$((${finetuning[0]} / 4 / 50 * 50))}
  echo "--attention-transfer ${1:-kl} --transfer-updates $updates --total-num-update $((${finetuning[0]} - updates))"
}

logits() {
  echo "--criterion ${criterion}_with_distillation --teacher $out/softmax/checkpoint_last.pt"
}

# from_idea NAME SEED FOLDER
from_idea() {
  # word by word: options are words
  train "${finetuning[@]}" --task "finetune_$task" ${ideas[$1]} --seed "$2" \
    --pretrained "$out/softmax/checkpoint_last.pt" "$3"
}

# Trains and evaluates the softmax model, then from its weights every idea of IDEAS with every seed of SEEDS.
compare_ideas() {
  local seed name
  once softmax "$out/softmax"
  evaluate "$out/softmax"
  for seed in ${SEEDS:-1 2}; do
    for name in ${IDEAS:-$(printf '%s\n' "${!ideas[@]}" | sort)}; do
      [ -n "${ideas[$name]:-}" ] || fail "IDEAS: $name is none of ${!ideas[*]}"
      once from_idea "$name" "$seed" "$out/$name-$seed"
      evaluate "$out/$name-$seed"
    done
  done
}
