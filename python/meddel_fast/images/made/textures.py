"""Textures of the made mucosa: mottling, relief, wet gloss, vessels and sensor grain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from meddel_fast.common.extras import needs

with needs("benchmark"):
    from PIL import Image, ImageDraw, ImageFilter

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]

TEXTURE = 512
"""Texels around the tube, and along one period of its length."""


@dataclass(frozen=True)
class Textures:
    """Periodic (TEXTURE, TEXTURE) float32 textures, flattened, shared by the videos of a set.

    ``mottle``, ``relief`` and ``gloss`` have mean 0 and deviation 1; ``vessels`` is in [0, 1];
    ``grain`` is white noise, three to a pixel.
    """

    mottle: Floats
    relief: Floats
    gloss: Floats
    vessels: Floats
    grain: Floats

    @classmethod
    def make(cls, rng: np.random.Generator) -> Textures:
        """Draw all textures; about a tenth of a second."""
        bumps = _noise(rng, 3, 40, 1.6)
        relief = (bumps - np.roll(bumps, 9, 0)) + 0.6 * (bumps - np.roll(bumps, 9, 1))
        vessels = np.stack([_vessels(rng, 26, 3), _vessels(rng, 60, 1)]).max(0)
        return cls(
            mottle=_noise(rng, 2, 90, 1.3).ravel(),
            relief=(relief / relief.std()).ravel(),
            gloss=_noise(rng, 14, 50, 0.4).ravel(),
            vessels=vessels.ravel(),
            grain=rng.standard_normal(1 << 19, dtype=np.float32),
        )


def _noise(rng: np.random.Generator, low: float, high: float, slope: float) -> Floats:
    """Draw periodic noise with 1/f**slope between two frequencies (cycles a texture)."""
    frequency = np.hypot(
        np.fft.fftfreq(TEXTURE, 1 / TEXTURE)[:, None], np.fft.rfftfreq(TEXTURE, 1 / TEXTURE)[None]
    )
    frequency[0, 0] = 1
    band = frequency**-slope * np.exp(-((frequency / high) ** 2)) * (frequency >= low)
    field = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((TEXTURE, TEXTURE))) * band)
    return np.asarray((field - field.mean()) / field.std(), np.float32)


def _vessels(rng: np.random.Generator, trees: int, width: int) -> Floats:
    """Draw branching random walks on a torus, as lines with soft edges."""
    margin, step = 16, 7.0
    canvas = Image.new("L", (TEXTURE + 2 * margin,) * 2)
    draw = ImageDraw.Draw(canvas)
    walks = [(*rng.uniform(0, TEXTURE, 2), rng.uniform(0, 2 * np.pi), width) for _ in range(trees)]
    while walks:
        x, y, heading, thickness = walks.pop()
        for _ in range(int(rng.integers(8, 22))):
            heading += rng.normal(0, 0.28)
            x, y = x % TEXTURE + margin, y % TEXTURE + margin
            ahead = (x + step * np.cos(heading), y + step * np.sin(heading))
            draw.line([(x, y), ahead], fill=120 + 40 * thickness, width=thickness)
            x, y = ahead[0] - margin, ahead[1] - margin
            if thickness > 1 and rng.random() < 0.22:
                turn = heading + rng.choice([-1, 1]) * rng.uniform(0.5, 1.0)
                walks.append((x, y, turn, thickness - 1))
    soft = np.asarray(canvas.filter(ImageFilter.GaussianBlur(0.8)), np.float32) * np.float32(
        1 / 255
    )
    for _ in range(2):  # what ran over an edge belongs to the other side
        soft[margin : 2 * margin] = np.maximum(soft[margin : 2 * margin], soft[-margin:])
        soft[-2 * margin : -margin] = np.maximum(soft[-2 * margin : -margin], soft[:margin])
        soft = np.ascontiguousarray(soft[margin:-margin].T)
    return soft
