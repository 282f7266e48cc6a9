"""Predictions of somebody else's model become results like those of a run.

=============  =====================================================================================
``matching``   which file is the prediction of which image
``maps``       a file as a map of probabilities, brought to the size of the truth
``pranet``     Dice and IoU as PraNet and those after it print them: means over 256 thresholds
``scoring``    one folder of predictions against the masks of a manifest
``folder``     the run directory that results are added to, one folder of predictions at a time
``tables``     its ``score/``, over the runs that all selections have
=============  =====================================================================================
"""
