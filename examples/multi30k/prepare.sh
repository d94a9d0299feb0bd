#!/usr/bin/env bash
# prepare.sh RAW OUT: RAW holds {train,valid,test}.{en,de}, one sentence a line, as the dataset ships them.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../common/steps.sh"
[ $# = 2 ] || fail "usage: prepare.sh RAW OUT"

prepare_pair "$1" "$2" en de 6000 --joined-dictionary
echo "$2/binary is ready for fairseq-train"
