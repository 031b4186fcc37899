"""The exporter's options: each is a flag and an environment variable `FORESHOCK_EXPORTER_…` named after it."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from pathlib import Path

from foreshock_exporter.common.durations import parse_duration
from foreshock_exporter.common.option_table import (
    InvalidOptionError,
    Option,
    add_flags,
    one_of,
    option,
    options_of,
    parse_options,
)
from foreshock_exporter.common.version import version
from foreshock_exporter.gpu.pools import RULE_SEPARATOR, Pools, parse_pools

MIN_PERIOD = "100ms"
"""NVML updates its samples every 1/6 s to 1 s; a shorter period only adds cost."""
MAX_PERIOD = "5s"
"""The driver keeps at least about 16 s of samples; older ones are lost."""
MIN_INTERVAL, MAX_INTERVAL = "1s", "5m"
"""Bounds of the time between two pushes over OTLP."""
HOST_MODES = ("auto", "on", "off")
COMPATIBLE = ("dcgm",)
"""Exporters whose metrics can be exposed as well."""
LOG_LEVELS = ("debug", "info", "warning", "error")
LOG_FORMATS = ("logfmt", "json")
DEFAULT_MOCK_SCRIPT = "contended"
"""Built-in device script of `--mock` without a value."""
_BOOLEANS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


def _parse_address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise ValueError("is not a valid listen address; use :10877 or 127.0.0.1:10877")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _parse_metrics_path(text: str) -> str:
    if not text.startswith("/") or text in ("/", "/healthz", "/readyz"):
        raise ValueError("is not a valid metrics path; use an absolute path other than /, /healthz, and /readyz")
    return text


def _parse_folder(text: str) -> Path:
    path = Path(text)
    if not path.is_dir():
        raise ValueError("is not a folder; mount the host's folder there, or omit the option")
    return path


def _parse_pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise ValueError(f"is not a valid regular expression: {error}") from error


def _duration_between(low: str, high: str) -> Callable[[str], float]:
    """Parser of a duration in seconds, within bounds."""

    def parse(text: str) -> float:
        seconds = parse_duration(text)
        if not parse_duration(low) <= seconds <= parse_duration(high):
            raise ValueError(f"is out of range; use {low} to {high}")
        return seconds

    return parse


def _parse_endpoint(text: str) -> str:
    if not re.fullmatch(r"https?://[^/\s]+(/\S*)?", text):
        raise ValueError("is not a valid URL; use http://127.0.0.1:4318")
    return text.rstrip("/")


def _parse_mock(text: str) -> str | None:
    """The device script. Booleans, which an environment variable may contain, select the default script or none."""
    if text.lower() not in _BOOLEANS:
        return text
    return DEFAULT_MOCK_SCRIPT if _BOOLEANS[text.lower()] else None


def _parse_switch(text: str) -> bool:
    if text.lower() not in _BOOLEANS:
        raise ValueError("is not a boolean; use true or false")
    return _BOOLEANS[text.lower()]


_web = partial(option, group="Web")
_host = partial(option, group="Host")
_collector = partial(option, group="Collectors")
_collects = partial(option, _parse_switch, group="Collectors")
_otlp = partial(option, group="OTLP")
_debug = partial(option, group="Debug")


@dataclass(frozen=True, slots=True)
class Options:
    """All options of the exporter. Times in seconds; `listen` is (host, port) with "" for every interface."""

    listen: tuple[str, int] = _web(
        _parse_address, ":10877", "listen address; port 0 for any free port", "ADDRESS", flag="--web.listen-address"
    )
    metrics_path: str = _web(
        _parse_metrics_path, "/metrics", "URL path of the metrics", "PATH", flag="--web.telemetry-path"
    )
    web_config: Path | None = _web(
        Path,
        None,
        "TLS and basic authentication (Prometheus exporter-toolkit format)",
        "FILE",
        flag="--web.config.file",
    )
    procfs: Path = _host(_parse_folder, "/proc", "/proc of the host", "DIR", flag="--path.procfs")
    sysfs: Path = _host(_parse_folder, "/sys", "/sys of the host", "DIR", flag="--path.sysfs")
    rootfs: Path = _host(
        _parse_folder, "/", "host root file system, for pod names and the machine ID", "DIR", flag="--path.rootfs"
    )
    pod_resources_socket: Path | None = _host(
        Path,
        None,
        "pod-resources socket of the kubelet (default: var/lib/kubelet/pod-resources/kubelet.sock below --path.rootfs)",
        "SOCKET",
        flag="--path.pod-resources",
    )
    kmsg: Path = _host(Path, "/dev/kmsg", "kernel log of the host", "FILE", flag="--path.kmsg")
    host_id: str = _host(str, "", "host.id of this host (default: machine ID)", "ID", flag="--host.id")
    host_name: str = _host(str, "", "name of this host (default: host name)", "NAME", flag="--host.name")
    host: str = _collector(
        one_of(HOST_MODES),
        "auto",
        "host metrics (node_*): on, off, or auto (off if node_exporter is running)",
        "MODE",
        flag="--collector.host",
    )
    network: bool = _collects("true", "node_network_* host metrics", flag="--collector.network")
    network_exclude: re.Pattern[str] = _collector(
        _parse_pattern,
        "(veth|cali|lxc).*",
        "interfaces to exclude, as an anchored regular expression",
        "REGEX",
        flag="--collector.network.device-exclude",
    )
    infiniband: bool = _collects("true", "node_infiniband_* host metrics", flag="--collector.infiniband")
    netstat: bool = _collects("true", "node_netstat_* host metrics (TCP)", flag="--collector.netstat")
    pressure: bool = _collects("true", "node_pressure_* host metrics", flag="--collector.pressure")
    service_cpu: bool = _collects(
        "true",
        "CPU, storage, and memory pressure, CPU limit, page cache, and NUMA distance of services with a GPU",
        flag="--collector.service-cpu",
    )
    pod_resources: str = _collector(
        one_of(HOST_MODES),
        "auto",
        "GPUs allocated to pods, read from the kubelet: on, off, or auto (on if the socket's folder is accessible)",
        "MODE",
        flag="--collector.pod-resources",
    )
    amd: str = _collector(
        one_of(HOST_MODES),
        "auto",
        "AMD GPUs, read from the kernel: on, off, or auto (discrete GPUs only)",
        "MODE",
        flag="--collector.amd",
    )
    intel: str = _collector(
        one_of(HOST_MODES),
        "auto",
        "Intel GPUs, read from the kernel: on, off, or auto (discrete GPUs only)",
        "MODE",
        flag="--collector.intel",
    )
    health: bool = _collects("true", "ECC, remapped rows, NVLink and PCIe links", flag="--collector.health")
    xid: bool = _collects("true", "XID errors", flag="--collector.xid")
    kernel_log: str = _collector(
        one_of(HOST_MODES),
        "auto",
        "services that cause XID errors, and NVSwitch errors, from the kernel log: on, off, or auto (on if readable)",
        "MODE",
        flag="--collector.kernel-log",
    )
    nvlink_per_link: bool = _collects("false", "bytes per NVLink", flag="--collector.nvlink.per-link")
    compat: str | None = _collector(
        one_of(COMPATIBLE),
        None,
        "additional metrics with the names, labels, and units of another exporter: dcgm (dcgm-exporter)",
        "EXPORTER",
        flag="--compat",
    )
    period: float = _collector(
        _duration_between(MIN_PERIOD, MAX_PERIOD),
        "100ms",
        f"GPU sampling period, {MIN_PERIOD} to {MAX_PERIOD}",
        "DURATION",
        flag="--sampling.period",
    )
    environ: bool = _collects("true", "service names from process environment variables", flag="--attribution.environ")
    pools: Pools = _collector(
        parse_pools,
        Pools,
        "GPU pool: NAME for all GPUs, or NAME=0,1 or NAME=GPU-... for specific GPUs; repeatable",
        "NAME[=GPU,...]",
        flag="--pool",
        separator=RULE_SEPARATOR,
    )
    otlp_endpoint: str | None = _otlp(
        _parse_endpoint,
        None,
        "OTLP/HTTP endpoint for metrics and occupancy spans",
        "URL",
        flag="--otlp.endpoint",
    )
    otlp_interval: float = _otlp(
        _duration_between(MIN_INTERVAL, MAX_INTERVAL),
        "10s",
        f"time between metric pushes, {MIN_INTERVAL} to {MAX_INTERVAL}",
        "DURATION",
        flag="--otlp.interval",
    )
    log_level: str = _debug(
        one_of(LOG_LEVELS), "info", f"minimum log level: {', '.join(LOG_LEVELS)}", "LEVEL", flag="--log.level"
    )
    log_format: str = _debug(
        one_of(LOG_FORMATS), "logfmt", f"log format: {', '.join(LOG_FORMATS)}", "FORMAT", flag="--log.format"
    )
    mock: str | None = _debug(
        _parse_mock,
        None,
        'device script to simulate instead of real GPUs: contended, healthy, sick, a file, or "-" for standard input',
        "SCRIPT",
        flag="--mock",
        bare=DEFAULT_MOCK_SCRIPT,
    )
    once: bool = _debug(_parse_switch, "false", "print the metrics once and exit", flag="--once")


OPTIONS: tuple[Option, ...] = tuple(options_of(Options, "FORESHOCK_EXPORTER_"))


def parse(arguments: Sequence[str] | None, environ: Mapping[str, str]) -> Options:
    """Options from flags, then environment variables, then defaults.

    Raises:
        SystemExit: 2 after an error that names the invalid flag or environment variable; 0 after help or version.
    """
    parser = argparse.ArgumentParser(
        prog="foreshock-exporter",
        usage="%(prog)s [OPTIONS]",
        description="Prometheus exporter for GPU usage, GPU wait, and contention by service.",
        epilog="Each option is also an environment variable: --sampling.period is FORESHOCK_EXPORTER_SAMPLING_PERIOD.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"foreshock-exporter {version()}")
    add_flags(parser, OPTIONS)
    known, unknown = parser.parse_known_args(arguments)
    for argument in unknown:
        near = get_close_matches(argument.split("=")[0], [item.flag for item in OPTIONS], 1)
        parser.error(f"No such option '{argument}'." + (f" Did you mean '{near[0]}'?" if near else ""))
    flags = vars(known)
    try:
        return Options(**parse_options(OPTIONS, flags, environ, {}))
    except InvalidOptionError as error:
        parser.error(f"{error.source} {error}")
