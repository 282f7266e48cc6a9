#!/usr/bin/env bash
# k-means-constrained 0.7.3 hands squared distances to its flow solver as whole numbers after a fixed
# scaling, so that small ones are all the same to it. The same 60 points cluster as they should at any
# unit down to hundredths; in thousandths of it (millimetres in metres, histograms as shares) the
# clusters are much worse and nothing is said. k-means does not know a unit.
# Seen on 2026-12-01, inertia in the points' own unit:
#   x 1: 16.40    x 0.01: 16.40    x 0.001: 37.10    x 0.0001: 57.13
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet k-means-constrained==0.7.3 numpy==1.26.4
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
from k_means_constrained import KMeansConstrained

x = np.random.default_rng(0).normal(size=(60, 3))
x /= np.linalg.norm(x, axis=1, keepdims=True)
inertia = {}
for unit in (1, 0.01, 0.001, 0.0001):
    made = KMeansConstrained(n_clusters=4, size_min=10, size_max=20, random_state=0).fit(unit * x)
    inertia[unit] = made.inertia_ / unit**2
print("    ".join(f"x {unit}: {value:.2f}" for unit, value in inertia.items()))
same = abs(inertia[0.01] / inertia[1] - 1) < 1e-6
raise SystemExit(not (same and inertia[0.001] > 1.5 * inertia[1]))
PYTHON
