"""The probe: what is learnt from the selected samples alone, on features that stay as they are.

Pre-training is not repeated for each selection: a small model is trained on what was kept, many
times, and told what was held out. That takes seconds, and shows what a selection holds.

==================  ================================================================================
``probe``           from samples to scores, of classes and of masks
``labels``          the class and the group of each sample, from a manifest or from files
``deals``           which samples are held out, which are the pool, draw by draw
``choose``          what the selectors keep of the pool of a draw
``classifiers``     nearest neighbours, a linear model, a small network
``classification``  each selection of each draw learnt from, and asked for what was held out
``segmentation``    the same with masks: a head on the tokens of a frozen encoder
``measures``        scores of all draws, with the test samples drawn anew
``table``           ``probe.json``: scores, differences and what is to be said of them
==================  ================================================================================
"""
