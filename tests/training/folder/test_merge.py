"""From shards written by hand to the survey and the tables."""

from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datasets.cohort.label_table import Labels, read_labels
from datasets.film.folder import Entry, LocalFolder
from datasets.film.identity import keyed_hash
from datasets.sample import DatasetInfo
from training.folder.merge import DUPLICATE, Merge, Survey, csv_safe, sampled_scores, source_names, survey
from training.folder.shard import FACTS, FILE_SCHEMA, FolderJob, Shard, model_columns
from training.folder.store import ShardStore
from training.run.checkpoint import Calibration
from training.scoring.subjects import Subject

pytestmark = pytest.mark.trains

KEY = bytes(range(32))
INFO = DatasetInfo("covid", ("not covid", "covid"), ("a", "b"), "source", 1, False)
THREE = DatasetInfo("covid", ("normal", "pneumonia", "covid"), ("a", "b"), "source", 2, False)
SCHEMA = pa.schema([*FILE_SCHEMA, *(pa.field(name, pa.list_(pa.float32())) for name in model_columns(0))])


def hashed(text: str) -> str:
    return keyed_hash(KEY, text)


def texts(column: pd.Series) -> list[object]:
    """Cells, None where there is nothing."""
    return [None if pd.isna(value) else value for value in column]


def film(path: str, uid: str | None = None, logit: float = 0.0, **known: Any) -> dict[str, Any]:
    """A row of a shard; identities are given in clear, and hashed here."""
    row: dict[str, Any] = {"file": hashed(path), "file_name": hashed(path.rpartition("/")[2]), "status": "scored"}
    row |= {"instance": uid or path, "patient": f"p {path}", "study": f"s {path}"} | known
    for name in ("instance", "patient", "patient_alike", "study", "institution", "station", "accession"):
        row[name] = hashed(row[name]) if row.get(name) else None
    if row["status"] == "scored":
        values = ([logit, 1.0], [0.0, logit], [0.0, logit + 1])
        row |= dict(zip(model_columns(0), values, strict=True))
    return row


def refused(path: str, status: str = "failed", reason: str = "truncated") -> dict[str, Any]:
    row = film(path, status=status, reason=reason, message="a sentence")
    return row | dict.fromkeys(("instance", "patient", "study"))


@dataclass(frozen=True)
class Made:
    """Shards in a store, surveyed, ready to be merged."""

    store: ShardStore
    shards: list[str]
    surveyed: Survey
    labels: Labels | None

    def merge(self, info: DatasetInfo = INFO, source: str = "institution", also: tuple[str, ...] = ()) -> Merge:
        checkpoint = SimpleNamespace(info=info, calibration=Calibration(2.0, 0.6))
        predictor: Any = SimpleNamespace(info=info, checkpoint=checkpoint)
        subject = Subject(Path("run"), predictor, None)
        job = FolderJob(LocalFolder(Path()), (), KEY, perturbations=("mirrored",))
        return Merge(job, self.store, self.shards, self.surveyed, [subject], self.labels, source, also)

    def predictions(self, place: Path, **options: Any) -> pd.DataFrame:
        self.merge(**options).write_predictions(place / "predictions.parquet")
        return pd.read_parquet(place / "predictions.parquet")

    def files(self, place: Path) -> pd.DataFrame:
        self.merge().write_files(place / "files.parquet")
        return pd.read_parquet(place / "files.parquet")


def make(place: Path, shards: list[list[dict[str, Any]]], labels: str | None = None, **options: Any) -> Made:
    store = ShardStore(str(place / "shards"))
    for number, rows in enumerate(shards):
        entries = [Entry(f"{number} {i}", 1, "") for i in range(len(rows))]
        store.write(Shard(str(number), entries), pa.Table.from_pylist(rows, SCHEMA))
    known = None
    if labels is not None:
        (place / "labels.csv").write_text(labels)
        known = read_labels(place / "labels.csv", KEY, [INFO])
    names = [str(number) for number in range(len(shards))]
    return Made(store, names, survey(store, names, known, **options), known)


