"""GPUs as an exact event-driven model: rates are constant between two changes, so all integrals are exact. Hosts."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import NamedTuple

from foreshock_simulator.core.engine import Engine
from foreshock_simulator.core.names import ServiceName
from foreshock_simulator.hardware import power
from foreshock_simulator.hardware.models import MODELS, GpuModel, MigInstance, mig_instances
from foreshock_simulator.hardware.sharing import WHOLE_GPU, Context, GpuProcess, Group
from foreshock_simulator.spec.platform import HostSpec, PoolSpec, Sharing

FIRST_PID = 2400
_PID_STEP = 7


class GpuState(NamedTuple):
    """Snapshot of a GPU. Integrals are since its start: seconds, joules, bytes in one direction.

    sm_seconds: of the busy seconds, the share of the SMs that had work.
    """

    busy_seconds: float
    sm_seconds: float
    tensor_seconds: float
    dram_seconds: float
    energy_joules: float
    nvlink_bytes: float
    pcie_bytes: float
    throttled_seconds: dict[power.ThrottleReason, float]
    power_watts: float
    power_limit_watts: float
    clock_hertz: float
    celsius: float
    memory_used_bytes: float


class Meter:
    """Integrals over time: seconds at full use of each channel, joules, and throttled seconds."""

    def __init__(self) -> None:
        self.busy = self.tensor = self.dram = self.nvlink = self.pcie = self.joules = 0.0
        self.throttled: dict[power.ThrottleReason, float] = {"power": 0.0, "thermal": 0.0}

    def add(self, seconds: float, use: power.ChannelUse, watts: float, reason: power.ThrottleReason | None) -> None:
        """Add an interval of constant use, power and throttling."""
        if use is not power.IDLE:
            busy, tensor, dram, nvlink, pcie = use
            self.busy += busy * seconds
            self.tensor += tensor * seconds
            self.dram += dram * seconds
            if nvlink or pcie:
                self.nvlink += nvlink * seconds
                self.pcie += pcie * seconds
        self.joules += watts * seconds
        if reason is not None:
            self.throttled[reason] += seconds


class Gpu:
    """One GPU.

    Its busy time is the integral of the held SMs: with time-slicing, the time with a resident kernel; side by side
    (MPS, MIG), weighted by the share of the SMs. It is the sum over its contexts. `xids` and `lost` are set by faults.

    `mig_slices` has the compute slices (sevenths) of each MIG instance, with `sharing` "mig".

    Raises:
        ValueError: impossible MIG instances, or none with `sharing` "mig".
    """

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
            raise ValueError(f"{self}: MIG instances require sharing mig, which requires them")
        self.instances: tuple[MigInstance, ...] = mig_instances(model, mig_slices) if mig_slices else ()
        self.workers: list[GpuProcess] = []
        self.xids: list[tuple[float, int]] = []
        self.lost = False
        """(time, number) of the Xid errors that its driver reports."""
        self.ended_sm_seconds = 0.0
        """SM activity of processes that have ended."""
        self.advanced_to = engine.now
        self.clock = 1.0
        self.power_watts = model.idle_watts
        capacities = [instance.capacity for instance in self.instances] or [WHOLE_GPU]
        self.groups: tuple[Group, ...] = tuple((capacity, []) for capacity in capacities)
        self._time_sliced = sharing == "time-slicing"
        self.use = power.IDLE
        """Momentary use of its channels."""
        self._meter = Meter()
        self._limit_watts = model.limit_watts
        self._limit_ratio = 1.0
        self._power_cap = math.inf
        self.throttled: power.ThrottleReason | None = None
        """Reason of a clock below the maximum; None at the maximum."""
        self._thermal = power.ThermalState(model)
        self._overheat_id = 0
        self._overheat_scheduled = False

    def __str__(self) -> str:
        """Host and index, for messages."""
        return f"{self.host}/gpu-{self.index}"

    @property
    def power_limit_ratio(self) -> float:
        """Power limit relative to the model's, above 0 up to 1. Setting it changes the clock at once."""
        return self._limit_ratio

    @power_limit_ratio.setter
    def power_limit_ratio(self, ratio: float) -> None:
        if not 0.0 < ratio <= 1.0:
            raise ValueError(f"{self}: a power limit is a share of the model's, above 0 and at most 1, not {ratio:g}")
        self._limit_ratio = ratio
        self._limit_watts = self.model.limit_watts * ratio
        self.rebalance()

    @property
    def inlet_celsius(self) -> float:
        """Temperature of the cooling air; settable."""
        return self._thermal.inlet_celsius

    @inlet_celsius.setter
    def inlet_celsius(self, celsius: float) -> None:
        self.advance()
        self._thermal.inlet_celsius = celsius
        self.rebalance()

    @property
    def clock_hertz(self) -> float:
        """The SM clock."""
        return self.clock * self.model.clock_max_hertz

    def busy_seconds_at(self, now: float) -> float:
        """Busy time up to `now`, which is not before the last change. Changes nothing."""
        busy, *_ = self.use
        return self._meter.busy + busy * (now - self.advanced_to)

    def sm_seconds_at(self, now: float) -> float:
        """SM activity up to `now`, which is not before the last change. Changes nothing."""
        seconds = now - self.advanced_to
        return self.ended_sm_seconds + sum(
            worker.sm_activity * (context.busy_seconds + context.sm_share * seconds)
            for worker in self.workers
            for context in worker.contexts
            if context.gpu is self
        )

    def state_at(self, now: float) -> GpuState:
        """State at a time between the last change and the next one. Changes nothing."""
        seconds, meter, model = now - self.advanced_to, self._meter, self.model
        busy, tensor, dram, nvlink, pcie = self.use
        throttled = meter.throttled.copy()
        if self.throttled is not None:
            throttled[self.throttled] += seconds
        return GpuState(
            busy_seconds=meter.busy + busy * seconds,
            sm_seconds=self.sm_seconds_at(now),
            tensor_seconds=meter.tensor + tensor * seconds,
            dram_seconds=meter.dram + dram * seconds,
            energy_joules=meter.joules + self.power_watts * seconds,
            nvlink_bytes=(meter.nvlink + nvlink * seconds) * model.nvlink_bandwidth,
            pcie_bytes=(meter.pcie + pcie * seconds) * model.pcie_bandwidth,
            throttled_seconds=throttled,
            power_watts=self.power_watts,
            power_limit_watts=self._limit_watts,
            clock_hertz=self.clock_hertz,
            celsius=self._thermal.celsius_after(seconds),
            memory_used_bytes=sum(worker.memory_bytes for worker in self.workers),
        )

    def workers_in(self, instance: int) -> list[GpuProcess]:
        """Processes in a MIG instance; all processes, for 0, on a whole GPU."""
        contexts = (context for worker in self.workers for context in worker.contexts)
        return [context.process for context in contexts if context.gpu is self and context.instance == instance]

    def free_bytes(self, instance: int | None = None) -> float:
        """Free memory for a new process, in a MIG instance or on the whole GPU.

        Raises:
            ValueError: `instance` is unknown, missing, or given for a whole GPU.
        """
        if not self.instances:
            if instance is not None:
                raise ValueError(f"{self} has no MIG instances; leave the slice out")
            size = self.model.memory_bytes - self.model.reserved_bytes
        elif instance is None or not 0 <= instance < len(self.instances):
            raise ValueError(f"{self} has MIG instances 0 to {len(self.instances) - 1}; name one, not {instance}")
        else:
            size = self.instances[instance].memory_bytes
        return size - sum(worker.memory_bytes for worker in self.workers_in(instance or 0))

    def advance(self) -> None:
        """Integrate over the time since the last change."""
        now = self.engine.now
        seconds = now - self.advanced_to
        if seconds <= 0.0:
            return
        self.advanced_to = now
        self._meter.add(seconds, self.use, self.power_watts, self.throttled)
        for _, contexts in self.groups:
            for context in contexts:
                context.busy_seconds += context.sm_share * seconds
        self._thermal.advance(seconds)

    def rebalance(self, changed: GpuProcess | None = None) -> None:
        """Share the channels again after a change here or, with `changed`, on all GPUs of that process."""
        gpus = (self,) if changed is None else changed.gpus
        for gpu in gpus:
            gpu.advance()
        if changed is not None and changed.resident != (changed.active > 0):
            changed.resident = not changed.resident
            for context in changed.contexts:
                context.gpu.update_membership(context)
        for gpu in gpus:
            gpu.allocate()
        if changed is not None and not changed.resident:
            changed.update_speed()
        for gpu in gpus:
            multi_gpu = False
            for _, contexts in gpu.groups:
                for context in contexts:
                    process = context.process
                    speed_changed = process.update_speed()
                    if process.multi_gpu:
                        multi_gpu = True
                        if speed_changed:
                            for other in process.gpus:
                                if other not in gpus:
                                    other.advance()
                                    other.recompute_use()
            if multi_gpu and any(context.waits_for_other_gpu for _, contexts in gpu.groups for context in contexts):
                gpu.recompute_use()
            else:
                gpu.schedule_overheating()

    def recompute_use(self) -> None:
        """Recompute the use when a process waits for another of its GPUs; its SM share and the clock stay."""
        use = self.use = power.channel_use(self.groups, actual=True)
        self.power_watts = min(self._power_cap, power.power_watts(self.model, use, self.clock))
        self.schedule_overheating()

    def schedule_overheating(self) -> None:
        """Schedule thermal throttling for the time at which the present power reaches the maximum temperature."""
        seconds = self._thermal.set_power(self.power_watts)
        if seconds is not None:
            self._overheat_id += 1
            self._overheat_scheduled = True
            self.engine.schedule(self.engine.now + seconds, self._overheat, self._overheat_id)
        elif self._overheat_scheduled:
            self._overheat_id += 1
            self._overheat_scheduled = False

    def update_membership(self, context: Context) -> None:
        """Add the context of a process that has started to run, or remove that of one without tasks."""
        _, contexts = self.groups[context.instance]
        if context.process.resident:
            contexts.append(context)
        else:
            contexts.remove(context)
            context.sm_share, context.speed = 0.0, 1.0

    def allocate(self) -> None:
        """Share the channels among the running contexts at the highest clock that power and temperature allow."""
        limit, model, thermal = self._limit_watts, self.model, self._thermal
        if thermal.throttled:
            limit = min(limit, thermal.limit_watts())
        self.use, clock, watts = power.operating_point(model, self.groups, self._time_sliced, limit)
        self.clock = clock
        self._power_cap = limit if clock > model.clock_min_ratio else math.inf
        self.power_watts = watts if watts <= limit else min(watts, self._power_cap)
        self.throttled = None if clock == 1.0 else "thermal" if limit < self._limit_watts else "power"

    def _overheat(self, overheat_id: int) -> None:
        if overheat_id == self._overheat_id:
            self.advance()
            self._thermal.throttled = True
            self.rebalance()


class Host:
    """One host. `pools` by GPU index set the sharing mode; it is time-slicing for GPUs without a pool.

    Raises:
        ValueError: impossible MIG instances.
    """

    def __init__(self, engine: Engine, spec: HostSpec, pools: Mapping[int, PoolSpec] | None = None) -> None:
        self.spec, self.name = spec, spec.name
        self.host_id = hashlib.sha256(spec.name.encode()).hexdigest()[:32]
        model, pools = MODELS[spec.gpu_model], pools or {}
        self.gpus = tuple(
            Gpu(engine, model, spec.name, index, pools[index].sharing, pools[index].mig_slices)
            if index in pools
            else Gpu(engine, model, spec.name, index)
            for index in range(spec.gpus)
        )
        self.services: dict[int, ServiceName] = {}
        self._next_pid = FIRST_PID

    def start(self, service: ServiceName) -> int:
        """Start a process of the service; returns its pid."""
        pid = self._next_pid
        self._next_pid += _PID_STEP
        self.services[pid] = service
        return pid

    def stop(self, pid: int) -> None:
        """End a process. Its GPU workers are stopped by their owner."""
        self.services.pop(pid, None)
