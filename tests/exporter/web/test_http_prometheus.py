"""Scrapes by a real Prometheus over TLS, with a password and with a certificate."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trustme

pytestmark = pytest.mark.slow

if TYPE_CHECKING:
    from tests.conftest import Eventually
    from tests.exporter.web.conftest import Query, Readings, Serving

TLS = "tls_server_config:\n  cert_file: cert.pem\n  key_file: key.pem\n"


def job(name: str, port: int, extra: str) -> str:
    return (
        f"- job_name: {name}\n  static_configs: [{{targets: ['localhost:{port}']}}]\n"
        "  scheme: https\n" + extra
    )  # fmt: skip


def value(query: Query, expression: str) -> float | None:
    found = query(expression)
    return float(found[0]["value"][1]) if found else None


def test_it_scrapes_over_tls_with_a_password_and_with_a_certificate(
    serving: Serving,
    config: Callable[[str], Path],
    folder: Path,
    hashed: Callable[[str], str],
    prometheus: Callable[[str], Query],
    authority: trustme.CA,
    readings: Readings,
    eventually: Eventually,
) -> None:
    """Right and wrong passwords, a client certificate of the right and of no name, and both formats, side by side."""
    secret = TLS + f"basic_auth_users:\n  prometheus: {hashed('apple')}\n"
    guarded = serving(config(secret)).port
    mutual = folder / "mutual.yml"
    mutual.write_text(
        TLS + "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n"
        "  client_allowed_sans: [prometheus.example]\n"
    )
    certified = serving(mutual).port
    for name in ("prometheus.example", "other.example"):
        certificate = authority.issue_cert(name)
        certificate.private_key_pem.write_to_path(str(folder / f"{name}.key"))
        (folder / f"{name}.crt").write_bytes(certificate.cert_chain_pems[0].bytes())
    trust = f"ca_file: {folder / 'ca.pem'}"

    def client(name: str) -> str:
        return f"{trust}, cert_file: {folder / name}.crt, key_file: {folder / name}.key"

    query = prometheus(
        job("right", guarded, f"  tls_config: {{{trust}}}\n  basic_auth: {{username: prometheus, password: apple}}\n")
        + job("wrong", guarded, f"  tls_config: {{{trust}}}\n  basic_auth: {{username: prometheus, password: plum}}\n")
        + job("untrusting", guarded, "  basic_auth: {username: prometheus, password: apple}\n")
        + job("certified", certified, f"  tls_config: {{{client('prometheus.example')}}}\n")
        + job("misnamed", certified, f"  tls_config: {{{client('other.example')}}}\n")
        + job("nameless", certified, f"  tls_config: {{{trust}}}\n")
        + job(
            "text",
            guarded,
            f"  scrape_protocols: [PrometheusText0.0.4]\n  tls_config: {{{trust}}}\n"
            "  basic_auth: {username: prometheus, password: apple}\n",
        )
    )
    up = {"right": 1, "wrong": 0, "untrusting": 0, "certified": 1, "misnamed": 0, "nameless": 0, "text": 1}
    eventually(lambda: {s["metric"]["job"]: int(s["value"][1]) for s in query("up")} == up, f"up as {up}")
    for name in ("right", "certified", "text"):
        assert value(query, f'gpu_busy_seconds_total{{job="{name}",gpu="0"}}') == 1.5
        assert value(query, f'gpu_utilization_sample_ratio_count{{job="{name}"}}') == 6
        assert value(query, f'gpu_utilization_sample_ratio_bucket{{job="{name}",le="0.5"}}') == 3
        assert value(query, f'node_netstat_Tcp_RetransSegs{{job="{name}"}}') == 12
        assert query(f'gpu_info{{job="{name}"}}')[0]["metric"]["model"] == 'H100 "SXM"\\'
    readings.value = 7.0
    eventually(lambda: value(query, 'tick{job="right"}') == 7.0, "a later reading")


def test_it_keeps_scraping_while_certificates_and_password_change(
    serving: Serving,
    config: Callable[[str], Path],
    folder: Path,
    hashed: Callable[[str], str],
    prometheus: Callable[[str], Query],
    readings: Readings,
    eventually: Eventually,
) -> None:
    def secret(password: str) -> str:
        return TLS + f"basic_auth_users:\n  prometheus: {hashed(password)}\n"

    server = serving(config(secret("apple")))
    login = "  basic_auth: {username: prometheus, password: apple}\n"
    query = prometheus(job("gpus", server.port, f"  tls_config: {{ca_file: {folder / 'ca.pem'}}}\n{login}"))
    eventually(lambda: value(query, 'up{job="gpus"}') == 1, "scraped")
    (folder / "cert.pem").write_bytes((folder / "other-cert.pem").read_bytes())
    (folder / "key.pem").write_bytes((folder / "other-key.pem").read_bytes())
    config(secret("cherry"))
    eventually(lambda: value(query, 'up{job="gpus"}') == 0, "the old password no longer works")
    config(secret("apple"))
    readings.value = 9.0
    eventually(lambda: value(query, 'tick{job="gpus"}') == 9.0, "scraped again")
