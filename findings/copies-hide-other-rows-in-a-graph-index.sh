#!/usr/bin/env bash
# hnswlib 0.8.0, faiss-cpu 1.15.1 (IndexHNSWFlat), usearch 2.26.6: exact copies of one vector (the blank
# frames of an endoscopy video) hide *other* rows in their graphs. 4,000 different vectors behind
# 2,000 copies of one: asked for the nearest row of each, which is itself at distance 0, 7 to 22 % are
# not found, where without the copies next to none is missed (M 16, ef 200 and 100). Copies fill each
# other's lists of neighbours, and the graph falls apart. A recall that is measured on data without
# copies says nothing of it, and near duplicates of the hidden rows go unseen.
# Seen on 2026-12-01 (counts differ from machine to machine):
#   0 copies of one vector: of 3 x 4,000 others not found: hnswlib 5, faiss 10, usearch 5
#   500 copies of one vector: of 3 x 4,000 others not found: hnswlib 389, faiss 30, usearch 2315
#   2000 copies of one vector: of 3 x 4,000 others not found: hnswlib 2700, faiss 836, usearch 957
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet hnswlib==0.8.0 faiss-cpu==1.15.1 usearch==2.26.6 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import faiss
import hnswlib
import numpy as np
from usearch.index import Index

D, OTHERS = 32, 4000
faiss.omp_set_num_threads(1)
rng = np.random.default_rng(0)


def by_hnswlib(x):
    index = hnswlib.Index("l2", D)
    index.init_index(len(x), M=16, ef_construction=200, random_seed=1)
    index.set_num_threads(1)
    index.add_items(x)
    index.set_ef(100)
    return index.knn_query(x, k=1)[1][:, 0]


def by_faiss(x):
    index = faiss.IndexHNSWFlat(D, 16)
    index.hnsw.efConstruction, index.hnsw.efSearch = 200, 100
    index.add(x)
    return index.search(x, 1)[0][:, 0]


def by_usearch(x):
    index = Index(ndim=D, metric="l2sq", connectivity=16, expansion_add=200, expansion_search=100)
    index.add(np.arange(len(x)), x, threads=1)
    return np.asarray(index.search(x, 1, threads=1).distances).ravel()


lost = {}
for copies in (0, 500, 2000):
    counts = np.zeros(3, int)
    for _ in range(3):
        others = rng.normal(size=(OTHERS, D)).astype(np.float32)
        blank = np.repeat(rng.normal(size=(1, D)).astype(np.float32), copies, axis=0)
        x = np.concatenate([blank, others])
        counts += [(find(x) > 1e-3).sum() for find in (by_hnswlib, by_faiss, by_usearch)]
    lost[copies] = counts.tolist()
    print(
        f"{copies} copies of one vector: of 3 x 4,000 others not found: "
        "hnswlib {}, faiss {}, usearch {}".format(*lost[copies])
    )
raise SystemExit(max(lost[0]) > 30 or min(lost[2000]) < 60)
PYTHON
