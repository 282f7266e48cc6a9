"""Settings of image processors: obeyed, in the fingerprint, refused, or told."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf
from encoder_families import FP32, IMAGENET, pictures
from frames import blob_frames

from meddel_fast.training.embed import Embeddings, embed
from meddel_fast.training.encoders.vit import fingerprint, load_encoder, normalise

pytestmark = pytest.mark.usefixtures("quiet_transformers")


@pytest.mark.parametrize("file", ["preprocessor_config.json", "processor_config.json"])
@pytest.mark.parametrize(
    "settings",
    [
        {"image_processor_type": "SiglipImageProcessor"},
        {"image_processor_type": "SiglipImageProcessorFast", "image_std": [0.5, 0.5, 0.25]},
        {"image_processor_type": "CLIPImageProcessor", "image_std": [0.5, 0.25, 0.125]},
        {"feature_extractor_type": "ViTFeatureExtractor"},
        {},
        {"image_mean": 0.4, "image_std": 0.2},
        {"image_mean": [1, 0, 0.5], "image_std": [1, 2, 3]},
        {"do_normalize": False},
        {"do_rescale": False},
        {"do_rescale": False, "do_normalize": False},
        {"rescale_factor": 1 / 127.5, "image_mean": 1.0, "image_std": 1.0},
        {"do_convert_rgb": None, "do_reduce_labels": True},
    ],
    ids=str,
)
def test_pixels_are_what_the_image_processor_makes_of_them(
    settings: dict[str, Any], file: str, saved: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(saved("ViT"), tmp_path / "vit")
    (folder / "processor_config.json").unlink()
    nested = {"image_processor": settings} if file.startswith("processor") else settings
    (folder / file).write_text(json.dumps(nested))
    images = pictures(32)
    processor = hf.AutoImageProcessor.from_pretrained(folder)
    wanted = processor(
        list(images.numpy()),
        do_resize=False,
        do_center_crop=False,
        input_data_format="channels_last",
        return_tensors="pt",
    )["pixel_values"]
    encoder = load_encoder(folder, FP32)
    found = normalise(images, encoder.mean, encoder.std)
    torch.testing.assert_close(found, wanted.float(), rtol=1e-5, atol=1e-5)


def test_nested_settings_come_before_those_of_the_older_file(
    saved: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(saved("SigLIP"), tmp_path / "siglip")
    (folder / "preprocessor_config.json").write_text(json.dumps(IMAGENET))
    assert load_encoder(folder, FP32).mean == (0.5, 0.5, 0.5)
    (folder / "processor_config.json").write_text('{"processor_class": "SiglipProcessor"}')
    assert load_encoder(folder, FP32).mean == tuple(IMAGENET["image_mean"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"image_mean": [0.5]}, r"image_mean: wanted 3 numbers.*\[0.5\]"),
        ({"image_mean": ["a", 0, 0]}, "image_mean: wanted a number, got 'a'"),
        ({"image_mean": None}, "image_mean: wanted a number, got None"),
        ({"image_std": [1, 0, 1]}, "image_std: wanted numbers above 0"),
        ({"image_std": float("nan")}, "image_std: wanted a number, got nan"),
        ({"rescale_factor": 0}, "rescale_factor: wanted more than 0"),
        (
            {"image_processor_type": "MobileViTImageProcessor", "do_flip_channel_order": True},
            "do_flip_channel_order = True",
        ),
        (
            {"image_processor_type": "EfficientNetImageProcessor", "rescale_offset": True},
            "rescale_offset = True",
        ),
        ({"image_processor_type": "OwnProcessor", **IMAGENET, "do_invert": True}, "do_invert"),
        (
            {"image_processor_type": "OwnProcessor", "image_mean": 0.5},
            "wanted image_std in .* defaults of its OwnProcessor",
        ),
    ],
    ids=str,
)
def test_settings_that_cannot_be_obeyed_are_refused(
    settings: dict[str, Any], message: str, saved: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(saved("ViT"), tmp_path / "vit")
    (folder / "processor_config.json").write_text(json.dumps({"image_processor": settings}))
    with pytest.raises(ValueError, match=f"encoder: .*{message}"):
        load_encoder(folder, FP32)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"image_processor_type": "ViTImageProcessor"}, ""),
        ({"image_processor_type": "SiglipImageProcessor"}, "resamples bicubic"),
        (
            {"image_processor_type": "CLIPImageProcessor"},
            r"resizes to {'shortest_edge': 224}, resamples bicubic, crops to the middle",
        ),
        ({"size": {"height": 32, "width": 64}}, "resizes to"),
        ({"do_resize": False}, "leaves sizes as they are"),
        ({"image_processor_type": "DPTImageProcessor", "do_pad": True}, "pads"),
        (None, "neither .* ImageNet's pixel mean and deviation are taken"),
    ],
    ids=str,
)
def test_what_is_not_obeyed_is_told(
    settings: dict[str, Any] | None,
    told: str,
    saved: Callable[[str], Path],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    folder = shutil.copytree(saved("ViT"), tmp_path / "vit")
    (folder / "processor_config.json").unlink()
    if settings is not None:
        (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    encoder = load_encoder(folder, FP32)
    load_encoder(folder, FP32)
    assert len(encoder.told) == len(caplog.records) == bool(told)  # once
    for text in (*encoder.told, caplog.text):
        assert re.search(told, text)


def test_clip_and_siglip_without_a_file_have_their_family_s_numbers(
    saved: Callable[[str], Path], tmp_path: Path
) -> None:
    for name, mean in (("SigLIP", 0.5), ("CLIP", 0.48145466), ("DINOv2", 0.485)):
        folder = shutil.copytree(saved(name), tmp_path / name)
        (folder / "processor_config.json").unlink()
        assert load_encoder(folder, FP32).mean[0] == mean


def test_the_fingerprint_sees_all_that_changes_a_bit(
    saved: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(saved("ViT"), tmp_path / "vit")
    plain = folder / "preprocessor_config.json"
    settings = (
        None,  # as it was saved, nested
        {"image_mean": 0.5},
        {"image_mean": [0.5, 0.5, 0.5]},
        {"image_mean": [0.5, 0.5, 0.5], "do_rescale": False},
    )
    seen = set()
    for one in settings:
        if one is not None:
            (folder / "processor_config.json").write_text(json.dumps({"image_processor": one}))
        seen.add(fingerprint(folder))
    (folder / "processor_config.json").unlink()
    plain.write_text(json.dumps(IMAGENET))
    seen.add(fingerprint(folder, load_encoder(folder, FP32)))
    assert len(seen) == len(settings) + 1
    # Numbers that stand in the file leave it as it was, defaults of a class count as numbers.
    assert fingerprint(folder) == fingerprint(folder, load_encoder(folder, FP32))
    plain.write_text("{}")
    assert fingerprint(folder) != fingerprint(folder, load_encoder(folder, FP32))


def test_what_is_not_obeyed_stands_in_the_index_of_the_embeddings(
    saved: Callable[[str], Path], tmp_path: Path
) -> None:
    data = blob_frames(tmp_path / "data", n=3)
    found = embed(data, saved("CLIP"), tmp_path / "all")
    assert len(found.index["told"]) == 1
    assert "crops to the middle" in found.index["told"][0]
    part = data.take(np.arange(2))
    found.take(np.arange(2), part, tmp_path / "part")
    assert Embeddings.load(tmp_path / "part").index["told"] == found.index["told"]
    embedded = embed(part, saved("CLIP"), tmp_path / "again")
    assert Embeddings.load(tmp_path / "part").index["key"] == embedded.index["key"]
