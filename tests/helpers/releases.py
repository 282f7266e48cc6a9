"""Made trees in the layouts of the releases, each image with a number that its mask tells too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from containers import encoded, frame
from made_release import (
    HEIGHT,
    WIDTH,
    Release,
    folders,
    mask_file,
    named,
    pages_file,
    pairs,
    with_boxes,
)
from PIL import Image


def gastrovision() -> Release:
    made = Release()
    for n, label in enumerate(["Colon polyps", "Ulcer", "Ulcer", "Cecum"]):
        made.image(f"Gastrovision/{label}/{n}.jpg", label=label)
    return made


def gastrovision_osf() -> Release:
    """As OSF's archive is unpacked: a folder in a folder, and one of figures."""
    made = gastrovision().moved("Gastrovision/Gastrovision")
    for n in range(2):
        made.other(f"Gastrovision/Wiki images/fig {n}.png", "no class: a figure in Wiki images")
    made.files["Gastrovision/README.md"] = b"# read me"
    return made


def hyper_kvasir() -> Release:
    made = Release()
    listed = ["Video file,Organ,Finding,Classification"]
    top = "hyper-kvasir"
    for n, label in enumerate(["cecum", "polyps", "polyps"]):
        made.image(f"{top}/labeled-images/lower-gi-tract/sort/{label}/a{n}.jpg", "labelled images",
                   label=label, group="", masked=False)  # fmt: skip
        listed.append(f"a{n},Lower GI,{label},sort")
    made.files[f"{top}/labeled-images/image-labels.csv"] = "\n".join(listed).encode()
    for n in range(2):
        made.image(f"{top}/unlabeled-images/images/u{n}.jpg", "unlabelled images", group="")
    for n in range(2):
        made.image(f"{top}/segmented-images/images/s{n}.jpg", "segmented images",
                   f"{top}/segmented-images/masks/s{n}.jpg")  # fmt: skip
    return made


def kvasir_capsule(kind: str) -> Release:
    made = Release()
    rows = []
    for n, label in enumerate(["Angiectasia", "Polyp", "Normal clean mucosa"]):
        boxes: list[list[int]] = [[1, 2, 20, 22]] if n < 2 else []
        made.image(f"Kvasir-Capsule/labelled_images/{label}/v{n}_{n}.jpg", "labelled images",
                   label=label, group=f"v{n}", frame=10 * n, boxes=boxes)  # fmt: skip
        corners = [1, 2, 20, 2, 20, 22, 1, 22] if boxes else [""] * 8
        names = [f"{axis}{i}" for i in range(1, 5) for axis in "xy"]
        row = {"filename": f"v{n}_{n}.jpg", "video_id": f"v{n}", "frame_number": 10 * n}
        rows.append(row | {"finding_class": label} | dict(zip(names, corners, strict=True)))
    if kind == "json":
        made.files["Kvasir-Capsule/metadata.json"] = json.dumps(rows).encode()
    else:
        lines = [";".join(rows[0]), *(";".join(map(str, row.values())) for row in rows)]
        made.files["Kvasir-Capsule/metadata.csv"] = "\n".join(lines).encode()
    return made


def kvasir_capsule_osf() -> Release:
    """With both tables, the JSON as it is: by video. An image may have a row for each finding."""
    made = kvasir_capsule("csv")
    path = "Kvasir-Capsule/labelled_images/Polyp/v1_1.jpg"
    made.facts[path]["boxes"] = [[1, 2, 20, 22], [5, 3, 9, 8]]
    made.files["Kvasir-Capsule/metadata.csv"] += b"\nv1_1.jpg;v1;10;Polyp;5;3;9;3;9;8;5;8"
    made.files["Kvasir-Capsule/metadata.json"] = json.dumps(_by_video(made)).encode()
    return made


def kvasir_capsule_by_video() -> Release:
    """With the JSON alone: frames come from the names."""
    made = kvasir_capsule_osf()
    del made.files["Kvasir-Capsule/metadata.csv"]
    for told in made.facts.values():
        told["frame"] = told["number"]
    return made


def _by_video(made: Release) -> dict[str, Any]:
    videos: dict[str, Any] = {}
    for path, told in made.facts.items():
        video, _, number = Path(path).stem.partition("_")
        findings = {
            str(n): {
                "metadata": {"pillcam_subtype": told["label"]},
                "frames": {
                    number: {"shape": [{"x": x, "y": y} for x in (x0, x1) for y in (y0, y1)]}
                },
            }
            for n, (x0, y0, x1, y1) in enumerate(told["boxes"])
        }
        videos[video] = {"metadata": {}, "segments": {}, "findings": findings}
    return videos


