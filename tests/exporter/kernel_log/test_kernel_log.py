"""The reader of the kernel log, over a FIFO, which returns without data as /dev/kmsg does, and over a file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from foreshock_exporter.host import kernel_log
from foreshock_exporter.host.kernel_log import KernelLog
from foreshock_exporter.model.xid import KernelMessage

Write = Callable[[str], int]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "kmsg")
    return tmp_path / "kmsg"


@pytest.fixture
def write(path: Path) -> Iterator[Write]:
    """Writes to the FIFO."""
    opened = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    yield lambda text: os.write(opened, text.encode())
    os.close(opened)


def test_messages_come_once_with_their_time_and_without_waiting(path: Path, write: Write) -> None:
    log = KernelLog(path)
    assert log() == []
    write("6,1,2500000,-;eth0: link up\n SUBSYSTEM=net\n DEVICE=n2\n4,2,3000000,-;NVRM: a;b\n")
    assert log() == [KernelMessage(2.5, "eth0: link up"), KernelMessage(3.0, "NVRM: a;b")]
    assert log() == []
    write("4,3,4000000,-;half a")
    assert log() == []
    write(" line\n")
    assert log() == [KernelMessage(4.0, "half a line")]
    log.close()


def test_what_programs_write_to_the_log_does_not_count(path: Path, write: Write) -> None:
    """The kernel gives their records another facility than 0, whatever they write: 12 is facility 1, level 4."""
    log = KernelLog(path)
    log()
    write("12,1,1000000,-;NVRM: Xid (PCI:0000:00:00): 79, GPU has fallen off the bus.\nno header\n;,\n4,x,1,-;broken\n")
    assert log() == []
    log.close()


def test_history_is_skipped_at_the_start_and_read_on_after_a_failure(tmp_path: Path) -> None:
    path = tmp_path / "kmsg"
    path.write_text("4,1,1000000,-;before the start\n")
    log = KernelLog(path)
    assert log() == []
    with path.open("a") as file:
        file.write("4,2,2000000,-;seen\n")
    assert [message.text for message in log()] == ["seen"]
    log.close()
    with path.open("a") as file:
        file.write("4,3,3000000,-;missed\n")
    assert [message.text for message in log()] == ["missed"]
    log.close()


def test_a_call_reads_a_bounded_number_of_records(path: Path, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_log, "MAX_READS_PER_CALL", 2)
    monkeypatch.setattr(kernel_log, "_RECORD_BYTES", 16)
    log = KernelLog(path)
    log()
    write("".join(f"4,{number},1000000,-;m\n" for number in range(1, 5)))
    rounds = [len(log()) for _ in range(4)]
    assert sum(rounds) == 4
    assert max(rounds) <= 2
    log.close()


def test_overwritten_records_are_reported_at_the_next_call(
    path: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel answers EPIPE once, and then with the oldest record that is left."""
    log = KernelLog(path)
    log()
    real, failures = os.read, [BrokenPipeError()]

    def read(file: int, size: int) -> bytes:
        if failures:
            raise failures.pop()
        return real(file, size)

    monkeypatch.setattr(os, "read", read)
    write("4,9,1000000,-;the oldest left\n")
    assert [message.text for message in log()] == ["the oldest left"]
    with pytest.raises(OSError, match="overwritten"):
        log()
    assert log() == []
    log.close()


def test_an_unreadable_log_is_an_error_with_reason_and_remedy(tmp_path: Path) -> None:
    log = KernelLog(tmp_path / "kmsg")
    for _ in range(2):
        with pytest.raises(OSError, match=r"kmsg cannot be read \(No such file or directory\): .* grant CAP_SYSLOG"):
            log()
    (tmp_path / "kmsg").write_text("4,1,1000000,-;old\n")
    assert log() == []
    log.close()
