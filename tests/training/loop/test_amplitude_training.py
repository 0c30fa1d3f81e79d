"""Trainings with amplitude mixing: only training films give and take, resuming is exact, one source is refused early."""

import dataclasses
import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from rich.console import Console

from datasets.cohort import films as cohort_films
from datasets.cohort.amplitude import AmplitudeMixing
from datasets.cohort.films import Cohort, CohortSamples, Draw
from datasets.sample import Split
from training.console.interruption import InterruptedTrainingError
from training.loop import obtain, prepare
from training.loop.assembly import Assembly, assemble
from training.run.checkpoint import load_checkpoint
from training.run.config import TrainConfig, parse
from training.run.existing import find_run
from training.scoring.predict import infer
from training.scoring.subjects import about_of, load_subjects
from training.train import main

pytestmark = pytest.mark.trains

SMALL = [
    "--dataset", "phantom", "--films", "64", "--model", "test_resnet", "--img-size", "32", "--in-chans", "1", "-b", "16",
    "--epochs", "2", "--select", "last", "--device", "cpu",
]  # fmt: skip
MIXED = [*SMALL, "--mix-amplitude", "0.7"]


@pytest.fixture(scope="module")
def cohort() -> Cohort:
    return prepare.prepare(parse(SMALL), Console(quiet=True))


def trained(cohort: Cohort, output: Path, *flags: str) -> tuple[TrainConfig, Path]:
    output.mkdir(exist_ok=True)
    config = parse([*flags, "--output", str(output)])
    return config, obtain.obtain(config, lambda: cohort).folder


