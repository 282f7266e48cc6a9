"""Files that were changed at random, for every reader: ``python readers.py SECONDS SEED [NAME …]``.

A reader gives what the file says or refuses it with one of the errors that the command line
explains in a line: no other exception, no crash, no hang, and no more memory than is its due.
Before that, every reader must refuse what is no file of its kind, and half of one.
"""

from __future__ import annotations

import json
import resource
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import data_files
import numpy as np
import run_files

from meddel_fast.training.checkpoint import DamagedCheckpointError

REFUSED = (ValueError, OSError, DamagedCheckpointError)
MEMORY = 3 << 30  # bytes of address space beyond what the imports take
PATIENCE = 20  # seconds that a reader may take


JUNK = b"\xff\xfe\x00" * 50  # no text, and no magic number
ROWS = {"tiff pages", "run costs.csv", "run loss.csv"}  # half of these is a shorter one
READERS = data_files.READERS | run_files.READERS
TOKENS = (b"-1", b"9999999999999999999", b"nan", b"null", b"[]", b"{}", b"\x00", b"\xff\xfe", b'"',
          b"1e308", b"../../x", b"true", b"\n", b",", b"=")  # fmt: skip


def mutate(rng: np.random.Generator, data: bytes) -> bytes:
    """Change a file in one to four places: bits, bytes, cuts, copies, tokens, JSON values."""
    changed = bytearray(data)
    is_json = data.startswith(b"{")
    for _ in range(int(rng.integers(1, 5))):
        kind, at = rng.integers(6), int(rng.integers(len(changed) + 1))
        if kind == 0 and changed:
            at = min(at, len(changed) - 1)
            changed[at] ^= 1 << int(rng.integers(8))
        elif kind == 1 and changed:
            changed[min(at, len(changed) - 1)] = int(rng.integers(256))
        elif kind == 2:
            del changed[at : at + int(rng.integers(1, 40))]
        elif kind == 3:
            changed[at:at] = changed[: int(rng.integers(1, 60))]
        elif kind == 4:
            token = TOKENS[rng.integers(len(TOKENS))]
            changed[at : at + int(rng.integers(2)) * len(token)] = token
        elif is_json and rng.random() < 0.9:
            return json.dumps(mutate_json(rng, json.loads(data))).encode()
        else:
            del changed[at:]
    return bytes(changed)


def mutate_json(rng: np.random.Generator, value: Any) -> Any:
    """Put something of another type or size into one place of a JSON value, or leave it out."""
    if isinstance(value, dict | list) and value and rng.random() < 0.8:
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        key = keys[rng.integers(len(keys))]
        if rng.random() < 0.3:
            del value[key]
        else:
            value[key] = mutate_json(rng, value[key])
        return value
    junk: list[Any] = [
        None,
        -1,
        10**30,
        1.5,
        "",
        "../../../etc/passwd",
        [],
        {},
        True,
        [[1]],
        "x" * 999,
    ]
    return junk[rng.integers(len(junk))]


def certain(name: str, path: Path, data: bytes) -> int:
    """Give a reader what it must refuse, whatever chance brings later; how often it did."""
    spoilt = [JUNK] if name in ROWS else [JUNK, data[: len(data) // 2]]
    for wrong in spoilt:
        path.write_bytes(wrong)
        try:
            READERS[name].read(path)
        except REFUSED:
            continue
        raise AssertionError(f"{name}: {len(wrong)} bytes were read that are no such file")
    return len(spoilt)


def main(seconds: float, seed: int, names: list[str]) -> dict[str, Counter[str]]:
    """Read changed files until the time is over, all readers in turn."""
    warnings.simplefilter("ignore")  # decoders' own, of damages
    ends: dict[str, Counter[str]] = {name: Counter() for name in names or READERS}
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    right = {}
    for name in ends:
        (folder / name).mkdir()
        right[name] = READERS[name].make(folder / name)
        READERS[name].read(right[name])  # as it is, it can be read
    content = {name: path.read_bytes() for name, path in right.items()}
    pages = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    if "asan" not in Path("/proc/self/maps").read_text():  # which maps terabytes
        resource.setrlimit(resource.RLIMIT_AS, (pages + MEMORY, resource.RLIM_INFINITY))
    for name in ends:
        ends[name]["refused"] += certain(name, right[name], content[name])
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        name = list(ends)[seed % len(ends)]
        right[name].write_bytes(mutate(np.random.default_rng(seed), content[name]))
        signal.alarm(PATIENCE)  # ends the process: nothing may take so long
        try:
            READERS[name].read(right[name])
            ends[name]["read"] += 1
        except REFUSED:
            ends[name]["refused"] += 1
        except BaseException:
            print(f"{name}, seed {seed}", flush=True)
            raise
        finally:
            signal.alarm(0)
        seed += 1
    shutil.rmtree(folder)
    for name, counts in ends.items():
        print(f"{name}: {dict(counts)}")
    print("next seed", seed)
    return ends


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
