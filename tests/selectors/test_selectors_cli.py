"""``meddel-fast select``: the list of methods, several budgets, arrays from files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("typer")
pytest.importorskip("pyarrow")

from frames import blob_frames
from test_selectors import blobs, same
from typer.testing import CliRunner

import meddel_fast.cli.console
from meddel_fast.cli import app
from meddel_fast.selectors import METHODS, HierarchyResult, Selection, select


def said(*arguments: object, status: int = 0) -> str:
    result = CliRunner().invoke(app, ["select", *map(str, arguments)])
    assert result.exit_code == status, result.output
    return result.output


@pytest.fixture(autouse=True)
def _own_interrupts(monkeypatch: pytest.MonkeyPatch) -> None:
    # the handler of Ctrl-C is pytest's own here
    monkeypatch.setattr(meddel_fast.cli.console, "_end_soon_after_interrupt", lambda: None)


@pytest.fixture
def embeddings(tmp_path: Path) -> Path:
    np.save(tmp_path / "x.npy", blobs())
    return tmp_path / "x.npy"


def test_list_has_a_line_a_method() -> None:
    lines = said("--list").splitlines()
    assert [line.split()[0] for line in lines] == ["method", *METHODS]
    for line, method in zip(lines[1:], METHODS.values(), strict=True):
        assert method.paper in line
        assert method.cost in line
        assert method.exact in line
        assert line.endswith(method.good_for)
        assert (" nested " in line) == method.nested


def test_several_budgets(embeddings: Path, tmp_path: Path) -> None:
    out = tmp_path / "sel-{budget}.parquet"
    said(embeddings, "--method", "facility", "--budget", "5%, 10%,20", "--out", out)
    for name, budget in (("5%", 0.05), ("10%", 0.1), ("20", 20)):
        assert same(
            Selection.load(tmp_path / f"sel-{name}.parquet"), select("facility", blobs(), budget)
        )
    message = said(embeddings, "--budget", "5,6", "--out", tmp_path / "s.parquet", status=2)
    assert "2 budgets need {budget} in the name" in message


def test_an_epsilon_that_removes_nothing_is_told_in_one_line(
    embeddings: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "meddel_fast", "-q", "select", embeddings, "--budget", "5"]
    command += ["--set", "epsilon=1.5", "--out", tmp_path / "s.parquet"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == (
        "meddel-fast: meddel: epsilon = 1.5 removed nothing, the farthest sample is 1 from its "
        "centroid: the selection is that of semdedup with keep = 'near'\n"
    )


def test_arrays_come_from_files(embeddings: Path, tmp_path: Path) -> None:
    first, out = tmp_path / "first.parquet", tmp_path / "out.parquet"
    mask, groups = np.arange(40) % 7 == 3, [f"video {i % 4}" for i in range(40)]
    weights, score = np.linspace(1, 2, 40), np.arange(40.0) % 11
    np.save(tmp_path / "mask.npy", mask)
    np.save(tmp_path / "weights.npy", weights)
    np.save(tmp_path / "score.npy", score)
    (tmp_path / "groups.txt").write_text("".join(f"{g}\n" for g in groups))
    options = {"exclude": mask, "groups": groups, "weights": weights, "score": score}
    said(
        embeddings, "--method", "d2", "--budget", "6", "--out", first,
        "--array", f"exclude={tmp_path / 'mask.npy'}", "--array", f"score={tmp_path / 'score.npy'}",
        "--array", f"weights={tmp_path / 'weights.npy'}",
        "--array", f"groups={tmp_path / 'groups.txt'}",
    )  # fmt: skip
    before = select("d2", blobs(), 6, **options)
    assert same(Selection.load(first), before)
    of_nine = (embeddings, "--method", "kcenter", "--budget", "9", "--out", out)
    for name, value in (("selected", before.order), ("exclude", before.mask)):
        said(*of_nine, "--array", f"{name}={first}")
        assert same(Selection.load(out), select("kcenter", blobs(), 9, **{name: value}))


def test_objectives_seeds_and_targets(embeddings: Path, tmp_path: Path) -> None:
    out, seeds = tmp_path / "out.parquet", np.ones((2, 6), np.float32)
    np.save(tmp_path / "seeds.npy", seeds)
    classes = ["a", "b"] * 20
    (tmp_path / "classes.txt").write_text("".join(f"{c}\n" for c in classes))
    like = ("--array", f"like={tmp_path / 'seeds.npy'}")
    of_eight = (embeddings, "--budget", "8", "--out", out, "--method")
    pairs = '[["diversity", 1], ["like", 0.5], ["dedup", 0.99]]'
    wanted = [("diversity", 1), ("like", 0.5), ("dedup", 0.99)]
    for text in (pairs, "{diversity = 1, like = 0.5, dedup = 0.99}"):
        said(*of_eight, "combine", "--set", f"objectives={text}", *like)
        assert same(
            Selection.load(out), select("combine", blobs(), 8, objectives=wanted, like=seeds)
        )
    shares = ("--array", f"classes={tmp_path / 'classes.txt'}", "--set", "target={a = 0.25}")
    said(*of_eight, "retrieve", *like, *shares)
    found = Selection.load(out)
    assert same(
        found, select("retrieve", blobs(), 8, like=seeds, classes=classes, target={"a": 0.25})
    )
    assert (found.indices % 2).tolist().count(0) == 2
    text = said(*of_eight, "combine", "--set", "objectives=like", status=2)
    assert "objectives must be pairs of a name and a strength, got 'like'" in text


def test_columns_of_the_manifest(tmp_path: Path) -> None:
    manifest = blob_frames(tmp_path / "frames")
    at = manifest.table.schema.get_field_index("label")
    table = manifest.table.set_column(at, "label", [["a", "b", None] * 4])
    type(manifest)("blobs", manifest.root, table).save(tmp_path / "m.parquet")
    np.save(tmp_path / "y.npy", blobs(12))
    asked = (
        tmp_path / "y.npy", "--method", "kcenter", "--budget", "6", "--out", tmp_path / "s.parquet",
        "--manifest", tmp_path / "m.parquet", "--array",
    )  # fmt: skip
    said(*asked, "classes=manifest:label")
    assert np.bincount(Selection.load(tmp_path / "s.parquet").indices % 3).tolist() == [3, 3]
    assert "name: wanted one of" in said(*asked, "classes=manifest:labels", status=2)


def test_groups_of_the_manifest(tmp_path: Path) -> None:
    manifest = blob_frames(tmp_path / "frames")
    table = manifest.table.set_column(
        manifest.table.schema.get_field_index("group"), "group", [["a", "b", "c"] * 4]
    )
    type(manifest)("blobs", manifest.root, table).save(tmp_path / "m.parquet")
    np.save(tmp_path / "y.npy", blobs(12))
    said(
        tmp_path / "y.npy", "--budget", "3", "--out", tmp_path / "s.parquet",
        "--manifest", tmp_path / "m.parquet", "--array", "groups=manifest",
    )  # fmt: skip
    found = Selection.load(tmp_path / "s.parquet")
    assert sorted(found.indices % 3) == [0, 1, 2]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        ("weights", "--array must be NAME=FILE, got 'weights'"),
        ("weights=absent.npy", "--array weights: no file absent.npy"),
        ("groups=manifest", "groups=manifest needs --manifest"),
        ("score={x}", "meddel: no option score"),
        ("weights={x}", "weights must be numbers of shape (40,)"),
    ],
)
def test_wrong_arrays_are_one_line(
    embeddings: Path, tmp_path: Path, array: str, message: str
) -> None:
    arguments = ["--budget", 5, "--out", tmp_path / "s.parquet"]
    text = said(embeddings, *arguments, "--array", array.format(x=embeddings), status=2)
    assert message in text
    assert text.count("\n") == 2
    (tmp_path / "bad.npy").write_bytes(b"no")
    text = said(embeddings, *arguments, "--array", f"weights={tmp_path / 'bad.npy'}", status=2)
    assert "is not a .npy file" in text


def test_a_tree_is_made_once_and_used(embeddings: Path, tmp_path: Path) -> None:
    tree, out = tmp_path / "tree.npz", tmp_path / "s.parquet"
    made = ["--levels", "9,3", "--set", "metric=cosine", "--seed", "2", "--out", str(tree)]
    result = CliRunner().invoke(app, ["hierarchy", str(embeddings), *made])
    assert result.exit_code == 0, result.output
    found = HierarchyResult.load(tree)
    assert f"40 samples in {found.levels[0]} / 3 clusters" in result.output
    assert found.settings["metric"] == "cosine"
    of_ten = (embeddings, "--method", "hierarchical", "--budget", "10", "--out", out)
    said(*of_ten, "--array", f"hierarchy={tree}", "--set", "inside=closest")
    options = {"levels": [9, 3], "metric": "cosine", "inside": "closest", "seed": 2}
    wanted = select("hierarchical", blobs(), 10, inside="closest", hierarchy=found)
    assert same(Selection.load(out), wanted)
    said(*of_ten, "--seed", 2, "--set", "levels=[9, 3]", "--set", "metric=cosine",
         "--set", "inside=closest")  # fmt: skip
    assert same(Selection.load(out), select("hierarchical", blobs(), 10, **options))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--levels", "9,x"], "--levels must be counts as 5000,200, got 'x'"),
        (["--levels", "50"], "levels must be from 1 to 40"),
        (["--set", "clusters=3"], "--set takes max_iterations, memory, metric, resamplings"),
        (["--out", "{x}"], "is not a saved hierarchy"),
    ],
)
def test_wrong_trees_are_one_line(
    embeddings: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    given = [a.format(x=tmp_path / "other.npz") for a in arguments]
    np.savez(tmp_path / "other.npz", a=np.zeros(2))
    out = [] if "--out" in given else ["--out", str(tmp_path / "tree.npz")]
    result = CliRunner().invoke(app, ["hierarchy", str(embeddings), *given, *out])
    assert result.exit_code == 2
    assert message in result.output
    assert result.output.count("\n") == 2
    assert not (tmp_path / "tree.npz").exists()
    text = said(embeddings, "--method", "hierarchical", "--budget", 5, "--out",
                tmp_path / "s.parquet", "--array", f"hierarchy={tmp_path / 'other.npz'}",
                status=2)  # fmt: skip
    assert "holds no saved hierarchy" in text
