"""Films through several models at once, and which films a model may be judged on."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image

from datasets.film.identity import KEY_FILE
from datasets.film.preprocessing import Preprocessing
from datasets.phantom.cohort import load_phantom
from models.classifier import ModelConfig, build_classifier
from training.bias.questions.shortcuts import FilmBatch
from training.run.checkpoint import Checkpoint
from training.scoring.films import as_seen_by, films_of, same_films, with_fitted_told
from training.scoring.lung_masks import lung_masks, unusable_note
from training.scoring.predict import Predictor, infer
from training.scoring.score import Scored, score
from training.scoring.subjects import EvaluationError, evidence_of, find_key, load_subject
from training.train import main as train

pytestmark = pytest.mark.trains


def predictor(size: int, seed: int) -> Predictor:
    torch.manual_seed(seed)
    config = ModelConfig("test_resnet", 2, 1, size)
    info = load_phantom(Preprocessing(32), films=64).info
    weights = build_classifier(config).state_dict()
    return Predictor(Checkpoint(config, Preprocessing(size), info, 0.5, 1.0, {}, {}, {}, weights))


def test_one_pass_gives_each_model_what_it_would_get_alone() -> None:
    models = [predictor(32, 0), predictor(48, 1), predictor(32, 2)]
    cohort = load_phantom(Preprocessing(32), films=64).part(list(range(70)))  # more than a batch
    reads: list[int] = []
    films = cohort.films
    assert films is not None
    read = films.read
    films.read = lambda position: (reads.append(position), read(position))[1]  # type: ignore[method-assign]
    shown = {"darker": lambda films: films.pixels / 2}
    scored, unreadable = score(models, cohort, shown)
    assert sorted(reads) == list(range(70)) and not unreadable, "a film is decoded once for all models"
    for model, found in zip(models, scored, strict=True):
        own = load_phantom(model.checkpoint.preprocessing, films=64).part(list(range(70))).cached("memory")
        alone = infer(model.model, own.samples(), np.arange(70), model.device)
        np.testing.assert_allclose(found.logits, alone.logits, atol=1e-4)
        np.testing.assert_allclose(found.features, alone.features, atol=1e-4)
        assert not np.allclose(found.perturbed["darker"], found.logits)


def test_only_the_chosen_films_are_perturbed_and_models_share_their_pixels() -> None:
    models = [predictor(32, 0), predictor(32, 2), predictor(48, 1)]
    cohort = load_phantom(Preprocessing(32), films=64).part(list(range(70)))
    batches: list[tuple[int, list[int]]] = []

    def seen(films: FilmBatch) -> torch.Tensor:
        batches.append((films.pixels.shape[-1], list(films.seeds)))
        return films.pixels / 2

    shown = {"darker": seen, "as it is": lambda films: films.pixels}
    scored, _ = score(models, cohort, shown, chosen=[3, 65, 69])
    assert batches == [(32, [3]), (48, [3]), (32, [65, 69]), (48, [65, 69])], "once for models of one size"
    for found in scored:
        known = ~np.isnan(found.perturbed["darker"]).any(axis=1)
        assert np.flatnonzero(known).tolist() == [3, 65, 69]
        np.testing.assert_allclose(found.perturbed["as it is"][known], found.logits[known], atol=1e-4)
        assert not np.allclose(found.perturbed["darker"][known], found.logits[known], atol=1e-4)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("cohort")
    films = load_phantom(Preprocessing(32), rho=0.7, films=100, seed=4)
    table = films.table.head(160).copy()
    assert films.films is not None
    for position in table.index:
        pixels = (films.films.read(position).pixels * 255).astype(np.uint8)
        Image.fromarray(pixels).resize((40, 40)).save(root / f"{position}.png")
    Image.fromarray(np.full((40, 40), 255, np.uint8)).save(root / "lungs.png")
    table["path"], table["patient_id"], table["mask"] = [f"{i}.png" for i in table.index], table["patient"], "lungs.png"
    table[["path", "label", "source", "patient_id", "mask"]].to_csv(root / "metadata.csv", index=False)
    return root


@pytest.fixture(scope="module")
def runs(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two runs on the same films, split differently."""
    root = tmp_path_factory.mktemp("runs")
    small = ["--model", "test_resnet", "--img-size", "32", "--epochs", "1", "--in-chans", "1", "--method", "erm"]
    for seed in ("0", "1"):
        given = ["--data-dir", str(cohort), "--split-seed", seed, "--seed", seed, "--output", str(root), *small]
        train(given)
    return sorted(root.glob("*-s[0-9]*"))


