"""The Prometheus text format 0.0.4, and as much of OpenMetrics text as has the same lines, turned into samples."""

from __future__ import annotations

import re
from collections.abc import Mapping

from foreshock_dashboard.model.samples import Labels, Sample, labels_of

MAX_SERIES = 50_000
MAX_LABELS = 64
MAX_LABEL_LENGTH = 4096

SeriesCache = dict[str, tuple[str, Labels]]
"""Series as a target writes them (`name{…}`) to what they mean with the target's labels: spares parsing them again."""

# Possessive quantifiers keep matching linear in the line's length, whatever a target sends.
_LINE = re.compile(
    r"""(?P<series>(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*+)
        (?:[ \t]*+\{(?P<labels>(?:[^"{}]|"(?:[^"\\]|\\.)*+")*+)\})?+)
        (?:(?<=\})|(?=[ \t]))[ \t]*+
        (?P<value>[^ \t#]++)
        (?:[ \t]++[^ \t#]++)?+    # a time: the scrape's time holds instead
        [ \t]*+(?:\#.*)?          # an exemplar
    """,
    re.VERBOSE,
)
_LABEL = re.compile(r'[ \t]*([a-zA-Z_][a-zA-Z0-9_]*)[ \t]*=[ \t]*"((?:[^"\\]|\\.)*+)"[ \t]*(?:,[ \t]*|$)')
_VALUE = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[+-]?inf(?:inity)?|nan", re.IGNORECASE)
_ESCAPE = re.compile(r'\\([\\"n])')
_ESCAPED = {"\\": "\\", '"': '"', "n": "\n"}


def parse(
    text: str, target_labels: Mapping[str, str], known: SeriesCache | None = None, max_series: int = MAX_SERIES
) -> tuple[Sample, ...]:
    """Read every sample of an exposition and give it the target's labels.

    As Prometheus does with `honor_labels: false`, a target label wins and the exposed one of that name is renamed to
    `exported_<name>`. Times in the exposition are ignored (`honor_timestamps: false`); of two samples for one series
    the first holds. `known` is filled with this text's series and should be handed in again for the target's next one.

    Raises:
        ValueError: a line is not a sample, or a bound is exceeded; the message gives the line's number and text.
    """
    before = dict(known) if known else {}
    seen: SeriesCache = {}
    samples: dict[tuple[str, Labels], float] = {}
    for number, line in enumerate(text.split("\n"), 1):
        line = line.strip(" \t\r")
        if not line or line[0] == "#":
            continue
        try:
            match = _match(line)
            series = match["series"]
            key = before.get(series) or (match["name"], _labels(match["labels"] or "", target_labels))
            value = _value(match["value"])
        except ValueError as error:
            raise ValueError(f"line {number}: {error}: {line[:80]!r}") from None
        seen[series] = key
        samples.setdefault(key, value)
        if len(samples) > max_series:
            raise ValueError(f"line {number}: more than {max_series} series; let the target expose fewer")
    if known is not None:
        known.clear()
        known.update(seen)
    return tuple(Sample(metric, labels, value) for (metric, labels), value in samples.items())


def _match(line: str) -> re.Match[str]:
    match = _LINE.fullmatch(line)
    if match is None:
        raise ValueError("not a sample")
    return match


def _value(text: str) -> float:
    if not _VALUE.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is not a number")
    return float(text)


def _labels(text: str, target_labels: Mapping[str, str]) -> Labels:
    exposed = _exposed(text)
    for name in target_labels:
        if value := exposed.pop(name, ""):
            renamed = f"exported_{name}"
            while renamed in exposed or renamed in target_labels:
                renamed = f"exported_{renamed}"
            exposed[renamed] = value
    return labels_of({**exposed, **target_labels})


def _exposed(text: str) -> dict[str, str]:
    labels: dict[str, str] = {}
    at, end = 0, len(text.rstrip(" \t"))
    while at < end:
        match = _LABEL.match(text, at)
        if match is None:
            raise ValueError("malformed labels")
        name, value = match.groups()
        if name in labels or name == "__name__":
            raise ValueError(f"label {name!r} twice")
        if len(name) > MAX_LABEL_LENGTH or len(value) > MAX_LABEL_LENGTH:
            raise ValueError(f"a label is longer than {MAX_LABEL_LENGTH} characters")
        labels[name] = _ESCAPE.sub(lambda escape: _ESCAPED[escape[1]], value) if "\\" in value else value
        at = match.end()
    if len(labels) > MAX_LABELS:
        raise ValueError(f"more than {MAX_LABELS} labels")
    return labels
