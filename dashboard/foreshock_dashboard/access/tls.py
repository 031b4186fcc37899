"""TLS of the page and the receivers, from files that are reloaded when they change."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import grpc

from foreshock_dashboard.common.pem_files import load_authorities, load_certificate
from foreshock_dashboard.common.reloading_file import ReloadingFile, Value


class TlsFiles(NamedTuple):
    """PEM files of a TLS server: certificate chain, key without a password, CA bundle for client certificates."""

    cert: Path
    key: Path
    client_ca: Path | None = None

    def credentials(self) -> grpc.ServerCredentials:
        """Credentials for a gRPC listener, reloaded when files change. Raises FileError if one is unusable."""

        def read() -> grpc.ServerCertificateConfiguration:
            self._context()  # gRPC would start with a certificate and key that do not match, and fail each handshake
            return grpc.ssl_server_certificate_configuration(
                [(self.key.read_bytes(), self.cert.read_bytes())],
                root_certificates=self.client_ca.read_bytes() if self.client_ca else None,
            )

        watched = self._watched(read)
        return grpc.dynamic_ssl_server_credentials(
            watched.value,
            lambda: watched.value if watched.reload() else None,  # type: ignore[arg-type, return-value]  # None: as before
            require_client_authentication=self.client_ca is not None,
        )

    def context(self) -> ssl.SSLContext:
        """A context for an HTTP server. Each handshake uses the newest usable files. Raises FileError if one is not."""
        watched = self._watched(self._context)

        def use_newest(connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
            connection.context = watched.current()

        context = self._context()
        context.sni_callback = use_newest  # called in each handshake, also without a server name
        return context

    def _context(self) -> ssl.SSLContext:
        """A context with TLS 1.2 or newer (RFC 8996)."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        load_certificate(context, self.cert, self.key)
        if self.client_ca is not None:
            load_authorities(context, self.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def _watched(self, read: Callable[[], Value]) -> ReloadingFile[Value]:
        paths = [path for path in (self.cert, self.key, self.client_ca) if path]
        return ReloadingFile(paths, read, "the previous certificate stays valid")
