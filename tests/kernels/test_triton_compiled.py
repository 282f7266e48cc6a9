"""Every Triton kernel, compiled ahead of time for each kind of GPU, in every configuration.

No register spills to memory, fits into shared memory, int8 products on the tensor cores, and fp64
arithmetic that rounds as the contract says. `pytest -s` prints registers and shared memory.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest

pytest.importorskip("torch")
pytest.importorskip("triton")

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from meddel_fast.kernels import cluster_sums as sums
from meddel_fast.kernels import confirm, join, seeding, tile_max
from meddel_fast.kernels.join import Mask
from meddel_fast.kernels.screen import DENSE_WIDTH, NEVER, PREFIX_WIDTH
from meddel_fast.kernels.tuning import CONFIGS, OPTIONS, UNFUSED, Config

pytestmark = pytest.mark.skipif(triton.knobs.runtime.interpret, reason="in the interpreter")

# Compute capability: instruction of an int8 product, shared memory of a block.
TARGETS = {80: ("IMMA", 163 * 1024), 90: ("IGMMA", 227 * 1024), 100: ("UTCIMMA", 227 * 1024)}
POINTERS = {
    "code": "*i8", "dense": "*i8", "share": "*i32", "start": "*i32", "key": "*i32", "label": "*i32",
    "item": "*i32", "tiles": "*i32", "tile_count": "*i32", "pairs": "*i64", "pair_count": "*i64",
    "out": "*i32", "first": "*i64", "last": "*i64",
}  # fmt: skip
TILES = {"NEVER": NEVER, "TILE": join.TILE}
MASKED = {"MASK": int(Mask.KEY), "LABELS": True}  # holds most registers
DENSE = {"WIDTH": 6 * DENSE_WIDTH, "STEP": DENSE_WIDTH, **MASKED}


class Case(NamedTuple):
    """A kernel, its compile-time arguments, its other arguments' types, and what it is to show."""

    kernel: Any
    constants: dict[str, Any]
    types: dict[str, str]
    configs: tuple[Config, ...]
    int8: bool = False
    fused: bool = True


def of_codes(kernel: Any, constants: dict[str, Any], *configs: Config) -> Case:
    names = plain(kernel).arg_names
    ends = {n: next((POINTERS[e] for e in POINTERS if n.endswith(e)), "i32") for n in names}
    return Case(kernel, constants, {**ends, "capacity": "i64"}, configs, True)


def plain(kernel: Any) -> Any:
    return kernel.fn if hasattr(kernel, "configs") else kernel


PRODUCTS = {"i": "*i64", "j": "*i64", "out": "*fp64"}
SUMS = {"sizes": "*fp64", "weights": "*fp64", "members": "*i64", "begin": "*i64", "total": "*fp64"}
FOUR = (Config(4, 3),)
CASES = {
    "flag_tiles": of_codes(join.flag_tiles, TILES, *CONFIGS["coarse"].values()),
    "collect_pairs": of_codes(
        join.collect_pairs, {**TILES, **DENSE, "PART": 64}, *CONFIGS["dense"].values()
    ),
    "collect_pairs_of_one_screen": of_codes(
        join.collect_pairs, {**TILES, **DENSE, "PART": 64, "WIDTH": 0}, CONFIGS["dense"]["w8s3"]
    ),
    "tile_max": of_codes(
        tile_max.tile_max,
        {**DENSE, "TILE": join.TILE, "NONE": tile_max.NONE, "GROUP": tile_max.GROUP},
        *CONFIGS["dense"].values(),
    ),
    "tile_max_of_all": of_codes(
        tile_max.tile_max,
        {**DENSE, "TILE": join.TILE, "NONE": tile_max.NONE, "GROUP": 1, "WIDTH": 64, "STEP": 64},
        CONFIGS["dense"]["w8s3"],
    ),
    **{
        f"inner_products_{kind}": Case(
            confirm.inner_products,
            {"PAIRS": confirm.PAIRS, "AHEAD": confirm.AHEAD},
            {**PRODUCTS, "x": f"*{kind}", "y": f"*{kind}"},
            FOUR,
        )
        for kind in ("fp32", "fp16", "bf16", "i8")
    },
    **{
        f"sign_sums_{name}": Case(
            seeding.sign_sums,
            {"BLOCK": seeding.ROWS, "WIDTH": width, "STEP": PREFIX_WIDTH, "LISTED": listed},
            {"code": "*i8", "share": "*i32", "start": "*i32", "rows": rows, "out": "*i32"},
            FOUR,
        )
        for name, width, listed, rows in (
            ("of_all", PREFIX_WIDTH, False, "*i32"),
            ("listed", 6 * DENSE_WIDTH, True, "*i64"),
        )
    },
    "square_roots": Case(
        confirm.square_roots, {"BLOCK": 1024}, {"x": "*fp64", "out": "*fp64"}, FOUR
    ),
    "add_members": Case(
        sums.add_members,
        {
            "SCALED": True,
            "WEIGHTED": False,
            "BLOCK_ROWS": 1024,
            "WIDTH": sums.WIDTH,
            "AHEAD": sums.AHEAD,
        },
        {**SUMS, "x": "*bf16"},
        FOUR,
    ),
    **{
        f"add_weighted_members_{kind}": Case(
            sums.add_members,
            {
                "SCALED": False,
                "WEIGHTED": True,
                "BLOCK_ROWS": 1024,
                "WIDTH": sums.WIDTH,
                "AHEAD": sums.AHEAD,
            },
            {**SUMS, "x": f"*{kind}"},
            FOUR,
            fused=False,
        )
        for kind in ("fp32", "bf16", "fp64")
    },
    "add_blocks": Case(
        sums.add_blocks,
        {"BLOCK_ROWS": 1024, "BLOCKS": sums.BLOCKS, "AHEAD": sums.AHEAD},
        {"values": "*fp64", "out": "*fp64"},
        (Config(1, 3),),
    ),
}


