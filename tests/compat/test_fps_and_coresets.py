"""Drop-ins for k-center: the indices of the loops that they replace.

The loops are the published algorithms in fp64. The data are drawn so that no two candidates of a
step are closer than fp32 rounding, but where ties are the subject.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from meddel_fast import reference
from meddel_fast.compat import anomalib, deepcore, lightly, patchcore, torch_cluster

N, D = 300, 12


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    return np.random.default_rng(3).normal(size=(N, D)).astype(np.float32)


def loop(x: np.ndarray, k: int, first: list[int]) -> list[int]:
    """The farthest from all chosen, again and again; of several the first."""
    x = x.astype(np.float64)
    order = list(first)
    nearest = np.min([np.linalg.norm(x - x[i], axis=1) for i in order], axis=0)
    while len(order) < k:
        value = nearest.copy()
        value[order] = -1
        order.append(int(np.argmax(value)))
        nearest = np.minimum(nearest, np.linalg.norm(x - x[order[-1]], axis=1))
    return order


def torch_euclidean(a: Any, b: Any) -> Any:
    return torch.cdist(a, b)


@pytest.mark.parametrize("as_tensor", [False, True])
@pytest.mark.parametrize("metric", ["euclidean", torch_euclidean])
def test_deepcore(x: np.ndarray, metric: Any, as_tensor: bool) -> None:
    matrix = torch.from_numpy(x) if as_tensor else x
    np.random.seed(5)  # noqa: NPY002, DeepCore's own draw
    start = np.random.randint(0, N)  # noqa: NPY002
    names = np.arange(N) + 1000
    got = deepcore.k_center_greedy(matrix, 20, metric, "cpu", random_seed=5, index=names)
    np.testing.assert_array_equal(got, np.sort(loop(x, 20, [start])) + 1000)
    got = deepcore.k_center_greedy(matrix, 9, metric, "cpu", already_selected=[7, 30])
    np.testing.assert_array_equal(got, np.sort(loop(x, 11, [7, 30])))
    none = deepcore.k_center_greedy(matrix, 0, metric, "cpu", already_selected=[7, 30])
    np.testing.assert_array_equal(none, [7, 30])
    everything = deepcore.k_center_greedy(matrix, 2 * N, metric, "cpu", already_selected=[7])
    np.testing.assert_array_equal(everything, np.arange(N))


def test_deepcore_takes_its_own_metric_for_ours(x: np.ndarray) -> None:
    def euclidean_dist(a: Any, b: Any) -> Any:
        raise AssertionError("not to be called")

    got = deepcore.k_center_greedy(x, 5, euclidean_dist, "cpu", random_seed=1)
    wanted = deepcore.k_center_greedy(x, 5, torch_euclidean, "cpu", random_seed=1)
    np.testing.assert_array_equal(got, wanted)


def test_anomalib(x: np.ndarray) -> None:
    embedding = torch.from_numpy(x).reshape(N, 3, 4)  # three axes: anomalib does not project these
    torch.manual_seed(11)
    start = int(torch.randint(high=N, size=(1,)))
    torch.manual_seed(11)
    sampler = anomalib.KCenterGreedy(embedding, 0.1)
    assert (sampler.coreset_size, sampler.n_observations) == (30, N)
    assert sampler.select_coreset_idxs() == loop(x, 30, [start])
    torch.manual_seed(11)
    old = anomalib.KCenterGreedy(embedding, 0.1, include_start=False)
    assert old.select_coreset_idxs() == loop(x, 31, [start])[1:]
    torch.manual_seed(11)
    wanted = embedding[loop(x, 30, [start])]
    np.testing.assert_array_equal(sampler.sample_coreset(), wanted)
    assert sampler.min_distances is not None
    assert sampler.min_distances.shape == (N, 1)
    sampler.reset_distances()
    assert sampler.min_distances is None
    for start_too in (True, False):
        everything = anomalib.KCenterGreedy(embedding, 1.0, start_too).select_coreset_idxs()
        assert sorted(everything) == list(range(N))
    with pytest.raises(ValueError, match="coreset_size must be from 1 to 300, got 0"):
        anomalib.KCenterGreedy(embedding, 0.001)
    with pytest.raises(ValueError, match=re.escape("must hold a sample, got shape (0, 3, 4)")):
        anomalib.KCenterGreedy(embedding[:0], 0.5)


def test_patchcore_greedy(x: np.ndarray) -> None:
    sampler = patchcore.GreedyCoresetSampler(0.1, torch.device("cpu"), D)
    distances = np.linalg.norm(x[:, None].astype(np.float64) - x[None], axis=2)
    start = int(np.argmax(np.linalg.norm(distances, axis=1)))
    wanted = x[loop(x, 30, [start])]
    for features in (x, torch.from_numpy(x)):
        got = sampler.run(features)
        assert type(got) is type(features)
        np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("points", [1, 10, 1000])
def test_patchcore_approximate(x: np.ndarray, points: int) -> None:
    sampler = patchcore.ApproximateGreedyCoresetSampler(0.2, "cpu", points, D)
    np.random.seed(2)  # noqa: NPY002, PatchCore's own draw
    starts = np.random.choice(N, min(points, N), replace=False)  # noqa: NPY002
    rows = x.astype(np.float64)
    anchor = np.mean([np.linalg.norm(rows - rows[i], axis=1) for i in starts], axis=0)
    order: list[int] = []
    for _ in range(60):
        order.append(int(np.argmax(anchor)))
        anchor = np.minimum(anchor, np.linalg.norm(rows - rows[order[-1]], axis=1))
    np.random.seed(2)  # noqa: NPY002
    np.testing.assert_array_equal(sampler.run(x), x[order])


def test_patchcore_projects_as_its_layer_does(x: np.ndarray) -> None:
    torch.manual_seed(4)
    layer = torch.nn.Linear(D, 5, bias=False)
    with torch.no_grad():
        projected = layer(torch.from_numpy(x)).numpy()
    plain = patchcore.GreedyCoresetSampler(0.1, "cpu", 5)
    wanted = x[plain._compute_greedy_coreset_indices(torch.from_numpy(projected))]
    torch.manual_seed(4)
    np.testing.assert_array_equal(plain.run(x), wanted)


def test_patchcore_others(x: np.ndarray) -> None:
    assert patchcore.IdentitySampler().run(x) is x
    np.random.seed(1)  # noqa: NPY002
    wanted = x[np.random.choice(N, 30, replace=False)]  # noqa: NPY002
    np.random.seed(1)  # noqa: NPY002
    np.testing.assert_array_equal(patchcore.RandomSampler(0.1).run(x), wanted)
    with pytest.raises(ValueError, match="percentage must be above 0 and below 1, got 1"):
        patchcore.GreedyCoresetSampler(1, "cpu")
    with pytest.raises(ValueError, match=re.escape("features must be 2-d, got shape (300,)")):
        patchcore.GreedyCoresetSampler(0.5, "cpu").run(x[:, 0])


def test_torch_cluster(x: np.ndarray) -> None:
    src = torch.from_numpy(x)
    sizes = [50, 1, 0, 249]
    batch = torch.repeat_interleave(torch.arange(4), torch.tensor(sizes))
    wanted: list[int] = []
    for begin, end, count in ((0, 50, 5), (50, 51, 1), (51, 300, 25)):
        wanted += [begin + i for i in loop(x[begin:end], count, [0])]
    got = torch_cluster.fps(src, batch, ratio=0.1, random_start=False)
    assert got.dtype == torch.int64
    assert got.tolist() == wanted
    ptr = [0, 50, 51, 51, 300]
    assert torch_cluster.fps(src, ratio=0.1, random_start=False, ptr=ptr).tolist() == wanted
    shares = torch.tensor([0.1, 1.0, 0.5, 0.1])
    assert torch_cluster.fps(src, batch, shares, False).tolist() == wanted
    assert torch_cluster.fps(src[:7], random_start=False).tolist() == loop(x[:7], 4, [0])
    torch.manual_seed(0)
    start = int(torch.randint(N, (1,)))
    torch.manual_seed(0)
    assert torch_cluster.fps(src, ratio=0.05).tolist() == loop(x, 15, [start])
    copies = torch.ones(6, 2)
    assert torch_cluster.fps(copies, ratio=0.5, random_start=False).tolist() == [0, 1, 2]
    assert torch_cluster.fps(src[:0]).tolist() == []


@pytest.mark.parametrize("d", [1, 2, 3, 9])
def test_torch_cluster_batches_are_their_examples(d: int) -> None:
    """Points of a grid, where ties are many; examples of all sizes, sampled side by side."""
    sizes = [400, 1, 37, 0, 2, 700, 64]
    rng = np.random.default_rng(d)
    points = rng.integers(0, 7, size=(sum(sizes), d)).astype(np.float32)
    batch = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    wanted: list[int] = []
    for begin, n in zip(np.cumsum([0, *sizes]), sizes, strict=False):
        if n:
            count = int(np.ceil(np.float32(n) * np.float32(0.3)))
            found = reference.kcenter_greedy(points[begin : begin + n], count)[0]
            wanted += (begin + found).tolist()
    for dtype in (torch.float32, torch.float64, torch.float16):
        src = torch.from_numpy(points).to(dtype)
        assert torch_cluster.fps(src, batch, 0.3, random_start=False).tolist() == wanted


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"ratio": 0.0}, "ratio must be above 0 and at most 1, got 0.0"),
        ({"ratio": torch.ones(2)}, "ratio must be one number or 1, got shape (2,)"),
        ({"batch": torch.zeros(3)}, "batch must have shape (4,) like src, got (3,)"),
        ({"batch": torch.tensor([0, 1, 0, 1])}, "batch must not fall"),
        ({"ptr": [0, 3]}, "ptr must rise from 0 to 4 (the rows of src), got [0, 3]"),
    ],
)
def test_torch_cluster_errors(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        torch_cluster.fps(torch.eye(4), **arguments)


def lightly_select(x: Any, before: list[int], count: int, stop: float | None = None) -> list[int]:
    selection = lightly.Selection()
    selection.add_diversifying_strategy(x, 1.0, stop)
    return selection.run_selection(before, len(x), count)


def test_lightly(x: np.ndarray) -> None:
    assert lightly_select(x.tolist(), [], 20) == loop(x, 20, [0])
    assert lightly_select(x, [5, 9], 20) == loop(x, 20, [5, 9])
    assert lightly_select(x, [5, 9], 1) == [5, 9]
    line = np.arange(5, dtype=np.float32)[:, None]
    assert lightly_select(line, [], 5, 1.0) == [0, 4, 2, 1, 3]  # at the distance: still selected
    assert lightly_select(line, [], 5, 1.001) == [0, 4, 2]
    assert lightly_select(line, [], 5, 0.0) == [0, 4, 2, 1, 3]
    assert lightly_select(line, [], 5, -1.0) == [0, 4, 2, 1, 3]
    assert lightly_select(line, [1, 1], 4) == [1, 1, *loop(line, 3, [1])[1:]]  # named twice
    assert lightly_select(line, [1, 1], 5) == [1, 1, *loop(line, 4, [1])[1:]]
    assert lightly_select([], [], 0) == []
    for whole in (line.astype(int), line.astype(np.uint8), line.astype(int).tolist()):
        assert lightly_select(whole, [], 3) == [0, 4, 2]
    with pytest.raises(ValueError, match="preselected_indices must be from 0 to 4, got -1"):
        lightly_select(line, [-1], 3)
    with pytest.raises(ValueError, match="strength must be above 0"):
        lightly.Selection().add_diversifying_strategy(line, 0.0)
    selection = lightly.Selection()
    with pytest.raises(ValueError, match="add_diversifying_strategy must be called first"):
        selection.run_selection([], 5, 2)
    selection.add_diversifying_strategy(line, 1.0)
    with pytest.raises(ValueError, match="only one strategy"):
        selection.add_diversifying_strategy(line, 1.0)
    with pytest.raises(ValueError, match="n_total_samples must be 5 as of embeddings, got 6"):
        selection.run_selection([], 6, 2)


@pytest.mark.parametrize("stop", [None, 2.5])
def test_lightly_is_what_lightly_mundig_selects(x: np.ndarray, stop: float | None) -> None:
    mundig = pytest.importorskip("lightly_mundig")
    for before in ([], [3, 8]):
        selection = mundig.Selection()  # one keeps what it selected for the next run
        selection.add_diversifying_strategy(x.tolist(), 1.0, stop)
        wanted = selection.run_selection(before, N, 40)
        assert lightly_select(x, before, 40, stop) == wanted


@pytest.mark.parametrize(
    "call",
    [
        lambda bad: deepcore.k_center_greedy(bad, 2, "euclidean", "cpu"),
        lambda bad: anomalib.KCenterGreedy(torch.from_numpy(bad), 0.9).select_coreset_idxs(),
        lambda bad: torch_cluster.fps(torch.from_numpy(bad)),
        lambda bad: lightly_select(bad, [], 2),
        lambda bad: patchcore.GreedyCoresetSampler(0.9, "cpu", 2).run(bad),
    ],
)
def test_nan_is_refused(call: Any) -> None:
    bad = np.ones((4, 2), np.float32)
    bad[2, 1] = np.nan
    with pytest.raises(ValueError, match="NaN or infinity in row 2"):
        call(bad)
