"""What leaves the DICOM reader: facts, errors, warnings, logs, and no exception but RadiographError."""

import io
import json
import logging
import time
import traceback
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom import uid
from pydicom.datadict import DicomDictionary
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.pixels import get_decoder
from pydicom.sequence import Sequence

from datasets.film.dicom import NOT_SHOWN, DicomPolicy, DicomRefusedError, read_dicom, read_identities
from datasets.film.identity import keyed_hash
from datasets.film.radiograph import RadiographError
from datasets.film.read import read_radiograph

ANY_VIEW = DicomPolicy()
MARKER, SHORT_MARKER = "MARKER^DOE", "DOE^"
KEY = bytes(range(32))
TEXTS = {"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"}
KEPT = {"Modality", "PhotometricInterpretation", "PresentationIntentType", "Manufacturer", "ManufacturerModelName"}


def film(**tags: Any) -> Dataset:
    """A small DX film."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = uid.DigitalXRayImageStorageForPresentation, "1.2.3.4"
    dataset.Modality, dataset.PresentationIntentType = "DX", "FOR PRESENTATION"
    dataset.PhotometricInterpretation, dataset.SamplesPerPixel = "MONOCHROME2", 1
    dataset.Rows, dataset.Columns = 32, 48
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.PixelData = np.arange(32 * 48).astype("<u2").tobytes()
    for keyword, value in tags.items():
        setattr(dataset, keyword, value)
    return dataset


def written(dataset: Dataset) -> bytes:
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def marked() -> Dataset:
    """A film with the marker in every text tag of the dictionary, in a private one and inside of sequences."""
    dataset = film(Manufacturer="Maker", ManufacturerModelName="Model")
    item = Dataset()
    for tag, (vr, _, _, _, keyword) in DicomDictionary.items():
        if vr in TEXTS and keyword not in KEPT and keyword != "SpecificCharacterSet" and 0x0008 <= tag >> 16 < 0x7F00:
            dataset.add_new(tag, vr, MARKER)
            item.add_new(tag, vr, MARKER)
    dataset.PatientAge = SHORT_MARKER
    dataset.private_block(0x0011, "MAKER", create=True).add_new(1, "LO", MARKER)
    for keyword in ("RequestAttributesSequence", "ReferencedPatientSequence", "ViewCodeSequence"):
        setattr(dataset, keyword, Sequence([item]))
    return dataset


pytestmark = pytest.mark.filterwarnings("ignore:Invalid value for VR:UserWarning")  # what `marked` is about


@pytest.fixture(autouse=True)
def no_validation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pydicom.config.settings, "_writing_validation_mode", pydicom.config.IGNORE)
    monkeypatch.setattr(pydicom.config.settings, "reading_validation_mode", pydicom.config.WARN)


def assert_unmarked(*texts: str) -> None:
    for text in texts:
        assert "MARKER" not in text
        assert "DOE" not in text


@pytest.mark.parametrize("key", [None, KEY], ids=["no key", "key"])
def test_no_text_reaches_a_fact_warning_or_log(key: bytes | None, caplog: pytest.LogCaptureFixture) -> None:
    dataset = marked()
    data = written(dataset)
    assert data.count(MARKER.encode()) > 1000
    caplog.clear()  # writing warns too
    with warnings.catch_warnings(record=True) as caught, caplog.at_level(logging.DEBUG):
        warnings.simplefilter("always")
        result = read_dicom(data, ANY_VIEW, key=key)
    assert_unmarked(json.dumps(result.facts), caplog.text)
    assert not caught
    assert (result.facts["view_position"], result.facts["view_text"]) == ("UNKNOWN", NOT_SHOWN)
    assert (result.facts["body_part"], result.facts["body_part_text"]) == ("UNKNOWN", NOT_SHOWN)
    assert result.facts["manufacturer"] == "Maker"
    hashes = {"patient", "study", "series", "instance", "institution", "station"}
    assert (hashes & set(result.facts) == hashes) is (key is not None)
    if key:
        assert result.facts["patient"] == keyed_hash(KEY, MARKER)
        assert result.facts["instance"] == keyed_hash(KEY, "1.2.3.4")
        assert result.facts["study"] is None


@pytest.mark.parametrize("keyword", ["RescaleSlope", "WindowCenter", "NumberOfFrames", "SOPClassUID", "syntax"])
def test_no_value_reaches_an_error(keyword: str, caplog: pytest.LogCaptureFixture) -> None:
    """Values that pydicom can't convert: it quotes them in its own exceptions and warnings."""
    dataset = marked()
    if keyword == "syntax":
        dataset.file_meta.TransferSyntaxUID = "1.23456789"
        data = b"".join(written_with(dataset, b"1.23456789", MARKER.encode()))
    elif keyword == "SOPClassUID":
        dataset.SOPClassUID = MARKER
        data = written(dataset)[300:]
    else:
        dataset.WindowCenter, dataset.WindowWidth, dataset.VOILUTFunction = 1, 1, "LINEAR"
        setattr(dataset, keyword, 1234567890)
        data = written(dataset).replace(b"1234567890", MARKER.encode())
    assert MARKER.encode() in data
    caplog.clear()
    with warnings.catch_warnings(record=True) as recorded, caplog.at_level(logging.DEBUG):
        warnings.simplefilter("always")
        try:
            said = json.dumps(read_dicom(data, ANY_VIEW, key=KEY).facts)  # a tag that can't be used may be left out
            assert keyword != "syntax"
        except RadiographError as error:
            assert error.__context__ is None
            said = repr(error) + "".join(traceback.format_exception(error))
    assert_unmarked(said, caplog.text)
    assert not recorded


