"""The whole job on three nodes of Ray: the bits of one machine, whoever dies in whichever stage."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ray")
pytest.importorskip("torch")
pytest.importorskip("transformers")

import pyarrow.parquet as pq
import ray
import torch
from curate_driver import OPTIONS
from pictures import write_encoder, write_pictures
from ray_cluster import small_cluster

from meddel_fast.cluster import curate, ray_shards
from meddel_fast.cluster.ray import crew
from meddel_fast.common.hashes import sha256_file
from meddel_fast.images.address import ImageError

DRIVER = Path(__file__).resolve().parents[1] / "helpers" / "curate_driver.py"
RAY = {"engine": "ray", "workers": 2, "memory": "100MB"}


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


class Killer:
    """Kills by turns a process and a node of the cluster; the node is made up for by a new one."""

    def __init__(self, cluster: Any) -> None:
        self._cluster, self.killed = cluster, list[str]()

    def process(self, place: crew.Place) -> None:
        os.kill(place.pid, signal.SIGKILL)
        self.killed.append("process")

    def node(self, place: crew.Place) -> None:
        node = next(n for n in self._cluster.list_all_nodes() if n.node_id == place.node)
        self._cluster.remove_node(node, allow_graceful=False)
        self._cluster.add_node(num_cpus=1, object_store_memory=100 << 20)
        self.killed.append("node")


def others(places: Iterable[crew.Place]) -> list[crew.Place]:
    """The places that are not on the driver's node, which has the head as well."""
    own = ray.get_runtime_context().get_node_id()
    return [place for place in places if place.node != own]


def test_equals_one_machine_and_outlives_processes_and_nodes(
    cluster: Any, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killer = Killer(cluster)
    begin_shard, begin_call = ray_shards.ShardPool._begin, crew.Crew.begin

    def begin_and_kill(self: Any, actor: Any, number: int) -> None:
        if not killer.killed and self._hired:  # else the first that is there makes all shards
            ray.wait(list(self._hired), num_returns=len(self._hired), timeout=100)
        begin_shard(self, actor, number)
        place = self._places[actor]
        if not killer.killed and others([place]):
            killer.node(place)
        elif len(killer.killed) == 1:
            killer.process(place)

    def call_and_kill(self: Any, attempt: int) -> bool:
        there = begin_call(self, attempt)
        if attempt <= 2:  # of each call the first two attempts
            kill = killer.process if attempt == 1 else killer.node
            kill(others(self.places.values())[0])
        return bool(there)

    monkeypatch.setattr(ray_shards.ShardPool, "_begin", begin_and_kill)
    monkeypatch.setattr(crew.Crew, "begin", call_and_kill)
    record = on_ray(base, tmp_path / "out")
    assert killer.killed == ["node", "process", "process", "node", "process", "node"]
    assert content(tmp_path / "out") == content(base / "whole")
    shards = [what for what in told(record, "embeddings") if what.startswith("shard ")]
    assert len(shards) >= 2
    assert all(" was made again, its worker (node " in what for what in shards)
    for stage in ("duplicates", "selection"):
        assert len(told(record, stage)) >= 2
        assert all("was lost: " in what for what in told(record, stage))
        assert all("all began again from the last checkpoint" in w for w in told(record, stage))
    assert record["stages"]["embeddings"]["counts"]["made"] == 10


def test_a_killed_driver_goes_on(cluster: Any, base: Path, tmp_path: Path) -> None:
    targets = ["embeddings:middle", "duplicates:begin", "selection:end"]
    options = {**RAY, "address": cluster.address}
    out = tmp_path / "out"
    run = subprocess.run(
        [sys.executable, DRIVER, base / "pictures", base / "encoder", out, *targets],
        env={**os.environ, "OMP_NUM_THREADS": "1", "CURATE_OPTIONS": json.dumps(options)},
        capture_output=True, text=True, timeout=240,
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
    table = pq.read_table(base / "whole" / "manifest.parquet")
    place = table.column_names.index("sha256")
    changed = ["0" * 64] * len(table)
    table = table.set_column(place, table.schema.field(place), [changed])
    pq.write_table(table, tmp_path / "m.parquet")
    given = {**OPTIONS, **RAY, "workers": 1, "encoder": base / "encoder"}
    with pytest.raises(ImageError, match="is not the file that the manifest was made of"):
        curate(tmp_path / "m.parquet", tmp_path / "other", **given)
