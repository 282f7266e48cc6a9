"""A run directory with made-up numbers, for tests of the report.

Nothing here was measured: the frames are coloured noise, the embeddings are clusters with planted
copies and outcasts, the scores follow a formula. Only the selections are real, made by the package
from those embeddings.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from meddel_fast.benchmark.inside import INSIDE, inside
from meddel_fast.benchmark.leakage import Samples, audit
from meddel_fast.benchmark.scores.normdel import normdel
from meddel_fast.benchmark.scores.score import PLANTED_COLUMNS, SCORE_COLUMNS, as_csv
from meddel_fast.benchmark.sight import Sight
from meddel_fast.common.atomic import write_json, write_text
from meddel_fast.common.hashes import sha256_file
from meddel_fast.images.manifest import Manifest
from meddel_fast.selectors import select_ladder

SELECTORS = ("random", "kcenter", "meddel")
RATIOS = (0.33, 0.1, 0.05)


def made_up_scores(
    n: int, selectors: tuple[str, ...] = SELECTORS, sets: tuple[str, ...] = ("kvasir", "clinic")
) -> list[dict[str, object]]:
    """Give score rows for a pool of n samples, by formula."""
    rows = []
    asked = [("full", 1.0), *((s, r) for r in RATIOS for s in selectors)]
    for selector, ratio in asked:
        place = 0 if selector == "full" else selectors.index(selector)
        quality = {
            name: 0.72 - 0.05 * i + 0.006 * np.log(ratio) + 0.008 * place * (1 - ratio)
            for i, name in enumerate(sets)
        }
        quality["mean"] = float(np.mean(list(quality.values())))
        kept = max(1, int(ratio * n + 0.5))
        for dataset, miou in quality.items():
            scores = {"miou": miou, "dice": miou + 0.08, "normdel": normdel(miou, kept / n)}
            row: dict[str, object] = {"selector": selector, "ratio": ratio, "retained": kept / n}
            row |= {"kept": kept, "dataset": dataset, "seeds": 3}
            for metric, value in scores.items():
                row |= {f"{metric}_mean": float(value), f"{metric}_std": 0.004 + 0.002 * place}
            rows.append(row)
    return rows


def write_frames(root: Path, names: list[str], side: int = 40) -> list[dict[str, object]]:
    """Write images of coloured noise, and give their manifest rows."""
    rng = np.random.default_rng(0)
    rows = []
    for name in names:
        path = root / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        colour = rng.integers(40, 220, 3)
        noise = rng.normal(0, 12, (side, side, 3))
        Image.fromarray(np.clip(colour + noise, 0, 255).astype(np.uint8)).save(path, quality=85)
        rows.append({
            "id": f"images/{name}", "image": f"images/{name}", "mask": None,
            "sha256": sha256_file(path), "mask_sha256": None, "bytes": path.stat().st_size,
            "width": side, "height": side, "mode": "RGB", "split": "train", "group": "",
            "frame": -1, "status": "ok", "reason": "",
        })  # fmt: skip
    return rows


def made_up_embeddings(n: int, seed: int = 0) -> np.ndarray:
    """Give clusters in which every tenth row copies the one before, and the last two stand out."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(5, 16)) * 2
    x = centres[rng.integers(0, 5, n)] + rng.normal(size=(n, 16)) * 0.7
    x[9::10] = x[8::10][: len(x[9::10])] + 0.001
    x[-2:] = 10.0
    return x.astype(np.float32)


