"""A plain dict stands for the data set: a tag is all that these functions ask for."""

from typing import Any

import numpy as np
import pytest

from datasets.film.dicom import DicomPolicy
from datasets.film.greys import Greys, modality_values, padded_cells, padding_values, voi_values
from datasets.film.policy import Voi

STORED_12 = np.arange(4096.0)
WINDOW = {"WindowCenter": 2000, "WindowWidth": 3000}


def lut(entries: list[int] | bytes, start: int, bits: int, count: int | None = None) -> list[dict[str, Any]]:
    size = len(entries) if count is None else count
    data = entries if isinstance(entries, bytes) else np.array(entries, "<u2").tobytes()
    return [{"LUTDescriptor": [size, start, bits], "LUTData": data}]


def voi(tags: dict[str, Any], values: np.ndarray = STORED_12, preferred: Voi = "lut") -> Greys:
    return voi_values(tags, values, np.ones(len(values), int), preferred, little_endian=True)


def item(descriptor: Any, data: Any) -> dict[str, Any]:
    return {"LUTDescriptor": descriptor, "LUTData": data}


CURVE = [round(4095 * (x / 4095) ** 0.5) for x in range(4096)]
TABLE = {"VOILUTSequence": lut(CURVE, 0, 12)}
WORDS = np.array(CURVE, "<u2").tobytes()


@pytest.mark.parametrize(
    ("preferred", "tags", "used", "fallback"),
    [
        ("lut", WINDOW | TABLE, "lut", False),
        ("lut", WINDOW, "LINEAR", True),
        ("lut", {}, "none", True),
        ("window", WINDOW | TABLE, "LINEAR", False),
        ("window", TABLE, "lut", True),
        ("window", {}, "none", True),
        ("none", WINDOW | TABLE, "none", False),
        ("lut", {"VOILUTSequence": []} | WINDOW, "LINEAR", True),
        ("lut", WINDOW | {"WindowWidth": 0}, "none", True),
        ("lut", WINDOW | {"WindowWidth": 0.5}, "none", True),  # below 1: only LINEAR_EXACT and SIGMOID allow it
        ("window", WINDOW | {"VOILUTFunction": "LINEAR_EXACT"}, "LINEAR_EXACT", False),
        ("window", WINDOW | {"VOILUTFunction": "SIGMOID"}, "SIGMOID", False),
        ("lut", WINDOW | {"WindowCenter": float("nan")}, "none", True),
        ("lut", WINDOW | {"VOILUTFunction": "CUBIC"}, "none", True),
        ("lut", {"WindowCenter": "", "WindowWidth": []}, "none", True),
        ("window", {"WindowCenter": [2000, 7], "WindowWidth": [3000, 7]}, "LINEAR", False),
        # The first that can be used, in the order of the tag.
        ("window", {"WindowCenter": ["", "2000"], "WindowWidth": ["", "3000"]}, "LINEAR", True),
        ("window", {"WindowCenter": "x\\2000", "WindowWidth": "1\\3000"}, "LINEAR", True),
        ("window", {"WindowCenter": "2000,0", "WindowWidth": "3000,00"}, "LINEAR", False),
        ("window", {"WindowCenter": b"2000,5 ", "WindowWidth": b"3000,25"}, "LINEAR", False),
        ("window", {"WindowCenter": [2000, 2000], "WindowWidth": [3000]}, "LINEAR", False),
        # Windows that leave nothing of these values: beyond them, a step, one end.
        ("window", {"WindowCenter": -3000, "WindowWidth": 500}, "none", True),
        ("window", {"WindowCenter": 64, "WindowWidth": 128}, "none", True),
        ("window", {"WindowCenter": 2000, "WindowWidth": 2}, "none", True),
        ("window", {"WindowCenter": 1e6, "WindowWidth": 1e9}, "none", True),
        ("window", {"WindowCenter": [9000, 2000], "WindowWidth": [10, 3000]}, "LINEAR", True),
        ("window", {"WindowCenter": 9000, "WindowWidth": 10} | TABLE, "lut", True),
        # Tables that can't be used give way to the next one, then to the window.
        ("lut", {"VOILUTSequence": [item(None, WORDS), *lut(CURVE, 0, 12)]}, "lut", True),
        ("lut", {"VOILUTSequence": [{}, item([4096, 0], WORDS), *lut(CURVE, 0, 12)]} | WINDOW, "lut", True),
        ("lut", {"VOILUTSequence": [item([4096, 0, 12], b"")]} | WINDOW, "LINEAR", True),
        ("lut", {"VOILUTSequence": [item([4096, 0, 12], None)]} | WINDOW, "LINEAR", True),
        ("lut", {"VOILUTSequence": [item([4096, 0, 12], WORDS[:-2])]} | WINDOW, "LINEAR", True),
        ("lut", {"VOILUTSequence": [item(["a", "b", "c"], WORDS)]} | WINDOW, "LINEAR", True),
        ("lut", {"VOILUTSequence": lut([0] * 4096, 0, 12)} | WINDOW, "LINEAR", True),
        ("lut", {"VOILUTSequence": lut([4095] * 4096, 0, 12)}, "none", True),
        ("lut", {"VOILUTSequence": lut(CURVE, 5000, 12)} | WINDOW, "LINEAR", True),  # it begins beyond the pixels
        ("lut", {"VOILUTSequence": lut([0, 4095] * 2048, 0, 12)} | WINDOW, "LINEAR", True),  # black and white alone
        ("lut", {"VOILUTSequence": "damaged"} | WINDOW, "LINEAR", True),
    ],
)
def test_policy_and_its_fallback(preferred: Voi, tags: dict[str, Any], used: str, fallback: bool) -> None:
    greys = voi(tags, preferred=preferred)
    assert (greys.how, greys.fallback) == (used, fallback)
    if used == "none":
        np.testing.assert_array_equal(greys.values, STORED_12)
    else:
        assert greys.values.min() < 0.2 and greys.values.max() > 0.8


