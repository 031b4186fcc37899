"""Assembly of the exporter and the OTLP pusher from options."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from foreshock_exporter.attribution.container import host_join_keys, join_keys
from foreshock_exporter.attribution.host_identity import host_id, host_name
from foreshock_exporter.common.log import log
from foreshock_exporter.common.option_table import InvalidOptionError
from foreshock_exporter.common.version import version
from foreshock_exporter.exporter import Collector, Exporter
from foreshock_exporter.gpu.collector import AerErrors, GpuOptions
from foreshock_exporter.gpu.occupancy import JoinKeys
from foreshock_exporter.gpu.snapshot import GpuSnapshot, GpuState
from foreshock_exporter.model.device import Driver
from foreshock_exporter.model.service import Resolver
from foreshock_exporter.model.xid import KernelMessage
from foreshock_exporter.options import Options
from foreshock_exporter.web.connections import Connections

if TYPE_CHECKING:
    from foreshock_exporter.otlp.pusher import OtlpPusher

Now = Callable[[], float]
Messages = Callable[[], Sequence[KernelMessage]]
"""Messages of the kernel since the last call."""


class Host(NamedTuple):
    """Data sources of a real host or of a device script.

    `unattributed` is the reason why no process can be attributed, or "". `expected` returns the number of GPUs on the
    PCI bus, and `drivers_up` the state of each driver, as in `GpuOptions`. `outdated` returns whether only a new
    process can use the driver. `join_keys` returns the join keys of a process. `aer_errors` are PCIe errors of a GPU.
    `kernel_log` is None if it is off or not readable.
    """

    driver: Driver
    resolver: Resolver
    host_id: str
    host_name: str
    collectors: Mapping[str, Collector]
    expected: Callable[[], int] = lambda: 0
    drivers_up: Callable[[], Mapping[str, bool]] = dict
    unattributed: str = ""
    outdated: Callable[[], bool] = lambda: False
    join_keys: JoinKeys = host_join_keys
    kernel_log: Messages | None = None
    aer_errors: AerErrors | None = None


@dataclass(frozen=True, slots=True)
class Daemon:
    """Assembled exporter; `push` is None without an OTLP endpoint."""

    exporter: Exporter
    push: OtlpPusher | None
    connections: Connections
    outdated: Callable[[], bool]

    def start(self, period: float) -> None:
        """Start collection every `period` seconds, and pushing."""
        self.exporter.start(period)
        if self.push is not None:
            self.push.start()

    def close(self) -> None:
        for closer in self.closers():
            closer()

    def closers(self) -> tuple[Callable[[], None], ...]:
        """Functions that close the parts; they may run in parallel."""
        return (self.exporter.close,) if self.push is None else (self.push.close, self.exporter.close)


def build(options: Options, now: Now) -> Daemon:
    """Assemble the daemon. Reads the identity of the host and its PCI bus, but no file of a GPU's driver.

    Raises:
        InvalidOptionError: the device script is invalid.
    """
    host = _mock(options.mock, options, now) if options.mock else _real(options)
    push, connections = None, Connections()
    if options.otlp_endpoint:
        from foreshock_exporter.otlp.pusher import OtlpPusher  # the SDK is large: only those who push pay for it

        push = OtlpPusher(
            options.otlp_endpoint,
            lambda: exporter.snapshot(),
            {
                "host.id": host.host_id,
                "host.name": host.host_name,
                "service.version": version(),
                **({"foreshock.mock": "true"} if options.mock else {}),
            },
            options.otlp_interval,
            now,
            wall=time.time,
            join_keys=host.join_keys,
        )
    gpus = GpuOptions(
        expected=host.expected,
        drivers_up=host.drivers_up,
        health=options.health,
        unattributed=host.unattributed,
        observe=push.observe if push else None,
        pools=options.pools,
        aer_errors=host.aer_errors,
    )
    collectors = dict(host.collectors)
    if options.service_cpu and not options.mock and not host.unattributed:
        collectors["service_cpu"] = _service_cpu(options, lambda: exporter.snapshot().gpus)
    if not options.mock and (allocations := _pod_resources(options, lambda: exporter.snapshot().gpus)):
        collectors["pod_resources"] = allocations
    if options.compat == "dcgm":
        from foreshock_exporter.exposition.dcgm import DcgmCounters

        collectors["dcgm"] = DcgmCounters(lambda: exporter.snapshot())  # after the pods, which are its labels
    exporter = Exporter(
        host.driver,
        host.resolver,
        gpus,
        host_id=host.host_id,
        host_name=host.host_name,
        now=now,
        wall=time.time,
        mock=options.mock is not None,
        host=collectors,
        xid=options.xid,
        kernel_log=host.kernel_log,
        extra=lambda: [*connections.families(), *(push.families() if push else ())],
    )
    return Daemon(exporter, push, connections, host.outdated)


def _mock(script: str, options: Options, now: Now) -> Host:
    from foreshock_exporter.script.lines import ScriptError
    from foreshock_exporter.script.mock import mock_network, mock_pressure, open_script

    try:
        opened = open_script(script, now, per_link=options.nvlink_per_link)
    except ScriptError as error:
        raise InvalidOptionError("argument", f"--mock: {error}") from error
    return Host(
        opened.driver,
        opened.resolver,
        options.host_id or opened.host_id,
        options.host_name or opened.host_name,
        _switched_on(
            {"network": (options.network, mock_network(now)), "pressure": (options.pressure, mock_pressure(now))}
        ),
    )


def _real(options: Options) -> Host:
    from foreshock_exporter.attribution.container import shows_host_pids
    from foreshock_exporter.attribution.service_resolver import ProcResolver
    from foreshock_exporter.drm import DrmDriver
    from foreshock_exporter.gpu.combined import CombinedDriver
    from foreshock_exporter.host.pci import aer_errors, nvidia_gpus
    from foreshock_exporter.nvml import nvml_driver

    name = options.host_name or host_name(options.rootfs)
    identity = options.host_id or host_id(options.rootfs, fallback="")
    if not identity:
        log.warning(
            "%s has no etc/machine-id: host.id is the host's name, %r, and only spans with the same host.id "
            "join; set --host.id, or --path.rootfs to the mounted root of the host",
            options.rootfs,
            name,
        )
    nvidia = nvml_driver(per_link=options.nvlink_per_link)
    others = DrmDriver(
        options.sysfs, options.procfs, {"AMD": options.amd, "Intel": options.intel}, host_id=identity or name
    )
    shows_pids = shows_host_pids(options.procfs)
    if not shows_pids:
        log.warning(
            "%s does not show the processes of the host, whose pids the driver reports: GPU time is unattributed; "
            "share the pid namespace of the host, or mount its /proc and set --path.procfs",
            options.procfs,
        )
    on_bus = nvidia_gpus(options.sysfs) or 0
    driver = CombinedDriver((("nvml", nvidia), ("drm", others)), {"nvml": on_bus})
    return Host(
        driver,
        ProcResolver(options.procfs, options.rootfs, environ=options.environ) if shows_pids else lambda _: None,
        identity or name,
        name,
        _collectors(options),
        expected=lambda: on_bus + others.found,
        drivers_up=driver.drivers_up,
        unattributed="" if shows_pids else "pid_namespace",
        outdated=nvidia.needs_restart,
        join_keys=partial(join_keys, options.procfs),
        kernel_log=_kernel_log(options),
        aer_errors=partial(aer_errors, options.sysfs),
    )


def _kernel_log(options: Options) -> Messages | None:
    from foreshock_exporter.host.kernel_log import KernelLog

    if not options.xid or options.kernel_log == "off":
        return None
    kernel_log = KernelLog(options.kmsg)
    try:
        kernel_log()
    except OSError as error:
        if options.kernel_log == "auto":
            log.info("%s", error)
            return None
    return kernel_log


def _collectors(options: Options) -> dict[str, Collector]:
    from foreshock_exporter.host.infiniband import SysInfiniband
    from foreshock_exporter.host.network import ProcNetstat, ProcNetwork
    from foreshock_exporter.host.node_exporter import is_running
    from foreshock_exporter.host.pressure import ProcPressure

    procfs, sysfs = options.procfs, options.sysfs
    if options.host == "off":
        return {}
    if options.host == "auto" and is_running(procfs):
        log.info("node_exporter runs on this host: no host metrics (node_*) here; --collector.host=on adds them")
        return {}
    return _switched_on(
        {
            "network": (options.network, ProcNetwork(procfs, sysfs, options.network_exclude)),
            "infiniband": (options.infiniband, SysInfiniband(sysfs)),
            "netstat": (options.netstat, ProcNetstat(procfs)),
            "pressure": (options.pressure, ProcPressure(procfs)),
        }
    )


def _service_cpu(options: Options, gpus: Callable[[], GpuSnapshot | None]) -> Collector:
    """The collector of the waits of services for their host. The cgroups are below --path.rootfs or in --path.sysfs."""
    from foreshock_exporter.host.service_cpu import HostTenant, ServiceCpu

    def tenants() -> Sequence[HostTenant]:
        snapshot = gpus()
        return [
            HostTenant(*_ids(gpu), (key.name, key.namespace), gpu.sources[key], pids)
            for gpu in (snapshot.gpus if snapshot else ())
            for key, pids in gpu.pids.items()
        ]

    below = options.rootfs / "sys/fs/cgroup"
    cgroupfs = below if options.rootfs != Path("/") and below.is_dir() else options.sysfs / "fs/cgroup"
    return ServiceCpu(options.procfs, options.sysfs, cgroupfs, tenants)


def _ids(gpu: GpuState) -> tuple[str, str, str]:
    return gpu.identity.gpu, gpu.identity.uuid, gpu.identity.pci_bus_id


def _pod_resources(options: Options, gpus: Callable[[], GpuSnapshot | None]) -> Collector | None:
    """The collector of GPUs allocated to pods; None where it is off, or not installed.

    Raises:
        InvalidOptionError: it is on and not installed.
    """
    from foreshock_exporter.kubernetes.allocations import Device, KnownDevices

    socket = options.pod_resources_socket or options.rootfs / "var/lib/kubelet/pod-resources/kubelet.sock"
    if options.pod_resources == "off" or (options.pod_resources == "auto" and not os.access(socket.parent, os.X_OK)):
        return None  # no kubelet, or a user that may not reach it
    try:
        from foreshock_exporter.kubernetes.pod_resources import PodResources
    except ModuleNotFoundError as error:
        remedy = f"--collector.pod-resources: {error.name} is missing; in a clone, run pip install '.[pod-resources]'"
        if options.pod_resources == "on":
            raise InvalidOptionError("argument", remedy) from error
        log.warning("%s to see which pods have GPUs, or set --collector.pod-resources=off", remedy)
        return None

    known = KnownDevices()

    def devices() -> Mapping[str, Device] | None:
        if (snapshot := gpus()) is None:
            return None
        instances = {
            gpu.identity.uuid: tuple(instance.uuid for instance in gpu.reading.instances) for gpu in snapshot.gpus
        }
        return known.update((identity for identity, _ in snapshot.lost.values()), instances)

    return PodResources(socket, devices)


def _switched_on(collectors: Mapping[str, tuple[bool, Collector]]) -> dict[str, Collector]:
    return {name: collector for name, (is_on, collector) in collectors.items() if is_on}
