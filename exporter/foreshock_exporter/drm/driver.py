"""`Driver` over the kernel's DRM drivers amdgpu, i915, and xe."""

from __future__ import annotations

import re
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

from foreshock_exporter.drm import amd, intel
from foreshock_exporter.drm.attributes import Attributes, exists, read_text
from foreshock_exporter.drm.cards import Card, Vendor, is_integrated, is_suspended, list_cards
from foreshock_exporter.drm.clients import DrmClients
from foreshock_exporter.drm.fdinfo import Client
from foreshock_exporter.drm.kfd import Kfd, Node
from foreshock_exporter.drm.shares import MAX_SPAN_SECONDS, busy_shares, sample_times
from foreshock_exporter.model import device

MAX_SAMPLE_AGE_SECONDS = 1.5
"""Age after which a busy sample no longer counts for the shares of processes."""
MAX_PENDING_SAMPLES = 16
"""Busy samples kept of that time, at the shortest sampling period."""
MAX_PROBE_SECONDS = 1.0
"""Longest wait for the first file of a new GPU's driver."""
NODES_INTERVAL_SECONDS = 10.0
"""Time between two readings of the compute devices of a GPU, which change with its partitions."""
_UNIQUE_ID = re.compile(r"[0-9a-f]{8,32}")


@dataclass(slots=True, eq=False)
class Gpu:
    """One GPU by its PCI address, and what was last seen of it. Times in seconds of the driver's clock."""

    card: Card
    uuid: str = ""
    suspended: bool = False
    nodes: tuple[Node, ...] = ()
    nodes_at: float | None = None
    no_nodes: device.DeviceError | None = None
    """Why the nodes are unknown."""
    compute_pids: tuple[int, ...] = ()
    busy_samples: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=MAX_PENDING_SAMPLES))
    """Times and ratios since the last shares."""
    sampled_at: float | None = None
    clients: Mapping[tuple[int, str], Client] = field(default_factory=dict)
    """Clients at the last shares, and newer ones when they were first seen."""
    clients_at: float | None = None
    memory_blocks: set[str] = field(default_factory=set)
    """Blocks that have reported ECC errors."""
    throttle: amd.ThrottleClock = field(default_factory=amd.ThrottleClock)
    power: intel.MeanPower = field(default_factory=intel.MeanPower)


