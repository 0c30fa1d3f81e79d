"""An audit as a process of its own: one at a time, watched and stopped from any page of the server."""

import atexit
import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from subprocess import DEVNULL
from typing import IO, NamedTuple

from training.console.stages import last_stage

RUNNING, DONE, FAILED, STOPPED = "running", "done", "failed", "stopped"
GRACE = 5.0  # seconds between SIGTERM and SIGKILL


class AuditJob(NamedTuple):
    """An audit that was started: `running`, `done`, `failed` (for a reason without paths) or `stopped`.

    Attributes:
        owner: who started it and may stop it.
        stage: what it does, how far it is and the time left, while it is running.
    """

    names: tuple[str, ...]
    output: Path
    owner: str = ""
    state: str = RUNNING
    seconds: float = 0.0
    reason: str = ""
    stage: str = ""


def command(runs: Sequence[Path]) -> str:
    """What a user types to make the same audit."""
    return shlex.join(["python", "-m", "training.evaluate", *map(str, runs)])


class AuditDesk:
    """Runs `training.evaluate`, one audit at a time; its methods may be called from any thread."""

    def __init__(self, program: Sequence[str] = (sys.executable, "-m", "training.evaluate")) -> None:
        """A desk without a job; `program` is run with the run folders as arguments."""
        self._program, self._lock = program, threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._stderr: IO[bytes] | None = None
        self._job: AuditJob | None = None
        self._began = 0.0

    def start(self, names: Sequence[str], runs: Sequence[Path], output: Path, owner: str = "") -> bool:
        """Start an audit; False, and nothing done, where one is running."""
        with self._lock:
            self._look()
            if self._process is not None:
                return False
            self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the process has ended
            self._began = time.monotonic()
            self._job = AuditJob(tuple(names), output, owner)
            arguments = [*self._program, *(str(run.resolve()) for run in runs), "--output", str(output)]
            try:
                self._process = subprocess.Popen(  # in a session of its own, so that its own processes end with it
                    arguments, stdin=DEVNULL, stdout=DEVNULL, stderr=self._stderr, start_new_session=True
                )
                atexit.register(self.stop)
            except OSError as error:
                self._end(FAILED, f"it could not be started: {error.strerror}")
            return True

    def job(self) -> AuditJob | None:
        """The audit that is running, or the last one."""
        with self._lock:
            return self._look()

    def stop(self, owner: str | None = None) -> None:
        """End the audit that is running, nothing of it is kept; with an owner, only where it is theirs."""
        with self._lock:
            self._look()
            if self._process is None or self._job is None or owner not in (None, self._job.owner):
                return
            _signal(self._process, signal.SIGTERM)
            try:
                self._process.wait(GRACE)
            except subprocess.TimeoutExpired:
                _signal(self._process, getattr(signal, "SIGKILL", signal.SIGTERM))
                self._process.wait()
            self._end(STOPPED)

    def _look(self) -> AuditJob | None:
        if self._process is not None and self._job is not None:
            code = self._process.poll()
            if code is None:
                self._job = self._job._replace(seconds=time.monotonic() - self._began, stage=last_stage(self._said()))
            elif code == 0:
                self._end(DONE)
            else:
                self._end(FAILED, self._why(code))
        return self._job

    def _why(self, code: int) -> str:
        for line in reversed(self._said().splitlines()):
            if line.startswith("error: "):
                return without_paths(line.removeprefix("error: "))
        if code < 0:
            return "the system killed it, perhaps for lack of memory"
        return "it crashed; the same command in a terminal shows where"

    def _said(self) -> str:
        assert self._stderr is not None
        size = os.fstat(self._stderr.fileno()).st_size  # the process writes at the place that both share: none may seek
        return os.pread(self._stderr.fileno(), size, 0).decode(errors="replace")

    def _end(self, state: str, reason: str = "") -> None:
        assert self._job is not None and self._stderr is not None
        self._job = self._job._replace(state=state, seconds=time.monotonic() - self._began, reason=reason, stage="")
        self._stderr.close()
        self._process = self._stderr = None
        atexit.unregister(self.stop)


def share_done(stage: str) -> float | None:
    """How much of a stage is done, in [0, 1]; None where it doesn't say."""
    found = re.search(r" ([\d,]+) of ([\d,]+)", stage)
    done, total = (int(number.replace(",", "")) for number in found.groups()) if found else (0, 0)
    return min(done / total, 1.0) if total else None


def without_paths(text: str) -> str:
    """A sentence in which only the last part of each path is left: visitors are shown no folder of the server."""
    return re.sub(r"(?<![\w.])(?:[A-Za-z]:)?(?:[\\/][^\s\\/:,;'\"]+)*[\\/](?=[^\s\\/:,;'\"])", "", text)


def _signal(process: "subprocess.Popen[bytes]", number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, number)
        else:
            process.terminate()
