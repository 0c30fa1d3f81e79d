"""What SECURITY.md promises of files: none is executed, none leads out of its folder, sizes are bounded before decoding."""

import io
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import joblib
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from app.numbers.audit import read_audit
from app.numbers.run_records import training_curves
from datasets.biased_mnist import load_biased_mnist
from datasets.cohort.cache import on_disk
from datasets.cohort.label_table import read_labels
from datasets.cohort.parquet_table import read_parquet
from datasets.covid import FilmFolder, load_covid
from datasets.film.identity import hash_key
from datasets.film.preprocessing import Preprocessing
from datasets.film.read import read_radiograph
from models.classifier import ModelConfig, build_classifier
from tests.planted import Planted
from training.run.checkpoint import load_checkpoint
from training.run.config import from_settings
from training.run.index import run_index
from training.run.probe_file import load_probe_set
from training.run.reference import load_reference
from training.scoring.lung_masks import lung_masks

ROOT = Path(__file__).parent.parent
KEY = bytes(range(32))
SMALL = Preprocessing(8, intensity="none")
YAML_TAG = "!!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path ['{}']]"


def _numpy(planted: Planted) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([planted], dtype=object), allow_pickle=True)
    return buffer.getvalue()


def _torch(planted: Planted) -> bytes:
    buffer = io.BytesIO()
    torch.save({"x": planted}, buffer)
    return buffer.getvalue()


def _joblib(planted: Planted) -> bytes:
    buffer = io.BytesIO()
    joblib.dump([planted], buffer)
    return buffer.getvalue()


def _parquet(planted: Planted) -> bytes:
    """A column of pickles under the extension name that pyarrow before 14.0.1 unpickled on sight."""
    kind = {b"ARROW:extension:name": b"arrow.py_extension_type", b"ARROW:extension:metadata": pickle.dumps(planted)}
    column = pa.field("label", pa.binary(), metadata=kind)
    table = pa.table([pa.array([pickle.dumps(planted)], pa.binary())], schema=pa.schema([column]))
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


KINDS: dict[str, Callable[[Planted], bytes]] = {
    "pickle": pickle.dumps,
    "torch": _torch,
    "numpy": _numpy,
    "joblib": _joblib,
    "parquet": _parquet,
    "yaml": lambda planted: YAML_TAG.format(planted.trace).encode(),
}


def _mnist(folder: Path) -> object:
    return load_biased_mnist(Preprocessing(28, 3, mean=(0.5,), std=(0.5,)), folder)


PLACES: dict[str, Callable[[Path], object]] = {
    "model.safetensors": load_checkpoint,
    "reference.safetensors": load_reference,
    "probe_set.safetensors": load_probe_set,
    "predictions.parquet": lambda folder: read_parquet(folder / "predictions.parquet", ["row", "label"]),
    "config.yaml": lambda folder: from_settings(folder / "config.yaml"),
    "report.json": lambda folder: read_audit((folder / "report.json").read_text(encoding="utf-8")),
    "metadata.csv": lambda folder: load_covid(folder, SMALL),
    "labels.csv": lambda folder: read_labels(folder / "labels.csv", KEY, []),
    "labels.parquet": lambda folder: read_labels(folder / "labels.parquet", KEY, []),
    "weights.safetensors": lambda folder: build_classifier(
        ModelConfig("test_resnet", 2), weights=folder / "weights.safetensors"
    ),
    "film.png": lambda folder: read_radiograph(folder / "film.png"),
    "key": lambda folder: hash_key(folder, folder / "key"),
    "train-images-idx3-ubyte": _mnist,
    "train-images-idx3-ubyte.gz": _mnist,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", PLACES)
def test_what_is_planted_is_refused_in_a_sentence_and_never_executed(place: str, kind: str, tmp_path: Path) -> None:
    trace = tmp_path / "executed"
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / place).write_bytes(KINDS[kind](Planted(trace)))
    with pytest.raises(ValueError, match=r"\w+ \w+ \w+") as caught:
        PLACES[place](folder)
    assert not trace.exists()
    assert not isinstance(caught.value, AssertionError)


def test_the_planted_would_be_executed(tmp_path: Path) -> None:
    trace = tmp_path / "executed"
    pickle.loads(pickle.dumps(Planted(trace)))  # noqa: S301
    assert trace.exists()


@pytest.mark.parametrize("kind", KINDS)
def test_a_cache_on_a_shared_disk(kind: str, tmp_path: Path) -> None:
    Image.fromarray(np.arange(51, 115, dtype=np.uint8).reshape(8, 8)).save(tmp_path / "film.png")
    films, folder, trace = FilmFolder(tmp_path, ["film.png"]), tmp_path / "cache", tmp_path / "executed"
    first = on_disk(films, SMALL, 1, folder)
    clean = first.images[first.places].clone()
    hashes, pixels = sorted(folder.iterdir())
    for file in (hashes, pixels):
        file.write_bytes(KINDS[kind](Planted(trace)))
        decoded = on_disk(films, SMALL, 1, folder)
        assert decoded.images[decoded.places].shape == (1, 1, 8, 8) and not decoded.unreadable
        if file == hashes:
            assert torch.equal(decoded.images[decoded.places], clean)
    assert not trace.exists() and sorted(folder.iterdir()) == [hashes, pixels]