def test_no_run_is_judged_on_films_that_it_was_trained_on(cohort: Path, runs: list[Path], tmp_path: Path) -> None:
    subjects = [load_subject(run, "cpu") for run in runs]
    for data_dir in (None, cohort):  # the folder of the runs' own films is no other cohort
        sets = same_films(subjects, data_dir)
        assert [len(together) for together in sets] == [1, 1]
        for together in sets:
            held = films_of(together, data_dir, "test").table
            own = pd.read_parquet(together[0].folder / "predictions.parquet").query("split == 'test'")
            assert held["row"].tolist() == own["row"].tolist()
    elsewhere = tmp_path / "copy"
    elsewhere.mkdir()
    for file in cohort.iterdir():
        (elsewhere / file.name).write_bytes(file.read_bytes())
    (together,) = same_films(subjects, elsewhere)
    held = films_of(together, elsewhere, ["test"])
    trained = [
        pd.read_parquet(s.folder / "predictions.parquet").query("split in ('train', 'validation')") for s in together
    ]
    assert set(held.table["row"]) == set(range(160)) - set(trained[0]["row"]) - set(trained[1]["row"])
    assert held.excluded["reason"].str.contains("was trained on it").any()


def test_lungs_come_from_a_mask_column(cohort: Path, runs: list[Path]) -> None:
    subject = load_subject(runs[0], "cpu")
    films = films_of([subject], None, ["test"])
    seen: list[torch.Tensor | None] = []
    shown = {"lungs": lambda films: (seen.append(films.lungs), films.pixels)[1]}
    score([subject.predictor], films, shown, lung_masks(films, cohort).films)
    assert seen[0] is not None and seen[0].shape[1:] == (1, 32, 32) and bool(seen[0].all())
    lungs = np.zeros((40, 40), np.uint8)
    lungs[:, :10], lungs[:, 10:20] = 1, 2  # the values of a segmentation
    (cohort / "masks").mkdir()
    Image.fromarray(lungs).save(cohort / "masks/halves.png")
    Image.fromarray(np.zeros((40, 40), np.uint8)).save(cohort / "black.png")
    Image.fromarray(np.full((20, 40), 255, np.uint8)).save(cohort / "small.png")
    (cohort / "broken.png").write_bytes(b"no image")
    bad = ["black.png", "small.png", "broken.png"]
    films.table["mask"] = ["masks\\halves.png", *bad, *["lungs.png"] * (len(films.table) - 4)]
    masks, reasons = lung_masks(films, cohort), dict[int, str]()
    assert masks.known.all() and not masks.note
    (scored,), unreadable = score(
        [subject.predictor], films, shown, masks.films, unmasked=lambda position, why: reasons.update({position: why})
    )
    assert not unreadable and len(scored.logits) == len(films.table), "a film is audited whatever its mask is"
    assert np.flatnonzero(np.isnan(scored.perturbed["lungs"]).any(axis=1)).tolist() == [1, 2, 3]
    assert reasons[1] == "it is black: lungs must be white"
    assert reasons[2] == "it has 20 rows of 40 pixels, the film 40 of 40"
    assert reasons[3] == "the content is no DICOM, PNG, JPEG or TIFF film"
    told, line = unusable_note(films, reasons), films.table["row"].iloc[1] + 2
    assert told.startswith(f"3 lung masks of metadata.csv can't be used (line {line}: it is black: lungs must")
    assert seen[-1] is not None and seen[-1][0].float().mean() == 0.5
    assert lung_masks(films, None).films is None
    films.table["mask"] = "../lungs.png"
    with pytest.raises(EvaluationError, match=r"the mask \.\./lungs\.png leaves the folder"):
        lung_masks(films, cohort)
    for nothing in ("", "N/A"):
        films.table["mask"] = nothing
        none = lung_masks(films, cohort)
        assert none.films is None and none.known.all() and not none.note


