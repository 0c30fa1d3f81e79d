from functools import cache

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from datasets.phantom import __main__ as command
from datasets.phantom.anatomy import attenuation, patient_of
from datasets.phantom.film import HOSPITALS, LABELS, film, table

NAMES = [hospital.name for hospital in HOSPITALS]
TRAINING = {hospital.name for hospital in HOSPITALS if hospital.own is not None}
EXTERNAL = set(NAMES) - TRAINING


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


@pytest.fixture(scope="module")
def cohort() -> pd.DataFrame:
    return table(0.9, 7, 2000, 400, 600, 300)


@pytest.mark.parametrize("size", [33, 96, 128])
@pytest.mark.parametrize("label", LABELS)
def test_pixels_are_float32_in_the_unit_interval(label: str, size: int) -> None:
    for index, name in enumerate(NAMES):
        pixels = film(0, index, label, name, size).pixels
        assert pixels.shape == (size, size)
        assert pixels.dtype == np.float32
        assert 0 <= pixels.min() < 0.2
        assert 0.7 < pixels.max() <= 1


def test_a_film_is_a_function_of_its_spec_alone() -> None:
    first = film(3, 11, "covid", "east", 96)
    np.random.seed(1)  # noqa: NPY002
    film(4, 12, "normal", "west", 128)
    again = film(3, 11, "covid", "east", 96)
    np.testing.assert_array_equal(first.pixels, again.pixels)
    assert first.facts == again.facts
    assert first.facts["synthetic"] is True


def test_the_global_generator_is_left_alone() -> None:
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    film(0, 0, "covid", "north", 64)
    table(0.5, 0, 10, 4, 4, 4)
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002


def test_seed_index_and_label_change_the_film() -> None:
    base = film(0, 0, "normal", "north", 96).pixels
    for seed, index, label in ((1, 0, "normal"), (0, 3, "normal"), (0, 1, "normal"), (0, 0, "covid")):
        assert not np.array_equal(base, film(seed, index, label, "north", 96).pixels)


def test_the_same_patient_at_two_hospitals_is_the_same_patient_in_another_signature() -> None:
    for index in range(0, 30, 3):
        here, there = (film(2, index, "normal", name, 96).pixels for name in ("east", "south"))
        stranger = film(2, index + 300, "normal", "south", 96).pixels
        centre = np.s_[12:-12, 12:-12]
        assert np.abs(here - there).mean() > 0.02
        assert correlation(here[centre], there[centre]) > 0.9
        assert correlation(here[centre], there[centre]) > correlation(here[centre], stranger[centre])


def test_serial_films_share_the_anatomy() -> None:
    assert [patient_of(index) for index in range(7)] == [0, 0, 1, 2, 2, 3, 4]
    pairs = [(attenuation(0, i, "normal", 96), attenuation(0, i + 1, "normal", 96)) for i in range(0, 36, 3)]
    strangers = [(attenuation(0, i, "normal", 96), attenuation(0, i + 3, "normal", 96)) for i in range(0, 36, 3)]
    assert not any(np.array_equal(a, b) for a, b in pairs)
    assert np.mean([correlation(a, b) for a, b in pairs]) > np.mean([correlation(a, b) for a, b in strangers])


def test_a_patient_is_the_same_at_every_size() -> None:
    large = attenuation(0, 5, "covid", 192).reshape(96, 2, 96, 2).mean((1, 3))
    assert correlation(large, attenuation(0, 5, "covid", 96)) > 0.99


@cache
def added(index: int, label: str) -> np.ndarray:
    """What the disease adds to the normal rendering of the same patient."""
    return attenuation(0, index, label, 96) - attenuation(0, index, "normal", 96)


@pytest.mark.parametrize("index", range(0, 24, 3))
def test_ground_glass_is_in_both_lungs(index: int) -> None:
    difference = added(index, "covid")
    halves = difference[:, :48].sum(), difference[:, 48:].sum()
    assert min(halves) > 0.1 * max(halves) > 0


def test_ground_glass_is_mostly_low_and_peripheral() -> None:
    total = np.mean([added(index, "covid") for index in range(0, 90, 3)], axis=0)
    middle_of_the_lungs = 44  # row of 96: they reach from about row 10 to row 78
    assert total[middle_of_the_lungs:].sum() > 1.5 * total[:middle_of_the_lungs].sum()
    from_midline = np.abs(np.arange(96) - 47.5)
    assert total[:, from_midline > 20].sum() > 1.5 * total[:, from_midline <= 20].sum()


