"""One GPU as exact, event-driven physics: between two changes all rates are constant, so every integral is exact."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from foreshock_simulator.core.engine import Engine
from foreshock_simulator.hardware.meter import GpuState, Meter
from foreshock_simulator.hardware.mig import Instance, instances
from foreshock_simulator.hardware.models import GpuModel
from foreshock_simulator.hardware.operating import Group, operate, used
from foreshock_simulator.hardware.power import IDLE, Heat, Reason, Use, watts
from foreshock_simulator.hardware.sharing import WHOLE
from foreshock_simulator.spec.hosts import Sharing

if TYPE_CHECKING:
    from foreshock_simulator.hardware.worker import Part, Worker


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
        "_ceiling", "_heat", "_heat_due", "_heat_epoch", "_limit_ratio", "_meter", "_most", "_reason",
        "_slices", "_use", "clock", "engine", "groups", "host", "index", "instances", "model", "power_watts", "settled",
        "sharing", "workers", "xids",
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
        self.groups: tuple[Group, ...] = tuple((each.capacity, []) for each in self.instances) or ((WHOLE, []),)
        self._slices = sharing == "time-slicing"
        self._use = IDLE
        self._meter = Meter()
        self._most = model.limit_watts
        self._ceiling = math.inf
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
        self._most = self.model.limit_watts * ratio
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
        busy, *_ = self._use
        return self._meter.busy + busy * (now - self.settled)

    def at(self, now: float) -> GpuState:
        """Its state at a time that is not before the last change and before the next; changes nothing."""
        seconds, meter, model = now - self.settled, self._meter, self.model
        busy, tensor, dram, nvlink, pcie = self._use
        throttled = meter.throttled.copy()
        if self._reason is not None:
            throttled[self._reason] += seconds
        return GpuState(
            busy_seconds=meter.busy + busy * seconds,
            tensor_seconds=meter.tensor + tensor * seconds,
            dram_seconds=meter.dram + dram * seconds,
            energy_joules=meter.joules + self.power_watts * seconds,
            nvlink_bytes=(meter.nvlink + nvlink * seconds) * model.nvlink_bandwidth,
            pcie_bytes=(meter.pcie + pcie * seconds) * model.pcie_bandwidth,
            throttled_seconds=throttled,
            power_watts=self.power_watts,
            power_limit_watts=self._most,
            clock_hertz=self.clock_hertz,
            celsius=self._heat.after(seconds),
            memory_used_bytes=sum(worker.memory_bytes for worker in self.workers),
        )

    def inside(self, instance: int) -> list[Worker]:
        """The processes in a MIG instance; all, in 0, where the GPU is whole."""
        parts = (part for worker in self.workers for part in worker.parts)
        return [part.worker for part in parts if part.gpu is self and part.instance == instance]

    def room(self, instance: int | None = None) -> float:
        """Bytes of memory that a new process may have, in a MIG instance where there are some.

        Raises:
            ValueError: no such MIG instance, or none named where there are some.
        """
        if not self.instances:
            if instance is not None:
                raise ValueError(f"{self} has no MIG instances; leave the slice out")
            size = self.model.memory_bytes - self.model.reserved_bytes
        elif instance is None or not 0 <= instance < len(self.instances):
            raise ValueError(f"{self} has MIG instances 0 to {len(self.instances) - 1}; name one, not {instance}")
        else:
            size = self.instances[instance].memory_bytes
        return size - sum(worker.memory_bytes for worker in self.inside(instance or 0))

    def settle(self) -> None:
        """Account for the time since the last change."""
        now = self.engine.now
        seconds = now - self.settled
        if seconds <= 0.0:
            return
        self.settled = now
        self._meter.add(seconds, self._use, self.power_watts, self._reason)
        for _, parts in self.groups:
            for part in parts:
                part.busy += part.held * seconds
        self._heat.wait(seconds)

    def rebalance(self, changed: Worker | None = None) -> None:
        """Divide the channels anew after a change here or, where a process is named, on all its GPUs."""
        gpus = (self,) if changed is None else changed.gpus
        for gpu in gpus:
            gpu.settle()
        if changed is not None and changed.resident != (changed.active > 0):
            changed.resident = not changed.resident
            for part in changed.parts:
                part.gpu.enlist(part)
        for gpu in gpus:
            gpu.allot()
        if changed is not None and not changed.resident:
            changed.follow()
        for gpu in gpus:
            spread = False
            for _, parts in gpu.groups:
                for part in parts:
                    worker = part.worker
                    faster_or_slower = worker.follow()
                    if worker.spread:
                        spread = True
                        if faster_or_slower:
                            for other in worker.gpus:
                                if other not in gpus:
                                    other.settle()
                                    other.account()
            if spread and any(part.held_up for _, parts in gpu.groups for part in parts):
                gpu.account()
            else:
                gpu.warm()

    def account(self) -> None:
        """Sum anew what processes use here that are held up on other GPUs; their SMs stay held, the clock stays."""
        use = self._use = used(self.groups, actual=True)
        self.power_watts = min(self._ceiling, watts(self.model, use, self.clock))
        self.warm()

    def warm(self) -> None:
        """Head for the temperature that the present power leads to."""
        seconds = self._heat.draw(self.power_watts)
        if seconds is not None:
            self._heat_epoch += 1
            self._heat_due = True
            self.engine.at(self.engine.now + seconds, self._too_hot, self._heat_epoch)
        elif self._heat_due:
            self._heat_epoch += 1
            self._heat_due = False

    def enlist(self, part: Part) -> None:
        """Take note of that a process has begun to run something here, or has nothing to run any more."""
        _, parts = self.groups[part.instance]
        if part.worker.resident:
            parts.append(part)
        else:
            parts.remove(part)
            part.held, part.speed = 0.0, 1.0

    def allot(self) -> None:
        """Divide the channels among those who run, at the highest clock that the limits allow."""
        limit, model, heat = self._most, self.model, self._heat
        if heat.held:
            limit = min(limit, heat.limit_watts())
        self._use, clock, power = operate(model, self.groups, self._slices, limit)
        self.clock = clock
        self._ceiling = limit if clock > model.clock_min_ratio else math.inf
        self.power_watts = power if power <= limit else min(power, self._ceiling)
        self._reason = None if clock == 1.0 else "thermal" if limit < self._most else "power"

    def _too_hot(self, epoch: int) -> None:
        if epoch == self._heat_epoch:
            self.settle()
            self._heat.held = True
            self.rebalance()
