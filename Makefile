# make demo    from a bare machine to a table of what selections are worth, and a report, on made data
# make test    build, lint, types, tests
# make help    the rest

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DATA_ROOT ?= ../shared/data

# The CPU build is enough for all of this, and plain `torch` would fetch gigabytes of CUDA. Where
# the index has no such file, or you have a torch already, set TORCH (for example TORCH=torch).
TORCH ?= torch==2.13.0
TRITON ?= triton==3.9.0

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help demo example test quick lint types check docs wheel fuzz soak mutants coverage bench bench-text bench-goals bench-points bench-whole bench-grid bench-large bench-scaling bench-ray bench-gpu sanitize clean

help:
	@grep -E '^# make' Makefile | sed 's/^# //'

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# One stamp a set of extras; any change of source or settings installs again.
SOURCES := pyproject.toml CMakeLists.txt $(shell find cmake csrc kernels python tests/native -type f -not -path '*/__pycache__/*' -not -path 'tests/*.py')

$(VENV)/.torch: | $(BIN)/python
	$(BIN)/pip install -q "$(TORCH)"
	@touch $@

# For the tests of the GPU's kernels, which run in its interpreter and compile without a GPU. Its own
# file alone: the CPU's torch asks for none, and a torch with CUDA brings the one it wants.
$(VENV)/.triton: $(VENV)/.torch
	$(BIN)/python -c "import triton" 2>/dev/null || $(BIN)/pip install -q --no-deps "$(TRITON)"
	@touch $@

$(VENV)/.demo: $(VENV)/.torch $(SOURCES)
	$(BIN)/pip install -q ".[benchmark]"
	@touch $@

# What plays an object store in tests, before all else: in one go with it pip 23 tries hundreds of
# versions of what s3fs and moto both want, for longer than all tests take.
$(VENV)/.stores: $(VENV)/.torch
	$(BIN)/pip install -q "s3fs>=2026.1" "moto[s3]>=5.2" "flask>=3" "flask-cors>=5"
	@touch $@

$(VENV)/.test: $(VENV)/.triton $(VENV)/.stores $(SOURCES)
	$(BIN)/pip install -q --config-settings=cmake.define.MEDDEL_WERROR=ON --config-settings=cmake.define.MEDDEL_CUDA_ON_HOST=ON --config-settings=cmake.define.MEDDEL_DRIVER=ON --config-settings=build-dir=build/test ".[benchmark,test,lint]"
	@touch $@

$(VENV)/.bench: $(VENV)/.torch $(SOURCES)
	$(BIN)/pip install -q ".[bench]"
	@touch $@

demo: $(VENV)/.demo
	$(BIN)/meddel-fast run examples/quickstart.toml

# make example DATA_ROOT=...    the same on real frames (Kvasir-SEG, CVC-ClinicDB)
example: $(VENV)/.demo
	$(BIN)/meddel-fast run examples/kvasir.toml --data-root $(DATA_ROOT)

test: lint types check

# make lint    ruff, clang-format, and import-linter: the rooms
lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/clang-format --dry-run -Werror $(shell find csrc tests/native -type f -not -name '*.py')

# make types   mypy --strict, and the stubs of the extensions against what was built
types: $(VENV)/.test
	$(BIN)/mypy
	$(BIN)/stubtest meddel_fast._core meddel_fast._version

# make quick   while working: lint, types and tests of what was touched since main, under two minutes
quick: $(VENV)/.test
	MEDDEL_BUILD_DIR=build/test $(BIN)/python tests/quick.py

# Test processes at a time, each with one thread of torch: several of them would wait for each other
# by spinning. Whole files go to one process, since what they share is made once a process; those
# that take longest begin (tests/long_files.py), so that the processes end together.
WORKERS ?= 2

# make check   the tests, on every instruction set that this CPU has (WORKERS=0: in one process)
check: $(VENV)/.test
	OMP_NUM_THREADS=1 MEDDEL_BUILD_DIR=build/test $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

$(VENV)/.docs: $(VENV)/.demo
	$(BIN)/pip install -q ".[docs]"
	@touch $@

# make docs    the site, into build/site; a warning is an error
docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet --site-dir build/site

$(VENV)/.wheel: $(VENV)/.demo
	$(BIN)/pip install -q ".[wheel]"
	@touch $@

# make wheel   sdist and wheel into dist/, checked and tried with numpy alone and with torch; the release's files checked
wheel: $(VENV)/.wheel
	PYTHON=$(CURDIR)/$(BIN)/python tests/wheel/build.sh dist $(CURDIR)/$(BIN)/python
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/cibuildwheel --platform linux --archs x86_64,aarch64 --print-build-identifiers .
	$(BIN)/cibuildwheel --platform macos --archs arm64 --print-build-identifiers .