def test_the_first_of_several_windows() -> None:
    values = voi({"WindowCenter": [2000, 7], "WindowWidth": [3000, 7]}, preferred="window").values
    np.testing.assert_allclose(np.interp(0.5, values[500:3500], STORED_12[500:3500]), 1999.5, atol=1e-6)


def test_a_film_that_is_dark_itself_keeps_its_window() -> None:
    """Collapsed is what the window made so, not a film with much of one grey."""
    counts = np.ones(4096, int)
    counts[0] = 6000  # collimated
    greys = voi_values(WINDOW, STORED_12, counts, "window", little_endian=True)
    assert greys.how == "LINEAR"


def test_unknown_policy_is_refused() -> None:
    with pytest.raises(ValueError, match="lut, window, none"):
        DicomPolicy(voi="auto")  # type: ignore[arg-type]


def test_table_of_65536_entries_is_declared_as_0() -> None:
    stored = np.arange(65536.0)
    values = voi({"VOILUTSequence": lut(list(range(65535, -1, -1)), 0, 16, count=0)}, stored).values
    np.testing.assert_allclose(values, 1 - stored / 65535)


def test_entries_as_bytes_words_and_big_endian() -> None:
    stored, expected = np.arange(256.0), 1 - np.arange(256) / 255
    entries = list(range(255, -1, -1))
    words = [{"LUTDescriptor": [256, 0, 8], "LUTData": entries}]
    for table in (lut(bytes(entries), 0, 8), lut(entries, 0, 8), words):  # packed in pairs, a word each, US
        np.testing.assert_allclose(voi({"VOILUTSequence": table}, stored).values, expected)
    swapped = lut(np.array(entries, ">u2").tobytes(), 0, 8, count=256)
    greys = voi_values({"VOILUTSequence": swapped}, stored, np.ones(256, int), "lut", little_endian=False)
    np.testing.assert_allclose(greys.values, expected)


