"""What a page answers: the first screen's sentences, the probe's, and the pictures'."""

from __future__ import annotations

import re
from typing import Any

from reviewer import NUMBER, SPAN, close, keys, parts, points, seconds, sentence, share
from run_facts import FLOORS, PROBES, Facts, one

from meddel_fast.benchmark.scores.normdel import normdel

EACH = r"[^();]+: (?:better|worse|not told apart|not judged)"


def told(facts: Facts, probe: bool, key: tuple[str, float], text: str) -> None:
    """Check ``kvasir: better; clinic: not told apart``."""
    groups = {n: r for n, r in facts.groups(probe).items() if n != "mean"}
    found = {n: one(r, key, "random") for n, r in groups.items()}
    wanted = [f"{n}: {d['verdict']}" for n, d in found.items() if d]
    assert text.split("; ") == wanted, wanted


@sentence(
    r"Use (?P<key>.+?): it is better than random on (?P<where>the mean of the data sets|[^()]+?)"
    rf"(?: \((?P<each>{EACH}(?:; {EACH})*)\))?\.(?= |$)"
)
def use(facts: Facts, key: str, where: str, each: str | None) -> None:
    (chosen,) = keys(key)
    assert chosen == facts.choice(False), facts.choice(False)
    assert where == ("the mean of the data sets" if facts.place == "mean" else facts.place)
    assert (each is None) == (facts.place != "mean")
    if each:
        told(facts, False, chosen, each)


@sentence(
    r"Use (?P<key>.+?): it is better than random by (?P<wins>\d+) of (?P<of>\d+) probes? "
    rf"\((?P<each>{EACH}(?:; {EACH})*)\)\."
)
def use_by_probe(facts: Facts, key: str, wins: str, of: str, each: str) -> None:
    (chosen,) = keys(key)
    assert chosen == facts.choice(True), facts.choice(True)
    told(facts, True, chosen, each)
    assert int(wins) == len(re.findall(": better", each))
    assert int(of) == len(facts.groups(True))


def undecided(facts: Facts) -> list[bool]:
    """The measures that choose nothing: False for pre-training, True for the probe."""
    there = [probe for probe in (False, True) if (facts.probe if probe else facts.statistics)]
    return [probe for probe in there if facts.choice(probe) is None]


def against_random(facts: Facts, probe: bool) -> list[dict[str, Any]]:
    rows = [r for rows in facts.deciding(probe).values() for r in rows]
    return [r for r in rows if r["against"] == "random" and r["selector"] != "full"]


@sentence(
    r"This run cannot tell which selection to use: none is judged against random \((?P<why>.+?)\)\."
)
def none_judged(facts: Facts, why: str) -> None:
    def fits(probe: bool) -> bool:
        rows = against_random(facts, probe)
        words = {r["verdict"] for r in rows} == {"not judged"}
        return words and set(why.split("; ")) == {r["why"] for r in rows}

    assert any(fits(probe) for probe in undecided(facts))


@sentence(
    r"This run cannot tell which selection to use: none is better than random"
    r"(?: without being worse elsewhere \((?P<both>.+?) is both\))?"
    r"(?:; worse than random: (?P<worse>[^.]+(?:\.\d[^.]*)*))?\."
)
def none_better(facts: Facts, both: str | None, worse: str | None) -> None:
    def fits(probe: bool) -> bool:
        rows = against_random(facts, probe)
        found = {
            word: {(r["selector"], r["ratio"]) for r in rows if r["verdict"] == word}
            for word in ("better", "worse", "not judged")
        }
        up, down = (keys(text) if text else set() for text in (both, worse))
        judged = len(found["not judged"]) < len(rows)
        return judged and up == found["better"] and down == found["worse"] - up

    assert any(fits(probe) for probe in undecided(facts))


@sentence(r"This run cannot tell which selection to use: it has nothing to compare with random\.")
def nothing_to_compare(facts: Facts) -> None:
    assert any(not against_random(facts, probe) for probe in undecided(facts))


@sentence(r"This run has no verdict on any selection yet\.")
def no_verdict(facts: Facts) -> None:
    assert "rule" not in facts.statistics
    assert not facts.probe


