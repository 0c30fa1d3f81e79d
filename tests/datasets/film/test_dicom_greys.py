"""A plain dict stands for the data set: a tag is all that these functions ask for."""

from typing import Any

import numpy as np
import pytest

from datasets.film.dicom import DicomPolicy
from datasets.film.greys import Voi, modality_values, padding_values, voi_values
from datasets.film.radiograph import RadiographError

STORED_12 = np.arange(4096.0)
WINDOW = {"WindowCenter": 100, "WindowWidth": 200}


def lut(entries: list[int] | bytes, start: int, bits: int, count: int | None = None) -> list[dict[str, Any]]:
    size = len(entries) if count is None else count
    data = entries if isinstance(entries, bytes) else np.array(entries, "<u2").tobytes()
    return [{"LUTDescriptor": [size, start, bits], "LUTData": data}]


def voi(tags: dict[str, Any], values: np.ndarray = STORED_12, preferred: Voi = "lut") -> tuple[np.ndarray, str]:
    return voi_values(tags, values, preferred, little_endian=True)


TABLE = {"VOILUTSequence": lut([0, 4095], 2000, 12)}


@pytest.mark.parametrize(
    ("preferred", "tags", "used"),
    [
        ("lut", WINDOW | TABLE, "lut"),
        ("lut", WINDOW, "LINEAR"),
        ("lut", {}, "none"),
        ("window", WINDOW | TABLE, "LINEAR"),
        ("window", TABLE, "lut"),
        ("window", {}, "none"),
        ("none", WINDOW | TABLE, "none"),
        ("lut", {"VOILUTSequence": []} | WINDOW, "LINEAR"),
        ("lut", WINDOW | {"WindowWidth": 0}, "none"),
        ("lut", WINDOW | {"WindowWidth": 0.5}, "none"),  # below 1: only LINEAR_EXACT and SIGMOID allow it
        ("lut", WINDOW | {"WindowWidth": 0.5, "VOILUTFunction": "LINEAR_EXACT"}, "LINEAR_EXACT"),
        ("lut", WINDOW | {"WindowCenter": float("nan")}, "none"),
        ("lut", WINDOW | {"VOILUTFunction": "CUBIC"}, "none"),
        ("lut", {"WindowCenter": "", "WindowWidth": []}, "none"),
        ("lut", {"WindowCenter": [100, 7], "WindowWidth": [200, 7]}, "LINEAR"),
    ],
)
def test_policy_and_its_fallback(preferred: Voi, tags: dict[str, Any], used: str) -> None:
    values, function = voi(tags, preferred=preferred)
    assert function == used
    if used == "none":
        np.testing.assert_array_equal(values, STORED_12)
    else:
        assert (values.min(), values.max()) == (0, 1)
    if used == "LINEAR":
        assert np.count_nonzero(values < 1) == 199  # 199 itself is 1; the first of several windows


def test_unknown_policy_is_refused() -> None:
    with pytest.raises(ValueError, match="lut, window, none"):
        DicomPolicy(voi="auto")  # type: ignore[arg-type]


def test_table_of_65536_entries_is_declared_as_0() -> None:
    stored = np.arange(65536.0)
    values, _ = voi({"VOILUTSequence": lut(list(range(65535, -1, -1)), 0, 16, count=0)}, stored)
    np.testing.assert_allclose(values, 1 - stored / 65535)


def test_entries_as_bytes_words_and_big_endian() -> None:
    stored, expected = np.arange(256.0), 1 - np.arange(256) / 255
    entries = list(range(255, -1, -1))
    words = [{"LUTDescriptor": [256, 0, 8], "LUTData": entries}]
    for table in (lut(bytes(entries), 0, 8), lut(entries, 0, 8), words):  # packed in pairs, a word each, US
        np.testing.assert_allclose(voi({"VOILUTSequence": table}, stored)[0], expected)
    swapped = lut(np.array(entries, ">u2").tobytes(), 0, 8, count=256)
    values, _ = voi_values({"VOILUTSequence": swapped}, stored, "lut", little_endian=False)
    np.testing.assert_allclose(values, expected)


def test_table_with_more_bits_than_declared_keeps_its_order() -> None:
    values, _ = voi({"VOILUTSequence": lut([0, 1000, 4095], 0, 8)})
    np.testing.assert_allclose(values[:3], [0, 1000 / 4095, 1])


def test_short_table_is_refused() -> None:
    for table in (lut([0, 1, 2], 0, 12, count=4), lut([0, 1], 0, 17), lut([0, 1], 0, 0)):
        with pytest.raises(RadiographError, match="lookup table"):
            voi({"VOILUTSequence": table})


def test_first_input_is_read_with_the_sign_of_the_inputs() -> None:
    stored = np.arange(-2048.0, 2048)
    tags = {"ModalityLUTSequence": lut([5, 6, 7], 65536 - 2048, 8)}  # -2048 written as US
    values, used = modality_values(tags, stored, little_endian=True)
    assert used == "lut"
    np.testing.assert_array_equal(values[:4], [5, 6, 7, 7])


def test_rescale() -> None:
    values, used = modality_values({"RescaleSlope": -2, "RescaleIntercept": 10}, STORED_12, little_endian=True)
    assert used == "rescale"
    np.testing.assert_array_equal(values, 10 - 2 * STORED_12)
    np.testing.assert_array_equal(
        modality_values({"RescaleIntercept": 3}, STORED_12, little_endian=True)[0][:2], [3, 4]
    )
    for slope in (0, float("inf"), float("nan")):
        with pytest.raises(RadiographError, match="slope not 0"):
            modality_values({"RescaleSlope": slope, "RescaleIntercept": 0}, STORED_12, little_endian=True)


@pytest.mark.parametrize(
    ("tags", "first", "last"),
    [
        ({"PixelPaddingValue": 7}, 7, 7),
        ({"PixelPaddingValue": 7, "PixelPaddingRangeLimit": 3}, 3, 7),
        ({"PixelPaddingValue": 3, "PixelPaddingRangeLimit": 7}, 3, 7),
    ],
)
def test_padding_range(tags: dict[str, Any], first: int, last: int) -> None:
    np.testing.assert_array_equal(np.flatnonzero(padding_values(tags, STORED_12)), np.arange(first, last + 1))


def test_padding_written_with_the_wrong_sign() -> None:
    stored = np.arange(65536.0)
    np.testing.assert_array_equal(np.flatnonzero(padding_values({"PixelPaddingValue": -1}, stored)), [65535])
    np.testing.assert_array_equal(np.flatnonzero(padding_values({"PixelPaddingValue": 65535}, stored - 32768)), [32767])


def test_no_padding() -> None:
    assert not padding_values({}, STORED_12).any()
    assert not padding_values({"PixelPaddingRangeLimit": 7}, STORED_12).any()  # means nothing without a value
