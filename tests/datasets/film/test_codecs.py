"""A picture that its codec had to guess in part is damaged, whichever codec and however it says so."""

import io
import os
from typing import Any

import gdcm
import numpy as np
import pydicom
import pytest
from pydicom import uid
from pydicom.data.data_manager import DATA_ROOT
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, get_frame

from datasets.film import codecs
from datasets.film.codecs import decoded
from datasets.film.dicom import read_dicom
from datasets.film.facts import DicomError
from datasets.film.policy import BODY_PARTS, MODALITIES, DicomPolicy
from datasets.film.radiograph import RadiographError
from tests.datasets.film.test_dicom import film
from tests.datasets.film.test_jpeg import GREYS, encoded, middle
from tests.small_films import SV1, compressed_film, jpeg_lossless, picture_of

WIDE = np.rint(GREYS.astype(float) * 15 + np.random.default_rng(0).integers(0, 9, GREYS.shape)).astype(int)
LENIENT = DicomPolicy(accept_damaged=True)


def lossless(process: int = SV1) -> bytes:
    """A film of 12 bits in JPEG Lossless."""
    return jpeg_lossless(film(WIDE), process)


def with_picture(content: bytes, frame: bytes) -> bytes:
    dataset, buffer = pydicom.dcmread(io.BytesIO(content)), io.BytesIO()
    dataset.PixelData = encapsulate([frame])
    dataset.save_as(buffer)
    return buffer.getvalue()


def extended() -> Dataset:
    """12 bits in JPEG Extended, of which pydicom has a sample."""
    return pydicom.dcmread(f"{DATA_ROOT}/test_files/JPEG-lossy.dcm")


def test_jpeg_baseline_in_dicom() -> None:
    whole = compressed_film(*GREYS.shape, uid.JPEGBaseline8Bit, encoded(), 8)
    assert read_dicom(whole).facts["damaged"] is False
    for frame in (middle(encoded(), bytes(300)), encoded()[:3000] + b"\xff\xd9", encoded()[:4000] + bytes(3000)):
        damaged = compressed_film(*GREYS.shape, uid.JPEGBaseline8Bit, frame, 8)
        with pytest.raises(DicomError, match="codec guessed it") as caught:
            read_dicom(damaged)
        assert caught.value.reason == "damaged"
        result = read_dicom(damaged, LENIENT)
        assert result.facts["damaged"] is True and result.pixels.shape == GREYS.shape


@pytest.mark.parametrize("process", [SV1, gdcm.TransferSyntax.JPEGLosslessProcess14])
def test_jpeg_lossless(process: int, capfd: pytest.CaptureFixture[str]) -> None:
    content = lossless(process)
    assert read_dicom(content).facts["damaged"] is False
    frame = picture_of(content)
    for broken in (
        middle(frame, bytes(512)),
        frame[: len(frame) // 2] + frame[len(frame) // 2 + 512 :],
        frame[: len(frame) * 2 // 3] + b"\xff\xd9",
        middle(frame, b"\xff\xd9"),
        middle(frame, b"\xff" * 300),
        middle(frame, b"\xff\xcd"),
    ):
        with pytest.raises(RadiographError) as caught:
            read_dicom(with_picture(content, broken))
        assert caught.value.reason in ("damaged", "undecodable", "truncated")
    assert "JPEG" not in capfd.readouterr().err  # what is read as a warning isn't printed besides


def test_jpeg_extended_of_12_bits() -> None:
    dataset = extended()
    found = decoded(dataset, uid.JPEGExtended12Bit)
    assert (
        found.values.dtype == np.uint16 and found.values.shape == (dataset.Rows, dataset.Columns) and not found.damaged
    )
    assert len(np.unique(found.values)) > 200 and np.abs(np.diff(found.values.astype(int), axis=0)).mean() < 200


@pytest.mark.parametrize("where", [0.3, 0.5, 0.8])
def test_damaged_jpeg_extended(where: float) -> None:
    dataset = extended()
    frame = get_frame(dataset.PixelData, 0, number_of_frames=1)
    at = int(len(frame) * where)
    dataset.PixelData = encapsulate([frame[:at] + bytes(400) + frame[at + 400 :]])
    dataset.Modality, dataset.SamplesPerPixel, dataset.NumberOfFrames = "DX", 1, 1
    try:
        assert decoded(dataset, uid.JPEGExtended12Bit).damaged
    except DicomError as error:
        assert error.reason in ("undecodable", "truncated")


def test_an_extended_film_is_read() -> None:
    buffer = io.BytesIO()
    extended().save_as(buffer)
    facts = read_dicom(buffer.getvalue(), DicomPolicy(modalities=MODALITIES, body_parts=BODY_PARTS)).facts
    assert (facts["syntax"], facts["lossy"], facts["damaged"]) == ("JPEG Extended (Process 2 and 4)", True, False)


@pytest.mark.parametrize(
    ("syntax", "plugin"),
    [(uid.JPEGLSLossless, "pyjpegls"), (uid.JPEG2000Lossless, "pylibjpeg"), (uid.RLELossless, "pylibjpeg")],
)
@pytest.mark.parametrize("keep", [0.3, 0.6, 0.9])
def test_a_picture_cut_short_is_never_read(syntax: uid.UID, plugin: str, keep: float) -> None:
    dataset, buffer = film(WIDE), io.BytesIO()
    dataset.compress(syntax, encoding_plugin=plugin, generate_instance_uid=False)
    dataset.save_as(buffer, enforce_file_format=True)
    frame = picture_of(buffer.getvalue())
    for end in (b"", b"\xff\xd9", bytes(200)):
        with pytest.raises(RadiographError):
            read_dicom(with_picture(buffer.getvalue(), frame[: int(len(frame) * keep)] + end))


@pytest.mark.parametrize("keep", [1.0, 0.3, 0.9])
def test_jpeg_ls_where_pyjpegls_has_no_wheel(keep: float, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, buffer = film(WIDE), io.BytesIO()
    dataset.compress(uid.JPEGLSLossless, encoding_plugin="pyjpegls", generate_instance_uid=False)
    dataset.save_as(buffer, enforce_file_format=True)
    expected = read_dicom(buffer.getvalue()).pixels
    frame = picture_of(buffer.getvalue())
    monkeypatch.setitem(codecs.PLUGINS, uid.JPEGLSLossless, "gdcm")
    content = with_picture(buffer.getvalue(), frame[: int(len(frame) * keep)])
    if keep < 1:
        with pytest.raises(RadiographError):
            read_dicom(content)
    else:
        np.testing.assert_array_equal(read_dicom(content).pixels, expected)


def test_what_others_print_meanwhile_is_passed_on(capfd: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    decode = pydicom.pixels.decoders.base.Decoder.as_array

    def talking(*args: Any, **options: Any) -> Any:
        os.write(2, b"Corrupt JPEG data: 7 extraneous bytes\nanother thread speaks\n")
        return decode(*args, **options)

    monkeypatch.setattr("pydicom.pixels.decoders.base.Decoder.as_array", talking)
    assert read_dicom(lossless(), LENIENT).facts["damaged"] is True
    assert capfd.readouterr().err == "another thread speaks\n"
