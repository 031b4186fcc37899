"""Platforms: hosts, pools of GPUs, services, tenants, and traffic from outside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from foreshock_simulator.spec.services import ServiceSpec, TenantSpec

Sharing = Literal["time-slicing", "mps", "mig"]
Arrivals = Literal["azure-conversation", "azure-code", "mooncake", "servegen", "poisson", "gamma"]
Tokens = Literal["azure-conversation", "azure-code", "mooncake"]


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


@dataclass(frozen=True, slots=True)
class FlowSpec:
    """Requests of users to one operation.

    Args:
        name: unique; faults refer to it.
        rate: requests per second, mean over a day.
        arrivals: source of the burstiness; "gamma" has gaps with the coefficient of variation `cv`.
        tokens: source of the token counts.
        diurnal: (highest − lowest) / (2 · mean) of the daily curve, 0 to 1.
        peak_hour: peak of the daily curve, UTC.
        weekend: rate on Saturday and Sunday relative to other days.
        timeout: after which the user abandons an attempt.
        attempts: of a user in all.
    """

    name: str
    service: str
    route: str
    rate: float
    arrivals: Arrivals = "azure-conversation"
    tokens: Tokens = "azure-conversation"
    cv: float = 1.0
    diurnal: float = 0.0
    peak_hour: float = 14.0
    weekend: float = 1.0
    timeout: float = 60.0
    attempts: int = 1


@dataclass(frozen=True, slots=True)
class PlatformSpec:
    """A platform before any fault."""

    hosts: tuple[HostSpec, ...]
    pools: tuple[PoolSpec, ...]
    services: tuple[ServiceSpec, ...]
    tenants: tuple[TenantSpec, ...] = ()
    flows: tuple[FlowSpec, ...] = ()


@dataclass(frozen=True, slots=True)
class Topology:
    """Parameters of generated platforms of every size.

    Args:
        load: traffic of language models as a share of their capacity.
        spare: GPUs that services with language models may claim in addition, as a share of those at the start.
        provisioning: median seconds to provision the node of such a GPU.
        mig: whether the embedder's GPUs have MIG instances, one of them for the tenant `sliced-batch`.
        cached: share of the assistant's requests that the cache `answer-cache` answers. It has as many more requests,
            so that the language model's load stays.
        diurnal: of all flows, see `FlowSpec`.
        peak_hour: of all flows.
    """

    load: float = 0.45
    spare: float = 1.0
    provisioning: float = 360.0
    mig: bool = False
    cached: float = 0.0
    diurnal: float = 0.0
    peak_hour: float = 14.0
