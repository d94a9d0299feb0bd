#!/usr/bin/env bash
# report.sh OUT: what the models that sweep.sh or distilled.sh made in OUT are worth. Shrinks them, times them on one
# thread, and makes OUT/{latency.json,report.md,tradeoff.png,schedule.png,sparsity.png}. LENGTH, of the timed sentences, is
# read from the environment.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/../common/steps.sh"
[ $# = 1 ] || fail "usage: report.sh OUT"
out=$1
require "$out/dense/test.json" "$out/neurons-60/test.json"

models=("$out/dense/model.pt")
for masked in "$out"/{neurons-??,qk-100,i-100}/model.pt; do
  [ -e "$masked" ] || continue
  once fairseq-lite shrink "$masked" "${masked%/*}/shrunk.pt"
  models+=("${masked%/*}/shrunk.pt")
done
for small in "$out"/{layers-3,bilstm}/model.pt; do
  [ ! -e "$small" ] || models+=("$small")
done
measure_latency() {
  fairseq-lite latency "${models[@]}" --src-len "${LENGTH:-10}" --threads 1 --rounds 50 --json >"$1"
}
once measure_latency "$out/latency.json"
fairseq-lite sparsity "$out/neurons-60/model.pt" --plot "$out/sparsity.png"
python "$here/report.py" "$out" | tee "$out/report.md"
