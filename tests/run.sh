#!/usr/bin/env bash
# Runs the test suite in an environment of its own. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/environment.sh
make_environment .venv-test ve,test,plots,docs,notebook
# two worker processes with a thread each; a file's tests stay together and share its trained models, and the files
# stay in the order of tests/conftest.py, where xdist would take those of most tests first
OMP_NUM_THREADS=1 exec .venv-test/bin/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder "$@"
