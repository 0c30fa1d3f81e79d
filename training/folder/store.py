"""Where finished shards are kept: a folder, or a place of any storage that fsspec knows, shared by a cluster's machines."""

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from datasets.files import write_aside
from datasets.film.folder import FolderError
from training.folder.shard import Shard

# Of the machine, the storage or the hour rather than of the file.
PASSING = {"unreadable", "crashed", "timed out", "out of memory", "error"}


@dataclass(frozen=True)
class ShardStore:
    """Tables by the name of their shard; a table is whole or not there."""

    place: str

    def __post_init__(self) -> None:
        if self._local:  # the processes of a cluster are at home in other folders
            object.__setattr__(self, "place", str(Path(self.place).absolute()))

    def has(self, shard: Shard) -> bool:
        """Whether the shard is finished."""
        try:
            with self._open(shard.name) as file:
                rows: int = pq.read_metadata(file).num_rows
        except (OSError, pa.ArrowInvalid):  # none, or one that a failing disk cut short: it is made again
            return False
        return rows == len(shard.entries)

    def may_pass(self, shard: Shard) -> bool:
        """Whether a finished shard has a file that failed for a reason that may not hold another time."""
        return bool(set(self.read(shard.name, ["reason"])["reason"].to_pylist()) & PASSING)

    def write(self, shard: Shard, table: pa.Table) -> None:
        """Keep a table; raises OSError where there is no room, and then leaves nothing behind."""
        content = io.BytesIO()
        pq.write_table(table, content, compression="zstd")
        if self._local:
            folder = Path(self.place)
            folder.mkdir(parents=True, exist_ok=True)
            write_aside(folder / f"{shard.name}.parquet", lambda file: file.write_bytes(content.getbuffer()))
            return
        storage, root = self._remote()
        storage.makedirs(root, exist_ok=True)
        # Object stores show an object when it is complete; on others the move is what makes it appear.
        storage.pipe_file(f"{root}/.{shard.name}.part", content.getvalue())
        storage.mv(f"{root}/.{shard.name}.part", f"{root}/{shard.name}.parquet")

    def read(self, name: str, columns: Sequence[str] | None = None) -> pa.Table:
        """The table of a finished shard, or some of its columns."""
        with self._open(name) as file:
            return pq.read_table(file, columns=None if columns is None else list(columns))

    def keep_only(self, names: set[str]) -> None:
        """Remove the shards of earlier folders or checkpoints, and what a kill left half written."""
        if self._local:
            for file in Path(self.place).glob("*.parquet*"):
                if file.name.startswith(".") or file.stem not in names:
                    file.unlink()

    @property
    def _local(self) -> bool:
        return "://" not in self.place

    def _open(self, name: str) -> contextlib.AbstractContextManager[Any]:
        if self._local:
            return (Path(self.place) / f"{name}.parquet").open("rb")
        storage, root = self._remote()
        opened: contextlib.AbstractContextManager[Any] = storage.open(f"{root}/{name}.parquet", "rb")
        return opened

    def _remote(self) -> tuple[Any, str]:
        import fsspec

        try:
            storage, root = fsspec.core.url_to_fs(self.place)
        except (ValueError, ImportError) as error:
            raise FolderError(f"--shards {self.place} can't be opened: {error}") from None
        return storage, root.rstrip("/")
