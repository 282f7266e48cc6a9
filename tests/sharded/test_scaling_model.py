"""What bench/scaling_model.py says of bytes, passes and memory is what the operations do."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import meddel_fast as mf

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))
import scaling
from scaling_group import FileGroup, Kernels
from scaling_model import PASSES, SENT, Case, Facts, Plan, least_memory, pairs_of_parts, planned

N, D, K = 9000, 256, 10


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(30, D))[rng.integers(30, size=N)] + 0.3 * rng.normal(size=(N, D))
    x[N // 2 : N // 2 + 500] = x[:500]
    path = tmp_path_factory.mktemp("rows") / "x.npy"
    np.save(path, x.astype(np.float16))
    return path


def on_threads(
    operation: str, path: Path, case: Case, budget: int, folder: Path
) -> tuple[list[FileGroup], int, Facts]:
    """Run it on so many ranks; return them, the rows that they read, and what the data decided."""
    barrier = threading.Barrier(case.workers)
    groups = [FileGroup(rank, case.workers, folder, barrier) for rank in range(case.workers)]
    stores = [mf.open_store(path) for _ in groups]

    def work(rank: int) -> Any:
        try:
            return scaling.WORK[operation](stores[rank], case, memory=budget, group=groups[rank])
        except BaseException:
            barrier.abort()
            raise

    with Kernels() as kernels, ThreadPoolExecutor(case.workers) as pool:
        found = list(pool.map(work, range(case.workers)))
    told = [scaling.about(its) for its in found]
    assert len({its.pop("hash") for its in told}) == 1
    facts = told[0] | {"whole": scaling.whole_clusters(operation, case, budget)}
    counted = {name: getattr(kernels, name) for name in ("rounds", "asked", "offered", "seeded")}
    alike = {name: value // case.workers for name, value in counted.items() if name != "seeded"}
    return groups, sum(s.rows_read for s in stores), Facts(**facts, **(counted | alike))


@pytest.mark.parametrize("operation", SENT)
def test_bytes_sent_and_got(operation: str, path: Path, tmp_path: Path) -> None:
    case = Case(N, D, 2, 3, K)
    groups, read, facts = on_threads(operation, path, case, 100_000_000, tmp_path)
    assert sum(group.sent for group in groups) == SENT[operation](case, facts)
    assert sum(group.got for group in groups) == SENT[operation](case, facts)
    assert read == N * (3 if operation == "meddel" else 1)


@pytest.mark.parametrize("operation", sorted(PASSES.keys() - {"k-center"}))
def test_passes_of_the_least_budget(operation: str, path: Path, tmp_path: Path) -> None:
    case = Case(N, D, 2, 2, K)
    budget = scaling.budget_of(operation, case, "least")
    plan = planned(scaling.WORK[operation], case, budget)
    assert not plan.stays
    assert sum(plan.tiles) == N
    _, read, facts = on_threads(operation, path, case, budget, tmp_path)
    said = PASSES[operation](case, plan, facts) * N
    few = 0 if operation in ("semdedup", "k-means") else 0.02 * N  # what no longer needs a look
    assert read == pytest.approx(said, abs=few + 0.5)


def test_passes_of_k_center(path: Path, tmp_path: Path) -> None:
    """Rows between those that are asked for are read along: no fewer than it says."""
    case = Case(N, D, 2, 2, K)
    budget = scaling.budget_of("k-center", case, "least")
    plan = planned(scaling.WORK["k-center"], case, budget)
    _, read, facts = on_threads("k-center", path, case, budget, tmp_path)
    said = PASSES["k-center"](case, plan, facts)
    assert not plan.stays
    assert said <= read / N <= 2 * said


def test_pairs_of_parts_by_hand() -> None:
    """Of 0 and 1 the owner of 0 reads, of 0 and 2 that of 2, of 1 and 2 that of 1."""
    assert pairs_of_parts(Plan(20, False, [10, 20, 30])) == (10 + 30 + 20) / 60
    assert pairs_of_parts(Plan(10, False, [10] * 9)) == 4.0


def test_least_memory() -> None:
    """It is enough, and a little less is refused; fewer rows a worker need less to stay."""
    case = Case(1_000_000, 64, 2, 4, K)
    least = least_memory(scaling.WORK["greedy"], case, lambda plan: True)
    assert planned(scaling.WORK["greedy"], case, least).step >= 1024
    with pytest.raises(ValueError, match="memory must be at least"):
        planned(scaling.WORK["greedy"], case, int(0.97 * least))
    few, many = (
        least_memory(scaling.WORK["greedy"], case._replace(workers=w), lambda plan: plan.stays)
        for w in (2, 8)
    )
    assert few > many > least


def test_a_wrong_formula_is_noticed(path: Path, tmp_path: Path) -> None:
    case = Case(N, D, 2, 2, K)
    groups, _, facts = on_threads("greedy", path, case, 100_000_000, tmp_path)
    assert sum(group.sent for group in groups) != SENT["greedy"](case._replace(d=D + 1), facts)