@sentence(
    rf"Against random at the same share it has (?P<chance>{NUMBER} points of [\w ]+? SPAN)"
    rf"(?:, against all data (?P<full>{NUMBER} points of [\w ]+? SPAN)|(?P<none>; nothing was "
    r"trained on all data))(?:, from (?P<kept>\d+) images(?: of (?P<pool>\d+))?)?"
    r"(?:; all that it needs took (?P<time>[\d.a-z ]+?) of computing(?: "
    r"\((?P<others>[^)]+)\))?)?\.(?= |$)"
)
def what_it_costs(facts: Facts, chance: str, full: str | None, none: str | None, kept: str | None,
                  pool: str | None, time: str | None, others: str | None) -> None:  # fmt: skip
    probe = "mIoU" not in chance or not facts.scores
    best = facts.choice(probe)
    assert best is not None
    _, rows, _ = facts.shown(probe)
    wanted = one(rows, best, "random"), one(rows, best, "full")
    assert wanted[0] is not None
    points(chance, wanted[0])
    assert (wanted[1] is None) == (full is None) == (none is not None)
    if full and wanted[1]:
        points(full, wanted[1])
    if kept:
        assert int(kept) == facts.kept(best, probe)
    if pool:
        assert int(pool) == facts.kept(("full", 1.0), probe)
    took = {(r["selector"], float(r["ratio"])): r.get("total_seconds") for r in facts.costs}
    assert probe or (time is None) == (not took.get(best))
    given = {"it": time, **dict(re.findall(r"(random|all data) ([\d.a-z ]+)", others or ""))}
    for name, key in (("it", best), ("random", ("random", best[1])), ("all data", ("full", 1.0))):
        if time and took.get(key):
            exact = float(took[key])
            assert abs(seconds(given[name]) - exact) <= (0.051 if exact < 60 else 30.5), name


@sentence(
    r"How sure that is: the brackets are (?P<confidence>[\d.]+) % intervals that hold at once "
    r"for all "
    r"(?P<compared>\d+) comparisons? at one share, from (?P<runs>[\w ]+?)(?:, and do not cover the "
    r"choice among (?P<looked>\d+) such sets of comparisons)?; (?P<floors>.+?)\.(?= |$)"
)
def how_sure(facts: Facts, confidence: str, compared: str, runs: str, looked: str | None,
             floors: str) -> None:  # fmt: skip
    probe = "draw" in runs
    best, rule = facts.choice(probe), facts.rule(probe)
    assert best is not None
    close(confidence, 100 * rule["confidence"])
    check_runs(facts, probe, runs)
    rows = [r for rows in facts.deciding(probe).values() if (r := one(rows, best, "random"))]
    assert int(compared) == max(r["comparisons"] for r in rows)
    families = {r["ratio"] for r in against_random(facts, probe)}
    sets = len(families) * len(facts.deciding(probe))
    assert int(looked or 1) == sets
    check_floors(facts, probe, floors, best)


def check_runs(facts: Facts, probe: bool, text: str) -> None:
    """Check ``3 repetitions of 2 heads``, or ``5 to 20 draws``."""
    counts = [int(n) for n in re.findall(r"\d+", text)]
    rule = facts.rule(probe)
    if probe:
        draws = {row["draws"] for row in facts.probe["rows"]}
        assert counts == sorted({min(draws), max(draws)})
    else:
        assert counts == [rule["repeats"], rule["heads"]]


def check_floors(facts: Facts, probe: bool, text: str, best: tuple[str, float] | None) -> None:
    """Check where a clause says that the floors are cleared."""
    groups = {n: r for n, r in facts.groups(probe).items() if n != "mean"}
    state: dict[bool | None, set[str]] = {True: set(), False: set(), None: set()}
    for name, rows in groups.items():
        clear = facts.clear(rows)
        if clear and best is not None:
            state[facts.clears(rows, best)].add(name)
        elif clear:
            judged = set(clear) - {None}
            by = clear.count(True)
            few = f" (by {by} of {len(clear)} selections)" if 0 < by < len(clear) else ""
            state[None if not judged else True in judged].add(name + few)
    low = re.fullmatch(r"this run does not clear the floors on (.+?)(?: with it)?", text)
    high = re.fullmatch(r"the floors are cleared on (.+?)(?: by it)?", text)
    if low:
        assert set(parts(low[1])) == state[False], state
    elif high:
        assert not state[False], state
        assert set(parts(high[1])) == state[True], state
    else:
        assert not state[True] | state[False], state
        unknown = "whether the floors are cleared is not judged"
        assert text == (unknown if state[None] else "no floor was measured")