def test_only_training_films_are_mixed_and_give(
    cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a whole training, with validation after each epoch and test and external films at the end."""
    table, seen, donors, calls = cohort.table, list[tuple[int, bool]](), list[int](), [0]
    getitems, draw, mix = CohortSamples.__getitems__, AmplitudeMixing.draw, cohort_films.mix_amplitude

    def watched(self: CohortSamples, keys: Any) -> Any:
        before = calls[0]
        batch = getitems(self, keys)
        seen.extend((key.film if isinstance(key, Draw) else int(key), calls[0] > before) for key in keys)
        return batch

    def drawn(self: AmplitudeMixing, source: int, *place: int) -> Any:
        found = draw(self, source, *place)
        if found is not None:
            donors.append(found[0])
            assert table["bias"].iloc[found[0]] != source
        return found

    def mixed(*arguments: Any) -> Any:
        calls[0] += 1
        return mix(*arguments)

    monkeypatch.setattr(CohortSamples, "__getitems__", watched)
    monkeypatch.setattr(AmplitudeMixing, "draw", drawn)
    monkeypatch.setattr(cohort_films, "mix_amplitude", mixed)
    trained(cohort, tmp_path, *MIXED)
    split = table["split"].to_numpy()
    touched = {split[film] for film, was_mixed in seen if was_mixed}
    assert touched == {"train"} and {split[film] for film, _ in seen} == {str(one) for one in Split}
    assert calls[0] == 2 * 4 and {split[donor] for donor in donors} == {"train"} and 60 < len(donors) < 120


def test_films_of_other_parts_play_no_part_in_the_weights(cohort: Cohort, tmp_path: Path) -> None:
    """They are black in one of the trainings; the last epoch is kept, so that validation chooses none."""
    assert cohort.images is not None and cohort.places is not None
    others = np.flatnonzero(cohort.table["split"] != "train")
    images = cohort.images.clone()
    images[cohort.places[others]] = 0
    black = dataclasses.replace(cohort, images=images)
    weights = [
        load_checkpoint(trained(films, tmp_path / name, *MIXED)[1]).weights
        for name, films in (("as_drawn", cohort), ("black", black))
    ]
    plain = load_checkpoint(trained(cohort, tmp_path / "plain", *SMALL)[1]).weights
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert any(not torch.equal(weights[0][name], plain[name]) for name in plain)


def test_films_are_scored_as_they_are(cohort: Cohort) -> None:
    """By one model, with the samples that a training with mixing takes its batches from and with plain ones."""
    training = assemble(parse(MIXED), cohort)
    everything = np.arange(len(cohort.table))
    samples: Any = training.loader.dataset
    assert samples.mixing is not None
    outputs = [infer(training.measured, films, everything, training.device) for films in (samples, cohort.samples())]
    assert np.array_equal(outputs[0].logits, outputs[1].logits)


def test_probability_0_is_a_training_without(cohort: Cohort, tmp_path: Path) -> None:
    assert assemble(parse([*SMALL, "--mix-amplitude", "0"]), cohort).loader.dataset.mixing is None  # type: ignore[attr-defined]
    first = trained(cohort, tmp_path, *SMALL)[1]
    settings = yaml.safe_load((first / "config.yaml").read_text())
    del settings["mix_amplitude"]  # a run of before there was mixing
    (first / "config.yaml").write_text(yaml.safe_dump(settings))
    assert find_run(parse([*SMALL, "--output", str(tmp_path)]))[0] == first
    assert find_run(parse([*MIXED, "--output", str(tmp_path)]))[0] is None


def test_a_run_says_that_it_read_source_labels(cohort: Cohort, tmp_path: Path) -> None:
    for number, (flags, used) in enumerate(((SMALL, False), (MIXED, True))):
        folder = trained(cohort, tmp_path / str(number), *flags, "--method", "erm", "--epochs", "1")[1]
        assert json.loads((folder / "report.json").read_text())["training_used_bias_labels"] is used
        (subject,) = load_subjects([folder], "cpu")
        assert about_of(subject, ["test"], 0)["training_used_source_labels"] is used


@pytest.mark.parametrize("flags", [[], ["--workers", "2", "--accumulate", "2"]], ids=["plain", "workers, parts"])
def test_an_interrupted_training_goes_on_with_the_same_mixing(
    flags: list[str], cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = [*MIXED, "--method", "lff", *flags]
    whole = trained(cohort, tmp_path / "whole", *flags)[1]
    update, calls = Assembly.update, [0]

    def stopped(self: Assembly, step: int) -> None:
        calls[0] += 1
        if calls[0] == 6:
            signal.raise_signal(signal.SIGTERM)
        update(self, step)

    with (
        monkeypatch.context() as patched,
        pytest.raises(InterruptedTrainingError, match="after step 2 of 4 of epoch 2"),
    ):
        patched.setattr(Assembly, "update", stopped)
        trained(cohort, tmp_path / "cut", *flags)
    cut = trained(cohort, tmp_path / "cut", *flags)[1]
    first, second = load_checkpoint(whole).weights, load_checkpoint(cut).weights
    assert all(torch.equal(first[name], second[name]) for name in first)
    terms = [[json.loads(line)["terms"] for line in (one / "metrics.jsonl").open()] for one in (whole, cut)]
    assert terms[0] == terms[1]


def test_both_runs_of_a_pair_see_the_same_films(cohort: Cohort) -> None:
    config = parse([*MIXED, "--paired", "--sampler", "paired"])
    batches = [
        next(iter(assemble(one, cohort).loader)) for one in (config, config.with_settings(method="erm", paired=False))
    ]
    assert all(torch.equal(one, other) for one, other in zip(*batches, strict=True))


def test_one_training_source_is_refused_before_films_are_decoded(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    loaded = prepare.cohort_of

    def of_one_source(*arguments: Any) -> Cohort:
        films = loaded(*arguments)
        return dataclasses.replace(films, table=films.table.assign(bias=0, source="north"))

    monkeypatch.setattr(prepare, "cohort_of", of_one_source)
    monkeypatch.setattr(Cohort, "cached", lambda *_: pytest.fail("decoded"))
    with pytest.raises(SystemExit) as stopped:
        main([*MIXED, "--accept-unidentifiable", "--output", str(tmp_path)])
    said = " ".join(capsys.readouterr().err.split())
    assert stopped.value.code == 2 and "all training films are of one: leave the flag out" in said


def test_digits_are_mixed_by_colour(drawn_digits: Path) -> None:
    """Channels have a colour's amplitudes each; the pixels lie on the training device."""
    flags = ["--dataset", "biased-mnist", "--data-dir", str(drawn_digits), "--films", "600", "--rho", "0.9", "-b", "32"]
    plain, mixed = (parse([*flags, "--device", "cpu", "--mix-amplitude", value]) for value in ("0", "1"))
    digits = prepare.prepare(plain, Console(quiet=True))
    batches = [next(iter(assemble(config, digits).loader)) for config in (plain, mixed)]
    assert torch.equal(batches[0].row, batches[1].row)
    changed = (batches[0].image - batches[1].image).abs().amax((1, 2, 3)) > 0.01
    assert changed.float().mean() > 0.9
