import gzip
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from datasets import biased_mnist
from datasets.biased_mnist import draw_colours, load_biased_mnist, paint
from datasets.cohort.films import Cohort, CohortError
from datasets.film.preprocessing import Preprocessing
from datasets.sample import Split

# As in ReBias, in this order: the colour of digit k is the k-th.
PALETTE = [
    [255, 0, 0], [0, 255, 0], [0, 0, 255], [225, 225, 0], [225, 0, 225],
    [0, 255, 255], [255, 128, 0], [255, 0, 128], [128, 0, 255], [128, 128, 128],
]  # fmt: skip
TRAIN, TEST = 600, 200
PREPROCESSING = Preprocessing(28, 3, intensity="none", mean=(0.5,), std=(0.5,))


def write_idx(folder: Path, prefix: str, count: int, seed: int, packed: bool = False) -> None:
    """Miniature MNIST: each picture is a pattern of its own, one digit in ten each, in a random order."""
    rng = np.random.default_rng(seed)
    images = (rng.random((count, 28, 28)) < 0.2).astype(np.uint8) * rng.integers(
        1, 256, (count, 28, 28), dtype=np.uint8
    )
    labels = rng.permutation(np.arange(count) % 10).astype(np.uint8)
    for kind, content in (
        ("images-idx3", struct.pack(">IIII", 2051, count, 28, 28) + images.tobytes()),
        ("labels-idx1", struct.pack(">II", 2049, count) + labels.tobytes()),
    ):
        path = folder / f"{prefix}-{kind}-ubyte{'.gz' if packed else ''}"
        path.write_bytes(gzip.compress(content) if packed else content)


def mnist(folder: Path, packed: bool = False) -> Path:
    write_idx(folder, "train", TRAIN, 1, packed)
    write_idx(folder, "t10k", TEST, 2, packed)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mnist(tmp_path_factory.mktemp("mnist"))


def load(folder: Path, **options: Any) -> Cohort:
    return load_biased_mnist(PREPROCESSING, folder, **options)


def images(cohort: Cohort) -> torch.Tensor:
    assert isinstance(cohort.images, torch.Tensor)
    return cohort.images


def part(cohort: Cohort, split: Split) -> pd.DataFrame:
    return cohort.table[cohort.table["split"] == str(split)]


def complaint(folder: Path, **options: Any) -> str:
    with pytest.raises(CohortError) as caught:
        load(folder, **options)
    return str(caught.value)


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise RuntimeError("Error downloading train-images-idx3-ubyte.gz")

    monkeypatch.setattr(biased_mnist, "MNIST", offline)


@pytest.mark.parametrize("rho", [0.0, 0.1, 0.9, 0.99, 0.997, 1.0])
@pytest.mark.parametrize("count", [1000, 997, 10])
def test_colour_counts_are_exact_and_even(rho: float, count: int) -> None:
    target = np.random.default_rng(0).integers(0, 10, count)
    colour = draw_colours(target, rho, np.random.default_rng(1))
    assert ((colour >= 0) & (colour <= 9)).all()
    for label in range(10):
        counts = np.bincount(colour[target == label], minlength=10)
        assert counts[label] == round(rho * counts.sum())
        others = np.delete(counts, label)
        assert others.max() - others.min() <= 1


def test_colours_are_dealt_at_random() -> None:
    """Neither the first digits of a label are the aligned ones, nor do the first colours get the remainder."""
    target = np.zeros(1000, int)
    own = np.mean([np.flatnonzero(draw_colours(target, 0.5, np.random.default_rng(s)) == 0) for s in range(20)])
    assert own == pytest.approx(499.5, abs=10)
    extra = {int(draw_colours(np.zeros(1, int), 0.0, np.random.default_rng(seed))[0]) for seed in range(100)}
    assert extra == set(range(1, 10))


