"""What an operation on parts has done so far, kept at a place, so that it need not be done again.

Every process saves what it knows of its own rows, in a piece; the first one saves what is common to
all, and then the record, which names all pieces and makes them count. So a kill at any moment
leaves the state before or the state after. The same call, started again, takes up the last state;
pieces are found by rows, so that other processes may go on, and more or fewer of them.

At one place there may be states of many calls. Each has a folder of its own, named by the
operation, by a hash of all that its result depends on, and by the fingerprint of the rows. So a
call never takes the state of another one, nor writes over it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast.common import places
from meddel_fast.common.atomic import remove_leftovers
from meddel_fast.common.hashes import sha256_json
from meddel_fast.sharded.checkpoint_terms import (
    Set,
    check_place,
    plain_option,
    seconds_between,
)
from meddel_fast.sharded.fingerprint import Fingerprint
from meddel_fast.sharded.group import Group, together
from meddel_fast.sharded.records import (
    FORMAT,
    Arrays,
    Piece,
    Record,
    State,
    is_piece,
    pack,
    parse_piece,
    parse_record,
    record_bytes,
    unpack,
)

_LOG = logging.getLogger(__name__)
_EVERY = 5.0  # seconds from one save to the next, at least
_SHARE = 50  # times as long as the save before has taken, at least: 2 % of all time
_RECORD, _ABOUT = "state.json", "about.json"


class Kept:
    """A place for the states of several calls, which stay until all of these have ended well.

    Parameters
    ----------
    place
        As of a :class:`Checkpoint`, which takes this for it.
    """

    def __init__(self, place: Any) -> None:
        self.place, self.tried = place, False  # whether it can be written to
        self.ended: list[Checkpoint] = []

    def clear(self) -> None:
        """Remove the states; all processes call it."""
        for one in self.ended:
            one.remove()
        self.ended.clear()


class Checkpoint:
    """The state of a call, kept at a place; without a place nothing is kept.

    All processes of a group make one, and call the same methods in the same order.

    Parameters
    ----------
    place
        A folder, or a URL, that all processes see; it is made when it is not there. None for none.
        Or a :class:`Kept` one, where the state stays after the call.
    operation
        What is called.
    options
        All that the result depends on beside the rows: plain values, and arrays.
    group
        The processes.
    sets
        The rows, not yet surveyed: that tells what they are. States are of rows of the first.

    Attributes
    ----------
    expected
        What is told of the newest state of such a call, on whatever rows; empty if there is none.
    saves, seconds
        How often was saved, and how long that has taken.

    Raises
    ------
    TypeError, ValueError, OSError
        The place is none, or cannot be written to: on all processes.
    """

    def __init__(
        self, place: Any | None, operation: str, options: Mapping[str, Any], group: Group,
        *sets: Set,
    ) -> None:  # fmt: skip
        self._group, self._sets, self._operation = group, sets, operation
        self._first = group.rank == 0
        self.expected: dict[str, Any] = {}
        self.saves, self.seconds = 0, 0.0
        self.on = place is not None
        if place is None:
            return
        self._kept = place if isinstance(place, Kept) else None
        where = place.place if isinstance(place, Kept) else place
        self._place, self._every = together(group, lambda: (check_place(where), seconds_between()))
        for one in sets:
            one.fingerprint = Fingerprint()
        self._about = b""  # to be written
        self._used = self._kept is None or not self._kept.tried
        found = self._ask_first(lambda: self._look(options))
        if self._kept is not None:
            self._kept.tried = True
        self._call, self._token = found["call"], found["token"]
        self.expected = found["expected"]
        self._own: list[str] = []  # files of the last state that this process has to remove
        self._grown: list[Piece] = []  # of all processes
        self._last, self._cost = time.monotonic(), 0.0

    def _look(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Find the newest state of such a call; leave a file that says what the call is.

        So a place that cannot be written to is found before any work.
        """
        about = {
            "format": FORMAT,
            "operation": self._operation,
            "options": {name: plain_option(value) for name, value in options.items()},
            "rows": [[one.n, one.d, one.kind] for one in self._sets],
        }
        call = places.join(self._place, f"{self._operation}-{sha256_json(about)[:24]}")
        records = []
        for name in places.list_files(call):
            if name.endswith(f"/{_RECORD}"):
                with contextlib.suppress(ValueError, FileNotFoundError):
                    records.append(parse_record(places.read_bytes(places.join(call, name))))
        self._call, self._about = call, json.dumps(about, indent=1).encode()
        if self._used:
            self._tell_about()
        newest = max(records, key=lambda record: record.saved, default=None)
        return {
            "call": call,
            "token": os.urandom(4).hex(),
            "expected": {} if newest is None else newest.told,
        }

    def _tell_about(self) -> None:
        if self._about:
            places.write_bytes(places.join(self._call, _ABOUT), self._about)
        self._about = b""

    # What is asked of a plan for it.

    def bytes(self, a_row: int) -> int:
        """Return how many bytes a row it takes to save so many."""
        return 2 * a_row if self.on else 0

    def cut(self) -> dict[str, Any]:
        """Return how parts are to be cut, for :meth:`Parts.plan`: as they were, if there were."""
        starts = self.expected.get("starts", [])
        rising = isinstance(starts, list) and all(type(start) is int for start in starts)
        if not rising or sorted({0, *starts}) != starts or starts[-1] >= self._sets[0].n:
            starts = []
        return {"often": self.on, "starts": starts}

    # What there is.

    def begin(self) -> State | None:
        """Return what this call has done before, if there is a state; the sets are surveyed."""
        if not self.on:
            return None
        prints = [one.fingerprint.of_all(self._group) for one in self._sets if one.fingerprint]
        self._state = places.join(self._call, "-".join(f"{its:016x}" for its in prints))
        record = self._ask_first(self._read_record)
        if record is None:
            return None
        pieces = [parse_piece(piece) for piece in record["pieces"]]
        state = State(record["told"], {}, {}, [])
        wrong = self._agree(lambda: self._fill(state, pieces), (ValueError, FileNotFoundError))
        if wrong:
            self.tell(f"its state cannot be used ({wrong}): begun anew")
            return None
        self._grown = [piece for piece in pieces if piece.kind == "grown"]
        if self._first:
            self._own = [piece.file for piece in pieces if piece.kind != "grown"]
        plain = {k: v for k, v in state.told.items() if not isinstance(v, list)}
        self.tell(f"goes on from its state: {plain}", logging.INFO)
        return state

    def _read_record(self) -> dict[str, Any] | None:
        """Return the record of this call on these rows; tell of what is there instead of one."""
        try:
            record = parse_record(places.read_bytes(places.join(self._state, _RECORD)))
        except FileNotFoundError:
            if self.expected:
                what = "there are states of this call on other rows, which are left as they are"
                self.tell(f"{what}: begun anew")
            return None
        except ValueError as error:
            self.tell(f"its record cannot be used ({error}): begun anew")
            return None
        return {"told": record.told, "pieces": [piece._asdict() for piece in record.pieces]}

    def _fill(self, state: State, pieces: list[Piece]) -> None:
        """Read what this process needs of a state."""
        for piece in pieces:
            if piece.kind == "common":
                state.common.update(self._read(piece))
        grown = [piece for piece in pieces if piece.kind == "grown"]
        state.grown.extend(map(self._read, grown[self._group.rank :: self._group.size]))
        of_rows = sorted((p for p in pieces if p.kind == "own"), key=lambda piece: piece.start)
        if not of_rows:
            return
        own = self._sets[0].own
        for name, code, shape in of_rows[0].fields:
            state.own[name] = np.empty((len(own), *shape[1:]), code)
        at = own.start
        for piece in of_rows:
            if piece.start <= at < min(piece.stop, own.stop):
                end = min(piece.stop, own.stop)
                for name, array in self._read(piece).items():
                    there = array[at - piece.start : end - piece.start]
                    state.own[name][at - own.start : end - own.start] = there
                at = end
        if at != own.stop:
            raise ValueError(f"it has no piece for row {at}")

    def _read(self, piece: Piece) -> Arrays:
        return unpack(piece, places.read_bytes(places.join(self._state, piece.file)))

    def forget(self) -> None:
        """Keep nothing that has grown in the state that was there."""
        if self.on:
            self._own += [piece.file for piece in self._grown if self._first]
            self._grown = []

    # What is left there.

    def due(self) -> bool:
        """Whether it is time to save: all processes get the answer of the first one."""
        if not self.on:
            return False
        least = max(_EVERY, _SHARE * self._cost) if self._every is None else self._every
        answer = np.array([time.monotonic() - self._last >= least])
        return bool(self._group.broadcast(answer if self._first else None, 0)[0])

    def save(
        self,
        told: Mapping[str, Any],
        *,
        common: Mapping[str, NDArray[Any]] | None = None,
        own: Mapping[str, NDArray[Any]] | None = None,
        grown: Mapping[str, NDArray[Any]] | None = None,
    ) -> bool:
        """Put a state in the place of the one before, and return whether it is there.

        Where that fails, of a full disk say, the state before stays, and a warning says so.

        Parameters
        ----------
        told
            How far the call has come, in plain values.
        common
            Arrays that are the same for all: those of the first process are kept.
        own
            Arrays with an entry for each own row.
        grown
            Arrays that are kept beside all those given as grown before.
        """
        if not self.on:
            return False
        began = time.monotonic()
        written: list[Piece] = []
        wrong = self._agree(lambda: self._write(written, common, own, grown), (OSError,))
        said = json.dumps([piece._asdict() for piece in written]).encode()
        pieces = [
            parse_piece(piece)
            for its in self._group.allgather(np.frombuffer(said, np.uint8))
            for piece in json.loads(bytes(its))
        ]
        record = Record(dict(told), [*self._grown, *pieces], time.time())
        wrong = wrong or self._agree(lambda: self._write_record(record), (OSError,))
        replaced, new = self._own, [piece.file for piece in written if piece.kind != "grown"]
        if wrong:  # what was written stays as well: the record may be there all the same
            self.tell(f"not saved, the state before stays: {wrong}")
            self._own = [*replaced, *new]
        else:
            self._remove(replaced)
            self._own = new
            self._grown = [piece for piece in record.pieces if piece.kind == "grown"]
        self.saves += 1
        self._last = time.monotonic()
        self._cost = self._last - began
        self.seconds += self._cost
        return not wrong

    def _write(
        self, written: list[Piece], common: Any | None, own: Any | None, grown: Any | None
    ) -> None:
        rows = self._sets[0].own
        wanted = [
            ("common", range(0), common if self._first else None),
            ("own", rows, own if len(rows) else None),
            ("grown", range(0), grown if grown and len(next(iter(grown.values()))) else None),
        ]
        for kind, span, arrays in wanted:
            if arrays:
                file = f"{kind}-{self.saves:06d}-{self._group.rank:06d}-{self._token}"
                piece, data = pack(file, kind, span, arrays)
                places.write_bytes(places.join(self._state, file), data)
                written.append(piece)

    def _write_record(self, record: Record) -> None:
        if self._first:
            self._tell_about()
            places.write_bytes(places.join(self._state, _RECORD), record_bytes(record))

    def end(self) -> None:
        """Remove the state, or leave it where states are kept: the call has ended well."""
        if not self.on:
            return
        self._sets = ()
        if self._kept is None:
            self.remove()
        elif self._used or self.saves or self.expected:
            self._kept.ended.append(self)

    def remove(self) -> None:
        """Remove the state."""
        if self._first:
            self._remove([_RECORD])
        self._wait()  # without a record nothing counts that is removed now
        grown = [piece.file for piece in self._grown]
        self._remove([*self._own, *grown[self._group.rank :: self._group.size]])
        self._wait()
        if self._first:
            self._sweep()
        if self.saves:
            self.tell(f"saved {self.saves} times, {self.seconds:.1f} s", logging.INFO)

    def _sweep(self) -> None:
        """Remove what killed saves have left, and the folders, unless there are other states."""
        with contextlib.suppress(OSError):
            self._remove(filter(is_piece, places.list_files(self._state)))
            if places.list_files(self._call) == [_ABOUT]:
                places.remove(places.join(self._call, _ABOUT))
        for folder in (self._state, self._call):
            if not places.is_remote(folder):
                remove_leftovers(folder)
                with contextlib.suppress(OSError):
                    Path(folder).rmdir()

    def _remove(self, files: Iterable[str]) -> None:
        for file in files:
            with contextlib.suppress(OSError):
                places.remove(places.join(self._state, file))

    # Among the processes.

    def _ask_first(self, work: Callable[[], Any]) -> Any:
        """Return to all what the first process finds, as plain values."""
        found = together(self._group, lambda: json.dumps(work()) if self._first else "")
        sent = np.frombuffer(found.encode(), np.uint8) if self._first else None
        return json.loads(bytes(self._group.broadcast(sent, 0)))

    def _agree(self, work: Callable[[], None], errors: tuple[type[Exception], ...]) -> str:
        """Do what may fail by such errors on some processes; return to all what has failed."""
        message = b""
        try:
            work()
        except errors as error:
            message = (str(error) or type(error).__name__).encode()
        found = self._group.allgather(np.frombuffer(message, np.uint8))
        return next((bytes(its).decode() for its in found if len(its)), "")

    def _wait(self) -> None:
        self._group.allgather(np.zeros(1))

    def tell(self, what: str, level: int = logging.WARNING) -> None:
        """Log something, on the first process."""
        if self._first:
            _LOG.log(level, "checkpoint of %s at %s: %s", self._operation, self._place, what)
