#!/usr/bin/env bash
# prepare.sh RAW OUT: RAW holds {train,valid,test}.txt, tokenised, as WikiText-103 and WikiText-2 ship them.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../common/steps.sh"
[ $# = 2 ] || fail "usage: prepare.sh RAW OUT"

require "$1"/{train,valid,test}.txt
once binarise_text "$1" "$2/binary"
echo "$2/binary is ready for fairseq-train"
