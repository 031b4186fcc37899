"""TLS of an HTTP client."""

from __future__ import annotations

import ssl
from collections.abc import Callable

import httpx

from foreshock_dashboard.common.reloading_file import FileError
from foreshock_dashboard.sources.http_config.values import TlsConfig


def ssl_context(config: TlsConfig | None) -> ssl.SSLContext:
    """The context of a configuration. Raises FileError if a file cannot be used.

    Without `ca_file`, the authorities are those of the system and of `certifi`, since some systems have none.
    """
    config = config or TlsConfig()
    try:
        context = ssl.create_default_context(cafile=config.ca_file) if config.ca_file else httpx.create_ssl_context()
    except (OSError, ssl.SSLError) as error:
        raise FileError(f"{config.ca_file}: is not a file of PEM certificates: {error}") from error
    if not config.ca_file:
        context.load_default_certs()
    # As in Prometheus. Python 3.13 sets it, and refuses authorities without key identifiers, such as those of EKS.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
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


def server_name_hook(config: TlsConfig | None) -> Callable[[httpx.Request], None]:
    """A hook that has the certificate of the server checked for `server_name`."""
    name = config.server_name if config else None

    def hook(request: httpx.Request) -> None:
        if name:
            request.extensions["sni_hostname"] = name

    return hook
