"""Batch jobs: the scores of a single film, every hostile upload a row, nothing left behind, nothing that identifies."""

import io
import shutil
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest
import torch

from app.jobs.batch_desk import LONGEST_LINE, BatchDesk, Presence
from app.jobs.batch_job import BatchJob, JobError
from app.jobs.batch_request import Request
from app.jobs.batch_uploads import Uploads
from app.jobs.film_folders import FilmsFolderError, confined, films_root, sub_folders
from datasets.film.folder import Folder, LocalFolder
from datasets.film.policy import DicomPolicy
from datasets.film.radiograph import RadiographError
from datasets.film.read import read_radiograph
from datasets.phantom.folder import write_folder
from training.run.reference import load_reference
from training.scoring.predict import Predictor

pytestmark = pytest.mark.process

NAMES = ("phantom-erm-test_resnet-s0", "phantom-end-test_resnet-s0")
NOTICE = "For research."
MARKER = "MARKER"


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight films, what an archive also holds, and a sub-folder with a patient's name."""
    place = tmp_path_factory.mktemp("batch") / "films"
    write_folder(place, 8, 0.9, 1, 64)
    named = place / "odd" / f"{MARKER}^JANE"
    named.mkdir()
    film = pydicom.dcmread(next(place.glob("north/*.dcm")))
    film.SOPInstanceUID = film.file_meta.MediaStorageSOPInstanceUID = "1.2.3.777"
    film.PatientName = film.PatientID = film.AccessionNumber = film.StudyDescription = f"{MARKER}^JANE"
    film.InstitutionName = film.StationName = film.BodyPartExamined = MARKER
    film.ViewPosition = f"{MARKER}"
    film.save_as(named / f"{MARKER}.dcm")
    return place


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files go during a test."""
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    return place


def request(runs: Path, films: Folder, **others: object) -> Request:
    folders = {name: runs / name for name in NAMES}
    asked = Request(films, folders, DicomPolicy(), isinstance(films, Uploads), NOTICE)
    return replace(asked, **others)  # type: ignore[arg-type]


def done(asked: Request, present: Callable[[], bool] = lambda: True) -> BatchJob:
    job = BatchJob(asked, present)
    job.run()
    assert job.ended
    return job


def leaving(job: BatchJob) -> bytes:
    """All bytes that a visitor can see or take away."""
    found = job.results
    assert found is not None
    tables = (found.counts, found.files, found.predictions, found.sources)
    parts = [table.to_csv().encode() for table in tables] + [found.predictions_csv, found.files_csv]
    with zipfile.ZipFile(io.BytesIO(found.parquet)) as archive:
        for name in archive.namelist():
            content = archive.read(name)
            parts.append(
                pd.read_parquet(io.BytesIO(content)).to_csv().encode() if name.endswith("parquet") else content
            )
            parts.append(name.encode())
    return b"\n".join([*parts, job.error.encode()])


def test_a_folder_is_scored_as_a_single_film_is(
    runs: Path, films: Path, temporary: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    folder, modes, names = LocalFolder(films), set[int](), set[str]()

    def looking() -> bool:
        for place in temporary.glob("end-cxr*"):
            modes.add(place.stat().st_mode & 0o777)
            names.update([place.name, *(path.name for path in place.iterdir())])
        return True

    wide = DicomPolicy(views=("PA", "AP", "FRONTAL", "UNKNOWN", "OTHER"), body_parts=("CHEST", "UNKNOWN", "OTHER"))
    job = done(request(runs, folder, policy=wide), looking)
    found = job.results
    assert found is not None and job.error == "" and not job.cancelled
    entries = list(folder.entries())
    assert job.total == job.finished == len(entries) == len(found.files) == found.counts["files"].sum()
    assert job.counts == found.statuses, "what was shown meanwhile is what holds at the end"
    assert sum(found.statuses.values()) == len(entries) and found.statuses["failed"] == 1
    said = pd.read_csv(io.BytesIO(found.predictions_csv))
    assert len(said) == 2 * found.statuses["scored"] == 18 and (said["notice"] == NOTICE).all()
    for name in NAMES:
        predictor = Predictor.load(runs / name)
        own = said[said["run"] == name]
        expected = [predictor_score(predictor, folder.read(entries[row].name), wide) for row in own["row"]]
        assert own["score"].tolist() == pytest.approx(expected, abs=1e-5)
        assert found.predictions[name].tolist() == pytest.approx(expected, abs=1e-5)
    assert said["score"].nunique() > 10, "scores of different films differ"
    assert set(found.sources["source"]) <= {f"institution {letter}" for letter in "ABCDEFG"}
    assert found.sources["films"].sum() == found.statuses["scored"]
    assert len(names) > 1 and modes == {0o700}, "only the owner can read what is kept meanwhile"
    assert not list(temporary.glob("end-cxr*")), "nothing is left"
    captured = capfd.readouterr()
    everything = leaving(job).decode() + captured.out + captured.err + caplog.text + str(names)
    for marker in (MARKER, str(films), "Hospital", "PHANTOM", "im0000", "1.2.3.777", "north"):
        assert marker not in everything


def predictor_score(predictor: Predictor, content: bytes, policy: DicomPolicy) -> float:
    """`Predictor.score`, which admits the usual films alone; the film with strange tags gets usual ones."""
    dataset = pydicom.dcmread(io.BytesIO(content))
    if dataset.BodyPartExamined == MARKER:
        dataset.BodyPartExamined, dataset.ViewPosition = "CHEST", "PA"
        out = io.BytesIO()
        dataset.save_as(out)
        content = out.getvalue()
    return predictor.score(content)


def test_uploads_each_end_in_a_row(runs: Path, films: Path, temporary: Path) -> None:
    good = next(films.glob("north/*.dcm")).read_bytes()
    big = pydicom.dcmread(io.BytesIO(good))
    big.Rows = big.Columns = 65_535
    bomb, strip = io.BytesIO(), io.BytesIO()
    big.save_as(bomb)
    big.Rows, big.Columns = 1, 60_000
    big.save_as(strip)
    other = pydicom.dcmread(next(films.glob("harbour/*.dcm")), defer_size=None)
    polyglot = io.BytesIO()
    other.preamble = b"<html><script>alert(1)</script>".ljust(128)
    other.save_as(polyglot)
    uploads = {
        "scored": good,
        "truncated": good[: len(good) // 2],
        "empty": b"",
        "svg": b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        "png": b"\x89PNG\r\n\x1a\n" + bytes(100),
        "zip": b"PK\x03\x04" + bytes(1000),
        "bomb": bomb.getvalue(),
        "strip": strip.getvalue(),
        "polyglot": polyglot.getvalue(),
        "again": good,
        "magic": bytes(128) + b"DICM",
    }
    job = done(request(runs, Uploads(list(uploads.values()))))
    found = job.results
    assert found is not None and job.error == ""
    files = found.files.assign(what=list(uploads)).set_index("what")
    assert files["film"].tolist() == [f"film {number}" for number in range(1, len(uploads) + 1)]
    assert files["status"].to_dict() == {
        **dict.fromkeys(("scored", "polyglot"), "scored"),
        **dict.fromkeys(("truncated", "empty", "magic"), "failed"),
        **dict.fromkeys(("svg", "png", "zip", "bomb", "strip", "again"), "skipped"),
    }
    assert files["reason"][["empty", "svg", "bomb", "strip", "again"]].tolist() == [
        "truncated", "not DICOM", "too large", "strip", "duplicate",
    ]  # fmt: skip
    assert files["message"][files["status"] != "scored"].str.len().min() > 5
    scores = found.predictions.set_index("film")[NAMES[0]]
    predictor = Predictor.load(runs / NAMES[0])
    assert scores["film 1"] == pytest.approx(predictor.score(good), abs=1e-5)
    assert scores["film 9"] == pytest.approx(predictor.score(uploads["polyglot"]), abs=1e-5)
    assert b"alert" not in leaving(job) and "file" not in pd.read_csv(io.BytesIO(found.files_csv))
    assert not list(temporary.glob("end-cxr*"))


def test_damaged_features_of_the_training_films_are_told_before_a_film_is_scored(
    runs: Path, films: Path, tmp_path: Path
) -> None:
    changed = Path(shutil.copytree(runs, tmp_path / "changed"))
    (changed / NAMES[1] / "reference.safetensors").write_bytes(b"cut")
    job = done(request(changed, Uploads([next(films.glob("north/*.dcm")).read_bytes()])))
    assert (
        job.error == f"reference.safetensors of {NAMES[1]} is damaged, or of another run: copy it again, or remove it."
    )
    assert job.finished == 0 and job.results is None


def test_the_owners_names_thresholds_and_what_is_unlike_the_training_films(runs: Path, films: Path) -> None:
    good = next(films.glob("north/*.dcm")).read_bytes()
    dataset = pydicom.dcmread(io.BytesIO(good))
    values = dataset.pixel_array.copy()
    noise = np.random.default_rng(0).integers(0, 2**dataset.BitsStored, values.shape).astype(values.dtype)
    dataset.PixelData = noise.tobytes()
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3.888"
    odd = io.BytesIO()
    dataset.save_as(odd)
    names = ["good.dcm", "=noise.dcm", "text.txt"]
    asked = {"names": names, "thresholds": {NAMES[0]: 1.0, NAMES[1]: 0.0}}
    job = done(request(runs, Uploads([good, odd.getvalue(), b"text"]), **asked))
    found = job.results
    assert found is not None and job.named
    assert found.files["film"].tolist() == names and found.predictions["film"].tolist() == names[:2]
    said = pd.read_csv(io.BytesIO(found.predictions_csv))
    assert said["film"].tolist() == ["good.dcm", "'=noise.dcm"] * 2, "no formula for a spreadsheet"
    assert said["prediction"].tolist() == ["not covid", "not covid", "covid", "covid"]
    assert said["threshold"].tolist() == [1.0, 1.0, 0.0, 0.0]
    columns = list(said)
    assert columns.index("unlike_training") == columns.index("score") - 1, "said before the score is read"
    for name in NAMES:
        predictor, reference = Predictor.load(runs / name), load_reference(runs / name)
        assert reference is not None
        for content, (_, row) in zip((good, odd.getvalue()), said[said["run"] == name].iterrows(), strict=True):
            with torch.inference_mode():
                film = read_radiograph(content, policy=DicomPolicy().reading(predictor.checkpoint.preprocessing.voi))
                features = predictor.model(predictor.checkpoint.preprocessing(film)[None]).features.numpy()
            assert row["unlike_training"] == bool(reference.distances(features)[0] > reference.limit)
    warnings = found.predictions["warning"]
    assert "unlike the training films" in warnings[1] and warnings.str.contains("unlike").tolist() == [
        bool(flagged.any()) for _, flagged in said.groupby("row")["unlike_training"]
    ]


def test_names_of_a_folder_on_request(runs: Path, films: Path) -> None:
    found = done(request(runs, LocalFolder(films / "north"), own_names=True)).results
    assert found is not None
    assert found.files["film"].tolist() == sorted(path.name for path in (films / "north").iterdir())


class OnceUnreadable(Uploads):
    """Uploads of which the second can't be read while a file is there."""

    def __init__(self, contents: Sequence[bytes] = (), flag: str = "") -> None:
        super().__init__(contents)
        self.flag = flag

    def __reduce__(self) -> tuple[type[Uploads], tuple[()]]:
        return OnceUnreadable, ((), self.flag)  # type: ignore[return-value]

    def read(self, name: str) -> bytes:
        if name == "00002" and Path(self.flag).exists():
            raise RadiographError("not now", reason="unreadable")
        return super().read(name)


