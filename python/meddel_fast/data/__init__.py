"""Images on disk: manifests, folders of images and masks, decoding, and made data.

===================  ================================================================
``manifest``         the table of a data set: :class:`~meddel_fast.data.manifest.Manifest`
``folder``           ``scan_folder``: a folder of images and masks becomes a manifest
``address``          the notation for members of archives, frames of videos, pages
``sources``          any address becomes bytes or an image; by ``archive``, ``video``, ``dicom``
``registry``         ``data_sets``: DataDEL; ``entries``, each a ``data_set``, read by ``readers``
``check``            what of the registry is there, missing, corrupt or off in count
``build``            ``scan``, ``build``: one manifest of a folder, of shards, of many data sets
``splits``           lists of splits and groups; by ``dealing``, with what looks ``alike``
``images``           ``load_image``: a file becomes a square of pixels
``left_out``         what a scan left out and noticed, counted; by ``survey``
``masks``            ``load_mask``; what its numbers mean in the whole set: ``mask_census``
``made``             ``make_frames``: made colonoscopy videos, for those without data
===================  ================================================================

Nothing is imported here, since the parts need different libraries.
"""