@pytest.mark.parametrize("index", range(0, 24, 3))
def test_consolidation_is_in_one_lung(index: int) -> None:
    halves = np.sort([side.sum() for side in np.split(added(index, "pneumonia"), 2, axis=1)])
    assert halves[1] > 0.5
    assert halves[0] < 0.1 * halves[1]


def test_severity_varies_from_subtle_to_marked() -> None:
    strongest = [gaussian_filter(added(index, "covid"), 2).max() for index in range(0, 90, 3)]
    assert np.quantile(strongest, 0.1) < 0.16
    assert np.quantile(strongest, 0.9) > 0.24


def test_the_heart_is_on_the_image_right() -> None:
    """Never mirrored: below the hila the left border of the heart is further from the midline."""
    for index in range(0, 45, 3):
        rows = attenuation(0, index, "normal", 96)[52:64]
        assert rows[:, 56:70].mean() > rows[:, 26:40].mean()


def test_both_classes_and_hospitals_are_balanced_in_every_split(cohort: pd.DataFrame) -> None:
    assert cohort["split"].value_counts().to_dict() == {"train": 2000, "validation": 400, "test": 600, "external": 300}
    for _, part in cohort.groupby("split"):
        share = part["label"].value_counts(normalize=True)
        assert share["covid"] == pytest.approx(0.5, abs=0.02)
        assert share["normal"] == pytest.approx(share["pneumonia"], abs=0.03)
        # north alone has covid as its own label, so it has half of the films, the others a quarter each
        assert part["source"].value_counts(normalize=True).min() > 0.15


@pytest.mark.trains
@pytest.mark.parametrize("rho", [0.0, 0.5, 0.8, 0.95, 1.0])
def test_rho_is_the_share_of_films_with_their_hospitals_own_label(rho: float) -> None:
    cohort = table(rho, 1, 1200, 500, 800, 100)
    own = cohort["source"].map({hospital.name: hospital.own for hospital in HOSPITALS})
    aligned = (cohort["label"] == "covid") == (own == "covid")
    for split, expected in (("train", rho), ("validation", rho), ("test", 0.5)):
        tolerance = 0 if expected in (0, 1) else 0.07
        assert aligned[cohort["split"] == split].mean() == pytest.approx(expected, abs=tolerance)


def test_no_patient_is_in_two_splits_or_hospitals_or_has_two_labels(cohort: pd.DataFrame) -> None:
    per_patient = cohort.groupby("patient")
    for column in ("split", "source", "label", "sex", "age"):
        assert per_patient[column].nunique().max() == 1
    assert set(per_patient.size()) == {1, 2}
    assert cohort["patient"].str.fullmatch(r"phantom-\d{5}").all()


def test_external_hospitals_are_in_external_alone(cohort: pd.DataFrame) -> None:
    assert len(TRAINING) == 3
    assert set(cohort.loc[cohort["split"] == "external", "source"]) == EXTERNAL
    assert set(cohort.loc[cohort["split"] != "external", "source"]) == TRAINING


def test_a_row_is_its_films_index_and_carries_its_facts(cohort: pd.DataFrame) -> None:
    assert cohort["row"].tolist() == list(range(len(cohort)))
    for row in cohort.itertuples():
        if row.row % 100 == 0:
            facts = film(7, row.row, row.label, row.source, 32).facts
            assert (facts["view"], facts["sex"], facts["age"]) == (row.view, row.sex, row.age)


def test_sex_age_and_view_are_independent_of_the_label(cohort: pd.DataFrame) -> None:
    groups = cohort.groupby(cohort["label"] == "covid")
    assert groups["sex"].apply(lambda sex: (sex == "F").mean()).diff().abs().iloc[1] < 0.06
    assert groups["view"].apply(lambda view: (view == "AP").mean()).diff().abs().iloc[1] < 0.06
    assert groups["age"].mean().diff().abs().iloc[1] < 2
    assert cohort["age"].between(18, 94).all()


