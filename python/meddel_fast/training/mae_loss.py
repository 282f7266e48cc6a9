"""The loss of a MAE on a batch, computed from the weights of a ``ViTMAEForPreTraining``.

The network of transformers embeds every patch and then drops most of them, sorts the decoder's
tokens back into the image's order, and restores the patches that were seen as well, to throw them
away. Attention does not care for the order of tokens, and positions come with them: here only the
patches that are seen are embedded, the tokens stay seen first and hidden behind, and the last layer
of the decoder asks for the hidden ones alone. Loss and gradients are the same but for rounding.
Weights are cast once a step, queries, keys and values are one product, and autocast, whose casts
cost a third of a small network's step, is not needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from meddel_fast.common.extras import needs
from meddel_fast.training.device import Compute

with needs("benchmark"):
    import torch
    from torch import Tensor
    from torch.nn import functional


def mae_loss(model: Any, pixels: Tensor, noise: Tensor, compute: Compute) -> Tensor:
    """Mean squared error of the hidden patches.

    Parameters
    ----------
    model
        A ``ViTMAEForPreTraining``; its settings tell the share to hide and whether the pixels of
        patches are normalised.
    pixels : float32, shape (b, 3, h, w)
        Images as the network takes them.
    noise : float32, shape (b, patches)
        Patches of the highest noise are hidden.
    compute
        Products are made in its type; sums of layers, norms and the loss in float32.
    """
    config, vit, decoder = model.config, model.vit, model.decoder
    patches = patchify(pixels, config.patch_size)
    seen = int(patches.shape[1] * (1 - config.mask_ratio))
    order = noise.argsort(dim=1, stable=True)
    keep, hide = order[:, :seen], order[:, seen:]

    embeddings = vit.embeddings
    positions = embeddings.position_embeddings[0]
    embed = embeddings.patch_embeddings.projection
    tokens = _linear(_take(patches, keep), [embed.weight.flatten(1)], [embed.bias], compute)
    first = embeddings.cls_token + positions[:1]
    x = torch.cat([first.expand(len(pixels), -1, -1), tokens + positions[1:][keep]], dim=1)
    for layer in vit.layers:
        x = _layer(layer, x, compute)
    x = _apply(decoder.decoder_embed, vit.layernorm(x), compute)

    positions = decoder.decoder_pos_embed[0]
    places = positions[1:][order]
    first = x[:, :1] + positions[:1]
    hidden = decoder.mask_token + places[:, seen:]
    x = torch.cat([first, x[:, 1:] + places[:, :seen], hidden], dim=1)
    for layer in decoder.decoder_layers[:-1]:
        x = _layer(layer, x, compute)
    x = _layer(decoder.decoder_layers[-1], x, compute, first=1 + seen)
    last = decoder.decoder_pred  # its rows are pixels, then colours: `patchify` has colours first
    weight, bias = (_colours_first(t, config.patch_size) for t in (last.weight, last.bias))
    restored = _linear(decoder.decoder_norm(x), [weight], [bias], compute)

    target = _take(patches, hide)
    if config.norm_pix_loss:
        target = target - target.mean(dim=-1, keepdim=True)
        variance = target.square().sum(dim=-1, keepdim=True) / (target.shape[-1] - 1)
        target = target / (variance + 1e-6).sqrt()  # MAE's own number
    return functional.mse_loss(restored.float(), target)


def patchify(pixels: Tensor, side: int) -> Tensor:
    """Cut images (b, 3, h, w) into patches (b, patches, 3 * side * side), row by row."""
    b, colours, height, width = pixels.shape
    cells = pixels.reshape(b, colours, height // side, side, width // side, side)
    return cells.permute(0, 2, 4, 1, 3, 5).reshape(b, -1, colours * side * side)


def _colours_first(rows: Tensor, side: int) -> Tensor:
    """Put rows (side * side * 3, ...) in the order that :func:`patchify` has them in."""
    return rows.reshape(side * side, 3, *rows.shape[1:]).transpose(0, 1).flatten(0, 1)


def _take(rows: Tensor, places: Tensor) -> Tensor:
    """Take the rows (b, k, d) at `places` (b, k) of rows (b, n, d)."""
    b, n, width = rows.shape
    first = torch.arange(0, b * n, n, device=rows.device).unsqueeze(1)
    flat = rows.reshape(-1, width).index_select(0, (first + places).flatten())
    return flat.view(b, -1, width)


def _layer(layer: Any, x: Tensor, compute: Compute, first: int = 0) -> Tensor:
    """Run one layer on (b, n, d); of the result only the tokens from `first` on."""
    h = _attention(layer.attention, layer.layernorm_before(x), compute, first)
    x = x[:, first:] + h
    h = _apply(layer.mlp.fc1, layer.layernorm_after(x), compute)
    return x + _apply(layer.mlp.fc2, functional.gelu(h), compute)


def _attention(block: Any, x: Tensor, compute: Compute, first: int) -> Tensor:
    def heads(tokens: Tensor, parts: int) -> Sequence[Tensor]:
        b, n, _ = tokens.shape
        split = tokens.view(b, n, parts, block.num_attention_heads, block.head_dim)
        return split.permute(2, 0, 3, 1, 4).unbind()

    x = x.to(compute.dtype)
    projections = [block.q_proj, block.k_proj, block.v_proj]
    if first:
        (q,) = heads(_project(projections[:1], x[:, first:], compute), 1)
        k, v = heads(_project(projections[1:], x, compute), 2)
    else:
        q, k, v = heads(_project(projections, x, compute), 3)
    if compute.attention == "sdpa":
        mixed = functional.scaled_dot_product_attention(q, k, v)
    else:
        weights = q @ k.transpose(2, 3) * block.scaling
        # torch's softmax of bf16 takes 4 times as long as in fp32 on a CPU, its gradient 10 times
        mixed = weights.softmax(dim=-1, dtype=torch.float32).to(v.dtype) @ v
    return _apply(block.o_proj, mixed.transpose(1, 2).flatten(2), compute)


def _apply(linear: Any, x: Tensor, compute: Compute) -> Tensor:
    return _project([linear], x, compute)


def _project(linears: Sequence[Any], x: Tensor, compute: Compute) -> Tensor:
    """Apply linear layers that share their input, as one product."""
    return _linear(x, [m.weight for m in linears], [m.bias for m in linears], compute)


def _linear(x: Tensor, weights: list[Tensor], biases: list[Tensor], compute: Compute) -> Tensor:
    weight, bias = (t[0] if len(t) == 1 else torch.cat(t) for t in (weights, biases))
    return functional.linear(x.to(compute.dtype), weight.to(compute.dtype), bias.to(compute.dtype))
