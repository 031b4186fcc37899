"""Parsing of device script lines, and errors of wrong lines."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshock_exporter.script.events import ACTIONS, Device, Event, FaultChange, Process, Set, XidError
from foreshock_exporter.script.files import split_lines
from foreshock_exporter.script.lines import MAX_LINE_CHARS, Header, LineReader, ScriptError, parse
from foreshock_exporter.script.wave import Wave

if TYPE_CHECKING:
    from tests.exporter.script.conftest import Write

HEADER = '{"foreshock_device_script": 1}'


def reader() -> LineReader:
    """One that knows GPU 0 with a process 7."""
    made = LineReader("gpus.jsonl")
    for line in (HEADER, '{"gpu": 0, "device": {}}', '{"gpu": 0, "process": {"pid": 7}}'):
        made.read(line)
    return made


def test_a_line_has_a_time_a_gpu_and_an_action(write: Write) -> None:
    """The header, then events; comments and blank lines are skipped."""
    script = write(
        "# what happens",
        "",
        '{"at": 5, "gpu": 0, "process": {"pid": 7, "service": "shop/cart", "memory_bytes": 1e9, "sm": 0.5}}',
        '{"at": 6, "gpu": 0, "set": {"power_watts": {"mean": 300, "swing": 20, "period": 10}, "unattributed": null}}',
        '{"at": 7, "gpu": 0, "xid": 79, "once": true}',
    )

    assert script.header == Header("node-1")
    assert script.events == (
        Event(0.0, 0, Device()),
        Event(5.0, 0, Process(7, ("shop", "cart"), 1e9, Wave(0.5))),
        Event(6.0, 0, Set({"power_watts": Wave(300.0, 20.0, 10.0), "unattributed": None})),
        Event(7.0, 0, XidError(79), once=True),
    )


def test_lines_may_stand_gpu_by_gpu(write: Write) -> None:
    """Only the lines of one GPU must be in order; the events are sorted."""
    script = write('{"at": 9, "gpu": 0, "xid": 1}', '{"gpu": 1, "device": {}}', '{"at": 4, "gpu": 1, "xid": 2}')

    assert [(event.at, event.gpu) for event in script.events] == [(0.0, 0), (0.0, 1), (4.0, 1), (9.0, 0)]


def test_a_line_without_a_time_happens_with_the_line_before_or_when_it_is_read() -> None:
    """In a file nothing is read at a time that the file gives; live, the reader says what time it is."""
    read = reader()

    assert read.read('{"at": 3, "gpu": 0, "xid": 1}') == Event(3.0, 0, XidError(1))
    assert read.read('{"gpu": 0, "xid": 2}') == Event(3.0, 0, XidError(2))
    assert read.read('{"gpu": 0, "xid": 3}', now=8.5) == Event(8.5, 0, XidError(3))
    assert read.read('{"at": 9, "gpu": 0, "xid": 4}', now=12.0) == Event(12.0, 0, XidError(4))


@pytest.mark.parametrize(
    ("line", "key", "says"),
    [
        ('{"gpu": 0, "devise": {}}', "devise", "did you mean device?"),
        ('{"gpu": 0, "device": {"modle": "T4"}}', "device.modle", "did you mean model?"),
        ('{"gpu": 0, "process": {"pid": 7, "sm": 1.5}}', "process.sm", "1.5 is not a share from 0 to 1"),
        ('{"gpu": 0, "process": {"pid": 7, "sm": true}}', "process.sm", "True is not a share from 0 to 1"),
        (
            '{"gpu": 0, "process": {"pid": 7, "sm": {"mean": 0.8, "swing": 0.3}}}',
            "process.sm.swing",
            "leaves the range",
        ),
        ('{"gpu": 0, "process": {"pid": 7, "sm": {"swing": 0.3}}}', "process.sm.mean", "a wave needs a mean"),
        ('{"gpu": 0, "set": {"power_watts": {"mean": 1, "swing": 1}}}', "set.power_watts.swing", "make it smaller"),
        ('{"gpu": 0, "process": {"sm": 0.5}}', "process.pid", "give the process a number"),
        ('{"gpu": 0, "process": {"pid": 8, "ends": true}}', "process.pid", "8 is not on this GPU"),
        ('{"gpu": 0, "process": {"pid": 7, "instance": "MIG-1"}}', "process.instance", "it has none"),
        ('{"gpu": 0, "process": {"pid": 7, "service": "shop/"}}', "process.service", "such as assistant/chat-model"),
        ('{"gpu": 0, "process": {"pid": 7, "service": "a\\nb"}}', "process.service", "printable"),
        ('{"gpu": 0, "fault": "hagn"}', "fault", "did you mean hang?"),
        ('{"gpu": 0, "clear": false}', "clear", "False is not true"),
        ('{"gpu": 0, "xid": 1.5}', "xid", "not a whole number"),
        ('{"gpu": 0, "ecc": {"corrected": -1}}', "ecc.corrected", "from 1"),
        ('{"gpu": 0, "ecc": {}}', "ecc", "corrected, uncorrected"),
        ('{"gpu": 0, "device": {"refuses": ["reed"]}}', "device.refuses", "did you mean read?"),
        ('{"gpu": 0, "device": {"instances": [{}]}}', "device.instances", "a unique uuid"),
        ('{"gpu": 2, "device": {}}', "gpu", "describe that first"),
        ('{"gpu": 1, "xid": 13}', "gpu", 'first describe it by a line with "device"'),
        ('{"xid": 13}', "gpu", "give the index of a GPU"),
        ('{"gpu": 0}', "", "needs exactly one of device, process"),
        ('{"gpu": 0, "xid": 1, "fault": "lost"}', "", "says xid and fault"),
        ('{"gpu": 0, "gpu": 0, "xid": 1}', "gpu", "is a duplicate"),
        ('{"at": -1, "gpu": 0, "xid": 1}', "at", "not a number of seconds"),
        ('{"at": NaN, "gpu": 0, "xid": 1}', "", "NaN is not a number"),
        ('{"at": 1e999, "gpu": 0, "xid": 1}', "at", "not a number of seconds"),
        ("[1, 2]", "", "is not an object"),
        ('{"gpu": 0', "", "is not JSON"),
        ("[" * 50_000, "", "is not JSON"),
        ('{"gpu": 0, "xid": 1}' + " " * MAX_LINE_CHARS, "", "is longer than"),
    ],
)
def test_an_error_names_script_line_key_and_remedy(line: str, key: str, says: str) -> None:
    """Reading continues with the next line."""
    read = reader()

    with pytest.raises(ScriptError) as error:
        read.read(line)

    assert str(error.value).startswith(f'gpus.jsonl, line 4, key "{key}": ' if key else "gpus.jsonl, line 4: ")
    assert says in str(error.value)
    assert read.read('{"gpu": 0, "clear": true}') == Event(0.0, 0, FaultChange(""))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ((), "is empty; the first line must be"),
        (('{"gpu": 0, "device": {}}',), "line 1: the first line must be the header"),
        (('{"foreshock_device_script": 2}',), "2 is a version that is not known here; this is version 1"),
        ((HEADER,), "defines no GPU"),
        (
            (HEADER, '{"at": 5, "gpu": 0, "device": {}}', '{"at": 4, "gpu": 0, "xid": 1}'),
            "sort the lines of a GPU",
        ),
        ((HEADER, '{"at": 5, "gpu": 0, "device": {}}', '{"gpu": 1, "device": {}}'), "before GPU 0 is there"),
        (
            (
                '{"foreshock_device_script": 1, "loop": 10}',
                '{"gpu": 0, "device": {}}',
                '{"at": 10, "gpu": 0, "xid": 1}',
            ),
            "10 is not before the loop's end at 10",
        ),
    ],
)
def test_a_script_that_cannot_be_played_is_refused(text: tuple[str, ...], says: str) -> None:
    """With a message."""
    with pytest.raises(ScriptError, match=r"^gpus\.jsonl") as error:
        parse(text, "gpus.jsonl")

    assert says in str(error.value)


def test_the_processes_on_a_gpu_are_bounded() -> None:
    """One more is refused, until another ends."""
    read = reader()
    for pid in range(100, 355):
        read.read(json.dumps({"gpu": 0, "process": {"pid": pid}}))

    with pytest.raises(ScriptError, match="exceeds the limit of 256"):
        read.read('{"gpu": 0, "process": {"pid": 9}}')
    read.read('{"gpu": 0, "process": {"pid": 7, "ends": true}}')
    assert read.read('{"gpu": 0, "process": {"pid": 9}}') == Event(0.0, 0, Process(9))


KEYS = st.sampled_from(
    ["at", "gpu", "pid", "sm", "mean", "swing", "instances", "uuid", "corrected", "service", *ACTIONS]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5) | st.sampled_from(["lost", "read"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | KEYS, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(KEYS, JSON, max_size=4) | JSON)
def test_no_json_value_harms_the_reader(value: object) -> None:
    """Each value is an event or an error; the next line is still read."""
    read = reader()
    with contextlib.suppress(ScriptError):
        read.read(json.dumps(value), now=1.0)
    assert isinstance(read.read('{"gpu": 0, "clear": true}', now=1e9), Event)


@given(st.lists(st.binary(max_size=40)))
def test_no_bytes_harm_the_reader(chunks: list[bytes]) -> None:
    """However they are cut into chunks, the lines are those of the whole."""
    text = b"".join(chunks).decode(errors="replace")
    whole = text.split("\n") if text else []
    found = list(split_lines(chunks))

    assert [line for line in whole if line] == [line for line in found if line]
    read = LineReader("x")
    for line in found:
        with contextlib.suppress(ScriptError):
            read.read(line)


def test_a_line_without_end_does_not_fill_the_memory() -> None:
    """It comes cut, so that it is refused; the one after it is whole."""
    found = list(split_lines([b"x" * 100_000] * 30 + [b"\nnext"]))

    assert [len(line) for line in found] == [MAX_LINE_CHARS + 1, 4]
