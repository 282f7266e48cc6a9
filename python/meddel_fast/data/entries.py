"""The entries of the registry, in the order of the paper's table 1: downstream.

The paper's columns (year, division, tasks, centres, videos, frames) are the paper's own figures.
The rest - releases' counts and layouts, terms, citations - is from public sources, without the
releases at hand: what no source was found for is marked "unverified", and a count that we do not
know is None.
"""

from __future__ import annotations

from dataclasses import replace

from meddel_fast.data.entries_pretraining import PRETRAINING
from meddel_fast.data.readers.classes import Annotated, Plain
from meddel_fast.data.readers.numbers import Numbered
from meddel_fast.data.readers.pairs import Pairs, SameFolder
from meddel_fast.data.registry import Citation, DataSet, Part

_POLYPS = "images/ and masks/, one mask of the same name an image"
_PRANET = "polyp collection of PraNet (github.com/DengPingFan/PraNet)"
_ONLY_RESEARCH = "research and education only; no commercial use"
_SEGMENT = ("segmentation",)
_LOCALISE = ("segmentation", "detection", "localisation")

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

# A split that goes around as lists beside the images.
_TRAIN_VAL = (("train.txt", "train"), ("val.txt", "val"))

CVC_CLINICDB = DataSet(
    key="cvc-clinicdb",
    name="CVC-ClinicDB",
    year=2015,
    division="downstream",
    tasks=_SEGMENT,
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
    terms=_ONLY_RESEARCH,
    home="https://polyp.grand-challenge.org/CVCClinicDB/",
    download="https://polyp.grand-challenge.org/CVCClinicDB/",
    splits="none; CVC-EndoSceneStill has one, by sequence, for the same frames as CVC-612",
    layout=f"Original/ and Ground Truth/ (TIFF; a copy with PNG/ and TIF/ above them and "
    f"metadata.csv goes around); CVC-612/ with bbdd/ and gtpolyp/; or {_POLYPS}",
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
    tasks=_SEGMENT,
    centres=None,
    paper_videos=None,
    paper_frames=60,
    citation=Citation(
        "Vázquez et al.",
        "A Benchmark for Endoluminal Scene Segmentation of Colonoscopy Images",
        "Journal of Healthcare Engineering 2017:4037190",
        "10.1155/2017/4037190",
    ),
    terms=_ONLY_RESEARCH,  # unverified
    home="http://pages.cvc.uab.es/CVC-Colon/",
    download=_PRANET,
    splits="EndoScene's, by the frames' numbers: train 1-76, 98-148, 221-273, validation 77-97, "
    "209-220, 274-300, test 149-208; the 60 frames are its test part and nothing else",
    layout=f"{_POLYPS} (60 frames); the original 300: bbdd/ and gtpolyp/ in CVC-300/, which may "
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
    tasks=_SEGMENT,
    centres=None,
    paper_videos=None,
    paper_frames=380,
    citation=Citation(
        "Bernal, Sánchez, Vilariño",
        "Towards automatic polyp detection with a polyp appearance model",
        "Pattern Recognition 45(9), 2012",
        "10.1016/j.patcog.2012.03.002",
    ),
    terms=_ONLY_RESEARCH,  # unverified
    home="http://vi.cvc.uab.es/colon-qa/cvccolondb/",
    download=f"{_PRANET}; the original from its home page",
    splits="none",
    layout=f"{_POLYPS}; the original: N and its mask pN (and the contour cpN) in one folder",
    folders=("ColonDB",),
    parts=(Part("images", (Pairs(), SameFolder(prefix="p")), 380),),
    note="380 frames of 15 sequences: near duplicates; the last one looks broken and is so in the "
    "original. The frames of CVC-300 are among them: do "
    "not train on the one and test on the other",
    split="test",  # as PraNet and those after it use it
)

