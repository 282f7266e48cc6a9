"""From single results to tables: NormDEL, intervals, differences, ranks, costs.

================  ==================================================================================
``normdel``       DEL and NormDEL, formulas (4) and (5) of arXiv 2401.17542
``score``         means, deviations, NormDEL, planted truth
``task_scores``   scores of all tasks and references
``bootstrap``     draws of runs and images, intervals
``other_scores``  intervals of Dice, and of IoU and Dice averaged over images
``verdicts``      the one rule by which a difference is told from none
``statistics``    paired differences, sweeps of alpha, areas, ranks as tables
``floors``        an untrained encoder and the empty mask, which results are held against
``selections``    the settings of every selection, and which are the same
``ranks``         average ranks, Friedman, Nemenyi
``cost``          bytes, steps, time, energy
``score_tables``  the score stage: all tables of a run
================  ==================================================================================
"""
