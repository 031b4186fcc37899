"""Messages of the kubelet's pod-resources API, version 1, as far as they are read.

Field numbers: kubernetes.io, "Device Plugins", section "Monitoring device plugin resources", and the protocol file of
k8s.io/kubelet for the devices of claims. Unknown fields, such as CPUs and memory, are skipped.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

SERVICE = "v1.PodResourcesLister"
_FIELDS: dict[str, tuple[tuple[str, int, str, bool], ...]] = {
    "Request": (),
    "Devices": (("resource_name", 1, "", False), ("device_ids", 2, "", True)),
    "ClaimedDevice": (("driver_name", 2, "", False), ("device_name", 4, "", False)),
    "Claim": (("claim_name", 2, "", False), ("devices", 4, "ClaimedDevice", True)),
    "Container": (("name", 1, "", False), ("devices", 2, "Devices", True), ("claims", 5, "Claim", True)),
    "Pod": (("name", 1, "", False), ("namespace", 2, "", False), ("containers", 3, "Container", True)),
    "Pods": (("pods", 1, "Pod", True),),
    "Allocatable": (("devices", 1, "Devices", True),),
}
"""Name, number, message ("" for a string), and whether it is repeated, of the fields of each message."""


def _message_types() -> tuple[Any, ...]:
    file = descriptor_pb2.FileDescriptorProto(
        name="foreshock/pod_resources.proto", package="foreshock", syntax="proto3"
    )
    kinds = descriptor_pb2.FieldDescriptorProto
    for message, fields in _FIELDS.items():
        type_ = file.message_type.add(name=message)
        for name, number, of, repeated in fields:
            field = type_.field.add(name=name, number=number)
            field.label = kinds.LABEL_REPEATED if repeated else kinds.LABEL_OPTIONAL
            field.type = kinds.TYPE_MESSAGE if of else kinds.TYPE_STRING
            if of:
                field.type_name = f".foreshock.{of}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    names = ("Request", "Pods", "Allocatable")
    return tuple(message_factory.GetMessageClass(pool.FindMessageTypeByName(f"foreshock.{name}")) for name in names)


Request, Pods, Allocatable = _message_types()
"""The request of both calls, and the answers of `List` and of `GetAllocatableResources`."""