EAD2019 = DataSet(
    key="ead2019",
    name="EAD2019",
    year=2019,
    division="downstream",
    tasks=("endoscopic artefacts",),
    centres=6,
    paper_videos=None,
    paper_frames=2_991,
    citation=Citation(
        "Ali et al.",
        "Endoscopy artifact detection (EAD 2019) challenge dataset",
        "arXiv 1905.03209, 2019",
        "10.48550/arXiv.1905.03209",
    ),
    # Of the edition of 2020, as one source says.
    terms="CC BY-NC 3.0 on Mendeley Data; registration with the challenge",
    home="https://ead2019.grand-challenge.org/",
    download="https://doi.org/10.17632/c7fjbxcgj9",
    splits="training and test phases of the challenge",
    layout="trainingData_detection/: frames with a text file of boxes beside each; "
    "trainingData_semanticSegmentation/: 0_original_images/N and, beside that folder, masks "
    "N.tif of five pages, one a class; or folders of images and of masks",
    folders=(
        "EAD 2019",
        "EAD2019_release",
        "endoscopy-artefact-detection-_ead_-dataset",
        "trainingData_detection",
        "trainingData_semanticSegmentation",
    ),
    parts=(
        # 2,147 to train, 195 to test, 52 to test generalisation.
        Part(
            "detection",
            (
                Annotated(
                    (
                        "specularity",
                        "saturation",
                        "artifact",
                        "blur",
                        "contrast",
                        "bubbles",
                        "instrument",
                    )
                ),
            ),
            2_394,
            also=(2_147, 2_199, 2_342),
        ),
        # 475 to train, 122 to test. Pages: instrument, specularity, artefact, bubbles, saturation.
        Part(
            "segmentation",
            (
                Pairs(r"\d*originalimages", above=True, pages=True),
                Pairs(r"images|\d*originalimages", r"(segmentation)?masks?", pages=True),
            ),
            597,
            also=(475,),
        ),
    ),
    note="also cite Ali et al., Scientific Reports 10:2748, 2020; the test phases' frames are "
    "counted where they have boxes or masks as the training data have",
)

EDD2020 = DataSet(
    key="edd2020",
    name="EDD2020",
    year=2020,
    division="downstream",
    tasks=_LOCALISE,
    centres=4,
    paper_videos=None,
    paper_frames=380,
    citation=Citation(
        "Ali et al.",
        "Endoscopy disease detection challenge 2020",
        "arXiv 2003.03376, 2020",
        "10.48550/arXiv.2003.03376",
    ),
    terms="CC BY-NC 4.0; registration with the challenge",
    home="https://edd2020.grand-challenge.org/",
    download="https://dx.doi.org/10.21227/f8xg-wb80",
    splits="none in the release, which is the challenge's training phase",
    layout="originalImages/, masks/ with one file an image and class (_BE, _suspicious, _HGD, "
    "_cancer, _polyp), bbox/ with a text file an image",
    folders=(
        "EDD2020_release-I",
        "EDD2020_release-I_2020-01-15",
        "EDD2020_release-I_2020-01-15_v2_s3",
        "EndoCV2020-Endoscopy-Disease-Detection-Segmentation-subChallenge_data",
    ),
    signs=(("archive", ("originalimages", "masks", "bbox")),),
    parts=(
        Part(
            "images",
            (Pairs("originalimages", "masks", "bbox", classes=True),),
            386,
            also=(380,),
        ),
    ),
    note="386 frames in the release, 380 in its article and in the paper's table",
)

ETIS = DataSet(
    key="etis",
    name="ETIS-Larib",
    year=2014,
    division="downstream",
    tasks=_SEGMENT,
    centres=None,
    paper_videos=None,
    paper_frames=196,
    citation=Citation(
        "Silva et al.",
        "Toward embedded detection of polyps in WCE images for early diagnosis of colorectal "
        "cancer",
        "International Journal of Computer Assisted Radiology and Surgery 9(2), 2014",
        "10.1007/s11548-013-0926-3",
    ),
    terms=_ONLY_RESEARCH,  # unverified
    home="https://polyp.grand-challenge.org/ETISLarib/",
    download="https://polyp.grand-challenge.org/ETISLarib/",
    splits="none",
    layout=f"ETIS-LaribPolypDB/N and Ground Truth/pN (TIFF); or {_POLYPS}",
    folders=("ETIS-LaribPolypDB", "ETIS-Larib Polyp DB"),
    parts=(Part("images", (Pairs(), Pairs(".*", "groundtruth", prefix="p")), 196),),
    split="test",  # as PraNet and those after it use it
)

