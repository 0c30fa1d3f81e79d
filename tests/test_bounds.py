"""What SECURITY.md promises of sizes: each is bounded before anything of that size is made."""

import cProfile
import gzip
import itertools
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file

from app.numbers.audit import AuditError, read_audit
from app.numbers.run_records import training_curves
from datasets.biased_mnist import load_biased_mnist
from datasets.cohort import csv_table, parquet_table
from datasets.cohort.parquet_table import MAX_CELLS, TableError, read_parquet
from datasets.covid import load_covid
from datasets.files import LONGEST_SETTINGS
from datasets.film import radiograph
from datasets.film.preprocessing import Preprocessing
from datasets.film.read import read_radiograph
from training.console.commandline import read_yaml
from training.run.checkpoint_header import read_header

ROOT = Path(__file__).parent.parent
SMALL = Preprocessing(8, intensity="none")


@pytest.mark.trains
def test_yaml_is_bounded(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    names = "abcdefghijklmnop"
    laughs = "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
    laughs += "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]\n" for a, b in itertools.pairwise(names))
    file.write_text(f"{laughs}epochs: *{names[-1]}\n")
    with pytest.raises(ValueError, match="epochs must be of type int") as caught:
        read_yaml(file, dict.fromkeys(names, list) | {"epochs": int})
    assert len(str(caught.value)) < 500, "ten to the sixteenth words"
    file.write_text("epochs: " + "[" * 50_000 + "]" * 50_000)
    with pytest.raises(ValueError, match="nested too deeply"):
        read_yaml(file, {"epochs": int})
    file.write_bytes(b"#" * (LONGEST_SETTINGS + 1))
    with pytest.raises(ValueError, match="larger than the 1048576 bytes allowed"):
        read_yaml(file, {"epochs": int})


def test_json_is_bounded(tmp_path: Path) -> None:
    deep = "[" * 200_000 + "]" * 200_000
    with pytest.raises(AuditError, match="broken"):
        read_audit(deep)
    (tmp_path / "metrics.jsonl").write_text(deep)
    assert training_curves(tmp_path).empty
    file = tmp_path / "model.safetensors"
    save_file({"x": torch.zeros(1)}, file, metadata={"format": "end-cxr", "version": "1", "header": deep})
    with pytest.raises(ValueError, match="broken header"):
        read_header(file)


def test_safetensors_headers_are_bounded(tmp_path: Path) -> None:
    """The library takes 100 MB of header and no tensor beyond the file's end: a small file costs little memory."""
    file = tmp_path / "model.safetensors"
    for content in (
        struct.pack("<Q", 1 << 62) + b"{}",
        struct.pack("<Q", 200_000_000) + b"{" + bytes(1000),
        (head := b'{"x":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,4000000000000]}}')
        and struct.pack("<Q", len(head)) + head,
    ):
        file.write_bytes(content)
        with pytest.raises(ValueError, match="not a safetensors file"):
            read_header(file)


def test_tables_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "table.parquet"
    pq.write_table(pa.table({"x": pa.nulls(MAX_CELLS + 1, pa.int8())}), file)
    assert file.stat().st_size < 1_000_000
    with pytest.raises(TableError, match=r"declares 268435457 rows of 1 columns.*more than"):
        read_parquet(file)
    monkeypatch.setattr("datasets.cohort.parquet_table.MAX_BYTES", 1000)
    pd.DataFrame({"x": np.arange(10_000)}).to_parquet(file)
    with pytest.raises(TableError, match="more than"):
        read_parquet(file)
    monkeypatch.setattr("datasets.cohort.csv_table.MAX_BYTES", 10)
    (tmp_path / "metadata.csv").write_text("path,label,source\n")
    with pytest.raises(ValueError, match="more than the 10 allowed"):
        load_covid(tmp_path, SMALL)


def test_a_tiff_s_frames_are_not_counted() -> None:
    """Each frame may cost a hundred bytes and a third of a millisecond: a file of 128 MiB would take minutes."""
    entries = [(256, 8), (257, 8), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (279, 8)]
    size, frames = 2 + 12 * len(entries) + 4, 100_000
    ifd = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    data = b"II*\0" + struct.pack("<I", 8)
    data += b"".join(ifd + struct.pack("<I", 8 + size * (n + 1) if n < frames - 1 else 0) for n in range(frames))
    profile = cProfile.Profile()
    with pytest.raises(ValueError, match="several frames"):
        profile.runcall(read_radiograph, data)
    calls = sum(entry.callcount for entry in profile.getstats())
    assert calls < frames


def test_unpacked_digits_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.biased_mnist.MAX_BYTES", 100_000)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(bytes(200_000)))
    with pytest.raises(ValueError, match="is broken"):
        load_biased_mnist(Preprocessing(28, 3), tmp_path)


@pytest.mark.parametrize("change", [{"size": 100_000_000}, {"size": 0}, {"channels": 1 << 40}])
def test_a_header_asks_for_no_enormous_input(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        Preprocessing.from_json({"size": 64, "channels": 1, "mean": [0.5], "std": [0.5]} | change)


def test_what_security_md_names_is_there() -> None:
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", text):
        assert (ROOT / link).exists(), link
    for promise in ("128 MiB", "40 million pixels", "512 MiB of CSV", "268 million cells", "1 GiB of Parquet", "50 MB"):
        assert promise in text
    assert (radiograph.MAX_BYTES, radiograph.MAX_PIXELS) == (128 << 20, 40_000_000)
    assert (csv_table.MAX_BYTES, parquet_table.MAX_BYTES, MAX_CELLS) == (512 << 20, 1 << 30, 1 << 28)
    assert "@" not in text.replace("pip-audit@", "")
