"""A Ray cluster of several nodes on this machine, for a module of tests."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ray
import ray.data
from ray.cluster_utils import Cluster

STORE = 100 << 20  # bytes of the object store of a node
_QUICK = {"health_check_period_ms": 500, "health_check_failure_threshold": 8}  # a death is seen


@contextlib.contextmanager
def small_cluster(nodes: int = 3, cores: int = 1, quick: bool = False) -> Iterator[Any]:
    """Start nodes of so many cores, and connect to them; all is gone after the block."""
    folder = tempfile.mkdtemp(prefix="ry-", dir="/tmp")  # the paths of sockets must be short
    Path(folder, "ray").mkdir()
    before = dict(os.environ)
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_TMPDIR": folder}
    os.environ["MEDDEL_CHECKPOINT_EVERY"] = "0"  # workers have the environment of their node
    os.environ["PYTHONPATH"] = str(Path(__file__).parent)  # whose files workers import as well
    head = {"include_dashboard": False, "temp_dir": folder}
    if quick:
        head["_system_config"] = _QUICK
    each: dict[str, Any] = {"num_cpus": cores, "object_store_memory": STORE}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Ray's own, of ports and threads
        cluster = Cluster(initialize_head=True, head_node_args=each | head)
        try:
            for _ in range(nodes - 1):
                cluster.add_node(**each)
            ray.init(address=cluster.address, log_to_driver=False, logging_level="error")

            ray.data.DataContext.get_current().enable_progress_bars = False
            logging.getLogger("ray.data").setLevel("ERROR")
            yield cluster
        finally:
            ray.shutdown()
            cluster.shutdown()
            os.environ.clear()
            os.environ.update(before)
            shutil.rmtree(folder, ignore_errors=True)
