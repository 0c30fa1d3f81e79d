"""A Parquet file as a table, bounded by what it declares before anything is decoded: a few bytes can declare many rows.

Files are opened here and handed over open: pyarrow takes every path for UTF-8, whatever the locale is.
"""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from datasets.files import write_aside

MAX_CELLS = 1 << 28  # rows x columns
MAX_BYTES = 1 << 30  # unpacked


class TableError(ValueError):
    """A table that can't be read; the message names the file and says why."""


def read_parquet(file: Path, columns: Sequence[str] | None = None, **options: Any) -> pd.DataFrame:
    """The table, or some of its columns; `options` are those of `pandas.read_parquet`.

    Raises:
        TableError: not there, not Parquet, damaged, a column missing, or more cells or bytes than are allowed.
    """
    try:
        with file.open("rb") as content:
            declared = pq.read_metadata(content)
        unpacked = sum(declared.row_group(i).total_byte_size for i in range(declared.num_row_groups))
        if declared.num_rows * declared.num_columns > MAX_CELLS or unpacked > MAX_BYTES:
            raise TableError(
                f"{file} declares {declared.num_rows} rows of {declared.num_columns} columns, {unpacked} bytes: "
                f"more than the {MAX_CELLS} cells or {MAX_BYTES} bytes allowed"
            )
        with file.open("rb") as content:
            return pd.read_parquet(content, columns=None if columns is None else list(columns), **options)
    except TableError:
        raise
    except (OSError, ValueError, KeyError, MemoryError, pa.ArrowException) as error:
        raise TableError(f"{file} can't be read as Parquet ({type(error).__name__})") from None


def write_parquet(table: pd.DataFrame, file: Path) -> None:
    """Keep a table without its index; raises OSError where it can't be written, and then leaves the file as it was."""
    with io.BytesIO() as content:
        table.to_parquet(content, index=False)
        write_aside(file, lambda aside: aside.write_bytes(content.getbuffer()))