def test_a_training_patient_whose_number_a_spreadsheet_shortened_is_known(tmp_path: Path) -> None:
    rows = [film("a", patient="0012", patient_alike="12"), film("b", patient="12", patient_alike="12"), film("c")]
    made = make(tmp_path, [rows], trained={hashed("12")})
    assert made.surveyed.files["audited"].tolist() == [False, False, True] and made.surveyed.trained == 2


def test_films_of_two_patients_with_the_same_pixels_are_counted(tmp_path: Path) -> None:
    known = [
        film(name, pixels=seen, patient=patient) for name, seen, patient in zip("abcde", "11122", "xyxzz", strict=True)
    ]
    made = make(tmp_path, [known[:2], [*known[2:], film("f"), film("g")]])
    assert made.surveyed.copied == 1, "of another patient alone, and unknown pixels are nobody's"


def test_the_first_of_two_copies_is_kept_whichever_shards_they_are_in(tmp_path: Path) -> None:
    made = make(
        tmp_path,
        [
            [refused("cut"), film("a", "1", bits=12), film("b", "1", bits=12), film("c", "2", bits=10)],
            [film("d", "2", bits=10), film("e", "3"), film("f") | {"instance": None}, film("g") | {"instance": None}],
            [refused("h") | {"instance": hashed("4")}, film("i", "4")],
        ],
    )
    files = made.files(tmp_path)
    assert files["status"].tolist() == [
        *("failed", "scored", "skipped", "scored", "skipped", "scored", "scored", "scored", "failed", "scored")
    ]
    assert (files["reason"] == DUPLICATE).to_numpy().nonzero()[0].tolist() == [2, 4]
    assert files.loc[2, "message"] == "another file of the folder holds the same SOP instance"
    assert made.surveyed.counts["files"].sum() == len(files) == 10
    assert made.surveyed.facts["bits"] == {"not recorded": 4, "12": 1, "10": 1}, "copies are counted once"
    predictions = made.predictions(tmp_path)
    assert predictions["row"].tolist() == [1, 3, 5, 6, 7, 9]
    assert predictions["file"].tolist() == files["file"][predictions["row"]].tolist()


def test_tables_keep_the_types_of_their_schema_whatever_is_missing_where(tmp_path: Path) -> None:
    """Integers with gaps are floats in pandas, and a shard may know nothing at all of a column."""
    rows = [[film("a", bits=12, signed=True)], [refused("x"), film("b", bits=10)], [refused("y")]]
    for order in (rows, rows[::-1]):
        made = make(tmp_path, order)
        made.merge().write_files(tmp_path / "files.parquet")
        schema = pq.read_schema(tmp_path / "files.parquet")
        assert [(f.name, f.type) for f in schema] == [
            ("row", pa.int64()),
            *((f.name, f.type) for f in FILE_SCHEMA if f.name not in ("file_name", "accession")),
        ]
        predictions = made.predictions(tmp_path, source="bits")
        assert sorted(predictions["source"]) == ["10", "12"]
    assert not {"file_name", "accession"} & set(schema.names)


def test_institutions_are_named_by_their_number_of_scored_films(tmp_path: Path) -> None:
    few, many = {"institution": "Few Hospital"}, {"institution": "Many Hospital"}
    rows = [film("a", **few), film("b", **many), film("c", **many), film("d", "c", **few), film("e", "c", **few)]
    made = make(tmp_path, [rows[:2], [*rows[2:], film("f"), refused("g")]])
    table = made.predictions(tmp_path)
    assert table["source"].tolist()[:3] == ["institution B", "institution A", "institution A"]
    assert pd.isna(table["source"].iloc[3])
    for i in range(60):
        rows.append(film(f"h{i}", institution=f"only {i}"))
    letters = set(make(tmp_path, [rows]).predictions(tmp_path)["source"])
    assert {"institution Z", "institution AA", "institution BJ"} <= letters and len(letters) == 62


def test_films_without_a_patient_are_grouped_by_study_or_stand_alone(tmp_path: Path) -> None:
    rows = [film("a"), film("b") | {"patient": None}, film("c") | {"patient": None, "study": None}]
    made = make(tmp_path, [rows])
    assert made.predictions(tmp_path)["patient"].tolist() == [hashed("p a"), hashed("s b"), hashed("c")]
    assert made.surveyed.without_patient == 2


