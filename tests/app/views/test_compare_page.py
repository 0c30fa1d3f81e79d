"""Compare on a film: scores of the batch evaluation, bad uploads as sentences, nothing shown that identifies."""

import base64
import io
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from app.numbers.film_answer import signed
from datasets.phantom import film as phantom
from datasets.phantom.dicom_write import Exam, Scanner, dicom_film
from training.evaluate.__main__ import main as evaluate
from training.run.checkpoint import load_checkpoint, save_checkpoint

pytestmark = pytest.mark.app

MAIN = Path(__file__).parents[3] / "app" / "main.py"
SCANNER = Scanner("S1", "Lilliput Imaging", "Panel", "CR", "MONOCHROME1", 12, False, "window", "explicit")
RUNS = ["erm · s0", "end · s0"]
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
    kinds = ("title", "header", "markdown", "caption", "info", "warning", "error", "code")
    texts = [str(element.value) for kind in kinds for element in app.get(kind)]
    texts += [str(element.proto) for kind in ("image", "vega_lite_chart") for element in app.get(kind)]
    return "\n".join([*texts, *(frame.value.to_string() for frame in [*app.dataframe, *app.table])]).replace("\\", "")


def scores_of(app: AppTest) -> pd.DataFrame:
    """The table of the part that has all decimals: what is missing down, runs across."""
    app.segmented_control(key="part").set_value("Parts blanked").run()
    assert not app.exception
    return next(frame.value for frame in app.dataframe if "nothing" in frame.value.index)


