"""Hub options. Flags override environment variables, which override the YAML file, which overrides defaults.

Each field of `Settings` is a flag (`--scrape-interval`), an environment variable (`FORESHOCK_SCRAPE_INTERVAL`), and a
YAML key (`scrape_interval`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import yaml

from foreshock_dashboard.access.rate_limit import REQUESTS_PER_MINUTE
from foreshock_dashboard.access.roles import Role
from foreshock_dashboard.common.addresses import is_loopback, without_credentials
from foreshock_dashboard.common.did_you_mean import did_you_mean
from foreshock_dashboard.settings import option_types as types
from foreshock_dashboard.settings.option_types import Network
from foreshock_dashboard.settings.renamed import OPTIONS as RENAMED_KEYS
from foreshock_dashboard.settings.renamed import PREFIX, VARIABLES, renamed
from foreshock_dashboard.settings.working_hours import DEFAULT, WorkingHours
from foreshock_exporter.common.durations import parse_duration
from foreshock_exporter.common.option_table import InvalidOptionError, Option, one_of, option, options_of, parse_options

Value = TypeVar("Value")

MIN_MEMORY_BYTES = 256 << 20
"""Least memory limit: the program itself takes two thirds of it."""
LOG_LEVELS = ("debug", "info", "warning", "error")


class SettingsError(ValueError):
    """Raised for an invalid option. The message names its source, value, and remedy."""


class HubError(Exception):
    """Raised when the hub cannot start. The message names the option and the remedy."""


def _state_folder() -> Path:
    """`~/.local/state/foreshock`, or a folder in the current one for a user without a home."""
    state = os.environ.get("XDG_STATE_HOME")
    try:
        return Path(state) / "foreshock" if state else Path.home() / ".local" / "state" / "foreshock"
    except RuntimeError:
        return Path("foreshock-data")


_web = partial(option, group="Web")
_authentication = partial(option, group="Authentication")
_oidc = partial(option, group="OIDC login")
_otlp = partial(option, group="OTLP")
_source = partial(option, group="Data sources")
_store = partial(option, group="Store")
_limits = partial(option, group="Limits")
_analysis = partial(option, group="Analysis")
_notifications = partial(option, group="Notifications")
_debug = partial(option, group="Debug")


@dataclass(frozen=True, slots=True)
class Settings:
    """All options of the hub. Durations in seconds, sizes in bytes."""

    host: str = _web(str, "127.0.0.1", "bind address for pages, API, and metrics", "ADDRESS")
    port: int = _web(types.parse_port, "8050", "port for pages, API, and metrics; 0 for any free port", "PORT")
    allowed_hosts: tuple[str, ...] = _web(
        types.parse_hosts,
        tuple,
        "comma-separated Host header values accepted in addition to localhost",
        "NAME,...",
        shown="any when --host is not loopback",
    )
    mcp: bool = _web(types.parse_bool, "false", "serve read-only tools for agents (Model Context Protocol) at /mcp")
    tls_cert: Path | None = _web(Path, None, "PEM certificate for pages, API, and metrics", "FILE")
    tls_key: Path | None = _web(Path, None, "PEM private key for pages, API, and metrics", "FILE")
    auth_token_file: Path | None = _authentication(
        Path, None, "bearer token digests, one per line, as written by foreshock token create", "FILE"
    )
    github_webhook_secret_file: Path | None = _authentication(
        Path,
        None,
        "secret for GitHub webhooks sent to /api/webhooks/github; signed requests need no other credentials",
        "FILE",
    )
    auth_basic_file: Path | None = _authentication(Path, None, "htpasswd file with bcrypt hashes (htpasswd -B)", "FILE")
    auth_header: str = _authentication(
        types.parse_header,
        str,
        "header in which an authenticating proxy sends the user name; requires --auth-proxies",
        "NAME",
    )
    auth_proxies: tuple[Network, ...] = _authentication(
        types.parse_networks, tuple, "comma-separated IP addresses or CIDRs of trusted proxies", "CIDR,..."
    )
    roles: tuple[tuple[str, Role], ...] = _authentication(
        types.parse_roles,
        tuple,
        "roles (viewer, responder, admin, none) for users, tokens, and OIDC groups, comma-separated or repeated, such "
        "as ada=admin,group:sre=responder",
        "NAME=ROLE,...",
        separator=",",
    )
    default_role: Role = _authentication(
        types.parse_role, "viewer", "role for authenticated users and tokens not listed in --roles", "ROLE"
    )
    rate_limit: int = _authentication(
        types.parse_count, str(REQUESTS_PER_MINUTE), "maximum number of requests per minute per user or token", "NUMBER"
    )
    audit_log: Path | None = _authentication(
        Path, None, 'audit log file, rotated at 10 MiB; use "-" for standard output', "FILE", shown="hub log"
    )
    allow_unauthenticated: bool = _authentication(
        types.parse_bool, "false", "allow non-loopback bind addresses without authentication"
    )
    external_url: str = _oidc(
        types.parse_url, str, "public URL of the hub, as seen by browsers", "URL", shown="URL of the request"
    )
    oidc_issuer: str = _oidc(types.parse_url, str, "URL of the OpenID provider", "URL")
    oidc_client_id: str = _oidc(str, "", "client ID that the provider issued to the hub", "ID")
    oidc_client_secret_file: Path | None = _oidc(
        Path, None, "file with the client secret that the provider issued to the hub", "FILE"
    )
    oidc_ca: Path | None = _oidc(Path, None, "PEM CA bundle for the provider", "FILE", shown="system")
    oidc_scopes: str = _oidc(str, "openid email profile", "space-separated scopes to request", "SCOPES")
    oidc_user_claim: str = _oidc(
        types.parse_claim, "email", "claim that contains the user name; must be unique", "CLAIM"
    )
    oidc_groups_claim: str = _oidc(types.parse_claim, "groups", "claim that lists the user's groups", "CLAIM")
    otlp_host: str = _otlp(str, "", "bind address for the OTLP receivers", "ADDRESS", shown="--host")
    otlp_grpc_port: int = _otlp(types.parse_port, "4317", "OTLP/gRPC port; 0 for any free port", "PORT")
    otlp_http_port: int = _otlp(types.parse_port, "4318", "OTLP/HTTP port; 0 for any free port", "PORT")
    otlp_token_file: Path | None = _otlp(Path, None, "bearer token digests for OTLP clients, one per line", "FILE")
    otlp_tls_cert: Path | None = _otlp(Path, None, "PEM certificate for the OTLP receivers", "FILE")
    otlp_tls_key: Path | None = _otlp(Path, None, "PEM private key for the OTLP receivers", "FILE")
    otlp_tls_client_ca: Path | None = _otlp(Path, None, "PEM CA bundle for OTLP client certificates (mTLS)", "FILE")
    targets: tuple[types.TargetOption, ...] = _source(
        types.parse_targets,
        tuple,
        "comma-separated scrape targets: HOST[:PORT] or URL; SERVICE=TARGET assigns a model server to a service",
        "TARGET,...",
    )
    targets_file: Path | None = _source(
        Path,
        None,
        "scrape targets with credentials, labels, and discovery (files, HTTP, DNS, Kubernetes), YAML in Prometheus "
        "scrape_configs format",
        "FILE",
    )
    scrape_interval: float = _source(
        parse_duration,
        "10s",
        "how often to scrape targets; with --prometheus-url, the scrape interval of that Prometheus",
        "DURATION",
    )
    prometheus_url: str = _source(
        types.url_without_credentials("--prometheus-config"),
        str,
        "URL of a Prometheus-compatible API to read metrics from, instead of the embedded store",
        "URL",
    )
    prometheus_config: Path | None = _source(
        Path, None, "credentials, TLS, headers, and parameters for Prometheus, YAML in http_config format", "FILE"
    )
    prometheus_concurrency: int = _source(
        types.parse_count, "4", "maximum number of concurrent requests to Prometheus", "NUMBER"
    )
    cluster_labels: tuple[str, ...] = _source(
        types.parse_label_names,
        "k8s_cluster_name,cluster",
        "comma-separated labels that name the cluster of a series, in order of precedence; empty for a single cluster",
        "LABEL,...",
    )
    shard: tuple[int, int] | None = _source(
        types.parse_shard,
        None,
        "part of the clusters to read from Prometheus, such as 2/3 for the second of three hubs",
        "NUMBER/COUNT",
        shown="all clusters",
    )
    shard_clusters: tuple[tuple[str, int], ...] = _source(
        types.parse_shard_clusters,
        tuple,
        "clusters with a fixed shard, comma-separated or repeated; must be the same on all hubs. Other clusters are "
        "assigned by name",
        "CLUSTER=NUMBER,...",
        separator=",",
    )
    shards: tuple[str, ...] = _source(
        types.parse_hubs,
        tuple,
        "URLs of hubs whose incidents this front lists, comma-separated or repeated; a front collects no data",
        "URL,...",
        separator=",",
    )
    shards_config: Path | None = _source(Path, None, "like --prometheus-config, but for the hubs of --shards", "FILE")
    tempo_url: str = _source(
        types.url_without_credentials("--traces-config"),
        str,
        "Tempo URL to read traces from, instead of the embedded store",
        "URL",
    )
    jaeger_url: str = _source(
        types.url_without_credentials("--traces-config"),
        str,
        "Jaeger URL to read traces from, instead of the embedded store",
        "URL",
    )
    traces_config: Path | None = _source(Path, None, "like --prometheus-config, but for the trace backend", "FILE")
    recording: Path | None = _source(
        Path, None, "recording folder to read metrics and traces from; the hub serves its final state", "DIR"
    )
    store_path: Path = _store(
        Path, _state_folder, "folder for the embedded store", "DIR", shown="~/.local/state/foreshock"
    )
    retention_metrics: float = _store(parse_duration, "15d", "retention of metrics in the embedded store", "DURATION")
    retention_traces: float = _store(parse_duration, "2d", "retention of traces in the embedded store", "DURATION")
    retention_size: int = _store(types.parse_size, "10GiB", "maximum disk space for the embedded store", "SIZE")
    postgres_url: str = _store(
        types.parse_postgres_url,
        str,
        "PostgreSQL database in which several hubs share acknowledgments, silences, changes, and sent notifications",
        "URL",
    )
    postgres_password_file: Path | None = _store(
        Path, None, "password of the user in --postgres-url; re-read for each connection", "FILE"
    )
    indexed_attributes: tuple[str, ...] = _store(
        types.parse_attributes,
        tuple,
        "comma-separated span attributes to index",
        "KEY,...",
        shown="see docs/reference/traces.md",
    )
    span_metrics_max_series: int = _store(
        types.parse_count,
        "100000",
        "maximum number of span metric series; each combination of service, operation, and status uses 34",
        "NUMBER",
    )
    memory_limit: int = _limits(
        types.parse_size,
        "512MiB",
        "memory limit of the hub; OTLP requests that would exceed it are refused",
        "SIZE",
    )
    evaluation_interval: float = _analysis(parse_duration, "10s", "time between evaluations, at least 1s", "DURATION")
    rate_window: float | None = _analysis(
        parse_duration,
        None,
        "rate() window, at least two scrape intervals, preferably not an exact multiple of the interval",
        "DURATION",
        shown="59s, or one second less than four scrape intervals if longer",
    )
    slo: tuple[tuple[str, float, float], ...] = _analysis(
        types.parse_slos,
        tuple,
        "SLOs, comma-separated or repeated: NAME=P95[:ERROR_RATE], such as llm-chat=20s:1%",
        "SLO,...",
        shown="learned per service",
        separator=",",
    )
    tiers: tuple[tuple[str, str], ...] = _analysis(
        types.parse_tiers,
        tuple,
        "service tiers, comma-separated or repeated: NAME=TIER, such as llm-chat=gold",
        "TIER,...",
        shown="service_tier_info",
        separator=",",
    )
    services_file: Path | None = _analysis(
        Path, None, "owner, tier, and links of each service, YAML; reloaded on change", "FILE"
    )
    prices: Path | None = _analysis(
        Path, None, "prices of GPU-hours by pool and GPU model, YAML; reloaded on change", "FILE"
    )
    at: float | None = _analysis(
        types.parse_past, None, "time travel: serve the state as of this time", "TIME", shown="now"
    )
    alertmanager_url: tuple[str, ...] = _notifications(
        types.parse_alertmanagers,
        tuple,
        "Alertmanager URLs to post open incidents to, comma-separated or repeated; list every peer of a cluster",
        "URL,...",
        separator=",",
    )
    alertmanager_config: Path | None = _notifications(
        Path, None, "like --prometheus-config, but for Alertmanager", "FILE"
    )
    alertmanager_early_warnings: bool = _notifications(
        types.parse_bool, "false", "also post early warnings to Alertmanager, two to seven a day per service"
    )
    notify_file: Path | None = _notifications(
        Path,
        None,
        "notification channels, one apprise URL per line with an optional filter; reloaded on change",
        "FILE",
    )
    working_hours: WorkingHours = _notifications(
        WorkingHours.parse,
        DEFAULT,
        "working hours during which messages about shortages and slow burns are sent; may include a time zone, "
        "such as Europe/Berlin",
        "HOURS",
    )
    log_level: str = _debug(one_of(LOG_LEVELS), "info", f"minimum log level: {', '.join(LOG_LEVELS)}", "LEVEL")

    @property
    def window(self) -> float:
        """Rate window in seconds: a minute or four scrapes, less one second to be no multiple of the interval."""
        return self.rate_window or max(59.0, 4 * self.scrape_interval - 1)

    def __post_init__(self) -> None:
        if self.evaluation_interval < 1:
            raise SettingsError(f"evaluation_interval: {self.evaluation_interval:g} s is too short. Use 1s or more.")
        if self.window < 2 * self.scrape_interval:
            raise SettingsError(
                f"rate_window: {self.window:g} s is shorter than two scrape intervals of {self.scrape_interval:g} s. "
                f"Use {4 * self.scrape_interval - 1:g}s, or omit it."
            )
        if self.memory_limit < MIN_MEMORY_BYTES:
            raise SettingsError(
                f"memory_limit: {self.memory_limit >> 20} MiB is too small. Use {MIN_MEMORY_BYTES >> 20}MiB or more."
            )
        if bool(self.auth_header) != bool(self.auth_proxies):
            raise SettingsError(
                "auth_header, auth_proxies: one without the other is unsafe, since any client can send the header. "
                "Set both."
            )
        oidc = (self.oidc_issuer, self.oidc_client_id, self.oidc_client_secret_file)
        if any(oidc) and not all(oidc):
            raise SettingsError("oidc_issuer, oidc_client_id, oidc_client_secret_file: one is missing. Set all three.")
        if self.oidc_issuer.startswith("http://") and not is_loopback(urlsplit(self.oidc_issuer).hostname or ""):
            raise SettingsError(f"oidc_issuer: {self.oidc_issuer} is not encrypted. Use https.")
        authenticates = self.auth_token_file or self.auth_basic_file or self.auth_header or self.oidc_issuer
        if not self.allow_unauthenticated and not authenticates and not is_loopback(self.host):
            raise SettingsError(
                f"host: {self.host} is reachable from other machines, and no authentication is configured. Set "
                "--auth-basic-file, --auth-token-file, or --oidc-issuer, bind to 127.0.0.1 behind an authenticating "
                "proxy, or set --allow-unauthenticated."
            )
        for name, needed, given in (
            ("prometheus", "--prometheus-url", self.prometheus_url),
            ("traces", "--tempo-url or --jaeger-url", self.tempo_url or self.jaeger_url),
            ("alertmanager", "--alertmanager-url", self.alertmanager_url),
        ):
            if getattr(self, f"{name}_config") and not given:
                raise SettingsError(f"{name}_config: has no effect without a URL. Set {needed}.")
        if self.shards_config and not self.shards:
            raise SettingsError("shards_config: has no effect without hubs. Set --shards.")
        if self.shard and not (self.prometheus_url and self.cluster_labels):
            raise SettingsError(
                "shard: divides the clusters of a Prometheus. Set --prometheus-url and --cluster-labels."
            )
        if self.shard_clusters and not self.shard:
            raise SettingsError("shard_clusters: has no effect without a shard. Set --shard, such as 1/2.")
        for cluster, number in self.shard_clusters:
            if self.shard and not 1 <= number <= self.shard[1]:
                raise SettingsError(f"shard_clusters: {cluster}={number} is not one of {self.shard[1]} shards.")
        if self.postgres_password_file and not self.postgres_url:
            raise SettingsError("postgres_password_file: has no effect without a URL. Set --postgres-url.")
        for prefix, cert, key in (
            ("", self.tls_cert, self.tls_key),
            ("otlp_", self.otlp_tls_cert, self.otlp_tls_key),
        ):
            if (cert is None) != (key is None):
                raise SettingsError(f"{prefix}tls_cert, {prefix}tls_key: one is missing. Set both.")
        if self.otlp_tls_client_ca is not None and self.otlp_tls_cert is None:
            raise SettingsError("otlp_tls_client_ca: client certificates require TLS. Set --otlp-tls-cert.")
        authenticates_senders = self.otlp_token_file is not None or self.otlp_tls_client_ca is not None
        if (
            not self.allow_unauthenticated
            and not authenticates_senders
            and not is_loopback(self.otlp_host or self.host)
        ):
            raise SettingsError(
                f"otlp_host: {self.otlp_host or self.host} is reachable from other machines, and the OTLP receivers "
                "have no authentication. Set --otlp-token-file (and TLS), or --allow-unauthenticated."
            )


OPTIONS: tuple[Option, ...] = tuple(options_of(Settings, PREFIX))
OTHER_VARIABLES = (f"{PREFIX}CONFIG", f"{PREFIX}HUB", f"{PREFIX}HUB_HTTP_CONFIG")
"""Variables of the commands besides those of options."""
OTHER_PREFIXES = (f"{PREFIX}EXPORTER_", f"{PREFIX}TEST_")
SERVICE_LINK = re.compile(r"_SERVICE_(HOST|PORT)(_\w+)?=|_PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?=|=(tcp|udp|sctp)://)")
"""Variables that Kubernetes sets for each service of a namespace: FORESHOCK_HUB_PORT_8050_TCP_ADDR."""


def load_settings(flags: Mapping[str, Any], environ: Mapping[str, str] = os.environ, **fixed: object) -> Settings:
    """Flags override environment variables, then the YAML file, then defaults. `fixed` overrides all.

    flags: texts by field name, and `config`; None and () for flags that are not given.

    Raises SettingsError for an invalid value, an unknown YAML key, or an environment variable name from before 0.2.
    """
    for name in VARIABLES:
        if name in environ:
            raise SettingsError(f"unknown environment variable {name!r}.{renamed(name, VARIABLES)}")
    path = flags.get("config") or environ.get("FORESHOCK_CONFIG")
    file = _read_yaml(Path(path)) if path else {}
    try:
        return Settings(**{**parse_options(OPTIONS, flags, environ, file), **fixed})
    except InvalidOptionError as error:
        message = without_credentials(str(error))
        raise SettingsError(f"{path}: {message}" if error.source == "file" else message) from None


def unknown_variables(environ: Mapping[str, str] = os.environ) -> list[str]:
    """A warning for each environment variable that looks like an option but is not one."""
    known = [*(item.variable for item in OPTIONS), *OTHER_VARIABLES]
    return [
        f"unknown environment variable {name!r} has no effect.{did_you_mean(name, known, PREFIX)}"
        for name, text in sorted(environ.items())
        if name.startswith(PREFIX)
        and name not in known
        and not name.startswith(OTHER_PREFIXES)
        and not SERVICE_LINK.search(f"{name}={text}")
    ]


def parse_flag(flag: str, parse: Callable[[str], Value], text: str) -> Value:
    """The value of a command's own flag. Raises SettingsError if `parse` refuses the text."""
    try:
        return parse(text)
    except ValueError as error:
        raise SettingsError(f"{flag}: {without_credentials(repr(text))} {error}") from None


def _option_text(path: Path, key: object, value: object) -> str:
    """The text of a value in a YAML file: those of a list are joined by commas.

    Raises SettingsError for a nested value. Written out, aliases in it could exceed the memory.
    """
    items = value if isinstance(value, list) else [value]
    if any(isinstance(item, (list, tuple, dict, set)) for item in items):
        raise SettingsError(f"{path}: {key}: nested values are not supported. Use a single value or a list.")
    return ",".join(map(str, items))


def _read_yaml(path: Path) -> dict[str, str]:
    """The texts of a YAML file by option key."""
    try:
        data = yaml.safe_load(path.read_text())
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: not UTF-8, or no date
        raise SettingsError(f"{path}: invalid YAML: {' '.join(str(error).split())}") from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise SettingsError(f"{path}: not a mapping of options. Use lines such as 'port: 8050'.")
    texts = {str(key).replace("-", "_"): _option_text(path, key, value) for key, value in data.items()}
    keys = [item.key for item in OPTIONS]
    for key in texts:
        if key not in keys:
            hint = renamed(key, RENAMED_KEYS) or did_you_mean(key, keys)
            raise SettingsError(f"{path}: unknown key {key!r}.{hint}")
    return texts
