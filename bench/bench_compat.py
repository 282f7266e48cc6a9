"""Drop-ins of meddel_fast.compat against what they replace: the library, or its loop restated.

All choose the same before they are timed, from the same start. The samples are the made clusters
rounded to whole numbers, of which float32 loops, too, get squared distances exactly; of nearest
samples that are equally far FAISS and scikit-learn give any, so that there distances are compared.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import peers
import pytest
from conftest import OURS, Race

ROWS = 4000  # where the original holds a matrix of all distances or similarities
SEARCHED = 10_000
QUADRATIC = {"DeepCore", "PatchCore", "apricot", "SemDeDup"}
K = 100


class Case(NamedTuple):
    """Two ways to the same: a drop-in's and the original's, and which of its results must agree."""

    ours: Callable[[], Any]
    original: Callable[[], Any]
    rounding: float = 0.0  # of what is no index, relative and absolute


def deepcore(x: peers.Floats) -> Case:
    from meddel_fast.compat.deepcore import k_center_greedy

    def euclidean_dist(a: Any, b: Any) -> Any:
        raise AssertionError("the drop-in knows this one by name")

    return Case(
        lambda: k_center_greedy(x, K - 1, euclidean_dist, "cpu", already_selected=[0]),
        lambda: np.sort(peers.deepcore_centres(x, K)),
    )


def deepcore_facility_location(x: peers.Floats) -> Case:
    from meddel_fast.compat import deepcore

    rows = peers.unit(x)
    similarity = 0.5 + 0.5 * rows @ rows.T

    def ours() -> peers.Int:
        made = deepcore.FacilityLocation(index=np.arange(len(x)), similarity_matrix=similarity)
        chooser = deepcore.NaiveGreedy(None, np.arange(len(x)), K // 10)
        return chooser.select(made.calc_gain, made.update_state)

    def original() -> peers.Int:
        """All gains anew in each step, from a copy of the matrix's columns."""
        covered, left = np.zeros(len(x), np.float32), np.ones(len(x), bool)
        gains = np.zeros(len(x))
        for _ in range(K // 10):
            columns = similarity[np.ix_(np.arange(len(x)), left)]
            gains[left] = np.maximum(0.0, columns - covered[:, None]).sum(axis=0)
            best = int(np.argmax(gains))
            left[best], gains[best] = False, -np.inf
            covered = np.maximum(covered, similarity[:, best])
        return np.flatnonzero(~left)

    return Case(ours, original)


def anomalib(x: peers.Floats) -> Case:
    import torch

    from meddel_fast.compat.anomalib import KCenterGreedy

    rows = torch.from_numpy(x)

    def start() -> int:
        torch.manual_seed(0)
        return int(torch.randint(len(x), (1,)))

    def ours() -> peers.Int:
        torch.manual_seed(0)
        return np.array(KCenterGreedy(rows, K / len(x)).select_coreset_idxs())

    def original() -> peers.Int:
        """Norms of the differences to the last centre, minimum, maximum."""
        centres, nearest = [start()], torch.full((len(x),), np.inf)
        while len(centres) < K:
            distance = torch.linalg.norm(rows - rows[centres[-1]], ord=2, dim=1)
            nearest = torch.minimum(nearest, distance)
            centres.append(int(nearest.argmax()))
        return np.array(centres)

    return Case(ours, original)


def patchcore(x: peers.Floats, approximate: bool) -> Case:
    import torch

    from meddel_fast.compat import patchcore

    rows, share = torch.from_numpy(x), K / len(x)
    kind = (
        patchcore.ApproximateGreedyCoresetSampler if approximate else patchcore.GreedyCoresetSampler
    )
    sampler = kind(share, "cpu", dimension_to_project_features_to=x.shape[1])

    def ours() -> peers.Int:
        np.random.seed(0)  # noqa: NPY002
        return sampler._compute_greedy_coreset_indices(rows)

    def to(columns: Any) -> Any:
        own = (rows * rows).sum(1, keepdim=True)
        other = (columns * columns).sum(1)
        return (own + other - 2 * rows @ columns.T).clamp(min=0).sqrt()

    def original() -> peers.Int:
        """A matrix of all distances, or of those to ten samples; one more column a centre."""
        if approximate:
            np.random.seed(0)  # noqa: NPY002
            some = np.random.choice(len(x), 10, replace=False)  # noqa: NPY002
            value = to(rows[some]).mean(1)
        else:
            matrix = to(rows)
            value = torch.linalg.norm(matrix, dim=1)
        centres = []
        for _ in range(int(len(x) * share)):
            centres.append(int(value.argmax()))
            last = centres[-1]
            column = to(rows[last : last + 1]) if approximate else matrix[:, last : last + 1]
            value = torch.cat([value[:, None], column], dim=1).min(1).values
        return np.array(centres)

    return Case(ours, original)


def torch_cluster(x: peers.Floats) -> Case:
    import torch

    from meddel_fast.compat.torch_cluster import fps

    rows = torch.from_numpy(x)
    return Case(
        lambda: fps(rows, ratio=K / len(x), random_start=False).numpy(),
        lambda: peers.torch_cluster_centres(x, K),
    )


def lightly(x: peers.Floats) -> Case:
    mundig = pytest.importorskip("lightly_mundig")
    from meddel_fast.compat.lightly import Selection

    lists = x.tolist()

    def select(kind: Any, embeddings: Any) -> peers.Int:
        made = kind()
        made.add_diversifying_strategy(embeddings, 1.0)
        return np.array(made.run_selection([], len(x), K))

    return Case(lambda: select(Selection, x), lambda: select(mundig.Selection, lists))


def faiss(x: peers.Floats, name: str, within: bool) -> Case:
    library = pytest.importorskip("faiss")
    from meddel_fast.compat import faiss as drop_in

    theirs, ours = (getattr(module, name)(x.shape[1]) for module in (library, drop_in))
    theirs.add(x)
    near = theirs.search(x, 10)[0]
    # Between two of the values, so that float32 sees the same on both sides.
    limit = float(np.quantile(near[:, 5], 0.5))

    def find(index: Any) -> Any:
        index.reset()
        index.add(x)
        if within:
            limits, _, found = index.range_search(x, limit)
            return limits, found
        return index.search(x, 10)[0]

    return Case(lambda: find(ours), lambda: find(theirs))


def sklearn(x: peers.Floats, within: bool) -> Case:
    library = pytest.importorskip("sklearn.neighbors")
    from meddel_fast.compat.sklearn import NearestNeighbors

    def find(made: Any) -> Any:
        if not within:
            return made.fit(x).kneighbors(n_neighbors=10)[0]
        found = made.fit(x).radius_neighbors(radius=radius, return_distance=False)
        return [np.sort(row) for row in found]

    theirs = library.NearestNeighbors(algorithm="brute").fit(x)
    radius = float(np.median(theirs.kneighbors(n_neighbors=5)[0][:, -1]))
    rounding = 0.0 if within else 1e-5
    return Case(lambda: find(NearestNeighbors()), lambda: find(theirs), rounding)


def sklearn_kmeans(x: peers.Floats) -> Case:
    library = pytest.importorskip("sklearn.cluster")
    from meddel_fast.compat.sklearn import KMeans

    def inertia(kind: Any) -> peers.Floats:
        """Of so few steps that rounding has sent no row another way yet."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it did not converge
            made = kind(50, init=x[:50], n_init=1, max_iter=10, tol=0).fit(x)
        return np.array([made.inertia_ / len(x)])

    return Case(lambda: inertia(KMeans), lambda: inertia(library.KMeans), 1e-4)


def apricot(x: peers.Floats) -> Case:
    library = pytest.importorskip("apricot")
    from meddel_fast.compat.apricot import FacilityLocationSelection

    wide = x.astype(np.float64)

    def rank(kind: Any) -> peers.Int:
        return kind(K, metric="euclidean").fit(wide).ranking

    return Case(
        lambda: rank(FacilityLocationSelection), lambda: rank(library.FacilityLocationSelection)
    )


def semdedup(x: peers.Floats) -> Case:
    from types import SimpleNamespace

    from meddel_fast.compat.semdedup import SemDeDupJob

    rows = peers.unit(x)
    members = np.array([(str(i), i, 0.0, 0) for i in range(len(x))])
    job = SemDeDupJob(SimpleNamespace(which_to_keep="hard", seed=0), 0)
    cluster = np.zeros(len(x), np.int64)
    return Case(
        lambda: job.semdedup(members, rows), lambda: peers.semdedup_redundancy(rows, cluster), 1e-5
    )


def nemo_curator(x: peers.Floats) -> Case:
    import torch

    from meddel_fast.compat._curator_scores import redundancy

    rows = peers.unit(x)
    cluster, tensor = np.zeros(len(x), np.int64), torch.from_numpy(rows)

    def original() -> peers.Floats:
        """Blocks of 1,024 columns, of each the part above the diagonal, its maximum."""
        out = []
        for begin in range(0, len(x), 1024):
            block = tensor @ tensor[begin : begin + 1024].T
            out.append(torch.triu(block, diagonal=1 - begin).max(dim=0).values)
        return torch.cat(out).numpy()

    # 1.4.0 gives scores below 0 as they are; this one, as those before it, gives 0.
    return Case(lambda: np.maximum(redundancy(rows, cluster)[0], 0.0), original, 1e-5)


CASES: dict[str, Callable[[peers.Floats], Case]] = {
    "DeepCore k_center_greedy": deepcore,
    "DeepCore FacilityLocation": deepcore_facility_location,
    "anomalib KCenterGreedy": anomalib,
    "PatchCore greedy": lambda x: patchcore(x, approximate=False),
    "PatchCore approximate": lambda x: patchcore(x, approximate=True),
    "torch_cluster fps": torch_cluster,
    "lightly-mundig Selection": lightly,
    "FAISS IndexFlatIP search": lambda x: faiss(x, "IndexFlatIP", within=False),
    "FAISS IndexFlatL2 search": lambda x: faiss(x, "IndexFlatL2", within=False),
    "FAISS IndexFlatL2 range_search": lambda x: faiss(x, "IndexFlatL2", within=True),
    "scikit-learn kneighbors": lambda x: sklearn(x, within=False),
    "scikit-learn radius_neighbors": lambda x: sklearn(x, within=True),
    "scikit-learn KMeans": sklearn_kmeans,
    "SemDeDup": semdedup,
    "NeMo Curator pairwise": nemo_curator,
    "apricot FacilityLocationSelection": apricot,  # the last: numba undoes torch's one thread
}


@pytest.mark.parametrize("who", [OURS, "original"])
@pytest.mark.parametrize("drop_in", CASES)
def bench_compat(race: Race, drop_in: str, who: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDDEL_THREADS", str(race.threads))
    rows = ROWS if drop_in.partition(" ")[0] in QUADRATIC else SEARCHED
    x = np.rint(4 * race.samples("clustered")[:rows])
    race.benchmark.extra_info |= {"n": len(x)}
    case = CASES[drop_in](x)
    wanted = case.original() if who == OURS else case.ours()

    def agrees(found: Any) -> None:
        if case.rounding:
            np.testing.assert_allclose(found, wanted, rtol=case.rounding, atol=case.rounding)
            return
        several = isinstance(found, list | tuple)
        for a, b in zip(*((v if several else [v]) for v in (found, wanted)), strict=True):
            np.testing.assert_array_equal(a, b)

    race.run(drop_in, who, case.ours if who == OURS else case.original, agrees)
