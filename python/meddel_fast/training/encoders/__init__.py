"""Encoders as the stages use them.

===================  =============================================================================
``vit``              built or loaded, asked for tokens
``plugged``          those of other packages; one loader for all that embed
``files``            a model of transformers read from its files, with what is wrong named
``layout``           what an encoder's answer holds, told by one pass
``image_processor``  what its own image processor does with pixels
===================  =============================================================================
"""
