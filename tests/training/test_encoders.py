"""Encoders of every family: their right features, or a refusal by name, before any image."""

from __future__ import annotations

import json
import re
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import transformers as hf
from frames import blob_frames
from safetensors.torch import load_file, save_file

from meddel_fast.cli.console import explain
from meddel_fast.training.device import choose
from meddel_fast.training.embed import Embeddings, embed
from meddel_fast.training.encoders.vit import fingerprint, load_encoder, normalise
from meddel_fast.training.loader import Frames, prefetch
from meddel_fast.training.reconstruction import reconstruction_errors

FP32, BF16 = choose("cpu", "fp32"), choose("cpu", "bf16")
SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "image_size": 32,
    "patch_size": 8,
}
STAGES = {"depths": [1, 1, 1], "num_heads": [1, 1, 2], "embed_dim": 8, "window_size": 4}
NET = {"hidden_sizes": [8, 8, 16, 32], "depths": [1, 1, 1, 1], "image_size": 32}
HIERA = {
    "image_size": [64, 64],
    "embed_dim": 8,
    "depths": [1, 1, 1, 1],
    "num_heads": [1, 1, 2, 2],
}
SAM = {k: v for k, v in SIZES.items() if k != "intermediate_size"}
IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
DINO = {"image_processor_type": "DINOv3ViTImageProcessor", **IMAGENET, "do_resize": True}


class Family(NamedTuple):
    """A model, its processor (settings where its class needs torchvision), and its features."""

    model: Any
    config: Any
    processor: Any = None
    own: int = 1  # tokens before the patches
    norm: str = ""  # last norm that last_hidden_state has not been through
    options: tuple[tuple[str, Any], ...] = ()


def vit(name: str, **other: Any) -> Any:
    return getattr(hf, name)(**SIZES, **other)


ACCEPTED = {
    "ViT": Family(hf.ViTModel, vit("ViTConfig"), hf.ViTImageProcessorPil()),
    "MAE": Family(hf.ViTMAEModel, vit("ViTMAEConfig"), hf.ViTImageProcessorPil(**IMAGENET)),
    "MSN": Family(hf.ViTMSNModel, vit("ViTMSNConfig"), hf.ViTImageProcessorPil(**IMAGENET)),
    "DeiT": Family(hf.DeiTModel, vit("DeiTConfig"), hf.DeiTImageProcessorPil(), 2),
    "DINOv2": Family(hf.Dinov2Model, vit("Dinov2Config"), hf.BitImageProcessorPil(**IMAGENET)),
    "DINOv2 with registers": Family(
        hf.Dinov2WithRegistersModel,
        vit("Dinov2WithRegistersConfig", num_register_tokens=3),
        hf.BitImageProcessorPil(**IMAGENET),
        4,
    ),
    "DINOv3": Family(hf.DINOv3ViTModel, vit("DINOv3ViTConfig", num_register_tokens=4), DINO, 5),
    "SigLIP": Family(
        hf.SiglipVisionModel, vit("SiglipVisionConfig"), hf.SiglipImageProcessorPil(), 0
    ),
    "CLIP": Family(
        hf.CLIPVisionModel,
        vit("CLIPVisionConfig"),
        hf.CLIPImageProcessorPil(),
        norm="post_layernorm",
    ),
    "I-JEPA": Family(hf.IJepaModel, vit("IJepaConfig"), hf.ViTImageProcessorPil(), 0),
    "BEiT": Family(
        hf.BeitModel, vit("BeitConfig"), hf.BeitImageProcessorPil(), norm="pooler.layernorm"
    ),
    "BEiT by its class token": Family(
        hf.BeitModel, vit("BeitConfig", use_mean_pooling=False), hf.BeitImageProcessorPil()
    ),
    "Data2Vec": Family(
        hf.Data2VecVisionModel,
        vit("Data2VecVisionConfig"),
        hf.BeitImageProcessorPil(),
        norm="pooler.layernorm",
        options=(("add_pooling_layer", True),),
    ),
    "Swin": Family(
        hf.SwinModel,
        hf.SwinConfig(image_size=64, patch_size=4, **STAGES),
        hf.ViTImageProcessorPil(**IMAGENET),
        0,
    ),
    "Swin v2": Family(
        hf.Swinv2Model,
        hf.Swinv2Config(image_size=64, patch_size=4, **STAGES),
        hf.ViTImageProcessorPil(**IMAGENET),
        0,
    ),
    "Hiera": Family(
        hf.HieraModel,
        hf.HieraConfig(**HIERA),
        hf.BitImageProcessorPil(**IMAGENET),
        0,
        norm="pooler.layernorm",
    ),
}
REFUSED = {
    "SigLIP 2 NaFlex": (
        hf.Siglip2VisionModel,
        hf.Siglip2VisionConfig(
            **{k: v for k, v in SIZES.items() if k != "image_size"}, num_patches=16
        ),
        "siglip2_vision_model without image_size",
    ),
    "DINOv3 ConvNeXt": (
        hf.DINOv3ConvNextModel,
        hf.DINOv3ConvNextConfig(**NET),
        "dinov3_convnext without patch_size",
    ),
    "ConvNeXt": (hf.ConvNextModel, hf.ConvNextConfig(**NET), "convnext without hidden_size"),
    "ConvNeXt v2": (
        hf.ConvNextV2Model,
        hf.ConvNextV2Config(**NET),
        "convnextv2 without hidden_size",
    ),
    "VideoMAE": (
        hf.VideoMAEModel,
        vit("VideoMAEConfig", num_frames=4),
        "videomae, which takes clips of 4 frames",
    ),
    "VitDet": (
        hf.VitDetModel,
        hf.VitDetConfig(**SAM, pretrain_image_size=32),
        r"is a vitdet: it answers with a map of shape \(1, 32, 4, 4\)",
    ),
    "SAM": (
        hf.SamVisionModel,
        hf.SamVisionConfig(**SAM, mlp_dim=64, output_channels=16, window_size=2),
        r"is a sam_vision_model: it answers with a map of shape \(1, 16, 4, 4\)",
    ),
    "YOLOS": (
        hf.YolosModel,
        hf.YolosConfig(**(SIZES | {"image_size": [32, 32]}), num_detection_tokens=7),
        "is a yolos: it answers with 24 tokens, which are not those of 4 x 4 patches, 1 cls_token",
    ),
    "BLIP": (
        hf.BlipVisionModel,
        vit("BlipVisionConfig"),
        "of an architecture that transformers has no model without a head of",
    ),
    "grey ViT": (
        hf.ViTModel,
        vit("ViTConfig", num_channels=1),
        "takes 3 channels, .* is a vit of 1",
    ),
}


