"""Frames and embeddings of images in an object store: the same bytes; what changed is noticed."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("s3fs")

import object_stores
import torch
from accounts import write
from containers import png, tarred
from object_stores import BUCKET, Proxy, Store

from meddel_fast.common import places
from meddel_fast.common.remote.errors import RemoteError
from meddel_fast.images import known_members
from meddel_fast.images.address import ImageError
from meddel_fast.images.load_images import load_image
from meddel_fast.images.manifest import Manifest
from meddel_fast.images.scan.build import scan
from meddel_fast.training.embed import Embeddings, embed
from meddel_fast.training.loader import Frames

IMAGES = {f"images/{n:02d}.png": png(n) for n in range(24)}
SCRIPT = """
import sys
from meddel_fast.images.manifest import Manifest
from meddel_fast.training.embed import embed
import torch
torch.set_num_threads(1)
manifest, encoder, out = sys.argv[1:]
rows = Manifest.load(manifest)
embed(rows, encoder, out, batch_size=4, shard_size=4, device="cpu",
      progress=lambda done, total: print(done, flush=True))
"""


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    with object_stores.s3_server() as running:
        yield running


@pytest.fixture
def seen(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    known_members._tars.clear()
    with object_stores.proxy(store) as about:
        object_stores.use(monkeypatch, about.url, patience=2)
        yield about


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ViT with its first weights."""
    from transformers import ViTConfig, ViTModel

    torch.set_num_threads(1)
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = ViTConfig(image_size=32, patch_size=8, intermediate_size=32, **sizes)
    folder = tmp_path_factory.mktemp("encoder")
    ViTModel(config).save_pretrained(folder)
    return folder


def put(place: str, files: dict[str, bytes]) -> str:
    for name, data in files.items():
        places.write_bytes(f"{place}/{name}", data)
    return place


def frames(manifest: Manifest) -> Frames:
    return Frames(manifest.image_paths(), 16, sha256=manifest.column("sha256"), workers=2)


def start(manifest: Path, encoder: Path, out: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SCRIPT, str(manifest), str(encoder), str(out)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=dict(os.environ))


def test_an_image_is_one_request_and_hashed_from_it(seen: Proxy) -> None:
    found = scan(put(f"s3://{BUCKET}/once", IMAGES))
    seen.requests.clear()
    pixels = frames(found)[np.arange(24)]
    assert seen.counts() == {"GET": 24}
    assert np.array_equal(pixels[7], load_image(found.image_paths()[7], 16))


def test_an_image_that_was_replaced_is_noticed(seen: Proxy) -> None:
    place = put(f"s3://{BUCKET}/changed", IMAGES)
    found = scan(place)
    places.write_bytes(f"{place}/images/03.png", png(77))
    with pytest.raises(ImageError, match=r"03\.png: is not the file that the manifest was made of"):
        frames(found)[np.arange(6)]


def test_a_tar_that_was_packed_anew_is_noticed(
    seen: Proxy, caplog: pytest.LogCaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from meddel_fast.common import remote_path

    members = {f"{n}.png": png(n) for n in range(4)}
    place = put(f"s3://{BUCKET}/tars", {"0.tar": tarred(members)})
    scan(place).save(tmp_path / "far.parquet")

    def packed_anew(files: dict[str, bytes]) -> Frames:
        """The frames that a later process would see."""
        put(place, {"0.tar": tarred(files)})
        known_members._tars.clear()
        monkeypatch.setattr(remote_path, "_STATE_OF", remote_path._States())
        return frames(Manifest.load(tmp_path / "far.parquet"))

    with caplog.at_level(logging.WARNING):
        same = packed_anew({"first.txt": b"x" * 9000} | members)[np.arange(4)]  # all have moved
    assert "has changed since it was scanned" in caplog.text
    near = scan(write(tmp_path / "near", {f"images/{n}": data for n, data in members.items()}))
    assert np.array_equal(same, frames(near)[np.arange(4)])
    changed = packed_anew(members | {"2.png": png(99)})
    with pytest.raises(ImageError, match=r"2\.png: is not the file that the manifest was made of"):
        changed[np.arange(4)]


def test_a_killed_embedding_of_remote_images_goes_on(
    seen: Proxy, encoder: Path, tmp_path: Path
) -> None:
    near = scan(write(tmp_path / "set", IMAGES))
    unbroken = embed(near, encoder, tmp_path / "near", batch_size=4, shard_size=4, device="cpu")
    far = scan(put(f"s3://{BUCKET}/killed", IMAGES))
    far.save(tmp_path / "far.parquet")
    with start(tmp_path / "far.parquet", encoder, tmp_path / "out") as run:
        assert run.stdout is not None
        for line in run.stdout:  # in the midst of the third shard
            if int(line) >= 12:
                run.send_signal(signal.SIGKILL)
                break
    assert run.returncode == -signal.SIGKILL
    there = len(list((tmp_path / "out").glob("shard-*.npy")))
    assert 1 <= there < 6
    with pytest.raises(ValueError, match="interrupted"):
        Embeddings.load(tmp_path / "out")
    seen.spoil = lambda method, path, number: "503" if path.endswith("/22.png") else ""
    with pytest.raises(RemoteError, match=r"22\.png could not be read"):
        embed(far, encoder, tmp_path / "out", batch_size=4, shard_size=4, device="cpu")
    seen.spoil = lambda method, path, number: ""
    seen.requests.clear()
    whole = embed(far, encoder, tmp_path / "out", batch_size=4, shard_size=4, device="cpu")
    assert whole.array.tobytes() == unbroken.array.tobytes()
    assert seen.counts() == {"GET": 4}  # all but the last shard was there
