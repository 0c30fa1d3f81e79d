import numpy as np
import pytest

from datasets.film.picture import FEWEST, is_collapsed, is_picture, sampled


def counts(*of_each: int) -> np.ndarray:
    return np.array(of_each)


@pytest.mark.parametrize(
    ("of_each", "picture"),
    [
        (counts(*[10] * FEWEST), True),
        (counts(*[10] * (FEWEST - 1)), False),
        (counts(*[10, 0, 0] * FEWEST), True),
        (counts(100_000), False),
        (counts(0, 0, 0), False),
        (counts(100_000, *[1] * 200), False),  # a few pixels of a marker on a blank film
        (counts(90_000, *[100] * 100), True),  # much of one grey, and a picture besides
        (counts(*[1] * 200, 100_000, *[1] * 200), False),
    ],
)
def test_is_picture(of_each: np.ndarray, picture: bool) -> None:
    assert is_picture(of_each) is picture


@pytest.mark.parametrize(
    ("low", "high", "collapsed"),
    [
        (0, 1, False),
        (0.4, 0.6, False),
        (0.5, 0.54, True),
        (-9, 0.04, True),
        (-30, 1, True),
        (0, 30, True),
        (-4, 5, False),
    ],
)
def test_is_collapsed(low: float, high: float, collapsed: bool) -> None:
    assert is_collapsed(np.linspace(low, high, 4096), np.ones(4096, int)) is collapsed


def test_what_no_pixel_has_does_not_count() -> None:
    values, of_each = np.linspace(0, 1, 4096), np.zeros(4096, int)
    of_each[100:130] = 50
    assert is_collapsed(values, of_each)
    of_each[100:1300] = 50
    assert not is_collapsed(values, of_each)


@pytest.mark.parametrize("shape", [(1, 1), (3, 2000), (511, 511), (3000, 2500), (1024, 9000)])
def test_a_sample_is_of_every_part(shape: tuple[int, int]) -> None:
    film = np.arange(shape[0] * shape[1]).reshape(shape)
    part = sampled(film)
    assert min(part.shape) == min(shape) if min(shape) < 1024 else 512 <= min(part.shape) < 1024
    step = film.shape[0] // part.shape[0]
    assert part[0, 0] == 0 and shape[0] - 1 - part[-1, 0] // shape[1] <= step
