"""Amplitude mixing: what changes in a film's spectrum, who gives to whom, and that only films of an epoch's order change."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from datasets.cohort.amplitude import RADIUS, AmplitudeMixing, mix_amplitude
from datasets.cohort.augmentation import Augmentation
from datasets.cohort.films import Cohort, Draw, UnreadableFilmError
from datasets.film.preprocessing import Preprocessing
from datasets.film.radiograph import Radiograph, RadiographError
from datasets.sample import DatasetInfo, Split

SHAPES = [(32, 32), (33, 33), (24, 31), (31, 24)]
INFO = DatasetInfo("covid", ("normal", "covid"), ("north", "south", "east"), "source", 1, synthetic=True)


def rough(count: int, height: int = 32, width: int = 32, seed: int = 0, channels: int = 1) -> Tensor:
    """Films whose changes need no clipping: mid-grey with some texture."""
    texture = torch.rand(
        count, channels, height, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    return 0.45 + 0.1 * texture


def frequencies(height: int, width: int) -> np.ndarray:
    """Of each place of the two-sided spectrum, by numpy, in cycles per pixel."""
    return np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None])


@pytest.mark.parametrize("shape", SHAPES)
def test_amplitudes_are_mixed_below_the_radius_alone_and_phases_kept(shape: tuple[int, int]) -> None:
    films, donors = rough(3, *shape), 0.8 * rough(3, *shape, seed=1)
    weight = torch.tensor([0.2, 0.7, 1.0], dtype=torch.float64)
    mixed = np.fft.fft2(mix_amplitude(films, donors, weight)[:, 0].numpy())
    own, others = (np.fft.fft2(batch[:, 0].numpy()) for batch in (films, donors))
    low = frequencies(*shape) < RADIUS
    w = weight.numpy()[:, None, None]
    expected = np.where(low, (1 - w) * abs(own) + w * abs(others), abs(own))
    np.testing.assert_allclose(abs(mixed), expected, atol=1e-9)
    np.testing.assert_allclose(mixed / abs(mixed), own / abs(own), atol=1e-6)
    assert 0 < low.sum() < low.size and (abs(abs(mixed) - abs(own))[:, low] > 1e-4).mean() > 0.9


@pytest.mark.parametrize("shape", SHAPES)
def test_weight_0_changes_nothing(shape: tuple[int, int]) -> None:
    films = torch.rand(2, 3, *shape, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(mix_amplitude(films, films.flip(0), torch.zeros(2)), films, atol=1e-6, rtol=0)


def test_a_film_s_own_amplitudes_change_nothing_either() -> None:
    films = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(2))
    moved = films.roll((5, 9), (2, 3))  # the same amplitudes, other phases
    torch.testing.assert_close(mix_amplitude(films, moved, torch.ones(2)), films, atol=1e-5, rtol=0)


def test_exposure_and_contrast_come_from_the_donor() -> None:
    """A donor that is the film with other exposure and contrast, both of which are low frequencies here."""
    across = torch.arange(32) / 32
    shape = torch.cos(2 * torch.pi * 2 * across).expand(1, 1, 32, 32)
    mixed = mix_amplitude(0.3 + 0.1 * shape, 0.6 + 0.3 * shape, torch.tensor([0.5]))
    torch.testing.assert_close(mixed, 0.45 + 0.2 * shape, atol=1e-5, rtol=0)


def test_the_radius_is_in_cycles_per_pixel() -> None:
    """A wave of 4 cycles in 32 pixels lies inside of 0.15, one of 5 outside: 0.125 and 0.156."""
    across = torch.arange(32) / 32
    for cycles, changed in ((4, True), (5, False)):
        wave = torch.cos(2 * torch.pi * cycles * across).expand(1, 1, 32, 32)
        mixed = mix_amplitude(0.5 + 0.1 * wave, 0.5 + 0.2 * wave, torch.ones(1))
        torch.testing.assert_close(mixed, 0.5 + (0.2 if changed else 0.1) * wave, atol=1e-5, rtol=0)


def test_results_are_clipped() -> None:
    across = torch.arange(32) / 32
    wave = torch.cos(2 * torch.pi * across).expand(1, 1, 32, 32)
    mixed = mix_amplitude(0.9 + 0.05 * wave, 0.5 + 0.5 * wave, torch.tensor([0.5]))
    torch.testing.assert_close(mixed, (0.7 + 0.275 * wave).clamp(0, 1), atol=1e-5, rtol=0)
    mixed = mix_amplitude(0.9 + 0.05 * wave, 0.5 + 0.5 * wave, torch.tensor([0.2]))
    assert 0.82 + 0.14 > 0.95 and mixed.max() <= 1 and mixed.min() >= 0
    black = mix_amplitude(torch.zeros(1, 1, 8, 8), torch.rand(1, 1, 8, 8), torch.ones(1))
    assert black.min() >= 0 and black.max() <= 1


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision_is_mixed_in_single(kind: torch.dtype) -> None:
    films, donors = rough(2).to(kind), rough(2, seed=1).to(kind)
    mixed = mix_amplitude(films, donors, torch.tensor([0.3, 0.9]))
    single = mix_amplitude(films.float(), donors.float(), torch.tensor([0.3, 0.9]))
    assert mixed.dtype == kind and torch.equal(mixed, single.to(kind))


def test_a_film_of_one_grey_changes_its_grey_alone() -> None:
    """Phases of what rounding leaves would scatter the donor's amplitudes over the film."""
    grey = torch.full((1, 1, 33, 33), 0.3)
    donor = torch.rand(1, 1, 33, 33, generator=torch.Generator().manual_seed(0))
    mixed = mix_amplitude(grey, donor, torch.tensor([0.5]))
    torch.testing.assert_close(mixed, torch.full_like(grey, 0.15 + 0.5 * float(donor.mean())), atol=1e-5, rtol=0)


