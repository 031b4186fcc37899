"""TLS of an HTTP client."""

from __future__ import annotations

import ssl

import httpx

from foreshock_dashboard.common.reloading_file import FileError
from foreshock_dashboard.sources.http_config.values import TlsConfig


def ssl_context(config: TlsConfig) -> ssl.SSLContext:
    """The context of a configuration. Raises FileError if a file cannot be used."""
    try:
        context = ssl.create_default_context(cafile=config.ca_file) if config.ca_file else httpx.create_ssl_context()
    except (OSError, ssl.SSLError) as error:
        raise FileError(f"{config.ca_file}: is not a file of PEM certificates: {error}") from error
    if config.cert_file:
        try:
            context.load_cert_chain(config.cert_file, config.key_file, password=lambda: "")
        except (OSError, ssl.SSLError, ValueError) as error:
            raise FileError(
                f"{config.cert_file} and {config.key_file}: cannot be used as certificate and key: {error}; they must "
                "be PEM, belong together, and the key have no password"
            ) from error
    if config.insecure_skip_verify:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if version := config.least_version():
        context.minimum_version = version
    return context
