"""Consistency of a device script line with earlier lines."""

from __future__ import annotations

from dataclasses import dataclass, field

from foreshock_exporter.script.events import Device, Event, Process
from foreshock_exporter.script.readers import ReadError, quoted

MAX_PROCESSES = 256
"""Processes per GPU."""


@dataclass(slots=True)
class _Gpu:
    """`since`: time of the first description; `last_time`: time of the last line. Seconds."""

    since: float
    last_time: float
    instances: frozenset[str] = frozenset()
    pids: set[int] = field(default_factory=set)


class ScriptChecker:
    """Described GPUs with their last times and processes."""

    def __init__(self) -> None:
        self._gpus: list[_Gpu] = []

    def last_time(self, gpu: int) -> float:
        """Time of the GPU's last line in seconds; 0 without one."""
        return self._gpus[gpu].last_time if gpu < len(self._gpus) else 0.0

    def check(self, event: Event) -> None:
        """Record an event.

        Raises:
            ReadError: the event contradicts earlier lines; nothing is recorded.
        """
        if event.at < self.last_time(event.gpu):
            raise ReadError(
                f"{event.at:g} is earlier than {self.last_time(event.gpu):g} of a line before; "
                "put the lines of a GPU in the order of their time",
                "at",
            )
        if isinstance(event.action, Device):
            self._describe(event, event.action)
        elif event.gpu >= len(self._gpus):
            raise ReadError(f'{event.gpu} is unknown; first describe it by a line with "device"', "gpu")
        elif isinstance(event.action, Process):
            _check_process(self._gpus[event.gpu], event.action)
        self._gpus[event.gpu].last_time = event.at

    def _describe(self, event: Event, device: Device) -> None:
        index = event.gpu
        if index > len(self._gpus):
            raise ReadError(f"{index} comes before GPU {len(self._gpus)}; describe that first", "gpu")
        if index and index == len(self._gpus) and event.at < self._gpus[-1].since:
            raise ReadError(
                f"{event.at:g} is before GPU {index - 1} is there, at {self._gpus[-1].since:g}; "
                'describe them at the same time and let one be "late"',
                "at",
            )
        uuids = [instance.uuid for instance in device.instances]
        if "" in uuids or len(set(uuids)) < len(uuids):
            raise ReadError("each instance needs a uuid of its own", "device.instances")
        since = self._gpus[index].since if index < len(self._gpus) else event.at
        self._gpus[index : index + 1] = [_Gpu(since, event.at, frozenset(uuids))]


def _check_process(gpu: _Gpu, action: Process) -> None:
    if not action.pid:
        raise ReadError("is missing; give the process a number", "process.pid")
    if action.instance and action.instance not in gpu.instances:
        instances = ", ".join(sorted(gpu.instances)) or "none"
        raise ReadError(f"{quoted(action.instance)} is no instance of this GPU; it has {instances}", "process.instance")
    if action.ends and action.pid not in gpu.pids:
        raise ReadError(f"{action.pid} is not on this GPU, so that it cannot end; check the number", "process.pid")
    if action.ends:
        gpu.pids.discard(action.pid)
    elif len(gpu.pids | {action.pid}) > MAX_PROCESSES:
        raise ReadError(f"would be one more than {MAX_PROCESSES} on this GPU; let others end first", "process.pid")
    else:
        gpu.pids.add(action.pid)
