"""Device scripts: parsing of JSON lines and their consistency. Pure. Format: docs/internals/device-scripts.md."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from foreshock_exporter.script.events import ACTIONS, Device, Event, Process
from foreshock_exporter.script.readers import ReadError, fields_reader, flag, number, quoted, text, whole

VERSION = 1
MAX_LINE_CHARS = 1 << 16
"""Longest line."""
MAX_EVENTS = 100_000
"""Events in a file."""
MAX_GPUS = 64
MAX_PROCESSES = 256
"""Processes per GPU."""
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
    {"at": number(0.0, MAX_SECONDS, "a number of seconds"), "gpu": whole(0, MAX_GPUS - 1), **ACTIONS, "once": flag}
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


@dataclass(slots=True)
class _Gpu:
    """`since`: time of the first description; `last_time`: time of the last line. Seconds."""

    since: float
    last_time: float
    instances: frozenset[str] = frozenset()
    pids: set[int] = field(default_factory=set)


class _Checker:
    """Consistency of a line with earlier lines, by GPU."""

    def __init__(self) -> None:
        self._gpus: list[_Gpu] = []

    def last_time(self, gpu: int) -> float:
        """Time of the GPU's last line in seconds; 0 without one."""
        return self._gpus[gpu].last_time if gpu < len(self._gpus) else 0.0

    def check(self, event: Event) -> None:
        """Record an event.

        Raises:
            ReadError: the event contradicts earlier lines; nothing is recorded.
        """
        if event.at < self.last_time(event.gpu):
            raise ReadError(
                f"{event.at:g} is earlier than {self.last_time(event.gpu):g} of a previous line; "
                "sort the lines of a GPU by time",
                "at",
            )
        if isinstance(event.action, Device):
            self._describe(event, event.action)
        elif event.gpu >= len(self._gpus):
            raise ReadError(f'{event.gpu} is unknown; first describe it by a line with "device"', "gpu")
        elif isinstance(event.action, Process):
            _check_process(self._gpus[event.gpu], event.action)
        self._gpus[event.gpu].last_time = event.at

    def _describe(self, event: Event, device: Device) -> None:
        index = event.gpu
        if index > len(self._gpus):
            raise ReadError(f"{index} comes before GPU {len(self._gpus)}; describe that first", "gpu")
        if index and index == len(self._gpus) and event.at < self._gpus[-1].since:
            raise ReadError(
                f"{event.at:g} is before GPU {index - 1} is there, at {self._gpus[-1].since:g}; "
                'describe them at the same time and let one be "late"',
                "at",
            )
        uuids = [instance.uuid for instance in device.instances]
        if "" in uuids or len(set(uuids)) < len(uuids):
            raise ReadError("each instance needs a unique uuid", "device.instances")
        since = self._gpus[index].since if index < len(self._gpus) else event.at
        self._gpus[index : index + 1] = [_Gpu(since, event.at, frozenset(uuids))]


def _check_process(gpu: _Gpu, action: Process) -> None:
    if not action.pid:
        raise ReadError("is missing; give the process a number", "process.pid")
    if action.instance and action.instance not in gpu.instances:
        instances = ", ".join(sorted(gpu.instances)) or "none"
        problem = f"{quoted(action.instance)} is not an instance of this GPU; it has {instances}"
        raise ReadError(problem, "process.instance")
    if action.ends and action.pid not in gpu.pids:
        raise ReadError(f"{action.pid} is not on this GPU, so that it cannot end; check the number", "process.pid")
    if action.ends:
        gpu.pids.discard(action.pid)
    elif len(gpu.pids | {action.pid}) > MAX_PROCESSES:
        raise ReadError(
            f"exceeds the limit of {MAX_PROCESSES} processes on this GPU; end another process first", "process.pid"
        )
    else:
        gpu.pids.add(action.pid)


class LineReader:
    """Reads the lines of one script in order. A wrong line only advances the line number.

    `live`: whether lines arrive in real time; such a script cannot loop.
    """

    def __init__(self, name: str, *, live: bool = False) -> None:
        self._name = name
        self._live = live
        self._line = 0
        self.header_read = False
        """Whether the first line was read."""
        self._loop: float | None = None
        self._checker = _Checker()

    def read(self, line: str, now: float = 0.0) -> Header | Event | None:
        """Parse a line: `Header` for the first, None for a blank line or a comment (#), else an event.

        `now` is the earliest time of the event and its default, in seconds from the start of the script.

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
                    return replace(header, loop=None)
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
        raise ScriptError(f'{name}: defines no GPU; add a line such as {{"gpu": 0, "device": {{}}}}')
    return Script(header, tuple(sorted(events, key=lambda event: event.at)))


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
        raise ReadError("is a duplicate; keep one", duplicate)
    return fields


def _no_constant(word: str) -> float:
    raise ReadError(f"{word} is not a number; give a finite one")
