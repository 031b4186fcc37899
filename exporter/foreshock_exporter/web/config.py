"""Who may ask the exporter, and over what: the web configuration file, followed as it changes."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

from foreshock_exporter.common.log import ProblemLog
from foreshock_exporter.web.auth import PasswordChecker, basic_credentials
from foreshock_exporter.web.connection import TEXT_PLAIN, Response
from foreshock_exporter.web.settings import Settings, read_settings
from foreshock_exporter.web.yaml_file import ConfigError

if TYPE_CHECKING:
    import ssl

__all__ = ["PLAIN_HTTP", "ConfigError", "WatchedConfig", "WebConfig", "check", "load"]

_WHO = Response(HTTPStatus.UNAUTHORIZED, TEXT_PLAIN, b"Unauthorized\n", (("WWW-Authenticate", "Basic"),))
_BUSY = Response(
    HTTPStatus.SERVICE_UNAVAILABLE, TEXT_PLAIN, b"Too many passwords are being checked\n", (("Retry-After", "5"),)
)

_Stamp = tuple[int, int, int] | None


@dataclass(frozen=True, slots=True)
class WebConfig:
    """What holds for connections and requests.

    `context` is None for plain HTTP; `users` are bcrypt hashes by name, none for everybody; `headers` are added to
    every answer; of `client_allowed_sans`, where there are any, a client's certificate must have one.
    """

    context: ssl.SSLContext | None = None
    headers: tuple[tuple[str, str], ...] = ()
    users: Mapping[str, bytes] = field(default_factory=dict)
    client_allowed_sans: frozenset[str] = frozenset()

    def check_client(self, secured: ssl.SSLSocket) -> None:
        """Look at the names in the certificate of a client whose handshake is done.

        Raises:
            PermissionError: it has none of the names that are allowed.
        """
        if self.client_allowed_sans:
            from foreshock_exporter.web.tls import alternative_names

            if self.client_allowed_sans.isdisjoint(alternative_names(secured.getpeercert())):
                raise PermissionError("the client's certificate has none of the client_allowed_sans")

    @property
    def protections(self) -> frozenset[str]:
        """What a client has to get past."""
        checks_clients = self.context is not None and self.context.verify_mode
        having = {
            "TLS": self.context,
            "basic_auth_users": self.users,
            "client_auth_type": checks_clients,
            "client_allowed_sans": self.client_allowed_sans,
        }
        return frozenset(name for name, value in having.items() if value)


PLAIN_HTTP = WebConfig()
"""Where there is no file: plain HTTP for everybody."""


def load(path: Path) -> WebConfig:
    """The configuration of a file, with the certificates that it names.

    Raises:
        ConfigError: it cannot be used; the message names the file, the key and the remedy.
    """
    return _build(read_settings(path), path)


def check(path: Path) -> None:
    """Raise ConfigError where the file cannot be used."""
    load(path)


def _build(settings: Settings, path: Path) -> WebConfig:
    if settings.tls is None:
        return WebConfig(None, settings.headers, settings.users)
    from foreshock_exporter.web.tls import context

    return WebConfig(context(settings.tls, path), settings.headers, settings.users, settings.tls.client_allowed_sans)


class WatchedConfig:
    """A file's configuration, read again when it or a file that it names has changed. For any thread.

    A change that cannot be used is said once in the log, and what held goes on holding. So is a change that would
    take a protection away: a file caught half-written looks just like that. It takes a restart.

    Raises:
        ConfigError: the file cannot be used at the beginning.
    """

    def __init__(self, path: Path, problems: ProblemLog | None = None) -> None:
        self._path = path
        self._problems = problems or ProblemLog()
        self._passwords = PasswordChecker()
        self._lock = threading.Lock()
        self._seen: dict[Path, _Stamp] = {}
        self._config = self._read()

    def current(self) -> WebConfig:
        """What holds now. A file that has not changed costs one `stat` for each file."""
        if self._lock.acquire(blocking=False):  # while another thread reads anew, the old one holds
            try:
                if any(_stamp(path) != stamp for path, stamp in self._seen.items()):
                    self._renew()
            finally:
                self._lock.release()
        return self._config

    def refusal(self, config: WebConfig, authorization: str, address: str) -> Response | None:
        """What a client is told who may not ask; None for one who may. The configuration has users."""
        given = basic_credentials(authorization)
        if given is None:
            return _WHO
        verdict = self._passwords.check(config.users, *given, address)
        return {"right": None, "wrong": _WHO, "busy": _BUSY}[verdict]

    def _renew(self) -> None:
        subject = "web configuration, unchanged until this is mended"
        try:
            self._config = config = self._no_weaker(self._read())
        except ConfigError as error:
            self._problems.report(subject, str(error))
            return
        self._passwords.forget(config.users)
        self._problems.resolve(subject)

    def _no_weaker(self, config: WebConfig) -> WebConfig:
        if lost := self._config.protections - config.protections:
            raise ConfigError(
                f"{self._path}: would no longer have {' and '.join(sorted(lost))}; restart if that is meant"
            )
        return config

    def _read(self) -> WebConfig:
        """Read all files; each is stamped before it is read, so that no change in between is missed."""
        self._seen[self._path] = _stamp(self._path)
        settings = read_settings(self._path)
        files = settings.tls.files if settings.tls else ()
        self._seen = {self._path: self._seen[self._path], **{file: _stamp(file) for file in files}}
        return _build(settings, self._path)


def _stamp(path: Path) -> _Stamp:
    """What changes when a file is written or replaced; None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
