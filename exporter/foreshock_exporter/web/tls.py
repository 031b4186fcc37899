"""TLS context of the web configuration. Imported only if a file configures TLS."""

from __future__ import annotations

import ipaddress
import ssl
from pathlib import Path
from typing import Any

from foreshock_exporter.web.settings import TlsSettings
from foreshock_exporter.web.yaml_file import ConfigError

_VERIFY = {"not requested": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}


def context(settings: TlsSettings, path: Path) -> ssl.SSLContext:
    """Server context with certificate, key, and settings; `path` names the web configuration in messages.

    Raises:
        ConfigError: a file is unusable, or OpenSSL lacks a cipher or curve.
    """
    ssl_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ssl_context.minimum_version = ssl.TLSVersion[settings.min_version]
    ssl_context.maximum_version = ssl.TLSVersion[settings.max_version]
    ssl_context.options |= ssl.OP_NO_RENEGOTIATION
    if not settings.prefer_server_ciphers:
        ssl_context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    ssl_context.set_alpn_protocols(["http/1.1"])
    _set_ciphers(ssl_context, settings, path)
    _set_certificate(ssl_context, settings, path)
    _set_client_ca(ssl_context, settings, path)
    return ssl_context


def _set_ciphers(ssl_context: ssl.SSLContext, settings: TlsSettings, path: Path) -> None:
    if settings.curve:
        ssl_context.set_ecdh_curve(settings.curve)
    if not settings.ciphers:
        return
    try:
        ssl_context.set_ciphers(":".join(settings.ciphers))
    except ssl.SSLError:
        offered: set[str] = set()
    else:
        offered = {cipher["name"] for cipher in ssl_context.get_ciphers()}
    if missing := [name for name in settings.ciphers if name not in offered]:
        raise ConfigError(
            f"{path}: tls_server_config.cipher_suites: this OpenSSL does not offer {', '.join(missing)}; remove them"
        )


def _set_certificate(ssl_context: ssl.SSLContext, settings: TlsSettings, path: Path) -> None:
    _require_readable(settings.cert_file, "cert_file", path)
    _require_readable(settings.key_file, "key_file", path)
    try:
        # The password keeps OpenSSL from asking for one on the terminal.
        ssl_context.load_cert_chain(settings.cert_file, settings.key_file, password="")
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{path}: tls_server_config: cert_file {settings.cert_file} and key_file {settings.key_file} "
            f"cannot be used together: {_reason(error)}; give a certificate, or a chain that begins with it, "
            "and the key that belongs to it, both in PEM and the key without a password"
        ) from error


def _set_client_ca(ssl_context: ssl.SSLContext, settings: TlsSettings, path: Path) -> None:
    if settings.client_ca_file is None:
        return
    _require_readable(settings.client_ca_file, "client_ca_file", path)
    try:
        ssl_context.load_verify_locations(settings.client_ca_file)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{path}: tls_server_config.client_ca_file {settings.client_ca_file}: {_reason(error)}; "
            "give the certificates that sign those of clients, in PEM"
        ) from error
    ssl_context.verify_mode = _VERIFY[settings.client_certificates]


def _require_readable(file: Path, key: str, path: Path) -> None:
    try:
        with file.open("rb"):
            return
    except OSError as error:
        raise ConfigError(
            f"{path}: tls_server_config.{key} {file}: {error.strerror}; "
            "a relative path starts at the folder of the web configuration"
        ) from error


def _reason(error: Exception) -> str:
    reason = error.reason if isinstance(error, ssl.SSLError) else None
    return reason.replace("_", " ").lower() if reason else "it is not PEM that can be read"


def alternative_names(certificate: dict[str, Any] | None) -> frozenset[str]:
    """Subject alternative names of a certificate from `SSLSocket.getpeercert`: DNS, e-mail, address, URI."""
    return frozenset(
        _address(value) if kind == "IP Address" else value
        for kind, value in (certificate or {}).get("subjectAltName", ())
        if kind in ("DNS", "email", "IP Address", "URI")
    )


def _address(text: str) -> str:
    """Address in short form; OpenSSL writes IPv6 in full."""
    try:
        return str(ipaddress.ip_address(text.strip()))
    except ValueError:
        return text
