"""Runs with made-up verdicts, in the shape that scoring writes, for tests of the page.

Nothing here was measured: scores follow the gains that a case names, intervals have the width that
it names, and the verdicts follow from these by the rule that the files state.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fake_run
import numpy as np

from meddel_fast.benchmark.scores.normdel import normdel
from meddel_fast.common.atomic import write_json, write_text
from meddel_fast.common.files import read_json
from meddel_fast.selectors import Selection

SELECTORS = fake_run.SELECTORS
LEVELS = {"kvasir": 0.62, "clinic": 0.55}  # of random at the smallest share
FLOORS = {
    "untrained": {"kvasir": 0.52, "clinic": 0.56},
    "nothing": {"kvasir": 0.42, "clinic": 0.44},
}
PROBES = (  # probe, metric, level of all scores
    *(("knn", "accuracy", 0.70), ("knn", "macro_recall", 0.66), ("linear", "accuracy", 0.75)),
)


@dataclass(frozen=True)
class Case:
    """What a made-up run shows.

    Attributes
    ----------
    gains
        (selector, ratio) -> points of mIoU (as a fraction) above random; 0 for what it leaves out.
    width
        Half the width of every simultaneous interval.
    repeats
        Repetitions.
    sets
        Test sets.
    raised
        Data set -> how far above `LEVELS` all scores are.
    apart
        What gains are more on the first set, and less on the others.
    floors
        Whether the run has floors.
    """

    gains: Mapping[tuple[str, float], float] = field(default_factory=dict)
    width: float = 0.012
    repeats: int = 3
    sets: tuple[str, ...] = ("kvasir", "clinic")
    raised: Mapping[str, float] = field(default_factory=dict)
    apart: float = 0.0
    floors: bool = True


EFFECT = Case({("kcenter", 0.05): 0.031, ("meddel", 0.1): -0.024, ("kcenter", 0.1): 0.014})
NULL = Case({("kcenter", 0.05): 0.004, ("meddel", 0.1): -0.006})
SINGLE = Case(EFFECT.gains, repeats=1)


def score(case: Case, selector: str, ratio: float, dataset: str) -> float:
    """The mIoU of a selection; all data are as good as random at a third, and a little better."""
    base = LEVELS[dataset] + case.raised.get(dataset, 0.0) + 0.006 * np.log(ratio / 0.05)
    gain = case.gains.get((selector, ratio), 0.0)
    return float(base + gain + (case.apart if dataset == "kvasir" else -case.apart) * (gain != 0))


def verdict(low: float, high: float, repeats: int) -> tuple[str, str]:
    """The rule."""
    if repeats == 1:
        return "not judged", "one repetition"
    return ("better" if low > 0 else "worse" if high < 0 else "not told apart"), ""


def write_pretraining(folder: Path, case: Case) -> None:
    """Give a run of `fake_run` the scores, floors, verdicts, costs and settings of a case."""
    about = read_json(folder / "run.json")
    config = about["config"] | {"repeats": case.repeats, "seeds": [0, 1]}
    config["downstream"] = {"encoder": "frozen"}
    write_json(folder / "run.json", about | {"config": config})
    old = [
        r
        for r in read_json(folder / "score" / "scores.json")
        if r["dataset"] in (*case.sets, "mean")
    ]
    quality: dict[tuple[str, float, str], float] = {}
    retained: dict[float, float] = {}
    for row in old:
        key, retained[row["ratio"]] = (row["selector"], row["ratio"]), row["retained"]
        for name in case.sets:
            quality[(*key, name)] = score(case, *key, name)
        quality[(*key, "mean")] = float(np.mean([quality[(*key, d)] for d in case.sets]))
    for floor, levels in FLOORS.items():
        for name in (*case.sets, "mean"):
            sets = case.sets if name == "mean" else (name,)
            quality[floor, 0.0, name] = float(np.mean([levels[s] for s in sets]))
    scores = [_score_row(row, quality, case, retained) for row in old]
    write_json(folder / "score" / "scores.json", scores)
    if case.floors:
        write_json(folder / "score" / "floors.json", _floor_rows(quality, case, retained))
    rows = _differences(quality, case, retained)
    write_json(folder / "score" / "statistics.json", {
        "confidence": 0.95, "draws": 2000,
        "rule": {
            "confidence": 0.95, "correction": "simultaneous over all selections: max-T",
            "repeats": case.repeats, "heads": 2, "judged": case.repeats > 1,
            "why": "" if case.repeats > 1 else "one repetition: nothing is known of another",
            "leaves_out": "All repetitions select from the embeddings of one encoder.",
        },
        "differences": rows, "alphas": _alphas(quality, retained),
        "areas": _areas((*case.sets, "mean")), "ranks": _ranks(),
    })  # fmt: skip
    _write_costs(folder, scores)
    write_json(folder / "score" / "selections.json", _selections(folder, case))


def _score_row(
    row: Mapping[str, Any],
    quality: Mapping[Any, float],
    case: Case,
    retained: Mapping[float, float],
) -> dict[str, Any]:
    ratio = row["ratio"]
    miou = quality[row["selector"], ratio, row["dataset"]]
    means = {"miou": miou, "dice": miou + 0.08, "image_iou": miou - 0.1, "image_dice": miou - 0.02}
    means["normdel"] = float(normdel(miou, retained[ratio]))
    found = {k: row[k] for k in ("selector", "ratio", "retained", "kept", "dataset")}
    found |= {"seeds": 2 * case.repeats, "steps": 100}
    for name, mean in means.items():
        found |= {f"{name}_mean": mean, f"{name}_std": 0.004}
    for name in ("miou", "normdel"):
        found |= {f"{name}_low": means[name] - 0.006, f"{name}_high": means[name] + 0.007}
    return found


def _floor_rows(
    quality: Mapping[Any, float], case: Case, retained: Mapping[float, float]
) -> list[dict[str, Any]]:
    rows = []
    for floor in FLOORS:
        for name in (*case.sets, "mean"):
            miou = quality[floor, 0.0, name]
            ends = {
                f"{r:g}": float(normdel(quality["nothing", 0.0, name], R))
                for r, R in retained.items()
            }
            rows.append({
                "floor": floor, "dataset": name, "runs": 2 * case.repeats, "miou_mean": miou,
                "miou_low": miou - 0.005, "miou_high": miou + 0.005, "dice_mean": miou / 2,
                "image_iou_mean": miou / 4, "image_dice_mean": miou / 3, "normdel_low_end": ends,
            })  # fmt: skip
    return rows


def _differences(
    quality: Mapping[Any, float], case: Case, retained: Mapping[float, float]
) -> list[dict[str, Any]]:
    rows = []
    keys = list(dict.fromkeys((s, r) for s, r, _ in quality if r))
    floors = list(FLOORS) if case.floors else []
    for selector, ratio in keys:
        for against, at in (*((f, 0.0) for f in floors), ("random", ratio), ("full", 1.0)):
            if (against, at) == (selector, ratio) or (selector == "full" and against not in floors):
                continue
            family = sum(r == ratio for s, r in keys) - (against == "random")
            for name in (*case.sets, "mean"):
                miou = quality[selector, ratio, name] - quality[against, at, name]
                low, high = miou - case.width, miou + case.width
                word, why = verdict(low, high, case.repeats)
                row = {"selector": selector, "ratio": ratio, "dataset": name, "against": against}
                row |= {"runs": 2 * case.repeats, "comparisons": family}
                for metric, scale in (("miou", 1.0), ("normdel", 0.2)):
                    values = (miou, miou - case.width * 0.8, miou + case.width * 0.8, low, high)
                    parts = ("difference", "low", "high", "all_low", "all_high")
                    row |= {f"{metric}_{p}": v * scale for p, v in zip(parts, values, strict=True)}
                rows.append(row | {"verdict": word, "why": why})
    clear = {
        (r["selector"], r["ratio"], r["dataset"])
        for r in rows
        if all(
            o["verdict"] == "better"
            for o in rows
            if o["against"] in floors
            and all(o[k] == r[k] for k in ("selector", "ratio", "dataset"))
        )
    }
    for row in rows:
        other = (
            row["against"],
            row["ratio"] if row["against"] == "random" else 1.0,
            row["dataset"],
        )
        mine = (row["selector"], row["ratio"], row["dataset"])
        judged = row["against"] not in floors and row["verdict"] != "not judged"
        if floors and judged and not {mine, other} & clear:
            row |= {"verdict": "not judged", "why": "neither clears the floor"}
    return rows


def _alphas(quality: Mapping[Any, float], retained: Mapping[float, float]) -> list[dict[str, Any]]:
    return [
        {
            "alpha": alpha, "selector": s, "ratio": r, "dataset": name, "rank": 1,
            "normdel_mean": float(normdel(miou, retained[r], alpha)),
            "normdel_low": 0.5, "normdel_high": 0.6,
        }
        for alpha in (0.0, 1.0)
        for (s, r, name), miou in quality.items()
        if r
    ]  # fmt: skip


def _areas(sets: tuple[str, ...]) -> list[dict[str, Any]]:
    return [
        {
            "alpha": 1.0, "selector": selector, "dataset": name, "from": 0.05, "to": 1.0,
            "points": 4, "area": 0.6, "low": 0.59, "high": 0.61,
        }
        for selector in SELECTORS
        for name in sets
    ]  # fmt: skip


def _ranks() -> list[dict[str, Any]]:
    return [
        {
            "ratio": "all", "selector": selector, "average_rank": 1.0 + place, "datasets": 2,
            "selectors": 3, "friedman": None, "p_value": None, "critical_difference": 1.5,
        }
        for place, selector in enumerate(SELECTORS)
    ]  # fmt: skip


def _write_costs(folder: Path, scores: list[dict[str, Any]]) -> None:
    head = "selector,ratio,kept,kept_bytes,saved_bytes,steps,repeats,encoder,encoder_seconds,"
    head += "embed_seconds,loss_seconds,select_seconds,pretrain_seconds,total_seconds,device,"
    lines = [head + "gpu_hours,energy_wh_estimated"]
    for row in scores:
        if row["dataset"] == "mean":
            free = row["selector"] in ("full", "random")
            parts = (0.0, 0.0) if free else (40.0, 12.0)
            seconds = (*parts, 0.0, 0.0 if row["selector"] == "full" else 0.5, 100.0)
            told = ",".join(f"{s:g}" for s in (*seconds, sum(seconds)))
            first = f"{row['selector']},{row['ratio']},{row['kept']},{1000 * row['kept']},500,100,1"
            lines.append(f"{first},own,{told},cpu,0.0,2.5")
    write_text(folder / "score" / "costs.csv", "\n".join(lines) + "\n")


def _selections(folder: Path, case: Case) -> list[dict[str, Any]]:
    rows = []
    for tag in read_json(folder / "run.json")["tags"]:
        if tag["selector"] == "full":
            continue
        chosen = Selection.load(folder / "select" / f"{tag['tag']}.parquet")
        looks = "disruptive" in chosen.settings
        same = tag["tag"] == "meddel-33"  # said to be random's, for the mark
        for repeat in range(case.repeats):
            rows.append({
                "selector": tag["selector"], "ratio": tag["ratio"], "repeat": repeat,
                "tag": tag["tag"], "kept": len(chosen), "retained": len(chosen) / chosen.n,
                "settings": chosen.settings,
                "left_out_as_disruptive": chosen.counts()["disruptive"] if looks else None,
                "same_as": "random-33" if same and repeat == 0 else "",
                "shared_with": "random-33" if same and repeat == 0 else "",
            })  # fmt: skip
    return rows


def write_probe(folder: Path, case: Case, *, alone: bool) -> None:
    """Give a run a probe; `alone`, it has no pre-training."""
    about = read_json(folder / "run.json")
    measures = ["probe"] if alone else ["pretrain", "probe"]
    write_json(folder / "run.json", about | {"config": about["config"] | {"measures": measures}})
    if alone:
        import shutil

        for name in ("score", "pretrain", "stages/pretrain"):
            shutil.rmtree(folder / name)
    rows, differences = [], []
    for probe, metric, level in PROBES:
        of = {"probe": probe, "task": "classification", "dataset": "pool", "metric": metric}
        quality = {
            (s, r): level + 0.05 * float(np.log(r)) + 5 * case.gains.get((s, r), 0.0)
            for s, r in (("full", 1.0), *((s, r) for r in fake_run.RATIOS for s in SELECTORS))
        }
        quality["majority class", 0.0] = 0.2
        for (selector, ratio), mean in quality.items():
            row = {**of, "selector": selector, "ratio": ratio, "kept": round(60 * ratio)}
            row |= {"draws": case.repeats, "mean": mean}
            rows.append(row | {"low": mean - 0.02, "high": mean + 0.02})
        differences += [{**of, **row} for row in _probe_differences(quality, case)]
    why = "" if case.repeats > 1 else "one repetition: nothing is known of another"
    told = {"task": "classification", "dataset": "pool", "test": "held out", "samples": 60}
    told |= {"classes": 5, "pool": 48, "tested": 11.5, "draws": case.repeats}
    write_json(folder / "score" / "probe.json", {
        "rule": {"confidence": 0.95, "correction": "simultaneous over all selections: max-T",
                 "repeats": case.repeats, "heads": 1, "judged": case.repeats > 1, "why": why},
        "data": [told], "rows": rows, "differences": differences,
    })  # fmt: skip


def _probe_differences(
    quality: Mapping[tuple[str, float], float], case: Case
) -> list[dict[str, Any]]:
    rows = []
    for selector, ratio in quality:
        for other in (("majority class", 0.0), ("random", ratio), ("full", 1.0)):
            against = other[0]
            itself = (selector, ratio) == other or other not in quality
            if not ratio or itself or (selector == "full" and against != "majority class"):
                continue
            gap = quality[selector, ratio] - quality[other]
            low, high = gap - 5 * case.width, gap + 5 * case.width
            word, why = verdict(low, high, case.repeats)
            rows.append({
                "selector": selector, "ratio": ratio, "against": against, "draws": case.repeats,
                "comparisons": 3 - (against == "random"), "difference": gap,
                "low": gap - 4 * case.width, "high": gap + 4 * case.width, "all_low": low,
                "all_high": high, "verdict": word, "why": why,
            })  # fmt: skip
    return rows


def write_beyond(folder: Path) -> None:
    """Give a run another task, a reference and generalisation."""
    tasks = []
    scores = {"classification": ("accuracy", "macro_f1"), "segmentation": ("miou", "dice")}
    for selector, ratio in (("random", 0.05), ("meddel", 0.05), ("imagenet", "-")):
        for task, names in scores.items():
            if task == "segmentation" and ratio != "-":
                continue
            for dataset in ("kvasir", "mean"):
                for place, name in enumerate(names):
                    row: dict[str, Any] = {"selector": selector, "ratio": ratio, "task": task}
                    row |= {"dataset": dataset, "score": name, "primary": place == 0, "runs": 3}
                    row |= {
                        "kept": None if ratio == "-" else 3,
                        "mean": 0.61 + place / 10,
                        "low": 0.6,
                        "high": 0.75,
                    }
                    tasks.append(row | {"std": 0.01, "normdel_mean": None, "normdel_std": None})
    write_json(folder / "score" / "tasks.json", tasks)
    across = [
        {"selector": s, "ratio": 0.1, "kept": 6, "pretrained_on": a, "tested_on": b, "runs": 2}
        for s in ("random", "meddel")
        for a in ("kvasir", "clinic")
        for b in ("kvasir", "clinic")
    ]
    found = {"head": "target", "miou_mean": 0.5, "miou_low": 0.4, "miou_high": 0.6}
    write_json(folder / "score" / "generalisation.json", [row | found for row in across])
    judged = {"selector": "meddel", "against": "random", "verdict": "not told apart", "why": ""}
    gap = {"difference": 0.02, "all_low": -0.01, "all_high": 0.05}
    of_task = judged | {"ratio": 0.05, "task": "classification", "score": "accuracy"}
    better = {"difference": 0.02, "all_low": 0.01, "all_high": 0.03}
    write_json(folder / "score" / "task_differences.json", [
        of_task | {"dataset": "kvasir"} | {f"score_{k}": v for k, v in gap.items()},
        of_task | {"dataset": "kvasir", "against": "untrained", "verdict": "better"}
        | {f"score_{k}": v for k, v in better.items()},
    ])  # fmt: skip
    write_json(folder / "score" / "generalisation_differences.json", [
        judged | {"ratio": 0.1, "pretrained_on": a, "dataset": b, "why": ""}
        | ({"verdict": "better"} if a == b else {})
        | {f"miou_{k}": v for k, v in (better if a == b else gap).items()}
        for a in ("kvasir", "clinic")
        for b in ("kvasir", "clinic")
    ])  # fmt: skip


def make(folder: Path, case: Case = EFFECT, *, kind: str = "pretrain") -> Path:
    """Write a run of a kind: "pretrain", "probe" or "both"."""
    run = fake_run.small_run(folder)
    if kind != "probe":
        write_pretraining(run, case)
    if kind != "pretrain":
        write_probe(run, case, alone=kind == "probe")
    return run
