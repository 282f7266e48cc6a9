"""``meddel-fast doctor``: what is missing for which feature."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from meddel_fast.cli.console import Ended, say
from meddel_fast.cli.documents import DoctorDocument

UNFIT = 1  # exit status


def doctor(
    features: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[FEATURE]...", help="Extras that must be ready, as benchmark, ray."
        ),
    ] = None,
) -> Ended[DoctorDocument]:
    """Tell what is missing for which feature, with the line that installs it.

    Exit status 1 when something installed is too old, a plug-in cannot be used, or something is
    missing of the package itself or of the FEATUREs that are named; else 0.
    """
    from meddel_fast.benchmark.doctor import examined, lines

    found: Any = examined(tuple(features or ()))
    say("\n".join(lines(found)))
    document: DoctorDocument = found
    return Ended(document, 0 if found["healthy"] else UNFIT)
