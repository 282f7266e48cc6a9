"""What the entries of several data sets say in the same words."""

POLYPS = "images/ and masks/, one mask of the same name an image"
ONLY_RESEARCH = "research and education only; no commercial use"
SEGMENT = ("segmentation",)
LOCALISE = ("segmentation", "detection", "localisation")
