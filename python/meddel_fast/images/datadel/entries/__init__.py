"""The entries of the registry: a data set each, put in the order of the paper in `registry`.

===============  ==============================================================
``pretraining``  GastroVision, Hyper-Kvasir, Kvasir-Capsule
``cvc``          CVC-ClinicDB, CVC-300, CVC-ColonDB
``kvasir``       Kvasir-Instrument, Kvasir-SEG, Kvasir-Sessile
``challenges``   EAD2019, EDD2020, ETIS-Larib, ImageCLEFmed, PolypGen2021
``collections``  PraNet's collection of several of them
``phrases``      words that several entries share
===============  ==============================================================

The paper's columns (year, division, tasks, centres, videos, frames) are the paper's own figures.
The rest - releases' counts and layouts, terms, citations - is from public sources, without the
releases at hand: what no source was found for is marked "unverified", and a count that we do not
know is None.
"""
