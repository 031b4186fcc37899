"""Names replaced in 0.2. They are rejected with a message that gives the new name."""

from __future__ import annotations

from collections.abc import Collection, Mapping

OPTIONS = {
    "objectives": "slo",
    "step": "evaluation_interval",
    "store": "store_path",
    "memory": "memory_limit",
    "store_memory_limit": "memory_limit",
    "retention": "retention_metrics",
    "trace_retention": "retention_traces",
    "trace_keys": "indexed_attributes",
    "span_series": "span_metrics_max_series",
    **dict.fromkeys(("traces_tenant", "traces_credentials", "traces_ca"), "traces_config"),
    **dict.fromkeys(("alertmanager_tenant", "alertmanager_credentials", "alertmanager_ca"), "alertmanager_config"),
}
"""Hub options by key; their environment variables and flags follow the same names."""
FLAGS: Mapping[str, tuple[str, ...]] = {
    **{f"--{old}".replace("_", "-"): (f"--{new}".replace("_", "-"),) for old, new in OPTIONS.items()},
    "--prometheus": ("--prometheus-url",),
    "--tempo": ("--tempo-url",),
    "--jaeger": ("--jaeger-url",),
    "--hub": ("--from", "--hub-url"),
    "--recording": ("--from",),
    **dict.fromkeys(("--hub-credentials", "--credentials"), ("--http-config", "--prometheus-config")),
    "--buckets": ("--latency-buckets",),
    "--out": ("--output-dir", "--output-file"),
    "--json": ("--output",),
}
"""A flag's new name is the first one that its command accepts."""
COMMANDS = {
    "alerts": "generate rules",
    "boards": "generate dashboards",
    "simulate": "dev simulate",
    "scenarios": "dev scenarios",
    "pools": "get pools",
    "report": "incident report",
    "import": "recording import",
    "export": "recording export",
    "replay": "recording replay",
}
PREFIX = "FORESHOCK_"
VARIABLES = {PREFIX + old.upper(): PREFIX + new.upper() for old, new in OPTIONS.items()}


_BLOCKS = {
    "tenant": "http_headers: {X-Scope-OrgID: {values: [TENANT]}}",
    "credentials": "authorization: {credentials_file: FILE}, or basic_auth: {username: NAME, password_file: FILE},",
    "ca": "tls_config: {ca_file: FILE}",
}
"""What a replaced option is in the file of a `…_config` option, by its last word."""


def renamed(old: str, names: Mapping[str, str]) -> str:
    """The sentence about an old name, with a space before it; "" for any other name."""
    if old not in names:
        return ""
    new = names[old]
    if block := _BLOCKS.get(old.replace("-", "_").rpartition("_")[2].lower()):
        return f" Put {block} in a YAML file, and set {new!r} to its path."
    return f" It was renamed to {new!r} in 0.2."


def renamed_flag(old: str, known: Collection[str]) -> str:
    """The same for a flag. known: the flags of the command."""
    new = next((name for name in FLAGS.get(old, ()) if name in known), None)
    return renamed(old, {old: new} if new else {})
