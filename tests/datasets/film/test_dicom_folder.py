"""What a folder lists, and what it never opens or follows."""

import io
import os
import pickle
import socket
import zipfile
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from datasets.film.folder import LINK, SPECIAL, UNLISTED, Entry, FolderError, LocalFolder, RemoteFolder, open_folder
from datasets.film.radiograph import RadiographError

FILES = {"b.dcm": b"22", "a/2.dcm": b"1", "a/10": b"333", "a/deep/er/x": b"4", "a.dcm": b"5", "Z": b"6", "a-b/c": b"7"}
ORDER = ["Z", "a/10", "a/2.dcm", "a/deep/er/x", "a-b/c", "a.dcm", "b.dcm"]


def fill(root: Path) -> Path:
    for name, content in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def problems(root: Path) -> dict[str, str]:
    return {entry.name: entry.problem for entry in open_folder(str(root)).entries()}


def test_order_is_that_of_the_names_whatever_the_file_system_says(tmp_path: Path) -> None:
    entries = list(open_folder(str(fill(tmp_path))).entries())
    assert [entry.name for entry in entries] == ORDER
    assert [entry.size for entry in entries] == [len(FILES[name]) for name in ORDER]
    assert not any(entry.problem for entry in entries)
    assert list(open_folder(f"file://{tmp_path}").entries()) == entries


def test_a_change_shows(tmp_path: Path) -> None:
    folder = open_folder(str(fill(tmp_path)))
    before = {entry.name: entry for entry in folder.entries()}
    (tmp_path / "Z").write_bytes(b"7")
    os.utime(tmp_path / "Z", ns=(1, 1))
    (tmp_path / "b.dcm").write_bytes(b"223")
    after = {entry.name: entry for entry in folder.entries()}
    assert {name for name in before if before[name] != after[name]} == {"Z", "b.dcm"}


def test_links_are_listed_and_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"1")
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (root / "film").write_bytes(b"1")
    links = {"file": "film", "folder": "sub", "dangling": "nothing", "out": "../outside", "up": "..", "loop": "loop"}
    for name, target in links.items():
        (root / name).symlink_to(target)
    (root / "sub" / "round").symlink_to(root)
    expected = dict.fromkeys([*links, "sub/round"], LINK) | {"film": ""}
    assert problems(root) == expected
    assert {e.name: e.problem for e in RemoteFolder(f"local://{root}").entries()} == expected
    assert [entry.name for entry in open_folder(str(root / "up")).entries()], "the folder itself may be a link"


def test_pipes_and_sockets_are_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.chdir(tmp_path)  # the path of a socket may be no longer than 107 bytes
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind("socket")
        expected = {"pipe": SPECIAL, "socket": SPECIAL}
        assert problems(tmp_path) == expected
        assert {e.name: e.problem for e in RemoteFolder(f"local://{tmp_path}").entries()} == expected


