"""Runs made out of runs: films seen more often, a last layer that is the regression's, files that tools load, mistakes."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

import training.loop.assembly
import training.train
from datasets.cohort.films import Cohort
from datasets.cohort.samplers import EpochSampler
from datasets.sample import Split
from models.classifier import Classifier, ModelConfig
from training.bias.numbers.calibration import fit_temperature
from training.cards.model_card import write_card
from training.recipe.__main__ import main
from training.recipe.dfr import (
    Films,
    balanced_draw,
    choose_strength,
    fit_last_layer,
    group_accuracies,
    regression,
    reweight_features,
    validation_halves,
)
from training.recipe.jtt import just_train_twice
from training.recipe.last_layer import replace_head
from training.recipe.parent import RecipeError, read_parent
from training.run.checkpoint import load_checkpoint
from training.run.config import from_settings
from training.run.existing import folders_of
from training.run.films import cohort_of, preprocessing_of
from training.scoring.films import films_of, same_films
from training.scoring.predict import infer
from training.scoring.score import score
from training.scoring.subjects import about_of, load_subjects

pytestmark = pytest.mark.trains


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("recipes")
    small = ["--films", "120", "--model", "test_resnet", "--img-size", "32", "--epochs", "1", "--in-chans", "1"]
    training.train.main(["--dataset", "phantom", "--method", "erm", *small, "--output", str(root)])
    return root / "phantom-erm-test_resnet-s0"


@pytest.fixture(scope="module")
def dfr(run: Path) -> Path:
    main(["dfr", str(run), "--subsets", "3"])
    return run.parent / f"{run.name}-dfr"


@pytest.fixture(scope="module")
def cohort(run: Path) -> Cohort:
    config = from_settings(run / "config.yaml")
    return cohort_of(config, preprocessing_of(config)).cached("memory")


def report_of(run: Path) -> dict:
    return json.loads((run / "report.json").read_text())


def biased(seed: int, conflicting: float) -> Films:
    """Two classes; a clear feature that follows the class but for a share of the films, and a faint one that always does."""
    rng = np.random.default_rng(seed)
    target = rng.integers(0, 2, 2000)
    bias = np.where(rng.random(2000) < conflicting, 1 - target, target)
    features = np.stack([3.0 * bias, 1.5 * target, 0 * target], 1) + rng.normal(size=(2000, 3))
    return Films(features, target, 2 * target + bias)


def three_classes(seed: int) -> Films:
    rng = np.random.default_rng(seed)
    target, bias = rng.integers(0, 3, 300), rng.integers(0, 2, 300)
    features = rng.normal(size=(300, 6)) + np.eye(6)[target] + 2 * np.eye(6)[3 + bias]
    return Films(features, target, 2 * target + bias)


def test_films_are_dealt_as_often_as_asked() -> None:
    repeats = np.array([1, 5, 1, 1, 3, 1, 1, 1, 1, 1])
    label = np.arange(10) % 2
    sampler = EpochSampler(np.arange(20, 30), label, label, 4, 0, "random", repeats)
    assert len(sampler) == 4 and repeats.sum() == 16
    orders = []
    for sampler.epoch in range(3):
        drawn = [draw.film for batch in sampler for draw in batch]
        assert (np.bincount(drawn, minlength=30)[20:] == repeats).all()
        orders.append(drawn)
    assert orders[0] != orders[1] != orders[2]
    once = EpochSampler(np.arange(20, 30), label, label, 4, 0, "random")
    ones = EpochSampler(np.arange(20, 30), label, label, 4, 0, "random", np.ones(10, int))
    assert list(once) == list(ones)
    with pytest.raises(ValueError, match="repeats need order 'random'"):
        EpochSampler(np.arange(20, 30), label, label, 4, 0, "paired", repeats)


def test_jtt_sees_the_errors_more_often(
    run: Path, cohort: Cohort, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[int] = []

    class Recorded(EpochSampler):
        def __iter__(self):
            for batch in super().__iter__():
                seen.extend(draw.film for draw in batch)
                yield batch

    monkeypatch.setattr(training.loop.assembly, "EpochSampler", Recorded)
    main(["jtt", str(run), "--upweight", "7", "--seed", "3"])
    child = run.parent / f"{run.name}-jtt"
    calls = pd.read_parquet(run / "predictions.parquet").query("split == 'train'").set_index("row")
    table = cohort.table
    dealt = np.bincount(seen, minlength=len(table))
    expected = np.zeros(len(table), int)
    for position, film in table.iterrows():
        if film["split"] == "train":
            wrong = calls.loc[film["row"], "prediction"] != calls.loc[film["row"], "target"]
            expected[position] = 7 if wrong else 1
    assert (dealt <= expected).all() and set(expected) == {0, 1, 7}
    batch = from_settings(run / "config.yaml").batch_size
    assert 0 <= expected.sum() - dealt.sum() < batch, "only a last, smaller batch waits"

    header, report = load_checkpoint(child).settings, report_of(child)
    assert (header["recipe"], header["parent"], header["upweight"], header["method"]) == ("jtt", run.name, 7, "erm")
    assert header["seed"] == 3 and header["sampler"] == "random" and not report["training_used_bias_labels"]
    assert [r["method"] for r in report["runs"]] == ["erm", "erm+jtt"] and "seen 7 times an epoch" in report["notes"][
        -1
    ]
    shown = capsys.readouterr().out
    assert "erm+jtt" in shown and "difference" in shown and "difference" in json.loads(shown.splitlines()[-1])
    config = from_settings(child / "config.yaml")
    assert folders_of(config) == [], "no plain run of these settings is taken from a recipe"


def test_dfr_changes_the_head_alone_and_calibrates_on_other_films(run: Path, dfr: Path, cohort: Cohort) -> None:
    before, after = load_checkpoint(run), load_checkpoint(dfr)
    changed = {name for name, values in after.weights.items() if not torch.equal(values, before.weights[name])}
    assert changed == {"head.weight", "head.bias"} and after.weights.keys() == before.weights.keys()

    table = cohort.table
    group = table["target"].to_numpy() * len(cohort.info.biases) + table["bias"].to_numpy()
    first, second = validation_halves(cohort, group, 0)
    patient = table["patient"].to_numpy()
    assert set(first) | set(second) == set(cohort.positions(Split.VALIDATION)) and not set(first) & set(second)
    assert not set(patient[first]) & set(patient[second])

    everything = np.arange(len(table))
    _, features, logits, _ = infer(after.build(), cohort.samples(), everything, torch.device("cpu"))
    assert after.temperature == pytest.approx(
        fit_temperature(logits[second], table["target"].to_numpy()[second]), rel=1e-3
    )
    strength, rng = after.settings["strength"], np.random.default_rng(0)
    scaler = StandardScaler().fit(features[cohort.positions(Split.TRAIN)])
    decisions = []
    for _ in range(3):
        drawn = first[balanced_draw(group[first], rng)]
        found = regression("l1", strength, 2).fit(scaler.transform(features[drawn]), table["target"].to_numpy()[drawn])
        decisions.append(found.decision_function(scaler.transform(features)))
    assert np.allclose(logits[:, 1] - logits[:, 0], np.mean(decisions, axis=0), atol=1e-3)


def test_dfr_says_what_it_is(run: Path, dfr: Path) -> None:
    settings, report = load_checkpoint(dfr).settings, report_of(dfr)
    assert (settings["recipe"], settings["parent"], settings["fit_on"]) == ("dfr", run.name, "validation")
    assert report["training_used_bias_labels"] and report["recipe"]["parent"] == run.name
    assert [r["method"] for r in report["runs"]] == ["erm", "erm+dfr"]
    assert "no independent evidence" in report["notes"][-1]


def test_evaluate_takes_the_run_beside_its_parent(run: Path, dfr: Path) -> None:
    (together,) = same_films(load_subjects([run, dfr], "cpu"), None)
    films = films_of(together, None, "test,external")
    scored, unreadable = score([subject.predictor for subject in together], films)
    assert not unreadable
    for subject, found in zip(together, scored, strict=True):
        own = pd.read_parquet(subject.folder / "predictions.parquet").query("split in ('test', 'external')")
        assert np.allclose(own["logit"], found.logits[:, 1] - found.logits[:, 0], atol=1e-4), subject.name
        assert about_of(subject, ["test"], 0)["training_used_source_labels"] == (subject.name == dfr.name)
    card = write_card(dfr).read_text()
    assert "by the recipe `dfr`" in card and "Training read bias labels" in card


def test_folded_layer_is_the_regression_for_more_classes_and_unit_features() -> None:
    films, other = three_classes(0), three_classes(1)
    scaler = StandardScaler().fit(other.features)
    layer = fit_last_layer(films, scaler, "l2", 0.3, 4, seed=5)
    rng, expected = np.random.default_rng(5), []
    for _ in range(4):
        drawn = balanced_draw(films.group, rng)
        assert len(set(np.bincount(films.group[drawn]))) == 1
        plain = LogisticRegression(C=0.3, tol=1e-3, max_iter=300)
        plain.fit(scaler.transform(films.features[drawn]), films.target[drawn])
        expected.append(plain.decision_function(scaler.transform(other.features)))
    assert np.allclose(layer.logits(other.features), np.mean(expected, axis=0), atol=1e-6)

    model = Classifier(ModelConfig("test_resnet", 3, 1, 32, unit_norm=True, logit_scale=10.0)).eval()
    width = model.head.in_features
    layer = fit_last_layer(
        Films(np.random.default_rng(0).normal(size=(60, width)), np.arange(60) % 3, np.arange(60) % 6),
        StandardScaler().fit(np.random.default_rng(1).normal(size=(60, width))), "l1", 1.0, 1, 0,
    )  # fmt: skip
    replace_head(model, layer)
    with torch.inference_mode():
        output = model(torch.randn(5, 1, 32, 32))
    assert np.allclose(output.logits.numpy(), layer.logits(output.features.double().numpy()), atol=1e-4)


def test_worst_group_gains_and_ties_go_to_the_mean() -> None:
    seen, validation, test = biased(0, 0.03), biased(1, 0.2), biased(2, 0.5)
    plain = LogisticRegression().fit(seen.features, seen.target).predict(test.features)
    scaler = StandardScaler().fit(seen.features)
    strength = choose_strength(validation, test, scaler, "l1", 0)
    layer = fit_last_layer(validation, scaler, "l1", strength, 10, 0)
    worst, mean = group_accuracies(layer.logits(test.features).argmax(1), test)
    assert worst > group_accuracies(plain, test)[0] + 0.2 and mean > 0.7
    films = Films(np.zeros((4, 1)), np.array([0, 0, 1, 1]), np.array([0, 0, 3, 3]))
    assert group_accuracies(np.array([0, 1, 1, 1]), films) == (0.5, 0.75), "groups without films don't count"


def test_groups_without_films_are_left_out_of_draws() -> None:
    drawn = balanced_draw(np.array([4, 4, 4, 0, 0, 9, 9]), np.random.default_rng(0))
    assert len(drawn) == len(set(drawn)) == 6


def test_fitted_to_training_films_in_a_folder_with_a_counter(run: Path, dfr: Path, cohort: Cohort) -> None:
    result = reweight_features(read_parent(run, {}), cohort, "train", "l2", 1, 0)
    assert result.folder.resolve() == dfr.resolve().with_name(f"{dfr.name}-2")
    settings = load_checkpoint(result.folder).settings
    assert settings["fit_on"] == "train" and settings["penalty"] == "l2"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["jtt", "RUN", "--upweight", "1"], "argument --upweight: 1: must be from 2 to 1,000"),
        (["jtt", "RUN", "--upweight", "99999999999999999999"], "must be from 2 to 1,000"),
        (["jtt", "RUN", "--subsets", "3"], "--subsets belongs to dfr"),
        (["dfr", "RUN", "--subset", "3"], "did you mean --subsets?"),
        (["dfr", "RUN", "--on", "test"], "invalid choice"),
        (["dft", "RUN"], "invalid choice"),
        ([], "required"),
        (["dfr", "nowhere"], "give a run folder"),
    ],
)
def test_mistakes_on_the_command_line(
    arguments: list[str], expected: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([str(run) if word == "RUN" else word for word in arguments])
    assert stopped.value.code == 2 and expected in capsys.readouterr().err


def no_report(folder: Path) -> None:
    (folder / "report.json").unlink()


def all_right(folder: Path) -> None:
    table = pd.read_parquet(folder / "predictions.parquet")
    table.assign(prediction=table["target"]).to_parquet(folder / "predictions.parquet")


def no_training_rows(folder: Path) -> None:
    table = pd.read_parquet(folder / "predictions.parquet")
    table[table["split"] != "train"].to_parquet(folder / "predictions.parquet")


def other_films(folder: Path) -> None:
    table = pd.read_parquet(folder / "predictions.parquet")
    table.assign(row=table["row"] + 1).to_parquet(folder / "predictions.parquet")


def of_end(folder: Path) -> None:
    file = folder / "config.yaml"
    file.write_text(file.read_text().replace("method: erm", "method: end"))


@pytest.mark.parametrize(
    ("spoil", "recipe", "expected"),
    [(no_report, "dfr", "holds no report.json"), (of_end, "jtt", "jtt starts from a run of --method erm")],
)
def test_runs_that_no_recipe_can_start_from(
    spoil: Callable[[Path], None],
    recipe: str,
    expected: str,
    run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    spoil(Path(shutil.copytree(run, tmp_path / run.name)))
    with pytest.raises(SystemExit) as stopped:
        main([recipe, str(tmp_path / run.name)])
    assert stopped.value.code == 2 and expected in capsys.readouterr().err


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (all_right, "called every training film right"),
        (no_training_rows, "has no rows of split train"),
        (other_films, "split train are not those that"),
    ],
)
def test_films_that_teach_nothing(
    spoil: Callable[[Path], None], expected: str, run: Path, cohort: Cohort, tmp_path: Path
) -> None:
    spoil(Path(shutil.copytree(run, tmp_path / run.name)))
    parent = read_parent(tmp_path / run.name, {})
    with pytest.raises(RecipeError, match=expected):
        just_train_twice(parent, cohort, parent.config, 20)
    assert [path.name for path in tmp_path.iterdir()] == [run.name], "no empty folder is left"


def test_validation_that_was_trained_on_is_refused(run: Path, cohort: Cohort) -> None:
    moved = cohort.table.assign(split=cohort.table["split"].replace({"test": "validation"}))
    with pytest.raises(RecipeError, match="split validation are not those"):
        reweight_features(read_parent(run, {}), dataclasses.replace(cohort, table=moved), "validation", "l1", 1, 0)


def test_a_class_without_films_is_named(run: Path, cohort: Cohort, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run, tmp_path / run.name))
    table = pd.read_parquet(copy / "predictions.parquet")
    kept = [i for i, film in cohort.table.iterrows() if film["split"] != "train" or film["target"] == 0]
    table.iloc[kept].to_parquet(copy / "predictions.parquet")
    with pytest.raises(RecipeError, match=f"train has no film of {cohort.info.targets[1]}"):
        reweight_features(read_parent(copy, {}), cohort.part(kept), "train", "l1", 1, 0)
