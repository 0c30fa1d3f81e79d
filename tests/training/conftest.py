"""Two tiny runs and a folder of phantom DICOM films, made once for all tests that evaluate folders."""

import multiprocessing
from multiprocessing import forkserver
from pathlib import Path

import pytest

from datasets.phantom_dicom import write_folder


@pytest.fixture(scope="session")
def folder_runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """ERM and EnD, one epoch each."""
    # Decoding processes, and evaluations that are killed, are forked from one server that has all imports.
    multiprocessing.set_forkserver_preload(["training.evaluate", "training.folder.evaluation"])
    forkserver.ensure_running()
    from training.config import parse
    from training.train import main as train

    root = tmp_path_factory.mktemp("folder_runs")
    small = ["--films", "120", "--model", "test_resnet", "--img-size", "32", "--epochs", "1", "--in-chans", "1"]
    train(*parse(["--dataset", "phantom", *small, "--paired", "--output", str(root)]))
    return root / "phantom-erm-test_resnet-s0", root / "phantom-end-test_resnet-s0"


@pytest.fixture(scope="session")
def film_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 films at 64 pixels of six hospitals, labels.csv, and what an archive also holds; never written to by a test."""
    place = tmp_path_factory.mktemp("film_folder") / "films"
    write_folder(place, 40, 0.9, 1, 64)
    return place


@pytest.fixture(scope="session")
def folder_key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key file, so that the hashes of all outputs are the same."""
    file = tmp_path_factory.mktemp("folder_key") / "key"
    file.write_text(bytes(range(32)).hex())
    return file
