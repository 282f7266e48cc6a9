"""Collections that others have made of the registry's data sets, in layouts of their own."""

from __future__ import annotations

from meddel_fast.images.datadel.data_set import Citation, DataSet, Part
from meddel_fast.images.datadel.entries.cvc import CLINICDB_STARTS
from meddel_fast.images.readers.frame_numbers import Numbered
from meddel_fast.images.readers.pairs import Pairs

_TRAIN = "traindataset"
_CLINICDB = Numbered(612, CLINICDB_STARTS, prefix="CVC-ClinicDB ")


def _tested(name: str, folder: str, images: int, *numbers: Numbered) -> Part:
    layout = Pairs("images?", "masks?", within=folder, apart=_TRAIN, split="test", numbers=numbers)
    return Part(name, (layout,), images, download="TestDataset")


PRANET = DataSet(
    key="pranet",
    name="PraNet",
    year=2020,
    division="collection",
    tasks=("segmentation",),
    centres=None,
    paper_videos=None,
    paper_frames=None,
    citation=Citation(
        "Fan et al.",
        "PraNet: Parallel Reverse Attention Network for Polyp Segmentation",
        "MICCAI 2020, LNCS 12266",
        "10.1007/978-3-030-59725-2_26",
    ),
    terms="those of the data sets that it consists of",
    home="https://github.com/DengPingFan/PraNet",
    download="https://github.com/DengPingFan/PraNet",
    splits="TrainDataset/ is for training; the five sets of TestDataset/ are for tests alone, "
    "whole",
    layout="TrainDataset/ with images/ (or image/) and masks/ (or mask/); TestDataset/ with "
    "CVC-300/, CVC-ClinicDB/, CVC-ColonDB/, ETIS-LaribPolypDB/ and Kvasir/, each with images/ "
    "and masks/",
    folders=("TrainDataset", "TestDataset"),
    parts=(
        Part(
            "training",
            (Pairs("images?", "masks?", within=_TRAIN, split="train", numbers=(_CLINICDB,)),),
            1_450,
            download="TrainDataset",
        ),
        _tested("CVC-300", "cvc300", 60),
        _tested("CVC-ClinicDB", "cvcclinicdb|cvc612", 62, _CLINICDB),
        _tested("CVC-ColonDB", "cvccolondb", 380),
        _tested("ETIS-LaribPolypDB", "etislaribpolypdb", 196),
        _tested("Kvasir", "kvasir(seg)?", 100),
    ),
    note="the training images are 900 of Kvasir-SEG and 550 of CVC-ClinicDB, the tests the other "
    "100 and 62 of them: frames of one sequence of CVC-ClinicDB are in both. CVC-300's frames "
    "are frames of CVC-ColonDB",
)
