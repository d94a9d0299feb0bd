# Steps that the examples share. Source this file under `set -euo pipefail`.
# A step takes the path it makes as its last argument, so that `once` can name it.

# fairseq's own use of hydra and torch raises a screen of deprecation warnings.
export PYTHONWARNINGS=${PYTHONWARNINGS:-ignore}

common=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

fail() {
  echo "$(basename "$0"): $*" >&2
  exit 2
}

# require FILE...: stops with one line when an input is missing or empty.
require() {
  local file
  for file; do [ -s "$file" ] || fail "'$file' is missing or empty"; done
}

# once STEP [ARGUMENT...] PATH: runs the step unless PATH exists. PATH appears only when the step
# has finished, so that a run that was cut off repeats the step it was in and no other.
once() {
  local path=${!#}
  [ ! -e "$path" ] || return 0
  mkdir -p "$(dirname "$path")"
  rm -rf "$path.part"
  "${@:1:$#-1}" "$path.part"
  mv "$path.part" "$path"
}

# learn_subwords VOCABULARY_SIZE TEXT... MODEL
learn_subwords() {
  python "$common/subwords.py" learn --vocab-size "$1" "${@:2}"
}

# encode_subwords MODEL TEXT ENCODED
encode_subwords() {
  python "$common/subwords.py" encode "$@"
}

# binarise_pair SOURCE TARGET TEXT_DIR [FAIRSEQ_PREPROCESS_OPTION...] BINARY_DIR
binarise_pair() {
  local text=$3
  fairseq-preprocess --source-lang "$1" --target-lang "$2" --trainpref "$text/train" \
    --validpref "$text/valid" --testpref "$text/test" "${@:4:$#-4}" --destdir "${!#}"
}

# binarise_text TEXT_DIR BINARY_DIR: {train,valid,test}.txt, for language models.
binarise_text() {
  fairseq-preprocess --only-source --trainpref "$1/train.txt" --validpref "$1/valid.txt" \
    --testpref "$1/test.txt" --destdir "$2"
}

# prepare_pair RAW OUT SOURCE TARGET VOCABULARY_SIZE [FAIRSEQ_PREPROCESS_OPTION...]
# Reads RAW/{train,valid,test}.{SOURCE,TARGET}; makes OUT/{subwords.model,text/,binary/,reference.TARGET}.
prepare_pair() {
  local raw=$1 out=$2 source=$3 target=$4 size=$5 split language
  for split in train valid test; do require "$raw/$split.$source" "$raw/$split.$target"; done
  once learn_subwords "$size" "$raw/train.$source" "$raw/train.$target" "$out/subwords.model"
  for split in train valid test; do
    for language in "$source" "$target"; do
      once encode_subwords "$out/subwords.model" "$raw/$split.$language" "$out/text/$split.$language"
    done
  done
  once binarise_pair "$source" "$target" "$out/text" "${@:6}" "$out/binary"
  once cp "$raw/test.$target" "$out/reference.$target"
}

# train_translation DATA UPDATES LEARNING_RATE FAIRSEQ_TRAIN_OPTION... CHECKPOINT: without the optimizer's state.
train_translation() {
  local data=$1 updates=$2 folder="${!#}.training"
  fairseq-train "$data/binary" --user-dir fairseq_lite --save-dir "$folder" --share-all-embeddings \
    --optimizer adam --adam-betas '(0.9, 0.98)' --weight-decay 1e-4 --clip-norm 1.0 --dropout 0.1 \
    --lr "$3" --lr-scheduler polynomial_decay --warmup-updates $((updates / 20)) --total-num-update "$updates" \
    --max-update "$updates" --label-smoothing 0.1 --max-tokens 2048 --num-workers 0 --no-epoch-checkpoints \
    "${@:4:$#-4}"
  fairseq-lite average "$folder/checkpoint_last.pt" "${!#}"
}

# generate BINARY_DIR CHECKPOINT [FAIRSEQ_GENERATE_OPTION...] LOG: decodes the test set.
# fairseq tokenises before it calls sacrebleu, which then warns that it was given tokens.
generate() {
  fairseq-generate "$1" --user-dir fairseq_lite --path "$2" --gen-subset test \
    --remove-bpe=sentencepiece --scoring sacrebleu "${@:3:$#-3}" \
    >"${!#}" 2> >(grep -v '^WARNING:sacrebleu' >&2)
}

# hypotheses LOG TEXT: the translations in a log of fairseq-generate or -interactive, in the order of the input.
hypotheses() {
  grep '^D-' "$1" | sort -t- -k2,2n | cut -f3- >"$2"
}

# evaluate_pair DATA OUT TARGET TOKENIZER LAST [FAIRSEQ_GENERATE_OPTION...]
# Averages the LAST checkpoints of OUT/checkpoints, translates the test set of DATA and scores it by sacrebleu.
evaluate_pair() {
  local data=$1 out=$2 target=$3 tokenizer=$4 last=$5
  require "$data/binary/dict.$target.txt" "$data/reference.$target"
  fairseq-lite average "$out/checkpoints" --last "$last" "$out/averaged.pt"
  generate "$data/binary" "$out/averaged.pt" "${@:6}" "$out/test.log"
  hypotheses "$out/test.log" "$out/translation.$target"
  sacrebleu "$data/reference.$target" --input "$out/translation.$target" --metrics bleu --width 2 \
    --tokenize "$tokenizer" $([ "$tokenizer" != none ] || echo --force)
  fairseq-lite mult-adds "$out/averaged.pt"
}
