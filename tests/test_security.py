"""What SECURITY.md promises: nothing that is read is executed, nothing leaves its folder, sizes are bounded first."""

import ast
import cProfile
import gzip
import io
import itertools
import pickle
import struct
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from app.audit import AuditError, read_audit
from app.run_records import training_curves
from datasets.biased_mnist import load_biased_mnist
from datasets.cache import on_disk
from datasets.covid import FilmFolder, load_covid
from datasets.identity import hash_key
from datasets.parquet_table import MAX_CELLS, TableError, read_parquet
from datasets.preprocessing import Preprocessing
from datasets.radiograph import read_radiograph
from models.classifier import ModelConfig, build_classifier
from training.checkpoint import load_checkpoint
from training.checkpoint_header import read_header
from training.commandline import LONGEST_YAML, read_yaml
from training.config import from_settings
from training.folder.labels import read_labels
from training.probe_file import load_probe_set
from training.reference import load_reference
from training.run_index import run_index
from training.subjects import lung_masks

ROOT = Path(__file__).parent.parent
SOURCES = sorted(file for room in ("app", "datasets", "models", "training") for file in (ROOT / room).rglob("*.py"))
KEY = bytes(range(32))
SMALL = Preprocessing(8, intensity="none")
YAML_TAG = "!!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path ['{}']]"


class Planted:
    """Unpickling this leaves a file behind."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return (Path.touch, (self.trace,))


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
    Image.fromarray(np.full((8, 8), 51, np.uint8)).save(tmp_path / "film.png")
    films, folder, trace = FilmFolder(tmp_path, ["film.png"]), tmp_path / "cache", tmp_path / "executed"
    on_disk(films, SMALL, 1, folder)
    (file,) = folder.iterdir()
    file.write_bytes(KINDS[kind](Planted(trace)))
    images, unreadable = on_disk(films, SMALL, 1, folder)
    assert torch.allclose(images[0], torch.full((1, 8, 8), 0.2)) and not unreadable
    assert not trace.exists() and [child.name for child in folder.iterdir()] == [file.name]


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


FORBIDDEN_MODULES = {
    "pickle", "cPickle", "_pickle", "dill", "cloudpickle", "marshal", "shelve", "jsonpickle", "telnetlib",
    "socket", "http", "requests", "httpx", "aiohttp", "ftplib", "smtplib", "urllib.request", "urllib3",
}  # fmt: skip
FORBIDDEN_CALLS = {
    "eval", "exec", "compile", "__import__", "os.system", "os.popen", "yaml.load", "yaml.full_load", "yaml.unsafe_load",
    "yaml.load_all", "pd.read_pickle", "pandas.read_pickle", "joblib.load", "torch.jit.load", "torch.hub.load",
    "torch.serialization.add_safe_globals", "tempfile.mktemp", "PersistentDataset", "monai.data.PersistentDataset",
}  # fmt: skip
MUST_HAVE = {"torch.load": ("weights_only", True), "jinja2.Environment": ("autoescape", True)}
MUST_NOT_HAVE = ("allow_pickle", "shell", "unsafe_allow_html", "trust_remote_code", "unsafe_allow_javascript")


def unsafe(source: str) -> Iterator[str]:
    """Each import or call that could execute what it reads, or that speaks to a network."""
    tree = ast.parse(source)
    full = {}  # what a name stands for: `from torch import load as fetch` makes fetch torch.load
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            full |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
            modules = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            full |= {alias.asname: alias.name for alias in node.names if alias.asname}
            modules = [alias.name for alias in node.names]
        else:
            continue
        for module in modules:
            if module in FORBIDDEN_MODULES or module.partition(".")[0] in FORBIDDEN_MODULES:
                yield f"import {module}"
            if module in FORBIDDEN_CALLS:
                yield module
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        head, _, rest = ast.unparse(node.func).partition(".")
        name = ".".join(filter(None, [full.get(head, head), rest]))
        given = {word.arg: getattr(word.value, "value", ...) for word in node.keywords}
        if name in FORBIDDEN_CALLS or (name in MUST_HAVE and given.get(MUST_HAVE[name][0]) is not MUST_HAVE[name][1]):
            yield name
        yield from (f"{name} {word}" for word in MUST_NOT_HAVE if given.get(word) not in (None, False))


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_source_executes_what_it_reads(file: Path) -> None:
    assert not list(unsafe(file.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    "source",
    [
        "import pickle", "from pickle import loads", "import urllib.request", "from urllib import request",
        "import http.client", "eval('1')", "import os\nos.system('x')", "import torch\ntorch.load(f)",
        "from torch import load as fetch\nfetch(f)",
        "import torch as t\nt.load(f, weights_only=False)", "import torch\ntorch.load(f, weights_only=chosen)",
        "import numpy as np\nnp.load(f, allow_pickle=True)", "import yaml\nyaml.load(f, Loader=x)",
        "import subprocess\nsubprocess.run('x', shell=True)", "import joblib\njoblib.load(f)", "pd.read_pickle(f)",
        "from monai.data import PersistentDataset", "import jinja2\njinja2.Environment(loader=x)",
        "st.markdown(x, unsafe_allow_html=True)", "from os import system as s\ns('x')",
    ],
)  # fmt: skip
def test_unsafe_source_is_found(source: str) -> None:
    assert list(unsafe(source))


def test_safe_source_is_not_found() -> None:
    source = "import torch, yaml\nmodel.eval()\ntorch.load(f, weights_only=True)\nyaml.safe_load(f)\nre.compile(x)"
    assert not list(unsafe(source))


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
    assert column == "path" and masks is not None
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
    file.write_bytes(b"#" * (LONGEST_YAML + 1))
    with pytest.raises(ValueError, match="too many for settings"):
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
    monkeypatch.setattr("datasets.parquet_table.MAX_BYTES", 1000)
    pd.DataFrame({"x": np.arange(10_000)}).to_parquet(file)
    with pytest.raises(TableError, match="more than"):
        read_parquet(file)
    monkeypatch.setattr("datasets.csv_table.MAX_BYTES", 10)
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
        _mnist(tmp_path)


@pytest.mark.parametrize("change", [{"size": 100_000_000}, {"size": 0}, {"channels": 1 << 40}])
def test_a_header_asks_for_no_enormous_input(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        Preprocessing.from_json({"size": 64, "channels": 1, "mean": [0.5], "std": [0.5]} | change)


def test_the_app_listens_to_this_machine_alone_and_reports_to_nobody() -> None:
    config = tomllib.loads((ROOT / "app/.streamlit/config.toml").read_text(encoding="utf-8"))
    assert config["server"]["address"] == "127.0.0.1" and config["server"]["enableXsrfProtection"]
    assert config["server"]["maxUploadSize"] <= 50 and config["browser"]["gatherUsageStats"] is False
    assert config["client"]["showErrorDetails"] == "none"


def test_versions_that_unpickled_are_not_allowed() -> None:
    """torch below 2.10 (CVE-2026-24747), MONAI below 1.5.1, pyarrow below 14.0.1, pydicom below 3.0.2 (DICOMDIR)."""
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    floors = {name: tuple(map(int, low.split("."))) for name, _, low in (line.partition(">=") for line in wanted)}
    for name, lowest in (("torch", (2, 10)), ("monai", (1, 5, 1)), ("pyarrow", (14, 0, 1)), ("pydicom", (3, 0, 2))):
        assert floors[name] >= lowest, name
