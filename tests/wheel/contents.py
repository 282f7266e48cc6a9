"""A wheel holds the package and nothing else: ``python contents.py WHEEL``.

Files, sizes, metadata, and for the extensions: what they link to and which names they export.
"""

from __future__ import annotations

import fnmatch
import shutil
import subprocess
import sys
import tempfile
import zipfile
from email import message_from_bytes
from pathlib import Path

EXTENSIONS = ("_core", "_cuda")
WANTED = (
    "meddel_fast/__init__.py", "meddel_fast/_version.py", "meddel_fast/_core.pyi",
    "meddel_fast/py.typed", "meddel_fast/kernels/__init__.py",
    "meddel_fast/benchmark/report/page.css", "meddel_fast/benchmark/report/templates/page.html.j2",
    "meddel_fast/cli/__init__.py", "meddel_fast/selectors/__init__.py",
)  # fmt: skip
ALLOWED = ("*.py", "*.pyi", "*/py.typed", "*/report/templates/*.html.j2", "*/report/*.js",
           "*/report/*.css")  # fmt: skip
MOST = {"_core": 4 << 20, "_cuda": 8 << 20, "wheel": 4 << 20}  # bytes; 1.0, 1.9 and 0.9 MiB in 0.1
LIBRARIES = ("linux-vdso", "ld-linux*", "*/ld-linux*", "libc", "libm", "libdl", "librt",
             "libpthread", "libstdc++", "libgcc_s", "libc.musl-*",
             "*ld-musl-*")  # fmt: skip


def check_names(names: list[str]) -> list[str]:
    """The extensions among `names`, which must be all that belongs there and nothing more."""
    missing = [name for name in WANTED if name not in names]
    assert not missing, f"not in the wheel: {missing}"
    extensions = [n for n in names if n.endswith((".so", ".pyd"))]
    strange = [
        name
        for name in names
        if ".dist-info/" not in name
        and name not in extensions
        and not any(fnmatch.fnmatch(name, pattern) for pattern in ALLOWED)
    ]
    outside = [n for n in names if not n.startswith(("meddel_fast/", "meddel_fast-"))]
    assert not strange + outside, f"does not belong into the wheel: {strange + outside}"
    found = {Path(name).name.split(".")[0] for name in extensions}
    assert {"_core"} <= found <= set(EXTENSIONS), f"extensions: {sorted(found)}"
    return extensions


def check_extension(path: Path) -> None:
    """It is small, exports its init function alone, and links to the C and C++ runtimes alone."""
    module = path.name.split(".")[0]
    size = path.stat().st_size
    assert size <= MOST[module], f"{module} has {size} bytes, at most {MOST[module]} were expected"
    if sys.platform == "linux" and shutil.which("nm"):
        told = subprocess.run(["nm", "-D", "--defined-only", path], capture_output=True, check=True)
        exported = {line.split()[-1].decode() for line in told.stdout.splitlines()}
        assert exported == {f"PyInit_{module}"}, f"{module} exports {sorted(exported)}"
    if shutil.which("ldd"):
        told = subprocess.run(["ldd", path], capture_output=True, check=True)
        names = {line.split()[0].decode().split(".so")[0] for line in told.stdout.splitlines()}
        strange = {n for n in names if not any(fnmatch.fnmatch(n, known) for known in LIBRARIES)}
        assert not strange, f"{module} links to {sorted(strange)}"
    print(f"{module}: {size / 2**20:.2f} MiB")


def check_wheel(path: Path) -> None:
    """All of the above for one wheel."""
    with zipfile.ZipFile(path) as wheel, tempfile.TemporaryDirectory() as folder:
        names = [n for n in wheel.namelist() if not n.endswith("/")]
        for name in check_names(names):
            check_extension(Path(wheel.extract(name, folder)))
        about = next(n for n in names if n.endswith(".dist-info/METADATA"))
        metadata = message_from_bytes(wheel.read(about))
        assert any(n.endswith(("licenses/LICENSE", ".dist-info/LICENSE")) for n in names)
    needed = [r for r in metadata.get_all("Requires-Dist", []) if "extra ==" not in r]
    assert {r.split(">")[0] for r in needed} == {"numpy", "filelock"}, needed
    assert path.stat().st_size <= MOST["wheel"], f"{path.name}: {path.stat().st_size} bytes"
    print(f"{path.name}: {len(names)} files, {path.stat().st_size / 2**20:.2f} MiB")


def main() -> None:
    """Check the wheel named on the command line."""
    check_wheel(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
