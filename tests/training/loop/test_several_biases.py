"""Trainings that must not use several attributes: batches, metrics, what the run folder says, resuming, old folders."""

import json
import signal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml
from rich.console import Console

from datasets.cohort.films import Cohort
from datasets.sample import Attribute, Sample
from training.console.interruption import InterruptedTrainingError
from training.loop.assembly import Assembly, assemble
from training.loop.obtain import obtain
from training.loop.prepare import draw, prepare
from training.parallel.device import TrainingError
from training.run.checkpoint import load_checkpoint
from training.run.config import TrainConfig, parse
from training.run.existing import find_run
from training.train import main

pytestmark = pytest.mark.trains

FAST = [
    "--dataset", "phantom", "--films", "160", "--rho", "0.7", "--model", "test_resnet", "--img-size", "32", "--in-chans", "1",
    "--epochs", "2",
]  # fmt: skip
SEVERAL = ["--bias", "source,view:0.5,sex:0"]


def settings(output: Path, *flags: str) -> TrainConfig:
    return parse([*FAST, "--output", str(output), *flags])


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("several")
    main([*FAST, *SEVERAL, "--paired", "--output", str(root)])
    return root


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return prepare(settings(tmp_path_factory.mktemp("films"), *SEVERAL, "--sampler", "paired"), Console(quiet=True))


def test_the_checkpoint_the_settings_and_the_predictions_name_the_attributes(output: Path) -> None:
    for method in ("erm", "end"):
        run = output / f"phantom-{method}-test_resnet-s0"
        checkpoint = load_checkpoint(run)
        assert [(a.name, a.weight) for a in checkpoint.info.named] == [("source", 1), ("view", 0.5), ("sex", 0)]
        assert checkpoint.info.named[1] == Attribute("view", ("AP", "PA"), 0.5)
        assert yaml.safe_load((run / "config.yaml").read_text())["bias"] == "source,view:0.5,sex:0"
        assert {"source", "view", "sex"} <= set(pd.read_parquet(run / "predictions.parquet").columns)
        report = json.loads((run / "report.json").read_text())
        assert list(report["confounding_by_attribute"]) == ["source", "view", "sex"]
        assert report["confounding"] == report["confounding_by_attribute"]["source"]
        metrics = report["runs"][-1]["metrics"]["test"]
        assert {"leak", "leak_by_view", "leak_by_sex", "conflicting_accuracy_by_view"} <= metrics.keys()
        assert "leak_by_source" not in metrics
    assert "leak_by_view" in report["difference"]["test"]


def test_metrics_by_an_attribute_are_those_by_source_with_it_in_the_place_of_the_source(output: Path) -> None:
    from training.bias.numbers.alignment import majority_targets
    from training.bias.numbers.groups import split_metrics

    run = output / "phantom-end-test_resnet-s0"
    table = pd.read_parquet(run / "predictions.parquet")
    by_view = table.assign(source=table["view"])
    train, test = (by_view[by_view["split"] == split] for split in ("train", "test"))
    expected = split_metrics(test, "covid", majority_targets(train["target"], train["source"]))
    found = load_checkpoint(run).metrics["test"]
    for name in ("aligned_accuracy", "conflicting_accuracy", "conflicting_gap", "worst_group_accuracy"):
        assert found[f"{name}_by_view"] == pytest.approx(expected[name])


def test_a_run_that_is_told_the_source_alone_is_as_ever(tmp_path: Path) -> None:
    config = settings(tmp_path)
    run = obtain(config, lambda: prepare(config, Console(quiet=True))).folder
    report = json.loads((run / "report.json").read_text())
    assert "confounding_by_attribute" not in report
    assert not any("_by_" in name for name in report["runs"][-1]["metrics"]["test"])
    old = yaml.safe_load((run / "config.yaml").read_text())
    assert old.pop("bias") == "source"  # as versions before this setting wrote it
    (run / "config.yaml").write_text(yaml.safe_dump(old))
    assert find_run(config)[0] == run and find_run(settings(tmp_path, "--bias", "view"))[0] is None


def test_a_batch_has_the_attributes_that_are_read(tmp_path: Path, cohort: Cohort) -> None:
    training = assemble(settings(tmp_path, *SEVERAL), cohort)
    batch: Sample = next(iter(training.loader))
    assert batch.bias.shape == (64, 2)  # sex has weight 0
    films = cohort.table.set_index("row").loc[batch.row.numpy()]
    names = [attribute.values for attribute in cohort.info.unwanted]
    assert [names[0][i] for i in batch.bias[:, 0]] == list(films["source"])
    assert [names[1][i] for i in batch.bias[:, 1]] == list(films["view"])
    assert training.pairs(1).shape == (2, 2) and training.pairs(1).all()


