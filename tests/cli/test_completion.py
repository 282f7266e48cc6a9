"""Completion by the scripts that typer makes, run in the shells that are here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("typer")


def meddel_fast(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    code = "from meddel_fast.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], env=os.environ | environment,
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


BASH = """
source completion.sh
complete -p meddel-fast
for line in "$@"; do
  COMP_WORDS=($line)
  if [[ $line == *" " ]]; then COMP_WORDS+=(""); fi
  COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
  COMPREPLY=()
  _meddel_fast_completion meddel-fast
  echo "$line: ${COMPREPLY[*]}"
done
"""


def test_bash_completes_commands_options_and_methods(tmp_path: Path) -> None:
    if shutil.which("bash") is None:
        pytest.skip("needs bash")
    script = meddel_fast(_MEDDEL_FAST_COMPLETE="source_bash")
    assert script.returncode == 0, script.stderr
    (tmp_path / "completion.sh").write_text(script.stdout)
    command = tmp_path / "meddel-fast"
    command.write_text(
        f"#!{sys.executable}\nimport sys\nsys.argv[0] = 'meddel-fast'\n"
        "from meddel_fast.cli import main\nmain()\n"
    )
    command.chmod(0o755)
    lines = [
        "meddel-fast sel", "meddel-fast data ", "meddel-fast select --bud",
        "meddel-fast select --method k", "meddel-fast data build --reader p",
    ]  # fmt: skip
    done = subprocess.run(
        ["bash", "-c", BASH, "bash", *lines], cwd=tmp_path, capture_output=True, text=True,
        env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}, check=False, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert said[0].endswith("-F _meddel_fast_completion meddel-fast")
    assert said[1:] == [
        "meddel-fast sel: select",
        "meddel-fast data : list build check show quality make",
        "meddel-fast select --bud: --budget",
        "meddel-fast select --method k: kcenter",
        "meddel-fast data build --reader p: pairs plain",
    ]


@pytest.mark.parametrize(
    ("shell", "sign"), [("zsh", "#compdef meddel-fast"), ("fish", "complete --command meddel-fast")]
)
def test_the_other_shells_have_scripts(tmp_path: Path, shell: str, sign: str) -> None:
    script = meddel_fast(_MEDDEL_FAST_COMPLETE=f"source_{shell}")
    assert script.returncode == 0, script.stderr
    assert sign in script.stdout
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not here to read its script")
    (tmp_path / "script").write_text(script.stdout)
    subprocess.run([shell, "-n", str(tmp_path / "script")], check=True, timeout=60)


def test_the_script_is_shown_to_the_shell_that_asks(tmp_path: Path) -> None:
    if shutil.which("bash") is None:
        pytest.skip("needs bash")
    code = "from meddel_fast.cli import main; main()"
    done = subprocess.run(
        ["bash", "-c", f'{sys.executable} -c "{code}" --show-completion; true'],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert "_MEDDEL_FAST_COMPLETE=complete_bash" in done.stdout, done.stderr
