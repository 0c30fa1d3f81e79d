"""What a folder evaluation writes and prints: nothing that identifies anyone, whatever becomes of the files."""

import csv
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pydicom
import pytest
from pydicom import uid
from pydicom.datadict import DicomDictionary
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate

MARKER = "MARKER^DOE"
MARKED_UID = "1.2.826.0.1.999123999"  # in front of every UID
TEXTS = {"AE", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT", "CS"}
KEPT = {
    *("Modality", "PhotometricInterpretation", "PresentationIntentType", "Manufacturer", "ManufacturerModelName"),
    *("SpecificCharacterSet", "PresentationLUTShape", "VOILUTFunction", "BodyPartExamined", "ViewPosition"),
    *("PatientSex", "BurnedInAnnotation", "LossyImageCompression", "ImageType", "RescaleType"),
}
# Whatever is known of a patient in clear, in any spelling that could be left of it.
# The warnings are of what `mark` writes.
pytestmark = [pytest.mark.process, pytest.mark.filterwarnings("ignore:Invalid value for VR:UserWarning")]
SECRETS = [b"MARKER", b"DOE", b"999123999", b"DIR_SECRET", b"FILE_SECRET", b"19630229"]
QUICK = ["--resamples", "100", "--permutations", "100", "--workers", "2", "--no-shortcuts", "--shard-files", "6"]


def mark(path: Path, number: int) -> dict[str, str]:
    """Write identities into every text tag of a film; returns its line of the labels, without the label."""
    dataset = pydicom.dcmread(path)
    for tag, (vr, _, _, retired, keyword) in DicomDictionary.items():
        if vr in TEXTS and keyword and keyword not in KEPT and not retired and 0x0008 <= tag >> 16 < 0x5000:
            dataset.add_new(tag, vr, f"{MARKER} {number % 12}"[:16])
    dataset.PatientBirthDate = "19630229"
    dataset.PatientID, dataset.AccessionNumber = f"{MARKER} P{number // 2}", f"MARKER A{number}"
    dataset.InstitutionName = f"{MARKER} Hospital {number % 3}"
    dataset.SOPInstanceUID, dataset.SeriesInstanceUID = f"{MARKED_UID}.1.{number}", f"{MARKED_UID}.2.{number}"
    dataset.StudyInstanceUID = f"{MARKED_UID}.3.{number // 2}"
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.private_block(0x0011, MARKER, create=True).add_new(1, "LO", MARKER)
    item = Dataset()
    item.PatientName, item.PatientID, item.ReferencedSOPInstanceUID = MARKER, MARKER, f"{MARKED_UID}.9"
    dataset.ReferencedPatientSequence = dataset.RequestAttributesSequence = [item]
    dataset.save_as(path, enforce_file_format=True)
    return {"sop_instance_uid": dataset.SOPInstanceUID, "accession_number": dataset.AccessionNumber}


@pytest.fixture(scope="module")
def marked_folder(film_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Films of marked patients, in folders and files that are named after them, sound ones and broken ones."""
    root = tmp_path_factory.mktemp("marked") / "archive"
    lines = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pydicom.config.settings, "_writing_validation_mode", pydicom.config.IGNORE)
        films = sorted(film_folder.glob("*/im*.dcm"))[::2]
        for number, film in enumerate([*films, *sorted((film_folder / "odd").glob("*.dcm"))]):
            name = f"DIR_SECRET {number % 4}/FILE_SECRET=MARKER^DOE {number}.dcm"
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(film, root / name)
            if film.name == "truncated.dcm":
                (root / name).write_bytes((root / name).read_bytes().replace(b"PHANTOM^", b"MARKER^D"))
                continue
            known = mark(root / name, number)
            labelled = ("covid", "normal")[number % 2]
            lines.append({"file": name, **known, "label": labelled, "patient_name": f"{MARKER} {number}"})
        broken(root / "DIR_SECRET 0", root / f"DIR_SECRET 1/FILE_SECRET={MARKER} 1.dcm")
    pd.DataFrame(lines).to_csv(root / "labels.csv", index=False)
    return root


def broken(place: Path, film: Path) -> None:
    """Files that pydicom and its codecs stumble over, quoting what they found."""
    data = film.read_bytes()
    (place / "FILE_SECRET_cut.dcm").write_bytes(data[: len(data) // 2])
    (place / "FILE_SECRET_empty.dcm").write_bytes(b"")
    (place / "FILE_SECRET_text.txt").write_bytes(b"MARKER^DOE\n" * 99)
    (place / "FILE_SECRET_pipe").symlink_to("DIR_SECRET_nowhere")
    os.mkfifo(place / "FILE_SECRET_fifo")
    dataset = pydicom.dcmread(film)
    dataset.SOPInstanceUID = f"{MARKED_UID}.7"
    dataset.file_meta.TransferSyntaxUID = uid.JPEG2000Lossless
    dataset.PixelData = encapsulate([b"MARKER^DOE" * 50])
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(place / "FILE_SECRET_j2k.dcm", enforce_file_format=True)
    number = pydicom.dcmread(film)
    number.SOPInstanceUID, number.NumberOfFrames, number.RescaleSlope = f"{MARKED_UID}.8", 1234567890, 1
    number.save_as(place / "FILE_SECRET_number.dcm", enforce_file_format=True)
    quoted = (place / "FILE_SECRET_number.dcm").read_bytes().replace(b"1234567890", b"MARKER^DOE")
    (place / "FILE_SECRET_number.dcm").write_bytes(quoted)
    syntax = data.replace(str(dataset.file_meta.ImplementationClassUID).encode()[:10], b"MARKER^DOE", 1)
    (place / "FILE_SECRET_meta.dcm").write_bytes(syntax)


def run_command(*arguments: object, **environment: str) -> tuple[int, str]:
    """A process of its own; returns its exit code and all that it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "training.evaluate", *map(str, arguments), *QUICK],
        capture_output=True,
        text=True,
        errors="replace",
        env=os.environ | {"COLUMNS": "300", "PYTHONFAULTHANDLER": "1"} | environment,
    )
    return done.returncode, done.stdout + done.stderr


