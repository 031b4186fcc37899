"""The exporter's options: each a flag, and a variable FORESHOCK_EXPORTER_… named after it."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from foreshock_exporter.common.version import version
from foreshock_exporter.gpu.pools import RULE_SEPARATOR, Pools, parse_pools

PREFIX = "FORESHOCK_EXPORTER_"
MIN_PERIOD_SECONDS = 0.1
"""Seconds. NVML renews its samples every 1/6 s to 1 s; asking more often costs and tells nothing."""
MAX_PERIOD_SECONDS = 5.0
"""Seconds. The driver keeps its samples for about sixteen seconds at the least; what it drops is lost."""
_WORDS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
LOG_LEVELS = ("debug", "info", "warning", "error")
LOG_FORMATS = ("logfmt", "json")
MIN_INTERVAL_SECONDS, MAX_INTERVAL_SECONDS = 1.0, 300.0
"""Seconds between two pushes over OTLP."""
DEFAULT_MOCK_SCRIPT = "contended"
"""The built-in device script that `--mock` plays where it is given none."""


class OptionError(ValueError):
    """What an option names cannot be used; the message says which and what to do."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the exporter was told. Times in seconds; `listen` is (host, port) with "" for every interface."""

    listen: tuple[str, int]
    metrics_path: str
    procfs: Path
    sysfs: Path
    rootfs: Path
    web_config: Path | None
    network: bool
    network_exclude: re.Pattern[str]
    infiniband: bool
    netstat: bool
    pressure: bool
    health: bool
    xid: bool
    nvlink_per_link: bool
    environ: bool
    period: float
    host_id: str
    host_name: str
    pools: Pools
    otlp_endpoint: str | None
    otlp_interval: float
    mock: str | None
    once: bool
    log_level: str
    log_format: str


def variable(flag: str) -> str:
    """The environment variable of a flag: --web.listen-address is FORESHOCK_EXPORTER_WEB_LISTEN_ADDRESS."""
    return PREFIX + re.sub(r"[.-]", "_", flag.removeprefix("--")).upper()


@dataclass(frozen=True, slots=True)
class _Option:
    """A row of the table: `read` makes the value of a text, or raises ArgumentTypeError; None is a switch.

    `alone` is the text that the flag stands for where it is given without one. A flag with `between` may be given more
    than once: its texts, with that between them, are read as one, which is how its variable has them.
    """

    flag: str
    field: str
    default: object
    help: str
    read: Callable[[str], object] | None = None
    metavar: str | None = None
    alone: str | None = None
    between: str = ""


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT or :PORT, such as :10877 or 127.0.0.1:0")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _metrics_path(text: str) -> str:
    if not text.startswith("/") or text in ("/", "/healthz", "/readyz"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a free path, such as /metrics")
    return text


def _period(text: str) -> float:
    try:
        period = float(text.removesuffix("s"))
    except ValueError:
        period = float("nan")
    if not MIN_PERIOD_SECONDS <= period <= MAX_PERIOD_SECONDS:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a number of seconds from {MIN_PERIOD_SECONDS:g} to {MAX_PERIOD_SECONDS:g}"
        )
    return period


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a regular expression: {error}") from error


def _folder(text: str) -> Path:
    path = Path(text)
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is not a folder; mount the host's there, or leave the option out")
    return path


def _pools(text: str) -> Pools:
    try:
        return parse_pools(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _one_of(words: Sequence[str]) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text.lower() not in words:
            raise argparse.ArgumentTypeError(f"{text!r} is not one of {', '.join(words)}")
        return text.lower()

    return read


def _interval(text: str) -> float:
    try:
        interval = float(text.removesuffix("s"))
    except ValueError:
        interval = float("nan")
    if not MIN_INTERVAL_SECONDS <= interval <= MAX_INTERVAL_SECONDS:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a number of seconds from {MIN_INTERVAL_SECONDS:g} to {MAX_INTERVAL_SECONDS:g}"
        )
    return interval


def _endpoint(text: str) -> str:
    if not re.fullmatch(r"https?://[^/\s]+(/\S*)?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not an address such as http://127.0.0.1:4318")
    return text.rstrip("/")


def _script(text: str) -> str | None:
    """The script of `--mock`; as a variable it may also be a switch."""
    return (DEFAULT_MOCK_SCRIPT if _WORDS[text.lower()] else None) if text.lower() in _WORDS else text


def _switch(text: str) -> bool:
    if text.lower() not in _WORDS:
        raise argparse.ArgumentTypeError(f"{text!r} is not true or false")
    return _WORDS[text.lower()]


