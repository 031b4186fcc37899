"""GPUs and MIG instances that the kubelet allocated to containers, as metrics. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from foreshock_exporter.attribution.service_resolver import workload
from foreshock_exporter.model import metrics
from foreshock_exporter.model.device import Identity
from foreshock_exporter.model.family import Families, Sample, label_value

MAX_DEVICES = 4096
"""Devices read of one answer: 16 GPUs with 7 MIG instances of 32 replicas each, and more."""

_UUID = re.compile(r"((?:GPU|MIG)-[\w/-]+?)(?:::(\d+))?")
"""Id of NVIDIA's device plugin: a UUID, and after `::` the replica of a time-sliced or MPS-shared GPU."""
_INDEX = re.compile(r"(?:nvidia)?(\d{1,3})(?:/gi\d+)?(?:(?:::|/vgpu)(\d+))?")
"""Id by index: the plugin's strategy `index`, and GKE's `nvidia0`, `nvidia0/gi1`, and `nvidia0/vgpu1`."""
_RESOURCE = "nvidia.com/"
_AMD_RESOURCE = "amd.com/"
"""Resources of AMD's device plugin, whose ids are PCI addresses (ROCm/k8s-device-plugin, GetAMDGPUs)."""
_DRIVER = "gpu.nvidia.com"
"""NVIDIA's driver for Dynamic Resource Allocation."""
_CLAIMED = re.compile(r"gpu-(\d{1,3})(-mig-.+)?")
"""Name of its devices: the minor number of the GPU; for a MIG instance also profile and placement."""


class Device(NamedTuple):
    """A GPU or MIG instance of this host. mig_uuid: "" for a whole GPU. The others are of the whole GPU."""

    gpu: str
    uuid: str
    mig_uuid: str = ""
    minor: str = ""
    pci_bus_id: str = ""


class KnownDevices:
    """The GPUs and MIG instances of the host, also those of GPUs that no longer answer."""

    def __init__(self) -> None:
        self._instances: dict[str, tuple[str, ...]] = {}  # UUIDs by UUID of the GPU, as it last showed them

    def update(self, seen: Iterable[Identity], instances: Mapping[str, tuple[str, ...]]) -> Mapping[str, Device] | None:
        """All devices by UUID; None before the first reading of a GPU, which would change the labels of series.

        seen: every GPU ever seen. instances: MIG instances of those that answer.
        """
        self._instances |= {uuid: found for uuid, found in instances.items() if found or uuid not in self._instances}
        known = tuple(seen)
        if known and not self._instances:
            return None
        gpus = {gpu.uuid: Device(gpu.gpu, gpu.uuid, "", gpu.minor, gpu.pci_bus_id) for gpu in known}
        return gpus | {
            mig: Device(gpu.gpu, gpu.uuid, mig, gpu.minor) for gpu in known for mig in self._instances.get(gpu.uuid, ())
        }


class Allocation(NamedTuple):
    """A device id that the kubelet gave to a container, of a resource such as `nvidia.com/gpu`.

    Of a claim, `resource` is the driver, and `device` the driver's name of the device.
    """

    namespace: str
    pod: str
    container: str
    resource: str
    device: str
    claim: str = ""


def allocation_families(
    allocations: Iterable[Allocation], allocatable: Iterable[tuple[str, str]], devices: Mapping[str, Device]
) -> Families:
    """The families of GPUs allocated, and of those that could be.

    allocatable: resource and device id of each. devices: those of the host by UUID.
    """
    by_index = {device.gpu: device for device in devices.values() if not device.mig_uuid}
    rows = [
        (
            *(*found[:3], item.resource, replica, *map(label_value, item[:3]), label_value(workload(item.pod))),
            *((label_value(item.claim), label_value(item.device)) if item.claim else ("", "")),
        )
        for item in allocations
        if (of := _device(item.resource, item.device, devices, by_index)) is not None
        for found, replica in (of,)
    ]
    counts = Counter(
        resource for resource, device in allocatable if _device(resource, device, devices, by_index) is not None
    )
    return [
        (metrics.ALLOCATION_INFO, [Sample(labels, 1.0) for labels in sorted(set(rows))]),
        (metrics.ALLOCATABLE, [Sample((resource,), float(count)) for resource, count in sorted(counts.items())]),
    ]


def _device(
    resource: str, text: str, devices: Mapping[str, Device], by_index: Mapping[str, Device]
) -> tuple[Device, str] | None:
    """The device with this id, and its replica; None for other hardware."""
    if match := _UUID.fullmatch(text):
        uuid = match[1]
        unknown = Device("", "", uuid) if uuid.startswith("MIG-") else Device("", uuid)
        return devices.get(uuid, unknown), match[2] or ""
    if resource == _DRIVER and (match := _CLAIMED.fullmatch(text)):
        return _claimed(match[1], bool(match[2]), devices), ""
    if resource.startswith(_AMD_RESOURCE):
        return next(((device, "") for device in devices.values() if device.pci_bus_id == text), None)
    if resource.startswith(_RESOURCE) and (match := _INDEX.fullmatch(text)):
        return by_index.get(match[1], Device(match[1], "")), match[2] or ""
    return None


def _claimed(minor: str, is_instance: bool, devices: Mapping[str, Device]) -> Device:
    """The GPU with this minor number, or its only MIG instance.

    Names of instances differ between versions of the driver, and need their placement, so of several none is chosen.
    """
    of_gpu = [device for device in devices.values() if device.minor == minor]
    instances = [device for device in of_gpu if device.mig_uuid]
    if is_instance and len(instances) == 1:
        return instances[0]
    return next((device for device in of_gpu if not device.mig_uuid), Device("", ""))
