#!/usr/bin/env bash
# Builds the package into $SITE with what the machine has, without a network: by pip where its build
# tools are installed, else by CMake alone, with pybind11 from wherever there is one.
set -euo pipefail
: "${PYTHON:?}" "${SITE:?}" "${BUILD:?}"

cuda=(MEDDEL_CUDA=ON)
[ "${MEDDEL_DRY_RUN:-0}" = 0 ] || cuda=(MEDDEL_CUDA=OFF MEDDEL_CUDA_ON_HOST=ON)

by_pip() {
  "$PYTHON" -m pip install -q --no-index --no-build-isolation --no-deps --upgrade --target "$SITE" \
    --config-settings=build-dir="$BUILD" "${cuda[@]/#/--config-settings=cmake.define.}" .
}

by_cmake() {
  local pybind11
  pybind11=$("$PYTHON" -m pybind11 --cmakedir) || pybind11=$PWD/bench/pybind11_of_torch
  rm -rf "$BUILD"
  cmake -S . -B "$BUILD" -DPython_EXECUTABLE="$(command -v "$PYTHON")" -Dpybind11_DIR="$pybind11" \
    -DCMAKE_INSTALL_PREFIX="$SITE" "${cuda[@]/#/-D}"
  cmake --build "$BUILD" --parallel
  cmake --install "$BUILD"
  mkdir -p "$SITE/meddel_fast/kernels"
  cp -r python/meddel_fast/. "$SITE/meddel_fast/"
  cp kernels/*.py "$SITE/meddel_fast/kernels/"
  echo "__version__ = '0+$(git rev-parse --short HEAD || echo unknown)'" >"$SITE/meddel_fast/_version.py"
}

rm -rf "$SITE"
by_pip || { echo "pip cannot build it here: by CMake"; by_cmake; }
cd / && PYTHONPATH="$SITE" "$PYTHON" -c "
import meddel_fast, meddel_fast.benchmark.machine as machine
print('built', meddel_fast.__version__, 'CUDA extension:', machine.hardware()['cuda_built'])"
