"""What becomes of a film at the edge of the standard: lengths just too short, tags at odds with each other, odd fragments."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, get_frame

from datasets.film.dicom import DicomError, read_dicom, read_header, stored_values
from datasets.film.policy import DicomPolicy, Voi
from datasets.film.radiograph import Radiograph, RadiographError

SHAPE = (64, 48)  # JPEG 2000 halves it five times
GREYS = np.arange(SHAPE[0] * SHAPE[1]).reshape(SHAPE)


def film(stored: np.ndarray = GREYS, bits: int = 12, signed: bool = False, **tags: Any) -> Dataset:
    """A DX film of 16 bits allocated."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    dataset.SOPClassUID = uid.DigitalXRayImageStorageForPresentation
    dataset.SOPInstanceUID = "1.2.3"
    dataset.Modality, dataset.PresentationIntentType = "DX", "FOR PRESENTATION"
    dataset.PhotometricInterpretation, dataset.SamplesPerPixel = "MONOCHROME2", 1
    dataset.Rows, dataset.Columns = stored.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, bits, bits - 1
    dataset.PixelRepresentation = int(signed)
    dataset.PixelData = stored.astype("<i2" if signed else "<u2").tobytes()
    for keyword, value in tags.items():
        setattr(dataset, keyword, value)
    return dataset


def written(dataset: Dataset) -> bytes:
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def compressed(syntax: uid.UID, plugin: str, dataset: Dataset | None = None) -> Dataset:
    copy = pydicom.dcmread(io.BytesIO(written(dataset or film())))
    copy.compress(syntax, encoding_plugin=plugin, generate_instance_uid=False)
    return copy


def refused(dataset: Dataset | bytes) -> RadiographError:
    with pytest.raises(RadiographError) as caught:
        read_dicom(dataset if isinstance(dataset, bytes) else written(dataset))
    return caught.value


LUT = Dataset()
LUT.add_new("LUTDescriptor", "US", [3072, 0, 12])
LUT.add_new("LUTData", "OW", np.linspace(0, 64, 3072).__pow__(2).astype("<u2").clip(0, 4095).tobytes())
WINDOW = {"WindowCenter": 1000, "WindowWidth": 500}


@pytest.mark.parametrize(
    ("wish", "tags", "voi", "fallback", "scale"),
    [
        ("lut", {"VOILUTSequence": [LUT]} | WINDOW, "lut", False, "VOI range"),
        ("lut", WINDOW, "LINEAR", True, "VOI range"),
        ("lut", {}, "none", True, "percentiles 0.5-99.5"),
        ("window", {"VOILUTSequence": [LUT]} | WINDOW, "LINEAR", False, "VOI range"),
        ("window", {}, "none", True, "percentiles 0.5-99.5"),
        ("none", {"VOILUTSequence": [LUT]} | WINDOW, "none", False, "percentiles 0.5-99.5"),
    ],
)
def test_what_was_done_is_said(wish: Voi, tags: dict[str, Any], voi: str, fallback: bool, scale: str) -> None:
    facts = read_dicom(written(film(**tags)), DicomPolicy(voi=wish)).facts
    assert (facts["voi"], facts["voi_fallback"], facts["scale"]) == (voi, fallback, scale)


@pytest.mark.parametrize("signed", [False, True])
def test_stored_values_count_from_the_smallest(signed: bool) -> None:
    greys = GREYS - 2000 if signed else GREYS
    np.testing.assert_array_equal(stored_values(written(film(greys, signed=signed))), greys + (2048 if signed else 0))


@pytest.mark.parametrize(("bits", "allocated"), [(12, 16), (8, 8), (10, 16)])
def test_facts_of_the_bits(bits: int, allocated: int) -> None:
    greys = GREYS % 2**bits
    dataset = film(greys, bits, BitsAllocated=allocated)
    dataset.PixelData = greys.astype(f"<u{allocated // 8}").tobytes()
    facts = read_dicom(written(dataset)).facts
    assert (facts["bits"], facts["bits_allocated"], facts["signed"], facts["padding"]) == (
        bits,
        allocated,
        False,
        False,
    )
    assert (facts["format"], facts["photometric"]) == ("DICOM", "MONOCHROME2")


def test_a_high_bit_beyond_the_cell_is_the_cell_s_last() -> None:
    high = written(film(GREYS << 4, HighBit=15))
    far = written(film(GREYS << 4, HighBit=40))
    low = written(film(HighBit=3))
    np.testing.assert_array_equal(read_dicom(far).pixels, read_dicom(high).pixels)
    np.testing.assert_array_equal(read_dicom(low).pixels, read_dicom(written(film())).pixels)


