"""Training on a GPU: what is measured leaves no trace, what is set is followed, runs change device.

What needs no GPU is tested on the CPU.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from frames import TINY, blob_frames
from safetensors.torch import load_file

from meddel_fast.cluster import TorchGroup
from meddel_fast.common.files import read_json
from meddel_fast.images.manifest import Manifest
from meddel_fast.training import pretrain as module
from meddel_fast.training.device import arrays, choose
from meddel_fast.training.downstream import evaluate
from meddel_fast.training.embed import embed
from meddel_fast.training.loader import frames
from meddel_fast.training.pretrain import _Run, pretrain
from meddel_fast.training.settings import DownstreamConfig, PretrainConfig
from meddel_fast.training.speed import Speed, seconds_a_call, told


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    torch.set_num_threads(1)
    return blob_frames(tmp_path_factory.mktemp("blobs"))


def make_run(out: Path, config: PretrainConfig = TINY, device: str = "cpu") -> _Run:
    out.mkdir(exist_ok=True)
    return _Run(np.arange(12), out, config, choose(device, "fp32"), "key", TorchGroup())


def uncompilable(model: Any) -> Any:
    def fail(*_: Any, **__: Any) -> Any:
        raise RuntimeError("no compiler here")

    return fail


def test_what_is_told() -> None:
    speed = Speed("key", "cuda", False, bare=863.0)
    assert str(speed) == ""  # not yet known
    assert str(replace(speed, images_per_s=812.0)) == "images/s 812, 94 % of the bare step"
    compiled = replace(speed, images_per_s=812.0, compiled=True)
    assert str(compiled) == "images/s 812, 94 % of the bare step, compiled"


def test_a_call_is_timed_without_its_warm_up() -> None:
    calls: list[int] = []
    seconds = seconds_a_call(lambda: calls.append(0), torch.device("cpu"), warm=2, calls=5)
    assert len(calls) == 7
    assert seconds > 0


def test_measuring_leaves_the_network_as_it_is(data: Manifest, tmp_path: Path) -> None:
    pool = frames(data, TINY.image_size)
    measured, bare = make_run(tmp_path / "a"), make_run(tmp_path / "b")
    speed = measured.measure(pool)
    assert speed.bare > 0
    assert not speed.compiled  # "auto": these few steps would not pay for it
    assert Speed.load(tmp_path / "a") == replace(speed, bare=round(speed.bare, 1))
    assert told(tmp_path / "a") == ""
    for run in (measured, bare):
        run.train(pool, None)
    for name, value in bare.model.state_dict().items():
        assert torch.equal(measured.model.state_dict()[name], value), name


def test_compiled_only_where_that_is_faster(
    data: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = frames(data, TINY.image_size)
    monkeypatch.setattr(module, "_COMPILE_PAYS", 0)
    monkeypatch.setattr(torch, "compile", lambda model: model)
    times = iter([1.0, 0.5, 1.0, 0.99, 1.0])
    monkeypatch.setattr(module, "seconds_a_call", lambda *_: next(times))
    assert make_run(tmp_path / "faster").measure(pool).compiled
    slower = make_run(tmp_path / "slower").measure(pool)
    assert (slower.compiled, slower.bare) == (False, TINY.batch_size / 1.0)
    assert not make_run(tmp_path / "off", replace(TINY, compile="off")).measure(pool).compiled
    assert not list(times)


def test_a_started_run_keeps_to_what_was_settled(
    data: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = frames(data, TINY.image_size)
    monkeypatch.setattr(torch, "compile", lambda model: model)
    Speed("key", "cpu", True, 1.0).save(tmp_path)
    assert make_run(tmp_path).measure(pool).compiled
    Speed("another", "cpu", True, 1.0).save(tmp_path)
    assert not make_run(tmp_path).measure(pool).compiled
    Speed("key", "cpu", True, 1.0).save(tmp_path)
    assert not make_run(tmp_path, replace(TINY, compile="off")).measure(pool).compiled


def test_what_cannot_be_compiled_is_said(
    data: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = frames(data, TINY.image_size)
    monkeypatch.setattr(module, "_COMPILE_PAYS", 0)
    monkeypatch.setattr(torch, "compile", uncompilable)
    with pytest.warns(RuntimeWarning, match="not compiled: no compiler here"):
        assert not make_run(tmp_path).measure(pool).compiled
    with pytest.raises(RuntimeError, match="no compiler here"):
        make_run(tmp_path / "on", replace(TINY, compile="on")).measure(pool)


def test_other_runs_are_not_measured_on_a_cpu(data: Manifest, tmp_path: Path) -> None:
    pretrain(data, None, tmp_path, TINY, device="cpu")
    assert not (tmp_path / "speed.json").exists()
    assert told(tmp_path) == ""
    assert read_json(tmp_path / "model" / "pretrain.json")["device"] == "cpu"


def test_wrong_setting() -> None:
    with pytest.raises(ValueError, match="compile must be 'auto', 'on' or 'off', got 'maybe'"):
        replace(TINY, compile="maybe")


def test_arrays_come_in_order_and_once(data: Manifest) -> None:
    made: list[int] = []

    def flow() -> Any:
        for i in range(4):
            made.append(i)
            yield i, torch.full((2,), i)

    for i, array in arrays(flow()):
        assert made[-1] == min(i + 1, 3)  # the next one is under way
        np.testing.assert_array_equal(array, [i, i])
    assert list(arrays(iter([]))) == []


def test_frames_are_staged_for_a_copy_that_does_not_wait(device: str) -> None:
    compute = choose(device)
    assert (compute.dtype, compute.attention) == (torch.bfloat16, "sdpa")
    staged = compute.stage(np.arange(6, dtype=np.uint8))
    assert staged.is_pinned()
    assert compute.send(staged).cpu().tolist() == list(range(6))


@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
def test_no_step_waits_for_the_device(device: str, data: Manifest, tmp_path: Path) -> None:
    run = make_run(tmp_path, replace(TINY, compile="off"), device)
    inputs = run._fetch(frames(data, TINY.image_size), 0)
    for _ in range(2):
        run._step(0, inputs)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        run._step(1, inputs)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_speed_is_told_on_a_gpu(device: str, data: Manifest, tmp_path: Path) -> None:
    again = replace(TINY, steps=30, compile="off")
    folders = [pretrain(data, None, tmp_path / n, again, device=device) for n in "ab"]
    assert told(tmp_path / "a").startswith("images/s ")
    first, second = (load_file(folder / "model.safetensors") for folder in folders)
    assert all(torch.equal(second[name], value) for name, value in first.items())


@pytest.mark.parametrize("there", [True, False])
def test_a_run_changes_device(device: str, there: bool, data: Manifest, tmp_path: Path) -> None:
    ways = ("cpu", device) if there else (device, "cpu")
    config = replace(TINY, precision="fp32")

    def stop(done: int, _: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pretrain(data, None, tmp_path / "run", config, device=ways[0], progress=stop)
    seen: list[int] = []
    pretrain(
        data, None, tmp_path / "run", config, device=ways[1], progress=lambda d, _: seen.append(d)
    )
    assert seen[0] == 5  # after the checkpoint of step 4
    pretrain(data, None, tmp_path / "cpu", config, device="cpu")
    logs = [
        np.loadtxt(tmp_path / n / "loss.csv", delimiter=",", skiprows=1) for n in ("run", "cpu")
    ]
    np.testing.assert_allclose(logs[0][:, :2], logs[1][:, :2], rtol=1e-3)


def test_embedding_and_head_on_a_gpu(device: str, data: Manifest, tmp_path: Path) -> None:
    model = pretrain(data, None, tmp_path / "mae", TINY, device="cpu")
    here = embed(data, model, tmp_path / "here", device="cpu").array
    there = embed(data, model, tmp_path / "there", device=device, batch_size=5).array
    np.testing.assert_allclose(there, here, rtol=0, atol=1e-4 * np.abs(here).max())
    head = DownstreamConfig(image_size=32, head_hidden=16, steps=5, batch_size=4)
    for encoder in ("frozen", "finetuned"):
        config = replace(head, encoder=encoder)
        train, test = data.take(np.arange(8)), data.take(np.arange(8, 12))
        found = evaluate(model, train, test, config, seed=0, device=device)
        assert np.sum(found["confusion"]) == 4 * 32 * 32
