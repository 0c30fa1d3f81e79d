"""Short names of runs: what is in them, and that no two are the same."""

from pathlib import Path

import pytest

from app.numbers.run_labels import cohort, configuration, run_labels
from training.run.index import RunEntry


def run(folder: Path, name: str, synthetic: bool = False, data: str = "", **settings: object) -> RunEntry:
    """A run folder of these settings."""
    place = folder / name
    place.mkdir()
    if data:
        (place / "config.yaml").write_text(f"batch_size: 3\ndata_dir: {data}\nseed: 0\n")
    header = {
        "settings": {"method": "erm", "seed": 0, "lr": 0.001} | settings,
        "info": {"name": "phantom" if synthetic else "covid", "synthetic": synthetic},
        "model": {"name": settings.get("model", "net")},
    }
    return RunEntry(name, place, header=header)


def test_method_and_seed_are_enough_where_nothing_else_differs(tmp_path: Path) -> None:
    runs = [run(tmp_path, "a"), run(tmp_path, "b", seed=1), run(tmp_path, "c", method="end", alpha=0.1)]
    assert list(run_labels(runs).values()) == ["erm · s0", "erm · s1", "end · s0"]
    assert configuration(runs[0]) == configuration(runs[1]) != configuration(runs[2])
    assert run_labels([]) == {}


def test_what_differs_is_said(tmp_path: Path) -> None:
    end = {"method": "end", "beta": 1.0}
    runs = [run(tmp_path, "a"), run(tmp_path, "b", alpha=0.1, **end), run(tmp_path, "c", alpha=0.2, **end)]
    assert list(run_labels(runs).values()) == ["erm · s0", "end · s0 · alpha 0.1", "end · s0 · alpha 0.2"]
    nets = [run(tmp_path, "d"), run(tmp_path, "e", model="other"), run(tmp_path, "f", recipe="head")]
    assert list(run_labels(nets).values()) == ["erm · s0 · net", "erm · s0 · other", "erm+head · s0"]
    twice = [run(tmp_path, "g"), run(tmp_path, "g-2")]
    assert list(run_labels(twice).values()) == ["erm · s0 · g", "erm · s0 · g-2"], "no two runs have one label"


def test_runs_of_several_cohorts_have_the_folder_s_name(tmp_path: Path) -> None:
    runs = [run(tmp_path, "a", data="/data/one/"), run(tmp_path, "b", data="'/data/two: b'")]
    assert list(run_labels(runs).values()) == ["erm · s0 · one", "erm · s0 · two: b"], "no folder above it"
    mixed = [runs[0], run(tmp_path, "c", synthetic=True)]
    assert list(run_labels(mixed).values()) == ["erm · s0 · one", "erm · s0 · SYNTHETIC · phantom"]
    assert list(run_labels(mixed[1:]).values()) == ["erm · s0"], "the banner says it of all runs"


@pytest.mark.parametrize("content", ["data_dir: [", "data_dir: 3", "\x00", "data_dir: null"])
def test_settings_that_say_nothing_leave_the_name_of_the_data_set(content: str, tmp_path: Path) -> None:
    entry = run(tmp_path, "a")
    (entry.folder / "config.yaml").write_text(content)
    assert cohort(entry) == "covid"
