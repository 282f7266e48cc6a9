"""The decision what the numbers of a data set's masks mean, from their counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np

from meddel_fast.images.masks.numbers import ONE_BIT
from meddel_fast.images.masks.rule import (
    VOC,
    VOID,
    Number,
    Rule,
    brightness,
    channels,
    is_colour,
    show,
)
from meddel_fast.images.masks.tally import Tally

_CLASSES = 63  # class numbers are small: what is higher may as well be a grey level
_FULL = (255, 1023, 4095, 16383, 65535, 2**31 - 1, 2**32 - 1)
FAINT = 40
"""What noise hardly goes beyond."""
_COLOURS = 256  # a set with more colours is a picture, not a map of classes
_REGION = 0.01  # share of the lesion from which on flat grey between black and white is a class
_MUCH = 0.5  # and where white is blurred as well
_PLATEAU = 0.10  # and from which on it is, flat or not, when it lies close together
_FEW = 0.01
_RARE = 0.25  # share of 255 that smaller numbers must have where most files have 255 without them
_SHADES = 32  # more fractions than classes would have


def small(tally: Tally) -> tuple[list[Number], list[Number]]:
    """Sort out the numbers that classes have, 0 apart, and the highest number of a depth.

    Classes have small numbers, but for indices of a palette, which are never grey levels.
    """
    tops = [v for v in tally.pixels if v in (255, 65535)]
    marks = (v for v in tally.pixels if v > 0 and v not in tops)
    return sorted(v for v in marks if v <= _CLASSES or tally.indexed), tops


def is_settled(tally: Tally) -> bool:
    """Tell whether a depth by itself shows masks of black and white."""
    if any(map(is_colour, tally.pixels)) and not tally.lossy:
        return False
    low, _ = small(tally)
    if low and not tally.lossy:
        return False
    return max(tally.pixels) > _CLASSES and isinstance(_levels(tally), Rule)


def decide(tally: Tally, depth: str, plain: bool) -> Rule | str:
    """Decide what the numbers of one depth mean, or say why that cannot be told.

    Parameters
    ----------
    tally
        What was counted.
    depth
        The depth's name.
    plain
        Whether files of another depth show that masks of this set are black and white.
    """
    numbers = sorted(tally.pixels)
    marks = [v for v in numbers if v != 0]
    if not marks:
        return Rule(above=_half(depth), seen=_notes(tally, "no pixel above 0"))
    if tally.lossy:
        if numbers[-1] <= _CLASSES and tally.clean and not plain:
            return "small numbers in lossy files may be blurred classes or noise"
        return _levels(tally)
    if numbers[0] < 0:
        return "negative numbers can mean several things"
    if any(map(is_colour, numbers)):
        return _colours(tally)
    if len(marks) == 1:
        return _one(tally, marks[0], depth)
    if any(v != int(v) for v in numbers):
        return _levels(tally)
    if depth in ("2 bits", "4 bits") and 2 * _half(depth) == numbers[-1]:
        inner = sum(tally.flat[v] for v in marks[:-1])
        if not inner:  # soft edges alone between black and white
            return Rule(above=_half(depth), seen=_notes(tally))
    found = _classes(tally, depth, plain)
    return _levels(tally) if found is None else found


def _half(depth: str) -> float:
    if depth == ONE_BIT:
        return 127.5  # its white counts as 255
    return 0.5 if depth.startswith("float") else (2 ** int(depth.split()[0]) - 1) / 2


def _one(tally: Tally, mark: Number, depth: str) -> Rule | str:
    """Decide for sets with a single number beside 0."""
    if mark in (*_FULL, 2 * _half(depth)):
        return Rule(above=mark / 2, seen=_notes(tally))
    if not tally.pixels[0] and mark != 1:
        return "no pixel is 0, so that nothing is background"
    return Rule(seen=_notes(tally))


def _classes(tally: Tally, depth: str, plain: bool) -> Rule | str | None:
    """Decide for sets of class or instance numbers; ``None`` where they are grey levels."""
    low, tops = small(tally)
    marks = [v for v in tally.pixels if v != 0]
    rest = [v for v in marks if v not in tops]
    if len(rest) > len(low):
        lower = [v for v in marks if v < 7 / 8 * max(marks)]
        solid = sum(tally.flat[v] for v in lower) >= 0.3 * sum(tally.pixels[v] for v in lower)
        solid &= sum(tally.flat[v] > 0 for v in lower) >= 0.8 * len(lower)  # else soft edges
        if solid and len(marks) >= 0.8 * max(marks):
            return Rule(seen=_notes(tally)) if tally.pixels[0] else "no pixel is 0"
        return None
    noisy = bool(not tally.clean and (tally.noisy or (tally.faint and len(low) >= 3)))
    if tops:
        mass = sum(tally.pixels[v] for v in tops)
        if noisy and tally.beside and not tally.faint and len(low) > 4:
            return f"small numbers beside {tops[-1]} may be noise or classes"
        if noisy and not tally.beside:
            return None
        if not tally.pixels[0]:
            return "no pixel is 0, so that nothing is background"
        if not tally.beside:
            return f"{tops[-1]} never stands beside a smaller number: the masks have two scales"
        share = _FEW if tally.alone <= tally.beside else _RARE
        if sum(tally.pixels[v] for v in rest) < share * mass:
            return f"{tops[-1]} is too much to be ignored beside so little of {listed(rest)}"
        return Rule(ignore=tuple(sorted(tops)), seen=_notes(tally))
    if noisy and plain:
        return Rule(above=_half(depth), seen=_notes(tally, "noise"))
    if noisy and not tally.faint and len(low) > 4:
        return "small numbers that change from pixel to pixel may be noise or classes"
    if not tally.pixels[0]:
        return "no pixel is 0, so that nothing is background"
    return Rule(seen=_notes(tally))


def _colours(tally: Tally) -> Rule | str:
    """Decide for sets with colours: lesion is all but black and the dark side of soft edges."""
    numbers = [v for v in tally.pixels if v != 0]
    if tally.pixels[0] and tally.pixels[VOID] and all(v in VOC for v in numbers):
        return Rule(ignore=(VOID,), seen=_notes(tally, "colours of Pascal VOC"))
    solid = [v for v in numbers if tally.flat[v]]
    shares = {v: _shade(v, solid) for v in numbers if not tally.flat[v]}
    if solid and shares and None not in shares.values():
        found = _levels(tally)
        if isinstance(found, Rule):
            return found
    if len(numbers) <= _COLOURS and (solid or len(numbers) <= _COLOURS // 8):
        if not tally.pixels[0]:
            return "no pixel is black, so that nothing is background"
        dark = {v for v, share in shares.items() if share is not None and share <= 0.5}
        if not tally.clean:  # noise beside bright colours, not regions
            levels = brightness(np.array(numbers)).tolist()
            faint = {v for v, level in zip(numbers, levels, strict=True) if level <= FAINT}
            dark |= faint if len(faint) < len(numbers) else set()
        return Rule(background=(0, *sorted(dark)), seen=_notes(tally))
    return _levels(tally)


def _shade(number: Number, of: list[Number]) -> float | None:
    """Give the brightness of a shade as a share of its colour's; ``None`` if it is no shade."""
    mine = np.array(channels(number), np.float64)
    fulls = [np.array(channels(v), np.float64) for v in of]
    shares = [(float(mine.max() / full.max()), full) for full in fulls]
    found = [share for share, full in shares if (np.abs(mine - full * share) <= 3).all()]
    return max(found, default=None)


