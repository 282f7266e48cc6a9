"""Print results of pytest-benchmark as one table: python bench/table.py results.json ..."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

OURS = "ours"
HEADER = ("workload", "data", "n x d", "threads", "ours", "peer", "its time", "ratio")


def seconds(value: float) -> str:
    return f"{value:.2f} s" if value >= 1 else f"{1000 * value:.1f} ms"


def rows(results: dict[str, Any]) -> list[tuple[str, ...]]:
    """One row a peer: medians, and how many times as long as ours it takes."""
    cases: dict[tuple[str, ...], dict[str, float]] = {}
    for result in results["benchmarks"]:
        info = result["extra_info"]
        size = f"{info['n']} x {info['d']}"
        key = (info["workload"], info["data"], size, str(info["threads"]))
        cases.setdefault(key, {})[info["who"]] = result["stats"]["median"]
    out = []
    for key, times in cases.items():
        ours = times.pop(OURS, None)
        for who, value in sorted(times.items(), key=lambda item: item[1]) or [("-", None)]:
            ratio = f"{value / ours:.1f}x" if ours and value else "-"
            shown = tuple("-" if v is None else seconds(v) for v in (ours, value))
            out.append((*key, shown[0], who, shown[1], ratio))
    return out


def table(lines: list[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = [" | ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
    return "\n".join([text[0], "-|-".join("-" * width for width in widths), *text[1:]])


def main() -> None:
    if len(sys.argv) < 2:
        sys.exit(f"usage: python {sys.argv[0]} RESULTS.json ...")
    for path in sys.argv[1:]:
        results = json.loads(Path(path).read_text())
        machine = results["machine_info"]
        load, isa = machine.get("load", 0.0), machine.get("isa", "?")
        print(f"{machine['cpu'].get('brand_raw', '?')}, {isa}, load {load:.1f} at the start")
        print(table([HEADER, *rows(results)]))


if __name__ == "__main__":
    main()