OPTIONS = (
    _Option(
        "--web.listen-address", "listen", ":10877", "where to listen; port 0 picks a free one", _address, "ADDRESS"
    ),
    _Option("--web.telemetry-path", "metrics_path", "/metrics", "where the metrics are", _metrics_path, "PATH"),
    _Option("--path.procfs", "procfs", "/proc", "the host's /proc", _folder, "DIR"),
    _Option("--path.sysfs", "sysfs", "/sys", "the host's /sys", _folder, "DIR"),
    _Option("--path.rootfs", "rootfs", "/", "the host's root: names of pods, machine id", _folder, "DIR"),
    _Option(
        "--web.config.file",
        "web_config",
        None,
        "TLS and basic authentication, in the format of Prometheus' exporter-toolkit",
        Path,
        "FILE",
    ),
    _Option("--collector.network", "network", True, "node_network_* of the host"),
    _Option(
        "--collector.network.device-exclude",
        "network_exclude",
        "(veth|cali|lxc).*",
        "interfaces to leave out, a regular expression of their whole name",
        _pattern,
        "REGEX",
    ),
    _Option("--collector.infiniband", "infiniband", True, "node_infiniband_* of the host"),
    _Option("--collector.netstat", "netstat", True, "node_netstat_* of the host: TCP"),
    _Option("--collector.pressure", "pressure", True, "node_pressure_* of the host"),
    _Option("--collector.health", "health", True, "ECC, remapped rows, NVLink and PCIe links of the GPUs"),
    _Option("--collector.xid", "xid", True, "XID errors of the GPUs"),
    _Option("--collector.nvlink.per-link", "nvlink_per_link", False, "the bytes of each NVLink apart"),
    _Option("--attribution.environ", "environ", True, "look for the service's name in the environment of processes"),
    _Option("--sampling.period", "period", "0.1", "seconds between fast samples of the GPUs", _period, "SECONDS"),
    _Option("--host.id", "host_id", "", "host.id of this host (default: its machine id)", str, "ID"),
    _Option("--host.name", "host_name", "", "name of this host (default: its host name)", str, "NAME"),
    _Option(
        "--pool",
        "pools",
        Pools(),
        "pool of the GPUs, NAME for all, or NAME=0,1 or NAME=GPU-… for these; may be given again",
        _pools,
        "NAME[=GPU,…]",
        between=RULE_SEPARATOR,
    ),
    _Option("--otlp.endpoint", "otlp_endpoint", None, "push readings and occupancy spans there", _endpoint, "URL"),
    _Option("--otlp.interval", "otlp_interval", "10", "seconds between pushes of the readings", _interval, "SECONDS"),
    _Option(
        "--mock",
        "mock",
        None,
        "play a device script (contended, healthy, sick, a file, or - for standard input); real GPUs are not read",
        _script,
        "SCRIPT",
        DEFAULT_MOCK_SCRIPT,
    ),
    _Option("--once", "once", False, "print the metrics once and exit"),
    _Option("--log.level", "log_level", "info", f"one of {', '.join(LOG_LEVELS)}", _one_of(LOG_LEVELS), "LEVEL"),
    _Option("--log.format", "log_format", "logfmt", f"one of {', '.join(LOG_FORMATS)}", _one_of(LOG_FORMATS), "FORMAT"),
)


def parse(arguments: Sequence[str] | None, environ: Mapping[str, str]) -> Options:
    """Read the command line over the variables over the defaults.

    Raises:
        SystemExit: with 2 after a message that names the flag or variable that is wrong; with 0 after help or version.
    """
    parser = argparse.ArgumentParser(
        prog="foreshock-exporter",
        description="Says what each service does to each GPU of this host, as Prometheus metrics.",
        epilog=f"Each option is also a variable: --sampling.period is {variable('--sampling.period')}.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"foreshock-exporter {version()}")
    defaults = {option.field: _default(parser, option, environ) for option in OPTIONS}
    for option in OPTIONS:
        _add(parser, option, defaults[option.field])
    found = vars(parser.parse_args(arguments))
    for option in OPTIONS:
        if option.between:
            given = found[option.field]
            found[option.field] = defaults[option.field] if given is None else _together(parser, option, given)
    return Options(**found)


def _add(parser: argparse.ArgumentParser, option: _Option, default: object) -> None:
    if option.read is None:
        parser.add_argument(
            option.flag, dest=option.field, default=default, action=argparse.BooleanOptionalAction, help=option.help
        )
    elif option.between:
        parser.add_argument(option.flag, dest=option.field, action="append", help=option.help, metavar=option.metavar)
    else:
        shown = f" (default: {option.default})" if option.default else ""
        parser.add_argument(
            option.flag,
            dest=option.field,
            default=default,
            type=option.read,
            nargs=None if option.alone is None else "?",
            const=option.alone and option.read(option.alone),
            help=(option.help + shown).replace("%", "%%"),
            metavar=option.metavar,
        )


def _default(parser: argparse.ArgumentParser, option: _Option, environ: Mapping[str, str]) -> object:
    """The value of the option's variable, or its own default; exits with 2 where the variable is wrong."""
    given = environ.get(variable(option.flag))
    if given is None:
        return option.default
    try:
        return (option.read or _switch)(given)
    except argparse.ArgumentTypeError as error:
        parser.error(f"variable {variable(option.flag)}: {error}")


def _together(parser: argparse.ArgumentParser, option: _Option, texts: Sequence[str]) -> object:
    """The value of all texts that an option was given; exits with 2 where they are wrong, alone or together."""
    try:
        return option.read(option.between.join(texts)) if option.read else None
    except argparse.ArgumentTypeError as error:
        parser.error(f"argument {option.flag}: {error}")
