#!/usr/bin/env bash
# The quick start's second command: exports the trained model and serves a page that translates with it in the browser.
# browser.sh [OUT [PORT]]: OUT is where run.sh wrote.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source examples/quickstart/steps.sh

out=${1:-examples/quickstart/work} port=${2:-8000}
site=examples/browser

export_model() {
  fairseq-lite export "$out/model.pt" "$1" --bits 8 --data "$out/binary" --spm "$out/subwords.model"
}

install_packages() {
  command -v npm >/dev/null || fail "npm is needed and not on PATH: install it (Debian: apt-get install npm)"
  npm ci --prefix "$site" --no-audit --no-fund >&2
}

for file in model.pt subwords.model; do
  [ -s "$out/$file" ] || fail "'$out/$file' is missing: bash examples/quickstart/run.sh makes it"
done
say "Environment: .venv"
make_environment .venv ve,examples
export PATH=$PWD/.venv/bin:$PATH

say "Export: $out/exported"
once export_model "$out/exported"

say "Packages of the page: $site/node_modules"
[ -e "$site/node_modules/.package-lock.json" ] || install_packages
ln -sfn "$(realpath "$out/exported")" "$site/model"

say "Open http://127.0.0.1:$port/ (Ctrl-C ends it)"
(sleep 1 && python -m webbrowser "http://127.0.0.1:$port/" >/dev/null 2>&1 || true) &
exec python -m http.server --bind 127.0.0.1 --directory "$site" "$port"
