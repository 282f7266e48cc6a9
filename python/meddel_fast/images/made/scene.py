"""A made colonoscopy: a camera in a folded tube of mucosa, drawn with numpy alone.

The tube is a row of folds (rings with a lobed opening) along a curved centre line. A pixel sees
the first fold whose opening it misses, so the folds are painted from far to near; polyps are domes
on the wall that take their turn in that order, and a nearer fold hides them as it would in life.
Light falls off from the camera, mucosa and vessels are textures wrapped around the tube.

Lengths are in tube radii, screen coordinates run from -1 to 1.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from meddel_fast.images.made.anatomy import Polyp, draw_border, draw_polyps, draw_rings, draw_style
from meddel_fast.images.made.textures import TEXTURE, Bytes, Floats, Textures

_TEXELS_PER_RADIUS = TEXTURE / (2 * np.pi)
_FOCAL = 0.8
_NEAREST = 0.28
_FARTHEST = 5.5
_DARK = 2.4  # a polyp beyond is too dark and small to be called visible
_RESIDUE = (0.62, 0.42, 0.06)


class Video:
    """One examination: a tube, its polyps, a camera path and a style, all drawn from `rng`.

    Parameters
    ----------
    size
        Side of the frames in pixels.
    length
        How long the camera travels, in steps of its path; time runs from 0 to `length`.
    textures
        Shared textures.
    rng
        Source of everything that is drawn by chance.
    """

    def __init__(
        self, size: int, length: int, textures: Textures, rng: np.random.Generator
    ) -> None:
        self.size = size
        self.textures = textures
        self._speed = rng.uniform(0.14, 0.26)
        self._end = length * self._speed + _FARTHEST
        self._style = draw_style(rng)
        self._shift = int(rng.integers(TEXTURE * TEXTURE))
        self._bends = rng.uniform([[0.15, 0.35, 0]], [[0.7, 1.0, 2 * np.pi]], (4, 3))
        self._sway = rng.uniform([[0.05, 0.15, 0]], [[0.22, 0.5, 2 * np.pi]], (6, 3))
        self._rings = draw_rings(rng, self._end)
        self._polyps = draw_polyps(rng, self._end) if rng.random() < 0.9 else []
        axis = (np.arange(size, dtype=np.float32) + 0.5) * (2 / size) - 1
        self._x = np.broadcast_to(axis[None, :], (size, size))
        self._y = np.broadcast_to(axis[:, None], (size, size))
        self._frame = draw_border(self._style, self._x, self._y)

    def render(self, time: float, rng: np.random.Generator) -> tuple[Floats, Bytes]:
        """Draw the scene at one moment.

        Parameters
        ----------
        time
            Moment on the camera path, from 0 to the video's length.
        rng
            Source of the sensor noise and of the highlights' flicker.

        Returns
        -------
        tuple
            Colours float32 (size, size, 3) in [0, 1], before sensor noise has been cut to bytes,
            and the visible polyp pixels uint8 (size, size) of 0/1.
        """
        camera = _Camera(self, time)
        layers = _Layers(self, camera)
        layers.paint()
        rgb = self._colour(layers, rng)
        mask = (layers.polyp > 0.5) & (self._frame > 0.5)
        return rgb, mask.astype(np.uint8)

    def _colour(self, layers: _Layers, rng: np.random.Generator) -> Floats:
        style, textures = self._style, self.textures
        at = layers.texels()
        near = np.minimum(1, 1.6 / layers.depth)
        wall = near * (1 - layers.polyp)
        mottle = textures.mottle.take(at)
        light = layers.light * (1 + 0.13 * wall * textures.relief.take(at))
        vessel = (style.vessel * wall) * textures.vessels.take(at)
        shine = textures.gloss.take(at)
        stain = np.clip(2 * (-mottle - 2.4 + style.residue), 0, 0.8) * wall
        spark = shine + 1.2 * layers.crest * near + style.gloss + 0.4 * layers.light
        spark = np.clip((spark - 3.9) * 1.3, 0, 1) * np.minimum(1, 1.2 * layers.light)
        spark = np.maximum(spark, layers.spark)
        gain = style.exposure * (0.46 / (0.08 + float((light * self._frame).mean()))) ** 0.75
        start = int(rng.integers(textures.grain.size - 3 * self.size**2))
        grain = textures.grain[start : start + 3 * self.size**2].reshape(3, self.size, self.size)
        planes = np.empty((3, self.size, self.size), np.float32)
        for channel in range(3):
            colour = style.tissue[channel] * (1 + style.mottle * (0.5 + 0.5 * channel) * mottle)
            colour = colour * (1 + vessel * (style.blood[channel] - 1))
            colour *= 1 + layers.polyp * (layers.tint[channel] - 1)
            colour += stain * (_RESIDUE[channel] - colour)
            plane = 1 - np.exp(colour * light * (-2.1 * gain))
            plane += spark * (1 - plane)
            plane *= self._frame * style.white[channel]
            plane += 0.012 + grain[channel] * (style.grain * (0.4 + 0.6 * self._frame))
            planes[channel] = plane
        return np.clip(planes, 0, 1).transpose(1, 2, 0)


class _Camera:
    """Where the camera is and where it looks."""

    def __init__(self, video: Video, time: float) -> None:
        self._bends = video._bends
        self.z = time * video._speed
        sway = (video._sway[:, 0] * np.sin(video._sway[:, 1] * time + video._sway[:, 2])).tolist()
        self.offset = complex(sway[0], sway[1])
        self.tilt = complex(sway[2], sway[3]) * 2.5
        self.roll = 2.5 * sway[4]
        self._here = self._centre_line(self.z)
        ahead = self._centre_line(self.z + 0.5)
        self._heading = (ahead - self._here) * 2
        self.tilt += self._gaze(video._polyps)

    def _centre_line(self, z: float) -> complex:
        bend = self._bends
        waves = bend[:, 0] * np.sin(bend[:, 1] * z + bend[:, 2])
        return complex(waves[0] + waves[1], waves[2] + waves[3])

    def _gaze(self, polyps: list[Polyp]) -> complex:
        """Turn towards a polyp ahead, as an examiner does."""
        turn, weights = 0j, 0.25
        for polyp in polyps:
            ahead = polyp.z - self.z
            if ahead > _NEAREST:
                weight = float(np.exp(-(((ahead - 1.1) / 0.6) ** 2)))
                turn -= weight * self.place(ahead, 0.75 * np.exp(1j * polyp.angle))
                weights += weight
        return 0.8 * turn / weights / _FOCAL

    def place(self, ahead: float, across: complex) -> complex:
        """Give the screen place, before the roll, of a point `across` from the centre line."""
        centre = self._centre_line(self.z + ahead) - self._here - self._heading * ahead
        return complex(_FOCAL * ((centre + self.offset + across) / ahead + self.tilt))


class _Layers:
    """The picture while it is painted, far to near."""

    def __init__(self, video: Video, camera: _Camera) -> None:
        shape = (video.size, video.size)
        self._video, self._camera = video, camera
        cosine, sine = np.float32(np.cos(camera.roll)), np.float32(np.sin(camera.roll))
        self._x = video._x * cosine - video._y * sine
        self._y = video._x * sine + video._y * cosine
        self.light = np.full(shape, 0.02, np.float32)
        self.crest = np.zeros(shape, np.float32)
        self.depth = np.full(shape, _FARTHEST, np.float32)
        self.polyp = np.zeros(shape, np.float32)
        self.spark = np.zeros(shape, np.float32)
        self.tint = np.ones((3, *shape), np.float32)
        self._along = np.zeros(shape, np.float32)
        self._cosine = np.ones(shape, np.float32)
        self._sine = np.zeros(shape, np.float32)

    def paint(self) -> None:
        """Draw folds and polyps in the order of their depth."""
        camera, video = self._camera, self._video
        ahead = [(ring[0] - camera.z, ring) for ring in video._rings]
        rings = [pair for pair in ahead if _NEAREST < pair[0] < _FARTHEST]
        polyps = [p for p in video._polyps if _NEAREST < p.z - camera.z < _DARK]
        polyps.sort(key=lambda polyp: -polyp.z)
        for index in range(len(rings) - 1, -1, -1):
            depth, ring = rings[index]
            while polyps and polyps[0].z - camera.z > depth:
                self._paint_polyp(polyps.pop(0))
            nearer = rings[index - 1] if index else None
            self._paint_ring(depth, ring, nearer)
        for polyp in polyps:
            self._paint_polyp(polyp)

    def _paint_ring(self, depth: float, ring: Floats, front: tuple[float, Floats] | None) -> None:
        """Draw one fold and the wall from it to the next nearer one, around its opening.

        Only what shows through the opening of the nearer one: it covers the rest.
        """
        part, nearer = (slice(None), slice(None)), _NEAREST
        if front:
            nearer = front[0]
            part = self._window(self._camera.place(nearer, 0j), self._widest(*front))
            if _is_empty(part):
                return
        centre = self._camera.place(depth, 0j)
        x, y = self._x[part] - np.float32(centre.real), self._y[part] - np.float32(centre.imag)
        r = np.sqrt(x * x + y * y) + np.float32(1e-4)
        c1, s1 = x / r, y / r
        c2 = c1 * c1 - s1 * s1
        s2 = 2 * c1 * s1
        c3 = c1 * c2 - s1 * s2
        s3 = s1 * c2 + c1 * s2
        edge = ring[1] + ring[2] * c1 + ring[3] * s1 + ring[4] * c2 + ring[5] * s2
        edge += ring[6] * c3 + ring[7] * s3
        edge += ring[8] * (c2 * c3 - s2 * s3) + ring[9] * (s2 * c3 + c2 * s3)
        edge *= np.float32(_FOCAL / depth)
        beyond = r - edge
        cover = np.clip(beyond * np.float32(self._video.size / 3) + 0.5, 0, 1)
        reach = np.float32(0.35 / depth)
        shade = np.exp(np.minimum(beyond, 0) * (2.5 / reach))
        lit = self.light[part]
        lit *= 1 - 0.75 * shade  # the wall right behind a fold lies in its shadow
        rise = np.maximum(beyond, 0) * (3 / reach)
        crest = rise * np.exp(1 - rise)  # a rounded rim: it turns away at its edge
        away = np.clip(edge / r, nearer / depth, 1) * np.float32(depth)
        light = (0.34 + 0.66 * crest) / (0.45 + 0.8 * away * away)
        lit += cover * (light - lit)
        self.crest[part] += cover * (crest - self.crest[part])
        solid = cover > 0.5
        # log-polar: as fine along the tube as around it wherever the wall is seen
        along = np.float32(ring[0]) - np.log(r / edge)
        for field, values in (
            (self.depth, away),
            (self._along, along),
            (self._cosine, c1),
            (self._sine, s1),
        ):
            np.copyto(field[part], values, where=solid)
        for field in (self.polyp, self.spark):
            field[part] *= 1 - cover

    def _paint_polyp(self, polyp: Polyp) -> None:
        ahead = polyp.z - self._camera.z
        lift = 1 - 0.45 * polyp.radius * polyp.height
        direction = complex(np.cos(polyp.angle), np.sin(polyp.angle))
        centre = self._camera.place(ahead, lift * direction)
        radius = _FOCAL * polyp.radius / ahead
        reach = 1.7 * radius
        part = self._window(centre, reach)
        if _is_empty(part):
            return
        x = (self._x[part] - np.float32(centre.real)) / np.float32(radius)
        y = (self._y[part] - np.float32(centre.imag)) / np.float32(radius)
        # the side that faces the axis; a flat one is seen at a slant, a round one is not
        radial = (x * direction.real + y * direction.imag) * np.float32(1.5 - 0.5 * polyp.height)
        along = y * direction.real - x * direction.imag
        rho = np.sqrt(radial * radial + along * along) + np.float32(1e-4)
        c, s = radial / rho, along / rho
        outline = np.ones_like(rho)
        cosine, sine = c, s
        for wave_cosine, wave_sine in polyp.waves:
            cosine, sine = c * cosine - s * sine, s * cosine + c * sine
            outline += wave_cosine * cosine + wave_sine * sine
        rho /= outline
        pixels = np.float32(radius * self._video.size / 2)
        soft = 1 + 0.2 * pixels * (1 - polyp.height) ** 2
        cover = np.clip((1 - rho) * pixels / soft + 0.5, 0, 1)
        bump = self._surface(polyp, part, pixels)
        dome = np.sqrt(np.maximum(1 - rho * rho, 0))
        lean = np.float32(0.45) * (np.float32(-0.8) * radial - np.float32(0.4) * along)
        facing = np.clip(1.05 * dome - 0.15 + lean + 0.05 * polyp.texture * bump, 0.1, 1.3)
        facing = 1 - polyp.height * (1 - facing)
        near = max(ahead - 0.6 * polyp.radius * polyp.height, _NEAREST)
        light = facing * (0.80 / (0.45 + 0.8 * near * near))
        shade = 1 - 0.5 * polyp.height * np.exp(-np.maximum(rho - 1, 0) * 5)
        tilt = (radial + 0.30) ** 2 + (along - 0.15) ** 2
        spark = np.clip(1.5 * polyp.height * np.exp(-9 * tilt) + 0.28 * bump - 0.95, 0, 1) * 2
        self.light[part] *= shade
        self.light[part] += cover * (light - self.light[part])
        self.crest[part] *= 1 - cover
        self.depth[part] += cover * (np.float32(ahead) - self.depth[part])
        self.polyp[part] = np.maximum(self.polyp[part], cover)
        self.spark[part] = np.maximum(self.spark[part] * (1 - cover), cover * np.minimum(spark, 1))
        for channel in range(3):
            tint = self.tint[channel][part]
            tint += cover * (polyp.tint[channel] - tint)

    def _widest(self, depth: float, ring: Floats) -> float:
        """Give the farthest that a fold's opening reaches from its centre, and a pixel or two."""
        waves = np.hypot(ring[2::2], ring[3::2]).sum()
        return float(_FOCAL * (ring[1] + waves) / depth) + 6 / self._video.size

    def _window(self, centre: complex, reach: float) -> tuple[slice, slice]:
        """Give the rows and columns that a disc on the rolled screen can touch."""
        roll = complex(np.cos(self._camera.roll), -np.sin(self._camera.roll))
        middle = centre * roll
        half = self._video.size / 2

        def span(value: float) -> slice:
            low, high = int((value - reach + 1) * half), int((value + reach + 1) * half) + 1
            return slice(max(low, 0), max(min(high, self._video.size), 0))

        return span(middle.imag), span(middle.real)

    def _surface(self, polyp: Polyp, part: tuple[slice, slice], pixels: np.float32) -> Floats:
        """Give the pits and bumps of a polyp, fixed to it: a cut from the gloss texture, scaled."""
        rows, columns = part
        scale = 60 / max(float(pixels), 1.0)
        down = np.arange(rows.stop - rows.start, dtype=np.float32) * scale
        right = np.arange(columns.stop - columns.start, dtype=np.float32) * scale

        def cut(y: int, x: int) -> Floats:
            lines = (down.astype(np.int64) + (polyp.place[0] + y)) % TEXTURE
            at = (right.astype(np.int64) + (polyp.place[1] + x)) % TEXTURE
            return self._video.textures.gloss.take(lines[:, None] * TEXTURE + at)

        if scale >= 1:
            return cut(0, 0)
        v, h = (down % 1)[:, None], right % 1  # texels larger than pixels would show as blocks
        upper, lower = (cut(y, 0) * (1 - h) + cut(y, 1) * h for y in (0, 1))
        return np.asarray(upper * (1 - v) + lower * v, np.float32)

    def texels(self) -> npt.NDArray[np.int64]:
        """Tell where each pixel lies in the textures, as flat indices."""
        angle = np.arctan2(self._sine, self._cosine) * np.float32(TEXTURE / (2 * np.pi))
        along = (self._along + 64) * np.float32(_TEXELS_PER_RADIUS)
        at = along.astype(np.int64) * TEXTURE
        at += angle.astype(np.int64) + (TEXTURE + self._video._shift)
        return at % (TEXTURE * TEXTURE)


def _is_empty(part: tuple[slice, slice]) -> bool:
    return any(span.start >= span.stop for span in part)
