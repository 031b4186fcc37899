"""The requests that wait at a model server."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from foreshock_simulator.serving.server import Job


class Queue:
    """Requests in the order in which they came. Those who want no answer any more are passed over."""

    __slots__ = ("_jobs", "count")

    def __init__(self) -> None:
        self._jobs: deque[Job] = deque()
        self.count = 0
        """How many still want an answer."""

    def __iter__(self) -> Iterator[Job]:
        return (job for job in self._jobs if not job.over)

    def append(self, job: Job) -> None:
        """One more comes."""
        self._jobs.append(job)
        self.count += 1

    def appendleft(self, job: Job) -> None:
        """One comes back, and is next."""
        self._jobs.appendleft(job)
        self.count += 1

    def given_up(self) -> None:
        """One of them is `over`, and leaves."""
        self.count -= 1

    def head(self) -> Job | None:
        """Who is next."""
        jobs = self._jobs
        while jobs:
            if not jobs[0].over:
                return jobs[0]
            jobs.popleft()
        return None

    def popleft(self) -> None:
        """Let go of the one that `head` gave."""
        self._jobs.popleft()
        self.count -= 1

    def clear(self) -> None:
        """Let go of all."""
        self._jobs.clear()
        self.count = 0