def test_labels_and_what_goes_with_nothing_is_counted(tmp_path: Path) -> None:
    shards = [[film("n/1"), film("s/1"), film("n/2")], [refused("n/3"), film("n/4")]]
    text = "file,label,ward\nn/2,covid,=1+1\nn/2,covid,\nn/3,covid,\n4,other,east\n1,covid,\nnowhere,covid,\n"
    made = make(tmp_path, shards, text)
    assert made.surveyed.unmatched == {"no file": 1, "no scored file": 1, "several files": 1}
    assert made.surveyed.labelled and made.surveyed.files["label"].tolist() == [-1, -1, 0, 2, 3]
    table = made.predictions(tmp_path, source="ward", also=("ward", "view"))
    assert texts(table["target"]) == [None, None, "covid", "not covid"]
    assert texts(table["source"]) == [None, None, "=1+1", "east"]
    assert "'=1+1" in (tmp_path / "predictions.csv").read_text()
    audited = made.merge(source="ward").audited(0)
    assert audited.predictions["target"].tolist() == ["covid", "not covid"]
    assert audited.features.shape == (2, 2) and {n: len(v) for n, v in audited.perturbed.items()} == {"mirrored": 2}


def test_scores_are_those_of_the_checkpoints_calibration(tmp_path: Path) -> None:
    made = make(tmp_path, [[film("a", logit=2.0), film("b", logit=0.5)]], "file,label\na,covid\nb,normal\n")
    table = made.predictions(tmp_path)
    assert table["score"].tolist() == pytest.approx([1 / (1 + np.exp(-1)), 1 / (1 + np.exp(-0.25))])
    assert table["logit"].tolist() == [2.0, 0.5]
    assert table["prediction"].tolist() == ["covid", "not covid"], "threshold 0.6"
    assert made.merge().audited(0).perturbed["mirrored"].tolist() == pytest.approx(
        [1 / (1 + np.exp(-1.5)), 1 / (1 + np.exp(-0.75))]
    )


def test_a_sample_of_films_has_perturbed_scores_and_the_others_have_none(tmp_path: Path) -> None:
    made = make(
        tmp_path, [[film("a", logit=2.0), refused("b"), film("c", logit=0.5)]], "file,label\na,covid\nc,normal\n"
    )
    merge = made.merge()
    files = pd.DataFrame({"file": [hashed("nowhere"), *made.surveyed.files["file"].iloc[[2, 0]]], "source": "a"})
    (found,) = sampled_scores(merge.job, made.store, made.shards, merge.subjects, files)
    assert np.isnan(found["mirrored"][0])
    assert found["mirrored"][1:].tolist() == merge.audited(0).perturbed["mirrored"][::-1].tolist()
    (none,) = sampled_scores(merge.job, made.store, [], merge.subjects, files)
    assert np.isnan(none["mirrored"]).all()


def test_more_than_two_classes_have_a_score_each(tmp_path: Path) -> None:
    rows = [film("a"), film("b")]
    for row, logits in zip(rows, ([0.0, 1.0, 2.0], [3.0, 0.0, 0.0]), strict=True):
        row[model_columns(0)[1]] = logits
    made = make(tmp_path, [rows], "file,label\na,covid\nb,other\n")
    table = made.predictions(tmp_path, info=THREE)
    parts = table[["score_normal", "score_pneumonia", "score_covid"]]
    assert parts.sum(axis=1).tolist() == pytest.approx([1, 1]) and (table["score"] == table["score_covid"]).all()
    assert table["prediction"].tolist() == ["covid", "normal"]
    assert texts(table["target"]) == ["covid", None]


def test_films_of_trained_patients_are_scored_and_not_audited(tmp_path: Path) -> None:
    rows = [film("a", patient="p"), film("b", patient="q")]
    made = make(tmp_path, [rows], trained={hashed("p")})
    assert made.surveyed.trained == 1 and made.surveyed.files["audited"].tolist() == [False, True]
    assert len(made.predictions(tmp_path)) == 2
    assert made.merge().audited(0).predictions["row"].tolist() == [1]
    none = make(tmp_path, [rows], trained={hashed("p"), hashed("q")})
    assert none.merge().audited(0).predictions.empty


