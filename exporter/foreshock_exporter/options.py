"""The exporter's options: each is a flag and a variable `FORESHOCK_EXPORTER_…` named after it."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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
"""NVML renews its samples every 1/6 s to 1 s; a shorter period costs more and shows nothing new."""
MAX_PERIOD = "5s"
"""The driver keeps at least about 16 s of samples; older ones are lost."""
MIN_INTERVAL, MAX_INTERVAL = "1s", "5m"
"""Bounds of the time between two pushes over OTLP."""
HOST_MODES = ("auto", "on", "off")
LOG_LEVELS = ("debug", "info", "warning", "error")
LOG_FORMATS = ("logfmt", "json")
DEFAULT_MOCK_SCRIPT = "contended"
"""Built-in device script of `--mock` without a value."""
_BOOLEANS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


def _parse_address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise ValueError("is not HOST:PORT or :PORT, such as :10877 or 127.0.0.1:0")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _parse_metrics_path(text: str) -> str:
    if not text.startswith("/") or text in ("/", "/healthz", "/readyz"):
        raise ValueError("is not a free path, such as /metrics")
    return text


def _parse_folder(text: str) -> Path:
    path = Path(text)
    if not path.is_dir():
        raise ValueError("is not a folder; mount the one of the host there, or omit the option")
    return path


def _parse_pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise ValueError(f"is not a regular expression: {error}") from error


def _duration_between(low: str, high: str) -> Callable[[str], float]:
    """Parser of a duration in seconds, within bounds."""

    def parse(text: str) -> float:
        seconds = parse_duration(text)
        if not parse_duration(low) <= seconds <= parse_duration(high):
            raise ValueError(f"is not a duration from {low} to {high}")
        return seconds

    return parse


def _parse_endpoint(text: str) -> str:
    if not re.fullmatch(r"https?://[^/\s]+(/\S*)?", text):
        raise ValueError("is not an address such as http://127.0.0.1:4318")
    return text.rstrip("/")


def _parse_mock(text: str) -> str | None:
    """The device script; boolean words, which a variable may hold, select the default script or none."""
    if text.lower() not in _BOOLEANS:
        return text
    return DEFAULT_MOCK_SCRIPT if _BOOLEANS[text.lower()] else None


def _parse_switch(text: str) -> bool:
    if text.lower() not in _BOOLEANS:
        raise ValueError("is not true or false")
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
        _parse_address, ":10877", "listen address; port 0 picks a free port", "ADDRESS", flag="--web.listen-address"
    )
    metrics_path: str = _web(
        _parse_metrics_path, "/metrics", "path of the metrics", "PATH", flag="--web.telemetry-path"
    )
    web_config: Path | None = _web(
        Path,
        None,
        "TLS and basic authentication, in the format of Prometheus' exporter-toolkit",
        "FILE",
        flag="--web.config.file",
    )
    procfs: Path = _host(_parse_folder, "/proc", "/proc of the host", "DIR", flag="--path.procfs")
    sysfs: Path = _host(_parse_folder, "/sys", "/sys of the host", "DIR", flag="--path.sysfs")
    rootfs: Path = _host(
        _parse_folder, "/", "root of the host, for pod names and the machine id", "DIR", flag="--path.rootfs"
    )
    host_id: str = _host(str, "", "host.id of this host (default: machine id)", "ID", flag="--host.id")
    host_name: str = _host(str, "", "name of this host (default: host name)", "NAME", flag="--host.name")
    host: str = _collector(
        one_of(HOST_MODES),
        "auto",
        "host metrics (node_*): on, off, or auto, which leaves them to node_exporter where it runs",
        "MODE",
        flag="--collector.host",
    )
    network: bool = _collects("true", "host metrics node_network_*", flag="--collector.network")
    network_exclude: re.Pattern[str] = _collector(
        _parse_pattern,
        "(veth|cali|lxc).*",
        "excluded interfaces, a regular expression of the whole name",
        "REGEX",
        flag="--collector.network.device-exclude",
    )
    infiniband: bool = _collects("true", "host metrics node_infiniband_*", flag="--collector.infiniband")
    netstat: bool = _collects("true", "host metrics node_netstat_* (TCP)", flag="--collector.netstat")
    pressure: bool = _collects("true", "host metrics node_pressure_*", flag="--collector.pressure")
    health: bool = _collects("true", "ECC, remapped rows, NVLink and PCIe links", flag="--collector.health")
    xid: bool = _collects("true", "XID errors", flag="--collector.xid")
    nvlink_per_link: bool = _collects("false", "bytes by NVLink", flag="--collector.nvlink.per-link")
    period: float = _collector(
        _duration_between(MIN_PERIOD, MAX_PERIOD),
        "100ms",
        f"time between fast samples of a GPU, {MIN_PERIOD} to {MAX_PERIOD}",
        "DURATION",
        flag="--sampling.period",
    )
    environ: bool = _collects("true", "service names from the environment of processes", flag="--attribution.environ")
    pools: Pools = _collector(
        parse_pools,
        Pools,
        "pool of GPUs: NAME for all, NAME=0,1 or NAME=GPU-... for some; repeatable",
        "NAME[=GPU,...]",
        flag="--pool",
        separator=RULE_SEPARATOR,
    )
    otlp_endpoint: str | None = _otlp(
        _parse_endpoint,
        None,
        "OTLP/HTTP endpoint for readings and occupancy spans",
        "URL",
        flag="--otlp.endpoint",
    )
    otlp_interval: float = _otlp(
        _duration_between(MIN_INTERVAL, MAX_INTERVAL),
        "10s",
        f"time between pushes of the readings, {MIN_INTERVAL} to {MAX_INTERVAL}",
        "DURATION",
        flag="--otlp.interval",
    )
    log_level: str = _debug(one_of(LOG_LEVELS), "info", f"one of {', '.join(LOG_LEVELS)}", "LEVEL", flag="--log.level")
    log_format: str = _debug(
        one_of(LOG_FORMATS), "logfmt", f"one of {', '.join(LOG_FORMATS)}", "FORMAT", flag="--log.format"
    )
    mock: str | None = _debug(
        _parse_mock,
        None,
        "device script to play instead of real GPUs: contended, healthy, sick, a file, or - for standard input",
        "SCRIPT",
        flag="--mock",
        bare=DEFAULT_MOCK_SCRIPT,
    )
    once: bool = _debug(_parse_switch, "false", "print the metrics once and exit", flag="--once")


OPTIONS: tuple[Option, ...] = tuple(options_of(Options, "FORESHOCK_EXPORTER_"))


def parse(arguments: Sequence[str] | None, environ: Mapping[str, str]) -> Options:
    """The options of the command line, else of the environment, else the defaults.

    Raises:
        SystemExit: with 2 after a message that names the wrong flag or variable; with 0 after help or version.
    """
    parser = argparse.ArgumentParser(
        prog="foreshock-exporter",
        usage="%(prog)s [OPTIONS]",
        description="Prometheus exporter for GPU usage, GPU wait, and contention by service.",
        epilog="Each option has a variable: FORESHOCK_EXPORTER_SAMPLING_PERIOD for --sampling.period.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"foreshock-exporter {version()}")
    add_flags(parser, OPTIONS, _help)
    flags = vars(parser.parse_args(arguments))
    try:
        return Options(**parse_options(OPTIONS, flags, environ, {}))
    except InvalidOptionError as error:
        parser.error(f"{error.source} {error}")


def _help(item: Option) -> str:
    return f"{item.help} (default: {item.default})" if item.default and item.metavar else item.help
