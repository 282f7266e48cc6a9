"""Object stores and web servers behind :mod:`meddel_fast.common.places`, by fsspec.

===========  =====================================================================================
``errors``   what went wrong, told without credentials; whether trying again can help
``retry``    trying again: longer and longer pauses, a limit in all, each told
``client``   what any file system of fsspec does: sizes, ranges, whole files, listings
``s3``       the same of S3: conditional reads, checked and multipart uploads
``web``      the same of http: and https:, for reading
``connect``  the client of a URL; its library, its time limits, credentials from the environment
``objects``  what is done with a URL, each tried again if need be
``ranges``   ranges read by several requests at a time, and a file object over them
===========  =====================================================================================
"""
