#!/usr/bin/env bash
# Which lines the tests reach: Python's by coverage, in the processes that tests start too; C++'s by
# gcov, over the native programs and the tests of the kernels: coverage.sh PYTHON
set -euo pipefail
python=$1
cd "$(dirname "$0")/.."
out=$PWD/build/coverage
rm -rf "$out" && mkdir -p "$out"
"$python" -m pip install -q "coverage>=7.10" gcovr
flags="--coverage -O1" # without optimisation the kernels take some ten times as long

"$python" -m pip install -q --no-deps --upgrade --target "$out/site" \
  --config-settings=build-dir=build/coverage/build --config-settings=cmake.build-type=Debug \
  --config-settings=install.strip=false --config-settings=cmake.define.MEDDEL_CUDA=OFF \
  --config-settings=cmake.define.CMAKE_CXX_FLAGS="$flags" .
cat >"$out/settings" <<END
[run]
data_file = $out/python
source = $out/site/meddel_fast
patch = subprocess
END
export PYTHONPATH=$out/site COVERAGE_RCFILE=$out/settings
"$python" -m coverage run -m pytest -q -p no:cacheprovider --ignore=tests/test_native.py \
  --ignore=tests/test_fuzz.py --ignore=tests/test_faults.py
"$python" -m coverage combine -q
"$python" -m coverage report --skip-covered --sort=cover --show-missing | tee "$out/python.txt"

cmake -S . -B "$out/native" -DMEDDEL_PYTHON=OFF -DMEDDEL_DRIVER=ON -DCMAKE_BUILD_TYPE=Debug \
  -DCMAKE_CXX_FLAGS="$flags"
cmake --build "$out/native" -j 2
for program in driver kernels_test cuda_test; do "$out/native/$program" >/dev/null; done
"$python" -m gcovr --root . --filter csrc/ --exclude-throw-branches "$out/build" "$out/native" \
  --txt-summary --txt "$out/cpp.txt"
