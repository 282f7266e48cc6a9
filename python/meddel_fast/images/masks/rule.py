"""What the numbers in masks stand for: lesion, background, or pixels that do not count.

A rule speaks of numbers as files store them: grey levels, class numbers, indices of a palette. A
colour whose channels differ is a number of its own (:func:`colour_number`). Needs numpy alone.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

IGNORED = 255
"""What stands for an ignored pixel in a decoded mask, beside 0 and 1."""

KEYS = ("foreground", "background", "ignore", "above")
_EIGHT, _SIXTEEN = 1 << 56, 1 << 57  # where the colours of 8 and of 16 bits a channel begin
_NAMES = 12  # numbers named in a line
_COLOUR = re.compile(r"#([0-9a-fA-F]{6}|[0-9a-fA-F]{12})")

Number = int | float


def colour_number(rgb: NDArray[Any]) -> NDArray[Any]:
    """Give each pixel of ``(..., 3)`` one number: its level where it is grey, else its colour's.

    Raises
    ------
    ValueError
        Colours whose channels are neither of 8 nor of 16 bits.
    """
    red, green, blue = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    grey = (red == green) & (green == blue)
    if grey.all():
        return np.array(red)
    if rgb.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"colours of {rgb.dtype}")
    bits, first = (8, _EIGHT) if rgb.dtype == np.uint8 else (16, _SIXTEEN)
    r, g, b = (channel.astype(np.int64) for channel in (red, green, blue))
    return np.where(grey, r, first | r << 2 * bits | g << bits | b)


def _voc(index: int) -> Number:
    """Give the colour by which Pascal VOC, and most that follow it, shows a class."""
    bits = [[index >> 3 * k + c & 1 for k in range(8)] for c in range(3)]
    rgb = [sum(bit << 7 - k for k, bit in enumerate(channel)) for channel in bits]
    return int(colour_number(np.array(rgb, np.uint8)))


def brightness(numbers: NDArray[Any]) -> NDArray[Any]:
    """Give the level of numbers: of colours, that of the brightest channel."""
    if numbers.dtype.kind == "f" or not (numbers >= _EIGHT).any():
        return numbers
    bits = np.where(numbers >= _SIXTEEN, 16, 8)
    top = np.left_shift(1, bits) - 1
    channels = [numbers >> k * bits & top for k in range(3)]
    return np.where(numbers >= _EIGHT, np.maximum.reduce(channels), numbers)


def channels(number: Number) -> tuple[Number, Number, Number]:
    """Give red, green and blue of a number."""
    if not is_colour(number):
        return number, number, number
    bits = 16 if number >= _SIXTEEN else 8
    r, g, b = (int(number) >> k * bits & (1 << bits) - 1 for k in (2, 1, 0))
    return r, g, b


def is_colour(number: Number) -> bool:
    """Tell whether a number stands for a colour whose channels differ."""
    return isinstance(number, int) and number >= _EIGHT


def show(number: Number) -> str:
    """Write a number as it is given in settings: colours as ``#rrggbb``."""
    if is_colour(number):
        deep = number >= _SIXTEEN
        return f"#{int(number) - (_SIXTEEN if deep else _EIGHT):0{12 if deep else 6}x}"
    return f"{number:g}" if isinstance(number, float) else str(number)


def _number(value: Any, key: str) -> Number:
    if isinstance(value, str) and (match := _COLOUR.fullmatch(value)):
        digits = match[1]
        size = len(digits) // 3
        channels = [int(digits[i : i + size], 16) for i in range(0, 3 * size, size)]
        if len(set(channels)) == 1:
            return channels[0]
        return (_SIXTEEN if size == 4 else _EIGHT) + int(digits, 16)
    if type(value) is int and abs(value) < _EIGHT:
        return value
    if type(value) is float and math.isfinite(value):
        return int(value) if value == int(value) else value
    raise ValueError(f"{key} must be numbers, or colours like '#ff0000', got {value!r:.40}")


VOC = {_voc(index): index for index in range(256)}
"""The classes of Pascal VOC's colours; 255, which is ignored, is ``#e0e0c0``."""
VOID = _voc(IGNORED)


