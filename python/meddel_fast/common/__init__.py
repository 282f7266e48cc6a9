"""What every room may use. Nothing here imports from another room.

===================  =============================================================================
``files``            paths, and what the files at them are
``atomic``           files that are whole or absent
``urls``             what places look like: paths and URLs
``places``           files on this machine or by URL, one set of functions for both
``remote``           the stores and servers behind URLs
``remote_path``      URLs that travel as ``Path``; one listing of what lies below
``read_ahead``       ranges of remote files, fetched before they are asked for
``hashes``           SHA-256 of files and of settings
``outputs``          where a result may go: never in the place of what a user has
``untrusted``        files that may be damaged or forged: fields, Parquet, JSON
``npy``, ``npz``     the same of arrays
``errors``           the error of settings that cannot be used
``toml``             TOML, read
``suffixes``         what a file's suffix says
``lock``             one writer a directory
``resources``        cores and memory that this process may use
``columns``          tables of plain text
``pool``             threads that may not start
``progress``         ``progress=`` on its way to the C++ loops
``floating_point``   the rounding that exact results need
``extras``           optional libraries: which extra brings them
``plugins``          what other packages offer in our entry-point groups
``requirements``     what installed packages require, by their metadata
``close_names``      "did you mean": the name that was probably meant
``shortage``         out of memory or threads, by how libraries put it
``settings``         what the settings of every room share
===================  =============================================================================
"""
