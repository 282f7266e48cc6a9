"""The first screen: which selection to use, what it costs, how sure that is; or what would tell."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from meddel_fast.benchmark.report import floors
from meddel_fast.benchmark.report.load import Run
from meddel_fast.benchmark.report.measures import (
    Difference,
    Group,
    Key,
    Measure,
    pretraining,
    probing,
)
from meddel_fast.benchmark.report.picture import Picture, picture
from meddel_fast.benchmark.report.text import (
    counted,
    duration,
    listed,
    number,
    percent,
    signed,
    span,
    where,
)
from meddel_fast.benchmark.scores.statistics import FULL, MEAN, RANDOM
from meddel_fast.benchmark.scores.verdicts import BETTER, NOT_JUDGED, WORSE

ENOUGH = 3  # repetitions from which on more of them is not the first thing to ask for


class Answer(NamedTuple):
    """Three sentences and a picture."""

    sentences: Sequence[str]
    picture: Picture | None


def answers(run: Run) -> dict[str, Answer]:
    """Answer by pre-training and by the probe, whichever there is; the better answer first.

    Pre-training is what the benchmark is of, and comes first unless it alone cannot tell.
    """
    measures = [m for m in (pretraining(run), probing(run)) if m is not None]
    if not measures:
        return {}
    measures.sort(key=lambda m: recommended(m) is None)
    return {"probe" if m.probe else "pretrain": _answer(run, m) for m in measures}


def recommended(measure: Measure) -> Key | None:
    """Choose among the selections that are better than random and nowhere worse.

    Those first that are not worse than all data: whoever must go below that has the tables. Then
    those better by most groups; the smallest share; the highest lower end of the first interval.
    """
    wins = {}
    for key in {d.key for group in measure.deciding for d in group.judged()}:
        verdicts = measure.verdicts(key)
        elsewhere = [d.verdict for g in measure.groups if (d := g.of(key, RANDOM))]
        if BETTER in verdicts and WORSE not in (*verdicts, *elsewhere):
            lower = [d.low or 0.0 for g in measure.deciding if (d := g.of(key, RANDOM))]
            wins[key] = (
                WORSE in measure.verdicts(key, FULL),
                -verdicts.count(BETTER),
                key[1],
                -lower[0],
                key[0],
            )
    return min(wins, key=lambda key: wins[key], default=None)


def _answer(run: Run, measure: Measure) -> Answer:
    best = recommended(measure)
    if not measure.ratios:
        text = "This run cannot tell which selection to use: it has nothing to compare with random."
        return Answer([text], None)
    ratio = measure.ratios[-1] if best is None else best[1]
    group = _shown(measure, best)
    sentences = [
        _undecided(measure) if best is None else _use(measure, best),
        _extent(measure, group, ratio) if best is None else _costs(run, measure, group, best),
        _missing(run, measure) if best is None else _sureness(measure, best),
    ]
    return Answer(sentences, picture(run, measure, group, ratio))


def _shown(measure: Measure, best: Key | None) -> Group:
    """Give the group of the picture: the first by which the choice is better, or the first."""
    for group in measure.deciding:
        found = best and group.of(best, RANDOM)
        if found and found.verdict == BETTER:
            return group
    return measure.deciding[0]


def _named(key: Key) -> str:
    return f"{key[0]} at {percent(key[1])}"


def _use(measure: Measure, best: Key) -> str:
    told = [(g, d) for g in measure.groups if (d := g.of(best, RANDOM))]
    each = "; ".join(f"{group.name}: {d.verdict}" for group, d in told)
    if measure.probe:
        wins = measure.verdicts(best).count(BETTER)
        of = counted(len(told), "probe")
        return f"Use {_named(best)}: it is better than random by {wins} of {of} ({each})."
    (group,) = measure.deciding
    single = f" ({each})" if group.name == MEAN else ""
    return f"Use {_named(best)}: it is better than random on {where(group.name)}{single}."


def _undecided(measure: Measure) -> str:
    rows = [d for group in measure.deciding for d in group.judged()]
    told = "This run cannot tell which selection to use"
    if all(d.verdict == NOT_JUDGED for d in rows):
        why = "; ".join(dict.fromkeys(d.why for d in rows))
        return f"{told}: none is judged against random ({why})."
    better = {d.key for d in rows if d.verdict == BETTER}
    worse = {d.key for d in rows if d.verdict == WORSE}
    text = f"{told}: none is better than random"
    if better:  # each of them is worse elsewhere, or it would be the choice
        text += f" without being worse elsewhere ({_list(better)} is both)"
    worse -= better
    return text + (f"; worse than random: {_list(worse)}." if worse else ".")


def _list(keys: Collection[Key]) -> str:
    return listed([_named(key) for key in sorted(keys, key=lambda key: (-key[1], key[0]))])


def _points(group: Group, d: Difference) -> str:
    return f"{signed(d.mean)} points of {group.metric} {span(d.low, d.high)}"


def _costs(run: Run, measure: Measure, group: Group, best: Key) -> str:
    chance, whole = group.of(best, RANDOM), group.of(best, FULL)
    assert chance is not None  # it was chosen by this difference
    text = f"Against random at the same share it has {_points(group, chance)}"
    if whole is None:
        text += "; nothing was trained on all data"
    else:
        text += f", against all data {_points(group, whole)}"
    kept = group.kept.get(best)
    if kept is not None:
        pool = group.kept.get((FULL, 1.0))
        text += f", from {number(kept)} images" + (f" of {number(pool)}" if pool else "")
    return text + ("" if measure.probe else _times(run, best)) + "."


def _times(run: Run, best: Key) -> str:
    """Tell how long all took that a selection needs, beside random and all data."""
    took = {(str(r["selector"]), float(r["ratio"])): r.get("total_seconds") for r in run.costs}
    mine = took.get(best)
    if mine is None:
        return ""
    others = {"random": (RANDOM, best[1]), "all data": (FULL, 1.0)}
    beside = [f"{name} {duration(t)}" for name, key in others.items() if (t := took.get(key))]
    text = f"; all that it needs took {duration(mine)} of computing"
    return text + (f" ({', '.join(beside)})" if beside else "")


def _extent(measure: Measure, group: Group, ratio: float) -> str:
    """Say how far the selections may be from random at the share shown."""
    rows = [d for d in group.judged() if d.key[1] == ratio]
    means = [d.mean for d in rows]
    ends = [end for d in rows for end in (d.low, d.high) if end is not None]
    text = (
        f"At {percent(ratio)}, on {where(group.name)}, the selections are {signed(min(means))} to "
        f"{signed(max(means))} points of {group.metric} from random"
    )
    if ends:
        text += f", in intervals from {signed(min(ends))} to {signed(max(ends))}"
        text += " that are of heads and test images alone" if is_single(measure) else ""
    whole = group.of((RANDOM, ratio), FULL)
    if whole is not None:
        text += f"; random itself is {_points(group, whole)} from all data"
    return text + "."


def is_single(measure: Measure) -> bool:
    """Tell whether nothing was repeated, so that intervals know nothing of another selection."""
    return int(measure.rule["repeats"]) == 1 and not measure.probe


def runs(measure: Measure) -> str:
    """Say what was repeated: ``3 repetitions of 2 heads``, ``20 draws``, ``5 to 20 draws``."""
    if not measure.probe:
        repeats, heads = (int(measure.rule[name]) for name in ("repeats", "heads"))
        return f"{counted(repeats, 'repetition')} of {counted(heads, 'head')}"
    draws = sorted({group.runs for group in measure.groups})
    least = f"{draws[0]} to " if len(draws) > 1 else ""
    return least + counted(draws[-1], "draw")


def _sureness(measure: Measure, best: Key) -> str:
    confidence = percent(float(measure.rule["confidence"]))
    compared = max(d.comparisons for g in measure.deciding if (d := g.of(best, RANDOM)))
    text = (
        f"How sure that is: the brackets are {confidence} intervals that hold at once for all "
        f"{counted(compared, 'comparison')} at one share, from {runs(measure)}"
    )
    looked = len(measure.ratios) * len(measure.deciding)
    if looked > 1:
        text += f", and do not cover the choice among {looked} such sets of comparisons"
    return f"{text}; {floors.clause(measure, best)}."


def _missing(run: Run, measure: Measure) -> str:
    """Say what it would take to tell."""
    have = min(g.runs for g in measure.groups) if measure.probe else int(measure.rule["repeats"])
    what = "draws" if measure.probe else "repetitions"
    wanted = [f"at least {ENOUGH} {what}" if have < ENOUGH else f"more {what}"]
    wanted[0] += f" (it has {have})"
    if any(group.cleared is False for group in measure.groups):
        longer = (
            "longer training until a model"
            if run.is_given
            else "longer pre-training until an encoder"
        )
        longer = "a probe that" if measure.probe else longer
        wanted.append(f"{longer} clears the floors")
    wanted.append("more test samples" if measure.probe else "more test images")
    return f"To tell, it would take {listed(wanted)}: {floors.clause(measure, None)}."
