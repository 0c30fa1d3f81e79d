import dataclasses

import pytest
import torch
from torch import Tensor

from datasets.cohort.augmentation import Augmentation

NOTHING = Augmentation(degrees=0.0, translate=0.0, scale=0.0, gamma=0.0, contrast=0.0, noise=0.0)
SETTINGS = [field.name for field in dataclasses.fields(Augmentation)]


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def blob(row: float, column: float, size: int = 64) -> Tensor:
    """A soft bright spot on mid-grey-free ground; row and column as fractions of the side."""
    at = (torch.arange(size) + 0.5) / size
    return torch.exp(-((at[:, None] - row) ** 2 + (at[None, :] - column) ** 2) / 0.002)[None]


def centre(image: Tensor) -> tuple[float, float]:
    """Where the spot is, as fractions of the side."""
    weight = (image[0] - 0.5).clamp(min=0)
    at = (torch.arange(image.shape[-1]) + 0.5) / image.shape[-1]
    return float((weight.sum(1) * at).sum() / weight.sum()), float((weight.sum(0) * at).sum() / weight.sum())


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_range_and_shape(value: float) -> None:
    rough = torch.rand(1, 48, 48, generator=generator(0)).round() if value == 0.5 else torch.full((1, 48, 48), value)
    for seed in range(50):
        result = Augmentation(noise=0.2)(rough, generator(seed))
        assert result.shape == rough.shape
        assert result.dtype == torch.float32
        assert result.min() >= 0 and result.max() <= 1


def test_every_number_comes_from_the_generator() -> None:
    image, state = blob(0.3, 0.3), torch.get_rng_state()
    first, again, other = (Augmentation()(image, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_copy_is_changed() -> None:
    image = blob(0.3, 0.3)
    before = image.clone()
    Augmentation()(image, generator(0))
    assert torch.equal(image, before)


def test_all_ranges_at_zero_change_nothing() -> None:
    image = torch.rand(1, 33, 33, generator=generator(0))
    torch.testing.assert_close(NOTHING(image, generator(3)), image, atol=1e-5, rtol=0)


@pytest.mark.parametrize("setting", SETTINGS)
def test_each_setting_acts_alone_and_both_ways(setting: str) -> None:
    only = dataclasses.replace(NOTHING, **{setting: getattr(Augmentation(), setting)})
    image = 0.2 + 0.3 * blob(0.3, 0.3) + 0.3 * blob(0.6, 0.7)
    results = [only(image, generator(seed)) for seed in range(40)]
    assert all((result - image).abs().max() > 1e-5 for result in results)
    if setting in ("gamma", "contrast"):
        means = torch.stack([(result - image)[:, 20, 20] for result in results])
        assert (means > 0).any() and (means < 0).any()


def test_no_draw_is_a_mirror() -> None:
    """A marker stays on its side and in its corner, whatever is drawn."""
    for seed in range(300):
        for row, column in ((0.25, 0.25), (0.25, 0.75), (0.75, 0.25)):
            found = centre(Augmentation()(blob(row, column), generator(seed)))
            assert found[0] == pytest.approx(row, abs=0.15)
            assert found[1] == pytest.approx(column, abs=0.15)


def test_movement_stays_within_its_ranges() -> None:
    shift = dataclasses.replace(NOTHING, translate=0.05)
    moves = [[a - 0.5 for a in centre(shift(blob(0.5, 0.5), generator(seed)))] for seed in range(200)]
    down, right = zip(*moves, strict=True)
    for moved in (down, right):
        assert max(abs(x) for x in moved) <= 0.051
        assert max(moved) > 0.04 and min(moved) < -0.04

    turn = dataclasses.replace(NOTHING, degrees=8.0)
    turned = [centre(turn(blob(0.5, 0.8), generator(seed)))[0] - 0.5 for seed in range(200)]
    assert max(abs(x) for x in turned) <= 0.3 * 0.1392 + 0.001  # sin 8 degrees
    assert max(turned) > 0.03 and min(turned) < -0.03

    zoom = dataclasses.replace(NOTHING, scale=0.08)
    zoomed = [centre(zoom(blob(0.5, 0.8), generator(seed)))[1] - 0.5 for seed in range(200)]
    assert 0.3 * 0.92 - 0.001 <= min(zoomed) < 0.285 and 0.315 < max(zoomed) <= 0.3 * 1.08 + 0.001


def test_noise_has_no_more_than_its_deviation() -> None:
    noisy = dataclasses.replace(NOTHING, noise=0.02)
    spread = [float(noisy(torch.full((1, 64, 64), 0.5), generator(seed)).std()) for seed in range(50)]
    assert 0.015 < max(spread) <= 0.021
    assert min(spread) < 0.005


def test_colours_move_together() -> None:
    """Digits have three channels: they must not drift apart."""
    move = dataclasses.replace(NOTHING, degrees=8.0, translate=0.05)
    result = move(blob(0.3, 0.6).expand(3, -1, -1), generator(0))
    assert torch.equal(result[0], result[1]) and torch.equal(result[0], result[2])
