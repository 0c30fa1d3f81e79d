"""The bundles are run in a process where this package can't be imported."""

import csv
import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from datasets.film.preprocessing import Preprocessing
from datasets.film.read import read_radiograph
from models.classifier import ModelError
from tests.small_checkpoint import INFO, small_checkpoint, write_films
from training.export import monai_bundle
from training.export.facts import ExportError
from training.export.film import FilmPixelsd, grey
from training.export.monai_bundle import export_monai, network_config
from training.scoring.predict import Predictor

# Where MONAI's schema lies, for want of a network: the file that metadata.json names under `schema`.
META_SCHEMA = os.environ.get("MONAI_META_SCHEMA")
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "stages": {"unit_norm": True, "centred": True, "logit_scale": 10.0, "channels": 3, "aspect": "pad"},
}
# Every step with MONAI's own commands.
SCRIPT = """
import json, sys
for name in ("app", "datasets", "models", "training", "tests"):
    sys.modules[name] = None
import torch
from monai.bundle import load, run, verify_metadata, verify_net_in_out
films, schema, *bundles = sys.argv[1:]
for bundle in bundles:
    config, meta = f"{bundle}/configs/inference.json", f"{bundle}/configs/metadata.json"
    if schema:
        verify_metadata(meta_file=meta, filepath=schema)
    verify_net_in_out("network_def", meta_file=meta, config_file=config, device="cpu")
    folder, _, name = bundle.rpartition("/")
    network = load(name, bundle_dir=folder, workflow_type="inference", device="cpu").eval()
    channels = json.load(open(meta))["network_data_format"]["inputs"]["image"]["num_channels"]
    torch.save(network(torch.ones(1, channels, 32, 32)), f"{bundle}/ones.pt")
    run(meta_file=meta, config_file=config, bundle_root=bundle, dataset_dir=films, device="$torch.device('cpu')")
"""


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_films(tmp_path_factory.mktemp("films") / "some")


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("bundles")
    for name, options in OPTIONS.items():
        assert export_monai(small_checkpoint(**options), "a-run", root / name) < 1e-5
    return {name: root / name for name in OPTIONS}


@pytest.fixture(scope="module")
def run_bundles(bundles: dict[str, Path], films: list[Path]) -> dict[str, Path]:
    """The bundles with what MONAI wrote into them: `ones.pt` and predictions of the films."""
    command = [sys.executable, "-c", SCRIPT, str(films[0].parent), META_SCHEMA or "", *map(str, bundles.values())]
    done = subprocess.run(command, cwd=bundles["plain"].parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return bundles


@pytest.mark.process
@pytest.mark.parametrize("name", OPTIONS)
def test_scores_are_those_of_the_predictor(run_bundles: dict[str, Path], films: list[Path], name: str) -> None:
    predictor = Predictor(small_checkpoint(**OPTIONS[name]))
    with (run_bundles[name] / "eval" / "predictions.csv").open() as file:
        rows = {row[0]: [float(value) for value in row[1:]] for row in csv.reader(file)}
    assert set(rows) == set(map(str, films))
    found, wanted = [rows[str(film)][1] for film in films], [predictor.score(film) for film in films]
    assert np.ptp(wanted) > 0.01
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)
    assert all(abs(sum(row) - 1) < 1e-5 for row in rows.values())


@pytest.mark.process
@pytest.mark.parametrize("name", OPTIONS)
def test_network_is_loaded_by_monai(run_bundles: dict[str, Path], name: str) -> None:
    checkpoint = small_checkpoint(**OPTIONS[name])
    wanted = checkpoint.build()(torch.ones(1, checkpoint.model.in_chans, 32, 32)).logits
    torch.testing.assert_close(
        torch.load(run_bundles[name] / "ones.pt", weights_only=True), wanted, rtol=1e-4, atol=1e-4
    )


