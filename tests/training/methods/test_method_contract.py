"""What every method keeps to on every dataset: three steps as in `training.train`, and back from what they leave behind."""

import copy
import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from _pytest.mark import ParameterSet
from PIL import Image
from timm.optim import create_optimizer_v2
from torch import Tensor, nn

from datasets.cohort.confounding import count_groups, count_pairs
from datasets.cohort.films import Cohort, whole_batch
from datasets.cohort.samplers import EpochSampler
from datasets.film.preprocessing import Preprocessing
from datasets.phantom.cohort import load_phantom
from datasets.sample import Sample, Split
from models.classifier import Classifier, ModelConfig, Output, build_classifier, feature_width
from training.methods import METHODS, Setup, build_method
from training.run.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from training.run.config import TrainConfig, as_settings, parse
from training.run.films import cohort_of, preprocessing_of

pytestmark = pytest.mark.trains

STEPS, BATCH = 3, 12
SMALL = {
    "phantom": ["--model", "resnet10t", "--films", "60", "--img-size", "32", "--rho", "0.7"],
    "biased-mnist": ["--films", "100", "--img-size", "14", "--rho", "0.7"],
    "covid": ["--model", "test_resnet", "--img-size", "32"],
}


@dataclass
class Films:
    """One dataset: its flags, and three batches of its training films."""

    flags: list[str]
    cohort: Cohort
    batches: list[Sample]

    def settings(self, method: str) -> TrainConfig:
        return parse([*self.flags, "--method", method, "-b", str(BATCH), "--device", "cpu"])

    def setup(self, config: TrainConfig, width: int) -> Setup:
        info, films = self.cohort.info, self.cohort.table.iloc[self.cohort.positions(Split.TRAIN)]
        counts = count_groups(films["target"].to_numpy(), films["bias"].to_numpy(), len(info.targets), len(info.biases))
        return Setup(info, counts, width, config.in_chans, int(self.cohort.table["row"].max()) + 1, STEPS)


@dataclass
class Trained:
    """A method after its steps: what each gave, and what moved."""

    films: Films
    config: TrainConfig
    model: Classifier
    method: nn.Module
    terms: list[dict[str, Tensor]]
    gradients: list[dict[str, Tensor | None]]
    first: str

    def fresh(self) -> nn.Module:
        """The method as a run that is resumed builds it."""
        torch.manual_seed(99)
        setup = self.films.setup(self.config, feature_width(self.model.backbone))
        return build_method(self.config.method, self.config.parameters, setup)


def folder_of_films(root: Path) -> None:
    """PNG files of four hospitals and their metadata.csv."""
    cohort = load_phantom(Preprocessing(32), rho=0.7, films=60, seed=1)
    table = cohort.table[cohort.table["split"] != "external"].head(120).copy()
    assert cohort.films is not None
    for position in table.index:
        pixels = (cohort.films.read(position).pixels * 255).astype(np.uint8)
        Image.fromarray(pixels).resize((40, 40)).save(root / f"{position}.png")
    table["path"] = [f"{position}.png" for position in table.index]
    table["patient_id"] = table["patient"]
    table[["path", "label", "source", "patient_id"]].to_csv(root / "metadata.csv", index=False)


@pytest.fixture(scope="module")
def films_of(tmp_path_factory: pytest.TempPathFactory, drawn_digits: Path) -> Callable[[str], Films]:
    """Each dataset's films, made once."""
    return cache(lambda dataset: load(dataset, tmp_path_factory, drawn_digits))


def load(dataset: str, tmp_path_factory: pytest.TempPathFactory, drawn_digits: Path) -> Films:
    flags = ["--dataset", dataset, *SMALL[dataset]]
    if dataset == "covid":
        root = tmp_path_factory.mktemp("films")
        folder_of_films(root)
        flags += ["--data-dir", str(root)]
    elif dataset == "biased-mnist":
        flags += ["--data-dir", str(drawn_digits)]
    config = parse([*flags, "-b", str(BATCH)])
    cohort = cohort_of(config, preprocessing_of(config)).cached("none")
    positions = cohort.positions(Split.TRAIN)
    target, bias = (cohort.table[name].to_numpy()[positions] for name in ("target", "bias"))
    order = list(EpochSampler(positions, target, bias, BATCH, seed=0))
    samples = cohort.samples()
    batches = [whole_batch(samples.__getitems__(draws)) for draws in order[:STEPS]]
    assert len(batches) == STEPS
    for batch in batches:  # or a term that has nothing to say would pass for one that works
        assert all(count_pairs(batch.target.numpy(), batch.bias.numpy()))
    return Films(flags, cohort, batches)


