"""The exporter's options: each is a flag and a variable `FORESHOCK_EXPORTER_…` named after it."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

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

MIN_PERIOD_SECONDS = 0.1
"""NVML renews its samples every 1/6 s to 1 s; a shorter period costs more and shows nothing new."""
MAX_PERIOD_SECONDS = 5.0
"""The driver keeps at least about 16 s of samples; older ones are lost."""
MIN_INTERVAL_SECONDS, MAX_INTERVAL_SECONDS = 1.0, 300.0
"""Time between two pushes over OTLP."""
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
        raise ValueError("is not a folder; mount the host's there, or leave the option out")
    return path


def _parse_pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise ValueError(f"is not a regular expression: {error}") from error


def _seconds_between(low: float, high: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            seconds = float(text.removesuffix("s"))
        except ValueError:
            seconds = float("nan")
        if not low <= seconds <= high:
            raise ValueError(f"is not a number of seconds from {low:g} to {high:g}")
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


_switch = partial(option, _parse_switch)
_PERIOD = _seconds_between(MIN_PERIOD_SECONDS, MAX_PERIOD_SECONDS)
_INTERVAL = _seconds_between(MIN_INTERVAL_SECONDS, MAX_INTERVAL_SECONDS)


@dataclass(frozen=True, slots=True)
class Options:
    """All options of the exporter. Times in seconds; `listen` is (host, port) with "" for every interface."""

    listen: tuple[str, int] = option(
        _parse_address, ":10877", "where to listen; port 0 picks a free one", "ADDRESS", flag="--web.listen-address"
    )
    metrics_path: str = option(
        _parse_metrics_path, "/metrics", "where the metrics are", "PATH", flag="--web.telemetry-path"
    )
    procfs: Path = option(_parse_folder, "/proc", "the host's /proc", "DIR", flag="--path.procfs")
    sysfs: Path = option(_parse_folder, "/sys", "the host's /sys", "DIR", flag="--path.sysfs")
    rootfs: Path = option(_parse_folder, "/", "the host's root: names of pods, machine id", "DIR", flag="--path.rootfs")
    web_config: Path | None = option(
        Path,
        None,
        "TLS and basic authentication, in the format of Prometheus' exporter-toolkit",
        "FILE",
        flag="--web.config.file",
    )
    network: bool = _switch("true", "node_network_* of the host", flag="--collector.network")
    network_exclude: re.Pattern[str] = option(
        _parse_pattern,
        "(veth|cali|lxc).*",
        "interfaces to leave out, a regular expression of their whole name",
        "REGEX",
        flag="--collector.network.device-exclude",
    )
    infiniband: bool = _switch("true", "node_infiniband_* of the host", flag="--collector.infiniband")
    netstat: bool = _switch("true", "node_netstat_* of the host: TCP", flag="--collector.netstat")
    pressure: bool = _switch("true", "node_pressure_* of the host", flag="--collector.pressure")
    health: bool = _switch("true", "ECC, remapped rows, NVLink and PCIe links of the GPUs", flag="--collector.health")
    xid: bool = _switch("true", "XID errors of the GPUs", flag="--collector.xid")
    nvlink_per_link: bool = _switch("false", "the bytes of each NVLink apart", flag="--collector.nvlink.per-link")
    environ: bool = _switch(
        "true", "look for the service's name in the environment of processes", flag="--attribution.environ"
    )
    period: float = option(
        _PERIOD, "0.1", "seconds between fast samples of the GPUs", "SECONDS", flag="--sampling.period"
    )
    host_id: str = option(str, "", "host.id of this host (default: its machine id)", "ID", flag="--host.id")
    host_name: str = option(str, "", "name of this host (default: its host name)", "NAME", flag="--host.name")
    pools: Pools = option(
        parse_pools,
        Pools,
        "pool of the GPUs, NAME for all, or NAME=0,1 or NAME=GPU-… for these; may be given again",
        "NAME[=GPU,…]",
        flag="--pool",
        separator=RULE_SEPARATOR,
    )
    otlp_endpoint: str | None = option(
        _parse_endpoint, None, "push readings and occupancy spans there", "URL", flag="--otlp.endpoint"
    )
    otlp_interval: float = option(
        _INTERVAL, "10", "seconds between pushes of the readings", "SECONDS", flag="--otlp.interval"
    )
    mock: str | None = option(
        _parse_mock,
        None,
        "play a device script (contended, healthy, sick, a file, or - for standard input); real GPUs are not read",
        "SCRIPT",
        flag="--mock",
        bare=DEFAULT_MOCK_SCRIPT,
    )
    once: bool = _switch("false", "print the metrics once and exit", flag="--once")
    log_level: str = option(one_of(LOG_LEVELS), "info", f"one of {', '.join(LOG_LEVELS)}", "LEVEL", flag="--log.level")
    log_format: str = option(
        one_of(LOG_FORMATS), "logfmt", f"one of {', '.join(LOG_FORMATS)}", "FORMAT", flag="--log.format"
    )


OPTIONS: tuple[Option, ...] = tuple(options_of(Options, "FORESHOCK_EXPORTER_"))


def parse(arguments: Sequence[str] | None, environ: Mapping[str, str]) -> Options:
    """The options of the command line, else of the environment, else the defaults.

    Raises:
        SystemExit: with 2 after a message that names the wrong flag or variable; with 0 after help or version.
    """
    parser = argparse.ArgumentParser(
        prog="foreshock-exporter",
        description="Says what each service does to each GPU of this host, as Prometheus metrics.",
        epilog="Each option is also a variable: --sampling.period is FORESHOCK_EXPORTER_SAMPLING_PERIOD.",
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
