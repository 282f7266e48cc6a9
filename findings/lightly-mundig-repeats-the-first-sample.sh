#!/usr/bin/env bash
# lightly-mundig 0.1.16: asked for more samples than there are, run_selection neither stops nor
# complains: it goes on with sample 0, again and again. Of 5 samples, asked for 9, it gives
# [0, 4, 2, 1, 3, 0, 0, 0, 0]: a list of the wanted length, which a training set takes for 9 samples.
# A strategy of strength 0 or below selects by index: [0, 1, 2]. Seen on 2026-11-30.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check lightly-mundig==0.1.16
"$folder/venv/bin/python" - <<'EOF'
from lightly_mundig import Selection


def select(count, strength):
    selection = Selection()
    selection.add_diversifying_strategy([[float(i)] for i in range(5)], strength)
    return selection.run_selection([], 5, count)


more, weightless = select(9, 1.0), select(3, 0.0)
print("9 of 5:", more)
print("3 of 5 with strength 0:", weightless, "with strength 1:", select(3, 1.0))
assert more == [0, 4, 2, 1, 3, 0, 0, 0, 0]
assert weightless == [0, 1, 2]
EOF
