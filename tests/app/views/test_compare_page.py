"""Compare on a film: scores of the batch evaluation, bad uploads as sentences, nothing shown that identifies."""

import io
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from datasets.phantom import film as phantom
from datasets.phantom.dicom_write import Exam, Scanner, dicom_film
from training.evaluate.__main__ import main as evaluate
from training.run.checkpoint import load_checkpoint, save_checkpoint

pytestmark = pytest.mark.app

MAIN = Path(__file__).parents[3] / "app" / "main.py"
SCANNER = Scanner("S1", "Lilliput Imaging", "Panel", "CR", "MONOCHROME1", 12, False, "window", "explicit")
MARKERS = ("MARKERNAME^JANE", "MARKERID", "MARKERHOSPITAL", "MARKERACCESSION", "<b>MARKERHTML</b>")


def dicom(**tags: str) -> bytes:
    """A film whose tags name a patient."""
    film = phantom.film(0, 0, "covid", "north", 96).pixels
    exam = Exam(MARKERS[1], MARKERS[0], "F", 50, "PA", MARKERS[2], MARKERS[3], "1", "1")
    dataset = dicom_film(film, SCANNER, exam)
    for name, value in tags.items():
        setattr(dataset, name, value)
    content = io.BytesIO()
    dataset.save_as(content, enforce_file_format=True)
    return content.getvalue()


@pytest.fixture
def app(runs: Path, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.setenv("END_CXR_RUNS", str(runs))
    monkeypatch.setattr("sys.argv", ["app/main.py"])
    return AppTest.from_file(MAIN, default_timeout=90)


def shown(app: AppTest) -> str:
    """Everything on the page, as text, but for the browser's own list of uploads."""
    kinds = ("title", "subheader", "markdown", "caption", "info", "warning", "error", "code")
    texts = [str(element.value) for kind in kinds for element in app.get(kind)]
    texts += [str(element.proto) for kind in ("image", "vega_lite_chart") for element in app.get(kind)]
    return "\n".join([*texts, *(frame.value.to_string() for frame in app.dataframe)])


def table_of(app: AppTest) -> pd.DataFrame:
    return next(frame.value for frame in app.dataframe if "score" in frame.value)


def test_scores_are_those_of_the_batch_evaluation(app: AppTest, runs: Path, tmp_path: Path) -> None:
    content = dicom()
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "a.dcm").write_bytes(content)
    names = ["phantom-erm-test_resnet-s0", "phantom-end-test_resnet-s0"]
    arguments = [
        *(str(runs / name) for name in names),
        "--dicom-dir",
        str(tmp_path / "films"),
        "--output",
        str(tmp_path / "out"),
    ]
    evaluate([*arguments, "--resamples", "100", "--permutations", "100"])
    expected = pd.read_parquet(tmp_path / "out" / "predictions.parquet").set_index("run")["score"]

    app.run()
    app.file_uploader(key="uploads").upload("a.dcm", content).run()
    assert not app.exception
    table = table_of(app).set_index("run")
    assert list(table.index) == names
    assert np.abs(table["score"] - expected.loc[names]).max() < 1e-5
    text = shown(app)
    assert "Not a medical device" in text and "SYNTHETIC" in text
    assert not [marker for marker in MARKERS if marker in text]


def test_window_changes_no_score(app: AppTest) -> None:
    app.run()
    app.file_uploader(key="uploads").upload("a.dcm", dicom()).run()
    before = table_of(app)["score"].tolist()
    app.slider(key="window").set_value((0.4, 0.5)).run()
    assert not app.exception and table_of(app)["score"].tolist() == before


@pytest.mark.parametrize("part", ["Parts blanked", "Nearest training films", "What the reader did"])
def test_parts(app: AppTest, part: str) -> None:
    app.run()
    app.file_uploader(key="uploads").upload("a.dcm", dicom()).run()
    app.segmented_control(key="part").set_value(part).run()
    assert not app.exception and not app.error
    text = shown(app)
    assert {
        "Parts blanked": "two ellipses",
        "Nearest training films": "its training films",
        "What the reader did": "as stored",
    }[part] in text
    assert not [marker for marker in MARKERS if marker in text]


