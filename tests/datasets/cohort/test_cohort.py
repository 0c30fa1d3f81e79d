import dataclasses
import multiprocessing
import os
import threading
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

from datasets.cohort.augmentation import Augmentation
from datasets.cohort.films import Cohort, CohortError, CohortSamples, Draw, age_bands, whole_batch
from datasets.cohort.samplers import EpochSampler
from datasets.covid import FilmFolder
from datasets.film.grey_arithmetic import looks_inverted
from datasets.film.preprocessing import Preprocessing
from datasets.film.radiograph import Radiograph, RadiographError
from datasets.sample import DatasetInfo, Sample, Split

FILMS = 24
INFO = DatasetInfo("covid", ("not covid", "covid"), ("north", "south"), "source", 1, synthetic=False)
PREPROCESSING = Preprocessing(16, intensity="none", mean=(0.0,), std=(1.0,))
MODES = ("memory", "disk", "none")


class Counted:
    """Films made on the spot that count how often each is read; those in `broken` can't be."""

    def __init__(self, broken: tuple[int, ...] = ()) -> None:
        self.reads: Counter[int] = Counter()
        self.versions = [0] * FILMS
        self.broken = broken
        self.texts: dict[str, int] = {}
        self.lock = threading.Lock()

    def read(self, position: int) -> Radiograph:
        with self.lock:
            self.reads[position] += 1
        if position in self.broken:
            raise RadiographError("the PNG is truncated: copy or export it again", reason="truncated")
        rng = np.random.default_rng([position, self.versions[position]])
        return Radiograph(rng.random((20, 24), dtype=np.float32))

    def fingerprint(self, position: int) -> str:
        return f"film {position} {self.versions[position]}"

    def not_understood(self) -> dict[str, int]:
        return self.texts


