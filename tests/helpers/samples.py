"""Arrays for the kernels' tests: every element type, and data made to break a shortcut."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast import reference

DTYPES = ["float32", "float16", "bfloat16", "int8", "float64"]


def clustered(rng: np.random.Generator, n: int, d: int, centres: int = 5) -> NDArray[np.float32]:
    """Gaussian clusters with exact and near duplicates and a zero row: ties and close calls."""
    x = rng.normal(size=(centres, d))[rng.integers(centres, size=n)]
    x = (x + 0.2 * rng.normal(size=(n, d))).astype(np.float32)
    if n >= 8:
        x[n // 2] = x[1]
        x[n // 3] = 2 * x[2]  # same direction, other norm
        x[n - 1] = x[3] + np.float32(1e-6)
        x[5] = 0
    return x


def adversarial(name: str, rng: np.random.Generator, n: int, d: int) -> NDArray[Any]:
    """Rows on which bounds, ties and ranges are stretched."""
    normal = rng.normal(size=(n, d)).astype(np.float32)
    if name == "equal":
        return np.tile(normal[:1], (n, 1))
    if name == "zero":
        return np.zeros((n, d), np.float32)
    if name == "huge":
        return normal * np.float32(1e18)
    if name == "tiny":
        return normal * np.float32(1e-20)
    if name == "mixed":
        return normal * (10.0 ** rng.integers(-20, 19, size=(n, 1))).astype(np.float32)
    if name == "subnormal":
        return (normal * 1e-38).astype(np.float32) * np.float32(1e-5)
    if name == "line":
        return np.outer(np.linspace(1, 2, n), normal[0]).astype(np.float32)
    if name == "one_hot":
        return np.eye(d, dtype=np.float32)[rng.integers(d, size=n)]
    if name == "int8_extremes":
        return rng.choice(np.array([-128, -127, 0, 127], np.int8), size=(n, d))
    assert name == "spike"  # one coordinate dwarfs the others
    normal[:, 0] *= 1e4
    return normal


ADVERSARIAL = [
    "equal", "zero", "huge", "tiny", "mixed", "subnormal", "line", "one_hot", "int8_extremes",
    "spike",
]  # fmt: skip


def of_type(x: NDArray[Any], dtype: str) -> Any:
    """The same samples as another element type (int8 by scaling; bfloat16 as a torch tensor)."""
    if dtype == "bfloat16":
        import torch

        return torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32)).to(torch.bfloat16)
    if dtype == "int8":
        scale = 127 / max(np.abs(x).max(), 1e-30)
        return np.round(x.astype(np.float64) * scale).astype(np.int8)
    if dtype == "float16":
        return np.clip(x, -6e4, 6e4).astype(np.float16)
    return x.astype(dtype)


def as_reference(x: Any) -> NDArray[Any]:
    """What reference.py takes: bfloat16 as the fp32 it stands for."""
    return x.float().numpy() if hasattr(x, "numpy") else x


TOLD: dict[bytes, Any] = {}


def told(name: str, *args: Any, **kwargs: Any) -> Any:
    """What an operation of reference.py says: worked out once for the same arguments, since it is
    nearly all of the cost where many instruction sets and screens are held to it."""
    key = hashlib.sha256(pickle.dumps((name, args, kwargs))).digest()
    if key not in TOLD:
        TOLD[key] = getattr(reference, name)(*args, **kwargs)
    return TOLD[key]


def assert_same(got: Any, wanted: Any) -> None:
    """Equal bit for bit (NaN equals NaN), field by field."""
    assert len(got) == len(wanted)
    for field, (a, b) in enumerate(zip(got, wanted, strict=True)):
        a = a.numpy() if hasattr(a, "numpy") else a
        np.testing.assert_array_equal(a, b, err_msg=f"field {field}")


def on_a_busy_stream(x: Any, work: Callable[[Any], Any]) -> Any:
    """Return what `work` makes of a copy of a GPU's tensor that is written late, on a stream."""
    import torch

    stream = torch.cuda.Stream(x.device)
    stream.wait_stream(torch.cuda.current_stream(x.device))
    with torch.cuda.stream(stream):
        copy = torch.zeros_like(x)
        for _ in range(50):  # keeps the stream busy, so that work elsewhere would read zeros
            copy += 0 * (x @ x.T @ x)
        copy.copy_(x)
        got = work(copy)
    stream.synchronize()
    return got


def blobs(n: int = 40, d: int = 6, seed: int = 0) -> np.ndarray:
    """Four directions with noise; rows 5 and 9 repeat row 2 exactly, row 7 is zero."""
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(4, d))
    x = directions[rng.integers(0, 4, n)] * 2.0 + rng.normal(size=(n, d)) * 0.4
    x[5] = x[9] = x[2]
    x[7] = 0.0
    return x.astype(np.float32)
