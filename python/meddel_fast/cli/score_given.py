"""``meddel-fast score --predictions``: its options, and what it does."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from meddel_fast.cli.console import say, show_work
from meddel_fast.cli.context import given
from meddel_fast.cli.documents import ScoreDocument
from meddel_fast.common.close_names import did_you_mean
from meddel_fast.common.errors import ConfigError

RUN = Path("runs/given")
_OF_GIVEN = "Predictions of your own model"


def _option(help: str, *names: str) -> Any:
    return typer.Option(*names, help=help, rich_help_panel=_OF_GIVEN)


PredictionsOption = Annotated[
    Path | None, _option("Folder of masks or maps of probabilities, a file an image.")
]
ManifestOption = Annotated[
    Path | None, _option("Manifest of the data set: its images and masks.", "--manifest")
]
SelectorOption = Annotated[
    str | None, _option("What chose the training data: random, kcenter, full ...", "--selector")
]
RetainedOption = Annotated[
    float | None, _option("Share of the data that was trained on, a fraction.", "--retained")
]
RunOption = Annotated[Path, _option("Run directory that the result is added to.", "--run")]
NameOption = Annotated[
    str, _option("Name of the run: results of one name are compared. Default: its folder's.")
]
RepeatOption = Annotated[int, _option("Number of the repetition of selection and training.")]
SeedOption = Annotated[int, _option("Seed of what differs within a repetition.")]
ThresholdOption = Annotated[float, _option("What is above it is lesion.")]
SizeOption = Annotated[
    int | None, _option("Squeeze to squares of this side. Default: each mask's own size.")
]
SplitOption = Annotated[str, _option("The split that is tested on.")]
PranetOption = Annotated[
    bool,
    _option("Also Dice and IoU as PraNet's evaluation: means over 256 thresholds.", "--pranet"),
]
MissingOption = Annotated[
    bool, _option("An image without a prediction counts as nothing predicted.", "--allow-missing")
]
ExtraOption = Annotated[bool, _option("Files of no image are left aside.", "--allow-extra")]
ReplaceOption = Annotated[
    bool, _option("Put the result in the place of an earlier one.", "--replace")
]

NAMES = (
    *("manifest", "selector", "retained", "run", "name", "repeat", "seed", "threshold", "size"),
    *("split", "pranet", "allow_missing", "allow_extra", "replace"),
)
"""The parameters that have no effect without ``--predictions``."""


def score_given(predictions: Path, alpha: float, options: dict[str, Any]) -> ScoreDocument:
    """Score a folder of predictions, and add the result to a run.

    Parameters
    ----------
    predictions
        The folder.
    alpha
        NormDEL's weight, where the user gave it.
    options
        The parameters `NAMES`.
    """
    from meddel_fast.benchmark.given.folder import Given, GivenRun
    from meddel_fast.benchmark.given.scoring import Scoring, score_folder
    from meddel_fast.images.manifest import SPLITS, Manifest

    for wanted in ("manifest", "selector", "retained"):
        if options[wanted] is None:
            raise ConfigError(f"--{wanted} is needed with --predictions")
    split = options["split"]
    if split not in SPLITS:
        near = did_you_mean(split, SPLITS)
        raise ConfigError(f"--split must be one of {', '.join(SPLITS)}, got '{split}'{near}")
    of = Given(*(options[name] for name in ("selector", "retained", "repeat", "seed")))
    scoring = Scoring(*(options[name] for name in ("threshold", "size", "pranet")))
    weight = alpha if given("alpha") else None
    run = GivenRun(options["run"], options["name"], weight, scoring)
    manifest = Manifest.load(options["manifest"])
    run.check(of, manifest, split, options["replace"])
    allowed = {name: options[name] for name in ("allow_missing", "allow_extra")}
    scored = show_work(
        "score",
        "images",
        lambda p: score_folder(predictions, manifest, split, scoring, **allowed, progress=p),
    )
    notes = run.add(of, manifest, split, scored)
    for line in [*scored.notes, *_scores(scored.result), *notes]:
        say(line)
    say()
    told = [*scored.notes, *notes]
    return {"run": Path(options["run"]), "result": dict(scored.result), "notes": told}


def _scores(result: dict[str, Any]) -> list[str]:
    """Write the scores of the one result, a line each kind."""
    pooled = f"pixels of all images together: mIoU {_percent(result['miou'])}, Dice "
    lines = [
        pooled + _percent(result["dice"]),
        f"averaged over images: IoU {_percent(result['image_iou_polyp'])}, Dice "
        + _percent(result["image_dice"]),
    ]
    if "pranet" in result:
        iou, dice = (_percent(result["pranet"][name]) for name in ("iou", "dice"))
        lines.append(f"as PraNet's evaluation: meanIoU {iou}, meanDic {dice}")
    return lines


def _percent(score: float) -> str:
    return f"{100 * score:.2f}"
