"""An index on disk that new samples are deduplicated against, and that samples can leave.

===============  ================================================================================
``selection``    :class:`SelectionIndex`: create, open, add, remove, compact, verify
``greedy``       what an arrival and a removal do to the kept set
``candidates``   which old samples a new one has to be compared with, by proven bounds on angles
``maintenance``  what goes over all samples: writing them anew, checking them
``segments``     the files: written once, named by a head that is replaced whole
``file_checks``  what these files must hold before anything is gone by
===============  ================================================================================
"""

from meddel_fast.index.selection import Added, Removed, SelectionIndex

__all__ = ["Added", "Removed", "SelectionIndex"]
