# Makes the Python environments of this repository. Source it, then: make_environment DIR EXTRAS

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# find_python VERSION...: prints an interpreter of one of the versions that can make environments, $PYTHON
# before those on PATH.
find_python() {
  local version python versions=$*
  for version in "$@"; do
    for python in "${PYTHON:-}" "python$version" python3; do
      if "$python" -c "import sys, ensurepip, venv
sys.exit('%d.%d' % sys.version_info[:2] != '$version')" 2>/dev/null; then
        command -v "$python"
        return
      fi
    done
  done
  echo "Python ${versions// / or } with its venv module is needed and not on PATH: install it or set PYTHON=/path/to/python." >&2
  return 1
}

# fingerprint EXTRAS CONSTRAINTS: a hash of all that decides what an environment contains.
fingerprint() {
  (
    cd "$repository"
    echo "$1"
    find setup.py pyproject.toml "$2" scripts/environment.sh fairseq_lite runtime -type f \
      ! -name '*.pyc' ! -path '*/build/*' ! -path '*.egg-info/*' |
      LC_ALL=C sort | xargs sha256sum
  ) | sha256sum
}

# make_environment DIR EXTRAS [CONSTRAINTS [VERSION...]]: a virtual environment in DIR that holds this
# package with its EXTRAS, and the runtime of exported folders, at the versions of CONSTRAINTS. A finished
# one is kept as long as nothing changes; an unfinished one is completed.
make_environment() {
  local directory=$1 extras=$2 constraints=${3:-constraints.txt}
  local versions=("${@:4}") stamp python requirement
  local requirements=(pip torch "$repository[$extras]")
  [ ${#versions[@]} -gt 0 ] || versions=(3.11 3.12)
  # the Python and numpy of the official fairseq are too old for onnxruntime
  [[ ",$extras," == *,legacy,* ]] || requirements+=("$repository/runtime")
  stamp=$(fingerprint "$extras" "$constraints")
  [ "$(cat "$directory/.stamp" 2>/dev/null)" != "$stamp" ] || return 0

  if [ ! -x "$directory/bin/pip" ]; then
    python=$(find_python "${versions[@]}") || return 1
    echo "Making $directory with $python; the first time takes a few minutes." >&2
    "$python" -m venv --clear "$directory" || return 1
  fi
  # setuptools would pack modules that were deleted since the last build
  rm -rf "$repository/build" "$repository/runtime/build"
  # torch goes in before anything that depends on it, or pip looks for a newer build of its own
  for requirement in "${requirements[@]}"; do
    "$directory/bin/python" -m pip install -qq --disable-pip-version-check \
      --constraint "$repository/$constraints" "$requirement" || return 1
  done
  # ve-fairseq asks for torchaudio, which text does not need. It loads beside a CUDA build of torch alone, and
  # transformers does not load beside one that fails.
  "$directory/bin/python" -c "import torchaudio" 2>/dev/null ||
    "$directory/bin/python" -m pip uninstall -qq --disable-pip-version-check --yes torchaudio || return 1
  echo "$stamp" >"$directory/.stamp"
}
