"""The layout of an encoder's output (class token, patches, last norm), found by one pass."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from meddel_fast.common.extras import needs

with needs("benchmark"):
    import torch
    from torch import Tensor, nn

# What models put before the patches; the first two are class tokens.
_CLASS = ("cls_token", "class_embedding")
_BEFORE = (*_CLASS, "distillation_token", "register_tokens")
_LAST = 4  # norms looked at, from the end: that of the tokens, and those of what pools them


class Layout(NamedTuple):
    """Where an encoder's tokens lie, and what they lack.

    Attributes
    ----------
    own
        Tokens before the patches.
    has_class
        Whether the first of them is the class token.
    grid
        Patches a side, in raster order.
    width
        Numbers a token.
    norm
        The model's last norm where only its pooler applies it: it is for the tokens too. None if
        the tokens come with it.
    normed
        Whether the tokens have then been through a last norm.
    """

    own: int
    has_class: bool
    grid: int
    width: int
    norm: nn.Module | None
    normed: bool


@torch.no_grad()
def find_layout(model: Any, ask: Callable[[], Any], whole: int) -> Layout:
    """Learn the layout from what ``ask()``, a pass over one image, returns.

    Parameters
    ----------
    model
        The transformers model that is asked.
    ask
        Makes the pass, in the precision to come; returns the model's output.
    whole
        Patches a side before any merging of patches.

    Raises
    ------
    ValueError
        The answer holds no tokens of a square of patches; the message says what it holds.
    """
    with _norms(model) as norms:
        output = ask()
    hidden = getattr(output, "last_hidden_state", None)
    if not isinstance(hidden, Tensor):
        raise ValueError("it has no last_hidden_state")
    if hidden.ndim != 3:
        raise ValueError(f"it answers with a map of shape {tuple(hidden.shape)}, not with tokens")
    own = known = _before(model)
    count, width = hidden.shape[1:]
    grid = _grid(count - sum(own.values()), whole, merged=not own)
    if not grid and own:  # a class token that only its pooler knows
        own, grid = {}, _grid(count, whole, merged=True)
    if not grid:
        patches = ", ".join([f"{whole} x {whole} patches", *(f"{n} {k}" for k, n in known.items())])
        raise ValueError(f"it answers with {count} tokens, which are not those of {patches}")
    norm, normed = _last_norm(hidden, norms)
    has_class = any(own.get(name) == 1 for name in _CLASS)
    return Layout(sum(own.values()), has_class, grid, width, norm, normed)


def _before(model: Any) -> dict[str, int]:
    """Count the model's own tokens by the parameters that they start from."""
    found: dict[str, int] = {}
    for path, value in model.named_parameters():
        name = path.rpartition(".")[2]
        if name in _BEFORE:
            found.setdefault(name, value.shape[-2] if value.ndim > 1 else 1)
    return found


def _grid(patches: int, whole: int, *, merged: bool) -> int:
    """Side of the square of patches, which may be halved again and again if `merged`; or 0."""
    side = math.isqrt(max(0, patches))
    if side == 0 or side * side != patches:
        return 0
    if side == whole:
        return side
    times = whole // side
    return side if merged and side * times == whole and times.bit_count() == 1 else 0


@contextmanager
def _norms(model: nn.Module) -> Iterator[deque[tuple[nn.Module, Tensor]]]:
    """Keep what the model's last norms return."""
    seen: deque[tuple[nn.Module, Tensor]] = deque(maxlen=_LAST)

    def note(module: nn.Module, _: Any, output: Any) -> None:
        if isinstance(output, Tensor):
            seen.append((module, output))

    hooks = [
        module.register_forward_hook(note)
        for module in model.modules()
        if "norm" in type(module).__name__.lower() and not list(module.children())
    ]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _last_norm(
    hidden: Tensor, norms: deque[tuple[nn.Module, Tensor]]
) -> tuple[nn.Module | None, bool]:
    """Return the norm that the tokens lack, and whether they have one with it."""
    if any(out.shape == hidden.shape and torch.equal(out, hidden) for _, out in norms):
        return None, True
    if norms and norms[-1][1].shape == (len(hidden), hidden.shape[-1]):  # of what was pooled
        return norms[-1][0], True
    return None, False
