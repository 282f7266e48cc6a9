"""What the masks of a data set hold, all of them, and what their numbers therefore mean.

Counted by depth, so that a number means the same in all files of one depth: how often each number
occurs, how much of it is flat (all four neighbours equal, as inside a region and not on a soft
edge), and what small numbers stand beside. Where the counts fit several meanings, or none, the set
is refused, and its owner has to say.
"""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast.images.masks.decide import FAINT, decide, is_settled, listed, small
from meddel_fast.images.masks.numbers import LOSSY, ONE_BIT, depth_of, numbers_of
from meddel_fast.images.masks.rule import (
    VOC,
    VOID,
    Meaning,
    Number,
    Rule,
    brightness,
    is_colour,
    parse_mask,
    show,
)
from meddel_fast.images.masks.tally import Tally
from meddel_fast.images.pixels import Pixels

_MANY = 100_000  # numbers of a depth from which on colours count by their brightness
_SOLID = 0.7  # share of a region that is flat
_SINGLE, _EVERYWHERE = 0.2, 0.25  # at most so flat is noise, and at least so much of the file
_SPREAD = 0.75  # share of rows, and of columns, of blocks that noise reaches
_HOW = (
    "say what they mean: mask = {foreground = [...], ignore = [...]} or {above = ...} in the "
    "config's [[data]], --mask-foreground, --mask-ignore or --mask-above for `data build`"
)


class MaskError(ValueError):
    """The masks of a data set have no one meaning."""


class Census:
    """Counts the masks of one data set, from any thread, and settles what they mean."""

    def __init__(self) -> None:
        self._tallies: dict[str, Tally] = {}
        self._palettes: tuple[dict[str, Tally], dict[str, Tally]] = ({}, {})  # colour, index
        self._colours: dict[int, set[int]] = defaultdict(set)  # of each index in use
        self._lock = threading.Lock()

    def add(self, name: str, pixels: Pixels) -> None:
        """Count a file.

        Raises
        ------
        ValueError
            It is not a mask.
        """
        depth = depth_of(pixels)
        if pixels.kind != "palette":
            numbers, turned = numbers_of(pixels, True)
            counted = replace(_tally(name, numbers, pixels.lossy), turned=turned)
            with self._lock:
                _put(self._tallies, depth, counted)
            return
        index, colour = (numbers_of(pixels, by_index)[0] for by_index in (True, False))
        both = [
            _tally(name, numbers, pixels.lossy, indexed)
            for numbers, indexed in ((colour, False), (index, True))
        ]
        used = {v: colour[index == v] for v in np.unique(index).tolist()}
        seen = {v: {int(part.min()), int(part.max())} for v, part in used.items()}
        with self._lock:
            for tallies, counted in zip(self._palettes, both, strict=True):
                _put(tallies, depth, counted)
            for v, colours in seen.items():
                self._colours[v] |= colours

    def settle(self, given: Mapping[str, Any] | None = None) -> Meaning:
        """Say what the numbers mean.

        Parameters
        ----------
        given
            What the owner says (`masks.rule.parse_mask`).

        Raises
        ------
        MaskError
            The counts fit no meaning, or several.
        """
        rule, ignore = parse_mask(given) if given else (None, ())
        by_index = self._by_index(rule, ignore)
        tallies = dict(self._tallies)
        for depth, counted in self._palettes[by_index].items():
            _put(tallies, depth, counted)
        # what came after a tally became coarse is not so yet
        tallies = {d: _coarser(tally) if tally.coarse else tally for d, tally in tallies.items()}
        if rule is not None:
            return Meaning((("", _checked(rule, tallies)),), by_index)
        tallies = {  # of one bit, both are black or white
            depth: tally if depth == ONE_BIT else tally.without(ignore)
            for depth, tally in tallies.items()
        }
        plain = any(map(is_settled, tallies.values()))
        rules = {depth: _decided(tally, depth, plain) for depth, tally in tallies.items()}
        _check_together(rules, tallies)
        if not by_index:
            self._check_white(rules)
        found = {
            depth: rule if depth == ONE_BIT else replace(rule, ignore=ignore + rule.ignore)
            for depth, rule in rules.items()
        }
        return Meaning(tuple((depth, found[depth]) for depth in sorted(found)), by_index)

    def _check_white(self, rules: Mapping[str, Rule]) -> None:
        """Refuse palettes of black and white alone, whose white other files ignore."""
        for depth, tally in self._palettes[False].items():
            if set(tally.pixels) <= {0, 255} and 255 in rules[depth].ignore:
                raise MaskError(
                    f"255 is ignored in masks of {depth}, and all that palettes (first "
                    f"{tally.first}) hold beside black; {_HOW}"
                )

    def _by_index(self, rule: Rule | None, ignore: tuple[Number, ...]) -> bool:
        """Tell whether palettes are names of classes, or a way to store colours."""
        if rule is not None or ignore:
            named = [*ignore, *(rule.foreground or () if rule else ())]
            named += [*rule.background] if rule and rule.above is None else []
            return not any(map(is_colour, named)) and not (rule and rule.above is not None)
        seen = set().union(*self._colours.values())
        if seen <= {0, 255}:  # black and white, in whatever order
            upright = self._colours.get(0, {0}) == {0}
            classes = any(small(t)[0] for t in self._tallies.values() if not t.lossy)
            return not seen or (upright and classes)
        if VOID in seen and seen <= VOC.keys():  # also where the indices were dealt anew
            return all({VOC[c] for c in colours} == {v} for v, colours in self._colours.items())
        if any(len(colours) > 1 for colours in self._colours.values()):
            return False  # every file has a palette of its own
        return self._colours.get(0, {0}) == {0} or 0 not in seen


