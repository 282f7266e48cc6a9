"""Arrays that other libraries hand over by DLPack: JAX, CuPy, the Array API.

On the CPU numpy reads them where they are, on an NVIDIA GPU torch does. What comes is only ever
read: a read-only array that went through DLPack may look writable on the other side.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast.common.extras import needs

_CPU = (1, 3)  # of DLPack's devices: kDLCPU, kDLCUDAHost
_CUDA = (2, 13)  # kDLCUDA, kDLCUDAManaged


def open_rows(name: str, x: Any, column: str | None) -> Any:
    """Return a view of x: a numpy array, or a torch tensor on its GPU.

    Raises
    ------
    TypeError
        x holds no values that could be read.
    ValueError
        x is on a device that nothing here works on, or on several.
    """
    if _is_of(x, "jax", "jaxlib"):
        return _of_jax(name, x)
    if not hasattr(x, "__dlpack_device__"):
        raise TypeError(f"{name} must say by __dlpack_device__ where it is, got {_kind(x)}")
    device = int(x.__dlpack_device__()[0])
    if device in _CUDA:
        return _on_gpu(x)
    if device not in _CPU:
        raise ValueError(
            f"{name} must be on the CPU or an NVIDIA GPU, got {_kind(x)} on device {device}"
        )
    try:
        return np.from_dlpack(x)
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        return _other_way(name, x, error)


def result(x: Any, field: str, array: Any, each: bool) -> Any:
    """Return a result in x's library, where that has a way in and holds it without rounding."""
    if _is_of(x, "jax", "jaxlib"):
        jax = sys.modules["jax"]
        if not jax.config.jax_enable_x64:  # it would cut int64 and float64 to 32 bits
            return array
        return jax.numpy.from_dlpack(array)
    namespace = getattr(x, "__array_namespace__", None)
    library = sys.modules.get(type(x).__module__.partition(".")[0])
    take = getattr(namespace() if namespace else library, "from_dlpack", None)
    return array if take is None else take(array)


def _of_jax(name: str, x: Any) -> Any:
    try:
        platforms = [device.platform for device in x.devices()]
        if platforms == ["gpu"]:
            return _on_gpu(x)
        if platforms == ["cpu"]:
            return np.asarray(x)  # its own memory, read-only; bfloat16 too
    except (TypeError, RuntimeError, AttributeError) as error:  # traced, deleted, keys
        why = str(error).partition("\n")[0]
        raise TypeError(f"{name} must be an array with values, got {_kind(x)}: {why}") from None
    if len(platforms) > 1:
        raise ValueError(
            f"{name} must be on one device, got a JAX array on {len(platforms)}: jax.device_get of "
            "it is one in memory"
        )
    raise ValueError(f"{name} must be on the CPU or an NVIDIA GPU, got JAX's {platforms[0]}")


def _on_gpu(x: Any) -> Any:
    with needs("gpu"):
        torch = importlib.import_module("torch")
    return torch.from_dlpack(x)


def _other_way(name: str, x: Any, error: Exception) -> NDArray[Any]:
    """Return an array of what numpy has no DLPack type for, or say why there is none."""
    if hasattr(x, "__array__") and not isinstance(error, BufferError):
        try:
            return np.asarray(x)
        except (TypeError, ValueError, RuntimeError) as second:
            error = second
    why = str(error).partition("\n")[0]
    raise TypeError(f"{name} must be an array that numpy can read, got {_kind(x)}: {why}") from None


def _is_of(x: Any, *libraries: str) -> bool:
    return any(cls.__module__.partition(".")[0] in libraries for cls in type(x).__mro__)


def _kind(x: Any) -> str:
    return f"a {type(x).__module__}.{type(x).__qualname__}"
