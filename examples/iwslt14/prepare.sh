#!/usr/bin/env bash
# prepare.sh RAW OUT: RAW holds {train,valid,test}.{de,en}, tokenised and lower-cased, one sentence a line.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../common/steps.sh"
[ $# = 2 ] || fail "usage: prepare.sh RAW OUT"

# The subwords are learned jointly, the dictionaries apart: the published models share no embeddings.
prepare_pair "$1" "$2" de en 10000
echo "$2/binary is ready for fairseq-train"
