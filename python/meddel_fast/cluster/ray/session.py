"""A connection to a Ray cluster: the one that the program has, or one that is begun here."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from meddel_fast.common.extras import needs

with needs("ray"):
    import ray


@contextmanager
def connected(address: str | None = None, **options: Any) -> Iterator[None]:
    """Use the program's connection to Ray, or make one for the block.

    Parameters
    ----------
    address
        Of the cluster, as :func:`ray.init` takes it ("auto": the one on this machine). None: a
        cluster of this machine alone, that ends with the block.
    options
        Further ones of :func:`ray.init`.

    Raises
    ------
    ConnectionError
        There is no cluster at the address.
    """
    if ray.is_initialized():
        yield
        return
    if address is None:  # ours: it tells nobody that it is used
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        options = {"include_dashboard": False} | options
    ray.init(address=address, **{"log_to_driver": False, **options})
    try:
        yield
    finally:
        ray.shutdown()