def test_an_audit_of_many_films_is_made_of_whole_patients_drawn_the_same_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [film(f"f{i}", patient=f"p{i // 4}") for i in range(400)]
    monkeypatch.setattr("training.folder.merge.AUDITED", 200)
    drawn = make(tmp_path, [rows[:100], rows[100:]]).surveyed.files
    assert 120 <= drawn["audited"].sum() <= 280
    assert (drawn.groupby("patient")["audited"].nunique() == 1).all()
    again = make(tmp_path, [rows[::-1]]).surveyed.files
    assert set(again["file"][again["audited"]]) == set(drawn["file"][drawn["audited"]])
    monkeypatch.setattr("training.folder.merge.AUDITED", 400)
    assert make(tmp_path, [rows]).surveyed.files["audited"].all()


def test_a_folder_of_nothing_gives_empty_tables(tmp_path: Path) -> None:
    made = make(tmp_path, [])
    assert len(made.files(tmp_path)) == len(made.predictions(tmp_path)) == 0
    assert made.surveyed.counts.empty and not made.surveyed.labelled
    only = make(tmp_path, [[refused("a")], [refused("b", "skipped", "not DICOM")]])
    assert only.files(tmp_path)["reason"].tolist() == ["truncated", "not DICOM"]
    assert only.predictions(tmp_path).empty


def test_sources_are_facts_institutions_or_columns_of_the_labels(tmp_path: Path) -> None:
    assert set(source_names(None)) == {"institution", "station", "view", *FACTS} - {"view_position"}
    made = make(tmp_path, [], "file,label,ward,view,patient,target,score_covid\na,covid,1,2,3,4,5\n")
    assert set(source_names(made.labels)) - set(source_names(None)) == {"ward"}, "no column of the tables is replaced"


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\r=1"])
def test_no_spreadsheet_computes_a_text(text: str) -> None:
    table = pd.DataFrame({"text": [text, "plain", None, "a=b"], "number": [-1.5, 2, np.nan, 0]})
    safe = csv_safe(table)
    assert texts(safe["text"]) == ["'" + text, "plain", None, "a=b"]
    assert safe["number"].equals(table["number"])


def test_a_table_of_several_row_groups_is_one_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.folder.merge.ROWS", 3)
    shards = [[film(f"{i}{j}", view_position=None if i < 3 else "PA") for j in range(2)] for i in range(5)]
    made = make(tmp_path, shards)
    table = made.predictions(tmp_path)
    assert pq.ParquetFile(tmp_path / "predictions.parquet").num_row_groups == 3
    assert table["row"].tolist() == list(range(10)) and table["view"].notna().tolist() == [False] * 6 + [True] * 4
    text = pd.read_csv(tmp_path / "predictions.csv")
    assert text["file"].tolist() == table["file"].tolist() and np.allclose(text["score"], table["score"])


def test_films_with_two_labels_by_different_columns_are_counted(tmp_path: Path) -> None:
    """The narrower column counts; that it had to is told."""
    rows = [film("a", "1"), film("b", "2"), film("c", "3")]
    text = "sop_instance_uid,file,label\n1,,covid\n,a,normal\n2,,covid\n,b,covid\n"
    made = make(tmp_path, [rows], text)
    assert made.surveyed.contradicted == 1
    assert texts(made.predictions(tmp_path)["target"]) == ["covid", "covid", None]


def test_institutions_of_a_training_keep_their_name_and_are_no_new_sources(tmp_path: Path) -> None:
    rows = [
        film(name, institution=place) for name, place in zip("abcd", ("east", "east", "west", "north"), strict=True)
    ]
    own = f"institution {hashed('west')[:6]}"
    made = make(tmp_path, [rows], sources=[own, "institution of a table"])
    merge = replace(made.merge(), trained_on=(frozenset([own]),))
    merge.write_predictions(tmp_path / "predictions.parquet")
    predictions = pd.read_parquet(tmp_path / "predictions.parquet")
    assert predictions["source"].tolist() == ["institution A", "institution A", own, "institution B"]
    assert predictions["split"].tolist() == ["external", "external", "test", "external"]