@pytest.mark.parametrize(
    ("largest", "declared", "range_"),
    [
        (4095, 16, 4095),  # as plate readers write it
        (1023, 16, 1023),
        (16383, 16, 16383),
        (4095, 8, 4095),
        (4095, 0, 4095),
        (4095, 17, 4095),
        (4000, 16, 4095),
        (65535, 12, 65535),
        (255, 12, 255),
        (4095, 12, 4095),
    ],
)
def test_the_entries_tell_their_bits(largest: int, declared: int, range_: int) -> None:
    entries = np.linspace(0, largest, 4096).astype(int).tolist()
    greys = voi({"VOILUTSequence": lut(entries, 0, declared)})
    np.testing.assert_allclose(greys.values, np.array(entries) / range_)
    assert (greys.how, greys.corrected) == ("lut", declared != range_.bit_length())


def test_first_input_is_read_with_the_sign_of_the_inputs() -> None:
    stored = np.arange(-2048.0, 2048)
    tags = {"ModalityLUTSequence": lut([5, 6, 7], 65536 - 2048, 8)}  # -2048 written as US
    values, used, *_ = modality_values(tags, stored, little_endian=True)
    assert used == "lut"
    np.testing.assert_array_equal(values[:4], [5, 6, 7, 7])


@pytest.mark.parametrize(
    ("tags", "slope", "intercept", "used", "fallback"),
    [
        ({"RescaleSlope": -2, "RescaleIntercept": 10}, -2, 10, "rescale", False),
        ({"RescaleIntercept": 3}, 1, 3, "rescale", False),
        ({"RescaleSlope": "2,5", "RescaleIntercept": "-1024,5"}, 2.5, -1024.5, "rescale", False),
        ({"RescaleSlope": b"0,25\0", "RescaleIntercept": b" 0"}, 0.25, 0, "rescale", False),
        ({"RescaleSlope": 0, "RescaleIntercept": 7}, 1, 0, "none", True),
        ({"RescaleSlope": float("inf"), "RescaleIntercept": 7}, 1, 0, "none", True),
        ({"RescaleSlope": "1", "RescaleIntercept": "abc"}, 1, 0, "none", True),
        ({}, 1, 0, "none", False),
        ({"ModalityLUTSequence": [item(None, None)]}, 1, 0, "none", True),
        ({"ModalityLUTSequence": [item([4096, 0, 12], b"")], "RescaleSlope": 2}, 2, 0, "rescale", True),
    ],
)
def test_rescale(tags: dict[str, Any], slope: float, intercept: float, used: str, fallback: bool) -> None:
    greys = modality_values(tags, STORED_12, little_endian=True)
    assert (greys.how, greys.fallback) == (used, fallback)
    np.testing.assert_array_equal(greys.values, slope * STORED_12 + intercept)


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


@pytest.mark.parametrize("value", [61440, 0xFFFF, -4096, 0x8000, -2000, -1])
def test_padding_that_needs_more_bits_than_are_stored(value: int) -> None:
    """Such a value is told apart before the cells are masked, whichever sign it was written with."""
    cells = np.arange(200, 300, dtype="<u2").reshape(10, 10)
    cells[2:4, 5] = value % 65536
    tags: dict[str, Any] = {"PixelPaddingValue": value}
    padded = padded_cells(tags, cells, 12)
    assert padded is not None
    np.testing.assert_array_equal(np.argwhere(padded), [[2, 5], [3, 5]])
    ranged = padded_cells(tags | {"PixelPaddingRangeLimit": value}, cells.astype(">u2"), 12)
    np.testing.assert_array_equal(ranged, padded)
    assert padded_cells({"PixelPaddingValue": 4095}, cells, 12) is None
    assert padded_cells({"PixelPaddingValue": -2048}, cells, 12) is None
