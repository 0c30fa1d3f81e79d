import numpy as np
import pytest

from datasets.film.grey_arithmetic import (
    counted,
    inside_border,
    looked_up,
    looks_inverted,
    robust_scale,
    stored_offsets,
    weighted_percentiles,
    window,
)


def test_weighted_percentiles_are_numpys() -> None:
    rng = np.random.default_rng(0)
    values, counts = rng.permutation(50).astype(float), rng.integers(0, 9, 50)
    percents = (0, 0.5, 33, 50, 99.5, 100)
    expected = np.percentile(np.repeat(values, counts), percents)
    np.testing.assert_allclose(weighted_percentiles(values, counts, percents), expected)
    assert np.isnan(weighted_percentiles(values, 0 * counts, percents)).all()


def test_robust_scale_of_one_value_or_none_is_black() -> None:
    values = np.arange(4.0)
    for counts in ([0, 0, 9, 0], [0, 0, 0, 0]):
        np.testing.assert_array_equal(robust_scale(values, np.array(counts)), np.zeros(4))
    np.testing.assert_array_equal(robust_scale(values, np.array([2000, 0, 0, 1])), [0, 1 / 3, 2 / 3, 1])


def test_window_steps_and_refusals() -> None:
    values = np.arange(35.0)
    np.testing.assert_array_equal(window(values, 10.5, 1), values > 10)
    extreme = window(np.array([-1e9, 1e9]), 0, 1e-3, "SIGMOID")
    np.testing.assert_allclose(extreme, [0, 1], atol=1e-12)
    for width, function in ((0.9, "LINEAR"), (0, "LINEAR_EXACT"), (-1, "SIGMOID"), (float("nan"), "LINEAR")):
        with pytest.raises(ValueError, match="width"):
            window(values, 0, width, function)
    with pytest.raises(ValueError, match="SIGMOID"):
        window(values, 0, 1, "CUBIC")


def test_lossy_overshoot_is_clipped_and_overlay_bits_are_masked() -> None:
    cells = np.array([0, 4095, 4100, 65535], np.uint16)
    np.testing.assert_array_equal(stored_offsets(cells, 12, signed=False, numeric=True), [0, 4095, 4095, 4095])
    np.testing.assert_array_equal(stored_offsets(cells, 12, signed=False), [0, 4095, 4, 4095])
    signed = np.array([-2048, -1, 2047, 2050, -2060], ">i2")
    np.testing.assert_array_equal(stored_offsets(signed, 12, signed=True, numeric=True), [0, 2047, 4095, 4095, 0])
    np.testing.assert_array_equal(stored_offsets(signed, 12, signed=True)[:3], [0, 2047, 4095])


def test_constant_border_is_cut_and_a_constant_film_is_not() -> None:
    film = np.full((9, 8), 5)
    np.testing.assert_array_equal(inside_border(film), film)
    film[3:6, 2:5] = np.arange(9).reshape(3, 3) + 10
    np.testing.assert_array_equal(inside_border(film), film[3:6, 2:5])
    film[4, 3] = 5  # a hole inside is no border
    assert inside_border(film).shape == (3, 3)


def test_polarity_hint() -> None:
    chest = np.full((200, 180), 0.6, np.float32)
    chest[:30] = 0.05  # air above the shoulders
    chest[50:140, 25:75] = chest[50:140, 110:160] = 0.2  # lungs
    chest[40:170, 78:104] = 0.9
    assert not looks_inverted(chest)
    assert looks_inverted(1 - chest)
    assert not looks_inverted(np.zeros((1, 1), np.float32))


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int16, ">i2"])
@pytest.mark.parametrize("signed", [False, True])
def test_numeric_offsets_are_those_of_wide_integers(dtype: str, signed: bool) -> None:
    information = np.iinfo(dtype)
    cells = np.linspace(information.min, information.max, 2001).astype(dtype).reshape(-1, 3)
    for bits in range(1, information.bits + 1):
        lowest = -(2 ** (bits - 1)) if signed else 0
        expected = np.clip(cells.astype(np.int64), lowest, lowest + 2**bits - 1) - lowest
        result = stored_offsets(cells, bits, signed=signed, numeric=True)
        assert result.dtype == np.uint16
        np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("shape", [(3, 700_001), (1_500_000, 1), (1, 2_500_000), (1, 1)])
def test_lookup_and_count_in_parts_are_the_whole(shape: tuple[int, int]) -> None:
    offsets = np.random.default_rng(0).integers(0, 1000, shape).astype(np.uint16)
    table = np.random.default_rng(1).random(1000).astype(np.float32)
    np.testing.assert_array_equal(looked_up(table, offsets), table[offsets])
    np.testing.assert_array_equal(counted(offsets, 1000), np.bincount(offsets.ravel(), minlength=1000))
    view = offsets[:, shape[1] // 3 :]
    np.testing.assert_array_equal(counted(view, 1000), np.bincount(view.ravel(), minlength=1000))
