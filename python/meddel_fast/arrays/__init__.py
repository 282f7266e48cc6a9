"""What users hand over, and what they get back.

=================  =================================================================================
``checks``         numbers, choices, vectors with an entry a row: as they should be, or an error
``kinds``          other libraries' objects: their rows, and results as they have them
``rows``           an (n, d) array as the kernels take it, and back in its own kind
``prepared``       ``check_rows``: the same, checked; ``Prepared``, once for several operations
``choose_device``  on which device an operation works
``results``        the named tuples that the operations return
``kmeans_split``   which rows the two steps of k-means' split look at
``chunks``         ranges of rows that hold few enough pairs each
=================  =================================================================================
"""

from meddel_fast.arrays.checks import (
    check_budget,
    check_centres,
    check_choice,
    check_float,
    check_index_vector,
    check_int,
    check_labels,
    check_names,
    check_order,
    check_weights,
    resolve_threads,
)
from meddel_fast.arrays.choose_device import choose_device
from meddel_fast.arrays.chunks import in_chunks
from meddel_fast.arrays.kinds import in_memory, kind_of, opened, register_kind, result_in_kind
from meddel_fast.arrays.kinds.readers import Chunks, RowReader
from meddel_fast.arrays.kmeans_split import Job, check_init, most_rows, split_centroids
from meddel_fast.arrays.prepared import Prepared, check_rows, check_two, rows_of
from meddel_fast.arrays.results import (
    PAIR_BYTES,
    DeduplicateResult,
    KCenterResult,
    KMeansResult,
    RedundancyResult,
    SimilarPairsResult,
    TopKResult,
)
from meddel_fast.arrays.rows import (
    SUPPORTED,
    Rows,
    adjacent,
    check_equal_width,
    check_finite,
    check_kind,
    in_kind,
    is_torch,
    to_bits,
    to_matrix,
    to_numpy,
)

__all__ = [
    "PAIR_BYTES",
    "SUPPORTED",
    "Chunks",
    "DeduplicateResult",
    "Job",
    "KCenterResult",
    "KMeansResult",
    "Prepared",
    "RedundancyResult",
    "RowReader",
    "Rows",
    "SimilarPairsResult",
    "TopKResult",
    "adjacent",
    "check_budget",
    "check_centres",
    "check_choice",
    "check_equal_width",
    "check_finite",
    "check_float",
    "check_index_vector",
    "check_init",
    "check_int",
    "check_kind",
    "check_labels",
    "check_names",
    "check_order",
    "check_rows",
    "check_two",
    "check_weights",
    "choose_device",
    "in_chunks",
    "in_kind",
    "in_memory",
    "is_torch",
    "kind_of",
    "most_rows",
    "opened",
    "register_kind",
    "resolve_threads",
    "result_in_kind",
    "rows_of",
    "split_centroids",
    "to_bits",
    "to_matrix",
    "to_numpy",
]
