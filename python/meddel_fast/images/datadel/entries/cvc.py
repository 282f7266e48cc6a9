"""CVC-ClinicDB, CVC-300 and CVC-ColonDB, which share frames: entries of the registry."""

from __future__ import annotations

from dataclasses import replace

from meddel_fast.images.datadel.data_set import Citation, DataSet, Part
from meddel_fast.images.datadel.entries.phrases import ONLY_RESEARCH, POLYPS, SEGMENT
from meddel_fast.images.readers.frame_numbers import Numbered
from meddel_fast.images.readers.pairs import Pairs, SameFolder

_PRANET = "polyp collection of PraNet (github.com/DengPingFan/PraNet)"

# The first frames of CVC-ClinicDB's 29 sequences; EndoScene's split of them and of CVC-300.
CLINICDB_STARTS = (
    26, 51, 68, 79, 104, 127, 152, 178, 200, 206, 228, 253, 278, 298, 318, 343, 364, 384, 409, 429,
    448, 467, 479, 504, 529, 547, 572, 592,
)  # fmt: skip
_CLINICDB = Numbered(612, CLINICDB_STARTS)
_ENDOSCENE_612 = Numbered(
    612,
    CLINICDB_STARTS,
    splits=(
        ("train", ((26, 50), (104, 126), (178, 227), (253, 317), (384, 503), (529, 612))),
        ("val", ((51, 103), (228, 252), (318, 342), (364, 383))),
        ("test", ((1, 25), (127, 177), (343, 363), (504, 528))),
    ),
)
_ENDOSCENE_300 = Numbered(
    300,
    splits=(
        ("train", ((1, 76), (98, 148), (221, 273))),
        ("val", ((77, 97), (209, 220), (274, 300))),
        ("test", ((149, 208),)),
    ),
)
_TESTED_60 = Numbered(208, first=149, splits=(("test", ((149, 208),)),))

CVC_CLINICDB = DataSet(
    key="cvc-clinicdb",
    name="CVC-ClinicDB",
    year=2015,
    division="downstream",
    tasks=SEGMENT,
    centres=1,
    paper_videos=None,
    paper_frames=612,
    citation=Citation(
        "Bernal et al.",
        "WM-DOVA maps for accurate polyp highlighting in colonoscopy: Validation vs. saliency maps "
        "from physicians",
        "Computerized Medical Imaging and Graphics 43, 2015",
        "10.1016/j.compmedimag.2015.02.007",
    ),
    terms=ONLY_RESEARCH,
    home="https://polyp.grand-challenge.org/CVCClinicDB/",
    download="https://polyp.grand-challenge.org/CVCClinicDB/",
    splits="none; CVC-EndoSceneStill has one, by sequence, for the same frames as CVC-612",
    layout=f"Original/ and Ground Truth/ (TIFF; a copy with PNG/ and TIF/ above them and "
    f"metadata.csv goes around); CVC-612/ with bbdd/ and gtpolyp/; or {POLYPS}",
    folders=("CVC-ClinicDB", "CVC-612", "ClinicDB"),
    parts=(
        Part(
            "images",
            (
                Pairs(
                    "original",
                    "groundtruth",
                    table="metadata.csv",
                    numbers=(_CLINICDB,),
                    one=True,
                ),
                Pairs("bbdd", "gtpolyp", apart="cvc300", numbers=(_ENDOSCENE_612,)),
                Pairs(apart="cvc300", table="metadata.csv", numbers=(_CLINICDB,)),
            ),
            612,
        ),
    ),
    signs=(
        ("cvcendoscenestill|endoscene", ("cvc612",)),
        ("archive", ("png", "tif", "groundtruth")),
    ),
    note="612 frames of 29 sequences: near duplicates, a sequence is kept in one split; where no "
    "table tells them they are known by the frames' numbers. CVC-EndoSceneStill/CVC-612 is this "
    "set. The paper's table calls it CVC-12k / CVC-ClinicDB",
)

CVC_300 = DataSet(
    key="cvc-300",
    name="CVC-300",
    year=2017,
    division="downstream",
    tasks=SEGMENT,
    centres=None,
    paper_videos=None,
    paper_frames=60,
    citation=Citation(
        "Vázquez et al.",
        "A Benchmark for Endoluminal Scene Segmentation of Colonoscopy Images",
        "Journal of Healthcare Engineering 2017:4037190",
        "10.1155/2017/4037190",
    ),
    terms=ONLY_RESEARCH,  # unverified
    home="http://pages.cvc.uab.es/CVC-Colon/",
    download=_PRANET,
    splits="EndoScene's, by the frames' numbers: train 1-76, 98-148, 221-273, validation 77-97, "
    "209-220, 274-300, test 149-208; the 60 frames are its test part and nothing else",
    layout=f"{POLYPS} (60 frames); the original 300: bbdd/ and gtpolyp/ in CVC-300/, which may "
    "lie beside CVC-612/ in CVC-EndoSceneStill/",
    folders=("CVC-EndoSceneStill", "EndoScene"),
    parts=(
        Part(
            "images",
            (
                Pairs(apart="cvc612", numbers=(_TESTED_60, replace(_ENDOSCENE_300, whole=True))),
                Pairs("bbdd", "gtpolyp", apart="cvc612", numbers=(_ENDOSCENE_300,)),
            ),
            60,
            also=(300,),
        ),
    ),
    note="the paper's 60 frames are the part of the original 300 that PraNet tests on. The "
    "frames of CVC-300 are frames of CVC-ColonDB: a test on both counts them twice, and training "
    "on the one is training on the test of the other",
    split="test",
)

CVC_COLONDB = DataSet(
    key="cvc-colondb",
    name="CVC-ColonDB",
    year=2012,
    division="downstream",
    tasks=SEGMENT,
    centres=None,
    paper_videos=None,
    paper_frames=380,
    citation=Citation(
        "Bernal, Sánchez, Vilariño",
        "Towards automatic polyp detection with a polyp appearance model",
        "Pattern Recognition 45(9), 2012",
        "10.1016/j.patcog.2012.03.002",
    ),
    terms=ONLY_RESEARCH,  # unverified
    home="http://vi.cvc.uab.es/colon-qa/cvccolondb/",
    download=f"{_PRANET}; the original from its home page",
    splits="none",
    layout=f"{POLYPS}; the original: N and its mask pN (and the contour cpN) in one folder",
    folders=("ColonDB",),
    parts=(Part("images", (Pairs(), SameFolder(prefix="p")), 380),),
    note="380 frames of 15 sequences: near duplicates; the last one looks broken and is so in the "
    "original. The frames of CVC-300 are among them: do "
    "not train on the one and test on the other",
    split="test",  # as PraNet and those after it use it
)
