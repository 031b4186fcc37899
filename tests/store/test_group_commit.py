"""Group commit by itself: what it refuses, and with which reason."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from foreshock_dashboard.store import StoreError
from foreshock_dashboard.store.blocks.format import RowBatch
from foreshock_dashboard.store.group_commit import GroupCommit
from foreshock_dashboard.store.health import Health
from foreshock_dashboard.store.wal import WAL_FILE, Wal

MIB = 1 << 20


class Head:
    """A head that holds some bytes, and keeps what it is given."""

    def __init__(self) -> None:
        self.bytes = 0
        self.appended: list[tuple[int, RowBatch]] = []
        self.broken = False

    def usage(self) -> SimpleNamespace:
        return SimpleNamespace(bytes=self.bytes)

    def append(self, record_id: int, batch: RowBatch) -> None:
        self.appended.append((record_id, batch))

    def flush_if_due(self) -> None:
        if self.broken:
            raise OSError("no flush")


@pytest.fixture
def heads() -> dict[str, Head]:
    """The heads of two kinds."""
    return {"spans": Head(), "metrics": Head()}


@pytest.fixture
def commit(tmp_path: Path, heads: dict[str, Head]) -> Iterator[GroupCommit]:
    """Group commit that refuses data beyond 5 MiB."""
    stores: dict[str, Any] = {kind: SimpleNamespace(head=head) for kind, head in heads.items()}
    with closing(Wal(tmp_path / WAL_FILE)) as wal:
        yield GroupCommit(tmp_path, wal, stores, Health(tmp_path, lambda: 0.0), 5 * MIB)


def rows(refused: int = 0) -> RowBatch:
    """A batch."""
    return RowBatch({}, 1, 0, 0, 0, refused)


def test_data_is_refused_once_all_heads_together_have_more_than_the_limit(
    commit: GroupCommit, heads: dict[str, Head]
) -> None:
    """The refusal says how much waits, and why; it ends with its cause."""
    heads["spans"].bytes, heads["metrics"].bytes = 3 * MIB, 2 * MIB
    commit.append("spans", [rows()], [b"kept"])
    heads["metrics"].bytes += 1
    with pytest.raises(StoreError, match=r": 5 MiB wait to be written to blocks: blocks are written too slowly$"):
        commit.append("spans", [rows()], [b"refused"])
    commit._health.maintenance_error = "the disk is full"
    with pytest.raises(StoreError, match=r": 5 MiB wait to be written to blocks: the disk is full$"):
        commit.append("spans", [rows()], [b"refused"])
    assert not commit._health.ready()[0]
    commit.probe()
    assert "5 MiB wait" in commit._health.append_error
    heads["metrics"].bytes -= 1
    commit.probe()
    assert commit._health.ready() == (True, "")
    assert [record.payload for record in commit._wal.records("spans")] == [b"kept"]
    assert commit._wal.size()[0] == 1, "a probe leaves no record"


def test_each_batch_goes_to_its_head_under_the_id_of_its_record(commit: GroupCommit, heads: dict[str, Head]) -> None:
    """Refused rows are counted by kind."""
    batches = [rows(2), rows(), rows(3)]
    commit.append("spans", batches[:2], [b"a", b"b"])
    commit.append("metrics", batches[2:], [b"c"])
    commit.append("metrics", [], [])
    assert heads["spans"].appended == [(1, batches[0]), (2, batches[1])]
    assert heads["metrics"].appended == [(3, batches[2])]
    assert commit.dropped == {"spans": 2, "metrics": 3}


def test_appends_that_wait_share_a_transaction_and_its_error(
    commit: GroupCommit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first of them to get the lock writes all."""
    written: list[list[tuple[str, bytes]]] = []

    def refuse(records: list[tuple[str, bytes]]) -> list[int]:
        written.append(records)
        raise StoreError("full")

    monkeypatch.setattr(commit._wal, "append", refuse)
    errors: list[StoreError] = []

    def append(payload: bytes) -> None:
        try:
            commit.append("spans", [rows()], [payload])
        except StoreError as error:
            errors.append(error)

    threads = [threading.Thread(target=append, args=(bytes([n]),)) for n in range(4)]
    with commit.lock:
        for number, thread in enumerate(threads, 1):
            thread.start()
            while len(commit.queue) < number:
                thread.join(0.001)
    for thread in threads:
        thread.join()
    assert [sorted(records) for records in written] == [[("spans", bytes([n])) for n in range(4)]]
    assert [str(error) for error in errors] == ["full"] * 4
    assert commit.queue == []


def test_a_failed_flush_does_not_refuse_what_is_durable(commit: GroupCommit, heads: dict[str, Head]) -> None:
    heads["spans"].broken = True
    commit.append("spans", [rows()], [b"kept"])
    assert "no flush" in commit._health.maintenance_error


def test_an_unexpected_error_refuses_the_append_and_names_itself(
    commit: GroupCommit, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> list[int]:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(commit._wal, "append", fail)
        with pytest.raises(StoreError, match="cannot keep data: MemoryError"):
            commit.append("spans", [rows()], [b"lost"])
    assert "MemoryError" in commit._health.append_error
    commit.append("spans", [rows()], [b"kept"])
    assert commit._health.append_error == ""


def test_a_closed_store_and_one_without_its_folder_refuse(commit: GroupCommit, tmp_path: Path) -> None:
    assert commit.check_place()
    (tmp_path / WAL_FILE).rename(tmp_path / "moved")
    assert not commit.check_place()
    with pytest.raises(StoreError, match="the folder was removed"):
        commit.append("spans", [rows()], [b"lost"])
    commit.closed = True
    with pytest.raises(StoreError, match="it is closed"):
        commit.append("spans", [rows()], [b"lost"])
