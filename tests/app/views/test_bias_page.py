"""The page Bias: an audit shown part by part, made from the page, stopped, failed, out of date, of small groups."""

import json
import os
import shutil
import sys
import time
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from app.drawing.audit_parts import PARTS
from app.jobs.audit_job import AuditDesk
from app.services import audits
from app.services.runs import RESEARCH_ONLY, SYNTHETIC
from tests.app_pages import NAMES, fine, open_page, texts
from training.evaluate.__main__ import main as evaluate
from training.run.index import audit_folder

pytestmark = pytest.mark.app


@pytest.fixture(scope="module")
def audited(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs with an audit of both in its default place."""
    root = tmp_path_factory.mktemp("audited") / "runs"
    shutil.copytree(runs, root, ignore=shutil.ignore_patterns("audit*"))
    few = ["--resamples", "100", "--permutations", "100", "--shortcut-films", "60"]
    evaluate([*(str(root / name) for name in NAMES), *few])
    return root


@pytest.fixture
def without(audited: Path, tmp_path: Path) -> Path:
    """The runs without an audit."""
    return Path(shutil.copytree(audited, tmp_path / "runs", ignore=shutil.ignore_patterns("audits")))


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch):
    """Opens the page on a folder of runs."""

    def opened(root: Path, desk: AuditDesk | None = None) -> AppTest:
        desk = desk or AuditDesk([sys.executable, "-c", "raise SystemExit(9)"])
        monkeypatch.setattr(audits, "audit_desk", lambda: desk)
        return open_page("bias", root, monkeypatch)

    return opened


def test_the_questions_are_asked_of_each_attribute(without: Path, start) -> None:
    """An audit by view has them in a table of its own, as report.json has the answers; another audit has no such table."""
    assert not [one for one in start(without).header if one.value == "By attribute"]
    few = ["--resamples", "100", "--permutations", "100", "--no-shortcuts"]
    evaluate([*(str(without / name) for name in NAMES), "--by", "view", *few])
    app = start(without)
    assert [one for one in app.header if one.value == "By attribute"]
    table = app.table[1].value
    assert list(table.columns) == ["erm", "end", "end minus erm"] and len(table) == 6
    asked = [question.replace("\\", "") for question in table.index]
    assert "Can the view be read from the features?" in asked[5] and "Does the score follow the source?" in asked[0]
    report = json.loads((audit_folder([without / name for name in NAMES]) / "report.json").read_text())
    for at, run in enumerate(("erm", "end")):
        answers = [answer["answer"] for found in report["runs"][at]["attributes"].values() for answer in found]
        assert [cell.split(" · ")[0] for cell in table[run]] == answers


def choose(app: AppTest, part: str) -> AppTest:
    return fine(app.segmented_control(key="audit_part").set_value(part).run())


def test_the_verdict_is_that_of_the_report(audited: Path, start) -> None:
    app = start(audited)
    found = json.loads((audit_folder([audited / name for name in NAMES]) / "report.json").read_text())
    text = texts(app)
    assert found["verdict"]["headline"] in text and all(sentence in text for sentence in found["verdict"]["others"])
    assert "Is end less dependent on the source than erm?" in text
    problems = app.table[0].value
    assert list(problems.columns) == ["erm", "end"]
    assert all(
        cell.split(" · ")[0] in ("found", "not found", "cannot conclude") for cell in problems.to_numpy().ravel()
    )
    table = app.table[1].value
    assert list(table.columns) == ["erm", "end", "end minus erm"]
    asked = {answer["question"] for answer in found["verdict"]["answers"] if answer["answer"] != "not asked"}
    assert len(table) == len(asked) and "Does it work at all?" in table.index[0]
    app = choose(app, "Evidence")
    assert all(check["evidence"] in texts(app) for check in found["runs"][0]["checks"])
    other = fine(app.segmented_control(key="evidence_of").set_value("end").run())
    assert all(check["evidence"] in texts(other) for check in found["runs"][1]["checks"])
    assert RESEARCH_ONLY in text and SYNTHETIC in text
    assert {button.label for button in app.get("download_button")} == {"Report as HTML", "Report as JSON"}


@pytest.mark.parametrize("part", list(PARTS))
def test_every_part_says_what_it_shows(part: str, audited: Path, start) -> None:
    app = choose(start(audited), part)
    assert str(audited.parent) not in texts(app), "no folder of the server"
    expected = {
        "All answers": "yes: shown at 95 %",
        "Evidence": "| question | answer | evidence |",
        "Groups": "95 % interval over patients",
        "ROC and reliability": "dotted diagonal",
        "Leakage": "Before and after",
        "Shortcuts": "Bars start at 0.5",
        "Films and labels": "north",
        "Paired differences": "minus **erm**",
    }
    assert expected[part] in texts(app)


def test_small_groups_cannot_be_concluded_from(audited: Path, start) -> None:
    app = choose(start(audited), "Groups")
    app = fine(app.selectbox(key="group_by").set_value("source x target").run())
    app = fine(app.selectbox(key="group_metric").set_value("sensitivity").run())
    table = app.dataframe[-1].value
    small = table[table["estimate"].isna()]
    assert len(small) and small["note"].str.contains("cannot conclude").all()
    assert "cannot conclude" in texts(app)
    app = fine(app.selectbox(key="group_metric").set_value("auroc").run())
    assert "nothing can be concluded" in texts(app) or "cannot conclude" in texts(app)


def test_an_audit_of_more_runs_serves_one_of_them(audited: Path, start) -> None:
    app = start(audited)
    app = fine(app.sidebar.multiselect[0].set_value([NAMES[1]]).run())
    assert list(app.table[0].value.columns) == [NAMES[1]]
    assert "hold more runs" in texts(app)
    assert "choose two runs or more" in texts(choose(app, "Paired differences"))


def test_an_audit_older_than_its_checkpoint_is_said(without: Path, audited: Path, start) -> None:
    shutil.copytree(audited / "audits", without / "audits")
    assert "Out of date" not in texts(start(without))
    os.utime(without / NAMES[0] / "model.safetensors")
    text = texts(start(without))
    assert "Out of date: erm · s0 was" in text


def test_a_broken_report_is_a_sentence_and_can_be_made_again(without: Path, start) -> None:
    place = audit_folder([without / name for name in NAMES])
    place.mkdir(parents=True)
    (place / "report.json").write_text("{")
    app = start(without)
    assert "can't be shown: it is broken" in texts(app) and app.button(key="start_audit")


def test_an_audit_is_made_from_the_page(without: Path, audited: Path, start, tmp_path: Path) -> None:
    go, made = tmp_path / "go", audit_folder([audited / name for name in NAMES])
    desk = AuditDesk(
        [sys.executable, "-c", "import sys, time, shutil, pathlib\n"
         f"while not pathlib.Path({str(go)!r}).exists(): time.sleep(0.02)\n"
         f"shutil.copytree({str(made)!r}, sys.argv[-1])"]
    )  # fmt: skip
    app = start(without, desk)
    text = texts(app)
    assert "No audit of" in text and "python -m training.evaluate" in text and "test and external films" in text
    app = fine(app.button(key="start_audit").click().run())
    assert "Auditing erm · s0 and end · s0" in texts(app) and not [b for b in app.button if b.key == "start_audit"]
    assert app.status[0].state == "running"
    app = fine(app.sidebar.multiselect[0].set_value([NAMES[0]]).run())
    assert app.button(key="start_audit").disabled, "one at a time"
    go.touch()
    for _ in range(200):
        job = desk.job()
        if job is not None and job.state != "running":
            break
        time.sleep(0.05)
    app = fine(app.sidebar.multiselect[0].set_value(list(NAMES)).run())
    assert job is not None and job.state == "done", job
    assert "The audit is finished" in texts(app) and "What was found" in texts(app)


def test_an_audit_is_stopped_from_the_page(without: Path, start) -> None:
    desk = AuditDesk([sys.executable, "-c", "import time; time.sleep(60)"])
    app = fine(start(without, desk).button(key="start_audit").click().run())
    app = fine(app.button(key="stop_audit").click().run())
    assert "was stopped" in texts(app) and not app.button(key="start_audit").disabled
    job = desk.job()
    assert job is not None and job.state == "stopped"


def test_an_audit_of_another_visitor_is_seen_and_not_stopped(without: Path, start) -> None:
    desk = AuditDesk([sys.executable, "-c", "import time; time.sleep(60)"])
    assert desk.start(["x · s0"], [], without / "audit", "another visitor")
    try:
        app = start(without, desk)
        assert "Auditing x · s0" in texts(app) and "who alone can stop it" in texts(app)
        assert not [button for button in app.button if button.key == "stop_audit"]
        assert app.button(key="start_audit").disabled
    finally:
        desk.stop()


def test_an_audit_that_fails_says_why(without: Path, start) -> None:
    desk = AuditDesk(
        [sys.executable, "-c", "import sys; print('error: no film is left', file=sys.stderr); sys.exit(2)"]
    )
    app = fine(start(without, desk).button(key="start_audit").click().run())
    for _ in range(200):
        if "The audit failed: no film is left." in texts(app):
            break
        time.sleep(0.05)
        app = fine(app.run())
    assert "The audit failed: no film is left." in texts(app)


def test_without_runs_it_says_what_to_do(tmp_path: Path, start) -> None:
    assert "No run yet" in texts(start(tmp_path))
