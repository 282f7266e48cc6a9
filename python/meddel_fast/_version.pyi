__version__: str  # the file beside it is written by the build, from the git tag
