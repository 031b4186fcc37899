"""Client of the kubelet's pod-resources API, a gRPC service on a Unix socket."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import grpc

from foreshock_exporter.kubernetes.allocations import MAX_DEVICES, Allocation, Device, allocation_families
from foreshock_exporter.kubernetes.messages import SERVICE, Allocatable, Pods, Request
from foreshock_exporter.model.family import Families

READ_SECONDS = 5.0
"""Time between two reads."""
TIMEOUT_SECONDS = 2.0
"""Deadline of each call."""
MAX_MESSAGE_BYTES = 16 << 20
"""Largest answer."""


class PodResources:
    """A collector of GPUs allocated to pods. Each read opens a connection: a restarted kubelet has a new socket.

    Args:
        devices: returns the GPUs and MIG instances of the host by UUID; None while they are unknown.
        now: monotonic clock in seconds.
    """

    def __init__(
        self,
        socket: Path,
        devices: Callable[[], Mapping[str, Device] | None],
        now: Callable[[], float] = time.monotonic,
        timeout: float = TIMEOUT_SECONDS,
    ) -> None:
        self._socket, self._devices, self._now, self._timeout = socket, devices, now, timeout
        self._found: tuple[list[Allocation], list[tuple[str, str]]] = [], []
        self._read_at: float | None = None

    def __call__(self) -> Families:
        """Families of the last read, which is at most `READ_SECONDS` old; none while the devices are unknown.

        Raises:
            OSError: the kubelet cannot be reached or did not answer in time; the message has the remedy.
            ValueError: the answer is too large or malformed.
        """
        now = self._now()
        if self._read_at is None or now - self._read_at >= READ_SECONDS:
            self._read_at = None  # after a failure, the next run reads again
            self._found = self._read()
            self._read_at = now
        devices = self._devices()
        return [] if devices is None else allocation_families(*self._found, devices)

    def _read(self) -> tuple[list[Allocation], list[tuple[str, str]]]:
        """Allocated devices, and resource and id of the allocatable ones."""
        try:
            self._socket.stat()
        except PermissionError as error:
            raise OSError(f"{self._socket}: permission denied; run as root") from error
        except FileNotFoundError as error:
            raise OSError(f"{self._socket}: no such socket; start the kubelet, or set --path.pod-resources") from error
        options = (("grpc.default_authority", "localhost"), ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES))
        with grpc.insecure_channel(f"unix:{self._socket.absolute()}", options=options) as channel:
            pods = self._call(channel, "List", Pods).pods
            allocatable = self._call(channel, "GetAllocatableResources", Allocatable).devices
        allocations = [
            Allocation(pod.namespace, pod.name, container.name, devices.resource_name, device)
            for pod in pods
            for container in pod.containers
            for devices in container.devices
            for device in devices.device_ids
        ] + [
            Allocation(
                pod.namespace, pod.name, container.name, device.driver_name, device.device_name, claim.claim_name
            )
            for pod in pods
            for container in pod.containers
            for claim in container.claims
            for device in claim.devices
        ]
        if len(allocations) > MAX_DEVICES:
            raise ValueError(f"{self._socket}: more than {MAX_DEVICES} devices are allocated")
        available = [(devices.resource_name, device) for devices in allocatable for device in devices.device_ids]
        return allocations, available

    def _call(self, channel: grpc.Channel, method: str, answer: Any) -> Any:  # noqa: ANN401 - made at run time
        call = channel.unary_unary(
            f"/{SERVICE}/{method}",
            request_serializer=Request.SerializeToString,
            response_deserializer=answer.FromString,
        )
        try:
            return call(Request(), timeout=self._timeout)
        except grpc.RpcError as error:
            code, details = error.code(), error.details()
        if code is grpc.StatusCode.UNIMPLEMENTED and answer is Allocatable:
            return Allocatable()  # a kubelet before 1.23
        if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
            raise ValueError(f"{self._socket}: the answer of {method} is larger than {MAX_MESSAGE_BYTES >> 20} MiB")
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            raise OSError(f"{self._socket}: the kubelet did not answer {method} within {self._timeout:g} s")
        if code is grpc.StatusCode.UNAVAILABLE:
            raise OSError(f"{self._socket}: cannot connect to the kubelet ({details}); is it running?")
        raise OSError(f"{self._socket}: the kubelet refused {method}: {code.name} {details}")