$(VENV)/.bench-text: $(VENV)/.torch pyproject.toml
	$(BIN)/pip install -q ".[bench-text]"
	@touch $@

# make bench   the kernels against the common ways to do the same, on one thread and on all (BENCH="--bench-n=50000 --bench-threads=1" and so on)
bench: $(VENV)/.bench
	@mkdir -p build/bench
	$(BIN)/python -m pytest bench -q --benchmark-only --benchmark-quiet --benchmark-json=build/bench/results.json $(BENCH)
	$(BIN)/python bench/table.py build/bench/results.json

# make bench-text   embeddings of 50,000 sentences that this machine holds, for the benchmarks; once, minutes
bench-text: $(VENV)/.bench-text
	$(BIN)/python bench/embed_text.py $(BENCH)

# make bench-goals   what the project wants to reach, and what is measured; minutes on one thread
bench-goals: $(VENV)/.bench
	$(BIN)/python bench/goals.py $(BENCH)

# make bench-points   k-center of points of few dimensions beside fpsample; a minute on one thread
bench-points: $(VENV)/.bench
	$(BIN)/python bench/points.py $(BENCH)

# make bench-whole   whole calls of k-means, k-center, redundancy and selectors beside others'; half an hour on one thread (BENCH="k-means --save FILE.csv" and so on)
bench-whole: $(VENV)/.bench
	$(BIN)/python bench/whole.py $(BENCH)

# make bench-grid   every operation beside the plain way in numpy or FAISS over n, d and k: the worst cells; minutes on one thread
bench-grid: $(VENV)/.bench
	$(BIN)/python bench/grid.py $(BENCH)

# make bench-large   a million samples: time, threads, memory (BENCH="--n 200000 --limit 300" and so on)
bench-large: $(VENV)/.bench
	$(BIN)/python bench/large.py $(BENCH)

# make bench-scaling   what work on 1 to 8 processes sends, reads and holds, counted and modelled; carried on to 16 machines; minutes
bench-scaling: $(VENV)/.bench
	$(BIN)/python bench/scaling.py $(BENCH)

# make bench-ray   near duplicates on Ray beside a recipe of Ray Data: CPU, memory, decisions; memory on three small nodes; minutes
bench-ray: $(VENV)/.bench
	$(BIN)/pip install -q ".[ray]"
	$(BIN)/python bench/ray_peer.py $(BENCH)
	$(BIN)/python bench/ray_memory.py

# make bench-gpu     all that needs a GPU, in one call of at most ten minutes; no network (BENCH=--dry-run: what runs without)
bench-gpu:
	PYTHON=$(PYTHON) bench/run_on_gpu.sh $(BENCH)

# make sanitize  every kernel and operation under address, undefined-behaviour and thread sanitizers
sanitize: $(VENV)/.test
	@for kind in address,undefined thread; do \
	  dir=build/sanitize-$${kind%%,*}; \
	  cmake -S . -B $$dir -DMEDDEL_PYTHON=OFF -DMEDDEL_DRIVER=ON -DMEDDEL_SANITIZE=$$kind >/dev/null && \
	  cmake --build $$dir -j 2 >/dev/null && echo "== $$kind" && $$dir/kernels_test && $$dir/seeding_test && $$dir/bounds_test && $$dir/driver && \
	  { [ $$kind = thread ] || $$dir/cuda_test; } || exit 1; \
	done

SECONDS ?= 60
SEED ?= 0

# make fuzz    the bindings and every reader of files under sanitizers (SECONDS=60 SEED=0)
fuzz: $(VENV)/.test
	tests/fuzz/run.sh $(CURDIR)/$(BIN)/python $(SECONDS) $(SEED)

# make soak    two hours of it, and 600 faults of the disk
soak: $(VENV)/.test
	$(MAKE) fuzz SECONDS=3600 SEED=$$RANDOM
	MEDDEL_FAULTS=600 $(BIN)/python -m pytest -q tests/common/test_faults.py

MODULE ?= benchmark/scores/normdel
TESTS ?= tests/benchmark/test_normdel.py

# make mutants  a module changed in one place at a time: what its tests do not notice (MODULE=selectors/kcenter TESTS=tests/selectors/test_selectors.py)
mutants: $(VENV)/.test
	$(BIN)/pip install -q "cosmic-ray>=8"
	tests/mutants.sh $(CURDIR)/$(BIN)/python $(MODULE) "$(TESTS)"

# make coverage  lines that the tests reach, in Python and in C++, into build/coverage
coverage: $(VENV)/.test
	tests/coverage.sh $(CURDIR)/$(BIN)/python

# make clean   what was built here, not .venv
clean:
	rm -rf build dist .import_linter_cache .mypy_cache .ruff_cache .pytest_cache
