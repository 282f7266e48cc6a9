"""The entries of the registry, in the order of the paper's table 1: downstream.

The paper's columns (year, division, tasks, centres, videos, frames) are the paper's own figures.
The rest - releases' counts and layouts, terms, citations - was written down without the releases at
hand: what is less than certain is marked "unverified", and a count that we do not know is None.
"""

from __future__ import annotations

from meddel_fast.data.entries_pretraining import PRETRAINING
from meddel_fast.data.readers.classes import Annotated, Plain
from meddel_fast.data.readers.pairs import Pairs, SameFolder
from meddel_fast.data.registry import Citation, DataSet, Part

_POLYPS = "images/ and masks/, one mask of the same name an image"
_PRANET = "polyp collection of PraNet (github.com/DengPingFan/PraNet)"
_ONLY_RESEARCH = "research and education only; no commercial use"
_SEGMENT = ("segmentation",)
_LOCALISE = ("segmentation", "detection", "localisation")

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
    splits="none",
    layout=f"Original/ and Ground Truth/ (TIFF; a copy with PNG/ and TIF/ above them and "
    f"metadata.csv goes around); or {_POLYPS}",
    folders=("CVC-ClinicDB", "CVC-612"),
    parts=(
        Part(
            "images",
            (Pairs("original", "groundtruth", table="metadata.csv", one=True), Pairs()),
            612,
        ),
    ),
    note="612 frames of 29 sequences: near duplicates, keep a sequence in one split. The paper's "
    "table calls it CVC-12k / CVC-ClinicDB",
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
    splits="the 60 frames are a test set",
    layout=f"{_POLYPS} (60 frames); the original 300: bbdd/ and gtpolyp/",
    folders=("CVC-EndoSceneStill", "EndoScene"),
    parts=(
        # bbdd/ and gtpolyp/: unverified.
        Part("images", (Pairs(), Pairs("bbdd", "gtpolyp")), 60, also=(300,)),
    ),
    note="the paper's 60 frames are the part of the original 300 that PraNet tests on",
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
    layout=f"{_POLYPS} (380 frames); the original 300: N and its mask pN in one folder",
    folders=("ColonDB",),
    parts=(
        # N beside pN: unverified.
        Part(
            "images",
            (Pairs(), SameFolder(prefix="p")),
            380,
            also=(300,),
        ),
    ),
    note="the original release has 300 frames; 380 is the copy in PraNet's collection",
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
    terms="see the home page; registration with the challenge",  # unverified
    home="https://ead2019.grand-challenge.org/",
    download="https://ead2019.grand-challenge.org/",
    splits="training and test phases of the challenge",
    layout="frames with a text file of boxes beside each; folders of images and of masks",
    folders=("EAD 2019", "EAD2019_release"),
    parts=(
        # How the 2,991 are spread over detection, segmentation and generalisation: unverified.
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
        ),
        Part("segmentation", (Pairs("images|originalimages", "masks?"),), optional=True),
    ),
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
    terms="see the home page; registration with the challenge",  # unverified
    home="https://edd2020.grand-challenge.org/",
    download="https://dx.doi.org/10.21227/f8xg-wb80",  # unverified
    splits="training and test phases of the challenge",
    layout="originalImages/, masks/ with one file an image and class (_BE, _suspicious, _HGD, "
    "_cancer, _polyp), bbox/ with a text file an image",
    folders=("EDD2020_release-I", "EDD2020_release-I_2020-01-15"),
    parts=(
        Part(
            "images",
            # The text files in bbox/: unverified.
            (Pairs("originalimages", "masks", "bbox", classes=True),),
            386,
            also=(380,),
        ),
    ),
    note="386 frames in the release, 380 in the paper's table",
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
    parts=(Part("images", (Pairs(), Pairs("etislaribpolypdb", "groundtruth", prefix="p")), 196),),
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
    # release was used could not be found out, hence no count and no article to cite.
    citation=Citation("ImageCLEF organisers", "ImageCLEFmed", "ImageCLEF", ""),
    terms="registration with ImageCLEF; see the task's page",
    home="https://www.imageclef.org/",
    download="https://www.imageclef.org/",
    splits="development and test sets of the task",
    layout=f"{_POLYPS}; also in zips within a zip",
    folders=("ImageCLEFmedical", "ImageCLEF", "ImageCLEFmed GI"),
    parts=(Part("images", (Pairs("images?", "masks?"),)),),
    note="which edition the paper used is unclear: its count is that of no polyp set known to us",
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
    terms="research and education; commercial use by permission",  # unverified
    home="https://datasets.simula.no/kvasir-instrument/",
    download="https://datasets.simula.no/kvasir-instrument/",
    splits="train.txt (472) and test.txt (118)",
    layout=f"{_POLYPS}, boxes in JSON, train.txt and test.txt; images and masks also as archives",
    folders=(),
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
    splits="none in the release; Medico 2020 trains on 880 and tests on 120",
    layout=f"{_POLYPS}, boxes in kavsir_bboxes.json",
    folders=("Kvasir SEG",),
    parts=(Part("images", (Pairs(),), 1_000),),
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
    terms="research and education; commercial use by permission",  # unverified
    home="https://datasets.simula.no/kvasir-seg/",
    download="https://datasets.simula.no/kvasir-seg/",
    splits="none",
    layout=f"{_POLYPS}, boxes in JSON",
    folders=("sessile-main-Kvasir-SEG", "sessile"),
    parts=(Part("images", (Pairs(),), 196),),
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
    terms="CC BY 4.0; registration with Synapse",  # unverified
    home="https://doi.org/10.1038/s41597-023-01981-y",
    download="https://www.synapse.org/Synapse:syn26376615",
    splits="none in the release",
    layout="data_C1 ... data_C6 with images_Cn/, masks_Cn/ (name_mask), bbox_Cn/; sequenceData/ "
    "with positive/ and negativeOnly/, a folder a sequence",
    folders=("PolypGen", "PolypGen2021_MultiCenterData", "PolypGen2021_MultiCenterData_v3"),
    parts=(
        Part(
            "single frames",
            (Pairs(r"images(c[1-6])", r"masksc[1-6]", r"bboxc[1-6]", suffix="_mask"),),
            1_537,
        ),
        # Folders and names below sequenceData/, and the text files of boxes: unverified.
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
        Part("negative sequences", (Plain("negativeonly", boxes_empty=True),), 4_275),
    ),
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