def assert_clean(content: bytes, where: object) -> None:
    for secret in SECRETS:
        place = content.find(secret)
        assert place < 0, f"{secret!r} in {where}: {content[max(0, place - 80) : place + 80]!r}"


def assert_nothing_identifies(*places: Path) -> int:
    """Search every file's name and bytes, and every text of the compressed tables; returns how many files there were."""
    count = 0
    for place in places:
        for file in [path for path in place.rglob("*") if path.is_file()]:
            assert_clean(str(file.relative_to(place)).encode(), "a file's name")
            assert_clean(file.read_bytes(), file)
            if file.suffix == ".parquet":
                table = pq.read_table(file)
                assert_clean(str(table.schema).encode(), file)
                assert_clean(table.to_pandas().to_csv().encode(), file)
            count += 1
    return count


def test_nothing_that_identifies_is_written_or_printed(
    marked_folder: Path, folder_runs: tuple[Path, Path], tmp_path: Path
) -> None:
    out, private = tmp_path / "out", tmp_path / "private" / "link.csv"
    before = {path: path.stat().st_mtime_ns for path in marked_folder.rglob("*") if path.is_file()}
    runs = tmp_path / "runs"
    shutil.copytree(folder_runs[0].parent, runs)
    names = [run.name for run in folder_runs]
    options = ["--labels", marked_folder / "labels.csv", "--aggregate", "max", "--linkage", private, "--by", "station"]
    code, printed = run_command(
        *(runs / name for name in names), "--dicom-dir", marked_folder, "--output", out, *options, TMPDIR=str(tmp_path)
    )
    assert code == 0 and "Traceback" not in printed, printed
    assert_clean(printed.encode(), "what was printed")
    assert "2 symbolic" not in printed and "institution A" in (out / "predictions.csv").read_text()
    assert assert_nothing_identifies(out, runs) > 15

    files = pd.read_parquet(out / "files.parquet")
    assert len(files) == len([path for path in marked_folder.rglob("*") if not path.is_dir() or path.is_symlink()])
    assert (files["status"] == "scored").sum() == 22 and (files["status"] == "failed").sum() >= 3
    assert {"symbolic link", "no regular file", "not DICOM", "truncated", "undecodable"} <= set(
        files["reason"].dropna()
    )
    assert pd.read_parquet(out / "predictions.parquet")["target"].notna().all()
    assert {path: path.stat().st_mtime_ns for path in before} == before, "the archive is only read"

    assert not (out / ".hash-key").exists()  # the runs' own key is used
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    with private.open(newline="") as file:
        linked = list(csv.DictReader(file))
    assert all("DIR_SECRET" in row["path"] or row["path"] == "labels.csv" for row in linked)
    assert sum(row["patient_id"].startswith(MARKER) for row in linked) == 22
    temporary = [path for path in tmp_path.iterdir() if path not in (out, private.parent, runs)]
    assert assert_nothing_identifies(*[path for path in temporary if path.is_dir()]) == 0


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (
            f"file,label\n{MARKER}.dcm,covid\nMARKER A,{MARKER}\n",
            "other: a word that stands on one line alone (line 3)",
        ),
        (f"{MARKER},covid\n{MARKED_UID}.1,normal\n", "the columns must be named"),
        (f"sop_instance_uid,label\n{MARKED_UID}.1,covid\n{MARKED_UID}.1,normal\n", "lines 2 and 3: two labels"),
        (f'file,label\n"{MARKER},covid\n', "can't be read as CSV"),
        (f"file,label\n{MARKER},{MARKER},covid\n", "3 cells under 2 column names"),
    ],
)
def test_mistakes_in_the_labels_quote_nothing(
    table: str,
    expected: str,
    marked_folder: Path,
    folder_runs: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from training.evaluate.__main__ import main

    (tmp_path / "labels.csv").write_text(table)
    options = ["--dicom-dir", marked_folder, "--labels", tmp_path / "labels.csv", "--output", tmp_path / "out"]
    with pytest.raises(SystemExit) as stopped:
        main([str(folder_runs[0]), *map(str, options), *QUICK])
    shown = capsys.readouterr()
    assert stopped.value.code == 2 and expected in shown.err
    assert_clean((shown.out + shown.err).encode(), "what was printed")
    if (tmp_path / "out").exists():
        assert_nothing_identifies(tmp_path / "out")


def test_an_end_in_error_prints_and_leaves_nothing_that_identifies(
    marked_folder: Path,
    folder_runs: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No film that can be scored; and a disk that is full when some shards are written."""
    from training.evaluate.__main__ import main

    def evaluate(films: Path, out: Path) -> str:
        with pytest.raises(SystemExit) as stopped:
            main([str(folder_runs[0]), "--dicom-dir", str(films), "--output", str(out), *QUICK])
        shown = capsys.readouterr()
        assert stopped.value.code == 2 and "Traceback" not in shown.err
        assert_clean((shown.out + shown.err).encode(), "what was printed")
        assert assert_nothing_identifies(out)
        return shown.err

    bad = tmp_path / "bad"
    bad.mkdir()
    for file in (marked_folder / "DIR_SECRET 0").glob("FILE_SECRET_*.*"):
        if "meta" not in file.name and "number" not in file.name:  # damages that hurt nobody
            shutil.copy(file, bad)
    assert "no file of the folder could be scored" in evaluate(bad, tmp_path / "nothing")

    left, fsync = 3, os.fsync

    def full(file: int) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(28, "No space left on device")
        fsync(file)

    monkeypatch.setattr("datasets.files.os.fsync", full)
    assert "No space left on device" in evaluate(marked_folder, tmp_path / "full")


@pytest.mark.slow
def test_nothing_that_identifies_is_written_or_printed_by_ray(
    marked_folder: Path, folder_runs: tuple[Path, Path], tmp_path: Path
) -> None:
    pytest.importorskip("ray")
    place = Path("/tmp") / f"ray-{os.getpid()}"  # Ray's sockets need a short path
    try:
        code, printed = run_command(
            folder_runs[0], "--dicom-dir", marked_folder, "--output", tmp_path / "out", "--engine", "ray",
            RAY_TMPDIR=str(place),
        )  # fmt: skip
        assert code == 0 and "Traceback" not in printed, printed
        assert_clean(printed.encode(), "what was printed")
        assert place.is_dir() and assert_nothing_identifies(tmp_path / "out", place) > 10
    finally:
        shutil.rmtree(place, ignore_errors=True)
