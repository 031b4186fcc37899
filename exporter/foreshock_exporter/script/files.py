"""Sources of device scripts: built in, a file, or live lines from a file descriptor."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from foreshock_exporter.common.log import log
from foreshock_exporter.script.lines import MAX_LINE_CHARS, Header, LineReader, Script, ScriptError, parse
from foreshock_exporter.script.playback import Playback

BUILT_IN = ("contended", "healthy", "sick")
"""Scripts in this package."""
STDIN = "-"
_FOLDER = Path(__file__).parent / "built_in"
_CHUNK_BYTES = 1 << 16
_MAX_LOGGED_LINES = 20
"""Wrong lines of a live script that are logged; more are only counted."""


def load_script(name: str) -> Script:
    """Read a script: one of `BUILT_IN`, or a file.

    Raises:
        ScriptError: the file is unreadable, or a line is wrong.
    """
    path = _FOLDER / f"{name}.jsonl" if name in BUILT_IN else Path(name)
    try:
        with path.open("rb") as file:
            return parse(
                split_lines(iter(lambda: file.read(_CHUNK_BYTES), b"")), path.name if name in BUILT_IN else name
            )
    except OSError as error:
        raise ScriptError(
            f"device script {name!r} cannot be read: {error.strerror}; give a file, "
            f"{STDIN} for standard input, or one of {', '.join(BUILT_IN)}"
        ) from error


def split_lines(chunks: Iterable[bytes]) -> Iterator[str]:
    """Lines of a stream without line ends. An overlong line is cut to a length that is still refused."""
    rest = b""
    for chunk in chunks:
        *complete, rest = (rest + chunk).split(b"\n")
        yield from (_decoded(line) for line in complete)
        rest = rest[: 4 * MAX_LINE_CHARS + 4]
    if rest:
        yield _decoded(rest)


def _decoded(line: bytes) -> str:
    return line[: 4 * MAX_LINE_CHARS + 4].decode(errors="replace")[: MAX_LINE_CHARS + 1]


class LiveScript:
    """Plays lines as they arrive. A wrong line is logged and skipped; the last state stays at the end.

    `descriptor` is read and not closed. `now` returns Unix seconds; the script starts now.
    """

    def __init__(self, descriptor: int, now: Callable[[], float], name: str = "standard input") -> None:
        self._descriptor = descriptor
        self._now = now
        self._name = name
        self._start = now()
        self._reader = LineReader(name, live=True)
        self._closed = threading.Event()
        self._header_received = threading.Event()
        self.playback = Playback(Script(Header(), ()), self._start)
        self.rejected = 0
        """Number of wrong lines."""
        self._thread = threading.Thread(target=self._run, name="device-script", daemon=True)
        self._thread.start()

    def wait(self, seconds: float) -> None:
        """Wait up to `seconds` for the first line, which names the host."""
        self._header_received.wait(seconds)

    def join(self, seconds: float) -> bool:
        """Wait up to `seconds` for the last line. Return whether it was read."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def close(self) -> None:
        self._closed.set()

    def _run(self) -> None:
        for line in split_lines(self._chunks()):
            self._take(line)
        self._header_received.set()
        if not self._closed.is_set():
            log.info("%s: ended, %d of its lines were wrong; the GPUs stay as they are", self._name, self.rejected)

    def _chunks(self) -> Iterator[bytes]:
        while not self._closed.is_set():
            try:
                chunk = os.read(self._descriptor, _CHUNK_BYTES)
            except OSError as error:
                log.warning("%s: cannot be read any more: %s", self._name, error)
                return
            if not chunk:
                return
            yield chunk

    def _take(self, line: str) -> None:
        try:
            entry = self._reader.read(line, max(0.0, self._now() - self._start))
            if isinstance(entry, Header):
                self.playback.header = entry
            elif entry is not None:
                self.playback.feed(entry)
        except ValueError as error:
            self._reject(error)
        else:
            self.playback.state_at(self._now())  # drops past events even without queries
        if self._reader.header_read:
            self._header_received.set()

    def _reject(self, error: ValueError) -> None:
        self.rejected += 1
        if self.rejected <= _MAX_LOGGED_LINES:
            suffix = "; further wrong lines are only counted" if self.rejected == _MAX_LOGGED_LINES else ""
            log.warning("%s%s", error, suffix)
