"""One study: trials proposed, trained, pruned, and summarised."""

import argparse
import dataclasses
import json
import random
import re
import shutil
import time
import warnings
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.trial import FrozenTrial, Trial, TrialState
from rich.console import Console

from datasets.cohort.films import Cohort
from datasets.files import write_text
from training.console.commandline import SEED
from training.console.messages import RESEARCH_ONLY, mistakes_as_sentences
from training.loop.divergence import DivergenceError
from training.loop.obtain import obtain
from training.loop.prepare import prepare
from training.run.config import as_settings, parse, public_settings
from training.run.existing import folders_of
from training.run.films import cohort_of, fingerprint, preprocessing_of
from training.run.report import machine, versions
from training.sweep.figures import pareto, save, sensitivity
from training.sweep.measures import measures
from training.sweep.space import DIRECTIONS, USES_BIAS, Dimension, search_space
from training.sweep.summary import Outcome, as_frame, show, summarise

SCHEMA_VERSION = 1
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
# Seconds between signs of life of a running trial, and after which one without them is given to somebody else.
ATTEMPTS, PAUSE = 12, 0.5  # to open a database that another process is making; half a minute in all
DISTURBED = re.compile(
    r"already exists|UNIQUE constraint|[Dd]uplicate|locked|no such table|alembic_version|version_info"
)
HEARTBEAT, GRACE = 10, 30
# Trials that run to their end before any is pruned.
UNPRUNED = 5
# Settings that change nothing of what a trial finds, beside places on this machine.
INDIFFERENT = ("device", "cache", "workers", "tracker", "paired")


def run(options: argparse.Namespace) -> None:
    """Go on with the study until its trials are finished, then print what it found and write it beside the runs."""
    console = Console()
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # `tell` says what is to be said of a trial
    with mistakes_as_sentences("interrupted; the same command continues from here"):
        Sweep(options, console).run()


