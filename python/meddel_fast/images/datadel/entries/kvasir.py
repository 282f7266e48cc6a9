"""Kvasir-Instrument, Kvasir-SEG and Kvasir-Sessile: entries of the registry."""

from __future__ import annotations

from meddel_fast.images.datadel.data_set import Citation, DataSet, Part
from meddel_fast.images.datadel.entries.phrases import LOCALISE, POLYPS
from meddel_fast.images.readers.pairs import Pairs

# A split that goes around as lists beside the images.
_TRAIN_VAL = (("train.txt", "train"), ("val.txt", "val"))

KVASIR_INSTRUMENT = DataSet(
    key="kvasir-instrument",
    name="Kvasir-Instrument",
    year=2021,
    division="downstream",
    tasks=LOCALISE,
    centres=1,
    paper_videos=None,
    paper_frames=590,
    citation=Citation(
        "Jha et al.",
        "Kvasir-Instrument: Diagnostic and Therapeutic Tool Segmentation Dataset in "
        "Gastrointestinal Endoscopy",
        "MMM 2021, LNCS 12573",
        "10.1007/978-3-030-67835-7_19",
    ),
    terms="research and education; commercial use by permission",
    home="https://datasets.simula.no/kvasir-instrument/",
    download="https://datasets.simula.no/kvasir-instrument/",
    splits="train.txt (472) and test.txt (118)",
    layout=f"{POLYPS}, boxes in JSON, train.txt and test.txt; images.tar.gz and masks.tar.gz, as "
    "they come in kvasir-instrument.zip, have to be unpacked",
    folders=(),
    signs=(("archive", ("images", "masks", "bboxes.json", "train.txt", "test.txt")),),
    parts=(Part("images", (Pairs(splits=(("train.txt", "train"), ("test.txt", "test"))),), 590),),
)

KVASIR_SEG = DataSet(
    key="kvasir-seg",
    name="Kvasir-SEG",
    year=2020,
    division="downstream",
    tasks=LOCALISE,
    centres=4,
    paper_videos=None,
    paper_frames=1_000,
    citation=Citation(
        "Jha et al.",
        "Kvasir-SEG: A Segmented Polyp Dataset",
        "MMM 2020, LNCS 11962",
        "10.1007/978-3-030-37734-2_37",
    ),
    terms="research and education; commercial use by permission. The same images in Hyper-Kvasir "
    "are CC BY 4.0",
    home="https://datasets.simula.no/kvasir-seg/",
    download="https://datasets.simula.no/kvasir-seg/",
    splits="none in the release; the authors' lists train.txt (880) and val.txt (120) are "
    "training and validation, and Medico 2020 tests on 160 images of its own. The lists are read "
    "where they lie beside the images, above them or in Data-split/",
    layout=f"{POLYPS}, boxes in kavsir_bboxes.json",
    folders=("Kvasir SEG",),
    signs=(("kvasir", ("images", "masks")),),
    parts=(Part("images", (Pairs(splits=_TRAIN_VAL),), 1_000),),
    note="images of the Kvasir collections, as in Hyper-Kvasir: pre-training and test can share "
    "images",
)

KVASIR_SESSILE = DataSet(
    key="kvasir-sessile",
    name="Kvasir-Sessile",
    year=2021,
    division="downstream",
    tasks=LOCALISE,
    centres=4,
    paper_videos=None,
    paper_frames=196,
    citation=Citation(
        "Jha et al.",
        "A Comprehensive Study on Colorectal Polyp Segmentation With ResUNet++, Conditional Random "
        "Field and Test-Time Augmentation",
        "IEEE Journal of Biomedical and Health Informatics 25(6), 2021",
        "10.1109/JBHI.2021.3049304",
    ),
    terms="research and education; commercial use by permission",
    home="https://datasets.simula.no/kvasir-seg/",
    download="https://datasets.simula.no/kvasir-seg/",
    # None in the release, boxes in JSON: unverified.
    splits="none; some copies have train.txt and val.txt, which are read",
    layout=f"{POLYPS}, boxes in JSON",
    folders=("sessile-main-Kvasir-SEG", "sessile"),
    parts=(Part("images", (Pairs(splits=_TRAIN_VAL),), 196),),
    note="196 of the images of Kvasir-SEG: do not train on the one and test on the other",
)
