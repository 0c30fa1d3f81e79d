"""A folder of phantom films as a user's own: one hospital of two labels, and a second of one label."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from datasets.cohort.films import Cohort
from datasets.covid import load_covid
from datasets.film.preprocessing import Preprocessing
from datasets.phantom.film import film

SIZE = 64


@pytest.fixture(scope="session")
def own_films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """130 patients of `clinic`, every tenth with two films, half of them with pneumonia; 20 of `far`, all normal."""
    folder = tmp_path_factory.mktemp("own") / "films"
    folder.mkdir()
    rows = []
    for number in range(150):
        source, label = ("clinic", ("normal", "pneumonia")[number % 2]) if number < 130 else ("far", "normal")
        for view in range(2 if number % 10 == 0 else 1):
            name = f"film{number:03d}{view}.png"
            pixels = film(5, 3 * number + view, label, "west", SIZE).pixels
            Image.fromarray(np.rint(255 * pixels).astype(np.uint8)).save(folder / name)
            rows.append((name, label, source, f"DOE^{number:03d}", "PA", 40 + number % 40))
    table = pd.DataFrame(rows, columns=["path", "label", "source", "patient_id", "view", "age"])
    table.to_csv(folder / "metadata.csv", index=False)
    return folder


@pytest.fixture(scope="session")
def own_cohort(own_films: Path) -> Cohort:
    """The films of `clinic`."""
    cohort = load_covid(own_films, Preprocessing(SIZE), ("normal", "pneumonia"))
    return cohort.part(np.flatnonzero(cohort.table["source"] == "clinic").tolist())
