"""Start times of driver calls in flight, to detect calls that hang."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Literal, ParamSpec, TypeVar

from foreshock_exporter.model import device

Call = Literal["count", "sample", "state"]
"""Driver calls by frequency."""
CALLS: tuple[Call, ...] = ("sample", "state")
"""Calls made for each GPU."""
CallKey = tuple[int | None, Call]
_Params = ParamSpec("_Params")
_Result = TypeVar("_Result")


class WatchedDriver:
    """`Driver` that delegates every call. At most one call of a kind is in flight per GPU."""

    def __init__(self, driver: device.Driver, timer: Callable[[], float]) -> None:
        self._driver = driver
        self._timer = timer
        self._started_at: dict[CallKey, float] = {}

    def call_ages(self) -> Mapping[CallKey, float]:
        """Seconds since the start of each call in flight."""
        now = self._timer()
        return {key: max(0.0, now - began) for key, began in self._started_at.copy().items()}

    def count(self) -> int:
        return self._timed((None, "count"), self._driver.count)

    def identity(self, gpu: int) -> device.Identity:
        return self._timed((gpu, "state"), self._driver.identity, gpu)

    def utilization(self, gpu: int, since_us: int) -> Sequence[device.UtilizationSample]:
        return self._timed((gpu, "sample"), self._driver.utilization, gpu, since_us)

    def process_utilization(self, gpu: int, since_us: int) -> Sequence[device.ProcessUtilization]:
        return self._timed((gpu, "sample"), self._driver.process_utilization, gpu, since_us)

    def read(self, gpu: int) -> device.Reading:
        return self._timed((gpu, "state"), self._driver.read, gpu)

    def counters(self, gpu: int, only: Collection[str] = ()) -> device.Counters:
        return self._timed((gpu, "state"), self._driver.counters, gpu, only)

    def activity(self, gpu: int, instances: Collection[int]) -> device.Activity | None:
        return self._timed((gpu, "state"), self._driver.activity, gpu, instances)

    def health(self, gpu: int) -> device.Health:
        return self._timed((gpu, "state"), self._driver.health, gpu)

    def processes(self, gpu: int) -> device.Processes:
        return self._timed((gpu, "state"), self._driver.processes, gpu)

    def xids(self, timeout: float) -> Sequence[device.Xid]:
        return self._driver.xids(timeout)  # not timed, because it blocks on purpose

    def close(self) -> None:
        self._driver.close()

    def _timed(
        self, key: CallKey, call: Callable[_Params, _Result], *args: _Params.args, **kwargs: _Params.kwargs
    ) -> _Result:
        self._started_at[key] = self._timer()
        try:
            return call(*args, **kwargs)
        finally:
            self._started_at.pop(key, None)
