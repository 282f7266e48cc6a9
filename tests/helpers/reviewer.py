"""A reviewer of pages: knows every sentence that a page may say, and checks it against the files.

A block of text must be used up by known sentences, one after the other; an unknown one is an
error, and so is one whose numbers or claims are not those of the files.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from page_prose import Prose
from run_facts import Facts

Check = Callable[..., None]
PATTERNS: list[tuple[re.Pattern[str], Check]] = []
NUMBER = r"[+-]?\d+(?:\.\d+)?"
SPAN = rf"\[{NUMBER}, {NUMBER}\]"


def sentence(pattern: str) -> Callable[[Check], Check]:
    """Make known a sentence: `pattern` matches it, the function checks it.

    Named parts of the pattern are the function's arguments. NUM, SPAN and PCT stand for a number,
    an interval, and a share.
    """
    for short, long in (("NUM", NUMBER), ("SPAN", SPAN), ("PCT", r"[\d.]+ %")):
        pattern = pattern.replace(short, long)

    def known(check: Check) -> Check:
        PATTERNS.append((re.compile(pattern), check))
        return check

    return known


def review(source: str, run: Path) -> list[str]:
    """Read a page beside its run; give all that is wrong with it."""
    import reviewed_answers
    import reviewed_data  # noqa: F401 - they make their sentences known
    import reviewed_details  # noqa: F401

    facts, prose = Facts(run), Prose(source)
    wrong = []
    for text in prose.blocks:
        wrong += _review(text, facts)
    for text in prose.charts:
        wrong += reviewed_answers.review_chart(text, facts)
    charts = " ".join(prose.charts)
    wrong += [f"a tip says what its chart does not: {t}" for t in prose.tips if t not in charts]
    return wrong


def _review(text: str, facts: Facts) -> list[str]:
    place, wrong = 0, []
    if text == facts.about["name"]:
        return []
    while place < len(text):
        words = next((w for w in facts.words if text.startswith(w, place)), None)
        if words is not None:
            place += len(words)
            place += len(text[place:]) - len(text[place:].lstrip())
            continue
        found = [(m, check) for p, check in PATTERNS if (m := p.match(text, place))]
        if not found:
            return [*wrong, f"unknown sentence: {text[place:]}"]
        found.sort(key=lambda pair: -pair[0].end())
        errors = []
        for match, check in found:
            try:
                check(facts, **match.groupdict())
            except (AssertionError, StopIteration, KeyError) as error:
                errors.append(f"wrong: {match.group()} ({type(error).__name__} {error})")
            else:
                break
        else:
            wrong += errors
        place = match.end()
        place += len(text[place:]) - len(text[place:].lstrip())
    return wrong


# Of what checks are made


def close(text: str, value: float, digits: int = 2) -> None:
    """Check a number as it is written."""
    assert abs(float(text) - value) <= 0.5000001 * 10**-digits, (text, value)


def points(text: str, row: dict[str, float]) -> None:
    """Check a difference with its interval, in points: ``+1.00 ... [-1.00, +3.00]``."""
    numbers = re.findall(NUMBER, text)
    wanted = (row["difference"], row["all_low"], row["all_high"])
    assert len(numbers) == len(wanted), text
    for number, value in zip(numbers, wanted, strict=True):
        close(number, 100 * value)


def share(text: str) -> float:
    """Read ``5 %``."""
    return round(float(text.removesuffix(" %")) / 100, 8)


def keys(text: str) -> set[tuple[str, float]]:
    """Read ``a at 5 %, b at 10 % and c at 5 %``."""
    parts = re.split(r"(?<=%)(?:, | and )", text)
    return {(p.rpartition(" at ")[0], share(p.rpartition(" at ")[2])) for p in parts}


def parts(text: str) -> list[str]:
    """Read ``a, b and c``."""
    return re.split(r", | and ", text)


def seconds(text: str) -> float:
    """Read ``4.2 s``, ``3 min 05 s``, ``2 h 03 min``; the last two are rounded."""
    units = {"h": 3600, "min": 60, "s": 1}
    return sum(float(n) * units[u] for n, u in re.findall(r"([\d.]+) (h|min|s)", text))
