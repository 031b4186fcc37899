"""The web configuration file: accepted and refused settings, also checked with promtool."""

from __future__ import annotations

import logging
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshock_exporter.web.config import WatchedConfig, WebConfig
from foreshock_exporter.web.server import serve
from foreshock_exporter.web.settings import CIPHERS, MAX_FILE_BYTES, parse_settings
from foreshock_exporter.web.yaml_file import ConfigError

pytestmark = pytest.mark.slow

if TYPE_CHECKING:
    from tests.exporter.web.conftest import Readings

TLS = "tls_server_config:\n  cert_file: cert.pem\n  key_file: key.pem\n"
MUTUAL = TLS + "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n"
HASH = "$2y$10$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG"
USERS = f"basic_auth_users:\n  alice: {HASH}\n"

GOOD = {
    "nothing": "",
    "only a comment": "# later\n",
    "sections without keys": "tls_server_config:\nhttp_server_config: {}\nbasic_auth_users:\n",
    "TLS": TLS,
    "TLS with quoted paths": TLS.replace("cert.pem", '"cert.pem"'),
    "clients with certificates": MUTUAL,
    "certificates where given": MUTUAL.replace("RequireAndVerifyClientCert", "VerifyClientCertIfGiven"),
    "clients with names": MUTUAL + "  client_allowed_sans: [prometheus.example, 10.0.0.1]\n",
    "no client certificates": TLS + "  client_auth_type: NoClientCert\n",
    "versions": TLS + "  min_version: TLS13\n  max_version: TLS13\n",
    "all ciphers of TLS 1.2": TLS + "  cipher_suites:\n" + "".join(f"  - {name}\n" for name in CIPHERS),
    "ciphers of both versions": TLS
    + "  cipher_suites: [TLS_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]\n",
    "the client's order of ciphers": TLS + "  prefer_server_cipher_suites: false\n",
    "a curve": TLS + "  curve_preferences: [CurveP256]\n",
    "HTTP/2": TLS + "http_server_config:\n  http2: true\n",
    "no HTTP/2": TLS + "http_server_config:\n  http2: no\n",
    "headers": "http_server_config:\n  headers:\n    X-Frame-Options: deny\n    X-Content-Type-Options: nosniff\n"
    "    Strict-Transport-Security: max-age=31536000; includeSubDomains\n    X-XSS-Protection: 1; mode=block\n"
    "    Content-Security-Policy: default-src 'self'\n",
    "a blank header": "http_server_config:\n  headers:\n    X-XSS-Protection: ''\n",
    "users": USERS + f"  bob: {HASH.replace('2y', '2a')}\n  '7': {HASH.replace('2y', '2b')}\n",
    "all of it": MUTUAL + USERS + "http_server_config: {http2: true}\n",
}  # fmt: skip

BAD = {
    "not YAML": ("a: [", "line 1: invalid YAML"),
    "not a mapping": ("- a\n", "the file must be a mapping"),
    "a key twice": (TLS + "  key_file: key.pem\n", "line 4: .*'key_file' is a duplicate"),
    "a section that is a list": ("tls_server_config: [a]\n", "tls_server_config must be a mapping"),
    "a section that is unknown": ("tls_config:\n  cert_file: a\n", "tls_config is not known; known are tls_server"),
    "a key that is unknown": (TLS + "  cert: cert.pem\n  certfile: a\n", r"tls_server_config\.cert is not supported"),
    "a key that is misspelt": (TLS + "  certfile: a\n", r"tls_server_config\.certfile is not known; known are cert_"),
    "no certificate": ("tls_server_config:\n  key_file: key.pem\n", r"tls_server_config\.cert_file is missing"),
    "no key": ("tls_server_config:\n  cert_file: cert.pem\n", r"tls_server_config\.key_file is missing"),
    "a certificate that is not there": (TLS.replace("cert.pem", "gone.pem"), r"cert_file .*gone\.pem: No such file"),
    "a key that is not there": (TLS.replace("key.pem", "gone.pem"), r"key_file .*gone\.pem: No such file"),
    "a folder as certificate": (TLS.replace("cert.pem", "."), r"cert_file .*: Is a directory"),
    "another's key": (TLS.replace("key.pem", "other-key.pem"), r"key_file .*other-key\.pem .*key values mismatch"),
    "a key that is no key": (TLS.replace("key.pem", "cert.pem"), r"cannot be used together: .*PEM"),
    "a certificate that is none": (TLS.replace("cert.pem", "web.yml"), r"cannot be used together: .*PEM"),
    "an unknown policy": (TLS + "  client_auth_type: Always\n", r"client_auth_type is 'Always'; it must be one of No"),
    "an authority without policy": (TLS + "  client_ca_file: ca.pem\n", "client_ca_file is given but no client_auth"),
    "an authority that is not there": (MUTUAL.replace("ca.pem", "gone.pem"), r"client_ca_file .*gone\.pem: No such"),
    "an unknown version": (TLS + "  min_version: TLS14\n", r"min_version is 'TLS14'; it must be one of TLS12, TLS13"),
    "an unknown cipher": (TLS + "  cipher_suites: [ROT13]\n", r"cipher_suites names 'ROT13'; use one of TLS_AES"),
    "an unknown curve": (TLS + "  curve_preferences: [Curve25519]\n", "curve_preferences names 'Curve25519'; use one"),
    "a list that is none": (TLS + "  cipher_suites: {a: b}\n", "cipher_suites must be a list"),
    "a switch that is none": ("http_server_config:\n  http2: maybe\n", "http2 is 'maybe'; it must be true or false"),
    "an unknown header": ("http_server_config:\n  headers:\n    Server: me\n", r"headers\.Server is not known"),
    "a header in other letters": ("http_server_config:\n  headers:\n    x-frame-options: deny\n", "is not known"),
    "a header's wrong value": ("http_server_config:\n  headers:\n    X-Frame-Options: DENY\n", "it must be deny or sa"),
    "a value that is a list": (TLS.replace("cert.pem", "[cert.pem]"), "cert_file must be a single value"),
    "a password in clear": ("basic_auth_users:\n  alice: secret\n", r"basic_auth_users\.alice is not a bcrypt hash"),
    "a cut hash": (f"basic_auth_users:\n  alice: {HASH[:-9]}\n", r"basic_auth_users\.alice is not a bcrypt hash"),
    "too low a cost": (USERS.replace("$10$", "$03$"), "bcrypt cost of 03; it must be 4 to 16"),
}  # fmt: skip
"""What promtool refuses as well."""

