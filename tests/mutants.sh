#!/usr/bin/env bash
# Changes one operator, number or keyword of a module at a time and asks whether its tests notice:
# mutants.sh PYTHON MODULE "TESTS". Works on a copy of the installed package; prints the survivors.
set -euo pipefail
python=$1 module=$2 tests=$3
root=$(cd "$(dirname "$0")/.." && pwd)
copy=$root/build/mutants
name=$(echo "$module" | tr / -)
mkdir -p "$copy"
installed=$("$python" -c "import meddel_fast; print(meddel_fast.__path__[0])")
rm -rf "$copy/meddel_fast" && cp -r "$installed" "$copy/meddel_fast"
cat >"$copy/$name.toml" <<END
[cosmic-ray]
module-path = "$copy/meddel_fast/$module.py"
timeout = 120.0
excluded-modules = []
test-command = "env PYTHONPATH=$copy PYTHONDONTWRITEBYTECODE=1 $python -m pytest -x -q -p no:cacheprovider $tests"
[cosmic-ray.distributor]
name = "local"
# In this code | joins types, and @ marks overloads: nothing that a test can see.
[cosmic-ray.filters.operators-filter]
exclude-operators = ["core/RemoveDecorator", "core/ReplaceBinaryOperator_BitOr_.*"]
END
cd "$root"
bin=$(dirname "$python")
rm -f "$copy/$name.sqlite"
"$bin/cosmic-ray" init "$copy/$name.toml" "$copy/$name.sqlite"
"$bin/cr-filter-operators" "$copy/$name.sqlite" "$copy/$name.toml"
"$bin/cosmic-ray" baseline "$copy/$name.toml"
"$bin/cosmic-ray" exec "$copy/$name.toml" "$copy/$name.sqlite"
"$bin/cr-report" "$copy/$name.sqlite" --show-diff --surviving-only
