"""Texts that the entries of several data sets share."""

POLYPS = "images/ and masks/, one mask of the same name an image"
ONLY_RESEARCH = "research and education only; no commercial use"
SEGMENT = ("segmentation",)
LOCALISE = ("segmentation", "detection", "localisation")
