#!/usr/bin/env bash
# sweep.sh DATA OUT [FAIRSEQ_TRAIN_OPTION...]: one model of train.sh for each question of the README, in OUT.
# JOBS run at a time. A run that was cut off repeats the models that it was at and no other.
set -euo pipefail
[ $# -ge 2 ] || { echo "usage: sweep.sh DATA OUT [FAIRSEQ_TRAIN_OPTION...]" >&2; exit 2; }
data=$1 out=$2 more=("${@:3}")
source "$(dirname "${BASH_SOURCE[0]}")/steps.sh"
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
# glibc gives a large block back to the system when it is freed; each batch would fault it in again.
export MALLOC_MMAP_THRESHOLD_=1000000000 MALLOC_TRIM_THRESHOLD_=1000000000
trap 'trap - TERM; kill 0' INT TERM
failed=0

# start NAME [FAIRSEQ_TRAIN_OPTION...]: begins when fewer than JOBS are running.
start() {
  while [ "$(jobs -rp | wc -l)" -ge "${JOBS:-2}" ]; do wait -n || failed=1; done
  bash "$here/train.sh" "$data" "$out/$1" "${more[@]}" "${@:2}" &
}

# neurons NAME FORTIETHS [FAIRSEQ_TRAIN_OPTION...]: prunes during so many fortieths of the training, twice an epoch.
neurons() {
  local end=$((updates * $2 / 40))
  start "$1" --criterion sentence_prediction_with_pruning \
    --pruning-start 0 --pruning-end "$end" --pruning-steps $((2 * $2)) "${@:3}"
}

# weights NAME TARGET: prunes single weights at once, where neurons would be through.
weights() {
  local at=$((updates / 4))
  start "$1" --criterion sentence_prediction_with_pruning --pruning-granularity weight \
    --pruning-importance magnitude --pruning-start "$at" --pruning-end "$at" --pruning-steps 1 --pruning-target "$2"
}

mkdir -p "$out"
start dense
for percent in 60 30 80; do neurons "neurons-$percent" 10 --pruning-target "0.$percent"; done
neurons qk-100 10 --pruning-components q,k --pruning-target 1
neurons i-100 10 --pruning-components i --pruning-target 1
for percent in 50 90; do neurons "neurons-$percent" 10 --pruning-target "0.$percent"; done
for percent in 50 80; do weights "weights-$percent" "0.$percent"; done
for fortieths in 1 25; do neurons "neurons-60-in-$fortieths" "$fortieths" --pruning-target 0.6; done
while [ -n "$(jobs -rp)" ]; do wait -n || failed=1; done
exit "$failed"
