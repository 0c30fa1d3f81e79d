"""The audit end to end: two small runs, their own films and another cohort, files that agree, mistakes in words."""

import errno
import json
import os
import shutil
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from datasets.files import require_new_file
from datasets.film.preprocessing import Preprocessing
from datasets.phantom.cohort import load_phantom
from training.evaluate.__main__ import JUNIT, main
from training.train import main as train

pytestmark = pytest.mark.trains

QUICK = ["--resamples", "100", "--permutations", "100"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("runs")
    small = ["--films", "120", "--model", "test_resnet", "--img-size", "32", "--epochs", "1", "--in-chans", "1"]
    train(["--dataset", "phantom", *small, "--paired", "--output", str(root)])
    return root / "phantom-erm-test_resnet-s0", root / "phantom-end-test_resnet-s0"


def evaluate(*arguments: str | Path) -> int:
    try:
        main([*map(str, arguments), *QUICK])
    except SystemExit as stopped:
        return int(stopped.code or 0)
    return 0


def test_the_folder_of_a_run_is_no_output(runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    before = (runs[0] / "report.json").read_bytes()
    assert evaluate(runs[0], "--output", runs[0]) == 2
    assert "is the folder of a run, whose own files would be replaced: name another" in capsys.readouterr().err
    assert (runs[0] / "report.json").read_bytes() == before


def test_two_runs_on_their_own_films(
    runs: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, junit = runs[0].parent / "both", tmp_path / "junit.xml"  # below the runs, so that their key is used
    conditions = "auroc:external<0.01,gap:auroc:target>0.1"
    code = evaluate(*runs, "--output", out, "--shortcut-films", "100", "--fail-on", conditions, "--junit", junit)
    shown = capsys.readouterr().out
    assert code == 1, "missing evidence is a failure"
    assert "SYNTHETIC" in shown and "Not a medical device" in shown and "end minus erm" in shown
    assert (
        "conclude: 0 of 2 groups measured, two are needed" in shown and shown.count("passed: auroc:external<0.01") == 2
    )
    suites = ElementTree.parse(junit).getroot()
    assert [suite.get("failures") for suite in suites] == ["1", "1"]
    require_new_file(junit, "--junit", JUNIT, "such file")  # a second audit may replace it

    table = pd.read_parquet(out / "predictions.parquet")
    own = pd.read_parquet(runs[0] / "predictions.parquet").query("split in ('test', 'external')").reset_index(drop=True)
    mine = table[table["run"] == runs[0].name].reset_index(drop=True)
    assert set(table["run"]) == {run.name for run in runs}
    assert (mine["file"] == own["file"]).all() and np.allclose(mine["score"], own["score"], atol=1e-5)
    report = json.loads((out / "report.json").read_text())
    assert report["schema_version"] == 1 and report["synthetic"] and len(report["comparisons"]) == 1
    first = report["runs"][0]
    overall = next(v for v in first["groups"]["split"]["values"] if (v["group"], v["metric"]) == ("test", "accuracy"))
    test = own[own["split"] == "test"]
    assert overall["estimate"] == pytest.approx((test["prediction"] == test["target"]).mean())
    assert {row["shortcut"] for row in first["shortcuts"]} >= {"border_only", "lungs_removed", "mirrored"}
    page = (out / "report.html").read_text()
    assert (
        "<svg" in page
        and report["verdict"]["headline"].split("'")[0] in page
        and "not a medical device" in page.lower()
    )
    assert "http" not in page.replace("http://www.w3.org/", ""), "the page must need nothing from a network"
    notes = " ".join(first["notes"])
    assert "taken away" in notes and "are a sample" in notes
    for run in runs:
        card = (run / "MODEL_CARD.md").read_text()
        assert "**The audit of splits test,external of the runs' own films: " in card and all(
            question["text"] in card for question in report["verdict"]["questions"]
        )
        assert len(pd.read_csv(out / f"{run.name}.faircare.csv")) == len(own)


def test_another_cohort_with_a_column_of_its_own(
    runs: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cohort = load_phantom(Preprocessing(32), rho=0.5, films=64, seed=9)
    assert cohort.films is not None
    table = cohort.table.head(90).copy()
    for position in table.index:
        Image.fromarray((cohort.films.read(position).pixels * 255).astype(np.uint8)).save(tmp_path / f"{position}.png")
    table["path"], table["patient_id"] = [f"{i}.png" for i in table.index], "Doe^" + table["patient"]
    table["ward"] = np.where(table.index % 2 == 0, "a", "b")
    (tmp_path / "3.png").write_bytes(b"broken")
    other = next(i for i in table.index[12:] if table["patient"][i] != table["patient"][11])
    shutil.copy(tmp_path / "11.png", tmp_path / f"{other}.png")
    table.loc[90] = {**table.loc[0], "path": "gone.png"}
    table[["path", "label", "source", "patient_id", "ward"]].to_csv(tmp_path / "metadata.csv", index=False)
    out = tmp_path / "out"
    assert evaluate(runs[0], "--data-dir", tmp_path, "--by", "ward", "--no-shortcuts", "--output", out) == 0
    shown = capsys.readouterr().out
    assert "1 film(s) can't be read" in shown and "line 5 of metadata.csv" in shown
    shown = " ".join(shown.split())
    assert "1 row is left out: 1 because its file does not exist (line 92 of metadata.csv)" in shown
    assert (
        f"1 of 89 films have exactly the pixels of another patient's film (line {other + 2} of metadata.csv)" in shown
    )
    report = json.loads((out / "report.json").read_text())
    assert sum("pixels of another" in note or "1 row is" in note for note in report["runs"][0]["notes"]) == 2
    assert report["runs"][0]["films"] == 89 and "ward" in report["runs"][0]["groups"]
    assert report["runs"][0]["shortcuts"] == []
    for file in out.iterdir():
        assert b"Doe^" not in file.read_bytes() and b".png" not in file.read_bytes(), file
    assert evaluate(runs[0], "--data-dir", tmp_path, "--by", "floor", "--output", out) == 2
    assert "--by floor: the films have no such column" in capsys.readouterr().err

    table["mask"] = "lungs.png"
    table.loc[[7, 8], "mask"] = ["Doe^gone.png", ""]
    table[["path", "label", "source", "patient_id", "mask"]].to_csv(tmp_path / "metadata.csv", index=False)
    size = cohort.films.read(0).pixels.shape
    Image.fromarray(np.full(size, 255, np.uint8)).save(tmp_path / "lungs.png")
    assert evaluate(runs[0], "--data-dir", tmp_path, "--output", out) == 0
    shown = " ".join(capsys.readouterr().out.split())
    said = "1 film names a mask that is not there (line 9), and 1 film has none (line 10)."
    assert shown.count(said) == 1 and "The first that is not there: Doe^gone.png" in shown
    (run,) = json.loads((out / "report.json").read_text())["runs"]
    assert run["films"] == 89 and any(said in note for note in run["notes"])
    assert any("are a sample: 87 films" in note for note in run["notes"]) and run["shortcuts"]
    for file in out.iterdir():
        assert b"Doe^" not in file.read_bytes() and b".png" not in file.read_bytes(), file


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--split", "tset"], "choose from train, validation, test, external"),
        (["--fail-on", "gap:recall:source>0.1"], "metrics are accuracy"),
        (["--fail-on", "leak:source"], "not understood"),
        (
            ["--fail-on", "gap:sensitivity:hospital>0.1"],
            "the films have no column hospital; they are grouped by split, ",
        ),
        (["--fail-on", "leak:age_band>0.6"], "the films are probed for source, view, sex; give --by age_band too"),
        (["--by", "age_band", "--fail-on", "equalised_odds:source x age_band>0.1"], "give --by source,age_band too"),
        (["--fail-on", "auroc:train<0.7"], "no film of split train is audited; films are of test, external"),
        (["--no-shortcuts", "--fail-on", "shortcut:mirrored>0.6"], "no film is scored under a perturbation"),
        (["--junit", "x.xml"], "give both"),
        (["--shortcut-films", "few"], "a number of films of 1 or more, or all"),
        (["--shortcut-films", "0"], "a number of films of 1 or more, or all"),
        (["--resamples", "5"], "must be from 100 to 100,000"),
        (["--resamples", "1000000000000"], "--resamples 1000000000000: must be from 100 to 100,000"),
        (["--reference", "sex=F", "--reference", "sex=M"], "--reference sex=...: this column has two"),
        (["--fail-on", ""], "--fail-on is empty; write for example"),
        (["--prevalence", "1e-320"], "a share from 0.000001 to 0.999999, for example 0.02"),
        (["--fail-on", "auroc<0.5", "--junit", "{here}"], "is a folder: name a file"),
        (["--fail-on", "auroc<0.5", "--junit", "{here}/file"], "is there already and is no JUnit XML of an audit"),
        (["--output", "{here}/file"], "file is there already and is no folder"),
        (["--output", "{here}/file/audit"], "can't be made: {here}/file is no folder"),
        (["--output", "/proc/audit"], "--output /proc/audit can't be written to"),
        (["--data-dir", "nowhere"], "does not exist"),
        (["--hash-key", "nowhere"], "can't be read"),
    ],
)
def test_mistakes_get_a_sentence(
    arguments: list[str], expected: str, runs: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("kept")
    filled = [text.format(here=tmp_path) for text in arguments]
    with pytest.raises(SystemExit) as stopped:
        main([str(runs[0]), "--output", str(tmp_path / "out"), *filled])
    assert stopped.value.code == 2 and expected.format(here=tmp_path) in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_damaged_features_of_the_training_films_are_told_before_a_film_is_scored(
    runs: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = shutil.copytree(runs[0], tmp_path / "run")
    (run / "reference.safetensors").write_bytes(b"cut")
    monkeypatch.setattr("training.evaluate.evaluation.score", lambda *a, **b: pytest.fail("a film was scored"))
    assert evaluate(run, "--output", str(tmp_path / "out")) == 2
    said = capsys.readouterr().err
    assert "reference.safetensors is not a safetensors file" in said and "Or remove it" in said
    assert not (tmp_path / "out" / "report.json").exists()


def test_a_folder_that_is_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate(tmp_path) == 2
    assert "give a run folder that holds model.safetensors" in capsys.readouterr().err


def test_a_disk_that_fills_up_leaves_the_earlier_audit_whole(
    runs: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, few = tmp_path / "audit", ["--no-shortcuts", "--output", tmp_path / "audit"]
    assert evaluate(runs[0], *few) == 0
    for name in ("report.pdf", "predictions.csv", "patients.parquet", "notes.csv"):
        (out / name).write_text("of an earlier evaluation, or the user's own")
    earlier = {file.name: file.read_bytes() for file in out.iterdir()}
    capsys.readouterr()

    def full(report: object, file: Path) -> None:
        file.write_text("half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("training.evaluate.evaluation.write_page", full)
        assert evaluate(runs[1], *few) == 2
    assert f"error: {out}/report.html can't be written or read: No space left on device" in capsys.readouterr().err
    assert {file.name: file.read_bytes() for file in out.iterdir()} == earlier

    assert evaluate(runs[1], *few) == 0
    kept = {"report.html", "report.json", "predictions.parquet", "notes.csv"}
    assert {file.name for file in out.iterdir()} == kept | {f"{runs[1].name}.{of}.csv" for of in ("faircare", "fmm")}
    assert set(pd.read_parquet(out / "predictions.parquet")["run"]) == {runs[1].name}
    assert json.loads((out / "report.json").read_text())["runs"][0]["name"] == runs[1].name
