"""Films of an archive become files, once each, and a cohort."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from datasets.film import dicomweb
from datasets.film.folder import Entry, FolderError
from datasets.film.radiograph import RadiographError
from datasets.phantom.folder import write_folder
from datasets.prepare.__main__ import main
from datasets.prepare.fetch import fetch, file_of
from tests import orthanc


class Archive:
    """Films by name; a bytes-less one can't be read, and after `lasts` films the archive is lost."""

    def __init__(self, films: dict[str, bytes | None], lasts: int = 1000) -> None:
        self.films, self.lasts, self.asked = films, lasts, list[str]()

    def entries(self) -> Iterator[Entry]:
        return (Entry(name, 0, "", "unreadable" if name == "no uid" else "") for name in self.films)

    def read(self, name: str) -> bytes:
        self.asked.append(name)
        if len(self.asked) > self.lasts:
            raise FolderError("the archive is lost")
        content = self.films[name]
        if content is None:
            raise RadiographError("gone")
        return content


def test_each_film_is_fetched_once_and_what_fails_is_asked_for_again(tmp_path: Path) -> None:
    films: dict[str, bytes | None] = {"1.2/3/4": b"a", "1.2/3/5": None, "1.2/3/6": b"c", "no uid": b"x"}
    archive = Archive(films)
    assert str(fetch(archive, tmp_path)) == (
        "2 films fetched, 2 that the archive can't give, fetched again by the same command"
    )
    assert file_of(tmp_path, "1.2/3/4").read_bytes() == b"a"
    assert not [file for file in tmp_path.rglob("*") if "1.2" in file.name], "names of files hold no UID"
    films["1.2/3/5"] = b"b"
    archive.asked.clear()
    assert str(fetch(archive, tmp_path)).startswith("1 films fetched, 2 there already")
    assert archive.asked == ["1.2/3/5"]


def test_an_archive_that_is_lost_leaves_whole_files(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match="lost"):
        fetch(Archive(dict.fromkeys("abc", b"film"), lasts=2), tmp_path)
    assert [file.read_bytes() for file in tmp_path.rglob("*.*")] == [b"film", b"film"]


@pytest.mark.process
@pytest.mark.skipif(bool(orthanc.missing()), reason=orthanc.missing())
def test_an_archive_and_labels_become_the_cohort_that_the_folder_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    films = tmp_path / "films"
    write_folder(films, 12, 0.5, 1, 64)
    monkeypatch.setenv(dicomweb.HEADER, orthanc.HEADER)
    (tmp_path / "orthanc").mkdir()
    with orthanc.running(tmp_path / "orthanc") as server:
        count = server.upload(films)
        query = ["--dicomweb", server.url, "--query", "ModalitiesInStudy=DX", "--query", "ModalitiesInStudy=CR"]
        given = ["--labels", str(films / "labels.csv"), "--workers", "1"]
        main(["dicom", str(tmp_path / "fetched"), "--out", str(tmp_path / "a"), *given, *query])
        assert f"{count} films fetched" in capsys.readouterr().err
        main(["dicom", str(tmp_path / "fetched"), "--out", str(tmp_path / "a"), *given, *query])
        assert f"0 films fetched, {count} there already" in capsys.readouterr().err
    main(["dicom", str(films), "--out", str(tmp_path / "b"), *given])
    columns = ["label", "view", "sex"]
    first, second = (pd.read_csv(tmp_path / name / "metadata.csv")[columns] for name in "ab")
    assert sorted(first.astype(str).agg(" ".join, axis=1)) == sorted(second.astype(str).agg(" ".join, axis=1))


def test_mistakes_are_sentences(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = tmp_path / "l.csv"
    labels.write_text("file,label\na.dcm,covid\n")
    known = ["dicom", "x", "--labels", str(labels), "--dicomweb", "http://localhost:1"]
    for flags, expected in (
        (["cohen", "x", "--dicomweb", "http://localhost:1"], "--dicomweb belongs to dicom"),
        (["dicom", "x", "--labels", "l.csv", "--query", "StudyDate=20260101"], "--query belongs to --dicomweb"),
        (known, "--dicomweb needs --query"),
        (
            [*known, "--query", "StudyDate=20260101", "--source-tag", "ward"],
            "--source-tag ward: dicom has no such source",
        ),
        ([*known, "--query", "StudyDate=20260101", "--labels", "none.csv"], "--labels none.csv: no such file"),
    ):
        with pytest.raises(SystemExit) as stopped:
            main([*flags, "--out", str(tmp_path / "out")])
        assert stopped.value.code == 2 and expected in capsys.readouterr().err
