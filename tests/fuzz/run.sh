#!/usr/bin/env bash
# Builds the extension under the address and undefined-behaviour sanitizers, beside what is installed,
# and fuzzes it and the readers for SECONDS each, from SEED on: run.sh PYTHON SECONDS SEED
set -euo pipefail
python=$1 seconds=$2 seed=$3
here=$(cd "$(dirname "$0")" && pwd)
site=$here/../../build/fuzz/site
"$python" -m pip install -q --no-deps --upgrade --target "$site" \
  --config-settings=build-dir=build/fuzz/build --config-settings=cmake.define.MEDDEL_CUDA=OFF \
  --config-settings=cmake.define.MEDDEL_SANITIZE=address,undefined "$here/../.."
export PYTHONPATH=$site ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1
preload="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libubsan.so)"
LD_PRELOAD=$preload "$python" "$here/bindings.py" "$seconds" "$seed"
LD_PRELOAD=$preload "$python" "$here/readers.py" "$seconds" "$seed"
