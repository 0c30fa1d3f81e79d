"""Model cards: every number is the run's own, every gap is said to be one, and the headings are those of the template."""

import copy
import dataclasses
import json
import math
import re
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch

from datasets.film.preprocessing import Preprocessing
from datasets.sample import DatasetInfo
from models.classifier import ModelConfig
from training.bias.report.first_screen import Cell, FirstScreen, Line
from training.cards.model_card import NAME, model_card, write_card
from training.console.commandline import fields_of
from training.methods import EndParameters
from training.run.checkpoint import Checkpoint, save_checkpoint
from training.run.checkpoint_header import CheckpointError
from training.run.config import LOCAL_SETTINGS, TrainConfig, as_settings
from training.run.presets import PRESETS
from training.run.report import RunResult, write_report

RATES = ("accuracy", "auroc", "aligned_accuracy", "conflicting_accuracy", "worst_group_accuracy")
COVID = DatasetInfo("covid", ("not covid", "covid"), ("A", "B", "C"), "source", 1, synthetic=False)
PHANTOM = DatasetInfo("phantom", ("not covid", "covid"), ("north", "east"), "source", 1, synthetic=True)
DIGITS = DatasetInfo("biased-mnist", tuple("0123456789"), ("red", "blue"), "colour", None, synthetic=True)
REASONS = ["its file does not exist", "its file is already on line 12", "its file is already on line 31"]


