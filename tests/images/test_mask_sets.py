"""What masks mean stands in the manifest; their owner may say it, in the config or elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

Image = pytest.importorskip("PIL.Image")
pytest.importorskip("pyarrow")

from made_masks import MASKS, SIDE, grey, numbered, settled, written  # noqa: E402

from meddel_fast.images import load_masks as masks  # noqa: E402
from meddel_fast.images.load_images import ImageError  # noqa: E402
from meddel_fast.images.load_masks import load_mask, meanings, told  # noqa: E402
from meddel_fast.images.manifest import Manifest  # noqa: E402
from meddel_fast.images.masks.rule import Meaning, parse_mask  # noqa: E402
from meddel_fast.images.pixels import Pixels, read_pixels  # noqa: E402
from meddel_fast.images.scan.build import scan  # noqa: E402


def made_set(root: Path, numbers: tuple[float, ...]) -> Path:
    (root / "images").mkdir(parents=True)
    (root / "masks").mkdir()
    for i, mask in enumerate(MASKS):
        pixels = np.random.default_rng(i).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
        written(root / f"images/{i}.png", Image.fromarray(pixels))
        grey(".png")(root / f"masks/{i}", numbered(mask, numbers))
    return root


def decoded(manifest: Manifest) -> np.ndarray:
    pytest.importorskip("torch")
    from meddel_fast.training.loader import frames

    rows = manifest.with_masks()
    return frames(rows, SIDE, masks=True)[np.arange(len(rows))]


def stack(wanted: tuple[int, ...]) -> np.ndarray:
    return np.stack([numbered(mask, wanted) for mask in MASKS])


def test_the_meaning_stands_in_the_manifest_and_stays_with_each_set(tmp_path: Path) -> None:
    one = scan(made_set(tmp_path / "one", (0, 1, 2, 255)))
    two = scan(made_set(tmp_path / "two", (0, 255, 255, 0)))
    assert told(one) == ["4 masks: lesion is all but 0, 255 ignored (0-2, 255)"]
    assert told(two) == ["4 masks: lesion above 127.5 (0, 255)"]
    Manifest.concat([one, two], "both").save(tmp_path / "both.parquet")
    both = Manifest.load(tmp_path / "both.parquet")
    assert [line.split(":")[0] for line in told(both)] == [
        "4 masks (first one/images/0.png)",
        "4 masks (first two/images/0.png)",
    ]
    wanted = np.concatenate([stack((0, 1, 1, 255)), stack((0, 1, 1, 0))])
    np.testing.assert_array_equal(decoded(both), wanted)
    for split in ("train", "val", "test"):  # a part of the set means what the set means
        part = one.split(split)
        rows = [int(Path(name).stem) for name in part.ids]
        np.testing.assert_array_equal(decoded(part), stack((0, 1, 1, 255))[rows])


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"foreground": [100]}, (0, 1, 0, 0)),
        ({"foreground": [200], "ignore": [100]}, (0, 255, 1, 0)),
        ({"background": [0, 100]}, (0, 0, 1, 1)),
        ({"background": [0], "ignore": [50]}, (0, 1, 1, 255)),
        ({"above": 120}, (0, 0, 1, 0)),
        ({"above": 60, "ignore": [200]}, (0, 1, 255, 0)),
        ({"ignore": [100, 50]}, (0, 255, 1, 255)),
    ],
)
def test_the_owner_says_what_numbers_mean(
    tmp_path: Path, given: dict[str, Any], wanted: tuple[int, ...]
) -> None:
    root = made_set(tmp_path / "set", (0, 100, 200, 50))
    with pytest.raises(ValueError, match=r"masks: 4 masks .* hold 0, 50, 100, 200: grey regions"):
        scan(root)
    manifest = scan(root, mask=given)
    np.testing.assert_array_equal(decoded(manifest), stack(wanted))
    (line,) = told(manifest)
    assert "as told" in line or "ignore" in given


def test_numbers_that_the_owner_does_not_name_are_told(tmp_path: Path) -> None:
    root = made_set(tmp_path / "set", (0, 100, 200, 50))
    (line,) = told(scan(root, mask={"foreground": [100, 7]}))
    assert "no pixel of 7; also background: 50, 200" in line


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"foreground": [1], "ignored": [2]}, "unknown key 'ignored'; known keys: foreground"),
        ({"foreground": 1}, "foreground must be a list, got 1"),
        ({"foreground": ["red"]}, "numbers, or colours like '#ff0000', got 'red'"),
        ({"foreground": [1], "ignore": [1]}, "has 1 twice"),
        ({"foreground": ["#010101"], "ignore": [1]}, "has 1 twice"),
        ({"foreground": [True]}, "got True"),
        ({"foreground": [float("nan")]}, "got nan"),
        ({"foreground": []}, "must have foreground, background or above"),
        ({"above": "x"}, "above must be a number, got 'x'"),
        ({"above": 1, "foreground": [2]}, "above must stand without"),
        ({"foreground": [1], "seen": "all"}, "unknown key 'seen'"),
        ({}, "must have foreground"),
    ],
)
def test_what_the_owner_says_is_checked(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_mask(given)


def test_the_config_takes_a_meaning_and_refuses_a_wrong_one() -> None:
    from meddel_fast.benchmark.config import DataConfig
    from meddel_fast.common.errors import ConfigError
    from meddel_fast.common.settings import from_table

    table = {"name": "x", "path": "x", "mask": {"foreground": [1, 2], "ignore": [255]}}
    assert from_table(DataConfig, table, "[[data]] 1").mask == table["mask"]
    for wrong, said in (({"foreground": 1}, "mask: foreground must be a list"), (3, "a table")):
        with pytest.raises(ConfigError, match=rf"\[\[data\]\] 1 .*{said}"):
            from_table(DataConfig, table | {"mask": wrong}, "[[data]] 1")
    made = {"name": "x", "made": {}, "mask": {"above": 1}}
    with pytest.raises(ConfigError, match="mask must be given with `path`"):
        from_table(DataConfig, made, "[[data]] 1")


def test_the_command_tells_what_masks_mean_and_takes_it(tmp_path: Path) -> None:
    pytest.importorskip("rich")
    from typer.testing import CliRunner

    from meddel_fast.cli import app

    root, out = made_set(tmp_path / "set", (0, 100, 200, 50)), tmp_path / "m.parquet"
    command = ["data", "build", str(root), "--out", str(out)]
    refused = CliRunner().invoke(app, command)
    assert refused.exit_code == 2
    for part in ("0, 50, 100, 200", "grey regions", "--mask-foreground", "foreground = ["):
        assert part in refused.output
    assert not out.exists()
    done = CliRunner().invoke(app, [*command, "--mask-foreground", "100,200", "--mask-ignore=50"])
    assert done.exit_code == 0, done.output
    assert "4 masks: lesion is 100, 200, 50 ignored (as told)" in done.output
    np.testing.assert_array_equal(decoded(Manifest.load(out)), stack((0, 1, 1, 255)))
    wrong = CliRunner().invoke(app, [*command, "--mask-foreground", "1,x"])
    assert wrong.exit_code == 2
    assert "foreground must be numbers" in wrong.output


def test_the_registry_may_say_what_masks_mean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    from meddel_fast.images.datadel.registry import known_set
    from meddel_fast.images.scan import datadel_set as reader

    root = made_set(tmp_path / "Kvasir-SEG", (0, 100, 200, 50))
    entry = replace(known_set("kvasir-seg"), mask={"foreground": (200,), "ignore": (50,)})
    monkeypatch.setattr(reader, "known_set", lambda key: entry)
    np.testing.assert_array_equal(decoded(scan(root, "kvasir-seg")), stack((0, 0, 1, 255)))
    found = decoded(scan(root, "kvasir-seg", mask={"above": 60}))
    np.testing.assert_array_equal(found, stack((0, 1, 1, 0)))


def test_masks_that_a_build_would_refuse_are_no_complete_set(tmp_path: Path) -> None:
    from meddel_fast.images.scan.registry_check import check

    made_set(tmp_path / "Kvasir-SEG", (0, 100, 200, 50))
    made_set(tmp_path / "ETIS", (0, 1, 2, 255))
    etis, kvasir = check(tmp_path, ["etis", "kvasir-seg"])
    assert "masks: 4 masks of 8 bits" in kvasir.problem
    assert kvasir.status == "corrupt"
    assert (etis.problem, etis.status) == ("", "off")
    (quick,) = check(tmp_path, ["kvasir-seg"], quick=True)
    assert (quick.problem, quick.status) == ("", "off")


def bare(manifest: Manifest) -> Manifest:
    """The manifest as format 2 had it."""
    rows = [row | {"mask_meaning": None} for row in manifest.table.to_pylist()]
    return Manifest.from_rows(manifest.name, manifest.root, rows)


def test_manifests_of_older_formats_are_settled_when_their_masks_are_read(tmp_path: Path) -> None:
    for name, numbers, wanted in (
        ("plain", (0, 255, 255, 0), (0, 1, 1, 0)),
        ("classes", (0, 1, 2, 255), (0, 1, 1, 255)),
    ):
        old = bare(scan(made_set(tmp_path / name, numbers)))
        assert told(old) == ["4 masks: not told"]
        np.testing.assert_array_equal(decoded(old), stack(wanted))
    root = made_set(tmp_path / "grey", (0, 100, 200, 50))
    with pytest.raises(ValueError, match=r"grey: 4 masks .*grey regions"):
        meanings(bare(scan(root, mask={"above": 60})))


def test_the_fingerprint_knows_the_meaning_and_keeps_that_of_plain_masks(tmp_path: Path) -> None:
    plain = scan(made_set(tmp_path / "plain", (0, 255, 255, 0)))
    assert plain.fingerprint == bare(plain).fingerprint
    root = made_set(tmp_path / "set", (0, 100, 200, 50))
    seen = {bare(scan(root, mask={"above": 60})).fingerprint}
    for given in ({"above": 60}, {"foreground": [100]}, {"foreground": [200], "ignore": [50]}):
        seen.add(scan(root, mask=given).fingerprint)
    assert len(seen) == 4


def test_a_depth_that_the_set_did_not_have_is_no_mask_of_it(tmp_path: Path) -> None:
    root = made_set(tmp_path / "set", (0, 1, 2, 255))
    meaning = Meaning.from_json(scan(root).column("mask_meaning")[0])
    Image.fromarray(MASKS[0].astype(np.uint16)).save(root / "masks/0.png")
    with pytest.raises(ImageError, match=r"0\.png: a mask of 16 bits; .* had: 8 bits"):
        load_mask(root / "masks/0.png", 8, meaning)


@pytest.mark.parametrize(
    "text",
    [
        *("", "x", "[]", "{}", '{"palette": "index", "rules": {"": 3}}'),
        '{"palette": "index", "rules": {"": {"above": "x"}}}',
    ],
)
def test_a_broken_meaning_is_refused_by_name(tmp_path: Path, text: str) -> None:
    good = scan(made_set(tmp_path / "set", (0, 255, 255, 0)))
    rows = [row | {"mask_meaning": text} for row in good.table.to_pylist()]
    with pytest.raises(ValueError, match="is no meaning of a mask"):
        meanings(Manifest.from_rows("x", good.root, rows))


@pytest.mark.parametrize(
    ("pixels", "said"),
    [
        (Pixels(np.full((4, 4), 3, np.uint8), None, "palette", 8, False, False,
                np.zeros((2, 3), np.uint8)), "an index that its palette does not have"),
        (Pixels(np.random.default_rng(0).random((4, 4, 3)), None, "colour", 64, False, False,
                None), "colours of float64"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_mask_is_a_row_with_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pixels: Pixels, said: str
) -> None:
    root = made_set(tmp_path / "set", (0, 255, 255, 0))
    monkeypatch.setattr(
        masks, "read_pixels", lambda path: pixels if "0.png" in str(path) else read_pixels(path)
    )
    skipped = scan(root).skipped.to_pylist()
    assert [(row["id"], row["reason"]) for row in skipped] == [
        ("images/0.png", f"mask: no mask: {said}")
    ]


def test_real_masks_are_black_and_white(real_data: Path) -> None:
    for name in ("kvasir_seg", "cvc_clinicdb"):
        paths = sorted((real_data / name / "masks").iterdir())[:60]
        meaning = settled(paths)
        assert meaning.words() == "lesion above 127.5 (0, 255)"
        for path in paths[:10]:
            wanted = np.asarray(Image.open(path).convert("L"))
            rows, columns = (
                ((np.arange(96) + 0.5) * side / 96).astype(int) for side in wanted.shape
            )
            found = load_mask(path, 96, meaning)
            np.testing.assert_array_equal(found, wanted[rows][:, columns] > 127)
