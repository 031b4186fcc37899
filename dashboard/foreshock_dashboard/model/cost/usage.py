"""How the GPUs of an hour were held and used."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Bools, Floats
from foreshock_dashboard.model.world import Gpu


class Holder(NamedTuple):
    """A service that holds a GPU, or a part of it. gpu: its row. is_process_seen: its processes were seen on it."""

    gpu: int
    service: Service
    is_process_seen: bool


@dataclass(frozen=True, slots=True)
class GpuUsage:
    """GPUs by step, shape (gpus, steps), and their holders, shape (holders, steps). NaN is unknown.

    step: seconds. pool: of each GPU, "" where unknown. present: whether the GPU reported. utilization, sm_active:
    shares of time, 0 to 1. watts: mean power. shows_allocations, shows_processes: whether the GPU's exporter would show
    a container that holds it, and a process. is_counted: whether its utilization rests on counters, which miss nothing
    between samples. held: containers with which the holder holds it, 0 while it does not. fraction: of the GPU, 0 to 1,
    of its MIG instances; NaN without any. given: whether allocations show that it holds it, not only processes. busy,
    waiting: shares of time, 0 to 1. pausable: Deployments without an autoscaler all of whose replicas hold GPUs at the
    last step. requested: services that may have had requests in the hour.
    """

    step: float
    gpus: tuple[Gpu, ...]
    pool: tuple[str, ...]
    present: Bools = field(repr=False)
    utilization: Floats = field(repr=False)
    watts: Floats = field(repr=False)
    sm_active: Floats = field(repr=False)
    shows_allocations: Bools = field(repr=False)
    shows_processes: Bools = field(repr=False)
    is_counted: Bools = field(repr=False)
    holders: tuple[Holder, ...]
    held: Floats = field(repr=False)
    fraction: Floats = field(repr=False)
    given: Bools = field(repr=False)
    busy: Floats = field(repr=False)
    waiting: Floats = field(repr=False)
    pausable: frozenset[Service] = frozenset()
    requested: frozenset[Service] = frozenset()
