"""A hospital's own words for a label on the command lines of training and evaluation."""

from pathlib import Path

import pandas as pd
import pytest

from tests.datasets.public_films import with_own_words
from training.evaluate.__main__ import main as evaluate
from training.run.config import parse
from training.train import main as train

Said = pytest.CaptureFixture[str]
FEW = ["--resamples", "100", "--permutations", "100", "--no-shortcuts"]


def refused(capsys: Said, command: object, *arguments: object) -> str:
    with pytest.raises(SystemExit) as stopped:
        command([*map(str, arguments)])  # type: ignore[operator]
    assert stopped.value.code == 2
    return capsys.readouterr().err


def test_mistakes_are_a_sentence_before_any_film_is_read(tmp_path: Path, capsys: Said) -> None:
    assert "write WORD=LABEL" in refused(capsys, train, "--data-dir", tmp_path, "--map", "covid")
    assert "--map is for cohorts of real films" in refused(capsys, train, "--dataset", "phantom", "--map", "a=covid")
    assert "--map is for labels: give it with --labels" in refused(capsys, evaluate, tmp_path, "--map", "a=covid")
    said = refused(capsys, evaluate, tmp_path, "--data-dir", tmp_path, "--map-file", tmp_path / "none.yaml")
    assert "can't be read: No such file" in said


def test_a_map_is_a_setting_of_the_run(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("map: No finding=normal\n")
    config = parse(["--dataset", "covid", "--data-dir", str(tmp_path), "--config", str(tmp_path / "config.yaml")])
    assert config.map == "No finding=normal" and config.map_file is None


@pytest.mark.trains
def test_a_cohort_under_its_own_words_is_trained_on_and_audited(tmp_path: Path, capsys: Said) -> None:
    root, output = with_own_words(tmp_path / "films"), tmp_path / "runs"
    fast = [
        "--model",
        "test_resnet",
        "--img-size",
        "32",
        "--epochs",
        "1",
        "-b",
        "4",
        "--in-chans",
        "1",
        "--method",
        "erm",
    ]
    where = [*fast, "--data-dir", str(root), "--output", str(output)]
    assert "'no finding' (8 lines)" in refused(capsys, train, *where)
    (tmp_path / "map.yaml").write_text("COVID-19 pneumonia: covid\nNo finding: normal\n")
    train([*where, "--map-file", str(tmp_path / "map.yaml")])
    said = " ".join(capsys.readouterr().out.split())
    assert (
        "Labels that are mapped to nothing, their films left out: 'unclear' (2 lines), 'see report' (line 20)" in said
    )
    (run,) = output.glob("*-erm-*")
    assert (tmp_path / "map.yaml").name.encode() not in (run / "model.safetensors").read_bytes()
    predictions = pd.read_parquet(run / "predictions.parquet")
    assert len(predictions) == 16 and predictions["target"].value_counts().to_dict() == {"covid": 8, "not covid": 8}
    evaluate([str(run), "--split", "test,train", *FEW])  # the run's own map
    assert (run / "audit/report.json").is_file()


@pytest.mark.trains
def test_a_folder_s_labels_take_a_map(
    folder_runs: tuple[Path, Path], film_folder: Path, folder_key: Path, tmp_path: Path, capsys: Said
) -> None:
    labels = pd.read_csv(film_folder / "labels.csv", dtype=str)
    ours = labels["label"].map({"covid": "U07.1", "pneumonia": "J18.9", "normal": "Z00.0"})
    labels.assign(label=ours).to_csv(tmp_path / "labels.csv", index=False)
    where = [folder_runs[0], "--dicom-dir", film_folder, "--hash-key", folder_key, "--workers", "1", *FEW]
    own = [*where, "--labels", tmp_path / "labels.csv", "--output", tmp_path / "own"]
    said = refused(capsys, evaluate, *own)
    assert "labels that are none of covid, pneumonia, normal, other: 'u07.1' (" in said and "--map" in said
    evaluate([*map(str, own), "--map", "U07.1=covid,J18.9=pneumonia"])
    assert "labels that are mapped to nothing, their lines left out: 'z00.0' (" in " ".join(
        capsys.readouterr().out.split()
    )
    plain = [
        *where,
        "--labels",
        film_folder / "labels.csv",
        "--output",
        tmp_path / "plain",
        "--shards",
        tmp_path / "own/shards",
    ]
    evaluate([*map(str, plain)])
    one, other = (pd.read_parquet(tmp_path / name / "predictions.parquet") for name in ("own", "plain"))
    normal = labels.set_index("sop_instance_uid")["label"].eq("normal").sum()
    assert one["target"].isna().sum() == normal and other["target"].notna().all()
    known = one["target"].notna()
    assert one["target"][known].equals(other["target"][known])


@pytest.mark.trains
def test_labels_that_match_nothing_say_what_was_tried(
    folder_runs: tuple[Path, Path], film_folder: Path, folder_key: Path, tmp_path: Path, capsys: Said
) -> None:
    (tmp_path / "labels.csv").write_text("accession_number,file,label\nX,gone.dcm,covid\n")
    where = ["--dicom-dir", film_folder, "--hash-key", folder_key, "--workers", "1", *FEW, "--output", tmp_path / "out"]
    said = refused(capsys, evaluate, folder_runs[0], *where, "--labels", tmp_path / "labels.csv")
    assert (
        "none of its 1 lines goes with a scored film, so nothing can be audited; tried file, accession_number" in said
    )
