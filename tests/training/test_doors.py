"""The same film is the same pixels through each door: a prepared cohort, a scored folder, an upload to the app."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from app.reading.upload import Film, Upload, read_upload
from datasets.covid import load_covid
from datasets.film.folder import Entry, LocalFolder
from datasets.film.identity import hash_key
from datasets.film.policy import DicomPolicy
from datasets.film.preprocessing import Preprocessing
from datasets.phantom.folder import SCANNERS
from tests.datasets.prepare.archive import cells, prepare, with_key
from training.folder.reading import ReadFilm

GEOMETRY = Preprocessing(32, channels=1, mean=(0.5,), std=(0.5,))


@pytest.fixture(scope="module")
def cohorts(film_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The folder's films linked, and as PNG files, under one key."""
    root = tmp_path_factory.mktemp("doors")
    where = ("dicom", film_folder, "--labels", film_folder / "labels.csv", "--no-copies")
    prepare(*where, "--out", with_key(root / "linked"), "--linkage", root / "linkage.csv")
    prepare(*where, "--out", root / "png", "--pixels", "png16", "--hash-key", root / "linked/.hash-key")
    return root / "linked", root / "png"


def test_the_folder_has_films_of_every_scanner(cohorts: tuple[Path, Path]) -> None:
    scanners = {(scanner.manufacturer, scanner.model) for each in SCANNERS.values() for scanner in each}
    assert len(set(cells(cohorts[0] / "metadata.csv")[["manufacturer", "model"]].itertuples(index=False))) == len(
        scanners
    )


def test_training_evaluation_and_app_see_the_same_pixels(film_folder: Path, cohorts: tuple[Path, Path]) -> None:
    linked, png = (load_covid(place, GEOMETRY) for place in cohorts)
    paths = cells(cohorts[0].parent / "linkage.csv").set_index("file")["path"]
    reader = ReadFilm(LocalFolder(film_folder), hash_key(cohorts[0]), DicomPolicy(), (GEOMETRY,))
    pd.testing.assert_series_equal(linked.table["patient"], png.table["patient"])
    cached = linked.cached("memory").samples()
    for position, path in enumerate(linked.table["path"]):
        name = paths[Path(path).stem]
        trained_on = linked.samples()[position].image
        scored = GEOMETRY.normalise(torch.from_numpy(reader(Entry(name, 0, "")).pixels[0])[None])
        uploaded = read_upload(Upload((film_folder / name).read_bytes(), (GEOMETRY.voi,)))
        assert isinstance(uploaded, Film)
        assert torch.equal(trained_on, scored) and torch.equal(trained_on, GEOMETRY(uploaded.shown))
        assert (
            cached[position].image - trained_on
        ).abs().max() <= 1.01 / 255  # a cache has 8 bits, 0.5 / 255 over std 0.5
        assert (png.samples()[position].image - trained_on).abs().max() < 2e-3


def test_greys_in_png_files_are_the_reader_s_to_16_bits(cohorts: tuple[Path, Path]) -> None:
    linked, png = (load_covid(place, GEOMETRY).films for place in cohorts)
    assert linked is not None and png is not None
    for position in range(len(cells(cohorts[0] / "metadata.csv"))):
        greys, written = linked.read(position).pixels, png.read(position).pixels
        assert greys.shape == written.shape
        assert np.abs(greys.astype(np.float64) - written).max() <= 0.5 / 65535 + 1e-7
        assert np.array_equal(np.rint(65535 * greys.astype(np.float64)), np.rint(65535 * written.astype(np.float64)))