@pytest.mark.parametrize(("syntax", "plugin"), [(uid.JPEG2000Lossless, "pylibjpeg"), (uid.JPEGLSLossless, "pyjpegls")])
def test_the_high_bit_of_a_coded_picture_says_nothing(syntax: uid.UID, plugin: str) -> None:
    dataset = compressed(syntax, plugin)
    expected = read_dicom(written(dataset)).pixels
    dataset.HighBit = 15
    np.testing.assert_array_equal(read_dicom(written(dataset)).pixels, expected)


def test_no_high_bit() -> None:
    dataset = film()
    del dataset.HighBit
    np.testing.assert_array_equal(read_dicom(written(dataset)).pixels, read_dicom(written(film())).pixels)


@pytest.mark.parametrize("cut", [2, 40, 200])
def test_native_pixels_that_are_cut_short(cut: int) -> None:
    error = refused(film(PixelData=film().PixelData[:-cut]))
    assert error.reason == "truncated" and "end too early" in str(error)


def test_padding_after_native_pixels_is_taken_and_a_second_picture_is_not() -> None:
    dataset = film()
    pixels = read_dicom(written(film())).pixels
    dataset.PixelData += bytes(len(dataset.PixelData) // 20)
    np.testing.assert_array_equal(read_dicom(written(dataset)).pixels, pixels)
    dataset = film()
    dataset.Rows //= 2
    assert "of which Rows, Columns and BitsAllocated name" in str(refused(dataset))


def test_rle_of_a_part_of_a_picture_is_told_before_it_is_decoded() -> None:
    dataset = compressed(uid.RLELossless, "pylibjpeg", film(np.zeros(SHAPE, int)))
    dataset.Rows, dataset.Columns = 10 * dataset.Rows, 10 * dataset.Columns
    assert "RLE segments" in str(refused(dataset))


def test_a_frame_in_several_fragments() -> None:
    for syntax, plugin in ((uid.RLELossless, "pylibjpeg"), (uid.JPEG2000Lossless, "pylibjpeg")):
        dataset = compressed(syntax, plugin)
        frame = get_frame(dataset.PixelData, 0, number_of_frames=1)
        expected = read_dicom(written(dataset)).pixels
        dataset.PixelData = encapsulate([frame], fragments_per_frame=2, has_bot=False)
        np.testing.assert_array_equal(read_dicom(written(dataset)).pixels, expected)


@pytest.mark.parametrize("native", [True, False])
def test_what_no_check_foresees_is_corrupt(native: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = film() if native else compressed(uid.RLELossless, "pylibjpeg")
    monkeypatch.setattr("pydicom.pixels.decoders.base.Decoder.as_array", lambda *a, **b: 1 / 0)
    error = refused(dataset)
    assert error.reason == "undecodable" and "corrupt" in str(error)


def test_three_samples_are_colour_whatever_the_tag_says() -> None:
    assert refused(film(SamplesPerPixel=3)).reason == "colour"


@pytest.mark.parametrize(
    "tags",
    [
        {"SamplesPerPixel": None},
        {"PhotometricInterpretation": "monochrome2"},
        {"PhotometricInterpretation": "MONOCHROME 2"},
        {"PhotometricInterpretation": "Monochrome_2 ", "SamplesPerPixel": None},
        {"NumberOfFrames": "1 "},
    ],
)
@pytest.mark.parametrize("syntax", [None, uid.RLELossless, uid.JPEG2000Lossless])
def test_what_is_admitted_in_other_words_is_decoded(tags: dict[str, Any], syntax: uid.UID | None) -> None:
    dataset = film() if syntax is None else compressed(syntax, "pylibjpeg")
    for keyword, value in tags.items():
        setattr(dataset, keyword, value)
    np.testing.assert_array_equal(read_dicom(written(dataset)).pixels, read_dicom(written(film())).pixels)


@pytest.mark.parametrize("syntax", [None, uid.RLELossless])
@pytest.mark.parametrize("keyword", ["Rows", "Columns", "BitsAllocated", "BitsStored", "PixelRepresentation"])
def test_of_a_needed_tag_with_several_values_the_first_counts(keyword: str, syntax: uid.UID | None) -> None:
    dataset = film() if syntax is None else compressed(syntax, "pydicom")
    expected = read_dicom(written(dataset)).pixels
    setattr(dataset, keyword, [dataset[keyword].value, 1])
    np.testing.assert_array_equal(read_dicom(written(dataset)).pixels, expected)


def test_only_the_shape_that_inverts_inverts() -> None:
    for shape, inverted in (("INVERSE", True), ("IDENTITY", False), ("LIN OD", False)):
        assert read_dicom(written(film(PresentationLUTShape=shape))).facts["inverted"] is inverted


@pytest.mark.parametrize("frames", [0, None, 1])
def test_one_frame_in_other_words(frames: int | None) -> None:
    read_dicom(written(film(NumberOfFrames=frames)))


def test_an_index_of_a_disc() -> None:
    dataset = film()
    dataset.file_meta.MediaStorageSOPClassUID = uid.MediaStorageDirectoryStorage
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=False, implicit_vr=False, little_endian=True)
    assert refused(buffer.getvalue()).reason == "DICOMDIR"


def test_a_data_set_that_cannot_be_parsed_says_so() -> None:
    data = written(film())
    assert data[136:138] == b"UL"  # the kind of the first element, now one that there isn't
    error = refused(data[:136] + b"TL" + data[138:])
    assert isinstance(error, DicomError) and "can't be parsed" in str(error)


@pytest.mark.parametrize("implicit", [True, False])
def test_without_meta_information_the_encoding_is_recognised(implicit: bool) -> None:
    dataset, buffer = film(), io.BytesIO()
    del dataset.file_meta
    dataset.save_as(buffer, implicit_vr=implicit, little_endian=True)
    found = read_dicom(buffer.getvalue())
    assert found.facts["syntax"] == ("Implicit" if implicit else "Explicit") + " VR Little Endian"
    np.testing.assert_array_equal(found.pixels, read_dicom(written(film())).pixels)


@pytest.mark.parametrize(
    ("tags", "is_dicom"),
    [
        ({}, True),
        ({"Rows": None}, False),
        ({"PixelData": None}, False),
        ({"PhotometricInterpretation": "RGB"}, False),
        ({"SOPClassUID": uid.DigitalXRayImageStorageForPresentation, "Rows": None}, True),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_without_prefix_and_class_a_grey_picture_of_a_size_is_dicom(tags: dict[str, Any], is_dicom: bool) -> None:
    dataset, buffer = film(), io.BytesIO()
    del dataset.file_meta, dataset.SOPClassUID
    for keyword, value in tags.items():
        if value is None:
            del dataset[keyword]
        else:
            setattr(dataset, keyword, value)
    dataset.save_as(buffer, implicit_vr=False, little_endian=True)
    if tags:
        assert (refused(buffer.getvalue()).reason == "not DICOM") is not is_dicom
    else:
        np.testing.assert_array_equal(read_dicom(buffer.getvalue()).pixels, read_dicom(written(film())).pixels)


@pytest.mark.parametrize(
    ("tags", "counted"),
    [({}, True), ({"PixelAspectRatio": ["2", "1"]}, False)],
    ids=["square", "two to one"],
)
def test_a_film_s_histogram_is_that_of_its_pixels(tags: dict[str, Any], counted: bool) -> None:
    stored = np.random.default_rng(0).integers(0, 64, (256, 256))
    read = read_dicom(written(film(stored, bits=6, **tags)))
    if not counted:
        assert read.histogram is None
        return
    assert read.histogram is not None
    expected = np.repeat(read.histogram.greys, read.histogram.counts)
    np.testing.assert_array_equal(np.sort(read.pixels.ravel()), np.sort(expected))


def test_two_greys_are_no_picture_and_no_fault_of_the_file() -> None:
    assert refused(film((GREYS.mean() < GREYS).astype(int), bits=1)).reason == "no picture"


def test_a_header_is_of_dicom_and_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "film"
    file.write_bytes(written(film(PatientID="p 1 ")))
    facts, patient = read_header(file)
    assert patient == "p 1" and facts["modality"] == "DX"
    for other in (b"DICL", b"DICN", b"\0\0\0\0"):  # just below and just above the four letters
        file.write_bytes(written(film())[:128] + other + written(film())[132:])
        with pytest.raises(DicomError, match="no DICOM data set"):
            read_header(file)
    with pytest.raises(RadiographError, match="can't be opened: No such file") as caught:
        read_header(tmp_path / "Doe_Jane.dcm")
    assert caught.value.reason == "unreadable" and "Doe" not in str(caught.value)


def test_no_more_than_the_first_mebibyte_is_a_header(tmp_path: Path) -> None:
    for size, patient in ((1 << 19, "p"), (3 << 19, "")):
        dataset = film(PatientID="p")
        dataset.add_new(0x00090010, "LO", "OURS")
        dataset.add_new(0x00091001, "OB", bytes(size))
        (tmp_path / "film").write_bytes(written(dataset))
        assert read_header(tmp_path / "film")[1] == patient


def test_a_header_is_inflated_within_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = film(np.zeros((1000, 1000), int))
    dataset.file_meta.TransferSyntaxUID = uid.DeflatedExplicitVRLittleEndian
    (tmp_path / "film").write_bytes(written(dataset))
    assert read_header(tmp_path / "film")[0]["modality"] == "DX"
    monkeypatch.setattr("datasets.film.dicom.MAX_BYTES", 1_000_000)
    with pytest.raises(DicomError, match="larger than the 1000000 bytes allowed"):
        read_header(tmp_path / "film")


def read_cells(cells: np.ndarray, *, signed: bool = False, big: bool = False, **tags: Any) -> Radiograph:
    dataset = film(signed=signed, **tags)
    dataset.PixelData = cells.astype(">u2" if big else "<u2").tobytes()
    if big:
        dataset.file_meta.TransferSyntaxUID = uid.ExplicitVRBigEndian
    return read_dicom(written(dataset))


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize(
    ("cells", "signed", "high_bit", "corrected"),
    [
        (GREYS, False, 11, False),
        (GREYS, False, 15, True),  # right-aligned, whatever HighBit says
        (GREYS, False, 13, True),
        (GREYS << 4, False, 15, False),
        (GREYS << 4, False, 11, True),  # left-aligned
        (GREYS - 1500, True, 11, False),
        (GREYS - 1500, True, 15, True),
        ((GREYS - 1500) & 0xFFF, True, 15, True),  # without the sign above
        ((GREYS - 1500) & 0xFFF, True, 11, False),
        ((GREYS - 1500) << 4, True, 15, False),
        ((GREYS - 1500) << 4, True, 11, True),
    ],
)
def test_where_the_bits_are_the_cells_tell(
    cells: np.ndarray, signed: bool, high_bit: int, corrected: bool, big: bool
) -> None:
    result = read_cells(cells & 0xFFFF, signed=signed, big=big, HighBit=high_bit)
    np.testing.assert_allclose(result.pixels, read_dicom(written(film())).pixels, atol=1e-6)
    assert result.facts["corrected"] == ("high bit" if corrected else None)


def test_a_film_of_even_greys_stays_where_it_is() -> None:
    """Made of 8 bits, so that the low bits of each cell are 0: it isn't left-aligned for that."""
    greys = (GREYS // 16) * 16
    for signed in (False, True):
        shifted = greys - 1600 if signed else greys
        assert read_cells(shifted & 0xFFFF, signed=signed).facts["corrected"] is None


@pytest.mark.parametrize(
    ("padding", "limit", "cell", "signed"),
    [
        (63536, None, 63536, False),
        (-2000, None, 63536, False),
        (0x8000, None, 0x8000, True),
        (-32768, None, 0x8000, True),
        (3000, None, 3000, True),  # beyond the 11 bits of a signed film
        (62000, 64000, 63000, False),
        (-2000, 0, 65000, False),
        (4200, 4100, 4196, False),
    ],
)
def test_padding_that_the_stored_bits_cannot_hold(padding: int, limit: int | None, cell: int, signed: bool) -> None:
    cells = GREYS + 1 - (1500 if signed else 0)
    whole = read_cells(cells & 0xFFFF, signed=signed)
    cells = cells & 0xFFFF
    cells[:, :7] = cell
    dataset = film(signed=signed)
    dataset.PixelData = cells.astype("<u2").tobytes()
    dataset.add_new("PixelPaddingValue", "SS" if padding < 0 else "US", padding)
    if limit is not None:
        dataset.add_new("PixelPaddingRangeLimit", "SS" if padding < 0 else "US", limit)
    result = read_dicom(written(dataset))
    assert (result.pixels[:, :7] == 0).all() and (result.facts["padding"], result.facts["corrected"]) == (
        True,
        "padding",
    )
    np.testing.assert_allclose(result.pixels[:, 7:], whole.pixels[:, 7:], atol=0.01)


@pytest.mark.parametrize(
    ("centre", "width"), [("-3000", "500"), ("127", "255"), ("60000", "10"), ("1500", "1"), ("1500", "4000000")]
)
def test_a_window_that_blanks_the_film_is_left_out(centre: str, width: str) -> None:
    greys = GREYS // 2 + 1500
    result = read_dicom(written(film(greys, WindowCenter=centre, WindowWidth=width)))
    np.testing.assert_array_equal(result.pixels, read_dicom(written(film(greys))).pixels)
    assert (result.facts["voi"], result.facts["voi_fallback"]) == ("none", True)
