#!/usr/bin/env bash
# All that needs a GPU, in one call of at most ten minutes and without a network:
#
#   bench/run_on_gpu.sh [--dry-run] [--parts "build tests ..."]
#
#   build                       the package, with the machine's own Python, torch, triton and nvcc
#   tests                       those that have GPU cases
#   memcheck racecheck          compute-sanitizer on every operation, few rows
#   ceilings                    bytes and operations a second that the GPU can do, measured
#   clustered video isotropic   races against torch on 1M x 768 fp32
#   large                       the same on 10M x 768 fp16
#   train run                   images a second; a MedDEL run
#
# Each part has a time of its own, and what earlier ones left over; none stops the others. Results go
# to gpu.json, written anew after every row, and all logs to gpu.log: under $OUT where that is set,
# else in bench/results (of a dry run in build/gpu-dry). PYTHON is the Python to use.
#
# --dry-run runs the parts tiny and on the CPU, Triton's kernels in its interpreter and the CUDA
# extension's code on the host, from the CMake folder MEDDEL_BUILD_DIR or else the one `build` makes.
set -uo pipefail
PYTHON=$(command -v "${PYTHON:-python3}") || { echo "no ${PYTHON:-python3}" >&2; exit 1; }
[[ $PYTHON = /* ]] || PYTHON=$PWD/$PYTHON
cd "$(dirname "$0")/.."

parts="build tests memcheck racecheck ceilings clustered video isotropic large train run"
export MEDDEL_DRY_RUN=0
while [ $# -gt 0 ]; do
  case $1 in
    --dry-run) export MEDDEL_DRY_RUN=1 ;;
    --parts) parts=${2:?--parts needs a list}; shift ;;
    *) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; [ "$1" = --help ]; exit $? ;;
  esac
  shift
done

work=$PWD/build/gpu
[ "$MEDDEL_DRY_RUN" = 0 ] || work=$work-dry
out=${OUT:-$PWD/bench/results}
[ "$MEDDEL_DRY_RUN" = 0 ] || out=${OUT:-$work}
mkdir -p "$work/logs" "$out"
results=$out/gpu.json
export PYTHON BUILD=$work/cmake SITE=$work/site PYTHONUNBUFFERED=1 PYTHONPATH=${PYTHONPATH:-}
export PATH=$PATH:/usr/local/cuda/bin # where nvcc and compute-sanitizer are, if not on it already
if [ "$MEDDEL_DRY_RUN" = 1 ]; then
  export TRITON_INTERPRET=1 CUDA_VISIBLE_DEVICES="" MEDDEL_BUILD_DIR=${MEDDEL_BUILD_DIR:-$BUILD}
fi

built=yes spare=0 times=1
[ "$MEDDEL_DRY_RUN" = 0 ] || times=4 # the interpreter, perhaps beside other work
# part NAME SECONDS COMMAND...
part() {
  local name=$1 budget=$(($2 * times + spare)) began=$SECONDS status took
  shift 2
  [[ " $parts " = *" $name "* ]] || return 0
  local log=$work/logs/$name.log
  echo "== $name, at most $budget s"
  if [ "$built" = no ] && [ "$name" != ceilings ]; then
    echo "the package was not built" >"$log"
    status=1
  else
    timeout -s INT -k 5 "$budget" "$@" >"$log" 2>&1
    status=$?
  fi
  took=$((SECONDS - began))
  spare=$((took < budget ? budget - took : 0))
  tail -n 2 "$log"
  "$PYTHON" bench/gpu_results.py "$results" end "$name" $status $took "$log"
  { echo "== $name: $status, $took s"; tail -c 1000000 "$log"; } >>"$out/gpu.log"
  return $status
}

bench() { part "$1" "$2" "$PYTHON" bench/gpu.py "$1" "$results"; }

sanitize() {
  [ "$MEDDEL_DRY_RUN" = 0 ] || { bench "$1" "$2"; return; }
  # Every allocation of its own, or accesses beyond one would land in torch's pool unseen.
  PYTORCH_NO_CUDA_MEMORY_CACHING=1 part "$1" "$2" compute-sanitizer --tool "$1" \
    --error-exitcode 9 "$PYTHON" bench/gpu.py "$1" "$results"
}

: >"$out/gpu.log"
"$PYTHON" bench/gpu_results.py "$results" begin || exit 1
if [[ " $parts " = *" build "* ]]; then
  part build 90 bash bench/build_on_gpu.sh || built=no
  export PYTHONPATH=$SITE:$PYTHONPATH MEDDEL_SITE=$SITE
fi
together=()
"$PYTHON" -c "import xdist" 2>/dev/null && [ "$MEDDEL_DRY_RUN" = 0 ] && together=(-n 8)
# The machine's packages may be newer than the suite's and warn: that is no failure here.
part tests 110 env -u TRITON_INTERPRET "$PYTHON" -m pytest -q -p no:cacheprovider -o filterwarnings=default "${together[@]}" \
  tests/kernels/test_gpu.py tests/kernels/test_device.py tests/training/test_speed.py tests/screen/test_triton_screen.py
sanitize memcheck 40
sanitize racecheck 35
bench ceilings 10
bench clustered 50
bench video 35
bench isotropic 35
bench large 60
bench train 60
bench run 55
"$PYTHON" bench/gpu_results.py "$results" table
# Fails if any part did, so that a caller sees it.
"$PYTHON" bench/gpu_results.py "$results" ok
