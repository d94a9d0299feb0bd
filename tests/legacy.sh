#!/usr/bin/env bash
# Runs the end-to-end tests against the official fairseq 0.12.2, which needs Python 3.9 or 3.10 and a
# C++ compiler, in an environment of its own. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/environment.sh
make_environment .venv-legacy legacy,test constraints-legacy.txt 3.10 3.9
OMP_NUM_THREADS=1 exec .venv-legacy/bin/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder "$@" tests/end_to_end
