"""Authentication of OTLP senders: bearer tokens and TLS, reloaded when their files change."""

from __future__ import annotations

import hmac
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import grpc

from foreshock_dashboard.common.reloading_file import FileError, ReloadingFile, Value

MIN_TOKEN_CHARACTERS = 16


class BearerTokens:
    """Bearer tokens (RFC 6750) from a file, one per line; blank lines and lines that start with # are skipped.

    The file is reloaded when it changes (see `ReloadingFile`). Raises FileError if the first version cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self._file = ReloadingFile([path], lambda: _read_tokens(path), "the tokens of before still hold")

    def allows(self, authorization: str) -> bool:
        """Whether an Authorization header has one of the tokens, in constant time."""
        scheme, _, token = authorization.strip().partition(" ")
        offered = token.strip().encode()
        matches = [hmac.compare_digest(offered, valid) for valid in self._file.current()]
        return scheme.lower() == "bearer" and any(matches)


class TlsFiles(NamedTuple):
    """PEM files of a TLS server: certificate chain, key without a password, CA bundle for client certificates."""

    cert: Path
    key: Path
    client_ca: Path | None = None

    def credentials(self) -> grpc.ServerCredentials:
        """Return credentials for the gRPC listener, reloaded when files change. Raises FileError if one is unusable."""
        watched = self._watched(self._configuration)
        return grpc.dynamic_ssl_server_credentials(
            watched.value,
            lambda: watched.value if watched.reload() else None,  # type: ignore[arg-type, return-value]  # None: as before
            require_client_authentication=self.client_ca is not None,
        )

    def reloading_context(self) -> tuple[ssl.SSLContext, Callable[[], object]]:
        """Return a context for the HTTP listener, and a function that loads changed files into it.

        Raises FileError if a file cannot be used.
        """
        context = self._context()
        return context, self._watched(lambda: self._load(context)).reload

    def _context(self) -> ssl.SSLContext:
        """Return a context with TLS 1.2 or newer (RFC 8996)."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._load(context)
        if self.client_ca is not None:
            try:
                context.load_verify_locations(self.client_ca)
            except (OSError, ssl.SSLError) as error:
                raise FileError(f"{self.client_ca}: is no file of PEM certificates: {error}") from error
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def _load(self, context: ssl.SSLContext) -> None:
        """Load the current certificate and key into a context."""
        try:
            context.load_cert_chain(self.cert, self.key, password=lambda: "")
        except (OSError, ssl.SSLError, ValueError) as error:
            raise FileError(
                f"{self.cert} and {self.key}: cannot be used as certificate and key: {error}; they must be PEM, "
                "belong together, and the key have no password"
            ) from error

    def _watched(self, read: Callable[[], Value]) -> ReloadingFile[Value]:
        """Return a value that is read from the files whenever they change and can be used."""

        def checked() -> Value:
            self._context()  # gRPC would start with a certificate and key that do not match, and fail each handshake
            return read()

        paths = [path for path in (self.cert, self.key, self.client_ca) if path]
        return ReloadingFile(paths, checked, "the certificate of before still holds")

    def _configuration(self) -> grpc.ServerCertificateConfiguration:
        return grpc.ssl_server_certificate_configuration(
            [(self.key.read_bytes(), self.cert.read_bytes())],
            root_certificates=self.client_ca.read_bytes() if self.client_ca else None,
        )


def _read_tokens(path: Path) -> tuple[bytes, ...]:
    try:
        lines = [line.strip() for line in path.read_text("ascii").splitlines()]
    except OSError as error:
        raise FileError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise FileError(f"{path}: a token has characters that a header cannot carry; use ASCII") from error
    tokens = tuple(line.encode() for line in lines if line and not line.startswith("#"))
    if not tokens:
        raise FileError(f"{path}: holds no token; write one a line, such as the output of openssl rand -hex 32")
    if short := [token for token in tokens if len(token) < MIN_TOKEN_CHARACTERS]:
        raise FileError(
            f"{path}: {len(short)} of its tokens are shorter than {MIN_TOKEN_CHARACTERS} characters, "
            "which can be guessed"
        )
    return tokens
