"""Vision transformers (of the library transformers): built, loaded, asked for tokens."""

from __future__ import annotations

import inspect
import logging
import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from meddel_fast.common.extras import needs
from meddel_fast.common.files import StrPath
from meddel_fast.common.hashes import sha256_file, sha256_json
from meddel_fast.common.shortage import shortage
from meddel_fast.training.device import (
    Compute,
    Stream,
    deterministic,
    quiet_transformers,
    torch_seed,
)
from meddel_fast.training.encoders.files import (
    check_folder,
    check_shapes,
    read_config,
    reading_weights,
    vision_config,
)
from meddel_fast.training.encoders.image_processor import (
    MEAN,
    NESTED,
    PLAIN,
    STD,
    Processing,
    read_processing,
)
from meddel_fast.training.encoders.layout import find_layout
from meddel_fast.training.settings import PretrainConfig

with needs("benchmark"):
    import torch
    from torch import Tensor, nn

if TYPE_CHECKING:
    from transformers import ViTMAEForPreTraining

_LOG = logging.getLogger(__name__)
_WEIGHTS = ("*.safetensors", "*.bin", "*.safetensors.index.json", "*.bin.index.json")


class Tokens(NamedTuple):
    """What an encoder's final layer says about a batch, fp32, through the model's last norm."""

    cls: Tensor | None  # (b, d); None of an encoder without a class token
    patches: Tensor  # (b, rows, columns, d), as they lie in the image


