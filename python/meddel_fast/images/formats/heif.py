"""Let Pillow open HEIC and HEIF, which iPhones and some cameras write. Needs pillow-heif."""

from __future__ import annotations

from meddel_fast.common.extras import needs
from meddel_fast.common.files import StrPath
from meddel_fast.common.suffixes import HEIFS
from meddel_fast.images.address import ImageError, parse


def allow_heif(path: StrPath) -> None:
    """Make Pillow able to open the file at an address, if its suffix says that it is such a one.

    Raises
    ------
    ImageError
        pillow-heif is not there.
    """
    if parse(path).suffix not in HEIFS:
        return
    try:
        with needs("heif"):
            import pillow_heif
    except ModuleNotFoundError as error:
        raise ImageError(path, str(error).removeprefix("this ")) from error
    pillow_heif.register_heif_opener()
