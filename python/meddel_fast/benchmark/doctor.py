"""What is here of what the features need, and how to get the rest; told with numpy alone."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from meddel_fast import __version__
from meddel_fast.benchmark import survey
from meddel_fast.benchmark.machine import cuda_device, hardware
from meddel_fast.common.close_names import did_you_mean
from meddel_fast.common.errors import ConfigError
from meddel_fast.common.requirements import Requirement, installed, requirements
from meddel_fast.common.resources import free_memory

PACKAGE = "meddel-fast"
ALL = "all"  # the extra that names those for users; the others are for developers

PURPOSES = {
    "": "selection, deduplication and all other operations, on the CPU",
    "gpu": "the same on NVIDIA GPUs",
    "benchmark": "the command line, images, encoders, training, the benchmark and its report",
    "video": "frames of videos",
    "heif": "HEIC and HEIF pictures",
    "hashes": "perceptual hashes (data quality --hash)",
    "dicom": "DICOM files with compressed pixels",
    "compat": "drop-ins for other libraries",
    "remote": "data in object stores and on the web",
    "vectors": "embeddings in Zarr and Lance",
    "ray": "work spread over a Ray cluster",
}
"""What each extra is for; an extra that is not listed is told by its name alone."""

_CREDENTIALS = {
    "s3": (
        ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE"),
        ".aws/credentials",
    ),
    "gs": (
        ("GOOGLE_APPLICATION_CREDENTIALS",),
        ".config/gcloud/application_default_credentials.json",
    ),
    "az": (
        ("AZURE_STORAGE_CONNECTION_STRING", "AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_KEY",
         "AZURE_STORAGE_SAS_TOKEN", "AZURE_CLIENT_ID"),
        ".azure/msal_token_cache.json",
    ),
    "hf": (("HF_TOKEN", "HF_TOKEN_PATH"), ".cache/huggingface/token"),
}  # fmt: skip
"""By the scheme of a place: environment variables and a file in the home folder that hold a key."""


def examined(extras: tuple[str, ...] = ()) -> dict[str, Any]:
    """Look at all that features need, and at the machine.

    Parameters
    ----------
    extras
        Those that must be ready; none but the package itself if not given.

    Returns
    -------
    dict
        What ``meddel-fast doctor --json`` prints: ``healthy`` is false, ``wrong`` says why, when
        something installed is too old, a plug-in cannot be used, or something is missing of the
        package itself or of `extras`.

    Raises
    ------
    ConfigError
        There is no such extra.
    """
    found = features()
    known = [feature["extra"] for feature in found if feature["extra"]]
    for extra in extras:
        if extra not in known:
            near = did_you_mean(extra, known)
            raise ConfigError(f"a feature must be one of {', '.join(known)}, got {extra!r}{near}")
    tried = [survey.told(plugin, trouble) for plugin, trouble in survey.tried()]
    wrong = [text for feature in found for text in _wrong(feature, extras)]
    wrong += [
        f"plug-in {one['name']} of {one['package']} {one['version']}: {one['trouble']}"
        for one in tried
        if one["trouble"]
    ]
    return {
        "healthy": not wrong,
        "wrong": list(dict.fromkeys(wrong)),
        "python": platform.python_version(),
        "version": __version__,
        "features": found,
        "processor": hardware(),
        "gpu": _gpu(),
        "memory": {"free": free_memory()},
        "disks": {str(path): _disk(path) for path in _places()},
        "credentials": credentials(),
        "ray": {"version": installed("ray"), "address_set": "RAY_ADDRESS" in os.environ},
        "plugins": tried,
    }


def features() -> list[dict[str, Any]]:
    """Tell for the package itself, and for each of its extras for users, what is here and what not.

    The bounds are those of the installed metadata, so that they are those of this very version.
    """
    wanted = requirements(PACKAGE)
    extras = ["", *(extra for one in wanted if one.extra == ALL for extra in one.extras)]
    return [_feature(extra, wanted) for extra in dict.fromkeys(extras)]


def credentials() -> dict[str, bool]:
    """Tell by scheme whether a key for an object store is set or lies in its usual file.

    No value is read.
    """
    return {
        scheme: any(os.environ.get(name) for name in names) or (Path.home() / file).is_file()
        for scheme, (names, file) in _CREDENTIALS.items()
    }


def _feature(extra: str, wanted: list[Requirement]) -> dict[str, Any]:
    packages = []
    for need in _needs(extra, wanted):
        found = installed(need.name)
        state = "missing" if found is None else "ready" if need.allows(found) else "old"
        told = {"name": need.name, "wanted": need.text, "found": found, "state": state}
        packages.append(told)
    states = {package["state"] for package in packages}
    state = "old" if "old" in states else "missing" if "missing" in states else "ready"
    install = f'pip install "{PACKAGE}[{extra}]"' if extra else f"pip install {PACKAGE}"
    if state == "old":
        install = install.replace("install", "install --upgrade", 1)
    return {
        "extra": extra,
        "purpose": PURPOSES.get(extra, ""),
        "state": state,
        "install": install,
        "packages": packages,
    }


def _needs(extra: str, wanted: list[Requirement]) -> list[Requirement]:
    """List what an extra needs, with what the extras need that it names."""
    found: dict[str, Requirement] = {}
    for one in wanted:
        if one.extra != extra:
            continue
        if one.name == PACKAGE:
            for named in one.extras:
                found |= {need.name: need for need in _needs(named, wanted)}
        else:
            found[one.name] = one
    return list(found.values())


def _wrong(feature: dict[str, Any], extras: tuple[str, ...]) -> list[str]:
    """Say what of a feature makes the machine unfit."""
    must = not feature["extra"] or feature["extra"] in extras
    told = []
    for package in feature["packages"]:
        if package["state"] == "old":
            told.append(f"{package['name']} {package['found']} is not {package['wanted']}")
        elif package["state"] == "missing" and must:
            told.append(f"{package['wanted']} is missing")
    return told


def _gpu() -> dict[str, Any]:
    """Tell which GPU there is, and why none can be looked for should that fail."""
    built = find_spec("meddel_fast._cuda") is not None
    try:
        return {"device": cuda_device(), "kernels_built": built, "trouble": ""}
    except (ImportError, OSError, RuntimeError) as error:  # of a torch that is damaged
        return {"device": None, "kernels_built": built, "trouble": str(error)}


def _places() -> list[Path]:
    return list(dict.fromkeys((Path.cwd(), Path(tempfile.gettempdir()))))


def _disk(path: Path) -> dict[str, int]:
    usage = shutil.disk_usage(path)
    return {"free": usage.free, "total": usage.total}


def lines(told: dict[str, Any]) -> list[str]:
    """Put what :func:`examined` returns into lines for people."""
    shown = [f"meddel-fast {told['version']}, Python {told['python']}", ""]
    for feature in told["features"]:
        name = f"[{feature['extra']}]" if feature["extra"] else PACKAGE
        shown.append(f"{feature['state']:<8}{name:<13}{feature['purpose']}".rstrip())
        lacking = [
            f"{package['wanted']} ({package['found'] or 'not installed'})"
            for package in feature["packages"]
            if package["state"] != "ready"
        ]
        if lacking:
            shown += [f"        lacks {', '.join(lacking)}", f"        {feature['install']}"]
    machine, gpu = told["processor"], told["gpu"]
    device = gpu["device"] or "none found"
    built = "built" if gpu["kernels_built"] else "not built"
    keys = [
        f"{scheme}:// {'yes' if there else 'no'}" for scheme, there in told["credentials"].items()
    ]
    ray = told["ray"]
    at = ", RAY_ADDRESS is set" if ray["address_set"] else ""
    shown += [
        "",
        f"processor    {machine['processor']}, {machine['threads']} threads, {machine['isa']}",
        f"GPU          {device}; CUDA kernels {built}"
        + f"; {gpu['trouble']}" * bool(gpu["trouble"]),
        f"memory       {_size(told['memory']['free'])} free",
        *(
            f"disk         {_size(disk['free'])} free at {path}"
            for path, disk in told["disks"].items()
        ),
        f"credentials  {', '.join(keys)}",
        f"Ray          {ray['version'] or 'not installed'}{at}",
    ]
    for one in told["plugins"]:
        state, of = one["trouble"] or "can be used", f"{one['package']} {one['version']}"
        shown.append(f"plug-in      {one['kind']} {one['name']} of {of}: {state}")
    shown += ["", *(f"wrong: {text}" for text in told["wrong"])]
    return [*shown, "nothing is wrong"] if told["healthy"] else shown


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB"
