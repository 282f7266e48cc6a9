"""DataDEL, the 14 data sets of the benchmark (arXiv 2401.17542, table 1), as they are released.

==================  ==============================================================================
``registry``        the table of the data sets, and where they are on this disk
``data_set``        what an entry says of a data set
``entries``         the entries, by who released them
==================  ==============================================================================
"""
