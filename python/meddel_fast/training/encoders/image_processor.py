"""What an encoder's own image processor does with pixels, as far as it is done here.

transformers reads its files itself: ``processor_config.json``, nested, as version 5 writes them,
and ``preprocessor_config.json``; what they leave out is the default of its class. Numbers
(``do_rescale``, ``rescale_factor``, ``do_normalize``, ``image_mean``, ``image_std``) are obeyed.
Images come as squares, so that sizes, crops and padding are not: that is told. A setting that
changes pixels in any other way is refused.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from meddel_fast.common.extras import needs
from meddel_fast.common.files import read_json

# ImageNet's, which practically every public ViT was trained with, MAE's own included.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
NESTED, PLAIN = "processor_config.json", "preprocessor_config.json"

_CHANNELS = 3
_BILINEAR = 2
_RESAMPLES = ("nearest", "Lanczos", "bilinear", "bicubic", "box", "Hamming")
# Families whose own numbers are known, and are not ImageNet's, should no file tell any.
_CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
_HALVES = ((0.5,) * _CHANNELS, (0.5,) * _CHANNELS)
_FAMILIES = {"clip": _CLIP, "metaclip": _CLIP, "siglip": _HALVES}
# Switches that are obeyed, or change nothing: images come as RGB, and these are about labels.
_OBEYED = {"do_rescale", "do_normalize", "do_convert_rgb"}
_LABELS = {"do_reduce_labels", "do_convert_annotations"}
_SHAPES = {
    "do_center_crop": "crops to the middle",
    "do_pad": "pads",
    "do_thumbnail": "makes thumbnails",
    "do_align_long_axis": "turns images",
}
_SHIFTS = ("rescale_offset", "offset")  # to -1 .. 1, after rescaling


class Processing(NamedTuple):
    """How uint8 pixels become an encoder's input: ``(pixel / 255 - mean) / std``, a channel each.

    `told` names what the encoder's processor does beside that; `written` says whether the numbers
    stand in the encoder's files (or are ImageNet's, for want of a file) as they are.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    told: str
    written: bool


def read_processing(name: str, model_type: str, offline: bool) -> Processing:
    """Read what the encoder `name` wants done with pixels.

    Raises
    ------
    ValueError
        A file is damaged, or a setting cannot be obeyed; the message names it.
    """
    raw = _raw(name, offline)
    if raw is None:
        own = [numbers for family, numbers in _FAMILIES.items() if model_type.startswith(family)]
        mean, std = own[0] if own else (MEAN, STD)
        whose = "its family's" if own else "ImageNet's"
        told = f"has neither {PLAIN} nor {NESTED}: {whose} pixel mean and deviation are taken"
        return Processing(mean, std, told, written=not own)
    settings = _settings(name, raw, offline)
    _refuse_unknown(name, settings)
    mean, std = _numbers(name, settings)
    written = (mean, std) == (_listed(raw, "image_mean"), _listed(raw, "image_std"))
    return Processing(mean, std, _geometry(settings), written=written)


def _raw(name: str, offline: bool) -> dict[str, Any] | None:
    """Return the processor's settings as they are written, None where no file holds any."""
    with needs("benchmark"):
        from transformers.utils.hub import cached_file

    for file in (NESTED, PLAIN):
        path = cached_file(
            name,
            file,
            local_files_only=offline,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
        )
        if path is None:
            continue
        try:
            found = read_json(path)
        except ValueError as error:
            raise ValueError(f"encoder: {name!r}: {file} is damaged: {error}") from error
        if not isinstance(found, dict):
            raise ValueError(f"encoder: {name!r}: {file} holds no settings")
        if file == PLAIN:
            return found
        if isinstance(found.get("image_processor"), dict):
            return dict(found["image_processor"])
    return None


