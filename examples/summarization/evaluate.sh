#!/usr/bin/env bash
# evaluate.sh DATA OUT [FAIRSEQ_GENERATE_OPTION...]: ROUGE and Mult-Adds of what train.sh left in OUT. The Mult-Adds are
# for a text and a summary of the test set's mean lengths; the options come last and so prevail.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../common/steps.sh"
[ $# -ge 2 ] || fail "usage: evaluate.sh DATA OUT [FAIRSEQ_GENERATE_OPTION...]"
checkpoint=$2/checkpoints/checkpoint_last.pt
require "$1/binary/dict.target.txt" "$1/text/test.source" "$1/text/test.target" "$checkpoint"

# mean_length TEXT: subwords a line, and the end of the sentence.
mean_length() {
  awk '{ words += NF + 1 } END { printf "%.0f", words / NR }' "$1"
}

# The beam and the blocked trigrams are the published ones for CNN/DailyMail; the lengths suit subject lines.
generate "$1/binary" "$checkpoint" --scoring rouge --truncate-source --beam 4 --no-repeat-ngram-size 3 \
  --max-len-b 40 "${@:3}" "$2/test.log"
sed -n 's/^Generate .*: \(ROUGE-1 = \)/\1/p' "$2/test.log"
fairseq-lite mult-adds "$checkpoint" \
  --src-len "$(mean_length "$1/text/test.source")" --tgt-len "$(mean_length "$1/text/test.target")"
