"""What must work wherever the wheel is installed: run by the Python of an environment that has it.

Needs numpy alone; with torch there, tensors are tried as well.
"""

from __future__ import annotations

import sys

import numpy as np

import meddel_fast as mf
from meddel_fast import _core, reference


def check_operations(isa: str) -> None:
    """Every operation equals the reference on this instruction set."""
    _core.use_isa(isa)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 40)).astype(np.float32)
    x[200:230] = x[:30] + np.float32(0.01)
    i, j, similarity = mf.similar_pairs(x, threshold=0.9)
    wanted = reference.similar_pairs(x, threshold=0.9)
    for got, want in zip((i, j, similarity), wanted, strict=True):
        np.testing.assert_array_equal(got, want)
    assert len(i) >= 30
    for got, want in (
        (mf.kcenter_greedy(x, 20), reference.kcenter_greedy(x, 20)),
        (mf.redundancy(x), reference.redundancy(x)),
        (mf.topk_similarity(x, k=3), reference.topk_similarity(x, k=3)),
        (mf.deduplicate(x, 0.9), reference.deduplicate(x, 0.9)),
    ):
        for one, other in zip(got, want, strict=True):
            np.testing.assert_array_equal(one, other)
    assert len(mf.selectors.meddel(x, 0.1)) == 30


def check_tensors() -> None:
    """With torch: a tensor comes back, with the same numbers."""
    import torch

    x = np.random.default_rng(1).normal(size=(100, 16)).astype(np.float32)
    found = mf.kcenter_greedy(torch.from_numpy(x), 10).indices
    assert isinstance(found, torch.Tensor)
    np.testing.assert_array_equal(found.numpy(), mf.kcenter_greedy(x, 10).indices)


def main() -> None:
    """Check, and say what was checked."""
    heavy = {"torch", "transformers", "pyarrow", "typer", "scipy"} & set(sys.modules)
    assert not heavy, f"import meddel_fast brought {heavy}"
    for isa in _core.available_isas():
        check_operations(isa)
    if "--torch" in sys.argv:
        check_tensors()
    print("meddel_fast", mf.__version__, *_core.available_isas(), *sys.argv[1:])


if __name__ == "__main__":
    main()
