#!/usr/bin/env bash
# duckdb 2.0.1, torch 2.13.0: result.torch() is made of the masked arrays of fetchnumpy(), and the
# masks are dropped: NULL becomes 0, 0.0 or False, of every type, without a word. Unlabelled samples
# are then of class 0, and a missing weight weighs nothing. The same query gives None by fetchall(),
# masked entries by fetchnumpy(), and Int32 with <NA> or nan by df().
# Seen on 2026-12-01:
#   fetchall: [(1, 0.5, True), (None, None, None), (0, 0.25, False)]
#   torch: {'label': [1, 0, 0], 'weight': [0.5, 0.0, 0.25], 'seen': [True, False, False]}
#   of 3000 rows with 1000 NULLs: 1000 zeros
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet duckdb==2.0.1 torch==2.13.0 numpy
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import duckdb
import numpy as np

QUERY = """SELECT label, weight, seen FROM (VALUES
  (0, 1, 0.5::FLOAT, true), (1, NULL, NULL, NULL), (2, 0, 0.25, false)
) t(id, label, weight, seen) ORDER BY id"""
MANY = "SELECT CASE WHEN i % 3 > 0 THEN i END AS v FROM range(3000) t(i)"

rows = duckdb.sql(QUERY).fetchall()
masks = {name: np.ma.getmaskarray(a).tolist() for name, a in duckdb.sql(QUERY).fetchnumpy().items()}
tensors = {name: tensor.tolist() for name, tensor in duckdb.sql(QUERY).torch().items()}
zeros = int((duckdb.sql(MANY).torch()["v"] == 0).sum())
print(f"fetchall: {rows}\ntorch: {tensors}\nof 3000 rows with 1000 NULLs: {zeros} zeros")
assert rows[1] == (None, None, None)
assert all(mask == [False, True, False] for mask in masks.values())
assert [values[1] for values in tensors.values()] == [0, 0.0, False]
assert zeros == 1000
PYTHON