def _put(tallies: dict[str, Tally], depth: str, counted: Tally) -> None:
    joined = tallies[depth] + counted if depth in tallies else counted
    tallies[depth] = _coarser(joined) if len(joined.pixels) > _MANY else joined


def _coarser(tally: Tally) -> Tally:
    pixels, flat = _by_brightness(tally.pixels), _by_brightness(tally.flat)
    return replace(tally, coarse=True, pixels=pixels, flat=flat)


def _by_brightness(counts: Counter[Number]) -> Counter[Number]:
    return _merged(np.array(list(counts)), np.array(list(counts.values()), np.int64))


def _merged(numbers: NDArray[Any], counts: NDArray[np.int64]) -> Counter[Number]:
    levels = brightness(numbers)
    levels = np.round(levels, 2) if levels.dtype.kind == "f" else levels
    found, places = np.unique(levels, return_inverse=True)
    sums = np.zeros(len(found), np.int64)
    np.add.at(sums, places.ravel(), counts)
    return Counter(dict(zip(found.tolist(), sums.tolist(), strict=True)))


def _tally(name: str, numbers: NDArray[Any], lossy: bool, indexed: bool = False) -> Tally:
    """Count one file."""
    valueless = 0
    if numbers.dtype.kind == "f":
        finite = np.isfinite(numbers)
        valueless = int(numbers.size - finite.sum())
        numbers = np.where(finite, numbers, 0).astype(np.float64)
        if (numbers == np.rint(numbers)).all() and np.abs(numbers).max(initial=0) < 1 << 53:
            numbers = numbers.astype(np.int64)
    if lossy:
        numbers = brightness(numbers)
    flat = _flat(numbers)
    (counts, coarse), (flats, _) = _counts(numbers), _counts(numbers[flat])
    tally = Tally(lossy, indexed, coarse, pixels=counts, flat=flats, files=1)
    tally.valueless, tally.first = valueless, name
    if numbers.dtype.kind == "f":
        return tally
    low, top = small(tally)
    tally.beside, tally.alone = int(bool(top and low)), int(bool(top and not low))
    if low:
        kind = _looks(numbers, low)
        tally.noisy, tally.faint = int(kind == "noise"), int(kind == "faint")
        tally.clean = int(kind == "regions")
        alone = set(counts) - {0} == set(low[:1])
        tally.dim = int(alone and tally.clean and flats[low[0]] > _SOLID * counts[low[0]])
    return tally


def _counts(numbers: NDArray[Any]) -> tuple[Counter[Number], bool]:
    """Count pixels by number, by brightness where there are too many numbers."""
    if numbers.dtype == np.uint8:
        counts = np.bincount(numbers.ravel(), minlength=256)
        values = np.flatnonzero(counts)
        return Counter(dict(zip(values.tolist(), counts[values].tolist(), strict=True))), False
    found, counts = np.unique(numbers, return_counts=True)
    if len(found) > _MANY:
        return _merged(found, counts), True
    return Counter(dict(zip(found.tolist(), counts.tolist(), strict=True))), False


