"""Values recorded before the code was rearranged (version 0.1.0): trainings, films and audits give the same numbers still.

Sums over many numbers, so that another processor's rounding passes; a changed order of random draws does not.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from datasets.film.policy import DicomPolicy
from datasets.film.read import read_radiograph
from datasets.phantom.folder import write_folder
from training.bias.evidence import Evidence
from training.bias.report.audit import audit
from training.loop.obtain import train
from training.loop.prepare import prepare
from training.run.checkpoint import load_checkpoint
from training.run.config import parse

GOLDEN = json.loads(Path(__file__).with_name("golden.json").read_text(encoding="utf-8"))
SMALL = [
    "--dataset",
    "phantom",
    "--films",
    "64",
    "--model",
    "test_resnet",
    "--img-size",
    "32",
    "--in-chans",
    "1",
    "-b",
    "16",
    "--epochs",
    "1",
    "--device",
    "cpu",
    "--sampler",
    "paired",  # EnD's own batches then
]


@pytest.mark.trains
@pytest.mark.parametrize("method", ["erm", "end", "rubi"])
def test_an_epoch_ends_in_the_same_weights(method: str, tmp_path: Path) -> None:
    config = parse([*SMALL, "--method", method, "--output", str(tmp_path)])
    run = train(config, prepare(config, quiet_console()))
    weights = load_checkpoint(run.folder).weights
    sums = {
        name: [float(w.double().sum()), float(w.double().abs().sum())] for name, w in weights.items() if w.dim() > 1
    }
    assert sums.keys() == GOLDEN["weights"][method].keys()
    # Adam makes steps of RUBi's gradients where these are rounding: they differ with the number of threads.
    close = 1e-2 if method == "rubi" else 1e-3
    for name, values in GOLDEN["weights"][method].items():
        assert sums[name] == pytest.approx(values, rel=close, abs=close), name


def test_dicom_films_have_the_same_pixels(tmp_path: Path) -> None:
    write_folder(tmp_path / "films", 12, 0.9, 1, 64)
    files = sorted((tmp_path / "films").rglob("*.dcm"))
    films = [read_radiograph(file, policy=DicomPolicy()).pixels for file in files if "odd" not in file.parts]
    assert sorted(round(float(film.mean()), 5) for film in films) == pytest.approx(GOLDEN["films"], abs=1e-5)


@pytest.mark.trains
def test_an_audit_of_fixed_predictions_has_the_same_numbers() -> None:
    report = audit([fixed_evidence()], {}, resamples=200).as_json()
    (run,) = report["runs"]
    numbers = {
        "within_sources": run["within_sources"],
        "source": run["groups"]["source"]["values"],
        "gaps": run["groups"]["source"]["gaps"],
        "leakage": [{name: row[name] for name in ("attribute", "kind", "leak", "p")} for row in run["leakage"]],
        "headline": run["headline"],
    }
    assert_close(numbers, GOLDEN["audit"])


def fixed_evidence() -> Evidence:
    """120 films of 60 patients at two sources, with a score that leans on the source."""
    rng = np.random.default_rng(0)
    patient = np.arange(120) // 2
    source, target = rng.integers(0, 2, 60)[patient], rng.integers(0, 2, 60)[patient]
    score = 1 / (1 + np.exp(-(1.2 * target + 0.8 * source - 1 + rng.normal(size=120))))
    table = pd.DataFrame(
        {
            "run": "fixed",
            "row": np.arange(120),
            "file": [f"f{i}" for i in range(120)],
            "patient": [f"p{i}" for i in patient],
            "source": np.array(["east", "west"], dtype=object)[source],
            "split": "test",
            "target": np.array(["normal", "covid"], dtype=object)[target],
            "score": score,
            "logit": np.log(score / (1 - score)),
            "prediction": np.where(score >= 0.5, "covid", "normal"),
        }
    )
    features = np.stack([source + rng.normal(size=120), target + rng.normal(size=120), rng.normal(size=120)], axis=1)
    return Evidence("fixed", {"positive": "covid"}, "covid", table, features.astype(np.float32))


def quiet_console() -> Console:
    return Console(quiet=True)


def assert_close(value: object, golden: object) -> None:
    """Equal, numbers to 1e-6."""
    if isinstance(golden, dict):
        assert isinstance(value, dict) and value.keys() >= golden.keys()
        for name in golden:
            assert_close(value[name], golden[name])
    elif isinstance(golden, list):
        assert isinstance(value, list) and len(value) == len(golden)
        for pair in zip(value, golden, strict=True):
            assert_close(*pair)
    elif isinstance(golden, float):
        assert value == pytest.approx(golden, abs=1e-6)
    else:
        assert value == golden
