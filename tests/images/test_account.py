"""The account of what was left out is kept and shown, and files that changed since are named."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

Image = pytest.importorskip("PIL.Image")
pytest.importorskip("pyarrow")

from accounts import pairs, write  # noqa: E402
from containers import encoded, frame, png, tarred, zipped  # noqa: E402
from releases import RELEASES  # noqa: E402

from meddel_fast.images.address import ImageError  # noqa: E402
from meddel_fast.images.image_check import content  # noqa: E402
from meddel_fast.images.left_out import LeftOut, Tally, skipped_tallies  # noqa: E402
from meddel_fast.images.manifest import Manifest  # noqa: E402
from meddel_fast.images.scan.build import build  # noqa: E402
from meddel_fast.images.scan.folder import scan_folder  # noqa: E402
from meddel_fast.training.loader import frames  # noqa: E402

# --- told, kept, shown -----------------------------------------------------------------------


def test_the_account_travels_with_the_manifest(tmp_path: Path) -> None:
    write(tmp_path / "a", pairs(3) | {f"n{n}.txt": b"" for n in range(7)})
    write(tmp_path / "b", pairs(2) | {"c.txt": b""})
    first, second = scan_folder(tmp_path / "a"), scan_folder(tmp_path / "b")
    first.save(tmp_path / "m.parquet")
    assert Manifest.load(tmp_path / "m.parquet").left_out == first.left_out
    joint = Manifest.concat([first, second], "ab")
    names = tuple(f"a/n{n}.txt" for n in range(5))
    assert joint.left_out == LeftOut(18, 5, 5, 0, (Tally(".txt files", 8, names, True),))
    assert str(joint.left_out.left[0]) == f".txt files: 8 ({', '.join(names)}, ...)"
    assert first.split("train").left_out is None  # a part has no account of its own


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"left": [], "noticed": 3}', '{"left": [{"what": 1}], "noticed": []}',
     '{"left": [], "noticed": [], "files": -1}', '{"left": [], "noticed": [], "files": true}',
     '{"left": [], "noticed": [], "more": 1}', "[" * 100_000],
)  # fmt: skip
def test_an_account_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="what was left out is not understood"):
        LeftOut.parse(text)


def test_reasons_are_counted_by_kind() -> None:
    rows = [("a", "tiny: 3x4"), ("b", "tiny: 5x6"),
            ("c", "mask: lies across the image, 3x4 on 4x3"), ("d", "mask: broken: x"),
            ("e", "not an image")]  # fmt: skip
    assert list(map(str, skipped_tallies(rows))) == [
        "tiny: 2 (a, b)", "mask: lies across the image: 1 (c)", "mask: broken: 1 (d)",
        "not an image: 1 (e)",
    ]  # fmt: skip


def test_commands_end_with_the_table(tmp_path: Path) -> None:
    pytest.importorskip("rich")
    typer = pytest.importorskip("typer.testing")
    from meddel_fast.cli import app

    files = pairs(3) | {"other/1.png": png(9), "images/\x1b[2J.txt": b"", "images/t.png": png(1, 9)}
    write(tmp_path / "set", files)
    target = tmp_path / "m.parquet"
    run = typer.CliRunner().invoke
    built = run(app, ["data", "build", str(tmp_path / "set"), "--out", str(target)])
    assert built.exit_code == 0, built.output
    wanted = [
        f"{target}: 3 images (test 1, train 1, val 1); 1 skipped: tiny 1",
        "  3 masks: lesion above 127.5 (0, 255)",
        "  skipped: tiny: 1 (images/t.png)",
        "files: 9 (images 4, masks 3, tables 0, left out 2)",
        "  left out: images in places passed over: 1 (other)",
        "  left out: .txt files: 1 (images/\\x1b[2J.txt)",
    ]
    notes = Manifest.load(target).notes
    assert notes
    wanted[1:1] = [f"  {note}" for note in notes]
    assert built.stdout.splitlines()[-len(wanted) :] == wanted
    shown = run(app, ["data", "show", str(target)])
    assert shown.stdout.splitlines() == wanted
    for command in (["show", str(target)], ["build", str(tmp_path / "set"), "--out", str(target)]):
        as_json = json.loads(run(app, ["data", *command, "--json"]).stdout)
        assert as_json["images"] == 3
        assert as_json["skipped"][0]["first"] == ["images/t.png"]
        assert [tally["count"] for tally in as_json["left_out"]["left"]] == [1, 1]
    old = Manifest.load(target).ok
    old.split("train").save(target)
    assert "what the scan left out is not known" in run(app, ["data", "show", str(target)]).stdout


# --- files that change after the manifest was made ---------------------------------------------


def replaced(path: Path, data: bytes) -> None:
    """Put other content in a file's place, with its size and times as far as they go."""
    before = path.stat()
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_replaced_files_are_named_before_anything_is_made_of_them(tmp_path: Path) -> None:
    bmp = [encoded(Image.fromarray(frame(n)), "BMP") for n in range(9)]
    masks = [encoded(Image.fromarray(frame(n)).convert("L").convert("1"), "BMP") for n in range(9)]
    files = {f"images/{n}.bmp": bmp[n] for n in range(5)}
    files |= {f"masks/{n}.bmp": masks[n] for n in range(5)}
    manifest = scan_folder(write(tmp_path, files))
    for n in (1, 3):
        replaced(tmp_path / f"images/{n}.bmp", bmp[n + 5])
    wanted = r"images/1\.bmp: is not the file .* \(as were 2 of 5 read together\)"
    with pytest.raises(ImageError, match=wanted):
        frames(manifest, 16)[np.arange(5)]
    assert len(frames(manifest, 16)[np.array([0, 2, 4])]) == 3  # the others are as they were
    assert len(frames(manifest, 16, masks=True)[np.arange(5)]) == 5
    replaced(tmp_path / "images/1.bmp", bmp[1])
    replaced(tmp_path / "images/3.bmp", bmp[3])
    assert len(frames(manifest, 16)[np.arange(5)]) == 5
    replaced(tmp_path / "masks/0.bmp", masks[8])
    with pytest.raises(ImageError, match=r"masks/0\.bmp: is not the file"):
        frames(manifest, 17, masks=True)[np.array([0])]


def test_members_pages_and_unions_have_the_hash_of_the_manifest(tmp_path: Path) -> None:
    pages = [Image.fromarray(frame(n)) for n in range(3)]
    inside = {"c.png": png(3), "d.zip": zipped({"e.png": png(4)})}
    stack = encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    files = {"images/a.png": png(1), "images/z.zip": zipped({"b.png": png(2)}),
             "images/t.tar": tarred(inside), "images/s.tif": stack}  # fmt: skip
    manifest = scan_folder(write(tmp_path / "set", files))
    assert len(manifest) == 7
    made = RELEASES["edd2020"]()
    write(tmp_path, made.files)
    union = build(tmp_path, ["edd2020"])
    assert any("||" in path for path in union.column("mask"))
    for each in (manifest, union):
        assert [content(path) for path in each.image_paths()] == each.column("sha256")
        masks = [path and content(path) for path in each.mask_paths()]
        assert masks == each.column("mask_sha256")
    replaced(tmp_path / "set/images/z.zip", zipped({"b.png": png(7)}))
    with pytest.raises(ImageError, match=r"z\.zip::b\.png: is not the file .* 1 of 7 read"):
        frames(manifest, 16)[np.arange(7)]
