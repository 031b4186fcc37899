"""Faults, each done at its time and undone when it is over."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from math import inf

from foreshock_simulator.core.engine import Process
from foreshock_simulator.hardware.worker import Worker
from foreshock_simulator.spec.faults import (
    BulkTransfer,
    CacheFlush,
    FailingWork,
    Fault,
    PacketLoss,
    PolicyChange,
    ReplicasFail,
    Restart,
    SlowerWork,
    TenantGrows,
    Throttle,
)  # fmt: skip
from foreshock_simulator.spec.hosts import Place
from foreshock_simulator.world.platform import OUTSIDE, Platform

CONNECTIONS = 64
"""Of a bulk transfer, as a pull of weights opens them: many lose more where they fill a link, and yield less."""
RAMP_STEP = 5.0
"""Seconds between two steps of what grows."""


def begin_faults(platform: Platform, faults: Iterable[Fault]) -> None:
    """Plan them. Those of traffic and of scrapes are for others."""
    for fault in faults:
        process = _process(platform, fault)
        if process is not None:
            platform.engine.schedule(fault.at, platform.engine.spawn, process)


def _process(platform: Platform, fault: Fault) -> Process | None:
    match fault:
        case TenantGrows():
            return _grow(platform, fault)
        case ReplicasFail():
            return _fail(platform, fault)
        case Restart():
            return platform.replicas[fault.service].restart(fault.pause)
        case SlowerWork():
            return _slow(platform, fault)
        case FailingWork():
            return _defect(platform, fault)
        case PolicyChange():
            return _change(platform, fault)
        case CacheFlush():
            return _once(lambda: platform.mesh.flush(fault.cache))
        case PacketLoss():
            return _lose(platform, fault)
        case BulkTransfer():
            return _fill(platform, fault)
        case Throttle():
            return _throttle(platform, fault)
        case _:
            return None


def _once(action: Callable[[], None]) -> Process:
    action()
    yield from ()


def _grow(platform: Platform, fault: TenantGrows) -> Process:
    """The GPUs are those that the services have when it begins; where one has no room left, it goes without."""
    usual = next(tenant for tenant in platform.spec.tenants if tenant.name.name == fault.tenant)
    spec = replace(usual, sm=fault.sm, dram=fault.dram, pause=fault.pause)
    gpus = [gpu for name in fault.onto for gpu in platform.replicas[name].gpus()]
    places = [*(Place(gpu.host, gpu.index) for gpu in gpus), *(Place(*place) for place in fault.places)]
    workers: list[Worker] = []

    def room(place: Place) -> float:
        return platform.hosts[place.host].gpus[place.gpu].free_bytes(spec.slice)

    for _ in range(fault.workers):
        roomy = [place for place in dict.fromkeys(places) if room(place) >= spec.memory_bytes]
        workers += [platform.tenants.grow(spec, place) for place in roomy]
        yield fault.ramp / fault.workers
    if fault.duration is not None:
        yield max(0.0, fault.at + fault.duration - platform.engine.now)
        platform.tenants.end(workers)


def _fail(platform: Platform, fault: ReplicasFail) -> Process:
    deployment = platform.replicas[fault.service].deployment
    for places in deployment.fail(fault.replicas):
        for place in places if fault.xid is not None else ():
            platform.hosts[place.host].gpus[place.gpu].xids.append((platform.engine.now, fault.xid or 0))
    if fault.duration is not None:
        yield fault.duration
        deployment.recover()


def _grown(ramp: float) -> Iterator[tuple[float, float]]:
    """Seconds to wait, and the share that is reached then: at once, or in equal steps over `ramp` seconds."""
    steps = max(1, round(ramp / RAMP_STEP))
    for step in range(1, steps + 1):
        yield ramp / steps, step / steps


def _slow(platform: Platform, fault: SlowerWork) -> Process:
    service = platform.mesh.services[fault.service]
    reached = 1.0
    for seconds, share in _grown(fault.ramp):
        yield seconds
        factor = 1.0 + (fault.factor - 1.0) * share
        service.slow_down(max(1.0, service.slowdown * factor / reached))  # beside others, if there are any
        reached = factor
    if fault.duration is not None:
        yield max(0.0, fault.duration - fault.ramp)
        service.slow_down(max(1.0, service.slowdown / reached))  # what two of them leave may round below


def _defect(platform: Platform, fault: FailingWork) -> Process:
    service = platform.mesh.services[fault.service]
    before, service.fail_ratio = service.fail_ratio, fault.ratio
    if fault.duration is not None:
        yield fault.duration
        service.fail_ratio = before


def _change(platform: Platform, fault: PolicyChange) -> Process:
    platform.mesh.services[fault.caller].override(fault.callee, fault.timeout, fault.attempts)
    yield from ()


def _lose(platform: Platform, fault: PacketLoss) -> Process:
    some, others = (platform.replicas[name].hosts() for name in fault.between)
    for seconds, share in _grown(fault.ramp):
        yield seconds
        platform.network.lose(some, others, fault.ratio * share)
    if fault.duration is not None:
        yield max(0.0, fault.duration - fault.ramp)
        platform.network.heal(some, others)


def _fill(platform: Platform, fault: BulkTransfer) -> Process:
    network = platform.network
    transfers = [
        network.bulk(OUTSIDE, host, inf, fault.bytes_per_second, connections=CONNECTIONS)
        for host in platform.replicas[fault.onto].hosts()
    ]
    if fault.duration is not None:
        yield fault.duration
        for transfer in transfers:
            network.stop(transfer)


def _throttle(platform: Platform, fault: Throttle) -> Process:
    gpus = (
        platform.replicas[fault.service].gpus()
        if fault.service
        else tuple(gpu for host in platform.hosts.values() if host.spec.rack == fault.rack for gpu in host.gpus)
    )
    before = [gpu.power_limit_ratio for gpu in gpus]
    for gpu in gpus:
        gpu.power_limit_ratio *= fault.ratio
    if fault.duration is not None:
        yield fault.duration
        for gpu, ratio in zip(gpus, before, strict=True):
            gpu.power_limit_ratio = ratio
