"""``curate.json``: what is done at a place, of what it was made, and what was done again."""

from __future__ import annotations

import contextlib
import hashlib
import json
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from meddel_fast._version import __version__
from meddel_fast.common import places
from meddel_fast.common.atomic import plain
from meddel_fast.common.hashes import sha256_file, sha256_json
from meddel_fast.common.outputs import folder_with
from meddel_fast.common.untrusted import check_fields

NAME = "curate.json"
FORMAT = 1
_WANTED = "record of a curation"
# Results of one release series are comparable; another series does the stages anew.
_SERIES = ".".join(__version__.split(".")[:2])


KIND = folder_with("a place of curate", NAME)


class Record:
    """The record of one place; every change of it is written at once, all or nothing.

    Parameters
    ----------
    out
        The place.
    about
        What is said of the curation as a whole: its source, engine, options.

    Attributes
    ----------
    stages : dict
        Name -> ``state`` ("begun" or "done"), ``key``, ``made_of``, and of those done ``outputs``
        (name -> bytes and SHA-256), ``counts``, ``seconds`` and ``finished``.
    again : list
        What was done again, and why, in order: ``stage``, ``what``, ``when``.

    Raises
    ------
    ValueError
        The place's record is none, of a later format, or of another source.
    """

    def __init__(self, out: str, about: Mapping[str, Any]) -> None:
        self._out, self._about = out, dict(about)
        found = _read(places.join(out, NAME))
        self.stages: dict[str, dict[str, Any]] = found.get("stages", {})
        self.again: list[dict[str, str]] = found.get("again", [])
        if found and found["source"] != about["source"]:
            raise ValueError(
                f"{places.shown(out)} holds what was curated of {places.shown(found['source'])}, "
                f"not of {places.shown(str(about['source']))}: "
                "choose another place"
            )

    def why(self, name: str, made_of: Mapping[str, Any]) -> str:
        """Say why a stage has to be done; empty when it is valid."""
        stage = self.stages.get(name)
        if stage is None:
            return "new"
        if stage["key"] != _key(name, made_of):
            before = stage["made_of"]
            changed = [k for k in {**before, **made_of} if before.get(k) != made_of.get(k)]
            return f"other {', '.join(changed) or 'version'}"
        if stage["state"] != "done":
            return "interrupted"
        for output, told in stage["outputs"].items():
            wrong = self._wrong(output, told)
            if wrong:
                return f"{output} is {wrong}"
        return ""

    def begin(self, name: str, made_of: Mapping[str, Any], why: str) -> None:
        """Note that the work on a stage starts, and why."""
        if why != "new":
            self.tell_again(name, f"begun again: {why}")
        made = json.loads(json.dumps(dict(made_of), default=plain))
        key = _key(name, made_of)
        self.stages[name] = {"state": "begun", "key": key, "made_of": made, "outputs": {}}
        self.write()

    def tell_again(self, name: str, what: str) -> None:
        """Note that something was done again."""
        when = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        self.again.append({"stage": name, "what": what, "when": when})
        self.write()

    @contextlib.contextmanager
    def written(self, name: str) -> Iterator[Path]:
        """Yield a local path to write to; what is written there goes to the place."""
        if not places.is_remote(self._out):
            yield Path(self._out) / name
            return
        with tempfile.TemporaryDirectory(prefix="meddel-") as folder:
            yield Path(folder) / name
            places.put_file(Path(folder) / name, places.join(self._out, name))

    @contextlib.contextmanager
    def output(self, stage: str, name: str) -> Iterator[Path]:
        """Do the same; what is written is an output of the stage."""
        with self.written(name) as path:
            yield path
            told = {"bytes": path.stat().st_size, "sha256": sha256_file(path)}
        self.stages[stage]["outputs"][name] = told

    @contextlib.contextmanager
    def local(self, name: str) -> Iterator[Path]:
        """Yield a local path at which a file of the place can be read."""
        if not places.is_remote(self._out):
            yield Path(self._out) / name
            return
        with tempfile.TemporaryDirectory(prefix="meddel-") as folder:
            path = Path(folder) / name
            path.write_bytes(places.read_bytes(places.join(self._out, name)))
            yield path

    def holds(self, stage: str, name: str) -> None:
        """Take a small file that is there already as an output of a stage."""
        data = places.read_bytes(places.join(self._out, name))
        told = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        self.stages[stage]["outputs"][name] = told

    def digest(self, stage: str, name: str) -> str:
        """Return the hash of an output of a stage that is done.

        Raises
        ------
        ValueError
            The record does not tell of it.
        """
        outputs = self.stages[stage]["outputs"]
        if name not in outputs:
            where = places.shown(places.join(self._out, NAME))
            raise ValueError(f"{where} is no {_WANTED}: {stage} has no output {name}")
        return str(outputs[name]["sha256"])

    def done(self, name: str, counts: Mapping[str, Any], seconds: float) -> None:
        """Note that a stage has come to its end."""
        self.stages[name] |= {
            "state": "done",
            "counts": dict(counts),
            "seconds": round(seconds, 3),
            "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        }
        self.write()

    def leave_out(self, name: str) -> None:
        """Forget a stage that the options no longer ask for; its files stay."""
        if self.stages.pop(name, None) is not None:
            self.tell_again(name, "left out, as the options ask for it no longer")

    def as_dict(self) -> dict[str, Any]:
        """Return all that is written."""
        head = {"format": FORMAT, "version": __version__, **self._about}
        return {**head, "stages": self.stages, "again": self.again}

    def write(self) -> None:
        """Write the record."""
        text = json.dumps(self.as_dict(), default=plain, indent=2, ensure_ascii=False)
        places.write_bytes(places.join(self._out, NAME), (text + "\n").encode())

    def _wrong(self, name: str, told: Mapping[str, Any]) -> str:
        """Say what is wrong with an output; empty when it is whole. A remote one's size tells."""
        place = places.join(self._out, name)
        try:
            size = places.size(place)
        except FileNotFoundError:
            return "missing"
        whole = size == told["bytes"]
        if whole and not places.is_remote(place):
            whole = sha256_file(place) == told["sha256"]
        return "" if whole else "damaged"


def _key(name: str, made_of: Mapping[str, Any]) -> str:
    return sha256_json({"stage": name, "series": _SERIES, "made_of": dict(made_of)})


def _read(place: str) -> dict[str, Any]:
    """Read a record; an empty one where there is none."""
    try:
        data = places.read_bytes(place)
    except FileNotFoundError:
        return {}
    try:
        found = json.loads(data)
    except ValueError as error:
        raise ValueError(f"{place} is no {_WANTED}: {error}") from None
    check_fields(place, found, {"format": int}, _WANTED)
    if found["format"] != FORMAT:
        raise ValueError(
            f"{place} is a {_WANTED} of format {found['format']}, which needs a newer meddel-fast: "
            f"this one reads format {FORMAT}"
        )
    check_fields(place, found, {"source": str, "stages": dict, "again": list}, _WANTED)
    for stage in found["stages"].values():
        fields = {"state": str, "key": str, "made_of": dict, "outputs": dict}
        check_fields(place, stage, fields, _WANTED)
        for told in stage["outputs"].values():
            check_fields(place, told, {"bytes": int, "sha256": str}, _WANTED)
        if stage["state"] == "done":
            check_fields(place, stage, {"counts": dict, "seconds": (int, float)}, _WANTED)
    for again in found["again"]:
        check_fields(place, again, {"stage": str, "what": str, "when": str}, _WANTED)
    return dict(found)
