"""Drop-ins: the names, arguments and results of other projects, on this package's kernels.

=================  ================================================================================
deepcore           ``k_center_greedy``, submodular functions and optimizers (DeepCore)
anomalib           ``KCenterGreedy`` (anomalib)
patchcore          ``GreedyCoresetSampler``, ``ApproximateGreedyCoresetSampler`` (PatchCore)
torch_cluster      ``fps`` (torch_cluster)
lightly            ``Selection`` with a diversifying strategy (lightly-mundig)
faiss              ``IndexFlatIP``, ``IndexFlatL2``, ``Kmeans`` (FAISS)
sklearn            ``KMeans``, ``NearestNeighbors``, ``KCenterSelector`` (scikit-learn)
apricot            ``FacilityLocationSelection`` (apricot)
semdedup           the stages and files of SemDeDup
nemo_curator       ``SemanticDeduplicationWorkflow`` and its files (NeMo Curator)
=================  ================================================================================

Import the module that you want; none is imported here, and each needs only what its project
returns (torch tensors, scikit-learn estimators, pandas or Parquet files). All are restated from
what the projects' interfaces and papers say. ``docs/drop-in.md`` tells what is identical and what
differs.
"""
