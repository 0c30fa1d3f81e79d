"""The benchmark of an epoch: both sides make the same batches and the same terms, and the command ends in their ratios."""

import gzip
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from datasets.biased_mnist import COLOURS, load_biased_mnist
from datasets.film.preprocessing import Preprocessing
from datasets.sample import Split
from training.benchmark import __main__ as benchmark
from training.benchmark.epoch import PicturesOneByOne, loop_terms, our_batches, peer_batches
from training.methods.end import disentangling_loss, entangling_loss
from training.run.config import parse

pytestmark = pytest.mark.trains

CPU = torch.device("cpu")
PREPROCESSING = Preprocessing(28, 3, intensity="none", mean=(0.5, 0.4, 0.3), std=(0.5, 0.4, 0.2))


def batch_of(size: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(size, 6, generator=generator).requires_grad_()
    target, bias = (torch.randint(n, (size,), generator=generator) for n in (3, 4))
    return features, target, bias


def test_both_make_the_same_pixels_of_the_same_digits(drawn_digits: Path) -> None:
    cohort = load_biased_mnist(PREPROCESSING, drawn_digits, rho=0.5, films=60)
    positions = cohort.positions(Split.TRAIN)
    ours = cohort.samples().__getitems__(list(positions))
    peer = PicturesOneByOne(cohort, positions)
    content = (drawn_digits / "train-images-idx3-ubyte").read_bytes()
    digits = np.frombuffer(content, np.uint8, offset=16).reshape(-1, 28, 28)
    for number in range(len(positions)):
        image, target, bias = peer[number]
        torch.testing.assert_close(image, ours.image[number], rtol=0, atol=1e-6)
        assert (target, bias) == (int(ours.target[number]), int(ours.bias[number]))
        ground = torch.tensor(list(COLOURS.values())[bias]).view(3, 1, 1)
        coloured = torch.where(torch.tensor(digits[int(ours.row[number])] != 0), 255, ground) / 255
        mean, std = (torch.tensor(v).view(3, 1, 1) for v in (PREPROCESSING.mean, PREPROCESSING.std))
        torch.testing.assert_close(image, (coloured - mean) / std, rtol=0, atol=1e-6)


@pytest.mark.parametrize("workers", [0, 1])
def test_both_show_every_digit_of_the_epoch_once(drawn_digits: Path, workers: int) -> None:
    flags = ["--dataset", "biased-mnist", "-b", "16", "--workers", str(workers)]
    config = parse(flags)
    cohort = load_biased_mnist(PREPROCESSING, drawn_digits, films=64)
    positions = cohort.positions(Split.TRAIN)[:48]
    expected = sorted(cohort.images[positions].float().mean((1, 2, 3)).tolist())  # type: ignore[index]
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (PREPROCESSING.mean, PREPROCESSING.std))
    for make in (our_batches, peer_batches):
        batches = list(make(cohort, config, positions, CPU)())
        assert [len(batch.target) for batch in batches] == [16] * 3
        images = torch.cat([batch.image for batch in batches]) * std + mean
        assert sorted((255 * images).mean((1, 2, 3)).tolist()) == pytest.approx(expected, abs=1e-3)


def test_the_loops_find_our_r_perp_and_its_gradient() -> None:
    features, target, bias = batch_of(64)
    theirs, ours = (
        loop_terms(F.normalize(features, dim=1), target, bias)[0],
        disentangling_loss(features, bias, 4, "signed"),
    )
    torch.testing.assert_close(theirs, ours, rtol=0, atol=1e-5)
    gradients = [torch.autograd.grad(value, features)[0] for value in (theirs, ours)]
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-5)
    assert gradients[0].abs().max() > 1e-4


def test_the_loops_find_our_r_par_in_the_one_order_that_loses_no_pair() -> None:
    features, target, bias = batch_of(64)
    falling = bias.argsort(descending=True)
    ours = entangling_loss(features, target, bias, 3, 4)
    unit = F.normalize(features, dim=1)
    theirs = loop_terms(unit[falling], target[falling], bias[falling])[1]
    torch.testing.assert_close(theirs, ours, rtol=0, atol=1e-5)
    gradients = [torch.autograd.grad(value, features)[0] for value in (theirs, ours)]
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-5)
    rising = falling.flip(0)
    assert loop_terms(unit[rising], target[rising], bias[rising])[1] == 0
    assert abs(loop_terms(unit, target, bias)[1] - ours) > 1e-4  # as the batch comes, half the pairs are lost


def test_no_pair_is_no_term() -> None:
    features, *_ = batch_of(3)
    for term in loop_terms(F.normalize(features, dim=1), torch.arange(3), torch.arange(3)):
        assert term == 0


@pytest.mark.parametrize("extra", [[], ["--amp"]])
def test_the_command_ends_in_ratios(drawn_digits: Path, capsys: pytest.CaptureFixture[str], extra: list[str]) -> None:
    small = ["--films", "200", "-b", "64", "--img-size", "8", "--steps", "2", "--repeats", "1", "--device", "cpu"]
    command = ["epoch", "--data-dir", str(drawn_digits), *small, *extra]
    benchmark.main(command)
    shown = " ".join(capsys.readouterr().out.split())
    assert "2 of 3 steps" in shown and ("autocast" if extra else "float32") in shown
    for name in ("input + terms", "whole step"):
        ratio = float(shown.split(f" {name}: ")[1].split()[0])
        assert math.isfinite(ratio) and ratio > 0


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--steps", "9"], "has 3 steps of 64"),
        (["--repeats", "0"], "--repeats: 0: must be from 1 to 1,000"),
        (["--steps", "-1"], "--steps: -1: must be from 0"),
        (["--method", "erm"], "leave other wishes out"),
        (["--spread", "1"], "leave other wishes out"),
        (["--augment"], "leave other wishes out"),
    ],
)
def test_mistakes_get_a_sentence(
    drawn_digits: Path, arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["epoch", "--data-dir", str(drawn_digits), "--films", "200", "-b", "64", *arguments]
    with pytest.raises(SystemExit):
        benchmark.main(command)
    assert expected in capsys.readouterr().err


def test_missing_mnist_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A broken copy, for a missing one would be downloaded where there is a network."""
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(b"nothing"))
    with pytest.raises(SystemExit):
        benchmark.main(["epoch", "--data-dir", str(tmp_path)])
    assert "copy MNIST's idx files again" in capsys.readouterr().err
