import numpy as np
import pytest
import torch

from datasets.film.preprocessing import Preprocessing
from datasets.film.radiograph import Radiograph
from training.scoring.saliency_picture import draw, film_heat

WORDS = ("RESEARCH ONLY - not a medical device", "covid-erm-0", "score 0.43")


def centre(mask: np.ndarray) -> tuple[float, ...]:
    """Middle of a bright region, in fractions of rows and columns from the centres of pixels."""
    return tuple((np.argwhere(mask).mean(0) + 0.5) / mask.shape)


@pytest.mark.parametrize("aspect", ["stretch", "pad", "crop"])
@pytest.mark.parametrize("film", [(200, 300), (300, 200), (201, 300), (300, 203), (256, 256)])
@pytest.mark.parametrize("shrink", [1, 2])
def test_what_the_model_saw_lies_where_it_was_on_the_film(aspect: str, film: tuple[int, int], shrink: int) -> None:
    pixels = np.zeros(film, np.float32)
    pixels[90:130, 85:135] = 1
    preprocessing = Preprocessing(64, aspect=aspect, intensity="none")
    seen = preprocessing.pixels(Radiograph(pixels, {}))[0].numpy()  # the input itself as the map
    size = (film[0] // shrink, film[1] // shrink)
    back = film_heat(seen, film, preprocessing, size)
    assert back.shape == size
    np.testing.assert_allclose(centre(back > 0.5), centre(pixels > 0.5), atol=0.006)
    assert (back > 0.5).sum() / back.size == pytest.approx(pixels.mean(), rel=0.15)


@pytest.mark.parametrize(("film", "blind"), [((20, 30), np.s_[:, :5]), ((30, 20), np.s_[25:])])
def test_what_crop_left_out_has_no_heat(film: tuple[int, int], blind: tuple[slice, ...]) -> None:
    back = film_heat(np.ones((8, 8)), film, Preprocessing(8, aspect="crop"), film)
    assert not back[blind].any()
    assert back.sum() == pytest.approx(20 * 20)
    for aspect in ("pad", "stretch"):
        np.testing.assert_allclose(film_heat(np.ones((8, 8)), film, Preprocessing(8, aspect=aspect), film), 1)


def test_interpolation_is_that_of_pixel_centres() -> None:
    heat = np.array([[0.0, 1.0]] * 2)
    torch_says = torch.nn.functional.interpolate(torch.from_numpy(heat)[None, None], size=(8, 8), mode="bilinear")
    np.testing.assert_allclose(film_heat(heat, (5, 5), Preprocessing(2), (8, 8)), torch_says[0, 0].numpy())


def test_the_film_shows_through_and_more_heat_is_more_orange() -> None:
    pixels = np.tile(np.linspace(0, 1, 600, dtype=np.float32), (600, 1))
    heat = np.tile(np.linspace(0, 1, 600)[:, None], (1, 600))
    picture = draw(pixels, heat, Preprocessing(600), WORDS).astype(int)
    grey = (pixels * 255).round()
    np.testing.assert_array_equal(picture[0], np.repeat(grey[0][:, None], 3, 1))  # no heat, no colour
    blueless = (picture[..., 0] - picture[..., 2])[:600]
    assert (np.diff(np.delete(blueless[:, 100], np.s_[297:303])) >= -1).all()
    assert blueless[599, 100] > 100
    for row in (10, 200, 450, 599):
        luminance = picture[row] @ np.array([0.299, 0.587, 0.114])
        assert luminance[-1] - luminance[0] > 60  # anatomy stays visible even under the most heat


@pytest.mark.parametrize(
    ("film", "expected"),
    [((3000, 2500), (996, 830)), ((2000, 3000), (683, 1024)), ((192, 192), (512, 512)), ((600, 500), (600, 500))],
)
def test_size_is_moderate(film: tuple[int, int], expected: tuple[int, int]) -> None:
    picture = draw(np.full(film, 0.5, np.float32), np.zeros((7, 7)), Preprocessing(224), WORDS)
    assert picture.dtype == np.uint8
    assert picture.shape == (expected[0] + 28, expected[1], 3)
    assert max(picture.shape) <= 1024
    assert (picture[: expected[0]] == 128).all()
    strip = picture[expected[0] :]
    assert strip.max() == 255 and (strip[..., 0] == strip[..., 2]).all()


@pytest.mark.parametrize("run", ["a-very-long-run-name-" * 9, "läuft", ""])
def test_the_line_fits_whatever_the_run_is_called(run: str) -> None:
    picture = draw(np.zeros((300, 200), np.float32), np.zeros((7, 7)), Preprocessing(224), (WORDS[0], run, WORDS[2]))
    assert picture[-28:].any()
    assert not picture[-28:, -3:].any()
