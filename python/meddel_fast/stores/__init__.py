"""Embeddings in files, larger than memory if need be.

===================  =============================================================================
``store``            ``open_store``: the (n, d) array that files hold together, read by ranges
``shards``           one file of rows: .npy, .npz, safetensors, Parquet; headers checked
``npz_rows``         embeddings in an .npz file, packed or not
``parquet_rows``     embeddings in a column of a Parquet file
``library_folders``  folders that Zarr and Lance write
``embedding_files``  the folder that ``embed`` writes
===================  =============================================================================
"""

from meddel_fast.stores.store import LocalRows, Store, open_store

__all__ = ["LocalRows", "Store", "open_store"]
