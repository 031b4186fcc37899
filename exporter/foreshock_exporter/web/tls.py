"""TLS as the web configuration has it, with Python's ssl. Imported only where a file asks for TLS."""

from __future__ import annotations

import ipaddress
import ssl
from pathlib import Path
from typing import Any

from foreshock_exporter.web.settings import TlsSettings
from foreshock_exporter.web.yaml_file import ConfigError

_VERIFY = {
    "not asked": ssl.CERT_NONE,
    "checked if given": ssl.CERT_OPTIONAL,
    "required": ssl.CERT_REQUIRED,
}


def context(settings: TlsSettings, path: Path) -> ssl.SSLContext:
    """A server's context with certificate, key and all that the settings say.

    Args:
        settings: what the file says.
        path: the file that says it, for messages.

    Raises:
        ConfigError: a file cannot be read or used, or this OpenSSL lacks a cipher or curve.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion[settings.min_version]
    made.maximum_version = ssl.TLSVersion[settings.max_version]
    made.options |= ssl.OP_NO_RENEGOTIATION
    if not settings.prefer_server_ciphers:
        made.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    made.set_alpn_protocols(["http/1.1"])
    _set_ciphers(made, settings, path)
    _set_certificate(made, settings, path)
    _set_client_ca(made, settings, path)
    return made


def _set_ciphers(made: ssl.SSLContext, settings: TlsSettings, path: Path) -> None:
    if settings.curve:
        made.set_ecdh_curve(settings.curve)
    if not settings.ciphers:
        return
    try:
        made.set_ciphers(":".join(settings.ciphers))
    except ssl.SSLError:
        offered: set[str] = set()
    else:
        offered = {cipher["name"] for cipher in made.get_ciphers()}
    if missing := [name for name in settings.ciphers if name not in offered]:
        raise ConfigError(
            f"{path}: tls_server_config.cipher_suites: this OpenSSL does not offer {', '.join(missing)}; leave it out"
        )


def _set_certificate(made: ssl.SSLContext, settings: TlsSettings, path: Path) -> None:
    _readable(settings.cert_file, "cert_file", path)
    _readable(settings.key_file, "key_file", path)
    try:
        # The password keeps OpenSSL from asking for one on the terminal.
        made.load_cert_chain(settings.cert_file, settings.key_file, password="")
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{path}: tls_server_config: cert_file {settings.cert_file} and key_file {settings.key_file} "
            f"cannot be used together: {_reason(error)}; give a certificate, or a chain that begins with it, "
            "and the key that belongs to it, both in PEM and the key without a password"
        ) from error


def _set_client_ca(made: ssl.SSLContext, settings: TlsSettings, path: Path) -> None:
    if settings.client_ca_file is None:
        return
    _readable(settings.client_ca_file, "client_ca_file", path)
    try:
        made.load_verify_locations(settings.client_ca_file)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{path}: tls_server_config.client_ca_file {settings.client_ca_file}: {_reason(error)}; "
            "give the certificates that sign those of clients, in PEM"
        ) from error
    made.verify_mode = _VERIFY[settings.client_certificates]


def _readable(file: Path, key: str, path: Path) -> None:
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
    """The subject alternative names of a certificate as `SSLSocket.getpeercert` gives it: DNS, e-mail, address, URI."""
    return frozenset(
        _address(value) if kind == "IP Address" else value
        for kind, value in (certificate or {}).get("subjectAltName", ())
        if kind in ("DNS", "email", "IP Address", "URI")
    )


def _address(text: str) -> str:
    """An address in its usual short form; OpenSSL writes IPv6 in full."""
    try:
        return str(ipaddress.ip_address(text.strip()))
    except ValueError:
        return text
