"""What files of images hold, at full depth; nothing here knows where images come from.

=======================  =========================================================================
``picture_files``        an image file, open: which library reads it at full depth
``bit_depth``            pixels as stored, and how they become 8 bits
``image_headers``        headers of PNG, JPEG, JPEG 2000, WebP, PNM
``tiff``, ``heif``       pages of TIFF; HEIC and HEIF
``dicom``                frames of DICOM; ``dicom_head`` tells what a file is, ``dicom_display``
                         how its grey values become 8 bits
``video``                a video's frames by number; ``open_video``, one that is open
=======================  =========================================================================
"""
