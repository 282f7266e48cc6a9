"""Settings: what is read, what is refused, and with which words."""

from __future__ import annotations

import copy
import inspect
import json
import pickle
import subprocess
import sys
from dataclasses import FrozenInstanceError, asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pydantic")
pytest.importorskip("typer")

from typer.testing import CliRunner

from meddel_fast.benchmark.config import (
    CostConfig,
    DataConfig,
    LeakageConfig,
    ReferenceConfig,
    RunConfig,
)
from meddel_fast.benchmark.config_file import TABLES, load_config
from meddel_fast.benchmark.config_schema import file_schema, schema_text
from meddel_fast.cli import app
from meddel_fast.cli.data import build
from meddel_fast.common.errors import ConfigError
from meddel_fast.common.settings import from_table
from meddel_fast.common.toml import parse_settings, read_toml
from meddel_fast.training.settings import DownstreamConfig, EncoderConfig, PretrainConfig

ROOT = Path(__file__).parents[2]
CONFIGS = sorted([*ROOT.glob("examples/*.toml"), *ROOT.glob("configs/*.toml")])

MINIMAL = """
[run]
name = "small"
out = "runs/small"

[[data]]
name = "made"
made = {videos = 4}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "run.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_minimal_config_has_the_documented_defaults(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, MINIMAL))
    assert config.name == "small"
    assert config.out == tmp_path / "runs" / "small"
    assert config.ratios == (1.0, 0.33, 0.1, 0.05)
    assert config.selectors == ("random", "kcenter", "meddel")
    assert config.seeds == (0, 1, 2)
    assert config.alpha == 1.0
    assert config.alphas == (0.0, 0.5, 1.0, 2.0)
    assert config.repeats == 3
    assert config.cost == CostConfig()
    assert config.pretrain == PretrainConfig()
    assert config.downstream == DownstreamConfig()
    assert config.encoder == EncoderConfig()
    (data,) = config.data
    assert data.made == {"videos": 4}
    assert data.path is None
    assert (data.pretrain_splits, data.train_splits, data.test_splits) == (
        ("train",),
        ("train",),
        ("test",),
    )


def test_data_set_of_the_registry_and_its_videos(tmp_path: Path) -> None:
    text = MINIMAL.replace("made = {videos = 4}", 'path = "sets/k"\nset = "kvasir-seg"\nstride = 5')
    (data,) = load_config(write(tmp_path, text)).data
    assert (data.set, data.stride, data.scene) == ("kvasir-seg", 5, 0.0)
    for old, new, message in (
        ("stride = 5", "stride = 0", "stride must be greater than 0"),
        ("stride = 5", "scene = 1.0", r"scene must be a number in \[0, 1\)"),
        ('path = "sets/k"', "made = {videos = 4}", "set must be given with `path`"),
    ):
        with pytest.raises(ConfigError, match=message):
            load_config(write(tmp_path, text.replace(old, new)))


def test_default_architecture_is_the_papers() -> None:
    # MAE's ViT-Base: width 768, 12 layers of 12 heads; decoder 512 wide, 8 layers of 16 heads.
    config = PretrainConfig()
    assert (config.hidden_size, config.layers, config.heads) == (768, 12, 12)
    assert (config.decoder_hidden_size, config.decoder_layers, config.decoder_heads) == (512, 8, 16)
    assert (config.batch_size, config.learning_rate, config.mask_ratio) == (16, 1.5e-4, 0.75)


def test_every_field_is_read(tmp_path: Path) -> None:
    text = """
    [run]
    name = "all"
    out = "/somewhere/run"
    seed = 3
    ratios = [1.0, 0.5]
    selectors = ["kcenter", "meddel"]
    seeds = [4, 5]
    alpha = 2
    device = "cpu"
    threads = 2
    [[data]]
    name = "a"
    path = "sets/a"
    splits = "splits.csv"
    use = ["pretrain"]
    pretrain_splits = ["train", "val"]
    [[data]]
    name = "b"
    path = "/absolute/b"
    use = ["test"]
    train_splits = ["train"]
    test_splits = ["val"]
    [encoder]
    path = "some/encoder"
    pooling = "cls"
        centre = false
    image_size = 96
    batch_size = 8
    dtype = "float16"
    [selectors.meddel]
    epsilon = 0.8
    [pretrain]
    image_size = 64
    patch_size = 8
    betas = [0.9, 0.99]
    steps = 7
    warmup_steps = 0
    [downstream]
    steps = 9
    """
    config = load_config(write(tmp_path, text), data_root=tmp_path / "root")
    assert config.out == Path("/somewhere/run")
    assert (config.seed, config.ratios, config.seeds) == (3, (1.0, 0.5), (4, 5))
    assert config.alpha == 2.0
    assert isinstance(config.alpha, float)
    assert (config.device, config.threads) == ("cpu", 2)
    assert config.data[0].path == tmp_path / "root" / "sets" / "a"
    assert config.data[0].splits == tmp_path / "root" / "splits.csv"
    assert config.data[0].pretrain_splits == ("train", "val")
    assert config.data[1].path == Path("/absolute/b")
    assert config.encoder == EncoderConfig("some/encoder", 0, "cls", False, 96, 8, "float16")
    assert config.selector_options == {"meddel": {"epsilon": 0.8}}
    assert config.pretrain.betas == (0.9, 0.99)
    assert config.downstream.image_size == 64  # that of [pretrain], when it has none of its own
    assert load_config(write(tmp_path, text), out=tmp_path / "x").out == tmp_path / "x"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("[runn]\n", "top level: unknown key 'runn'; known keys: run, data, encoder"),
        ("[run]\nnmae = 1\n", "TOML"),  # a table given twice is malformed
        ("[pretrain]\nstep = 5\n", "\\[pretrain\\]: unknown key 'step'; known keys: image_size,"),
        ("[downstream]\nsteps = 'a'\n", "\\[downstream\\] steps must be a whole number, got 'a'"),
        ("[pretrain]\nsteps = 1.5\n", "steps must be a whole number, got 1.5"),
        ("[pretrain]\nsteps = true\n", "steps must be a whole number, got True"),
        ("[pretrain]\nsteps = 0\n", "steps must be greater than 0, got 0"),
        (
            "[pretrain]\nmask_ratio = 1.0\n",
            "mask_ratio must be a number between 0 and 1, both excluded",
        ),
        ("[pretrain]\nimage_size = 100\n", "image_size must be a multiple of patch_size \\(16\\)"),
        ("[pretrain]\nhidden_size = 100\n", "hidden_size must be a multiple of heads \\(12\\)"),
        ("[pretrain]\nsteps = 5\n", "warmup_steps must be 0 to 5, got 500"),
        ("[pretrain]\nbetas = [0.9]\n", "betas must be a list of 2 values"),
        (
            "[pretrain]\nbetas = [0.9, 1.0]\n",
            "betas must be a list of 2 values, two numbers in \\[0, 1\\)",
        ),
        (
            "[pretrain]\nprecision = 'fp8'\n",
            "precision must be 'auto', 'fp32' or 'bf16', got 'fp8'",
        ),
        ("[downstream]\nhead = 'dpt'\n", "head must be 'mlp', got 'dpt'"),
        ("[encoder]\npooling = 'max'\n", "pooling must be 'mean' or 'cls', got 'max'"),
        ("[selectors.d4]\nk = 1\n", "\\[selectors.d4\\] is given, but run.selectors names only"),
        ("[selectors]\nmeddel = 1\n", "\\[selectors.meddel\\] must be a table, got 1"),
        ("[[data]]\nname = 'made'\npath = 'x'\n", "\\[\\[data\\]\\] names must differ"),
        ("[[data]]\nname = 'mean'\npath = 'x'\n", "name must be other than 'mean', 'pretrain'"),
        ("[[data]]\nname = '../x'\npath = 'x'\n", "name must be letters, digits"),
        ("[[data]]\nname = 'x'\n", "path must be given, or `made`, not both"),
        ("[[data]]\npath = 'x'\n", "\\[\\[data\\]\\] 2: missing key 'name'"),
        (
            "[[data]]\nname = 'x'\npath = 'x'\nuse = ['tset']\n",
            "use must be some of",
        ),
        (
            "[[data]]\nname = 'x'\npath = 'x'\ntest_splits = ['dev']\n",
            "test_splits must be some of",
        ),
        ("[[data]]\nname = 'x'\npath = 'x'\ntest_splits = ['train']\n", "disjoint"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, change: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(write(tmp_path, MINIMAL + change))
    assert str(caught.value).startswith(str(tmp_path / "run.toml"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("ratios = [0.0]", "ratios\\[0\\] must be a fraction in \\(0, 1\\], got 0.0"),
        ("ratios = [1, 50]", "ratios\\[1\\] must be a fraction in \\(0, 1\\], got 50"),
        ("ratios = []", "ratios must be a list of at least 1, got \\[\\]"),
        ("ratios = [0.1, 0.1]", "ratios must be given, each once"),
        ("seeds = [1, 1]", "seeds must be given, each once"),
        ("selectors = []", "selectors must be a list of at least 1"),
        ("selectors = ['d2', 'd2']", "selectors must be given, each once"),
        ("threads = 0", "threads must be greater than 0"),
        ("alpha = -1", "alpha must be 0 or greater"),
        ("alpha = inf", "alpha must be a finite number, got inf"),
        ("alpha = nan", "alpha must be a finite number, got nan"),
        ("alphas = [1, -1]", "alphas\\[1\\] must be 0 or greater, got -1"),
        ("alphas = [1, 1]", "alphas must be given, each once"),
        ("repeats = 0", "repeats must be greater than 0"),
        ("seed = '1'", "seed must be a whole number"),
        ("colour = 1", "\\[run\\]: unknown key 'colour'; known keys: name, out, seed, ratios"),
    ],
)
def test_wrong_run_values(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(write(tmp_path, MINIMAL.replace("[run]", f"[run]\n{line}")))


def test_cost(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, MINIMAL + "[cost]\ncpu_watts = 20\n"))
    assert config.cost == CostConfig(cpu_watts=20.0, gpu_watts=400.0)
    with pytest.raises(ConfigError, match="\\[cost\\] gpu_watts must be 0 or greater"):
        load_config(write(tmp_path, MINIMAL + "[cost]\ngpu_watts = -1\n"))
    with pytest.raises(ConfigError, match="\\[cost\\]: unknown key 'watts'"):
        load_config(write(tmp_path, MINIMAL + "[cost]\nwatts = 1\n"))


def test_missing_pieces(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"config file not found: .*none\.toml"):
        load_config(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="missing key 'out'"):
        load_config(write(tmp_path, MINIMAL.replace('out = "runs/small"', "")))
    with pytest.raises(ConfigError, match="missing key 'name'"):
        load_config(write(tmp_path, MINIMAL.replace('name = "small"', "")))
    with pytest.raises(ConfigError, match="at least one \\[\\[data\\]\\] table is needed"):
        load_config(write(tmp_path, MINIMAL.partition("[[data]]")[0]))
    with pytest.raises(ConfigError, match='no \\[\\[data\\]\\] set has "test" in its `use`'):
        load_config(write(tmp_path, MINIMAL + 'use = ["pretrain"]\n'))
    with pytest.raises(ConfigError, match="not valid TOML"):
        load_config(write(tmp_path, "[run\n"))


def test_settings_from_assignments() -> None:
    given = ["steps=5", "learning_rate=1e-3", "crop=false", "precision=fp32", "betas=[0.8, 0.9]"]
    table = parse_settings([*given, "warmup_steps = 1"])
    config: PretrainConfig = from_table(PretrainConfig, table, "--set")
    assert (config.steps, config.learning_rate, config.crop) == (5, 1e-3, False)
    assert (config.precision, config.betas, config.warmup_steps) == ("fp32", (0.8, 0.9), 1)
    with pytest.raises(ConfigError, match="KEY=VALUE, got 'steps'"):
        parse_settings(["steps"])
    with pytest.raises(ConfigError, match="'a' is given twice"):
        parse_settings(["a=1", "a=2"])
    with pytest.raises(ConfigError, match="--set: unknown key 'stesp'"):
        from_table(PretrainConfig, {"stesp": 1}, "--set")


@pytest.mark.parametrize("name", ["quickstart", "quickstart_mae", "kvasir"])
def test_examples_are_valid(name: str) -> None:
    example = Path(__file__).parents[2] / "examples" / f"{name}.toml"
    config = load_config(example, data_root="/data")
    assert config.name == name
    assert 1.0 in config.ratios
    assert {"random", "kcenter", "meddel"} <= set(config.selectors)


def test_every_setting_has_a_default() -> None:
    for cls in (PretrainConfig, DownstreamConfig, EncoderConfig):
        assert {f.name for f in fields(cls)} == set(vars(cls()))


def test_settings_are_frozen_compared_copied_and_hashed() -> None:
    config = DownstreamConfig(224, steps=5)
    assert config == pickle.loads(pickle.dumps(config)) == copy.deepcopy(config)
    assert hash(config) == hash(replace(config)) != hash(replace(config, steps=6))
    with pytest.raises(FrozenInstanceError):
        config.steps = 7  # type: ignore[misc]
    with pytest.raises(ConfigError, match=r"^steps must be greater than 0, got 0$"):
        replace(config, steps=0)
    with pytest.raises(ConfigError, match=r"^steps must be a whole number, got '5'$"):
        DownstreamConfig(steps="5")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"^unknown key 'stesp'; known keys: image_size, head, "):
        DownstreamConfig(stesp=5)  # type: ignore[call-arg]
    with pytest.raises(ConfigError, match=r"^missing key 'path'$"):
        ReferenceConfig("name")  # type: ignore[call-arg]
    assert PretrainConfig(learning_rate=1, betas=[0, 0.5]) == PretrainConfig(  # type: ignore[arg-type]
        learning_rate=1.0, betas=(0.0, 0.5)
    )


def test_numbers_of_numpy_are_those_of_python() -> None:
    config = PretrainConfig(
        steps=np.int64(1000),  # type: ignore[arg-type]
        learning_rate=np.float32(0.5),  # type: ignore[arg-type]
        weight_decay=np.int32(1),  # type: ignore[arg-type]
        mask_ratio=np.float16(0.25),  # type: ignore[arg-type]
        betas=np.array([0.5, 0.75]),  # type: ignore[arg-type]
        crop=np.False_,  # type: ignore[arg-type]
        epochs={1.0: np.int8(3), np.float64(0.5): np.float32(1.5)},  # type: ignore[dict-item]
    )
    plain = PretrainConfig(
        steps=1000,
        learning_rate=0.5,
        weight_decay=1.0,
        mask_ratio=0.25,
        betas=(0.5, 0.75),
        crop=False,
        epochs={"1.0": 3, "0.5": 1.5},
    )
    assert json.dumps(asdict(config)) == json.dumps(asdict(plain))
    made = (DataConfig("made", made={"videos": 4}),)
    run = RunConfig(
        "small",
        Path("runs"),
        made,
        ratios=np.array([1, 0.5]),  # type: ignore[arg-type]
        seeds=np.arange(2),  # type: ignore[arg-type]
        threads=np.uint8(2),  # type: ignore[arg-type]
        leakage=LeakageConfig(np.float32(0.5)),  # type: ignore[arg-type]
    )
    assert run == RunConfig(
        "small", Path("runs"), made, ratios=(1.0, 0.5), seeds=(0, 1), threads=2,
        leakage=LeakageConfig(0.5),
    )  # fmt: skip
    assert [type(seed) for seed in run.seeds] == [int, int]
    for wrong in (np.True_, np.float64(5.0), np.array(5)):
        with pytest.raises(ConfigError, match=r"^steps must be a whole number, got "):
            PretrainConfig(steps=wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"^steps must be greater than 0, got 0$"):
        PretrainConfig(steps=np.int64(0))  # type: ignore[arg-type]


def test_types_are_kept_in_stage_keys() -> None:
    # Keys are hashes of JSON: whole numbers of epochs stay whole, other numbers become floats.
    config = PretrainConfig(weight_decay=0, epochs={"1.0": 200, "0.5": 1.5})
    assert json.dumps(config.epochs) == '{"1.0": 200, "0.5": 1.5}'
    assert json.dumps(config.weight_decay) == "0.0"


def test_the_kept_schema_is_that_of_the_settings() -> None:
    kept = (ROOT / "docs" / "meddel-fast.schema.json").read_text(encoding="utf-8")
    assert kept == schema_text(), "meddel-fast run --schema > docs/meddel-fast.schema.json"
    printed = CliRunner().invoke(app, ["run", "--schema"])
    assert (printed.exit_code, printed.output) == (0, kept)


def fields_of(table: dict[str, Any], schema: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Settings below a table of the schema, each with what is said of it."""
    if "$ref" in table:
        return fields_of(schema["$defs"][table["$ref"].rpartition("/")[2]], schema)
    if "items" in table:
        return fields_of(table["items"], schema)
    return dict(table.get("properties", {}))


