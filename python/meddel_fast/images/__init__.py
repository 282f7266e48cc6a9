"""Images on disk: manifests, folders of images and masks, decoding, and made data.

===================  ===============================================================================
``manifest``         the table of a data set: :class:`~meddel_fast.images.manifest.Manifest`
``folder``           ``scan_folder``: a folder of images and masks becomes a manifest
``address``          the notation for members of archives, frames of videos, pages
``sources``          any address becomes bytes or an image; by ``archive``, ``video``, ``dicom``
``registry``         ``data_sets``: DataDEL; ``entries``, each a ``data_set``, read by ``readers``
``registry_check``   what of the registry is there, missing, corrupt or off in count
``build``            ``scan``, ``build``: one manifest of a folder, of shards, of many data sets
``splits``           lists of splits and groups; ``assign_splits`` uses them, and ``look_alikes``
``shared_images``    images that two sets share: at one place, or the same file
``images``           ``load_image``: a file becomes a square of pixels
``left_out``         what a scan left out and noticed, counted; by ``accounting``
``masks``            ``load_mask``; what its numbers mean in the whole set: ``mask_census``
``picture_files``    open files of images, plain or of any depth; ``open_video``: of videos
``made``             ``make_frames``: made colonoscopy videos, drawn by ``made_scene``
===================  ===============================================================================

Nothing is imported here, since the parts need different libraries.
"""
