"""TLS of an HTTP client."""

from __future__ import annotations

import ssl
from collections.abc import Callable

import httpx

from foreshock_dashboard.common.pem_files import client_context, load_certificate
from foreshock_dashboard.sources.http_config.values import TlsConfig


def ssl_context(config: TlsConfig | None) -> ssl.SSLContext:
    """The context of a configuration. Raises FileError if a file cannot be used.

    Without `ca_file`, the authorities are those of the system and of `certifi`, since some systems have none.
    """
    config = config or TlsConfig()
    if config.ca_file:
        context = client_context(config.ca_file)
    else:
        context = httpx.create_ssl_context()
        context.load_default_certs()
    if config.cert_file:
        load_certificate(context, config.cert_file, config.key_file)
    if config.insecure_skip_verify:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if version := config.least_version():
        context.minimum_version = version
    return context


def server_name_hook(config: TlsConfig | None) -> Callable[[httpx.Request], None]:
    """A hook that has the certificate of the server checked for `server_name`."""
    name = config.server_name if config else None

    def hook(request: httpx.Request) -> None:
        if name:
            request.extensions["sni_hostname"] = name

    return hook