class Encoder(nn.Module):
    """A ViT that takes uint8 images of one size.

    Wraps any transformers model that splits an image into patches and puts its own tokens (class,
    registers) before them. A MAE encoder sees every patch, in raster order. One pass over a grey
    image, in the precision of `compute`, tells how its answer is laid out.

    Attributes
    ----------
    image_size, patch_size, grid, width
        Pixels a side of an image and of a patch, patches a side, numbers a token.
    has_class
        Whether it has a class token.
    told
        What is not as the encoder's own files want it, a sentence each.
    beyond
        What the embeddings depend on beside the encoder's files, for its fingerprint.
    """

    def __init__(
        self,
        model: Any,
        compute: Compute,
        image_size: int | None = None,
        processing: Processing | None = None,
        missing: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.model = model
        own = _side(model.config.image_size)
        self.image_size = own if image_size is None else image_size
        self.patch_size = _side(getattr(model.config, "patch_stride", model.config.patch_size))
        if self.image_size < self.patch_size or self.image_size % self.patch_size:
            raise ValueError(
                f"image_size: wanted a multiple of the encoder's patch size {self.patch_size}, "
                f"got {self.image_size}"
            )
        self._patches = self.image_size // self.patch_size
        self.mean, self.std = (MEAN, STD) if processing is None else processing[:2]
        self._options: dict[str, Any] = {}
        parameters = inspect.signature(model.forward).parameters
        if self.image_size != own and "interpolate_pos_encoding" in parameters:
            self._options["interpolate_pos_encoding"] = True
        self._masked = hasattr(model.config, "mask_ratio")
        if self._masked:
            model.config.mask_ratio = 0.0
        grey = torch.full((1, self.image_size, self.image_size, 3), 128, dtype=torch.uint8)

        def ask() -> Any:
            with deterministic(), compute.autocast():
                return self._ask(grey.to(compute.device))

        layout = find_layout(model, ask, self._patches)
        self.grid, self.width, self.has_class = layout.grid, layout.width, layout.has_class
        self.patch_size = self.image_size // self.grid
        self._own = layout.own
        self._norm = None if _lacks(model, layout.norm, missing) else layout.norm
        self.told: list[str] = []
        self.beyond: dict[str, Any] = {}
        if processing is not None and processing.told:
            self.told.append(processing.told)
        if processing is not None and not processing.written:
            self.beyond["pixels"] = [self.mean, self.std]
        if self._norm is not None:
            self.beyond["norm"] = "pooler's"
        elif layout.norm is not None or not layout.normed:
            self.told.append("has no last norm: its tokens are not normed")

    @property
    def kind(self) -> str:
        """Return what messages call it."""
        return f"a {self.model.config.model_type}"

    def forward(self, images: Tensor) -> Tokens:
        """Tokens of uint8 `images` (b, image_size, image_size, 3) on the model's device."""
        hidden = self._ask(images).last_hidden_state.float()
        if self._norm is not None:
            hidden = self._norm(hidden).float()
        patches = hidden[:, self._own :].unflatten(1, (self.grid, self.grid))
        return Tokens(hidden[:, 0] if self.has_class else None, patches)

    def _ask(self, images: Tensor) -> Any:
        pixels = normalise(images, self.mean, self.std)
        options = dict(self._options)
        if self._masked:
            # Without masking MAE still shuffles the patches by this noise; rising noise keeps
            # them in place.
            rising = torch.arange(self._patches**2, dtype=torch.float32, device=pixels.device)
            options["noise"] = rising.expand(len(pixels), -1)
        return self.model(pixels, **options)


def normalise(
    images: Tensor, mean: tuple[float, ...] = MEAN, std: tuple[float, ...] = STD
) -> Tensor:
    """Float32 (b, 3, h, w) for a ViT, from uint8 (b, h, w, 3)."""
    shift, scale = shift_and_scale(images.device, mean, std)
    return (images.permute(0, 3, 1, 2).to(torch.float32) - shift) * scale


@lru_cache(maxsize=8)
def shift_and_scale(
    device: torch.device, mean: tuple[float, ...] = MEAN, std: tuple[float, ...] = STD
) -> tuple[Tensor, Tensor]:
    """Make the numbers of :func:`normalise` once: sending them would make each step wait."""
    with torch.inference_mode(False):
        scale = 1 / (255 * torch.tensor(std, device=device).view(1, 3, 1, 1))
        return torch.tensor(mean, device=device).view(1, 3, 1, 1) * 255, scale


def encoder_shape(config: PretrainConfig, compute: Compute) -> dict[str, Any]:
    """Return what every ViT of transformers is told of its encoder."""
    return {
        "image_size": config.image_size,
        "patch_size": config.patch_size,
        "hidden_size": config.hidden_size,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "intermediate_size": 4 * config.hidden_size,
        "attn_implementation": compute.attention,
    }


def build_mae(config: PretrainConfig, compute: Compute) -> ViTMAEForPreTraining:
    """Make a MAE with weights drawn from ``config.seed``; the same on every device."""
    if config.hidden_size % 4 or config.decoder_hidden_size % 4:
        raise ValueError(
            "hidden_size, decoder_hidden_size: wanted multiples of 4 (sine-cosine positions), got "
            f"{config.hidden_size} and {config.decoder_hidden_size}"
        )
    with quiet_transformers(), torch_seed(config.seed, Stream.WEIGHTS):
        with needs("benchmark"):
            from transformers import ViTMAEConfig, ViTMAEForPreTraining

        make: Any = ViTMAEConfig  # its type does not list the arguments of its base class
        model: Any = ViTMAEForPreTraining(
            make(
                **encoder_shape(config, compute),
                decoder_hidden_size=config.decoder_hidden_size,
                decoder_num_hidden_layers=config.decoder_layers,
                decoder_num_attention_heads=config.decoder_heads,
                decoder_intermediate_size=4 * config.decoder_hidden_size,
                mask_ratio=config.mask_ratio,
                norm_pix_loss=config.norm_pix_loss,
            )
        )
        _initialise(model)
    placed: ViTMAEForPreTraining = model.to(compute.device)
    return placed


@torch.no_grad()
def _initialise(model: ViTMAEForPreTraining) -> None:
    """Draw all weights as MAE's own code does, from torch's generator.

    What transformers draws is of no use here: 5.23 leaves the position embeddings, which are never
    trained, at zero, so that the decoder cannot know where a masked patch lies; and a deviation of
    0.02 is too small for narrow networks.
    """
    initialise_linear(model)
    grid = _side(model.config.image_size) // _side(model.config.patch_size)
    embeddings, decoder = model.vit.embeddings, model.decoder
    for positions in (embeddings.position_embeddings, decoder.decoder_pos_embed):
        positions.copy_(torch.from_numpy(sine_cosine(grid, positions.shape[-1])))
    for token in (embeddings.cls_token, decoder.mask_token):
        nn.init.normal_(token, std=0.02)


@torch.no_grad()
def initialise_linear(model: nn.Module) -> None:
    """Draw the weights of linear layers and convolutions as MAE's own code does."""
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.xavier_uniform_(module.weight.flatten(1))  # a view: fills the weight itself
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def sine_cosine(grid: int, width: int) -> NDArray[np.float64]:
    """Make fixed position embeddings (1, 1 + grid * grid, width) of class token and square grid.

    Per patch, sines and cosines of the column, then of the row, at ``width / 4`` frequencies from
    1 down to 1 / 10,000; the layout of MAE's own checkpoints. The class token has zeros.
    """
    rows, columns = np.divmod(np.arange(grid * grid), grid)
    frequencies = 10_000.0 ** -(np.arange(width // 4) / (width // 4))
    angles = [np.outer(place, frequencies) for place in (columns, rows)]
    patches = np.concatenate([f(angle) for angle in angles for f in (np.sin, np.cos)], axis=1)
    return np.concatenate([np.zeros((1, width)), patches])[None]


def preprocessor(image_size: int) -> dict[str, object]:
    """Describe to transformers' image processors how to feed a model of ours."""
    return {
        "image_processor_type": "ViTImageProcessor",
        "do_resize": True,
        "size": {"height": image_size, "width": image_size},
        "resample": 2,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(MEAN),
        "image_std": list(STD),
    }


def load_encoder(
    name: StrPath, compute: Compute, *, image_size: int | None = None, offline: bool = True
) -> Encoder:
    """Load an encoder for inference or fine-tuning, with weights in fp32.

    Parameters
    ----------
    name
        Folder as written by ``save_pretrained``, or a name on the Hugging Face Hub.
    compute
        Device and precision.
    image_size
        Side in pixels of the images to come; position embeddings are interpolated when it is not
        the model's own (the default).
    offline
        Never ask the network: a name must be in the local cache.

    Raises
    ------
    FileNotFoundError
        No such folder, or not in the cache, or without config.json or weights.
    ValueError
        The model is no ViT of single RGB images, its files are damaged, its image processor changes
        pixels in a way that is not offered, or `image_size` does not fit its patches.
    """
    name = str(name)
    check_folder(name)
    with quiet_transformers(offline):
        config = vision_config(name, read_config(name, offline))
        processing = read_processing(name, config.model_type, offline)
        narrow = _narrow(config)
        model, missing = _load(name, config, compute, offline)
        encoder = _encoder(name, model, compute, image_size, processing, missing)
    if narrow and any(not torch.equal(p, p.to(narrow).to(p.dtype)) for p in model.parameters()):
        encoder.beyond["weights"] = "finer than config.json tells"
    for told in encoder.told:
        _tell(name, told)
    return encoder.requires_grad_(False)


def _load(name: str, config: Any, compute: Compute, offline: bool) -> tuple[Any, list[str]]:
    """Load the weights, in fp32 whatever type config.json tells; and name those that lack."""
    with needs("benchmark"):
        from transformers import AutoModel

    def load(attention: str) -> Any:
        with reading_weights(name, offline):
            return AutoModel.from_pretrained(
                name,
                config=config,
                local_files_only=offline,
                trust_remote_code=False,
                attn_implementation=attention,
                dtype=torch.float32,  # else that of config.json, to which weights are rounded
                ignore_mismatched_sizes=True,  # they are named below
                output_loading_info=True,
                # Of Data2Vec, whose last norm is in the pooler, the pooler as well.
                **({"add_pooling_layer": True} if _pools_by_mean(config) else {}),
            )

    try:
        model, loading = load(compute.attention)
    except ValueError as error:
        if "scaled_dot_product_attention" not in str(error):
            raise
        model, loading = load("eager")  # it has no fused attention
    check_shapes(name, loading)
    missing = sorted(loading["missing_keys"])
    # transformers would fill the gaps with random numbers. Only the pooler may lack.
    gaps = [key for key in missing if not key.startswith("pooler.")]
    if gaps:
        raise ValueError(
            f"encoder: {name!r} lacks {len(gaps)} weights of a {model.config.model_type}, "
            f"first {gaps[0]}"
        )
    return model.float().to(compute.device).eval(), missing


def _pools_by_mean(config: Any) -> bool:
    return getattr(config, "use_mean_pooling", False) is True


def _narrow(config: Any) -> torch.dtype | None:
    """Type that config.json tells, where weights may be finer; transformers rounds to it."""
    told = getattr(config, "dtype", None)
    return told if told in (torch.bfloat16, torch.float16) else None


@lru_cache(maxsize=64)
def _tell(name: str, told: str) -> None:
    """Say once, and of several processes in the first, what is not as the encoder's files want."""
    if os.environ.get("RANK", "0") == "0":
        _LOG.warning("encoder: %r %s", name, told)


def _encoder(
    name: str,
    model: Any,
    compute: Compute,
    image_size: int | None,
    processing: Processing,
    missing: Sequence[str],
) -> Encoder:
    """Put the model to use; refuse it by name if it does not answer with tokens of patches."""
    try:
        return Encoder(model, compute, image_size, processing, missing)
    except Exception as error:  # of models that want other input: they share no base
        if shortage(error) or str(error).startswith(("image_size:", "encoder:")):
            raise
        raise ValueError(
            "encoder: wanted a vision transformer that answers a single image with tokens of its "
            f"patches, {name!r} is a {model.config.model_type}: {error}"
        ) from error


def check_there(name: StrPath, offline: bool = True) -> None:
    """Refuse an encoder that is neither a folder nor, `offline`, in the local cache.

    Raises
    ------
    FileNotFoundError
        It is not there. Without `offline` the network is not asked yet.
    """
    name = str(name)
    check_folder(name)
    if Path(name).is_dir() or not offline:
        return
    with quiet_transformers():
        with needs("benchmark"):
            from transformers.utils.hub import cached_file

        found = cached_file(
            name,
            "config.json",
            local_files_only=True,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
        )
    if found is None:
        raise FileNotFoundError(
            f"encoder: {name!r} is no folder with a model, nor in the local Hugging Face cache "
            "(offline)"
        )


def fingerprint(name: StrPath, encoder: Encoder | None = None) -> str:
    """Hash that changes with an encoder's weights and settings.

    A folder's files are hashed. A hub name stands for itself plus the commit that `encoder`, the
    loaded model, came from. What of `encoder` its files do not tell counts as well, such as the
    pixel mean that is a default of transformers.
    """
    beyond = {} if encoder is None else encoder.beyond
    folder = Path(name)
    if folder.is_dir():
        files = [folder / file for file in ("config.json", PLAIN, NESTED, "adapter_config.json")]
        files += sorted(path for pattern in _WEIGHTS for path in folder.glob(pattern))
        hashes = {path.name: sha256_file(path) for path in files if path.is_file()}
        return sha256_json({**hashes, **({"": beyond} if beyond else {})})
    commit = None if encoder is None else getattr(encoder.model.config, "_commit_hash", None)
    return sha256_json([str(name), commit, *([beyond] if beyond else [])])


def _lacks(model: nn.Module, norm: nn.Module | None, missing: Sequence[str]) -> bool:
    """Tell whether the weights of a norm are among those that are missing."""
    names = [f"{name}." for name, module in model.named_modules() if module is norm]
    return any(key.startswith(name) for key in missing for name in names)


def _side(size: Any) -> int:
    """Side of a square given as a number or a pair."""
    sides = (size, size) if isinstance(size, int) else tuple(size)
    if len(set(sides)) != 1:
        raise ValueError(f"encoder: wanted square images and patches, got {sides}")
    return int(sides[0])
