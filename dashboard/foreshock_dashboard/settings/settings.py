"""The hub's options: one frozen value, read from flags, environment variables, a YAML file, defaults, in that order.

Every field below is at once a flag (`--scrape-interval`), a variable (`FORESHOCK_SCRAPE_INTERVAL`) and a key of the
YAML file (`scrape_interval`).
"""

from __future__ import annotations

import argparse
import ipaddress
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from foreshock_dashboard.settings import option_types as types
from foreshock_dashboard.settings.option_types import Network


class SettingsError(ValueError):
    """An option cannot be used. The message names where it was set, its value and the remedy."""


def option(reader: Callable[[str], Any], default: Any, text: str, metavar: str, name: str = "") -> Any:  # noqa: ANN401 as field()
    """One option: how its text is read, its default, what it is for. `name` replaces the flag's and variable's own."""
    return field(default=default, metadata={"read": reader, "help": text, "metavar": metavar, "name": name})


def _home() -> Path:
    """`~/.local/state/foreshock`, or a folder beside where it was started for a user who has no home."""
    state = os.environ.get("XDG_STATE_HOME")
    try:
        return Path(state) / "foreshock" if state else Path.home() / ".local" / "state" / "foreshock"
    except RuntimeError:
        return Path("foreshock-data")


@dataclass(frozen=True, slots=True)
class Settings:
    """All options of the hub. Durations in seconds, sizes in bytes."""

    host: str = option(str, "127.0.0.1", "address to listen on, for the page and the API", "ADDRESS")
    port: int = option(types.parse_port, 8050, "port of the page and the API", "PORT")
    allowed_hosts: tuple[str, ...] = option(
        types.parse_hosts,
        (),
        "names that the page is asked for by besides localhost; any where --host is not loopback",
        "NAMES",
    )
    auth_token_file: Path | None = option(
        Path, None, "bearer tokens that open page, API and metrics, one a line", "FILE"
    )
    auth_basic_file: Path | None = option(
        Path, None, "users that may look, user:bcrypt a line as htpasswd -B writes", "FILE"
    )
    auth_header: str = option(
        types.parse_header, "", "header in which a proxy says who asks, with --auth-proxies", "NAME"
    )
    auth_proxies: tuple[Network, ...] = option(types.parse_networks, (), "proxies that are believed in that", "CIDR,…")
    otlp_host: str = option(str, "", "address to listen on for OTLP; that of --host unless given", "ADDRESS")
    otlp_grpc_port: int = option(types.parse_port, 4317, "port of the OTLP/gRPC receiver", "PORT")
    otlp_http_port: int = option(types.parse_port, 4318, "port of the OTLP/HTTP receiver", "PORT")
    otlp_token_file: Path | None = option(
        Path, None, "bearer tokens that senders of OTLP must have, one a line", "FILE"
    )
    otlp_tls_cert: Path | None = option(Path, None, "certificate of the OTLP receivers, PEM", "FILE")
    otlp_tls_key: Path | None = option(Path, None, "key of that certificate, PEM", "FILE")
    otlp_tls_client_ca: Path | None = option(
        Path, None, "authorities of the certificates that senders of OTLP must have, PEM", "FILE"
    )
    store: Path = option(Path, _home(), "folder of the embedded store", "DIR")
    targets: tuple[str, ...] = option(
        types.parse_targets, (), "exporters to scrape, host:port or URL, with commas", "TARGETS"
    )
    scrape_interval: float = option(
        types.parse_duration, 10.0, "time between two scrapes, also those of --prometheus", "DURATION"
    )
    step: float = option(
        types.parse_duration, 10.0, "time between two ticks; the grid that everything is judged on", "DURATION"
    )
    prometheus_url: str = option(
        types.parse_url,
        "",
        "read metrics from this Prometheus-compatible API instead of the store",
        "URL",
        "prometheus",
    )
    tempo_url: str = option(types.parse_url, "", "read traces from this Tempo instead of the store", "URL", "tempo")
    jaeger_url: str = option(types.parse_url, "", "read traces from this Jaeger instead of the store", "URL", "jaeger")
    recording: Path | None = option(
        Path, None, "read metrics and traces from this recording, and stand at its end", "DIR"
    )
    traces_tenant: str = option(
        str, "", "tenant whose traces are read, sent as X-Scope-OrgID to Tempo, as x-tenant to Jaeger", "NAME"
    )
    traces_credentials: Path | None = option(
        Path, None, "who asks for traces: a file of one line, a bearer token or user:password", "FILE"
    )
    traces_ca: Path | None = option(
        Path,
        None,
        "authorities that the certificate of --tempo or --jaeger may come from, PEM; the system's unless given",
        "FILE",
    )
    rate_window: float | None = option(
        types.parse_duration,
        None,
        "how far rates look back, two scrapes or more and no multiple of the interval",
        "DURATION",
    )
    objectives: tuple[tuple[str, float, float], ...] = option(
        types.parse_slos,
        (),
        "p95 and share of failures that services promise, llm-chat=20s:1%,…; learned for those that are not named",
        "OBJECTIVES",
    )
    tiers: tuple[tuple[str, str], ...] = option(
        types.parse_tiers,
        (),
        "tiers of services, llm-chat=gold,ml/batch=bronze; for those that are not named, what service_tier_info says",
        "TIERS",
    )
    at: float | None = option(types.parse_time, None, "stand at this time instead of now", "TIME")
    retention: float = option(types.parse_duration, 15 * 86_400.0, "how long the store keeps metrics", "DURATION")
    trace_retention: float = option(types.parse_duration, 2 * 86_400.0, "how long the store keeps traces", "DURATION")
    trace_keys: tuple[str, ...] = option(
        types.parse_attributes,
        (),
        "attributes to search the store's traces by, in place of those in docs/traces.md",
        "KEYS",
    )
    retention_size: int = option(types.parse_size, 10 * 2**30, "how much disk the embedded store may use", "SIZE")
    memory: int = option(types.parse_size, 256 * 2**20, "memory limit of the embedded store's recent data", "SIZE")
    span_series: int = option(
        types.parse_count, 100_000, "series made of spans at most; a service's operation and outcome takes 34", "NUMBER"
    )
    allow_unauthenticated: bool = option(
        types.parse_bool, False, "listen on more than loopback although nothing asks who is there", "true|false"
    )
    log_level: str = option(types.parse_log_level, "info", "least severe message to log", "LEVEL")

    @property
    def window(self) -> float:
        """How far rates look back, seconds: a minute or four scrapes, less one second to stay off the scrapes."""
        return self.rate_window or max(59.0, 4 * self.scrape_interval - 1)

    def __post_init__(self) -> None:
        if self.step < 1:
            raise SettingsError(f"step: {self.step:g} s is too short; one second is the least")
        if self.window < 2 * self.scrape_interval:
            raise SettingsError(
                f"rate_window: {self.window:g} s does not hold two scrapes {self.scrape_interval:g} s apart; make it "
                "four times the scrape interval"
            )
        if bool(self.auth_header) != bool(self.auth_proxies):
            raise SettingsError(
                "auth_header, auth_proxies: anybody can write a header; give both, so that only a proxy's is believed"
            )
        asks = self.auth_token_file or self.auth_basic_file or self.auth_header
        if not self.allow_unauthenticated and not asks and not is_loopback(self.host):
            raise SettingsError(
                f"host: {self.host} is reachable from other machines and the hub asks nobody who they are; add "
                "--auth-basic-file or --auth-token-file, or put it behind a proxy that asks and listen on 127.0.0.1, "
                "or add --allow-unauthenticated true"
            )
        beside = {"tenant": self.traces_tenant, "credentials": self.traces_credentials, "ca": self.traces_ca}
        if not (self.tempo_url or self.jaeger_url) and any(beside.values()):
            given = ", ".join(f"traces_{name}" for name, value in beside.items() if value)
            raise SettingsError(f"{given}: is for traces that are read elsewhere; give --tempo or --jaeger as well")
        if (self.otlp_tls_cert is None) != (self.otlp_tls_key is None):
            raise SettingsError("otlp_tls_cert, otlp_tls_key: one is no use without the other; give both")
        if self.otlp_tls_client_ca is not None and self.otlp_tls_cert is None:
            raise SettingsError("otlp_tls_client_ca: certificates are asked for over TLS; give --otlp-tls-cert as well")
        asked = self.otlp_token_file is not None or self.otlp_tls_client_ca is not None
        if not self.allow_unauthenticated and not asked and not is_loopback(self.otlp_host or self.host):
            raise SettingsError(
                f"otlp_host: {self.otlp_host or self.host} is reachable from other machines and the receivers ask "
                "nobody who they are; add --otlp-token-file FILE (and TLS), or --allow-unauthenticated true"
            )