def save(folder: Path, model: Any, processor: Any = None) -> Path:
    """Write a model with lively norms, and its processor nested, as transformers 5 does."""
    with torch.no_grad():
        for module in model.modules():
            if (
                "norm" in type(module).__name__.lower()
                and getattr(module, "weight", None) is not None
            ):
                module.weight.uniform_(0.5, 1.5)
                if getattr(module, "bias", None) is not None:
                    module.bias.normal_(std=0.3)
    model.save_pretrained(folder)
    if processor is not None:
        settings = processor if isinstance(processor, dict) else processor.to_dict()
        (folder / "processor_config.json").write_text(
            json.dumps({"processor_class": "SomeProcessor", "image_processor": settings})
        )
    return folder


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
    hf.utils.logging.disable_progress_bar()


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    root, made = tmp_path_factory.mktemp("encoders"), dict[str, Path]()

    def get(name: str) -> Path:
        if name not in made:
            torch.manual_seed(len(made))
            if name in ACCEPTED:
                family = ACCEPTED[name]
                model = family.model(family.config, **dict(family.options)).eval()
                made[name] = save(root / name, model, family.processor)
            else:
                made[name] = save(root / name, REFUSED[name][0](REFUSED[name][1]))
        return made[name]

    return get


def pictures(size: int, n: int = 3) -> torch.Tensor:
    """Coloured blobs: (n, size, size, 3), uint8."""
    rng = np.random.default_rng(5)
    coarse = rng.integers(0, 256, (n, 4, 4, 3)).repeat(size // 4, 1).repeat(size // 4, 2)
    noise = rng.integers(-30, 30, coarse.shape)
    return torch.from_numpy((coarse + noise).clip(0, 255).astype(np.uint8))


def right_features(family: Family, folder: Path, images: torch.Tensor) -> torch.Tensor:
    """Tokens by the model's own processor (less its geometry), model and last norm."""
    if isinstance(family.processor, dict):
        processor: Any = hf.ViTImageProcessorPil(**IMAGENET)
    else:
        processor = family.processor
    told = {"do_resize": False, "do_center_crop": False, "return_tensors": "pt"}
    pixels = processor(list(images.numpy()), input_data_format="channels_last", **told)
    model = family.model.from_pretrained(folder, **dict(family.options)).eval()
    asked = {}
    if family.model is hf.ViTMAEModel:
        model.config.mask_ratio = 0.0
        asked["noise"] = torch.arange(16.0).expand(len(images), -1)
    with torch.no_grad():
        hidden = model(pixels["pixel_values"], **asked).last_hidden_state
        return model.get_submodule(family.norm)(hidden) if family.norm else hidden


def least_cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(a, b, dim=-1).min())


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
