#!/usr/bin/env bash
# evaluate.sh DATA OUT: BLEU (with its signature) and Mult-Adds of what train.sh left in OUT.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../common/steps.sh"
[ $# = 2 ] || fail "usage: evaluate.sh DATA OUT"

# The learning rate ends at zero, so that there is nothing to gain from an average of several checkpoints.
evaluate_pair "$1" "$2" de 13a 1 --beam 5
