"""Readers of the layouts in which data sets are released: a tree of files becomes samples.

===================  ===============================================================================
``item``             a file by its place, and the text of a table
``tree``             the files of a data set, archives as if they were folders; samples
``pairs``            ``Pairs``: folders of images and of masks, under any names
``classes``          ``Classes``: a folder a class; ``Plain``: images alone; ``Videos``
``capsule``          ``Capsule``: Kvasir-Capsule's table of findings
``boxes``            boxes in JSON, and in text files beside the images
``beside``           where such JSON and lists of splits lie: beside the images or above
``frame_numbers``    sequences and splits by the numbers of frames
``by_name``          the usual layouts, and those of other packages, by name
``plain_names``      names of folders in a form in which copies can be compared
``unpacked_copies``  archives beside what was unpacked from them
===================  ===============================================================================
"""