def written_with(dataset: Dataset, old: bytes, new: bytes) -> list[bytes]:
    """Write under a known syntax, then exchange its UID: pydicom wouldn't write an unknown one."""
    assert len(old) == len(new)
    dataset.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    head, syntax, rest = written(dataset).partition(uid.ExplicitVRLittleEndian.encode() + b"\0")
    return [head, new.ljust(len(syntax), b"\0"), rest]


def test_facts_are_words_of_their_vocabulary() -> None:
    view = Dataset()
    view.CodeValue = "272479007"
    facts = read_dicom(
        written(
            film(
                ViewCodeSequence=[view],
                PatientAge="045Y",
                PatientSex="F",
                BurnedInAnnotation="NO",
                LossyImageCompression="01",
            )
        )
    ).facts
    assert [facts[name] for name in ("view_position", "age_band", "sex", "burned_in", "lossy")] == [
        *("PA", "40-49", "F", False, True)
    ]
    assert facts["modality"] == "DX"
    assert facts["syntax"] == "Explicit VR Little Endian"
    assert all(value is None or isinstance(value, str | int | bool) for value in facts.values())


def compressed(syntax: str, frame: bytes, **tags: Any) -> Dataset:
    dataset = film(**tags)
    dataset.file_meta.TransferSyntaxUID = uid.UID(syntax)
    dataset.PixelData = encapsulate([frame])
    dataset["PixelData"].is_undefined_length = True
    return dataset


def jpeg2000_header(width: int, height: int, components: int = 1, bits: int = 12) -> bytes:
    sizes = b"".join(value.to_bytes(4, "big") for value in (width, height, 0, 0, width, height, 0, 0))
    return b"\xff\x4f\xff\x51\0\x29\0\0" + sizes + components.to_bytes(2, "big") + bytes([bits - 1]) + b"\1\1\xff\xd9"


