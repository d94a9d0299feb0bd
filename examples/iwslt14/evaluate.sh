#!/usr/bin/env bash
# evaluate.sh DATA OUT: BLEU (with its signature) and Mult-Adds of what train.sh left in OUT.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../common/steps.sh"
[ $# = 2 ] || fail "usage: evaluate.sh DATA OUT"

# The text is tokenised already, and published figures for this set count those tokens.
evaluate_pair "$1" "$2" en none 10 --beam 4
