"""A header that no training writes is refused in one sentence: the field, what was found, what would be right."""

import copy
import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from datasets.film import preprocessing
from datasets.film.preprocessing import Preprocessing
from datasets.sample import DatasetInfo
from models.classifier import ModelConfig
from training.run.checkpoint import Checkpoint
from training.run.header_fields import FIELDS, MAX_SIZE, OPTIONAL, REST, HeaderError, require_header

HEADER: dict[str, Any] = {
    "model": {
        "name": "resnet10t", "num_classes": 2, "in_chans": 1, "img_size": 32, "unit_norm": True, "centred": False,
        "logit_scale": 10.0, "keywords": [["drop_path_rate", 0.1], ["layers", [1, 1]]], "layers": [3, 4, "output"],
    },
    "preprocessing": {
        "size": 32, "channels": 1, "aspect": "stretch", "intensity": "percentile", "mean": [0.5], "std": [0.25], "voi": "lut",
    },
    "info": {
        "name": "covid", "targets": ["not covid", "covid"], "biases": ["Zürich", "北京"], "bias_name": "source",
        "positive": 1, "synthetic": False,
    },
    "threshold": 0.4,
    "temperature": 1.7,
    "settings": {"method": "end", "seed": 0, "lr": 0.1, "clip_grad": None, "recipe": "dfr", "fit_on": "validation"},
    "metrics": {"test": {"auroc": None, "n": 3}},
    "versions": {"torch": "2"},
}  # fmt: skip


def edited(place: str, value: Any) -> dict[str, Any]:
    """The header with another value at a place such as `model.name`; `...` deletes it."""
    header = copy.deepcopy(HEADER)
    *path, last = place.split(".")
    part = header
    for name in path:
        part = part[name]
    if value is ...:
        del part[last]
    else:
        part[last] = value
    return header


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("place", "value", "expected"),
    [
        ("threshold", "high", 'threshold is "high"; it must be a number from 0 to 1, or null'),
        ("threshold", float("nan"), "threshold is NaN; it must be a finite number"),
        ("threshold", 1.5, "threshold is 1.5; it must be a number from 0 to 1"),
        ("threshold", True, "threshold is true; it must be"),
        ("threshold", [0.5], r"threshold is \[0.5\]; it must be"),
        ("threshold", ..., "entry 'threshold' is missing"),
        ("temperature", 0, "temperature is 0; it must be a number from 0.001 to 1000"),
        ("temperature", -1.0, "temperature is -1.0; it must be"),
        ("temperature", float("inf"), "temperature is Infinity; it must be a finite number"),
        ("temperature", 10**400, r"temperature is 1000\d+\.\.\.; it must be a finite number"),
        ("temperature", None, "temperature is null; it must be"),
        ("temperature", 1e-300, "temperature is 1e-300; it must be"),
        ("model", [], r"model is \[\]; it must be an object with the entries name, num_classes"),
        ("model", ..., "entry 'model' is missing"),
        ("model.name", ..., "entry 'model.name' is missing"),
        ("model.layers", 3, "model.layers is 3; it must be a list of numbers of layers, rising from 0"),
        ("model.layers", [4, 3], r"model.layers is \[4, 3\]; it must be"),
        ("model.layers", [-1], r"model.layers is \[-1\]; it must be"),
        ("model.layers", ["output"], r'model.layers is \["output"\]; it must be'),
        ("model.layers", ["output", 3], "it must be a list of numbers of layers"),
        ("model.layers", [True], r"model.layers is \[true\]; it must be"),
        ("model.layers", [3, [4]], "it must be a list of numbers of layers"),
        ("model.name", 3, "model.name is 3; it must be the name of a backbone"),
        ("model.name", "hf-hub:someone/net", "model.name is"),
        ("model.depth", 3, 'entry "model.depth" is unknown to this version; model has name, num_classes'),
        ("model.num_classes", 3, "model.num_classes is 3; it must be 2, for info.targets has that many names"),
        ("model.num_classes", "2", "model.num_classes is"),
        ("model.in_chans", 2, "model.in_chans is 2; it must be 1 or 3"),
        ("model.in_chans", 3, "preprocessing.channels is 1; it must be 3, for that is model.in_chans"),
        ("model.img_size", 64, "preprocessing.size is 32; it must be 64, for that is model.img_size"),
        ("model.img_size", 10**9, "model.img_size is 1000000000; it must be a whole number from 1 to 8192"),
        ("model.unit_norm", "no", "model.unit_norm is \"no\"; it must be true or false"),
        ("model.logit_scale", 0, "model.logit_scale is 0"),
        ("model.keywords", 5, "model.keywords is 5"),
        ("model.keywords", [["checkpoint_path", "/etc/passwd"]], "model.keywords: checkpoint_path can't be given here"),
        ("model.keywords", [["a"]], "model.keywords: expected names with values"),
        ("preprocessing.size", -1, "preprocessing.size is -1"),
        ("preprocessing.size", 32.0, "preprocessing.size is 32.0; it must be a whole number"),
        ("preprocessing.channels", 2, "preprocessing.channels is 2"),
        ("preprocessing.aspect", "squash", 'preprocessing.aspect is "squash"; it must be "stretch" or "pad" or "crop"'),
        ("preprocessing.intensity", {}, r"preprocessing.intensity is \{\}"),
        ("preprocessing.voi", ["lut"], "preprocessing.voi is"),
        ("preprocessing.mean", 0.5, "preprocessing.mean is 0.5; it must be a list of 1 or 3 numbers"),
        ("preprocessing.mean", ["a"], "preprocessing.mean is"),
        ("preprocessing.mean", [0.5, 0.5, 0.5], r"preprocessing.mean is \[0.5, 0.5, 0.5\]; it must be a list of 1 or 1"),
        ("preprocessing.std", [0], r"preprocessing.std is \[0\]; it must be a list of 1 or 3 numbers above 0"),
        ("preprocessing.std", ..., "entry 'preprocessing.std' is missing"),
        ("info.targets", "covid", "info.targets is \"covid\"; it must be a list of 2 or more different names"),
        ("info.targets", ["covid"], "info.targets is"),
        ("info.targets", ["covid", "covid"], "info.targets is"),
        ("info.targets", ["not covid", 3], "info.targets is"),
        ("info.targets", ["not covid", "covid\u001b[31m"], "info.targets is"),
        ("info.targets", ["a", "b", "c"], "model.num_classes is 2; it must be 3"),
        ("info.biases", None, "info.biases is null"),
        ("info.biases", ["\ud800"], r'info.biases is "\\ud800"; it must be text in Unicode'),
        ("info.positive", 2, "info.positive is 2; it must be null or the number, from 0, of one of 2 targets"),
        ("info.positive", -1, "info.positive is -1"),
        ("info.positive", True, "info.positive is true"),
        ("info.synthetic", 0, "info.synthetic is 0; it must be true or false"),
        ("info.owner", "x", 'entry "info.owner" is unknown to this version'),
        ("settings", None, "settings is null; it must be an object"),
        ("settings.method", ["end"], r"settings.method is \[\"end\"\]; it must be text"),
        ("settings.method", "ende", 'settings.method is "ende"; it must be one of erm, end'),
        ("settings.seed", 0.5, "settings.seed is 0.5; it must be a whole number"),
        ("settings.recipe", [], r"settings.recipe is \[\]; it must be the name of a recipe"),
        ("settings.other", nested(20), "settings.other is nested more than 8 deep"),
        ("metrics", [], "metrics is"),
        ("metrics.test", {"auroc": "high"}, "metrics is"),
        ("versions.torch", 2, "versions is"),
        ("extra", 1, 'entry "extra" is unknown to this version; it has model, preprocessing'),
    ],
)  # fmt: skip
def test_an_edit_ends_in_a_sentence_with_field_found_and_right(place: str, value: Any, expected: str) -> None:
    with pytest.raises(HeaderError, match=expected) as error:
        require_header(edited(place, value))
    assert len(str(error.value)) < 400 and "\n" not in str(error.value)