@dataclass(frozen=True)
class Rule:
    """Which numbers are lesion, and which are ignored.

    Attributes
    ----------
    above
        Lesion is what is brighter; of a file whose 0 is white, what is below. ``None`` where
        numbers are classes.
    foreground
        The classes that are lesion; ``None``: all that is neither background nor ignored.
    background
        The classes that are not. Beside `foreground` it only says which numbers may occur.
    ignore
        What is left out of losses and scores.
    seen
        What was found in the set, in words; says nothing to the computer.
    """

    above: float | None = None
    foreground: tuple[Number, ...] | None = None
    background: tuple[Number, ...] = (0,)
    ignore: tuple[Number, ...] = ()
    seen: str = ""

    @classmethod
    def parse(cls, table: Mapping[str, Any]) -> Rule:
        """Read a rule as settings give it.

        Parameters
        ----------
        table
            ``foreground``, ``background`` and ``ignore``, lists of numbers or colours; or
            ``above``, a level, and ``ignore``.

        Raises
        ------
        ValueError
            An unknown key, a value that is no number, a number in two lists, or nothing to tell
            lesion by.
        """
        unknown = sorted(set(table) - {*KEYS, "seen"})
        if unknown:
            raise ValueError(f"unknown key {unknown[0]!r}; known keys: {', '.join(KEYS)}")
        lists: dict[str, tuple[Number, ...]] = {}
        for key in KEYS[:3]:
            if key in table:
                given = table[key]
                if isinstance(given, str) or not isinstance(given, Sequence):
                    raise ValueError(f"{key} must be a list, got {given!r:.40}")
                lists[key] = tuple(_number(value, key) for value in given)
        above = table.get("above")
        if above is not None:
            if type(above) not in (int, float) or not math.isfinite(above):
                raise ValueError(f"above must be a number, got {above!r:.40}")
            if lists.keys() - {"ignore"}:
                raise ValueError("above must stand without foreground and background")
        if above is None and not (lists.get("foreground") or lists.get("background")):
            raise ValueError("must have foreground, background or above, to tell lesion by")
        foreground = lists.get("foreground")
        ignore = lists.get("ignore", ())
        background = lists.get("background", (0,))
        if foreground is not None and "background" not in lists:
            background = tuple(v for v in background if v not in (*foreground, *ignore))
        every = [*(foreground or ()), *(() if above is not None else background), *ignore]
        twice = next((v for i, v in enumerate(every) if v in every[:i]), None)
        if twice is not None:
            raise ValueError(f"has {show(twice)} twice: a number means one thing")
        return cls(
            None if above is None else float(above),
            foreground,
            background,
            ignore,
            str(table.get("seen", "")),
        )

    def table(self) -> dict[str, Any]:
        """Give what :meth:`parse` reads."""
        table: dict[str, Any] = {}
        if self.above is not None:
            table["above"] = self.above
        else:
            if self.foreground is not None:
                table["foreground"] = [_plain(v) for v in self.foreground]
            if self.foreground is None or self.background:
                table["background"] = [_plain(v) for v in self.background]
        if self.ignore:
            table["ignore"] = [_plain(v) for v in self.ignore]
        return table | ({"seen": self.seen} if self.seen else {})

    def words(self) -> str:
        """Say what counts as lesion, in a line."""
        if self.above is not None:
            text = f"lesion above {self.above:g}"
        elif self.foreground is not None:
            text = f"lesion is {_listed(self.foreground)}"
        else:
            text = f"lesion is all but {_listed(self.background)}"
        text += f", {_listed(self.ignore)} ignored" if self.ignore else ""
        return text + (f" ({self.seen})" if self.seen else "")

    def apply(
        self, numbers: NDArray[Any], *, inverted: bool = False, lossy: bool = False
    ) -> NDArray[np.uint8]:
        """Give 0, 1 or :data:`IGNORED` for each number.

        Parameters
        ----------
        numbers
            Of any shape.
        inverted
            0 is white in the file: turns `above` over, and no class number.
        lossy
            The file blurs its numbers: each counts as the nearest of those the rule names.
        """
        if self.above is None and lossy:
            numbers = self._nearest(brightness(numbers))
        ignored = np.isin(numbers, self.ignore) if self.ignore else np.zeros(numbers.shape, bool)
        if numbers.dtype.kind == "f":
            ignored |= ~np.isfinite(numbers)
        if self.above is not None:
            levels = brightness(numbers)
            inside = levels < self.above if inverted else levels > self.above
        elif self.foreground is not None:
            inside = np.isin(numbers, self.foreground)
        else:
            inside = ~np.isin(numbers, self.background)
        return np.where(ignored, np.uint8(IGNORED), inside.astype(np.uint8))

    @property
    def white(self) -> int:
        """The number that the white of one bit stands for.

        255, but 1 where that is lesion or background, and 255 is neither.
        """
        named = {*(self.foreground or ()), *self.background}
        counts = self.above is None and 255 not in named
        return 1 if counts and (1 in named or 255 in self.ignore) else 255

    def _nearest(self, levels: NDArray[Any]) -> NDArray[Any]:
        named = sorted({0, *(self.foreground or ()), *self.background, *self.ignore})
        known = brightness(np.array(named))
        order = np.argsort(known, kind="stable")
        known = known[order]
        places = np.searchsorted((known[1:] + known[:-1]) / 2, levels, side="left")
        return np.array(named)[order][places]


