"""Kills a change of an index before each thing that it does to the file system, one after another.

``python kill_index.py create|add|remove|compact FOLDER``: makes FOLDER/old, and FOLDER/new by the
change; then copies of the old one, FOLDER/killed-0 and so on, each changed by a forked child that
dies by SIGKILL before its k-th opening for writing, rename, deletion or new folder, until one
survives. Prints how many died.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np

from meddel_fast.index import SelectionIndex

CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate")


def rows(seed: int, n: int) -> Any:
    return np.random.default_rng(seed).integers(-1, 2, size=(n, 4)).astype(np.float32)


def change(what: str, path: Path) -> None:
    if what == "create":
        SelectionIndex.create(path, 4)
        return
    index = SelectionIndex.open(path)
    if what == "add":
        index.add(rows(1, 30), [f"new {i}" for i in range(30)], threads=1)
    elif what == "remove":
        index.remove(index.kept[::2], threads=1)
    else:
        index.compact(threads=1)


def die_before(k: int) -> None:
    left = k

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_ACCMODE
        if writes or event in CHANGES:
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1

    sys.addaudithook(hook)


def main(what: str, folder: Path) -> None:
    os.fsync = lambda handle: None  # a kill, unlike a power cut, loses nothing that was written
    if what != "create":
        index = SelectionIndex.create(folder / "old", 4, threshold=0.8)
        for part in range(3):
            index.add(rows(10 + part, 20), [f"{part} {i}" for i in range(20)], threads=1)
        index.remove(index.ids[:5], threads=1)
        shutil.copytree(folder / "old", folder / "new")
        change(what, folder / "new")
    kills = 0
    while True:
        path = folder / f"killed-{kills}"
        if what != "create":
            shutil.copytree(folder / "old", path)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                die_before(kills)
                change(what, path)
                status = 0
            finally:
                os._exit(status)
        _, ended = os.waitpid(child, 0)
        if not os.WIFSIGNALED(ended):
            sys.exit(os.WEXITSTATUS(ended)) if ended else print(json.dumps({"kills": kills}))
            return
        kills += 1


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
