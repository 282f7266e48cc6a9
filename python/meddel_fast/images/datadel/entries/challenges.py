"""EAD, EDD, ETIS-Larib, ImageCLEFmed and PolypGen, sets of challenges: entries of the registry."""

from __future__ import annotations

from meddel_fast.images.datadel.data_set import Citation, DataSet, Part
from meddel_fast.images.datadel.entries.phrases import LOCALISE, ONLY_RESEARCH, POLYPS, SEGMENT
from meddel_fast.images.readers.classes import Annotated, Plain
from meddel_fast.images.readers.pairs import Pairs

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
    tasks=LOCALISE,
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
    tasks=SEGMENT,
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
    terms=ONLY_RESEARCH,  # unverified
    home="https://polyp.grand-challenge.org/ETISLarib/",
    download="https://polyp.grand-challenge.org/ETISLarib/",
    splits="none",
    layout=f"ETIS-LaribPolypDB/N and Ground Truth/pN (TIFF); or {POLYPS}",
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
    layout=f"{POLYPS} (MEDVQA-GI 2023); also in zips within a zip",
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
