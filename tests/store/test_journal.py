"""The journal keeps every acknowledged entry, within its limits, through damage and crashes."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from foreshock_dashboard.store import StoreError
from foreshock_dashboard.store.blocks.disk import Disk
from foreshock_dashboard.store.journal import FORMAT_FILE, JOURNAL_FILE, MAX_ENTRY_BYTES, Journal, JournalLimits

T0 = 1_700_000_000.25
HOUR, DAY = 3600.0, 86_400.0
NO_LIMITS = JournalLimits()
ENTRIES = 60
"""Entries before the damage, on about a dozen pages."""


class Times:
    """A wall clock and a monotonic clock that a test sets."""

    def __init__(self) -> None:
        self.wall, self.monotonic = T0, 0.0

    def advance(self, seconds: float) -> None:
        """Let time pass on both."""
        self.wall, self.monotonic = self.wall + seconds, self.monotonic + seconds


@pytest.fixture
def times() -> Times:
    """Clocks at T0."""
    return Times()


Open = Callable[..., Journal]


@pytest.fixture
def opened(tmp_path: Path, times: Times) -> Iterator[Open]:
    """Opens journals in one folder, the last one at a time."""
    journals: list[Journal] = []

    def open_journal(
        folder: Path | None = tmp_path, limits: JournalLimits = NO_LIMITS, disk: Disk | None = None
    ) -> Journal:
        for journal in journals:
            journal.close()
        journal = Journal(folder, now=lambda: times.wall, monotonic=lambda: times.monotonic, limits=limits, disk=disk)
        journals.append(journal)
        return journal

    yield open_journal
    for journal in journals:
        journal.close()


def notes(journal: Journal) -> list[object]:
    """The texts of all entries, oldest first."""
    return [entry.data["text"] for entry in journal.read()]


def fill(journal: Journal, count: int, padding: int = 0) -> None:
    """Append entries with the texts 0 and up."""
    for number in range(count):
        journal.append("incident", T0 + number, "dana", {"text": number, "padding": "x" * padding})


@pytest.mark.parametrize("is_durable", [True, False])
def test_entries_are_read_in_the_order_in_which_they_were_appended(
    opened: Open, tmp_path: Path, *, is_durable: bool
) -> None:
    journal = opened(tmp_path if is_durable else None)
    first = journal.append("incident", T0, "dana", {"text": "ärger", "n": [1, None]})
    second = journal.append("change", T0 - DAY, "", {"service": "a"})
    third = journal.append("incident", T0 + 1, "sam", {})
    assert first < second < third
    assert [entry.seq for entry in journal.read()] == [first, second, third]
    entry, later = journal.read("incident")
    assert entry == (first, "incident", T0, "dana", {"text": "ärger", "n": [1, None]})
    assert later.seq == third
    assert journal.read("incident", after=first) == [later]
    assert journal.read("notification") == []
    stats = journal.stats()
    assert (stats.durable, dict(stats.rows)) == (
        is_durable,
        {"incident": 2, "change": 1, "notification": 0, "identity": 0, "options": 0, "cluster": 0},
    )


def test_entries_survive_a_restart(opened: Open) -> None:
    journal = opened()
    fill(journal, 3)
    before = journal.read()
    assert opened().read() == before


def test_an_acknowledged_entry_survives_kill_9(tmp_path: Path) -> None:
    """The process prints each number once `append` has returned, and is killed amid appends."""
    program = (
        "import sys, time; from pathlib import Path; from foreshock_dashboard.store.journal import Journal\n"
        "journal = Journal(Path(sys.argv[1]), now=time.time)\n"
        "for n in range(1_000_000): print(journal.append('incident', n, 'dana', {'text': n}), flush=True)"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        acknowledged = [int(process.stdout.readline()) for _ in range(10)]
        process.send_signal(signal.SIGKILL)
        acknowledged += [int(line) for line in process.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
    with closing(Journal(tmp_path, now=lambda: T0)) as journal:
        assert {*acknowledged} <= {entry.seq for entry in journal.read()}
        assert journal.stats().recovery == ""


@pytest.mark.parametrize(
    ("limits", "left"),
    [
        (JournalLimits(rows=3), [7, 8, 9]),
        (JournalLimits(bytes=50), [8, 9]),
        (JournalLimits(bytes=1), [9]),
    ],
)
def test_the_oldest_entries_of_a_kind_expire_beyond_its_limits(
    opened: Open, limits: JournalLimits, left: list[int]
) -> None:
    journal = opened(limits=limits)
    journal.append("change", T0, "", {"text": "other"})
    fill(journal, 10)
    assert notes(journal) == ["other", *left]
    assert journal.stats().expired == 10 - len(left)
    assert notes(opened(limits=limits)) == ["other", *left]


def test_old_entries_expire_by_a_trusted_clock_only(opened: Open, times: Times) -> None:
    """A clock that was set ten years ahead deletes nothing."""
    journal = opened(limits=JournalLimits(seconds=DAY))
    journal.append("incident", times.wall, "dana", {"text": "old"})
    times.advance(2 * HOUR)
    journal.append("incident", times.wall, "dana", {"text": "newer"})
    times.wall += 10 * 365 * DAY
    journal.append("incident", times.wall, "dana", {"text": "wrong clock"})
    assert notes(journal) == ["old", "newer", "wrong clock"]
    times.wall -= 10 * 365 * DAY
    times.advance(DAY)
    journal.append("incident", times.wall, "dana", {"text": "newest"})
    times.advance(2 * HOUR)
    journal.append("incident", times.wall, "dana", {"text": "last"})
    assert "old" not in notes(journal)
    assert {"newest", "last"} <= {*notes(journal)}


@pytest.mark.parametrize(
    ("at", "data", "problem"),
    [
        (T0, {"text": "x" * MAX_ENTRY_BYTES}, "too large"),
        (T0, {"text": object()}, "must be JSON"),
        (T0, {"text": 2**70}, "must be JSON"),
        (float("nan"), {"text": ""}, "finite time"),
        (float("inf"), {"text": ""}, "finite time"),
    ],
)
def test_an_entry_that_cannot_be_kept_is_refused(
    opened: Open, at: float, data: dict[str, object], problem: str
) -> None:
    journal = opened()
    with pytest.raises(ValueError, match=problem):
        journal.append("incident", at, "dana", data)
    assert journal.read() == []


def overwrite(offset: int) -> Callable[[Path], None]:
    """Damage that overwrites 40 bytes."""

    def damage(path: Path) -> None:
        with path.open("r+b") as file:
            file.seek(offset)
            file.write(b"\xa5" * 40)

    return damage


def change_an_entry(path: Path) -> None:
    """Damage that SQLite does not notice."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("update entries set author = 'mallory' where seq = 7")