class Built(NamedTuple):
    """What a compiled kernel takes and does."""

    registers: int
    stack: int
    shared: int
    ptx: str
    sass: str


def build(case: Case, capability: int, config: Config, folder: Path) -> Built:
    kernel = plain(case.kernel)
    types = {
        name: "constexpr" if name in case.constants else case.types.get(name, "i32")
        for name in kernel.arg_names
    }
    place = {name: (index,) for index, name in enumerate(kernel.arg_names)}
    aligned = {place[n]: [["tt.divisibility", 16]] for n, t in types.items() if t.startswith("*")}
    constants = {place[name]: value for name, value in case.constants.items()}
    done = triton.compile(
        ASTSource(kernel, types, constants, aligned),
        target=GPUTarget("cuda", capability, 32),
        options={
            "num_warps": config.warps,
            "num_stages": config.stages,
            **OPTIONS,
            **({} if case.fused else UNFUSED),
        },
    )
    (folder / "kernel.cubin").write_bytes(done.asm["cubin"])
    usage, sass = (dump(folder / "kernel.cubin", what) for what in ("resource-usage", "sass"))
    found = re.search(r"REG:(\d+) STACK:(\d+)", usage)
    assert found is not None, usage
    registers, stack = map(int, found.groups())
    return Built(registers, stack, done.metadata.shared, done.asm["ptx"], sass)


def dump(cubin: Path, what: str) -> str:
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    command = [os.fspath(tool), f"--dump-{what}", os.fspath(cubin)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def instructions(sass: str, name: str) -> int:
    return len(re.findall(rf"\s{name}[.\s]", sass))


@pytest.mark.parametrize("capability", TARGETS)
@pytest.mark.parametrize("name", CASES)
def test_compiled(
    name: str, capability: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", os.fspath(tmp_path / "cache"))
    case, (product, room) = CASES[name], TARGETS[capability]
    for config in case.configs:
        built = build(case, capability, config, tmp_path)
        spills = instructions(built.sass, "STL") + instructions(built.sass, "LDL")
        print(
            f"{name} sm_{capability} {config.warps} warps {config.stages} stages: "
            f"{built.registers} registers, {spills} spills, {built.shared} bytes shared"
        )
        assert instructions(built.sass, "EXIT") > 0
        assert (built.stack, spills) == (0, 0)
        assert built.shared <= room
        assert (instructions(built.sass, product) > 0) == case.int8
        # What rounds fp64 or flushes fp32 otherwise than the contract says.
        assert not re.search(r"\.ftz|sqrt\.approx|div\.full", built.ptx)
        if name == "square_roots":
            assert "sqrt.rn.f64" in built.ptx
        if name == "add_members":
            assert "div.rn.f64" in built.ptx
            assert "fma.rn.f64" not in built.ptx
        if name.startswith("add_weighted_members"):
            assert "mul.rn.f64" in built.ptx
            assert "fma.rn.f64" not in built.ptx
        if name.startswith("inner_products"):
            assert instructions(built.sass, "DFMA") > 0
