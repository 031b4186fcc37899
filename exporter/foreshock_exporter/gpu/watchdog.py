"""Notes which driver call is in flight since when, so that one that never returns is seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, ParamSpec, TypeVar

from foreshock_exporter.model.device import (
    Counters,
    Driver,
    GpuProcess,
    Health,
    Identity,
    ProcessUtilization,
    Reading,
    UtilizationSample,
    Xid,
)

Call = Literal["count", "sample", "state"]
"""Calls of a driver by how often they are made."""
CALLS: tuple[Call, ...] = ("sample", "state")
"""Those made for each GPU."""
CallKey = tuple[int | None, Call]
_Asked = ParamSpec("_Asked")
_Answer = TypeVar("_Answer")


class WatchedDriver:
    """A `Driver` that passes every call on. At most one call of a kind is in flight for a GPU.

    Args:
        driver: the one that answers.
        timer: a steady clock in seconds on the wall.
    """

    def __init__(self, driver: Driver, timer: Callable[[], float]) -> None:
        self._driver = driver
        self._timer = timer
        self._began: dict[CallKey, float] = {}

    def ages(self) -> Mapping[CallKey, float]:
        """For how many seconds each call in flight has been waited for."""
        now = self._timer()
        return {key: max(0.0, now - began) for key, began in self._began.copy().items()}

    def count(self) -> int:
        """As the driver."""
        return self._watch((None, "count"), self._driver.count)

    def identity(self, gpu: int) -> Identity:
        """As the driver."""
        return self._watch((gpu, "state"), self._driver.identity, gpu)

    def utilization(self, gpu: int, since_us: int) -> Sequence[UtilizationSample]:
        """As the driver."""
        return self._watch((gpu, "sample"), self._driver.utilization, gpu, since_us)

    def process_utilization(self, gpu: int, since_us: int) -> Sequence[ProcessUtilization]:
        """As the driver."""
        return self._watch((gpu, "sample"), self._driver.process_utilization, gpu, since_us)

    def read(self, gpu: int) -> Reading:
        """As the driver."""
        return self._watch((gpu, "state"), self._driver.read, gpu)

    def counters(self, gpu: int) -> Counters:
        """As the driver."""
        return self._watch((gpu, "state"), self._driver.counters, gpu)

    def health(self, gpu: int) -> Health:
        """As the driver."""
        return self._watch((gpu, "state"), self._driver.health, gpu)

    def processes(self, gpu: int) -> Sequence[GpuProcess]:
        """As the driver."""
        return self._watch((gpu, "state"), self._driver.processes, gpu)

    def xids(self, timeout: float) -> Sequence[Xid]:
        """As the driver; not watched, because it waits on purpose."""
        return self._driver.xids(timeout)

    def close(self) -> None:
        """As the driver."""
        self._driver.close()

    def _watch(
        self, key: CallKey, call: Callable[_Asked, _Answer], *asked: _Asked.args, **named: _Asked.kwargs
    ) -> _Answer:
        self._began[key] = self._timer()
        try:
            return call(*asked, **named)
        finally:
            self._began.pop(key, None)
