import errno
import os
from pathlib import Path

import pytest

from datasets.files import PlaceError, require_new_file, require_writable, write_aside, write_text, written_together


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    file.write_text("old")

    def fail(temporary: Path) -> None:
        temporary.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_aside(file, fail)
    assert file.read_text() == "old" and list(tmp_path.iterdir()) == [file]


def test_a_refusal_of_the_system_names_the_file(tmp_path: Path) -> None:
    def full(_: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for path, write in ((tmp_path / "x.csv", full), (tmp_path / "none/x.csv", Path.touch)):
        with pytest.raises(OSError) as refused:
            write_aside(path, write)
        assert refused.value.filename == str(path)
    with pytest.raises(FileNotFoundError) as refused:
        write_aside(tmp_path / "x.csv", lambda file: file.write_bytes((tmp_path / "source").read_bytes()))
    assert refused.value.filename == str(tmp_path / "source"), "a file that is read is another"


def test_files_that_belong_together_come_together_or_not_at_all(tmp_path: Path) -> None:
    out = tmp_path / "a" / "b"
    with written_together(out) as place:
        write_text(place / "one", "1")
        write_text(place / "two", "2")
        assert not (out / "one").exists()
    with pytest.raises(OSError) as refused, written_together(out) as place:
        write_text(place / "one", "3")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(place / "two"))
    assert refused.value.filename == str(out / "two")
    assert {file.name: file.read_text() for file in out.iterdir()} == {"one": "1", "two": "2"}


def test_a_full_disk_of_torch_or_safetensors_is_an_os_error_in_words(tmp_path: Path) -> None:
    def fail(_: Path) -> None:
        raise RuntimeError("PytorchStreamWriter failed\nat some line")

    with pytest.raises(OSError, match=r"x\.pt can't be written, is the disk full\? \(PytorchStreamWriter failed\)"):
        write_aside(tmp_path / "x.pt", fail)
    assert not list(tmp_path.iterdir())


def test_modes(tmp_path: Path) -> None:
    write_text(tmp_path / "usual", "Grüße")
    (tmp_path / "plain").touch()
    assert (tmp_path / "usual").read_bytes() == "Grüße".encode()
    assert (tmp_path / "usual").stat().st_mode == (tmp_path / "plain").stat().st_mode
    write_aside(tmp_path / "private", Path.touch, mode=0o600)
    assert (tmp_path / "private").stat().st_mode & 0o777 == 0o600


def test_places_that_can_be_written_to_are_left_as_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    require_writable(tmp_path / "a" / "b", "--output")
    require_writable(Path("a/b"), "--output")
    require_new_file(Path("report.xml"), "--junit")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(PlaceError, match=r"--junit \. is a folder: name a file"):
        require_new_file(Path(), "--junit")
    (tmp_path / "report.xml").write_bytes(b"<suites/>")
    require_new_file(Path("report.xml"), "--junit", b"<suites", "report")
    with pytest.raises(PlaceError, match=r"--junit report\.xml is there already and is no table: name another file"):
        require_new_file(Path("report.xml"), "--junit", b"path,label", "table")
    assert (tmp_path / "report.xml").read_bytes() == b"<suites/>"
    (tmp_path / "file").touch()
    require_new_file(Path("file"), "--junit", b"<suites", "report")  # nothing in it can be lost
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(PlaceError, match="--output loop is there already and is no folder"):
        require_writable(Path("loop"), "--output")
    with pytest.raises(PlaceError, match=r"--output file/a can't be made: \S+/file is no folder"):
        require_writable(Path("file/a"), "--output")
