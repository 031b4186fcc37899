"""HTTP clients of a configuration, replaced when one of its files changes."""

from __future__ import annotations

from collections.abc import Iterator

import httpx

from foreshock_dashboard.common.reloading_file import FileError, ReloadingFile
from foreshock_dashboard.sources.http_config.oauth2 import OAuth2Auth
from foreshock_dashboard.sources.http_config.reading import secret_text
from foreshock_dashboard.sources.http_config.sigv4 import SigV4Auth
from foreshock_dashboard.sources.http_config.tls import server_name_hook, ssl_context
from foreshock_dashboard.sources.http_config.values import HttpConfig


class ReloadingClient:
    """The client of an HTTP configuration. Thread-safe.

    If a file cannot be used any more, the previous client stays in use. A replaced client is closed at the next change
    after its replacement, since requests may be in progress.

    Args:
        config: credentials, TLS, headers, and parameters.
        base_url, timeout, limits, transport, trust_env: as in `httpx.Client`.

    Raises:
        FileError: a file of the configuration cannot be used.
    """

    def __init__(
        self,
        config: HttpConfig,
        *,
        base_url: httpx.URL | str = "",
        timeout: float = 30.0,
        limits: httpx.Limits | None = None,
        transport: httpx.BaseTransport | None = None,
        trust_env: bool = True,
    ) -> None:
        self._opened: list[httpx.Client] = []

        def make() -> httpx.Client:
            auth, headers = _auth(config), list(_headers(config))
            client = httpx.Client(
                base_url=base_url,
                timeout=timeout,
                limits=limits or httpx.Limits(),
                transport=transport,
                trust_env=trust_env,
                auth=auth,
                headers=headers,
                params={name: list(values) for name, values in config.params.items()},
                verify=ssl_context(config.tls_config),
                proxy=str(config.proxy_url) if config.proxy_url else None,
                event_hooks={"request": [server_name_hook(config.tls_config)]},
            )
            for old in self._opened[:-1]:
                old.close()
            self._opened = [*self._opened[-1:], client]
            return client

        self._client = ReloadingFile(config.files(), make, "the previous credentials stay in use")

    def current(self) -> httpx.Client:
        """The client with the newest usable files."""
        return self._client.current()

    def close(self) -> None:
        """Close the connections."""
        for client in self._opened:
            client.close()


def _auth(config: HttpConfig) -> httpx.Auth | None:
    """The authentication that is computed for each request."""
    if basic := config.basic_auth:
        username = secret_text(basic.username, basic.username_file)
        return httpx.BasicAuth(username, secret_text(basic.password, basic.password_file))
    if config.oauth2:
        return OAuth2Auth(config.oauth2)
    return SigV4Auth(config.sigv4) if config.sigv4 else None


def _headers(config: HttpConfig) -> Iterator[tuple[bytes, bytes]]:
    if given := config.authorization:
        credentials = secret_text(given.credentials, given.credentials_file).strip()
        if not credentials:
            raise FileError("authorization: credentials is empty. Set it to the token")
        if given.type == "Bearer" and (" " in credentials or not credentials.isascii()):
            raise FileError(f"{given.credentials_file or 'authorization'}: is not a bearer token. Remove 'Bearer'")
        yield b"Authorization", f"{given.type} {credentials}".encode()
    for name, header in config.http_headers.items():
        texts = [*header.values, *(secret.get_secret_value() for secret in header.secrets)]
        for text in (*texts, *(secret_text(None, file) for file in header.files)):
            yield name.encode(), text.strip().encode()
    for name, secret in config.headers.items():
        yield name.encode(), secret.get_secret_value().strip().encode()