def cohort(films: Any = None, preprocessing: Preprocessing = PREPROCESSING) -> Cohort:
    """Films at rows 100, 101, ... of which 12 train, 6 validate and 6 test."""
    at = np.arange(FILMS)
    table = pd.DataFrame(
        {
            "row": 100 + at,
            "patient": [f"p{i}" for i in at],
            "label": np.where(at % 2, "covid", "normal"),
            "source": np.where(at // 2 % 2, "south", "north"),
            "split": ["train"] * 12 + ["validation"] * 6 + ["test"] * 6,
            "target": at % 2,
            "bias": at // 2 % 2,
        }
    )
    return Cohort(INFO, table, preprocessing, films or Counted())


def expected(position: int, version: int = 0) -> Tensor:
    films = Counted()
    films.versions[position] = version
    return PREPROCESSING.pixels(films.read(position))


def epochs(samples: CohortSamples, count: int = 1, workers: int = 0, start: int = 0) -> list[list[Sample]]:
    """Batches of several epochs over all films, in the order that training gives them."""
    sampler = EpochSampler(np.arange(len(samples)), samples.target.numpy(), samples.bias.numpy(), 5, seed=1)
    sampler.start = start
    loader = DataLoader(samples, batch_sampler=sampler, collate_fn=whole_batch, num_workers=workers)
    result = []
    for sampler.epoch in range(count):
        result.append(list(loader))
    return result


def files_of(folder: Path) -> tuple[Path, Path]:
    """The two files of the cache: hashes of the films, and their pixels."""
    hashes, pixels = sorted(folder.iterdir())
    assert (hashes.suffix, pixels.suffix) == (".films", ".pixels") and hashes.stem == pixels.stem
    return hashes, pixels


def same(one: list[list[Sample]], other: list[list[Sample]]) -> bool:
    return all(
        torch.equal(a, b)
        for batches, others in zip(one, other, strict=True)
        for batch, against in zip(batches, others, strict=True)
        for a, b in zip(batch, against, strict=True)
    )


def test_memory_decodes_each_film_once_over_epochs() -> None:
    films = Counted()
    samples = cohort(films).cached("memory").samples(Augmentation())
    epochs(samples, 3)
    samples.__getitems__(list(range(FILMS)))
    assert films.reads == Counter(range(FILMS))


def test_none_decodes_each_time() -> None:
    films = Counted()
    samples = cohort(films).cached("none").samples()
    assert not films.reads
    for _ in range(3):
        samples.__getitems__([4, 5])
    assert films.reads == {4: 3, 5: 3}


def test_disk_decodes_once_and_for_good(tmp_path: Path) -> None:
    for reads in (1, 0):  # the second is a later process
        films = Counted()
        epochs(cohort(films).cached("disk", tmp_path / "cache").samples(), 3)
        assert films.reads == Counter(range(FILMS)) - Counter(range(FILMS) if not reads else ())


def test_what_is_cached_does_not_change_what_comes_out(tmp_path: Path) -> None:
    batches = [epochs(cohort().cached(mode, tmp_path).samples(Augmentation()), 2) for mode in MODES for _ in range(2)]
    assert all(same(batches[0], other) for other in batches[1:])


@pytest.mark.parametrize("mode", MODES)
def test_batches_are_samples(mode: str, tmp_path: Path) -> None:
    preprocessing = Preprocessing(16, 3, mean=(0.1, 0.2, 0.3), std=(1.0, 2.0, 3.0), intensity="none")
    samples = cohort(preprocessing=preprocessing).cached(mode, tmp_path).samples()
    batch = samples.__getitems__([3, 22, 3])
    assert type(batch) is Sample
    assert batch.image.shape == (3, 3, 16, 16) and batch.image.dtype == torch.float32
    for field in (batch.target, batch.bias, batch.row):
        assert field.shape == (3,) and field.dtype == torch.int64
    assert batch.target.tolist() == [1, 0, 1]
    assert batch.bias.tolist() == [1, 1, 1]
    assert batch.row.tolist() == [103, 122, 103]
    torch.testing.assert_close(batch.image[1], preprocessing.normalise(expected(22)))
    assert torch.equal(batch.image[0], batch.image[2])
    one = samples[22]
    assert type(one) is Sample
    assert all(torch.equal(field, whole[1]) for field, whole in zip(one, batch, strict=True))
    assert len(samples) == FILMS


@pytest.mark.trains
@pytest.mark.parametrize("mode", MODES)
def test_workers_change_nothing(mode: str, tmp_path: Path) -> None:
    samples = cohort().cached(mode, tmp_path).samples(Augmentation(), seed=5)
    assert same(epochs(samples, 2, workers=0), epochs(samples, 2, workers=2))


def test_augmentation_depends_on_seed_epoch_and_position_only() -> None:
    samples = cohort().cached("memory").samples(Augmentation(), seed=5)
    draw = Draw(3, 1, 7)
    alone = samples.__getitems__([draw]).image[0]
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    among = samples.__getitems__([Draw(9, 1, 6), Draw(1, 1, 8), draw, 3]).image
    assert torch.equal(alone, among[2])
    torch.testing.assert_close(among[3], expected(3))  # a plain position is not augmented
    others = [samples.__getitems__([other]).image[0] for other in (Draw(3, 2, 7), Draw(3, 1, 8))]
    others.append(cohort().cached("memory").samples(Augmentation(), seed=6).__getitems__([draw]).image[0])
    assert not any(torch.equal(alone, other) for other in others)
    # Another film in the same place is moved in the same way: the draw is the place's, not the film's.
    flat = dataclasses.replace(cohort(), films=None, images=torch.full((FILMS, 1, 16, 16), 0.5))
    images = flat.samples(Augmentation(), seed=5).__getitems__([Draw(3, 1, 7), Draw(8, 1, 7)]).image
    assert torch.equal(images[0], images[1])


def test_going_on_in_mid_epoch_gives_the_batches_that_were_left() -> None:
    samples = cohort().cached("memory").samples(Augmentation(), seed=5)
    assert same([epochs(samples)[0][2:]], epochs(samples, start=2))


@pytest.mark.parametrize("kind", [torch.uint8, torch.float32])
def test_images_given_as_a_tensor(kind: torch.dtype) -> None:
    levels = torch.randint(0, 256, (FILMS, 3, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    images = levels if kind == torch.uint8 else levels / 255
    given = Cohort(INFO, cohort().table, Preprocessing(8, 3, mean=(0.5,), std=(0.5,)), images=images)
    for mode in MODES:
        batch = given.cached(mode, Path("unused")).samples().__getitems__([2, 5])
        torch.testing.assert_close(batch.image, levels[[2, 5]] / 127.5 - 1)
    plain, augmented = (given.samples(how).__getitems__([Draw(2, 0, 0)]).image for how in (None, Augmentation()))
    assert not torch.allclose(plain, augmented, atol=0.01)
    left = given.without({0: "unwanted"}).samples().__getitems__([1, 4])
    torch.testing.assert_close(left.image, levels[[2, 5]] / 127.5 - 1)
    assert left.row.tolist() == [102, 105]


@pytest.mark.parametrize("mode", ["memory", "disk"])
def test_broken_films_are_left_out_and_named(mode: str, tmp_path: Path) -> None:
    films = Counted(broken=(3, 20))
    cached = cohort(films).cached(mode, tmp_path)
    assert cached.table["row"].tolist() == [100 + i for i in range(FILMS) if i not in (3, 20)]
    assert cached.table.index.tolist() == list(range(FILMS - 2))
    assert cached.excluded["row"].tolist() == [103, 120]
    assert all("truncated" in reason for reason in cached.excluded["reason"])
    assert pd.api.types.is_integer_dtype(cached.excluded["row"])
    samples = cached.samples()
    batch = samples.__getitems__(list(range(len(cached.table))))
    for place, row in enumerate(batch.row.tolist()):
        torch.testing.assert_close(batch.image[place], expected(row - 100))
    assert films.reads == Counter(range(FILMS))
    # The films that are left still belong to their rows, whatever cache comes next.
    torch.testing.assert_close(cached.cached("none").samples()[3].image, expected(4))


def test_earlier_exclusions_are_kept() -> None:
    before = pd.DataFrame({"row": [7], "reason": ["its label is empty"]})
    cached = dataclasses.replace(cohort(Counted(broken=(3,))), excluded=before).cached("memory")
    assert cached.excluded["row"].tolist() == [7, 103]
    assert cached.excluded["reason"].iloc[0] == "its label is empty"


@pytest.mark.parametrize(("split", "broken"), [("train", range(12)), ("validation", range(12, 18))])
def test_no_film_left_to_train_or_validate(split: str, broken: range) -> None:
    with pytest.raises(CohortError, match=f"no film of split {split} is left.*truncated"):
        cohort(Counted(broken=tuple(broken))).cached("memory")


def test_broken_film_without_a_cache_is_an_error_in_words() -> None:
    samples = cohort(Counted(broken=(3,))).cached("none").samples()
    samples.__getitems__([2])
    with pytest.raises(CohortError, match=r"line 105 of metadata\.csv can't be used: the PNG is truncated"):
        samples.__getitems__([2, 3])


def test_film_that_breaks_later_is_found_by_the_next_run(tmp_path: Path) -> None:
    cohort().cached("disk", tmp_path)
    films = Counted(broken=(3,))
    films.versions[3] = 1
    for _ in range(2):
        cached = cohort(films).cached("disk", tmp_path)
        assert cached.excluded["row"].tolist() == [103]
        torch.testing.assert_close(cached.samples()[3].image, expected(4))


def test_disk_cache_is_not_stale_when_a_film_changes(tmp_path: Path) -> None:
    cohort().cached("disk", tmp_path).samples().__getitems__([2, 3])
    films = Counted()
    films.versions[3] = 1
    batch = cohort(films).cached("disk", tmp_path).samples().__getitems__([2, 3])
    torch.testing.assert_close(batch.image, torch.stack([expected(2), expected(3, version=1)]))
    assert films.reads == {3: 1}


@pytest.mark.parametrize("change", [{"size": 12}, {"aspect": "pad"}, {"intensity": "percentile"}])
def test_disk_cache_is_not_stale_when_preprocessing_changes(tmp_path: Path, change: dict[str, Any]) -> None:
    cohort().cached("disk", tmp_path).samples().__getitems__([2, 3])
    other = dataclasses.replace(PREPROCESSING, **change)
    batch = cohort(preprocessing=other).cached("disk", tmp_path).samples().__getitems__([2])
    torch.testing.assert_close(batch.image[0], other(Counted().read(2)))


def test_files_on_disk_change_their_fingerprint(tmp_path: Path) -> None:
    for name, value in (("a.png", 0), ("b.png", 100)):
        Image.fromarray(np.full((8, 8), value, np.uint8)).save(tmp_path / name)
    folder = FilmFolder(tmp_path, ["a.png", "b.png"])
    first = folder.fingerprint(0), folder.fingerprint(1)
    assert first[0] != first[1]
    assert FilmFolder(tmp_path, ["a.png", "b.png"]).fingerprint(0) == first[0]
    Image.fromarray(np.full((8, 8), 1, np.uint8)).save(tmp_path / "a.png")  # as many bytes
    os.utime(tmp_path / "a.png", ns=(0, 1))  # the clock of a file system may be too coarse for a test
    assert folder.fingerprint(0) != first[0]
    assert folder.fingerprint(1) == first[1]


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("whole", [0, 1, 10, FILMS - 1])
def test_films_of_a_cache_cut_short_are_decoded_again(tmp_path: Path, number: int, whole: int) -> None:
    cohort().cached("disk", tmp_path)
    file = files_of(tmp_path)[number]
    row = file.stat().st_size // FILMS
    file.write_bytes(file.read_bytes()[: whole * row + 1])
    films = Counted()
    for _ in range(2):
        images = cohort(films).cached("disk", tmp_path).samples().__getitems__(list(range(FILMS))).image
        torch.testing.assert_close(images, torch.stack([expected(position) for position in range(FILMS)]))
    assert films.reads == Counter(range(whole, FILMS))


def test_a_cache_that_was_killed_while_it_decoded_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.cohort.cache.TOGETHER", 5)
    killed = Counted()
    read = killed.read

    def kill(position: int) -> Radiograph:
        if position == 12:
            raise KeyboardInterrupt
        return read(position)

    killed.read = kill  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        cohort(killed).cached("disk", tmp_path)
    films = Counted()
    images = cohort(films).cached("disk", tmp_path).samples().__getitems__(list(range(FILMS))).image
    torch.testing.assert_close(images, torch.stack([expected(position) for position in range(FILMS)]))
    assert films.reads == Counter(range(10, FILMS))


def test_films_under_two_rows_are_decoded_once_and_left_out_together(tmp_path: Path) -> None:
    class Twice(Counted):
        def fingerprint(self, position: int) -> str:
            return f"film {position // 2}"

    films = Twice(broken=(8, 9))
    cached = cohort(films).cached("disk", tmp_path)
    assert len(films.reads) == FILMS // 2 and cached.excluded["row"].tolist() == [108, 109]
    images = cached.samples().__getitems__([0, 1]).image
    assert torch.equal(images[0], images[1])


def fill(place: str) -> list[float]:
    return cohort().cached("disk", Path(place)).samples().__getitems__(list(range(FILMS))).image.sum((1, 2, 3)).tolist()


def test_processes_fill_one_cache_together(tmp_path: Path) -> None:
    with ProcessPoolExecutor(3, multiprocessing.get_context("fork")) as pool:
        sums = list(pool.map(fill, [str(tmp_path)] * 3))
    assert sums == [torch.stack([expected(position) for position in range(FILMS)]).sum((1, 2, 3)).tolist()] * 3
    hashes, pixels = files_of(tmp_path)
    assert (hashes.stat().st_size, pixels.stat().st_size) == (32 * FILMS, 4 * 16 * 16 * FILMS)


def test_a_disk_without_locks_is_refused_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(OSError, match=r"needs a file system with locks .*: take --cache memory or none"):
        cohort().cached("disk", tmp_path)


def test_cohorts_share_the_films_of_one_cache(tmp_path: Path) -> None:
    cohort().cached("disk", tmp_path)
    films = Counted()
    part = cohort(films).part([20, 3, 3]).cached("disk", tmp_path)
    torch.testing.assert_close(
        part.samples().__getitems__([0, 1, 2]).image, torch.stack([expected(i) for i in (20, 3, 3)])
    )
    assert not films.reads


def test_names_of_cache_files_tell_nothing(tmp_path: Path) -> None:
    cohort().cached("disk", tmp_path)
    assert all(len(file.stem) == 64 and int(file.stem, 16) for file in files_of(tmp_path))


@pytest.mark.parametrize(("mode", "folder"), [("ram", Path("x")), ("disk", None)])
def test_impossible_cache(mode: str, folder: Path | None) -> None:
    with pytest.raises(ValueError, match=f"'{mode}'"):
        cohort().cached(mode, folder)


def test_positions() -> None:
    assert cohort().positions(Split.VALIDATION).tolist() == list(range(12, 18))
    assert cohort().positions(Split.EXTERNAL).tolist() == []


def test_table_must_have_its_columns() -> None:
    with pytest.raises(CohortError, match="lacks the columns patient, bias"):
        Cohort(INFO, cohort().table.drop(columns=["bias", "patient"]), PREPROCESSING)


@pytest.mark.parametrize(
    ("age", "band"),
    [
        ("43", "40-49"), ("45.0", "40-49"), (" 61 ", "60-69"), ("045Y", "40-49"), ("6M", "0-9"), ("0", "0-9"),
        ("90", "90+"), ("105", "90+"), ("411", ""),
        ("40-49", "40-49"), ("0-9", "0-9"), ("90+", "90+"), ("40-59", ""),
        ("000Y", ""), ("", ""), ("-1", ""), ("forty", ""), (43, "40-49"), (43.0, "40-49"), (None, ""),
    ],
)  # fmt: skip
def test_age_bands(age: str | float | None, band: str) -> None:
    assert age_bands(pd.Series([age])).tolist() == [band]


def test_age_bands_of_a_column_with_gaps() -> None:
    assert age_bands(pd.Series([43.0, np.nan])).tolist() == ["40-49", ""]
    assert age_bands(pd.Series([], dtype=str)).tolist() == []


@pytest.mark.parametrize("mode", ["memory", "disk"])
def test_films_that_do_not_fit_are_refused_before_one_is_decoded(
    mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datasets.cohort.capacity.free_memory", lambda: 1000)
    monkeypatch.setattr("datasets.cohort.capacity.shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    films = Counted()
    with pytest.raises(CohortError, match=f"--cache {mode}: .* are free"):
        cohort(films).cached(mode, tmp_path)
    assert not films.reads
    assert len(cohort(films).cached("none").samples()) == len(cohort().table)


class Chests(Counted):
    """Films with a bright mediastinum between dark lungs; every third is inverted."""

    def read(self, position: int) -> Radiograph:
        pixels = super().read(position).pixels * 0.1 + 0.3
        pixels[:, 10:14] += 0.5
        pixels[:2] = 0
        return Radiograph(1 - pixels if position % 3 == 0 else pixels)


@pytest.mark.parametrize("mode", ["memory", "disk"])
def test_films_that_look_inverted_are_counted_with_lines_and_sources(mode: str, tmp_path: Path) -> None:
    info = dataclasses.replace(INFO, name="covid")
    plain = dataclasses.replace(cohort(Chests()), info=info).cached(mode, tmp_path)
    (note,) = [note for note in plain.notes if "inverted" in note]
    assert note.startswith("8 film(s) look inverted") and "lines 102, 105, 108" in note
    assert "north 4" in note and "south 4" in note
    films = [Chests().read(1).pixels, 1 - Chests().read(3).pixels]
    assert not any(looks_inverted(pixels) for pixels in films)


def test_texts_that_no_word_fits_are_listed() -> None:
    films = Counted()
    films.texts = {"view W STD": 7, "body part XYZ": 1}
    (note,) = [note for note in cohort(films).cached("memory").notes if "understood" in note]
    assert "view W STD (7), body part XYZ (1)" in note and "--view-is" in note
