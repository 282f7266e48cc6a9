"""The client of a URL: its library, time limits, and credentials from the environment alone."""

from __future__ import annotations

import os
import threading
from typing import Any

from meddel_fast.common.remote.client import Client, HubClient, MemoryClient
from meddel_fast.common.remote.errors import RemoteError, missing_library
from meddel_fast.common.remote.s3 import S3Client
from meddel_fast.common.remote.web import WebClient
from meddel_fast.common.urls import scheme_of, shown

_CONNECT, _READ = 10, 30  # seconds
_NAMES = ("AWS_", "FSSPEC_", "GOOGLE_", "GCSFS_", "STORAGE_", "AZURE_", "HF_", "HUGGING")
_KINDS = {
    "s3": S3Client,
    "http": WebClient,
    "https": WebClient,
    "hf": HubClient,
    "memory": MemoryClient,
}
_clients: dict[tuple[int, str, int], Client] = {}
_lock = threading.Lock()


def client(place: str) -> Client:
    """Return the client of a URL, made once for each process and each state of the environment.

    Raises
    ------
    ModuleNotFoundError
        The library of this kind of URL is missing; the message says what to install.
    RemoteError
        It cannot be used: the Hub is asked for while HF_HUB_OFFLINE is set.
    """
    scheme = scheme_of(place)
    told = frozenset(item for item in os.environ.items() if item[0].startswith(_NAMES))
    key = (os.getpid(), scheme, hash(told))
    with _lock:
        if key not in _clients:
            for old in [k for k in _clients if k[1] == scheme]:  # credentials that were changed
                del _clients[old]
            try:
                _clients[key] = _connect(place, scheme)
            except ModuleNotFoundError as error:
                raise missing_library(place, error) from None
        return _clients[key]


def _connect(place: str, scheme: str) -> Client:
    options: dict[str, Any] = {"skip_instance_cache": True, "use_listings_cache": False}
    if scheme == "s3":
        import s3fs  # noqa: F401 - fsspec would tell of it less clearly

        options["config_kwargs"] = {
            "connect_timeout": _CONNECT,
            "read_timeout": _READ,
            "retries": {"total_max_attempts": 1},
        }
    elif scheme in ("http", "https"):
        import aiohttp

        limits = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT, sock_read=_READ)
        options["client_kwargs"] = {"timeout": limits, "trust_env": True}
    elif scheme == "hf":
        from huggingface_hub import constants

        if constants.HF_HUB_OFFLINE:
            raise RemoteError(
                f"{shown(place)} is not asked for while HF_HUB_OFFLINE is set: unset it, or give "
                "a path on this machine"
            )
    elif scheme == "gs":
        import gcsfs  # noqa: F401
    elif scheme == "az":
        import adlfs  # noqa: F401
    import fsspec

    fs = fsspec.filesystem(scheme, **options)
    if scheme == "s3":
        fs.retries = 1  # of its own, each times those of the library below
    return _KINDS.get(scheme, Client)(fs)
