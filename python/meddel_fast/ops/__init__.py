"""The kernels' public functions: check the input, choose the device, make one call.

All take numpy arrays or torch tensors of shape (n, d) in float32, float16, bfloat16 (torch, JAX),
float64 (rounded to float32 first) or int8, contiguous or not, also memory-mapped, and return
arrays of the kind that came in. What other libraries hold rows in is taken as well, and results
come as these have them (:mod:`meddel_fast.arrays.kinds`, docs/inputs.md). All are exact: results
equal those of :mod:`meddel_fast.reference` bit for bit, on every device and instruction set and for
any number of threads, and ties go to the lowest index. A zero row has cosine 0 to everything.

``device=None`` works where the samples live: on the GPU for CUDA tensors, with results on it, on
its current stream. ``device="cuda"`` (or ``"cuda:1"``) sends numpy arrays and CPU tensors there, in
chunks where they do not fit, and brings the results back. That takes torch, triton and, for
k-center and the rule "components", the CUDA extension.

x and y may also be a :class:`meddel_fast.stores.store.Store`, of files larger than memory. Work
then goes part by part within ``memory``: bytes, or a text such as ``"512MB"``, by default half of
what is free. ``group`` (:func:`meddel_fast.cluster.join_group`) spreads it over processes, each of
which passes the same set, or :class:`meddel_fast.stores.store.LocalRows`. Either may be given for
an array too. Such calls run on the CPU.

``checkpoint`` is a folder, or a URL, that all processes see. There a call leaves from time to time
what it has done; after a death the same call, with the same rows, goes on from there, in as many
processes as there are then and with any memory, and gives the same bits. When it ends well it
removes what it has left. What other calls have left there is neither used nor touched. Files are
written every five seconds at most, and take 2 % of the time (or at each chance after
MEDDEL_CHECKPOINT_EVERY=SECONDS).

x and y may be a :class:`meddel_fast.Prepared` as well, which keeps what a call works out about all
rows (norms, equal ones, codes) for the calls that follow. Parts and devices take its rows alone.

``threads=None`` means MEDDEL_THREADS, else all cores that the process may use. No more threads are
started than there is work for, nor than twice the machine's cores (or 64, if that is more); where
the system refuses one, those that there are do the work. Ctrl-C stops a running call within a
second.

``progress`` is called as ``progress(done, total)``, see
:func:`meddel_fast.common.progress.reporting`; units are centres for k-center (as many again for the
distances at the end), seeds and then rows times iterations for k-means, rows for the others. A GPU
reports nothing.

All raise ``TypeError`` or ``ValueError`` for input of wrong type or shape, with NaN or infinities,
or out of range, and ``RuntimeError`` if the device cannot be used.

A file an operation, of the same name in :mod:`meddel_fast.sharded`, in ``kernels/`` and in
``csrc/ops/``:

===============  ===================================================================================
``kcenter``      k-center greedy: each next sample is the farthest from all chosen
``pairs``        pairs of samples whose cosine is at or above a threshold
``redundancy``   the most similar earlier sample of each
``topk``         the k most similar samples of each
``kmeans``       Lloyd's k-means, seeded by k-means++
``deduplicate``  which samples to keep so that near duplicates are left out
``dedup_sweep``  the last one at every threshold after one look (here alone)
``_call``        the way of a call: to the parts of rows, the CPU or the GPU
``_gpu``         the functions of ``_core`` on a GPU; the samples' way there and back
===============  ===================================================================================
"""

from meddel_fast.arrays import (
    DeduplicateResult,
    KCenterResult,
    KMeansResult,
    RedundancyResult,
    SimilarPairsResult,
    TopKResult,
)
from meddel_fast.ops.dedup_sweep import DedupSweep, dedup_sweep
from meddel_fast.ops.deduplicate import deduplicate
from meddel_fast.ops.kcenter import kcenter_greedy
from meddel_fast.ops.kmeans import kmeans
from meddel_fast.ops.pairs import iter_similar_pairs, similar_pairs
from meddel_fast.ops.redundancy import redundancy
from meddel_fast.ops.topk import topk_similarity

__all__ = [
    "DedupSweep",
    "DeduplicateResult",
    "KCenterResult",
    "KMeansResult",
    "RedundancyResult",
    "SimilarPairsResult",
    "TopKResult",
    "dedup_sweep",
    "deduplicate",
    "iter_similar_pairs",
    "kcenter_greedy",
    "kmeans",
    "redundancy",
    "similar_pairs",
    "topk_similarity",
]
