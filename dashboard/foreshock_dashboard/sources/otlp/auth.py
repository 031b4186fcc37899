"""Who may send to the OTLP doors, and over what: bearer tokens and TLS, followed as their files change."""

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

_log = logging.getLogger(__name__)


class AuthError(Exception):
    """A file of tokens or keys cannot be used. The message names it and the remedy."""


class BearerTokens:
    """The bearer tokens of a file, one a line (RFC 6750); blank lines and those that begin with # are left out.

    The file is read again when it changes. One that then cannot be used is said once, and what held goes on holding.

    Raises:
        GuardError: it cannot be used at the beginning.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._stamp = file_version(path)
        self._tokens = _tokens(path)

    def allows(self, authorization: str) -> bool:
        """Whether an Authorization header has one of the tokens. Takes as long for a wrong as for a right one."""
        scheme, _, given = authorization.strip().partition(" ")
        offered = given.strip().encode()
        fits = [hmac.compare_digest(offered, token) for token in self._current()]
        return scheme.lower() == "bearer" and any(fits)

    def _current(self) -> tuple[bytes, ...]:
        with self._lock:
            stamp = file_version(self._path)
            if stamp != self._stamp:
                self._stamp = stamp
                try:
                    self._tokens = _tokens(self._path)
                except AuthError as error:
                    _log.warning("%s; the tokens of before still hold", error)
            return self._tokens


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """The files of TLS, PEM: the server's certificate with those between it and its authority, its key without a
    password, and the authorities of the clients' certificates where clients must have one."""

    cert: Path
    key: Path
    client_ca: Path | None = None

    def context(self) -> ssl.SSLContext:
        """For the HTTP door; TLS 1.2 at least (RFC 8996).

        Raises:
            GuardError: a file cannot be used.
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
        """Give the context the certificate and key as they are now.

        Raises:
            GuardError: a file cannot be used, or they do not belong together.
        """
        try:
            context.load_cert_chain(self.cert, self.key, password=lambda: "")
        except (OSError, ssl.SSLError, ValueError) as error:
            raise AuthError(
                f"{self.cert} and {self.key}: cannot be used as certificate and key: {error}; they must be PEM, "
                "belong together, and the key have no password"
            ) from error

    def credentials(self) -> grpc.ServerCredentials:
        """For the gRPC door; renewed as the files change.

        Raises:
            GuardError: a file cannot be used.
        """
        self.context()  # gRPC would start with files that do not belong together, and fail at each handshake
        watched = TlsFilesWatch(self)
        return grpc.dynamic_ssl_server_credentials(
            self._configuration(),
            lambda: self._configuration() if watched.renewed() else None,  # type: ignore[arg-type, return-value]  # None: as before
            require_client_authentication=self.client_ca is not None,
        )

    def _configuration(self) -> grpc.ServerCertificateConfiguration:
        return grpc.ssl_server_certificate_configuration(
            [(self.key.read_bytes(), self.cert.read_bytes())],
            root_certificates=self.client_ca.read_bytes() if self.client_ca else None,
        )


class TlsFilesWatch:
    """Tells when the files of TLS have changed into others that can be used; once for each change."""

    def __init__(self, keys: TlsFiles) -> None:
        self._keys = keys
        self._lock = threading.Lock()
        self._seen = self._stamps()

    def renewed(self) -> bool:
        """Whether they have since the last call."""
        with self._lock:
            stamps = self._stamps()
            if stamps == self._seen:
                return False
            self._seen = stamps
        try:
            self._keys.context()
        except AuthError as error:
            _log.warning("%s; the certificate of before still holds", error)
            return False
        return True

    def _stamps(self) -> list[FileVersion | None]:
        return [file_version(path) for path in (self._keys.cert, self._keys.key, self._keys.client_ca) if path]


def reloading_context(keys: TlsFiles) -> tuple[ssl.SSLContext, Callable[[], None]]:
    """A context for the HTTP door, and what to call now and then, so that new connections get a new certificate.

    Raises:
        GuardError: a file cannot be used.
    """
    context, watched = keys.context(), TlsFilesWatch(keys)

    def renew() -> None:
        if watched.renewed():
            keys.load(context)

    return context, renew


def _tokens(path: Path) -> tuple[bytes, ...]:
    try:
        lines = [line.strip() for line in path.read_text("ascii").splitlines()]
    except OSError as error:
        raise AuthError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise AuthError(f"{path}: a token has characters that a header cannot carry; use ASCII") from error
    tokens = tuple(line.encode() for line in lines if line and not line.startswith("#"))
    if not tokens:
        raise AuthError(f"{path}: holds no token; write one a line, such as the output of openssl rand -hex 32")
    if short := [token for token in tokens if len(token) < 16]:
        raise AuthError(f"{path}: {len(short)} of its tokens are shorter than 16 characters, which can be guessed")
    return tokens