STRICTER = {
    "TLS without a certificate": ("tls_server_config:\n  min_version: TLS13\n", r"cert_file is missing; .* serve HTTP"),
    "unverified clients": (TLS + "  client_auth_type: RequireAnyClientCert\n", "takes any certificate unverified"),
    "verified without a CA": (TLS + "  client_auth_type: RequireAndVerifyClientCert\n", "client_ca_file is missing"),
    "an empty authority": (MUTUAL.replace("ca.pem", "web.yml"), r"client_ca_file .*web\.yml: .*PEM"),
    "names without a check": (TLS + "  client_allowed_sans: [a]\n", "client_allowed_sans needs client_auth_type"),
    "broken versions": (TLS + "  min_version: TLS10\n", r"min_version is TLS10, which is deprecated \(RFC 8996\)"),
    "a broken highest version": (TLS + "  max_version: TLS11\n", "max_version is TLS11, which is deprecated"),
    "versions that none has": (TLS + "  min_version: TLS13\n  max_version: TLS12\n", "is above max_version"),
    "no cipher left": (TLS + "  cipher_suites: [TLS_AES_128_GCM_SHA256]\n", "names no suite of TLS 1.2; .* TLS13"),
    "several curves": (TLS + "  curve_preferences: [X25519, CurveP256]\n", "curve_preferences names several; one can"),
    "a name with a colon": (USERS.replace("alice", "'a:b'"), "a:b is not a name that a client can send"),
    "too high a cost": (USERS.replace("$10$", "$20$"), "bcrypt cost of 20; it must be 4 to 16"),
    "a header on two lines": ('http_server_config:\n  headers:\n    X-XSS-Protection: "a\\nb"\n', "plain ASCII on"),
}  # fmt: skip
"""What promtool lets pass and Python cannot do, or is never meant."""


def load(path: Path) -> WebConfig:
    return WatchedConfig(path).current()


def promtool_takes(path: Path) -> bool:
    checked = subprocess.run(["promtool", "check", "web-config", path], capture_output=True, text=True, check=False)
    assert checked.returncode in (0, 1, 3), checked.stderr
    return checked.returncode == 0


@pytest.mark.parametrize("text", GOOD.values(), ids=GOOD)
def test_a_good_file_is_taken_here_and_by_promtool(text: str, config: Callable[[str], Path]) -> None:
    path = config(text)
    load(path)
    assert promtool_takes(path)


@pytest.mark.parametrize(("text", "says"), BAD.values(), ids=BAD)
def test_a_bad_file_is_refused_here_and_by_promtool(text: str, says: str, config: Callable[[str], Path]) -> None:
    path = config(text)
    with pytest.raises(ConfigError, match=says) as refused:
        load(path)
    assert str(refused.value).startswith(str(path))
    assert not promtool_takes(path)