def test_every_setting_is_described_in_the_schema() -> None:
    schema = file_schema()
    assert fields_of(schema, schema).keys() == {"run", *TABLES}
    classes = {
        "data": DataConfig, "encoder": EncoderConfig, "pretrain": PretrainConfig,
        "downstream": DownstreamConfig, "cost": CostConfig, "references": ReferenceConfig,
    }  # fmt: skip
    for table, cls in classes.items():
        found = fields_of(schema["properties"][table], schema)
        assert list(found) == [field.name for field in fields(cls)]
    for table in [schema, *schema["$defs"].values()]:
        assert table["description"]
        assert not table["additionalProperties"]
        assert all(said["description"].endswith(".") for said in table["properties"].values())


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_configs_name_the_schema(path: Path) -> None:
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    assert first.startswith("#:schema ")
    place = (path.parent / first.removeprefix("#:schema ")).resolve()
    assert place == ROOT / "docs" / "meddel-fast.schema.json"
    schema = file_schema()
    for name, table in read_toml(path).items():
        known = fields_of(schema["properties"][name], schema)
        for each in table if isinstance(table, list) else [table]:
            assert name == "selectors" or set(each) <= set(known)


def test_the_command_line_has_the_defaults_of_the_settings() -> None:
    parameters = inspect.signature(build).parameters
    for name in ("stride", "scene", "split", "group_by", "near_duplicates"):
        assert parameters[name].default == getattr(DataConfig, name)


def test_pydantic_is_imported_when_settings_are() -> None:
    code = "import meddel_fast.cli, sys; print('pydantic' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout == "False\n"
