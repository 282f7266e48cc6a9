"""The whole job on three nodes of Ray: the bits of one machine, whoever dies in whichever stage."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ray")
pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from curate_driver import OPTIONS
from pictures import write_encoder, write_pictures
from ray_cluster import small_cluster

from meddel_fast.cluster import curate, ray_shards
from meddel_fast.cluster.ray import crew
from meddel_fast.common.hashes import sha256_file

DRIVER = Path(__file__).resolve().parents[1] / "helpers" / "curate_driver.py"
RAY = {"engine": "ray", "workers": 3, "memory": "100MB"}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with small_cluster(3, quick=True) as found:
        yield found


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures, an encoder, and what one machine made of them."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("curate")
    write_pictures(folder / "pictures")
    write_encoder(folder / "encoder")
    curate(folder / "pictures", folder / "whole", encoder=folder / "encoder", **OPTIONS)
    return folder


def content(place: Path) -> dict[str, str]:
    names = ["duplicates.parquet", "selection.parquet", "kept.parquet", "kept.txt"]
    shards = sorted(path.relative_to(place) for path in place.glob("embeddings/*.npy"))
    return {str(n): sha256_file(place / n) for n in [*names, "embeddings/index.json", *shards]}


def on_ray(base: Path, out: Path, **options: Any) -> dict[str, Any]:
    """Curate the pictures on the cluster; the record."""
    given = {**OPTIONS, **RAY, "encoder": base / "encoder", **options}
    return curate(base / "pictures", out, **given).record


def told(record: dict[str, Any], stage: str) -> list[str]:
    return [one["what"] for one in record["again"] if one["stage"] == stage]


def kill_worker(place: crew.Place) -> None:
    os.kill(place.pid, signal.SIGKILL)


def once_of_shards(monkeypatch: pytest.MonkeyPatch, kill: Callable[[crew.Place], None]) -> None:
    """Kill the actor that is given the third shard."""
    begin, hit = ray_shards.ShardPool._begin, list[int]()

    def begin_and_kill(self: Any, actor: Any, number: int) -> None:
        begin(self, actor, number)
        if number >= 2 and not hit:
            hit.append(number)
            kill(self._places[actor])

    monkeypatch.setattr(ray_shards.ShardPool, "_begin", begin_and_kill)


def once_of_ranks(
    monkeypatch: pytest.MonkeyPatch, kill: Callable[[crew.Place], None], times: set[int]
) -> None:
    """Kill a rank, not the driver's node's, as the nth attempts begin."""
    begin, attempts = crew.Crew.begin, list[int]()

    def begin_and_kill(self: Any, attempt: int) -> bool:
        there = begin(self, attempt)
        attempts.append(attempt)
        if len(attempts) in times:
            import ray

            own = ray.get_runtime_context().get_node_id()
            kill(next(place for place in self.places.values() if place.node != own))
        return bool(there)

    monkeypatch.setattr(crew.Crew, "begin", begin_and_kill)


def test_equals_one_machine_and_outlives_its_workers(
    cluster: Any, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    once_of_shards(monkeypatch, kill_worker)
    once_of_ranks(monkeypatch, kill_worker, {1, 3})  # of each call the first attempt
    record = on_ray(base, tmp_path / "out")
    assert content(tmp_path / "out") == content(base / "whole")
    (shard,) = told(record, "embeddings")
    assert shard.startswith("shard ")
    assert " was made again, its worker (node " in shard
    for stage in ("duplicates", "selection"):
        (lost,) = told(record, stage)
        assert "worker " in lost
        assert "all began again" in lost
    assert record["stages"]["embeddings"]["counts"]["made"] == 10


def test_outlives_a_node_in_each_stage(
    cluster: Any, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill_node(place: crew.Place) -> None:
        import ray

        if place.node == ray.get_runtime_context().get_node_id():
            kill_worker(place)  # the head is the driver's node
            return
        node = next(n for n in cluster.list_all_nodes() if n.node_id == place.node)
        cluster.remove_node(node, allow_graceful=False)
        cluster.add_node(num_cpus=1, object_store_memory=100 << 20)

    once_of_shards(monkeypatch, kill_node)
    once_of_ranks(monkeypatch, kill_node, {1, 3})
    record = on_ray(base, tmp_path / "out")
    assert content(tmp_path / "out") == content(base / "whole")
    for stage in ("embeddings", "duplicates", "selection"):
        assert told(record, stage), stage


def test_a_killed_driver_goes_on(cluster: Any, base: Path, tmp_path: Path) -> None:
    targets = ["embeddings:middle", "duplicates:begin", "selection:end"]
    options = {**RAY, "address": cluster.address}
    out = tmp_path / "out"
    run = subprocess.run(
        [sys.executable, DRIVER, base / "pictures", base / "encoder", out, *targets],
        env={**os.environ, "OMP_NUM_THREADS": "1", "CURATE_OPTIONS": json.dumps(options)},
        capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    assert content(out) == content(base / "whole")
    record = json.loads((out / "curate.json").read_text())
    some = [what for what in told(record, "embeddings") if what.endswith("shards were there")]
    assert 5 <= int(some[0].split()[0]) <= 10
    assert told(record, "duplicates") == told(record, "selection") == ["begun again: interrupted"]


def test_methods_that_one_process_works_on_alone(cluster: Any, base: Path, tmp_path: Path) -> None:
    place = base / "whole" / "embeddings"
    options = {"budget": 0.3, "dedup": None, "method": "herding"}
    curate(place, tmp_path / "one", **options)
    curate(place, tmp_path / "ray", **{**options, "engine": "ray"})
    wanted = (tmp_path / "one" / "kept.txt").read_bytes()
    assert (tmp_path / "ray" / "kept.txt").read_bytes() == wanted


def test_what_a_worker_raises_comes_as_it_is(cluster: Any, base: Path, tmp_path: Path) -> None:
    from meddel_fast.images.address import ImageError

    on_ray(base, tmp_path / "out", budget=1)
    manifest = tmp_path / "out" / "manifest.parquet"
    import pyarrow.parquet as pq

    table = pq.read_table(manifest)
    place = table.column_names.index("sha256")
    changed = ["0" * 64] * len(table)
    pq.write_table(
        table.set_column(place, table.schema.field(place), [changed]), tmp_path / "m.parquet"
    )
    given = {**OPTIONS, **RAY, "encoder": base / "encoder"}
    with pytest.raises(ImageError, match="is not the file that the manifest was made of"):
        curate(tmp_path / "m.parquet", tmp_path / "other", **given)
