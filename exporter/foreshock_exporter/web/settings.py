"""Web configuration file in the format of Prometheus' exporter-toolkit, parsed and validated."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from foreshock_exporter.web.yaml_file import ConfigError, Section, load_yaml

MAX_FILE_BYTES = 262_144
MAX_BCRYPT_COST = 16
"""Highest bcrypt cost: 16 takes about 4 s per attempt and doubles with each step."""

ClientCertificates = Literal["not requested", "optional", "required"]

_VERSIONS = {"TLS12": "TLSv1_2", "TLS13": "TLSv1_3"}
_OLD_VERSIONS = ("TLS10", "TLS11")
_CLIENT_AUTH: dict[str, ClientCertificates] = {
    "NoClientCert": "not requested",
    "VerifyClientCertIfGiven": "optional",
    "RequireAndVerifyClientCert": "required",
}
_UNVERIFIED = ("RequestClientCert", "RequireAnyClientCert", "RequireClientCert")
_CURVES = {"CurveP256": "prime256v1", "CurveP384": "secp384r1", "CurveP521": "secp521r1", "X25519": "X25519"}
_TLS13_CIPHERS = ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256")
CIPHERS = {
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": "ECDHE-ECDSA-AES128-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": "ECDHE-ECDSA-AES256-SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": "ECDHE-RSA-AES128-SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": "ECDHE-RSA-AES256-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
}
"""TLS 1.2 suites that Go considers secure (crypto/tls.CipherSuites), with their OpenSSL names."""

_HEADERS: dict[str, tuple[str, ...]] = {
    "Strict-Transport-Security": (),
    "X-Content-Type-Options": ("nosniff",),
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-XSS-Protection": (),
    "Content-Security-Policy": (),
}
"""Permitted headers and their permitted values; empty permits any value."""
_SECTIONS = ("tls_server_config", "http_server_config", "basic_auth_users")
_TLS_KEYS = (
    "cert_file", "key_file", "client_auth_type", "client_ca_file", "client_allowed_sans", "min_version", "max_version",
    "cipher_suites", "prefer_server_cipher_suites", "curve_preferences",
)  # fmt: skip
_HASH = re.compile(r"\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}")
_VALUE = re.compile(r"[\t -~]*")


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """TLS settings, with the names of Python's ssl module and OpenSSL."""

    cert_file: Path
    key_file: Path
    client_certificates: ClientCertificates
    client_ca_file: Path | None
    client_allowed_sans: frozenset[str]
    min_version: str
    max_version: str
    ciphers: tuple[str, ...]
    prefer_server_ciphers: bool
    curve: str | None

    @property
    def files(self) -> tuple[Path, ...]:
        """Files that require a reload if they change."""
        return (self.cert_file, self.key_file, *((self.client_ca_file,) if self.client_ca_file else ()))


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of the file. `users` are bcrypt hashes by name."""

    tls: TlsSettings | None = None
    headers: tuple[tuple[str, str], ...] = ()
    users: Mapping[str, bytes] = field(default_factory=dict)


def read_settings(path: Path) -> Settings:
    """Read and validate the file, but not the files it names.

    Raises:
        ConfigError: the file is unreadable, is not YAML, or has invalid settings.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        text = data.decode()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; give the web configuration's path") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text") from error
    if len(data) > MAX_FILE_BYTES:
        raise ConfigError(f"{path}: larger than {MAX_FILE_BYTES} bytes; a web configuration is a short file")
    return parse_settings(text, path)


def parse_settings(text: str, path: Path) -> Settings:
    """Settings of a file's text; relative paths are relative to the folder of `path`.

    Raises:
        ConfigError: as `read_settings`.
    """
    top = Section(path, "", load_yaml(text, path), _SECTIONS)
    tls = top.section("tls_server_config", _TLS_KEYS)
    http = top.section("http_server_config", ("http2", "headers"))
    http.flag("http2")
    return Settings(_tls(tls) if tls.keys else None, _headers(http.section("headers", _HEADERS)), _users(top))


def _tls(section: Section) -> TlsSettings:
    cert, key = section.file("cert_file"), section.file("key_file")
    if cert is None:
        raise section.wrong(
            "cert_file", "is missing; name a PEM certificate, or remove tls_server_config to serve HTTP"
        )
    if key is None:
        raise section.wrong("key_file", "is missing; name the certificate's key, in PEM without a password")
    client_certificates, ca = _client_certificates(section)
    minimum, maximum = _versions(section)
    return TlsSettings(
        cert_file=cert,
        key_file=key,
        client_certificates=client_certificates,
        client_ca_file=ca,
        client_allowed_sans=_allowed_sans(section, client_certificates),
        min_version=minimum,
        max_version=maximum,
        ciphers=_ciphers(section, minimum),
        prefer_server_ciphers=section.flag("prefer_server_cipher_suites"),
        curve=_curve(section),
    )


