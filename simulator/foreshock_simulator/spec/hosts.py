"""Hosts, their GPUs and interfaces, and pools of GPUs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

Sharing = Literal["time-slicing", "mps", "mig"]


class Place(NamedTuple):
    """A GPU: host name and index."""

    host: str
    gpu: int


@dataclass(frozen=True, slots=True)
class HostSpec:
    """A host. `gpu_model` is a key of `hardware.models.MODELS`; the interface has its speed in each direction."""

    name: str
    gpus: int = 8
    gpu_model: str = "H100"
    nic_bytes_per_second: float = 25e9
    rack: str = ""


@dataclass(frozen=True, slots=True)
class PoolSpec:
    """GPUs that share an autoscaler and a quota.

    A replica takes the emptiest GPUs, in the order of `places` among equals. The GPUs of one replica are on one host.

    Args:
        name: unique.
        places: its GPUs.
        sharing: sharing mode of the processes on a GPU.
        mig_slices: compute slices (sevenths) of each MIG instance, such as (3, 2, 1); with `sharing` "mig" only.
        quota: GPUs that services may hold at once, counted in slots; None for all of them.
        provisioning: median seconds to provision the node of a GPU; 0 for nodes that always exist.
        slots: replicas per GPU (the time-slicing or MPS `replicas` of NVIDIA's device plugin).
    """

    name: str
    places: tuple[Place, ...]
    sharing: Sharing = "time-slicing"
    mig_slices: tuple[int, ...] = ()
    quota: int | None = None
    provisioning: float = 0.0
    slots: int = 1
