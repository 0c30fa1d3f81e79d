"""Where the time of an audit goes: CPU seconds of its stages, and all of them against the bare models' scoring."""

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from rich.console import Console
from rich.table import Column, Table
from scipy.special import expit

from datasets.cohort.films import Cohort
from datasets.covid import FilmFolder
from datasets.film.preprocessing import Preprocessing
from datasets.film.radiograph import RadiographError
from datasets.phantom.cohort import load_phantom
from datasets.sample import Split
from models.classifier import ModelConfig, build_classifier
from training.bias.evidence import PERTURBED_FILMS, Evidence
from training.bias.questions.shortcuts import SHORTCUTS, sample_by_patient
from training.bias.report import audit as report
from training.bias.report.page import write_page
from training.run.checkpoint import Checkpoint
from training.run.report import machine, versions
from training.scoring.films import films_of, same_films, with_fitted_told
from training.scoring.lung_masks import lung_masks
from training.scoring.predict import Predictor
from training.scoring.score import geometry, score
from training.scoring.subjects import Subject, evidence_of, load_subjects

MODEL, SIZE, WIDTH = "resnet10t", 96, 512
SOURCES = ("north", "south", "east", "west", "lake", "hill")


class Stages:
    """CPU seconds of this process by stage, all threads together."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._began, self._stage = time.process_time(), ""

    def begin(self, stage: str) -> None:
        """End the stage before, and start another, or go on with one of that name."""
        now = time.process_time()
        if self._stage:
            self.seconds[self._stage] = self.seconds.get(self._stage, 0.0) + now - self._began
        self._began, self._stage = now, stage


def audit(runs: Sequence[Path], films: int, from_scores: bool, resamples: int, seed: int) -> None:
    """Print the stages of an audit of two models, or of `runs` on all their films.

    Args:
        runs: run folders; none for two untrained models on phantom films as PNG.
        films: phantom films.
        from_scores: begin with simulated features and scores of as many films.
    """
    stages = Stages()
    if from_scores:
        evidence = [simulated_evidence(films, model, seed) for model in range(2)]
        what = f"{films:,} simulated films, features of {WIDTH} numbers"
    elif runs:
        subjects = load_subjects(list(runs), "cpu")
        sets = same_films(subjects, None)
        if len(sets) > 1:
            raise ValueError("the runs have other films or splits: give runs that are judged on the same films")
        cohort = films_of(subjects, None, ",".join(Split))
        config = subjects[0].config
        evidence = timed_scores(subjects, cohort, config.data_dir if config else None, stages, seed)
        what = f"{len(evidence[0].predictions):,} films, {', '.join(subject.name for subject in subjects)}"
    else:
        with phantom_films(films, seed) as cohort:
            evidence = timed_scores([untrained(model) for model in range(2)], cohort, None, stages, seed)
        what = f"{films:,} phantom films as PNG, two {MODEL} at {SIZE} px"
    found = report.audit(evidence, {"synthetic": not runs}, resamples=resamples, seed=seed, tell=stages.begin)
    stages.begin("report")
    with tempfile.TemporaryDirectory() as place:
        write_page(
            replace(found, about=ABOUT | {"synthetic": not runs, "resamples": resamples}), Path(place) / "a.html"
        )
        found.as_json()
    stages.begin("")
    show(stages.seconds, what, resamples, seed)


ABOUT = {"notice": "", "made": "", "films": "", "permutations": 2000, "seed": 0, "versions": {}}


def timed_scores(
    subjects: Sequence[Subject], cohort: Cohort, root: Path | None, stages: Stages, seed: int
) -> list[Evidence]:
    """Score films as `training.evaluate` does, first in parts: decoding alone, then without perturbed films, then all."""
    assert cohort.films is not None
    predictors = [subject.predictor for subject in subjects]
    shapes = dict.fromkeys(geometry(predictor.checkpoint.preprocessing) for predictor in predictors)
    stages.begin("decode")
    unreadable = {}
    for position in range(len(cohort.table)):
        try:
            film = cohort.films.read(position)
        except RadiographError as error:
            unreadable[position] = str(error)
            continue
        for shape in shapes:
            shape.pixels(film)
    cohort = cohort.without(unreadable) if unreadable else cohort
    lungs = lung_masks(cohort, root)
    chosen = lungs.sample(cohort.table, PERTURBED_FILMS, seed)
    stages.begin("score")
    score(predictors, cohort)
    stages.begin("perturbed scoring")
    scored, _ = score(predictors, cohort, SHORTCUTS, lungs.films, chosen=chosen)
    stages.begin("")
    # Each pass holds those before it.
    stages.seconds["perturbed scoring"] -= stages.seconds["score"]
    stages.seconds["score"] -= stages.seconds["decode"]
    told = with_fitted_told(cohort)
    evidence = [evidence_of(s, told, made, b"key" * 11, ()) for s, made in zip(subjects, scored, strict=True)]
    return [run if run.training is not None else replace(run, training=run.predictions) for run in evidence]


@contextmanager
def phantom_films(films: int, seed: int) -> Iterator[Cohort]:
    """Phantom films as PNG files of 256 px."""
    cohort = load_phantom(Preprocessing(SIZE, 3), films=max(64, films), seed=seed).part(list(range(films)))
    assert cohort.films is not None
    with tempfile.TemporaryDirectory() as place:
        names = [f"{position}.png" for position in range(films)]
        for position, name in enumerate(names):
            pixels = (cohort.films.read(position).pixels * 255).astype(np.uint8)
            Image.fromarray(pixels).resize((256, 256)).save(Path(place) / name)
        yield replace(cohort, films=FilmFolder(Path(place), names))


def untrained(number: int) -> Subject:
    """A model of random weights, as fast as a trained one."""
    torch.manual_seed(number)
    config = ModelConfig(MODEL, 2, img_size=SIZE)
    info = load_phantom(Preprocessing(SIZE, 3), films=64).info
    weights = build_classifier(config).state_dict()
    checkpoint = Checkpoint(config, Preprocessing(SIZE, 3), info, 0.5, 1.0, {"method": "erm"}, {}, versions(), weights)
    return Subject(Path(f"untrained {number}"), Predictor(checkpoint), None)


def simulated_evidence(films: int, model: int, seed: int) -> Evidence:
    """Scores and features of patients with three films on average, which hold the label and, less, the source."""
    shared, own = np.random.default_rng(seed), np.random.default_rng([seed, model])
    patients = max(1, films // 3)
    patient = np.sort(shared.integers(patients, size=films))
    source = shared.integers(len(SOURCES), size=patients)[patient]
    positive = shared.random(patients)[patient] < np.where(source % 2, 0.7, 0.3)
    sex, view = (shared.choice(pair, size=patients)[patient] for pair in (("F", "M"), ("AP", "PA")))
    logit = 1.5 * (positive - 0.5) + own.normal(size=films)
    features = own.normal(size=(films, WIDTH)).astype(np.float32)
    features[:, 0] += 2 * positive
    features[np.arange(films), 1 + source] += 0.5
    targets = np.array(["not covid", "covid"], dtype=object)
    table = pd.DataFrame(
        {
            "file": [f"{number:016x}" for number in range(films)],
            "patient": [f"{number:016x}" for number in patient],
            "source": np.array(SOURCES, dtype=object)[source],
            "split": np.where(source == 0, "external", "test"),
            "target": targets[positive.astype(int)],
            "score": expit(logit),
            "prediction": targets[(logit > 0).astype(int)],
            "sex": sex,
            "view": view,
        }
    )
    chosen = sample_by_patient(table["target"].to_numpy(), table["source"].to_numpy(), patient, PERTURBED_FILMS, seed)
    perturbed = {name: np.full(films, np.nan) for name in SHORTCUTS}
    for scores in perturbed.values():
        scores[chosen] = expit(logit[chosen] + own.normal(size=len(chosen)))
    about = {"method": "erm", "threshold": 0.5, "temperature": 1.0, "positive": "covid", "model": MODEL, "seed": seed}
    about |= {"operating_point": "youden", "training_used_source_labels": False, "left_out": 0}
    return Evidence(f"model {model}", about, "covid", table, features, perturbed, training=table)


def show(seconds: dict[str, float], what: str, resamples: int, seed: int) -> None:
    """Print the stages, their sum, and its ratio to the scoring."""
    console, total = Console(), sum(seconds.values())
    console.print(
        f"{what}; {PERTURBED_FILMS} films perturbed, {resamples} resamples, seed {seed}; {machine()}", soft_wrap=True
    )
    table = Table("stage", Column("CPU s", justify="right"), Column("share", justify="right"))
    for stage, spent in seconds.items():
        table.add_row(stage, f"{spent:.1f}", f"{spent / total:.0%}")
    table.add_row("all", f"{total:.1f}", "", style="bold")
    console.print(table)
    if "score" in seconds:
        ratio = total / seconds["score"]
        console.print(
            f"The whole audit takes {ratio:.1f} times the CPU time of the bare models' scoring.", soft_wrap=True
        )
