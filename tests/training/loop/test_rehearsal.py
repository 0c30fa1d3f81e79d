"""What can't be trained is refused before a film is decoded, in one sentence that names the flag."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from training.console.commandline import SEED
from training.loop import rehearsal
from training.loop.rehearsal import rehearse, require_places
from training.methods import METHODS
from training.run.config import configure

pytestmark = pytest.mark.trains
SMALL = {"dataset": "phantom", "model": "test_resnet", "bias_model": "test_resnet", "img_size": 32, "in_chans": 1}


@pytest.mark.parametrize("method", METHODS)
def test_every_method_gets_through_its_step_and_leaves_nothing(method: str, tmp_path: Path) -> None:
    config = configure(SMALL | {"method": method, "output": tmp_path / "runs", "ema": 0.9, "sampler": "random"})
    require_places(config)
    rehearse(config)
    assert not list((tmp_path / "runs").iterdir())


@pytest.mark.parametrize("more", [{"dataset": "biased-mnist", "img_size": 28, "in_chans": 3}, {"accumulate": 4}])
def test_other_shapes_get_through(more: dict[str, Any], tmp_path: Path) -> None:
    rehearse(configure(SMALL | more | {"output": tmp_path}))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"opt": "adamwe"}, "--opt adamwe: timm has no such optimiser; did you mean adamw"),
        ({"accumulate": 3}, "--batch-size 64 can't be shared out evenly in 3 parts each: take a multiple of 3"),
        ({"weights": Path("none.safetensors")}, "--weights none.safetensors: give an existing .safetensors file"),
        ({"model": "test_vit", "img_size": 100}, "--img-size 100: test_vit needs a multiple of its patch, 16"),
        ({"model": "levit_128s", "img_size": 100}, "levit_128s"),
        ({"model": "inception_v3", "img_size": 32}, "--model inception_v3 can't be trained at --img-size 32"),
        ({"model_kwargs": "global_pool=''"}, "pooled ones are needed"),
    ],
)
def test_what_can_not_work_is_refused_by_its_flag(
    settings: dict[str, Any], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rehearsal, "_step_elsewhere", lambda config: None)  # these leave the process alone
    with pytest.raises(ValueError, match=expected) as error:
        rehearse(configure(SMALL | {"output": tmp_path} | settings))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "value"), [("seed", 2**64), ("split_seed", -1), ("img_size", 9000), ("img_size", 2), ("logit_scale", 0.0)]
)
def test_numbers_out_of_range_name_their_flag(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"--{name.replace('_', '-')} {value}: "):
        configure(SMALL | {name: value})
    assert 2**32 - 1 in SEED and 2**32 not in SEED


def test_an_output_that_can_not_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"--output \S+file/runs can't be made: \S+file is no folder"):
        require_places(configure(SMALL | {"output": tmp_path / "file" / "runs"}))
    with pytest.raises(ValueError, match="--hash-key none: the key file none can't be read"):
        require_places(configure(SMALL | {"output": tmp_path, "hash_key": Path("none")}))


def crash(config: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.process
def test_a_backbone_that_brings_its_process_down_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsal, "_quiet_step", crash)
    monkeypatch.setattr(rehearsal, "KNOWN", ())
    with pytest.raises(ValueError, match=r"--model test_resnet brings the program down .* try --no-channels-last"):
        rehearse(configure(SMALL | {"output": tmp_path}))


def test_the_weights_that_a_training_draws_stay_the_same(tmp_path: Path) -> None:
    torch.manual_seed(3)
    rehearse(configure(SMALL | {"output": tmp_path, "seed": 7}))
    config = configure(SMALL | {"output": tmp_path, "seed": 7})
    first = rehearsal.assemble(config, rehearsal.blank_cohort(config)).joint.classifier.head.weight
    second = rehearsal.assemble(config, rehearsal.blank_cohort(config)).joint.classifier.head.weight
    assert torch.equal(first, second)
