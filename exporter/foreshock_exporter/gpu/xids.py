"""XID errors of GPUs by number and by service, and SXID errors of NVSwitches, from NVML events and the kernel log."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from foreshock_exporter.common.log import log
from foreshock_exporter.gpu.collector import GpuRecord, describe
from foreshock_exporter.gpu.snapshot import ServiceXidCount, XidCount
from foreshock_exporter.model.device import Xid
from foreshock_exporter.model.family import label_value
from foreshock_exporter.model.service import AttributedService
from foreshock_exporter.model.xid import (
    KernelMessage,
    LoggedSxid,
    LoggedXid,
    PciAddress,
    parse_sxid,
    parse_xid,
    pci_address,
)
from foreshock_exporter.model.xid_catalog import xid_info

MAX_XID_KINDS = 16
"""Distinct XIDs counted per GPU; NVIDIA documents about 170."""
MAX_SERVICE_SERIES = 256
"""Services with XID errors, by GPU and number; further ones replace the one without errors for the longest time."""
MAX_SXID_SERIES = 256
"""SXID errors by NVSwitch and number; further ones are counted together."""
OTHER_XIDS = "other"
"""Label value of the remaining XIDs and SXIDs."""
SAME_ERROR_SECONDS = 1.0
"""Lines with the same GPU, XID, and process within this time of the first are one error; some print a line per SM."""


@dataclass(slots=True)
class _Count:
    gpu: str
    events: int = 0
    messages: int = 0
    last: float = 0.0


class XidCounter:
    """Counts the errors of all GPUs. Thread-safe.

    NVML events and the kernel log report the same errors, and each lacks some: events have no process, and those from
    before a driver reload are lost; the log overwrites old records. The number of errors is the larger of both.
    """

    def __init__(self, records: dict[str, GpuRecord]) -> None:
        self._records = records
        self._lock = threading.Lock()
        self._counts: dict[tuple[str, str], _Count] = {}
        self._services: dict[tuple[str, AttributedService, str], ServiceXidCount] = {}
        self._sxids: dict[tuple[str, str, str], int] = {}
        self._recent: dict[LoggedXid, float] = {}

    def add_event(self, event: Xid, now: float) -> None:
        """Count an NVML event at the Unix time `now`."""
        index, description = self._describe(event.uuid)
        log.warning("GPU %s (%s): the driver reports XID %s", index, description, _described(event.xid))
        with self._lock:
            self._count(event.uuid, index, str(event.xid), now).events += 1

    def add_messages(self, messages: Iterable[KernelMessage], now: float) -> None:
        """Count the errors in messages of the kernel, read at the Unix time `now`."""
        for message in messages:
            if (error := parse_xid(message.text)) is not None:
                self._add_xid(error, message.time, now)
            elif (switch_error := parse_sxid(message.text)) is not None:
                self._add_sxid(switch_error, message.text)

    def counts(self) -> tuple[XidCount, ...]:
        with self._lock:
            return tuple(
                XidCount(count.gpu, uuid, kind, max(count.events, count.messages), count.last)
                for (uuid, kind), count in self._counts.items()
            )

    def by_service(self) -> tuple[ServiceXidCount, ...]:
        with self._lock:
            return tuple(self._services.values())

    def sxids(self) -> Mapping[tuple[str, str, str], int]:
        """Number of SXID errors by PCI address of the NVSwitch, SXID, and `error_type`."""
        with self._lock:
            return self._sxids.copy()

    def _add_xid(self, error: LoggedXid, time: float, now: float) -> None:
        self._recent = {key: at for key, at in self._recent.items() if 0.0 <= time - at <= SAME_ERROR_SECONDS}
        if error in self._recent:
            return
        self._recent[error] = time
        uuid = self._uuid(error.address)
        index, description = self._describe(uuid)
        service = self._service(uuid, error.pid)
        with self._lock:
            count = self._count(uuid, index, str(error.xid), now)
            count.messages += 1
            if service is not None:
                self._count_service(index, uuid, service, self._kind(uuid, str(error.xid)))
        log.warning(
            "GPU %s (%s): the kernel logs XID %s%s%s",
            index,
            description or "PCI {:04x}:{:02x}:{:02x}".format(*error.address),
            _described(error.xid),
            "" if error.pid is None else f", process {error.pid} {label_value(error.process)}".rstrip(),
            "" if service is None else f", service {'/'.join(filter(None, (service.namespace, service.name)))}",
        )

    def _add_sxid(self, error: LoggedSxid, text: str) -> None:
        with self._lock:
            key = (error.pci_bus_id, str(error.sxid), error.error_type)
            if key not in self._sxids and len(self._sxids) >= MAX_SXID_SERIES:
                key = ("", OTHER_XIDS, error.error_type)
            self._sxids[key] = self._sxids.get(key, 0) + 1
        log.warning("NVSwitch: the kernel logs %s", label_value(text))

    def _uuid(self, address: PciAddress) -> str:
        """UUID of the GPU at an address; "" for one that has never answered."""
        records = self._records.copy()
        return next((uuid for uuid, gpu in records.items() if pci_address(gpu.identity.pci_bus_id) == address), "")

    def _service(self, uuid: str, pid: int | None) -> AttributedService | None:
        """Service of a process that uses the GPU, or did at the last look.

        Others, such as a program that reads a lost GPU's state, only discover an error.
        """
        record = self._records.get(uuid)
        return None if record is None or pid is None else record.tenants.service_of(pid)

    def _describe(self, uuid: str) -> tuple[str, str]:
        """Index of a GPU, and text for the log."""
        record = self._records.get(uuid)
        return (record.identity.gpu, describe(record.identity)) if record else ("", uuid)

    def _kind(self, uuid: str, xid: str) -> str:
        """Label value of the XID, within the limit. Requires the lock."""
        kinds = sum(counted_uuid == uuid for counted_uuid, _ in self._counts)
        return xid if (uuid, xid) in self._counts or kinds < MAX_XID_KINDS else OTHER_XIDS

    def _count(self, uuid: str, index: str, xid: str, now: float) -> _Count:
        """Count of an XID with the time of its last report. Requires the lock."""
        count = self._counts.setdefault((uuid, self._kind(uuid, xid)), _Count(index))
        count.gpu, count.last = index, now
        return count

    def _count_service(self, index: str, uuid: str, service: AttributedService, kind: str) -> None:
        """Count an error of a service; the latest is the last. Requires the lock."""
        service = AttributedService(
            service.namespace, service.name, service.source
        )  # without what ends with its process
        before = self._services.pop((uuid, service, kind), None)
        if before is None and len(self._services) >= MAX_SERVICE_SERIES:
            del self._services[next(iter(self._services))]
        times = 1 if before is None else before.times + 1
        self._services[uuid, service, kind] = ServiceXidCount(index, uuid, service, kind, times)


def _described(xid: int) -> str:
    """Number of an XID, with its name and the first action."""
    info = xid_info(xid)
    return f"{xid} ({info.name}; action: {info.action})"
