"""The waiting requests of a model server."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from foreshock_simulator.serving.server import Job


class JobQueue:
    """Requests in order of arrival. Cancelled requests are skipped."""

    __slots__ = ("_jobs", "count")

    def __init__(self) -> None:
        self._jobs: deque[Job] = deque()
        self.count = 0
        """Waiting requests that are not cancelled."""

    def __iter__(self) -> Iterator[Job]:
        return (job for job in self._jobs if not job.over)

    def append(self, job: Job) -> None:
        """Add a request at the end."""
        self._jobs.append(job)
        self.count += 1

    def appendleft(self, job: Job) -> None:
        """Add a preempted request at the front."""
        self._jobs.appendleft(job)
        self.count += 1

    def discard_one(self) -> None:
        """Count the cancellation of a request in the queue."""
        self.count -= 1

    def head(self) -> Job | None:
        """The next request, or None."""
        jobs = self._jobs
        while jobs:
            if not jobs[0].over:
                return jobs[0]
            jobs.popleft()
        return None

    def popleft(self) -> None:
        """Remove the request that `head` returned."""
        self._jobs.popleft()
        self.count -= 1

    def clear(self) -> None:
        """Remove all requests."""
        self._jobs.clear()
        self.count = 0
