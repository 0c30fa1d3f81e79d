"""Small runs for the app's tests, trained once for all of them."""

from pathlib import Path

import pytest

from training.train import main as train

SMALL = ["--films", "120", "--model", "test_resnet", "--img-size", "32", "--epochs", "2", "--in-chans", "1"]


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a plain run and its twin: phantom-erm-test_resnet-s0 and phantom-end-test_resnet-s0."""
    root = tmp_path_factory.mktemp("runs")
    train(["--dataset", "phantom", *SMALL, "--paired", "--output", str(root)])
    return root
