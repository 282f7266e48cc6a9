"""Images that two sets share, or one set holds twice: compared by place and by their files' bytes.

What looks alike without being the same file is found by embeddings: `benchmark.leakage`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from meddel_fast.common.remote_path import RemotePath

if TYPE_CHECKING:
    from meddel_fast.images.manifest import Manifest


def equal_files(manifest: Manifest) -> list[list[tuple[str, str]]]:
    """Find the usable images of a manifest that are one file, byte for byte.

    Parameters
    ----------
    manifest
        Its hashes are those of the time when it was made.

    Returns
    -------
    list
        For each file that is there more than once, the id and split of each image.
    """
    by_hash: dict[str, list[tuple[str, str]]] = {}
    columns = (manifest.column(name) for name in ("sha256", "id", "split"))
    for digest, name, split in zip(*columns, strict=True):
        by_hash.setdefault(digest, []).append((name, split))
    return [images for images in by_hash.values() if len(images) > 1]


def shared_images(
    train: Manifest, test: Manifest, *, contents: bool = True
) -> list[tuple[str, str]]:
    """Find the images of `test` that are in `train`: at the same path, or the same file.

    Parameters
    ----------
    train, test
        Their usable rows are compared.
    contents
        Whether equal files at different paths count.

    Returns
    -------
    list of (str, str)
        The id of each such image, and that of the first counterpart in `train`.
    """
    there: dict[str, str] = {}
    for keys in _keys(train, contents):
        for name, key in zip(train.ids, keys, strict=True):
            there.setdefault(key, name)
    found = zip(test.ids, *_keys(test, contents), strict=True)
    shared = [(name, next((k for k in keys if k in there), "")) for name, *keys in found]
    return [(name, there[key]) for name, key in shared if key]


def check_apart(train: Manifest, test: Manifest) -> None:
    """Refuse to test what is trained on the very images that it is tested on.

    Equal files at different paths pass here: an official list may have them, and an audit tells.

    Raises
    ------
    ValueError
        An image is in both.
    """
    shared = shared_images(train, test, contents=False)
    if shared:
        raise ValueError(
            f"test: wanted images that are not trained on, {len(shared)} of {len(test)} are in "
            f"train, such as {shared[0][0]}"
        )


def _keys(manifest: Manifest, contents: bool) -> list[list[str]]:
    """Give what tells each image: where it is and, if asked, its hash."""
    places = [
        str(path) if isinstance(path, RemotePath) else os.path.realpath(path)
        for path in manifest.image_paths()
    ]
    return [places, manifest.column("sha256")] if contents else [places]