IMAGECLEFMED = DataSet(
    key="imageclefmed",
    name="ImageCLEFmed",
    year=2009,
    division="downstream",
    tasks=("polyp segmentation",),
    centres=1,
    paper_videos=None,
    paper_frames=66_662,
    # The paper gives the year 2009 and 66,662 frames, which is near the collection of the medical
    # retrieval tasks of these years and no polyp set; the polyp images are of later editions. Which
    # release was used could not be found out, hence no count. The article is the one it cites.
    citation=Citation(
        "Hersh, Müller, Kalpathy-Cramer",
        "The ImageCLEFmed medical image retrieval task test collection",
        "Journal of Digital Imaging 22:648-655, 2009",
        "",
    ),
    terms="registration with ImageCLEF; see the task's page",  # unverified
    home="https://www.imageclef.org/2023",
    download="https://github.com/simula/ImageCLEFmed-MEDVQA-GI-2023",
    splits="development and test sets of the task",
    # Names of masks, and zips within a zip: unverified.
    layout=f"{_POLYPS} (MEDVQA-GI 2023); also in zips within a zip",
    folders=(
        "ImageCLEFmedical",
        "ImageCLEF",
        "ImageCLEFmed GI",
        "ImageCLEFmed-MEDVQA-GI-2023-Development-Dataset",
        "ImageCLEFmed-MEDVQA-GI-2023",
    ),
    parts=(Part("images", (Pairs("images?", "masks?"),)),),
    note="which edition the paper used is unclear: its count is that of no polyp set known to "
    "us. The one with masks is MEDVQA-GI 2023 (2,000 images to develop on), whose masks are "
    "those of Hyper-Kvasir's segmented images, so of Kvasir-SEG, and of Kvasir-Instrument: do "
    "not train on the one and test on the other",
)

KVASIR_INSTRUMENT = DataSet(
    key="kvasir-instrument",
    name="Kvasir-Instrument",
    year=2021,
    division="downstream",
    tasks=_LOCALISE,
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
    layout=f"{_POLYPS}, boxes in JSON, train.txt and test.txt; images.tar.gz and masks.tar.gz, as "
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
    tasks=_LOCALISE,
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
    layout=f"{_POLYPS}, boxes in kavsir_bboxes.json",
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
    tasks=_LOCALISE,
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
    layout=f"{_POLYPS}, boxes in JSON",
    folders=("sessile-main-Kvasir-SEG", "sessile"),
    parts=(Part("images", (Pairs(splits=_TRAIN_VAL),), 196),),
    note="196 of the images of Kvasir-SEG: do not train on the one and test on the other",
)

POLYPGEN = DataSet(
    key="polypgen",
    name="PolypGen2021",
    year=2021,
    division="downstream",
    tasks=("polyp segmentation",),
    centres=6,
    paper_videos=None,
    paper_frames=3_762,
    citation=Citation(
        "Ali et al.",
        "A multi-centre polyp detection and segmentation dataset for generalisability assessment",
        "Scientific Data 10:75, 2023",
        "10.1038/s41597-023-01981-y",
    ),
    terms="CC BY 4.0; registration with Synapse",
    home="https://doi.org/10.1038/s41597-023-01981-y",
    download="https://www.synapse.org/Synapse:syn26376615",
    splits="none in the release",
    layout="data_C1 ... data_C6 with images_Cn/, masks_Cn/ (name_mask), bbox_Cn/; sequenceData/ "
    "with positive/ and negativeOnly/, a folder a sequence; a copy has positive/ and negative/, "
    "each with images/ and masks/",
    folders=("PolypGen", "PolypGen2021_MultiCenterData", "PolypGen2021_MultiCenterData_v3"),
    parts=(
        Part(
            "single frames",
            (Pairs(r"images(c[1-6])", r"masksc[1-6]", r"bboxc[1-6]", suffix="_mask"),),
            1_537,
        ),
        Part(
            "positive sequences",
            (
                Pairs(
                    r"images(seq\d+)",
                    r"masksseq\d+",
                    r"bboxseq\d+",
                    suffix="_mask",
                    within="positive",
                ),
            ),
            2_225,
        ),
        Part(
            "negative sequences", (Plain("negativeonly", sequences=True, boxes_empty=True),), 4_275
        ),
    ),
    copies=(
        (
            Part("positive frames", (Pairs(within="positive"),), 3_762),
            Part("negative frames", (Pairs(within="negative"),), 4_275),
        ),
    ),
    signs=(("archive", ("positive", "negative", "images", "masks")),),
    note="the paper's 3,762 frames are the single frames and the positive sequences",
)

ENTRIES = (
    *PRETRAINING,
    CVC_CLINICDB,
    CVC_300,
    CVC_COLONDB,
    EAD2019,
    EDD2020,
    ETIS,
    IMAGECLEFMED,
    KVASIR_INSTRUMENT,
    KVASIR_SEG,
    KVASIR_SESSILE,
    POLYPGEN,
)