REFUSED: list[tuple[str, Dataset]] = [
    ("modality", film(Modality="CT")),
    ("modality", film(Modality="", SOPClassUID=uid.CTImageStorage)),
    ("no picture", film(PixelData=bytes(2 * 32 * 48))),
    ("for processing", film(PresentationIntentType="FOR PROCESSING")),
    ("lateral view", film(ViewPosition="LL")),
    ("view", film(ViewPosition="LLO")),
    ("multi-frame", film(NumberOfFrames=2)),
    ("colour", film(SamplesPerPixel=3, PhotometricInterpretation="RGB")),
    ("colour", film(PhotometricInterpretation="PALETTE COLOR")),
]
BROKEN: list[tuple[str, Dataset]] = [
    ("no pixel data", film(PixelData=None)),
    ("no pixel data", film(Rows=0)),
    ("truncated", film(PixelData=bytes(40))),
    ("too large", film(Rows=60000, Columns=60000)),
    ("strip", film(Rows=1, Columns=60000)),
    ("strip", film(Rows=60000, Columns=1)),
    ("undecodable", film(BitsAllocated=32, BitsStored=32)),
    ("undecodable", film(BitsStored=17)),
    ("undecodable", film(PhotometricInterpretation="")),
    ("undecodable", compressed(uid.MPEG2MPML, b"12")),
    ("undecodable", compressed(uid.JPEGExtended12Bit, b"\xff\xd8\xff\xd9")),
    ("undecodable", compressed(uid.JPEG2000Lossless, jpeg2000_header(48, 32))),
    ("undecodable", compressed(uid.JPEGLSLossless, b"\xff\xd8\xff\xf7\0\x0b\x08\xff\xff\xff\xff\x01\xff\xd9")),
    ("undecodable", compressed(uid.RLELossless, bytes([2, 0, 0, 0]) + bytes(60))),
    ("truncated", compressed(uid.JPEG2000Lossless, jpeg2000_header(48, 32)[:-2] + bytes(30))),
]


@pytest.mark.parametrize(("reason", "dataset"), REFUSED + BROKEN)
def test_refused_in_words(reason: str, dataset: Dataset) -> None:
    with pytest.raises(RadiographError, match=r"\w+ \w+ \w+") as caught:
        read_dicom(written(dataset))
    assert caught.value.reason == reason
    assert isinstance(caught.value, DicomRefusedError) is (reason in {name for name, _ in REFUSED})


def test_size_inside_is_checked_before_a_codec_sees_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.film.codecs.get_decoder", lambda syntax: pytest.fail("decoded"))
    for header in (
        jpeg2000_header(60000, 60000),
        jpeg2000_header(48, 32, 16000),
        jpeg2000_header(48, 32, 1, 17),
        b"\xff\xd8\xff\xd9",
        b"JP2 ",
    ):
        for syntax in (uid.JPEG2000Lossless, uid.JPEGLSLossless, uid.JPEGLossless, uid.JPEGBaseline8Bit):
            with pytest.raises(RadiographError):
                read_dicom(written(compressed(syntax, header)))


