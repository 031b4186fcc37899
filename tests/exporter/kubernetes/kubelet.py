"""A kubelet's pod-resources API: a real gRPC server on a Unix socket, with answers in the encoding of its protocol.

The bytes are made here from the field numbers of the public protocol (kubernetes.io, "Device Plugins"), independently
of the messages that the exporter reads them with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

import grpc

Claims = Mapping[str, Sequence[tuple[str, str]]]
"""Driver and name of the devices of each claim."""
Devices = Mapping[str, Sequence[str]]
"""Device ids by resource."""


def field(number: int, value: bytes | str) -> bytes:
    """A length-delimited field: its tag, its length, and its bytes (protobuf's documentation, "Encoding")."""
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def varint(number: int) -> bytes:
    """Seven bits per byte, the lowest first."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def devices(number: int, given: Devices) -> bytes:
    """ContainerDevices (resource_name = 1, device_ids = 2, topology = 3), as a field of their parent."""
    topology = field(3, field(1, varint(1 << 3) + varint(1)))
    return b"".join(
        field(number, field(1, resource) + b"".join(field(2, id_) for id_ in ids) + topology)
        for resource, ids in given.items()
    )


def claims(given: Claims) -> bytes:
    """DynamicResource (claim_name = 2, claim_namespace = 3, claim_resources = 4) of a container, as its field 5.

    A ClaimResource has cdi_devices = 1 (name = 1), driver_name = 2, pool_name = 3, and device_name = 4.
    """
    return b"".join(
        field(
            5,
            field(2, claim)
            + field(3, "ml")
            + b"".join(
                field(
                    4,
                    field(1, field(1, f"k8s.{driver}/device={device}"))
                    + field(2, driver)
                    + field(3, "node-1")
                    + field(4, device),
                )
                for driver, device in listed
            ),
        )
        for claim, listed in given.items()
    )


def pod(namespace: str, name: str, containers: Mapping[str, Devices], claimed: Claims = MappingProxyType({})) -> bytes:
    """ListPodResourcesResponse with one PodResources (name = 1, namespace = 2, containers = 3).

    Each container has CPUs (cpu_ids = 3), which are not read, and the claims.
    """
    listed = b"".join(
        field(3, field(1, container) + devices(2, given) + field(3, bytes([0, 1, 2])) + claims(claimed))
        for container, given in containers.items()
    )
    return field(1, field(1, name) + field(2, namespace) + listed)


Answer = Callable[[bytes, grpc.ServicerContext], bytes]


@contextmanager
def kubelet(socket: Path, pods: bytes | Answer, allocatable: bytes | Answer | None = b"") -> Iterator[None]:
    """Serve the API at a socket, which is removed at the end; None for a kubelet without GetAllocatableResources."""

    def handler(answer: bytes | Answer) -> grpc.RpcMethodHandler[bytes, bytes]:
        return grpc.unary_unary_rpc_method_handler(answer if callable(answer) else lambda request, context: answer)

    methods = {"List": handler(pods)} | (
        {} if allocatable is None else {"GetAllocatableResources": handler(allocatable)}
    )
    with ThreadPoolExecutor(2) as threads:
        server = grpc.server(threads)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("v1.PodResourcesLister", methods),))
        server.add_insecure_port(f"unix:{socket}")
        server.start()
        try:
            yield
        finally:
            server.stop(0).wait()
            socket.unlink(missing_ok=True)