def test_channels_are_mixed_one_by_one() -> None:
    films, donors, weight = rough(2, channels=3), rough(2, seed=1, channels=3), torch.tensor([0.4, 0.8])
    whole = mix_amplitude(films, donors, weight)
    for channel in range(3):
        one = slice(channel, channel + 1)
        torch.testing.assert_close(whole[:, one], mix_amplitude(films[:, one], donors[:, one], weight))


def test_donors_are_of_other_sources_whose_sizes_do_not_count() -> None:
    positions, bias = np.arange(50, 150), np.repeat([0, 1, 2], [80, 15, 5])
    mixing = AmplitudeMixing(1.0, positions, bias)
    source = dict(zip(positions.tolist(), bias.tolist(), strict=True))
    for own in (0, 1, 2, 7):  # 7: a source that no training film has
        drawn = [mixing.draw(own, 3, epoch, place) for epoch in range(3) for place in range(1000)]
        found = [source[draw[0]] for draw in drawn if draw is not None]
        assert len(found) == 3000 and own not in found
        counts = np.bincount(found, minlength=3)[[other for other in range(3) if other != own]]
        assert counts == pytest.approx(np.full(len(counts), 3000 / len(counts)), rel=0.1)
    assert {draw[0] for draw in drawn if draw is not None} == set(positions.tolist())


def test_weights_are_uniform_and_as_many_films_are_mixed_as_asked_for() -> None:
    for probability in (0.25, 1.0):
        mixing = AmplitudeMixing(probability, np.arange(4), np.array([0, 0, 1, 1]))
        drawn = [draw for place in range(4000) if (draw := mixing.draw(0, 0, 0, place)) is not None]
        assert len(drawn) / 4000 == pytest.approx(probability, abs=0.03)
        weights = np.array([weight for _, weight in drawn])
        assert np.quantile(weights, [0.1, 0.5, 0.9]) == pytest.approx([0.1, 0.5, 0.9], abs=0.04)


def test_a_draw_depends_on_seed_epoch_and_position_alone() -> None:
    mixing = AmplitudeMixing(1.0, np.arange(100), np.arange(100) % 2)
    first = mixing.draw(0, 1, 2, 3)
    np.random.seed(0)  # noqa: NPY002
    assert mixing.draw(0, 1, 2, 3) == first
    assert all(mixing.draw(0, *other) != first for other in ((2, 2, 3), (1, 3, 3), (1, 2, 4)))
    stand_ins = np.random.default_rng([1, 2, 3]).random(9)  # drawn from the same numbers
    assert first is not None and first[1] not in stand_ins


def test_one_source_has_no_donors() -> None:
    with pytest.raises(
        ValueError, match=r"--mix-amplitude 0.5 takes .* all training films are of one: leave the flag out"
    ):
        AmplitudeMixing(0.5, np.arange(5), np.zeros(5, dtype=int))


class Films:
    """Films of a texture each, with the exposure of their source."""

    def __init__(self, broken: tuple[int, ...] = ()) -> None:
        self.broken, self.read_positions = broken, list[int]()

    def read(self, position: int) -> Radiograph:
        self.read_positions.append(position)
        if position in self.broken:
            raise RadiographError("the PNG is truncated", reason="truncated")
        return Radiograph(
            np.random.default_rng(position).random((16, 16), dtype=np.float32) * (0.4 + 0.2 * (position % 3))
        )

    def fingerprint(self, position: int) -> str:
        return f"film {position}"

    def not_understood(self) -> dict[str, int]:
        return {}


SPLITS = ["train"] * 18 + ["validation"] * 6 + ["test"] * 6 + ["external"] * 6


def cohort(films: Films | None = None) -> Cohort:
    at = np.arange(len(SPLITS))
    columns = {
        "row": at,
        "patient": at.astype(str),
        "label": "x",
        "source": at % 3,
        "split": SPLITS,
        "target": at // 3 % 2,
    }
    return Cohort(INFO, pd.DataFrame(columns | {"bias": at % 3}), Preprocessing(16, intensity="none"), films or Films())


def mixing_of(films: Cohort, probability: float = 1.0) -> AmplitudeMixing:
    at = films.positions(Split.TRAIN)
    return AmplitudeMixing(probability, at, films.table["bias"].to_numpy()[at])


DRAWS = [Draw(film, 2, place) for place, film in enumerate((0, 5, 7, 12, 17))]


