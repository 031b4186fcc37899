"""The audit log: a JSON line per event, in a private file that is rotated."""

from __future__ import annotations

import errno
import io
import json
import logging
from functools import partial
from pathlib import Path
from typing import Literal

import pytest
from cachetools import TTLCache

from foreshock_dashboard.access import audit as audit_module
from foreshock_dashboard.access.audit import AuditLog


def test_an_event_is_a_line_and_no_name_can_forge_another(tmp_path: Path) -> None:
    """Control characters are escaped; the file is readable by its owner alone."""
    log = AuditLog(tmp_path / "audit.log", now=lambda: 100.0)
    log.record("sign_in_failed", principal='eve\n{"action":"sign_in"}\x1b[2J\u2028', address="10.0.0.1", status=401)
    log.record("change", principal="ada", method="token", role="admin", request="POST /api/x", status=204)
    log.close()
    lines = (tmp_path / "audit.log").read_text().splitlines()
    assert [json.loads(line)["action"] for line in lines] == ["sign_in_failed", "change"]
    assert all(line.isascii() and line.isprintable() for line in lines)
    assert json.loads(lines[1]) == {
        "time": 100.0, "action": "change", "principal": "ada", "method": "token", "role": "admin", "address": "",
        "request": "POST /api/x", "status": 204,
    }  # fmt: skip
    assert log.recent() == [json.loads(line) for line in reversed(lines)]
    assert (tmp_path / "audit.log").stat().st_mode & 0o777 == 0o600


def test_a_guesser_does_not_push_other_events_out(tmp_path: Path) -> None:
    """A thousand wrong passwords for a user from an address are one line a minute; so are denials."""
    log = AuditLog(tmp_path / "audit.log")
    for _ in range(1000):
        log.record("sign_in_failed", principal="ada", address="10.0.0.1", status=401)
        log.record("rate_limited", principal="ci", address="10.0.0.2", status=429)
    log.record("sign_in_failed", principal="ada", address="10.0.0.2", status=401)
    for number in range(1000):
        log.record("denied", principal="bob", request=f"DELETE /{number}", status=403)
        log.record("sign_in_failed", principal=f"no-user-{number}", address="10.0.0.3", status=401, known=False)
    log.close()
    actions = [event["action"] for event in log.recent()]
    assert actions == ["sign_in_failed", "denied", "sign_in_failed", "rate_limited", "sign_in_failed"]


def test_the_length_of_an_event_is_bounded() -> None:
    """Whatever name or path a client sends."""
    log = AuditLog()
    log.record("denied", principal="p" * 44_000, request="GET /" + "x" * 44_000, status=403)
    (event,) = log.recent()
    assert (len(event["principal"]), len(event["request"])) == (audit_module.MAX_TEXT, audit_module.MAX_TEXT)


def test_the_file_is_rotated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It and its predecessors stay within their bound, each private."""
    monkeypatch.setattr(audit_module, "MAX_FILE_BYTES", 2000)
    log = AuditLog(tmp_path / "audit.log")
    for number in range(200):
        log.record("denied", principal=f"user-{number}", status=403)
    log.close()
    files = sorted(tmp_path.iterdir())
    assert len(files) == audit_module.ROTATED_FILES + 1
    assert all(file.stat().st_size <= 2000 and file.stat().st_mode & 0o777 == 0o600 for file in files)
    assert json.loads((tmp_path / "audit.log").read_text().splitlines()[-1])["principal"] == "user-199"


def test_a_file_that_cannot_be_written_is_logged_once_and_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """A full disk must not lock anyone out, and the API still has the events."""
    log = AuditLog(Path("/dev/full"))
    for number in range(10):
        log.record("denied", principal=f"user-{number}", status=403)
    log.close()
    assert len(log.recent()) == 10
    assert [record.message for record in caplog.records] == [
        "/dev/full: the audit log cannot be written: [Errno 28] No space left on device"
    ]


class FullDisk(io.StringIO):
    """A file on a full disk."""

    def write(self, _: str) -> int:
        """Fail."""
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_file_that_can_be_written_again_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    log = AuditLog(tmp_path / "audit.log")
    assert isinstance(log._handler, logging.StreamHandler)
    stream, log._handler.stream = log._handler.stream, FullDisk()
    log.record("denied", principal="ada", status=403)
    log._handler.stream = stream
    log.record("denied", principal="bob", status=403)
    log.close()
    assert [record.message.rpartition(": ")[2] for record in caplog.records] == [
        "[Errno 28] No space left on device",
        "the audit log can be written again",
    ]
    assert json.loads((tmp_path / "audit.log").read_text())["principal"] == "bob"


def test_without_a_file_events_are_in_the_log_of_the_hub(caplog: pytest.LogCaptureFixture) -> None:
    """As JSON, whatever `--log-level` the rest of it has."""
    with caplog.at_level(logging.WARNING):
        caplog.handler.setLevel(logging.NOTSET)
        AuditLog().record("sign_in", principal="ada")
    assert json.loads(caplog.messages[0])["principal"] == "ada"


Repeated = Literal["sign_in", "sign_in_failed", "denied", "rate_limited"]


@pytest.mark.parametrize(
    ("action", "seconds"), [("sign_in", 3600), ("sign_in_failed", 60), ("denied", 60), ("rate_limited", 60)]
)
def test_an_event_is_repeated_after_its_time(monkeypatch: pytest.MonkeyPatch, action: Repeated, seconds: float) -> None:
    """Those of another address, method, or role repeat nothing; changes never do."""
    clock = [1000.0]
    timed: partial[TTLCache[object, object]] = partial(TTLCache, timer=lambda: clock[0])
    monkeypatch.setattr("foreshock_dashboard.access.audit.TTLCache", timed)
    audit = AuditLog()
    for clock[0] in (1000.0, 1000.0 + seconds - 1, 1000.0 + seconds + 1):
        audit.record(action, principal="ada", method="token", role="viewer", address="10.0.0.1")
    assert len(audit.recent()) == 2
    audit.record(action, principal="ada", method="token", role="viewer", address="10.0.0.2")
    audit.record(action, principal="ada", method="oidc", role="viewer", address="10.0.0.1")
    audit.record(action, principal="ada", method="token", role="admin", address="10.0.0.1")
    audit.record(action, principal="bob", method="token", role="viewer", address="10.0.0.1")
    assert len(audit.recent()) == 6
    for _ in range(2):
        audit.record("change", principal="ada")
    assert len(audit.recent()) == 8


def test_the_newest_events_are_kept() -> None:
    audit = AuditLog()
    for number in range(audit_module.MAX_RECENT + 1):
        audit.record("change", principal=f"{number}")
    names = [event["principal"] for event in audit.recent()]
    assert names == [f"{number}" for number in range(audit_module.MAX_RECENT, 0, -1)]


def test_events_may_go_to_standard_output(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        AuditLog(Path("-")).record("change", principal="ada")
        assert not [*tmp_path.iterdir()]
    printed = capsys.readouterr().out
    assert '"principal": "ada"' in printed
    assert '"status": 200' in printed
