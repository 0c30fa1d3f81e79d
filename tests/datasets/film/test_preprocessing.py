import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional

from datasets.film.picture import MEASURED, sampled
from datasets.film.preprocessing import Preprocessing
from datasets.film.radiograph import Radiograph
from datasets.film.read import read_radiograph
from datasets.phantom.folder import write_folder

ASPECTS = ("stretch", "pad", "crop")


def film(rows: int, columns: int, seed: int = 0) -> np.ndarray:
    """A film whose grey rises to the right, with noise; nothing at 0 or 1."""
    rng = np.random.default_rng(seed)
    ramp = np.linspace(0.25, 0.6, columns) + rng.normal(0, 0.02, (rows, columns))
    return ramp.clip(0.05, 0.95).astype(np.float32)


def pixels(values: np.ndarray, size: int = 32, **options: Any) -> np.ndarray:
    return Preprocessing(size, **options).pixels(Radiograph(values)).numpy()[0]


def framed(values: np.ndarray, grey: float) -> np.ndarray:
    """The film with an eighth of each side under a collimator."""
    result = values.copy()
    wide = len(values) // 8
    result[:wide] = result[-wide:] = grey
    result[:, :wide] = result[:, -wide:] = grey
    return result


def test_grey_levels_are_the_percentiles_that_numpy_gives() -> None:
    values = film(64, 64)
    inner = values[(values > values.min()) & (values < values.max())]
    low, high = np.percentile(inner, [0.5, 99.5])
    np.testing.assert_allclose(pixels(values, 64), ((values - low) / (high - low)).clip(0, 1), atol=1e-5)


def assert_counted_as_sorted(film: Radiograph) -> None:
    """The histogram is that of the pixels, and the film comes out the same, to the bit, as by sorting them."""
    assert film.histogram is not None
    greys, each = np.unique(sampled(film.pixels, MEASURED), return_counts=True)
    there = film.histogram.counts > 0
    found, where = np.unique(film.histogram.greys[there], return_inverse=True)
    np.testing.assert_array_equal(found, greys)
    np.testing.assert_array_equal(np.bincount(where, film.histogram.counts[there]), each)
    for size in (16, 64):
        by_sorting = Preprocessing(size).pixels(dataclasses.replace(film, histogram=None))
        assert torch.equal(Preprocessing(size).pixels(film), by_sorting)


GREYS = {
    "noise": lambda shape, rng: rng.normal(0.4, 0.1, shape),
    "bordered": lambda shape, rng: framed(rng.uniform(0.3, 0.7, shape), 1.0),
    "dark": lambda shape, rng: rng.uniform(0, 1 / 16, shape),  # 12 bits in 16
    "all levels": lambda shape, rng: np.linspace(0, 1, shape[0] * shape[1]).reshape(shape),
    "two levels": lambda shape, rng: rng.integers(0, 2, shape),
    "three levels": lambda shape, rng: rng.integers(0, 3, shape) / 2,
    "one level": lambda shape, rng: np.full(shape, 0.4),
}


@pytest.mark.parametrize("greys", GREYS)
@pytest.mark.parametrize("shape", [(32, 32), (301, 200), (1100, 1030), (2100, 1040)])
@pytest.mark.parametrize(("mode", "kind"), [("L", "PNG"), ("L", "JPEG"), ("RGB", "PNG"), ("P", "PNG"), ("L", "TIFF")])
def test_percentiles_of_bytes_are_counted(greys: str, shape: tuple[int, int], mode: str, kind: str) -> None:
    values = GREYS[greys](shape, np.random.default_rng(0)).clip(0, 1)
    content = io.BytesIO()
    Image.fromarray(np.rint(255 * values).astype(np.uint8)).convert(mode).save(content, kind)
    assert_counted_as_sorted(read_radiograph(content.getvalue(), may_be_empty=True))


@pytest.mark.parametrize("greys", GREYS)
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_percentiles_of_16_bits_are_counted(greys: str, kind: str) -> None:
    values = GREYS[greys]((520, 510), np.random.default_rng(0)).clip(0, 1)
    content = io.BytesIO()
    Image.fromarray(np.rint(65535 * values).astype(np.uint16)).save(content, kind)
    assert_counted_as_sorted(read_radiograph(content.getvalue(), may_be_empty=True))


