"""What is on disk becomes a manifest, and nothing below the root vanishes without a word.

==================  ==============================================================================
``build``           one manifest of a folder, of shards, of a data set, of many
``folder``          a folder of images, with masks or without
``datadel_set``     a data set of DataDEL
``webdataset``      tars of samples
``assign_splits``   rows get their splits
``accounting``      all files below the root against the rows
``registry_check``  what is there of DataDEL, missing, broken, or off in count
==================  ==============================================================================
"""
