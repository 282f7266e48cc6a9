"""What the numbers in a data set's masks mean: one meaning for all of its files.

=============  ===================================================================================
``rule``       lesion, background, or pixels that do not count
``numbers``    the numbers that a mask's file stores
``tally``      what the files of one depth hold
``census``     what all masks hold, and what their numbers therefore mean
``decide``     the decision
=============  ===================================================================================
"""