def _flat(numbers: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell which pixels equal their four neighbours; what is outside counts as equal."""
    flat = np.ones(numbers.shape, bool)
    down, across = numbers[1:] == numbers[:-1], numbers[:, 1:] == numbers[:, :-1]
    flat[1:] &= down
    flat[:-1] &= down
    flat[:, 1:] &= across
    flat[:, :-1] &= across
    return flat


def _looks(numbers: NDArray[Any], low: list[Number]) -> str:
    """Tell noise, what may be "faint" noise, and regions of class numbers; "" where nothing tells.

    Noise has several numbers without a wide gap, and changes from pixel to pixel, or, when a JPEG
    has smoothed it, by a little. Coarser JPEGs leave blocks: many numbers, or no black ground.
    """
    if _in_blocks(numbers, low):
        return "noise"
    if len(low) < 3 or max(np.diff(low)) > 2:
        if len(low) > 2:
            return "regions"
        there = np.isin(numbers, low)
        flat = _flat(numbers)[there].mean()
        if flat <= _SINGLE and there.mean() >= _EVERYWHERE:
            return "noise"
        return "regions" if flat > _SINGLE and (numbers == 0).mean() >= 0.5 else ""
    kept = np.where(numbers <= max(low), numbers, 0).astype(np.int64)
    steps = np.abs(np.diff(kept, axis=1))
    changed = steps[steps > 0]
    ragged = changed.size > 0.5 * np.isin(numbers, low).sum()
    gentle = len(low) > 3 and changed.size > 0 and changed.mean() < 1.5
    groundless = (numbers == 0).mean() < 0.5
    if ragged or (gentle and groundless):
        return "noise"
    many = len(low) > 7 and max(low) <= FAINT
    return "faint" if many or groundless else "regions"


def _in_blocks(numbers: NDArray[Any], low: list[Number]) -> bool:
    """Tell whether small numbers fill blocks of 8 x 8 all over, as a JPEG leaves faint noise."""
    height, width = numbers.shape
    blocks = numbers[::8, ::8]
    if min(blocks.shape) < 4 or max(low) > FAINT:
        return False
    if (np.kron(blocks, np.ones((8, 8), blocks.dtype))[:height, :width] != numbers).any():
        return False
    there = blocks > 0
    changes = (blocks[:, 1:] != blocks[:, :-1]).sum()
    spread = min(there.any(axis=0).mean(), there.any(axis=1).mean())
    return bool(spread >= _SPREAD and changes > 0.5 * there.sum())


def _checked(rule: Rule, tallies: Mapping[str, Tally]) -> Rule:
    """Add to an owner's rule what the set holds, also that it does not name."""
    whole: Tally = sum(tallies.values(), Tally())
    if (white := tallies[ONE_BIT].pixels[255] if ONE_BIT in tallies else 0) and rule.white != 255:
        moved = whole.pixels + Counter({rule.white: white})
        whole = replace(whole, pixels=moved - Counter({255: white}))
    if rule.above is not None:
        return replace(rule, seen=f"as told; there are {listed(whole.pixels)}")
    named = {*(rule.foreground or ()), *rule.background, *rule.ignore}
    others = Counter({v: n for v, n in whole.pixels.items() if v not in named})
    if whole.lossy and rule.foreground is None:
        raise MaskError(f"lossy masks hold {listed(whole.pixels)}: give foreground, or above")
    text = "as told"
    absent = [show(v) for v in rule.foreground or () if not whole.pixels[v]]
    if absent:
        text += f"; no pixel of {', '.join(absent)}"
    if others and rule.foreground is None:
        text += f"; lesion are {listed(others)}"
    elif others and not whole.lossy:
        text += f"; also background: {listed(others)}"
    return replace(rule, seen=text + "; the nearest of these in lossy files" * whole.lossy)


def _decided(tally: Tally, depth: str, plain: bool) -> Rule:
    rule = decide(tally, depth, plain)
    if isinstance(rule, str):
        raise MaskError(
            f"{tally.files} masks of {depth} (first {tally.first}) hold {listed(tally.pixels)}: "
            f"{rule}; {_HOW}"
        )
    numbers = np.array(list(tally.pixels))
    lesion = rule.apply(numbers, lossy=tally.lossy) == 1
    share = np.array(list(tally.pixels.values()))[lesion].sum() / max(tally.pixels.total(), 1)
    if share > 0.5 and not tally.turned:
        return replace(rule, seen=f"{rule.seen}; {share:.0%} of all pixels, are they turned over?")
    return rule


def _check_together(rules: Mapping[str, Rule], tallies: Mapping[str, Tally]) -> None:
    """Refuse the set where one number means two things."""
    for depth, rule in rules.items():
        other = rules.get(depth + LOSSY)
        if other is None or other.above is None or not rule.ignore:
            continue
        if max(tallies[depth + LOSSY].pixels) > other.above:
            raise MaskError(
                f"{show(rule.ignore[-1])} is ignored in masks of {depth} (first "
                f"{tallies[depth].first}) and lesion in lossy ones (first "
                f"{tallies[depth + LOSSY].first}); {_HOW}"
            )