def test_percentiles_of_dicom_films_are_counted(tmp_path: Path) -> None:
    write_folder(tmp_path, 12, 0.9, 1, 256)
    films = [read_radiograph(file) for file in sorted(tmp_path.rglob("*.dcm")) if "odd" not in file.parts]
    counted = [film for film in films if film.histogram is not None]
    assert len(counted) > 6
    for film in counted:
        assert_counted_as_sorted(film)


@pytest.mark.parametrize("bits", [8, 16])
def test_few_pixels_are_sorted(bits: int) -> None:
    values = np.arange(400).reshape(20, 20) * (2**bits // 400)
    content = io.BytesIO()
    Image.fromarray(values.astype(f"u{bits // 8}")).save(content, "PNG")
    assert read_radiograph(content.getvalue(), may_be_empty=True).histogram is None


@pytest.mark.parametrize("side", [128, 333, 700, 1500])
@pytest.mark.parametrize("grey", [0.0, 1.0])
def test_borders_do_not_change_the_film_inside(side: int, grey: float) -> None:
    """They are left out of the percentiles although resizing blends them with their neighbours."""
    values = film(side, side)
    with_border, without = pixels(framed(values, grey)), pixels(framed(values, 0.5))
    inside = slice(6, 26)
    np.testing.assert_allclose(with_border[inside, inside], without[inside, inside], atol=0.1)
    assert with_border[16, 24] - with_border[16, 8] > 0.35


def test_grey_levels_do_not_depend_on_exposure_or_size_of_input() -> None:
    values = film(256, 256)
    np.testing.assert_allclose(pixels(values), pixels(0.1 + 0.5 * values), atol=1e-4)
    np.testing.assert_allclose(pixels(values), pixels(np.kron(values, np.ones((2, 2), np.float32))), atol=0.03)


@pytest.mark.parametrize("value", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("shape", [(1, 1), (8, 8), (50, 30)])
def test_constant_film_stays_as_it_is(value: float, shape: tuple[int, int]) -> None:
    np.testing.assert_allclose(pixels(np.full(shape, value, np.float32)), value, atol=1e-6)


def test_two_and_three_grey_levels_stay_in_range() -> None:
    two = np.zeros((40, 40), np.float32)
    two[10:] = 0.7
    np.testing.assert_allclose(np.unique(pixels(two, 40)), [0, 0.7], atol=1e-6)
    three = two.copy()
    three[20:] = 1
    assert np.isfinite(pixels(three)).all()
    assert pixels(three).min() >= 0 and pixels(three).max() <= 1


@pytest.mark.parametrize("intensity", ["percentile", "none"])
@pytest.mark.parametrize("aspect", ASPECTS)
@pytest.mark.parametrize("shape", [(300, 200), (201, 333), (9, 700)])
def test_shape_type_and_range(shape: tuple[int, int], aspect: str, intensity: str) -> None:
    values = film(*shape)
    values[: shape[0] // 2, : shape[1] // 3] = 1
    result = Preprocessing(48, aspect=aspect, intensity=intensity).pixels(Radiograph(values))
    assert result.shape == (1, 48, 48)
    assert result.dtype == torch.float32
    assert result.min() >= 0 and result.max() <= 1
    assert result.is_contiguous()


def test_intensity_none_keeps_grey_levels() -> None:
    values = film(64, 64)
    np.testing.assert_allclose(pixels(values, 64, intensity="none"), values, atol=1e-6)


@pytest.mark.parametrize("shape", [(60, 60), (60, 90), (90, 60)])
@pytest.mark.parametrize("aspect", ASPECTS)
@pytest.mark.parametrize("corner", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_a_marker_stays_in_its_corner(shape: tuple[int, int], aspect: str, corner: tuple[int, int]) -> None:
    """Never mirrored, never turned: a mirrored chest is another patient."""
    values = np.full(shape, 0.3, np.float32)
    rows, columns = (
        slice(n // 4, n // 2) if side == 0 else slice(n // 2, 3 * n // 4) for n, side in zip(shape, corner, strict=True)
    )
    values[rows, columns] = 0.9
    row, column = np.unravel_index(pixels(values, aspect=aspect, intensity="none").argmax(), (32, 32))
    assert (int(row >= 16), int(column >= 16)) == corner


def test_aspect_policies() -> None:
    wide = np.full((40, 80), 0.5, np.float32)
    wide[:, :20] = 0.9  # the left quarter
    stretched, padded, cropped = (pixels(wide, aspect=aspect, intensity="none") for aspect in ASPECTS)
    assert (stretched[:, :7] > 0.85).all() and (stretched[:, 9:] < 0.55).all()
    assert (padded[:7] == 0).all() and (padded[-7:] == 0).all() and (padded[9:-9, :7] > 0.85).all()
    np.testing.assert_allclose(cropped, 0.5, atol=1e-6)
    assert (pixels(wide.T, aspect="pad", intensity="none")[:, :7] == 0).all()


@pytest.mark.parametrize("shape", [(90, 60), (60, 90), (31, 30), (7, 300), (300, 7)])
def test_pad_is_the_square_resized(shape: tuple[int, int]) -> None:
    values = film(*shape)
    square = functional.center_crop(torch.from_numpy(values)[None], [max(shape)] * 2)
    expected = functional.resize(square, [32, 32], antialias=True)[0].numpy()
    np.testing.assert_allclose(pixels(values, aspect="pad", intensity="none"), expected, atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 65535), (65535, 1)])
def test_pad_makes_no_square_of_a_narrow_film(shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    crop = functional.center_crop
    monkeypatch.setattr(functional, "center_crop", lambda image, size: made.append(size) or crop(image, size))
    assert pixels(np.full(shape, 0.5, np.float32), aspect="pad").shape == (32, 32)
    assert sorted(made[0]) == [32, 65535]  # 17 GB otherwise


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("batch", [(), (5,)])
def test_normalise(channels: int, batch: tuple[int, ...]) -> None:
    mean, std = (0.4, 0.5, 0.6)[:channels], (0.1, 0.2, 0.3)[:channels]
    image = torch.rand(*batch, 1, 8, 8)
    before = image.clone()
    result = Preprocessing(8, channels, mean=mean, std=std).normalise(image)
    assert result.shape == (*batch, channels, 8, 8)
    assert torch.equal(image, before)
    for channel in range(channels):
        expected = (image[..., 0, :, :] - mean[channel]) / std[channel]
        torch.testing.assert_close(result[..., channel, :, :], expected)


def test_normalise_leaves_colours_apart() -> None:
    image = torch.rand(2, 3, 8, 8)
    torch.testing.assert_close(Preprocessing(8, 3, mean=(0.5,), std=(0.5,)).normalise(image), (image - 0.5) / 0.5)


def test_call_is_pixels_then_normalise() -> None:
    whole = Preprocessing(16, 3, mean=(0.1, 0.2, 0.3), std=(1.0, 2.0, 3.0))
    radiograph = Radiograph(film(30, 40))
    assert torch.equal(whole(radiograph), whole.normalise(whole.pixels(radiograph)))


def test_pixels_leave_the_film_alone() -> None:
    values = film(30, 30)[::-1]  # a view with negative strides, as DICOM rescaling may give
    before = values.copy()
    pixels(values, 30)
    assert np.array_equal(values, before)


@pytest.mark.parametrize(
    "preprocessing",
    [Preprocessing(224), Preprocessing(96, 3, "crop", "none", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))],
)
def test_json_round_trip(preprocessing: Preprocessing) -> None:
    text = json.dumps(dataclasses.asdict(preprocessing))
    again = Preprocessing.from_json(json.loads(text))
    assert again == preprocessing
    assert hash(again) == hash(preprocessing)
    radiograph = Radiograph(film(40, 50))
    assert torch.equal(again(radiograph), preprocessing(radiograph))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"aspect": "squash"}, "aspect must be one of stretch, pad, crop, not 'squash'"),
        ({"intensity": "minmax"}, "intensity must be one of percentile, none, not 'minmax'"),
        ({"mean": (0.4, 0.5, 0.6)}, "mean has 3 values for 1 channel"),
        ({"channels": 3, "std": (0.4, 0.5)}, "std has 2 values for 3 channel"),
    ],
)
def test_impossible_settings(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words.replace("(", r"\(")):
        Preprocessing(8, **options)
