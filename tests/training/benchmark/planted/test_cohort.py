"""A draw as a folder: read like any other cohort, whole or not at all, and without a name in it."""

from pathlib import Path

import pytest

from datasets.cohort.films import Cohort
from datasets.covid import load_covid
from datasets.film.preprocessing import Preprocessing
from training.benchmark.planted.cohort import digest, metadata, write_cohort
from training.benchmark.planted.draw import PlantedDesign
from training.benchmark.planted.films import PlantedFilms
from training.benchmark.planted.signatures import OWN, SIGNATURES

KEY = bytes(range(32))
PLANTED = {signature.name: signature for signature in SIGNATURES[:2]}


@pytest.fixture
def films(own_cohort: Cohort, tmp_path: Path) -> PlantedFilms:
    films = PlantedFilms(own_cohort, tmp_path / "films", KEY)
    films.make(PLANTED.values())
    return films


def design(cohort: Cohort) -> PlantedDesign:
    return PlantedDesign(cohort, {name: OWN[name] for name in PLANTED}, dict(PLANTED))


def test_training_reads_the_folder_as_it_reads_any_other(films: PlantedFilms, tmp_path: Path) -> None:
    drawn = design(films.cohort).drawn(0.9, 0)
    folder = write_cohort(films, metadata(films, drawn, dict(PLANTED)), tmp_path / "cohorts", "rho-0.9-seed-0")
    cohort = load_covid(folder, Preprocessing(64, intensity="none"), ("normal", "pneumonia"))
    assert len(cohort.table) == len(drawn) and not len(cohort.excluded)
    assert cohort.table["source"].tolist() == drawn["source"].tolist()
    assert cohort.table["split"].tolist() == drawn["split"].tolist()
    own = films.cohort.table.iloc[drawn["position"]]
    assert cohort.table["target"].tolist() == own["target"].tolist()
    assert cohort.table["age"].tolist() == own["age"].tolist()
    assert cohort.table["line"].astype(int).tolist() == (own["row"] + 2).tolist()
    assert (cohort.table["patient"].nunique(), cohort.table["patient"].isna().sum()) == (own["patient"].nunique(), 0)
    assert cohort.films is not None
    for row in (0, len(drawn) - 1):
        expected = films.greys(int(drawn["position"][row]), PLANTED[drawn["source"][row]])
        assert abs(cohort.films.read(row).pixels - expected).max() < 0.51 / 255


def test_it_holds_no_name_and_takes_no_room_twice(films: PlantedFilms, tmp_path: Path) -> None:
    table = metadata(films, design(films.cohort).drawn(0.9, 0), dict(PLANTED))
    folder = write_cohort(films, table, tmp_path / "cohorts", "x")
    text = (folder / "metadata.csv").read_text()
    assert "DOE" not in text and "film0" not in text
    assert all((folder / path).stat().st_nlink > 1 for path in table["path"])


def test_a_folder_is_whole_or_made_anew(films: PlantedFilms, tmp_path: Path) -> None:
    ours = design(films.cohort)
    table = metadata(films, ours.drawn(0.9, 0), dict(PLANTED))
    folder = write_cohort(films, table, tmp_path / "cohorts", "x")
    before = (folder / "metadata.csv").stat().st_mtime_ns
    assert write_cohort(films, table, tmp_path / "cohorts", "x") == folder
    assert (folder / "metadata.csv").stat().st_mtime_ns == before
    (folder / "metadata.csv").unlink()  # killed before it was whole
    (folder / table["path"][0]).unlink()  # a copy that was cut short, where there are no links
    (folder / table["path"][0]).write_bytes(b"")
    assert write_cohort(films, table, tmp_path / "cohorts", "x") == folder
    assert (folder / table["path"][0]).stat().st_size > 0 and (folder / "metadata.csv").is_file()
    assert write_cohort(films, metadata(films, ours.drawn(0.9, 1), dict(PLANTED)), tmp_path / "cohorts", "x") != folder


def test_a_file_system_without_links_gets_copies(
    films: PlantedFilms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr("os.link", refuse)
    table = metadata(films, design(films.cohort).drawn(0.9, 0), dict(PLANTED))
    folder = write_cohort(films, table, tmp_path / "cohorts", "x")
    made = films.folder / Path(table["path"][0]).name
    assert (folder / table["path"][0]).read_bytes() == made.read_bytes()


def test_a_digest_tells_films_labels_and_draws_apart_and_not_keys(films: PlantedFilms, tmp_path: Path) -> None:
    ours, cohort = design(films.cohort), films.cohort
    drawn = ours.drawn(0.5, 0)
    first = digest(films, drawn, dict(PLANTED))
    assert digest(PlantedFilms(cohort, tmp_path / "other", bytes(32)), drawn, dict(PLANTED)) == first
    others = {
        digest(films, ours.drawn(0.5, 1), dict(PLANTED)),
        digest(films, drawn, {"site-a": SIGNATURES[0], "site-b": SIGNATURES[2]}),
        digest(
            PlantedFilms(cohort.without({0: "left out"}), films.folder, KEY),
            drawn[drawn["position"] < 99],
            dict(PLANTED),
        ),
    }
    assert len(others | {first}) == 4
