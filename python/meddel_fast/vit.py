"""Vision transformers of transformers as the stages use them: built, loaded, asked for tokens."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from meddel_fast.config import PretrainConfig
from meddel_fast.device import Compute, Stream, quiet_transformers, torch_seed
from meddel_fast.extras import needs
from meddel_fast.files import StrPath, check_readable, read_json, sha256_file, sha256_json

with needs("benchmark"):
    import torch
    from torch import Tensor, nn

if TYPE_CHECKING:
    from transformers import ViTMAEForPreTraining

# ImageNet's, which practically every public ViT was trained with, MAE's own included.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
_PREPROCESSOR = "preprocessor_config.json"
_WEIGHTS = ("*.safetensors", "*.bin", "*.safetensors.index.json")


class Tokens(NamedTuple):
    """What an encoder's final layer says about a batch, fp32."""

    cls: Tensor  # (b, d)
    patches: Tensor  # (b, rows, columns, d), as they lie in the image


class Encoder(nn.Module):
    """A ViT that takes uint8 images of one size.

    Wraps any transformers model that splits an image into patches and puts its own tokens (class,
    registers) before them. A MAE encoder sees every patch, in raster order.
    """

    def __init__(
        self,
        model: Any,
        image_size: int | None = None,
        mean: tuple[float, ...] = MEAN,
        std: tuple[float, ...] = STD,
    ) -> None:
        super().__init__()
        self.model = model
        own = _side(model.config.image_size)
        self.image_size = own if image_size is None else image_size
        self.patch_size = _side(model.config.patch_size)
        self.width = int(model.config.hidden_size)
        if self.image_size < self.patch_size or self.image_size % self.patch_size:
            raise ValueError(
                f"image_size: wanted a multiple of the encoder's patch size {self.patch_size}, "
                f"got {self.image_size}"
            )
        self.grid = self.image_size // self.patch_size
        self.mean, self.std = mean, std
        self._options: dict[str, Any] = {}
        parameters = inspect.signature(model.forward).parameters
        if self.image_size != own and "interpolate_pos_encoding" in parameters:
            self._options["interpolate_pos_encoding"] = True
        self._masked = hasattr(model.config, "mask_ratio")
        if self._masked:
            model.config.mask_ratio = 0.0

    def forward(self, images: Tensor) -> Tokens:
        """Tokens of uint8 `images` (b, image_size, image_size, 3) on the model's device."""
        pixels = normalise(images, self.mean, self.std)
        options = dict(self._options)
        if self._masked:
            # Without masking MAE still shuffles the patches by this noise; rising noise keeps
            # them in place.
            rising = torch.arange(self.grid**2, dtype=torch.float32, device=pixels.device)
            options["noise"] = rising.expand(len(pixels), -1)
        hidden = self.model(pixels, **options).last_hidden_state.float()
        patches = hidden[:, hidden.shape[1] - self.grid**2 :]
        return Tokens(hidden[:, 0], patches.unflatten(1, (self.grid, self.grid)))


def normalise(
    images: Tensor, mean: tuple[float, ...] = MEAN, std: tuple[float, ...] = STD
) -> Tensor:
    """Float32 (b, 3, h, w) for a ViT, from uint8 (b, h, w, 3)."""
    shift, scale = _shift_and_scale(mean, std, images.device)
    return (images.permute(0, 3, 1, 2).to(torch.float32) - shift) * scale