def test_what_failed_for_a_reason_that_may_pass_is_tried_again(runs: Path, films: Path, temporary: Path) -> None:
    flag = temporary / "flag"
    flag.touch()
    contents = [path.read_bytes() for path in sorted(films.glob("*/im*.dcm"))[:3]]
    job = done(request(runs, OnceUnreadable([*contents, contents[0][:3000]], str(flag))))
    first = job.results
    assert first is not None and first.statuses == {"scored": 2, "skipped": 0, "failed": 2}
    assert job.may_pass == 1, "a truncated file fails each time"
    desk = BatchDesk()
    desk._jobs["me"] = job
    flag.unlink()
    desk.again("me")
    end = time.monotonic() + 60
    while not job.ended and time.monotonic() < end:
        time.sleep(0.05)
    again = job.results
    assert again is not None and job.error == "" and job.ended
    assert again.statuses == job.counts == {"scored": 3, "skipped": 0, "failed": 1}
    assert again.files["status"].tolist() == ["scored", "scored", "scored", "failed"]
    whole = done(request(runs, Uploads(contents))).results
    assert whole is not None
    assert again.predictions[NAMES[0]].tolist() == pytest.approx(whole.predictions[NAMES[0]].tolist(), abs=1e-6)
    assert job.may_pass == 0 and not list(temporary.glob("end-cxr*")), "nothing is kept that can't be tried again"


