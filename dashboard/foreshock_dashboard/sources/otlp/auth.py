"""Authentication of OTLP senders: bearer tokens and TLS, reloaded when their files change."""

from __future__ import annotations

import hmac
import logging
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import grpc

from foreshock_dashboard.common.file_version import FileVersion, file_version

MIN_TOKEN_CHARACTERS = 16

_log = logging.getLogger(__name__)


class AuthError(Exception):
    """A file of tokens or keys cannot be used. The message names it and the remedy."""


class BearerTokens:
    """Bearer tokens (RFC 6750) from a file, one per line; blank lines and lines that start with # are skipped.

    The file is reloaded when it changes. If the new version cannot be used, it is logged once, and the previous tokens
    stay valid.

    Raises:
        AuthError: the first version cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._version = file_version(path)
        self._tokens = _read_tokens(path)

    def allows(self, authorization: str) -> bool:
        """Whether an Authorization header has one of the tokens, in constant time."""
        scheme, _, token = authorization.strip().partition(" ")
        offered = token.strip().encode()
        matches = [hmac.compare_digest(offered, valid) for valid in self._current()]
        return scheme.lower() == "bearer" and any(matches)

    def _current(self) -> tuple[bytes, ...]:
        with self._lock:
            version = file_version(self._path)
            if version != self._version:
                self._version = version
                try:
                    self._tokens = _read_tokens(self._path)
                except AuthError as error:
                    _log.warning("%s; the tokens of before still hold", error)
            return self._tokens


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files of a TLS server.

    cert: the certificate chain. key: the private key, without a password.
    client_ca: CA bundle for client certificates; None if clients need none.
    """

    cert: Path
    key: Path
    client_ca: Path | None = None

    def context(self) -> ssl.SSLContext:
        """Return a context for the HTTP listener, with TLS 1.2 or newer (RFC 8996).

        Raises:
            AuthError: a file cannot be used.
        """
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.load(context)
        if self.client_ca is not None:
            try:
                context.load_verify_locations(self.client_ca)
            except (OSError, ssl.SSLError) as error:
                raise AuthError(f"{self.client_ca}: is no file of PEM certificates: {error}") from error
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def load(self, context: ssl.SSLContext) -> None:
        """Load the current certificate and key into a context.

        Raises:
            AuthError: a file cannot be used, or they do not belong together.
        """
        try:
            context.load_cert_chain(self.cert, self.key, password=lambda: "")
        except (OSError, ssl.SSLError, ValueError) as error:
            raise AuthError(
                f"{self.cert} and {self.key}: cannot be used as certificate and key: {error}; they must be PEM, "
                "belong together, and the key have no password"
            ) from error

    def credentials(self) -> grpc.ServerCredentials:
        """Return credentials for the gRPC listener, which are reloaded when the files change.

        Raises:
            AuthError: a file cannot be used.
        """
        self.context()  # gRPC would start with a certificate and key that do not match, and fail at each handshake
        watch = TlsFilesWatch(self)
        return grpc.dynamic_ssl_server_credentials(
            self._configuration(),
            lambda: self._configuration() if watch.changed() else None,  # type: ignore[arg-type, return-value]  # None: as before
            require_client_authentication=self.client_ca is not None,
        )

    def _configuration(self) -> grpc.ServerCertificateConfiguration:
        return grpc.ssl_server_certificate_configuration(
            [(self.key.read_bytes(), self.cert.read_bytes())],
            root_certificates=self.client_ca.read_bytes() if self.client_ca else None,
        )


class TlsFilesWatch:
    """Detects changes of TLS files."""

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._lock = threading.Lock()
        self._versions = self._current_versions()

    def changed(self) -> bool:
        """Whether the files have changed since the last call and can be used."""
        with self._lock:
            versions = self._current_versions()
            if versions == self._versions:
                return False
            self._versions = versions
        try:
            self._files.context()
        except AuthError as error:
            _log.warning("%s; the certificate of before still holds", error)
            return False
        return True

    def _current_versions(self) -> list[FileVersion | None]:
        return [file_version(path) for path in (self._files.cert, self._files.key, self._files.client_ca) if path]


def reloading_context(files: TlsFiles) -> tuple[ssl.SSLContext, Callable[[], None]]:
    """Return a context for the HTTP listener, and a function that loads changed files into it.

    Raises:
        AuthError: a file cannot be used.
    """
    context, watch = files.context(), TlsFilesWatch(files)

    def reload() -> None:
        if watch.changed():
            files.load(context)

    return context, reload


def _read_tokens(path: Path) -> tuple[bytes, ...]:
    try:
        lines = [line.strip() for line in path.read_text("ascii").splitlines()]
    except OSError as error:
        raise AuthError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise AuthError(f"{path}: a token has characters that a header cannot carry; use ASCII") from error
    tokens = tuple(line.encode() for line in lines if line and not line.startswith("#"))
    if not tokens:
        raise AuthError(f"{path}: holds no token; write one a line, such as the output of openssl rand -hex 32")
    if short := [token for token in tokens if len(token) < MIN_TOKEN_CHARACTERS]:
        raise AuthError(
            f"{path}: {len(short)} of its tokens are shorter than {MIN_TOKEN_CHARACTERS} characters, "
            "which can be guessed"
        )
    return tokens
