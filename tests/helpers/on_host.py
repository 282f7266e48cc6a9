"""The cases of device_cases.py on the host: the extension's own code thread by thread, Triton's
kernels in its interpreter. Run by test_device.py in a process of its own."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import torch
from device_cases import *  # noqa: F403

from meddel_fast.kernels import cuda

sys.path.insert(0, str(Path(os.environ["MEDDEL_BUILD_DIR"]).resolve()))
import _cuda_on_host as host


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> torch.device:
    def launch(name: str, device: torch.device, *arguments: object) -> None:
        getattr(host, name)(*arguments, 0)

    monkeypatch.setattr(cuda, "_cuda", host)
    monkeypatch.setattr(cuda, "_launch", launch)
    return torch.device("cpu")