def bomb() -> bytes:
    content = io.BytesIO()
    Image.fromarray(np.zeros((1, 1), np.uint8)).save(content, "PNG")
    png = bytearray(content.getvalue())
    png[16:24] = (60_000).to_bytes(4, "big") * 2  # width and height of the header; its checksum is wrong too
    return bytes(png)


def archive() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        file.writestr("a.dcm", "no film")
    return content.getvalue()


HOSTILE = {
    "empty.dcm": b"",
    "text.png": b"no picture at all",
    "picture.dcm": b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
    "bomb.png": bomb(),
    "archive.dcm": archive(),
    "cut.dcm": dicom()[:3000],
    "../../etc/passwd": b"root:x:0:0",
    "burned.dcm": dicom(BurnedInAnnotation="YES", ImageComments=MARKERS[4]),
    "lateral.dcm": dicom(ViewPosition="LL", PatientName=MARKERS[4]),
}


def test_hostile_uploads_are_a_sentence_each_and_a_good_one_beside_them_is_scored(app: AppTest) -> None:
    app.run()
    uploader = app.file_uploader(key="uploads")
    for name, content in {**HOSTILE, "good.dcm": dicom()}.items():
        uploader = uploader.upload(name, content)
    uploader.run()
    assert not app.exception
    assert len(app.error) == len(HOSTILE)
    assert all(error.value.startswith("Film ") and error.value.endswith(".") for error in app.error)
    assert len(table_of(app)) == 2
    text = shown(app)
    assert not [marker for marker in MARKERS if marker in text]
    assert "passwd" not in text and "alert(1)" not in text


def test_a_film_of_the_test_set(app: AppTest, runs: Path) -> None:
    app.run()
    app.segmented_control(key="film_from").set_value("A film of the test set").run()
    assert not app.exception and not app.warning[1:]
    predictions = pd.read_parquet(runs / "phantom-erm-test_resnet-s0" / "predictions.parquet")
    first = predictions[predictions["split"].isin(["test", "external"])].iloc[0]
    table = table_of(app).set_index("run")
    assert abs(table.loc["phantom-erm-test_resnet-s0", "score"] - first["score"]) < 1e-5


def test_no_run_yet_shows_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("END_CXR_RUNS", str(tmp_path))
    monkeypatch.setattr("sys.argv", ["app/main.py"])
    app = AppTest.from_file(MAIN, default_timeout=60).run()
    assert not app.exception
    assert app.code[0].value == "python -m training.train --dataset covid --paired"


def test_a_checkpoint_whose_weights_do_not_fit_is_a_sentence(app: AppTest, runs: Path, tmp_path: Path) -> None:
    broken = tmp_path / "runs" / "broken"
    broken.mkdir(parents=True)
    checkpoint = load_checkpoint(runs / "phantom-erm-test_resnet-s0")
    weights = {name: tensor for name, tensor in checkpoint.weights.items() if not name.startswith("head")}
    save_checkpoint(replace(checkpoint, weights=weights), broken / "model.safetensors")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("END_CXR_RUNS", str(tmp_path / "runs"))
        app.run()
        app.file_uploader(key="uploads").upload("a.dcm", dicom()).run()
    assert not app.exception
    assert ["the weights do not fit" in error.value for error in app.error] == [True]


def test_more_films_than_are_read_at_once(app: AppTest) -> None:
    app.run()
    uploader = app.file_uploader(key="uploads")
    for number in range(14):
        uploader = uploader.upload(f"{number}.dcm", dicom(InstanceNumber=str(number + 2)))
    uploader.run()
    assert not app.exception and not app.error
    assert len(next(frame.value for frame in app.dataframe if "film" in frame.value)) == 14
