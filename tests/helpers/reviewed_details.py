"""What a page says below its answer: its headings, what is measured, scores, floors, costs."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from reviewed_answers import check_runs
from reviewer import close, parts, sentence, share
from run_facts import FLOORS, PROBES, Facts


def fixed(
    text: str, holds: Callable[[Facts], object] = lambda _: True, end: str = r"(?= |$)"
) -> None:
    """Make a sentence known that has no number; `holds` tells whether it is true of a run."""

    def check(facts: Facts) -> None:
        assert holds(facts), "is not so"

    sentence(re.escape(text).replace(r"\ ", " ") + end)(check)


# The frame of the page

HEADINGS = """
MedDEL benchmark
Which selection to use
Less data, how much worse?
NormDEL
mIoU
The probe
What is a difference worth?
What it costs
Scores
How each selection was made
What was kept of whom
By data set
By class
By video or patient
Other tasks and encoders
Planted frames, by selection
Planted frames
Test images like what a training saw
What was kept, what was dropped
Pre-training loss
How it was made
All scores
Against random, share by share
What is measured, and how it is judged
Against random and all data
How the pre-training is judged
How the probe is judged
How the comparison is judged
Against the floors
Ranks over the data sets
Area below NormDEL, over the retained share
Hardware
Images, megabytes, steps and times of each selection
Settings of the selections
Pre-trained on one set, tested on each
Leakage by test set
Between splits
Leakage between splits
By threshold
Leakage by threshold
Embedding map
Every frame, and why it was dropped
Wall time by stage
Versions
Settings
Redundant: the most similar pairs
Kept, most wanted first
Closest calls: the least similar that were dropped as redundant
Dropped, and the least like any kept frame: what may be missing
Dropped, and the most like a kept frame
Left out, least wanted first
No selections yet.
"""
for heading in HEADINGS.strip().splitlines():
    fixed(heading, end="$")
for words in (
    "Metric and method: “A Medical Data-Effective Learning Benchmark for Highly Efficient "
    "Pre-training of Foundation Models”, ACM MM 2024, arXiv 2401.17542.",
    "Images are squeezed to squares, as the encoder sees them.",
    "Point at a frame, or walk with the arrow keys, to see it beside the kept frame that it is "
    "most similar to.",
    "Column heads sort, selectors can be left out.",
    "What a selection kept of each part of the pool, the worst part of each.",
    "The farthest image is the one that is least like any kept one.",
):
    fixed(words)


@sentence(r"(?P<name>.+?) \u2013 MedDEL report$")
def title(facts: Facts, name: str) -> None:
    assert name == facts.about["name"]


@sentence(
    r"(?:(?P<images>\d+) images in the pool · )?(?P<selectors>\d+) selectors · started "
    r"(?P<when>[\d: -]+) · meddel-fast (?P<version>\S+)$"
)
def about(facts: Facts, images: str | None, selectors: str, when: str, version: str) -> None:
    from meddel_fast.images.manifest import Manifest

    pool = facts.run / "data" / "pretrain.parquet"
    assert (None if images is None else int(images)) == (
        len(Manifest.load(pool).ok) if pool.is_file() else None
    )
    assert int(selectors) == len({t["selector"] for t in facts.about["tags"]} - {"full"})
    assert when == facts.about["started"][:16].replace("T", " ")
    assert version == facts.about["versions"]["meddel-fast"]


# What is measured

fixed(
    "An encoder is pre-trained without labels (masked autoencoder) on a part of the pool of "
    "images.",
    lambda facts: facts.scores and "given" not in facts.about,
)


@sentence(
    r"Predictions of models that were trained elsewhere are held against the masks of the test "
    r"images, (?:squeezed to (?P<size>\d+) pixels a side|at the size of each mask); what is above "
    r"(?P<threshold>NUM) counts as lesion\. How the models were trained is not known here\."
)
def given(facts: Facts, size: str | None, threshold: str) -> None:
    scoring = facts.about["given"]["scoring"]
    assert (int(size) if size else None) == (scoring["size"] or None)
    assert float(threshold) == scoring["threshold"]


fixed("NormDEL weighs one against the other:", lambda facts: facts.scores)
fixed(
    "mIoU is the mean over background and polyp of the intersection over union, each counted over "
    "the whole test set.",
    lambda facts: facts.scores,
)
fixed(
    "IoU and Dice by image are those of the polyp, averaged over the test images.",
    lambda facts: "image_iou_mean" in facts.scores[0],
)
fixed(
    "R is the share of the pool that was kept for pre-training; “full” is all of it, “random” a "
    "random share.",
    lambda facts: facts.scores and "given" not in facts.about,
)
fixed(
    "R is the share of the data that was kept for training; “full” is all of it, “random” a "
    "random share.",
    lambda facts: "given" in facts.about,
)
fixed(
    "It rises by keeping less data alone: compare selectors at one share, or by mIoU.",
    lambda facts: facts.config["alpha"] > 0,
)
fixed("It does not weigh the data here.", lambda facts: facts.config["alpha"] == 0)
fixed("A bold number in a table is better than random by this rule, and no other number is bold.")
fixed(
    "The selection to use is chosen among those that are better than random and nowhere worse: "
    "first those not worse than all data, then those that are better most often, then the smallest "
    "share, then the highest lower end of the interval."
)
fixed(
    "Against random and all data that is said only where one of the two clears the floors: is "
    "better than each of them."
)


@sentence(
    r"Then a segmentation head is trained, while the encoder (?P<how>[a-z ]+), and tested on "
    r"the images of the test split\."
)
def encoder(facts: Facts, how: str) -> None:
    frozen = facts.config["downstream"]["encoder"] == "frozen"
    assert how == ("stays as it is" if frozen else "is trained with it")


@sentence(r"Every training had (?P<steps>\d+) optimiser steps\.")
def steps(facts: Facts, steps: str) -> None:
    assert {row["steps"] for row in facts.scores} == {int(steps)}


@sentence(r"Trainings had from (?P<least>\d+) to (?P<most>\d+) optimiser steps\.")
def other_steps(facts: Facts, least: str, most: str) -> None:
    found = {row["steps"] for row in facts.scores}
    assert (min(found), max(found)) == (int(least), int(most))
    assert len(found) > 1


@sentence(
    r"The probe trains a small model \((?P<models>[^)]+)\) on the selected samples alone, on "
    r"features that stay as they are, and asks it for samples that were held out\."
)
def probes(facts: Facts, models: str) -> None:
    assert set(parts(models)) == {PROBES[row["probe"]] for row in facts.probe["rows"]}


@sentence(r"DEL = mIoU · e-\u03b1R, NormDEL = 1 / \(1 \+ e-DEL\), \u03b1 = (?P<alpha>NUM)$")
def formula(facts: Facts, alpha: str) -> None:
    assert float(alpha) == facts.config["alpha"]


@sentence(r"The upper end of NormDEL is (?P<top>NUM) %, of an mIoU of 1 without any data\.")
def upper_end(facts: Facts, top: str) -> None:
    close(top, 100 / (1 + math.exp(-1)), 1)


END = r"[^:.]+: NUM at PCT(?:(?:, | and )NUM at PCT)*\."


@sentence(rf"Its lower end is what predicting nothing has: (?P<ends>{END}(?: {END})*)")
def lower_end(facts: Facts, ends: str) -> None:
    found = re.findall(END.replace("NUM", r"[\d.]+").replace("PCT", r"[\d.]+ %"), ends)
    rows = {r["dataset"]: r for r in facts.floors if r["floor"] == "nothing"}
    told = set()
    for text in found:
        name, _, each = text.strip().rstrip(".").partition(": ")
        row = rows["mean" if name == "the mean of the data sets" else name]
        told.add(row["dataset"])
        low = {round(float(r), 8): v for r, v in row["normdel_low_end"].items()}
        said = {share(s): n for n, s in re.findall(r"([\d.]+) at ([\d.]+ %)", each)}
        assert said.keys() == low.keys()
        for ratio, number in said.items():
            close(number, 100 * low[ratio])
    assert told == {*facts.sets, facts.place}


@sentence(
    r"A selection is called better or worse than another where its (?P<confidence>NUM) % "
    r"interval "
    r"of the paired difference leaves out 0\."
)
def rule(facts: Facts, confidence: str) -> None:
    for probe in (False, True):
        if facts.probe if probe else facts.statistics:
            close(confidence, 100 * facts.rule(probe)["confidence"])
    for rows in (facts.statistics.get("differences", []), facts.probe.get("differences", [])):
        for row in rows:
            low, high = (row.get(f"all_{e}", row.get(f"miou_all_{e}")) for e in ("low", "high"))
            word = "better" if low > 0 else "worse" if high < 0 else "not told apart"
            assert row["verdict"] in (word, "not judged")


# Scores, floors, the probe, costs

OF_FLOORS = r"(?:untrained encoder and nothing segmented|[^()]+)"


@sentence(
    rf"(?P<name>[^:.]+): (?P<clear>\d+) of (?P<all>\d+) selections clears? the floors "
    rf"\((?P<floors>{OF_FLOORS})\)\."
)
def floors_cleared(facts: Facts, name: str, clear: str, all: str, floors: str) -> None:
    found = floors_of(facts, name, floors)
    assert (found.count(True), len(found)) == (int(clear), int(all))
    assert found.count(True) > 0


@sentence(
    rf"(?P<name>[^:.]+): this run does not clear the floors \((?P<floors>{OF_FLOORS})\): "
    rf"none of "
    r"(?P<all>\d+) selections is better than each of them\."
)
def floors_not_cleared(facts: Facts, name: str, all: str, floors: str) -> None:
    assert floors_of(facts, name, floors) == [False] * int(all)


@sentence(r"(?P<name>[^:.]+): whether a selection clears the floors is not judged\.")
def floors_not_judged(facts: Facts, name: str) -> None:
    assert None in floors_of(facts, name, None)


def floors_of(facts: Facts, name: str, floors: str | None) -> list[bool | None]:
    probe = " on " in name
    rows = facts.groups(probe)[name]
    found = {r["against"] for r in rows} - {"random", "full"}
    if floors:
        assert set(parts(floors)) == {FLOORS.get(floor, floor) for floor in found}
    return facts.clear(rows)


@sentence(
    r"Per cent; each number is the mean of (?P<runs>\d+ repetitions? of \d+ heads?)"
    r"(?P<interval>; in brackets its 95 % interval by itself)?(?P<alone>, which is of "
    r"heads and "
    r"test images alone)?(?P<spread>; after ± the standard deviation over them)?\."
)
def score_note(facts: Facts, runs: str, interval: str | None, alone: str | None,
               spread: str | None) -> None:  # fmt: skip
    heads = len(facts.config["seeds"])
    assert [int(n) for n in re.findall(r"\d+", runs)] == [facts.repeats, heads]
    assert {row["seeds"] for row in facts.scores} == {facts.repeats * heads}
    assert bool(interval) == ("miou_low" in facts.scores[0])
    assert bool(alone) == (bool(interval) and facts.repeats == 1)
    metrics = [name.removesuffix("_mean") for name in facts.scores[0] if name.endswith("_mean")]
    lacking = any(f"{metric}_low" not in facts.scores[0] for metric in metrics)
    assert bool(spread) == (facts.repeats * heads > 1 and lacking)


fixed(
    "Bold: better than random at its share by the rule above, which goes by mIoU; other metrics "
    "than mIoU and NormDEL have no bold.",
    lambda facts: "rule" in facts.statistics,
)
fixed("No scores yet: the run has not come to its score stage.", lambda facts: not facts.scores)


@sentence(r"The same numbers: (?P<names>.+)$")
def downloads(facts: Facts, names: str) -> None:
    assert all((facts.run / "score" / name).is_file() for name in names.split(", "))


@sentence(r"Scores are means of (?P<runs>(?:\d+ to )?\d+ draws?), in brackets their intervals\.")
def probe_note(facts: Facts, runs: str) -> None:
    check_runs(facts, True, runs)


@sentence(
    r"(?P<dataset>[^:]+): (?P<task>classification|segmentation)"
    r"(?: of (?P<classes>\d+) class(?:es)?)?, chosen from (?P<pool>\d+) samples, asked about "
    r"(?P<tested>\d+) (?P<how>held out of the pool|of the test split), in (?P<draws>\d+) draws?\."
)
def probe_data(
    facts: Facts,
    dataset: str,
    task: str,
    classes: str | None,
    pool: str,
    tested: str,
    how: str,
    draws: str,
) -> None:
    row = next(r for r in facts.probe["data"] if (r["dataset"], r["task"]) == (dataset, task))
    assert int(pool) == row["pool"]
    assert int(tested) == round(row["tested"])
    assert int(draws) == row["draws"]
    assert (None if classes is None else int(classes)) == row.get("classes")
    assert how.startswith("held out") == (row["test"] == "held out")


@sentence(
    r"By (?:data set|class|video or patient): It (?P<how>can be read|is not shown to be readable) "
    r"off the embeddings: (?P<score>NUM) % of samples of a value are named rightly "
    r"\[(?P<low>NUM), (?P<high>NUM)\], by guessing (?P<chance>NUM) \((?P<asked>[\d,]+) samples of "
    r"(?P<values>\d+) values asked\)\."
)
def read_off(
    facts: Facts, how: str, score: str, low: str, high: str, chance: str, asked: str, values: str
) -> None:
    from meddel_fast.images.manifest import Manifest

    assert float(low) <= float(score) <= float(high)
    close(chance, 100 / int(values), 1)
    assert (float(low) > float(chance)) == (how == "can be read")
    pool = Manifest.load(facts.run / "data" / "pretrain.parquet").ok
    assert int(asked.replace(",", "")) <= len(pool)


@sentence(r"(?P<group>[^:]+): (?P<metric>[\w ]+)$")
def probe_table(facts: Facts, group: str, metric: str) -> None:
    assert facts.probe_rows(group, metric)


@sentence(
    r"In brackets (?P<confidence>NUM) % intervals of each number by itself; under “At "
    r"once” those "
    r"of mIoU that verdicts go by, and how many differences they hold for\."
)
def worth(facts: Facts, confidence: str) -> None:
    close(confidence, 100 * facts.statistics["confidence"])


@sentence(r"NormDEL by alpha, on (?P<where>.+)$")
def by_alpha(facts: Facts, where: str) -> None:
    assert where == ("the mean of the data sets" if facts.place == "mean" else facts.place)


def adds_up(facts: Facts) -> bool:
    names = [f"{part}_seconds" for part in ("encoder", "embed", "loss", "select", "pretrain")]
    return all(
        abs(float(r["total_seconds"]) - sum(float(r[n] or 0) for n in names)) < 1e-6
        for r in facts.costs
        if r["total_seconds"]
    )


fixed(
    "“Together” is all that a selection needs by itself: the training of the encoder that embeds, "
    "embedding, the losses where the method asks for them, selection and pre-training.",
    adds_up,
)