@pytest.mark.parametrize("key", [None, KEY], ids=["no key", "key"])
def test_other_tags_are_not_even_parsed(key: bytes | None, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[Dataset] = []
    dcmread = pydicom.dcmread

    def spied(*args: Any, **options: Any) -> Dataset:
        parsed.append(dcmread(*args, **options))
        return parsed[-1]

    data = written(film(PatientName="Doe", PatientID="1", InstitutionName="X", SeriesDescription="Doe"))
    monkeypatch.setattr("pydicom.dcmread", spied)
    read_dicom(data, key=key)
    assert "PatientName" not in parsed[0]
    assert "SeriesDescription" not in parsed[0]
    assert ("PatientID" in parsed[0]) is (key is not None)


def test_policy_admits() -> None:
    admitted = DicomPolicy(modalities=("CT",), views=("LATERAL",), for_processing=True)
    facts = read_dicom(
        written(film(Modality="CT", PresentationIntentType="FOR PROCESSING", ViewPosition="RL")), admitted
    ).facts
    assert (facts["presentation_intent"], facts["view_position"]) == ("FOR PROCESSING", "LATERAL")


def test_not_dicom() -> None:
    png = b"\x89PNG\r\n\x1a\n" + bytes(300)
    for content in (b"hello", b"a,b\n1,2\n" * 100, png, np.random.default_rng(0).bytes(5000)):
        with pytest.raises(RadiographError) as caught:
            read_dicom(content)
        assert caught.value.reason == "not DICOM"
    for content in (bytes(128) + b"DICM", bytes(128) + b"DICM" + bytes(500)):
        with pytest.raises(RadiographError) as caught:
            read_dicom(content)
        assert caught.value.reason in ("truncated", "undecodable", "no pixel data")


def test_dicom_wins_over_a_tiff_header_in_its_preamble() -> None:
    dataset = film()
    dataset.preamble = b"II*\0" + bytes(124)
    assert read_radiograph(written(dataset)).facts["format"] == "DICOM"


GRADIENT = np.arange(1000).repeat(1000).astype("<u2").tobytes()


def test_deflate_bomb(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = film(Rows=1000, Columns=1000, PixelData=GRADIENT)
    dataset.file_meta.TransferSyntaxUID = uid.DeflatedExplicitVRLittleEndian
    data = written(dataset)
    assert len(data) < 10_000
    assert read_dicom(data).pixels.shape == (1000, 1000)
    monkeypatch.setattr("datasets.film.dicom.MAX_BYTES", 1_000_000)
    monkeypatch.setattr("pydicom.dcmread", lambda *args, **options: pytest.fail("inflated without a bound"))
    with pytest.raises(RadiographError, match="larger than the 1000000 bytes allowed"):
        read_dicom(data)


def test_deflate_bomb_without_the_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = film(Rows=1000, Columns=1000, PixelData=GRADIENT)
    dataset.file_meta.TransferSyntaxUID = uid.DeflatedExplicitVRLittleEndian
    data = written(dataset)[132:]
    assert read_dicom(data).pixels.shape == (1000, 1000)
    monkeypatch.setattr("datasets.film.dicom.MAX_BYTES", 1_000_000)
    monkeypatch.setattr("pydicom.dcmread", lambda *args, **options: pytest.fail("inflated without a bound"))
    with pytest.raises(RadiographError, match="larger than the 1000000 bytes allowed"):
        read_dicom(data)


def test_inflated_data_are_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Dataset] = []
    dcmread = pydicom.dcmread
    monkeypatch.setattr("pydicom.dcmread", lambda *args, **options: read.append(dcmread(*args, **options)) or read[0])
    dataset = film()
    dataset.file_meta.TransferSyntaxUID = uid.DeflatedExplicitVRLittleEndian
    read_dicom(written(dataset))
    assert read[0].buffer is None  # type: ignore[attr-defined]
    assert "PixelData" not in read[0]


def test_pictures_of_too_many_parts_are_refused_before_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.film.codecs.get_decoder", lambda syntax: pytest.fail("decoded"))
    coding = b"\xff\x52\0\x0c\0\0\xff\xff\0\x20\4\4\0\1"  # 65535 layers, 32 levels
    frame = jpeg2000_header(48, 32)[:-2] + coding + b"\xff\xd9"
    for syntax in (uid.JPEG2000, uid.HTJ2KLossless):
        with pytest.raises(RadiographError, match="more tiles, blocks, layers or scans"):
            read_dicom(written(compressed(syntax, frame)))
    with pytest.raises(RadiographError, match="RLE segments"):
        read_dicom(written(compressed(uid.RLELossless, bytes([3, 0, 0, 0]) + bytes(60))))


def test_jpeg_ls_without_its_end_costs_no_time() -> None:
    dataset = film()
    dataset.compress(uid.JPEGLSLossless, encoding_plugin="pyjpegls")
    frame = get_frame(dataset.PixelData, 0, number_of_frames=1)
    assert read_dicom(written(compressed(uid.JPEGLSLossless, frame + bytes(40)))).pixels.shape == (32, 48)
    start = time.process_time()
    with pytest.raises(RadiographError, match="cut short") as caught:
        read_dicom(written(compressed(uid.JPEGLSLossless, frame[: len(frame) // 2])))
    assert caught.value.reason == "truncated"
    assert time.process_time() - start < 2  # CharLS alone takes 6 s


def test_missing_tags_are_named() -> None:
    dataset = film()
    del dataset.BitsStored, dataset.PixelRepresentation
    with pytest.raises(RadiographError, match="its BitsStored, PixelRepresentation"):
        read_dicom(written(dataset))


def test_missing_codec_is_not_the_fault_of_the_film(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = film()
    dataset.compress(uid.RLELossless, encoding_plugin="pylibjpeg")
    monkeypatch.setitem(get_decoder(uid.RLELossless)._available, "pylibjpeg", None)
    monkeypatch.delitem(get_decoder(uid.RLELossless)._available, "pylibjpeg")
    with pytest.raises(RadiographError, match="codec of RLE Lossless"):
        read_dicom(written(dataset))


def test_identities_raise_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    data = written(film(PatientID="MARKER"))
    assert read_identities(data)["patient_id"] == "MARKER"
    rng = np.random.default_rng(4)
    for _ in range(300):
        damaged = bytearray(data[:900])
        for place in rng.integers(128, 900, 6):
            damaged[place] = rng.integers(256)
        try:
            read_identities(bytes(damaged))
        except RadiographError as error:
            assert error.__context__ is None
    monkeypatch.setattr("datasets.film.dicom._parse", raising(ValueError("MARKER")))
    with pytest.raises(RadiographError) as caught:
        read_identities(data)
    assert caught.value.__context__ is None


def raising(error: BaseException | None) -> Callable[..., None]:
    """A function that raises, while another error is being handled whose text quotes a tag."""

    def function(*args: Any, **options: Any) -> None:
        try:
            raise ValueError(MARKER)
        except ValueError:
            if error is not None:
                raise error  # noqa: B904
            np.no_such_name  # noqa: B018

    return function


def ours_with_a_typo(*args: Any, **options: Any) -> None:
    exec("nmae", {"__name__": "datasets.typo"})


@pytest.mark.parametrize(
    ("broken", "expected"),
    [
        (ours_with_a_typo, NameError),
        (raising(ImportError("no codec")), ImportError),
        (raising(None), AttributeError),  # of a module
        (raising(AttributeError("nmae", name="nmae", obj=DicomPolicy())), AttributeError),
    ],
)
def test_bugs_come_through(broken: Any, expected: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.film.dicom.film_facts", broken)
    with pytest.raises(expected) as caught:
        read_dicom(written(film()))
    assert_unmarked("".join(traceback.format_exception(caught.value)))


@pytest.mark.parametrize(
    "error",
    [
        *(ValueError(MARKER), KeyError(MARKER), AssertionError(MARKER), RecursionError(MARKER), NameError(MARKER)),
        *(AttributeError(MARKER), AttributeError(MARKER, name="x", obj=Dataset())),  # of a tag that isn't there
    ],
)
def test_whatever_a_file_may_cause_does_not(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.film.dicom.film_facts", raising(error))
    with pytest.raises(RadiographError) as caught:
        read_dicom(written(film()))
    assert_unmarked("".join(traceback.format_exception(caught.value)))


def test_damaged_files_raise_nothing_else() -> None:
    rng = np.random.default_rng(2)
    films = [film(WindowCenter=100, WindowWidth=50, NumberOfFrames=1, PixelPaddingValue=0, RescaleSlope=2)]
    for syntax in (uid.RLELossless, uid.JPEGLSLossless, uid.JPEG2000Lossless):
        films.append(film())
        films[-1].compress(syntax, encoding_plugin="pyjpegls" if syntax == uid.JPEGLSLossless else "pylibjpeg")
    for dataset in films:
        data = written(dataset)
        for _ in range(150):
            damaged = bytearray(data[: rng.integers(200, len(data) + 1)] if rng.random() < 0.4 else data)
            for place in rng.integers(132, len(damaged), rng.integers(1, 5)):
                damaged[place] = rng.integers(256)
            try:
                pixels = read_dicom(bytes(damaged)).pixels
            except RadiographError as error:
                assert error.__context__ is None
                continue
            assert pixels.dtype == np.float32
            assert np.isfinite(pixels).all()
            assert 0 <= pixels.min() <= pixels.max() <= 1
