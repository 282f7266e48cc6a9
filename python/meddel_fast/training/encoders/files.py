"""Models of the library transformers, read from their files; errors name what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from meddel_fast.common.extras import needs
from meddel_fast.common.files import StrPath, check_readable, read_json
from meddel_fast.common.shortage import shortage
from meddel_fast.common.urls import local_path

_POINTER = b"version https://git-lfs"


def check_folder(name: str, what: str = "encoder") -> None:
    """Refuse a folder that is not there, has no config.json, or holds what may not be read.

    Raises
    ------
    FileNotFoundError, PermissionError
        As said. A name on the Hub passes.
    """
    folder = local_path(name, what)
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise FileNotFoundError(f"{what}: folder {name!r} has no config.json")
        for path in filter(Path.is_file, folder.iterdir()):
            check_readable(path)
    elif folder.is_absolute() or name.startswith(".") or name.count("/") > 1 or folder.exists():
        raise FileNotFoundError(f"{what}: there is no folder {name!r}")


def read_config(name: StrPath, offline: bool, what: str = "encoder") -> Any:
    """Read a model's config.

    Raises
    ------
    FileNotFoundError
        It is not there.
    ValueError
        It is damaged, or of an architecture that transformers does not have.
    """
    with needs("benchmark"):
        from transformers import AutoConfig

    path = Path(name, "config.json")
    said: Any = {}
    if path.is_file():
        try:
            said = read_json(path)
        except ValueError as error:
            raise ValueError(f"{what}: config.json is damaged: {error}") from error
        if not isinstance(said, dict):
            raise ValueError(f"{what}: {path} is no config of a model: it holds no settings")
    try:
        return AutoConfig.from_pretrained(
            name,
            local_files_only=offline,
            trust_remote_code=False,  # else a config may ask, on the terminal, to run its code
        )
    except OSError as error:
        _not_there(what, name, error, offline)
    except Exception as error:  # of settings that do not go together: they share no base
        if shortage(error) or isinstance(error, ImportError):
            raise
        told = f"model_type {said['model_type']!r}" if said.get("model_type") else "no model_type"
        raise ValueError(
            f"{what}: {str(name)!r} is of no architecture that transformers can load ({told}): "
            f"{error}"
        ) from error


def vision_config(name: str, config: Any) -> Any:
    """Return the config of what sees, the vision model of a CLIP with its text say.

    Raises
    ------
    ValueError
        It does not take single images of three channels, or its weights are packed.
    """
    if getattr(config, "quantization_config", None):
        raise ValueError(f"encoder: wanted weights of full precision, those of {name!r} are packed")
    tower = getattr(config, "vision_config", None)
    if tower is not None and not hasattr(config, "image_size"):
        tower.dtype, tower._commit_hash = config.dtype, getattr(config, "_commit_hash", None)
        config = tower
    kind = config.model_type
    wanted = ("image_size", "patch_size", "hidden_size")
    lacking = [key for key in wanted if not hasattr(config, key)]
    if lacking:
        raise ValueError(
            f"encoder: wanted a vision transformer, {name!r} is a {kind} "
            f"without {', '.join(lacking)}"
        )
    if getattr(config, "num_frames", None) is not None:
        raise ValueError(
            f"encoder: wanted one that takes single images, {name!r} is a {kind}, which takes "
            f"clips of {config.num_frames} frames"
        )
    if getattr(config, "num_channels", 3) != 3:
        raise ValueError(
            f"encoder: wanted one that takes 3 channels, {name!r} is a {kind} of "
            f"{config.num_channels}"
        )
    return config


@contextmanager
def reading_weights(name: StrPath, offline: bool, what: str = "encoder") -> Iterator[None]:
    """Tell what goes wrong while transformers loads weights in the block.

    Raises
    ------
    FileNotFoundError
        There are none, or not all of them.
    ValueError
        They are damaged.
    MemoryError, RuntimeError, OSError, ImportError
        As they come: for want of memory, of threads, of a right, or of a package.
    """
    try:
        yield
    except OSError as error:
        if "no file named" in str(error) and Path(name).is_dir():
            raise FileNotFoundError(
                f"{what}: folder {str(name)!r} holds no weights (model.safetensors)"
            ) from error
        _not_there(what, name, error, offline)
    except Exception as error:  # of damaged weights, and pickles of more: they share no base
        if shortage(error) or isinstance(error, ImportError):
            raise
        if isinstance(error, ValueError) and "scaled_dot_product_attention" in str(error):
            raise
        if str(error).startswith("Unrecognized configuration class"):  # and a list of all others
            raise ValueError(
                f"{what}: {str(name)!r} is of an architecture that transformers has no model "
                "without a head of (AutoModel)"
            ) from error
        raise ValueError(
            f"{what}: {str(name)!r}: the weights cannot be loaded, {_why(Path(name), error)}"
        ) from error


def check_shapes(name: StrPath, loading: dict[str, Any], what: str = "encoder") -> None:
    """Refuse weights of other shapes than the config tells.

    Raises
    ------
    ValueError
        The message names the first of them.
    """
    odd = sorted(loading.get("mismatched_keys") or (), key=str)
    if odd:
        key, found, wanted = odd[0]
        raise ValueError(
            f"{what}: {str(name)!r}: {len(odd)} weights have other shapes than its config.json "
            f"tells, first {key}: wanted {tuple(wanted)}, got {tuple(found)}"
        )


def _not_there(what: str, name: StrPath, error: OSError, offline: bool) -> None:
    """Raise an error of the system as it is, and transformers' own as a missing file."""
    if error.errno is not None or shortage(error):
        raise error
    if Path(name).is_dir():
        raise FileNotFoundError(f"{what}: folder {str(name)!r} lacks a file: {error}") from error
    where = "in the local Hugging Face cache (offline)" if offline else "on the Hub"
    raise FileNotFoundError(
        f"{what}: {str(name)!r} is no folder with a model, nor {where}: {error}"
    ) from error


def _why(folder: Path, error: Exception) -> str:
    """Name the file that is damaged, where one is."""
    with needs("benchmark"):
        from safetensors import SafetensorError, safe_open

    for path in sorted(folder.glob("*.safetensors")) if folder.is_dir() else ():
        with path.open("rb") as file:
            if file.read(len(_POINTER)) == _POINTER:
                return f"{path.name} is but a pointer of Git LFS: git lfs pull fetches them"
        try:
            with safe_open(path, framework="pt"):
                pass
        except (SafetensorError, OSError) as damage:
            return f"{path.name} is damaged: {damage}"
    return str(error)
