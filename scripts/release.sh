#!/usr/bin/env bash
# release.sh: builds both distributions into dist/ and reports what an upload would send. It uploads nothing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${PYTHON:-python3}
"$python" -c "import build" 2>/dev/null || {
  echo "release.sh: $python has no module build; pip install build" >&2
  exit 1
}

[ -z "$(git status --porcelain)" ] || {
  echo "release.sh: the working tree has changes; commit them, so that a release is a commit" >&2
  exit 1
}
rm -rf dist build runtime/build
for project in . runtime; do
  "$python" -m build --outdir dist "$project" >/dev/null
done

echo "from commit $(git rev-parse --short HEAD), to be uploaded by: twine upload dist/*"
for file in dist/*; do
  printf '%9d bytes  %s  %s\n' "$(stat -c %s "$file")" "$(sha256sum "$file" | cut -c1-64)" "${file#dist/}"
done
