"""Suffixes of file names, in lower case: of images, and of files that hold images."""

IMAGES = frozenset(
    {
        ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".ppm",
        ".pgm", ".pbm", ".jp2", ".avif", ".heic", ".heif", ".hif",
    }
)  # fmt: skip
"""What counts as an image in a folder."""
HEIFS = frozenset({".heic", ".heif", ".hif"})
ARCHIVES = frozenset({".zip", ".tar"})
VIDEOS = frozenset(
    {
        ".mp4", ".m4v", ".mov", ".qt", ".avi", ".divx", ".mkv", ".webm", ".mpg", ".mpeg", ".mpe",
        ".mpv", ".m1v", ".m2v", ".m2p", ".vob", ".ts", ".mts", ".m2t", ".m2ts", ".tp", ".wmv",
        ".asf", ".3gp", ".3g2", ".flv", ".f4v", ".ogv", ".ogg", ".ogm", ".mxf", ".nut", ".gxf",
        ".wtv", ".dv", ".rm", ".rmvb", ".mjpg", ".mjpeg", ".h264", ".264", ".avc", ".h265", ".265",
        ".hevc", ".ivf", ".obu", ".y4m",
    }
)  # fmt: skip
"""By suffix; what is none by content (``.ts`` may be TypeScript) becomes a row that says so."""
DICOMS = frozenset({".dcm", ".dicom", ".dic", ".dc3", ".ima"})
HOLDERS = ARCHIVES | VIDEOS | DICOMS
PAGED = frozenset({".tif", ".tiff"})
