"""The main job end to end on small cohorts: what it prints, what it leaves behind, and that it repeats itself."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image

from datasets.cohort.films import Cohort
from datasets.film.preprocessing import Preprocessing
from datasets.phantom.cohort import load_phantom
from tests.training_process import codes, start
from training.loop.selection import selection_value
from training.run.checkpoint import load_checkpoint
from training.run.reference import load_reference
from training.scoring.predict import Predictor
from training.train import main

FAST = ["--model", "test_resnet", "--img-size", "32", "--epochs", "2", "-b", "16", "--in-chans", "1"]
PREDICTION_COLUMNS = [
    "run",
    "row",
    "file",
    "patient",
    "source",
    "split",
    "target",
    "score",
    "logit",
    "prediction",
    "view",
    "sex",
    "age_band",
]


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[dict[str, Any], str]:
    main([*FAST, *arguments])
    shown = capsys.readouterr().out
    return json.loads(shown.split("--result\n")[1]), shown


@pytest.fixture(scope="module")
def folder_of_films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Films of four hospitals as PNG files, two of them with both classes, one film a broken file."""
    root = tmp_path_factory.mktemp("films")
    cohort: Cohort = load_phantom(Preprocessing(32), rho=0.8, films=120, seed=1)
    table = cohort.table[cohort.table["split"] != "external"].head(320).copy()
    assert cohort.films is not None
    for position in table.index:
        pixels = (cohort.films.read(position).pixels * 255).astype(np.uint8)
        Image.fromarray(pixels).resize((48, 48)).save(root / f"{position}.png")
    table["path"] = [f"{position}.png" for position in table.index]
    table["patient_id"] = "Doe^John^" + table["patient"]
    (root / table["path"].iloc[0]).write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    table[["path", "label", "source", "patient_id", "view", "sex", "age"]].to_csv(root / "metadata.csv", index=False)
    return root


