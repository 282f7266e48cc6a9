#!/usr/bin/env bash
# hnswlib 0.8.0: BFIndex("cosine"), the exact index that recall is measured against, scales the rows
# that it holds to norm 1 and leaves the queries as they are. Its "cosine distance" is 1 - |query| cos:
# below 0 for a row and itself, and a threshold on it means another angle for every query. The order
# of the neighbours is right, so that recall does not show it. Index("cosine") gives true distances.
# Seen on 2026-12-01, 1,000 rows of norms 2 to 7, the 10 nearest of each:
#   BFIndex: distance of a row to itself -5.45 to -1.21; pairs at 0.3 or less 10000, by numpy 1926
#   Index: distance of a row to itself -0.00 to 0.00; pairs at 0.3 or less 1926, by numpy 1926
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet hnswlib==0.8.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import hnswlib
import numpy as np

x = np.random.default_rng(0).normal(size=(1000, 16)).astype(np.float32)
unit = x / np.linalg.norm(x, axis=1, keepdims=True)
exact, graph = hnswlib.BFIndex("cosine", 16), hnswlib.Index("cosine", 16)
exact.init_index(1000)
graph.init_index(1000, ef_construction=200, M=16)
graph.set_ef(200)
seen = {}
for name, index in (("BFIndex", exact), ("Index", graph)):
    index.add_items(x)
    label, distance = index.knn_query(x, k=10)
    true = 1 - np.einsum("qd,qkd->qk", unit, unit[label.astype(int)])
    own = distance[:, 0]
    near, right = int((distance <= 0.3).sum()), int((true <= 0.3).sum())
    print(
        f"{name}: distance of a row to itself {own.min():.2f} to {own.max():.2f}; "
        f"pairs at 0.3 or less {near}, by numpy {right}"
    )
    seen[name] = own.min() < -1 and near > 2 * right, abs(own).max() < 1e-3 and near == right
raise SystemExit(seen != {"BFIndex": (True, False), "Index": (False, True)})
PYTHON
