"""GastroVision, Hyper-Kvasir and Kvasir-Capsule, for pre-training: entries of the registry."""

from __future__ import annotations

from meddel_fast.images.datadel.data_set import Citation, DataSet, Part
from meddel_fast.images.readers.capsule import Capsule
from meddel_fast.images.readers.classes import Classes, Plain, Videos
from meddel_fast.images.readers.pairs import Pairs

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
    terms="CC BY 4.0",  # unverified: the authors' page and code name none
    home="https://github.com/DebeshJha/GastroVision",
    download="https://osf.io/84e7f/",
    splits="none in the release of the images; lists for 22 of the classes in the authors' code",
    layout="a folder a class (27); Wiki images/ holds figures and is no class",
    folders=("Gastrovision",),
    parts=(Part("images", (Classes(apart="wikiimages"),), 8_000),),
    signs=((r"(osfstorage)?archive", ("gastrovision", "wikiimages")),),
    note="27 file names are in the folders of more than one class: a bare name does not tell an "
    "image",
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
    splits="two folds and five folds of the labelled images in the authors' code, where classes "
    "have other names than their folders; none in the release",
    layout="labeled-images/ with a folder a class and image-labels.csv, unlabeled-images/, "
    "segmented-images/ with images/, masks/ and boxes in JSON, labeled-videos/ (a folder a "
    "class) or hyper-kvasir-videos/videos/; or their zips",
    folders=(
        "hyper-kvasir-labeled-images",
        "hyper-kvasir-unlabeled-images",
        "hyper-kvasir-segmented-images",
        "hyper-kvasir-labeled-videos",
        "hyper-kvasir-videos",
        "labeled-images",
        "unlabeled-images",
        "segmented-images",
        "labeled-videos",
    ),
    parts=(
        Part(
            "labelled images",
            (Classes("(hyperkvasir)?labeledimages", "image-labels.csv"),),
            10_662,
        ),
        Part("unlabelled images", (Plain("(hyperkvasir)?unlabeledimages"),), 99_417),
        # The 1,000 images of Kvasir-SEG once more: not in the 110,079.
        Part(
            "segmented images",
            (Pairs(within="(hyperkvasir)?segmentedimages"),),
            1_000,
            optional=True,
        ),
        Part(
            "labelled videos",
            (
                Videos("(hyperkvasir)?labeledvideos", labelled=True),
                Videos("hyperkvasirvideos|videos"),
            ),
            videos=373,
            also=(374,),
        ),
    ),
    note="110,079 images are the 10,662 labelled and the 99,417 unlabelled; the segmented images "
    "are those of Kvasir-SEG, and also among the labelled polyps; the article counts 374 videos, "
    "the release 373",
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
    terms="CC BY 4.0 by the licence file and on OSF; by the home page, competitions and "
    "commercial use need a written permission",
    home="https://datasets.simula.no/kvasir-capsule/",
    download="https://osf.io/dv2ag/",
    splits="two folds in the authors' code; none in the release",
    layout="labelled_images/ with a folder a finding (they come as compressed tars, which have "
    "to be unpacked), metadata.csv and metadata.json, labelled_videos/, unlabelled_videos/; "
    "labelled or labeled",
    folders=(
        "kvasir-capsule-labeled-images",
        "kvasir-capsule-labeled-videos",
        "kvasir-capsule-unlabeled-videos",
        "kvasir-capsule-labelled-images",
        "kvasir-capsule-labelled-videos",
        "kvasir-capsule-unlabelled-videos",
    ),
    parts=(
        Part("labelled images", (Capsule("(kvasircapsule)?labell?edimages"),), 47_238),
        Part("labelled videos", (Videos("(kvasircapsule)?labell?edvideos"),), videos=43),
        Part("unlabelled videos", (Videos("(kvasircapsule)?unlabell?edvideos"),), videos=74),
    ),
    signs=((r"(osfstorage)?archive", ("labelledimages",)),),
    note="8 files are in the folders of two findings",
)