def metrics(first: float, external: bool, positive: int | None) -> dict[str, dict[str, float]]:
    """A number for each metric and split, 0.001 apart, so that none can stand for another."""
    value, found = first, {}
    for split, n in (("train", 1200), ("validation", 200), ("test", 300), ("external", 60 * external)):
        names = (*RATES, "leak", "leak_chance") if split in ("test", "external") else RATES
        found[split] = {name: value + 0.001 * i if n else math.nan for i, name in enumerate(names)}
        found[split] |= {"n": n, "patients": n // 2} | ({"auroc": math.nan} if positive is None else {})
        value += 0.01
    return found


def finished(
    folder: Path, info: DatasetInfo = COVID, twin: bool = True, external: bool = True, **settings: Any
) -> tuple[Checkpoint, dict[str, Any]]:
    """A run folder as training leaves it, its checkpoint, and the contents of its report."""
    preset = {name: value for name, value in PRESETS[info.name].items() if name in fields_of(TrainConfig)}
    config = TrainConfig(**{"dataset": info.name, "output": folder, "data_dir": folder / "films"} | preset | settings)
    values = as_settings(dataclasses.replace(config, parameters=EndParameters(alpha=0.25)))
    runs = [
        RunResult(folder, method, config.model, config.seed, info.synthetic, metrics(first, external, info.positive))
        for method, first in (("erm", 0.5), (config.method, 0.7))
    ]
    runs[1].details.update(
        selection={"rule": "loss", "epoch": 4, "used_bias_labels": False},
        calibration={"temperature": 1.25, "threshold": 0.375, "operating_point": "youden"},
        training_used_bias_labels=True,
        confounding={
            "table": {"A": {"not covid": 11, "covid": 222}, "B": {"not covid": 333, "covid": 44}},
            "cramers_v": 0.8125, "pairs_per_random_batch": {"disentangling": 1, "entangling": 2}, "verdict": "weak",
        },
        excluded=[{"row": i, "reason": reason} for i, reason in enumerate(REASONS)],
        notes=["metadata.csv has no patient_id"],
        versions={},
    )  # fmt: skip
    folder.mkdir(exist_ok=True)
    write_report(runs if twin else runs[1:], folder)
    report = json.loads((folder / "report.json").read_text())
    checkpoint = Checkpoint(
        model=ModelConfig(config.model, len(info.targets), config.in_chans, config.img_size),
        preprocessing=Preprocessing(config.img_size, config.in_chans, "pad", "none"),
        info=info,
        threshold=None if info.positive is None else 0.375,
        temperature=1.25,
        settings={name: value for name, value in values.items() if name not in LOCAL_SETTINGS},
        metrics=report["runs"][-1]["metrics"],
        versions={"python": "3.11", "end-cxr": "0.1.0"},
        weights={"head.bias": torch.zeros(20_000)},
    )
    save_checkpoint(checkpoint, folder / "model.safetensors")
    return checkpoint, report


def cells(card: str, first: str) -> list[str]:
    """The row of a table that begins so, without its first cell."""
    (row,) = [line for line in card.splitlines() if line.startswith(f"| {first} |")]
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", row)[2:-1]]


def headings(text: str) -> list[str]:
    """Markdown headings outside code, without the template's "[optional]"."""
    prose = re.sub(r"```.*?```|\A---.*?\n---\n", "", text, flags=re.DOTALL)
    return [line.removesuffix(" [optional]") for line in prose.splitlines() if line.startswith("#")]


def test_headings_are_those_of_the_template_in_its_order(tmp_path: Path) -> None:
    template = Path(huggingface_hub.__file__).parent / "templates" / "modelcard_template.md"
    wanted = headings(template.read_text(encoding="utf-8"))
    found = headings(model_card(*finished(tmp_path / "run")))
    assert found[0] == "# Model Card for run"
    assert found[1:] == [*wanted[1:], "## CLAIM 2020 Checklist"]


def test_the_front_matter_is_read_by_the_hub_and_holds_the_results(tmp_path: Path) -> None:
    checkpoint, report = finished(tmp_path / "run")
    data = huggingface_hub.ModelCard(model_card(checkpoint, report)).data
    found = {(r.dataset_split, r.metric_type): r.metric_value for r in data.eval_results}
    assert found == {
        (split, kind): checkpoint.metrics[split][name]
        for split in ("test", "external")
        for name, kind in (("accuracy", "accuracy"), ("auroc", "roc_auc"))
    }
    assert "not-a-medical-device" in data.tags and "synthetic-data" not in data.tags
    assert "license" not in data.to_dict()  # nobody told us


def test_results_are_the_runs_own(tmp_path: Path) -> None:
    card = model_card(*finished(tmp_path / "run"))
    assert cells(card, "accuracy") == ["0.700", "0.710", "0.720", "0.730"]
    assert cells(card, "AUROC") == ["0.701", "0.711", "0.721", "0.731"]
    assert cells(card, "conflicting acc.") == ["0.703", "0.713", "0.723", "not defined"]
    assert cells(card, "leak") == ["not measured", "not measured", "0.725", "0.735"]
    assert cells(card, "images") == ["1,200", "200", "300", "60"]
    assert cells(card, "test: AUROC") == ["0.521", "0.721", "+0.200"]
    assert "external: aligned acc." not in card
    assert cells(card, "A") == ["11", "222"]
    for fact in ("score of 0.375", "Temperature 1.250", "Epoch 4 was kept: lowest cross-entropy on validation",
                 "Cramer's V 0.812", "alpha: 0.25", "0.02 million values", "metadata.csv has no patient_id"):  # fmt: skip
        assert fact in card


def test_undefined_is_never_a_number(tmp_path: Path) -> None:
    checkpoint, report = finished(tmp_path / "run")
    for run in report["runs"]:
        run["metrics"]["test"]["auroc"] = None
    report["difference"]["test"]["auroc"] = None
    checkpoint.metrics["test"]["auroc"] = None
    report["confounding"]["cramers_v"] = None
    card = model_card(checkpoint, report)
    assert cells(card, "AUROC")[2] == "cannot conclude"
    assert cells(card, "test: AUROC") == ["cannot conclude"] * 3
    assert "AUROC cannot conclude on 300 images" in card and "Cramer's V cannot conclude" in card
    assert not re.search(r"\bnan\b|\bNone\b(?! is foreseen|: )|\bnull\b(?<!: null)", card)
    found = [r.dataset_split for r in huggingface_hub.ModelCard(card).data.eval_results if r.metric_type == "roc_auc"]
    assert found == ["external"]


def test_nothing_of_the_machine_or_of_a_row_gets_in(tmp_path: Path) -> None:
    checkpoint, report = finished(tmp_path / "run")
    assert str(tmp_path) in report["runs"][-1]["folder"]
    card = model_card(checkpoint, report)
    assert str(tmp_path) not in card and tmp_path.name not in card
    assert "line 12" not in card
    assert "Rows left out: 3 (2 because its file is already on another line; 1 because its file does not exist)" in card


def test_amplitude_mixing_is_part_of_the_augmentation(tmp_path: Path) -> None:
    checkpoint, report = finished(tmp_path / "run", mix_amplitude=0.25)
    mixed = "amplitudes of a training image of another source are mixed into each with probability 0.25."
    card = model_card(checkpoint, report)
    assert mixed in card and "never a mirror" in card
    assert mixed in model_card(*finished(tmp_path / "still", mix_amplitude=0.25, augment=False))
    del checkpoint.settings["mix_amplitude"]  # of a version without it
    assert "amplitudes" not in model_card(checkpoint, report)
    assert "No augmentation." in model_card(*finished(tmp_path / "none", augment=False))


def test_synthetic_films_are_said_loudly_and_only_then(tmp_path: Path) -> None:
    card = model_card(*finished(tmp_path / "p", PHANTOM))
    top, _, rest = card.partition("## Model Details")
    assert "(SYNTHETIC images)" in top and "no image of training or test is of a person" in top
    assert "All images are SYNTHETIC" in rest and "150 synthetic patients" in rest
    assert "synthetic-data" in huggingface_hub.ModelCard(card).data.tags
    assert cells(card, "16")[1].startswith("Not applicable")
    real = model_card(*finished(tmp_path / "r"))
    assert "synthetic" not in real.lower()
    for text in (card, real):
        assert "Not a medical device; scores are model scores, not diagnoses." in text.partition("## Model Details")[0]


def checklist(card: str) -> list[list[str]]:
    rows = card.partition("## CLAIM 2020 Checklist")[2].splitlines()
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows if re.match(r"\| \d+ \|", row)]


