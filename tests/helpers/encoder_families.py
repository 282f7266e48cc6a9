"""Small encoders of every family that transformers has, and their features without this library."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import transformers as hf

from meddel_fast.training.device import choose

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


def saver(root: Path) -> Callable[[str], Path]:
    """Give what writes a family below `root`, once, and tells where."""
    made = dict[str, Path]()

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
