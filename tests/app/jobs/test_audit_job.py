"""Audits as processes: one at a time, how they end, and that they can be stopped."""

import sys
import time
from pathlib import Path

import pytest

from app.jobs.audit_job import AuditDesk, AuditJob, command, share_done, without_paths

pytestmark = pytest.mark.process


def desk(code: str) -> AuditDesk:
    """A desk whose program is this code."""
    return AuditDesk([sys.executable, "-c", code])


def ended(one: AuditDesk) -> AuditJob:
    """The job once it doesn't run any more."""
    for _ in range(300):
        job = one.job()
        if job is not None and job.state != "running":
            return job
        time.sleep(0.05)
    raise AssertionError("it never ended")


def test_runs_and_output_are_what_the_program_is_given(tmp_path: Path) -> None:
    one = desk("import sys, pathlib; pathlib.Path(sys.argv[-1]).write_text(' '.join(sys.argv[1:-1]))")
    assert one.job() is None
    assert one.start(["a"], [tmp_path / "a"], tmp_path / "out")
    job = ended(one)
    assert (job.state, job.names, job.output) == ("done", ("a",), tmp_path / "out")
    assert (tmp_path / "out").read_text() == f"{tmp_path.resolve() / 'a'} --output"


def test_one_at_a_time_and_stopped_with_its_own_processes(tmp_path: Path) -> None:
    beat = tmp_path / "beat"
    child = f"import time, pathlib\nwhile True: pathlib.Path({str(beat)!r}).touch(); time.sleep(0.02)"
    one = desk(f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])")
    assert one.start(["a"], [], tmp_path)
    assert not one.start(["b"], [], tmp_path), "a second one waits"
    while not beat.exists():
        time.sleep(0.02)
    one.stop()
    job = one.job()
    assert job is not None and (job.state, job.names) == ("stopped", ("a",))
    beat.unlink()
    time.sleep(0.2)
    assert not beat.exists(), "its child lives on"
    assert one.start(["b"], [], tmp_path)
    one.stop()


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import sys; print('error: the films of a can\\'t be loaded: /data/Doe is gone', file=sys.stderr); sys.exit(2)",
         "the films of a can't be loaded: Doe is gone"),
        ("raise RuntimeError('/secret/place')", "in a terminal"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "lack of memory"),
    ],
)  # fmt: skip
def test_why_it_failed_is_a_sentence(code: str, reason: str, tmp_path: Path) -> None:
    one = desk(code)
    one.start(["a"], [], tmp_path)
    job = ended(one)
    assert job.state == "failed" and reason in job.reason and "/" not in job.reason


def test_what_it_does_and_the_time_left_are_known_while_it_runs(tmp_path: Path) -> None:
    code = "import sys, time; print('progress: scoring films 64 of 128, about 9 s left', file=sys.stderr, flush=True)"
    one = desk(f"{code}; time.sleep(60)")
    one.start(["a"], [], tmp_path)
    for _ in range(300):
        job = one.job()
        assert job is not None and job.state == "running"
        if job.stage:
            break
        time.sleep(0.05)
    assert job.stage == "scoring films 64 of 128, about 9 s left"
    one.stop()
    stopped = one.job()
    assert stopped is not None and stopped.stage == ""


def test_only_who_started_it_stops_it(tmp_path: Path) -> None:
    one = desk("import time; time.sleep(60)")
    one.start(["a"], [], tmp_path, "who started it")
    one.stop("another")
    one.stop("")
    job = one.job()
    assert job is not None and job.state == "running" and job.owner == "who started it"
    one.stop("who started it")
    assert ended(one).state == "stopped"


def test_how_much_of_a_stage_is_done() -> None:
    assert share_done("scoring films 64 of 128, about 9 s left") == 0.5
    assert share_done("scoring films 1,024 of 1,024") == 1
    assert share_done("starting") is None and share_done("") is None and share_done("films 0 of 0") is None


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    one = AuditDesk([str(tmp_path / "nothing")])
    one.start(["a"], [], tmp_path)
    assert ended(one).state == "failed"


def test_the_command_can_be_pasted() -> None:
    assert command([Path("my runs/a"), Path("b")]) == "python -m training.evaluate 'my runs/a' b"


def test_sentences_keep_no_folders() -> None:
    assert without_paths("/home/doe/runs/a: no such file") == "a: no such file"
    assert without_paths("C:\\doe\\runs\\a is gone") == "a is gone"
    assert without_paths("AUROC of test and/or external: 3/4") == "AUROC of test and/or external: 3/4"
