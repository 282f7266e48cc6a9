"""The results of run_on_gpu.sh: one JSON file that grows part by part, and the table of it.

    python bench/gpu_results.py FILE begin|table|ok|end PART STATUS SECONDS [LOG]

Needs Python alone, so that it can also tell that the build failed.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from table import seconds, table

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("numpy", "torch", "triton", "transformers", "accelerate", "pyarrow", "pillow")
OURS = "ours"
LAST_LINES = 30  # of a failed part's log, kept with its result
TIMED_OUT = (124, 130, 137)
HEADER = (
    "workload",
    "data",
    "n x d",
    "who",
    "time",
    "ratio",
    "GB/s",
    "of copy",
    "Top/s",
    "of peak",
)
Row = dict[str, Any]


class Results:
    """The file, written anew whole at each change."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> Row:
        return json.loads(self.path.read_text()) if self.path.is_file() else {"parts": {}}

    def write(self, content: Row) -> None:
        temporary = self.path.with_suffix(".part")
        temporary.write_text(json.dumps(content, indent=1) + "\n")
        temporary.replace(self.path)

    def add(self, part: str, **row: Any) -> None:
        """Keep a row of a part under work."""
        content = self.read()
        content["parts"].setdefault(part, {}).setdefault("rows", []).append(row)
        self.write(content)
        print(part, row, flush=True)

    def end(self, part: str, status: int, took: float, log: Path | None = None) -> None:
        """Note how a part ended, with the last lines of its log if it has one."""
        content = self.read()
        state = "ok" if status == 0 else "out of time" if status in TIMED_OUT else "failed"
        ended: Row = {"state": state, "status": status, "seconds": took}
        if log is not None and log.is_file():
            lines = log.read_text(errors="replace").splitlines()
            ended["last_lines"] = lines[-(LAST_LINES if status else 1) :]
        content["parts"].setdefault(part, {}).update(ended)
        self.write(content)


def _told(*command: str) -> str | None:
    """What a program prints; None where it is missing or fails."""
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip() or None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _source() -> str:
    """Hash of what is measured: it names the version where there is no commit to name."""
    whole = hashlib.sha256()
    for folder in ("csrc", "kernels", "python", "bench"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in (".h", ".cpp", ".inl", ".cu", ".cuh", ".py", ".sh"):
                whole.update(path.relative_to(ROOT).as_posix().encode() + path.read_bytes())
    return whole.hexdigest()


def machine() -> Row:
    """Device, versions and commit."""
    ask = "--query-gpu=name,driver_version,memory.total,compute_cap"
    gpu = _told("nvidia-smi", ask, "--format=csv,noheader")
    nvcc = _told(os.environ.get("NVCC", "nvcc"), "--version")
    commit = os.environ.get("MEDDEL_COMMIT") or _told("git", "rev-parse", "HEAD")
    return {
        "device": gpu.splitlines()[0].split(", ")[0] if gpu else None,
        "device_details": gpu,
        "dry_run": os.environ.get("MEDDEL_DRY_RUN") == "1",
        "date": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "commit": commit,
        "changed": _told("git", "status", "--porcelain", "--untracked-files=no"),
        "source": _source(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "versions": {
            "python": platform.python_version(),
            "nvcc": nvcc.splitlines()[-1] if nvcc else None,
            **{name: _version(name) for name in PACKAGES},
        },
    }


def _share(rate: float, ceiling: float | None) -> str:
    return f"{100 * rate / ceiling:.0f} %" if ceiling else "-"


def _roofline(row: Row, ceilings: dict[str, float]) -> tuple[str, str, str, str]:
    """Bytes and operations a second, each with its share of what was measured at the most."""
    cells = ["-"] * 4
    if row.get("bytes"):
        rate = row["bytes"] / row["seconds"]
        cells[:2] = f"{rate / 1e9:.0f}", _share(rate, ceilings.get("copy"))
    if row.get("operations"):
        rate = row["operations"] / row["seconds"]
        cells[2:] = f"{rate / 1e12:.1f}", _share(rate, ceilings.get(row["unit"]))
    return cells[0], cells[1], cells[2], cells[3]


def _timed(rows: list[Row], ceilings: dict[str, float]) -> list[tuple[str, ...]]:
    """Lines of the table: ours, then each peer with how many times as long it takes."""
    ours = {(r["workload"], r["data"], r["n"]): r["seconds"] for r in rows if r["who"] == OURS}
    lines = []
    for row in rows:
        case = (row["workload"], row["data"], row["n"])
        mark = "*" if row.get("extrapolated") else ""
        ratio = "" if row["who"] == OURS else "-"
        if row["who"] != OURS and case in ours:
            ratio = f"{row['seconds'] / ours[case]:.1f}x{mark}"
        size = f"{row['n']} x {row['d']} {row['dtype']}"
        place = (row["workload"], row["data"], size, row["who"])
        lines.append((*place, seconds(row["seconds"]), ratio, *_roofline(row, ceilings)))
    return lines


def summary(content: Row) -> str:
    """Make the text of all results."""
    rows = [row for part in content["parts"].values() for row in part.get("rows", [])]
    ceilings = {row["ceiling"]: row["rate"] for row in rows if "ceiling" in row}
    dry = "  DRY RUN on the CPU: no figure of it says anything of a GPU" * content["dry_run"]
    text = [f"{content['device'] or 'no GPU'}, commit {content['commit']}{dry}", ""]
    parts = [
        (name, part.get("state", "cut off"), f"{part.get('seconds', 0):.0f} s",
         next(iter(part.get("last_lines", [])[-1:]), "")[:60])
        for name, part in content["parts"].items()
    ]  # fmt: skip
    text += [table([("part", "state", "took", "its last word"), *parts], case=0), ""]
    text += [f"at the most: {name} {rate / 1e12:.2f} T/s" for name, rate in ceilings.items()]
    timed = _timed([row for row in rows if "seconds" in row and "who" in row], ceilings)
    if timed:
        note = "* run on a part, and extrapolated; ~ inexact; roofline.py says what is counted"
        text += ["", table([HEADER, *timed], case=3), note]
    text += [f"{r['what']}: {r['value']:.4g} {r['unit']}" for r in rows if "what" in r]
    text += [
        f"FAILED: {r['workload']}, {r['data']}, {r['failed']}: {r['error']}"
        for r in rows
        if "failed" in r
    ]
    return "\n".join(text)


def main() -> None:
    results, verb = Results(Path(sys.argv[1])), sys.argv[2]
    if verb == "begin":
        results.write({**machine(), "parts": {}})
    elif verb == "end":
        part, status, took, *log = sys.argv[3:]
        results.end(part, int(status), float(took), Path(log[0]) if log else None)
    elif verb == "table":
        print(summary(results.read()))
    elif verb == "ok":
        parts = results.read()["parts"].values()
        sys.exit(0 if all(part.get("state") == "ok" for part in parts) else 1)
    else:
        sys.exit(f"wanted begin, end, table or ok, got {verb!r}")


if __name__ == "__main__":
    main()
