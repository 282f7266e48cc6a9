"""The batch scripts for Slurm, with its commands and variables faked on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from curate_driver import OPTIONS
from pictures import write_encoder, write_pictures

from meddel_fast.cluster import curate
from meddel_fast.selectors import Selection

ROOT = Path(__file__).resolve().parents[2]

# Runs the command once a node, as that node's; fails as the worst does.
SRUN = """#!/bin/bash
count=$SLURM_JOB_NUM_NODES
while [[ $1 == --* ]]; do
  [[ $1 == --nodes=* ]] && count=${1#--nodes=}
  [[ $1 == --exclude=* ]] && [[ ,$FAKE_NODES, != *,${1#--exclude=},* ]] && exit 9
  shift
done
trap 'kill $(jobs -p) 2> /dev/null; wait' TERM
for ((k = 0; k < count; k++)); do SLURM_PROCID=$k "$@" & done
status=0
for job in $(jobs -p); do wait "$job" || status=$?; done
exit $status
"""
SCONTROL = """#!/bin/bash
[[ "$1 $2 $3" == "show hostnames node[1-2]" ]] && printf 'node1\\nnode2\\n'
"""
HOSTNAME = "#!/bin/bash\necho 127.0.0.1\n"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("slurm")
    write_pictures(folder / "pictures")
    write_encoder(folder / "encoder")
    given = {**OPTIONS, "batch_size": 64, "dedup": 0.95, "encoder": folder / "encoder"}
    curate(folder / "pictures", folder / "whole", **given)
    return folder


def submit(tmp_path: Path, script: str, *words: object) -> str:
    """Run a script as Slurm would on two nodes of one core; what it says."""
    fakes = tmp_path / "bin"
    fakes.mkdir()
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL), ("hostname", HOSTNAME)):
        (fakes / name).write_text(text)
        (fakes / name).chmod(0o755)
    here = Path(sys.executable).parent
    (fakes / "torchrun").write_text(
        f'#!/bin/bash\nexec {sys.executable} -m torch.distributed.run "$@"\n'
    )
    (fakes / "torchrun").chmod(0o755)
    environment = {
        "PATH": f"{fakes}:{here}:{os.environ['PATH']}", "SLURM_JOB_ID": str(os.getpid()),
        "SLURM_JOB_NODELIST": "node[1-2]", "FAKE_NODES": "node1,node2", "SLURM_JOB_NUM_NODES": "2",
        "SLURM_CPUS_PER_TASK": "1", "SLURM_SUBMIT_DIR": str(ROOT),
    }  # fmt: skip
    path = ROOT / "examples" / script
    subprocess.run(["bash", "-n", path], check=True)
    run = subprocess.run(
        ["bash", path, *map(str, words)],
        env={**os.environ, **environment}, capture_output=True, text=True, timeout=250,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def test_torchrun(base: Path, tmp_path: Path) -> None:
    manifest = base / "whole" / "manifest.parquet"
    words = [manifest, base / "encoder", tmp_path / "out", "0.3"]
    assert "11 of 38 kept" in submit(tmp_path, "slurm_torchrun.sbatch", *words)
    found = Selection.load(tmp_path / "out" / "selection.parquet")
    wanted = Selection.load(base / "whole" / "selection.parquet")
    assert found.order.tolist() == wanted.order.tolist()
    kept = (tmp_path / "out" / "kept.txt").read_bytes()
    assert kept == (base / "whole" / "kept.txt").read_bytes()


def test_ray(base: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    words = [base / "pictures", tmp_path / "out", "--budget", "30%", "--encoder", base / "encoder"]
    said = submit(tmp_path, "slurm_ray.sbatch", *words, "--memory", "100MB")
    assert f"{tmp_path}/out/kept.txt: 11 kept" in said
    kept = (tmp_path / "out" / "kept.txt").read_bytes()
    assert kept == (base / "whole" / "kept.txt").read_bytes()
