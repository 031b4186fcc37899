"""Hosts, their GPUs and interfaces, and the pools that GPUs belong to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

Sharing = Literal["time-slicing", "mps", "mig"]


class Place(NamedTuple):
    """A GPU: the host's name and the index there."""

    host: str
    gpu: int


@dataclass(frozen=True, slots=True)
class HostSpec:
    """A host. `gpu_model` is a key of `hardware.models.MODELS`; the interface's speed is that of each direction."""

    name: str
    gpus: int = 8
    gpu_model: str = "H100"
    nic_bytes_per_second: float = 25e9
    rack: str = ""


@dataclass(frozen=True, slots=True)
class PoolSpec:
    """GPUs that an autoscaler and a quota treat as one.

    A replica takes the emptiest GPUs, in the order of `places` where several are as empty; the GPUs of one replica are
    on one host.

    Args:
        name: unique.
        places: its GPUs.
        sharing: how processes on one of its GPUs share it.
        mig_slices: sevenths of the GPU's compute that each MIG instance has, e.g. (3, 2, 1); with `sharing` "mig" only.
        quota: GPUs that services may hold at once, a slot each; all of them where None.
        provisioning: median seconds from asking for a GPU to having its node; 0: it is there.
        slots: replicas that a GPU takes at once (the time-slicing or MPS `replicas` of NVIDIA's device plugin).
    """

    name: str
    places: tuple[Place, ...]
    sharing: Sharing = "time-slicing"
    mig_slices: tuple[int, ...] = ()
    quota: int | None = None
    provisioning: float = 0.0
    slots: int = 1
