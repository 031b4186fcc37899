"""The GPUs of a host, each in a lane of its own: how many there should be, which are lost, what errors they had."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from foreshock_exporter.device import DeviceError, Driver
from foreshock_exporter.lane import Lane, Memory, Observe
from foreshock_exporter.log import Notices, log
from foreshock_exporter.service import Resolver
from foreshock_exporter.snapshot import GpuSnapshot, XidCount
from foreshock_exporter.watch import Key

MAX_XIDS = 16
"""Kinds of XID counted for a GPU; there are about 170."""


class Sampler:
    """Keeps a lane for each GPU; runs no thread and reads no clock. `lanes` may be looked at from threads of their own.

    Args:
        driver: the GPUs.
        resolver: finds the service of a process.
        notices: what to say of failures.
        expected: GPUs that the host has at least, whether or not the driver names them.
        health: whether to ask for the GPUs' health.
        unattributed: why no process can be told whose it is, if so.
        observe: told of each settled sample of a GPU with services on it.
    """

    def __init__(
        self,
        driver: Driver,
        resolver: Resolver,
        notices: Notices | None = None,
        *,
        expected: int = 0,
        health: bool = True,
        unattributed: str = "",
        observe: Observe | None = None,
    ) -> None:
        self._driver = driver
        self._notices = notices or Notices()
        self._memories: dict[str, Memory] = {}
        self._expected = expected
        self._xids: dict[tuple[str, int], XidCount] = {}
        self._lane: Callable[[int], Lane] = lambda index: Lane(
            index,
            driver,
            resolver,
            self._memories,
            self._notices,
            health=health,
            unattributed=unattributed,
            observe=observe,
        )
        self.lanes: tuple[Lane, ...] = ()

    def recount(self) -> bool:
        """Have as many lanes as the driver names GPUs; false if it cannot say."""
        try:
            count = self._driver.count()
        except DeviceError as error:
            self._notices.problem("GPU driver", str(error))
            count, fine = 0, False
        else:
            self._notices.fine("GPU driver")
            fine = True
        if count != len(self.lanes):
            self.lanes = (*self.lanes[:count], *(self._lane(index) for index in range(len(self.lanes), count)))
        self._expected = max(self._expected, count)
        return fine

    def sample(self, time: float) -> bool:
        """Pass over all GPUs at `time` (seconds, steady), one after another; false if some call failed."""
        fine = self.recount()
        for lane in self.lanes:
            lane.look(time)
        return fine and not any(lane.failed for lane in self.lanes)

    def listen(self, time: float, timeout: float) -> None:
        """Count the errors that the driver reports within `timeout` seconds.

        Raises:
            DeviceError: the driver reports none.
        """
        for uuid, xid in self._driver.xids(timeout):
            key = (uuid, xid)
            known = self._xids.get(key)
            memory = self._memories.get(uuid)
            if known is None and sum(of == uuid for of, _ in self._xids) >= MAX_XIDS:
                continue
            gpu = memory.identity.gpu if memory else (known.gpu if known else "")
            self._xids[key] = XidCount(gpu, uuid, xid, (known.times if known else 0) + 1, time)
            log.warning("GPU %s (%s): the driver reports XID %d", gpu, uuid, xid)

    def snapshot(self, answering: Callable[[Lane], bool], calls: Mapping[Key, float]) -> GpuSnapshot:
        """What is known now, of the lanes that answer."""
        states = tuple(state for lane in self.lanes if (state := lane.state) is not None and answering(lane))
        present = {state.identity.uuid for state in states}
        known = self._memories.copy()
        return GpuSnapshot(
            expected=max(self._expected, len(known)),
            gpus=states,
            lost={uuid: uuid not in present for uuid in known},
            xids=tuple(self._xids.copy().values()),
            calls=calls,
        )