def sampled() -> list[ParameterSet]:
    """Every dataset with every method; outside the gate each method with one dataset, and EnD with all."""
    pairs = list(product(enumerate(SMALL), enumerate(METHODS)))
    outside = [name == "end" or number % len(SMALL) == place for (place, _), (number, name) in pairs]
    return [
        pytest.param((dataset, name), marks=() if sample else pytest.mark.gate, id=f"{dataset}-{name}")
        for ((_, dataset), (_, name)), sample in zip(pairs, outside, strict=True)
    ]


@pytest.fixture(scope="module", params=sampled())
def trained(request: pytest.FixtureRequest, films_of: Callable[[str], Films]) -> Trained:
    """One optimiser over the classifier and the method, as in `training.train`."""
    films, name = films_of(request.param[0]), request.param[1]
    config = films.settings(name)
    torch.manual_seed(0)
    shape = ModelConfig(
        config.model,
        len(films.cohort.info.targets),
        config.in_chans,
        config.img_size,
        config.unit_norm,
        config.centred,
        config.logit_scale,
    )
    model = build_classifier(shape)
    method = build_method(name, config.parameters, films.setup(config, feature_width(model.backbone)))
    both = nn.ModuleList([model, method]).train()
    optimiser = create_optimizer_v2(both, opt=config.opt, lr=config.lr, weight_decay=config.weight_decay)
    first = next(name for name, module in model.named_modules() if isinstance(module, nn.Conv2d)) + ".weight"
    every, gradients = [], []
    for batch in films.batches:
        terms = method(model(batch.image, METHODS[name].detached_head), batch)
        optimiser.zero_grad(set_to_none=True)
        torch.stack(list(terms.values())).sum().backward()
        every.append({name: value.detach() for name, value in terms.items()})
        gradients.append({name: None if p.grad is None else p.grad.clone() for name, p in both.named_parameters()})
        optimiser.step()
    return Trained(films, config, model, method, every, gradients, first)


def test_terms_are_finite_named_scalars(trained: Trained) -> None:
    assert all(list(terms) == list(trained.terms[0]) and terms for terms in trained.terms)
    for terms in trained.terms:
        assert all(value.shape == () and value.dtype == torch.float32 for value in terms.values())
        assert all(value.isfinite() for value in terms.values()), terms


def test_gradients_reach_the_first_convolution_and_the_head(trained: Trained) -> None:
    for gradients in trained.gradients:
        for name in (trained.first, "head.weight"):
            gradient = gradients[f"0.{name}"]
            assert gradient is not None and gradient.isfinite().all() and gradient.any(), name


def test_all_that_the_method_brings_along_learns(trained: Trained) -> None:
    for gradients in trained.gradients:
        own = {name[2:]: gradient for name, gradient in gradients.items() if name.startswith("1.")}
        assert set(own) == {name for name, _ in trained.method.named_parameters()}
        for name, gradient in own.items():
            assert gradient is not None and gradient.isfinite().all(), name
        for part in {name.partition(".")[0] for name in own}:
            assert any(g.any() for name, g in own.items() if g is not None and name.partition(".")[0] == part), part


def test_a_checkpoint_predicts_the_same(trained: Trained, tmp_path: Path) -> None:
    model, image = trained.model, trained.films.batches[0].image
    cohort, settings = trained.films.cohort, as_settings(trained.config)
    weights = model.state_dict()
    checkpoint = Checkpoint(
        model.config, cohort.preprocessing, cohort.info, 0.5, 1.0, settings, {"test": {}}, {"torch": "2"}, weights
    )
    save_checkpoint(checkpoint, tmp_path / "model.safetensors")
    again = load_checkpoint(tmp_path / "model.safetensors")
    assert again.settings == settings
    with torch.inference_mode():
        expected = copy.deepcopy(model).eval()(image).logits
        assert torch.equal(again.build()(image).logits, expected)
    assert expected.isfinite().all() and expected.std() > 0


def test_a_resumed_method_goes_on_alike(trained: Trained) -> None:
    file, fresh = io.BytesIO(), trained.fresh()
    torch.save(trained.method.state_dict(), file)
    file.seek(0)
    fresh.load_state_dict(torch.load(file, weights_only=True))
    kept, batch = copy.deepcopy(trained.method), trained.films.batches[1]
    output = output_of(trained, batch)
    for _ in range(2):  # the second time shows what the first one left in buffers
        expected, found = kept(output, batch), fresh(output, batch)
        for name, value in expected.items():
            assert torch.equal(found[name], value), name


def test_bias_labels_are_read_where_the_register_says_so(trained: Trained) -> None:
    batch = trained.films.batches[0]
    output = output_of(trained, batch)
    terms = copy.deepcopy(trained.method)(output, batch)
    moved = copy.deepcopy(trained.method)(output, batch._replace(bias=batch.bias.roll(1)))
    changed = any(not torch.equal(moved[name], value) for name, value in terms.items())
    assert changed == METHODS[trained.config.method].uses_bias


def output_of(trained: Trained, batch: Sample) -> Output:
    with torch.no_grad():
        return copy.deepcopy(trained.model)(batch.image)
