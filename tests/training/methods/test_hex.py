"""HEX: the texture matrix against the loop over pixels, the projection against the textbook inverse, and its edges."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from datasets.sample import Sample
from models.classifier import Output
from tests.method_setup import setup_of
from training.methods import HexParameters
from training.methods.hex import Hex, Texture, count_cooccurrence, project_out, quantise


def batch(size: int = 24, channels: int = 3, side: int = 14, seed: int = 0) -> tuple[Tensor, Sample]:
    rng = torch.Generator().manual_seed(seed)
    image = torch.randn(size, channels, side, side, generator=rng)
    target = torch.randint(3, (size,), generator=rng)
    return torch.randn(size, 3, generator=rng), Sample(image, target, torch.zeros_like(target), torch.arange(size))


def hex_of(seed: int = 0, in_chans: int = 3, ridge: float = 1e-4) -> Hex:
    torch.manual_seed(seed)
    return Hex(HexParameters(ridge=ridge), setup_of(in_chans=in_chans))


def test_levels_span_the_batch_and_luma_weighs_colours() -> None:
    image = torch.tensor([[-1.0, -0.5, 0.0, 1.0]]).reshape(1, 1, 2, 2)
    assert quantise(image, 5).flatten().tolist() == [0, 1, 2, 4]
    red, green, blue = (torch.eye(3)[i].reshape(1, 3, 1, 1) for i in range(3))
    levels = quantise(torch.cat([torch.zeros(1, 3, 1, 1), red, green, blue, torch.ones(1, 3, 1, 1)]), 1001)
    assert levels.flatten().tolist() == pytest.approx([0, 299, 587, 114, 1000], abs=1)
    assert quantise(torch.full((2, 3, 4, 4), 0.7), 16).eq(0).all()


def test_counts_by_hand() -> None:
    grey = torch.tensor([[[0, 1, 1], [2, 0, 0]]])
    counts = count_cooccurrence(grey, 3)[0]
    expected = torch.zeros(3, 5)
    expected[1, 2 - 1] = expected[1, 2] = 0.25  # 0 then 1, 1 then 1
    expected[0, 2 + 2] = expected[0, 2] = 0.25  # 2 then 0, 0 then 0
    assert torch.equal(counts, expected)


@pytest.mark.parametrize("channels", [1, 3])
def test_texture_matrix_and_its_gradient_equal_the_loop_over_pixels(channels: int) -> None:
    torch.manual_seed(1)
    texture, levels = Texture(6, 3), 6
    image = torch.randn(2, channels, 9, 8)
    grey = quantise(image, levels)
    naive = torch.zeros(2, levels, levels)
    for i in range(2):
        for row in range(9):
            for column in range(1, 8):
                x = grey[i, row, column]
                d = grey[i, row, column - 1] - x
                a = (d - texture.difference_threshold).clamp(0, 1)
                b = (x - texture.level_threshold).clamp(0, 1)
                naive[i] = naive[i] + torch.outer(a, b) / (9 * 7)
    matrix = texture.matrix(image)
    torch.testing.assert_close(matrix, naive)
    thresholds = [texture.difference_threshold, texture.level_threshold]
    weight = torch.randn_like(naive)
    for ours, theirs in zip(
        torch.autograd.grad((matrix * weight).sum(), thresholds),
        torch.autograd.grad((naive * weight).sum(), thresholds),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)
        assert ours.any()


def test_projection_and_its_gradients_equal_the_plain_formula() -> None:
    torch.manual_seed(2)
    y, x = (torch.randn(20, 4, dtype=torch.float64, requires_grad=True) for _ in range(2))
    ours = project_out(y, x, 1e-12)
    naive = y - x @ torch.linalg.inv(x.T @ x) @ x.T @ y
    torch.testing.assert_close(ours, naive)
    weight = torch.randn_like(naive)
    for a, b in zip(
        torch.autograd.grad((ours * weight).sum(), (y, x)),
        torch.autograd.grad((naive * weight).sum(), (y, x)),
        strict=True,
    ):
        torch.testing.assert_close(a, b)
    torch.testing.assert_close(x.T @ ours, torch.zeros(4, 4, dtype=torch.float64), atol=1e-9, rtol=0)
    assert torch.autograd.gradcheck(lambda y, x: project_out(y, x, 0.1), (y, x))


def test_a_constant_texture_takes_the_mean_away() -> None:
    logits = torch.tensor([[1.0, 5.0], [3.0, 5.0]])
    projected = project_out(logits, torch.full((2, 2), 7.0), 1e-9)
    torch.testing.assert_close(projected, torch.tensor([[-1.0, 0.0], [1.0, 0.0]]), atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", ["zero", "equal columns", "nearly equal columns", "one row", "huge"])
def test_degenerate_texture_gives_finite_values_and_gradients(kind: str) -> None:
    torch.manual_seed(3)
    rows = 1 if kind == "one row" else 12
    texture = torch.randn(rows, 1).expand(rows, 4).clone()
    if kind == "zero":
        texture.zero_()
    elif kind == "nearly equal columns":
        texture += 1e-6 * torch.randn(rows, 4)
    elif kind == "huge":
        texture = torch.randn(rows, 4) * 1e6
    logits = torch.randn(rows, 4, requires_grad=True)
    projected = project_out(logits, texture.requires_grad_(), 1e-4)
    for gradient in torch.autograd.grad(F.cross_entropy(projected, torch.zeros(rows).long()), (logits, texture)):
        assert gradient.isfinite().all()
        assert gradient.abs().max() < 1e3
    assert projected.isfinite().all() and projected.norm() <= logits.norm() * (1 + 1e-6)
    if kind == "zero":
        torch.testing.assert_close(projected, logits)


def test_what_texture_explains_is_not_rewarded_and_the_rest_is() -> None:
    _, sample = batch()
    method = hex_of(ridge=1e-9)
    explained = method.texture(sample.image).detach()
    # Whatever the classifier takes from texture, here all of it, comes out as no opinion at all.
    loss = method(Output(torch.zeros(24, 7), explained * 50), sample)["ce"]
    assert loss.item() == pytest.approx(torch.tensor(3.0).log().item(), abs=1e-3)
    other, _ = batch(seed=9)
    with_texture = method(Output(torch.zeros(24, 7), other + 20 * explained), sample)["ce"]
    torch.testing.assert_close(
        with_texture, method(Output(torch.zeros(24, 7), other), sample)["ce"], rtol=1e-3, atol=1e-3
    )


def test_order_of_the_batch_does_not_matter() -> None:
    logits, sample = batch()
    method, order = hex_of(), torch.randperm(24)
    value = method(Output(logits, logits), sample)["ce"]
    shuffled = method(Output(logits[order], logits[order]), Sample(*(field[order] for field in sample)))["ce"]
    torch.testing.assert_close(shuffled, value)


@pytest.mark.parametrize(("side", "channels"), [(14, 3), (28, 3), (128, 1), (224, 1)])
def test_films_of_any_size_move_logits_and_texture(side: int, channels: int) -> None:
    logits, sample = batch(8, channels, side)
    logits.requires_grad_()
    method = hex_of(in_chans=channels)
    terms = method(Output(logits, logits), sample)
    assert list(terms) == ["ce"] and terms["ce"].dtype == torch.float32
    terms["ce"].backward()
    for tensor in (logits, *method.parameters()):
        assert tensor.grad is not None and tensor.grad.isfinite().all()
    assert logits.grad is not None and logits.grad.any()
    assert method.texture.head.weight.grad is not None and method.texture.head.weight.grad.any()


def test_half_precision_logits_under_autocast() -> None:
    logits, sample = batch()
    method = hex_of()
    exact = method(Output(logits, logits.bfloat16().float()), sample)["ce"]
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(method(Output(logits, logits.bfloat16()), sample)["ce"], exact)


def test_flat_images_and_a_single_film_stay_finite() -> None:
    logits, sample = batch(4)
    method = hex_of()
    flat = sample._replace(image=torch.zeros_like(sample.image))
    assert method(Output(logits, logits), flat)["ce"].isfinite()
    one = Sample(*(field[:1] for field in sample))
    assert method(Output(logits[:1], logits[:1]), one)["ce"].isfinite()
