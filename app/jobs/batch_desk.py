"""The queue of batch jobs: one runs at a time on the server, the others wait, each is seen by its owner alone."""

import threading
import time
from collections import deque
from collections.abc import Callable

from app.jobs.batch_job import BatchJob, JobError

LONGEST_LINE = 5  # jobs that wait: they may hold films in memory
GRACE = 40.0  # seconds that a visitor may be disconnected; the session is forgotten after 30


class Presence:
    """Whether a visitor is there."""

    def __init__(self, connected: Callable[[], bool], grace: float = GRACE) -> None:
        self._connected, self._grace = connected, grace
        self._missed_since: float | None = None

    def __call__(self) -> bool:
        """Whether the visitor is connected, or was less than `grace` seconds ago."""
        if self._connected():
            self._missed_since = None
            return True
        now = time.monotonic()
        self._missed_since = self._missed_since or now
        return now - self._missed_since < self._grace


class BatchDesk:
    """Takes jobs, starts them one after the other, and returns a job to whoever has its token."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: dict[str, BatchJob] = {}
        self._line: deque[BatchJob] = deque()
        self._running: BatchJob | None = None

    def submit(self, token: str, job: BatchJob) -> None:
        """Put a job in line, or start it; raises JobError while the token's last job goes on, or for too long a line."""
        with self._lock:
            self._drop_abandoned()
            last = self._jobs.get(token)
            if last is not None and not last.ended:
                raise JobError("Your last job has not ended yet.")
            if len(self._line) >= LONGEST_LINE:
                raise JobError("Too many jobs are waiting already: try again in some minutes.")
            self._jobs[token] = job
            self._line.append(job)
            self._next()

    def job(self, token: str) -> BatchJob | None:
        """The job of a token."""
        with self._lock:
            self._drop_abandoned()
            return self._jobs.get(token)

    def before(self, job: BatchJob) -> int:
        """Number of jobs that end before this one starts."""
        with self._lock:
            return self._line.index(job) + (self._running is not None) if job in self._line else 0

    def cancel(self, job: BatchJob) -> None:
        """Stop a job: one that waits at once, one that runs after its shard."""
        job.cancel()
        with self._lock:
            waiting = job in self._line
            if waiting:
                self._line.remove(job)
        if waiting:
            job.run()  # ends at once, and gives up its films

    def again(self, token: str) -> None:
        """Put an ended job in line once more, for its files that can be tried again; JobError for too long a line."""
        with self._lock:
            job = self._jobs.get(token)
            if job is None or not job.ended or not job.may_pass:
                return
            if len(self._line) >= LONGEST_LINE:
                raise JobError("Too many jobs are waiting already: try again in some minutes.")
            job.again()
            self._line.append(job)
            self._next()

    def forget(self, token: str) -> None:
        """Cancel a job and drop its results."""
        with self._lock:
            job = self._jobs.pop(token, None)
        if job is not None:
            self.cancel(job)

    def _next(self) -> None:
        """Start the first in line if nothing runs; under the lock."""
        if self._running is None and self._line:
            self._running = self._line.popleft()
            threading.Thread(target=self._work, args=(self._running,), daemon=True).start()

    def _work(self, job: BatchJob) -> None:
        job.run()
        with self._lock:
            self._running = None
            self._drop_abandoned()
            self._next()

    def _drop_abandoned(self) -> None:
        """Drop the jobs of visitors that are gone; under the lock."""
        for token, job in list(self._jobs.items()):
            if not job.present():
                del self._jobs[token]
                job.cancel()
                if job in self._line:
                    self._line.remove(job)
