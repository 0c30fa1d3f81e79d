"""Finished shards: whole or not there, on a disk and on a storage."""

import errno
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pyarrow as pa
import pytest

from datasets.film.folder import Entry
from training.folder.shard import Shard
from training.folder.store import ShardStore

SHARD = Shard("0" * 32, [Entry("a", 1, "1"), Entry("b", 2, "2")])
TABLE = pa.table({"file": ["x", "y"], "logits 0": [[1.0, 2.0], None]})


@pytest.fixture(params=["disk", "storage"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ShardStore]:
    if request.param == "disk":
        yield ShardStore(str(tmp_path / "shards"))
        return
    yield ShardStore("memory://results/shards")
    if fsspec.filesystem("memory").exists("/results"):
        fsspec.filesystem("memory").rm("/results", recursive=True)


def test_what_was_written_is_there(store: ShardStore) -> None:
    assert not store.has(SHARD)
    store.write(SHARD, TABLE)
    assert store.has(SHARD) and store.read(SHARD.name).equals(TABLE)
    assert store.read(SHARD.name, ["file"]).column_names == ["file"]
    assert not store.has(SHARD._replace(name="1" * 32))
    assert not store.has(SHARD._replace(entries=SHARD.entries[:1])), "another number of files"
    store.write(SHARD, TABLE)  # by another machine, at the same time
    assert store.has(SHARD)


@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: data[:-9], lambda data: b"\0" * len(data)])
def test_a_table_that_was_cut_short_is_made_again(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    store, file = ShardStore(str(tmp_path)), tmp_path / f"{SHARD.name}.parquet"
    store.write(SHARD, TABLE)
    file.write_bytes(damage(file.read_bytes()))
    assert not store.has(SHARD)
    store.write(SHARD, TABLE)
    assert store.read(SHARD.name).equals(TABLE)


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ShardStore(str(tmp_path))
    store.write(SHARD, TABLE)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("datasets.files.os.fsync", full)
    other = SHARD._replace(name="1" * 32)
    with pytest.raises(OSError, match="No space left"):
        store.write(other, TABLE)
    assert [file.name for file in tmp_path.iterdir()] == [f"{SHARD.name}.parquet"]
    assert store.has(SHARD) and not store.has(other)


def test_what_belongs_to_another_folder_or_was_left_by_a_kill_is_removed(tmp_path: Path) -> None:
    store = ShardStore(str(tmp_path))
    store.write(SHARD, TABLE)
    store.write(SHARD._replace(name="1" * 32), TABLE)
    (tmp_path / f".{SHARD.name}.parquet.a8s7d6").write_bytes(b"half")
    (tmp_path / "notes.txt").write_text("mine")
    store.keep_only({SHARD.name})
    assert sorted(file.name for file in tmp_path.iterdir()) == [f"{SHARD.name}.parquet", "notes.txt"]


def test_a_place_is_the_same_for_processes_that_are_at_home_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = ShardStore("shards")
    monkeypatch.chdir("/")
    store.write(SHARD, TABLE)
    assert (tmp_path / "shards" / f"{SHARD.name}.parquet").is_file()
