"""The GPUs of a host, each in a lane of its own: how many there should be, which are lost, what errors they had."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from foreshock_exporter.common.log import ProblemLog, log
from foreshock_exporter.gpu.collector import GpuCollector, GpuRecord, Observe, describe
from foreshock_exporter.gpu.pools import (
    MismatchReason,
    PoolMember,
    Pools,
    UnmatchedRule,
    assigned_pools,
    unmatched_rules,
)
from foreshock_exporter.gpu.snapshot import GpuSnapshot, GpuState, XidCount
from foreshock_exporter.gpu.watchdog import CallKey
from foreshock_exporter.model.device import DeviceError, Driver, Identity
from foreshock_exporter.model.service import Resolver

MAX_XID_KINDS = 16
"""Kinds of XID told apart on a GPU; there are about 170."""
OTHER_XIDS = "other"
"""Stands for those beyond."""
_WHY: dict[MismatchReason, str] = {
    "not_found": "this host has no such GPU; nvidia-smi -L lists those that it has",
    "overruled": "another --pool names the UUID of this GPU, and that holds; leave one of them out",
}


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
        pools: which pools GPUs are in.
    """

    def __init__(
        self,
        driver: Driver,
        resolver: Resolver,
        notices: ProblemLog | None = None,
        *,
        expected: int = 0,
        health: bool = True,
        unattributed: str = "",
        observe: Observe | None = None,
        pools: Pools | None = None,
    ) -> None:
        self._driver = driver
        self._notices = notices or ProblemLog()
        self._known: dict[str, GpuRecord] = {}
        self._expected = expected
        self._pools = pools or Pools()
        self._vain: tuple[UnmatchedRule, ...] = ()
        self._instances: dict[str, tuple[str, ...]] = {}  # of each GPU, as it last showed them
        self._xids: dict[tuple[str, str], XidCount] = {}
        self._lane: Callable[[int], GpuCollector] = lambda index: GpuCollector(
            index,
            driver,
            resolver,
            self._known,
            self._notices,
            health=health,
            unattributed=unattributed,
            observe=observe,
        )
        self._all: list[GpuCollector] = []
        self.lanes: tuple[GpuCollector, ...] = ()
        """Of the GPUs that the driver names now."""

    def recount(self) -> bool:
        """Have as many lanes as the driver names GPUs; false if it cannot say, or names none where there should be.

        A lane is made once for each index: a thread in a call that hangs may still be in it.
        """
        try:
            count = self._driver.count()
        except DeviceError as error:
            self._notices.problem("GPU driver", str(error))
            return False
        if count != len(self.lanes):
            self._all.extend(self._lane(index) for index in range(len(self._all), count))
            self.lanes = tuple(self._all[:count])
            for lane in self._all:
                lane.renew()
        self._expected = max(self._expected, count)
        self._judge_pools()
        if count == 0 and self._expected > 0:
            self._notices.problem(
                "GPU driver",
                f"no GPU answers, though the host has {self._expected}; see what nvidia-smi and dmesg say",
            )
            return False
        self._notices.fine("GPU driver")
        return True

    def sample(self, time: float) -> bool:
        """Pass over all GPUs at `time` (seconds, steady), one after another; false if some call failed."""
        fine = self.recount()
        for lane in self.lanes:
            lane.look(time)
        return fine and not any(lane.failed for lane in self.lanes)

    def listen(self, wall: Callable[[], float], timeout: float) -> None:
        """Count the errors that the driver reports within `timeout` seconds; `wall` gives Unix seconds.

        Raises:
            DeviceError: the driver reports none.
        """
        for uuid, xid in self._driver.xids(timeout):
            gpu = self._known.get(uuid)
            index = gpu.identity.gpu if gpu else ""
            log.warning("GPU %s (%s): the driver reports XID %d", index, describe(gpu.identity) if gpu else uuid, xid)
            kind = str(xid) if (uuid, str(xid)) in self._xids or self._kinds(uuid) < MAX_XID_KINDS else OTHER_XIDS
            times = self._xids[uuid, kind].times if (uuid, kind) in self._xids else 0
            self._xids[uuid, kind] = XidCount(index, uuid, kind, times + 1, wall())

    def _kinds(self, uuid: str) -> int:
        return sum(of == uuid for of, _ in self._xids)

    def _judge_pools(self) -> None:
        """Find rules for GPUs that the host has not, and GPUs that rules put in two pools. Waits for a driver."""
        if not self._pools or not self.lanes:
            return
        here = [_place(state.identity, state) for lane in self.lanes if (state := lane.state)]
        self._instances |= {place.uuid: place.instances for place in here}
        known = self._known.copy()
        seen = [PoolMember(gpu.identity.gpu, uuid, self._instances.get(uuid, ())) for uuid, gpu in known.items()]
        before = {_rule(each): each for each in self._vain}
        self._vain = unmatched_rules(self._pools, here, seen, len(self.lanes), self._vain)
        for each in self._vain:
            self._notices.problem(_rule(each), _WHY[each.reason])
        for rule in before.keys() - {_rule(each) for each in self._vain}:
            self._notices.fine(rule)

    def snapshot(self, answering: Callable[[GpuCollector], bool], calls: Mapping[CallKey, float]) -> GpuSnapshot:
        """What is known now, of the lanes that answer."""
        states = {state.identity.uuid: state for lane in self.lanes if (state := lane.state) and answering(lane)}
        known = self._known.copy()
        return GpuSnapshot(
            expected=max(self._expected, len(known)),
            gpus=tuple(states.values()),
            lost={uuid: (gpu.identity, uuid not in states) for uuid, gpu in known.items()},
            xids=tuple(self._xids.copy().values()),
            calls=calls,
            pools=assigned_pools(self._pools, [_place(gpu.identity, states.get(uuid)) for uuid, gpu in known.items()]),
            vain=self._vain,
        )


def _place(identity: Identity, state: GpuState | None) -> PoolMember:
    return PoolMember(
        identity.gpu, identity.uuid, tuple(each.uuid for each in state.reading.instances) if state else ()
    )


def _rule(each: UnmatchedRule) -> str:
    return f"--pool {each.pool}={each.named}"
