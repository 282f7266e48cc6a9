#!/usr/bin/env bash
# Which lines the tests reach. C++: by gcov, over the native programs, the tests of the kernels and a
# minute of random calls. Python: by coverage, over all tests, in the processes that they start too.
#   coverage.sh PYTHON [cpp|python]
set -euo pipefail
python=$1 what=${2:-cpp python}
cd "$(dirname "$0")/.."
out=$PWD/build/coverage
mkdir -p "$out"
"$python" -m pip install -q "coverage>=7.10" gcovr

cpp() {
  rm -rf "$out"/{site,extension,native}
  # Without the second, files can disagree on the counters of a function that they share, and one
  # of them then counts in memory that is not its own.
  flags="--coverage -fno-early-inlining"
  "$python" -m pip install -q --no-deps --target "$out/site" \
    --config-settings=build-dir=build/coverage/extension --config-settings=cmake.build-type=Debug \
    --config-settings=install.strip=false --config-settings=cmake.define.MEDDEL_CUDA=OFF \
    --config-settings=cmake.define.CMAKE_CXX_FLAGS="$flags" .
  PYTHONPATH=$out/site "$python" -m pytest -q -p no:cacheprovider --timeout=1800 \
    --deselect tests/native/test_core.py::test_no_weak_symbols_in_leaf_code \
    tests/native/test_core.py tests/screen tests/sharded tests/ops
  PYTHONPATH=$out/site "$python" tests/fuzz/bindings.py 60 0
  cmake -S . -B "$out/native" -DMEDDEL_PYTHON=OFF -DMEDDEL_DRIVER=ON -DCMAKE_BUILD_TYPE=Debug \
    -DCMAKE_CXX_FLAGS="$flags" >/dev/null
  cmake --build "$out/native" -j 2 >/dev/null
  for program in driver kernels_test seeding_test bounds_test cuda_test; do "$out/native/$program" >/dev/null; done
  # Inner loops run more often than gcovr believes, and threads miscount their branches.
  "$python" -m gcovr --root . --filter csrc/ --gcov-ignore-parse-errors all \
    --merge-lines --exclude-throw-branches "$out/extension" "$out/native" --txt-summary --txt "$out/lines-cpp.txt"
}

python() {
  rm -f "$out"/python*
  package=$("$python" -c "import meddel_fast; print(meddel_fast.__path__[0])")
  cat >"$out/settings" <<END_OF_SETTINGS
[run]
data_file = $out/python
source = $package
patch = subprocess
END_OF_SETTINGS
  export COVERAGE_RCFILE=$out/settings
  local status=0 # of the tests; what they reach is told all the same
  # (left out: where the disk is full for coverage as well)
  MEDDEL_BUILD_DIR=build/test "$python" -m coverage run -m pytest -q -p no:cacheprovider \
    --timeout=1800 --deselect tests/cli/test_cli.py::test_disk_that_fills_up_while_writing || status=$?
  "$python" -m coverage combine -q
  "$python" -m coverage report --skip-covered --sort=cover --show-missing | tee "$out/lines-python.txt"
  return $status
}

for step in $what; do "$step"; done
