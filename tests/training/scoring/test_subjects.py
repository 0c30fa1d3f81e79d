"""Films through several models at once, and which films a model may be judged on."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from datasets.film.preprocessing import Preprocessing
from datasets.phantom.cohort import load_phantom
from models.classifier import ModelConfig, build_classifier
from training.bias.questions.shortcuts import FilmBatch
from training.run.checkpoint import Checkpoint
from training.scoring.predict import Predictor, infer
from training.scoring.score import score
from training.scoring.subjects import EvaluationError, films_of, find_key, load_subject, lung_masks, same_films
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
    return sorted(root.glob("covid-*"))


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
    held = films_of(together, elsewhere, "test")
    trained = [
        pd.read_parquet(s.folder / "predictions.parquet").query("split in ('train', 'validation')") for s in together
    ]
    assert set(held.table["row"]) == set(range(160)) - set(trained[0]["row"]) - set(trained[1]["row"])
    assert held.excluded["reason"].str.contains("was trained on it").any()


def test_lungs_come_from_a_mask_column(cohort: Path, runs: list[Path]) -> None:
    subject = load_subject(runs[0], "cpu")
    films = films_of([subject], None, "test")
    seen: list[torch.Tensor | None] = []
    shown = {"lungs": lambda films: (seen.append(films.lungs), films.pixels)[1]}
    score([subject.predictor], films, shown, lung_masks(films, cohort))
    assert seen[0] is not None and seen[0].shape[1:] == (1, 32, 32) and bool(seen[0].all())
    assert lung_masks(films, None) is None
    films.table["mask"] = "../lungs.png"
    with pytest.raises(EvaluationError, match=r"the mask \.\./lungs\.png leaves the folder"):
        lung_masks(films, cohort)
    films.table["mask"] = ""
    assert lung_masks(films, cohort) is None


def test_tables_below_one_root_share_its_key(tmp_path: Path) -> None:
    key = find_key(tmp_path, None)
    assert find_key(tmp_path / "a/b", None) == key != find_key(tmp_path.parent / f"{tmp_path.name}-other", None)


def test_a_run_without_settings_needs_films_named(runs: list[Path], tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes((runs[0] / "model.safetensors").read_bytes())
    subject = load_subject(tmp_path / "model.safetensors", "cpu")
    with pytest.raises(EvaluationError, match=r"has no config\.yaml"):
        same_films([subject], None)
    assert same_films([subject], tmp_path) == [[subject]]