def _settings(name: str, raw: dict[str, Any], offline: bool) -> Mapping[str, Any]:
    """Fill up what is written with the defaults of the processor's class.

    Without torchvision, or of a class that transformers does not have, what is written has to do.
    """
    with needs("benchmark"):
        from transformers import AutoImageProcessor

    untyped: Any = AutoImageProcessor
    try:
        processor = untyped.from_pretrained(name, local_files_only=offline, trust_remote_code=False)
    except (ImportError, OSError, TypeError, ValueError):
        kind = raw.get("image_processor_type") or raw.get("feature_extractor_type") or "processor"
        missing = [
            key
            for key in ("image_mean", "image_std")
            if raw.get("do_normalize") is not False and raw.get(key) is None
        ]
        if missing:
            raise ValueError(
                f"encoder: {name!r}: wanted {' and '.join(missing)} in {PLAIN}, as the defaults of "
                f"its {kind} cannot be read here (some of transformers' classes need torchvision)"
            ) from None
        given = {key: value for key, value in raw.items() if value is not None}
        return {"do_resize": True, "do_rescale": True, "do_normalize": True, **given}
    settings = {**processor.to_dict()}
    for key in ("do_rescale", "rescale_factor", "do_normalize", "image_mean", "image_std"):
        settings.setdefault(key, getattr(processor, key, None))
    return settings


def _refuse_unknown(name: str, settings: Mapping[str, Any]) -> None:
    known = _OBEYED | _LABELS | {"do_resize", *_SHAPES}
    odd = [key for key, on in settings.items() if key.startswith("do_") and on and key not in known]
    odd += [key for key in _SHIFTS if settings.get(key)]
    if odd:
        raise ValueError(
            f"encoder: {name!r} wants pixels changed in a way that is not offered: its image "
            f"processor has {', '.join(f'{key} = {settings[key]!r}' for key in odd)}"
        )


def _numbers(name: str, settings: Mapping[str, Any]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of pixels from 0 to 1, whatever the processor's own range is."""
    mean, std, factor = (0.0,) * _CHANNELS, (1.0,) * _CHANNELS, 1.0
    if settings.get("do_rescale"):
        told = settings.get("rescale_factor")
        factor = 1 / 255 if told is None else _number(name, "rescale_factor", told)
        if factor <= 0:
            raise ValueError(f"encoder: {name!r}: rescale_factor: wanted more than 0, got {factor}")
    if settings.get("do_normalize"):
        mean = _triple(name, "image_mean", settings.get("image_mean"))
        std = _triple(name, "image_std", settings.get("image_std"))
        if min(std) <= 0:
            raise ValueError(f"encoder: {name!r}: image_std: wanted numbers above 0, got {std}")
    white = 255 * factor
    return tuple(m / white for m in mean), tuple(s / white for s in std)


def _number(name: str, key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"encoder: {name!r}: {key}: wanted a number, got {value!r}")
    return float(value)


def _triple(name: str, key: str, value: Any) -> tuple[float, ...]:
    """Three numbers; one stands for all channels, as transformers takes it."""
    if not isinstance(value, list | tuple):
        return (_number(name, key, value),) * _CHANNELS
    if len(value) != _CHANNELS:
        raise ValueError(
            f"encoder: {name!r}: {key}: wanted {_CHANNELS} numbers, for red, green and blue, got "
            f"{list(value)}"
        )
    return tuple(_number(name, key, part) for part in value)


def _listed(raw: Mapping[str, Any], key: str) -> tuple[float, ...] | None:
    value = raw.get(key)
    return tuple(value) if isinstance(value, list) else None


def _geometry(settings: Mapping[str, Any]) -> str:
    """Say what the processor does to an image's shape, where it is not a plain squeeze."""
    parts = []
    size = settings.get("size")
    sizes = dict(size) if isinstance(size, Mapping) else {}
    if not settings.get("do_resize"):
        parts.append("leaves sizes as they are")
    else:
        if sizes and (set(sizes) != {"height", "width"} or sizes["height"] != sizes["width"]):
            parts.append(f"resizes to {sizes}")
        resample = _resample(settings.get("resample", _BILINEAR))
        if resample != "bilinear":
            parts.append(f"resamples {resample}")
    for key, does in _SHAPES.items():
        if settings.get(key):
            parts.append(does)
    return f"has an image processor that {', '.join(parts)}: not done here" if parts else ""


def _resample(value: Any) -> str:
    """Name a way to resample, which is a number of Pillow's or a member of torchvision's."""
    try:
        return _RESAMPLES[int(value)]
    except (IndexError, TypeError, ValueError):
        told = str(getattr(value, "value", value))
        return told if told.isalpha() else repr(told)