def parse_mask(table: Mapping[str, Any]) -> tuple[Rule | None, tuple[Number, ...]]:
    """Read what an owner says of masks: a rule, or, given `ignore` alone, what is ignored.

    Raises
    ------
    ValueError
        As :meth:`Rule.parse`; also where nothing is said.
    """
    if "seen" in table:
        raise ValueError(f"unknown key 'seen'; known keys: {', '.join(KEYS)}")
    if set(table) == {"ignore"}:
        return None, Rule.parse({**table, "above": 0}).ignore
    return Rule.parse(table), ()


def _plain(number: Number) -> Number | str:
    return show(number) if is_colour(number) else number


def _listed(numbers: Sequence[Number]) -> str:
    names = [show(v) for v in numbers]
    if len(names) > _NAMES:
        names[_NAMES:] = [f"{len(names) - _NAMES} more"]
    return ", ".join(names) or "nothing"


@dataclass(frozen=True)
class Meaning:
    """What the masks of one data set mean: a rule for each depth that its files have.

    Attributes
    ----------
    rules
        Depth (as `masks` names it) and rule; the depth "" stands for all.
    by_index
        Whether the numbers of a palette's file are its indices, or the colours they stand for.
    """

    rules: tuple[tuple[str, Rule], ...]
    by_index: bool = True

    def rule(self, depth: str) -> Rule | None:
        """Give the rule for files of a depth, ``None`` where the set had none."""
        rules = dict(self.rules)
        return rules.get(depth, rules.get(""))

    def to_json(self) -> str:
        """Write the meaning as it stands in a manifest."""
        rules = {depth: rule.table() for depth, rule in self.rules}
        return json.dumps({"palette": "index" if self.by_index else "colour", "rules": rules})

    @classmethod
    def from_json(cls, text: str) -> Meaning:
        """Read what :meth:`to_json` wrote.

        Raises
        ------
        ValueError
            The text is nothing of the kind.
        """
        try:
            found = json.loads(text)
            rules = tuple((str(depth), Rule.parse(t)) for depth, t in found["rules"].items())
            return cls(rules, found["palette"] == "index")
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ValueError(f"{text!r:.80} is no meaning of a mask: {error}") from None

    def words(self) -> str:
        """Say what the masks mean, in a line."""
        several = len(self.rules) > 1
        return "; ".join((f"{depth}: " if several else "") + r.words() for depth, r in self.rules)

    @property
    def mark(self) -> str:
        """What tells this meaning from others; empty for plain masks of black and white."""
        if all((depth, rule.above, rule.ignore) in _PLAIN for depth, rule in self.rules):
            return ""
        rules = {depth: rule.table() | {"seen": ""} for depth, rule in self.rules}
        return json.dumps([self.by_index, rules])


_PLAIN = [(depth, 127.5, ()) for depth in ("1 bits", "8 bits", "8 bits, lossy")]
