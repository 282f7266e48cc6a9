"""Encoders of every family: their right features, or a refusal by name, before any image."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf
from encoder_families import (
    ACCEPTED,
    BF16,
    FP32,
    REFUSED,
    SIZES,
    least_cosine,
    pictures,
    right_features,
    save,
    vit,
)
from frames import blob_frames
from safetensors.torch import load_file, save_file

from meddel_fast.cli.console import explain
from meddel_fast.training.embed import embed
from meddel_fast.training.encoders.vit import fingerprint, load_encoder
from meddel_fast.training.loader import Frames, prefetch
from meddel_fast.training.reconstruction import reconstruction_errors

pytestmark = pytest.mark.usefixtures("quiet_transformers")


@pytest.mark.parametrize("name", ACCEPTED)
def test_tokens_are_those_of_the_model_s_own_pipeline(
    name: str, saved: Callable[[str], Path]
) -> None:
    family, folder = ACCEPTED[name], saved(name)
    encoder = load_encoder(folder, FP32)
    images = pictures(encoder.image_size)
    wanted = right_features(family, folder, images)
    with torch.no_grad():
        tokens = encoder(images)
        found = tokens.patches.flatten(1, 2)
        assert found.shape == wanted[:, family.own :].shape
        assert least_cosine(found, wanted[:, family.own :]) >= 0.9999
        assert encoder.width == wanted.shape[-1]
        assert (encoder.grid**2, encoder.has_class) == (found.shape[1], family.own > 0)
        if tokens.cls is not None:
            assert least_cosine(tokens.cls, wanted[:, 0]) >= 0.9999
        # Patches lie as in the image: what changes most is the token of what was changed.
        side = encoder.patch_size
        for place in range(encoder.grid**2):
            row, column = divmod(place, encoder.grid)
            changed = images.clone()
            part = changed[:, row * side : (row + 1) * side, column * side : (column + 1) * side]
            part[...] = 255 - part
            moved = (encoder(changed).patches - tokens.patches).norm(dim=-1).flatten(1)
            assert moved.mean(dim=0).argmax() == place
        half = load_encoder(folder, BF16)
        with BF16.autocast():
            rough = half(images).patches.flatten(1, 2)
    assert least_cosine(rough, found) >= 0.99


@pytest.mark.parametrize("compute", [FP32, BF16], ids=["fp32", "bf16"])
@pytest.mark.parametrize("name", REFUSED)
def test_what_gives_no_patch_tokens_is_refused_at_load(
    name: str, compute: Any, saved: Callable[[str], Path]
) -> None:
    with pytest.raises(ValueError, match=f"encoder: .*{REFUSED[name][2]}"):
        load_encoder(saved(name), compute)


@pytest.mark.parametrize("name", ["CLIP", "Siglip"])
def test_of_a_model_of_images_and_texts_the_vision_model_is_taken(
    name: str, tmp_path: Path
) -> None:
    texts = {k: v for k, v in SIZES.items() if k not in ("image_size", "patch_size")}
    config = getattr(hf, f"{name}Config")(
        vision_config=SIZES, text_config={**texts, "vocab_size": 99}
    )
    whole = getattr(hf, f"{name}Model")(config)
    save(tmp_path / "whole", whole)
    whole.vision_model.save_pretrained(tmp_path / "vision")
    images = pictures(32)
    with torch.no_grad():
        found, wanted = (
            load_encoder(tmp_path / folder, FP32)(images).patches for folder in ("whole", "vision")
        )
    assert torch.equal(found, wanted)


def test_pooling_by_a_class_token_that_is_not_there_is_refused_before_any_work(
    saved: Callable[[str], Path], tmp_path: Path
) -> None:
    data = blob_frames(tmp_path / "data", n=2)
    for name in ("SigLIP", "I-JEPA", "Swin", "Hiera"):
        kind = ACCEPTED[name].config.model_type
        with pytest.raises(ValueError, match=rf"pooling: .*\(a {kind}\) does not have one class"):
            embed(data, saved(name), tmp_path / "out", pooling="cls")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["CLIP", "BEiT"])
def test_a_norm_taken_from_the_pooler_is_in_the_fingerprint(
    name: str, saved: Callable[[str], Path]
) -> None:
    encoder = load_encoder(saved(name), FP32)
    assert encoder.beyond["norm"] == "pooler's"
    assert fingerprint(saved(name)) != fingerprint(saved(name), encoder)


def test_a_norm_that_the_weights_lack_is_told(saved: Callable[[str], Path], tmp_path: Path) -> None:
    folder = shutil.copytree(saved("Data2Vec"), tmp_path / "data2vec")
    weights = load_file(folder / "model.safetensors")
    save_file(
        {key: value for key, value in weights.items() if "pooler" not in key},
        folder / "model.safetensors",
        {"format": "pt"},
    )
    encoder = load_encoder(folder, FP32)
    assert any("its tokens are not normed" in told for told in encoder.told)
    images = pictures(32)
    with torch.no_grad():
        found = encoder(images).patches.flatten(1, 2)
    wanted = right_features(ACCEPTED["Data2Vec"]._replace(norm=""), folder, images)
    assert least_cosine(found, wanted[:, 1:]) >= 0.9999


def test_fp32_weights_are_not_rounded_to_the_type_in_config_json(
    saved: Callable[[str], Path], tmp_path: Path
) -> None:
    whole, folder = saved("ViT"), shutil.copytree(saved("ViT"), tmp_path / "vit")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"dtype": "bfloat16"}))
    images = pictures(32)
    encoder = load_encoder(folder, FP32)
    with torch.no_grad():
        found, wanted = encoder(images).patches, load_encoder(whole, FP32)(images).patches
    assert torch.equal(found, wanted)
    assert fingerprint(folder) != fingerprint(folder, encoder)  # embeddings made before are stale
    weights = load_file(folder / "model.safetensors")
    save_file(
        {key: value.bfloat16() for key, value in weights.items()},
        folder / "model.safetensors",
        {"format": "pt"},
    )
    assert fingerprint(folder) == fingerprint(folder, load_encoder(folder, FP32))


def test_a_mae_s_weights_are_not_rounded_for_its_errors(tmp_path: Path) -> None:
    data = blob_frames(tmp_path / "data", n=2)
    torch.manual_seed(0)
    decoder = {
        "decoder_hidden_size": 16,
        "decoder_num_hidden_layers": 1,
        "decoder_num_attention_heads": 2,
        "decoder_intermediate_size": 32,
    }
    hf.ViTMAEForPreTraining(vit("ViTMAEConfig", **decoder)).save_pretrained(tmp_path / "mae")
    wanted = reconstruction_errors(data, tmp_path / "mae", device="cpu").patch
    path = tmp_path / "mae" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"dtype": "bfloat16"}))
    found = reconstruction_errors(data, tmp_path / "mae", device="cpu").patch
    assert np.array_equal(found, wanted)
    (tmp_path / "mae" / "model.safetensors").write_bytes(b"")
    with pytest.raises(ValueError, match=r"model: .*model\.safetensors is damaged"):
        reconstruction_errors(data, tmp_path / "mae", device="cpu")


def _other_config(**other: Any) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        path = folder / "config.json"
        kept = {**json.loads(path.read_text()), **other}
        path.write_text(json.dumps({k: v for k, v in kept.items() if v is not None}))

    return change


def _split_without_its_second_part(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    parts = {"a": "model-00002-of-00002.safetensors", "b": "model-00001-of-00002.safetensors"}
    told = {"metadata": {}, "weight_map": parts}
    (folder / "model.safetensors.index.json").write_text(json.dumps(told))


def _pickle_of_junk(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"junk")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (shutil.rmtree, FileNotFoundError, "there is no folder"),
        (lambda f: (f / "config.json").unlink(), FileNotFoundError, r"has no config\.json"),
        (lambda f: (f / "model.safetensors").unlink(), FileNotFoundError, "holds no weights"),
        (_split_without_its_second_part, FileNotFoundError, "lacks a file: .*00002-of-00002"),
        (lambda f: (f / "config.json").write_text("{"), ValueError, "config.json is damaged"),
        (lambda f: (f / "config.json").write_text("[]"), ValueError, "holds no settings"),
        (_other_config(model_type="foo"), ValueError, "no architecture .*model_type 'foo'"),
        (_other_config(model_type=None), ValueError, r"no architecture .*\(no model_type\)"),
        (_other_config(hidden_size=16), ValueError, "weights have other shapes .*first .*wanted"),
        (
            _other_config(quantization_config={"quant_method": "bitsandbytes"}),
            ValueError,
            "wanted weights of full precision",
        ),
        (
            lambda f: (f / "model.safetensors").write_bytes(b""),
            ValueError,
            r"model\.safetensors is damaged",
        ),
        (
            lambda f: (f / "model.safetensors").write_text(
                "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
            ),
            ValueError,
            r"model\.safetensors is but a pointer of Git LFS",
        ),
        (_pickle_of_junk, ValueError, "the weights cannot be loaded"),
        (
            lambda f: (f / "processor_config.json").write_text("{"),
            ValueError,
            "processor_config.json is damaged",
        ),
    ],
)
def test_what_is_wrong_with_an_encoder_s_files_is_told_as_what_it_is(
    change: Callable[[Path], object],
    error: type[Exception],
    message: str,
    saved: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    folder = shutil.copytree(saved("ViT"), tmp_path / "vit")
    change(folder)
    with pytest.raises(error, match=f"encoder: .*{message}") as caught:
        load_encoder(folder, FP32)
    assert type(caught.value) is error


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (RuntimeError("can't start new thread"), "no further thread can be started"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "out of memory"),
        (OSError(12, "Cannot allocate memory"), "out of memory"),
        (PermissionError(13, "Permission denied", "model.safetensors"), "Permission denied"),
    ],
    ids=str,
)
def test_what_the_machine_lacks_is_not_blamed_on_the_weights(
    error: Exception,
    told: str,
    saved: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.setattr(hf.AutoModel, "from_pretrained", fail)
    with pytest.raises(type(error)) as caught:
        load_encoder(saved("ViT"), FP32)
    assert caught.value is error
    assert told in explain(error)


def test_images_are_read_without_threads_where_none_can_be_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = blob_frames(tmp_path / "data", n=6)
    rows = np.arange(6)
    wanted = Frames(data.image_paths(), 32, workers=1)[rows]

    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert np.array_equal(Frames(data.image_paths(), 32, workers=3)[rows], wanted)
    assert list(prefetch(lambda i: 2 * i, range(5))) == [0, 2, 4, 6, 8]
