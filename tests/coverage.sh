#!/usr/bin/env bash
# Which lines the tests reach: Python's by coverage, C++'s by gcov, over the native programs and the
# tests of the kernels: coverage.sh PYTHON
set -euo pipefail
python=$1
cd "$(dirname "$0")/.."
out=$PWD/build/coverage
mkdir -p "$out"
"$python" -m pip install -q coverage gcovr

"$python" -m pip install -q --no-deps --upgrade --target "$out/site" \
  --config-settings=build-dir=build/coverage/build --config-settings=cmake.build-type=Debug \
  --config-settings=cmake.define.MEDDEL_CUDA=OFF \
  --config-settings=cmake.define.CMAKE_CXX_FLAGS=--coverage .
export PYTHONPATH=$out/site
"$python" -m coverage run --data-file="$out/python" --source="$out/site/meddel_fast" -m pytest -q \
  -p no:cacheprovider --ignore=tests/test_native.py
"$python" -m coverage report --data-file="$out/python" --skip-covered --sort=cover | tee "$out/python.txt"
cmake -S . -B "$out/native" -DMEDDEL_PYTHON=OFF -DMEDDEL_DRIVER=ON -DCMAKE_BUILD_TYPE=Debug \
  -DCMAKE_CXX_FLAGS=--coverage
cmake --build "$out/native" -j 2
for program in driver kernels_test cuda_test; do "$out/native/$program" >/dev/null; done
"$python" -m gcovr --root . --filter csrc/ --exclude-throw-branches "$out/build" "$out/native" \
  --txt-summary --txt "$out/cpp.txt"
