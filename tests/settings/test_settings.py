"""Options of the hub: their sources, and the messages for invalid ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from foreshock_dashboard.access.roles import Role
from foreshock_dashboard.cli.serving.serve import serve
from foreshock_dashboard.settings import renamed
from foreshock_dashboard.settings.settings import (
    OPTIONS,
    Settings,
    SettingsError,
    load_settings,
    unknown_variables,
)


def parsed(*words: str) -> dict[str, Any]:
    """Parsed flags."""
    return serve.make_context("serve", list(words)).params


def test_precedence_is_flag_variable_file_default(tmp_path: Path) -> None:
    """For three ports that are set in several places."""
    file = tmp_path / "foreshock.yml"
    file.write_text("port: 1001\notlp-grpc-port: 1002\notlp_http_port: 1003\n")
    environ = {"FORESHOCK_PORT": "2001", "FORESHOCK_OTLP_GRPC_PORT": "2002", "FORESHOCK_CONFIG": str(file)}

    settings = load_settings(parsed("--port", "3001"), environ)

    assert (settings.port, settings.otlp_grpc_port, settings.otlp_http_port) == (3001, 2002, 1003)
    assert settings.scrape_interval == 10.0


def test_every_option_has_a_flag_a_variable_and_a_key(tmp_path: Path) -> None:
    """All three give the same value."""
    values = {
        "host": "127.0.0.2", "port": "1", "otlp_grpc_port": "2", "otlp_http_port": "3", "store_path": "/x",
        "targets": "a:1,b:2", "targets_file": "/f",
        "scrape_interval": "7s", "evaluation_interval": "5s",
        "prometheus_url": "http://p:9090",
        "cluster_labels": "region,site",
        "prometheus_concurrency": "8",
        "shard": "2/3", "shard_clusters": "eu=1,us=2",
        "shards": "http://h-1:8050,http://h-2:8050", "shards_config": "/f",
        "prometheus_config": "/p", "tempo_url": "http://t:3200", "jaeger_url": "http://j:16686", "traces_config": "/t",
        "rate_window": "1m", "at": "2026-11-25T10:00:00Z", "retention_metrics": "3d", "retention_traces": "2h",
        "retention_size": "2GB", "memory_limit": "512MiB", "allow_unauthenticated": "true", "log_level": "debug",
        "otlp_host": "127.0.0.3", "otlp_token_file": "/t", "otlp_tls_cert": "/c", "otlp_tls_key": "/k",
        "otlp_tls_client_ca": "/a",
        "indexed_attributes": "a.b,c", "recording": "/r", "span_metrics_max_series": "200_000",
        "tls_cert": "/c", "tls_key": "/k", "allowed_hosts": "gpus.example",
        "auth_token_file": "/t", "auth_basic_file": "/u",
        "auth_header": "X-Forwarded-User", "auth_proxies": "10.0.0.5,10.1.0.0/24",
        "roles": "ada=admin, group:sre=responder", "default_role": "none", "rate_limit": "600", "audit_log": "/l",
        "external_url": "https://gpus.example", "oidc_issuer": "https://id.example", "oidc_client_id": "foreshock",
        "oidc_client_secret_file": "/s", "oidc_ca": "/a", "oidc_scopes": "openid", "oidc_user_claim": "sub",
        "oidc_groups_claim": "roles",
        "alertmanager_url": "http://am-1:9093,http://am-2:9093", "alertmanager_config": "/a", "notify_file": "/n",
            "alertmanager_early_warnings": "true",
        "working_hours": "Mon-Sat 08:00-18:00 Europe/Berlin",
        "postgres_url": "postgresql://hub@db/hubs", "postgres_password_file": "/w",
            "services_file": "/v", "prices": "/p", "github_webhook_secret_file": "/h", "mcp": "true",
        "slo": "llm-chat=20s, serving/gateway=500ms:0.5%", "tiers": "llm-chat=gold, ml/batch = bronze",
    }  # fmt: skip
    assert set(values) == {item.key for item in OPTIONS}
    for item in OPTIONS:
        assert (item.flag, item.variable) == (f"--{item.key.replace('_', '-')}", f"FORESHOCK_{item.key.upper()}")
    flags = [word for item in OPTIONS for word in ((item.flag, values[item.key]) if item.metavar else (item.flag,))]
    file = tmp_path / "f.yml"
    file.write_text("".join(f'{name}: "{value}"\n' for name, value in values.items()))

    by_flags = load_settings(parsed(*flags), {})
    by_variables = load_settings(parsed(), {item.variable: values[item.key] for item in OPTIONS})
    by_file = load_settings(parsed("--config", str(file)), {})

    assert by_flags == by_variables == by_file
    assert [target.url for target in by_flags.targets] == ["http://a:1/metrics", "http://b:2/metrics"]
    assert by_flags.at == 1795600800.0
    assert by_flags.slo == (("llm-chat", 20.0, 0.01), ("serving/gateway", 0.5, 0.005))
    assert by_flags.roles == (("ada", Role.ADMIN), ("group:sre", Role.RESPONDER))
    assert by_flags.tiers == (("llm-chat", "gold"), ("ml/batch", "bronze"))
    assert (by_flags.retention_traces, by_flags.retention_size) == (7200.0, 2_000_000_000)


@pytest.mark.parametrize(
    ("flags", "environ", "message"),
    [
        (["--port", "65536"], {}, "--port: '65536' is not a valid port; use 1 to 65535"),
        ([], {"FORESHOCK_SCRAPE_INTERVAL": "soon"}, "FORESHOCK_SCRAPE_INTERVAL: 'soon' is not a valid duration"),
        (["--scrape-interval", "0"], {}, "is not a valid duration"),
        (["--rate-window", "15s"], {}, "rate_window: 15 s is shorter than two scrape intervals of 10 s"),
        (["--evaluation-interval", "500ms"], {}, "evaluation_interval: 0.5 s is too short"),
        (
            ["--prometheus-url", "prometheus:9090"],
            {},
            "--prometheus-url: 'prometheus:9090' is not a valid URL; use http://",
        ),
        (["--prometheus-url", "ftp://me:s3cret@prom"], {}, "--prometheus-url: 'ftp://prom' is not a valid URL"),
        (
            [],
            {"FORESHOCK_TEMPO_URL": "ftp://me:s3/cret@tempo"},
            "FORESHOCK_TEMPO_URL: 'ftp://tempo' is not a",
        ),
        (["--at", "2026-11-25T10:00:00"], {}, "has no time zone"),
        (["--at", "yesterday"], {}, "is not a valid time; use"),
        (["--span-metrics-max-series", "0"], {}, "is not a valid count; use a positive integer"),
        (["--slo", "llm-chat"], {}, "--slo: 'llm-chat' is not a valid SLO; use NAME=P95[:ERROR_RATE]"),
        (["--slo", "a=1s,serving/=20s"], {}, "--slo: 'serving/=20s' is not a valid SLO; use NAME=P95"),
        (["--slo", "llm-chat=soon"], {}, "--slo: 'llm-chat=soon': 'soon' is not a valid duration"),
        (["--slo", "llm-chat=20s:few"], {}, "has an invalid error rate; use a value below 100%, such as 1%"),
        (["--slo", "llm-chat=20s:120%"], {}, "has an invalid error rate"),
        (["--slo", "llm-chat=20:1"], {}, "has an invalid error rate"),
        (["--tiers", "llm-chat"], {}, "--tiers: 'llm-chat' is not a valid tier; use NAME=TIER, such as llm-chat=gold"),
        (["--tiers", "llm-chat="], {}, "'llm-chat=' is not a valid tier; use NAME=TIER"),
        (["--tiers", "serving/=gold"], {}, "'serving/=gold' is not a valid tier; use NAME=TIER"),
        (["--tiers", "a=gold,b=gold,a=iron"], {}, "a is assigned to two tiers, 'gold' and 'iron'; remove one"),
        (
            [],
            {"FORESHOCK_SPAN_METRICS_MAX_SERIES": "1e6"},
            "FORESHOCK_SPAN_METRICS_MAX_SERIES: '1e6' is not a valid count; use a positive integer",
        ),
        (["--memory-limit", "much"], {}, "is not a valid size; use 512MiB"),
        (["--memory-limit", "100MiB"], {}, "memory_limit: 100 MiB is too small. Use 256MiB or more."),
        (["--host", "0.0.0.0"], {}, "reachable from other machines"),  # noqa: S104
        (["--otlp-host", "0.0.0.0"], {}, "have no authentication. Set --otlp-token-file"),  # noqa: S104
        (["--auth-header", "X-Forwarded-User"], {}, "one without the other is unsafe"),
        (["--auth-proxies", "10.0.0.5"], {}, "one without the other is unsafe"),
        (["--auth-proxies", "0.0.0.0/0"], {}, "trusts every client (0.0.0.0/0)"),
        (["--auth-proxies", "proxy"], {}, "is not a valid list of addresses or CIDRs"),
        (["--oidc-issuer", "https://id.example"], {}, "one is missing. Set all three"),
        (
            ["--oidc-issuer", "http://id.example", "--oidc-client-id", "a", "--oidc-client-secret-file", "/s"],
            {},
            "oidc_issuer: http://id.example is not encrypted. Use https",
        ),
        (["--roles", "ada=root"], {}, "'root' is not a role; use none, viewer, responder, admin"),
        (["--roles", "ada"], {}, "'ada' is not a valid role; use NAME=ROLE"),
        (["--tls-cert", "/c"], {}, "tls_cert, tls_key: one is missing. Set both"),
        (["--auth-header", "X: y"], {}, "is not a valid header name; use X-Forwarded-User"),
        (["--allowed-hosts", "gpus.example:8050"], {}, "is not a valid host list; use names without ports"),
        (["--otlp-tls-cert", "/c"], {}, "one is missing. Set both."),
        (["--targets", "http://[::1"], {}, "--targets: 'http://[::1' is not a valid URL; use http://"),
        (["--targets", "http://[zz]"], {}, "--targets: 'http://[zz]' is not a valid URL; use http://"),
        (["--targets", "host:99999"], {}, "--targets: 'host:99999' is not a valid URL; use http://"),
        (["--prometheus-url", "ada:secret@h"], {}, "--prometheus-url: 'h' is not a valid URL"),
        (
            ["--prometheus-url", "http://ada:secret@h"],
            {},
            "--prometheus-url: 'http://h' contains credentials, which the process list would expose; move them to",
        ),
        (
            ["--postgres-url", "postgresql://ada:s3/cret@db/hubs"],
            {},
            "--postgres-url: 'postgresql://db/hubs' is not a valid URL; use postgresql://HOST/DATABASE?user=NAME",
        ),
        (
            ["--postgres-url", "postgres://ada:secret@db/hubs"],
            {},
            "'postgres://db/hubs' contains a password, which the process list would expose; move it to --postgres",
        ),
        (["--postgres-url", "postgresql://db/hubs?sslpassword=a"], {}, "contains a password"),
        (["--postgres-url", "mysql://db/hubs"], {}, "'mysql://db/hubs' is not a valid URL"),
        (["--postgres-password-file", "/p"], {}, "postgres_password_file: has no effect without a URL. Set --postgres"),
        (["--tempo-url", "tempo"], {}, "--tempo-url: 'tempo' is not a valid URL; use http://"),
        (
            ["--traces-config", "/a"],
            {},
            "traces_config: has no effect without a URL. Set --tempo-url or --jaeger-url.",
        ),
        (["--otlp-tls-client-ca", "/a"], {}, "client certificates require TLS"),
        ([], {"FORESHOCK_ALLOW_UNAUTHENTICATED": "maybe"}, "is not a boolean; use true or false"),
        (
            [],
            {"FORESHOCK_OBJECTIVES": "a=1s"},
            "unknown environment variable 'FORESHOCK_OBJECTIVES'. It was renamed to 'FORESHOCK_SLO' in 0.2.",
        ),
        (
            [],
            {"FORESHOCK_PORT": "tcp://10.0.0.1:8050"},
            (
                "FORESHOCK_PORT: 'tcp://10.0.0.1:8050' comes from the Kubernetes Service 'foreshock'; "
                "set enableServiceLinks: false in the pod spec"
            ),
        ),
        ([], {"FORESHOCK_OTLP_GRPC_PORT": "tcp://10.0.0.1:4317"}, "the Kubernetes Service 'foreshock-otlp-grpc'"),
        ([], {"FORESHOCK_PORT": "http"}, "FORESHOCK_PORT: 'http' is not a valid port; use 1 to 65535"),
        (
            [],
            {"FORESHOCK_TRACES_CREDENTIALS": "token"},
            (
                "Put authorization: {credentials_file: FILE}, or basic_auth: {username: NAME, password_file: FILE}, "
                "in a YAML file, and set 'FORESHOCK_TRACES_CONFIG' to its path."
            ),
        ),
        ([], {"FORESHOCK_STORE": "/data"}, "It was renamed to 'FORESHOCK_STORE_PATH' in 0.2."),
        (["--log-level", "loud"], {}, "is not a valid value; use debug, info"),
        (["--config", "/nowhere/f.yml"], {}, "/nowhere/f.yml: cannot be read: No such file"),
    ],
)
def test_an_invalid_option_is_named_with_its_source(flags: list[str], environ: dict[str, str], message: str) -> None:
    """The message names the place, the value and the remedy."""
    with pytest.raises(SettingsError) as caught:
        load_settings(parsed(*flags), environ)

    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("port: [", "invalid YAML"),
        ("hue: red", "unknown key 'hue'."),
        ("- port", "not a mapping of options"),
        ("trace_keys: a", "unknown key 'trace_keys'. It was renamed to 'indexed_attributes' in 0.2."),
        (
            "alertmanager-ca: a",
            "Put tls_config: {ca_file: FILE} in a YAML file, and set 'alertmanager_config' to its path.",
        ),
        ("traces_tenant: a", "Put http_headers: {X-Scope-OrgID: {values: [TENANT]}} in a YAML file, and set"),
        ("prot: 1", "unknown key 'prot'. Did you mean 'port'?"),
        ("[" * 5000, "invalid YAML"),
        ("slo: [[a, b]]", "f.yml: slo: nested values are not supported. Use a single value or a list."),
        ("slo: {a: 1s}", "f.yml: slo: nested values are not supported."),
        ("a: &a [x]\nslo: [*a]", "f.yml: slo: nested values are not supported."),
        ("port: many", "f.yml: port: 'many' is not a valid port"),
    ],
)
def test_an_invalid_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    """No option of the file is used."""
    file = tmp_path / "f.yml"
    file.write_text(text)

    with pytest.raises(SettingsError) as caught:
        load_settings(parsed("--config", str(file)), {})

    assert message in str(caught.value)
    assert str(file) in str(caught.value)


def test_a_target_without_a_port_gets_the_exporters_port() -> None:
    """A URL stays as it is; a service before it is the one that it is assigned to."""
    text = "gpu-1, gpu-2:9000,https://gpu-3/gpu/metrics,serving/llm-chat=http://vllm:8000/metrics,embedder=tei:80"
    assert [tuple(target) for target in load_settings(parsed("--targets", text), {}).targets] == [
        ("http://gpu-1:10877/metrics", ""),
        ("http://gpu-2:9000/metrics", ""),
        ("https://gpu-3/gpu/metrics", ""),
        ("http://vllm:8000/metrics", "serving/llm-chat"),
        ("http://tei:80/metrics", "embedder"),
    ]


@pytest.mark.parametrize(("interval", "window"), [("5s", 59.0), ("10s", 59.0), ("30s", 119.0), ("1m", 239.0)])
def test_the_rate_window_spans_four_scrapes(interval: str, window: float) -> None:
    """Otherwise rates are empty with a scrape interval of a minute."""
    assert load_settings(parsed("--scrape-interval", interval), {}).window == window


@pytest.mark.parametrize(
    "flags",
    [
        ["--auth-token-file", "/t"],
        ["--auth-basic-file", "/u"],
        ["--auth-header", "X-Forwarded-User", "--auth-proxies", "10.0.0.5"],
        ["--oidc-issuer", "https://id.example", "--oidc-client-id", "a", "--oidc-client-secret-file", "/s"],
        ["--allow-unauthenticated"],
    ],
)
def test_a_page_that_asks_may_be_reached_from_elsewhere(flags: list[str]) -> None:
    """One kind of authentication is enough; none has to be configured explicitly."""
    there = ["--host", "0.0.0.0", "--otlp-host", "127.0.0.1"]  # noqa: S104
    assert load_settings(parsed(*there, *flags), {}).host == "0.0.0.0"  # noqa: S104


def test_an_empty_file_is_all_defaults(tmp_path: Path) -> None:
    """Nothing said, nothing changed."""
    file = tmp_path / "f.yml"
    file.write_text("# nothing\n")

    assert load_settings(parsed("--config", str(file)), {}) == Settings()


def test_every_new_name_is_an_option() -> None:
    """And no old one."""
    keys = {item.key for item in OPTIONS}
    assert set(renamed.OPTIONS.values()) <= keys
    assert not keys & set(renamed.OPTIONS)


def test_an_unknown_variable_is_a_warning() -> None:
    """Those of the exporter, of clients, and of Kubernetes are known."""
    environ = {
        "FORESHOCK_SCRAPE_INTERVALL": "5s",
        "FORESHOCK_WISHES": "many",
        "FORESHOCK_OTLP_PORT": "4317",
        "FORESHOCK_SLO": "a=1s",
        "FORESHOCK_HUB": "http://hub",
        "FORESHOCK_HUB_HTTP_CONFIG": "/http.yml",
        "FORESHOCK_CONFIG": "/f.yml",
        "FORESHOCK_EXPORTER_POOL": "chat",
        "FORESHOCK_TEST_CASES": "many",
        "FORESHOCK_HUB_PORT": "tcp://10.0.0.1:8050",
        "FORESHOCK_HUB_SERVICE_HOST": "10.0.0.1",
        "FORESHOCK_HUB_SERVICE_PORT_HTTP": "8050",
        "FORESHOCK_STORE_PORT_10877_TCP_ADDR": "10.0.0.1",
        "_FORESHOCK_COMPLETE": "bash_source",
        "PATH": "/bin",
    }
    load_settings(parsed(), {name: text for name, text in environ.items() if name != "FORESHOCK_CONFIG"})
    assert unknown_variables(environ) == [
        "unknown environment variable 'FORESHOCK_OTLP_PORT' has no effect. Did you mean 'FORESHOCK_OTLP_HTTP_PORT'?",
        (
            "unknown environment variable 'FORESHOCK_SCRAPE_INTERVALL' has no effect. "
            "Did you mean 'FORESHOCK_SCRAPE_INTERVAL'?"
        ),
        "unknown environment variable 'FORESHOCK_WISHES' has no effect.",
    ]