class DrmDriver:
    """GPUs of AMD and Intel. A GPU keeps its index for the lifetime of the driver, also while it is gone.

    Args:
        modes: "on", "off", or "auto" by vendor; "auto" is without GPUs that are part of a CPU.
        host_id: for the UUIDs of GPUs that have none.
        now: monotonic clock in seconds.
    """

    def __init__(
        self,
        sysfs: Path,
        procfs: Path,
        modes: Mapping[Vendor, str],
        *,
        host_id: str = "",
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sysfs = sysfs
        self._procfs = procfs
        self._modes = modes
        self._host_id = host_id
        self._now = now
        self._kfd = Kfd(sysfs)
        self._clients = DrmClients(sysfs, procfs, now)
        self._gpus: dict[str, Gpu] = {}
        self._skipped: set[str] = set()
        self._closed = threading.Event()

    @property
    def found(self) -> int:
        """Number of GPUs seen so far. Reads nothing."""
        return len(self._gpus)

    def count(self) -> int:
        """Number of GPUs seen so far. Finds new ones."""
        for address, card in list_cards(self._sysfs).items():
            if address in self._gpus:
                self._gpus[address].card = card
            elif address not in self._skipped:
                mode = self._modes.get(card.vendor, "off")
                if mode == "on" or (mode == "auto" and not self._is_integrated(card)):
                    self._gpus[address] = Gpu(card)
                else:
                    self._skipped.add(address)
        return len(self._gpus)

    def _is_integrated(self, card: Card) -> bool:
        """Whether the GPU is part of a CPU; False if the driver does not answer in time.

        Such a GPU is counted, so that its hung calls show. The thread that asked is given up.
        """
        answer: list[bool] = []
        thread = threading.Thread(target=lambda: answer.append(is_integrated(card)), daemon=True, name="drm-new")
        thread.start()
        thread.join(MAX_PROBE_SECONDS)
        return bool(answer and answer[0])

    def identity(self, gpu: int) -> device.Identity:
        found, attributes = self._open(gpu)
        card = found.card
        found.suspended = is_suspended(card)
        found.uuid = found.uuid or self._uuid(card, attributes)
        self._find_nodes(found)
        partition = attributes.text("current_compute_partition") or "SPX"
        return device.Identity(
            gpu=str(gpu),
            uuid=found.uuid,
            model=_model(card, attributes, found.nodes),
            pci_bus_id=card.address,
            driver_version=self._driver_version(card),
            cuda_version="",
            sharing="concurrent" if partition == "SPX" else "partitioned",
            vendor=card.vendor,
        )

    def utilization(self, gpu: int, since_us: int) -> Sequence[device.UtilizationSample]:
        """The busy ratio now, as a sample of the time since the last one. A suspended GPU is idle, and stays so.

        No sample while the driver fails for a moment, as when it resets or suspends the GPU: the next one stands for
        that time. A longer failure raises DeviceError.
        """
        found, attributes = self._open(gpu)
        if found.card.vendor != "AMD":
            raise device.DeviceError("not_supported", f"{found.card.driver} does not report how busy the GPU is")
        ratio = 0.0 if found.suspended else amd.busy_ratio(attributes, "ratio")
        now = self._now()
        if ratio is None:
            reason = attributes.absent.get("ratio", "not_supported")
            if reason == "driver" and _is_sampled(found, now):
                return ()
            raise device.DeviceError(reason, "gpu_busy_percent is not readable")
        before, found.sampled_at = found.sampled_at, now
        found.busy_samples.append((now, ratio))
        return tuple(
            device.UtilizationSample(timestamp_us, ratio)
            for at in sample_times(before, now)
            if (timestamp_us := round(at * 1e6)) > since_us
        )

    def process_utilization(self, gpu: int, since_us: int) -> Sequence[device.ProcessUtilization]:
        """Shares of processes; see `busy_shares`.

        Those of DRM clients are means since the last shares, as the caller keeps the time of samples without shares. A
        caller that gets no samples counts each call alone: then they are means since the last call.
        """
        found, _ = self._open(gpu)
        if found.suspended:  # fdinfo of xe would resume it
            return ()
        now = self._now()
        clients = self._clients.read(found.card.address, found.compute_pids)
        before, before_at = found.clients, found.clients_at
        measured: dict[int, float] = {}
        if before_at is not None and now > before_at:
            for (pid, number), client in clients.items():
                if (earlier := before.get((pid, number))) is not None:
                    share = client.share_since(earlier, now - before_at)
                    measured[pid] = min(1.0, measured.get(pid, 0.0) + share)
        samples = [ratio for at, ratio in found.busy_samples if now - at <= MAX_SAMPLE_AGE_SECONDS]
        busy = sum(samples) / len(samples) if samples else None
        self._check_visible(found)
        shares = busy_shares(busy, measured, self._occupancy(found))
        if shares:
            found.busy_samples.clear()
        if shares or before_at is None or not _is_sampled(found, now):
            found.clients = {key: client.not_below(before.get(key, client)) for key, client in clients.items()}
            found.clients_at = now
        else:
            found.clients = {key: before.get(key, client) for key, client in clients.items()}
        timestamp_us = round(now * 1e6)
        if timestamp_us <= since_us:
            return ()
        return tuple(device.ProcessUtilization(pid, timestamp_us, share) for pid, share in shares.items())

    def read(self, gpu: int) -> device.Reading:
        found, attributes = self._open(gpu)
        if found.suspended:
            return device.Reading(utilization_ratio=0.0, absent=_all_suspended(device.Reading))
        if found.card.vendor == "AMD":
            reading, now = amd.read_state(attributes), self._now()
            if reading.utilization_ratio is not None and not _is_sampled(found, now):
                found.busy_samples.append((now, reading.utilization_ratio))
            return reading
        return intel.read_state(attributes, found.power, self._now())

    def counters(self, gpu: int, only: Collection[str] = ()) -> device.Counters:  # noqa: ARG002 - all cost the same
        found, attributes = self._open(gpu)
        if found.suspended:
            return device.Counters(absent=_all_suspended(device.Counters))
        if found.card.vendor == "AMD":
            return found.throttle.read(attributes, self._now())
        return intel.read_counters(attributes)

    def activity(self, gpu: int, instances: Collection[int]) -> device.Activity | None:  # noqa: ARG002 - of MIG
        self._open(gpu)
        raise device.DeviceError("not_supported", "the kernel does not report the activity of compute units")

    def health(self, gpu: int) -> device.Health:
        found, attributes = self._open(gpu)
        if found.suspended:
            return device.Health(absent=_all_suspended(device.Health))
        if found.card.vendor != "AMD":
            return device.Health()
        return amd.read_health(attributes, found.memory_blocks)

    def processes(self, gpu: int) -> device.Processes:
        """Processes of ROCm with memory or queues, and DRM clients with memory or time on an engine.

        Raises:
            DeviceError: "suspended" if the kernel has suspended the GPU, which to read fdinfo could resume.
        """
        found, _ = self._open(gpu)
        if found.suspended:
            raise device.DeviceError("suspended", f"the kernel has suspended the GPU at {found.card.address}")
        compute = self._kfd.memory(found.nodes)
        found.compute_pids = tuple(compute)
        memory: dict[int, float | None] = dict(compute)
        for (pid, _), client in self._clients.read(found.card.address, found.compute_pids).items():
            if pid not in compute and (client.memory_bytes or client.has_worked):
                known = memory.get(pid, 0.0)
                own = client.memory_bytes
                memory[pid] = None if own is None or known is None else known + own
        self._check_visible(found)
        return device.Processes(tuple(device.GpuProcess(pid, used) for pid, used in memory.items()))

    def xids(self, timeout: float) -> Sequence[device.Xid]:
        """None: XIDs are NVIDIA's."""
        self._closed.wait(timeout)
        return ()

    def close(self) -> None:
        """Return waiting calls."""
        self._closed.set()

    def _open(self, gpu: int) -> tuple[Gpu, Attributes]:
        """GPU at an index, and its attributes. Raises DeviceError if it is gone."""
        gpus = list(self._gpus.values())
        if not 0 <= gpu < len(gpus):
            raise device.DeviceError("not_found", f"no card of AMD or Intel has the index {gpu}")
        card = gpus[gpu].card
        if not exists(f"{card.folder}/uevent"):
            self._gpus[card.address] = Gpu(card)  # another one may come to its slot
            raise device.DeviceError("lost", f"the kernel no longer has the GPU at {card.address}")
        return gpus[gpu], Attributes(card.folder)

    def _find_nodes(self, gpu: Gpu) -> None:
        now = self._now()
        if gpu.card.vendor != "AMD" or (gpu.nodes_at is not None and now - gpu.nodes_at < NODES_INTERVAL_SECONDS):
            return
        gpu.nodes_at, gpu.no_nodes = now, None
        try:
            gpu.nodes = self._kfd.nodes(gpu.card.address)
        except device.DeviceError as error:
            gpu.nodes, gpu.no_nodes = (), error

    def _check_visible(self, gpu: Gpu) -> None:
        """Raise DeviceError if processes use the GPU unseen: those that are seen would be a part."""
        if gpu.no_nodes is not None:
            raise gpu.no_nodes
        if not gpu.nodes and self._clients.incomplete:
            raise _hidden_files()

    def _occupancy(self, gpu: Gpu) -> Mapping[int, float]:
        """Weights of ROCm's processes. A single one with queues needs no weight.

        Raises:
            DeviceError: "not_supported" if several have queues on a GPU that does not report their compute units;
            "no_permission" if other processes may use it unseen, whose time would be charged to the single one.
        """
        if not gpu.compute_pids:
            return {}
        try:
            return self._kfd.occupancy(gpu.compute_pids, gpu.nodes)
        except device.DeviceError:
            able = [pid for pid in gpu.compute_pids if self._kfd.queues(pid, gpu.nodes)]
            if len(able) > 1:
                raise
            if able and self._clients.incomplete:
                raise _hidden_files() from None
            return dict.fromkeys(able, 1.0)

    def _uuid(self, card: Card, attributes: Attributes) -> str:
        """`GPU-` and the GPU's unique ID, as in ROCm; for a GPU without one, a UUID of its slot in this host."""
        unique = attributes.text("unique_id") or ""
        if _UNIQUE_ID.fullmatch(unique) and int(unique, 16):
            return f"GPU-{unique}"
        return f"GPU-{uuid.uuid5(uuid.NAMESPACE_OID, f'{self._host_id}/{card.address}')}"

    def _driver_version(self, card: Card) -> str:
        """Version of a driver that is not the kernel's own, else the release of the kernel."""
        for path in (f"{self._sysfs}/module/{card.driver}/version", f"{self._procfs}/sys/kernel/osrelease"):
            try:
                return read_text(path)
            except device.DeviceError:
                continue
        return ""


def _is_sampled(gpu: Gpu, now: float) -> bool:
    """Whether the busy ratio was sampled lately: then the next sample stands for the time since."""
    return gpu.sampled_at is not None and now - gpu.sampled_at <= MAX_SPAN_SECONDS


def _hidden_files() -> device.DeviceError:
    return device.DeviceError(
        "no_permission", "the open files of other users' processes cannot be read; run as root or with CAP_SYS_PTRACE"
    )


def _all_suspended(part: type[device.Reading | device.Counters | device.Health]) -> dict[str, device.Reason]:
    """Reason of every value of a GPU that the kernel has switched off; to read them would switch it on."""
    return {entry.name: "suspended" for entry in fields(part)}


def _model(card: Card, attributes: Attributes, nodes: Sequence[Node]) -> str:
    """Product name, else the name of the chip and the PCI device ID; with the vendor in front."""
    product = attributes.text("product_name") or ""
    chip = " ".join(part for part in (nodes[0].name if nodes else "GPU", f"({card.device_id})") if part)
    name = product or chip
    return name if card.vendor.lower() in name.lower() else f"{card.vendor} {name}"
