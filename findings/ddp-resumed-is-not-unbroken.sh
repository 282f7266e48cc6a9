#!/usr/bin/env bash
# torch 2.13.0 (2026-11-30): training by DistributedDataParallel that is resumed from a checkpoint does
# not come to the weights of the unbroken run, although every run repeats itself bit for bit, and model,
# optimiser and batches are restored exactly. After its first step DDP puts the gradients into buckets
# anew, in the order in which they came; a resumed run sums its own first step by the first layout. The
# sum of a gradient over the processes is then taken in another order. With one or two processes (a sum
# of two does not depend on its order) or with find_unused_parameters=True, which keeps the first layout,
# the resumed run is the unbroken one. So a test of resuming with two processes shows nothing.
# Seen (gloo, CPU, 4 processes, 6 steps, resumed after 3):
#   4 processes: repeated equal, resumed differs
#   4 processes, find_unused_parameters=True: repeated equal, resumed equal
#   2 processes: repeated equal, resumed equal
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check torch==2.13.0 numpy==2.4.6
cat >"$folder/job.py" <<'PYTHON'
import hashlib
import os
import sys
import tempfile
import warnings

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn.parallel import DistributedDataParallel


def work(rank, size, begin, end, start, out, unused):
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    meet = f"file://{out}.meet"
    dist.init_process_group("gloo", init_method=meet, rank=rank, world_size=size)
    torch.manual_seed(0)
    layers = [part for _ in range(4) for part in (nn.Linear(64, 64), nn.GELU())]
    model = nn.Sequential(*layers)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    if start:
        state = torch.load(start, weights_only=True)
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
    shared = DistributedDataParallel(model, find_unused_parameters=unused)
    for step in range(begin, end):
        seed = torch.Generator().manual_seed(100 * step + rank)
        optimiser.zero_grad()
        shared(torch.randn(8, 64, generator=seed)).square().mean().backward()
        optimiser.step()
    if rank == 0:
        torch.save({"model": model.state_dict(), "optimiser": optimiser.state_dict()}, out)
    dist.barrier()
    dist.destroy_process_group()


def train(size, begin, end, start, unused):
    out = os.path.join(tempfile.mkdtemp(dir=sys.argv[1]), "state.pt")
    mp.spawn(work, (size, begin, end, start, out, unused), nprocs=size)
    weights = torch.load(out, weights_only=True)["model"].values()
    return out, hashlib.sha256(b"".join(w.numpy().tobytes() for w in weights)).hexdigest()


if __name__ == "__main__":
    for size, unused, wanted in ((4, False, "differs"), (4, True, "equal"), (2, False, "equal")):
        _, whole = train(size, 0, 6, None, unused)
        _, again = train(size, 0, 6, None, unused)
        half, _ = train(size, 0, 3, None, unused)
        _, resumed = train(size, 3, 6, half, unused)
        found = ["equal" if other == whole else "differs" for other in (again, resumed)]
        more = ", find_unused_parameters=True" if unused else ""
        print(f"{size} processes{more}: repeated {found[0]}, resumed {found[1]}", flush=True)
        assert found == ["equal", wanted]
PYTHON
OMP_NUM_THREADS=1 "$folder/venv/bin/python" "$folder/job.py" "$folder" 2>/dev/null