@pytest.fixture
def no_cohort_around(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.delenv("END_CXR_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.trains
def test_the_embedded_default_in_pairs(no_cohort_around: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result, shown = run(capsys, "--dataset", "covid", "--paired", "--films", "96", "--seed", "3")
    assert "SYNTHETIC" in shown and "Not a medical device" in shown and "Cramer's V" in shown
    assert [entry["method"] for entry in result["runs"]] == ["erm", "end"]
    for entry in result["runs"]:
        folder = no_cohort_around / entry["folder"]
        assert folder.name == f"phantom-{entry['method']}-test_resnet-s3"
        assert sorted(f.name for f in folder.iterdir()) == [
            "config.yaml", "metrics.jsonl", "model.safetensors", "predictions.parquet", "probe_set.safetensors",
            "reference.safetensors", "report.json",
        ]  # fmt: skip
        assert entry["synthetic"] is True and (entry["model"], entry["seed"]) == ("test_resnet", 3)
        report = json.loads((folder / "report.json").read_text())
        assert report["schema_version"] == 1 and report["runs"][-1] == entry
        checkpoint = load_checkpoint(folder)
        assert checkpoint.info.synthetic and checkpoint.metrics == entry["metrics"]
        predictions = pd.read_parquet(folder / "predictions.parquet")
        assert predictions.columns.tolist() == PREDICTION_COLUMNS
        assert set(predictions["split"]) == {"train", "validation", "test", "external"}
        reference = load_reference(folder)
        counts = predictions["split"].value_counts()
        assert reference is not None and len(reference.features) == counts["train"]
        assert len(reference.validation_distances) == counts["validation"] and 0 < reference.limit < 2
    erm, end = (entry["metrics"]["test"] for entry in result["runs"])
    assert result["difference"]["test"]["accuracy"] == pytest.approx(end["accuracy"] - erm["accuracy"])
    lines = [json.loads(line) for line in (no_cohort_around / result["runs"][1]["folder"] / "metrics.jsonl").open()]
    assert [line["epoch"] for line in lines] == [1, 2]
    assert set(lines[0]["terms"]) == {"ce", "r_perp", "r_par"} and lines[0]["pairs_per_batch"]["entangling"] > 0
    assert (no_cohort_around / "runs/.hash-key").stat().st_mode & 0o777 == 0o600


@pytest.mark.trains
def test_the_twin_shares_films_batches_and_initial_weights(
    no_cohort_around: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With both weights at 0 and the same batches, EnD is ERM: the twins end in the same weights, to the last bit."""
    none = ("--paired", "--films", "64", "--alpha", "0", "--beta", "0", "--dataset", "phantom")
    result, shown = run(capsys, *none, "--sampler", "paired")
    assert "what the batches alone do" not in shown.lower()
    first, second = (load_checkpoint(Path(entry["folder"])).weights for entry in result["runs"])
    assert all(torch.equal(first[name], second[name]) for name in first)
    again, _ = run(capsys, "--dataset", "phantom", "--films", "64", "--alpha", "0.5")
    other = load_checkpoint(Path(again["runs"][0]["folder"])).weights
    assert again["runs"][0]["folder"].endswith("-s0-2")
    assert not all(torch.equal(first[name], other[name]) for name in first)


@pytest.mark.trains
def test_films_from_a_folder(folder_of_films: Path, no_cohort_around: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result, shown = run(capsys, "--dataset", "covid", "--data-dir", str(folder_of_films), "--external-sources", "west")
    assert "SYNTHETIC" not in shown and result["runs"][0]["synthetic"] is False
    assert "1 rows left out" in shown or "1 row left out" in shown
    folder = Path(result["runs"][0]["folder"])
    excluded = json.loads((folder / "report.json").read_text())["excluded"]
    assert len(excluded) == 1 and excluded[0]["row"] == 0 and "PNG" in excluded[0]["reason"]
    predictions = pd.read_parquet(folder / "predictions.parquet")
    metadata = pd.read_csv(folder_of_films / "metadata.csv")
    assert set(predictions["source"][predictions["split"] == "external"]) == {"west"}
    assert (predictions["source"].to_numpy() == metadata["source"].to_numpy()[predictions["row"]]).all()
    splits = predictions.groupby("patient")["split"].nunique()
    assert splits.max() == 1 and len(splits) == metadata["patient_id"].iloc[predictions["row"]].nunique()


@pytest.mark.trains
def test_nothing_identifying_in_what_a_run_leaves(
    folder_of_films: Path, no_cohort_around: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, shown = run(capsys, "--data-dir", str(folder_of_films), "--cache", "disk")
    assert "Doe" not in shown
    for file in (no_cohort_around / "runs").rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            assert b"Doe" not in content, file
            if file.name in ("predictions.parquet", "report.json", "model.safetensors", "reference.safetensors"):
                assert b".png" not in content and str(folder_of_films).encode() not in content, file


@pytest.mark.trains
def test_training_evaluation_and_a_single_file_agree(
    folder_of_films: Path, no_cohort_around: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result, _ = run(capsys, "--data-dir", str(folder_of_films))
    folder = Path(result["runs"][0]["folder"])
    predictions = pd.read_parquet(folder / "predictions.parquet")
    metadata, predictor = pd.read_csv(folder_of_films / "metadata.csv"), Predictor.load(str(folder))
    for _, row in predictions.head(5).iterrows():
        file = folder_of_films / metadata["path"][row["row"]]
        assert predictor.score(file) == pytest.approx(row["score"], abs=1e-5)
        assert predictor.score(str(file)) == predictor.score(file)
        assert predictor.score(file.read_bytes()) == pytest.approx(row["score"], abs=1e-5)
        logits = predictor.logits(file)
        assert logits[1] - logits[0] == pytest.approx(row["logit"], abs=1e-4)
        called = "covid" if row["score"] >= predictor.checkpoint.threshold else "not covid"
        assert row["prediction"] == called


@pytest.mark.trains
def test_several_classes(folder_of_films: Path, no_cohort_around: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result, _ = run(capsys, "--data-dir", str(folder_of_films), "--classes", "covid,pneumonia,normal", "--epochs", "1")
    folder = Path(result["runs"][0]["folder"])
    predictions = pd.read_parquet(folder / "predictions.parquet")
    scores = predictions[["score_covid", "score_pneumonia", "score_normal"]]
    np.testing.assert_allclose(scores.sum(axis=1), 1, rtol=1e-6)
    assert (scores.idxmax(axis=1).str.removeprefix("score_") == predictions["prediction"]).all()
    np.testing.assert_array_equal(predictions["score"], predictions["score_covid"])


def test_source_equal_to_label_is_refused_unless_accepted(
    tmp_path: Path, no_cohort_around: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    rows = []
    for number in range(60):
        Image.fromarray(rng.integers(0, 255, (40, 40), dtype=np.uint8)).save(tmp_path / f"{number}.png")
        rows.append((f"{number}.png", "covid" if number % 2 else "normal", "a" if number % 2 else "b"))
    pd.DataFrame(rows, columns=["path", "label", "source"]).to_csv(tmp_path / "metadata.csv", index=False)
    with pytest.raises(SystemExit) as stopped:
        main([*FAST, "--data-dir", str(tmp_path)])
    said = capsys.readouterr().err
    assert stopped.value.code == 2 and "No label comes from two sources" in said and "--accept-unidentifiable" in said
    assert not list(Path("runs").glob("*-s[0-9]*")) if Path("runs").exists() else True
    result, _ = run(capsys, "--data-dir", str(tmp_path), "--accept-unidentifiable", "--epochs", "1")
    assert result["runs"][0]["metrics"]["test"]["conflicting_accuracy"] is None


@pytest.mark.process
def test_mistakes_in_a_cohort_end_in_a_sentence_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "metadata.csv").write_text("path,label\na.png,covid\n")
    command = ["--data-dir", str(tmp_path), "--output", str(tmp_path / "runs")]
    assert codes(start(command, errors=tmp_path / "said")) == [2]
    said = (tmp_path / "said").read_text()
    assert "lacks the column source" in said and "Traceback" not in said


@pytest.mark.trains
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--device", "gpu"], "there is no such device here"),
        (["--opt", "nonsense"], "--opt nonsense: timm has no such optimiser"),
        (["--hash-key", "nowhere"], "key file nowhere"),
        (["--model", "resnt18"], "did you mean resnet18"),
    ],
)
def test_what_can_not_begin_says_so_and_leaves_no_run_behind(
    arguments: list[str], expected: str, no_cohort_around: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        run(capsys, "--dataset", "phantom", "--films", "64", *arguments)
    assert stopped.value.code == 2 and expected in capsys.readouterr().err
    assert not list(Path("runs").glob("phantom-*"))


def test_biased_mnist_needs_its_digits_in_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise RuntimeError("no network")

    monkeypatch.setattr("datasets.biased_mnist.MNIST", refuse)
    with pytest.raises(SystemExit):
        main(["--dataset", "biased-mnist", "--data-dir", str(tmp_path), "--output", str(tmp_path)])
    assert "put its four idx files there" in capsys.readouterr().err


def test_selection_rules_are_functions_of_validation_alone() -> None:
    record = {"ce": 0.4, "auroc": 0.8, "accuracy": 0.7, "worst_group_accuracy": None}
    assert selection_value("loss", record, 3) == -0.4
    assert selection_value("auroc", record, 3) == 0.8
    assert selection_value("auroc", record | {"auroc": None}, 3) == 0.7
    assert selection_value("worst_group_accuracy", record, 3) == -math.inf
    assert selection_value("last", record, 3) > selection_value("last", record, 2)


@pytest.mark.trains
def test_config_yaml_holds_the_whole_run(no_cohort_around: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result, _ = run(capsys, "--films", "64", "--dataset", "phantom", "--epochs", "1", "--form", "absolute")
    settings = yaml.safe_load((Path(result["runs"][0]["folder"]) / "config.yaml").read_text())
    assert (settings["form"], settings["films"], settings["dataset"]) == ("absolute", 64, "phantom")
