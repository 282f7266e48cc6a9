"""What a made video is made of: its look, its folds, its polyps, its view on the sensor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from meddel_fast.images.made.textures import TEXTURE, Floats


@dataclass(frozen=True)
class Polyp:
    """A dome on the wall: place, radius, height (0 flat to 1 round), outline and colour."""

    angle: float
    z: float
    radius: float
    height: float
    waves: Floats  # (4, 2) cosine and sine amplitudes of the outline's 2nd to 5th harmonic
    tint: Floats  # (3,) factors on the colour of the mucosa
    texture: float
    place: tuple[int, int]  # where its surface is cut from the textures


@dataclass(frozen=True)
class Style:
    """What a video keeps from its first frame to its last."""

    tissue: Floats  # (3,) reflectance of mucosa
    blood: Floats  # (3,) factors where a vessel runs
    white: Floats  # (3,) white balance
    vessel: float
    mottle: float
    gloss: float
    exposure: float
    grain: float
    border: str
    box: bool
    residue: float


def draw_style(rng: np.random.Generator) -> Style:
    """Draw how a video looks: most as in white light, a few in narrow-band light."""
    narrow = rng.random() < 0.07
    if narrow:
        tissue = np.array([0.42, 0.52, 0.44]) * rng.uniform(0.9, 1.1, 3)
        blood = np.array([0.55, 0.35, 0.45])
    else:
        pale = rng.uniform(0, 1)
        tissue = (1 - pale) * np.array([1.0, 0.30, 0.20]) + pale * np.array([0.98, 0.44, 0.33])
        tissue = tissue * rng.uniform(0.92, 1.08, 3)
        blood = np.array([0.82, 0.45, 0.50])
    return Style(
        tissue=tissue.astype(np.float32),
        blood=blood.astype(np.float32),
        white=rng.uniform([0.94, 0.92, 0.90], [1.0, 1.0, 1.0]).astype(np.float32),
        vessel=rng.uniform(0.35, 1.1),
        mottle=rng.uniform(0.04, 0.11),
        gloss=rng.uniform(0.1, 0.9),
        exposure=rng.uniform(0.85, 1.2),
        grain=rng.uniform(0.006, 0.02),
        border=str(rng.choice(["round", "octagon", "full"], p=[0.4, 0.4, 0.2])),
        box=bool(rng.random() < 0.4),
        residue=max(0.0, rng.uniform(-0.6, 1.0)),
    )


def draw_rings(rng: np.random.Generator, end: float) -> list[Floats]:
    """Draw folds: z, mean opening, then cosine and sine amplitudes of harmonics 1, 2, 3 and 5."""
    rings = []
    z, bulk = 0.2, rng.uniform(0.22, 0.42)
    while z < end:
        depth = bulk * rng.uniform(0.6, 1.4)
        waves = rng.normal(0, 1, (4, 2)) * np.array([[0.40], [0.22], [0.26], [0.05]]) * depth
        waves *= min(1, 0.7 * (1 - depth) / np.hypot(*waves.T).sum())
        rings.append(np.array([z, 1 - depth, *waves.ravel()], np.float32))
        z += rng.uniform(0.45, 1.05)
    return rings


def draw_polyps(rng: np.random.Generator, end: float) -> list[Polyp]:
    """Draw polyps of every size, shape and shade, some much like the wall around them."""
    polyps = []
    z = rng.uniform(0.8, 1.8)
    while z < end:
        red, pale = rng.uniform(-0.05, 0.25), rng.uniform(-0.08, 0.12)
        tint = np.array([1 + 0.3 * red, 1 + pale - red, 1 + pale - 0.8 * red])
        decay = np.array([[1.0], [0.6], [0.35], [0.2]])
        polyps.append(
            Polyp(
                angle=rng.uniform(0, 2 * np.pi),
                z=z,
                radius=float(np.exp(rng.uniform(np.log(0.28), np.log(0.80)))),
                height=rng.uniform(0.3, 1.0),
                waves=(rng.normal(0, 0.07, (4, 2)) * decay).astype(np.float32),
                tint=tint.astype(np.float32),
                texture=rng.uniform(0.3, 1.6),
                place=(int(rng.integers(TEXTURE)), int(rng.integers(TEXTURE))),
            )
        )
        z += rng.uniform(0.9, 2.6)
    return polyps


def draw_border(style: Style, x: Floats, y: Floats) -> Floats:
    """Give the endoscope's view on the sensor, with the fall of light to its rim."""
    radius = np.sqrt(x * x + y * y)
    square = np.maximum(np.abs(x), np.abs(y))
    if style.border == "round":
        inside = 0.97 - radius
    elif style.border == "octagon":
        inside = np.minimum(0.97 - square, 1.55 - np.abs(x) - np.abs(y))
    else:
        inside = np.minimum(1.02 - square, 1.32 - radius)
    if style.box:  # where a scope-position display covers the corner
        inside = np.minimum(inside, np.maximum(x + 0.42, 0.40 - y))
    edge = np.clip(inside * np.float32(len(x) / 3) + 0.5, 0, 1)
    return np.asarray(edge * (1 - 0.30 * np.minimum(radius, 1.3) ** 3), np.float32)