@sentence(
    r"At (?P<ratio>PCT), on (?P<where>.+?), the selections are (?P<low>NUM) to (?P<high>NUM) "
    r"points of "
    r"(?P<metric>[\w ]+?) from random, in intervals from (?P<first>NUM) to (?P<last>NUM)"
    r"(?P<alone> that are of heads and test images alone)?"
    r"(?:; random itself is (?P<random>NUM points of [\w ]+? SPAN) from all data)?\.(?= |$)"
)
def extent(facts: Facts, ratio: str, where: str, low: str, high: str, metric: str, first: str,
           last: str, alone: str | None, random: str | None) -> None:  # fmt: skip
    probe = metric != "mIoU" or not facts.scores
    assert probe in undecided(facts)
    name, rows, at = facts.shown(probe)
    assert where == ("the mean of the data sets" if name == "mean" else name)
    assert share(ratio) == at
    here = [r for r in rows if r["against"] == "random" and r["ratio"] == at]
    close(low, 100 * min(r["difference"] for r in here))
    close(high, 100 * max(r["difference"] for r in here))
    close(first, 100 * min(r["all_low"] for r in here))
    close(last, 100 * max(r["all_high"] for r in here))
    assert bool(alone) == (not probe and facts.repeats == 1)
    whole = one(rows, ("random", at), "full")
    assert (whole is None) == (random is None)
    if whole and random:
        points(random, whole)


@sentence(r"To tell, it would take (?P<what>.+?): (?P<floors>[^:]+?)\.(?= |$)")
def what_would_tell(facts: Facts, what: str, floors: str) -> None:
    probe = "draws" in what
    assert probe in undecided(facts)
    have = facts.rule(probe)["repeats"]
    if probe:
        have = min(row["draws"] for row in facts.probe["rows"])
    noun = "draws" if probe else "repetitions"
    first = f"at least 3 {noun} (it has {have})" if have < 3 else f"more {noun} (it has {have})"
    assert what.startswith(first)
    assert what.endswith(f" and more test {'samples' if probe else 'images'}")
    check_floors(facts, probe, floors, None)
    longer = "longer pre-training until an encoder clears"
    longer = "longer training until a model clears" if "given" in facts.about else longer
    longer = "a probe that clears" if probe else longer
    assert (longer in what) == ("does not clear" in floors)


@sentence(
    r"The leakage audit found test images that are the same file as, or like "
    r"\((?P<meant>[^)]+)\), what a training saw: (?P<seen>[^.]+)\. Look at the pairs: what is that "
    r"much alike may still be another scene\."
)
def leak_seen(facts: Facts, meant: str, seen: str) -> None:
    import reviewed_data

    reviewed_data.check_meant(facts, meant)
    reviewed_data.check_leaks(facts, seen.split("; "), touched=True)


# Pictures


def review_chart(text: str, facts: Facts) -> list[str]:
    """Check what a chart says to a screen reader."""
    try:
        if text.startswith("Pre-training loss, "):
            assert share(text.rpartition(", ")[2].removesuffix(" of the data"))
        elif " kept, against random: " in text:
            _picture(text, facts)
        else:
            _curve(text, facts)
    except (AssertionError, KeyError, StopIteration, TypeError) as error:
        return [f"wrong chart: {text} ({type(error).__name__} {error})"]
    return []