@pytest.mark.parametrize("rho", [0.0, 0.1, 0.9, 0.99, 1.0])
def test_training_at_rho_and_the_rest_unbiased(folder: Path, rho: float) -> None:
    cohort = load(folder, rho=rho)
    for split, correlation in ((Split.TRAIN, rho), (Split.VALIDATION, 0.1), (Split.TEST, 0.1)):
        digits = part(cohort, split)
        for label, of_label in digits.groupby("target"):
            assert (of_label["bias"] == label).sum() == round(correlation * len(of_label))
    assert (part(cohort, Split.TRAIN)["target"].nunique(), len(part(cohort, Split.TRAIN))) == (10, 0.9 * TRAIN)
    assert len(part(cohort, Split.VALIDATION)) == 0.1 * TRAIN
    assert len(part(cohort, Split.TEST)) == TEST


def test_validation_digits_are_not_training_digits(folder: Path) -> None:
    """By their pictures, not by their numbers: the foreground of each is white, whatever the ground."""
    cohort = load(folder)
    foreground = [image.tobytes() for image in (images(cohort) == 255).all(1).numpy()]
    of = {split: {foreground[i] for i in cohort.positions(split)} for split in Split}
    assert len(of[Split.TRAIN]) == 0.9 * TRAIN and len(of[Split.VALIDATION]) == 0.1 * TRAIN
    assert not of[Split.TRAIN] & of[Split.VALIDATION]
    assert not (of[Split.TRAIN] | of[Split.VALIDATION]) & of[Split.TEST]
    assert cohort.table["row"].is_unique
    assert cohort.table["patient"].is_unique


def test_white_digit_on_its_ground(folder: Path) -> None:
    cohort = load(folder, rho=0.5)
    raw = (folder / "train-images-idx3-ubyte").read_bytes()[16:] + (folder / "t10k-images-idx3-ubyte").read_bytes()[16:]
    names = (folder / "train-labels-idx1-ubyte").read_bytes()[8:] + (folder / "t10k-labels-idx1-ubyte").read_bytes()[8:]
    digits = np.frombuffer(raw, np.uint8).reshape(-1, 28, 28)[cohort.table["row"]]
    ground = np.array(PALETTE, np.uint8)[cohort.table["bias"]]
    expected = np.where(digits[..., None] != 0, np.uint8(255), ground[:, None, None])
    assert images(cohort).dtype == torch.uint8
    assert np.array_equal(images(cohort).permute(0, 2, 3, 1).numpy(), expected)
    assert cohort.table["target"].tolist() == np.frombuffer(names, np.uint8)[cohort.table["row"]].tolist()


def test_paint_takes_any_grey_as_foreground() -> None:
    digit = torch.tensor([[[0, 1], [128, 255]]], dtype=torch.uint8)
    painted = paint(digit, torch.tensor([6]))
    assert painted[0, :, 0, 0].tolist() == [255, 128, 0]
    assert (painted[0].flatten(1)[:, 1:] == 255).all()


def test_info_and_samples(folder: Path) -> None:
    cohort = load(folder)
    assert cohort.info.targets == tuple("0123456789")
    assert (len(cohort.info.biases), cohort.info.bias_name, cohort.info.positive) == (10, "colour", None)
    assert cohort.table["source"].tolist() == [cohort.info.biases[b] for b in cohort.table["bias"]]
    assert cohort.table["label"].tolist() == cohort.table["target"].astype(str).tolist()
    batch = cohort.cached("memory").samples().__getitems__([0, 5, 9])
    assert batch.image.shape == (3, 3, 28, 28)
    torch.testing.assert_close(batch.image, images(cohort)[[0, 5, 9]].float() / 127.5 - 1)
    assert batch.target.tolist() == cohort.table["target"].iloc[[0, 5, 9]].tolist()


def test_seed_decides_everything_and_global_generators_stay(folder: Path) -> None:
    states = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first, again, other = (load(folder, seed=seed) for seed in (3, 3, 4))
    assert first.table.equals(again.table) and torch.equal(images(first), images(again))
    assert set(part(first, Split.VALIDATION)["row"]) != set(part(other, Split.VALIDATION)["row"])
    assert part(first, Split.TEST)["bias"].tolist() != part(other, Split.TEST)["bias"].tolist()
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1] == states[1]).all()  # noqa: NPY002


def test_rho_does_not_change_which_digits_are_where(folder: Path) -> None:
    assert load(folder, rho=0.9).table["row"].equals(load(folder, rho=0.99).table["row"])


