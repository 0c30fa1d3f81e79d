import io
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate

from datasets.film.dicom import DicomPolicy, DicomRefusedError, read_dicom
from datasets.film.radiograph import Radiograph, RadiographError

SHAPE = (14, 11)  # not square: an exchange of the axes would show
BITS_AND_SIGN = [(bits, signed) for bits in (8, 12, 16) for signed in (False, True)]


def stored_range(bits: int, signed: bool) -> tuple[int, int]:
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)


def stored_values(bits: int, signed: bool) -> np.ndarray:
    """Both ends of the range and values between, in no order."""
    values = np.linspace(*stored_range(bits, signed), SHAPE[0] * SHAPE[1]).round().astype(np.int32)
    return np.random.default_rng(bits).permutation(values).reshape(SHAPE)


def film(stored: np.ndarray, bits: int = 12, signed: bool = False, **tags: Any) -> Dataset:
    """A DX film with these stored values."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    dataset.SOPClassUID = uid.DigitalXRayImageStorageForPresentation
    dataset.SOPInstanceUID = uid.generate_uid()
    dataset.Modality = "DX"
    dataset.PresentationIntentType = "FOR PRESENTATION"
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.SamplesPerPixel = 1
    dataset.Rows, dataset.Columns = stored.shape
    dataset.BitsAllocated = 8 if bits <= 8 else 16
    dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = bits, bits - 1, int(signed)
    cells = stored.astype(f"{'i' if signed else 'u'}{dataset.BitsAllocated // 8}")
    dataset.PixelData = cells.tobytes() + bytes(cells.nbytes % 2)
    for keyword, value in tags.items():
        setattr(dataset, keyword, value)
    return dataset


def lut(entries: list[int], start: int, bits: int, signed_input: bool) -> list[Dataset]:
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if signed_input else "US", [len(entries), start, bits])
    item.add_new("LUTData", "OW", np.array(entries, "<u2").tobytes())
    return [item]


def written(dataset: Dataset, **options: Any) -> bytes:
    buffer = io.BytesIO()
    dataset.save_as(buffer, **{"enforce_file_format": True, **options})
    return buffer.getvalue()


def read(dataset: Dataset, policy: DicomPolicy | None = None) -> Radiograph:
    return read_dicom(written(dataset), policy or DicomPolicy())


def modality_case(name: str, bits: int, signed: bool) -> tuple[dict[str, Any], Callable[[int], float]]:
    """Tags, and the function that they mean by PS3.3 C.11.1, one value at a time."""
    lowest, highest = stored_range(bits, signed)
    if name in ("rescale", "negative slope"):
        slope, intercept = (0.5, -100.0) if name == "rescale" else (-2.0, 30.0)
        return {"RescaleSlope": slope, "RescaleIntercept": intercept}, lambda x: slope * x + intercept
    if name == "modality LUT":
        count = min(30_000, highest - lowest - 20)
        entries, start = [1000 * i // count for i in range(count)], lowest + 10
        tags = {"ModalityLUTSequence": lut(entries, start, 10, signed)}
        return tags, lambda x: entries[min(max(x - start, 0), count - 1)]
    return {}, lambda x: x


def voi_case(name: str, values: np.ndarray) -> tuple[dict[str, Any], Callable[[float], float] | None]:
    """The same for PS3.3 C.11.2, output range [0, 1]; None where percentiles decide."""
    low, high = float(values.min()), float(values.max())
    if name == "VOI LUT":
        count = min(30_000, int(high - low) // 2)
        start, entries = math.floor(low + (high - low) / 4), [4095 - 4000 * i // count for i in range(count)]
        start = max(start, -(2**15))
        tags = {"VOILUTSequence": lut(entries, start, 12, low < 0)}
        return tags, lambda x: entries[min(max(round(x) - start, 0), count - 1)] / 4095
    if name == "none":
        return {}, None
    c, w = round(low + (high - low) * 0.4, 1), max(2.0, round((high - low) * 0.5, 1))
    tags = {"WindowCenter": [c, 1], "WindowWidth": [w, 1], "VOILUTFunction": name}

    def linear(x: float) -> float:
        if x <= c - 0.5 - (w - 1) / 2:
            return 0
        if x > c - 0.5 + (w - 1) / 2:
            return 1
        return (x - (c - 0.5)) / (w - 1) + 0.5

    def exact(x: float) -> float:
        return 0 if x <= c - w / 2 else 1 if x > c + w / 2 else (x - c) / w + 0.5

    def sigmoid(x: float) -> float:
        return 1 / (1 + math.exp(-4 * (x - c) / w))

    return tags, {"LINEAR": linear, "LINEAR_EXACT": exact, "SIGMOID": sigmoid}[name]


@pytest.mark.trains
@pytest.mark.parametrize("voi", ["none", "LINEAR", "LINEAR_EXACT", "SIGMOID", "VOI LUT"])
@pytest.mark.parametrize("modality", ["none", "rescale", "negative slope", "modality LUT"])
@pytest.mark.parametrize(("bits", "signed"), BITS_AND_SIGN)
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_matrix_from_first_principles(photometric: str, bits: int, signed: bool, modality: str, voi: str) -> None:
    stored = stored_values(bits, signed)
    modality_tags, modality_function = modality_case(modality, bits, signed)
    values = np.array([[modality_function(int(x)) for x in row] for row in stored], float)
    voi_tags, voi_function = voi_case(voi, values)
    if voi_function is None:
        low, high = np.percentile(values, [0.5, 99.5])
        expected = np.clip((values - low) / (high - low), 0, 1)
    else:
        expected = np.array([[voi_function(float(x)) for x in row] for row in values])
    if photometric == "MONOCHROME1":
        expected = 1 - expected
    result = read(
        film(stored, bits, signed, PhotometricInterpretation=photometric, **modality_tags, **voi_tags),
    )
    assert result.pixels.dtype == np.float32
    assert result.pixels.shape == SHAPE
    np.testing.assert_allclose(result.pixels, expected, atol=2e-6)
    assert result.facts["voi"] == {"VOI LUT": "lut"}.get(voi, voi)
    assert result.facts["modality_lut"] == {"modality LUT": "lut", "negative slope": "rescale"}.get(modality, modality)
    assert (result.facts["bits"], result.facts["signed"]) == (bits, signed)
    assert result.facts["inverted"] is (photometric == "MONOCHROME1")


@pytest.mark.parametrize("voi", ["none", "LINEAR", "LINEAR_EXACT", "SIGMOID", "VOI LUT"])
@pytest.mark.parametrize(("bits", "signed"), BITS_AND_SIGN)
def test_monochrome1_equals_its_monochrome2_twin(bits: int, signed: bool, voi: str) -> None:
    stored, ends = stored_values(bits, signed), sum(stored_range(bits, signed))
    centre, width = ends / 2 + 20, 2 ** (bits - 1)
    one, two = {}, {}
    if voi == "VOI LUT":
        count = min(30_000, 2 ** (bits - 1))
        start, entries = stored_range(bits, signed)[0] + 50, [1023 * i // count for i in range(count)]
        one = {"VOILUTSequence": lut(entries, start, 10, signed)}
        two = {"VOILUTSequence": lut([1023 - y for y in reversed(entries)], ends - start - count + 1, 10, signed)}
    elif voi != "none":
        one = {"WindowCenter": centre, "WindowWidth": width, "VOILUTFunction": voi}
        two = one | {"WindowCenter": ends - centre + (1 if voi == "LINEAR" else 0)}
    first = read(film(stored, bits, signed, PhotometricInterpretation="MONOCHROME1", **one))
    second = read(film(ends - stored, bits, signed, **two))
    np.testing.assert_allclose(first.pixels, second.pixels, atol=1e-6)
    assert len(np.unique(first.pixels)) > 1


@pytest.mark.parametrize(
    ("syntax", "plugin"),
    [(uid.RLELossless, "pylibjpeg"), (uid.JPEG2000Lossless, "pylibjpeg"), (uid.JPEGLSLossless, "pyjpegls")],
)
@pytest.mark.parametrize(("bits", "signed"), BITS_AND_SIGN)
def test_compressed_equals_uncompressed(syntax: uid.UID, plugin: str, bits: int, signed: bool) -> None:
    stored = np.sort(stored_values(bits, signed), axis=None).reshape(SHAPE).repeat(8, 0).repeat(8, 1)
    plain = film(stored, bits, signed, WindowCenter=10, WindowWidth=2 ** (bits - 1))
    expected = read(plain)
    compressed = pydicom.dcmread(io.BytesIO(written(plain)))
    compressed.compress(syntax, encoding_plugin=plugin, generate_instance_uid=False)
    result = read(compressed)
    np.testing.assert_array_equal(result.pixels, expected.pixels)
    assert result.facts == expected.facts | {"syntax": syntax.name}


def test_jpeg_baseline() -> None:
    values = np.linspace(0, 255, 64 * 48).astype(np.uint8).reshape(64, 48)
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "JPEG")
    dataset = film(values, 8, WindowCenter=128, WindowWidth=256)
    dataset.file_meta.TransferSyntaxUID = uid.JPEGBaseline8Bit
    dataset.PixelData = encapsulate([buffer.getvalue()])
    result = read(dataset)
    np.testing.assert_allclose(result.pixels, np.asarray(Image.open(buffer)) / 255, atol=1e-6)
    assert result.facts["lossy"] is True


def test_lossy_overshoot_stays_bright() -> None:
    values = np.tile(np.array([0, 2000, 4095, 4100, *range(100, 3000, 100)]), (33, 3))
    dataset = film(values, 16, WindowCenter=2048, WindowWidth=4096)
    dataset.compress(uid.JPEG2000Lossless, encoding_plugin="pylibjpeg")
    dataset.BitsStored, dataset.HighBit = 12, 11
    np.testing.assert_allclose(read(dataset).pixels[0, :4], np.array([0, 2000, 4095, 4]) / 4095, atol=1e-6)
    dataset.file_meta.TransferSyntaxUID = uid.JPEG2000  # the same numbers, now from a codec that may overshoot
    np.testing.assert_allclose(read(dataset).pixels[0, :4], np.array([0, 2000, 4095, 4095]) / 4095, atol=1e-6)


def test_frames_beyond_the_declared_one_are_refused_and_not_decoded() -> None:
    dataset = film(stored_values(12, False))
    dataset.PixelData = dataset.PixelData[: 2 * SHAPE[0] * SHAPE[1]] * 3
    with pytest.raises(RadiographError, match="of which Rows, Columns and BitsAllocated name"):
        read(dataset)


def test_native_encodings_agree() -> None:
    stored = stored_values(12, True)
    dataset = film(stored, 12, True, WindowCenter=10, WindowWidth=2000)
    expected = read(dataset).pixels
    np.testing.assert_array_equal(read_dicom(written(dataset)[132:]).pixels, expected)
    bare = io.BytesIO()  # no file meta information at all
    body = film(stored, 12, True, WindowCenter=10, WindowWidth=2000)
    del body.file_meta
    body.save_as(bare, implicit_vr=True, little_endian=True)
    np.testing.assert_array_equal(read_dicom(bare.getvalue()).pixels, expected)
    for syntax in (uid.ImplicitVRLittleEndian, uid.DeflatedExplicitVRLittleEndian, uid.ExplicitVRBigEndian):
        dataset.file_meta.TransferSyntaxUID = syntax
        if syntax == uid.ExplicitVRBigEndian:
            dataset.PixelData = stored.astype(">i2").tobytes()
        np.testing.assert_array_equal(read(dataset).pixels, expected)


def test_bits_outside_of_the_stored_ones_are_masked() -> None:
    for signed in (False, True):
        stored = stored_values(12, signed)
        expected = read(film(stored, 12, signed)).pixels
        noise = np.random.default_rng(0).integers(0, 16, SHAPE)
        above = film(stored, 12, signed, PixelData=((stored & 0xFFF) | noise << 12).astype("<u2").tobytes())
        np.testing.assert_array_equal(read(above).pixels, expected)
        below = ((stored & 0xFFF) << 4 | noise).astype("<u2").tobytes()
        np.testing.assert_array_equal(read(film(stored, 12, signed, PixelData=below, HighBit=15)).pixels, expected)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("signed", [False, True])
def test_padding_is_black_and_outside_of_the_percentiles(photometric: str, signed: bool) -> None:
    rng = np.random.default_rng(3)
    anatomy = rng.integers(500, 1500, (60, 40))
    stored = anatomy.copy()
    stored[:, :9], stored[5:20, 20:30] = -2000 if signed else 4000, -1990 if signed else 3990
    tags = {"PhotometricInterpretation": photometric}
    dataset = film(stored, 12, signed, **tags)
    ends = (-2000, -1985) if signed else (4000, 3985)
    dataset.add_new("PixelPaddingValue", "US", ends[0] % 65536)  # US for a signed film: a common mistake
    dataset.add_new("PixelPaddingRangeLimit", "SS" if signed else "US", ends[1])
    result = read(dataset)
    padded = stored != anatomy
    assert result.facts["padding"]
    assert (result.pixels[padded] == 0).all()
    low, high = np.percentile(anatomy[~padded], [0.5, 99.5])
    expected = np.clip((anatomy - low) / (high - low), 0, 1)
    expected = 1 - expected if photometric == "MONOCHROME1" else expected
    np.testing.assert_allclose(result.pixels[~padded], expected[~padded], atol=1e-6)
    assert not read(film(stored, 12, signed, **tags)).facts["padding"]


def test_constant_border_is_outside_of_the_percentiles() -> None:
    anatomy = np.random.default_rng(3).integers(500, 1500, (60, 40))
    bordered = np.full((100, 80), 4095)
    bordered[20:80, 10:50] = anatomy
    inside = read(film(bordered)).pixels[20:80, 10:50]
    np.testing.assert_array_equal(inside, read(film(anatomy)).pixels)


def test_one_inversion_at_most() -> None:
    stored = stored_values(12, False)
    upright = read(film(stored)).pixels
    for photometric, shape, inverted in [
        ("MONOCHROME1", "INVERSE", True),
        ("MONOCHROME1", "IDENTITY", True),
        ("MONOCHROME2", "INVERSE", True),
        ("MONOCHROME2", "IDENTITY", False),
    ]:
        result = read(film(stored, PhotometricInterpretation=photometric, PresentationLUTShape=shape))
        np.testing.assert_allclose(result.pixels, 1 - upright if inverted else upright, atol=1e-6)
        assert result.facts["inverted"] is inverted


def few_levels(levels: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, levels, (60, 40)) * (4095 // levels)


@pytest.mark.parametrize(
    ("stored", "tags"),
    [
        *[(np.full(SHAPE, value), {}) for value in (0, 700, 4095)],
        (np.full(SHAPE, 700), {"PixelPaddingValue": 700}),  # nothing but padding
        (np.where(np.eye(50) * (np.arange(50) == 20), 900, 700), {}),  # a marker on a blank film
        (np.where(np.arange(200) % 100 == 0, 3, 2)[None].repeat(200, 0), {}),
        (few_levels(2), {}),
        (few_levels(13), {}),
        (few_levels(13), {"PhotometricInterpretation": "MONOCHROME1", "WindowCenter": 2048, "WindowWidth": 4096}),
    ],
)
def test_films_that_are_empty_in_themselves(stored: np.ndarray, tags: dict[str, Any]) -> None:
    with pytest.raises(DicomRefusedError, match="next to no different greys") as caught:
        read(film(stored, **tags))
    assert caught.value.reason == "no picture"


def test_a_dark_film_is_a_picture() -> None:
    """Underexposed, collimated to a tenth and with a bright marker, but there is something to see."""
    stored = np.zeros((100, 100), int)
    stored[30:70, 30:70] = np.random.default_rng(0).integers(40, 90, (40, 40))
    stored[2:5, 2:5] = 4095
    assert len(np.unique(read(film(stored)).pixels)) > 16


def test_rows_and_columns_stay() -> None:
    stored = np.arange(SHAPE[0] * SHAPE[1]).reshape(SHAPE)
    pixels = read(film(stored)).pixels
    assert (np.diff(pixels, axis=1) > 0)[1:-1].all()
    assert (np.diff(pixels, axis=0) > 0).all()