def test_what_waits_to_be_tried_again_goes_with_the_job(runs: Path, films: Path, temporary: Path) -> None:
    flag = temporary / "flag"
    flag.touch()
    contents = [path.read_bytes() for path in sorted(films.glob("*/im*.dcm"))[:2]]
    job = done(request(runs, OnceUnreadable(contents, str(flag))))
    assert job.may_pass == 1 and len(list(temporary.glob("end-cxr*"))) == 1
    desk = BatchDesk()
    desk._jobs["me"] = job
    desk.forget("me")
    assert not list(temporary.glob("end-cxr*")) and job.may_pass == 0


def test_stopping_keeps_what_is_finished(runs: Path, films: Path, temporary: Path) -> None:
    def present() -> bool:
        if jobs[0].finished:
            jobs[0].cancel()
        return True

    jobs = [BatchJob(request(runs, LocalFolder(films)), present)]
    (job,) = jobs
    job.run()
    found = job.results
    assert found is not None and job.cancelled and 0 < job.finished < job.total
    assert len(found.files) == job.finished == sum(found.statuses.values())
    assert len(pd.read_csv(io.BytesIO(found.predictions_csv))) == 2 * found.statuses["scored"]
    assert not list(temporary.glob("end-cxr*"))


def test_nothing_scored_is_no_error(runs: Path, temporary: Path) -> None:
    found = done(request(runs, Uploads([b"", b"text"]))).results
    assert found is not None and found.statuses == {"scored": 0, "skipped": 1, "failed": 1}
    assert found.predictions.empty and found.sources.empty and found.predictions_csv.startswith(b"film,run,row")


