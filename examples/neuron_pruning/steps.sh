# What the scripts beside this one share. Source it under `set -euo pipefail`, after setting `data`, a folder that
# prepare.sh made. EPOCHS, of pruning and recovery together, and ENCODER, the sizes of the BERT, are read from the
# environment.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/../common/steps.sh"
require "$data/pretrained/model.pt" "$data/binary/label/dict.txt" "$data/text/train.label"

epochs=${EPOCHS:-8} batch=64
encoder=${ENCODER:---encoder-layers 6 --encoder-embed-dim 384 --encoder-ffn-embed-dim 1536 --encoder-attention-heads 12}
updates_per_epoch=$((($(wc -l <"$data/text/train.label") + batch - 1) / batch))
updates=$((epochs * updates_per_epoch))

# evaluate SPLIT CHECKPOINT... SCORES: a JSON object a line.
evaluate() {
  python "$here/evaluate.py" "$data/binary" "${@:2:$#-2}" --split "$1" --json >"${!#}"
}
