"""DEL and NormDEL against the paper's Table 3, and their own properties."""

from __future__ import annotations

import math

import numpy as np
import pytest

from meddel_fast.benchmark.scores.normdel import del_score, normdel

# Shares of data by column. The paper heads the fourth column "30 %"; its numbers are those of 0.33.
RETAINED = (0.05, 0.10, 0.20, 0.33, 0.50, 1.00)

# Table 3 of arXiv 2401.17542v3 as printed, in per cent: (mIoU, NormDEL) for each share of data.
TABLE_3 = {
    "Kvasir-Instrument": [
        (79.38, 68.03),
        (79.52, 67.25),
        (80.22, 65.85),
        (80.38, 64.06),
        (80.48, 61.97),
        (79.70, 57.28),
    ],
    "Kvasir-SEG": [
        (75.45, 67.21),
        (75.74, 66.49),
        (76.37, 65.14),
        (76.03, 63.33),
        (76.77, 61.43),
        (76.02, 56.95),
    ],
    "ImageCLEFmed": [
        (70.95, 66.26),
        (71.80, 65.69),
        (71.44, 64.22),
        (72.58, 62.76),
        (71.23, 60.64),
        (72.02, 56.59),
    ],
    "ETIS": [
        (47.50, 61.11),
        (49.44, 61.00),
        (50.20, 60.13),
        (50.28, 58.94),
        (49.62, 57.47),
        (49.13, 54.51),
    ],
    "PolypGen2021": [
        (60.93, 64.10),
        (61.61, 63.59),
        (61.47, 62.32),
        (62.28, 61.01),
        (62.20, 59.32),
        (60.89, 55.58),
    ],
    "CVC-300": [
        (63.67, 64.69),
        (56.69, 62.55),
        (61.40, 62.31),
        (62.85, 61.11),
        (61.97, 59.29),
        (61.16, 55.60),
    ],
    "CVC-ClinicDB": [
        (75.24, 67.16),
        (74.58, 66.26),
        (75.27, 64.94),
        (75.50, 63.25),
        (75.49, 61.25),
        (74.95, 56.85),
    ],
    "CVC-ColonDB": [
        (69.52, 65.96),
        (68.58, 65.03),
        (69.90, 63.93),
        (71.60, 62.59),
        (69.72, 60.42),
        (69.48, 56.36),
    ],
}
CELLS = [
    pytest.param(miou, share, printed, id=f"{name}-{share:g}")
    for name, row in TABLE_3.items()
    for share, (miou, printed) in zip(RETAINED, row, strict=True)
]


def test_table_3_has_its_48_cells() -> None:
    assert len(CELLS) == 48


@pytest.mark.parametrize(("miou", "share", "printed"), CELLS)
def test_table_3_is_reproduced(miou: float, share: float, printed: float) -> None:
    # 0.01 points: the printed mIoU is itself rounded, which moves one cell by 0.0061.
    assert abs(100 * normdel(miou / 100, share) - printed) < 0.01


def test_column_30_is_not_reproduced_by_a_share_of_30_per_cent() -> None:
    column = [row[3] for row in TABLE_3.values()]
    errors = [abs(100 * normdel(miou / 100, 0.30) - printed) for miou, printed in column]
    assert min(errors) > 0.1


def test_formula_recomputed_with_math() -> None:
    for miou, share, alpha in [(0.0, 0.3, 1.0), (0.42, 0.07, 2.5), (1.0, 1.0, 0.0)]:
        expected = miou * math.exp(-alpha * share)
        assert del_score(miou, share, alpha) == pytest.approx(expected, rel=1e-15)
        assert normdel(miou, share, alpha) == pytest.approx(
            1 / (1 + math.exp(-expected)), rel=1e-15
        )


def test_arrays_broadcast_and_scalars_stay_floats() -> None:
    grid = normdel(np.array([[0.2], [0.8]]), np.array([0.05, 0.5, 1.0]))
    assert isinstance(grid, np.ndarray)
    assert grid.shape == (2, 3)
    assert grid.dtype == np.float64
    assert grid[1, 0] == normdel(0.8, 0.05)
    assert type(normdel(0.8, 0.05)) is float
    assert type(del_score(1, 0)) is float
    assert type(normdel(np.float32(0.5), 0.1)) is float


def test_bounds_and_direction() -> None:
    quality = np.linspace(0, 1, 21)[:, None]
    share = np.linspace(0, 1, 21)[None, :]
    score = normdel(quality, share)
    assert isinstance(score, np.ndarray)
    assert score.min() == 0.5
    assert score.max() == pytest.approx(1 / (1 + math.exp(-1)), rel=1e-15)
    assert (np.diff(score, axis=0) > 0).all()  # better segmentation scores higher
    assert (np.diff(score[1:], axis=1) < 0).all()  # more data scores lower
    assert (normdel(quality[1:], share[:, 1:], 2.0) < score[1:, 1:]).all()
    np.testing.assert_array_equal(normdel(quality, 0.0), normdel(quality, 1.0, 0.0))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((70.95, 0.05), "miou must be a fraction in \\[0, 1\\].*per cent.*got 70.95"),
        ((0.7, 5), "retained must be a fraction.*got 5"),
        ((float("nan"), 0.5), "miou .*got nan"),
        ((0.5, [0.1, float("nan")]), "retained .*got nan"),
        ((-0.1, 0.5), "miou .*got -0.1"),
        ((0.5, 0.5, -1.0), "alpha must be a finite number >= 0, got -1"),
        ((0.5, 0.5, float("inf")), "alpha .*got inf"),
    ],
)
def test_out_of_range_is_refused_by_name(arguments: tuple[float, ...], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        normdel(*arguments)


@pytest.mark.parametrize("value", ["0.5", True, 1j, None])
def test_not_a_number_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match="miou must be a real number"):
        normdel(value, 0.5)  # type: ignore[call-overload]


def test_the_first_offender_is_named_and_just_above_one_is_one() -> None:
    with pytest.raises(ValueError, match=r"miou must be a fraction in \[0, 1\].*, got 1\.5$"):
        normdel([0.5, 1.5, 2.5], 0.1)
    with pytest.raises(ValueError, match=r"retained .*, got 1\.0000000000000002$"):
        normdel(0.5, np.nextafter(1.0, 2.0))


def test_alpha_is_one_unless_given() -> None:
    assert del_score(0.7, 0.2) == del_score(0.7, 0.2, 1.0) != del_score(0.7, 0.2, 2.0)
    assert normdel(0.7, 0.2) == normdel(0.7, 0.2, 1.0) != normdel(0.7, 0.2, 2.0)
