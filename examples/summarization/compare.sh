#!/usr/bin/env bash
# compare.sh DATA OUT [FAIRSEQ_TRAIN_OPTION...]: trains each model of MODELS (lite transformer) and prints a table of
# Mult-Adds and ROUGE. DATA is what prepare.sh made. A run that was cut off goes on where it was.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/../common/steps.sh"
[ $# -ge 2 ] || fail "usage: compare.sh DATA OUT [FAIRSEQ_TRAIN_OPTION...]"
data=$1 out=$2 options=("${@:3}")

# evaluated MODEL REPORT: what evaluate.sh prints of the trained model.
evaluated() {
  MODEL=$1 bash "$here/train.sh" "$data" "$out/$1" "${options[@]}"
  bash "$here/evaluate.sh" "$data" "$out/$1" >"$2"
}

# row MODEL REPORT
row() {
  awk -v model="$1" -v OFS=' | ' '
    /^ROUGE-1/ { rouge = $3 OFS $6 OFS $9 }
    $1 == "total" { mult_adds = $2 " " $3 }
    $1 == "without" { parameters = $3 " " $4 }
    END { print "| " model, mult_adds, parameters, rouge " |" }' "$2"
}

for model in ${MODELS:-lite transformer}; do
  once evaluated "$model" "$out/$model.txt"
done
echo '| model | Mult-Adds | parameters without embeddings | ROUGE-1 | ROUGE-2 | ROUGE-L |'
echo '|---|---|---|---|---|---|'
for model in ${MODELS:-lite transformer}; do row "$model" "$out/$model.txt"; done
