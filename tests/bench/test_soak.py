"""The report of the soak, from files of readings."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from bench.hub import soak

HEADER = "hours,resident_mib,anonymous_mib,threads,descriptors,stored_mib,evaluations,spans\n"


def readings(slope: float, noise: float = 0.1, seconds: float = 10.0, warm_up: float = 10.0, sent: int = 600) -> str:
    """Readings of ten hours, one a minute: a slope in MiB per hour.

    An evaluation every `seconds`, in the first hour every `warm_up` seconds. Spans arrive in the first `sent` minutes.
    """
    rng = random.Random(1)
    lines = []
    for minute in range(600):
        mib = 200 + slope * minute / 60 + rng.gauss(0, noise)
        evaluations = int(60 * min(minute, 60) / warm_up + 60 * max(0, minute - 60) / seconds)
        lines.append(f"{minute / 60},{mib},{mib},28,35,16.0,{evaluations},{3_000 * min(minute, sent)}\n")
    return HEADER + "".join(lines)


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        (readings(0.5), 0, "held: "),
        (readings(1.5), 1, "MISSED: "),
        (readings(0.5, noise=30), 1, "NOT SHOWN: "),
        (readings(0.5) + "10.0,2", 0, "held: "),
        (readings(0.5, seconds=1e9), 1, "NOT VALID: too few evaluations"),
        (readings(0.5, warm_up=1e9), 0, "held: "),
        (readings(0.5, sent=300), 1, "NOT VALID: no spans arrived in 24 of 45 cycles"),
        (HEADER + "1.0,200.0,100.0,28,35,1.0,1,1\n2.0,200.0,100.0,28,35,1.0,99,9\n", 1, "NOT VALID: 24 min after"),
        ("", 2, "the first line is not `hours,"),
        ("seconds,resident_mib\n1,2\n", 2, "the first line is not `hours,"),
        ("\x00\xff,,\n", 2, "the first line is not `hours,"),
        (HEADER, 2, "0 readings. Wait"),
        (HEADER + "1.0,much,100.0,28,35,1.0,1,1\n", 2, "line 2 is not a reading. Remove it."),
        (HEADER + "1.0,2.0,3.0\n1.0,200.0,100.0,28,35,1.0,1,1\n", 2, "line 2 is not a reading. Remove it."),
    ],
)
def test_a_file_of_readings_is_judged_or_refused_with_the_line(
    text: str,
    code: int,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Growth is excluded only if the whole interval of the slope is within the limit."""
    file = tmp_path / "soak.csv"
    file.write_text(text)
    monkeypatch.setattr("sys.argv", ["soak.py", "--read", str(file), "--warm-up", "1"])
    assert soak.main() == code
    printed = capsys.readouterr()
    assert message in printed.out + printed.err


def test_a_missing_file_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a traceback."""
    monkeypatch.setattr("sys.argv", ["soak.py", "--read", "/nowhere/soak.csv"])
    assert soak.main() == 2
    assert "/nowhere/soak.csv" in capsys.readouterr().err
