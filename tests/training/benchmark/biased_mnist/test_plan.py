"""Runs wait for the trials that choose their hyper-parameters; nothing is run twice."""

from typing import Any

from training.benchmark.biased_mnist.command import Plan
from training.benchmark.biased_mnist.protocol import PROTOCOLS, TUNING_SEED
from training.benchmark.biased_mnist.records import Job
from training.recipe.candidate import Candidate

SHORT = PROTOCOLS["short"]


def plan(records: list[dict[str, Any]], *names: str, trials: int = 3, seeds: int = 2) -> Plan:
    return Plan(SHORT, [Candidate.parse(name) for name in names], [0.94], range(seeds), trials, records)


def finished(job: Job, accuracy: float | None) -> dict[str, Any]:
    return job.line() | ({"failed": "not finite"} if accuracy is None else {"validation_accuracy": accuracy})


def test_runs_start_when_the_last_trial_is_done_with_what_it_chose() -> None:
    ours = plan([], "erm", "end")
    ready = ours.ready()
    trials = [job for job in ready if job.stage == "trial"]
    assert ready[:3] == trials and {job.seed for job in trials} == {TUNING_SEED}
    assert [(job.candidate.method, job.seed) for job in ready[3:]] == [("erm", 0), ("erm", 1)]  # nothing to tune
    assert ours.total == 3 + 2 + 2 == ours.left

    assert ours.after(trials[0], finished(trials[0], 0.5)) == []
    assert ours.after(trials[1], finished(trials[1], 0.7)) == []
    runs = ours.after(trials[2], finished(trials[2], None))
    assert [(job.stage, job.seed, job.chosen) for job in runs] == [("run", seed, trials[1].chosen) for seed in (0, 1)]
    assert ours.left == 4


def test_a_second_command_goes_on() -> None:
    first = plan([], "end")
    for number, job in enumerate(first.ready()):
        runs = first.after(job, finished(job, number / 10))
    first.after(runs[0], finished(runs[0], 0.9))
    again = plan(first.records, "end")
    assert again.ready() == [runs[1]] and again.left == 1
    assert plan(first.records, "end", seeds=3).left == 2  # more seeds keep the choice
    again.after(runs[1], finished(runs[1], 0.9))
    assert again.left == 0 and again.ready() == []


def test_trials_that_all_fail_leave_the_defaults() -> None:
    ours = plan([], "end")
    for job in ours.ready():
        runs = ours.after(job, finished(job, None))
    assert {tuple(job.chosen) for job in runs} == {()}


def test_one_trial_is_the_defaults_untried() -> None:
    ready = plan([], "end", trials=1).ready()
    assert [(job.stage, job.chosen) for job in ready] == [("run", {}), ("run", {})]