def test_films_without_a_mask_are_not_mixed_with_others(cohort: Path, runs: list[Path]) -> None:
    films = films_of([load_subject(runs[0], "cpu")], None, ["test"])
    table = films.table
    cell = table.groupby(["target_name", "source"]).ngroup().to_numpy()
    blank, gone = (int(np.flatnonzero(cell == of)[0]) for of in np.bincount(cell).argsort()[-2:])  # of the largest two
    table["mask"] = "lungs.png"
    table.loc[blank, "mask"], table.loc[gone, "mask"] = "", "gone.png"
    masks, lines = lung_masks(films, cohort), table["row"] + 2
    assert masks.films is not None and set(np.flatnonzero(~masks.known)) == {blank, gone}
    assert f"1 film names a mask that is not there (line {lines[gone]})" in masks.note
    assert masks.missing == "gone.png" and "gone.png" not in masks.note, "a name of a file may name a patient"
    assert f"1 film has none (line {lines[blank]}). Only films with a mask" in masks.note
    assert set(masks.sample(table, None, 0)) == set(range(len(table))) - {blank, gone}
    table["mask"] = ["lungs.png" if of != cell[gone] else "gone.png" for of in cell]
    masks = lung_masks(films, cohort)
    assert masks.films is None and masks.known.all(), "masks of some sources alone would tell the source"
    source, label = table.loc[gone, "source"], table.loc[gone, "target_name"]
    assert f"ellipses stand for the lungs of all films, for most films of {source} that are {label} lack" in masks.note


def test_tables_below_one_root_share_its_key(tmp_path: Path) -> None:
    key = find_key(tmp_path, None)
    assert find_key(tmp_path / "a/b", None) == key != find_key(tmp_path.parent / f"{tmp_path.name}-other", None)