@pytest.mark.parametrize("remote", [False, True])
def test_a_sub_folder_that_can_t_be_listed_is_one_entry(
    remote: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a broken file system rather than by permissions, which root is above."""
    root, listing = fill(tmp_path), os.scandir

    def scandir(path: Path | str) -> object:
        if str(path).rstrip("/").endswith("/a"):
            raise PermissionError(13, "Permission denied", str(path))
        return listing(path)

    monkeypatch.setattr("os.scandir", scandir)
    folder = RemoteFolder(f"local://{root}") if remote else LocalFolder(root)
    entries = list(folder.entries())
    assert [entry.name for entry in entries] == ["Z", "a", "a-b/c", "a.dcm", "b.dcm"]
    assert entries[1] == Entry("a", 0, "", UNLISTED)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_locked_sub_folder_is_one_entry(tmp_path: Path) -> None:
    (fill(tmp_path) / "a").chmod(0)
    try:
        assert problems(tmp_path)["a"] == UNLISTED
    finally:
        (tmp_path / "a").chmod(0o700)


def test_names_that_are_no_utf_8_or_hold_line_breaks(tmp_path: Path) -> None:
    odd = [b"caf\xe9.dcm", b"line\nbreak", b"tab\t", " ünï ".encode(), b"=1+1", b"back\\slash", b"..."]
    for name in odd:
        Path(os.fsdecode(bytes(tmp_path) + b"/" + name)).write_bytes(name)
    folder = open_folder(str(tmp_path))
    found = [entry.name for entry in folder.entries()]
    assert sorted(map(os.fsencode, found)) == sorted(odd)
    for name in found:
        assert folder.read(name) == os.fsencode(name)


@pytest.mark.trains
def test_folders_nested_deeper_than_calls_may_be(tmp_path: Path) -> None:
    place, here = os.open(tmp_path, os.O_RDONLY), Path.cwd()
    try:
        os.fchdir(place)
        for _ in range(1500):
            Path("d").mkdir()
            os.chdir("d")
        Path("film").write_bytes(b"1")
        os.fchdir(place)
        assert list(problems(tmp_path)) == ["d/" * 1500 + "film"]
    finally:
        os.fchdir(place)
        os.system("rm -rf d")  # shutil.rmtree, which tidies up after pytest, recurses too
        os.chdir(here)
        os.close(place)


@pytest.fixture
def memory() -> Iterator[str]:
    """The files of `fill` in a storage of this process."""
    storage = fsspec.filesystem("memory")
    for name, content in FILES.items():
        storage.pipe_file(f"/archive/films/{name}", content)
    yield "memory://archive/films"
    storage.rm("/archive", recursive=True)


def test_a_storage_is_listed_and_read_as_a_local_folder(memory: str, tmp_path: Path) -> None:
    local, remote = open_folder(str(fill(tmp_path))), open_folder(memory + "/")
    assert isinstance(local, LocalFolder) and isinstance(remote, RemoteFolder)
    assert [e[:2] + e[3:] for e in remote.entries()] == [e[:2] + e[3:] for e in local.entries()]
    assert all(entry.changed for entry in remote.entries())
    for name, content in FILES.items():
        assert remote.read(name) == local.read(name) == content


def test_a_storage_tells_what_changed(memory: str) -> None:
    before = {entry.name: entry for entry in open_folder(memory).entries()}
    fsspec.filesystem("memory").pipe_file("/archive/films/Z", b"9")
    after = {entry.name: entry for entry in open_folder(memory).entries()}
    assert {name for name in before if before[name] != after[name]} == {"Z"}


def test_a_connection_is_not_pickled(memory: str) -> None:
    folder = RemoteFolder(memory)
    first = list(folder.entries())
    assert "_opened" in folder.__dict__
    copy = pickle.loads(pickle.dumps(folder))  # noqa: S301
    assert copy.__dict__ == {"url": memory} and copy == folder
    assert list(copy.entries()) == first and copy.read("Z") == b"6"


@pytest.mark.parametrize("remote", [False, True])
def test_a_file_that_can_t_be_read_names_no_file(remote: bool, memory: str, tmp_path: Path) -> None:
    folder = RemoteFolder(memory) if remote else LocalFolder(tmp_path)
    with pytest.raises(RadiographError) as caught:
        folder.read("Doe^John.dcm")
    assert caught.value.reason == "unreadable"
    assert "Doe" not in repr(caught.value) and caught.value.__cause__ is None
    if remote:
        assert caught.value.__context__ is None


def test_a_file_larger_than_any_film_is_not_fetched_whole(memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.film.folder.MAX_BYTES", 2)
    monkeypatch.setattr("datasets.film.radiograph.MAX_BYTES", 2)
    with pytest.raises(RadiographError) as caught:
        RemoteFolder(memory).read("a/10")
    assert caught.value.reason == "too large"


def test_no_folder_is_said_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FolderError, match="does not exist"):
        open_folder(str(tmp_path / "none"))
    with pytest.raises(FolderError, match="is no folder"):
        open_folder(str(tmp_path / "file"))
    with pytest.raises(FolderError, match="can't be read: FileNotFoundError"):
        list(open_folder("memory://nowhere").entries())
    with pytest.raises(FolderError, match="can't be opened: Protocol not known"):
        list(open_folder("nonsense://x").entries())
    gone = LocalFolder(tmp_path / "gone")
    with pytest.raises(FolderError, match="gone can't be read: No such file"):
        list(gone.entries())
    assert list(open_folder(str(tmp_path)).entries()) == [Entry("file", 0, str((tmp_path / "file").stat().st_mtime_ns))]


def test_a_storage_whose_root_has_no_name() -> None:
    with zipfile.ZipFile(packed := io.BytesIO(), "w") as archive:
        archive.writestr("north/1.dcm", b"one")
        archive.writestr("top.dcm", b"two")
    fsspec.filesystem("memory").pipe_file("/films.zip", packed.getvalue())
    folder = open_folder("zip://::memory://films.zip")
    assert [entry.name for entry in folder.entries()] == ["north/1.dcm", "top.dcm"]
    assert [folder.read(name) for name in ("north/1.dcm", "top.dcm")] == [b"one", b"two"]
