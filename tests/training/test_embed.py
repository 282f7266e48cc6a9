"""Embeddings: what the encoder says, shard by shard, whole or not at all."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from frames import TINY, blob_frames
from PIL import Image

from meddel_fast.common import places
from meddel_fast.images.manifest import Manifest
from meddel_fast.images.scan.folder import scan_folder
from meddel_fast.stores import embedding_files, open_store
from meddel_fast.training.device import choose
from meddel_fast.training.embed import Embeddings, embed
from meddel_fast.training.encoders.vit import Encoder, load_encoder, normalise
from meddel_fast.training.loader import frames
from meddel_fast.training.pretrain import pretrain


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    torch.set_num_threads(1)
    return blob_frames(tmp_path_factory.mktemp("blobs"))


@pytest.fixture(scope="module")
def model(data: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pretrain(data, None, tmp_path_factory.mktemp("mae"), TINY)


def save_vit(folder: Path, **other: Any) -> Path:
    """A plain ViT, as any other checkpoint of transformers."""
    from transformers import ViTConfig, ViTModel

    torch.manual_seed(0)
    config = ViTConfig(
        image_size=32,
        patch_size=8,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        **other,
    )
    ViTModel(config).save_pretrained(folder)
    return folder


def test_equals_the_mae_encoder_with_patches_in_raster_order(data: Manifest, model: Path) -> None:
    from transformers import ViTMAEModel

    encoder = load_encoder(model, choose("cpu", "fp32"))
    images = torch.from_numpy(frames(data, 32)[np.arange(3)])
    bare = ViTMAEModel.from_pretrained(model, mask_ratio=0.0).eval()
    with torch.no_grad():
        tokens = encoder(images)
        out = bare(normalise(images))  # shuffles the patches at random, and says how
    order = out.ids_restore.unsqueeze(-1).expand(-1, -1, 32)
    wanted = out.last_hidden_state[:, 1:].gather(1, order)
    torch.testing.assert_close(tokens.patches.flatten(1, 2), wanted)
    torch.testing.assert_close(tokens.cls, out.last_hidden_state[:, 0])
    # A change to one patch shows most in that patch's token.
    changed = images.clone()
    changed[:, 8:16, 16:24] = 255
    with torch.no_grad():
        moved = (encoder(changed).patches - tokens.patches).norm(dim=-1)
    assert (moved.flatten(1).argmax(dim=1) == 1 * 4 + 2).all()


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_shards_hold_what_the_encoder_says(
    data: Manifest, model: Path, tmp_path: Path, pooling: str
) -> None:
    seen: list[tuple[int, int]] = []
    got = embed(
        data,
        model,
        tmp_path,
        shard_size=5,
        batch_size=4,
        pooling=pooling,
        progress=lambda d, t: seen.append((d, t)),
    )
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["index.json", "shard-00000.npy", "shard-00001.npy", "shard-00002.npy"]
    assert seen[-1] == (12, 12)
    assert [d for d, _ in seen] == sorted(d for d, _ in seen)
    encoder = load_encoder(model, choose("cpu", "fp32"))
    with torch.no_grad():
        tokens = encoder(torch.from_numpy(frames(data, 32)[np.arange(12)]))
    wanted = tokens.cls if pooling == "cls" else tokens.patches.mean(dim=(1, 2))
    np.testing.assert_allclose(got.array, wanted.numpy(), rtol=1e-4, atol=1e-5)
    assert got.array.dtype == np.float32
    assert got.index["shape"] == [12, 32]
    assert got.centred.dtype == np.float32
    np.testing.assert_allclose(got.centred, got.array - got.array.mean(axis=0), atol=1e-5)
    assert got.index["manifest"] == data.fingerprint


def test_one_shard_is_memory_mapped_and_half_precision_kept(
    data: Manifest, model: Path, tmp_path: Path
) -> None:
    half = embed(data, model, tmp_path / "half", dtype="float16").array
    full = embed(data, model, tmp_path / "full").array
    assert isinstance(full, np.memmap)
    assert half.dtype == np.float16
    np.testing.assert_array_equal(half, full.astype(np.float16))


def test_equal_images_get_equal_embeddings(model: Path, tmp_path: Path) -> None:
    blob_frames(tmp_path / "data", n=7)
    for i in (3, 6):  # in other batches, the last of which is not full
        shutil.copy(tmp_path / "data/images/000.png", tmp_path / f"data/images/{i:03d}.png")
    data = scan_folder(tmp_path / "data")
    x = embed(data, model, tmp_path / "out", batch_size=2).array
    np.testing.assert_array_equal(x[[3, 6]], x[[0, 0]])
    assert (x[1] != x[0]).any()


def test_an_image_that_was_replaced_since_the_scan_is_not_embedded(
    model: Path, tmp_path: Path
) -> None:
    data = blob_frames(tmp_path / "data", n=7)
    shutil.copy(tmp_path / "data/images/000.png", tmp_path / "data/images/003.png")
    with pytest.raises(ValueError, match=r"003\.png: is not the file that the manifest was made"):
        embed(data, model, tmp_path / "out", batch_size=2)
    with pytest.raises(ValueError, match="interrupted"):
        Embeddings.load(tmp_path / "out")


def test_interrupted_run_goes_on_at_the_first_missing_shard(
    data: Manifest, model: Path, tmp_path: Path
) -> None:
    def stop(done: int, _: int) -> None:
        if done > 8:
            raise KeyboardInterrupt

    wanted = embed(data, model, tmp_path / "whole", shard_size=4).array
    out = tmp_path / "broken"
    with pytest.raises(KeyboardInterrupt):
        embed(data, model, out, shard_size=4, progress=stop)
    with pytest.raises(ValueError, match="interrupted"):
        Embeddings.load(out)
    seen: list[int] = []
    got = embed(data, model, out, shard_size=4, progress=lambda d, _: seen.append(d))
    assert min(seen) > 8
    np.testing.assert_array_equal(got.array, wanted)


def test_a_folder_by_url_is_the_local_one(
    data: Manifest, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("fsspec")
    local = embed(data, model, tmp_path, device="cpu", shard_size=4)
    url = f"memory://{tmp_path.name}"
    made = []

    def count(folder: str, number: int, array: Any) -> Any:
        made.append(number)
        if len(made) == 2:
            raise KeyboardInterrupt
        return embedding_files.write_shard(folder, number, array)

    monkeypatch.setattr("meddel_fast.training.embed.write_shard", count)
    with pytest.raises(KeyboardInterrupt):
        embed(data, model, url, device="cpu", shard_size=4)
    remote = embed(data, model, url, device="cpu", shard_size=4)
    assert made == [0, 1, *range(1, -(-len(data) // 4))]  # the first one was there
    assert remote.index == local.index
    assert sorted(p.name for p in tmp_path.iterdir()) == places.list_files(url)
    np.testing.assert_array_equal(Embeddings.load(url).array, local.array)
    np.testing.assert_array_equal(open_store(url).rows(0, len(data)), local.array)
    with pytest.raises(ValueError, match="must be on this machine"):
        remote.take(np.arange(len(data)), data, "memory://other")


def test_missing_and_damaged_shards_are_named_and_made_again(
    data: Manifest, model: Path, tmp_path: Path
) -> None:
    wanted = embed(data, model, tmp_path, shard_size=4).array.copy()
    shard = tmp_path / "shard-00001.npy"
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(content)
    with pytest.raises(ValueError, match=r"shard-00001\.npy is damaged"):
        Embeddings.load(tmp_path)
    shard.unlink()
    with pytest.raises(FileNotFoundError, match=r"shard-00001\.npy is missing"):
        Embeddings.load(tmp_path)
    got = embed(data, model, tmp_path, shard_size=4)
    np.testing.assert_array_equal(got.array, wanted)
    with pytest.raises(FileNotFoundError, match="no embeddings"):
        Embeddings.load(tmp_path / "elsewhere")


def test_other_settings_or_data_start_anew(data: Manifest, model: Path, tmp_path: Path) -> None:
    embed(data, model, tmp_path, shard_size=4)
    fewer = embed(data.take(np.arange(6)), model, tmp_path, shard_size=4)
    assert fewer.array.shape == (6, 32)
    assert not (tmp_path / "shard-00002.npy").exists()


@pytest.mark.parametrize("size", [32, 48])
def test_plain_vit_and_interpolated_positions(data: Manifest, tmp_path: Path, size: int) -> None:
    from transformers import ViTModel

    folder = save_vit(tmp_path / "vit")
    got = embed(data, folder, tmp_path / "out", image_size=size).array
    bare = ViTModel.from_pretrained(folder).eval()
    images = torch.from_numpy(frames(data, size)[np.arange(12)])
    with torch.no_grad():
        out = bare(normalise(images), **({} if size == 32 else {"interpolate_pos_encoding": True}))
    wanted = out.last_hidden_state[:, 1:].mean(dim=1).numpy()
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)


def test_preprocessor_file_decides_the_statistics(data: Manifest, tmp_path: Path) -> None:
    folder = save_vit(tmp_path / "vit")
    (folder / "preprocessor_config.json").write_text(
        '{"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.25, 0.5]}'
    )
    encoder = load_encoder(folder, choose("cpu", "fp32"))
    pixels = normalise(torch.full((1, 2, 2, 3), 255, dtype=torch.uint8), encoder.mean, encoder.std)
    torch.testing.assert_close(pixels[0, :, 0, 0], torch.tensor([1.0, 2.0, 1.0]))


def test_loading_is_silent(
    data: Manifest, model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    embed(data, model, tmp_path)
    assert capfd.readouterr() == ("", "")


def test_wrong_encoders(data: Manifest, model: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    (tmp_path / "empty").mkdir()
    for name in (tmp_path / "absent", tmp_path / "empty", "no-such-owner/no-such-model"):
        with pytest.raises(FileNotFoundError, match="encoder"):
            embed(data, name, tmp_path / "out")
    gap = shutil.copytree(model, tmp_path / "gap")
    weights = load_file(gap / "model.safetensors")
    lost = min(name for name in weights if name.startswith("vit.") and "layer" in name)
    del weights[lost]
    save_file(weights, gap / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match="lacks 1 weights"):
        embed(data, gap, tmp_path / "out")
    with pytest.raises(ValueError, match="patch size 8"):
        embed(data, model, tmp_path / "out", image_size=30)
    from transformers import BertConfig, BertModel

    BertModel(
        BertConfig(
            vocab_size=9,
            hidden_size=8,
            num_hidden_layers=1,
            num_attention_heads=1,
            intermediate_size=8,
        )
    ).save_pretrained(tmp_path / "bert")
    with pytest.raises(ValueError, match="vision transformer"):
        embed(data, tmp_path / "bert", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size"),
        ({"shard_size": 0}, "shard_size"),
        ({"dtype": "int8"}, "dtype"),
        ({"pooling": "max"}, "pooling"),
        ({"device": "tpu9"}, "device"),
        ({"precision": "fp8"}, "precision"),
    ],
)
def test_wrong_arguments(
    data: Manifest, model: Path, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        embed(data, model, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_no_images(data: Manifest, model: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one usable image"):
        embed(data.take([]), model, tmp_path)


def test_embedding_that_is_not_finite_names_its_image(
    data: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = pretrain(data, None, tmp_path / "mae", replace(TINY, steps=2))
    forward = Encoder.forward

    def broken(self: Encoder, images: torch.Tensor) -> Any:
        tokens = forward(self, images)
        tokens.patches[2] = float("nan")
        return tokens

    monkeypatch.setattr(Encoder, "forward", broken)
    with pytest.raises(FloatingPointError, match=r"images/002\.png"):
        embed(data, folder, tmp_path / "out")


def test_unreadable_image_is_named(model: Path, tmp_path: Path) -> None:
    data = blob_frames(tmp_path / "data", n=3)
    Image.new("RGB", (20, 20)).save(tmp_path / "data/images/001.png")
    (tmp_path / "data/images/001.png").write_bytes(b"no image")
    with pytest.raises(Exception, match=r"001\.png"):
        embed(data, model, tmp_path / "out")
