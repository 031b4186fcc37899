"""One GPU as exact, event-driven physics: between two changes all rates are constant, so every integral is exact."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from foreshock_simulator.engine import Engine
from foreshock_simulator.hardware.mig import Instance, instances
from foreshock_simulator.hardware.models import GpuModel
from foreshock_simulator.hardware.power import Heat, Reason, Use, clock_within, watts
from foreshock_simulator.hardware.sharing import WHOLE, divide
from foreshock_simulator.hardware.worker import Part, Worker
from foreshock_simulator.spec.hosts import Sharing

_ROUNDS: Final = 12
"""Of looking for the clock at which use and power agree; a few suffice."""
_CLOSE: Final = 1e-4
"""Relative difference of power at which they do."""


@dataclass(frozen=True, slots=True)
class GpuState:
    """A GPU at one moment. Integrals are since its start: seconds, joules, bytes in one direction."""

    busy_seconds: float
    tensor_seconds: float
    dram_seconds: float
    energy_joules: float
    nvlink_bytes: float
    pcie_bytes: float
    throttled_seconds: dict[Reason, float]
    power_watts: float
    power_limit_watts: float
    clock_hertz: float
    celsius: float
    memory_used_bytes: float


class Gpu:
    """One GPU.

    `busy` is the time its SMs were held, in seconds: by time-slicing, the time in which a kernel was resident; side by
    side (MPS, MIG), weighted by the share of the SMs. It is the sum of what its processes hold. Counts of `xids` are
    whoever's who makes it fail.

    Args:
        engine: whose time it lives in.
        model: what kind it is.
        host: the host's name, for messages.
        index: on the host.
        sharing: how its processes share it.
        mig_slices: sevenths of its SMs that each instance has, with `sharing` "mig".

    Raises:
        ValueError: MIG instances that there cannot be, or none with `sharing` "mig".
    """

    __slots__ = (
        "_ceiling", "_energy", "_heat", "_heat_due", "_heat_epoch", "_integrals", "_limit_ratio", "_reason",
        "_throttled", "_use", "clock", "engine", "host", "index", "instances", "model", "power_watts",
        "running", "settled", "sharing", "workers", "xids",
    )  # fmt: skip

    def __init__(
        self,
        engine: Engine,
        model: GpuModel,
        host: str,
        index: int,
        sharing: Sharing = "time-slicing",
        mig_slices: tuple[int, ...] = (),
    ) -> None:
        self.engine, self.model, self.host, self.index, self.sharing = engine, model, host, index, sharing
        if (sharing == "mig") != bool(mig_slices):
            raise ValueError(f"{self}: MIG instances are given with sharing mig, and with that only")
        self.instances: tuple[Instance, ...] = instances(model, mig_slices) if mig_slices else ()
        self.workers: list[Worker] = []
        self.xids: list[tuple[float, int]] = []
        """(time, number) of the errors that its driver reports."""
        self.settled = engine.now
        self.clock = 1.0
        self.power_watts = model.idle_watts
        # By instance (one where there is no MIG), who runs something there.
        self.running: list[list[Part]] = [[] for _ in self.instances] or [[]]
        self._use = Use()
        self._integrals = [0.0] * len(Use._fields)
        self._energy = 0.0
        self._ceiling = math.inf
        self._throttled: dict[Reason, float] = {"power": 0.0, "thermal": 0.0}
        self._reason: Reason | None = None
        self._limit_ratio = 1.0
        self._heat = Heat(model)
        self._heat_epoch = 0
        self._heat_due = False

    def __str__(self) -> str:
        """As messages name it."""
        return f"{self.host}/gpu-{self.index}"

    @property
    def power_limit_ratio(self) -> float:
        """The power limit relative to the model's; setting it (above 0, at most 1) moves the clocks at once."""
        return self._limit_ratio

    @power_limit_ratio.setter
    def power_limit_ratio(self, ratio: float) -> None:
        if not 0.0 < ratio <= 1.0:
            raise ValueError(f"{self}: a power limit is above 0 and at most 1 of the model's, not {ratio:g}")
        self._limit_ratio = ratio
        self.rebalance()

    @property
    def inlet_celsius(self) -> float:
        """The temperature of the air that cools it; settable."""
        return self._heat.inlet_celsius

    @inlet_celsius.setter
    def inlet_celsius(self, celsius: float) -> None:
        self.settle()
        self._heat.inlet_celsius = celsius
        self.rebalance()

    @property
    def clock_hertz(self) -> float:
        """The SM clock."""
        return self.clock * self.model.clock_max_hertz

    @property
    def use(self) -> Use:
        """How it is used at this moment."""
        return self._use

    @property
    def throttled(self) -> Reason | None:
        """Why its clock is held down at this moment."""
        return self._reason

    def busy_at(self, now: float) -> float:
        """Busy seconds by then, which is not before the last change; changes nothing."""
        return self._integrals[0] + self._use.busy * (now - self.settled)

    def at(self, now: float) -> GpuState:
        """Its state at a time that is not before the last change and before the next; changes nothing."""
        seconds = now - self.settled
        busy, tensor, dram, nvlink, pcie = (
            total + rate * seconds for total, rate in zip(self._integrals, self._use, strict=True)
        )
        throttled = dict(self._throttled)
        if self._reason is not None:
            throttled[self._reason] += seconds
        return GpuState(
            busy_seconds=busy,
            tensor_seconds=tensor,
            dram_seconds=dram,
            energy_joules=self._energy + self.power_watts * seconds,
            nvlink_bytes=nvlink * self.model.nvlink_bandwidth,
            pcie_bytes=pcie * self.model.pcie_bandwidth,
            throttled_seconds=throttled,
            power_watts=self.power_watts,
            power_limit_watts=self.model.limit_watts * self._limit_ratio,
            clock_hertz=self.clock_hertz,
            celsius=self._heat.after(seconds),
            memory_used_bytes=sum(worker.memory_bytes for worker in self.workers),
        )

    def reserve(self, memory_bytes: float, instance: int | None = None) -> int:
        """Make sure that a new process fits; gives the index of where it runs.

        Raises:
            ValueError: its memory does not fit; no such MIG instance, or none named where there are some.
        """
        if not self.instances:
            if instance is not None:
                raise ValueError(f"{self} has no MIG instances; leave the slice out")
            instance, size = 0, self.model.memory_bytes - self.model.reserved_bytes
        elif instance is None or not 0 <= instance < len(self.instances):
            raise ValueError(f"{self} has MIG instances 0 to {len(self.instances) - 1}; name one, not {instance}")
        else:
            size = self.instances[instance].memory_bytes
        parts = (part for worker in self.workers for part in worker.parts)
        held = sum(part.worker.memory_bytes for part in parts if part.gpu is self and part.instance == instance)
        if held + memory_bytes > size:
            raise ValueError(f"{self}: {held:.3g} of {size:.3g} bytes are held; no room for {memory_bytes:.3g}")
        return instance

    def settle(self) -> None:
        """Account for the time since the last change."""
        seconds = self.engine.now - self.settled
        if seconds <= 0.0:
            return
        self.settled = self.engine.now
        integrals, (busy, tensor, dram, nvlink, pcie) = self._integrals, self._use
        integrals[0] += busy * seconds
        integrals[1] += tensor * seconds
        integrals[2] += dram * seconds
        integrals[3] += nvlink * seconds
        integrals[4] += pcie * seconds
        for running in self.running:
            for part in running:
                part.busy += part.held * seconds
        self._energy += self.power_watts * seconds
        self._heat.celsius = self._heat.after(seconds)
        if self._reason is not None:
            self._throttled[self._reason] += seconds

    def rebalance(self, changed: Worker | None = None) -> None:
        """Divide the channels anew after a change here or, where a process is named, on all its GPUs."""
        gpus = changed.gpus if changed is not None else (self,)
        for gpu in gpus:
            gpu.settle()
            if changed is not None:
                gpu.enlist(changed)
            gpu.allot()
        if changed is not None and not changed.active:
            changed.follow()
        for gpu in gpus:
            spread = False
            for running in gpu.running:
                for part in running:
                    worker = part.worker
                    several = len(worker.gpus) > 1
                    spread = spread or several
                    if worker.follow() and several:
                        for other in worker.gpus:
                            if other not in gpus:
                                other.settle()
                                other.account()
            if spread:
                gpu.account()
            gpu.warm()

    def account(self) -> None:
        """Sum anew what processes use here that are held up on other GPUs; their SMs stay held, the clock stays."""
        use = self._use = self._sum(actual=True)
        self.power_watts = min(self._ceiling, watts(self.model, use, self.clock))
        self.warm()

    def warm(self) -> None:
        """Head for the temperature that the present power leads to."""
        seconds = self._heat.draw(self.power_watts)
        if seconds is not None:
            self._heat_epoch += 1
            self.engine.at(self.engine.now + seconds, self._too_hot, self._heat_epoch)
        elif self._heat_due:
            self._heat_epoch += 1
        self._heat_due = seconds is not None

    def enlist(self, worker: Worker) -> None:
        """Take note of whether a process runs something here."""
        for part in worker.parts:
            if part.gpu is self:
                running = self.running[part.instance]
                if worker.active and part not in running:
                    running.append(part)
                elif not worker.active and part in running:
                    running.remove(part)
                    part.held, part.speed = 0.0, 1.0

    def _limit(self) -> float:
        return min(self.model.limit_watts * self._limit_ratio, self._heat.limit_watts())

    def allot(self) -> None:
        """Divide the channels among those who run, at the highest clock that the limits allow."""
        model, slices = self.model, self.sharing == "time-slicing"
        most = model.limit_watts * self._limit_ratio
        limit = min(most, self._heat.limit_watts())
        clock = 1.0
        for _ in range(_ROUNDS):
            for index, running in enumerate(self.running):
                if running:
                    capacity = self.instances[index].capacity if self.instances else WHOLE
                    portions = divide([part.worker for part in running], slices, clock, capacity)
                    for part, portion in zip(running, portions, strict=True):
                        part.speed, part.held = portion
            use = self._sum(actual=False)
            power = watts(model, use, clock)
            if (power <= limit and clock == 1.0) or abs(power - limit) <= _CLOSE * limit:
                break
            wanted = clock_within(model, use, clock, limit)
            if wanted == clock:
                break
            clock = wanted
        self._use, self.clock = use, clock
        self._ceiling = limit if clock > model.clock_min_ratio else math.inf
        self.power_watts = min(power, self._ceiling)
        self._reason = None if clock == 1.0 else "thermal" if limit < most else "power"

    def _sum(self, actual: bool) -> Use:
        """The channels that those who run use: at the speed that this GPU allows them, or at their actual one."""
        busy = tensor = dram = nvlink = pcie = 0.0
        for running in self.running:
            for part in running:
                worker = part.worker
                # A process that is slow by itself uses the channels as one that is not, for longer.
                speed = worker.speed * worker.slow if actual else part.speed
                busy += part.held
                tensor += worker.tensor * speed
                dram += worker.dram * speed
                nvlink += worker.nvlink * speed
                pcie += worker.pcie * speed
        return Use(busy, tensor, dram, nvlink, pcie)

    def _too_hot(self, epoch: int) -> None:
        if epoch == self._heat_epoch:
            self.settle()
            self._heat.held = True
            self.rebalance()
