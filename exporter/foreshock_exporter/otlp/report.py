"""What became of pushes over OTLP: counted, and each trouble said once."""

from __future__ import annotations

import threading
from typing import Literal, NamedTuple

from foreshock_exporter.common.log import ProblemLog
from foreshock_exporter.model.family import Families, Sample
from foreshock_exporter.otlp.own_metrics import OTLP_FAILED, OTLP_PUSHED, OTLP_SPANS_DROPPED

Signal = Literal["metrics", "traces"]
SIGNALS: tuple[Signal, ...] = ("metrics", "traces")


class PushError(NamedTuple):
    """Why a push failed. `status` is the HTTP status; None where nobody answered."""

    message: str
    status: int | None = None

    @property
    def passing(self) -> bool:
        """Whether the same push may succeed later (OTLP/HTTP: no answer, 429, and what a server says of itself)."""
        return self.status is None or self.status == 429 or self.status >= 500


class PushReport:
    """Counts and tells of one endpoint. Safe from several threads.

    That nobody answers is said once for all signals, that a signal is refused once for that signal; and so is that it
    is over. What happens meanwhile is only counted.
    """

    def __init__(self, endpoint: str, problems: ProblemLog | None = None) -> None:
        self._endpoint = f"OTLP endpoint {endpoint}"
        self._problems = problems or ProblemLog()
        self._lock = threading.Lock()
        self._pushed: dict[Signal, int] = dict.fromkeys(SIGNALS, 0)
        self._failed: dict[Signal, int] = dict.fromkeys(SIGNALS, 0)
        self._unreachable = False
        self._failing: set[Signal] = set()

    def pushed(self, signal: Signal, items: int) -> None:
        """So many data points or spans were taken."""
        with self._lock:
            self._pushed[signal] += items
            self._failing.discard(signal)
            self._responded()
            self._problems.resolve(self._refusal(signal), f"{self._endpoint}: takes {signal} again")

    def failed(self, signal: Signal, lost: int, error: PushError) -> None:
        """A push failed, and so many data points or spans are lost."""
        with self._lock:
            self._failed[signal] += lost
            self._failing.add(signal)
            if error.status is None:
                self._unreachable = True
                self._problems.report(self._endpoint, f"{error.message}; what is not pushed meanwhile is counted")
                return
            self._responded()
            self._problems.report(self._refusal(signal), error.message)

    def failing(self, signal: Signal) -> bool:
        """Whether the last push of the signal failed, or nobody answers any."""
        with self._lock:
            return self._unreachable or signal in self._failing

    def emitted(self, too_many: int, queue_full: int) -> Families:
        """The counters as families. `too_many`, `queue_full`: spans dropped for these reasons."""
        with self._lock:
            return (
                (OTLP_PUSHED, [Sample((signal,), self._pushed[signal]) for signal in SIGNALS]),
                (OTLP_FAILED, [Sample((signal,), self._failed[signal]) for signal in SIGNALS]),
                (OTLP_SPANS_DROPPED, [Sample(("rate",), too_many), Sample(("queue",), queue_full)]),
            )

    def _responded(self) -> None:
        self._unreachable = False
        self._problems.resolve(self._endpoint, f"{self._endpoint}: answers again")

    def _refusal(self, signal: Signal) -> str:
        return f"{self._endpoint}: takes no {signal}"
