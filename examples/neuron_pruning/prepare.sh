#!/usr/bin/env bash
# prepare.sh BERT RAW DATA: converts a BERT and binarises sentences with their classes.
# BERT is a folder of config.json, model.safetensors and vocab.txt (uncased); RAW has {train,valid,test}.{text,label}.
# Makes DATA/{pretrained,text,binary}; a second run reuses what is there.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/../common/steps.sh"
[ $# = 3 ] || fail "usage: prepare.sh BERT RAW DATA"
bert=$1 raw=$2 data=$3
require "$bert/config.json" "$bert/model.safetensors" "$bert/vocab.txt"
for split in train valid test; do require "$raw/$split.text" "$raw/$split.label"; done

# split_into_pieces TEXT_DIR: sentences as word pieces, with their classes, the shortest first. Batches of one length
# have no padding, which would be half of them otherwise; training takes them in random order.
split_into_pieces() {
  local split
  mkdir "$1"
  for split in train valid test; do
    python "$here/wordpiece.py" "$bert/vocab.txt" "$raw/$split.text" "$1/pieces"
    paste "$raw/$split.label" "$1/pieces" | awk -F '\t' '{ print split($2, words, " ") "\t" $0 }' |
      sort --stable --numeric-sort --key 1,1 >"$1/sorted"
    cut -f 2 "$1/sorted" >"$1/$split.label"
    cut -f 3 "$1/sorted" >"$1/$split.text"
    rm "$1/pieces" "$1/sorted"
  done
}

# binarise KIND [FAIRSEQ_PREPROCESS_OPTION...] BINARY_DIR
binarise() {
  fairseq-preprocess --only-source --trainpref "$data/text/train.$1" --validpref "$data/text/valid.$1" \
    --testpref "$data/text/test.$1" "${@:2:$#-2}" --destdir "${!#}"
}

once fairseq-lite convert bert "$bert" "$data/pretrained"
once split_into_pieces "$data/text"
once binarise text --srcdict "$data/pretrained/dict.txt" "$data/binary/input0"
once binarise label --padding-factor 1 "$data/binary/label"