def is_loopback(host: str) -> bool:
    """Whether nobody but this machine can reach the address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def flag_of(item: Field[Any]) -> str:
    """`--scrape-interval` for `scrape_interval`."""
    return "--" + (item.metadata["name"] or item.name).replace("_", "-")


def variable_of(item: Field[Any]) -> str:
    """`FORESHOCK_SCRAPE_INTERVAL` for `scrape_interval`."""
    return f"FORESHOCK_{item.name.upper()}"


def add_flags(parser: argparse.ArgumentParser, leave_out: Sequence[str] = ()) -> None:
    """Add a flag for every option, and `--config`."""
    parser.add_argument(
        "--config", metavar="FILE", help="YAML file with any of the options below (FORESHOCK_CONFIG); flags win over it"
    )
    for item in fields(Settings):
        if item.name in leave_out:
            continue
        parser.add_argument(
            flag_of(item),
            dest=item.name,
            metavar=item.metadata["metavar"],
            help=f"{item.metadata['help']} ({variable_of(item)}; default: {shown(item)})".replace("%", "%%"),
        )


def shown(item: Field[Any]) -> str:
    """The default as people write it."""
    value: Any = item.default
    special = {"store": "~/.local/state/foreshock", "at": "now", "rate_window": "59s, or four scrapes if longer"}
    if item.name in special:
        return special[item.name]
    if item.metadata["read"] is types.parse_duration:
        return _in_units(value, (("d", 86_400), ("h", 3600), ("s", 1)))
    if item.metadata["read"] is types.parse_size:
        return _in_units(value, (("GiB", 2**30), ("MiB", 2**20)))
    return str(value).lower() if value not in ("", (), None) else "none"


def _in_units(value: float, units: tuple[tuple[str, int], ...]) -> str:
    name, unit = next(((name, unit) for name, unit in units if value >= unit and value % unit == 0), units[-1])
    return f"{value / unit:g}{name}"


def load_settings(flags: argparse.Namespace, environ: Mapping[str, str] = os.environ, **fixed: object) -> Settings:
    """Combine flags over variables over the YAML file over defaults; `fixed` wins over all.

    Raises:
        SettingsError: a value cannot be read, or the file has a key that is no option.
    """
    known = {item.name: item for item in fields(Settings)}
    chosen: dict[str, Any] = {}
    path = getattr(flags, "config", None) or environ.get("FORESHOCK_CONFIG")
    if path:
        for key, value in _yaml(Path(path)).items():
            if key not in known:
                raise SettingsError(f"{path}: {key!r} is no option; known are {', '.join(known)}")
            chosen[key] = _read(known[key], _text(value), f"{path}: {key}")
    for name, item in known.items():
        if variable_of(item) in environ:
            chosen[name] = _read(item, environ[variable_of(item)], variable_of(item))
        if getattr(flags, name, None) is not None:
            chosen[name] = _read(item, getattr(flags, name), flag_of(item))
    return Settings(**{**chosen, **fixed})


def _read(item: Field[Any], text: str, where: str) -> object:
    try:
        return item.metadata["read"](text)
    except ValueError as error:
        raise SettingsError(f"{where}: {text!r} {error}") from None


def _text(value: object) -> str:
    if isinstance(value, list):
        return ",".join(str(item) for item in value)
    return str(value)


def _yaml(path: Path) -> dict[str, Any]:
    try:
        data = yaml.safe_load(path.read_text())
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: is not YAML: {' '.join(str(error).split())}") from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise SettingsError(f"{path}: holds no options; write lines such as 'port: 8050'")
    return {str(key).replace("-", "_"): value for key, value in data.items()}
