# What the comparisons share. Source this file under `set -euo pipefail`, after defining the steps `softmax FOLDER`,
# `finetune FEATURE_MAP SEED FOLDER`, `from_scratch FEATURE_MAP SEED FOLDER` and `evaluate FOLDER`.

# compare OUT: trains and evaluates the softmax model, then every feature map of MAPS with every seed of SEEDS, from
# the softmax model's weights and from scratch.
compare() {
  local out=$1 seed map start
  once softmax "$out/softmax"
  evaluate "$out/softmax"
  for seed in ${SEEDS:-1 2}; do
    for map in ${MAPS:-t2r rfa elu}; do
      for start in ${STARTS:-finetune from_scratch}; do
        once "$start" "$map" "$seed" "$out/$map-$start-$seed"
        evaluate "$out/$map-$start-$seed"
      done
    done
  done
}