def cvc_clinicdb(kinds: tuple[str, ...]) -> Release:
    made = Release()
    for n in range(1, 5):
        for at, kind in enumerate(kinds):
            top = f"CVC-ClinicDB/{kind.upper()}" if len(kinds) > 1 else "CVC-ClinicDB"
            image, mask = f"{top}/Original/{n}.{kind}", f"{top}/Ground Truth/{n}.{kind}"
            if at == 0:
                told = {"group": str(1 + n // 3), "frame": n} if len(kinds) > 1 else {}
                number = made.image(image, mask=mask, **told)
            else:
                made.files[image] = encoded(Image.fromarray(frame(number, WIDTH, HEIGHT)))
                made.files[mask] = mask_file(mask, range(number + 1))
    if len(kinds) > 1:
        rows = [
            "frame_id,sequence_id,png_image_path",
            *(f"{n},{1 + n // 3},x" for n in range(1, 5)),
        ]
        made.files["CVC-ClinicDB/metadata.csv"] = "\n".join(rows).encode()
    return made


def cvc_clinicdb_kaggle() -> Release:
    made = cvc_clinicdb(("png", "tif")).moved("archive")
    made.files["archive/class_dict.csv"] = b"name,r,g,b\npolyp,255,255,255\n"
    return made


def endoscene(mine: str) -> Release:
    """CVC-300/ and CVC-612/ side by side; what is told is about one of them."""
    top = "CVC-EndoSceneStill"
    splits = {
        "CVC-300": {1: "train", 97: "val", 149: "test", 300: "val"},
        "CVC-612": {1: "test", 26: "train", 103: "val", 612: "train"},
    }
    groups = {1: "1", 26: "2", 103: "5", 612: "29"}
    made = Release()
    for part, told in splits.items():
        kind = "bmp" if part == "CVC-300" else "tif"
        for n, split in told.items():
            image, mask = f"{top}/{part}/bbdd/{n}.bmp", f"{top}/{part}/gtpolyp/{n}.{kind}"
            made.files[f"{top}/{part}/gtlumen/{n}.{kind}"] = mask_file(f"x.{kind}", range(3))
            if part == mine:
                group = {"group": groups[n], "frame": n} if part == "CVC-612" else {}
                made.image(image, mask=mask, split=split, **group)
            else:
                made.other(image)
                made.files[mask] = mask_file(mask, range(2))
    return made


def colondb_original() -> Release:
    """Contours lie beside images and masks."""
    made = folders("CVC-ColonDB", "", "", "tiff", "p")
    for n in range(1, 5):
        made.files[f"CVC-ColonDB/cp{n}.tiff"] = mask_file("x.tiff", range(1))
    return made


def ead2019_release() -> Release:
    """Masks of five pages, beside the folder of their images."""
    made, top = ead2019(), "EAD2019/trainingData_semanticSegmentation"
    for path in [p for p in made.files if "segmentation" in p]:
        made.files.pop(path)
        made.facts.pop(path, None)
    made = Release(
        {p.replace("/detection/", "/trainingData_detection/"): d for p, d in made.files.items()},
        {p.replace("/detection/", "/trainingData_detection/"): d for p, d in made.facts.items()},
        {"detection": 3},
    )
    for stem, mask in (("00000", "00000"), ("00000_batch2", "00000_batch2_mask"), ("9", "9")):
        number = made.image(f"{top}/0_original_images/{stem}.jpg", "segmentation", masked=True)
        made.files[f"{top}/{mask}.tif"] = pages_file(range(number + 1))
    return made


def ead2019() -> Release:
    made = Release()
    for n in range(3):
        made.image(f"EAD2019/detection/{n}.jpg", "detection", label="blur+specularity",
                   boxes=[[8, 6, 24, 18], [0, 0, 16, 12]])  # fmt: skip
        lines = b"3 0.5 0.5 0.5 0.5\n0 0.25 0.25 0.5 0.5\n"
        made.files[f"EAD2019/detection/{n}.txt"] = lines
    for n in range(3, 5):
        made.image(f"EAD2019/segmentation/originalImages/{n}.jpg", "segmentation",
                   f"EAD2019/segmentation/masks/{n}.tif")  # fmt: skip
    return made


def edd2020() -> Release:
    made, top = Release(), "EDD2020_release-I_2020-01-15"
    for n in range(3):
        number = made.image(f"{top}/originalImages/EDD_{n}.jpg", masked=True, label="BE+polyp",
                            boxes=[[1, 2, 11, 12]])  # fmt: skip
        half = (number + 1) // 2
        made.files[f"{top}/masks/EDD_{n}_BE.tif"] = mask_file("x.tif", range(half))
        made.files[f"{top}/masks/EDD_{n}_polyp.tif"] = mask_file("x.tif", range(half, number + 1))
        made.files[f"{top}/bbox/EDD_{n}.txt"] = b"1 2 11 12 BE\n"
    return made


def kvasir_instrument() -> Release:
    made = with_boxes(pairs("kvasir-instrument", "jpg", "png", 5), "kvasir-instrument/bboxes.json")
    for image, facts in made.facts.items():
        facts["split"] = "test" if Path(image).stem == "4" else "train"
    made.files["kvasir-instrument/train.txt"] = b"0\n1\n2\n3\n"
    made.files["kvasir-instrument/test.txt"] = b"4\n"
    return made


def kvasir_instrument_kaggle() -> Release:
    """A folder more around the images and around the masks; the tables stay where they are."""
    made, moved = kvasir_instrument(), {}
    for path in made.files:
        folder, _, name = path.removeprefix("kvasir-instrument/").rpartition("/")
        moved[path] = f"archive/{folder}/{folder}/{name}" if folder else f"archive/{name}"
    return Release(
        {moved[path]: data for path, data in made.files.items()},
        {moved[path]: told for path, told in made.facts.items()},
        made.parts,
    )


def kvasir_seg_lists(top: str, lists: str) -> Release:
    """The authors' lists: training and validation, names without suffix and with."""
    told = {f"cju{n}": {"split": "val" if n == 3 else "train"} for n in range(4)}
    made = named(top, told, kind="jpg")
    made.files[f"{lists}/train.txt"] = b"cju0\ncju1.jpg\r\nimages/cju2.jpg\n"
    made.files[f"{lists}/val.txt"] = b"cju3"
    return made


def polypgen_release(odd: str) -> Release:
    """One name has a sign that its mask lacks; boxes have the mask's name in some centres."""
    made, top = polypgen(), "PolypGen2021_MultiCenterData_v3"
    stem = f"C3_EndoCV2021_00489{odd}"
    made.image(f"{top}/data_C3/images_C3/{stem}.jpg", "single frames",
               f"{top}/data_C3/masks_C3/C3_EndoCV2021_00489_mask.jpg", group="c3",
               boxes=[[3, 4, 9, 10]])  # fmt: skip
    made.files[f"{top}/data_C3/bbox_C3/C3_EndoCV2021_00489.txt"] = b"polyp 3 4 9 10\n"
    where = f"{top}/data_C1/bbox_C1"
    made.files[f"{where}/a1_mask.txt"] = made.files.pop(f"{where}/a1.txt")
    made.image(f"{top}/data_C4/images_C4/b4.jpg", "single frames",
               f"{top}/data_C4/masks_C4/b4_mask.jpg", group="c4", boxes=[])  # fmt: skip
    made.files[f"{top}/data_C4/bbox_C4/b4_mask.txt"] = b""
    made.files[f"{top}/sequenceData/positive/seq2/masks_seq2/stray.txt"] = b"x"
    return made


def polypgen_kaggle() -> Release:
    made = Release()
    for n in range(5):
        folder = "positive" if n < 3 else "negative"
        made.image(f"archive/{folder}/images/{n}.jpg", f"{folder} frames",
                   f"archive/{folder}/masks/{n}.jpg")  # fmt: skip
    return made


def pranet_train(
    top: str = "TrainDataset", images: str = "images", masks: str = "masks"
) -> Release:
    """Names of Kvasir-SEG, and CVC-ClinicDB's numbers, whose sequences are known."""
    told: dict[Any, dict[str, Any]] = {f"cju{n}": {"group": ""} for n in range(2)}
    told |= {26: {"group": "CVC-ClinicDB 2"}, 612: {"group": "CVC-ClinicDB 29", "frame": 612}}
    stems = {stem: facts | {"part": "training", "split": "train"} for stem, facts in told.items()}
    return named(top, stems, images, masks)


def pranet_test(top: str = "TestDataset") -> Release:
    made = Release()
    for folder, stems in {
        "CVC-300": ["149", "208"], "CVC-ClinicDB": ["27", "611"], "CVC-ColonDB": ["1", "380"],
        "ETIS-LaribPolypDB": ["1"], "Kvasir": ["cju7", "cju8", "cju9"],
    }.items():  # fmt: skip
        for stem in stems:
            group = {"27": "CVC-ClinicDB 2", "611": "CVC-ClinicDB 29"}.get(stem, "")
            made.image(f"{top}/{folder}/images/{stem}.png", folder,
                       f"{top}/{folder}/masks/{stem}.png", split="test", group=group)  # fmt: skip
    return made


def polypgen() -> Release:
    made, top = Release(), "PolypGen2021_MultiCenterData_v3"
    for n in (1, 6):
        c = f"C{n}"
        made.image(f"{top}/data_{c}/images_{c}/a{n}.jpg", "single frames",
                   f"{top}/data_{c}/masks_{c}/a{n}_mask.jpg", group=c.lower(),
                   boxes=[[1, 2, 11, 12]])  # fmt: skip
        made.files[f"{top}/data_{c}/bbox_{c}/a{n}.txt"] = b"polyp 1 2 11 12\n"
    for n in (1, 2):
        where = f"{top}/sequenceData/positive/seq{n}"
        for i in range(2):
            made.image(f"{where}/images_seq{n}/s{n}_{i}.jpg", "positive sequences",
                       f"{where}/masks_seq{n}/s{n}_{i}_mask.jpg", group=f"seq{n}")  # fmt: skip
        made.image(f"{top}/sequenceData/negativeOnly/seq{n}_neg/n{n}.jpg", "negative sequences",
                   group=f"seq{n}_neg", boxes=[])  # fmt: skip
    return made


RELEASES = {
    "gastrovision": gastrovision,
    "gastrovision osf": gastrovision_osf,
    "hyper-kvasir": hyper_kvasir,
    "kvasir-capsule": lambda: kvasir_capsule("csv"),
    "kvasir-capsule json": lambda: kvasir_capsule("json"),
    "kvasir-capsule osf": kvasir_capsule_osf,
    "kvasir-capsule by video": kvasir_capsule_by_video,
    "cvc-clinicdb": lambda: cvc_clinicdb(("tif",)),
    "cvc-clinicdb both": lambda: cvc_clinicdb(("png", "tif")),
    "cvc-clinicdb plain": lambda: pairs("cvc_clinicdb", "jpg"),
    "cvc-clinicdb numbered": lambda: named(
        "CVC_ClinicDB",
        {n: {"group": g, "frame": n} for n, g in ((25, "1"), (26, "2"), (612, "29"))},
    ),
    "cvc-clinicdb kaggle": cvc_clinicdb_kaggle,
    "cvc-clinicdb endoscene": lambda: endoscene("CVC-612"),
    "cvc-300": lambda: pairs("CVC-300"),
    "cvc-300 tested": lambda: named("CVC-300", {n: {"split": "test"} for n in (149, 150, 208)}),
    "cvc-300 original": lambda: folders("CVC-300", "bbdd/", "gtpolyp/", "bmp"),
    "cvc-300 endoscene": lambda: endoscene("CVC-300"),
    "cvc-colondb": lambda: pairs("CVC-ColonDB"),
    "cvc-colondb original": colondb_original,
    "ead2019": ead2019,
    "ead2019 release": ead2019_release,
    "edd2020": edd2020,
    "etis": lambda: pairs("ETIS-LaribPolypDB"),
    "etis original": lambda: folders("ETIS-LaribPolypDB", "", "Ground Truth/", "tif", "p"),
    "etis one deeper": lambda: folders(
        "ETIS-Larib", "ETIS-LaribPolypDB/", "GroundTruth/", "tif", "p"
    ),
    "imageclefmed": lambda: pairs("ImageCLEFmed", "jpg"),
    "imageclefmed medvqa": lambda: pairs(
        "ImageCLEFmed-MEDVQA-GI-2023-Development-Dataset", "jpg", "png"
    ),
    "kvasir-instrument": kvasir_instrument,
    "kvasir-instrument kaggle": kvasir_instrument_kaggle,
    "kvasir-seg": lambda: with_boxes(
        pairs("Kvasir-SEG", "jpg", "jpg"), "Kvasir-SEG/kavsir_bboxes.json"
    ),
    "kvasir-seg kaggle": lambda: kvasir_seg_lists("Kvasir-SEG/Kvasir-SEG", "Kvasir-SEG"),
    "kvasir-seg archive": lambda: kvasir_seg_lists("archive/Kvasir-SEG/Kvasir-SEG", "archive"),
    "kvasir-seg authors": lambda: kvasir_seg_lists("kvasir seg", "kvasir seg/Data-split"),
    "kvasir-sessile": lambda: pairs("sessile-main-Kvasir-SEG", "jpg", "jpg"),
    "polypgen": polypgen,
    "polypgen release": lambda: polypgen_release("]"),
    "polypgen release on other disks": lambda: polypgen_release("_"),
    "polypgen kaggle": polypgen_kaggle,
    "pranet train": pranet_train,
    "pranet train of one": lambda: pranet_train("Train Dataset/TrainDataset", "image", "mask"),
    "pranet test": pranet_test,
    "pranet test twice": lambda: pranet_test("TestDataset/TestDataset"),
}
"""Made releases by key of the registry and, after a space, variant of the layout."""