def test_errors_are_sentences_without_paths(runs: Path, films: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "model.safetensors").write_bytes(b"no model")
    errors = [
        done(replace(request(runs, LocalFolder(films)), runs={"broken": broken})).error,
        done(replace(request(runs, LocalFolder(films)), runs={"gone": tmp_path / "gone"})).error,
        done(request(runs, LocalFolder(tmp_path / "nowhere"))).error,
        done(request(runs, LocalFolder(broken / "model.safetensors"))).error,
        done(request(runs, Uploads([]))).error,
    ]
    assert all(error.endswith(".") and str(tmp_path) not in error and "nowhere" not in error for error in errors)
    assert "checkpoint" in errors[0] and "no file" in errors[4]


class Waiting(BatchJob):
    """A job that runs until it is let go."""

    def __init__(self, present: Callable[[], bool] = lambda: True) -> None:
        super().__init__(Request(Uploads([b"x"]), {}, DicomPolicy(), True, NOTICE), present)
        self.begun, self.let_go = threading.Event(), threading.Event()

    def run(self) -> None:
        self.begun.set()
        if not self.stopping:
            self.let_go.wait(10)
        self.phase = "ended"


def test_one_job_at_a_time() -> None:
    desk, jobs = BatchDesk(), [Waiting() for _ in range(3)]
    for number, job in enumerate(jobs):
        desk.submit(str(number), job)
    assert jobs[0].begun.wait(5) and [desk.before(job) for job in jobs] == [0, 1, 2]
    with pytest.raises(JobError, match="not ended"):
        desk.submit("0", Waiting())
    desk.cancel(jobs[1])
    assert jobs[1].ended and desk.before(jobs[2]) == 1 and not jobs[2].begun.is_set()
    jobs[0].let_go.set()
    assert jobs[2].begun.wait(5), "the next one starts by itself"
    assert desk.job("0") is jobs[0] and desk.job("someone else") is None
    desk.forget("0")
    assert desk.job("0") is None
    for number in range(LONGEST_LINE):
        desk.submit(f"more {number}", Waiting())
    with pytest.raises(JobError, match="Too many"):
        desk.submit("one too many", Waiting())


def test_the_job_of_a_visitor_who_left_is_dropped() -> None:
    here = True
    desk, job = BatchDesk(), Waiting(Presence(lambda: here, grace=0.0))
    desk.submit("visitor", job)
    assert desk.job("visitor") is job
    here = False
    assert desk.job("visitor") is None and job.stopping
    patient = Presence(lambda: here, grace=60)
    assert patient(), "a connection may be lost for a moment"


def test_no_way_out_of_the_films_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "films"
    (root / "a" / "b" / "c").mkdir(parents=True)
    (root / ".hidden").mkdir()
    (tmp_path / "secret").mkdir()
    (root / "out").symlink_to(tmp_path / "secret")
    (root / "in").symlink_to(root / "a")
    (root / "circle").symlink_to(root / "circle")
    (root / "file").write_text("")
    assert sub_folders(root) == ["a", "a/b"]
    assert confined(root, "") == root and confined(root, "a/b/c") == root / "a" / "b" / "c"
    assert confined(root, "in") == root / "a" and confined(root, str(root / "a")) == root / "a"
    outside = ["..", "../secret", "a/../../secret", "/", "/etc", str(tmp_path), "out", "out/", "~"]
    sentences = set()
    for typed in [*outside, "nowhere", "file", "circle", "a\0b", "x" * 5000]:
        with pytest.raises(FilmsFolderError) as refused:
            confined(root, typed)
        sentences.add(str(refused.value))
    assert len(sentences) == 1, "what is refused and what isn't there can't be told apart"
    monkeypatch.delenv("END_CXR_FILMS", raising=False)
    assert films_root() is None
    monkeypatch.setenv("END_CXR_FILMS", str(root / "in"))
    assert films_root() == root / "a"
