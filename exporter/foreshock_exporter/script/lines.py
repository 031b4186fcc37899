"""Device scripts: JSON lines to frozen events and back. Pure. docs/device-scripts.md is the format for people."""

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
"""Characters of one line."""
MAX_EVENTS = 100_000
"""Events of a script that is read from a file."""
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
    """A line of a device script is wrong; the message names script, line, key and remedy."""


@dataclass(frozen=True, slots=True)
class Header:
    """The first line. `loop`: after so many seconds the events come again; None: the last state stays."""

    host: str = DEFAULT_HOST
    host_id: str = ""
    loop: float | None = None


@dataclass(frozen=True, slots=True)
class Script:
    """A whole script; events in the order of their time."""

    header: Header
    events: tuple[Event, ...]


class LineReader:
    """Reads the lines of one script in turn. A line that is wrong changes nothing but the line number.

    Args:
        name: what messages call the script.
        live: the lines come as things happen, so that the script cannot loop.
    """

    def __init__(self, name: str, *, live: bool = False) -> None:
        self._name = name
        self._live = live
        self._line = 0
        self.begun = False
        """Whether the first line was read."""
        self._loop: float | None = None
        self._known = ScriptChecker()

    def read(self, line: str, now: float = 0.0) -> Header | Event | None:
        """The event of a line; the header for the first; None for one that is blank or a comment (#).

        Args:
            line: with or without its end.
            now: seconds from the start of the script. An event whose time is earlier, or not given, happens then.

        Raises:
            ScriptError: the line is wrong; the next one can be read nevertheless.
        """
        self._line += 1
        if not line.strip() or line.lstrip().startswith("#"):
            return None
        try:
            if not self.begun:
                self.begun = True
                header = _header(_object(line))
                if self._live:
                    return dataclasses.replace(header, loop=None)
                self._loop = header.loop
                return header
            return self._event(_object(line), now)
        except ReadError as error:
            where = f', key "{error.key}"' if error.key else ""
            raise ScriptError(f"{self._name}, line {self._line}{where}: {error}") from error

    def _event(self, found: dict[str, Any], now: float) -> Event:
        said = _LINE(found)
        actions = [name for name in said if name in ACTIONS]
        if len(actions) != 1:
            what = " and ".join(actions) or "nothing that happens"
            raise ReadError(f"says {what}; each line needs exactly one of {', '.join(ACTIONS)}")
        if "gpu" not in said:
            raise ReadError("is missing; give the index of a GPU, from 0", "gpu")
        at = max(now, said.get("at", self._known.at(said["gpu"])))
        if self._loop is not None and at >= self._loop:
            raise ReadError(f"{at:g} is not before the loop's end at {self._loop:g}; change either", "at")
        event = Event(at, said["gpu"], said[actions[0]], said.get("once", False))
        self._known.agree(event)
        return event


def parse(lines: Iterable[str], name: str) -> Script:
    """Read a whole script. Events of equal times stay in the order of their lines.

    Raises:
        ScriptError: the first line that is wrong, or there is no header or no GPU.
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
    """The first line of a script, without its end."""
    loop = {} if header.loop is None else {"loop": header.loop}
    identity = {"host_id": header.host_id} if header.host_id else {}
    return json.dumps({VERSION_KEY: VERSION, "host": header.host, **identity, **loop}, ensure_ascii=False)


def dump(event: Event) -> str:
    """The line of an event, without its end; reading it gives the same event."""
    name, value = _said(event.action)
    once = {"once": True} if event.once else {}
    return json.dumps({"at": event.at, "gpu": event.gpu, name: _plain(value), **once}, ensure_ascii=False)


def _said(action: Action) -> tuple[str, object]:
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


def _plain(value: Any) -> Any:  # noqa: ANN401 - whatever a script holds
    """The JSON value: records without what is as by default, waves that do not swing as numbers."""
    if isinstance(value, Wave):
        return value._asdict() if value.swing else value.mean
    if isinstance(value, Device | Process | MigInstance):
        usual = type(value)()
        return {
            name: "/".join(filter(None, inner)) if name == "service" else _plain(inner)
            for name in (part.name for part in dataclasses.fields(value))
            if (inner := getattr(value, name)) != getattr(usual, name)
        }
    if isinstance(value, Mapping):
        return {name: _whole(inner) for name, inner in value.items()}
    if isinstance(value, frozenset):
        return sorted(value)
    return [_plain(inner) for inner in value] if isinstance(value, tuple) else value


def _whole(value: Any) -> Any:  # noqa: ANN401 - whatever a script holds
    """Settings that count things are read as whole numbers only."""
    plain = _plain(value)
    return int(plain) if isinstance(plain, float) and plain.is_integer() else plain


def _header(found: dict[str, Any]) -> Header:
    if VERSION_KEY not in found:
        raise ReadError(
            f'the first line must be the header, such as {{"{VERSION_KEY}": {VERSION}, "host": "{DEFAULT_HOST}"}}'
        )
    values = _HEADER(found)
    if values.pop(VERSION_KEY) != VERSION:
        raise ReadError(
            f"{found[VERSION_KEY]} is a version that is not known here; this is version {VERSION}", VERSION_KEY
        )
    return Header(**values)


def _object(line: str) -> dict[str, Any]:
    if len(line) > MAX_LINE_CHARS:
        raise ReadError(f"is longer than {MAX_LINE_CHARS} characters; split it")
    try:
        found = json.loads(line, object_pairs_hook=_distinct, parse_constant=_no_constant)
    except ReadError:
        raise
    except (ValueError, RecursionError) as error:
        raise ReadError(f"is not JSON ({error}); write one object a line, such as {{...}}") from error
    if not isinstance(found, dict):
        raise ReadError(f"{quoted(found)} is not an object; write one a line, in braces")
    return found


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ReadError("is given twice; keep one", twice)
    return found


def _no_constant(word: str) -> float:
    raise ReadError(f"{word} is not a number; give a finite one")
