"""A training on a folder of DICOM films and a table of labels: the same as one on the cohort that prepare makes of them."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch

from tests.datasets.prepare.archive import cells, prepare, with_key
from training.evaluate.__main__ import main as evaluate
from training.run.archive import Archive, split_archive
from training.run.checkpoint import load_checkpoint
from training.train import main

FAST = ["--model", "test_resnet", "--img-size", "32", "--epochs", "1", "-b", "16", "--in-chans", "1", "--cache", "none"]
Said = pytest.CaptureFixture[str]


def test_the_flags_of_an_archive_are_taken_out() -> None:
    archive, others = split_archive(
        ["--dicom-dir", "a/films", "--seed", "3", "--labels=l.csv", "--source-tag", "detector"]
    )
    assert archive == Archive(Path("a/films"), Path("l.csv"), "detector")
    assert others == ["--seed", "3", "--data-dir", "runs/cohorts/films"]
    given = ["--dicom-dir", "films", "--labels", "l.csv", "--data-dir", "cohort", "--output", "elsewhere"]
    assert split_archive(given)[1] == ["--data-dir", "cohort", "--output", "elsewhere"]
    assert split_archive(["--seed", "3"]) == (None, ["--seed", "3"])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--dicom-dir", "films"], "--dicom-dir needs --labels FILE"),
        (["--labels", "l.csv"], "--labels belongs to --dicom-dir"),
        (["--source-tag", "model"], "--source-tag belongs to --dicom-dir"),
        (["--pixels", "png16"], "--pixels belongs to --dicom-dir"),
        (["--dicom-dir", "films", "--labels", "l.csv", "--method", "ende"], "--method ende: there is no such method"),
    ],
)
def test_mistakes_are_a_sentence(arguments: list[str], expected: str, capsys: Said) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2 and expected in capsys.readouterr().err


def test_help_has_the_flags(capsys: Said) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = capsys.readouterr().out
    assert "--dicom-dir SRC" in shown and "--labels FILE" in shown and "--source-tag NAME" in shown


@pytest.mark.trains
def test_a_missing_archive_is_told_before_anything_is_made(tmp_path: Path, capsys: Said) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("file,label\na.dcm,covid\n")
    with pytest.raises(SystemExit) as stopped:
        main(
            [*FAST, "--dicom-dir", str(tmp_path / "none"), "--labels", str(labels), "--output", str(tmp_path / "runs")]
        )
    assert stopped.value.code == 2 and "none is no folder" in capsys.readouterr().err


@pytest.fixture
def trained(film_folder: Path, tmp_path: Path, capsys: Said) -> tuple[Path, list[str], str]:
    """A run on the folder, with the arguments that gave it and what was printed."""
    output = tmp_path / "runs"
    with_key(output / "cohorts/films")
    where = ["--dicom-dir", str(film_folder), "--labels", str(film_folder / "labels.csv"), "--output", str(output)]
    main([*FAST, *where, "--resume", "auto"])
    shown = capsys.readouterr().out
    return Path(json.loads(shown.split("--result\n")[1])["runs"][0]["folder"]), where, shown


@pytest.mark.trains
def test_it_is_the_training_on_the_prepared_cohort(
    trained: tuple[Path, list[str], str], film_folder: Path, tmp_path: Path, capsys: Said
) -> None:
    run, where, shown = trained
    cohort = run.parent / "cohorts/films"
    assert f"Training now; again with: python -m training.train --data-dir {cohort}" in shown
    assert f"next, the audit: python -m training.evaluate {run}" in shown
    settings = (run / "config.yaml").read_text()
    assert f"data_dir: {cohort}" in settings and f"hash_key: {cohort / '.hash-key'}" in settings
    main([*FAST, *where, "--resume", "auto"])  # the cohort is made again, the run isn't
    again = json.loads(capsys.readouterr().out.split("--result\n")[1])
    assert again["runs"][0]["folder"] == str(run)

    other = tmp_path / "by hand"
    prepare(
        "dicom", film_folder, "--labels", film_folder / "labels.csv", "--out", other, "--hash-key", cohort / ".hash-key"
    )
    separate = ["--separate-copies"] if "--separate-copies" in shown else []
    capsys.readouterr()
    main([*FAST, "--data-dir", str(other), "--output", str(tmp_path / "two"), *separate])
    second = Path(json.loads(capsys.readouterr().out.split("--result\n")[1])["runs"][0]["folder"])
    one, two = (load_checkpoint(folder).weights for folder in (run, second))
    assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.trains
def test_patients_of_the_training_are_known_in_the_folder(
    trained: tuple[Path, list[str], str], film_folder: Path, tmp_path: Path, capsys: Said
) -> None:
    """Scored again with its labels, the folder is audited without the films that the run learned from."""
    run, _, _ = trained
    own = pd.read_parquet(run / "predictions.parquet")
    seen = set(own["patient"][own["split"].isin(["train", "validation"])])
    labels, output = str(film_folder / "labels.csv"), tmp_path / "results"
    few = ["--resamples", "100", "--permutations", "100", "--no-shortcuts", "--workers", "1"]
    evaluate([str(run), "--dicom-dir", str(film_folder), "--labels", labels, "--output", str(output), *few])
    scored = pd.read_parquet(output / "predictions.parquet")
    trained_on = int(scored["patient"].isin(seen).sum())
    assert 0 < trained_on < len(scored) == 40
    assert f"{trained_on} films are of patients that a run was trained on: not audited" in capsys.readouterr().out
    assert set(own["patient"]) == set(scored["patient"])
    assert set(scored["source"]) == set(own["source"]), "institutions have their names of the training"
    learned = set(own["source"][own["split"] == "train"])
    assert set(scored["source"][scored["split"] == "test"]) == learned
    assert (scored["split"] == "external").equals(~scored["source"].isin(learned))


@pytest.mark.trains
def test_institutions_that_were_named_otherwise_are_told(
    trained: tuple[Path, list[str], str], film_folder: Path, tmp_path: Path, capsys: Said
) -> None:
    run = shutil.copytree(trained[0], trained[0].with_name("earlier"))
    own = pd.read_parquet(run / "predictions.parquet")
    own["source"] = "institution " + own["source"].str[-1:].map(lambda letter: f"{ord(letter):06x}")
    own.to_parquet(run / "predictions.parquet")
    few = ["--resamples", "100", "--permutations", "100", "--no-shortcuts", "--workers", "1"]
    command = ["--dicom-dir", str(film_folder), "--labels", str(film_folder / "labels.csv")]
    evaluate([str(run), *command, "--output", str(tmp_path / "results"), *few])
    assert "No institution of these films is one that earlier was trained on." in " ".join(
        capsys.readouterr().out.split()
    )


@pytest.mark.trains
def test_hashes_by_another_key_are_told(trained: tuple[Path, list[str], str], tmp_path: Path, capsys: Said) -> None:
    run, _, _ = trained
    moved = shutil.copytree(run.parent / "cohorts/films", tmp_path / "moved")
    (moved / ".hash-key").unlink()
    main([*FAST, "--data-dir", str(moved), "--output", str(tmp_path / "two")])
    assert "has hashes of patients by another key" in " ".join(capsys.readouterr().out.split())
    assert cells(moved / "metadata.csv")["patient_id"].str.contains(":").all()
