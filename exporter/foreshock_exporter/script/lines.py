"""Device scripts: parsing and writing of JSON lines. Pure. Format: docs/device-scripts.md."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from foreshock_exporter.script.checker import ScriptChecker
from foreshock_exporter.script.events import (
    ACTIONS,
    Action,
    CountersRestart,
    Device,
    Errors,
    Event,
    FaultBegins,
    FaultEnds,
    MigInstance,
    Process,
    Remap,
    Set,
    Throttling,
    XidError,
)
from foreshock_exporter.script.readers import ReadError, fields_reader, flag, number, quoted, text, whole
from foreshock_exporter.script.wave import Wave

VERSION = 1
MAX_LINE_CHARS = 1 << 16
"""Longest line."""
MAX_EVENTS = 100_000
"""Events in a file."""
MAX_GPUS = 64
MAX_SECONDS = 1e8
DEFAULT_HOST = "mock-gpu-host"
VERSION_KEY = "foreshock_device_script"
_HEADER = fields_reader(
    {
        VERSION_KEY: whole(1, 10_000),
        "host": text,
        "host_id": text,
        "loop": number(1.0, MAX_SECONDS, "a number of seconds"),
    }
)
_LINE = fields_reader(
    {
        "at": number(0.0, MAX_SECONDS, "a number of seconds"),
        "gpu": whole(0, MAX_GPUS - 1),
        **ACTIONS,
        "once": flag,
    }
)


class ScriptError(ValueError):
    """Wrong line of a device script; the message has script, line, key, and remedy."""


@dataclass(frozen=True, slots=True)
class Header:
    """First line. `loop`: seconds after which the events repeat; None keeps the last state."""

    host: str = DEFAULT_HOST
    host_id: str = ""
    loop: float | None = None


@dataclass(frozen=True, slots=True)
class Script:
    """Complete script with events in order of time."""

    header: Header
    events: tuple[Event, ...]


class LineReader:
    """Reads the lines of one script in order. A wrong line only advances the line number.

    Args:
        name: name of the script in messages.
        live: whether lines arrive in real time; such a script cannot loop.
    """

    def __init__(self, name: str, *, live: bool = False) -> None:
        self._name = name
        self._live = live
        self._line = 0
        self.header_read = False
        """Whether the first line was read."""
        self._loop: float | None = None
        self._checker = ScriptChecker()

    def read(self, line: str, now: float = 0.0) -> Header | Event | None:
        """Parse a line: `Header` for the first, None for a blank line or a comment (#), else an event.

        Args:
            line: with or without line end.
            now: seconds from the start of the script; earliest time of the event, and its default.

        Raises:
            ScriptError: the line is wrong; reading may continue with the next.
        """
        self._line += 1
        if not line.strip() or line.lstrip().startswith("#"):
            return None
        try:
            if not self.header_read:
                self.header_read = True
                header = _header(_object(line))
                if self._live:
                    return dataclasses.replace(header, loop=None)
                self._loop = header.loop
                return header
            return self._event(_object(line), now)
        except ReadError as error:
            where = f', key "{error.key}"' if error.key else ""
            raise ScriptError(f"{self._name}, line {self._line}{where}: {error}") from error

    def _event(self, values: dict[str, Any], now: float) -> Event:
        fields = _LINE(values)
        actions = [name for name in fields if name in ACTIONS]
        if len(actions) != 1:
            actions_text = " and ".join(actions) or "nothing that happens"
            raise ReadError(f"says {actions_text}; each line needs exactly one of {', '.join(ACTIONS)}")
        if "gpu" not in fields:
            raise ReadError("is missing; give the index of a GPU, from 0", "gpu")
        at = max(now, fields.get("at", self._checker.last_time(fields["gpu"])))
        if self._loop is not None and at >= self._loop:
            raise ReadError(f"{at:g} is not before the loop's end at {self._loop:g}; change either", "at")
        event = Event(at, fields["gpu"], fields[actions[0]], fields.get("once", False))
        self._checker.check(event)
        return event


def parse(lines: Iterable[str], name: str) -> Script:
    """Parse a script. Events at equal times stay in the order of lines.

    Raises:
        ScriptError: a line is wrong, or the header or GPUs are missing.
    """
    reader = LineReader(name)
    header: Header | None = None
    events: list[Event] = []
    for entry in map(reader.read, lines):
        if isinstance(entry, Header):
            header = entry
        elif entry is not None:
            events.append(entry)
        if len(events) > MAX_EVENTS:
            raise ScriptError(f"{name}: has more than {MAX_EVENTS} lines; shorten it, or let it loop")
    if header is None:
        raise ScriptError(f'{name}: is empty; the first line must be {{"{VERSION_KEY}": {VERSION}}}')
    if not events:
        raise ScriptError(f'{name}: has no GPU; add a line such as {{"gpu": 0, "device": {{}}}}')
    return Script(header, tuple(sorted(events, key=lambda event: event.at)))


def dump_header(header: Header) -> str:
    """First line of a script, without line end."""
    loop = {} if header.loop is None else {"loop": header.loop}
    identity = {"host_id": header.host_id} if header.host_id else {}
    return json.dumps({VERSION_KEY: VERSION, "host": header.host, **identity, **loop}, ensure_ascii=False)


def dump(event: Event) -> str:
    """Line of an event, without line end; the inverse of `LineReader.read`."""
    name, value = _key_and_value(event.action)
    once = {"once": True} if event.once else {}
    return json.dumps({"at": event.at, "gpu": event.gpu, name: _to_json(value), **once}, ensure_ascii=False)


def _key_and_value(action: Action) -> tuple[str, object]:
    match action:
        case Device():
            return "device", action
        case Process():
            return "process", action
        case Set(values):
            return "set", values
        case Throttling(reasons):
            return "throttle", reasons
        case Errors(kind, by):
            return kind, by.get("", by)
        case Remap(values):
            return "remap", values
        case XidError(xid):
            return "xid", xid
        case FaultBegins(fault):
            return "fault", fault
        case FaultEnds():
            return "clear", True
        case CountersRestart():
            return "restart", True


def _to_json(value: Any) -> Any:  # noqa: ANN401 - whatever a script holds
    """JSON value: records without default values, constant waves as numbers."""
    if isinstance(value, Wave):
        return value._asdict() if value.swing else value.mean
    if isinstance(value, Device | Process | MigInstance):
        default = type(value)()
        return {
            name: "/".join(filter(None, inner)) if name == "service" else _to_json(inner)
            for name in (part.name for part in dataclasses.fields(value))
            if (inner := getattr(value, name)) != getattr(default, name)
        }
    if isinstance(value, Mapping):
        return {name: _to_json_number(inner) for name, inner in value.items()}
    if isinstance(value, frozenset):
        return sorted(value)
    return [_to_json(inner) for inner in value] if isinstance(value, tuple) else value


def _to_json_number(value: Any) -> Any:  # noqa: ANN401 - whatever a script holds
    """JSON value of a setting; counts must be integers."""
    plain = _to_json(value)
    return int(plain) if isinstance(plain, float) and plain.is_integer() else plain


def _header(fields: dict[str, Any]) -> Header:
    if VERSION_KEY not in fields:
        raise ReadError(
            f'the first line must be the header, such as {{"{VERSION_KEY}": {VERSION}, "host": "{DEFAULT_HOST}"}}'
        )
    values = _HEADER(fields)
    if values.pop(VERSION_KEY) != VERSION:
        raise ReadError(
            f"{fields[VERSION_KEY]} is a version that is not known here; this is version {VERSION}", VERSION_KEY
        )
    return Header(**values)


def _object(line: str) -> dict[str, Any]:
    if len(line) > MAX_LINE_CHARS:
        raise ReadError(f"is longer than {MAX_LINE_CHARS} characters; split it")
    try:
        fields = json.loads(line, object_pairs_hook=_distinct, parse_constant=_no_constant)
    except ReadError:
        raise
    except (ValueError, RecursionError) as error:
        raise ReadError(f"is not JSON ({error}); write one object a line, such as {{...}}") from error
    if not isinstance(fields, dict):
        raise ReadError(f"{quoted(fields)} is not an object; write one a line, in braces")
    return fields


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        duplicate = next(name for name in names if names.count(name) > 1)
        raise ReadError("is given twice; keep one", duplicate)
    return fields


def _no_constant(word: str) -> float:
    raise ReadError(f"{word} is not a number; give a finite one")