@pytest.mark.parametrize(
    ("damage", "least"),
    [
        pytest.param(overwrite(0), 0.9, id="header"),
        pytest.param(overwrite(3900), 0.9, id="schema"),
        pytest.param(overwrite(22_000), 0.8, id="middle"),
        pytest.param(change_an_entry, 0.98, id="an entry"),
        pytest.param(lambda path: os.truncate(path, path.stat().st_size // 2), 0.25, id="cut short"),
        pytest.param(lambda path: path.write_bytes(b"not a database" * 999), 0, id="another file"),
    ],
)
def test_a_damaged_journal_is_set_aside_and_its_readable_entries_are_kept(
    opened: Open, tmp_path: Path, damage: Callable[[Path], None], least: float, caplog: pytest.LogCaptureFixture
) -> None:
    journal = opened()
    fill(journal, ENTRIES, padding=600)
    journal.close()
    damage(tmp_path / JOURNAL_FILE)
    journal = opened()
    found = notes(journal)
    assert "the journal was damaged" in journal.stats().recovery
    assert "the journal was damaged" in caplog.text
    assert len([*(tmp_path / "damaged").glob("journal-*.sqlite")]) == 1
    assert least * ENTRIES <= len(found) <= ENTRIES
    assert all(entry.by == "dana" and entry.at == T0 + int(entry.data["text"]) for entry in journal.read())
    assert journal.append("incident", T0, "dana", {"text": "new"}) > ENTRIES, "no number is used again"
    assert opened().stats().recovery == ""
    assert notes(opened()) == [*found, "new"]


@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(b""), Path.unlink], ids=["emptied", "deleted"])
def test_a_journal_that_vanished_while_the_hub_was_stopped_is_reported(
    opened: Open, tmp_path: Path, damage: Callable[[Path], object], caplog: pytest.LogCaptureFixture
) -> None:
    journal = opened()
    assert journal.stats().recovery == "", "a first start finds none"
    fill(journal, 3)
    journal.close()
    damage(tmp_path / JOURNAL_FILE)
    journal = opened()
    assert "the journal was damaged (it is empty or missing); 0 entries were recovered" in journal.stats().recovery
    assert journal.stats().recovery in caplog.text
    assert journal.append("incident", T0, "dana", {"text": "new"}) > 3, "no number is used again"
    assert opened().stats().recovery == ""