@pytest.mark.parametrize("mode", ["memory", "none"])
def test_films_of_the_order_are_mixed_with_the_donors_drawn_before_they_are_normalised(mode: str) -> None:
    films = cohort().cached(mode)
    mixing = mixing_of(films)
    batch = films.samples(seed=4, mixing=mixing).__getitems__(DRAWS)
    pixels = cohort().cached("memory").pixels
    for image, draw in zip(batch.image, DRAWS, strict=True):
        drawn = mixing.draw(draw.film % 3, 4, draw.epoch, draw.position)
        assert drawn is not None and drawn[0] % 3 != draw.film % 3
        own, donor = (pixels(torch.tensor([film])) for film in (draw.film, drawn[0]))
        expected = films.preprocessing.normalise(mix_amplitude(own, donor, torch.tensor([drawn[1]])))[0]
        torch.testing.assert_close(image, expected)
    plain = films.samples(seed=4).__getitems__(DRAWS)
    assert not torch.allclose(batch.image, plain.image, atol=0.02)
    for name in ("target", "bias", "row"):
        assert torch.equal(getattr(batch, name), getattr(plain, name))


def test_processes_that_share_a_batch_mix_its_films_as_one_does() -> None:
    films = cohort().cached("memory")
    samples = films.samples(seed=4, mixing=mixing_of(films, 0.6))
    shares = [samples.__getitems__(DRAWS[:2]).image, samples.__getitems__(DRAWS[2:]).image]
    torch.testing.assert_close(torch.cat(shares), samples.__getitems__(DRAWS).image)


def test_mixed_films_are_augmented_as_others_are() -> None:
    films = cohort().cached("memory")
    mixing, still = mixing_of(films), Augmentation(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    mixed = films.samples(seed=4, mixing=mixing).__getitems__(DRAWS).image
    torch.testing.assert_close(
        films.samples(still, 4, mixing=mixing).__getitems__(DRAWS).image, mixed, atol=1e-4, rtol=0
    )
    moved = films.samples(Augmentation(), 4, mixing=mixing).__getitems__(DRAWS).image
    assert not torch.allclose(moved, mixed, atol=0.02)
    # The random numbers of the augmentation are those of a training without mixing.
    grain = dataclasses.replace(still, noise=0.02)
    noise = [films.samples(grain, 4, mixing=how).__getitems__(DRAWS).image for how in (mixing, None)]
    without = [mixed, films.samples(seed=4).__getitems__(DRAWS).image]
    inner = [(after - before) for after, before in zip(noise, without, strict=True)]
    clear = (torch.stack([*noise, *without]).abs() < 1.6).all(0)  # not clipped at black or white
    torch.testing.assert_close(inner[0][clear], inner[1][clear], atol=1e-4, rtol=0)


def test_films_that_are_measured_stay_as_they_are() -> None:
    """Validation, test and external films, and training films whose features are kept, are addressed by position."""
    films = cohort().cached("memory")
    everything = list(range(len(SPLITS)))
    plain, mixing = (films.samples(mixing=how).__getitems__(everything) for how in (None, mixing_of(films)))
    assert torch.equal(plain.image, mixing.image)


def test_no_donor_is_of_another_part() -> None:
    films = Films()
    samples = cohort(films).cached("none").samples(seed=1, mixing=mixing_of(cohort()))
    for epoch in range(40):
        samples.__getitems__([Draw(film, epoch, film) for film in range(18)])
    assert set(films.read_positions) == set(range(18)) and len(films.read_positions) == 40 * 18 * 2


def test_the_cache_is_not_written_to() -> None:
    films = cohort().cached("memory")
    given = dataclasses.replace(films, films=None, images=films.pixels(torch.arange(len(SPLITS))), places=None)
    before = given.images.clone()  # type: ignore[union-attr]
    given.samples(mixing=mixing_of(films)).__getitems__(DRAWS)
    assert torch.equal(given.images, before)  # type: ignore[arg-type]


def test_a_donor_that_cannot_be_decoded_is_replaced_by_one_of_its_source_or_named() -> None:
    whole = cohort()
    mixing = mixing_of(whole)
    draw = DRAWS[0]
    drawn = mixing.draw(0, 4, draw.epoch, draw.position)
    assert drawn is not None
    broken = cohort(Films(broken=(drawn[0],))).cached("none")
    with pytest.raises(UnreadableFilmError, match=f"line {drawn[0] + 2} of metadata.csv"):
        broken.samples(seed=4, mixing=mixing).__getitems__([draw])
    batch = broken.samples(seed=4, stand_ins=True, mixing=mixing).__getitems__([draw])
    assert batch.row.tolist() == [draw.film]
    alike = [i for i in range(18) if i % 3 == drawn[0] % 3 and i != drawn[0]]
    pixels = whole.cached("memory").pixels
    own, weight = pixels(torch.tensor([draw.film])), torch.tensor([drawn[1]])
    possible = [whole.preprocessing.normalise(mix_amplitude(own, pixels(torch.tensor([i])), weight)) for i in alike]
    assert any(torch.allclose(batch.image, image, atol=1e-5) for image in possible)
