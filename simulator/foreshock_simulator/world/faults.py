"""Fault injection: each fault starts at its time and is reverted at its end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import singledispatch
from math import inf

from foreshock_simulator.core.engine import Process
from foreshock_simulator.hardware.worker import Worker
from foreshock_simulator.spec import faults as kinds
from foreshock_simulator.spec.platform import Place
from foreshock_simulator.spec.services import Release
from foreshock_simulator.world.platform import OUTSIDE, Platform

BULK_CONNECTIONS = 64
"""Connections of a bulk transfer, as in a download of weights. On a full link, many connections lose more and yield
less."""
RAMP_STEP_SECONDS = 5.0
"""Interval between two steps of a ramp."""
FALLEN_OFF_BUS_XID = 79
"""XID error of a GPU that fell off the bus (NVIDIA's XID catalog); the driver no longer answers for it."""


def schedule_faults(platform: Platform, faults: Iterable[kinds.Fault]) -> None:
    """Schedule the faults. Faults of traffic and of scrapes are handled elsewhere."""
    for fault in faults:
        platform.engine.schedule(fault.at, platform.engine.spawn, _process(fault, platform))


@singledispatch
def _process(fault: kinds.Fault, platform: Platform) -> Process:
    """The process of a fault, from its start on; nothing for other kinds of faults."""
    del fault, platform
    yield from ()


@_process.register
def _(fault: kinds.Restart, platform: Platform) -> Process:
    return platform.replicas[fault.service].restart(fault.pause)


@_process.register
def _(fault: kinds.Deploy, platform: Platform) -> Process:
    replicas = platform.replicas[fault.service]
    service, before = replicas.service, replicas.service.release
    service.release = Release(
        fault.version,
        fault.slower,
        fault.failing,
        fault.repeats,
        fault.prompts,
        fault.timeouts,
        fault.leak,
        fault.swap,
    )
    yield from replicas.restart(fault.pause, fault.replicas or None)
    if fault.replicas:
        service.release = before


@_process.register
def _(fault: kinds.CacheFlush, platform: Platform) -> Process:
    platform.mesh.flush(fault.cache)
    yield from ()


@_process.register
def _(fault: kinds.TenantGrows, platform: Platform) -> Process:
    """Start workers on the GPUs that the services have at the start of the fault.

    GPUs without enough memory are skipped.
    """
    tenant = next(tenant for tenant in platform.spec.tenants if tenant.name.name == fault.tenant)
    spec = replace(tenant, sm=fault.sm, dram=fault.dram, pause=fault.pause)
    gpus = [gpu for name in fault.onto for gpu in platform.replicas[name].gpus()]
    places = [*(Place(gpu.host, gpu.index) for gpu in gpus), *(Place(*place) for place in fault.places)]
    workers: list[Worker] = []

    def free_bytes(place: Place) -> float:
        return platform.hosts[place.host].gpus[place.gpu].free_bytes(spec.slice)

    for _ in range(fault.workers):
        targets = [place for place in dict.fromkeys(places) if free_bytes(place) >= spec.memory_bytes]
        workers += [platform.tenants.grow(spec, place) for place in targets]
        yield fault.ramp / fault.workers
    if fault.duration is not None:
        yield max(0.0, fault.at + fault.duration - platform.engine.now)
        platform.tenants.end(workers)


@_process.register
def _(fault: kinds.ReplicasFail, platform: Platform) -> Process:
    deployment = platform.replicas[fault.service].deployment
    failed = deployment.fail(fault.replicas or len(deployment.pods))
    gpus = [platform.hosts[place.host].gpus[place.gpu] for places in failed for place in places]
    for gpu in gpus if fault.xid is not None else ():
        gpu.xids.append((platform.engine.now, fault.xid or 0))
        gpu.lost = fault.xid == FALLEN_OFF_BUS_XID
    if fault.duration is not None:
        yield fault.duration
        for gpu in gpus:
            gpu.lost = False
        deployment.recover()


@_process.register
def _(fault: kinds.CrashLoop, platform: Platform) -> Process:
    deployment = platform.replicas[fault.service].deployment
    end = inf if fault.duration is None else fault.at + fault.duration
    while platform.engine.now < end:
        deployment.fail(fault.replicas or len(deployment.pods))
        pods = deployment.pods[: fault.replicas] or deployment.pods
        deployment.recover()
        while not any(pod.replica is not None or pod.ended for pod in pods) and platform.engine.now < end:
            yield 1.0
        yield fault.uptime


def _ramp(ramp: float) -> Iterator[tuple[float, float]]:
    """Yields seconds to wait and the ratio applied then: at once, or in equal steps over `ramp` seconds."""
    steps = max(1, round(ramp / RAMP_STEP_SECONDS))
    for step in range(1, steps + 1):
        yield ramp / steps, step / steps


@_process.register
def _(fault: kinds.SlowerWork, platform: Platform) -> Process:
    service = platform.mesh.services[fault.service]
    applied = 1.0
    for seconds, ratio in _ramp(fault.ramp):
        yield seconds
        factor = 1.0 + (fault.factor - 1.0) * ratio
        service.slow_down(max(1.0, service.slowdown * factor / applied))  # combines with other faults
        applied = factor
    if fault.duration is not None:
        yield max(0.0, fault.duration - fault.ramp)
        service.slow_down(max(1.0, service.slowdown / applied))  # rounding may fall below 1


@_process.register
def _(fault: kinds.FailingWork, platform: Platform) -> Process:
    service = platform.mesh.services[fault.service]
    before, service.fail_ratio = service.fail_ratio, fault.ratio
    if fault.duration is not None:
        yield fault.duration
        service.fail_ratio = before


@_process.register
def _(fault: kinds.PolicyChange, platform: Platform) -> Process:
    platform.mesh.services[fault.caller].override(fault.callee, fault.timeout, fault.attempts)
    yield from ()


@_process.register
def _(fault: kinds.CacheDecay, platform: Platform) -> Process:
    cache = platform.mesh.caches[fault.cache]
    for seconds, ratio in _ramp(fault.ramp):
        yield seconds
        cache.fit(1.0 - (1.0 - fault.ratio) * ratio)
    if fault.duration is not None:
        yield max(0.0, fault.duration - fault.ramp)
        cache.fit(1.0)


@_process.register
def _(fault: kinds.MemoryLeak, platform: Platform) -> Process:
    replicas = platform.replicas[fault.service]
    end = inf if fault.duration is None else fault.at + fault.duration
    while platform.engine.now < end:
        yield RAMP_STEP_SECONDS
        for running in replicas.deployment.replicas:
            running.replica.leaked_bytes += fault.bytes_per_second * RAMP_STEP_SECONDS
            if replicas.memory_used_bytes(running) >= replicas.memory_limit_bytes:
                replicas.deployment.crash(running)


@_process.register
def _(fault: kinds.PacketLoss, platform: Platform) -> Process:
    hosts_a, hosts_b = (platform.replicas[name].hosts() for name in fault.between)
    for seconds, ratio in _ramp(fault.ramp):
        yield seconds
        platform.network.lose(hosts_a, hosts_b, fault.ratio * ratio)
    if fault.duration is not None:
        yield max(0.0, fault.duration - fault.ramp)
        platform.network.lose(hosts_a, hosts_b, 0.0)


@_process.register
def _(fault: kinds.BulkTransfer, platform: Platform) -> Process:
    network = platform.network
    transfers = [
        network.bulk(OUTSIDE, host, inf, fault.bytes_per_second, connections=BULK_CONNECTIONS)
        for host in platform.replicas[fault.onto].hosts()
    ]
    if fault.duration is not None:
        yield fault.duration
        for transfer in transfers:
            network.stop(transfer)


@_process.register
def _(fault: kinds.Throttle, platform: Platform) -> Process:
    gpus = platform.replicas[fault.service].gpus() if fault.service else platform.rack_gpus(fault.rack)
    before = [gpu.power_limit_ratio for gpu in gpus]
    for gpu in gpus:
        gpu.power_limit_ratio *= fault.ratio
    if fault.duration is not None:
        yield fault.duration
        for gpu, ratio in zip(gpus, before, strict=True):
            gpu.power_limit_ratio = ratio


@_process.register
def _(fault: kinds.Heat, platform: Platform) -> Process:
    gpus = platform.rack_gpus(fault.rack)
    before = [gpu.inlet_celsius for gpu in gpus]
    for seconds, ratio in _ramp(fault.ramp):
        yield seconds
        for gpu, celsius in zip(gpus, before, strict=True):
            gpu.inlet_celsius = celsius + (fault.celsius - celsius) * ratio
    if fault.duration is not None:
        yield max(0.0, fault.duration - fault.ramp)
        for gpu, celsius in zip(gpus, before, strict=True):
            gpu.inlet_celsius = celsius
