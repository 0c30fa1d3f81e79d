import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from datasets.film.read import read_radiograph
from tests.small_checkpoint import small_checkpoint, write_films
from training.export import onnx_model
from training.export.facts import ExportError
from training.export.onnx_model import export_onnx
from training.scoring.predict import Predictor

OPTIONS: dict[str, dict[str, Any]] = {
    "centred": {"centred": True, "unit_norm": True, "logit_scale": 10.0},
    "vit": {"name": "test_vit", "size": 64, "channels": 3},
    "layers": {"layers": (1, 3, "output")},
    "own": {"name": "simple_convnet", "channels": 3},
}


# A few seconds for each to be traced: the quick run takes one.
@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=pytest.mark.trains) for name in ("centred", "vit", "layers")] + ["own"],
)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Predictor, Path]:
    file = tmp_path_factory.mktemp("onnx") / "model.onnx"
    checkpoint = small_checkpoint(**OPTIONS[request.param])
    assert export_onnx(checkpoint, "a-run", file) < 1e-4
    return Predictor(checkpoint), file


@pytest.mark.trains
@pytest.mark.parametrize("count", [1, 2, 7])
def test_random_images_in_batches_of_any_size(exported: tuple[Predictor, Path], count: int) -> None:
    predictor, file = exported
    config = predictor.checkpoint.model
    image = torch.rand(count, config.in_chans, config.img_size, config.img_size)
    session = onnxruntime.InferenceSession(file)
    features, logits = session.run(["features", "logits"], {"image": image.numpy()})
    with torch.inference_mode():
        expected = predictor.model(image)
    np.testing.assert_allclose(features, expected.features, rtol=0, atol=1e-4)
    np.testing.assert_allclose(logits, expected.logits, rtol=0, atol=1e-4)


def test_phantom_films(exported: tuple[Predictor, Path], tmp_path: Path) -> None:
    predictor, file = exported
    session = onnxruntime.InferenceSession(file)
    for film in write_films(tmp_path / "films"):
        image = predictor.checkpoint.preprocessing(read_radiograph(film))[None].numpy()
        np.testing.assert_allclose(session.run(["logits"], {"image": image})[0][0], predictor.logits(film), atol=1e-4)


def test_what_it_says_of_itself(exported: tuple[Predictor, Path]) -> None:
    predictor, file = exported
    props = {entry.key: json.loads(entry.value) for entry in onnx.load(file).metadata_props}
    assert "Not a medical device" in props["notice"]
    assert props["classes"] == ["not covid", "covid"] and props["positive_class"] == "covid"
    assert (props["threshold"], props["temperature"]) == (0.4375, 1.75)
    assert props["preprocessing"]["size"] == predictor.checkpoint.model.img_size
    assert not list(file.parent.glob("*.data"))  # one file


@pytest.mark.trains
def test_it_names_no_file_of_this_machine(exported: tuple[Predictor, Path]) -> None:
    _, file = exported
    content = file.read_bytes()
    for place in (str(Path(onnx_model.__file__).parents[2]), str(Path(torch.__file__).parent), str(Path.home()), ".py"):
        assert place.encode() not in content


@pytest.mark.trains
def test_the_exporter_of_torch_would_name_files() -> None:
    program = torch.onnx.export(torch.nn.ReLU().eval(), (torch.zeros(2),), dynamo=True, verbose=False)
    assert program is not None and b'File "' in program.model_proto.SerializeToString()


@pytest.mark.trains
def test_a_model_that_differs_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for found, said in ((0.01, r"0\.01"), (float("nan"), "nan")):
        monkeypatch.setattr(onnx_model, "parity", lambda model, file, found=found: found)
        with pytest.raises(ExportError, match=f"differs by {said} from the classifier: not kept"):
            export_onnx(small_checkpoint(**OPTIONS["own"]), "a-run", tmp_path / "x.onnx")
    assert not list(tmp_path.iterdir())
