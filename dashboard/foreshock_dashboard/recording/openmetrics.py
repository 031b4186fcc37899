"""OpenMetrics text with timestamps, as `promtool tsdb dump-openmetrics` writes and `create-blocks-from` reads it.

Sources: OpenMetrics 1.0 and cmd/promtool/tsdb.go. A line is `name{label="value", …} value seconds`; the last one is
`# EOF`. promtool quotes labels as Go does, with more escapes than OpenMetrics; both are read. OpenMetrics has no
staleness markers: they are left out, as in promtool.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import IO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from foreshock_dashboard.model.samples import Labels, labels_of
from foreshock_dashboard.recording.meta import RecordingError
from foreshock_dashboard.recording.reader import Recording
from foreshock_dashboard.store.samples.promql_functions import STALE_BITS
from foreshock_exporter.exposition.text_format import series_text, value_text

MAX_LINE_BYTES = 1 << 20
BATCH_SAMPLES = 100_000
MAX_TIME_SECONDS = 1e12
"""Largest absolute Unix time."""

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
    """Samples as columns: series number, time in ms, value."""

    series: NDArray[np.int32]
    times: NDArray[np.int64]
    values: NDArray[np.float64]


def parse(file: IO[bytes], name: str, series_number: Callable[[str, Labels], int]) -> Iterator[Samples]:
    """Yield all samples in the order of the file, `BATCH_SAMPLES` at once.

    Args:
        file: the text.
        name: the file's name, for messages.
        series_number: returns the number of a series.

    Raises:
        RecordingError: a line is not a sample with a time, or the file is cut off. The message gives file and line.
    """
    numbers: dict[bytes, int] = {}
    series: list[int] = []
    times: list[float] = []
    values: list[float] = []
    number, ended = 0, False
    for number, line in enumerate(_lines(file, name), 1):
        if ended:
            raise RecordingError(f"{name}:{number}: the file goes on after # EOF; split it there")
        if line[:1] == b"#" or not line.strip():
            ended = line.rstrip() == b"# EOF"
            continue
        try:
            head, value_text, time_text = line.rsplit(b" ", 2)
            ref, value, time = numbers[head], _float(value_text), _float(time_text)
        except (KeyError, ValueError):  # a new series, an exemplar, or not a sample
            head, ref, value, time = _sample(line, f"{name}:{number}", series_number)
            numbers[head] = ref
        if not -MAX_TIME_SECONDS < time < MAX_TIME_SECONDS:
            raise RecordingError(f"{name}:{number}: {time!r} is not a time in seconds")
        series.append(ref)
        values.append(value)
        times.append(time)
        if len(series) >= BATCH_SAMPLES:
            yield _samples(series, times, values)
            series, times, values = [], [], []
    if not ended:
        raise RecordingError(f"{name}:{number + 1}: missing # EOF: the file is truncated; export it again")
    if series:
        yield _samples(series, times, values)


def _float(text: bytes) -> float:
    """Parse a number, without the underscores that Python allows.

    Raises:
        ValueError: it is not a number.
    """
    return float(text.replace(b"_", b"?"))


def _samples(series: list[int], times: list[float], values: list[float]) -> Samples:
    milliseconds = np.rint(np.array(times, np.float64) * 1000).astype(np.int64)
    return Samples(np.array(series, np.int32), milliseconds, np.array(values, np.float64))


def _lines(file: IO[bytes], name: str) -> Iterator[bytes]:
    for number, line in enumerate(iter(lambda: file.readline(MAX_LINE_BYTES + 1), b""), 1):
        if len(line) > MAX_LINE_BYTES:
            raise RecordingError(
                f"{name}:{number}: the line is longer than {MAX_LINE_BYTES} bytes: that is not OpenMetrics"
            )
        yield line.rstrip(b"\r\n")


def _sample(line: bytes, place: str, series_number: Callable[[str, Labels], int]) -> tuple[bytes, int, float, float]:
    """Return the text before a line's value, its series number, value and time."""
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        raise RecordingError(f"{place}: is not UTF-8: {error.reason}") from None
    match = _LINE.fullmatch(text)
    if match is None:
        raise RecordingError(f'{place}: is not a sample: {text[:80]!r}; write name{{label="value"}} value seconds')
    if match["time"] is None:
        raise RecordingError(f"{place}: missing timestamp; append it in Unix seconds: {text[:80]!r}")
    for part in ("value", "time"):
        if not _NUMBER.fullmatch(match[part]):
            raise RecordingError(f"{place}: {match[part][:40]!r} is not a number")
    labels = _labels(match["labels"] or "", place)
    head = text[: match.start("value")].rstrip(" ").encode()
    return head, series_number(match["name"], labels), float(match["value"]), float(match["time"])


def _labels(text: str, place: str) -> Labels:
    labels: dict[str, str] = {}
    position, end = 0, len(text.rstrip(" "))
    while position < end:
        match = _LABEL.match(text, position)
        if match is None:
            raise RecordingError(f"{place}: malformed labels: {text[position : position + 80]!r}")
        name, value = match.groups()
        if name in labels:
            raise RecordingError(f"{place}: label {name!r} twice")
        labels[name] = _ESCAPE.sub(_unescaped, value) if "\\" in value else value
        position = match.end()
    return labels_of(labels)


def _unescaped(escape: re.Match[str]) -> str:
    x, short, long, letter = escape.groups()
    if letter is not None:
        return _LETTERS.get(letter, "\\" + letter)
    code = int(x or short or long, 16)
    return chr(code) if code < 0x110000 else "\ufffd"


# --- writing


def write(recording: Recording, file: IO[bytes]) -> Iterator[int]:
    """Write all samples but staleness markers, series by series, and yield the number of samples after each batch."""
    heads = [series_text(series.metric, series.labels) for series in recording.series]
    for batch in recording.samples():
        fresh = batch.values.view(np.int64) != STALE_BITS
        series, times, values = (column[fresh].tolist() for column in batch)
        file.write(
            "".join(
                f"{heads[position]} {value_text(value)} {_seconds(time)}\n"
                for position, time, value in zip(series, times, values, strict=True)
            ).encode()
        )
        yield len(series)
    file.write(b"# EOF\n")


def _seconds(milliseconds: int) -> str:
    sign = "-" if milliseconds < 0 else ""
    return f"{sign}{abs(milliseconds) // 1000}.{abs(milliseconds) % 1000:03d}"
