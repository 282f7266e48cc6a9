"""DataDEL: the 14 data sets of the benchmark (arXiv 2401.17542, table 1), and where they are.

The package holds no data and fetches none: an entry says what a data set is, under which terms it
comes, from where, how its release lies on disk and how many images it should have, so that
``meddel-fast data check`` can say what is there. What an entry is stands in `data_set`, the entries
in the folder ``entries``; collections that others have made of several of the sets, as PraNet's,
have entries of their own.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from meddel_fast.common.close_names import did_you_mean
from meddel_fast.common.files import StrPath
from meddel_fast.images.datadel.data_set import DataSet, Located
from meddel_fast.images.datadel.entries import challenges, cvc, kvasir
from meddel_fast.images.datadel.entries.collections import PRANET
from meddel_fast.images.datadel.entries.pretraining import (
    GASTROVISION,
    HYPER_KVASIR,
    KVASIR_CAPSULE,
)
from meddel_fast.images.readers.tree import Tree

ENTRIES = (
    GASTROVISION,
    HYPER_KVASIR,
    KVASIR_CAPSULE,
    cvc.CVC_CLINICDB,
    cvc.CVC_300,
    cvc.CVC_COLONDB,
    challenges.EAD2019,
    challenges.EDD2020,
    challenges.ETIS,
    challenges.IMAGECLEFMED,
    kvasir.KVASIR_INSTRUMENT,
    kvasir.KVASIR_SEG,
    kvasir.KVASIR_SESSILE,
    challenges.POLYPGEN,
)
COLLECTIONS = (PRANET,)


@lru_cache(maxsize=1)
def data_sets() -> dict[str, DataSet]:
    """Give the registry: the data sets by key, in the order of the paper's table."""
    return {entry.key: entry for entry in ENTRIES}


@lru_cache(maxsize=1)
def collections() -> dict[str, DataSet]:
    """Give the collections that others have made of these data sets, by key."""
    return {entry.key: entry for entry in COLLECTIONS}


def known_set(key: str) -> DataSet:
    """Give the entry of a key: of a data set or a collection.

    Raises
    ------
    ValueError
        There is none; the message names the nearest, or all.
    """
    known = data_sets() | collections()
    if key in known:
        return known[key]
    near = did_you_mean(key, known)
    raise ValueError(f"no data set {key!r} in the registry; known: {', '.join(known)}{near}")


def located(root: StrPath, keys: Iterable[str] | None = None) -> dict[str, Located]:
    """Find the data sets below `root`, or `root` itself, by key.

    Parameters
    ----------
    root
        An existing folder.
    keys
        Which to look for. If not given, all, and the collections that are there; what lies in a
        collection is then read as part of it, not a second time as a data set.

    Raises
    ------
    ValueError
        A key is unknown.
    """
    if keys is not None:
        return {key: known_set(key).find(root) for key in keys}
    whole = {key: each.find(root) for key, each in collections().items()}
    whole = {key: place for key, place in whole.items() if _holds(collections()[key], place)}
    taken = {path for place in whole.values() for path in place.where}
    found = {}
    for key, data in data_sets().items():
        place = data.find(root)
        where = tuple(p for p in place.where if taken.isdisjoint((p, *p.parents)))
        found[key] = Located(where, place.unpacked)
    return found | whole


def _holds(data: DataSet, place: Located) -> bool:
    """Tell whether there is anything of a data set where its name says so."""
    if not place.where:
        return False
    tree = Tree(place.where, by_name=True)
    return any(part.find(tree) for part in data.parts)
