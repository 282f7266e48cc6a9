"""What files of images hold, at full depth; nothing here knows where images come from.

============================================  ======================================================
``picture_files``                             an image file, open: which library reads it at full
                                              depth
``bit_depth``                                 pixels as stored, and how they become 8 bits
``image_headers``                             headers of PNG, JPEG, JPEG 2000, WebP, PNM
``tiff``, ``heif``                            pages of TIFF; HEIC and HEIF
``dicom_head``, ``dicom``, ``dicom_display``  DICOM: told by its first bytes; its frames; its grey
                                              values as 8 bits
``video``, ``open_video``                     a frame of a video by its number; one open video, how
                                              a frame is reached
============================================  ======================================================
"""
