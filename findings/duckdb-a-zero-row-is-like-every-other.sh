#!/usr/bin/env bash
# duckdb 2.0.1: the cosine of a zero vector (a blank frame, a masked token) is NaN, and DuckDB orders
# NaN above every number. So WHERE array_cosine_similarity(a.v, b.v) >= 0.95 finds a zero vector to
# be a near duplicate of every other, max() and ORDER BY ... DESC LIMIT k give it to every row as its
# nearest one, while array_cosine_distance(a.v, b.v) <= 0.05, meant to be the same, finds none of
# these pairs.
# Seen on 2026-12-01, of five vectors of which one (3) is zero and one pair (0, 1) is alike:
#   similarity >= 0.95: [(0, 1), (0, 3), (1, 3), (2, 3), (3, 4)]
#   distance <= 0.05:   [(0, 1)]
#   nearest of each by max(similarity): [3, 3, 3, 0, 3]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet duckdb==2.0.1
"$folder/venv/bin/python" - <<'PYTHON'
import duckdb

rows = [[1.0, 0.0, 0.0], [0.99, 0.1, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
db = duckdb.connect()
db.execute("create table e (i int, v float[3])")
db.executemany("insert into e values (?, ?)", list(enumerate(rows)))


def pairs(condition):
    return db.execute(
        f"select a.i, b.i from e a join e b on a.i < b.i where {condition} order by 1, 2"
    ).fetchall()


alike = pairs("array_cosine_similarity(a.v, b.v) >= 0.95")
near = pairs("array_cosine_distance(a.v, b.v) <= 0.05")
nearest = [
    row[0]
    for row in db.execute(
        "select arg_max(b.i, array_cosine_similarity(a.v, b.v)) from e a join e b on a.i <> b.i "
        "group by a.i order by a.i"
    ).fetchall()
]
print("similarity >= 0.95:", alike)
print("distance <= 0.05:  ", near)
print("nearest of each by max(similarity):", nearest)
wanted = ([(0, 1), (0, 3), (1, 3), (2, 3), (3, 4)], [(0, 1)], [3, 3, 3, 0, 3])
raise SystemExit((alike, near, nearest) != wanted)
PYTHON
