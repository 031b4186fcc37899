"""The file of `--notify-file`: channels as URLs of apprise, one per line, each with a filter.

    # comment
    slack://TOKEN_A/TOKEN_B/TOKEN_C/#oncall
    pagerduty://KEY@KEY    name=pager severity=critical namespace=serving,ml
    mailto://...           severity=warning service=llm-*

URLs are secrets: no message quotes one.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from foreshock_dashboard.common.reloading_file import FileError, read_bounded_text
from foreshock_dashboard.model.incident import Severity
from foreshock_dashboard.model.service import Service

MAX_CHANNELS = 50
"""Each has a thread."""
_LINE = re.compile(r"(?P<schema>[a-zA-Z][\w+-]*)://\S+")
_NAME = re.compile(r"[\w.-]{1,40}")
PATTERN_KEYS = ("cluster", "namespace", "service", "owner")
KEYS = ("name", "severity", *PATTERN_KEYS)


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel of the file.

    name: as given, else the schema, with a number from the second one on. label: the given name, "" if none. schema: of
    the URL, such as `slack`. patterns: by `PATTERN_KEYS`, any of which
    must match; `*` stands for any text. severity: the lowest that is sent: `warning` includes early warnings.
    """

    name: str
    schema: str
    url: str = field(repr=False)
    line: int
    label: str = ""
    severity: Severity = "critical"
    patterns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Identifies the channel in the outbox: a digest that stays the same when lines move and filters change."""
        return hashlib.sha256(f"{self.label} {self.url}".encode()).hexdigest()[:24]

    def accepts(self, service: Service, owner: str) -> bool:
        """Whether messages about a service with an owner are sent here."""
        local = service.local
        values = {"cluster": service.cluster, "namespace": local.namespace, "service": local.name, "owner": owner}
        return all(
            any(fnmatchcase(values[key], pattern) for pattern in patterns) for key, patterns in self.patterns.items()
        )


def read_channels(path: Path) -> tuple[Channel, ...]:
    """The channels of a file. Raises FileError with the number of the line, and without the URL."""
    channels: list[Channel] = []
    for channel in _channels(path, read_bounded_text(path)):
        where = f"{path}: line {channel.line}"
        if any(channel.name == other.name for other in channels):
            raise FileError(f"{where}: a second channel has the name {channel.name!r}; rename one")
        if any(channel.key == other.key for other in channels):
            raise FileError(f"{where}: a second channel has this URL; add name=NAME to one of them")
        channels.append(channel)
    if len(channels) > MAX_CHANNELS:
        raise FileError(f"{path}: has {len(channels)} channels; at most {MAX_CHANNELS} are allowed")
    return tuple(channels)


def _channels(path: Path, text: str) -> Iterator[Channel]:
    schemas: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        url, *words = line.split() or ["#"]
        if url.startswith("#"):
            continue
        where = f"{path}: line {number}"
        if not (match := _LINE.fullmatch(url)):
            raise FileError(f"{where}: does not begin with a URL. Write 'URL [severity=critical] [namespace=NAME]'.")
        options = _options(where, words)
        schema = match["schema"].lower()
        count = schemas[schema] = schemas.get(schema, 0) + 1
        label = options.pop("name", "")
        name = label or (schema if count == 1 else f"{schema}-{count}")
        if not _NAME.fullmatch(name):
            raise FileError(f"{where}: name: use letters, digits, '.', '_', and '-', at most 40")
        severity: Severity = "warning" if options.pop("severity", "critical") == "warning" else "critical"
        patterns = {key: tuple(filter(None, value.split(","))) for key, value in options.items()}
        yield Channel(name, schema, url, number, label, severity, patterns)


def _options(where: str, words: list[str]) -> dict[str, str]:
    options: dict[str, str] = {}
    for position, word in enumerate(words, 1):
        key, equals, value = word.partition("=")
        if key not in KEYS or not equals or not value:  # the word may be a part of a URL with a space in it
            known = ", ".join(f"{name}=" for name in KEYS)
            raise FileError(f"{where}: word {position} after the URL is not a filter. Use {known[:-1]}=.")
        options[key] = value
    if options.get("severity", "critical") not in ("critical", "warning"):
        raise FileError(f"{where}: severity: use critical, or warning to get early warnings as well")
    return options