def test_an_interrupted_run_goes_on_to_the_same_weights(
    tmp_path: Path, output: Path, cohort: Cohort, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, update, calls = settings(tmp_path, *SEVERAL), Assembly.update, [0]

    def stopped(self: Assembly, step: int) -> Any:
        calls[0] += 1
        if calls[0] == 3:
            signal.raise_signal(signal.SIGTERM)
        return update(self, step)

    with monkeypatch.context() as patched:
        patched.setattr(Assembly, "update", stopped)
        with pytest.raises(InterruptedTrainingError):
            obtain(config, lambda: cohort)
    begun = find_run(config)[1]
    assert begun is not None
    main(["--resume", str(begun)])
    whole = load_checkpoint(output / begun.name)
    resumed = load_checkpoint(begun)
    assert all(torch.equal(value, resumed.weights[name]) for name, value in whole.weights.items())
    assert whole.metrics == resumed.metrics


def test_one_attribute_in_place_of_the_source_is_what_the_method_reads(tmp_path: Path, cohort: Cohort) -> None:
    config = settings(tmp_path, "--bias", "view", "--method", "lnl")
    training = assemble(config, prepare(config, Console(quiet=True)))
    assert training.joint.method.bias_head[-1].out_features == 2  # views, not hospitals
    assert next(iter(training.loader)).bias.max() == 1


def test_an_attribute_that_no_label_has_two_values_of_is_refused_by_name(tmp_path: Path, cohort: Cohort) -> None:
    table = cohort.table.assign(view=cohort.table["target_name"].map({"covid": "AP", "not covid": "PA"}))
    confounded = Cohort(cohort.info, table, cohort.preprocessing, cohort.films, cohort.images, cohort.places)
    with pytest.raises(TrainingError, match="No label comes from two views"):
        draw(settings(tmp_path, *SEVERAL), confounded, Console(quiet=True))


def test_small_crossings_of_balanced_batches_are_told(
    tmp_path: Path, cohort: Cohort, capsys: pytest.CaptureFixture[str]
) -> None:
    config = settings(tmp_path, *SEVERAL)
    drawn = draw(config, cohort, Console())
    (note,) = set(drawn.notes) - set(cohort.notes)
    assert note.startswith("Balanced batches draw ") and note[:40] in capsys.readouterr().out
    sampler = assemble(config, drawn).sampler
    films = drawn.table.iloc[sampler.positions[sampler.batches(0)[0]]]
    assert films.groupby(["target", "source"]).size().min() > 1
    plain = settings(tmp_path, *SEVERAL, "--sampler", "paired")
    assert draw(plain, cohort, Console(quiet=True)).notes == cohort.notes


def test_the_audit_asks_of_each_attribute_and_the_model_card_tells_of_them(
    output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from training.evaluate.__main__ import main as evaluate

    runs = [output / f"phantom-{method}-test_resnet-s0" for method in ("erm", "end")]
    few = ["--resamples", "100", "--permutations", "100", "--no-shortcuts", "--split", "test"]
    evaluate([*map(str, runs), *few, "--output", str(output / "audit")])
    said = " ".join(capsys.readouterr().out.split())
    assert "By attribute: taking out one shortcut can open another." in said
    report = json.loads((output / "audit" / "report.json").read_text())
    assert [list(run["attributes"]) for run in report["runs"]] == [["source", "view", "sex"]] * 2
    assert list(report["comparisons"][0]["attributes"]) == ["source", "view", "sex"]
    card = (runs[1] / "MODEL_CARD.md").read_text()
    assert "- By view: conflicting accuracy 0." in card and "Can view and label be told apart" in card


def test_weight_0_changes_nothing_that_is_trained_and_films_told_otherwise_neither(
    tmp_path: Path, cohort: Cohort
) -> None:
    """The films are those of a training with other biases, as in a benchmark."""
    weights = []
    for number, bias in enumerate(("source", "source,view:0")):
        config = settings(tmp_path / str(number), "--epochs", "1", "--bias", bias)
        run = load_checkpoint(obtain(config, lambda: cohort).folder)
        assert [a.name for a in run.info.named] == ([] if bias == "source" else ["source", "view"])
        weights.append(run.weights)
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
