"""The entries of the data sets for pre-training; see `entries` for what is certain about them."""

from __future__ import annotations

from meddel_fast.data.readers.capsule import Capsule
from meddel_fast.data.readers.classes import Classes, Plain, Videos
from meddel_fast.data.readers.pairs import Pairs
from meddel_fast.data.registry import Citation, DataSet, Part

GASTROVISION = DataSet(
    key="gastrovision",
    name="GastroVision",
    year=2023,
    division="pre-training",
    tasks=("detection", "classification"),
    centres=2,
    paper_videos=None,
    paper_frames=8_000,
    citation=Citation(
        "Jha et al.",
        "GastroVision: A Multi-class Endoscopy Image Dataset for Computer Aided Gastrointestinal "
        "Disease Detection",
        "ML4MHD 2023, LNCS 14315",
        "10.1007/978-3-031-47679-2_10",
    ),
    terms="CC BY 4.0",
    home="https://github.com/DebeshJha/GastroVision",
    download="https://osf.io/84e7f/",
    splits="none in the release of the images; lists for 22 of the classes in the authors' code",
    layout="a folder a class (27)",
    folders=("Gastrovision",),
    parts=(Part("images", (Classes(),), 8_000),),
)

HYPER_KVASIR = DataSet(
    key="hyper-kvasir",
    name="Hyper-Kvasir",
    year=2020,
    division="pre-training",
    tasks=("classification",),
    centres=1,
    paper_videos=374,
    paper_frames=110_079,
    citation=Citation(
        "Borgli et al.",
        "HyperKvasir, a comprehensive multi-class image and video dataset for gastrointestinal "
        "endoscopy",
        "Scientific Data 7:283, 2020",
        "10.1038/s41597-020-00622-y",
    ),
    terms="CC BY 4.0",
    home="https://datasets.simula.no/hyper-kvasir/",
    download="https://osf.io/mh9sj/",
    splits="two folds of the labelled images in the authors' code; none in the release",
    layout="labeled-images/ with a folder a class and image-labels.csv, unlabeled-images/, "
    "segmented-images/ with images/, masks/ and boxes in JSON, labeled-videos/; or their zips",
    folders=(
        "hyper-kvasir-labeled-images",
        "hyper-kvasir-unlabeled-images",
        "hyper-kvasir-segmented-images",
        "hyper-kvasir-labeled-videos",
    ),
    parts=(
        Part("labelled images", (Classes("labeledimages", "image-labels.csv"),), 10_662),
        Part("unlabelled images", (Plain("unlabeledimages"),), 99_417),
        # The 1,000 images of Kvasir-SEG once more: not in the 110,079.
        Part("segmented images", (Pairs(within="segmentedimages"),), 1_000, optional=True),
        Part("labelled videos", (Videos("labeledvideos", labelled=True),), videos=374),
    ),
    note="110,079 images are the 10,662 labelled and the 99,417 unlabelled; the segmented images "
    "are those of Kvasir-SEG",
)

KVASIR_CAPSULE = DataSet(
    key="kvasir-capsule",
    name="Kvasir-Capsule",
    year=2021,
    division="pre-training",
    tasks=("classification",),
    centres=1,
    paper_videos=117,
    paper_frames=47_238,
    citation=Citation(
        "Smedsrud et al.",
        "Kvasir-Capsule, a video capsule endoscopy dataset",
        "Scientific Data 8:142, 2021",
        "10.1038/s41597-021-00920-z",
    ),
    terms="CC BY 4.0",
    home="https://datasets.simula.no/kvasir-capsule/",
    download="https://osf.io/dv2ag/",
    splits="two folds in the authors' code; none in the release",
    layout="labelled_images/ with a folder a finding and metadata.csv (or .json), "
    "labelled_videos/, unlabelled_videos/",
    folders=(),
    parts=(
        # Unverified: the class folders come as compressed tars, which have to be unpacked first.
        Part("labelled images", (Capsule(),), 47_238),
        Part("labelled videos", (Videos("labelledvideos"),), videos=43),
        Part("unlabelled videos", (Videos("unlabelledvideos"),), videos=74),
    ),
)

PRETRAINING = (GASTROVISION, HYPER_KVASIR, KVASIR_CAPSULE)