def _picture(text: str, facts: Facts) -> None:
    head, _, rest = text.partition(". ")
    found = re.fullmatch(r"([\d.]+ %) kept, against random: (.+), points of ([\w ]+)", head)
    assert found
    ratio, name, metric = share(found[1]), found[2], found[3]
    probe = _of_probe(name)
    assert facts.probe_rows(name, metric) if probe else metric == "mIoU"
    rows = facts.groups(probe)["mean" if name == "mean of the data sets" else name]
    shown = set()
    for part in rest.split("; "):
        bar = re.fullmatch(rf"(.+): ({NUMBER} {SPAN}), ([a-z ]+)", part)
        if bar is None:
            floor, _, value = part.rpartition(" ")
            close(value, 100 * floor_above_random(facts, rows, floor, name, ratio))
        elif bar[1] == "all data":
            row = one(rows, ("random", ratio), "full")
            assert row
            turned = {"better": "worse", "worse": "better"}
            assert bar[3] == turned.get(row["verdict"], row["verdict"])
            points(bar[2], {"difference": -row["difference"], "all_low": -row["all_high"],
                            "all_high": -row["all_low"]})  # fmt: skip
        else:
            row = one(rows, (bar[1], ratio), "random")
            assert row
            assert bar[3] == row["verdict"]
            points(bar[2], row)
            shown.add(bar[1])
    there = {r["selector"] for r in rows if r["against"] == "random" and r["ratio"] == ratio}
    assert shown == there - {"full"}


def floor_above_random(
    facts: Facts, rows: list[dict[str, Any]], floor: str, name: str, ratio: float
) -> float:
    titles = {title: key for key, title in FLOORS.items()}
    if _of_probe(name):
        row = one(rows, ("random", ratio), floor)
        assert row, floor
        return -float(row["difference"])
    place = "mean" if name == "mean of the data sets" else name
    of = (r for r in facts.floors if (r["floor"], r["dataset"]) == (titles[floor], place))
    chance = (
        r
        for r in facts.scores
        if (r["selector"], r["ratio"], r["dataset"]) == ("random", ratio, place)
    )
    return float(next(of)["miou_mean"] - next(chance)["miou_mean"])


def _curve(text: str, facts: Facts) -> None:
    head, _, rest = text.partition(", per cent. ")
    name, _, where = head.partition(" of " if _of_probe(head.partition(" of ")[2]) else " on ")
    rows = _curve_rows(facts, name, where)
    points_said = 0
    for part in rest.split("; "):
        point = re.fullmatch(rf"(.+), ([\d.]+ %) kept: {re.escape(name)} ({NUMBER})(.*)", part)
        if point is None:
            _curve_floor(facts, part, name, where)
            continue
        points_said += 1
        mean, low, high = rows[point[1], share(point[2])]
        close(point[3], 100 * mean)
        if "[" in point[4]:
            for said, value in zip(re.findall(NUMBER, point[4]), (low, high), strict=True):
                close(said, 100 * value)
    assert points_said == len(rows)


def _curve_rows(facts: Facts, name: str, where: str) -> dict[tuple[str, float], tuple[float, ...]]:
    if not _of_probe(where):
        place = "mean" if where == "Mean of the data sets" else where
        m = name.lower()
        return {
            (r["selector"], r["ratio"]): (r[f"{m}_mean"], r.get(f"{m}_low"), r.get(f"{m}_high"))
            for r in facts.scores
            if r["dataset"] == place
        }
    return {
        (r["selector"], r["ratio"]): (r["mean"], r["low"], r["high"])
        for r in facts.probe_rows(where, name)
        if r["ratio"]
    }


def _of_probe(where: str) -> bool:
    return any(f"{name} on " in where for name in PROBES.values())


def _curve_floor(facts: Facts, part: str, name: str, where: str) -> None:
    floor = next((f for f, title in FLOORS.items() if part.startswith(title)), None)
    numbers = [float(n) for n in re.findall(NUMBER, part)]
    if _of_probe(where):
        against = part.rpartition(" ")[0]
        row = next(r for r in facts.probe_rows(where, name) if r["selector"] == against)
        close(f"{numbers[-1]}", 100 * row["mean"])
        return
    place = "mean" if where == "Mean of the data sets" else where
    sets = facts.sets if place == "mean" else [place]
    of = [r["miou_mean"] for r in facts.floors if r["floor"] == floor and r["dataset"] in sets]
    kept = [r["retained"] for r in facts.scores]
    for said, retained in zip((numbers[0], numbers[-1]), (min(kept), max(kept)), strict=True):
        values = of if name == "mIoU" else [float(normdel(v, retained)) for v in of]
        close(f"{said}", 100 * sum(values) / len(values))