def test_a_run_without_settings_needs_films_named(runs: list[Path], tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes((runs[0] / "model.safetensors").read_bytes())
    subject = load_subject(tmp_path / "model.safetensors", "cpu")
    with pytest.raises(EvaluationError, match=r"has no config\.yaml"):
        same_films([subject], None)
    assert same_films([subject], tmp_path) == [[subject]]


@pytest.fixture
def copies(cohort: Path, runs: list[Path], tmp_path: Path) -> tuple[Path, Path]:
    """A copy of the first run with its key, and one of its cohort, which is then another folder of the same films."""
    root, films = tmp_path / "runs", tmp_path / "films"
    shutil.copytree(runs[0], root / "run")
    shutil.copy(runs[0].parent / KEY_FILE, root / KEY_FILE)
    shutil.copytree(cohort, films)
    settings = yaml.safe_load((root / "run/config.yaml").read_text())
    (root / "run/config.yaml").write_text(yaml.safe_dump(settings | {"hash_key": None}))
    return root / "run", films


def damage(run: Path, how: str, other: Path) -> None:
    table = run / "predictions.parquet"
    if how == "gone":
        table.unlink()
    elif how == "damaged":
        table.write_bytes(table.read_bytes()[:500])
    elif how in ("lists", "scores"):
        films = pd.read_parquet(table)
        films = films.assign(patient=[["a", "b"]] * len(films)) if how == "lists" else films.assign(score=np.inf)
        films.to_parquet(table)
    elif how == "of another run":
        shutil.copy(other / "predictions.parquet", table)
    elif how == "without a column":
        pd.read_parquet(table).drop(columns="patient").to_parquet(table)
    elif how == "key gone":
        (run.parent / KEY_FILE).unlink()
    else:
        (run.parent / KEY_FILE).write_text("ab" * 32)


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("gone", "run holds no predictions.parquet"),
        ("damaged", "predictions.parquet of run is damaged"),
        ("lists", "predictions.parquet of run is damaged: what must be words is none"),
        ("scores", "predictions.parquet of run is damaged: some of its scores are no probabilities"),
        (
            "of another run",
            r"predictions.parquet of run is of another run, or not whole: \w+ of its \w+ films is \S+, in the checkpoint",
        ),
        ("without a column", "predictions.parquet of run lacks the column patient"),
        ("key gone", r"the key \S+ of the hashes in predictions.parquet of run is gone"),
        ("another key", r"\S+ is not the key of the hashes in predictions.parquet of run"),
    ],
)
def test_films_of_which_training_can_not_be_told_are_refused_unless_the_user_knows(
    copies: tuple[Path, Path], runs: list[Path], how: str, expected: str
) -> None:
    run, films = copies
    assert len(films_of([load_subject(run, "cpu")], films, "test").table) < 160  # as long as all is there
    damage(run, how, runs[1])
    with pytest.raises(EvaluationError, match=expected + ".*or pass --allow-training-films if you know"):
        films_of([load_subject(run, "cpu")], films, "test")
    subject = load_subject(run, "cpu")
    cohort = films_of([subject], films, "test", allow_training_films=True)
    assert len(cohort.table) == 160
    assert any(
        note.startswith("Some of these films may be films that the run was trained on: ") for note in cohort.notes
    )
    width = subject.predictor.model.head.in_features
    scored = Scored(np.zeros((160, width), np.float32), np.zeros((160, 2)), {})
    for column, words in (
        ("vieww", "by vieww: the films have no such column; they have"),
        ("path", "name single films"),
    ):
        with pytest.raises(ValueError, match=words):
            evidence_of(subject, cohort, scored, bytes(32), (column,))
    evidence = evidence_of(subject, cohort, scored, bytes(32), ())
    assert evidence.warning in cohort.notes
    if "key" not in how:
        assert evidence.training is None and any("run's own training films is left out" in n for n in evidence.notes)


def test_without_patients_a_path_of_a_training_film_is_refused(copies: tuple[Path, Path]) -> None:
    run, films = copies
    table = pd.read_csv(films / "metadata.csv").drop(columns="patient_id")
    table.to_csv(films / "metadata.csv", index=False)
    with pytest.raises(EvaluationError, match=r"of the films have the path of a training film .* no patient_id"):
        films_of([load_subject(run, "cpu")], films, "test")
    (films / "b").mkdir()
    for name in table["path"]:
        (films / name).rename(films / "b" / name)
    table.assign(path="b/" + table["path"]).to_csv(films / "metadata.csv", index=False)
    assert len(films_of([load_subject(run, "cpu")], films, "test").table) == 160


def changed(films: Path, **columns: object) -> None:
    """The same films below another folder, so that no path is a training film's, with other columns."""
    table = pd.read_csv(films / "metadata.csv", dtype=str)
    (films / "hospital").mkdir()
    for name in table["path"]:
        (films / name).rename(films / "hospital" / name)
    table.assign(path="hospital/" + table["path"], **columns).to_csv(films / "metadata.csv", index=False)


def test_patients_that_a_run_was_trained_on_are_left_out_whatever_their_films_are_called(
    copies: tuple[Path, Path],
) -> None:
    run, films = copies
    subject = load_subject(run, "cpu")
    left = set(films_of([subject], films, "test").table["row"])
    changed(films)
    cohort = films_of([subject], films, "test")
    assert set(cohort.table["row"]) == left and not any("training film" in note for note in cohort.notes)
    said = f"{160 - len(left)} films are left out: run was trained on them or on their patients"
    assert any(note.startswith(said) for note in cohort.notes)


