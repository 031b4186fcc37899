"""Where device scripts come from: built in, a file, or lines that come live on a file descriptor."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from foreshock_exporter.common.log import log
from foreshock_exporter.script.lines import MAX_LINE_CHARS, Header, LineReader, Script, ScriptError, parse
from foreshock_exporter.script.playback import Playback

BUILT_IN = ("contended", "healthy", "sick")
"""Scripts that come with the exporter."""
STDIN = "-"
_FOLDER = Path(__file__).parent / "built_in"
_CHUNK = 1 << 16
_WAKE = 0.2
"""Seconds between two looks whether a live script is to end."""
_SAID = 20
"""Wrong lines of a live script that are logged; further ones are only counted."""


def load_script(name: str) -> Script:
    """Read a script: one of `BUILT_IN`, or the path of a file.

    Raises:
        ScriptError: it cannot be read, or a line is wrong.
    """
    path = _FOLDER / f"{name}.jsonl" if name in BUILT_IN else Path(name)
    try:
        with path.open("rb") as file:
            return parse(split_lines(iter(lambda: file.read(_CHUNK), b"")), path.name if name in BUILT_IN else name)
    except OSError as error:
        raise ScriptError(
            f"device script {name!r} cannot be read: {error.strerror}; give a file, "
            f"{STDIN} for standard input, or one of {', '.join(BUILT_IN)}"
        ) from error


def split_lines(chunks: Iterable[bytes]) -> Iterator[str]:
    """The lines of a stream, without their ends. One that is too long comes cut, just long enough to be refused."""
    kept = b""
    for chunk in chunks:
        *ended, kept = (kept + chunk).split(b"\n")
        yield from (_decoded(line) for line in ended)
        kept = kept[: 4 * MAX_LINE_CHARS + 4]
    if kept:
        yield _decoded(kept)


def _decoded(line: bytes) -> str:
    return line[: 4 * MAX_LINE_CHARS + 4].decode(errors="replace")[: MAX_LINE_CHARS + 1]


class LiveScript:
    """Plays lines as they come. A wrong one is logged and costs only itself; at the end the last state stays.

    Args:
        descriptor: a file descriptor to read from; it is not closed.
        now: Unix seconds. The script starts when this is made.
        name: what messages call the script.
    """

    def __init__(self, descriptor: int, now: Callable[[], float], name: str = "standard input") -> None:
        self._descriptor = descriptor
        self._now = now
        self._name = name
        self._start = now()
        self._reader = LineReader(name, live=True)
        self._ended = threading.Event()
        self._begun = threading.Event()
        self.playback = Playback(Script(Header(), ()), self._start)
        self.rejected = 0
        """Lines that were wrong."""
        self._thread = threading.Thread(target=self._run, name="device-script", daemon=True)
        self._thread.start()

    def wait(self, seconds: float) -> None:
        """Wait for the first line, which names the host, but not longer than this."""
        self._begun.wait(seconds)

    def join(self, seconds: float) -> bool:
        """Wait for the end of the lines; whether it came within this time."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def close(self) -> None:
        """Read no further."""
        self._ended.set()
        self._thread.join(5 * _WAKE)

    def _run(self) -> None:
        for line in split_lines(self._chunks()):
            self._take(line)
        self._begun.set()
        if not self._ended.is_set():
            log.info("%s: ended, %d of its lines were wrong; the GPUs stay as they are", self._name, self.rejected)

    def _chunks(self) -> Iterator[bytes]:
        while not self._ended.is_set():
            try:
                ready, _, _ = select.select([self._descriptor], [], [], _WAKE)
                chunk = os.read(self._descriptor, _CHUNK) if ready else None
            except (OSError, ValueError) as error:
                log.warning("%s: cannot be read any more: %s", self._name, error)
                return
            if chunk == b"":
                return
            if chunk:
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
            self.playback.moment(self._now())  # so that lines that happened are let go of, even if nobody asks
        if self._reader.begun:
            self._begun.set()

    def _reject(self, error: ValueError) -> None:
        self.rejected += 1
        if self.rejected <= _SAID:
            more = "; further wrong lines are only counted" if self.rejected == _SAID else ""
            log.warning("%s%s", error, more)
