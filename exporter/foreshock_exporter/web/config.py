"""Web configuration file: TLS, users, and headers, reloaded on change."""

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
from foreshock_exporter.web.settings import read_settings
from foreshock_exporter.web.yaml_file import ConfigError

if TYPE_CHECKING:
    import ssl

_UNAUTHORIZED = Response(HTTPStatus.UNAUTHORIZED, TEXT_PLAIN, b"Unauthorized\n", (("WWW-Authenticate", "Basic"),))
_BUSY = Response(
    HTTPStatus.SERVICE_UNAVAILABLE, TEXT_PLAIN, b"Too many passwords are being checked\n", (("Retry-After", "5"),)
)

_FileVersion = tuple[int, int, int] | None


@dataclass(frozen=True, slots=True)
class WebConfig:
    """Configuration of connections and requests.

    `context` is None for plain HTTP. `users` are bcrypt hashes by name; empty disables authentication. `headers` are
    added to every response. A client certificate must have one of `client_allowed_sans`, if any.
    """

    context: ssl.SSLContext | None = None
    headers: tuple[tuple[str, str], ...] = ()
    users: Mapping[str, bytes] = field(default_factory=dict)
    client_allowed_sans: frozenset[str] = frozenset()

    def check_client(self, tls_socket: ssl.SSLSocket) -> None:
        """Check the names in a client certificate after the handshake.

        Raises:
            PermissionError: none of the names is allowed.
        """
        if self.client_allowed_sans:
            from foreshock_exporter.web.tls import alternative_names

            if self.client_allowed_sans.isdisjoint(alternative_names(tls_socket.getpeercert())):
                raise PermissionError("the client's certificate has none of the client_allowed_sans")

    @property
    def protections(self) -> frozenset[str]:
        """Names of the enabled protections."""
        checks_clients = self.context is not None and self.context.verify_mode
        protections = {
            "TLS": self.context,
            "basic_auth_users": self.users,
            "client_auth_type": checks_clients,
            "client_allowed_sans": self.client_allowed_sans,
        }
        return frozenset(name for name, value in protections.items() if value)


class WatchedConfig:
    """Configuration that is reloaded when its file or a certificate changes. Thread-safe.

    Without a path, the configuration is plain HTTP without authentication. An unusable change is logged once and
    ignored. So is a change that removes a protection, because a half-written file looks the same; that requires a
    restart.

    Raises:
        ConfigError: the file is unusable at the start.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._problems = ProblemLog()
        self._passwords = PasswordChecker()
        self._lock = threading.Lock()
        self._versions: dict[Path, _FileVersion] = {}
        self._config = WebConfig() if path is None else self._read(path)

    def current(self) -> WebConfig:
        """Current configuration; costs one `stat` per file if nothing changed."""
        if self._lock.acquire(blocking=False):  # the old configuration holds while another thread reloads
            try:
                if self._path and any(_file_version(path) != version for path, version in self._versions.items()):
                    self._reload(self._path)
            finally:
                self._lock.release()
        return self._config

    def authenticate(self, config: WebConfig, authorization: str, address: str) -> Response | None:
        """Error response for an unauthenticated client; None for an authenticated one."""
        user_and_password = basic_credentials(authorization)
        if user_and_password is None:
            return _UNAUTHORIZED
        result = self._passwords.check(config.users, *user_and_password, address)
        return {"right": None, "wrong": _UNAUTHORIZED, "busy": _BUSY}[result]

    def _reload(self, path: Path) -> None:
        subject = "web configuration unchanged until this is fixed"
        try:
            config = self._read(path)
        except ConfigError as error:
            self._problems.report(subject, str(error))
            return
        if lost := self._config.protections - config.protections:
            lost_text = " and ".join(sorted(lost))
            self._problems.report(subject, f"{path}: removes {lost_text}, so it is not reloaded; restart to apply it")
            return
        self._config = config
        self._passwords.forget(config.users)
        self._problems.resolve(subject)

    def _read(self, path: Path) -> WebConfig:
        """Read all files. Versions are taken before reading, so that no change is missed."""
        self._versions[path] = _file_version(path)
        settings = read_settings(path)
        tls, files = settings.tls, settings.tls.files if settings.tls else ()
        self._versions = {path: self._versions[path], **{file: _file_version(file) for file in files}}
        if tls is None:
            return WebConfig(None, settings.headers, settings.users)
        from foreshock_exporter.web.tls import context

        return WebConfig(context(tls, path), settings.headers, settings.users, tls.client_allowed_sans)


def _file_version(path: Path) -> _FileVersion:
    """Inode, mtime, and size of a file; None if it is missing."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