def test_patients_whose_numbers_lost_or_won_zeros_are_those_of_the_training(copies: tuple[Path, Path]) -> None:
    run, films = copies
    left = set(films_of([load_subject(run, "cpu")], films, "test").table["row"])
    number = pd.read_csv(films / "metadata.csv", dtype=str)["patient_id"].str.replace(r"([0-9]+)$", r"00\1", regex=True)
    changed(films, patient_id=number)
    assert set(films_of([load_subject(run, "cpu")], films, "test").table["row"]) == left


def test_new_patients_of_a_known_source_are_no_hospital_never_seen(copies: tuple[Path, Path]) -> None:
    run, films = copies
    table = pd.read_csv(films / "metadata.csv", dtype=str)
    new = ("new " + table["patient_id"]).mask(table.index < 10, table["patient_id"])
    changed(films, patient_id=new, source=table["source"].mask(table.index < 20, "elsewhere"), split="train")
    cohort = films_of([load_subject(run, "cpu")], films, "test")
    assert set(cohort.table["split"][cohort.table["source"] == "elsewhere"]) == {"external"}
    assert set(cohort.table["split"][cohort.table["source"] != "elsewhere"]) == {"test"}
    assert any("The column split of metadata.csv is not read" in note for note in cohort.notes)
    subject = load_subject(run, "cpu")
    assert as_seen_by(cohort, subject).table["split"].tolist() == cohort.table["split"].tolist()
    table = pd.read_parquet(run / "predictions.parquet")
    one = table["source"].iloc[0]
    table["source"] = one  # as of a run that knows one source alone
    table.to_parquet(run / "predictions.parquet")
    seen = as_seen_by(cohort, load_subject(run, "cpu")).table
    assert set(seen["source"][seen["split"] == "test"]) == {one}
    (note,) = [note for note in cohort.notes if "training film" in note]
    assert "films have the patient_id of a training film of another source of run" in note


def test_films_that_a_run_was_fitted_on_are_told(runs: list[Path]) -> None:
    subject = load_subject(runs[0], "cpu")
    for split, told in (("test", False), ("train", True), ("validation,test", True)):
        notes = with_fitted_told(films_of([subject], None, split)).notes
        assert (
            any(note.startswith("The run was trained or calibrated on some of these films") for note in notes) == told
        )


def test_a_path_of_a_training_film_under_another_patient_is_told(copies: tuple[Path, Path]) -> None:
    run, films = copies
    table = pd.read_csv(films / "metadata.csv", dtype=str)
    table.assign(patient_id="new " + table["patient_id"]).to_csv(films / "metadata.csv", index=False)
    cohort = films_of([load_subject(run, "cpu")], films, "test")
    assert len(cohort.table) == 160
    (note,) = [note for note in cohort.notes if "training film" in note]
    assert "films have the path of a training film of another patient of run; leave them out if" in note


def test_test_films_that_were_training_films_once_are_refused(copies: tuple[Path, Path]) -> None:
    run, films = copies
    settings = yaml.safe_load((run / "config.yaml").read_text())
    (run / "config.yaml").write_text(yaml.safe_dump(settings | {"data_dir": str(films)}))
    assert len(films_of([load_subject(run, "cpu")], None, "test").table)
    table = pd.read_csv(films / "metadata.csv")
    table.iloc[::-1].head(100).to_csv(films / "metadata.csv", index=False)  # other patients are drawn for each split
    with pytest.raises(
        EvaluationError, match=r"run was trained on \d+ of the \d+ films that are now in its test splits"
    ):
        films_of([load_subject(run, "cpu")], None, "test")


def test_results_without_a_key_of_their_own_take_that_of_the_run(copies: tuple[Path, Path], tmp_path: Path) -> None:
    run, _ = copies
    subject = load_subject(run, "cpu")
    assert find_key(tmp_path / "out", None, [subject]) == bytes.fromhex((run.parent / KEY_FILE).read_text())
    assert not (tmp_path / "out").exists()
