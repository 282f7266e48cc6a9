"""Triton kernels and the pipelines made of them, for torch tensors on one device.

Installed as ``meddel_fast.kernels``; imports torch and triton, so only what runs on a GPU imports
it. All results equal :mod:`meddel_fast.reference` bit for bit, whatever the device, the tile size
or the configuration that autotuning chose. Under ``TRITON_INTERPRET=1`` everything runs on CPU
tensors too, which is how it is tested without a GPU.

==================  ===============================================================================
``rows``            samples on the device, or sent there in chunks
``screen``          int8 codes whose product is a proven upper bound on a score (torch operations)
``join``            pairs that the screens let through: tiles of products, survivors compacted
``tile_max``        the most promising columns of a row, by tile
``confirm``         fp64 inner products of listed pairs in the contract's order
``cluster_sums``    sums of clusters in the contract's order
``rough_clusters``  rows in the order of rough clusters, so that survivors gather in few tiles
``prepared``        what every pipeline begins with: norms, screens, codes, order
``nearest``         the k best columns of each row: what ``topk``, ``redundancy``, ``kmeans`` share
``best_columns``    the k best of what a join lets through
``cuda``            the CUDA extension's functions, for loops that live on the device
``tuning``          the configurations that autotuning chooses from
==================  ===============================================================================

Pipelines, one per operation, made of these:

==================  ===============================================================================
``pairs``           pairs whose cosine is at or above a threshold
``redundancy``      the most similar earlier row of each row
``topk``            the k most similar rows for each row
``kmeans``          Lloyd's k-means
``seeding``         its seeds, by k-means++
``deduplicate``     which rows to keep
``kcenter``         farthest-point selection
==================  ===============================================================================

They take :class:`rows.Rows` with their squared norms and return tensors on the device.
"""

from meddel_fast.common.extras import needs

with needs("gpu"):
    import torch  # noqa: F401
    import triton  # noqa: F401
