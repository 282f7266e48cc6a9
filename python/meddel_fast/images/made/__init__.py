"""Made colonoscopy videos with planted rubbish, for people with no data at hand.

=============  ===================================================================================
``frames``     the plan of a made set, and its files
``scene``      a camera in a folded tube of mucosa
``textures``   mottling, relief, wet gloss, vessels, sensor grain
``anatomy``    looks, folds, polyps, views
=============  ===================================================================================
"""