def test_a_table_is_a_function_of_its_arguments(cohort: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(cohort, table(0.9, 7, 2000, 400, 600, 300))
    assert not cohort.equals(table(0.9, 8, 2000, 400, 600, 300))


@pytest.mark.parametrize("sizes", [(2, 2, 2, 2), (3, 2, 3, 2), (7, 0, 5, 0), (0, 3, 2, 9), (2, 5, 5, 5), (0, 0, 0, 0)])
def test_small_splits_have_exactly_their_films(sizes: tuple[int, int, int, int]) -> None:
    for seed in range(10):
        counts = table(0.5, seed, *sizes)["split"].value_counts()
        assert [counts.get(split, 0) for split in ("train", "validation", "test", "external")] == list(sizes)


@pytest.mark.parametrize("rho", [-0.1, 1.1, float("nan")])
def test_a_wrong_rho_is_refused(rho: float) -> None:
    with pytest.raises(ValueError, match="must be from 0 to 1"):
        table(rho, 0, 10, 4, 4, 4)


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(ValueError, match="train has 1 films; it must have 0, or 2 or more"):
        table(0.5, 0, 1, 4, 4, 4)
    with pytest.raises(ValueError, match="seed is -1; it must be 0 or more"):
        table(0.5, -1, 10, 4, 4, 4)
    with pytest.raises(ValueError, match="label is 'flu'; it must be one of covid, pneumonia, normal"):
        film(0, 0, "flu", "north")
    with pytest.raises(ValueError, match="hospital is 'moon'; it must be one of north, east"):
        film(0, 0, "covid", "moon")
    with pytest.raises(ValueError, match="it must be from 32 to 4096"):
        film(0, 0, "covid", "north", 16)


def test_the_source_is_easy_to_read_but_not_free() -> None:
    cohort = table(0.5, 5, 2, 2, 300, 2)
    cohort = cohort[cohort["split"] == "test"]
    films = [film(5, row.row, row.label, row.source, 48).pixels for row in cohort.itertuples()]
    tiny = np.stack([pixels.reshape(12, 4, 12, 4).mean((1, 3)).ravel() for pixels in films])
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=300))
    read = cross_val_predict(probe, tiny, cohort["source"], groups=cohort["patient"], cv=GroupKFold(4))
    accuracy = (read == cohort["source"]).mean()
    assert 0.5 < accuracy < 0.97, accuracy  # chance is 0.25


def test_the_command_writes_a_contact_sheet(tmp_path, capsys) -> None:
    command.main(["--sheet", str(tmp_path / "sheet.png"), "--size", "48"])
    assert "synthetic phantoms, no patient data" in capsys.readouterr().out
    with Image.open(tmp_path / "sheet.png") as page:
        assert page.width > len(HOSPITALS) * 48
        assert 3 * 48 < page.height < 6 * 48


def test_the_command_writes_dicom_films_or_a_sheet(tmp_path, capsys) -> None:
    command.main(["--dicom", str(tmp_path / "films"), "--n", "6", "--size", "48"])
    said = capsys.readouterr()
    assert "wrote 6 films and their labels.csv" in said.out and "synthetic phantoms, no patient data" in said.out
    assert f"--dicom-dir {tmp_path / 'films'} --labels" in said.out
    assert len(list((tmp_path / "films").rglob("im*.dcm"))) == 6
    with pytest.raises(SystemExit):
        command.main(["--dicom", str(tmp_path / "films"), "--n", "6"])
    assert "isn't empty: name a new folder" in capsys.readouterr().err
    page, films = str(tmp_path / "page.png"), str(tmp_path / "films")
    for arguments, expected in (
        (["--sheet", page, "--size", "0"], "it must be from 32 to 4096"),
        (["--sheet", page, "--size", "1000000000"], "it must be from 32 to 4096"),
        (["--dicom", str(tmp_path / "new"), "--size", "0"], "it must be from 32 to 4096"),
        (["--dicom", str(tmp_path / "new"), "--size", "1000000000"], "it must be from 32 to 4096"),
        (["--sheet", films, "--size", "32"], "films is a folder: name a file"),
        (["--sheet", films + "/labels.csv"], "labels.csv is there already and is no PNG picture"),
        (["--dicom", films + "/labels.csv"], "is a file: name a new folder"),
    ):
        with pytest.raises(SystemExit) as stopped:
            command.main(arguments)
        assert stopped.value.code == 2 and expected in capsys.readouterr().err
    for arguments in ([], ["--dicom", "films", "--sheet", "sheet.png"]):
        with pytest.raises(SystemExit):
            command.main(arguments)


def test_a_full_disk_behind_standard_output_is_a_sentence(tmp_path, capsys, monkeypatch) -> None:
    def full(_: str) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sys.stdout.write", full)
    with pytest.raises(SystemExit):
        command.main(["--sheet", str(tmp_path / "sheet.png"), "--size", "32"])
    assert "No space left on device" in capsys.readouterr().err