class Sweep:
    """One study: its fixed settings, its space, and its trials in the storage."""

    def __init__(self, options: argparse.Namespace, console: Console) -> None:
        config = parse(options.forwarded)
        self.space = search_space(config.parameters, config.given, options.search, config.method)
        if config.seed + options.seeds - 1 not in SEED:
            raise ValueError(f"--seeds {options.seeds} from --seed {config.seed} on: the last is not {SEED.words}")
        self.options, self.console = options, console
        self.name = options.study or f"{config.dataset}-{config.method}"
        self.folder: Path = options.output / self.name
        self.config = dataclasses.replace(config, output=self.folder, config=None)
        self.cohort: Callable[[], Cohort] = cache(partial(prepare, self.config, console))
        self.folder.mkdir(parents=True, exist_ok=True)
        storage = options.storage or f"sqlite:///{self.folder}/study.db"
        self.study = open_study(self.name, storage, options.objective, config.epochs)
        self.require_same_question()

    def require_same_question(self) -> None:
        """Remember what the study is about; refuse to continue one that is about something else."""
        question = public_settings(self.config, *INDIFFERENT, *(dimension.name for dimension in self.space))
        question |= {"objective": self.options.objective, "seeds": self.options.seeds}
        question["space"] = {d.name: d.choices or [d.low, d.high] for d in self.space}
        question = json.loads(json.dumps(question))
        attributes, films = self.study.user_attrs, self.fingerprint()
        if attributes.get("films", films) != films:
            raise ValueError(
                f"the study {self.name} is of other films: their files, labels, patients or sources are not those of "
                "metadata.csv. Give this one another --study"
            )
        before = attributes.get("question")
        if before is None:
            self.study.set_user_attr("question", question)
            self.study.set_user_attr("films", films)
            self.study.enqueue_trial(self.defaults(), skip_if_exists=True)
        elif before != question:
            name = next(n for n in (*question, *before) if question.get(n) != before.get(n))
            raise ValueError(
                f"the study {self.name} was begun with {name} {before.get(name)}, not {question.get(name)}: give this one "
                "another --study"
            )

    def fingerprint(self) -> str:
        """Of the films of a folder; empty where the settings alone say what the films are."""
        if self.config.dataset != "covid":
            return ""
        cohort = cohort_of(self.config, preprocessing_of(self.config))
        return fingerprint(cohort, cohort.table["source"])

    def defaults(self) -> dict[str, Any]:
        """Of what is searched, the values a run without a sweep would take."""
        values = as_settings(self.config)
        return {dimension.name: dimension.within(values[dimension.name]) for dimension in self.space}

    def run(self) -> None:
        """Train until enough trials are finished, then write and print the summary."""
        if len(self.study.get_trials(deepcopy=False, states=FINISHED)) < self.options.trials:
            if "auroc" in self.options.objective and self.cohort().info.positive is None:
                raise ValueError(f"--objective auroc: {self.config.dataset} has no positive class; choose accuracy")
            enough = optuna.study.MaxTrialsCallback(self.options.trials, states=FINISHED)
            self.study.optimize(self.objective, callbacks=[self.tell, enough])
        self.write()

    def objective(self, trial: Trial) -> list[float]:
        """Train a trial's settings with every seed; returns the means of the objectives on validation."""
        # Draws depend on the trial alone: a study that continues, or a second machine, repeats none.
        self.study.sampler = sampler(self.config.seed, trial.number)
        values = {dimension.name: suggest(trial, dimension) for dimension in self.space}
        first, seeds = self.config.seed, []
        for seed in range(first, first + self.options.seeds):
            config = self.config.with_settings(seed=seed, **values)
            prunable = seed == first and len(self.options.objective) == 1
            listeners = [partial(prune, trial, self.options.objective[0], config.epochs)] if prunable else []
            try:
                run = obtain(config, self.cohort, listeners)
            except (optuna.TrialPruned, DivergenceError) as error:
                for folder in folders_of(config):
                    if not (folder / "report.json").is_file():
                        shutil.rmtree(folder)
                trial.set_user_attr("ended", str(error))
                raise optuna.TrialPruned(str(error)) from None
            except KeyboardInterrupt:
                self.study.enqueue_trial(values)  # its run is resumed by the next trial
                raise
            seeds.append(measures(run, self.options.objective, self.cohort, config))
        trial.set_user_attr("seeds", seeds)
        return [float(np.mean([seed["validation"][name] for seed in seeds])) for name in self.options.objective]

    def tell(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Print a line for a trial that has ended."""
        finished = len(study.get_trials(deepcopy=False, states=FINISHED))
        words = (f"{k} {v:.4g}" if isinstance(v, (int, float)) else f"{k} {v}" for k, v in trial.params.items())
        if trial.state == TrialState.COMPLETE:
            result = " ".join(f"{n} {v:.4f}" for n, v in zip(self.options.objective, trial.values, strict=True))
            result = f"[bold]{result}[/bold]"
        else:
            result = f"[dim]{trial.user_attrs.get('ended', 'failed')}[/dim]"
        line = f"{finished}/{self.options.trials} trial {trial.number}: {' '.join(words)} → {result}"
        self.console.print(line, highlight=False, soft_wrap=True)

    def write(self) -> None:
        """Write summary.json and the drawings, and print the best trials."""
        trials = self.study.get_trials(deepcopy=False)
        names, states = self.options.objective, [trial.state for trial in trials]
        outcomes = [
            Outcome(t.number, t.params, t.user_attrs["seeds"], dict(zip(names, t.values, strict=True)))
            for t in trials
            if t.state == TrialState.COMPLETE
        ]
        if not outcomes:
            raise ValueError("no trial came to an end: every training was ended early, see the lines above")
        record = {
            "schema_version": SCHEMA_VERSION,
            "notice": RESEARCH_ONLY,
            "study": self.name,
            "objectives": {name: DIRECTIONS[name] for name in names},
            "used_bias_labels_of_validation": any(name in USES_BIAS for name in names),
            "finished": states.count(TrialState.COMPLETE),
            "ended_early": states.count(TrialState.PRUNED),
            "failed": states.count(TrialState.FAIL),
            "synthetic": outcomes[0].seeds[0]["synthetic"],
            "question": self.study.user_attrs["question"],
            "defaults": self.defaults(),
            **summarise(outcomes, names),
            "machine": machine(),
            "versions": versions() | {"optuna": optuna.__version__},
        }
        write_text(self.folder / "summary.json", json.dumps(record, indent=1, allow_nan=False) + "\n")
        frame = as_frame(outcomes, names)
        save(sensitivity(frame, self.space, names), self.folder / "sensitivity")
        if len(names) > 1:
            save(pareto(frame, names), self.folder / "pareto")
        self.console.print()
        show(self.console, record, names)
        files = "summary.json, sensitivity.svg" + (", pareto.svg" if len(names) > 1 else "")
        self.console.print(f"written to {self.folder}: {files}", markup=False, highlight=False, soft_wrap=True)


def open_study(name: str, storage: str, objectives: list[str], epochs: int) -> optuna.Study:
    """The study of that name in the storage, made where there is none; a trial whose process died is tried again.

    Optuna's tables are made by whoever comes first, and two that come at once disturb each other: the one that loses waits a
    little and joins the study.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # the signs of life
        for attempt in range(ATTEMPTS):
            try:
                return _open_study(name, storage, objectives, epochs)
            except Exception as error:  # SQLAlchemy's and every driver's own; the address may hold a password
                if attempt + 1 < ATTEMPTS and DISTURBED.search(str(error)):
                    time.sleep(PAUSE * (attempt + random.random()))
                    continue
                reason = f"{type(error).__name__}: {str(error).splitlines()[0]}"
                raise ValueError(f"--storage: the study's database can't be opened ({reason})") from None
    raise AssertionError("the last attempt returns or raises")


def _open_study(name: str, storage: str, objectives: list[str], epochs: int) -> optuna.Study:
    again = RetryHeartbeatStaleTrialCallback()
    database = RDBStorage(
        storage, heartbeat_interval=HEARTBEAT, grace_period=GRACE, heartbeat_stale_trial_callback=again
    )
    directions = [DIRECTIONS[objective] for objective in objectives]
    pruner = optuna.pruners.MedianPruner(n_startup_trials=UNPRUNED, n_warmup_steps=max(2, epochs // 4))
    return optuna.create_study(
        storage=database, pruner=pruner, study_name=name, directions=directions, load_if_exists=True
    )


def sampler(seed: int, number: int) -> optuna.samplers.BaseSampler:
    """What proposes the values of one trial; trials that run elsewhere count as if they did badly."""
    trial_seed = int(np.random.SeedSequence((seed, number)).generate_state(1)[0])
    return optuna.samplers.TPESampler(seed=trial_seed, constant_liar=True)


def suggest(trial: Trial, dimension: Dimension) -> Any:
    """The trial's value of a hyper-parameter."""
    if dimension.choices:
        return trial.suggest_categorical(dimension.name, dimension.choices)
    ask = trial.suggest_int if dimension.kind is int else trial.suggest_float
    return ask(dimension.name, dimension.kind(dimension.low), dimension.kind(dimension.high), log=dimension.logarithmic)


def prune(trial: Trial, objective: str, epochs: int, epoch: int, record: dict[str, Any]) -> None:
    """Report an epoch; raises TrialPruned where the trial falls behind, but for its last epoch."""
    value = record["validation"].get(objective)
    if value is None:
        return
    trial.report(value, epoch)
    if epoch < epochs and trial.should_prune():
        raise optuna.TrialPruned(f"ended early after epoch {epoch}: {objective} {value:.4f} falls behind the median")
