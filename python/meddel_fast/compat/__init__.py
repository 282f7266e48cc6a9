"""Drop-ins: the names, arguments and results of other projects, on this package's kernels.

=================  =================================================================================
``deepcore``       ``k_center_greedy``, submodular functions and optimizers (DeepCore)
``anomalib``       ``KCenterGreedy`` (anomalib)
``patchcore``      ``GreedyCoresetSampler``, ``ApproximateGreedyCoresetSampler`` (PatchCore)
``torch_cluster``  ``fps`` (torch_cluster)
``lightly``        ``Selection`` with a diversifying strategy (lightly-mundig)
``faiss``          ``IndexFlatIP``, ``IndexFlatL2``, ``Kmeans`` (FAISS)
``sklearn``        ``KMeans``, ``NearestNeighbors``, ``KCenterSelector`` (scikit-learn)
``apricot``        ``FacilityLocationSelection`` (apricot)
``semdedup``       the stages and files of SemDeDup
``nemo_curator``   ``SemanticDeduplicationWorkflow`` and its files (NeMo Curator)
=================  =================================================================================

Import the module that you want; none is imported here, and each needs only what its project
returns (torch tensors, scikit-learn estimators, pandas or Parquet files). All are restated from
what the projects' interfaces and papers say. ``docs/drop-in.md`` tells what is identical and what
differs.

What they are built on:

========================================  ==========================================================
``_search``                               exact search by distance or inner product, on kernels that
                                          compare cosines
``_faiss_index``, ``_sklearn_neighbors``  FAISS's indices and scikit-learn's ``NearestNeighbors`` on
                                          that search
``_submodular``                           DeepCore's submodular functions and optimizers
``_lazy``                                 facility location by the lazy greedy algorithm
``_curator_files``, ``_curator_scores``   what NeMo Curator's files hold, and its similarities
========================================  ==========================================================
"""