def test_files_of_a_bundle(bundles: dict[str, Path]) -> None:
    place = bundles["plain"]
    weights = torch.load(place / "models" / "model.pt", weights_only=True)
    assert all(isinstance(value, torch.Tensor) for value in weights.values())
    about = json.loads((place / "configs" / "metadata.json").read_text())
    required = "schema version monai_version pytorch_version numpy_version required_packages_version task description"
    assert set(required.split()) | {"authors", "copyright", "network_data_format"} <= set(about)
    assert about["eval_metrics"] == {"test_auroc": 0.625, "test_n": 3}
    assert about["end_cxr"]["threshold"] == 0.4375
    readme = (place / "docs" / "README.md").read_text()
    for said in ("Not a medical device", "SYNTHETIC", "not covid, covid", "north, south", "1.75", "0.4375"):
        assert said in readme
    assert (place / "scripts" / "film.py").read_text() == Path(monai_bundle.__file__).with_name("film.py").read_text()
    assert not list(place.parent.glob(".*"))
    assert str(Path.home()) not in readme + json.dumps(about)


@pytest.mark.skipif(not META_SCHEMA, reason="MONAI_META_SCHEMA names no file")
@pytest.mark.process
def test_metadata_by_monais_own_schema(run_bundles: dict[str, Path]) -> None:
    """What failed there failed in the fixture; here that MONAI's check can fail."""
    from monai.bundle import verify_metadata

    broken = run_bundles["plain"] / "broken.json"
    about = json.loads((run_bundles["plain"] / "configs" / "metadata.json").read_text())
    broken.write_text(json.dumps({name: value for name, value in about.items() if name != "authors"}))
    with pytest.raises(ValueError, match="authors"):
        verify_metadata(meta_file=str(broken), filepath=META_SCHEMA)


def test_network_is_named_by_config() -> None:
    plain, _ = network_config(small_checkpoint(centred=True).build())
    assert plain["network_def"]["_target_"] == "timm.create_model" and plain["network_def"]["num_classes"] == 2
    stages, weights = network_config(small_checkpoint(unit_norm=True, centred=True).build())
    targets = ["timm.create_model", "torch.nn.BatchNorm1d", "torch.nn.RMSNorm", "torch.nn.Linear"]
    assert [layer["_target_"] for layer in stages["layers"]] == targets
    assert "3.weight" in weights


@pytest.mark.parametrize("intensity", ["percentile", "none"])
@pytest.mark.parametrize("aspect", ["stretch", "pad", "crop"])
def test_pixels_are_those_of_training(films: list[Path], aspect: str, intensity: str) -> None:
    preprocessing = Preprocessing(40, 1, aspect, intensity)
    transform = FilmPixelsd("image", 40, aspect, intensity)
    for film in films:
        with Image.open(film) as opened:
            read = np.asarray(grey(opened))
        wanted = read_radiograph(film)
        assert np.array_equal(read, wanted.pixels), film.name
        assert torch.equal(
            transform({"image": torch.from_numpy(read.copy())[None]})["image"], preprocessing.pixels(wanted)
        )


def test_film_without_a_range() -> None:
    with pytest.raises(ValueError, match="mode F has no range"):
        grey(Image.new("F", (4, 4)))


def refuse(said: str, checkpoint: Any, folder: Path, error: type[ValueError] = ExportError) -> None:
    with pytest.raises(error, match=said):
        export_monai(checkpoint, "a-run", folder / "bundle")
    assert not list(folder.iterdir())


def test_what_can_not_be_a_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = small_checkpoint()
    digits = dataclasses.replace(checkpoint, info=dataclasses.replace(INFO, name="biased-mnist"))
    refuse("coloured digits", digits, tmp_path)
    code = dataclasses.replace(checkpoint, info=dataclasses.replace(INFO, targets=("a", "$print(1)")))
    refuse(r"'\$print\(1\)' can't stand in a MONAI bundle", code, tmp_path)
    refuse("own network", small_checkpoint("simple_convnet"), tmp_path, ModelError)
    monkeypatch.setattr(monai_bundle, "difference", lambda network, model: 0.5)
    refuse("differs by 0.5 from the classifier: not kept", checkpoint, tmp_path)