def _client_certificates(section: Section) -> tuple[ClientCertificates, Path | None]:
    value, ca = section.text("client_auth_type"), section.file("client_ca_file")
    if value in _UNVERIFIED:
        raise section.wrong(
            "client_auth_type",
            f"is {value!r}, which takes any certificate unverified and is not supported; "
            "use RequireAndVerifyClientCert with a client_ca_file",
        )
    kind: ClientCertificates = section.one_of("client_auth_type", _CLIENT_AUTH, "NoClientCert")
    if kind == "not requested" and ca:
        raise section.wrong("client_ca_file", "is given but no client_auth_type; set it to RequireAndVerifyClientCert")
    if kind != "not requested" and not ca:
        raise section.wrong(
            "client_ca_file", f"is missing; client_auth_type {value} needs the certificates that sign those of clients"
        )
    return kind, ca


def _allowed_sans(section: Section, kind: ClientCertificates) -> frozenset[str]:
    names = frozenset(section.texts("client_allowed_sans"))
    if names and kind != "required":
        raise section.wrong(
            "client_allowed_sans", "needs client_auth_type RequireAndVerifyClientCert, or clients would not be checked"
        )
    return names


def _versions(section: Section) -> tuple[str, str]:
    for key in ("min_version", "max_version"):
        if section.text(key) in _OLD_VERSIONS:
            raise section.wrong(
                key, f"is {section.text(key)}, which is deprecated (RFC 8996) and not supported; use TLS12"
            )
    minimum: str = section.one_of("min_version", _VERSIONS, "TLS12")
    maximum: str = section.one_of("max_version", _VERSIONS, "TLS13")
    if minimum > maximum:
        raise section.wrong("min_version", "is above max_version; no client could connect")
    return minimum, maximum


def _ciphers(section: Section, min_version: str) -> tuple[str, ...]:
    """TLS 1.2 suites by OpenSSL name. TLS 1.3 suites are always enabled, as in Go, and may be listed."""
    names = section.texts("cipher_suites")
    for name in names:
        if name not in CIPHERS and name not in _TLS13_CIPHERS:
            raise section.wrong("cipher_suites", f"names {name!r}; use one of {', '.join((*_TLS13_CIPHERS, *CIPHERS))}")
    ciphers = tuple(CIPHERS[name] for name in names if name in CIPHERS)
    if names and not ciphers and min_version == "TLSv1_2":
        raise section.wrong("cipher_suites", "names no suite of TLS 1.2; add one, or set min_version to TLS13")
    return ciphers


def _curve(section: Section) -> str | None:
    names = section.texts("curve_preferences")
    for name in names:
        if name not in _CURVES:
            raise section.wrong("curve_preferences", f"names {name!r}; use one of {', '.join(_CURVES)}")
    if len(names) > 1:
        raise section.wrong(
            "curve_preferences", "names several; one can be set here, so name only that, or none for OpenSSL's own list"
        )
    return _CURVES[names[0]] if names else None


def _headers(section: Section) -> tuple[tuple[str, str], ...]:
    headers = []
    for name in section.keys:
        value = section.text(name)
        if not _VALUE.fullmatch(value):
            raise section.wrong(name, "has characters that a header cannot have; use plain ASCII on one line")
        if _HEADERS[name] and value not in _HEADERS[name]:
            raise section.wrong(name, f"is {value!r}; it must be {' or '.join(_HEADERS[name])}")
        if value:
            headers.append((name, value))
    return tuple(headers)


def _users(top: Section) -> dict[str, bytes]:
    section = top.section("basic_auth_users", None)
    return {name: _hash(section, name) for name in section.keys}


def _hash(section: Section, name: str) -> bytes:
    if not name or ":" in name:
        raise section.wrong(name, "is not a name that a client can send; it must not be empty or contain a colon")
    match = _HASH.fullmatch(section.text(name))
    if match is None:
        raise section.wrong(name, "is not a bcrypt hash; make one with `htpasswd -nBC 10 \"\" | tr -d ':\\n'`")
    if not 4 <= int(match[1]) <= MAX_BCRYPT_COST:
        bounds = f"4 to {MAX_BCRYPT_COST} (default 10)"
        raise section.wrong(name, f"has a bcrypt cost of {match[1]}; it must be {bounds}")
    return match[0].encode()