@pytest.mark.parametrize(("text", "says"), STRICTER.values(), ids=STRICTER)
def test_unsupported_settings_are_refused(text: str, says: str, config: Callable[[str], Path]) -> None:
    path = config(text)
    with pytest.raises(ConfigError, match=says):
        load(path)
    assert promtool_takes(path)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"\xff", "not UTF-8"),
        (b"#" * (MAX_FILE_BYTES + 1), "larger than"),
        (b"[" * 100_000, "invalid YAML"),
        (None, "No such"),
    ],
)
def test_a_file_that_is_no_configuration_is_named(data: bytes | None, says: str, tmp_path: Path) -> None:
    path = tmp_path / "web.yml"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(ConfigError, match=f"^{path}: .*{says}"):
        load(path)


def test_an_unknown_section_is_refused_with_a_remedy(config: Callable[[str], Path]) -> None:
    with pytest.raises(ConfigError, match=r"rate_limit is not supported; .* remove it"):
        load(config("rate_limit: {interval: 1s, burst: 2}\n"))


@pytest.mark.parametrize("text", [text for text, _ in (BAD | STRICTER).values() if HASH in text])
def test_no_message_shows_a_hash(text: str, config: Callable[[str], Path]) -> None:
    with pytest.raises(ConfigError) as refused:
        load(config(text))
    assert "$2" not in str(refused.value)


@given(
    st.text(max_size=200)
    | st.sampled_from(list(GOOD.values())).flatmap(
        lambda text: st.sampled_from(
            [
                text[:cut] + extra + text[cut:]
                for cut in range(len(text) + 1)
                for extra in (":", "\n", " ", "x", "[", "{")
            ]
        )
    )
)
def test_any_text_is_either_understood_or_refused(text: str) -> None:
    """Never another error, whatever a file holds."""
    try:
        parse_settings(text, Path("web.yml"))
    except ConfigError as refused:
        assert str(refused).startswith("web.yml")  # noqa: PT017 - either outcome is fine


def test_a_bad_file_keeps_the_server_from_starting(config: Callable[[str], Path], readings: Readings) -> None:
    with pytest.raises(ConfigError, match="cert_file is missing"):
        serve(readings, "127.0.0.1", 0, web_config=config("tls_server_config: {key_file: a}\n"))


def test_a_changed_file_holds_from_the_next_moment(config: Callable[[str], Path]) -> None:
    watched = WatchedConfig(config(USERS))
    first = watched.current()
    assert watched.current() is first
    config(USERS + f"  bob: {HASH}\n")
    assert set(watched.current().users) == {"alice", "bob"}


def test_an_invalid_change_is_ignored_and_logged_once(
    config: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    watched = WatchedConfig(config(USERS))
    config("basic_auth_users: {alice: secret}\n")
    for _ in range(5):
        assert watched.current().users == {"alice": HASH.encode()}
    assert [("alice is not a bcrypt hash" in record.message) for record in caplog.records] == [True]
    config(USERS + f"  bob: {HASH}\n")
    assert len(watched.current().users) == 2
    assert "works again" in caplog.records[-1].message


@pytest.mark.parametrize(
    ("before", "after", "lost"),
    [
        (TLS, "", "TLS"),
        (USERS, "", "basic_auth_users"),
        (TLS + USERS, USERS, "TLS"),
        (MUTUAL, TLS, "client_auth_type"),
        (GOOD["clients with names"], MUTUAL, "client_allowed_sans"),
    ],
)
def test_a_protection_is_not_taken_away_while_it_runs(
    before: str, after: str, lost: str, config: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    """A file caught half-written must not open the door."""
    watched = WatchedConfig(config(before))
    held = watched.current()
    config(after)
    assert watched.current() is held
    assert f"removes {lost}, so it is not reloaded; restart" in caplog.text
    assert load(config(after)).protections < held.protections


def test_a_file_replaced_by_another_of_the_same_size_and_time_is_seen(config: Callable[[str], Path]) -> None:
    """As Kubernetes and careful editors do: write aside and rename."""
    path = config(USERS)
    watched = WatchedConfig(path)
    was = path.stat()
    aside = path.with_name("aside")
    aside.write_text(USERS.replace("alice", "carol"))
    os.utime(aside, ns=(was.st_atime_ns, was.st_mtime_ns))
    aside.rename(path)
    assert set(watched.current().users) == {"carol"}


def test_certificates_that_come_after_the_file_that_names_them_are_found(
    config: Callable[[str], Path], folder: Path
) -> None:
    watched = WatchedConfig(config(TLS))
    held = watched.current()
    config(TLS.replace("cert.pem", "next.pem"))
    assert watched.current() is held
    (folder / "next.pem").write_bytes((folder / "cert.pem").read_bytes())
    assert watched.current() is not held


def test_a_deleted_file_keeps_the_configuration(config: Callable[[str], Path]) -> None:
    path = config(USERS)
    watched = WatchedConfig(path)
    path.unlink()
    assert watched.current().users
