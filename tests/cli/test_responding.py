"""Commands that respond to incidents: what they change, print, and refuse."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.web.worlds import SCENES, FakeHub

from foreshock_dashboard.cli.main import main
from foreshock_dashboard.web.app import create_app
from foreshock_dashboard.web.http.server import WebServer


@pytest.fixture(scope="module")
def hub() -> Iterator[FakeHub]:
    """A hub with an open incident, at the address of FORESHOCK_HUB; the user is dana."""
    seen = FakeHub(SCENES["contended"]())
    with (
        closing(WebServer(create_app(seen, version="1.2.3"), "127.0.0.1", 0)) as server,
        pytest.MonkeyPatch.context() as patch,
    ):
        server.start()
        patch.setattr("getpass.getuser", lambda: "dana")
        patch.setenv("FORESHOCK_HUB", server.url)
        yield seen


@pytest.mark.parametrize(
    ("words", "data", "printed"),
    [
        (["incident", "ack", "latest"], {"action": "acknowledge"}, "Acknowledged by dana at "),
        (["incident", "ack", "latest", "--withdraw"], {"action": "unacknowledge"}, "acknowledgment withdrawn by dana"),
        (["incident", "assign", "latest"], {"action": "assign", "assignee": "dana"}, "Assigned to dana"),
        (["incident", "assign", "latest", "eve"], {"action": "assign", "assignee": "eve"}, "Assigned to eve"),
        (["incident", "note", "latest", "paused it"], {"action": "note", "text": "paused it"}, "“paused it” by dana"),
        (["incident", "silence", "latest", "--for", "2h"], {"action": "silence"}, "Silenced until "),
        (
            ["incident", "feedback", "latest", "wrong-cause", "--service", "ml/x", "--cause", "network"],
            {"verdict": "wrong_cause", "service": "ml/x", "cause": "network"},
            "feedback: wrong cause, it was ml/x (network) by dana",
        ),
        (["silence", "create", "--service", "embedder", "--for", "1h"], {"service": "embedder"}, "embedder"),
        (["silence", "create", "--maintenance", "--for", "1h"], {"maintenance": True}, "all services"),
    ],
)
def test_a_command_changes_the_hub_and_prints_the_state_after_it(
    hub: FakeHub, capsys: pytest.CaptureFixture[str], words: list[str], data: dict[str, object], printed: str
) -> None:
    before = hub.journal.newest
    assert main(words) == 0
    assert printed in capsys.readouterr().out
    [entry] = hub.journal.read(after=before)
    assert entry.by == "dana"
    assert data.items() <= dict(entry.data).items()
    assert main([*words, "-o", "json"]) == 0
    assert {"response", "silence"} & json.loads(capsys.readouterr().out).keys()


def test_silences_are_listed_and_ended(hub: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    main(["silence", "create", "--service", "embedder", "--noisy-neighbor", "ml/x", "--for", "1h"])
    assert main(["silence", "list"]) == 0
    assert "embedder / ml/x" in capsys.readouterr().out
    number = str(hub.journal.newest)
    assert main(["silence", "end", number]) == 0
    assert main(["silence", "end", number]) == 1
    assert f"no active silence '{number}'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code", "problem"),
    [
        (["incident", "ack", "nowhere"], 1, "no incident 'nowhere'"),
        (["incident", "silence", "latest"], 1, "pass one of them"),
        (["incident", "feedback", "latest", "splendid"], 2, "splendid"),
        (["silence", "create", "--for", "1h"], 1, "pass one of them"),
        (["silence", "create", "--maintenance", "--noisy-neighbor", "x", "--for", "1h"], 2, "mutually exclusive"),
    ],
)
def test_a_refusal_says_why_and_changes_nothing(
    hub: FakeHub, capsys: pytest.CaptureFixture[str], words: list[str], code: int, problem: str
) -> None:
    before = hub.journal.newest
    assert main(words) == code
    assert problem in capsys.readouterr().err
    assert hub.journal.newest == before


def test_a_recording_is_read_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["incident", "ack", "latest", "--from", str(tmp_path)]) == 2
    assert "is read-only" in capsys.readouterr().err
    assert main(["silence", "list", "--from", str(tmp_path)]) == 2
    assert f"--from: recording {tmp_path} has no silences. Pass the URL of a hub" in capsys.readouterr().err
