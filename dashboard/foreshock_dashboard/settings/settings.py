"""Options of the hub. Flags win over environment variables, those over the YAML file, and that over the defaults.

Each field of `Settings` is a flag (`--scrape-interval`), a variable (`FORESHOCK_SCRAPE_INTERVAL`), and a YAML key
(`scrape_interval`).
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import yaml

from foreshock_dashboard.common.loopback import is_loopback
from foreshock_dashboard.settings import option_types as types
from foreshock_dashboard.settings.option_types import Network
from foreshock_exporter.common import option_table
from foreshock_exporter.common.option_table import InvalidOptionError, Option, one_of, option, options_of, parse_options

Value = TypeVar("Value")

LOG_LEVELS = ("debug", "info", "warning", "error")


class SettingsError(ValueError):
    """An option cannot be used. The message names where it was set, its value and the remedy."""


class HubError(Exception):
    """The hub cannot start. The message names the option and the remedy."""


def _state_folder() -> Path:
    """`~/.local/state/foreshock`, or a folder in the current one for a user without a home."""
    state = os.environ.get("XDG_STATE_HOME")
    try:
        return Path(state) / "foreshock" if state else Path.home() / ".local" / "state" / "foreshock"
    except RuntimeError:
        return Path("foreshock-data")


@dataclass(frozen=True, slots=True)
class Settings:
    """All options of the hub. Durations in seconds, sizes in bytes."""

    host: str = option(str, "127.0.0.1", "address to listen on, for the page and the API", "ADDRESS")
    port: int = option(types.parse_port, "8050", "port of the page and the API", "PORT")
    allowed_hosts: tuple[str, ...] = option(
        types.parse_hosts,
        tuple,
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
        types.parse_header, str, "header in which a proxy says who asks, with --auth-proxies", "NAME"
    )
    auth_proxies: tuple[Network, ...] = option(
        types.parse_networks, tuple, "proxies that are believed in that", "CIDR,…"
    )
    otlp_host: str = option(str, "", "address to listen on for OTLP; that of --host unless given", "ADDRESS")
    otlp_grpc_port: int = option(types.parse_port, "4317", "port of the OTLP/gRPC receiver", "PORT")
    otlp_http_port: int = option(types.parse_port, "4318", "port of the OTLP/HTTP receiver", "PORT")
    otlp_token_file: Path | None = option(
        Path, None, "bearer tokens that senders of OTLP must have, one a line", "FILE"
    )
    otlp_tls_cert: Path | None = option(Path, None, "certificate of the OTLP receivers, PEM", "FILE")
    otlp_tls_key: Path | None = option(Path, None, "key of that certificate, PEM", "FILE")
    otlp_tls_client_ca: Path | None = option(
        Path, None, "authorities of the certificates that senders of OTLP must have, PEM", "FILE"
    )
    store: Path = option(Path, _state_folder, "folder of the embedded store", "DIR", shown="~/.local/state/foreshock")
    targets: tuple[str, ...] = option(
        types.parse_targets, tuple, "exporters to scrape, host:port or URL, with commas", "TARGETS"
    )
    scrape_interval: float = option(
        types.parse_duration, "10s", "time between two scrapes, also those of --prometheus", "DURATION"
    )
    step: float = option(
        types.parse_duration, "10s", "time between two ticks; the grid that everything is judged on", "DURATION"
    )
    prometheus_url: str = option(
        types.parse_url,
        str,
        "read metrics from this Prometheus-compatible API instead of the store",
        "URL",
        flag="--prometheus",
        key="prometheus_url",
    )
    tempo_url: str = option(
        types.parse_url, str, "read traces from this Tempo instead of the store", "URL", flag="--tempo", key="tempo_url"
    )
    jaeger_url: str = option(
        types.parse_url,
        str,
        "read traces from this Jaeger instead of the store",
        "URL",
        flag="--jaeger",
        key="jaeger_url",
    )
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
        shown="59s, or four scrapes if longer",
    )
    objectives: tuple[tuple[str, float, float], ...] = option(
        types.parse_slos,
        tuple,
        "p95 and share of failures that services promise, llm-chat=20s:1%,…; learned for those that are not named",
        "OBJECTIVES",
    )
    tiers: tuple[tuple[str, str], ...] = option(
        types.parse_tiers,
        tuple,
        "tiers of services, llm-chat=gold,ml/batch=bronze; for those that are not named, what service_tier_info says",
        "TIERS",
    )
    at: float | None = option(types.parse_time, None, "stand at this time instead of now", "TIME", shown="now")
    retention: float = option(types.parse_duration, "15d", "how long the store keeps metrics", "DURATION")
    trace_retention: float = option(types.parse_duration, "2d", "how long the store keeps traces", "DURATION")
    trace_keys: tuple[str, ...] = option(
        types.parse_attributes,
        tuple,
        "attributes to search the store's traces by, in place of those in docs/reference/traces.md",
        "KEYS",
    )
    retention_size: int = option(types.parse_size, "10GiB", "how much disk the embedded store may use", "SIZE")
    memory: int = option(types.parse_size, "256MiB", "memory limit of the embedded store's recent data", "SIZE")
    span_series: int = option(
        types.parse_count,
        "100000",
        "series made of spans at most; a service's operation and outcome takes 34",
        "NUMBER",
    )
    allow_unauthenticated: bool = option(
        types.parse_bool, "false", "listen on more than loopback although nothing asks who is there", "true|false"
    )
    log_level: str = option(one_of(LOG_LEVELS), "info", "least severe message to log", "LEVEL")

    @property
    def window(self) -> float:
        """Rate window in seconds: a minute or four scrapes, less one second to be no multiple of the interval."""
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
        authenticates = self.auth_token_file or self.auth_basic_file or self.auth_header
        if not self.allow_unauthenticated and not authenticates and not is_loopback(self.host):
            raise SettingsError(
                f"host: {self.host} is reachable from other machines and the hub asks nobody who they are; add "
                "--auth-basic-file or --auth-token-file, or put it behind a proxy that asks and listen on 127.0.0.1, "
                "or add --allow-unauthenticated true"
            )
        trace_options = {"tenant": self.traces_tenant, "credentials": self.traces_credentials, "ca": self.traces_ca}
        if not (self.tempo_url or self.jaeger_url) and any(trace_options.values()):
            names = ", ".join(f"traces_{name}" for name, value in trace_options.items() if value)
            raise SettingsError(f"{names}: is for traces that are read elsewhere; give --tempo or --jaeger as well")
        if (self.otlp_tls_cert is None) != (self.otlp_tls_key is None):
            raise SettingsError("otlp_tls_cert, otlp_tls_key: one is no use without the other; give both")
        if self.otlp_tls_client_ca is not None and self.otlp_tls_cert is None:
            raise SettingsError("otlp_tls_client_ca: certificates are asked for over TLS; give --otlp-tls-cert as well")
        authenticates_senders = self.otlp_token_file is not None or self.otlp_tls_client_ca is not None
        if (
            not self.allow_unauthenticated
            and not authenticates_senders
            and not is_loopback(self.otlp_host or self.host)
        ):
            raise SettingsError(
                f"otlp_host: {self.otlp_host or self.host} is reachable from other machines and the receivers ask "
                "nobody who they are; add --otlp-token-file FILE (and TLS), or --allow-unauthenticated true"
            )


OPTIONS: tuple[Option, ...] = tuple(options_of(Settings, "FORESHOCK_"))


def add_flags(parser: argparse.ArgumentParser, only: Collection[str] | None = None) -> None:
    """Add `--config` and a flag for each option, or only for the options of these names."""
    parser.add_argument(
        "--config", metavar="FILE", help="YAML file with any of the options below (FORESHOCK_CONFIG); flags win over it"
    )
    option_table.add_flags(
        parser,
        [item for item in OPTIONS if only is None or item.name in only],
        lambda item: f"{item.help} ({item.variable}; default: {item.default or 'none'})",
    )


def load_settings(flags: argparse.Namespace, environ: Mapping[str, str] = os.environ, **fixed: object) -> Settings:
    """Combine flags over variables over the YAML file over defaults; `fixed` wins over all.

    Raises SettingsError if a value cannot be used, or the file has an unknown key.
    """
    path = getattr(flags, "config", None) or environ.get("FORESHOCK_CONFIG")
    file = _read_yaml(Path(path)) if path else {}
    try:
        return Settings(**{**parse_options(OPTIONS, vars(flags), environ, file), **fixed})
    except InvalidOptionError as error:
        raise SettingsError(f"{path}: {error}" if error.source == "file" else str(error)) from None


def parse_flag(flag: str, parse: Callable[[str], Value], text: str) -> Value:
    """The value of a command's own flag. Raises SettingsError if `parse` refuses the text."""
    try:
        return parse(text)
    except ValueError as error:
        raise SettingsError(f"{flag}: {text!r} {error}") from None


def _read_yaml(path: Path) -> dict[str, str]:
    """The texts of a YAML file by option key."""
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
    texts = {
        str(key).replace("-", "_"): ",".join(map(str, value)) if isinstance(value, list) else str(value)
        for key, value in data.items()
    }
    keys = [item.key for item in OPTIONS]
    for key in texts:
        if key not in keys:
            raise SettingsError(f"{path}: {key!r} is no option; known are {', '.join(keys)}")
    return texts
