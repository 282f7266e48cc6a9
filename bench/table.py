"""Print results of pytest-benchmark as one table: python bench/table.py results.json ..."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

OURS = "ours"
HEADER = ("workload", "data", "n x d", "threads", "ours", "peer", "its time", "ratio")
CASE = 5  # columns that are the same for all peers of a case


def seconds(value: float) -> str:
    if value >= 1:
        return f"{value:,.0f} s" if value >= 100 else f"{value:.2f} s"
    return f"{1000 * value:.1f} ms"


def rows(results: dict[str, Any]) -> list[tuple[str, ...]]:
    """One row a peer, the fastest first: medians, and how many times as long as ours it takes."""
    import data  # here alone: the tables themselves need neither numpy nor pytest

    cases: dict[tuple[Any, ...], dict[str, float]] = {}
    for result in results["benchmarks"]:
        info = result["extra_info"]
        case = (info["workload"], data.NAMES.index(info["data"]), info["n"], info["d"])
        who = f"{info['who']} ~" if info["inexact"] else info["who"]
        cases.setdefault((*case, info["threads"]), {})[who] = result["stats"]["median"]
    out = []
    for (workload, name, n, d, threads), times in sorted(cases.items()):
        ours = times.pop(OURS, None)
        left = (workload, data.NAMES[name], f"{n} x {d}", str(threads))
        for who, value in sorted(times.items(), key=lambda item: item[1]) or [("-", None)]:
            ratio = f"{value / ours:.1f}x" if ours and value else "-"
            shown = tuple("-" if v is None else seconds(v) for v in (ours, value))
            out.append((*left, shown[0], who, shown[1], ratio))
    return out


def table(lines: list[tuple[str, ...]], case: int = CASE) -> str:
    """Align columns; the first ones are shown once as long as they stay the same."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text, last = [], ()
    for line in lines:
        shown = ("",) * case + line[case:] if line[:case] == last else line
        text.append(" | ".join(map(str.ljust, shown, widths)).rstrip())
        last = line[:case]
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
        print("~ inexact: its answer is only about right")


if __name__ == "__main__":
    main()