@pytest.mark.parametrize("info", [COVID, PHANTOM, DIGITS], ids=lambda info: info.name)
def test_the_checklist_has_42_items_each_answered_or_left_to_the_user(tmp_path: Path, info: DatasetInfo) -> None:
    card = model_card(*finished(tmp_path / "run", info))
    rows = checklist(card)
    assert [row[0] for row in rows] == [str(number) for number in range(1, 43)]
    assert all(len(row) == 4 and (row[2] != "—" or row[3] != "—") for row in rows)
    full = sum(row[3] == "—" for row in rows)
    users = sum(row[2] == "—" for row in rows)
    assert f"Of 42 items this run answers {full}, {42 - full - users} in part; {users} are the user's alone." in card


def test_what_the_run_can_not_know_is_left_to_the_user(tmp_path: Path) -> None:
    rows = {row[0]: row for row in checklist(model_card(*finished(tmp_path / "run")))}
    for number in ("2", "5", "8", "15", "16", "17", "18", "31", "34", "40", "42"):
        assert rows[number][2] == "—" and rows[number][3].startswith("**")
    assert "--weights" in rows["24"][3]
    pretrained = {row[0]: row for row in checklist(model_card(*finished(tmp_path / "q", pretrained=True)))}
    assert "Published weights" in pretrained["24"][2] and pretrained["24"][3] == "—"


def test_an_audit_is_quoted_and_its_absence_is_said(tmp_path: Path) -> None:
    checkpoint, report = finished(tmp_path / "run")
    without = model_card(checkpoint, report)
    assert "**No audit was made of this run.** `python -m training.evaluate RUN` makes one." in without
    line = Line("Does it work at all?", "AUROC", (Cell("no · 0.52", "0.45 to 0.59 · a|b", "bad"),), ())
    audit = FirstScreen(
        "The model does\nnot work.", (), ("run",), ("run",), (), (line,), ("A *caution*.",), ("A note.",)
    )
    card = model_card(checkpoint, report, audit)
    assert "**The audit:** The model does not work." in card and "Caution: A \\*caution\\*." in card
    assert "| Does it work at all? (AUROC) | no · 0.52 | 0.45 to 0.59 · a\\|b |\n" in card and "A note." in card
    assert "No audit was made" not in card and "training.evaluate" not in card


def test_no_external_images_no_twin_no_positive_class(tmp_path: Path) -> None:
    card = model_card(*finished(tmp_path / "run", DIGITS, twin=False, external=False))
    assert cells(card, "accuracy") == ["0.700", "0.710", "0.720"]
    assert cells(card, "AUROC") == ["not defined"] * 3
    assert "External images: none" in card and "External: no images." in card and "twin" not in card
    assert (
        "predictor.logits" in card and "predictor.score" not in card and "prediction is the most probable class" in card
    )
    assert [r.metric_type for r in huggingface_hub.ModelCard(card).data.eval_results] == ["accuracy"]


def test_a_twin_without_external_images_is_compared_on_test_alone(tmp_path: Path) -> None:
    card = model_card(*finished(tmp_path / "run", external=False))
    assert "| test: accuracy |" in card and "| external: " not in card
    assert cells(card, "32")[2] == "**A test on external data**"


def test_a_report_without_the_confounding_check_is_read(tmp_path: Path) -> None:
    checkpoint, report = finished(tmp_path / "run")
    del report["confounding"]
    card = model_card(checkpoint, report)
    assert "Cramer's V" not in card and "| A |" not in card


def test_names_of_users_are_no_markup(tmp_path: Path) -> None:
    info = DatasetInfo("covid", ("a|b", "<b>c</b>"), ("St. *Mary*\n# Big", "`x`"), "source", 1, synthetic=False)
    card = model_card(*finished(tmp_path / "run", info))
    assert "a\\|b, \\<b\\>c\\</b\\>" in card and "St. \\*Mary\\* # Big, \\`x\\`" in card
    assert all(len(row) == 4 for row in checklist(card))
    assert len(checklist(card)) == 42


def test_the_report_of_another_run_is_refused(tmp_path: Path) -> None:
    checkpoint, report = finished(tmp_path / "run")
    other = copy.deepcopy(report)
    other["runs"].reverse()
    with pytest.raises(ValueError, match="of another run"):
        model_card(checkpoint, other)


def test_the_file_is_written_into_the_run_folder(tmp_path: Path) -> None:
    checkpoint, report = finished(tmp_path / "run")
    assert write_card(tmp_path / "run") == tmp_path / "run" / NAME
    assert (tmp_path / "run" / "MODEL_CARD.md").read_text(encoding="utf-8") == model_card(checkpoint, report)
    (tmp_path / "run" / "report.json").unlink()
    with pytest.raises(ValueError, match=r"no report\.json"):
        write_card(tmp_path / "run")
    with pytest.raises(CheckpointError):
        write_card(tmp_path)