def _levels(tally: Tally) -> Rule | str:
    """Decide for grey levels: black and white, soft edges and noise allowed, and nothing between.

    White is the depth's highest level where there is something near it, else the highest that is
    flat. Grey that lies between as a region, or heaps up there, is a class that a threshold would
    lose.
    """
    pixels, flat = _by_level(tally.pixels), _by_level(tally.flat)
    levels = np.array(sorted(pixels), np.float64)
    counts = np.array([pixels[v] for v in sorted(pixels)], np.float64)
    flats = np.array([flat[v] for v in sorted(pixels)], np.float64)
    highest = levels[-1]
    integral = (levels == np.rint(levels)).all()
    full = next(f for f in (_FULL if integral else (1, *_FULL, np.inf)) if highest <= f)
    if full == np.inf:
        return "levels without an upper end"
    above = counts[levels > full / 8].sum()
    if tally.lossy and not above:
        return Rule(above=full / 2, seen=_notes(tally, f"no pixel above {highest:g}"))
    white = float(full)
    if counts[levels >= 7 / 8 * full].sum() < 0.1 * above or not above:
        solid = levels[(levels > full / 8) & (flats > 0) & (counts >= _FEW * above)]
        if not len(solid):
            if tally.lossy:
                return Rule(above=full / 2, seen=_notes(tally))
            return "grey levels without white"
        white = float(solid[-1])
    lesion = counts[levels > white / 8].sum()
    between = (levels > white / 8) & (levels < 7 / 8 * white)
    if flats[between].sum() > _REGION * lesion:
        return f"grey regions lie between 0 and {white:g}"
    chances = not integral and len(levels) > _SHADES
    if not chances and _heap(levels[between], counts[between], white / 15) > _PLATEAU * lesion:
        return f"much lies close together between 0 and {white:g}"
    faint = (levels > levels[0]) & (levels <= white / 8)
    near = (levels > 7 / 8 * white).sum()  # noise blurs white as well
    noise = tally.lossy or tally.noisy or tally.faint
    if not noise and flats[faint].sum() > (_REGION if near <= 2 else _MUCH) * lesion:
        return f"dark regions lie far below {white:g}"
    if not tally.lossy and tally.dim and white > _CLASSES:
        return f"{tally.dim} of them hold one small number alone, far below {white:g}"
    share = counts[between].sum() / lesion
    return Rule(above=white / 2, seen=_notes(tally, f"{share:.1%} between" if share else ""))


def _by_level(counts: Mapping[Number, int]) -> Counter[float]:
    numbers = np.array(list(counts) or [0])
    merged: Counter[float] = Counter()
    for level, n in zip(brightness(numbers).tolist(), counts.values(), strict=False):
        merged[float(level)] += n
    return merged


def _heap(levels: np.ndarray, counts: np.ndarray, width: float) -> float:
    """Give the most pixels that lie within `width` of levels."""
    if not len(levels):
        return 0.0
    sums = np.concatenate([[0.0], np.cumsum(counts)])
    ends = np.searchsorted(levels, levels + width, side="right")
    return float((sums[ends] - sums[: len(levels)]).max())


def _notes(tally: Tally, more: str = "") -> str:
    texts = [listed(tally.pixels), more]
    if tally.valueless:
        texts.append(f"{tally.valueless} pixels that are no number, ignored")
    return "; ".join(filter(None, texts))


def listed(numbers: Iterable[Number]) -> str:
    """Name numbers, in ranges where they are many."""
    ordered = sorted(numbers)
    runs: list[list[Number]] = []
    for v in ordered:
        if runs and isinstance(v, int) and v == runs[-1][-1] + 1 and not is_colour(v):
            runs[-1].append(v)
        else:
            runs.append([v])
    if len(runs) > 8:
        return f"{len(ordered)} numbers from {show(ordered[0])} to {show(ordered[-1])}"
    return ", ".join(show(r[0]) + (f"-{show(r[-1])}" if len(r) > 1 else "") for r in runs)
