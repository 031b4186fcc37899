"""Values that are read again when a file changes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from foreshock_dashboard.access.audit import AuditLog
from foreshock_dashboard.access.roles import Roles
from foreshock_dashboard.access.tokens import Tokens
from foreshock_dashboard.access.users import Users
from foreshock_dashboard.changes.github import webhook_secret
from foreshock_dashboard.common.reloading_file import FileError, ReloadingFile
from foreshock_dashboard.notify.channels import read_channels
from foreshock_dashboard.owners.services_file import read_services
from foreshock_dashboard.sources.http_config.reading import read_http_config
from foreshock_dashboard.web.http.oidc import Oidc, OidcOptions


def test_a_changed_file_is_read_again_and_an_unusable_one_is_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The previous value stays until the file can be used again."""
    path = tmp_path / "number"
    path.write_text("1")

    unreadable = False

    def read() -> int:
        try:
            if unreadable:
                raise FileError("cannot be read")
            return int(path.read_text())
        except ValueError as error:
            raise FileError(f"{path.name}: is no number") from error

    file = ReloadingFile([path], read, "the number of before still holds")
    assert (file.current(), file.reload()) == (1, False)
    path.write_text("22")
    assert (file.reload(), file.reload(), file.value) == (True, False, 22)
    path.write_text("two")
    assert [file.current(), file.current()] == [22, 22]
    assert caplog.messages == ["number: is no number; the number of before still holds"]
    path.write_text("4444")
    assert file.current() == 4444
    unreadable = True
    path.write_text("55")
    assert [file.current(), file.current()] == [4444, 4444]
    unreadable = False
    assert file.current() == 55, "the file is as it was, but its permissions are not"
    path.write_text("4 4 4")
    with pytest.raises(FileError, match="is no number"):
        ReloadingFile([path], read, "nothing")


@pytest.mark.parametrize(
    "read",
    [
        Tokens,
        Users,
        read_channels,
        webhook_secret,
        read_services,
        read_http_config,
        lambda path: Oidc(OidcOptions("https://issuer.example", "foreshock", path), Roles(), AuditLog()),
    ],
    ids=["tokens", "users", "channels", "webhook secret", "services", "http config", "client secret"],
)
def test_a_file_of_any_size_is_refused_without_reading_it_whole(tmp_path: Path, read: Callable[[Path], object]) -> None:
    """A sparse tebibyte, such as a log that the option names by mistake, does not fit into memory."""
    path = tmp_path / "file"
    path.touch()
    os.truncate(path, 1 << 40)
    with pytest.raises(FileError, match="is larger than 1 MiB"):
        read(path)
