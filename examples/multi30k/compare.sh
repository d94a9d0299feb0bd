#!/usr/bin/env bash
# compare.sh DATA OUT [FAIRSEQ_TRAIN_OPTION...]: trains models and prints a table of their BLEU. DATA is what prepare.sh
# made. MODELS (those of the same Mult-Adds), SEEDS (1), UPDATES (5520, 20 epochs) and LEARN (DATA) are read from the
# environment. LEARN is what examples/distillation/translate.sh made, whose translations are learnt instead of the
# references. The options prevail. A run that was cut off goes on where it was.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/../common/steps.sh"
[ $# -ge 2 ] || fail "usage: compare.sh DATA OUT [FAIRSEQ_TRAIN_OPTION...]"
data=$1 out=$2 options=("${@:3}")

# sides LAYERS WIDTH FFN_WIDTH: of encoder and decoder.
sides() {
  local side
  for side in encoder decoder; do
    echo "--$side-layers $1 --$side-embed-dim $2 --$side-ffn-embed-dim $3 --$side-attention-heads 4"
  done
}

declare -A models=(
  [lite]="--arch lite_transformer_iwslt_de_en"
  [flat]="--arch transformer_flat_iwslt_de_en"
  [transformer-6]="--arch transformer $(sides 6 100 412)"
  [transformer-3]="--arch transformer $(sides 3 144 576)"
  [lightconv]="--arch lightconv $(sides 6 100 400) --encoder-layers 7"
  [evolved]="--arch evolved_transformer_mobile --encoder-embed-dim 96 --encoder-ffn-embed-dim 384
    --decoder-embed-dim 96 --decoder-ffn-embed-dim 384"
  [lite-240]="--arch lite_transformer_iwslt_de_en_240"
  [edge]="--arch lite_transformer_edge"
  [small-3-3]="--arch transformer $(sides 3 128 512)"
  [small-6-1]="--arch transformer $(sides 6 128 512) --decoder-layers 1"
)
for model in ${MODELS:=lite flat transformer-6 transformer-3 lightconv evolved}; do
  [ -n "${models[$model]:-}" ] || fail "MODELS: $model is none of ${!models[*]}"
done

learnt=${LEARN:-$data}
cmp -s "$learnt/binary/dict.de.txt" "$data/binary/dict.de.txt" ||
  fail "LEARN: '$learnt' has no dictionary like that of '$data'; give what translate.sh made of this data"

# evaluated MODEL SEED REPORT: word by word, options are words.
evaluated() {
  local folder=$out/$1-$2
  SEED=$2 UPDATES=${UPDATES:-5520} bash "$here/train.sh" "$learnt" "$folder" ${models[$1]} --dropout 0.2 "${options[@]}"
  bash "$here/evaluate.sh" "$data" "$folder" >"$3"
  generate "$data/binary" "$folder/averaged.pt" --beam 5 --gen-subset valid "$folder/valid.log"
  tail -n 1 "$folder/valid.log" >>"$3"
}

# row MODEL REPORT
row() {
  awk -v model="$1" -v OFS=' | ' '
    /"score":/ { sub(",", ""); test = $2 }
    /^Generate valid/ { sub(".*BLEU = ", ""); validation = $1 }
    $1 == "total" { mult_adds = $2 " " $3 }
    $1 == "without" { parameters = $3 " " $4 }
    END { print "| " model, mult_adds, parameters, validation, test " |" }' "$2"
}

for seed in ${SEEDS:-1}; do
  for model in $MODELS; do
    once evaluated "$model" "$seed" "$out/$model-$seed.txt"
  done
done
echo '| model | Mult-Adds | parameters without embeddings | validation BLEU | test BLEU |'
echo '|---|---|---|---|---|'
for seed in ${SEEDS:-1}; do
  for model in $MODELS; do row "$model, seed $seed" "$out/$model-$seed.txt"; done
done
