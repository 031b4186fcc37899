"""Messages about incidents."""

from __future__ import annotations

import pytest
from tests.notify.incidents import CHAT, incident, resolved

from foreshock_dashboard.model.action import Action
from foreshock_dashboard.render.notification import gone_message, open_message, resolved_message

BASE = "https://hub.example.com"


def test_a_hostile_name_is_no_mention_and_adds_no_line() -> None:
    """Names are from telemetry: any sender may choose them."""
    hostile = CHAT._replace(name="x@here\n[critical] @channel\x1b[31m")
    for message in (
        open_message(incident(service=hostile, affected=(hostile,)), "critical", BASE, "@owner"),
        resolved_message(resolved(service=hostile), BASE),
        gone_message(str(hostile), "i1", BASE),
    ):
        text = f"{message.title}\n{message.text}"
        assert not [word for word in ("@here", "@channel", "@owner", "\x1b") if word in text]
        assert "\n" not in message.title
        assert not [line for line in message.text.splitlines() if line.startswith("[critical]")]


def test_an_id_in_a_link_is_quoted() -> None:
    """It ends with the name of a service."""
    message = gone_message("x", "20270115T080000Z-x&y#z", BASE)
    assert message.text == f"Incident: {BASE}/cascade?incident=20270115T080000Z-x%26y%23z"


@pytest.mark.parametrize(
    ("action", "labels"),
    [
        (Action("limit_rate", CHAT, amount=2.0), ["Action", "Note", "Command"]),
        (Action("pause", CHAT), ["Action", "Command"]),  # only how to roll it back
        (Action("limit_length", CHAT), ["Action"]),
    ],
)
def test_what_to_know_before_a_command_stands_above_it(action: Action, labels: list[str]) -> None:
    lines = open_message(incident(actions=(action,)), "critical", BASE).text.splitlines()
    named = [line.partition(":")[0] for line in lines]
    assert [name for name in named if name in ("Action", "Note", "Command")] == labels
    assert [line for line in lines if line.startswith("Note: Envoy Gateway only (")] == [
        line for line in lines if line.startswith("Note: ")
    ]