def test_a_journal_without_tables_is_reported(opened: Open, tmp_path: Path) -> None:
    """SQLite takes it for intact."""
    opened().close()
    (tmp_path / JOURNAL_FILE).unlink()
    with closing(sqlite3.connect(tmp_path / JOURNAL_FILE)) as connection:
        connection.execute("vacuum")
    assert (tmp_path / JOURNAL_FILE).stat().st_size > 0
    assert "it is empty or missing" in opened().stats().recovery


def test_a_journal_of_a_later_version_is_refused_and_stays_as_it_is(opened: Open, tmp_path: Path) -> None:
    journal = opened()
    fill(journal, 3)
    journal.close()
    (tmp_path / FORMAT_FILE).write_text("2\n")
    before = (tmp_path / JOURNAL_FILE).read_bytes()
    with pytest.raises(StoreError, match=r"has format '2', this version reads 1; use the version that wrote it"):
        opened()
    assert (tmp_path / JOURNAL_FILE).read_bytes() == before


@pytest.mark.parametrize("content", [None, "", "x\n"])
def test_a_journal_whose_format_file_is_missing_or_damaged_is_read(
    opened: Open, tmp_path: Path, content: str | None
) -> None:
    """As one of a version that wrote none."""
    journal = opened()
    fill(journal, 3)
    journal.close()
    (tmp_path / FORMAT_FILE).unlink()
    if content is not None:
        (tmp_path / FORMAT_FILE).write_text(content)
    assert notes(opened()) == [0, 1, 2]
    assert (tmp_path / FORMAT_FILE).read_text() == "1\n"


def test_each_damaged_journal_is_kept_also_of_the_same_moment(opened: Open, tmp_path: Path) -> None:
    for _ in range(2):
        journal = opened()
        fill(journal, ENTRIES, padding=600)
        journal.close()
        overwrite(0)(tmp_path / JOURNAL_FILE)
        opened()
    assert len([*(tmp_path / "damaged").glob("journal-*.sqlite")]) == 2


class PowerCut(Disk):
    """A disk that fails at the n-th rename."""

    def __init__(self, allowed: int) -> None:
        self.allowed = allowed

    def rename(self, old: Path, new: Path) -> None:
        """Rename, or fail."""
        self.allowed -= 1
        if self.allowed < 0:
            raise OSError(5, "power cut")
        super().rename(old, new)


@pytest.mark.parametrize("renames", range(3))
def test_a_recovery_that_is_cut_short_is_finished_at_the_next_start(opened: Open, tmp_path: Path, renames: int) -> None:
    journal = opened()
    fill(journal, ENTRIES, padding=600)
    journal.close()
    change_an_entry(tmp_path / JOURNAL_FILE)
    with pytest.raises(StoreError, match="cannot open"):
        opened(disk=PowerCut(renames))
    journal = opened()
    assert len(notes(journal)) == ENTRIES - 1
    assert "damaged" in journal.stats().recovery


class FailingConnection:
    """A connection whose disk fails amid a transaction, also when it is to be rolled back."""

    in_transaction = True

    def execute(self, *_: object) -> None:
        """Fail."""
        raise sqlite3.OperationalError("disk I/O error")

    def close(self) -> None:
        """Close."""


def test_an_append_after_a_failed_rollback_is_kept(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = opened()
    monkeypatch.setattr(journal, "_connection", FailingConnection())
    with pytest.raises(StoreError, match="disk I/O error"):
        journal.append("incident", T0, "dana", {"text": "lost"})
    journal.append("incident", T0, "dana", {"text": "kept"})
    assert notes(journal) == ["kept"]
    assert journal.stats().last_error == ""


@pytest.mark.parametrize("step", [-1, 1], ids=["a newer file", "an older file"])
def test_a_journal_whose_file_was_replaced_refuses_entries(opened: Open, step: int) -> None:
    """Whichever inode the other file has."""
    journal = opened()
    device, inode = journal._file_id or (0, 0)
    journal._file_id = device, inode + step
    with pytest.raises(StoreError, match="removed or replaced"):
        journal.append("incident", T0, "dana", {})


def test_a_journal_whose_file_was_removed_refuses_entries(opened: Open, tmp_path: Path) -> None:
    journal = opened()
    (tmp_path / JOURNAL_FILE).unlink()
    with pytest.raises(StoreError, match="removed or replaced"):
        journal.append("incident", T0, "dana", {})
    assert "removed or replaced" in journal.stats().last_error


def test_a_folder_that_cannot_be_written_is_named(opened: Open, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"journal .*missing.*cannot open"):
        opened(tmp_path / "missing" / "folder")
