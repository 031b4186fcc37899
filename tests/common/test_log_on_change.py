"""A lasting condition is logged when it begins, changes and ends."""

from __future__ import annotations

import logging

import pytest

from foreshock_dashboard.common.log_on_change import LogOnChange

LOG = logging.getLogger("condition")


def test_a_message_is_logged_once_until_it_changes(caplog: pytest.LogCaptureFixture) -> None:
    """The end of the condition has its own text, with the last message in place of `{}`."""
    condition = LogOnChange(LOG, recovered="answers again, after: {}")
    with caplog.at_level(logging.INFO, "condition"):
        for message in ("", "down", "down", "slow {}", "", ""):
            condition.update(message)
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (logging.WARNING, "down"),
        (logging.WARNING, "slow {}"),
        (logging.INFO, "answers again, after: slow {}"),
    ]


def test_the_level_is_the_one_requested(caplog: pytest.LogCaptureFixture) -> None:
    """Without a text for the end, nothing is logged then."""
    condition = LogOnChange(LOG, logging.ERROR)
    condition.update("failed")
    condition.update("")
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [(logging.ERROR, "failed")]
