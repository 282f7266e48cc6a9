#!/usr/bin/env bash
# faiss-cpu 1.15.1: reconstruct_n(0, ntotal) of an inverted-list index ("IVF4,Flat", rows kept as they
# are) fills in the rows whose ids are 0 to ntotal - 1 and returns the rest of its array as the memory
# was. After remove_ids() the ids keep their gaps: the removed rows come back as noise, as many
# of the last ones are missing, and no error says so. With ids of one's own that begin elsewhere all of
# it is noise. A flat index numbers its rows anew when some are removed, and gives all of them.
# (The noise differs from run to run, so that only what is right is counted.)
# Seen on 2026-12-01:
#   IVF4,Flat, 2 of 2000 removed: ntotal 1998, rows that are what was kept, in order: 3 of 1998
#   rows that stand at their old ids: 1996, the last two are missing
#   IVF4,Flat, ids from 10000: rows that are any that was added: 0 of 2000
#   Flat, 2 of 2000 removed: 1998 of 1998
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet faiss-cpu==1.15.1 numpy
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import faiss
import numpy as np

x = np.random.default_rng(0).normal(size=(2000, 8)).astype(np.float32)
gone = np.array([3, 4])
kept = np.delete(x, gone, axis=0)


def index(kind, ids=None):
    made = faiss.index_factory(8, kind)
    made.train(x)
    made.add(x) if ids is None else made.add_with_ids(x, ids)
    return made


def equal(rows, wanted):
    return int((rows == wanted).all(1).sum())


lists, flat = index("IVF4,Flat"), index("Flat")
for made in (lists, flat):
    made.remove_ids(gone)
back = lists.reconstruct_n(0, lists.ntotal)
in_order, at_old = equal(back, kept), equal(back, x[: len(back)])
other = index("IVF4,Flat", np.arange(2000) + 10000)
known = {row.tobytes() for row in x}
found = sum(row.tobytes() in known for row in other.reconstruct_n(0, other.ntotal))
right = equal(flat.reconstruct_n(0, flat.ntotal), kept)
print(f"IVF4,Flat, 2 of 2000 removed: ntotal {lists.ntotal}, rows that are what was kept, in order: "
      f"{in_order} of {len(kept)}")
print(f"rows that stand at their old ids: {at_old}, the last two are missing")
print(f"IVF4,Flat, ids from 10000: rows that are any that was added: {found} of 2000")
print(f"Flat, 2 of 2000 removed: {right} of {len(kept)}")
raise SystemExit((in_order, at_old, found, right) != (3, 1996, 0, 1998))
PYTHON
