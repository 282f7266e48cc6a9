"""With numpy and filelock alone: --version, info and doctor; and what doctor says of versions."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest

import meddel_fast
from meddel_fast.benchmark import doctor
from meddel_fast.common.errors import ConfigError
from meddel_fast.common.requirements import Requirement, _parsed, installed, requirements


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of packages that holds these three and nothing else."""
    folder = tmp_path_factory.mktemp("bare")
    (folder / "meddel_fast").symlink_to(Path(meddel_fast.__file__).parent)
    for name in ("numpy", "filelock"):
        found = distribution(name)
        for top in {file.parts[0] for file in found.files or () if ".." not in file.parts}:
            (folder / top).symlink_to(Path(str(found.locate_file(top))))
    metadata = distribution("meddel-fast")._path  # type: ignore[attr-defined]
    (folder / metadata.name).symlink_to(metadata)
    return folder


def run(bare: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    code = (
        f"import sys; sys.path.insert(0, {str(bare)!r}); sys.argv[1:] = {list(arguments)}\n"
        "from meddel_fast.cli import main; main()"
    )
    return subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], env=os.environ | environment,
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def test_version_and_info(bare: Path) -> None:
    done = run(bare, "--version")
    assert (done.returncode, done.stdout) == (0, f"meddel-fast {meddel_fast.__version__}\n")
    told = json.loads(run(bare, "info", "--json").stdout)
    assert (told["format"], told["command"]) == (1, "info")
    assert told["versions"]["torch"] is None
    assert told["versions"]["numpy"] == installed("numpy")
    assert "instruction set" in run(bare, "-q", "info").stdout


def test_doctor_says_what_is_missing_and_how_to_get_it(bare: Path) -> None:
    done = run(bare, "doctor", "--json", AWS_ACCESS_KEY_ID="hidden-id", HF_TOKEN="hidden-token")
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    features = {feature["extra"]: feature for feature in told["features"]}
    assert features[""]["state"] == "ready"
    assert features["video"]["state"] == features["benchmark"]["state"] == "missing"
    assert features["video"]["install"] == 'pip install "meddel-fast[video]"'
    (av,) = features["video"]["packages"]
    assert (av["name"], av["found"], av["state"]) == ("av", None, "missing")
    assert av["wanted"].startswith("av>=")
    assert told["credentials"]["s3"] is told["credentials"]["hf"] is True
    assert "hidden" not in done.stdout
    assert told["processor"]["isa"] in told["processor"]["available_isas"]
    assert told["memory"]["free"] > 0
    text = run(bare, "doctor", "video").stdout
    assert '        pip install "meddel-fast[video]"' in text.splitlines()
    assert "wrong: av>=" in text


def test_a_feature_that_is_named_must_be_there(bare: Path) -> None:
    assert run(bare, "doctor").returncode == 0
    done = run(bare, "doctor", "video", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["wrong"] == ["av>=16 is missing"]
    done = run(bare, "doctor", "vidoe", "--json")
    assert (done.returncode, done.stdout) == (2, "")
    assert json.loads(done.stderr)["error"]["message"].endswith("did you mean 'video'?")


def test_the_rest_says_what_lacks(bare: Path) -> None:
    done = run(bare, "select", "x.npy")
    assert done.stderr == (
        "meddel-fast: error: this needs typer: pip install 'meddel-fast[benchmark]'\n"
    )
    told = json.loads(run(bare, "select", "--json").stderr)
    assert told["error"]["next"] == "pip install 'meddel-fast[benchmark]'"


def metadata(monkeypatch: pytest.MonkeyPatch, lines: list[str], versions: dict[str, str]) -> None:
    read = [one for line in lines if (one := _parsed(line))]
    monkeypatch.setattr(doctor, "requirements", lambda package: read)
    monkeypatch.setattr(doctor, "installed", versions.get)


def test_old_versions_are_wrong_and_missing_ones_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [
        "numpy>=1.23", 'av>=16; extra == "video"', 'ray[data]>=2.44; extra == "ray"',
        'meddel-fast[video]; extra == "ray"', 'meddel-fast[video,ray]; extra == "all"',
        'nothing>=1; python_version < "3.0" and extra == "video"', 'pytest>=8; extra == "test"',
    ]  # fmt: skip
    metadata(monkeypatch, lines, {"numpy": "1.22.4", "ray": "2.60.0"})
    told = doctor.examined()
    assert told["wrong"] == ["numpy 1.22.4 is not numpy>=1.23"]
    assert not told["healthy"]
    assert [f["extra"] for f in told["features"]] == ["", "video", "ray"]
    ray = told["features"][2]
    assert [(p["name"], p["state"]) for p in ray["packages"]] == [
        ("ray", "ready"),
        ("av", "missing"),
    ]
    metadata(monkeypatch, lines, {"numpy": "2.0", "av": "9.2.0", "ray": "2.60.0"})
    told = doctor.examined()
    assert told["wrong"] == ["av 9.2.0 is not av>=16"]
    assert told["features"][1]["install"] == 'pip install --upgrade "meddel-fast[video]"'
    assert any(line.startswith("wrong: av 9.2.0") for line in doctor.lines(told))
    metadata(monkeypatch, lines, {"numpy": "2.0"})
    told = doctor.examined()
    assert told["healthy"]
    assert doctor.lines(told)[-1] == "nothing is wrong"
    assert doctor.examined(("ray",))["wrong"] == ["ray>=2.44 is missing", "av>=16 is missing"]
    with pytest.raises(ConfigError, match="a feature must be one of video, ray, got 'gpu'"):
        doctor.examined(("gpu",))


@pytest.mark.parametrize(
    ("bounds", "version", "allowed"),
    [
        (">=1.9", "1.10.0", True), (">=1.9", "1.8.9", False), (">=2.6", "2.13.0+cpu", True),
        (">=2", "2.0.0rc1", True), ("<10,>=9.5", "9.5.0", True), ("<10,>=9.5", "10.0", False),
        ("==2.17", "2.17.0", True), ("==2.17", "2.17.1", False), (">=26.10", "26.9.0", False),
    ],
)  # fmt: skip
def test_versions_are_compared_by_their_numbers(bounds: str, version: str, allowed: bool) -> None:
    found = _parsed(f"thing {bounds}")
    assert found is not None
    assert found.allows(version) == allowed


def test_lines_of_metadata() -> None:
    here = f'platform_system == "{platform.system()}"'
    parsed: Any = _parsed(f'ray[data,tune]>=2.44,<3; {here} and extra == "ray"')
    assert parsed == Requirement("ray", ("data", "tune"), ((">=", "2.44"), ("<", "3")), "ray")
    assert parsed.text == "ray>=2.44,<3"
    assert _parsed('thing>=1; sys_platform == "plan9"') is None
    for line in ("thing~=1.0", 'thing; extra == "a" or extra == "b"'):
        with pytest.raises(ValueError, match="a package's requirement must"):
            _parsed(line)


def test_our_own_metadata_are_understood_and_every_extra_has_a_purpose() -> None:
    named = {one.extra for one in requirements("meddel-fast")}
    assert {"", "gpu", "benchmark", "all", "test"} <= named
    assert [f["extra"] for f in doctor.features() if not f["purpose"]] == []
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    line = next(one for one in text.splitlines() if one.startswith('all = ["meddel-fast['))
    assert set(line.split("[")[2].partition("]")[0].split(",")) <= set(doctor.PURPOSES)