def test_fewer_films_are_a_part_of_all(folder: Path) -> None:
    few, all_of_them = load(folder, films=100), load(folder)
    assert len(part(few, Split.TRAIN)) == 100
    assert set(part(few, Split.TRAIN)["row"]) < set(part(all_of_them, Split.TRAIN)["row"])
    assert len(part(few, Split.TEST)) == TEST


def test_other_sizes_are_resized(folder: Path) -> None:
    cohort = load_biased_mnist(Preprocessing(14, 3, intensity="none"), folder)
    assert images(cohort).shape == (TRAIN + TEST, 3, 14, 14)
    assert images(cohort).dtype == torch.uint8


def test_gzipped_files_give_the_same(folder: Path, tmp_path: Path) -> None:
    first, packed = load(folder), load(mnist(tmp_path, packed=True))
    assert torch.equal(images(first), images(packed))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rho": 1.01}, "rho 1.01: a probability"),
        ({"rho": -0.1}, "rho -0.1: a probability"),
        ({"rho": float("nan")}, "rho nan: a probability"),
        ({"films": 541}, "541 training digits were asked for"),
        ({"films": 1}, "1 training digits were asked for"),
        ({"films": -5}, "-5 training digits were asked for"),
    ],
)
def test_impossible_settings(folder: Path, options: dict[str, Any], words: str) -> None:
    assert words in complaint(folder, **options)


def test_grey_is_refused(folder: Path) -> None:
    with pytest.raises(CohortError, match="3 channels, not 1"):
        load_biased_mnist(Preprocessing(28, 1), folder)


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("lacking", ["train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
def test_missing_files_without_a_network(tmp_path: Path, lacking: str) -> None:
    (mnist(tmp_path) / lacking).unlink()
    message = complaint(tmp_path)
    assert str(tmp_path) in message
    assert "four idx files" in message and "\n" not in message


def packed(content: bytes) -> bytes:
    return gzip.compress(content, compresslevel=1)


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 0xFF]) + content[middle + 1 :]


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "a web page": lambda content: b"<html>404</html>",
    "cut.gz": lambda content: packed(content)[:-20],
    "flipped.gz": lambda content: flipped(packed(content)),
    "a web page.gz": lambda content: b"<html>404</html>",
    "no deflate.gz": lambda content: packed(content)[:10] + b"\xff" * 100,
}


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("name", DAMAGE)
@pytest.mark.parametrize("kind", ["images-idx3", "labels-idx1"])
def test_broken_file_is_named(tmp_path: Path, kind: str, name: str) -> None:
    mnist(tmp_path)
    path = tmp_path / f"train-{kind}-ubyte"
    content = DAMAGE[name](path.read_bytes())
    path.unlink()
    broken = path.with_name(path.name + (".gz" if name.endswith(".gz") else ""))
    broken.write_bytes(content)
    message = complaint(tmp_path)
    assert str(broken) in message
    assert "broken" in message and "\n" not in message


def test_images_and_labels_that_do_not_match(folder: Path, tmp_path: Path) -> None:
    mnist(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes((folder / "t10k-labels-idx1-ubyte").read_bytes())
    assert f"{TRAIN} train images, {TEST} labels" in complaint(tmp_path)


@pytest.mark.skipif("END_CXR_MNIST" not in os.environ, reason="END_CXR_MNIST names no folder of MNIST")
def test_real_mnist() -> None:
    cohort = load(Path(os.environ["END_CXR_MNIST"]), rho=0.997)
    assert cohort.table["split"].value_counts().to_dict() == {"train": 54_000, "test": 10_000, "validation": 6_000}
    digits = part(cohort, Split.TRAIN)
    assert (digits["target"] != digits["bias"]).sum() == pytest.approx(0.003 * 54_000, abs=5)
    assert (part(cohort, Split.TEST)["target"] == part(cohort, Split.TEST)["bias"]).mean() == pytest.approx(
        0.1, abs=1e-3
    )
    assert (images(cohort).flatten(2) == 255).all(1).float().mean() == pytest.approx(0.19, abs=0.02)
