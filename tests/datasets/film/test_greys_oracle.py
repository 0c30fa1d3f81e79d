"""Our grey transforms against pydicom's, on every value that can be stored and on real films."""

import os
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.pixels import apply_modality_lut, apply_voi, apply_windowing, pixel_array

from datasets.film.grey_arithmetic import window
from datasets.film.greys import modality_values, voi_values

CURVE = (4095 * np.linspace(0, 1, 3000) ** 0.5).astype(int).tolist()


def film(bits: int = 12, signed: bool = False, **tags: object) -> Dataset:
    dataset = Dataset()
    dataset.PixelRepresentation = int(signed)  # before the tables, whose representation hangs on it
    dataset.PhotometricInterpretation, dataset.BitsStored, dataset.BitsAllocated = "MONOCHROME2", bits, 16
    for keyword, value in tags.items():
        setattr(dataset, keyword, value)
    return dataset


def table(entries: list[int], start: int, bits: int, signed: bool = False) -> list[Dataset]:
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if signed else "US", [len(entries), start, bits])
    item.add_new("LUTData", "US", entries)
    item.ModalityLUTType = "US"
    return [item]


def stored_values(bits: int, signed: bool) -> np.ndarray:
    lowest = -(2 ** (bits - 1)) if signed else 0
    return np.arange(lowest, lowest + 2**bits, dtype=np.int16 if signed else np.uint16)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(
    "tags",
    [
        {},
        {"RescaleSlope": 2.5, "RescaleIntercept": -1024},
        {"RescaleSlope": -1, "RescaleIntercept": 4095},
        {"ModalityLUTSequence": (CURVE, 100, 16)},
        {"ModalityLUTSequence": (CURVE, -500, 16)},  # pydicom takes 8 and 16 bits alone
    ],
)
def test_modality(tags: dict[str, object], signed: bool) -> None:
    if isinstance(entry := tags.get("ModalityLUTSequence"), tuple):
        if entry[1] < 0 and not signed:
            pytest.skip("no unsigned value is negative")
        tags = {"ModalityLUTSequence": table(*entry, signed=signed)}
    dataset, stored = film(signed=signed, **tags), stored_values(12, signed)
    values = modality_values(dataset, stored.astype(np.float64), little_endian=True).values
    np.testing.assert_array_equal(values, apply_modality_lut(stored, dataset))


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize(("centre", "width"), [(2048, 4096), (1000.5, 301), (40, 2), (-600, 1500), (0, 1)])
@pytest.mark.parametrize(("slope", "intercept"), [(1, 0), (2, -1024)])
@pytest.mark.parametrize("signed", [False, True])
def test_windows(function: str, centre: float, width: float, slope: float, intercept: float, signed: bool) -> None:
    dataset = film(signed=signed, WindowCenter=centre, WindowWidth=width, VOILUTFunction=function)
    dataset.RescaleSlope, dataset.RescaleIntercept = slope, intercept
    stored = stored_values(12, signed)
    values = modality_values(dataset, stored.astype(np.float64), little_endian=True).values
    ours = window(values, centre, width, function)
    theirs = apply_windowing(apply_modality_lut(stored, dataset), dataset)
    low, high = slope * int(stored[0]) + intercept, slope * int(stored[-1]) + intercept  # pydicom's range of outputs
    np.testing.assert_allclose(ours, (theirs - low) / (high - low), atol=1e-12)


@pytest.mark.parametrize(("start", "bits"), [(0, 12), (500, 12), (2000, 16)])
def test_voi_tables(start: int, bits: int) -> None:
    dataset, stored = film(VOILUTSequence=table(CURVE, start, bits)), stored_values(12, False)
    counts = np.ones(len(stored), int)
    ours = voi_values(dataset, stored.astype(np.float64), counts, "lut", little_endian=True)
    assert (ours.how, ours.fallback, ours.corrected) == ("lut", False, bits != 12)
    np.testing.assert_allclose(ours.values, apply_voi(stored, dataset) / max(CURVE), atol=1e-12)


@pytest.mark.skipif("END_CXR_DICOM" not in os.environ, reason="END_CXR_DICOM names no folder of DICOM samples")
def test_real_films() -> None:
    compared = 0
    for path in sorted(Path(os.environ["END_CXR_DICOM"]).glob("*.dcm")):
        try:
            dataset = pydicom.dcmread(path)
            picture = pixel_array(dataset, raw=True)
        except Exception:  # damaged on purpose
            continue
        if dataset.get("SamplesPerPixel", 1) != 1 or picture.ndim != 2 or dataset.BitsAllocated not in (8, 16):
            continue
        stored, counts = np.unique(picture, return_counts=True)  # in order, as our functions take them
        little = dataset.file_meta.TransferSyntaxUID.is_little_endian
        values = modality_values(dataset, stored.astype(np.float64), little_endian=little).values
        np.testing.assert_allclose(values, apply_modality_lut(stored, dataset), err_msg=path.name)
        ours, used, *_ = voi_values(dataset, values, counts, "lut", little_endian=little)
        if used == "lut":
            theirs = apply_voi(apply_modality_lut(stored, dataset), dataset)
            np.testing.assert_allclose(ours * theirs.max(), theirs * ours.max(), rtol=1e-9, err_msg=path.name)
        compared += 1
    assert compared >= 5
