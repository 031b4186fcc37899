"""OpenMetrics text with times, as `promtool tsdb dump-openmetrics` writes it and `create-blocks-from` reads it.

Source: OpenMetrics 1.0 and cmd/promtool/tsdb.go. A line is `name{label="value", …} value seconds`; the last is `# EOF`.
promtool quotes labels as Go does, which has more escapes than OpenMetrics: both are read. Staleness markers have no
form in OpenMetrics: promtool leaves them out, and so do we.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from typing import IO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from foreshock_dashboard.model.samples import Labels, labels_of
from foreshock_dashboard.recording.errors import RecordingError
from foreshock_dashboard.recording.reader import Recording
from foreshock_dashboard.store.samples.promql_functions import STALE_BITS

MAX_LINE = 1 << 20
"""Bytes of a line."""
PIECE = 100_000
"""Samples that are given at once."""
MAX_TIME = 1e12
"""Seconds before or after 1970 that a time may be at most."""

# Possessive quantifiers keep matching linear in the line's length, whatever the file holds.
_LINE = re.compile(
    r"""(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*+)
        (?:\{(?P<labels>(?:[^"{}]|"(?:[^"\\]|\\.)*+")*+)\})?+
        \ +(?P<value>[^ ]++)
        (?:\ +(?P<time>[^ ]++))?+
        (?:\ +\#\ +\{.*)?+            # an exemplar
        \ *""",
    re.VERBOSE,
)
_LABEL = re.compile(r' *([a-zA-Z_][a-zA-Z0-9_]*) *= *"((?:[^"\\]|\\.)*+)" *(?:,|$)')
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[+-]?[iI]nf(?:inity)?|[nN]a[nN]")
_ESCAPE = re.compile(r"\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8})|(.))", re.DOTALL)
_LETTERS = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v", '"': '"', "\\": "\\"}


class Samples(NamedTuple):
    """Samples as a writer takes them: numbers of series, times in ms, values."""

    series: NDArray[np.int32]
    times: NDArray[np.int64]
    values: NDArray[np.float64]


def parse(
    file: IO[bytes], where: str, number: Callable[[str, Labels], int], line_done: Callable[[int], None] = lambda _: None
) -> Iterator[Samples]:
    """Read every sample, in the order of the file, `PIECE` at a time; `number` gives a series its number.

    `line_done` is told now and then how many bytes have been read.

    Raises:
        RecordingError: a line is no sample with a time, or the file is cut off. The message gives file and line.
    """
    known: dict[bytes, int] = {}
    series: list[int] = []
    times: list[float] = []
    values: list[float] = []
    at, ended = 0, False
    for at, line in enumerate(_lines(file, where), 1):
        if ended:
            raise RecordingError(f"{where}:{at}: the file goes on after # EOF; split it there")
        if line[:1] == b"#" or not line.strip():
            ended = line.rstrip() == b"# EOF"
            continue
        try:
            head, value, time = line.rsplit(b" ", 2)
            found, worth, when = known[head], _fast(value), _fast(time)
        except (KeyError, ValueError):  # a series not met before, an exemplar, or no sample
            text, found, worth, when = _sample(line, f"{where}:{at}", number)
            known[text] = found
        if not -MAX_TIME < when < MAX_TIME:
            raise RecordingError(f"{where}:{at}: {when!r} is no time in seconds")
        series.append(found)
        values.append(worth)
        times.append(when)
        if len(series) >= PIECE:
            yield _samples(series, times, values)
            line_done(file.tell())
            series, times, values = [], [], []
    if not ended:
        raise RecordingError(f"{where}:{at + 1}: the file ends without # EOF: it is cut off; write it again")
    if series:
        yield _samples(series, times, values)


def _fast(text: bytes) -> float:
    """A number as Python reads it, but for the underscores that Python allows.

    Raises:
        ValueError: it is none.
    """
    return float(text.replace(b"_", b"?"))


def _samples(series: list[int], times: list[float], values: list[float]) -> Samples:
    milliseconds = np.rint(np.array(times, np.float64) * 1000).astype(np.int64)
    return Samples(np.array(series, np.int32), milliseconds, np.array(values, np.float64))


def _lines(file: IO[bytes], where: str) -> Iterator[bytes]:
    number = 0
    while line := file.readline(MAX_LINE + 1):
        number += 1
        if len(line) > MAX_LINE:
            raise RecordingError(f"{where}:{number}: the line is longer than {MAX_LINE} bytes: that is no OpenMetrics")
        yield line.rstrip(b"\r\n")


def _sample(line: bytes, place: str, number: Callable[[str, Labels], int]) -> tuple[bytes, int, float, float]:
    """What comes before a line's value, its series, value and time."""
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        raise RecordingError(f"{place}: is not UTF-8: {error.reason}") from None
    match = _LINE.fullmatch(text)
    if match is None:
        raise RecordingError(f'{place}: is no sample: {text[:80]!r}; write name{{label="value"}} value seconds')
    if match["time"] is None:
        raise RecordingError(f"{place}: has no time; write the seconds since 1970 behind the value: {text[:80]!r}")
    for part in ("value", "time"):
        if not _NUMBER.fullmatch(match[part]):
            raise RecordingError(f"{place}: {match[part][:40]!r} is not a number")
    labels = _labels(match["labels"] or "", place)
    head = text[: match.start("value")].rstrip(" ").encode()
    return head, number(match["name"], labels), float(match["value"]), float(match["time"])


def _labels(text: str, place: str) -> Labels:
    labels: dict[str, str] = {}
    at, end = 0, len(text.rstrip(" "))
    while at < end:
        match = _LABEL.match(text, at)
        if match is None:
            raise RecordingError(f"{place}: malformed labels: {text[at : at + 80]!r}")
        name, value = match.groups()
        if name in labels:
            raise RecordingError(f"{place}: label {name!r} twice")
        labels[name] = _ESCAPE.sub(_unescaped, value) if "\\" in value else value
        at = match.end()
    return labels_of(labels)


def _unescaped(escape: re.Match[str]) -> str:
    x, short, long, letter = escape.groups()
    if letter is not None:
        return _LETTERS.get(letter, "\\" + letter)
    code = int(x or short or long, 16)
    return chr(code) if code < 0x110000 else "\ufffd"


# --- and back


def write(recording: Recording, file: IO[bytes], told: Callable[[int], None] = lambda _: None) -> int:
    """Write all samples but staleness markers, series by series; gives their number, and tells it now and then."""
    heads = [_head(stretch.metric, stretch.labels) for stretch in recording.stretches]
    count = 0
    for piece in recording.samples():
        alive = piece.values.view(np.int64) != STALE_BITS
        rows, times, values = (each[alive].tolist() for each in (piece.rows, piece.times, piece.values))
        file.write(
            "".join(
                f"{heads[row]} {_value(value)} {_seconds(time)}\n"
                for row, time, value in zip(rows, times, values, strict=True)
            ).encode()
        )
        count += len(rows)
        told(count)
    file.write(b"# EOF\n")
    return count


def _head(metric: str, labels: Labels) -> str:
    return metric + ("{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels) + "}" if labels else "")


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _seconds(milliseconds: int) -> str:
    sign = "-" if milliseconds < 0 else ""
    return f"{sign}{abs(milliseconds) // 1000}.{abs(milliseconds) % 1000:03d}"


def _value(value: float) -> str:
    if math.isfinite(value):
        return repr(value)
    return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