@pytest.mark.parametrize("header", [None, [], "text", 3])
def test_a_header_that_is_no_object_is_refused(header: Any) -> None:
    with pytest.raises(HeaderError, match="in place of an object"):
        require_header(header)


@pytest.mark.parametrize(
    "change",
    [
        lambda header: header,
        lambda header: header | {"threshold": None, "metrics": {}, "settings": {}},
        lambda header: header | {"threshold": 1.0000000000000002},  # above every score
        lambda header: header | {"info": header["info"] | {"positive": None}},
        lambda header: {
            part: {
                name: v for name, v in value.items() if name not in OPTIONAL[part] or name in ("in_chans", "img_size")
            }
            if part in OPTIONAL
            else value
            for part, value in header.items()
        },
    ],
)
def test_what_a_training_writes_passes(change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    require_header(json.loads(json.dumps(change(copy.deepcopy(HEADER)))))


def test_every_field_of_a_checkpoint_has_its_rule() -> None:
    for part, kind in (("model", ModelConfig), ("preprocessing", Preprocessing), ("info", DatasetInfo)):
        assert set(FIELDS[part]) == {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    kept = {field.name for field in dataclasses.fields(Checkpoint)} - {"weights", "file"}
    assert kept == {*FIELDS, *REST}
    assert MAX_SIZE == preprocessing.MAX_SIZE


@pytest.mark.process
def test_the_check_needs_no_torch() -> None:
    code = "import sys, training.run.index; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[3], check=False).returncode == 0
