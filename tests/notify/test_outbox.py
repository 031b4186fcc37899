"""The outbox."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from foreshock_dashboard.store import StoreError
from foreshock_dashboard.store.outbox import Outbox, OutboxMessage
from foreshock_dashboard.store.outbox_file import OUTBOX_FILE, OutboxFile

PAGE = OutboxMessage("slack", "i1", "page", 1.0, "{}")


@pytest.fixture
def file(tmp_path: Path) -> OutboxFile:
    """A new file."""
    return OutboxFile(tmp_path)


@pytest.fixture
def outbox(file: OutboxFile) -> Iterator[Outbox]:
    """An empty outbox."""
    opened = Outbox(file)
    yield opened
    opened.close()


def reopened(folder: Path) -> tuple[OutboxMessage, ...]:
    """What another process finds on disk."""
    other = Outbox(OutboxFile(folder))
    try:
        return other.messages("slack")
    finally:
        other.close()


def test_a_message_is_on_disk_once_it_is_put(outbox: Outbox, tmp_path: Path) -> None:
    """Without closing, as after `kill -9`."""
    outbox.put(PAGE)
    assert reopened(tmp_path) == (PAGE,)
    assert (tmp_path / OUTBOX_FILE).stat().st_mode & 0o077 == 0


def test_a_newer_message_of_a_subject_replaces_the_older_one(outbox: Outbox, tmp_path: Path) -> None:
    """What was to be sent is out of date."""
    other = PAGE._replace(subject="i2")
    resolved = PAGE._replace(event="resolved", at=2.0)
    outbox.put(PAGE, other)
    outbox.put(resolved)
    assert outbox.messages("slack") == (other, resolved)
    assert reopened(tmp_path) == (other, resolved)
    moved = resolved._replace(subject="i3")
    outbox.put(moved, instead_of=[resolved.key])
    assert reopened(tmp_path) == (other, moved)


def test_the_outcome_of_a_replaced_message_changes_nothing(outbox: Outbox) -> None:
    """It was being sent while a newer one took its place."""
    resolved = PAGE._replace(event="resolved")
    outbox.put(PAGE)
    outbox.put(resolved)
    assert not outbox.update(PAGE, PAGE._replace(waiting=False))
    assert not outbox.update(PAGE, None)
    assert outbox.get("slack", "i1") == resolved


def test_a_disk_that_takes_nothing_delays_no_message(file: OutboxFile, outbox: Outbox, tmp_path: Path) -> None:
    """It is delivered from memory, and is written once the disk takes something again."""
    run = file._connection.execute
    run("pragma query_only = on")
    outbox.put(PAGE)
    assert outbox.messages("slack") == (PAGE,)
    assert "cannot be written" in outbox.error
    run("pragma query_only = off")
    other = PAGE._replace(subject="i2", at=2.0)
    outbox.put(other)
    assert outbox.error == ""
    assert reopened(tmp_path) == (PAGE, other)


def test_a_damaged_file_is_set_aside(tmp_path: Path) -> None:
    """Messages may be sent twice then, but are not withheld."""
    (tmp_path / OUTBOX_FILE).write_bytes(b"no database at all" * 100)
    assert reopened(tmp_path) == ()
    assert (tmp_path / f"{OUTBOX_FILE}.damaged").exists()


def test_a_folder_that_cannot_be_used_is_an_error_that_names_it(tmp_path: Path) -> None:
    """As that of the store."""
    with pytest.raises(StoreError, match="cannot open"):
        OutboxFile(tmp_path / "missing")


def test_removed_messages_are_gone_from_the_disk(outbox: Outbox, tmp_path: Path) -> None:
    """The outbox is bounded."""
    outbox.put(PAGE)
    outbox.remove([PAGE.key, ("slack", "unknown")])
    assert outbox.messages("slack") == ()
    assert reopened(tmp_path) == ()
    assert sqlite3.connect(tmp_path / OUTBOX_FILE).execute("select count(*) from messages").fetchone() == (0,)