def png(pixels: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray((255 * pixels).round().astype(np.uint8)).save(content, "PNG")
    return content.getvalue()


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
    table = scores_of(app)
    assert list(table) == RUNS
    assert np.abs(table.loc["nothing"].to_numpy() - expected.loc[names].to_numpy()).max() < 1e-5
    text = shown(app)
    assert "Not a medical device" in text and "SYNTHETIC" in text
    assert not [marker for marker in MARKERS if marker in text]


def test_the_answer_is_on_top(app: AppTest) -> None:
    """The sentence and the table hold the change of the score, which nobody has to work out."""
    app.run()
    app.segmented_control(key="film_from").set_value("Example film").run()
    assert not app.exception
    answer = app.table[0].value
    assert list(answer) == RUNS
    precise = scores_of(app)
    moved = precise.loc["border and corners"] - precise.loc["nothing"]
    parts = precise.loc[["border", "corners", "border and corners"]] - precise.loc["nothing"]
    furthest = parts.abs().max()
    for run in answer:
        assert answer.loc["Without border and corners", run].strip("*") == signed(moved[run])
        assert sum("**" in answer.loc[row, run] for row in answer.index if row.startswith("Without")) == 1
        assert answer.loc["Score", run] == f"**{precise.loc['nothing', run]:.3f}**"
        assert answer.loc["Training films", run].startswith(("**unlike**", "like"))
    assert {"Nearest covid", "Nearest not covid"} <= set(answer.index)
    assert f"erm · s0 by up to {furthest[RUNS[0]]:.2f}, end · s0 by up to {furthest[RUNS[1]]:.2f}" in shown(app)


def test_the_visitors_threshold_decides_the_call_and_says_so(app: AppTest) -> None:
    app.session_state["visit_thresholds"] = {"phantom-erm-test_resnet-s0": 1.0, "phantom-end-test_resnet-s0": 0.0}
    app.run()
    app.segmented_control(key="film_from").set_value("Example film").run()
    calls = app.table[0].value.loc["Call"]
    assert list(calls) == ["not covid at 1.000, your threshold", "covid at 0.000, your threshold"]


FILM = phantom.film(0, 0, "covid", "north", 192).pixels
ODD = {
    "inverted": (1 - FILM, "inverted"),
    "turned": (np.rot90(FILM), "turned"),
    "noise": (np.random.default_rng(0).random((192, 192)), "noise"),
    "black": (FILM * (np.arange(192) < 60), "mostly black"),
    "white": (np.where(np.arange(192) < 60, FILM, 1), "mostly white"),
    "strip": (FILM[:60], "strip"),
    "as it is": (FILM, None),
}


@pytest.mark.parametrize("name", list(ODD))
def test_what_is_no_chest_film_is_said_before_the_score(app: AppTest, name: str) -> None:
    pixels, word = ODD[name]
    app.run()
    app.file_uploader(key="uploads").upload("a.png", png(np.ascontiguousarray(pixels))).run()
    assert not app.exception
    warnings = [warning.value for warning in app.warning if "Scores of such films mean nothing" in warning.value]
    assert (not warnings) if word is None else word in warnings[0]


def test_each_checkpoint_shows_its_own_input(app: AppTest) -> None:
    app.run()
    app.file_uploader(key="uploads").upload("a.dcm", dicom()).run()
    app.segmented_control(key="part").set_value("What the reader did").run()
    assert not app.exception
    images = {image.proto.imgs[0].caption: image.proto.imgs[0].url for image in app.get("image")}
    for run in RUNS:
        content = base64.b64decode(images[f"what {run} sees: 32 x 32, scaled"].partition(",")[2])
        assert Image.open(io.BytesIO(content)).size == (32, 32)


def test_uploads_stay_for_the_visit(app: AppTest) -> None:
    app.run()
    app.file_uploader(key="uploads").upload("a.dcm", dicom()).run()
    before = app.table[0].value
    app.switch_page("views/batch.py").run()
    app.switch_page("views/compare.py").run()
    assert not app.exception and app.table[0].value.equals(before)
    app.button(key="uploads_forget").click().run()
    assert not app.exception and not app.table


def test_window_changes_no_score(app: AppTest) -> None:
    app.run()
    app.file_uploader(key="uploads").upload("a.dcm", dicom()).run()
    before = app.table[0].value
    app.segmented_control(key="window").set_value("Lungs").run()
    assert not app.exception and app.table[0].value.equals(before)


@pytest.mark.parametrize("part", ["Parts blanked", "Nearest training films", "What the reader did"])
def test_parts(app: AppTest, part: str) -> None:
    app.run()
    app.file_uploader(key="uploads").upload("a.dcm", dicom()).run()
    app.segmented_control(key="part").set_value(part).run()
    assert not app.exception and not app.error
    text = shown(app)
    assert {
        "Parts blanked": "patient's left half",
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
    assert not app.error, "one table, no wall of boxes"
    films = next(frame.value for frame in app.dataframe if "status" in frame.value).set_index("file")
    assert len(films) == len(HOSTILE) + 1
    assert films.loc["good.dcm", "status"] == "scored" and films.loc["passwd", "status"] == "not scored"
    assert films.loc[films["status"] == "not scored", "before you read the score"].str.len().min() > 10
    assert (films["status"] == "scored").sum() == 1
    assert films.loc["good.dcm", RUNS].str.fullmatch(r"[01]\.\d{3} (not )?covid").all()
    assert (films.loc[films["status"] == "not scored", RUNS] == "").all(axis=None)
    assert list(films)[:2] == ["status", "before you read the score"], "what warns of a score stands before it"
    text = shown(app)
    assert not [marker for marker in MARKERS if marker in text]
    assert "etc/" not in text and "alert(1)" not in text


def test_a_film_of_the_test_set(app: AppTest, runs: Path) -> None:
    app.run()
    app.segmented_control(key="film_from").set_value("A film of the test set").run()
    assert not app.exception and not app.warning[1:]
    predictions = pd.read_parquet(runs / "phantom-erm-test_resnet-s0" / "predictions.parquet")
    first = predictions[predictions["split"].isin(["test", "external"])].iloc[0]
    assert app.query_params["film"] == f"{first['split']}-{first['row']}"
    assert abs(scores_of(app).loc["nothing", RUNS[0]] - first["score"]) < 1e-5


def test_a_link_opens_a_film_of_the_test_set(app: AppTest, runs: Path) -> None:
    predictions = pd.read_parquet(runs / "phantom-erm-test_resnet-s0" / "predictions.parquet")
    row = predictions[predictions["split"] == "test"].iloc[3]
    app.query_params["film"] = f"test-{row['row']}"
    app.run()
    assert not app.exception
    assert abs(scores_of(app).loc["nothing", RUNS[0]] - row["score"]) < 1e-5


def test_through_the_disagreements_and_back(app: AppTest, runs: Path) -> None:
    predictions = pd.read_parquet(runs / "phantom-erm-test_resnet-s0" / "predictions.parquet")
    films = predictions[predictions["split"] == "external"].iloc[:3]
    app.session_state["open_order"] = order = [f"external-{row}" for row in films["row"]]
    app.session_state["open_film"] = order[1]
    app.run()
    assert "Disagreement 2 of 3" in shown(app) and app.query_params["film"] == order[1]
    app.button(key="film_after").click().run()
    assert "Disagreement 3 of 3" in shown(app) and app.button(key="film_after").disabled
    app.button(key="film_before").click().run()
    app.button(key="film_before").click().run()
    assert not app.exception and app.query_params["film"] == order[0] and app.button(key="film_before").disabled
    assert abs(scores_of(app).loc["nothing", RUNS[0]] - films.iloc[0]["score"]) < 1e-5


def test_no_run_yet_shows_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("END_CXR_RUNS", str(tmp_path))
    monkeypatch.setattr("sys.argv", ["app/main.py"])
    app = AppTest.from_file(MAIN, default_timeout=60).run()
    assert not app.exception
    assert app.code[0].value == f"python -m training.train --dataset phantom --paired --output {tmp_path}"


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
    assert len(next(frame.value for frame in app.dataframe if "file" in frame.value)) == 14
