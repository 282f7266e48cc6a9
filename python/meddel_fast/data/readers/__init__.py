"""Readers of the layouts in which data sets are released: a tree of files becomes samples.

=============  =====================================================================
``tree``       the files of a data set, archives as if they were folders; samples
``pairs``      ``Pairs``: folders of images and of masks, under any names
``classes``    ``Classes``: a folder a class; ``Plain``: images alone; ``Videos``
``capsule``    ``Capsule``: Kvasir-Capsule's table of findings
``boxes``      boxes in JSON, and in text files beside the images
``shards``     ``scan_shards``: WebDataset tars become a manifest
=============  =====================================================================
"""