def write_run(
    folder: Path,
    manifest: Manifest,
    embeddings: np.ndarray,
    *,
    selectors: tuple[str, ...] = SELECTORS,
    name: str = "made-up run",
) -> Path:
    """Write a run directory as a finished run leaves it, without its models."""
    tags = [("full-100", "full", 1.0)]
    for selector in selectors:
        for ratio, selection in zip(
            RATIOS, select_ladder(selector, embeddings, list(RATIOS)), strict=True
        ):
            tags.append((f"{selector}-{100 * ratio:g}", selector, ratio))
            selection.save(folder / "select" / f"{tags[-1][0]}.parquet", manifest.ids)
    write_json(folder / "run.json", {
        "name": name,
        "started": "2026-01-02T03:04:05+0000",
        "config": {
            "name": name, "out": "/somewhere/private/run", "alpha": 1.0, "seeds": [0, 1, 2],
            "data": [{"name": "kvasir", "path": "/somewhere/private/kvasir", "made": None}],
            "selector_options": {}, "pretrain": {"steps": 100, "crop": True},
        },
        "tags": [{"tag": t, "selector": s, "ratio": r} for t, s, r in tags],
        "versions": {"python": "3.11", "meddel-fast": "0.1.0", "triton": None},
        "hardware": {"processor": "made up", "threads": 2, "isa": "scalar"},
    })  # fmt: skip
    manifest.save(folder / "data" / "pretrain.parquet")
    shards = np.array_split(embeddings, 2)
    (folder / "embeddings").mkdir()
    listed = []
    for i, shard in enumerate(shards):
        path = folder / "embeddings" / f"shard-{i:05}.npy"
        np.save(path, shard)
        listed.append({"name": path.name, "rows": len(shard), "sha256": sha256_file(path)})
    write_json(folder / "embeddings" / "index.json", {
        "complete": True, "shape": list(embeddings.shape), "dtype": str(embeddings.dtype),
        "shards": listed,
    })  # fmt: skip
    write_leakage(folder, manifest, embeddings)
    scores = made_up_scores(len(manifest), selectors)
    write_json(folder / "score" / "scores.json", scores)
    write_text(folder / "score" / "scores.csv", as_csv(SCORE_COLUMNS, scores))
    write_text(folder / "score" / "planted.csv", as_csv(PLANTED_COLUMNS, _planted(tags)))
    for position, (tag, _, ratio) in enumerate(tags):
        lines = [
            f"{s},{0.6 + 0.4 / (1 + s / 20) + 0.01 * position},0.001,50" for s in range(1, 101)
        ]
        loss = folder / "pretrain" / tag / "loss.csv"
        write_text(loss, "\n".join(["step,loss,lr,images_per_s", *lines]) + "\n")
        stage = {"stage": f"pretrain/{tag}", "state": "done", "seconds": 60 * ratio + 1}
        write_json(folder / "stages" / "pretrain" / f"{tag}.json", stage | {"finished": "2"})
    begun = {"stage": "report", "state": "begun"}
    write_json(folder / "stages" / "report.json", begun)
    done = {"stage": "embed", "state": "done", "seconds": 7.5, "finished": "1"}
    write_json(folder / "stages" / "embed.json", done)
    return folder


def write_leakage(folder: Path, manifest: Manifest, embeddings: np.ndarray) -> None:
    """Write an audit of two test sets: the pool's first four frames, and nothing like the pool."""
    table = manifest.table.slice(0, 4)
    rows = [{**row, "id": f"test {row['id']}", "split": "test"} for row in table.to_pylist()]
    test = Manifest.from_rows("kvasir", manifest.root, rows)
    test.save(folder / "data" / "kvasir.parquet")
    pool = Samples(manifest.ids, embeddings, manifest.column("sha256"))
    near = Samples(test.ids, embeddings[:4] + np.float32(1e-4), test.column("sha256"))
    far = np.random.default_rng(1).normal(size=(5, embeddings.shape[1]))
    tests = {"kvasir": near, "clinic": Samples([f"far {i}" for i in range(5)], far)}
    audit(pool, tests, threshold=0.999, centre=False).save(folder / "leakage")
    seen = [("half the size", 8, 0.9995), ("mirrored", 3, 0.8), ("turned", 0, 0.2)]
    copies = [{"change": c, "found": n, "lowest": m, "median": m} for c, n, m in seen]
    Sight(0.999, False, 8, copies, 28, 3).save(folder / "leakage")
    write_json(folder / "leakage" / INSIDE, [inside("pool", manifest)])


def _planted(tags: list[tuple[str, str, float]]) -> list[dict[str, object]]:
    kinds = {"near_duplicate": (300, 0.3), "exact_duplicate": (60, 0.06), "disruptive": (40, 0.04),
             "normal": (600, 0.6)}  # fmt: skip
    rows = []
    for _, selector, ratio in tags:
        skill = {"meddel": 0.15, "kcenter": 0.4}.get(selector, 1.0)
        for kind, (planted, share) in kinds.items():
            kept = share if kind == "normal" else share * skill
            removed = planted - round(planted * ratio * kept / share)
            rows.append({
                "selector": selector, "ratio": ratio, "kind": kind, "planted": planted,
                "removed": removed, "share_of_kept": kept,
            })  # fmt: skip
    return rows


def large_run(folder: Path, n: int = 10_000, images: int = 250) -> Path:
    """Write a run of n frames, which share some images: as hard to compress as if they did not."""
    rows = write_frames(folder / "frames", [f"frame-{i:03}.jpg" for i in range(images)])
    named = [{**rows[i % images], "id": f"images/a-video-{i:05}.jpg"} for i in range(n)]
    manifest = Manifest.from_rows("pretrain", folder / "frames", named)
    return write_run(folder / "run", manifest, made_up_embeddings(n))


def small_run(folder: Path, names: list[str] | None = None) -> Path:
    """Write a run of 60 frames with its images beside it."""
    names = names or [f"frame-{i:03}.jpg" for i in range(60)]
    rows = write_frames(folder / "frames", names)
    manifest = Manifest.from_rows("pretrain", folder / "frames", rows)
    return write_run(folder / "run", manifest, made_up_embeddings(len(names)))