@pytest.mark.parametrize("kind", ["pickle", "torch"])
def test_what_an_old_torchvision_left_of_mnist(kind: str, tmp_path: Path) -> None:
    processed, trace = tmp_path / "MNIST/processed", tmp_path / "executed"
    processed.mkdir(parents=True)
    for name in ("training.pt", "test.pt"):
        (processed / name).write_bytes(KINDS[kind](Planted(trace)))
    with pytest.raises(ValueError, match="old torchvision and never opened"):
        _mnist(tmp_path)
    assert not trace.exists()


@pytest.mark.slow
def test_resuming_from_a_folder_of_pickles(tmp_path: Path) -> None:
    trace = tmp_path / "executed"
    (tmp_path / "config.yaml").write_text("dataset: phantom\nmethod: erm\n")
    for name in ("resume.pt", "resume-0.pt", "resume-1.pt"):
        torch.save({"x": Planted(trace)}, tmp_path / name)
    command = [sys.executable, "-m", "training.train", "--resume", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2 and "Traceback" not in done.stderr and str(tmp_path) in done.stderr
    assert not trace.exists()


@pytest.mark.parametrize("kind", ["pickle", "torch"])
def test_runs_that_are_pickles_are_listed_and_not_opened(kind: str, tmp_path: Path) -> None:
    trace = tmp_path / "executed"
    for name in ("model.pt", "model.safetensors", "report.json", "metrics.jsonl"):
        folder = tmp_path / "runs" / name.replace(".", "-")
        folder.mkdir(parents=True)
        (folder / name).write_bytes(KINDS[kind](Planted(trace)))
        assert training_curves(folder).empty
    problems = {entry.name: entry.problem for entry in run_index(tmp_path / "runs")}
    assert "could run code" in problems["model-pt"] and "never loaded" in problems["model-safetensors"]
    assert not trace.exists()


def _film_folder(folder: Path, path: str = "a.png", mask: str = "a.png") -> Path:
    """A film of this path and this mask, and seven others, split by hand."""
    folder.mkdir()
    lines = ["path,label,source,mask,split"]
    for number, name in enumerate("abcdefgh"):
        Image.fromarray(np.full((8, 8), number, np.uint8)).save(folder / f"{name}.png")
        film, lungs = (path, mask) if name == "a" else (f"{name}.png",) * 2
        label, split = "covid" if number % 2 else "normal", "train" if number < 4 else "validation"
        lines.append(f"{film},{label},north,{lungs},{split}")
    (folder / "metadata.csv").write_text("\n".join(lines), encoding="utf-8")
    return folder


@pytest.mark.parametrize("column", ["path", "mask"])
@pytest.mark.parametrize("how", ["..", "absolute", "link", "linked folder", "NUL", "circle", "long"])
def test_paths_of_metadata_stay_in_their_folder(column: str, how: str, tmp_path: Path) -> None:
    outside = tmp_path / "outside.png"
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(outside)
    text = {"..": "../outside.png", "absolute": str(outside), "link": "link.png", "linked folder": "linked/outside.png"}
    text |= {"NUL": "a\0b.png", "circle": "circle.png", "long": "a" * 300 + ".png"}
    folder = _film_folder(tmp_path / "films", **{column: text[how]})
    (folder / "link.png").symlink_to(outside)
    (folder / "linked").symlink_to(tmp_path, target_is_directory=True)
    (folder / "circle.png").symlink_to(folder / "circle.png")
    try:
        cohort = load_covid(folder, SMALL)
        masks = lung_masks(cohort, folder)
    except ValueError as error:
        assert "leaves the folder" in str(error) or "no name of a file" in str(error)
        return
    # Or the row is left out, with its reason: the film is not read.
    assert column == "path" and masks.films is not None and masks.known.all()
    assert cohort.excluded["reason"].tolist() == ["its path is no name of a file"]


def test_a_label_table_names_no_file_to_open(tmp_path: Path) -> None:
    """It is matched by keyed hash: a path in it is text, wherever it leads."""
    (tmp_path / "labels.csv").write_text("file,label\n../../etc/passwd,covid\n/etc/passwd,normal\n")
    from datasets.sample import DatasetInfo

    info = DatasetInfo("covid", ("not covid", "covid"), ("north",), "source", 1, synthetic=False)
    labels = read_labels(tmp_path / "labels.csv", KEY, [info])
    assert "file" not in labels.table and labels.hashes["file"].str.fullmatch("[0-9a-f]{16}").all()


def test_run_folders_outside_the_root_are_not_listed(tmp_path: Path) -> None:
    for place in (tmp_path / "outside", tmp_path / "runs/inside"):
        place.mkdir(parents=True)
        (place / "config.yaml").write_text("method: erm")
    (tmp_path / "runs/link").symlink_to(tmp_path / "outside")
    assert [entry.name for entry in run_index(tmp_path / "runs")] == ["inside"]