@lru_cache(maxsize=8)
def _shift_and_scale(
    mean: tuple[float, ...], std: tuple[float, ...], device: torch.device
) -> tuple[Tensor, Tensor]:
    """Make the numbers of :func:`normalise` once: sending them would make each step wait."""
    with torch.inference_mode(False):
        scale = 1 / (255 * torch.tensor(std, device=device).view(1, 3, 1, 1))
        return torch.tensor(mean, device=device).view(1, 3, 1, 1) * 255, scale


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
                image_size=config.image_size,
                patch_size=config.patch_size,
                hidden_size=config.hidden_size,
                num_hidden_layers=config.layers,
                num_attention_heads=config.heads,
                intermediate_size=4 * config.hidden_size,
                decoder_hidden_size=config.decoder_hidden_size,
                decoder_num_hidden_layers=config.decoder_layers,
                decoder_num_attention_heads=config.decoder_heads,
                decoder_intermediate_size=4 * config.decoder_hidden_size,
                mask_ratio=config.mask_ratio,
                norm_pix_loss=config.norm_pix_loss,
                attn_implementation=compute.attention,
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
    """Load an encoder for inference or fine-tuning.

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
        No such folder, or not in the cache.
    ValueError
        The model is no ViT, or `image_size` does not fit its patches.
    """
    name = str(name)
    _check_folder(name)
    with quiet_transformers(offline):
        with needs("benchmark"):
            from transformers import AutoModel

        try:
            model, loading = AutoModel.from_pretrained(
                name,
                local_files_only=offline,
                trust_remote_code=False,  # else a config may ask, on the terminal, to run its code
                attn_implementation=compute.attention,
                output_loading_info=True,
            )
        except OSError as error:
            where = "in the local Hugging Face cache (offline)" if offline else "on the Hub"
            raise FileNotFoundError(
                f"encoder: {name!r} is no folder with a model, nor {where}: {error}"
            ) from error
        except (ImportError, MemoryError, ValueError):
            raise
        except Exception as error:  # of damaged weights, and pickles of more: they share no base
            raise ValueError(f"encoder: {name!r} holds no weights to load: {error}") from error
        mean, std = _statistics(name, offline)
    _check_model(name, model, loading["missing_keys"])
    encoder = Encoder(model.float(), image_size, mean, std)
    return encoder.to(compute.device).eval().requires_grad_(False)


def check_there(name: StrPath, offline: bool = True) -> None:
    """Refuse an encoder that is neither a folder nor, `offline`, in the local cache.

    Raises
    ------
    FileNotFoundError
        It is not there. Without `offline` the network is not asked yet.
    """
    name = str(name)
    _check_folder(name)
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
    loaded model, came from.
    """
    folder = Path(name)
    if folder.is_dir():
        files = [folder / "config.json", folder / _PREPROCESSOR]
        files += sorted(path for pattern in _WEIGHTS for path in folder.glob(pattern))
        return sha256_json({path.name: sha256_file(path) for path in files if path.is_file()})
    commit = None if encoder is None else getattr(encoder.model.config, "_commit_hash", None)
    return sha256_json([str(name), commit])


def _check_folder(name: str) -> None:
    folder = Path(name)
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise FileNotFoundError(f"encoder: folder {name!r} has no config.json")
        for path in filter(Path.is_file, folder.iterdir()):
            check_readable(path)
    elif folder.is_absolute() or name.startswith(".") or name.count("/") > 1 or folder.exists():
        raise FileNotFoundError(f"encoder: there is no folder {name!r}")


def _check_model(name: str, model: Any, missing: Iterable[str]) -> None:
    wanted = ("image_size", "patch_size", "hidden_size")
    lacking = [key for key in wanted if not hasattr(model.config, key)]
    if lacking:
        raise ValueError(
            f"encoder: wanted a vision transformer, {name!r} is a {model.config.model_type} "
            f"without {', '.join(lacking)}"
        )
    # transformers would fill the gaps with random numbers. Only the pooler, never used, may lack.
    gaps = sorted(key for key in missing if not key.startswith("pooler."))
    if gaps:
        raise ValueError(
            f"encoder: {name!r} lacks {len(gaps)} weights of a {model.config.model_type}, "
            f"first {gaps[0]}"
        )


def _statistics(name: str, offline: bool) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Pixel mean and standard deviation that the model was trained with."""
    with needs("benchmark"):
        from transformers.utils.hub import cached_file

    path = cached_file(
        name,
        _PREPROCESSOR,
        local_files_only=offline,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    settings = read_json(path) if path is not None else {}
    return tuple(settings.get("image_mean", MEAN)), tuple(settings.get("image_std", STD))


def _side(size: Any) -> int:
    """Side of a square given as a number or a pair."""
    sides = (size, size) if isinstance(size, int) else tuple(size)
    if len(set(sides)) != 1:
        raise ValueError(f"encoder: wanted square images and patches, got {sides}")
    return int(sides[0])
