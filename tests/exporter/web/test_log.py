"""Nothing in a request, a name, or a file can add lines to the log or control a terminal."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from io import StringIO
from typing import TYPE_CHECKING

import pytest

from foreshock_exporter.common.log import configure_logging, log

if TYPE_CHECKING:
    from tests.exporter.web.conftest import Dial, Serving

HOSTILE = "a\x1b]0;title\x07\x1b[2J\r\nFAKE\0\x7f\x85\u2028\u202eé \ud800"
FORMS = ("text", "logfmt", "json")


@pytest.fixture
def written(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[StringIO]:
    """What is logged in a form."""
    root = logging.getLogger()
    before = root.handlers.copy(), root.level
    monkeypatch.setattr("sys.stderr", stream := StringIO())
    root.handlers.clear()
    configure_logging("debug", request.param)
    yield stream
    root.handlers[:], root.level = before


def write(message: str, exc_info: bool = False) -> None:
    """Log to the configured handler alone: a report of pytest cannot contain a lone surrogate."""
    record = log.makeRecord(
        log.name, logging.WARNING, __file__, 1, "%s", (message,), sys.exc_info() if exc_info else None
    )
    logging.getLogger().handlers[0].handle(record)


@pytest.mark.parametrize("written", FORMS, indirect=True)
def test_a_record_is_one_printable_line(written: StringIO) -> None:
    write(HOSTILE)
    (line,) = written.getvalue().split("\n")[:-1]
    assert line.isprintable()
    assert line.isascii() or "é" in line


@pytest.mark.parametrize("written", FORMS, indirect=True)
def test_a_traceback_is_readable_and_begins_no_separate_line(written: StringIO) -> None:
    try:
        int(HOSTILE)
    except ValueError:
        write("it failed", exc_info=True)
    first, *others = written.getvalue().split("\n")[:-1]
    assert all(line.isprintable() for line in (first, *others))
    assert all(line.startswith("  ") for line in others)
    text = written.getvalue().replace("\\n", "\n").replace('\\"', '"')
    assert "Traceback (most recent call last):\n" in text
    assert "    int(HOSTILE)\n" in text


@pytest.mark.parametrize("written", ["json"], indirect=True)
def test_json_has_the_message_unchanged(written: StringIO) -> None:
    write(HOSTILE)
    assert json.loads(written.getvalue())["msg"] == HOSTILE


@pytest.mark.parametrize("written", FORMS, indirect=True)
def test_a_request_cannot_forge_lines(written: StringIO, serving: Serving, dial: Dial) -> None:
    connection = dial(serving().port)
    connection.sendall(
        b"GET /\x1b[2J\x0bFAKE\xc2\x85 HTTP/1.1\r\n\r\nGET /%1b%0aFAKE HTTP/1.1\r\nConnection: close\r\n\r\n"
    )
    while connection.recv(1000):
        pass
    assert all(line.isprintable() for line in written.getvalue().split("\n"))
    assert "\nFAKE" not in written.getvalue()
