"""What run folders say of themselves, also where their files are broken."""

import json
from pathlib import Path

import pandas as pd
import pytest

from app.numbers.run_records import (
    HEADLINE,
    PAIRS,
    TERMS,
    VALIDATION,
    by_configuration,
    in_training,
    in_words,
    kept_epoch,
    matching,
    model_card,
    panels,
    settings_table,
    training_curves,
    unusable_runs,
    usable_runs,
)
from training.run.index import RunEntry
from training.run.under_way import UnderWay


def record(epoch: int) -> str:
    terms = {"ce": 0.5 / epoch, "r_perp": 0.1, "of_its_own": 2.0}
    values = {"epoch": epoch, "terms": terms, "pairs_per_batch": {"disentangling": 30, "entangling": 9}}
    return json.dumps(values | {"validation": {"ce": 0.7, "auroc": 0.8, "conflicting_accuracy": None, "n": 40}})


def test_curves_are_read_up_to_a_broken_line(tmp_path: Path) -> None:
    lines = [record(1), record(2), "[1, 2]", '{"epoch": "x"}', '{"epoch": 3, "terms": null}', record(3)[:40]]
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines))
    (tmp_path / "report.json").write_text(json.dumps({"selection": {"rule": "loss", "epoch": 2}}))
    curves = training_curves(tmp_path)
    assert set(curves["epoch"]) == {1, 2} and set(curves.loc[curves["kept"], "epoch"]) == {2}
    ce = curves[curves["panel"] == TERMS["ce"]]
    assert list(ce["value"]) == [0.5, 0.25]
    found = panels(curves)
    assert found[:3] == [TERMS["ce"], TERMS["r_perp"], "training: of_its_own"], (
        "a method's own terms come with the others"
    )
    assert set(PAIRS.values()) < set(found) and VALIDATION["conflicting_accuracy"] not in found


def test_nothing_is_known_of_an_empty_folder(tmp_path: Path) -> None:
    assert training_curves(tmp_path).empty and kept_epoch(tmp_path) is None and model_card(tmp_path) is None
    (tmp_path / "report.json").write_text('{"selection": [1]')
    assert kept_epoch(tmp_path) is None
    (tmp_path / "report.json").write_text('{"selection": {"epoch": null}}')
    (tmp_path / "metrics.jsonl").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "MODEL_CARD.md").write_bytes(b"\xff\xfe\x00")
    assert kept_epoch(tmp_path) is None and training_curves(tmp_path).empty and model_card(tmp_path) is None


def test_a_card_loses_its_front_matter_and_its_pictures(tmp_path: Path) -> None:
    (tmp_path / "MODEL_CARD.md").write_text(
        "---\ntags:\n- a\n---\n\n# Card\n\n![spy](https://example.org/x.png)\n```\n# x\n```\n---\nend"
    )
    text = model_card(tmp_path)
    assert (
        text is not None
        and text.startswith("### Card")
        and "![" not in text
        and text.endswith("```\n# x\n```\n---\nend")
    )


def test_settings_side_by_side() -> None:
    def entry(name: str, alpha: float) -> RunEntry:
        settings = {"seed": 0, "augment": True, "parameters": {"alpha": alpha}}
        header = {"settings": settings, "preprocessing": {"size": 32}, "model": {}, "info": {}, "threshold": 0.5}
        return RunEntry(name, Path(name), header=header)

    entries = [entry("a", 0.1), entry("b", 0.2)]
    table = settings_table(entries, only_different=False)
    assert table.loc["augment", "a"] == "yes" and table.loc["read: size", "b"] == "32"
    different = settings_table(entries, only_different=True)
    assert list(different.index) == ["parameters"] and different.loc["parameters", "b"] == "alpha 0.2"
    entries[1].header["settings"]["rho"] = 0.9
    assert settings_table(entries, only_different=True).loc["rho", "a"] == "not set"
    assert isinstance(table, pd.DataFrame)


def trained(folder: Path, method: str, seed: int, auroc: float | None = 0.8, leak: float = 0.5) -> RunEntry:
    settings = {"method": method, "seed": seed}
    metrics = {"test": {"auroc": auroc, "leak": leak, "leak_chance": 0.25}}
    info = {"name": "covid", "targets": ["a", "b"], "positive": 1, "synthetic": False}
    header = {"settings": settings, "info": info, "model": {"name": "net"}, "metrics": metrics}
    return RunEntry(f"{method}-s{seed}", folder / f"{method}-s{seed}", header=header)


def test_seeds_of_one_configuration_are_one_row_with_mean_and_spread(tmp_path: Path) -> None:
    entries = [
        trained(tmp_path, "erm", 0, 0.8, 0.5),
        trained(tmp_path, "erm", 1, 0.9, 0.7),
        trained(tmp_path, "end", 0, None),
    ]
    labels = {
        entry.name: f"{entry.header['settings']['method']} · s{entry.header['settings']['seed']}" for entry in entries
    }
    runs = usable_runs(entries, labels)
    assert runs["run"].tolist() == ["erm · s0", "erm · s1", "end · s0"] and set(HEADLINE) < set(runs)
    together = by_configuration(runs)
    assert together["run"].tolist() == ["erm · 2 seeds (0, 1)", "end · s0"]
    assert together["seeds"].tolist() == [2, 1]
    assert together["test AUROC"].iloc[0] == pytest.approx(0.85)
    assert together["test AUROC spread"].iloc[0] == pytest.approx(0.1 / 2**0.5)
    words = in_words(together)
    assert words["test AUROC"].tolist() == ["0.850 ± 0.071", ""]
    assert words["leak"].tolist() == ["0.600 ± 0.141 (chance 0.25)", "0.500 (chance 0.25)"]
    assert "films" not in words, "all are of one kind"
    assert in_words(runs)["test AUROC"].tolist() == ["0.800", "0.900", ""]


def test_runs_are_found_by_their_words(tmp_path: Path) -> None:
    runs = usable_runs([trained(tmp_path, "erm", 0), trained(tmp_path, "end", 1)], {})
    assert matching(runs, "END net")["folder"].tolist() == ["end-s1"]
    assert len(matching(runs, "  ")) == 2 and matching(runs, "[").empty


def test_a_training_under_way_is_not_among_what_cannot_be_used(tmp_path: Path) -> None:
    now, stopped = (
        RunEntry(name, tmp_path, str(way), training=way)
        for name, way in (("now", UnderWay(1, 5, 2.0, True)), ("stopped", UnderWay(1, 5, 90.0, False)))
    )
    assert in_training([now, stopped, trained(tmp_path, "erm", 0)]) == [now]
    assert unusable_runs([now, stopped]).to_numpy().tolist() == [
        ["stopped", "its training stopped in epoch 2 of 5: --resume continues it"]
    ]
    assert usable_runs([now], {}).empty and in_words(usable_runs([now], {})).empty
