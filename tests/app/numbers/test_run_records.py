"""What run folders say of themselves, also where their files are broken."""

import json
from pathlib import Path

import pandas as pd

from app.numbers.run_records import (
    PAIRS,
    TERMS,
    VALIDATION,
    kept_epoch,
    model_card,
    panels,
    settings_table,
    training_curves,
)
from training.run.index import RunEntry


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
