"""Images on disk or by URL: what is there, decoded, with masks and splits; and made data.

====================  ==============================================================================
``manifest``          the table of a data set: :class:`~meddel_fast.images.manifest.Manifest`
``scan``              what is on disk becomes a manifest: a folder, tars, a data set of DataDEL
``scan_with_reader``  the same by a reader that is asked for by name
``datadel``           DataDEL, the 14 data sets of the benchmark: what each is, how it is released
``readers``           layouts in which data sets are released
``address``           the notation for members of archives, frames of videos, pages
``sources``           an address becomes bytes or an image; a file, the addresses of its images
``archive``           members of zips and tars, read in place
``remote_files``      remote files, whole or by ranges
``known_members``     members of remote tars by the places that a manifest tells
``prefetch``          remote images, fetched several at a time before they are decoded
``formats``           picture files, DICOM, TIFF, videos: opened, at full depth
``load_images``       ``load_image``: a file becomes a square of pixels
``load_masks``        ``load_mask``: a mask becomes 0, 1 and 255
``pixels``            the numbers that a file stores, unscaled: for masks
``masks``             what the numbers in the masks of a whole set mean
``image_check``       every image hashed and decoded once; what is broken is named
``quality``           how sharp, lit, noisy an image is: columns of a manifest
``left_out``          what a scan left out and noticed, counted
``splits``            lists of splits and groups; what no list says is dealt
``look_alikes``       images that look alike, so that they stay in one split
``shared_images``     images that two sets share: at one place, or the same file
``made``              ``make_frames``: made colonoscopy videos
====================  ==============================================================================

Nothing is imported here, since the parts need different libraries.
"""
