"""Made trees in the layouts of the releases, each image with a number that its mask tells too."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from containers import encoded, frame
from PIL import Image

WIDTH, HEIGHT = 32, 24
_KINDS = {"jpg": "JPEG", "png": "PNG", "tif": "TIFF", "tiff": "TIFF", "bmp": "BMP"}


@dataclass
class Release:
    """Files by path, and what a reader should find: by image, and how many in each part."""

    files: dict[str, bytes] = field(default_factory=dict)
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    parts: dict[str, int] = field(default_factory=dict)

    def image(self, path: str, part: str = "images", mask: str = "", **told: Any) -> int:
        """Add an image (and its mask, of n + 1 rows, for number n), and what is told about it."""
        number = len(self.facts)
        self.files[path] = encoded(Image.fromarray(frame(number, WIDTH, HEIGHT)), _kind(path))
        if mask:
            self.files[mask] = mask_file(mask, range(number + 1))
        self.facts[path] = {"number": number, "part": part, "masked": bool(mask)} | told
        self.parts[part] = self.parts.get(part, 0) + 1
        return number

    def write(self, root: Path) -> None:
        for name, data in self.files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(data)


def _kind(path: str) -> str:
    return _KINDS[path.rpartition(".")[2]]


def mask_file(path: str, rows: range) -> bytes:
    pixels = np.zeros((HEIGHT, WIDTH), np.uint8)
    pixels[rows.start : rows.stop] = 255
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, _kind(path))
    return buffer.getvalue()


def pairs(top: str, images: str = "png", masks: str = "png", count: int = 4) -> Release:
    made = Release()
    for n in range(count):
        made.image(f"{top}/images/{n}.{images}", mask=f"{top}/masks/{n}.{masks}")
    return made


def with_boxes(made: Release, path: str) -> Release:
    """Add boxes in JSON, told for images twice as large as those on disk."""
    table = {}
    for image, facts in made.facts.items():
        n = facts["number"]
        corners = {"label": "polyp", "xmin": 2 * n, "ymin": 4, "xmax": 2 * n + 20, "ymax": 30}
        sides = {"width": 2 * WIDTH, "height": 2 * HEIGHT}
        table[Path(image).stem] = sides | {"bbox": [corners]}
        facts["boxes"] = [[n, 2, n + 10, 15]]
    made.files[path] = json.dumps(table).encode()
    return made


def gastrovision() -> Release:
    made = Release()
    for n, label in enumerate(["Colon polyps", "Ulcer", "Ulcer", "Cecum"]):
        made.image(f"Gastrovision/{label}/{n}.jpg", label=label)
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
        made.image(f"{top}/unlabeled-images/images/u{n}.jpg", "unlabelled images")
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


def folders(top: str, images: str, masks: str, kind: str, prefix: str = "") -> Release:
    made = Release()
    for n in range(1, 5):
        made.image(f"{top}/{images}{n}.{kind}", mask=f"{top}/{masks}{prefix}{n}.{kind}")
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
    "hyper-kvasir": hyper_kvasir,
    "kvasir-capsule": lambda: kvasir_capsule("csv"),
    "kvasir-capsule json": lambda: kvasir_capsule("json"),
    "cvc-clinicdb": lambda: cvc_clinicdb(("tif",)),
    "cvc-clinicdb both": lambda: cvc_clinicdb(("png", "tif")),
    "cvc-clinicdb plain": lambda: pairs("cvc_clinicdb", "jpg"),
    "cvc-300": lambda: pairs("CVC-300"),
    "cvc-300 original": lambda: folders("CVC-300", "bbdd/", "gtpolyp/", "bmp"),
    "cvc-colondb": lambda: pairs("CVC-ColonDB"),
    "cvc-colondb original": lambda: folders("CVC-ColonDB", "", "", "tiff", "p"),
    "ead2019": ead2019,
    "edd2020": edd2020,
    "etis": lambda: pairs("ETIS-LaribPolypDB"),
    "etis original": lambda: folders("ETIS-LaribPolypDB", "", "Ground Truth/", "tif", "p"),
    "etis one deeper": lambda: folders(
        "ETIS-Larib", "ETIS-LaribPolypDB/", "GroundTruth/", "tif", "p"
    ),
    "imageclefmed": lambda: pairs("ImageCLEFmed", "jpg"),
    "kvasir-instrument": kvasir_instrument,
    "kvasir-seg": lambda: with_boxes(
        pairs("Kvasir-SEG", "jpg", "jpg"), "Kvasir-SEG/kavsir_bboxes.json"
    ),
    "kvasir-sessile": lambda: pairs("sessile-main-Kvasir-SEG", "jpg", "jpg"),
    "polypgen": polypgen,
}
"""Made releases by key of the registry and, after a space, variant of the layout."""
