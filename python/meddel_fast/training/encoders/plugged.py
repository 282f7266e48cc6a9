"""Encoders that other packages offer, asked for vectors as our own are asked for tokens."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from meddel_fast.common.close_names import did_you_mean
from meddel_fast.common.extras import needs
from meddel_fast.common.files import StrPath
from meddel_fast.common.hashes import sha256_json
from meddel_fast.common.plugins import Plugin, find_plugin, plugins
from meddel_fast.training.device import Compute
from meddel_fast.training.encoders.vit import Encoder, Tokens, fingerprint, load_encoder

with needs("benchmark"):
    import torch
    from torch import Tensor


class PluggedEncoder:
    """A package's encoder: a vector an image, which stands for the one patch that it has.

    Attributes
    ----------
    image_size, width
        Side in pixels of the images to come, and numbers of a vector; told by the package.
    has_class
        False: what is pooled, and how, is the package's own matter.
    told
        What is not as the package wants it: nothing.
    key
        What changes with any bit of a vector: package, version, and the package's own fingerprint.
    """

    has_class = False

    def __init__(self, plugin: Plugin, model: Any, compute: Compute) -> None:
        self.plugin, self.told = plugin, list[str]()
        self._model = model
        self.image_size = _count(plugin, model, "image_size")
        self.width = _count(plugin, model, "width")
        own = getattr(model, "fingerprint", None)
        if not isinstance(own, str) or not own:
            raise plugin.error(f"must have a text fingerprint that tells its weights, got {own!r}")
        self.key = sha256_json([plugin.name, plugin.origin, own])
        self._device = compute.device

    @property
    def kind(self) -> str:
        """Return what messages call it."""
        return str(self.plugin)

    def __call__(self, images: Tensor) -> Tokens:
        """Give tokens of uint8 `images` (b, image_size, image_size, 3) on the device."""
        try:
            vectors = self._model(images)
        except (MemoryError, RuntimeError):
            raise
        except Exception as error:
            raise self.plugin.error(f"failed: {type(error).__name__}: {error}") from error
        shape = (len(images), self.width)
        if not isinstance(vectors, Tensor) or vectors.shape != shape:
            got = tuple(getattr(vectors, "shape", ())) or type(vectors).__name__
            raise self.plugin.error(f"must answer with a tensor of shape {shape}, got {got}")
        if not vectors.dtype.is_floating_point:
            raise self.plugin.error(f"must answer with floating-point numbers, got {vectors.dtype}")
        return Tokens(None, vectors.to(self._device, torch.float32)[:, None, None, :])


def find_maker(name: str) -> Callable[..., Any] | None:
    """Return what a package makes its encoder by; None where none offers one of this name.

    Raises
    ------
    meddel_fast.common.plugins.PluginError
        It cannot be loaded, or called.
    """
    plugin = find_plugin("encoder", name)
    if plugin is None:
        return None
    maker = plugin.load()
    if not callable(maker):
        raise plugin.error(
            f"must be called as (device, image_size) to make one, got {type(maker).__name__}"
        )
    found: Callable[..., Any] = maker
    return found


def load_embedder(
    name: StrPath, compute: Compute, *, image_size: int | None = None, offline: bool = True
) -> Encoder | PluggedEncoder:
    """Load an encoder that is asked for embeddings alone: a folder, a package's, or one of the hub.

    Parameters
    ----------
    name
        As of :func:`~meddel_fast.training.encoders.vit.load_encoder`, or, a text without ``/``, the
        name of a plug-in.
    compute, image_size, offline
        As there.

    Raises
    ------
    ValueError
        A folder and a plug-in have the name, or as ``load_encoder``.
    meddel_fast.common.plugins.PluginError
        A package offers one that cannot be used; the message names the package.
    FileNotFoundError
        As ``load_encoder``.
    """
    text = str(name)
    plugin = find_plugin("encoder", name) if isinstance(name, str) and "/" not in name else None
    if plugin is None:
        try:
            return load_encoder(name, compute, image_size=image_size, offline=offline)
        except FileNotFoundError as error:
            near = did_you_mean(text, [one.name for one in plugins("encoder")])
            if not near:
                raise
            raise FileNotFoundError(f"{error}{near}") from error
    if Path(text).exists():
        raise ValueError(
            f"encoder: {text!r} is a folder here, and {plugin}: write ./{text} for the folder"
        )
    maker: Any = find_maker(text)
    try:
        model = maker(device=compute.device, image_size=image_size)
    except (MemoryError, OSError, ValueError):
        raise
    except Exception as error:
        raise plugin.error(f"cannot be made: {type(error).__name__}: {error}") from error
    return PluggedEncoder(plugin, model, compute)


def embedder_key(name: StrPath, encoder: Encoder | PluggedEncoder) -> str:
    """Hash that changes with what an encoder's vectors depend on."""
    return encoder.key if isinstance(encoder, PluggedEncoder) else fingerprint(name, encoder)


def _count(plugin: Plugin, model: Any, name: str) -> int:
    value = getattr(model, name, None)
    if type(value) is not int or value < 1:
        raise plugin.error(f"must have {name}, a whole number from 1 on, got {value!r}")
    return value
