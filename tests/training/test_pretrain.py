"""Pre-training: resumed runs are unbroken runs, equal steps, honest files."""

from __future__ import annotations

import csv
import errno
import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from frames import TINY, blob_frames

import meddel_fast.training.pretrain as pretrain_module
from meddel_fast.cli.console import explain
from meddel_fast.common.errors import ConfigError
from meddel_fast.images.manifest import Manifest
from meddel_fast.training import checkpoint, device
from meddel_fast.training.encoders.vit import (
    build_mae,
    fingerprint,
    load_encoder,
    normalise,
    sine_cosine,
)
from meddel_fast.training.loader import Frames, batch_indices, frames, prefetch
from meddel_fast.training.methods import build_simmim, masked
from meddel_fast.training.optimise import cosine, make_optimizer
from meddel_fast.training.pretrain import make_batch, pretrain

SCRIPT = """
import sys, torch
from dataclasses import replace
from frames import TINY
from meddel_fast.images.manifest import Manifest
from meddel_fast.training.pretrain import pretrain
torch.set_num_threads(1)
config = replace(TINY, steps=40, precision=sys.argv[3], colour_jitter=0.4)
show = lambda done, total: print(done, flush=True)
pretrain(Manifest.load(sys.argv[1]), None, sys.argv[2], config, progress=show)
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    torch.set_num_threads(1)
    return blob_frames(tmp_path_factory.mktemp("blobs"))


def log(out: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((out / "loss.csv").read_text().splitlines()))


def equal(a: Path, b: Path) -> bool:
    return (a / "model.safetensors").read_bytes() == (b / "model.safetensors").read_bytes()


def start(manifest: Path, out: Path, precision: str) -> subprocess.Popen[str]:
    paths = [str(Path(__file__).parents[1] / "helpers"), os.environ.get("PYTHONPATH", "")]
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(manifest), str(out), precision],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in paths if p)},
    )


def test_killed_run_resumes_to_the_same_weights(data: Manifest, tmp_path: Path) -> None:
    manifest = tmp_path / "blobs.parquet"
    data.save(manifest)
    with start(manifest, tmp_path / "broken", "bf16") as run:
        assert run.stdout is not None
        for line in run.stdout:  # let it come past some checkpoints, then kill it mid-step
            if int(line) >= 7:
                run.send_signal(signal.SIGKILL)
                break
    assert run.returncode == -signal.SIGKILL
    assert not (tmp_path / "broken" / "model").exists()
    assert [p.name for p in (tmp_path / "broken" / "checkpoint").glob("*.safetensors")] == [
        "last.safetensors"
    ]
    with start(manifest, tmp_path / "broken", "bf16") as run:
        assert run.stdout is not None
        steps = [int(line) for line in run.stdout]
    assert run.returncode == 0
    assert 7 <= steps[0] < 40, "it did not resume"
    config = replace(TINY, steps=40, precision="bf16", colour_jitter=0.4)
    unbroken = pretrain(data, None, tmp_path / "unbroken", config)
    assert equal(tmp_path / "broken" / "model", unbroken)
    broken, whole = (log(tmp_path / name) for name in ("broken", "unbroken"))
    assert [int(row["step"]) for row in broken] == list(range(1, 41))
    assert [row["loss"] for row in broken] == [row["loss"] for row in whole]
    assert not (tmp_path / "broken" / "checkpoint").exists()


def test_same_seed_same_weights_other_seed_others(data: Manifest, tmp_path: Path) -> None:
    before = torch.get_rng_state()
    a = pretrain(data, None, tmp_path / "a", TINY)
    assert torch.equal(before, torch.get_rng_state())  # the caller's generator is left alone
    assert not torch.are_deterministic_algorithms_enabled()
    torch.manual_seed(99)
    b = pretrain(data, np.arange(12)[::-1], tmp_path / "b", replace(TINY, checkpoint_every=5))
    c = pretrain(data, None, tmp_path / "c", replace(TINY, seed=1))
    assert equal(a, b)
    assert not equal(a, c)


@pytest.mark.parametrize("kept", [[3], [1, 5, 9], list(range(12))])
def test_equal_steps_for_every_subset(data: Manifest, tmp_path: Path, kept: list[int]) -> None:
    seen: list[tuple[int, int]] = []
    pretrain(
        data, kept, tmp_path, replace(TINY, steps=5), progress=lambda d, t: seen.append((d, t))
    )
    assert seen[-1] == (5, 5)
    assert sorted({d for d, _ in seen}) == [1, 2, 3, 4, 5]


def test_loads_with_transformers_and_learns(data: Manifest, tmp_path: Path) -> None:
    from transformers import AutoConfig, ViTMAEForPreTraining

    config = replace(TINY, steps=120, learning_rate=5e-3, norm_pix_loss=False, crop=False)
    folder = pretrain(data, [0], tmp_path, config)  # one frame: each place has its own answer
    rows = log(tmp_path)
    losses = [float(row["loss"]) for row in rows]
    assert np.mean(losses[-10:]) < 0.25 * np.mean(losses[:10])
    assert float(rows[1]["learning_rate"]) == pytest.approx(config.learning_rate)
    model = ViTMAEForPreTraining.from_pretrained(folder)
    assert AutoConfig.from_pretrained(folder).mask_ratio == TINY.mask_ratio
    model.save_pretrained(tmp_path / "again")
    assert equal(tmp_path / "again", folder)


def test_finished_run_is_not_repeated_and_a_changed_one_is(data: Manifest, tmp_path: Path) -> None:
    folder = pretrain(data, None, tmp_path, TINY)
    file = folder / "model.safetensors"
    stamp = file.stat().st_mtime_ns
    pretrain(data, None, tmp_path, replace(TINY, checkpoint_every=3))
    assert file.stat().st_mtime_ns == stamp
    good = file.read_bytes()
    file.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    pretrain(data, None, tmp_path, TINY)
    assert file.read_bytes() == good
    pretrain(data, [0, 1], tmp_path, TINY)
    assert file.read_bytes() != good


@pytest.mark.parametrize("damage", ["cut", "flip", "empty"])
def test_damaged_checkpoint_is_named_and_not_used(
    data: Manifest, tmp_path: Path, damage: str
) -> None:
    wanted = pretrain(data, None, tmp_path / "wanted", TINY)
    path = tmp_path / "run" / "checkpoint" / "last.safetensors"

    def stop(done: int, _: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pretrain(data, None, tmp_path / "run", TINY, progress=stop)
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 4
    path.write_bytes(content[: {"cut": 1000, "flip": None, "empty": 0}[damage]])
    with pytest.warns(RuntimeWarning, match=r"last\.safetensors is damaged"):
        got = pretrain(data, None, tmp_path / "run", TINY)
    assert equal(got, wanted)


def test_a_checkpoint_that_may_not_be_read_is_no_damaged_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = torch.nn.Linear(4, 3)
    optimizer = torch.optim.AdamW(model.parameters())
    checkpoint.save(tmp_path / "c.safetensors", model, optimizer, "key", 1)

    def refuse(path: Path, mode: str) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(PermissionError, match=r"c\.safetensors"):
        checkpoint.load(tmp_path / "c.safetensors", model, optimizer, "key")


def test_a_full_disk_is_told(data: Manifest, tmp_path: Path) -> None:
    """safetensors has an error of its own for it, which the command line does not know."""
    model = torch.nn.Linear(100, 100)
    optimizer = torch.optim.AdamW(model.parameters())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(OSError, match=r"c\.safetensors") as saved:
            checkpoint.save(tmp_path / "c.safetensors", model, optimizer, "key", 1)
        with pytest.raises(OSError, match="model") as trained:
            pretrain(data, None, tmp_path / "run", replace(TINY, checkpoint_every=1000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    for error in (saved.value, trained.value):
        assert explain(error).startswith("cannot write, the disk is full")
    assert not list(tmp_path.rglob("*.safetensors"))


def test_checkpoint_is_due_by_time_too(
    data: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(done: int, _: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    rarely = replace(TINY, checkpoint_every=1000)
    file = tmp_path / "checkpoint" / "last.safetensors"
    with pytest.raises(KeyboardInterrupt):
        pretrain(data, None, tmp_path, rarely, progress=stop)
    assert not file.exists()
    monkeypatch.setattr(pretrain_module, "_MOST_LOST", -1.0)
    with pytest.raises(KeyboardInterrupt):
        pretrain(data, None, tmp_path, rarely, progress=stop)
    assert file.exists()
    seen: list[int] = []
    pretrain(data, None, tmp_path, rarely, progress=lambda done, _: seen.append(done))
    assert seen[0] == 5


def test_checkpoint_of_other_settings_is_not_used(data: Manifest, tmp_path: Path) -> None:
    compute = device.choose("cpu", "fp32")
    model = build_mae(TINY, compute)
    optimizer = make_optimizer(model.parameters(), 1e-3, 0.05)
    checkpoint.save(tmp_path / "c", model, optimizer, "one", 3)
    assert checkpoint.load(tmp_path / "c", model, optimizer, "two") == 0
    assert checkpoint.load(tmp_path / "absent", model, optimizer, "one") == 0
    assert not optimizer.state


@pytest.mark.parametrize(
    ("indices", "error", "message"),
    [
        ([], ValueError, "at least one image"),
        ([0, 12], ValueError, r"\[0, 12\)"),
        ([-1], ValueError, r"\[0, 12\)"),
        ([2, 2], ValueError, "twice"),
        ([0.5], TypeError, "integers"),
        ([[0, 1]], TypeError, "integers"),
        ([True, False], TypeError, "integers"),
    ],
)
def test_wrong_indices(
    data: Manifest, tmp_path: Path, indices: list[float], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        pretrain(data, indices, tmp_path / "out", TINY)
    assert not (tmp_path / "out").exists()


def test_wrong_device_precision_and_seed() -> None:
    with pytest.raises(ValueError, match="precision: wanted"):
        device.choose("cpu", "int8")
    with pytest.raises(ValueError, match="device: 'gpu'"):
        device.choose("gpu")
    with pytest.raises(ValueError, match="seed: wanted"):
        device.rng_at(-1, device.Stream.ORDER)


def test_infinite_loss_is_an_error(data: Manifest, tmp_path: Path) -> None:
    with pytest.raises(FloatingPointError, match="learning_rate"):
        pretrain(data, None, tmp_path, replace(TINY, learning_rate=1e30, steps=30))
    assert not (tmp_path / "model").exists()


def test_steps_are_functions_of_seed_and_number(data: Manifest) -> None:
    pool = frames(data, TINY.image_size)
    chosen = np.array([1, 4, 6])
    for step in (0, 7, 3):
        one, two = (make_batch(pool, chosen, TINY, step) for _ in range(2))
        for a, b in zip(one, two, strict=True):
            np.testing.assert_array_equal(a, b)
    assert (make_batch(pool, chosen, TINY, 8).noise != one.noise).any()


@pytest.mark.parametrize(("n", "size"), [(1, 4), (3, 8), (10, 4), (8, 8)])
def test_epochs_are_permutations(n: int, size: int) -> None:
    flow = np.concatenate([batch_indices(5, step, size, n) for step in range(10)])
    for epoch in range(len(flow) // n):
        assert sorted(flow[epoch * n : (epoch + 1) * n]) == list(range(n))
    if n >= 8:
        assert (flow[:n] != flow[n : 2 * n]).any()


def test_cosine_schedule() -> None:
    rates = [cosine(step, 100, 10, 2.0) for step in range(100)]
    assert rates[0] == pytest.approx(0.2)
    assert max(rates) == rates[9] == rates[10] == 2.0
    assert rates[55] == pytest.approx(1.0)
    assert 0 < rates[99] < 0.01
    assert cosine(0, 1, 0, 2.0) == 2.0


def test_network_knows_where_patches_lie() -> None:
    # transformers 5.23 leaves both position embeddings of a new model at zero, for ever.
    model = build_mae(TINY, device.choose("cpu", "fp32"))
    for positions in (model.vit.embeddings.position_embeddings, model.decoder.decoder_pos_embed):
        assert not positions.requires_grad
        rows = positions[0, 1:]
        assert (torch.cdist(rows, rows) + torch.eye(len(rows)) > 0.1).all()
    table = sine_cosine(4, 16)[0]
    np.testing.assert_allclose(table[1 + 4 * 2 + 3, 0], np.sin(3))  # row 2, column 3
    np.testing.assert_allclose(table[1 + 4 * 2 + 3, 8], np.sin(2))


def test_frames_that_do_not_fit_are_decoded_again(data: Manifest) -> None:
    kept = Frames(data.image_paths(), 16)
    fresh = Frames(data.image_paths(), 16, keep=False, workers=2)
    rows = np.array([5, 0, 5, 11])
    for _ in range(2):
        np.testing.assert_array_equal(kept[rows], fresh[rows])
    assert fresh.nbytes == 0 < kept.nbytes
    assert frames(data, 16) is frames(data, 16)


def test_prefetch_keeps_order_and_passes_errors_on() -> None:
    assert list(prefetch(lambda i: i * i, range(50))) == [i * i for i in range(50)]
    flow = prefetch(lambda i: 1 // (3 - i), range(10))
    with pytest.raises(ZeroDivisionError):
        list(flow)
    began = time.perf_counter()
    stopped = prefetch(lambda i: time.sleep(0.01), range(10_000))
    next(stopped)
    stopped.close()
    assert time.perf_counter() - began < 5


def test_fingerprint_follows_the_weights(data: Manifest, tmp_path: Path) -> None:
    a = pretrain(data, None, tmp_path / "a", replace(TINY, steps=2))
    b = pretrain(data, None, tmp_path / "b", replace(TINY, steps=2))
    c = pretrain(data, None, tmp_path / "c", replace(TINY, steps=3))
    assert fingerprint(a) == fingerprint(b) != fingerprint(c)


# SimMIM

SIMMIM = replace(TINY, method="simmim")


def test_simmim_resumes_to_the_same_weights_and_learns(data: Manifest, tmp_path: Path) -> None:
    def stop(done: int, _: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    whole = pretrain(data, None, tmp_path / "whole", SIMMIM)
    with pytest.raises(KeyboardInterrupt):
        pretrain(data, None, tmp_path / "broken", SIMMIM, progress=stop)
    seen: list[int] = []
    broken = pretrain(data, None, tmp_path / "broken", SIMMIM, progress=lambda d, _: seen.append(d))
    assert seen[0] == 5, "it did not resume from step 4"
    assert equal(broken, whole)
    assert not equal(whole, pretrain(data, None, tmp_path / "mae", TINY))
    config = replace(SIMMIM, steps=120, learning_rate=5e-3, crop=False)
    pretrain(data, [0], tmp_path / "long", config)
    losses = [float(row["loss"]) for row in log(tmp_path / "long")]
    assert np.mean(losses[-10:]) < 0.5 * np.mean(losses[:10])


def test_simmim_encoder_is_the_one_that_was_trained(data: Manifest, tmp_path: Path) -> None:
    from transformers import AutoModel, ViTForMaskedImageModeling

    folder = pretrain(data, None, tmp_path, SIMMIM)
    trained, loading = ViTForMaskedImageModeling.from_pretrained(folder, output_loading_info=True)
    assert not loading["missing_keys"]
    _, loading = AutoModel.from_pretrained(folder, output_loading_info=True)
    assert {key.partition(".")[0] for key in loading["missing_keys"]} <= {"pooler"}  # never used
    compute = device.choose("cpu", "fp32")
    encoder = load_encoder(folder, compute)
    images = torch.from_numpy(frames(data, 32)[np.arange(4)])
    with torch.inference_mode():
        hidden = trained.eval().vit(normalise(images)).last_hidden_state
        tokens = encoder(images)
    assert (tokens.patches.flatten(1, 2) - hidden[:, 1:]).abs().max() == 0.0
    assert (tokens.cls - hidden[:, 0]).abs().max() == 0.0


@pytest.mark.parametrize("share", [0.75, 0.6, 0.1])
def test_both_methods_mask_the_same_patches(data: Manifest, share: float) -> None:
    noise = torch.from_numpy(make_batch(frames(data, 32), np.arange(3), TINY, 5).noise)
    mae = build_mae(replace(TINY, mask_ratio=share), device.choose("cpu", "fp32"))
    pixels = torch.zeros(len(noise), 3, 32, 32)
    assert torch.equal(masked(noise, share), mae(pixels, noise=noise).mask.bool())


def test_simmim_knows_where_patches_lie_and_draws_from_its_seed() -> None:
    compute = device.choose("cpu", "fp32")
    model, again, other = (
        build_simmim(replace(SIMMIM, seed=seed), compute).state_dict() for seed in (0, 0, 1)
    )
    assert all(torch.equal(model[name], again[name]) for name in model)
    token = "vit.embeddings.mask_token"
    assert not torch.equal(model[token], other[token])
    rows = model["vit.embeddings.position_embeddings"][0, 1:]
    assert (torch.cdist(rows, rows) + torch.eye(len(rows)) > 0.1).all()
    with pytest.raises(ValueError, match="hidden_size: wanted a multiple of 4"):
        build_simmim(replace(SIMMIM, hidden_size=30), compute)


# Epochs by ratio


def test_epochs_come_to_steps_by_the_number_of_images(data: Manifest, tmp_path: Path) -> None:
    config = replace(TINY, epochs={"1.0": 2, "0.25": 8, "0.05": 0.1}, warmup_steps=50, steps=50)
    assert config.at_ratio(1.0, 12).steps == 6  # 2 x 12 / 4
    assert config.at_ratio(0.25, 3) == replace(config, steps=6, warmup_steps=0, epochs={})
    assert config.at_ratio(1.0, 2000).warmup_steps == 50
    assert config.at_ratio(0.05, 1).steps == 1
    assert TINY.at_ratio(0.3, 5) is TINY
    with pytest.raises(ConfigError, match=r"epochs must have the ratio 0\.5"):
        config.at_ratio(0.5, 12)
    with pytest.raises(ValueError, match="config must have steps, got epochs by ratio"):
        pretrain(data, None, tmp_path, config)
