"""What EnD can do beyond the paper, each against what it is said to be; off, it changes nothing."""

import dataclasses
import itertools

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from datasets.sample import Attribute, Sample
from models.classifier import Output
from tests.method_setup import setup_of
from training.methods import EndParameters, NoParameters
from training.methods.bias_balance import BiasBalance
from training.methods.end import End, disentangling_loss, entangling_loss, released_entangling_loss
from training.methods.fairkl import fairkl


def batch(seed: int = 0, size: int = 40) -> tuple[Output, Sample]:
    rng = torch.Generator().manual_seed(seed)
    features = torch.randn(size, 7, generator=rng).requires_grad_()
    target, bias = torch.randint(3, (size,), generator=rng), torch.randint(4, (size,), generator=rng)
    return Output(features, torch.randn(size, 3, generator=rng)), Sample(features, target, bias, torch.arange(size))


def terms(output: Output, sample: Sample, **options: object) -> dict[str, Tensor]:
    found: dict[str, Tensor] = End(EndParameters(**options), setup_of())(output, sample)  # type: ignore[arg-type]
    return found


def test_released_pairs_are_those_whose_later_sample_has_the_lower_bias() -> None:
    output, sample = batch()
    z = F.normalize(output.features, dim=1)
    kept = [
        (1 - z[i] @ z[j]) / 2
        for i, j in itertools.product(range(len(z)), repeat=2)
        if j < i and sample.target[i] == sample.target[j] and sample.bias[i] < sample.bias[j]
    ]
    expected = torch.stack(kept).mean()
    torch.testing.assert_close(terms(output, sample, beta=3.0, pairs="released")["r_par"], 3 * expected)
    assert abs(expected - terms(output, sample)["r_par"]) > 1e-4

    rising = sample.bias.argsort()
    value = released_entangling_loss(output.features[rising], sample.target[rising], sample.bias[rising])
    assert value == 0 and not torch.autograd.grad(value, output.features)[0].any()


def test_released_pairs_are_computed_in_float32_under_autocast() -> None:
    output, sample = batch(size=200)
    exact = released_entangling_loss(output.features.double(), sample.target, sample.bias)
    with torch.autocast("cpu", torch.bfloat16):
        found = released_entangling_loss(output.features, sample.target, sample.bias)
    torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=0)


def test_only_the_steps_are_kept_with_a_checkpoint() -> None:
    for options in ({}, {"cross_entropy": "balanced"}, {"warmup": 0.2}):
        assert list(End(EndParameters(**options), setup_of()).state_dict()) == ["step"]  # type: ignore[arg-type]


def test_balanced_cross_entropy_is_biasbals() -> None:
    output, sample = batch()
    expected = BiasBalance(NoParameters(), setup_of())(output, sample)["ce"]
    torch.testing.assert_close(terms(output, sample, cross_entropy="balanced")["ce"], expected)
    torch.testing.assert_close(terms(output, sample)["ce"], F.cross_entropy(output.logits, sample.target))


def test_spread_is_what_kld_adds_to_fairkl() -> None:
    output, sample = batch()
    with_spread, without = (fairkl(output.features, sample.target, sample.bias, kld) for kld in (1.0, 0.0))
    found = terms(output, sample, spread=5.0)
    torch.testing.assert_close(found["spread"], 5 * (with_spread - without), rtol=1e-3, atol=1e-6)
    assert torch.autograd.grad(found["spread"], output.features)[0].abs().sum() > 0
    assert "spread" not in terms(output, sample)


def test_warm_up_rises_with_the_steps_of_training_alone() -> None:
    output, sample = batch()
    full = terms(output, sample, spread=1.0)
    method = End(EndParameters(spread=1.0, warmup=0.2), setup_of(steps=10))  # rises over two steps
    for share in (0.0, 0.5, 1.0, 1.0):
        found = method(output, sample)
        for name in ("r_perp", "r_par", "spread"):
            torch.testing.assert_close(found[name], share * full[name])
        torch.testing.assert_close(found["ce"], full["ce"])

    resumed = End(EndParameters(spread=1.0, warmup=0.2), setup_of(steps=10))
    method = End(EndParameters(spread=1.0, warmup=0.2), setup_of(steps=10))
    method(output, sample)
    method.eval()(output, sample)
    resumed.load_state_dict(method.state_dict())
    torch.testing.assert_close(resumed(output, sample)["r_par"], 0.5 * full["r_par"])


@pytest.mark.parametrize("option", ["spread", "warmup"])
def test_out_of_range_is_a_sentence(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    from training.run.config import parse

    with pytest.raises(SystemExit):
        parse(["--dataset", "phantom", f"--{option}=-1"])
    assert f"--{option}" in capsys.readouterr().err


def of_two(weights: tuple[float, float] = (1.0, 0.5), **options: object) -> End:
    setup = setup_of()
    named = (Attribute("source", ("a", "b", "c", "d"), weights[0]), Attribute("view", ("x", "y"), weights[1]))
    return End(EndParameters(**options), dataclasses.replace(setup, info=dataclasses.replace(setup.info, named=named)))  # type: ignore[arg-type]


@pytest.mark.parametrize("form", ["absolute", "signed"])
def test_terms_of_several_biases_are_the_weighted_sum_of_each_ones(form: str) -> None:
    output, sample = batch()
    view = torch.randint(2, (40,), generator=torch.Generator().manual_seed(9))
    both = sample._replace(bias=torch.stack([sample.bias, view], 1))
    found = of_two(form=form, alpha=0.3, beta=5.0)(output, both)
    perp = disentangling_loss(output.features, sample.bias, 4, form)
    perp = perp + 0.5 * disentangling_loss(output.features, view, 2, form)
    par = entangling_loss(output.features, sample.target, sample.bias, 3, 4)
    par = par + 0.5 * entangling_loss(output.features, sample.target, view, 3, 2)
    torch.testing.assert_close(found["r_perp"], 0.3 * perp)
    torch.testing.assert_close(found["r_par"], 5.0 * par)
    assert found["ce"] == F.cross_entropy(output.logits, sample.target)
    (slope,) = torch.autograd.grad(found["r_perp"] + found["r_par"], output.features, retain_graph=True)
    torch.testing.assert_close(slope, torch.autograd.grad(0.3 * perp + 5.0 * par, output.features)[0])


def test_the_same_bias_twice_is_once_with_twice_the_weight() -> None:
    output, sample = batch()
    setup = setup_of()
    named = tuple(Attribute(name, setup.info.biases) for name in ("one", "two"))
    twice = End(EndParameters(), dataclasses.replace(setup, info=dataclasses.replace(setup.info, named=named)))
    found = twice(output, sample._replace(bias=torch.stack([sample.bias, sample.bias], 1)))
    once = terms(output, sample)
    for name in ("r_perp", "r_par"):
        torch.testing.assert_close(found[name], 2 * once[name])
